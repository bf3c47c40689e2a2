"""Time from start to ready on a store with many entities, and resident memory: idle, filled, demo."""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import load
from bench.http import encode, entity
from bench.report import resident_mb, tell
from bench.server import city


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench start", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="entities")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="autocity-bench-") as folder:
        data = Path(folder) / "city"
        with city(data) as server:
            tell("memory idle", resident_mb(server.pid), "MiB")
            rng = random.Random(471)
            batches = [
                load.request(
                    "POST",
                    "/ngsi-ld/v1/entityOperations/upsert",
                    encode([entity(start + number, rng) for number in range(1000)]),
                )
                for start in range(0, options.count, 1000)
            ]
            asyncio.run(load.run("127.0.0.1", server.port, batches, 2))
            tell("memory after filling", resident_mb(server.pid), "MiB", entities=options.count)
        begun = time.perf_counter()
        with city(data) as server:
            _ready(server.port)
            tell("start to ready", time.perf_counter() - begun, "s", entities=options.count)
            queries = [load.request("GET", "/ngsi-ld/v1/entities?type=Sensor&limit=100")] * 200
            asyncio.run(load.run("127.0.0.1", server.port, queries, 8))
            tell("memory served", resident_mb(server.pid), "MiB", entities=options.count)
        command = [sys.executable, "-m", "autocity", "demo", "--no-open", "--port", "0"]
        begun = time.perf_counter()
        demo = subprocess.Popen(
            [*command, "--data", str(Path(folder) / "demo")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert demo.stdout is not None
            demo.stdout.readline()
            tell("demo filled and up", time.perf_counter() - begun, "s")
            time.sleep(10)
            tell("memory with the demo", resident_mb(demo.pid), "MiB")
        finally:
            demo.terminate()
            demo.wait(20)
    return 0


def _ready(port: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        assert answer.status == 200
