"""A context source that answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

API = "/ngsi-ld/v1"


class Heard(Struct):
    """A request as it arrived: path below the root of the API, parameters decoded."""

    method: str
    path: str
    params: dict[str, str]
    headers: Mapping[str, str]
    body: Any


class Elsewhere:
    """An HTTP server under the root of the NGSI-LD API. `answers` are by method and path; whatever has
    none is answered with 404, or with 204 when it is a write. `delay` is in seconds."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[Heard] = []
        self.delay = 0.0
        self.answers: dict[tuple[str, str], tuple[int, Any, Mapping[str, str]]] = {}

    def answer(self, method: str, path: str, content: Any = None, status: int = 200, **headers: str) -> None:
        """What to answer from now on; bytes go as they are."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[method, path] = status, content, told

    def asked(self, method: str, path: str) -> list[Heard]:
        """The requests of a kind that arrived."""
        return [each for each in self.heard if (each.method, each.path) == (method, path)]

    async def handle(self, request: web.Request) -> web.Response:
        raw = await request.read()
        path = request.path.removeprefix(API)
        body = msgspec.json.decode(raw) if raw else None
        self.heard.append(Heard(request.method, path, dict(request.query), request.headers.copy(), body))
        await asyncio.sleep(self.delay)
        otherwise: tuple[int, Any, Mapping[str, str]] = (404 if request.method == "GET" else 204, None, {})
        status, content, headers = self.answers.get((request.method, path), otherwise)
        data = content if isinstance(content, bytes) else b"" if content is None else _encode(content)
        return web.Response(status=status, body=data, headers=headers, content_type="application/json")


_encode = msgspec.json.encode


@asynccontextmanager
async def elsewhere_running() -> AsyncIterator[Elsewhere]:
    """A source on a free port of the loopback address."""
    built = Elsewhere()
    application = web.Application(client_max_size=2**24)
    application.router.add_route("*", "/{tail:.*}", built.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        built.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield built
    finally:
        await runner.cleanup()


def registration(url: str, mode: str | None = None, /, **members: Any) -> dict[str, Any]:
    """A registration of that source for vehicles, unless `members` say otherwise."""
    body: dict[str, Any] = {
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": "Vehicle"}]}],
        "endpoint": url,
    }
    if mode is not None:
        body["mode"] = mode
    return body | members
