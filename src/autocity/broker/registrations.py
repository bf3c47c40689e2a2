"""All registrations of context sources: kept in the store, indexed here, matched with what is asked for
(5.12), and told to those who subscribed to them (5.11).

Every process keeps them at hand; the store's generation, which a registration raises as a subscription
does, tells when others have written some.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.broker import notices
from autocity.broker.matching import Watch
from autocity.broker.outbound import Outbound
from autocity.broker.registration import (
    PROXIED,
    EntityInfo,
    Information,
    Mode,
    Registration,
    parse,
    render,
    update,
)
from autocity.broker.subscriptions import Subscriptions
from autocity.errors import AlreadyExists, BadRequestData, Conflict, ResourceNotFound, StoreUnavailable
from autocity.ld.context import Context
from autocity.ld.geo import Geo, distance
from autocity.ld.instants import LAST, timestamp
from autocity.ld.query import (
    AllOf,
    AnyOf,
    Node,
    Query,
    Select,
    Selector,
    TypeIs,
    id_pattern,
    matches,
    matches_q,
    parse_q,
    selects,
)
from autocity.ld.temporal import Window, parse_window
from autocity.model import Attribute, Delivery, Entity, Instant
from autocity.store.port import Commit, RecordWrite, StaleCommit, Store

log = logging.getLogger(__name__)

RECORD = "registration"
TALLY = "registration-tally"
MAX_TRIES = 16
NEWLY_MATCHING, UPDATED, NO_LONGER_MATCHING = "newlyMatching", "updated", "noLongerMatching"

EVERYTHING: frozenset[str] = frozenset()
"""Attributes asked for or offered: none named means all."""


class Seek(Struct, frozen=True):
    """What sources are looked for (5.10.2, 5.12): those that may have entities that one of `selectors`
    selects (none: any) with one of `attributes` (none: any). `temporal`: those of history.

    `strict`: a source that does not say where it is or what scope it has does not fit a geo or scope
    query (5.10.2.4); else it may have anything.
    """

    selectors: tuple[Selector, ...] = ()
    attributes: frozenset[str] = EVERYTHING
    dataset_ids: frozenset[str] = frozenset()
    geo: Geo | None = None
    scopes: Select | None = None
    csf: Node | None = None
    window: Window | None = None
    temporal: bool = False
    strict: bool = False


class Tally(Struct):
    """What became of the requests to a source (5.2.9, table 2)."""

    times_sent: int = 0
    times_failed: int = 0
    last_success: Instant = 0
    last_failure: Instant = 0
    failed: bool = False

    def shown(self) -> dict[str, Any]:
        """The output-only members of the registration."""
        if not self.times_sent:
            return {}
        return {
            "status": "failed" if self.failed else "ok",
            "timesSent": self.times_sent,
            "timesFailed": self.times_failed,
            **({"lastSuccess": timestamp(self.last_success)} if self.last_success else {}),
            **({"lastFailure": timestamp(self.last_failure)} if self.last_failure else {}),
        }


class Source:
    """A registration at work: ready to be asked whether it has what is wanted."""

    __slots__ = ("_described", "_patterns", "id", "mode", "registration", "supported", "tenant", "version")

    def __init__(self, registration: Registration, version: int) -> None:
        self.registration = registration
        self.version = version
        self.id = registration.id
        self.tenant = registration.tenant
        self.mode: Mode = registration.working_mode
        self.supported = registration.supported
        self._described: Entity | None = None
        self._patterns: dict[str, Callable[[str], bool]] = {
            info.id_pattern: id_pattern(info.id_pattern)
            for each in registration.information
            for info in each.entities
            if info.id_pattern is not None
        }

    @property
    def proxied(self) -> bool:
        """Whether what it has is held there only (4.3.6.3)."""
        return self.mode in PROXIED

    @property
    def described(self) -> Entity:
        """The registration as an entity, for queries about it."""
        if self._described is None:
            self._described = self.registration.described()
        return self._described

    def matching(self, seek: Seek) -> tuple[Information, ...]:
        """The elements of its information that fit (5.12); none when it is not looked for at all."""
        if not self._fits(seek):
            return ()
        return tuple(each for each in self.registration.information if self._has(each, seek))

    def offers(self, id: str, types: Iterable[str] | None) -> frozenset[str] | None:
        """The attributes that it has of an entity (`EVERYTHING`: all), None when it has none. `types` None:
        they are not known."""
        found: set[str] = set()
        nothing = True
        for each in self.registration.information:
            if each.entities and not any(self.describes(info, id, types) for info in each.entities):
                continue
            if not each.attributes:
                return EVERYTHING
            nothing = False
            found |= each.attributes
        return None if nothing else frozenset(found)

    def describes(self, info: EntityInfo, id: str, types: Iterable[str] | None = None) -> bool:
        """Whether an entity is one of those described; `types` None: they are not known."""
        if types is not None and info.types and not set(info.types).intersection(types):
            return False
        if info.id is not None:
            return info.id == id
        return info.id_pattern is None or self._patterns[info.id_pattern](id)

    def _fits(self, seek: Seek) -> bool:
        registration = self.registration
        if not self._timely(seek):
            return False
        wanted = seek.dataset_ids
        if wanted and registration.dataset_id and wanted.isdisjoint(registration.dataset_id):
            return False
        if seek.csf is not None and not matches_q(seek.csf, self.described):
            return False
        asked = seek.scopes if seek.strict or registration.scopes else None
        if asked is not None and not selects(asked, self.described):
            return False
        return seek.geo is None or self._located(seek.geo, seek.strict)

    def _timely(self, seek: Seek) -> bool:
        """Whether it is about the present or about the history that is asked for (5.9.1)."""
        if seek.window is None and not seek.temporal:
            return not self.registration.temporal
        if not self.registration.temporal:
            return not seek.strict and self.registration.recording
        return seek.window is None or recorded_within(self.registration, seek.window)

    def _located(self, geo: Geo, strict: bool) -> bool:
        instances = self.described.attributes.get(geo.property)
        if instances is None:
            return not strict
        return matches(Query(geo=geo), self.described) or may_contain(geo, instances[0].value)

    def _has(self, each: Information, seek: Seek) -> bool:
        if seek.attributes and each.attributes and seek.attributes.isdisjoint(each.attributes):
            return False
        if not each.entities or not seek.selectors:
            return True
        return any(self.selected(info, selector) for info in each.entities for selector in seek.selectors)

    def selected(self, info: EntityInfo, selector: Selector) -> bool:
        """Whether some of the entities described may be among those selected (5.12)."""
        told = selector.types if info.types else None
        if told is not None and not selects(told, Entity(id="", types=info.types)):
            return False
        if info.id is None and info.id_pattern is None:
            return True
        if selector.ids:
            return any(self.describes(info, id) for id in selector.ids)
        if selector.id_pattern is not None and info.id is not None:
            return id_pattern(selector.id_pattern)(info.id)
        # Two patterns may well have an id in common (5.12).
        return True


class Index:
    """The sources of one tenant, by what their information names."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._by_id: dict[str, dict[Source, None]] = {}
        self._by_type: dict[str, dict[Source, None]] = {}
        self._by_type_alone: dict[str, dict[Source, None]] = {}
        self._untyped: dict[Source, None] = {}
        self._of_any: dict[Source, None] = {}

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources.values())

    def add(self, source: Source) -> None:
        """Take up a source."""
        self._sources[source.id] = source
        for found in self._places(source):
            found[source] = None

    def remove(self, source: Source) -> None:
        """Let go of a source."""
        del self._sources[source.id]
        for found in self._places(source):
            found.pop(source, None)

    def _places(self, source: Source) -> Iterator[dict[Source, None]]:
        for each in source.registration.information:
            if not each.entities:
                yield self._of_any
            for info in each.entities:
                if info.id is not None:
                    yield self._by_id.setdefault(info.id, {})
                    if not info.types:
                        yield self._untyped
                elif not info.types:
                    yield self._of_any
                for type in info.types:
                    yield self._by_type.setdefault(type, {})
                    if info.id is None:
                        yield self._by_type_alone.setdefault(type, {})

    def for_entity(self, id: str, types: Iterable[str] | None) -> Iterable[Source]:
        """Sources that may have an entity, each once."""
        alone = self._by_type_alone
        found = dict(self._by_id.get(id, ()))
        for type in alone if types is None else types:
            found.update(alone.get(type, {}))
        found.update(self._of_any)
        return found

    def for_query(self, selectors: Sequence[Selector]) -> Iterable[Source]:
        """Sources that may have entities that one of the selectors selects, each once."""
        named = [types_in(selector.types) for selector in selectors]
        if not named or None in named:
            return self
        found = dict(self._of_any)
        found.update(self._untyped)
        for types in named:
            for type in types or ():
                found.update(self._by_type.get(type, {}))
        return found


class Registrations:
    """Registrations by tenant and id, in the order of their creation."""

    def __init__(
        self,
        store: Store,
        subscriptions: Subscriptions,
        *,
        clock: Callable[[], Instant],
        outbound: Outbound,
        accept: Callable[[Iterable[Delivery]], None],
    ) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._clock = clock
        self._outbound = outbound
        self._accept = accept
        self._sources: dict[tuple[str, str], Source] = {}
        self._indexes: dict[str, Index] = {}
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._generation = -1
        self._lock = asyncio.Lock()
        self.listeners: list[Callable[[str, Source | None, Source | None], None]] = []

    async def open(self) -> None:
        """Read what is stored."""
        for record in await self._store.records(None, TALLY):
            self._tallies[record.tenant, record.id] = msgspec.json.decode(record.body, type=Tally)
        await self.catch_up()

    # -- reading

    @property
    def idle(self) -> bool:
        """Whether nobody is registered, as far as is known now; one look at this costs next to nothing."""
        return not self._sources and self._generation == self._store.generation()

    async def catch_up(self) -> None:
        """Know every registration that the store knows."""
        if self._generation != self._store.generation():
            async with self._lock:
                if self._generation != self._store.generation():
                    await self._reload()

    def get(self, tenant: str, id: str) -> Source:
        """One registration at work. Raises ResourceNotFound."""
        source = self._sources.get((tenant, id))
        if source is None or source.registration.expired(self._clock()):
            raise ResourceNotFound(f"context source registration {id} does not exist")
        return source

    def find(self, tenant: str, seek: Seek) -> list[tuple[Source, tuple[Information, ...]]]:
        """Sources that fit, with the elements of their information that do, in the order of creation."""
        index = self._indexes.get(tenant)
        if index is None:
            return []
        now = self._clock()
        found = [
            (source, matching)
            for source in index.for_query(seek.selectors)
            if not source.registration.expired(now) and (matching := source.matching(seek))
        ]
        return sorted(found, key=lambda pair: (pair[0].registration.created_at, pair[0].id))

    def having(
        self, tenant: str, id: str, types: Iterable[str] | None, *, temporal: bool = False
    ) -> list[tuple[Source, frozenset[str]]]:
        """Sources of an entity, its present state or its history, with the attributes they have of it."""
        index = self._indexes.get(tenant)
        if index is None:
            return []
        now = self._clock()
        found = [
            (source, offered)
            for source in index.for_entity(id, types)
            if (source.registration.recording if temporal else not source.registration.temporal)
            and not source.registration.expired(now)
            and (offered := source.offers(id, types)) is not None
        ]
        return sorted(found, key=lambda pair: (pair[0].registration.created_at, pair[0].id))

    def render(
        self, registration: Registration, context: Context, *, sys_attrs: bool = False
    ) -> dict[str, Any]:
        """The registration as an answer shows it (5.2.9), names compacted; without @context."""
        tally = self._tallies.get((registration.tenant, registration.id)) or Tally()
        return render(registration, context, tally.shown(), sys_attrs=sys_attrs)

    # -- writing

    async def create(self, tenant: str, body: Any, context: Context) -> str:
        """Register context source (5.9.2): its id. Raises BadRequestData, AlreadyExists, Conflict."""
        now = self._clock()
        registration = parse(body, context, now, self._outbound)
        id = registration.id or f"urn:ngsi-ld:ContextSourceRegistration:{uuid4()}"
        registration = replace(registration, id=id, tenant=tenant)
        await self.catch_up()
        await self._check(registration)
        for _ in range(MAX_TRIES):
            async with self._lock:
                before = self._sources.get((tenant, id))
                if before is not None and not before.registration.expired(now):
                    raise AlreadyExists(f"context source registration {id} exists already; update it")
                if await self._put(before, registration):
                    return id
        raise busy(id)

    async def update(self, tenant: str, id: str, fragment: Any, context: Context) -> None:
        """Update context source registration (5.9.3). Raises BadRequestData, ResourceNotFound, Conflict."""
        for _ in range(MAX_TRIES):
            await self.catch_up()
            before = self.get(tenant, id)
            after = update(before.registration, fragment, context, self._clock(), self._outbound)
            await self._check(after)
            async with self._lock:
                if self._sources.get((tenant, id)) is before and await self._put(before, after):
                    return
        raise busy(id)

    async def delete(self, tenant: str, id: str) -> None:
        """Delete context source registration (5.9.4). Raises ResourceNotFound."""
        for _ in range(MAX_TRIES):
            await self.catch_up()
            before = self.get(tenant, id)
            async with self._lock:
                if self._sources.get((tenant, id)) is before and await self._put(before, None):
                    return
        raise busy(id)

    async def sweep(self) -> int:
        """Delete registrations whose time is over (5.9.2.4). How many."""
        await self.catch_up()
        now = self._clock()
        gone = [source for source in self._sources.values() if source.registration.expired(now)]
        swept = 0
        for source in gone:
            async with self._lock:
                if self._sources.get((source.tenant, source.id)) is source:
                    swept += await self._put(source, None)
        return swept

    async def _check(self, registration: Registration) -> None:
        """What is registered as held elsewhere only must not be held here (5.9.2.4). Raises Conflict."""
        mode = registration.working_mode
        if mode not in PROXIED:
            return
        # Redirects may overlap each other; what is exclusive overlaps with nothing (4.3.6.3).
        rivals = PROXIED if mode == "exclusive" else frozenset(("exclusive",))
        for other in self._indexes.get(registration.tenant, ()):
            same = other.id == registration.id or other.mode not in rivals
            if not same and overlap(other.registration, registration):
                raise Conflict(f"{other.id} is the {other.mode} source of what is registered here")
        now = self._clock()
        for query in queries_for(registration):
            page = await self._store.query(registration.tenant, query, now=now)
            if page.entities:
                raise Conflict(
                    f"entity {page.entities[0].id} is here and has what is registered as held elsewhere"
                )

    async def _put(self, before: Source | None, registration: Registration | None) -> bool:
        """Write while the lock is held, together with the notifications that it causes. False when another
        process had been first; what it did is known now."""
        subject = registration or (before and before.registration)
        assert subject is not None
        await self._subscriptions.catch_up()
        after = None if registration is None else Source(registration, before.version + 1 if before else 1)
        deliveries = tuple(self._told(before, after))
        write = RecordWrite(
            tenant=subject.tenant,
            kind=RECORD,
            id=subject.id,
            body=None if registration is None else msgspec.json.encode(registration),
            expected=before.version if before else 0,
        )
        writes: tuple[RecordWrite, ...] = (write,)
        if registration is None:
            writes += (RecordWrite(tenant=subject.tenant, kind=TALLY, id=subject.id, body=None),)
        known = self._generation
        stale = known != self._subscriptions.generation
        try:
            if not stale:
                await self._store.commit(Commit(records=writes, deliveries=deliveries, generation=known))
        except StaleCommit:
            stale = True
        if stale or self._store.generation() != known + 1:
            await self._reload()
        else:
            self._set(subject.tenant, subject.id, after)
            self._generation = known + 1
        if not stale:
            self._accept(deliveries)
        return not stale

    def _set(self, tenant: str, id: str, after: Source | None) -> None:
        before = self._sources.pop((tenant, id), None)
        index = self._indexes.setdefault(tenant, Index())
        if before is not None:
            index.remove(before)
        if after is None:
            self._tallies.pop((tenant, id), None)
            self._dirty.discard((tenant, id))
        else:
            self._sources[tenant, id] = after
            index.add(after)
        for hear in self.listeners:
            hear(tenant, before, after)

    async def _reload(self) -> None:
        """Read what differs. The generation is taken first: should more change meanwhile, it is too low."""
        generation = self._store.generation()
        records = {(each.tenant, each.id): each for each in await self._store.records(None, RECORD)}
        for tenant, id in [key for key in self._sources if key not in records]:
            self._set(tenant, id, None)
        for key, record in records.items():
            known = self._sources.get(key)
            if known is None or known.version != record.version:
                registration = msgspec.json.decode(record.body, type=Registration)
                self._set(record.tenant, record.id, Source(registration, record.version))
        self._generation = generation

    # -- telling who subscribed (5.11.7)

    def _told(self, before: Source | None, after: Source | None) -> Iterator[Delivery]:
        """The notifications that a change of one registration causes."""
        subject = after or before
        assert subject is not None
        now = self._clock()
        for watch in self._subscriptions.about_sources(subject.tenant):
            subscription = watch.subscription
            if subscription.time_interval is not None or subscription.status(now) != "active":
                continue
            seek = seek_of(watch)
            old = before.matching(seek) if before is not None else ()
            new = after.matching(seek) if after is not None else ()
            if after is not None and new:
                yield self._delivery(watch, [(after, new)], UPDATED if old else NEWLY_MATCHING)
            elif old:
                yield self._delivery(watch, [(subject, old)], NO_LONGER_MATCHING)

    async def tell(self, watch: Watch) -> int:
        """Tell a subscription of all registrations that match now; how many. Nothing is told of none."""
        await self.catch_up()
        if watch.subscription.status(self._clock()) != "active":
            return 0
        found = self.find(watch.tenant, seek_of(watch))
        if found:
            deliveries = (self._delivery(watch, found, NEWLY_MATCHING),)
            await self._store.commit(Commit(deliveries=deliveries))
            self._accept(deliveries)
        return len(found)

    def _delivery(
        self, watch: Watch, found: Sequence[tuple[Source, tuple[Information, ...]]], reason: str
    ) -> Delivery:
        data = [
            render(source.registration, watch.context, {}, information=matching, listed=True)
            for source, matching in found
        ]
        return notices.delivery_of_sources(watch, data, reason, self._clock())

    # -- counting

    def sent(self, source: Source, *, ok: bool) -> None:
        """Note how a request to a source ended."""
        key = source.tenant, source.id
        if key not in self._sources:
            return
        tally = self._tallies.setdefault(key, Tally())
        tally.times_sent += 1
        tally.failed = not ok
        if ok:
            tally.last_success = self._clock()
        else:
            tally.times_failed += 1
            tally.last_failure = self._clock()
        self._dirty.add(key)

    async def flush(self) -> None:
        """Write down what was counted since the last time."""
        dirty, self._dirty = self._dirty, set()
        writes = tuple(
            RecordWrite(tenant=key[0], kind=TALLY, id=key[1], body=msgspec.json.encode(self._tallies[key]))
            for key in dirty
            if key in self._tallies
        )
        if writes:
            try:
                await self._store.commit(Commit(records=writes))
            except (StaleCommit, StoreUnavailable):
                self._dirty |= dirty


# -- small parts


def check_source_filters(body: dict[str, Any], context: Context) -> None:
    """Refuse filters of a subscription to context sources that cannot be read. Raises BadRequestData."""
    if isinstance(body.get("temporalQ"), dict):
        window_of(body["temporalQ"])
    if isinstance(body.get("csf"), str):
        parse_q(body["csf"], context.expand)


def seek_of(watch: Watch) -> Seek:
    """What a subscription to context sources looks for (5.11.2.4)."""
    subscription = watch.subscription
    watched, told = subscription.watched_attributes, subscription.notification.attributes
    temporal = subscription.rest.get("temporalQ")
    csf = subscription.rest.get("csf")
    return Seek(
        selectors=subscription.query.selectors,
        attributes=frozenset(watched + told) if watched and told else EVERYTHING,
        dataset_ids=frozenset(subscription.dataset_id),
        geo=subscription.geo_q.geo if subscription.geo_q else None,
        scopes=subscription.scope_q.tree if subscription.scope_q else None,
        csf=parse_q(csf, watch.context.expand) if csf else None,
        window=window_of(temporal) if isinstance(temporal, dict) else None,
        strict=True,
    )


def window_of(said: dict[str, Any]) -> Window:
    """A temporal query as an object (5.2.21). Raises BadRequestData."""
    names = ("timerel", "timeAt", "endTimeAt", "timeproperty")
    given = [said.get(name) for name in names]
    if not all(each is None or isinstance(each, str) for each in given):
        raise BadRequestData("members of temporalQ must be strings")
    return parse_window(*given)


def recorded_within(registration: Registration, window: Window) -> bool:
    """Whether a source has history of the time asked for (5.10.2.4)."""
    observed = window.property == "observedAt"
    span = registration.observation_interval if observed else registration.management_interval
    if span is None:
        return False
    if window.relation is None:
        return True
    start = 0 if window.relation == "before" else window.at
    end = LAST if window.relation == "after" else window.at if window.relation == "before" else window.end
    return span.touches(start, end)


def may_contain(geo: Geo, area: Any) -> bool:
    """Whether an area may hold a place that fits the geo query."""
    if area.get("type") in ("Point", "MultiPoint"):
        return False
    if geo.min_distance is not None or geo.relation == "disjoint":
        return True
    if geo.max_distance is not None:
        return distance(area, geo.geometry) <= geo.max_distance
    place = Entity(id="", types=(), attributes={geo.property: (Attribute(kind="GeoProperty", value=area),)})
    return matches(Query(geo=replace(geo, relation="intersects")), place)


def types_in(select: Select | None) -> set[str] | None:
    """The types that a selection names; None when it asks nothing."""
    match select:
        case None:
            return None
        case TypeIs(type):
            return {type}
        case AllOf(parts) | AnyOf(parts):
            return {type for part in parts for type in types_in(part) or ()}
        case _:
            return set()


def overlap(one: Registration, other: Registration) -> bool:
    """Whether two registrations name the same attributes of the same entity (4.3.6.3)."""
    return any(
        here.attributes.intersection(there.attributes) or not (here.attributes and there.attributes)
        for here in one.information
        for there in other.information
        if _share_entities(here, there)
    )


def _share_entities(here: Information, there: Information) -> bool:
    if not here.entities or not there.entities:
        return True
    return any(_share(one, other) for one in here.entities for other in there.entities)


def _share(one: EntityInfo, other: EntityInfo) -> bool:
    if one.types and other.types and not set(one.types).intersection(other.types):
        return False
    if one.id is not None and other.id is not None:
        return one.id == other.id
    for known, unknown in ((one, other), (other, one)):
        if known.id is not None and unknown.id_pattern is not None:
            return id_pattern(unknown.id_pattern)(known.id)
    return True


def queries_for(registration: Registration) -> Iterator[Query]:
    """Queries that find entities here that a registration says are held elsewhere."""
    for each in registration.information:
        attributes = (*each.property_names, *each.relationship_names)
        selectors = tuple(_selector(info, registration.working_mode) for info in each.entities)
        yield Query(selectors=selectors, attributes=attributes, limit=1)


def _selector(info: EntityInfo, mode: Mode) -> Selector:
    types = any_of(info.types) if info.types else None
    if info.id is None:
        return Selector(id_pattern=info.id_pattern, types=types)
    # What is exclusive is told apart by its id alone.
    return Selector(ids=(info.id,), types=None if mode == "exclusive" else types)


def any_of(types: Sequence[str]) -> Select:
    """The selection of entities that have one of the types."""
    leaves = tuple(TypeIs(type) for type in types)
    return leaves[0] if len(leaves) == 1 else AnyOf(leaves)


def busy(id: str) -> StoreUnavailable:
    """Others kept being first."""
    return StoreUnavailable(f"registration {id} is being changed too often to keep up; try again")
