"""A broker on the memory store, a store that commits late, and a receiver of notifications."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from autocity.broker import Broker, Caller, Contexts, Outbound
from autocity.ld import document
from autocity.ld.context import CORE, Context
from autocity.ld.entity import parse_entity, parse_fragment
from autocity.model import Entity, Fragment, Instant
from autocity.store.memory import MemoryStore
from autocity.store.port import Commit, StaleCommit

LAMP = "urn:ngsi-ld:Lamp:1"


def now() -> Instant:
    return time.time_ns() // 1000


def entity(id: str = LAMP, type: str = "Lamp", context: Context = CORE, **values: Any) -> Entity:
    """An entity from attributes as JSON, or from bare values."""
    return parse_entity({"id": id, "type": type, **values}, context)


def fragment(id: str | None = None, context: Context = CORE, **values: Any) -> Fragment:
    return parse_fragment(({"id": id} if id else {}) | values, context)


class LateStore(MemoryStore):
    """Commits in the order of submission, each some turns of the loop after it was submitted, as a
    writer thread does. `fail_next` makes one commit stale, `interfere` runs right before one."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Commit] = []
        self.refused = 0
        self.fail_next = 0
        self.interfere: Callable[[], Any] | None = None
        self._queue: deque[tuple[asyncio.Future[list[int]], Commit]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def commit(self, commit: Commit) -> list[int]:
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._queue.append((future, commit))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        return await future

    async def _write(self) -> None:
        while self._queue:
            await asyncio.sleep(0.0005)
            group, self._queue = self._queue, deque()
            for future, commit in group:
                if self.interfere is not None and commit.changes:
                    interfere, self.interfere = self.interfere, None
                    await interfere()
                try:
                    if self.fail_next and commit.changes:
                        self.fail_next -= 1
                        raise StaleCommit([("", "test")])
                    done = await super().commit(commit)
                except Exception as fault:
                    self.refused += 1
                    if not future.cancelled():
                        future.set_exception(fault)
                else:
                    self.commits.append(commit)
                    if not future.cancelled():
                        future.set_result(done)
        self._writer = None


class Receiver:
    """An HTTP server that remembers what it was sent. `answers` are statuses to give first, `delay` how
    long each answer takes in seconds."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.answers: deque[int] = deque()
        self.delay: dict[str, float] = {}
        self.busy = 0
        self.most = 0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.busy += 1
        self.most = max(self.most, self.busy)
        await asyncio.sleep(self.delay.get(request.path, 0))
        self.busy -= 1
        status = self.answers.popleft() if self.answers else 200
        self.bodies.append(msgspec.json.decode(body))
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        return web.Response(status=status)

    async def until(self, count: int, seconds: float = 5.0) -> list[dict[str, Any]]:
        """Wait for so many notifications."""
        async with asyncio.timeout(seconds):
            while len(self.bodies) < count:
                await asyncio.sleep(0.005)
        return self.bodies


class Town:
    """A broker and what it stands on."""

    def __init__(self, store: MemoryStore, broker: Broker, contexts: Contexts) -> None:
        self.store = store
        self.broker = broker
        self.contexts = contexts
        self.me = Caller()

    async def entity(self, id: str = LAMP, tenant: str = "") -> Entity:
        stored = await self.broker.retrieve_entity(Caller(tenant), id)
        return document.load(stored.document)

    async def values(self, id: str = LAMP) -> dict[str, Any]:
        """Values of default instances by short name."""
        found = await self.entity(id)
        return {CORE.compact(name): each[0].value for name, each in found.attributes.items()}

    async def subscribe(self, url: str = "http://127.0.0.1:9/", /, **members: Any) -> str:
        notification = {"endpoint": {"uri": url}, **members.pop("notification", {})}
        body = {"type": "Subscription", "entities": [{"type": "Lamp"}], "notification": notification}
        return await self.broker.create_subscription(self.me, body | members, CORE)


async def build(store: MemoryStore, **options: Any) -> Town:
    outbound = Outbound(allow_loopback=True)
    await store.open()
    contexts = Contexts(store, clock=now, outbound=outbound)
    await contexts.open()
    broker = Broker(store, contexts, clock=now, outbound=outbound, **options)
    await broker.start()
    return Town(store, broker, contexts)


async def tear_down(town: Town) -> None:
    await town.broker.stop()
    await town.contexts.close()
    await town.store.close()
