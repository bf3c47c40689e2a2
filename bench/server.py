"""Servers to measure: the program itself, and the bare echo that its cost is told in multiples of."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct


class Running(Struct, frozen=True):
    """A server that answers."""

    pid: int
    port: int


async def echo(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """The least that an ASGI application can do with a body: read it and send it back."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _serve_echo() -> None:
    import socket

    import uvicorn

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/", flush=True)
    config = uvicorn.Config(
        echo, http="httptools", loop="uvloop", lifespan="off", ws="none", access_log=False
    )
    uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[Running]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"the server did not start: {' '.join(command)}")
        yield Running(process.pid, urlsplit(address).port or 0)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def echo_server() -> Iterator[Running]:
    """The bare echo under the same server software."""
    with _started([sys.executable, "-c", "from bench.server import _serve_echo; _serve_echo()"]) as running:
        yield running


def database_server(url: str) -> int:
    """The first process of the PostgreSQL server at an address, which must be on this machine."""
    import asyncpg

    async def ask() -> int:
        db = await asyncpg.connect(url)
        try:
            backend = await db.fetchval("SELECT pg_backend_pid()")
            return int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
        finally:
            await db.close()

    return asyncio.run(ask())


@contextlib.contextmanager
def city(data: Path, *, workers: int = 1, store: str = "embedded") -> Iterator[Running]:
    """`autocity serve` on a folder, on a free port. `store`: as the option of that name."""
    command = [
        sys.executable,
        "-m",
        "autocity",
        "serve",
        "--data",
        str(data),
        "--port",
        "0",
        "--store",
        store,
    ]
    with _started([*command, "--workers", str(workers)]) as running:
        yield running
