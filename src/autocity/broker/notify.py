"""Delivery of notifications from the durable outbox: in order, retried, one slow receiver never another's.

Each subscription has a lane of its own. A quick receiver gets its notifications one after the other;
while an attempt has been waiting for a second, the next one may start beside it. After a failure the
lane rests, longer each time, and begins again with what failed. What has failed too often is laid
aside in the outbox, where it can be looked at and sent again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from autocity.broker.matching import Watch
from autocity.broker.outbound import Outbound
from autocity.broker.senders import LONGEST_REST, HttpSender, MqttSender, Sender, Undelivered
from autocity.broker.subscriptions import Subscriptions
from autocity.errors import StoreUnavailable
from autocity.ld.instants import SECOND
from autocity.model import Delivery, Instant
from autocity.store.port import Commit, Store

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

PACE_SECONDS = 1.0
"""An attempt that takes longer than this no longer holds up the next one."""

WINDOW = 16
"""How many attempts one subscription may have under way."""

MAX_ATTEMPTS = 20
MAX_REFUSALS = 3
"""How often a receiver may say that a notification is wrong before it is laid aside."""

FIRST_REST = 1.0
LANE_ROOM = 1000
"""How many notifications of one subscription are held in memory; the rest waits in the outbox."""

POLL_SECONDS, POLL_PAUSE = 5.0, 0.05
"""How often the outbox is looked through for what other processes wrote, at least and at most."""

POLL_QUICK = 100
"""How many notifications may be under way for the outbox to be looked through that often."""

START_LIMIT = 20_000


class Lane:
    """What one subscription waits for."""

    __slots__ = ("failures", "key", "more", "queue", "resting", "runners")

    def __init__(self, key: tuple[str, str]) -> None:
        self.key = key
        self.queue: deque[Delivery] = deque()
        self.more = False
        self.runners = 0
        self.failures = 0
        self.resting: asyncio.Event | None = None

    def wake(self) -> None:
        """End a rest early: something is different now."""
        if self.resting is not None:
            self.resting.set()


class Notifier:
    """Sends what waits in the outbox and is this process's to send (`Store.claim`)."""

    def __init__(
        self,
        store: Store,
        subscriptions: Subscriptions,
        *,
        clock: Callable[[], Instant],
        outbound: Outbound,
        senders: dict[str, Sender] | None = None,
    ) -> None:
        http, mqtt = HttpSender(outbound), MqttSender(outbound)
        self._store = store
        self._subscriptions = subscriptions
        self._clock = clock
        self._senders: dict[str, Sender] = {
            "http": http,
            "https": http,
            "mqtt": mqtt,
            "mqtts": mqtt,
            **(senders or {}),
        }
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._known: set[str] = set()
        self._settled: list[str] = []
        self._rewritten: dict[str, Delivery] = {}
        self._dirty = asyncio.Event()
        self._stirred = asyncio.Event()
        self._leave: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = False

    async def start(self) -> None:
        """Take up what waits, and whatever comes."""
        self._running = True
        self._subscriptions.listeners.append(self._changed)
        waiting = await self._store.claim(limit=START_LIMIT)
        if len(waiting) < START_LIMIT:
            self.accept(waiting)
        else:
            # Too much to hold, and one backlog may hide all others: each subscription looks for itself.
            for key in self._subscriptions:
                lane = self._lane(key)
                lane.more = True
                self._run(lane)
        self._leave = self._store.watch(lambda _: self._stirred.set())
        self._spawn(self._settle_on())
        self._spawn(self._poll_on())

    async def stop(self) -> None:
        """Break off; what has not been answered for stays in the outbox."""
        self._running = False
        self._leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(StoreUnavailable):
            await self._settle()
        self._lanes.clear()
        self._known.clear()
        for sender in dict.fromkeys(self._senders.values()):
            await sender.close()

    def accept(self, deliveries: Iterable[Delivery]) -> None:
        """Send what was just written to the outbox. Does nothing in a process that does not deliver."""
        if not self._running:
            return
        for delivery in deliveries:
            if delivery.id in self._known:
                continue
            lane = self._lane((delivery.tenant, delivery.subscription))
            if lane.more or len(lane.queue) >= LANE_ROOM:
                lane.more = True
            else:
                self._known.add(delivery.id)
                lane.queue.append(delivery)
            if not lane.runners:
                self._run(lane)

    # -- looking at it, and acting upon it

    async def waiting(self, tenant: str, subscription: str, *, dead: bool = False) -> list[Delivery]:
        """Deliveries of a subscription that wait, or that were laid aside, oldest first."""
        found = await self._store.outbox(subscription=subscription, dead=dead, limit=LANE_ROOM)
        gone = set(self._settled)
        return [
            self._rewritten.get(each.id, each)
            for each in found
            if each.tenant == tenant and each.id not in gone
        ]

    async def resend(self, tenant: str, subscription: str, ids: Sequence[str] = ()) -> int:
        """Try deliveries again that were laid aside, all of them or those named; how many."""
        dead = await self.waiting(tenant, subscription, dead=True)
        chosen = [
            replace(each, dead=False, attempts=0, due_at=0, error="")
            for each in dead
            if not ids or each.id in ids
        ]
        if chosen:
            await self._store.commit(Commit(deliveries=tuple(chosen)))
            self.accept(chosen)
        return len(chosen)

    async def drop(self, tenant: str, subscription: str) -> None:
        """Forget what waits for a subscription that is no more."""
        self._rewritten = {
            id: each
            for id, each in self._rewritten.items()
            if (each.tenant, each.subscription) != (tenant, subscription)
        }
        lane = self._lanes.pop((tenant, subscription), None)
        if lane is not None:
            self._known.difference_update(each.id for each in lane.queue)
            lane.queue.clear()
            lane.more = False
            lane.wake()
        for dead in (False, True):
            while waiting := await self.waiting(tenant, subscription, dead=dead):
                await self._store.commit(Commit(settled=tuple(each.id for each in waiting)))

    # -- lanes

    def _lane(self, key: tuple[str, str]) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key)
        return lane

    def _changed(self, key: tuple[str, str] | None) -> None:
        """A subscription was changed: what failed before may go well now."""
        lane = self._lanes.get(key) if key is not None else None
        if lane is not None:
            lane.wake()

    def _run(self, lane: Lane) -> None:
        lane.runners += 1
        self._spawn(self._drain(lane))

    def _help(self, lane: Lane) -> None:
        """The receiver is slow: let the next attempt begin beside those under way."""
        if (lane.queue or lane.more) and not lane.failures and lane.runners < WINDOW:
            self._run(lane)

    async def _drain(self, lane: Lane) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                if not lane.queue:
                    if not await self._refill(lane):
                        break
                    continue
                if lane.failures and lane.runners > 1:
                    break  # one is enough to find out whether the receiver is back
                delivery = lane.queue.popleft()
                if delivery.due_at > self._clock():
                    await self._rest(lane, (delivery.due_at - self._clock()) / SECOND)
                timer = loop.call_later(PACE_SECONDS, self._help, lane)
                try:
                    await self._deliver(lane, delivery)
                except asyncio.CancelledError:
                    lane.queue.appendleft(delivery)
                    raise
                finally:
                    timer.cancel()
        finally:
            lane.runners -= 1
            if not lane.runners and not lane.queue and self._lanes.get(lane.key) is lane:
                del self._lanes[lane.key]

    async def _refill(self, lane: Lane) -> bool:
        """Read on in the outbox when not everything found room. False when there is nothing to do."""
        if not lane.more:
            return False
        lane.more = False
        _, subscription = lane.key
        # What is under way or not yet settled is still there.
        limit = LANE_ROOM + WINDOW + len(self._settled)
        try:
            found = await self._store.claim(subscription=subscription, limit=limit)
        except StoreUnavailable:
            lane.more = True
            log.warning("the outbox cannot be read; trying again")
            await asyncio.sleep(1.0)
            return True
        fresh = [
            each
            for each in found
            if (each.tenant, each.subscription) == lane.key and each.id not in self._known
        ]
        self._known.update(each.id for each in fresh)
        lane.queue.extend(fresh)
        # More may have come while the store was asked.
        lane.more = lane.more or bool(fresh)
        return bool(fresh)

    async def _rest(self, lane: Lane, length: float) -> None:
        lane.resting = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(length):
                await lane.resting.wait()
        lane.resting = None

    async def _deliver(self, lane: Lane, delivery: Delivery) -> None:
        watch = self._subscriptions.watch(*lane.key)
        if watch is None and self._lanes.get(lane.key) is lane:
            await self._subscriptions.catch_up()
            watch = self._subscriptions.watch(*lane.key)
        if watch is None or watch.subscription.status(self._clock()) != "active":
            self._done(delivery)
            return
        sender = self._senders.get(urlsplit(watch.subscription.notification.endpoint.uri).scheme.lower())
        self._subscriptions.sending(*lane.key)
        try:
            if sender is None:
                raise Undelivered("there is no way to reach such an endpoint here", refused=True)
            await sender.send(watch, delivery)
        except Undelivered as fault:
            self._failed(lane, watch, delivery, fault)
        except Exception as fault:
            log.exception("a notification could not be sent")
            self._failed(lane, watch, delivery, Undelivered(type(fault).__name__))
        else:
            lane.failures = 0
            self._subscriptions.sent(*lane.key, ok=True)
            self._done(delivery)

    def _done(self, delivery: Delivery) -> None:
        self._rewritten.pop(delivery.id, None)
        self._settled.append(delivery.id)
        self._dirty.set()

    def _failed(self, lane: Lane, watch: Watch, delivery: Delivery, fault: Undelivered) -> None:
        self._subscriptions.sent(*lane.key, ok=False)
        if self._subscriptions.watch(*lane.key) is None:
            self._done(delivery)  # deleted while this was on its way
            return
        lane.failures += 1
        attempts = delivery.attempts + 1
        rest = max(
            fault.rest,
            (watch.subscription.notification.endpoint.cooldown or 0) / 1000,
            # Lanes that failed together shall not come back together.
            min(FIRST_REST * 2.0 ** min(lane.failures - 1, 20), LONGEST_REST) * random.uniform(0.5, 1.0),
        )
        dead = attempts >= (MAX_REFUSALS if fault.refused else MAX_ATTEMPTS)
        tried = replace(
            delivery,
            attempts=attempts,
            due_at=0 if dead else self._clock() + int(rest * SECOND),
            dead=dead,
            error=fault.reason[:500],
        )
        log.warning(
            "a notification was laid aside" if dead else "a notification did not arrive",
            extra={
                "subscription": delivery.subscription,
                "notification": delivery.id,
                "attempts": attempts,
                "reason": fault.reason,
            },
        )
        self._rewritten[delivery.id] = tried
        self._dirty.set()
        if not dead:
            lane.queue.appendleft(tried)

    # -- the outbox

    async def _settle_on(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._settle()
            except StoreUnavailable:
                log.warning("the outbox cannot be written; trying again")
                await asyncio.sleep(1.0)
                self._dirty.set()

    async def _settle(self) -> None:
        """Write down what arrived and what did not, all that came together in one commit."""
        settled, rewritten = tuple(self._settled), tuple(self._rewritten.values())
        if not settled and not rewritten:
            return
        await self._store.commit(Commit(settled=settled, deliveries=rewritten))
        del self._settled[: len(settled)]
        self._known.difference_update(settled)
        for delivery in rewritten:
            if self._rewritten.get(delivery.id) is delivery:
                del self._rewritten[delivery.id]
            if delivery.dead:
                self._known.discard(delivery.id)

    async def _poll_on(self) -> None:
        """Find what processes wrote that do not deliver, or ended before they could: soon after a change
        was committed, else now and then."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._stirred.wait()
                    # Looking through a long backlog again and again would cost more than it finds.
                    await asyncio.sleep(POLL_PAUSE if len(self._known) < POLL_QUICK else POLL_SECONDS)
            self._stirred.clear()
            try:
                self.accept(await self._store.claim(limit=len(self._known) + 1000))
            except StoreUnavailable:
                log.warning("the outbox cannot be read; trying again")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
