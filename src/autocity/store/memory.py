"""The reference store: everything in dictionaries, every question answered by the language's own matcher."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from autocity.errors import StoreUnavailable
from autocity.ld import document, merge
from autocity.ld.instants import instant
from autocity.ld.query import Query, TypeIs, matcher, sort
from autocity.ld.temporal import Window, select
from autocity.model import Attribute, Change, Delivery, Entity, Instant, Logged, Record, Stored
from autocity.store.digest import kinds, summarize
from autocity.store.history import Series, encode, instance_id, points, position, stamped
from autocity.store.listeners import Listeners
from autocity.store.port import (
    COUNTED,
    Commit,
    History,
    Page,
    PointWrite,
    RecordWrite,
    StaleCommit,
    TypeSummary,
)

LOG_LINES = 1_000_000


class Held(Struct):
    """An entity at rest: `order` counts creations, so that it tells the order of answers."""

    order: int
    entity: Entity
    stored: Stored
    expires: Instant | None


class Kept(NamedTuple):
    """One recorded instance and where it stands (`history.position`)."""

    position: tuple[Instant, int, str, Series, int]
    instance: Attribute

    @property
    def dataset(self) -> str:
        return self.position[2]


class Evolution(Struct):
    """What is recorded of one entity. `added` are types known only to history."""

    types: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    created_at: Instant = 0
    modified_at: Instant = 0
    deleted_at: Instant = 0
    series: dict[str, list[Kept]] = {}

    def all_types(self) -> tuple[str, ...]:
        return self.types + tuple(type for type in self.added if type not in self.types)


class MemoryStore:
    """A `port.Store` that keeps nothing beyond the process. What the other stores must agree with."""

    def __init__(self) -> None:
        self._open = False
        self._entities: dict[str, dict[str, Held]] = {"": {}}
        self._types: dict[tuple[str, str], dict[str, Held]] = {}
        self._evolutions: dict[tuple[str, str], Evolution] = {}
        self._records: dict[tuple[str, str, str], Record] = {}
        self._outbox: dict[str, Delivery] = {}
        self._log: deque[Logged] = deque(maxlen=LOG_LINES)
        self._listeners = Listeners()
        self._generation = 0
        self._created = 0
        self._seq = 0

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    # -- state

    async def get(self, tenant: str, id: str) -> Stored | None:
        held = self._entities.get(tenant, {}).get(id)
        return held.stored if held else None

    async def get_many(self, tenant: str, ids: Sequence[str]) -> list[Stored]:
        entities = self._entities.get(tenant, {})
        return [entities[id].stored for id in dict.fromkeys(ids) if id in entities]

    async def query(self, tenant: str, query: Query, *, now: Instant) -> Page:
        entities = self._entities.get(tenant, {})

        def resolve(id: str) -> Entity | None:
            held = entities.get(id)
            return held.entity if held and not _expired(held, now) else None

        fits = matcher(query, resolve)
        candidates = self._candidates(tenant, query)
        found = (held for held in candidates if not _expired(held, now) and fits(held.entity))
        if not query.order and not query.count:
            return Page([held.stored for held in islice(found, query.offset, query.offset + query.limit)])
        stored = [held.stored for held in _sorted(found, query)]
        page = stored[query.offset : query.offset + query.limit]
        return Page(page, len(stored) if query.count else None)

    def _candidates(self, tenant: str, query: Query) -> Iterable[Held]:
        """All that can match, in order of creation: narrowed by ids or one type when that is easy."""
        entities = self._entities.get(tenant, {})
        if len(query.selectors) == 1:
            selector = query.selectors[0]
            if selector.ids:
                named = [entities[id] for id in set(selector.ids) if id in entities]
                return sorted(named, key=attrgetter("order"))
            if isinstance(selector.types, TypeIs):
                return sorted(
                    self._types.get((tenant, selector.types.type), {}).values(), key=attrgetter("order")
                )
        return entities.values()

    async def expired(self, now: Instant, limit: int = 1000) -> list[tuple[str, str]]:
        found = [
            (held.expires, held.order, tenant, held.entity.id)
            for tenant, entities in self._entities.items()
            for held in entities.values()
            if held.expires is not None and held.expires <= now
        ]
        return [(tenant, id) for _, _, tenant, id in sorted(found)[:limit]]

    async def summary(self, tenant: str) -> list[TypeSummary]:
        return summarize(
            (held.entity.types, {name: kinds(some) for name, some in held.entity.attributes.items()}, 1)
            for held in self._entities.get(tenant, {}).values()
        )

    async def tenants(self) -> list[str]:
        return sorted(self._entities)

    async def count(self, tenant: str | None = None) -> int:
        if tenant is None:
            return sum(map(len, self._entities.values()))
        return len(self._entities.get(tenant, {}))

    # -- writing

    async def commit(self, commit: Commit) -> list[int]:
        if not self._open:
            raise StoreUnavailable("the store is closed")
        stale = list(self._stale(commit))
        if stale:
            raise StaleCommit(stale)
        # Whatever can fail comes before the first mutation: then all of a commit is applied or none.
        documents = [document.dump(change.after) if change.after else b"" for change in commit.changes]
        recorded = [points(change) if change.record else [] for change in commit.changes]
        for instances in recorded:
            for name, instance in instances:
                encode(name, instance, instance.created_at, instance.modified_at)
        logged = [
            self._change(change, text, instances)
            for change, text, instances in zip(commit.changes, documents, recorded, strict=True)
        ]
        for write in commit.records:
            self._put(write)
        for provision in commit.points:
            self._provide(provision)
        for delivery in commit.deliveries:
            self._outbox[delivery.id] = delivery
        for id in commit.settled:
            self._outbox.pop(id, None)
        self._log.extend(logged)
        self._listeners.tell(logged)
        return [line.seq for line in logged]

    def generation(self) -> int:
        return self._generation

    def _stale(self, commit: Commit) -> Iterator[tuple[str, str]]:
        if commit.generation is not None and commit.generation != self._generation:
            yield "", "generation"
        heads: dict[tuple[str, str], int] = {}
        for change in commit.changes:
            key = change.tenant, change.id
            if (heads[key] if key in heads else self._version(*key)) != change.expected:
                yield key
            heads[key] = version_after(change)
        versions: dict[tuple[str, str, str], int] = {}
        for write in commit.records:
            name = write.tenant, write.kind, write.id
            record = self._records.get(name)
            version = versions.get(name, record.version if record else 0)
            if write.expected is not None and write.expected != version:
                yield write.tenant, f"{write.kind}/{write.id}"
            versions[name] = 0 if write.body is None else version + 1
        for provision in commit.points:
            evolution = self._evolutions.get((provision.tenant, provision.id), Evolution())
            for attribute, instances in provision.attributes.items():
                for instance in instances:
                    if instance.instance_id and _find(evolution, attribute, instance.instance_id) is None:
                        yield provision.tenant, provision.id

    def _version(self, tenant: str, id: str) -> int:
        held = self._entities.get(tenant, {}).get(id)
        return held.stored.version if held else 0

    def _change(self, change: Change, text: bytes, recorded: list[tuple[str, Attribute]]) -> Logged:
        key, after = (change.tenant, change.id), change.after
        entities = self._entities.setdefault(change.tenant, {})
        held = entities.pop(change.id, None) if after is None else entities.get(change.id)
        if held:
            for type in held.entity.types:
                del self._types[change.tenant, type][change.id]
        if after is not None:
            if held is None:
                self._created += 1
            held = entities[change.id] = Held(
                held.order if held else self._created,
                after,
                Stored(change.id, version_after(change), text),
                instant(after.expires_at) if after.expires_at else None,
            )
            for type in after.types:
                self._types.setdefault((change.tenant, type), {})[change.id] = held
        if change.record or key in self._evolutions:
            self._note(self._evolutions.setdefault(key, Evolution(series={})), change)
            for attribute, instance in recorded:
                self._append(key, attribute, instance)
        self._seq += 1
        return logged(change, self._seq)

    def _note(self, evolution: Evolution, change: Change) -> None:
        if change.before is None:
            evolution.added, evolution.deleted_at = (), 0
        if change.after is None:
            evolution.deleted_at = change.at
        if present := change.after or change.before:
            _take(evolution, present)

    def _append(self, key: tuple[str, str], attribute: str, instance: Attribute) -> None:
        point = encode(attribute, instance, instance.created_at, instance.modified_at)
        kept = self._evolutions[key].series.setdefault(attribute, [])
        *here, _ = position(point, 0)
        n = 1 + max((one.position[-1] for one in kept if list(one.position[:-1]) == here), default=-1)
        if instance.instance_id is None:
            name = instance_id(key[1], point.series, point.at, point.lag, n)
            instance = replace(instance, instance_id=name)
        insort(kept, Kept(position(point, n), instance), key=attrgetter("position"))

    def _provide(self, provision: PointWrite) -> None:
        key = provision.tenant, provision.id
        present = self._entities.setdefault(provision.tenant, {}).get(provision.id)
        evolution = self._evolutions.setdefault(key, Evolution(series={}))
        if present and not evolution.types:
            _take(evolution, present.entity)
        evolution.added += tuple(type for type in provision.types if type not in evolution.all_types())
        if not present:
            evolution.scopes = provision.scopes or evolution.scopes
            evolution.created_at = evolution.created_at or provision.at
            evolution.modified_at = provision.at
        given = [(name, one) for name, instances in provision.attributes.items() for one in instances]
        replaced = []
        for name, instance in given:
            if instance.instance_id and (old := _find(evolution, name, instance.instance_id)):
                evolution.series[name].remove(old)
                created, id = old.instance.created_at, instance.instance_id
                new = replace(stamped(instance, provision.at), created_at=created, instance_id=id)
                replaced.append((name, new))
        for name, instance in given:
            if not instance.instance_id:
                self._append(key, name, stamped(instance, provision.at))
        for name, instance in replaced:
            self._append(key, name, instance)

    def _put(self, write: RecordWrite) -> None:
        self._entities.setdefault(write.tenant, {})
        name = write.tenant, write.kind, write.id
        old = self._records.get(name)
        if write.body is None:
            self._records.pop(name, None)
        else:
            self._records[name] = Record(
                tenant=write.tenant,
                kind=write.kind,
                id=write.id,
                body=write.body,
                version=old.version + 1 if old else 1,
            )
        if write.kind in COUNTED:
            self._generation += 1

    # -- history

    async def history(
        self, tenant: str, ids: Sequence[str], window: Window, attributes: Sequence[str] = ()
    ) -> list[History]:
        found = []
        for id in dict.fromkeys(ids):
            evolution = self._evolutions.get((tenant, id))
            if evolution and (history := _history(id, evolution, window, attributes)):
                found.append(history)
        return found

    async def recorded(self, tenant: str, query: Query) -> list[str]:
        fits = matcher(Query(selectors=query.selectors, scopes=query.scopes))
        return sorted(
            id
            for (owner, id), evolution in self._evolutions.items()
            if owner == tenant and fits(Entity(id=id, types=evolution.all_types(), scopes=evolution.scopes))
        )

    async def forget(
        self,
        tenant: str,
        id: str,
        attribute: str | None = None,
        instance_id: str | None = None,
        *,
        dataset_ids: Sequence[str] = (),
    ) -> bool:
        evolution = self._evolutions.get((tenant, id))
        if evolution is None:
            return False
        if attribute is None and instance_id is None and not dataset_ids:
            del self._evolutions[tenant, id]
            return True
        datasets = {"" if dataset == "@none" else dataset for dataset in dataset_ids}
        some = False
        for name in [attribute] if attribute else list(evolution.series):
            kept = evolution.series.get(name, [])
            left = [
                one
                for one in kept
                if (datasets and one.dataset not in datasets)
                or (instance_id and one.instance.instance_id != instance_id)
            ]
            some = some or len(left) < len(kept)
            evolution.series[name] = left
            if not left:
                del evolution.series[name]
        return some

    # -- records

    async def record(self, tenant: str, kind: str, id: str) -> Record | None:
        return self._records.get((tenant, kind, id))

    async def records(self, tenant: str | None, kind: str) -> list[Record]:
        return [
            record
            for record in self._records.values()
            if record.kind == kind and tenant in (None, record.tenant)
        ]

    # -- outbox and feed

    async def outbox(
        self,
        *,
        due_before: Instant | None = None,
        subscription: str | None = None,
        dead: bool = False,
        limit: int = 1000,
    ) -> list[Delivery]:
        waiting = (
            delivery
            for delivery in self._outbox.values()
            if delivery.dead == dead
            and (due_before is None or delivery.due_at <= due_before)
            and subscription in (None, delivery.subscription)
        )
        return list(islice(waiting, limit))

    async def claim(self, *, subscription: str | None = None, limit: int = 1000) -> list[Delivery]:
        return await self.outbox(subscription=subscription, limit=limit)

    async def leads(self) -> bool:
        return True

    async def log(self, after: int, limit: int = 1000, tenant: str | None = None) -> list[Logged]:
        first = self._log[0].seq if self._log else 1
        lines = islice(self._log, max(0, after + 1 - first), None)
        return list(islice((line for line in lines if tenant in (None, line.tenant)), limit))

    async def last_seq(self) -> int:
        return self._seq

    def watch(self, hear: Callable[[Sequence[Logged]], None]) -> Callable[[], None]:
        return self._listeners.add(hear)

    # -- care

    async def check(self) -> list[str]:
        return [
            f"the document of {id} is not the entity"
            for entities in self._entities.values()
            for id, held in entities.items()
            if document.load(held.stored.document) != held.entity
        ]

    async def backup(self, target: str) -> None:
        raise StoreUnavailable("a store in memory has no file to copy; export its entities instead")


def version_after(change: Change) -> int:
    """The version an entity has after a change; 0 when it is gone."""
    return 0 if change.after is None else change.version or change.expected + 1


def logged(change: Change, seq: int) -> Logged:
    """The line of the change log for a change."""
    present = change.after or change.before
    return Logged(
        seq=seq,
        tenant=change.tenant,
        id=change.id,
        operation="delete" if change.after is None else "update" if change.before else "create",
        types=present.types if present else (),
        attributes=merge.changed(change.before, change.after),
        at=change.at,
        actor=change.actor,
        depth=change.depth,
    )


def _expired(held: Held, now: Instant) -> bool:
    return held.expires is not None and held.expires <= now


def _sorted(found: Iterator[Held], query: Query) -> Iterable[Held]:
    if not query.order:
        return found
    held = {one.entity.id: one for one in found}
    return [held[entity.id] for entity in sort((one.entity for one in held.values()), query.order)]


def _find(evolution: Evolution, attribute: str, instance_id: str) -> Kept | None:
    kept = evolution.series.get(attribute, ())
    return next((one for one in kept if one.instance.instance_id == instance_id), None)


def _take(evolution: Evolution, entity: Entity) -> None:
    evolution.types, evolution.scopes = entity.types, entity.scopes
    evolution.created_at, evolution.modified_at = entity.created_at, entity.modified_at


def _history(id: str, evolution: Evolution, window: Window, attributes: Sequence[str]) -> History | None:
    chosen: dict[str, Any] = {}
    truncated = False
    for name in sorted(set(attributes) or evolution.series):
        instances, cut = select([kept.instance for kept in evolution.series.get(name, ())], window)
        if instances:
            chosen[name] = instances
        truncated = truncated or cut
    if not chosen:
        return None
    return History(
        id=id,
        types=evolution.all_types(),
        scopes=evolution.scopes,
        attributes=chosen,
        created_at=evolution.created_at,
        modified_at=evolution.modified_at,
        deleted_at=evolution.deleted_at,
        truncated=truncated,
    )
