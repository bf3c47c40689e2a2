"""Snapshots (4.3.7, 5.16): results of queries, frozen, that the whole API can be used upon.

A snapshot is a tenant that no client can name: filled once in the background, then read and changed by
the same operations as any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.broker.outbound import Outbound
from autocity.broker.shadow import shadow
from autocity.broker.subscription import headers, text, uri
from autocity.errors import (
    AlreadyExists,
    BadRequestData,
    CityError,
    ResourceNotFound,
    StoreUnavailable,
)
from autocity.ld import document
from autocity.ld.assembly import assemble
from autocity.ld.instants import LAST, SECOND, timestamp
from autocity.ld.query import Query, matches_q, parse_q
from autocity.ld.temporal import Window, add, duration
from autocity.model import Attribute, Change, Entity, Instant
from autocity.store.port import COUNTED, Commit, History, PointWrite, RecordWrite, StaleCommit, Store

log = logging.getLogger(__name__)

RECORD = "snapshot"
LIFETIME = 24 * 3600 * SECOND
LONGEST = 30 * 24 * 3600 * SECOND
"""How long a snapshot is kept when nobody says, and at most."""

CHUNK = 1000
SEARCH = 600 * SECOND
"""How often snapshots that other processes made are looked for, to delete them in time."""

USED_EVERY = 10 * SECOND
"""How exactly `lastUsedAt` is kept."""

TRIES, PAUSE_SECONDS, TIMEOUT_SECONDS = 3, 1.0, 10.0

Status = Literal["preparing", "success", "partial", "failure", "empty"]

Fill = Callable[[], Awaitable[list[Entity]]]
"""One query of a snapshot, ready to run."""

FillHistory = Callable[[], Awaitable[list[History]]]
"""One temporal query of a snapshot, ready to run."""


class Snapshot(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One snapshot as the platform keeps it (5.2.41). Queries stay as they came."""

    id: str
    tenant: str
    created_at: Instant
    modified_at: Instant
    expires_at: Instant
    last_used_at: Instant
    status: Status = "preparing"
    lifetime: str | None = None
    priority: int = 5
    endpoint: str | None = None
    receiver_info: tuple[tuple[str, str], ...] = ()
    queries: list[Any] = []
    temporal_queries: list[Any] = []
    details: list[dict[str, Any]] = []
    temporal_details: list[dict[str, Any]] = []

    @property
    def place(self) -> str:
        """The tenant that holds it."""
        return shadow(self.tenant, self.id)

    def render(self) -> dict[str, Any]:
        """The snapshot as an answer shows it (5.2.41), without @context."""
        shown: dict[str, Any] = {"id": self.id, "type": "Snapshot", "snapshotStatus": self.status}
        members = {
            "snapshotQueries": self.queries,
            "snapshotTemporalQueries": self.temporal_queries,
            "snapshotQueriesDetails": self.details,
            "snapshotTemporalQueriesDetails": self.temporal_details,
            "snapshotLifetime": self.lifetime,
            "endpoint": self.endpoint,
            "receiverInfo": [{"key": key, "value": value} for key, value in self.receiver_info],
        }
        shown |= {name: value for name, value in members.items() if value}
        return shown | {
            "snapshotPriority": self.priority,
            "createdAt": timestamp(self.created_at),
            "modifiedAt": timestamp(self.modified_at),
            "expiresAt": timestamp(self.expires_at),
            "lastUsedAt": timestamp(self.last_used_at),
        }


MEMBERS = frozenset(
    (
        "id", "type", "snapshotStatus", "snapshotQueries", "snapshotTemporalQueries", "snapshotLifetime",
        "snapshotPriority", "endpoint", "receiverInfo", "snapshotQueriesDetails",
        "snapshotTemporalQueriesDetails", "createdAt", "modifiedAt", "expiresAt", "lastUsedAt",
    )
)  # fmt: skip
OUTPUT_ONLY = frozenset(
    (
        "snapshotStatus", "snapshotQueriesDetails", "snapshotTemporalQueriesDetails", "createdAt",
        "modifiedAt", "expiresAt", "lastUsedAt",
    )
)  # fmt: skip
QUERIES = frozenset(("snapshotQueries", "snapshotTemporalQueries"))


class Snapshots:
    """Snapshots by tenant and id."""

    def __init__(self, store: Store, *, clock: Callable[[], Instant], outbound: Outbound) -> None:
        self._store = store
        self._clock = clock
        self._outbound = outbound
        self._tasks: set[asyncio.Task[None]] = set()
        self._due: Instant = 0

    async def open(self) -> None:
        """Give up what was being prepared when the process ended."""
        for snapshot in await self._all(None):
            if snapshot.status == "preparing":
                await self._put(replace(snapshot, status="failure"))

    async def close(self) -> None:
        """Break off what is being prepared."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- operations (5.16)

    async def create(
        self,
        tenant: str,
        body: dict[str, Any],
        fills: Sequence[Fill],
        temporal_fills: Sequence[FillHistory],
    ) -> str:
        """Create snapshot (5.16.1): its id; it is filled in the background.
        Raises BadRequestData, AlreadyExists."""
        snapshot = self._parse(tenant, body)
        if not (fills or temporal_fills):
            raise BadRequestData("snapshotQueries or snapshotTemporalQueries is needed")
        await self._add(snapshot)
        self._spawn(self._fill(snapshot, fills, temporal_fills))
        return snapshot.id

    async def clone(self, tenant: str, id: str, body: dict[str, Any]) -> str:
        """Clone snapshot (5.16.2): the id of the clone, which is filled in the background.
        Raises BadRequestData, ResourceNotFound, AlreadyExists."""
        origin = await self.get(tenant, id)
        if QUERIES & body.keys():
            raise BadRequestData(f"a clone takes no {' and no '.join(sorted(QUERIES))}")
        snapshot = replace(
            self._parse(tenant, body), queries=origin.queries, temporal_queries=origin.temporal_queries
        )
        await self._add(snapshot)
        self._spawn(self._copy(origin, snapshot))
        return snapshot.id

    async def get(self, tenant: str, id: str) -> Snapshot:
        """Retrieve snapshot status (5.16.3). Raises ResourceNotFound."""
        record = await self._store.record(tenant, RECORD, id)
        found = None if record is None else msgspec.json.decode(record.body, type=Snapshot)
        if found is None or found.expires_at <= self._clock():
            raise ResourceNotFound(f"snapshot {id} does not exist")
        return found

    async def update(self, tenant: str, id: str, fragment: dict[str, Any]) -> Snapshot:
        """Update snapshot status (5.16.4). Raises BadRequestData, ResourceNotFound."""
        before = await self.get(tenant, id)
        if QUERIES & fragment.keys():
            raise BadRequestData("queries are fixed when a snapshot is created (5.2.41)")
        if fragment.get("id", id) != id:
            raise BadRequestData(f"id must stay {id}")
        members = self._members(fragment)
        members.pop("id", None)
        now = self._clock()
        if members.get("lifetime"):
            members["expires_at"] = min(add(now, duration(members["lifetime"])), now + LONGEST)
        after = replace(before, **members, modified_at=now)
        await self._put(after)
        self._spawn(self._notify(after))
        return after

    async def delete(self, tenant: str, id: str) -> None:
        """Delete snapshot (5.16.5). Raises ResourceNotFound."""
        await self._remove(await self.get(tenant, id))

    async def purge(self, tenant: str, q: str) -> None:
        """Purge snapshots that a query on their own members selects (5.16.7).
        Raises BadRequestData, ResourceNotFound."""
        tree = parse_q(q, member)
        found = [each for each in await self._all(tenant) if matches_q(tree, described(each))]
        if not found:
            raise ResourceNotFound("no snapshot fits")
        for each in found:
            await self._remove(each)

    async def use(self, tenant: str, id: str) -> None:
        """Note that a snapshot is being used (6.3.22). Raises ResourceNotFound."""
        snapshot = await self.get(tenant, id)
        now = self._clock()
        if now - snapshot.last_used_at > USED_EVERY:
            with suppress(StoreUnavailable):
                await self._put(replace(snapshot, last_used_at=now))

    async def sweep(self) -> int:
        """Delete snapshots whose time is over, when there may be any. How many."""
        now = self._clock()
        if now < self._due:
            return 0
        every = await self._all(None)
        gone = [each for each in every if each.expires_at <= now]
        self._due = min((each.expires_at for each in every if each not in gone), default=LAST)
        self._due = min(self._due, now + SEARCH)
        for each in gone:
            await self._remove(each)
        return len(gone)

    # -- reading bodies

    def _parse(self, tenant: str, body: dict[str, Any]) -> Snapshot:
        if body.get("type") != "Snapshot":
            raise BadRequestData("type must be Snapshot")
        members = self._members(body)
        now = self._clock()
        lifetime = members.get("lifetime")
        expires_at = add(now, duration(lifetime)) if lifetime else now + LIFETIME
        return Snapshot(
            **{"id": f"urn:ngsi-ld:Snapshot:{uuid4()}", **members},
            tenant=tenant,
            created_at=now,
            modified_at=now,
            last_used_at=now,
            expires_at=min(expires_at, now + LONGEST),
        )

    def _members(self, body: dict[str, Any]) -> dict[str, Any]:
        """The members that came, as fields. Raises one BadRequestData for all."""
        faults = []
        found: dict[str, Any] = {}
        for name, value in body.items():
            if name in OUTPUT_ONLY or name == "@context":
                continue
            try:
                if name == "type":
                    if value != "Snapshot":
                        raise BadRequestData("must be Snapshot")
                elif name in READERS:
                    field, read = READERS[name]
                    found[field] = read(value)
                else:
                    raise BadRequestData("is not a member of a Snapshot")
            except CityError as fault:
                faults.append(f"{name:.60}: {fault.detail}")
        if found.get("endpoint"):
            self._outbound.check(found["endpoint"])
        if faults:
            raise BadRequestData("; ".join(faults))
        return found

    # -- filling

    async def _fill(
        self, snapshot: Snapshot, fills: Sequence[Fill], temporal_fills: Sequence[FillHistory]
    ) -> None:
        details, gathered = [], dict[str, list[Entity]]()
        for fill in fills:
            detail, entities = await attempted(fill)
            details.append(detail)
            for each in entities:
                gathered.setdefault(each.id, []).append(each)
        now = self._clock()
        await self._keep(snapshot.place, [assemble(versions, now) for versions in gathered.values()])
        temporal_details = []
        for temporal_fill in temporal_fills:
            detail, histories = await attempted(temporal_fill)
            temporal_details.append(detail)
            await self._keep_history(snapshot.place, histories)
        status = status_of([each["resultStatus"] for each in (*details, *temporal_details)])
        await self._finish(snapshot, status, details=details, temporal_details=temporal_details)

    async def _copy(self, origin: Snapshot, snapshot: Snapshot) -> None:
        offset = 0
        while True:
            query = Query(limit=CHUNK, offset=offset)
            page = await self._store.query(origin.place, query, now=self._clock())
            await self._keep(snapshot.place, [document.load(each.document) for each in page.entities])
            offset += len(page.entities)
            if len(page.entities) < CHUNK:
                break
        ids = await self._store.recorded(origin.place, Query())
        for start in range(0, len(ids), CHUNK):
            histories = await self._store.history(origin.place, ids[start : start + CHUNK], Window())
            await self._keep_history(snapshot.place, histories)
        details = {"details": origin.details, "temporal_details": origin.temporal_details}
        await self._finish(snapshot, "success", **details)

    async def _finish(self, snapshot: Snapshot, status: Status, **fields: Any) -> None:
        try:
            newest = await self.get(snapshot.tenant, snapshot.id)
        except ResourceNotFound:  # deleted meanwhile
            await self._empty(snapshot.place)
            return
        ready = replace(newest, status=status, modified_at=self._clock(), **fields)
        await self._put(ready)
        await self._notify(ready)

    async def _keep(self, place: str, entities: Sequence[Entity]) -> None:
        now = self._clock()
        for start in range(0, len(entities), CHUNK):
            changes = tuple(
                Change(tenant=place, id=each.id, at=now, before=None, after=each, expected=0, record=False)
                for each in entities[start : start + CHUNK]
            )
            await self._store.commit(Commit(changes=changes))

    async def _keep_history(self, place: str, histories: Sequence[History]) -> None:
        now = self._clock()
        for start in range(0, len(histories), CHUNK):
            points = tuple(
                PointWrite(
                    tenant=place,
                    id=each.id,
                    types=each.types,
                    scopes=each.scopes,
                    attributes={
                        iri: tuple(replace(instance, instance_id=None) for instance in instances)
                        for iri, instances in each.attributes.items()
                    },
                    at=now,
                )
                for each in histories[start : start + CHUNK]
            )
            await self._store.commit(Commit(points=points))

    # -- keeping

    async def _all(self, tenant: str | None) -> list[Snapshot]:
        records = await self._store.records(tenant, RECORD)
        return [msgspec.json.decode(record.body, type=Snapshot) for record in records]

    async def _add(self, snapshot: Snapshot) -> None:
        write = record_of(snapshot, expected=0)
        try:
            await self._store.commit(Commit(records=(write,)))
        except StaleCommit:
            raise AlreadyExists(f"snapshot {snapshot.id} exists already") from None

    async def _put(self, snapshot: Snapshot) -> None:
        self._due = min(self._due, snapshot.expires_at)
        await self._store.commit(Commit(records=(record_of(snapshot),)))

    async def _remove(self, snapshot: Snapshot) -> None:
        """Delete a snapshot with all that it holds; it is gone at once, its content soon after."""
        gone = RecordWrite(tenant=snapshot.tenant, kind=RECORD, id=snapshot.id, body=None)
        await self._store.commit(Commit(records=(gone,)))
        await self._empty(snapshot.place)

    async def _empty(self, place: str) -> None:
        while True:
            now = self._clock()
            page = await self._store.query(place, Query(limit=CHUNK), now=0)
            changes = tuple(
                Change(
                    tenant=place,
                    id=each.id,
                    at=now,
                    before=document.load(each.document),
                    after=None,
                    expected=each.version,
                    record=False,
                )
                for each in page.entities
            )
            if not changes:
                break
            await self._store.commit(Commit(changes=changes))
        for id in await self._store.recorded(place, Query()):
            await self._store.forget(place, id)
        records = [record for kind in COUNTED for record in await self._store.records(place, kind)]
        if records:
            gone = tuple(RecordWrite(tenant=place, kind=each.kind, id=each.id, body=None) for each in records)
            await self._store.commit(Commit(records=gone))

    # -- telling (5.16.6)

    async def _notify(self, snapshot: Snapshot) -> None:
        import aiohttp

        if snapshot.endpoint is None:
            return
        body = msgspec.json.encode(notification(snapshot, self._clock()))
        told = {"Content-Type": "application/json", **dict(snapshot.receiver_info)}
        if snapshot.tenant:
            told["NGSILD-Tenant"] = snapshot.tenant
        async with self._outbound.session(total=TIMEOUT_SECONDS) as session:
            for attempt in range(TRIES):
                try:
                    self._outbound.check(snapshot.endpoint)
                    async with session.post(
                        snapshot.endpoint, data=body, headers=told, allow_redirects=False
                    ) as answer:
                        if answer.status // 100 == 2:
                            return
                except (aiohttp.ClientError, OSError, TimeoutError, BadRequestData) as fault:
                    log.warning(
                        "a snapshot notification did not arrive",
                        extra={"snapshot": snapshot.id, "reason": str(fault) or type(fault).__name__},
                    )
                await asyncio.sleep(PAUSE_SECONDS * 2**attempt)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            # Nobody waits for these tasks; whatever went wrong, the log says so.
            log.error("work on a snapshot broke off", exc_info=fault)


# -- small parts


async def attempted(fill: Callable[[], Awaitable[list[Any]]]) -> tuple[dict[str, Any], list[Any]]:
    """The result of one query and what is told of it (5.2.42)."""
    try:
        found = await fill()
    except CityError as fault:
        problem = {"type": fault.type, "title": fault.title, "detail": fault.detail}
        return {"resultStatus": "failure", "problemDetails": problem}, []
    return {"resultStatus": "success" if found else "empty"}, found


def status_of(results: Sequence[str]) -> Status:
    """What the results of all queries come to (5.16.1.4)."""
    if all(each == "success" for each in results):
        return "success"
    if "success" in results:
        return "partial"
    return "empty" if "empty" in results else "failure"


def member(name: str) -> str:
    """The name of a member of the Snapshot data type. Raises BadRequestData for any other."""
    if name not in MEMBERS:
        raise BadRequestData(f"{name!r:.60} is not a member of a Snapshot")
    return name


def described(snapshot: Snapshot) -> Entity:
    """A snapshot as an entity, for queries about it."""
    told = snapshot.render()
    return Entity(
        id=snapshot.id,
        types=("Snapshot",),
        attributes={
            name: (Attribute(kind="Property", value=value),)
            for name, value in told.items()
            if name not in ("id", "type", "createdAt", "modifiedAt", "expiresAt")
        },
        created_at=snapshot.created_at,
        modified_at=snapshot.modified_at,
        expires_at=timestamp(snapshot.expires_at),
    )


def notification(snapshot: Snapshot, now: Instant) -> dict[str, Any]:
    """A SnapshotNotification (5.3.4)."""
    told = {
        "id": f"urn:ngsi-ld:Notification:{uuid4()}",
        "type": "SnapshotNotification",
        "snapshotId": snapshot.id,
        "snapshotStatus": snapshot.status,
        "snapshotPriority": snapshot.priority,
        "notifiedAt": timestamp(now),
        "expiresAt": timestamp(snapshot.expires_at),
        "snapshotQueriesDetails": snapshot.details,
        "temporalSnapshotQueriesDetails": snapshot.temporal_details,
    }
    return {name: value for name, value in told.items() if value != []}


def record_of(snapshot: Snapshot, expected: int | None = None) -> RecordWrite:
    """The record of a snapshot."""
    body = msgspec.json.encode(snapshot)
    return RecordWrite(tenant=snapshot.tenant, kind=RECORD, id=snapshot.id, body=body, expected=expected)


def period(value: Any) -> str:
    """A duration that is longer than nothing."""
    if not duration(text(value)):
        raise BadRequestData("must be a duration such as PT1H")
    return str(value)


def priority(value: Any) -> int:
    """A priority (5.2.41)."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10:
        raise BadRequestData("must be a whole number from 1 to 10")
    return value


def queries(value: Any) -> list[Any]:
    """Queries, not looked into here."""
    if not isinstance(value, list) or not value:
        raise BadRequestData("must be an array with at least one Query")
    return value


READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "id": ("id", uri),
    "snapshotQueries": ("queries", queries),
    "snapshotTemporalQueries": ("temporal_queries", queries),
    "snapshotLifetime": ("lifetime", period),
    "snapshotPriority": ("priority", priority),
    "endpoint": ("endpoint", uri),
    "receiverInfo": ("receiver_info", headers),
}
"""Members that can be sent, the fields that hold them, and how they are read."""
