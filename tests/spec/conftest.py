"""The API over the memory store, inside the test's own process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from msgspec import Struct

from autocity import api as http
from autocity.api.asgi import Answer, Application, Everyone
from autocity.broker import Broker, Contexts, Feed, Outbound
from autocity.store.memory import MemoryStore

ROOT = "/ngsi-ld/v1"
CITY = "https://example.org/city.jsonld"
CONTEXTS = {
    CITY: {
        "@context": {
            "Vehicle": "https://example.org/Vehicle",
            "speed": "https://example.org/speed",
            "city": "https://example.org/",
        }
    }
}


class Reply(Struct, frozen=True):
    """An answer, ready to be asked about."""

    answer: Answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def body(self) -> bytes:
        return self.answer.body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.answer.body)

    def header(self, name: str) -> str | None:
        """All values of a header, joined."""
        if name.lower() == "content-type":
            return self.answer.media
        found = [value for key, value in self.answer.headers if key.lower() == name.lower()]
        return ", ".join(found) if found else None

    def refuses(self, status: int, kind: str) -> bool:
        """Whether this is a refusal with ProblemDetails of that kind (5.5.3)."""
        assert self.status == status, f"{self.status} {self.body[:300]!r}"
        problem = self.json
        assert self.answer.media == "application/json"
        assert problem["type"] == f"https://uri.etsi.org/ngsi-ld/errors/{kind}", problem
        assert problem["title"]
        assert problem["detail"]
        assert problem["status"] == status
        return True


class Client:
    """Calls the application as one who may do everything. Bodies are JSON unless `headers` say otherwise."""

    def __init__(self, application: Application, broker: Broker) -> None:
        self.application = application
        self.broker = broker

    async def call(
        self, method: str, path: str, body: Any = None, /, raw: bytes | None = None, **headers: str
    ) -> Reply:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        content = raw if raw is not None else b"" if body is None else msgspec.json.encode(body)
        if raw is not None or body is not None:
            sent.setdefault("Content-Type", "application/json")
        outside = path.lstrip("/").partition("?")[0].partition("/")[0] in OUTSIDE
        at = path if outside else ROOT + path

        answer = await self.application.local(method, at, sent.items(), content, Everyone(actor="tester"))
        return Reply(answer)

    async def get(self, path: str, /, **headers: str) -> Reply:
        return await self.call("GET", path, **headers)

    async def post(self, path: str, body: Any = None, /, raw: bytes | None = None, **headers: str) -> Reply:
        return await self.call("POST", path, body, raw, **headers)

    async def put(self, path: str, body: Any = None, /, raw: bytes | None = None, **headers: str) -> Reply:
        return await self.call("PUT", path, body, raw, **headers)

    async def patch(self, path: str, body: Any = None, /, raw: bytes | None = None, **headers: str) -> Reply:
        return await self.call("PATCH", path, body, raw, **headers)

    async def delete(self, path: str, /, **headers: str) -> Reply:
        return await self.call("DELETE", path, **headers)

    async def entity(self, id: str, /, query: str = "", **headers: str) -> Any:
        """One entity as JSON; it must be there."""
        reply = await self.get(f"/entities/{quote(id, safe=':')}{query}", **headers)
        assert reply.status == 200, reply.body
        return reply.json

    async def create(self, *entities: dict[str, Any], **headers: str) -> None:
        """Create entities; all must be new and right."""
        for entity in entities:
            reply = await self.post("/entities", entity, **headers)
            assert reply.status == 201, reply.body


OUTSIDE = frozenset(
    ("ngsi-ld", "healthz", "readyz", "metrics", "openapi.json", "docs", "events", "deliveries")
)
"""First segments of paths that are written whole."""


@pytest.fixture
async def api() -> AsyncIterator[Client]:
    """A city of its own for each test."""
    store = MemoryStore()
    outbound = Outbound(allow_private=True, allow_loopback=True)

    def clock() -> int:
        return time.time_ns() // 1000

    contexts = Contexts(store, built_in=CONTEXTS, clock=clock, outbound=outbound)
    broker = Broker(store, contexts, clock=clock, outbound=outbound, deliver=False)
    await store.open()
    await contexts.open()
    await broker.start()
    metrics = http.Metrics()
    application = Application(http.routes(broker, Feed(store), metrics=metrics), observe=metrics.observe)
    yield Client(application, broker)
    await broker.stop()
    await contexts.close()
    await store.close()


@pytest.fixture
def link() -> dict[str, str]:
    """The header that names the city's own @context."""
    return {"Link": f'<{CITY}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}


@pytest.fixture
def bus() -> dict[str, Any]:
    """An entity with one attribute of each common kind."""
    return {
        "id": "urn:ngsi-ld:Vehicle:1",
        "type": "Vehicle",
        "speed": {"type": "Property", "value": 30, "unitCode": "KMH", "observedAt": "2026-11-22T08:00:00Z"},
        "line": {"type": "Property", "value": ["1", {"a": [5]}, None]},
        "inside": {"type": "Relationship", "object": "urn:ngsi-ld:Zone:1"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [125.3, 43.8]}},
        "label": {"type": "LanguageProperty", "languageMap": {"en": "Bus", "zh": "公交车"}},
    }
