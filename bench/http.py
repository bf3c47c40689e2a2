"""Create, patch, get, query and batch upsert through the API, durable before the answer, history on:
CPU time an operation, in multiples of a bare ASGI echo of the same 1 KB body. The generator shares
the machine's cores. On PostgreSQL (`--store postgresql://…`, an empty database on this machine) the
server's CPU time counts as the program's own."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from bench import load
from bench.report import cpu_seconds, note, percentile, resident_mb, tell
from bench.server import Running, city, database_server, echo_server

ENTITIES = "/ngsi-ld/v1/entities"
encode = msgspec.json.encode


def entity(number: int, rng: random.Random) -> dict[str, Any]:
    """About 1 KB: 6 properties, 1 relationship, 1 location."""
    at = "2026-11-22T08:00:00Z"
    values = {
        "temperature": (round(rng.uniform(-20, 35), 2), "CEL"),
        "humidity": (round(rng.uniform(10, 100), 1), "P1"),
        "pm25": (rng.randint(3, 300), "GQ"),
        "noise": (round(rng.uniform(30, 95), 1), "2N"),
        "battery": (round(rng.random(), 3), "C62"),
    }
    made: dict[str, Any] = {"id": f"urn:ngsi-ld:Sensor:{number:07}", "type": "Sensor"}
    for name, (value, unit) in values.items():
        made[name] = {"type": "Property", "value": value, "unitCode": unit, "observedAt": at}
    made["description"] = {
        "type": "Property",
        "value": f"sensor {number} on a lamp post of the automobile city",
    }
    made["controlledBy"] = {"type": "Relationship", "object": f"urn:ngsi-ld:Gateway:{number % 100}"}
    point = [round(rng.uniform(125.1, 125.3), 6), round(rng.uniform(43.75, 43.9), 6)]
    made["location"] = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": point}}
    return made


def scenarios(count: int, rng: random.Random) -> list[tuple[str, list[bytes], int]]:
    """Name, requests, operations a request; in an order in which each finds what it needs."""
    bodies = [entity(number, rng) for number in range(count)]
    ids = [body["id"] for body in bodies]

    def patch() -> bytes:
        value = {
            "temperature": {"type": "Property", "value": round(rng.uniform(-20, 35), 2), "unitCode": "CEL"}
        }
        return load.request("PATCH", f"{ENTITIES}/{rng.choice(ids)}/attrs", encode(value))

    def query(limit: int) -> bytes:
        low = rng.uniform(20, 34)
        return load.request("GET", f"{ENTITIES}?type=Sensor&q=temperature%3E{low:.2f}&limit={limit}")

    batch = 1000
    fresh = [
        encode([entity(count + start + number, rng) for number in range(batch)])
        for start in range(0, max(5, count // batch) * batch, batch)
    ]
    upsert = "/ngsi-ld/v1/entityOperations/upsert"
    return [
        ("create", [load.request("POST", ENTITIES, encode(body)) for body in bodies], 1),
        ("patch attribute", [patch() for _ in range(count)], 1),
        ("get by id", [load.request("GET", f"{ENTITIES}/{rng.choice(ids)}") for _ in range(2 * count)], 1),
        ("query limit 20", [query(20) for _ in range(count // 2)], 1),
        ("query limit 100", [query(100) for _ in range(count // 4)], 1),
        ("batch upsert of 1,000, new", [load.request("POST", upsert, body) for body in fresh], batch),
        ("batch upsert of 1,000, there", [load.request("POST", upsert, body) for body in fresh], batch),
    ]


def measure(
    server: Running, requests: list[bytes], each: int, connections: int, *others: int
) -> tuple[float, load.Outcome]:
    """CPU microseconds an operation, of other processes too, and what the generator saw."""
    before = cpu_seconds(server.pid, *others)
    outcome = asyncio.run(load.run("127.0.0.1", server.port, requests, connections))
    spent = cpu_seconds(server.pid, *others) - before
    return spent * 1e6 / (len(requests) * each), outcome


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench http", description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="entities")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--store", default="embedded", help="embedded, memory, or postgresql://…")
    options = parser.parse_args(arguments)
    others = [database_server(options.store)] if "://" in options.store else []
    rng = random.Random(471)
    echo_body = encode(entity(0, rng))
    with echo_server() as server:
        echoes = [load.request("POST", "/", echo_body)] * (4 * options.count)
        measure(server, echoes[:500], 1, options.connections)
        unit_cost, outcome = measure(server, echoes, 1, options.connections)
    tell("echo", unit_cost, "us CPU/op", 1.0, rate=round(outcome.rate), body_bytes=len(echo_body))
    with (
        tempfile.TemporaryDirectory(prefix="autocity-bench-") as folder,
        city(Path(folder) / "city", workers=options.workers, store=options.store) as server,
    ):
        for name, requests, each in scenarios(options.count, rng):
            connections = min(options.connections, 4 if each > 1 else options.connections)
            cost, outcome = measure(server, requests, each, connections, *others)
            failed = {status: n for status, n in outcome.statuses.items() if status >= 400}
            if failed:
                note(f"{name}: failures {failed}")
            tell(
                name,
                cost,
                "us CPU/op",
                cost / unit_cost,
                rate=round(outcome.rate * each),
                p50_ms=round(percentile(outcome.latencies, 0.5) * 1000, 2),
                p99_ms=round(percentile(outcome.latencies, 0.99) * 1000, 2),
                memory_mb=round(resident_mb(server.pid), 1),
                workers=options.workers,
                store=options.store.partition(":")[0],
                failed=sum(failed.values()),
            )
    return 0
