"""A small load generator: keep-alive connections, each sending its next request once answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from msgspec import Struct


class Outcome(Struct):
    """What a run of requests took: latencies in seconds, statuses, and wall time."""

    latencies: list[float]
    statuses: dict[int, int]
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


def request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """One HTTP/1.1 request, ready to send."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if body or method in ("POST", "PATCH", "PUT"):
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class _Connection(asyncio.Protocol):
    def __init__(self, requests: Iterator[bytes], outcome: Outcome, done: Callable[[], None]) -> None:
        self._requests, self._outcome, self._done = requests, outcome, done
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        assert self._transport is not None
        wanted = next(self._requests, None)
        if wanted is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(wanted)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        at = head.lower().find(b"content-length:")
        if at >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = b""
        self._outcome.latencies.append(time.perf_counter() - self._sent)
        status = int(head[9:12])
        self._outcome.statuses[status] = self._outcome.statuses.get(status, 0) + 1
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done()


async def run(host: str, port: int, requests: list[bytes], connections: int = 32) -> Outcome:
    """Send all requests over so many connections."""
    loop = asyncio.get_running_loop()
    outcome = Outcome([], {}, 0.0)
    supply = iter(requests)
    open_ones, ended = connections, loop.create_future()

    def done() -> None:
        nonlocal open_ones
        open_ones -= 1
        if open_ones == 0 and not ended.done():
            ended.set_result(None)

    begun = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(supply, outcome, done), host, port)
    await ended
    outcome.seconds = time.perf_counter() - begun
    return outcome
