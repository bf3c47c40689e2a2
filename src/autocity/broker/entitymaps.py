"""Entity maps (4.5.25, 5.14): which entities an ongoing query is about and where each comes from, kept
for as long as somebody pages through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.errors import BadRequestData, ResourceNotFound
from autocity.ld.instants import SECOND, instant, timestamp
from autocity.ld.temporal import Duration, add
from autocity.model import Instant
from autocity.store.port import Commit, RecordWrite, Store

RECORD = "entity-map"

LIFETIME = 3600 * SECOND
LONGEST = 24 * 3600 * SECOND
"""How long a map is kept when nobody says, and at most."""

SEARCH = 600 * SECOND
"""How often maps that other processes made are looked for, to let go of them."""

HERE = "@none"
"""Stands for the entities that are held here (5.2.39)."""


class EntityMap(Struct, frozen=True):
    """One entity map: entities by id, each with the registrations that it comes from."""

    id: str
    tenant: str
    expires_at: Instant
    entities: dict[str, list[str]]
    linked: dict[str, str] = {}

    def render(self) -> dict[str, Any]:
        """The map as an answer shows it (5.2.39), without @context."""
        return {
            "id": self.id,
            "type": "EntityMap",
            "expiresAt": timestamp(self.expires_at),
            "entityMap": self.entities,
            "linkedMaps": self.linked,
        }


class EntityMaps:
    """Entity maps by tenant and id."""

    def __init__(self, store: Store, clock: Callable[[], Instant]) -> None:
        self._store = store
        self._clock = clock
        self._due: Instant = 0

    async def create(
        self, tenant: str, entities: Mapping[str, list[str]], lifetime: Duration | None = None
    ) -> EntityMap:
        """Keep which entities a query is about (5.14.4, 5.14.5)."""
        now = self._clock()
        wanted = now + LIFETIME if not lifetime else add(now, lifetime)
        map = EntityMap(
            id=f"urn:ngsi-ld:EntityMap:{uuid4()}",
            tenant=tenant,
            expires_at=bounded(wanted, now),
            entities=dict(entities),
        )
        await self._put(map)
        return map

    async def get(self, tenant: str, id: str) -> EntityMap:
        """Retrieve EntityMap (5.14.1). Raises ResourceNotFound, also for one that has expired."""
        record = await self._store.record(tenant, RECORD, id)
        map = None if record is None else msgspec.json.decode(record.body, type=EntityMap)
        if map is None or map.expires_at <= self._clock():
            raise ResourceNotFound(f"entity map {id} does not exist")
        return map

    async def update(self, tenant: str, id: str, fragment: Mapping[str, Any]) -> None:
        """Update EntityMap (5.14.2): only its expiry can be set, within bounds (5.5.14).
        Raises ResourceNotFound, BadRequestData."""
        map = await self.get(tenant, id)
        if fragment.get("type", "EntityMap") != "EntityMap":
            raise BadRequestData("type must be EntityMap")
        if fragment.get("id", id) != id:
            raise BadRequestData(f"id must stay {id}")
        if "expiresAt" in fragment:
            expiry = bounded(instant(fragment["expiresAt"]), self._clock())
            await self._put(replace(map, expires_at=expiry))

    async def drop(self, map: EntityMap, ids: Iterable[str]) -> None:
        """Take entities out of a map that the query does not select any more (5.5.9.3)."""
        gone = set(ids)
        if gone:
            left = {id: sources for id, sources in map.entities.items() if id not in gone}
            await self._put(replace(map, entities=left))

    async def delete(self, tenant: str, id: str) -> None:
        """Delete EntityMap (5.14.3). Raises ResourceNotFound."""
        await self.get(tenant, id)
        await self._remove(tenant, id)

    async def sweep(self) -> int:
        """Let go of maps whose time is over, when there may be any. How many."""
        now = self._clock()
        if now < self._due:
            return 0
        self._due = now + SEARCH
        swept = 0
        for record in await self._store.records(None, RECORD):
            expires_at = msgspec.json.decode(record.body, type=EntityMap).expires_at
            if expires_at <= now:
                await self._remove(record.tenant, record.id)
                swept += 1
            else:
                self._due = min(self._due, expires_at)
        return swept

    async def _put(self, map: EntityMap) -> None:
        self._due = min(self._due, map.expires_at)
        body = msgspec.json.encode(map)
        write = RecordWrite(tenant=map.tenant, kind=RECORD, id=map.id, body=body)
        await self._store.commit(Commit(records=(write,)))

    async def _remove(self, tenant: str, id: str) -> None:
        write = RecordWrite(tenant=tenant, kind=RECORD, id=id, body=None)
        await self._store.commit(Commit(records=(write,)))


def bounded(expiry: Instant, now: Instant) -> Instant:
    """An expiry that is not later than a map may live."""
    return min(expiry, now + LONGEST)
