"""Notifications at fixed intervals (`timeInterval`, 5.8.6): what matches is told, changed or not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from msgspec.structs import replace

from autocity.broker import notices
from autocity.broker.links import linked_entities
from autocity.broker.matching import Watch
from autocity.broker.notify import Notifier
from autocity.broker.registrations import Registrations
from autocity.broker.subscriptions import Subscriptions
from autocity.ld import document, merge
from autocity.ld.instants import SECOND
from autocity.model import Instant
from autocity.store.port import Commit, Store

log = logging.getLogger(__name__)

PAGE = 1000
"""How many entities one notification carries at most."""


class Periodic:
    """Keeps the intervals of all subscriptions that have one."""

    def __init__(
        self,
        store: Store,
        subscriptions: Subscriptions,
        registrations: Registrations,
        notifier: Notifier,
        clock: Callable[[], Instant],
    ) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._registrations = registrations
        self._notifier = notifier
        self._clock = clock
        self._due: dict[Watch, Instant] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to count."""
        self._subscriptions.listeners.append(lambda _: self._changed.set())
        self._task = asyncio.create_task(self._tick_on())

    async def stop(self) -> None:
        """Stop counting."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _tick_on(self) -> None:
        while True:
            self._changed.clear()
            self._schedule()
            now = self._clock()
            for watch in [watch for watch, at in self._due.items() if at <= now]:
                self._due[watch] = now + interval(watch)
                try:
                    if await self._store.leads():
                        await self.tell(watch)
                except Exception:
                    log.exception(
                        "a periodic notification was left out",
                        extra={"subscription": watch.subscription.id},
                    )
            await self._sleep(min(self._due.values(), default=None))

    def _schedule(self) -> None:
        """Count anew for subscriptions that are new or have changed; forget those that are gone."""
        now = self._clock()
        self._due = {
            watch: self._due.get(watch, now + interval(watch)) for watch in self._subscriptions.periodic()
        }

    async def _sleep(self, until: Instant | None) -> None:
        length = None if until is None else max((until - self._clock()) / SECOND, 0)
        with suppress(TimeoutError):
            async with asyncio.timeout(length):
                await self._changed.wait()

    async def tell(self, watch: Watch) -> int:
        """Write a notification of all that matches into the outbox: entities, or registrations of context
        sources; how many it tells of."""
        if watch.subscription.sources:
            return await self._registrations.tell(watch)
        now = self._clock()
        if watch.subscription.status(now) != "active":
            return 0
        told = 0
        while True:
            query = replace(watch.subscription.query, limit=PAGE, offset=told)
            page = await self._store.query(watch.tenant, query, now=now)
            states = (merge.alive(document.load(stored.document), now) for stored in page.entities)
            entities = [entity for entity in states if entity is not None]
            if entities:
                levels = watch.subscription.notification.levels
                linked = await linked_entities(self._store, watch.tenant, entities, levels, now)
                delivery = notices.delivery(watch, notices.data_of_entities(watch, entities, linked), now)
                await self._store.commit(Commit(deliveries=(delivery,)))
                self._notifier.accept((delivery,))
            told += len(page.entities)
            if len(page.entities) < PAGE:
                return told


def interval(watch: Watch) -> Instant:
    """The interval of a subscription that has one, in microseconds."""
    return int((watch.subscription.time_interval or 0) * SECOND)
