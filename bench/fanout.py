"""From one update to many listeners: HTTP notifications to one receiver from many subscriptions, and
server-sent events to many connections. Latency runs from before the update is sent to arrival."""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.http import ENTITIES, encode, entity
from bench.report import cpu_seconds, percentile, resident_mb, tell
from bench.server import Running, city

HEADERS = {"Content-Type": "application/json"}


async def notifications(server: Running, subscriptions: int, updates: int) -> None:
    """`subscriptions` that all match `updates` updates, delivered to a receiver in this process."""
    arrived: list[float] = []
    expected, complete = subscriptions * updates, asyncio.Event()
    sent_at: dict[float, float] = {}

    async def receive(request: web.Request) -> web.Response:
        notification = await request.json()
        value = notification["data"][0]["temperature"]["value"]
        arrived.append(time.perf_counter() - sent_at[value])
        if len(arrived) >= expected:
            complete.set()
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{tail:.*}", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = runner.addresses[0]
    base = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        await _post(session, base + ENTITIES, entity(0, random.Random(1)))
        for number in range(subscriptions):
            await _post(
                session,
                f"{base}/ngsi-ld/v1/subscriptions",
                {
                    "type": "Subscription",
                    "entities": [{"type": "Sensor"}],
                    "watchedAttributes": ["temperature"],
                    "notification": {"endpoint": {"uri": f"http://127.0.0.1:{address[1]}/{number}"}},
                },
            )
        before, begun = cpu_seconds(server.pid), time.perf_counter()
        for number in range(updates):
            value = 1000.0 + number
            sent_at[value] = time.perf_counter()
            body = {"temperature": {"type": "Property", "value": value}}
            async with session.patch(
                f"{base}{ENTITIES}/{entity(0, random.Random(1))['id']}/attrs", data=encode(body)
            ) as answer:
                assert answer.status == 204, await answer.text()
        await asyncio.wait_for(complete.wait(), 120)
        seconds = time.perf_counter() - begun
    await runner.cleanup()
    tell(
        "notification",
        (cpu_seconds(server.pid) - before) * 1e6 / expected,
        "us CPU/notification",
        rate=round(expected / seconds),
        p50_ms=round(percentile(arrived, 0.5) * 1000, 2),
        p99_ms=round(percentile(arrived, 0.99) * 1000, 2),
        subscriptions=subscriptions,
        updates=updates,
        memory_mb=round(resident_mb(server.pid), 1),
    )


async def events(server: Running, listeners: int, updates: int) -> None:
    """`listeners` connections to the event stream, each hearing `updates` updates."""
    base = f"http://127.0.0.1:{server.port}"
    heard: list[float] = []
    sent: list[float] = []
    ready, complete = asyncio.Event(), asyncio.Event()
    open_ones = 0

    async def listen(session: aiohttp.ClientSession) -> None:
        nonlocal open_ones
        async with session.get(f"{base}/events") as stream:
            open_ones += 1
            if open_ones == listeners:
                ready.set()
            number = 0
            async for line in stream.content:
                if line.startswith(b"data:") and number < updates:
                    heard.append(time.perf_counter() - sent[min(number, len(sent) - 1)])
                    number += 1
                    if len(heard) >= listeners * updates:
                        complete.set()

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector, timeout=timeout) as session:
        await _post(session, base + ENTITIES, entity(1, random.Random(1)))
        tasks = [asyncio.create_task(listen(session)) for _ in range(listeners)]
        await asyncio.wait_for(ready.wait(), 30)
        await asyncio.sleep(0.5)
        before, begun = cpu_seconds(server.pid), time.perf_counter()
        for number in range(updates):
            sent.append(time.perf_counter())
            body: dict[str, Any] = {"temperature": {"type": "Property", "value": number}}
            path = f"{base}{ENTITIES}/{entity(1, random.Random(1))['id']}/attrs"
            async with session.patch(path, data=encode(body)) as answer:
                assert answer.status == 204, await answer.text()
            await asyncio.sleep(0.02)
        await asyncio.wait_for(complete.wait(), 60)
        seconds = time.perf_counter() - begun
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    tell(
        "server-sent event",
        (cpu_seconds(server.pid) - before) * 1e6 / (listeners * updates),
        "us CPU/event",
        rate=round(listeners * updates / seconds),
        p50_ms=round(percentile(heard, 0.5) * 1000, 2),
        p99_ms=round(percentile(heard, 0.99) * 1000, 2),
        listeners=listeners,
        updates=updates,
    )


async def _post(session: aiohttp.ClientSession, url: str, body: Any) -> None:
    async with session.post(url, data=encode(body)) as answer:
        assert answer.status == 201, await answer.text()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench fanout", description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=100)
    parser.add_argument("--listeners", type=int, default=50)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="autocity-bench-") as folder:
        with city(Path(folder) / "a", workers=options.workers) as server:
            asyncio.run(notifications(server, options.subscriptions, options.updates))
        with city(Path(folder) / "b", workers=options.workers) as server:
            asyncio.run(events(server, options.listeners, options.updates))
    return 0
