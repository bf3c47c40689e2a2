"""The stores alone, without HTTP: CPU per operation, in multiples of decoding and encoding the same
entity as JSON, measured in the same run."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from autocity.ld.instants import timestamp
from autocity.ld.query import And, Comparison, Geo, Query, Selector, TypeIs
from autocity.ld.query import Path as AttributePath
from autocity.ld.temporal import Window
from autocity.model import Attribute, Change, Entity
from autocity.store.memory import MemoryStore
from autocity.store.port import Commit, PointWrite, Store
from autocity.store.sqlite import SQLiteStore
from bench.report import percentile, tell

NOW = 1_795_000_000_000_000
TYPE = "https://example.org/Sensor"
LOCATION = "https://uri.etsi.org/ngsi-ld/location"


def property(number: int) -> str:
    return f"https://example.org/p{number}"


def entity(number: int, at: int = NOW) -> Entity:
    """Six properties, a relationship and a location: about 1 KB."""

    def one(**members: object) -> tuple[Attribute, ...]:
        return (Attribute(created_at=at, modified_at=at, **members),)  # type: ignore[arg-type]

    attributes = {
        property(n): one(
            kind="Property",
            value=(number * 7 + n * 13) % 100 + 0.5,
            unit_code="CEL",
            observed_at=timestamp(at),
        )
        for n in range(6)
    }
    attributes["https://example.org/in"] = one(
        kind="Relationship", value=f"urn:ngsi-ld:Building:{number % 50}"
    )
    position = [125 + number % 300 / 1000, 43.8 + number // 300 / 1000]
    attributes[LOCATION] = one(kind="GeoProperty", value={"type": "Point", "coordinates": position})
    return Entity(
        id=f"urn:ngsi-ld:Sensor:{number:06d}",
        types=(TYPE,),
        created_at=at,
        modified_at=at,
        attributes=attributes,
    )


def patched(before: Entity, value: float, at: int) -> Entity:
    """The entity with another value of one property."""
    new = Attribute(kind="Property", value=value, observed_at=timestamp(at), created_at=NOW, modified_at=at)
    return replace(before, attributes={**before.attributes, property(1): (new,)}, modified_at=at)


def creation(entities: Iterable[Entity]) -> Commit:
    return Commit(
        changes=tuple(
            Change(tenant="", id=one.id, at=one.modified_at, before=None, after=one, expected=0)
            for one in entities
        )
    )


def reference() -> float:
    """Microseconds to decode and encode an entity as JSON: what this machine does now."""
    text = msgspec.json.encode(entity(1))
    begun = time.process_time()
    for _ in range(20_000):
        msgspec.json.encode(msgspec.json.decode(text))
    return (time.process_time() - begun) / 20_000 * 1e6


class Meter:
    """Runs something many times at once and tells what it cost."""

    def __init__(self, store: str) -> None:
        self._store = store

    async def run(
        self, name: str, calls: list[Callable[[], Awaitable[object]]], width: int, each: int = 1
    ) -> None:
        took: list[float] = []
        queue = iter(calls)

        async def worker() -> None:
            for call in queue:
                begun = time.perf_counter()
                await call()
                took.append(time.perf_counter() - begun)

        unit = reference()
        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(width)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        count = len(calls) * each
        tell(
            name,
            cpu / count * 1e6,
            "us CPU each",
            cpu / count * 1e6 / unit,
            store=self._store,
            per_second=round(count / wall),
            p50_ms=round(percentile(took, 0.5) * 1000, 3),
            p99_ms=round(percentile(took, 0.99) * 1000, 3),
            at_once=width,
        )


async def measure(store: Store, name: str, count: int) -> None:
    meter = Meter(name)
    entities = [entity(number) for number in range(count)]
    half, rest = entities[: count // 2], entities[count // 2 :]
    await meter.run("create", [lambda one=one: store.commit(creation([one])) for one in half], 64)  # type: ignore[misc]
    batches = [rest[start : start + 1000] for start in range(0, len(rest), 1000)]
    await meter.run("create in batches", [lambda b=b: store.commit(creation(b)) for b in batches], 1, 1000)  # type: ignore[misc]

    def patch(number: int) -> Commit:
        before, after = entities[number], patched(entities[number], number, NOW + 1_000_000)
        change = Change(tenant="", id=after.id, at=after.modified_at, before=before, after=after, expected=1)
        return Commit(changes=(change,))

    await meter.run("patch", [lambda n=n: store.commit(patch(n)) for n in range(count // 4)], 64)  # type: ignore[misc]
    await meter.run("get", [lambda one=one: store.get("", one.id) for one in entities], 1)  # type: ignore[misc]

    def compared(number: int, operator: str, value: float) -> Comparison:
        return Comparison(AttributePath((property(number),)), operator, (value,))  # type: ignore[arg-type]

    sensors = (Selector(types=TypeIs(TYPE)),)
    point = {"type": "Point", "coordinates": [125.1, 43.82]}
    for title, query in (
        ("query type", Query(selectors=sensors)),
        ("query half of them", Query(selectors=sensors, q=compared(0, ">", 50))),
        ("query one in a hundred", Query(selectors=sensors, q=compared(0, ">", 99))),
        (
            "query two conditions",
            Query(selectors=sensors, q=And((compared(0, ">", 90), compared(2, "<", 10)))),
        ),
        ("query and count", Query(selectors=sensors, q=compared(0, ">", 99), count=True)),
        ("query near", Query(selectors=sensors, geo=Geo("near", point, max_distance=1000.0))),
    ):
        for _ in range(60):  # until it has asked for the indexes that it misses
            await store.query("", query, now=NOW)
        await filled(store)
        await meter.run(title, [lambda q=query: store.query("", q, now=NOW)] * 300, 1)  # type: ignore[misc]
    await history(store, meter)


async def filled(store: Store) -> None:
    """Wait until attribute indexes that are being made are ready."""
    await asyncio.sleep(0.2)
    while isinstance(store, SQLiteStore) and not all(
        one.ready for some in store.paths.of.values() for one in some
    ):
        await asyncio.sleep(0.05)


async def history(store: Store, meter: Meter) -> None:
    """A hundred series of a thousand points."""

    def write(series: int, start: int) -> Commit:
        points = tuple(
            Attribute(
                kind="Property", value=n / 7, unit_code="CEL", observed_at=timestamp(NOW + n * 60_000_000)
            )
            for n in range(start, start + 100)
        )
        at = NOW + (start + 100) * 60_000_000
        provided = PointWrite(
            tenant="", id=f"urn:s:{series}", types=(TYPE,), scopes=(), attributes={property(1): points}, at=at
        )
        return Commit(points=(provided,))

    writes = [(series, start) for start in range(0, 1000, 100) for series in range(100)]
    await meter.run("append points", [lambda w=w: store.commit(write(*w)) for w in writes], 4, 100)  # type: ignore[misc]
    last = Window("after", NOW, last_n=100)
    await meter.run("last 100 of a series", [lambda: store.history("", ["urn:s:7"], last)] * 300, 1)


async def embedded(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="autocity-bench-") as folder:
        path = Path(folder) / "city.db"
        store = SQLiteStore(path)
        await store.open()
        await measure(store, "embedded", count)
        await store.close()
        tell("file", path.stat().st_size / 1e6, "MB", store="embedded", entities=count, points=100_000)
        begun = time.perf_counter()
        await store.open()
        tell("open", (time.perf_counter() - begun) * 1000, "ms", store="embedded", entities=count)
        await store.close()


async def memory(count: int) -> None:
    store = MemoryStore()
    await store.open()
    await measure(store, "memory", count)
    await store.close()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench store", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="entities")
    parser.add_argument("--store", choices=("embedded", "memory"), default="embedded")
    options = parser.parse_args(arguments)
    asyncio.run(embedded(options.count) if options.store == "embedded" else memory(options.count))
    return 0
