"""All subscriptions of all tenants: kept in the store, indexed here, matched before a change is committed.

A commit names the generation of subscriptions that its notifications were decided upon; the store
refuses it when there are newer ones. So no change misses a subscription that was acknowledged, and
several processes need not talk to each other about subscriptions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.broker import notices
from autocity.broker.contexts import Contexts
from autocity.broker.matching import Index, Touched, Watch
from autocity.broker.outbound import Outbound
from autocity.broker.subscription import ABOUT_SOURCES, Subscription, parse, render, update
from autocity.broker.tallies import Key, Tallies, Tally
from autocity.errors import (
    AlreadyExists,
    BadRequestData,
    LdContextNotAvailable,
    ResourceNotFound,
    StoreUnavailable,
)
from autocity.ld.context import CORE, Context
from autocity.model import Change, Delivery, Entity, Instant, Record
from autocity.store.port import Commit, RecordWrite, StaleCommit, Store

__all__ = ["Key", "Matched", "Subscription", "Subscriptions", "Tally"]

log = logging.getLogger(__name__)

RECORD = "subscription"
TALLY = "subscription-tally"
PACE = "subscription-pace"
"""When a throttled subscription was last told, as a record that every such commit relies on."""

MAX_TRIES = 16


class Matched(Struct):
    """The notifications that changes cause, the generation of subscriptions that says so, and what was
    noted of the watches that are throttled: before, and at the time of the change."""

    deliveries: tuple[Delivery, ...]
    generation: int
    noted: list[tuple[Watch, Instant, Instant]]

    @property
    def paces(self) -> tuple[RecordWrite, ...]:
        """What keeps other processes from telling of a throttled subscription meanwhile."""
        return tuple(
            RecordWrite(
                tenant=watch.tenant,
                kind=PACE,
                id=watch.subscription.key,
                body=b"%d" % now,
                expected=watch.pace,
            )
            for watch, _, now in self.noted
        )

    def keep(self) -> None:
        """What was told is on disk."""
        for watch, _, _ in self.noted:
            watch.pace += 1

    def undo(self) -> None:
        """Forget that anything was told: the commit failed."""
        for watch, before, now in reversed(self.noted):
            if watch.last == now:
                watch.last = before


class Subscriptions:
    """Subscriptions by tenant and id, in the order of their creation."""

    def __init__(
        self,
        store: Store,
        contexts: Contexts,
        *,
        clock: Callable[[], Instant],
        outbound: Outbound,
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._clock = clock
        self._outbound = outbound
        self._watches: dict[Key, Watch] = {}
        self._indexes: dict[str, Index] = {}
        self._tallies = Tallies(store, TALLY, clock, self.catch_up)
        self._generation = -1
        self._lock = asyncio.Lock()
        self.listeners: list[Callable[[Key | None], None]] = []

    async def open(self) -> None:
        """Read what is stored."""
        await self._tallies.open()
        async with self._lock:
            await self._reload()

    async def close(self) -> None:
        """Write down what was counted."""
        await self._tallies.close()

    # -- reading

    def get(self, tenant: str, id: str) -> Subscription:
        """One subscription. Raises ResourceNotFound."""
        return self._get(tenant, id).subscription

    def watch(self, tenant: str, id: str) -> Watch | None:
        """One subscription at work."""
        return self._watches.get((tenant, id))

    def all(self, tenant: str, *, sources: bool = False) -> list[Subscription]:
        """Subscriptions of a tenant to entities, or to context sources, in the order of their creation."""
        return [
            watch.subscription
            for (owner, _), watch in self._watches.items()
            if owner == tenant and watch.subscription.sources is sources
        ]

    def about_sources(self, tenant: str) -> list[Watch]:
        """Subscriptions of a tenant to context sources, at work."""
        return [watch for (owner, key), watch in self._watches.items() if owner == tenant and about(key)]

    @property
    def generation(self) -> int:
        """The store's generation that what is known here is of."""
        return self._generation

    def __iter__(self) -> Iterator[Key]:
        """Tenant and id of every subscription."""
        return iter(list(self._watches))

    def periodic(self) -> list[Watch]:
        """Subscriptions that are told at intervals."""
        return [watch for watch in self._watches.values() if watch.subscription.time_interval is not None]

    def render(
        self, subscription: Subscription, context: Context, *, sys_attrs: bool = False
    ) -> dict[str, Any]:
        """The subscription as an answer shows it (5.2.12, 5.2.14.2), names compacted, status included;
        without @context."""
        tally = self.tally(subscription.tenant, subscription.key)
        return render(subscription, context, self._clock(), tally.shown(), sys_attrs=sys_attrs)

    def _get(self, tenant: str, id: str) -> Watch:
        watch = self._watches.get((tenant, id))
        if watch is None:
            raise ResourceNotFound(f"subscription {id.removeprefix(ABOUT_SOURCES)} does not exist")
        return watch

    # -- writing

    async def create(self, tenant: str, body: Any, context: Context, *, sources: bool = False) -> str:
        """Create subscription (5.8.1), with `sources` one to context sources (5.11.2): its id."""
        subscription = parse(body, context, self._clock(), self._outbound)
        id = subscription.id or f"urn:ngsi-ld:Subscription:{uuid4()}"
        subscription, compiled = await self._with_context(
            replace(subscription, id=id, tenant=tenant, sources=sources),
            context if not subscription.jsonld_context else None,
        )
        for _ in range(MAX_TRIES):
            async with self._lock:
                if (tenant, subscription.key) in self._watches:
                    raise AlreadyExists(f"subscription {subscription.id} exists already; update it")
                if await self._put(subscription, compiled, 0):
                    return subscription.id
        raise busy(subscription.id)

    async def update(self, tenant: str, id: str, fragment: Any, context: Context) -> None:
        """Update subscription (5.8.2)."""
        for _ in range(MAX_TRIES):
            before = self._get(tenant, id)
            after = update(before.subscription, fragment, context, self._clock(), self._outbound)
            compiled = before.context
            if after.jsonld_context != before.subscription.jsonld_context:
                after, compiled = await self._with_context(after, None if after.jsonld_context else context)
            async with self._lock:
                if self._watches.get((tenant, id)) is not before:
                    continue
                if await self._put(after, compiled, before.version):
                    return
        raise busy(id)

    async def delete(self, tenant: str, id: str) -> None:
        """Delete subscription (5.8.5)."""
        for _ in range(MAX_TRIES):
            async with self._lock:
                watch = self._get(tenant, id)
                gone = RecordWrite(tenant=tenant, kind=RECORD, id=id, body=None, expected=watch.version)
                rest = (RecordWrite(tenant=tenant, kind=kind, id=id, body=None) for kind in (TALLY, PACE))
                if await self._commit((gone, *rest), lambda: self._remove((tenant, id))):
                    return
        raise busy(id)

    async def _with_context(
        self, subscription: Subscription, context: Context | None
    ) -> tuple[Subscription, Context]:
        """The subscription with the context of its notifications (5.8.1.4): that of `jsonldContext`, else
        the one that holds for the request, made referable. Raises LdContextNotAvailable, BadRequestData."""
        if context is None:
            source = subscription.jsonld_context
            compiled = await self._contexts.resolve(source, subscription.tenant)
            return replace(subscription, context=source), compiled
        link = context.link
        if link is None and context.source is not None:
            link = await self._contexts.host(context.source, subscription.tenant)
        return replace(subscription, context=context.source, jsonld_context=link or ""), context

    async def _put(self, subscription: Subscription, context: Context, expected: int) -> bool:
        key = subscription.tenant, subscription.key
        write = RecordWrite(
            tenant=subscription.tenant,
            kind=RECORD,
            id=subscription.key,
            body=msgspec.json.encode(subscription),
            expected=expected,
        )
        return await self._commit(
            (write,), lambda: self._set(key, Watch(subscription, context, expected + 1))
        )

    async def _commit(self, writes: tuple[RecordWrite, ...], apply: Callable[[], None]) -> bool:
        """Write while the lock is held, then do here what was done there. False when another process
        had been first; what it did is known now."""
        before = self._generation
        try:
            await self._store.commit(Commit(records=writes, generation=before))
        except StaleCommit:
            await self._reload()
            return False
        # Exactly one record of the kind that counts was written; more means that others wrote, too.
        if self._store.generation() == before + 1:
            apply()
            self._generation = before + 1
            self._tell((writes[0].tenant, writes[0].id))
        else:
            await self._reload()
        return True

    def _set(self, key: Key, watch: Watch) -> None:
        old = self._watches.get(key)
        if old is not None:
            self._unindex(old)
            watch.last, watch.pace = old.last, old.pace
        else:
            watch.last = self._tallies.of(key).last_notification
        self._watches[key] = watch
        if indexed(watch.subscription):
            self._indexes.setdefault(watch.tenant, Index()).add(watch)

    def _remove(self, key: Key) -> None:
        self._unindex(self._watches.pop(key))
        self._tallies.forget(key)

    def _unindex(self, watch: Watch) -> None:
        if indexed(watch.subscription):
            self._indexes[watch.tenant].remove(watch)

    # -- keeping up with other processes

    async def catch_up(self) -> None:
        """Know every subscription that the store knows."""
        if self._generation != self._store.generation():
            async with self._lock:
                if self._generation != self._store.generation():
                    await self._reload()

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Hold up whoever would write a subscription here."""
        async with self._lock:
            if self._generation != self._store.generation():
                await self._reload()
            yield

    async def _reload(self) -> None:
        """Read what differs. The generation is taken first: should more change meanwhile, it is too low,
        and whatever relies on it is refused."""
        generation = self._store.generation()
        records = {(record.tenant, record.id): record for record in await self._store.records(None, RECORD)}
        changed = {
            key: await self._compiled(record)
            for key, record in records.items()
            if key not in self._watches or self._watches[key].version != record.version
        }
        for key in [key for key in self._watches if key not in records]:
            self._remove(key)
        for key, watch in changed.items():
            self._set(key, watch)
        self._generation = generation
        self._tell(None)

    def _tell(self, key: Key | None) -> None:
        """Let listeners know which subscription changed; None: any may have."""
        for hear in self.listeners:
            hear(key)

    async def _compiled(self, record: Record) -> Watch:
        subscription = msgspec.json.decode(record.body, type=Subscription)
        try:
            context = await self._contexts.resolve(subscription.context, subscription.tenant)
        except (LdContextNotAvailable, BadRequestData) as fault:
            # Names come out as IRIs then, which says the same at greater length.
            log.warning(
                "the @context of a subscription cannot be had",
                extra={"subscription": subscription.id, "reason": fault.detail},
            )
            context = CORE
        return Watch(subscription, context, record.version)

    async def heed(self, stale: Iterable[tuple[str, str]]) -> None:
        """Know when throttled subscriptions were told by other processes: that made a commit stale."""
        for tenant, name in stale:
            kind, _, id = name.partition("/")
            watch = self._watches.get((tenant, id)) if kind == PACE else None
            if watch is not None:
                record = await self._store.record(tenant, PACE, id)
                watch.pace = record.version if record is not None else 0
                watch.last = max(watch.last, int(record.body)) if record is not None else watch.last

    # -- matching

    def links_wanted(self, changes: Sequence[Change]) -> int:
        """How many steps of linked entities must be at hand to match and tell these changes."""
        index = self._indexes.get(changes[0].tenant)
        if index is None or not index.linked:
            return 0
        return max(
            (watch.levels for change in changes for watch in index.candidates(Touched(change))), default=0
        )

    def match(self, changes: Sequence[Change], linked: Mapping[str, Entity]) -> Matched:
        """The notifications that changes of one tenant cause, in their order."""
        matched = Matched((), self._generation, [])
        index = self._indexes.get(changes[0].tenant)
        if index is None:
            return matched
        deliveries: list[Delivery] = []
        for change in changes:
            touched = Touched(change)
            texts: dict[Any, bytes] = {}
            for watch in index.candidates(touched):
                if watch.levels:
                    watch.linked = linked
                if not watch.wants(touched, change.at):
                    continue
                data = texts.get(watch.look)
                if data is None:
                    data = texts[watch.look] = notices.data_of_change(watch, touched, linked)
                deliveries.append(notices.delivery(watch, data, change.at))
                if watch.throttling:
                    matched.noted.append((watch, watch.last, change.at))
                    watch.last = change.at
        matched.deliveries = tuple(deliveries)
        return matched

    # -- counting

    def tally(self, tenant: str, id: str) -> Tally:
        """What became of a subscription's notifications, as far as is known here."""
        return self._tallies.of((tenant, id))

    def sending(self, tenant: str, id: str) -> None:
        """Count one attempt to notify (5.8.6)."""
        self._tallies.sending((tenant, id))

    def sent(self, tenant: str, id: str, *, ok: bool) -> None:
        """Note how an attempt ended."""
        self._tallies.sent((tenant, id), ok=ok)

    async def recall(self, tenant: str, ids: Iterable[str]) -> None:
        """Know what other processes counted."""
        await self._tallies.recall((tenant, id) for id in ids)

    async def flush(self) -> None:
        """Write down what was counted since the last time."""
        await self._tallies.flush()


def about(key: str) -> bool:
    """Whether a key is that of a subscription to context sources."""
    return key.startswith(ABOUT_SOURCES)


def indexed(subscription: Subscription) -> bool:
    """Whether changes of entities are matched with it."""
    return subscription.time_interval is None and not subscription.sources


def busy(id: str) -> StoreUnavailable:
    """Others kept being first."""
    return StoreUnavailable(f"subscription {id} is being changed too often to keep up; try again")
