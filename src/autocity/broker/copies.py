"""Subscriptions at context sources (5.8.1.4): copies of our own, reduced to what each source has, so that
what changes there is told to whoever subscribed here.

One process of a city keeps them in step with subscriptions and registrations. A source sends its
notifications to us under the id of the copy, which nobody else knows.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from autocity.broker import notices
from autocity.broker.federate import Federation, common, offered, selections_of
from autocity.broker.links import entities_of, linked_entities
from autocity.broker.matching import Watch
from autocity.broker.notify import Notifier
from autocity.broker.registration import Information, Registration
from autocity.broker.registrations import EVERYTHING, Registrations, Seek, Source
from autocity.broker.sources import Asked, Message, Unanswered, Words, segment
from autocity.broker.subscription import Subscription, render_geo
from autocity.broker.subscriptions import Key, Subscriptions
from autocity.broker.writing import Caller
from autocity.errors import BadRequestData, CityError, ResourceNotFound, StoreUnavailable
from autocity.ld.assembly import assemble
from autocity.ld.context import Context
from autocity.ld.entity import parse_fragment
from autocity.ld.query import parse_q
from autocity.model import Entity, Instant, Record
from autocity.store.port import Commit, RecordWrite, Store

log = logging.getLogger(__name__)

RECORD = "subscription-copy"
PATH = "/ngsi-ld/ex/remote-notify"
"""Where sources send their notifications."""

RETRY_SECONDS = 30.0
"""How long until a source that could not be reached is told again."""


class Copy(Struct, frozen=True):
    """A copy of a subscription at a source. `id` is what it is called there; `digest` tells whether what
    was sent is still right, "" when nothing arrived yet. `source` is its registration as it was."""

    id: str
    tenant: str
    subscription: str
    source: Registration
    digest: str = ""


class Copies:
    """The copies of all subscriptions. `here` is the URL under which sources reach this city ("": they do
    not, so that there are no copies)."""

    def __init__(
        self,
        store: Store,
        subscriptions: Subscriptions,
        registrations: Registrations,
        federation: Federation,
        notifier: Notifier,
        *,
        clock: Callable[[], Instant],
        here: str,
    ) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._registrations = registrations
        self._federation = federation
        self._notifier = notifier
        self._clock = clock
        self._endpoint = here.rstrip("/") + PATH if here else ""
        self._copies: dict[Key, dict[str, Copy]] = {}
        self._changed: set[Key] = set()
        self._everything = False
        self._stirred = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Keep copies in step from now on. One process of a city does."""
        if not self._endpoint:
            return
        for record in await self._store.records(None, RECORD):
            self._know(copy_of(record))
        self._subscriptions.listeners.append(self._subscription_changed)
        self._registrations.listeners.append(self._registration_changed)
        self._everything = True
        self._stirred.set()
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Break off."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def internal(self, tenant: str) -> list[Subscription]:
        """The subscriptions to context sources that subscriptions with copies stand for (5.8.1.4)."""
        records = await self._store.records(tenant, RECORD)
        found = []
        for id in dict.fromkeys(copy_of(record).subscription for record in records):
            watch = self._subscriptions.watch(tenant, id)
            if watch is not None:
                found.append(replace(watch.subscription, id=f"{id}:sources", sources=True))
        return found

    # -- keeping in step

    def _know(self, copy: Copy) -> None:
        self._copies.setdefault((copy.tenant, copy.subscription), {})[copy.source.id] = copy

    def _subscription_changed(self, key: Key | None) -> None:
        if key is None:
            self._everything = True
        else:
            self._changed.add(key)
        self._stirred.set()

    def _registration_changed(self, tenant: str, before: Source | None, after: Source | None) -> None:
        self._everything = True
        self._stirred.set()

    async def _follow(self) -> None:
        again = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS if again else None):
                    await self._stirred.wait()
            self._stirred.clear()
            everything, changed = self._everything or again, self._changed
            self._everything, self._changed = False, set()
            try:
                every = {*self._subscriptions, *self._copies}
                again = not await self._settle(every if everything else changed)
            except StoreUnavailable:
                again = True
            except Exception:
                log.exception("copies of subscriptions could not be kept in step; trying again")
                again = True

    async def _settle(self, keys: Iterable[Key]) -> bool:
        """Make copies of some subscriptions what they ought to be. False when a source was not reached."""
        if not self._copies and self._registrations.idle:
            return True
        await self._registrations.catch_up()
        arrived = True
        for key in keys:
            arrived &= await self._settle_one(key)
        return arrived

    async def _settle_one(self, key: Key) -> bool:
        watch = self._subscriptions.watch(*key)
        wanted = (
            {} if watch is None else {source.id: (source, infos) for source, infos in self._wanted(watch)}
        )
        known = self._copies.get(key, {})
        arrived = True
        for id, copy in list(known.items()):
            if id not in wanted:
                await self._withdraw(key, copy)
        for id, (source, infos) in wanted.items():
            if watch is not None:
                arrived &= await self._provide(key, known.get(id), watch, source, infos)
        return arrived

    def _wanted(self, watch: Watch) -> list[tuple[Source, tuple[Information, ...]]]:
        """The sources that a subscription should have a copy at."""
        subscription = watch.subscription
        if subscription.sources or subscription.local_only or subscription.status(self._clock()) == "expired":
            return []
        watched, told = subscription.watched_attributes, subscription.notification.attributes
        csf = subscription.rest.get("csf")
        seek = Seek(
            selectors=subscription.query.selectors,
            attributes=frozenset(watched + told) if told else frozenset(watched),
            dataset_ids=frozenset(subscription.dataset_id),
            geo=subscription.geo_q.geo if subscription.geo_q else None,
            scopes=subscription.scope_q.tree if subscription.scope_q else None,
            csf=parse_q(csf, watch.context.expand) if csf else None,
        )
        return [
            (source, infos)
            for source, infos in self._registrations.find(watch.tenant, seek)
            if source.mode != "auxiliary" and "createSubscription" in source.supported
        ]

    async def _provide(
        self, key: Key, copy: Copy | None, watch: Watch, source: Source, infos: Sequence[Information]
    ) -> bool:
        """Make or change a copy. False when the source was not reached."""
        asked = Asked(Caller(watch.tenant), watch.context)
        try:
            words = await self._federation.sources.words(source, asked)
        except CityError:
            return False
        body = reduced(watch, source, infos, words, self._endpoint)
        digest = hashlib.sha256(msgspec.json.encode(body)).hexdigest()[:16]
        if copy is not None and copy.digest == digest:
            return True
        fresh = copy is None or not copy.digest
        if copy is None:
            id = f"urn:ngsi-ld:Subscription:distsub-{uuid4()}"
            copy = Copy(id, watch.tenant, watch.subscription.id, source.registration)
            await self._keep(copy)
        if fresh:
            message = Message(method="POST", path="/subscriptions", body={"id": copy.id, **body})
        elif "updateSubscription" in source.supported:
            message = Message(method="PATCH", path=f"/subscriptions/{segment(copy.id)}", body=body)
        else:
            await self._withdraw(key, copy)
            return await self._provide(key, None, watch, source, infos)
        try:
            reply = await self._federation.sources.ask(source, message, words, asked)
        except Unanswered as fault:
            log.warning("a subscription was not copied", extra={"source": source.id, "reason": str(fault)})
            return False
        if reply.status >= 300 and not (fresh and reply.status == 409):
            log.warning("a subscription was refused", extra={"source": source.id, "status": reply.status})
            return reply.status < 500
        await self._keep(replace(copy, source=source.registration, digest=digest))
        return True

    async def _withdraw(self, key: Key, copy: Copy) -> None:
        """Take a copy away; a source that is not reached keeps one that nobody listens to."""
        self._copies.get(key, {}).pop(copy.source.id, None)
        if not self._copies.get(key):
            self._copies.pop(key, None)
        gone = RecordWrite(tenant=copy.tenant, kind=RECORD, id=copy.id, body=None)
        await self._store.commit(Commit(records=(gone,)))
        source = Source(copy.source, 0)
        if not copy.digest or "deleteSubscription" not in source.supported:
            return
        asked = Asked(Caller(copy.tenant))
        message = Message(method="DELETE", path=f"/subscriptions/{segment(copy.id)}")
        with suppress(Unanswered, CityError):
            words = await self._federation.sources.words(source, asked)
            await self._federation.sources.ask(source, message, words, asked)

    async def _keep(self, copy: Copy) -> None:
        write = RecordWrite(tenant=copy.tenant, kind=RECORD, id=copy.id, body=msgspec.json.encode(copy))
        await self._store.commit(Commit(records=(write,)))
        self._know(copy)

    # -- notifications of sources (5.8.6)

    async def receive(self, body: dict[str, Any], context: Context) -> None:
        """Pass a notification of a source on to who subscribed here.
        Raises BadRequestData, ResourceNotFound when it is for no copy of ours."""
        id, data = body.get("subscriptionId"), body.get("data")
        if not isinstance(id, str) or not isinstance(data, list):
            raise BadRequestData("a notification has a subscriptionId and data")
        copy = await self._find(id)
        await self._subscriptions.catch_up()
        watch = self._subscriptions.watch(copy.tenant, copy.subscription)
        if watch is None or watch.subscription.status(self._clock()) != "active":
            return
        entities = [notified(each, context) for each in data]
        now = self._clock()
        if watch.subscription.rest.get("splitEntities"):
            whole = [await self._whole(copy, watch, each) for each in entities]
            entities = [each for each in whole if watch.fits(each)]
        if not entities:
            return
        levels = watch.subscription.notification.levels
        linked = await linked_entities(self._store, watch.tenant, entities, levels, now)
        delivery = notices.delivery(watch, notices.data_of_entities(watch, entities, linked), now)
        await self._store.commit(Commit(deliveries=(delivery,)))
        self._notifier.accept((delivery,))

    async def _whole(self, copy: Copy, watch: Watch, part: Entity) -> Entity:
        """The entity that a source told of a part of, with what is here and at other sources."""
        now = self._clock()
        here = await entities_of(self._store, copy.tenant, [part.id], now)
        known = assemble([part, *here.values()], now)
        asked = Asked(Caller(copy.tenant), watch.context)
        others = frozenset(
            source.id
            for source, _ in self._registrations.having(copy.tenant, part.id, known.types)
            if source.id != copy.source.id
        )
        found = await self._federation.retrieve(asked, part.id, known, only=others)
        return found.entities[0]

    async def _find(self, id: str) -> Copy:
        for record in await self._store.records(None, RECORD):
            if record.id == id:
                return copy_of(record)
        raise ResourceNotFound(f"subscription {id} is not one of ours")


# -- small parts


def copy_of(record: Record) -> Copy:
    """A copy from its record."""
    return msgspec.json.decode(record.body, type=Copy)


def notified(body: Any, context: Context) -> Entity:
    """An entity of a notification; what was deleted is null. Raises BadRequestData."""
    if not isinstance(body, dict):
        raise BadRequestData("data holds entities")
    fragment = parse_fragment(body, context)
    if fragment.id is None or fragment.types is UNSET:
        raise BadRequestData("an entity in data needs id and type")
    return Entity(
        id=fragment.id,
        types=fragment.types,
        scopes=fragment.scopes or () if fragment.scopes is not UNSET else (),
        attributes=fragment.attributes,
    )


def reduced(
    watch: Watch, source: Source, infos: Sequence[Information], words: Words, endpoint: str
) -> dict[str, Any]:
    """A subscription as a source gets it, no more than it is registered for (5.8.1.4); without id."""
    subscription, compact = watch.subscription, words.context.compact
    split = bool(subscription.rest.get("splitEntities"))
    body: dict[str, Any] = {"type": "Subscription"}
    selections = selections_of(source, infos, subscription.query.selectors, words.context)
    if selections:
        body["entities"] = [{"type": "*", **each} for each in selections]
    watched = common(frozenset(subscription.watched_attributes), offered(infos))
    if watched:
        body["watchedAttributes"] = sorted(map(compact, watched))
    if subscription.notification_trigger:
        body["notificationTrigger"] = list(subscription.notification_trigger)
    notification: dict[str, Any] = {"endpoint": {"uri": endpoint, "accept": "application/json"}}
    if split:
        body["splitEntities"] = True
    else:
        told = frozenset(subscription.notification.attributes)
        names = common(told, offered(infos)) if told else EVERYTHING
        if names:
            notification["attributes"] = sorted(map(compact, names))
        if subscription.q is not None:
            body["q"] = subscription.q.said.under(words.context)
        if subscription.geo_q is not None:
            body["geoQ"] = render_geo(subscription.geo_q, words.context)
        if subscription.scope_q is not None:
            body["scopeQ"] = subscription.scope_q.said
    if subscription.notification.show_changes:
        notification["showChanges"] = True
    body["notification"] = notification
    members = {
        "timeInterval": subscription.time_interval,
        "throttling": subscription.throttling,
        "expiresAt": subscription.expires_at,
        "isActive": subscription.is_active,
    }
    return body | {name: value for name, value in members.items() if value is not None}
