"""Every operation on entities, their history and subscriptions (CIM 009, 5.6 to 5.8), in expanded terms."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from autocity.broker.contexts import Contexts
from autocity.broker.copies import Copies
from autocity.broker.entitymaps import EntityMaps
from autocity.broker.federate import Federation
from autocity.broker.links import entities_of, linked_entities
from autocity.broker.notify import Notifier
from autocity.broker.outbound import Outbound
from autocity.broker.periodic import Periodic
from autocity.broker.registration import Registration
from autocity.broker.registrations import Registrations, Seek, check_source_filters
from autocity.broker.shadow import MARK, parted
from autocity.broker.snapshots import Snapshots
from autocity.broker.sources import Sources
from autocity.broker.subscription import ABOUT_SOURCES
from autocity.broker.subscriptions import Subscription, Subscriptions
from autocity.broker.writing import BatchResult, Caller, Decide, Item, Writer
from autocity.errors import AlreadyExists, NonexistentTenant, ResourceNotFound
from autocity.ld import document, merge
from autocity.ld.context import Context
from autocity.ld.merge import Outcome
from autocity.ld.query import Query, Select, Selector, matcher
from autocity.ld.temporal import Window
from autocity.model import Attribute, Attributes, Entity, Fragment, Instant, Stored
from autocity.store.port import Commit, History, Page, PointWrite, StaleCommit, Store, TypeSummary

log = logging.getLogger(__name__)

SWEEP_SECONDS = 2.0
"""How often what is past its `expiresAt` is looked for: entities (4.22), registrations (5.9.2.4)."""

PURGE_PAGE = 1000
"""How many entities one commit of a purge takes away."""


class Broker:
    """The city's state as operations of the standard. Every coroutine may raise `StoreUnavailable`.

    `here` is the URL under which context sources reach this city, "" when they do not.

    `types`, where an operation takes it, is the optional type selection (4.17) that the target
    entity must satisfy, else it counts as not found.
    """

    def __init__(
        self,
        store: Store,
        contexts: Contexts,
        *,
        clock: Callable[[], Instant],
        outbound: Outbound,
        deliver: bool = True,
        here: str = "",
    ) -> None:
        self.contexts = contexts
        self.subscriptions = Subscriptions(store, contexts, clock=clock, outbound=outbound)
        self.notifier = Notifier(store, self.subscriptions, clock=clock, outbound=outbound)
        self.registrations = Registrations(
            store, self.subscriptions, clock=clock, outbound=outbound, accept=self.notifier.accept
        )
        self.sources = Sources(self.registrations, contexts, outbound=outbound)
        self.federation = Federation(self.registrations, self.sources, clock)
        self.copies = Copies(
            store,
            self.subscriptions,
            self.registrations,
            self.federation,
            self.notifier,
            clock=clock,
            here=here,
        )
        self.entity_maps = EntityMaps(store, clock)
        self.snapshots = Snapshots(store, clock=clock, outbound=outbound)
        self._store = store
        self._clock = clock
        self._deliver = deliver
        self._periodic = Periodic(store, self.subscriptions, self.registrations, self.notifier, clock)
        self._writer = Writer(store, self.subscriptions, self.notifier, clock)
        self._tenants: set[str] = {""}
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load subscriptions and begin to deliver what waits."""
        self._tenants.update(await self.tenants())
        await self.subscriptions.open()
        await self.registrations.open()
        await self.sources.open(self._store)
        if self._deliver:
            await self.snapshots.open()
            await self.notifier.start()
            await self.copies.start()
            await self._periodic.start()
            self._sweeper = asyncio.create_task(self._sweep_on())

    async def stop(self) -> None:
        """Finish what was begun."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeper
            self._sweeper = None
        await self._periodic.stop()
        await self.copies.stop()
        await self.notifier.stop()
        await self.snapshots.close()
        await self.sources.close()
        await self.registrations.flush()
        await self.subscriptions.close()

    # -- provision of entities (5.6.1 to 5.6.6, 5.6.17 to 5.6.19)

    async def create_entity(self, caller: Caller, entity: Entity) -> None:
        """Create an entity (5.6.1). Raises AlreadyExists."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            if before is not None:
                raise AlreadyExists(f"entity {entity.id} exists already; update, merge or replace it")
            return Outcome(merge.create(entity, now))

        await self._write(caller, entity.id, decide, creates=True)

    async def replace_entity(self, caller: Caller, entity: Entity, types: Select | None = None) -> None:
        """Replace an entity (5.6.18). Raises ResourceNotFound."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            return Outcome(merge.replace(found(before, entity.id, types), entity, now))

        await self._write(caller, entity.id, decide)

    async def merge_entity(
        self,
        caller: Caller,
        id: str,
        fragment: Fragment,
        *,
        types: Select | None = None,
        observed_at: str | None = None,
        lang: str | None = None,
        simplified: bool = False,
    ) -> Outcome:
        """Merge an entity (5.6.17); options as for `ld.merge.merge`. Raises ResourceNotFound."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            return merge.merge(
                found(before, id, types),
                fragment,
                now,
                observed_at=observed_at,
                lang=lang,
                simplified=simplified,
            )

        return await self._write(caller, id, decide)

    async def update_attributes(
        self, caller: Caller, id: str, fragment: Fragment, types: Select | None = None
    ) -> Outcome:
        """Update attributes (5.6.2). Raises ResourceNotFound."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            return merge.update_attributes(found(before, id, types), fragment, now)

        return await self._write(caller, id, decide)

    async def append_attributes(
        self,
        caller: Caller,
        id: str,
        fragment: Fragment,
        *,
        overwrite: bool = True,
        types: Select | None = None,
    ) -> Outcome:
        """Append attributes (5.6.3). Raises ResourceNotFound."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            return merge.append_attributes(found(before, id, types), fragment, now, overwrite=overwrite)

        return await self._write(caller, id, decide)

    async def update_attribute(
        self,
        caller: Caller,
        id: str,
        attribute: str,
        instances: Sequence[Attribute],
        types: Select | None = None,
    ) -> None:
        """Partial attribute update (5.6.4). Raises ResourceNotFound, BadRequestData."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            return merge.patch_attribute(found(before, id, types), attribute, instances, now)

        await self._write(caller, id, decide)

    async def replace_attribute(
        self,
        caller: Caller,
        id: str,
        attribute: str,
        instances: Sequence[Attribute],
        types: Select | None = None,
    ) -> None:
        """Replace attribute (5.6.19). Raises ResourceNotFound."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            return merge.replace_attribute(found(before, id, types), attribute, instances, now)

        await self._write(caller, id, decide)

    async def delete_attribute(
        self,
        caller: Caller,
        id: str,
        attribute: str,
        *,
        dataset_id: str | None = None,
        delete_all: bool = False,
        types: Select | None = None,
    ) -> None:
        """Delete attribute (5.6.5). Raises ResourceNotFound."""

        def decide(before: Entity | None, now: Instant) -> Outcome:
            entity = found(before, id, types)
            return Outcome(
                merge.delete_attribute(entity, attribute, now, dataset_id=dataset_id, delete_all=delete_all)
            )

        await self._write(caller, id, decide)

    async def delete_entity(self, caller: Caller, id: str, types: Select | None = None) -> None:
        """Delete entity (5.6.6). Raises ResourceNotFound."""

        def decide(before: Entity | None, now: Instant) -> None:
            found(before, id, types)

        await self._write(caller, id, decide)

    # -- batches (5.6.7 to 5.6.10, 5.6.20, 5.6.21): one commit each

    async def create_entities(self, caller: Caller, entities: Sequence[Entity]) -> BatchResult:
        """Batch entity creation (5.6.7)."""

        def create(entity: Entity, before: Entity | None, now: Instant) -> Outcome:
            if before is not None:
                raise AlreadyExists(f"entity {entity.id} exists already")
            return Outcome(merge.create(entity, now))

        return await self._write_many(caller, [(each.id, each) for each in entities], create, creates=True)

    async def upsert_entities(
        self, caller: Caller, entities: Sequence[Entity], *, update: bool = False
    ) -> BatchResult:
        """Batch entity creation or update (5.6.8): existing ones are replaced, or with `update` updated."""

        def upsert(entity: Entity, before: Entity | None, now: Instant) -> Outcome:
            if before is None:
                return Outcome(merge.create(entity, now))
            if update:
                return merge.update_attributes(before, fragment_of(entity), now)
            return Outcome(merge.replace(before, entity, now))

        return await self._write_many(caller, [(each.id, each) for each in entities], upsert, creates=True)

    async def update_entities(
        self, caller: Caller, fragments: Sequence[Fragment], *, overwrite: bool = True
    ) -> BatchResult:
        """Batch entity update (5.6.9): attributes appended as by 5.6.3. Fragments bear their ids."""

        def update(fragment: Fragment, before: Entity | None, now: Instant) -> Outcome:
            entity = found(before, fragment.id or "")
            return merge.append_attributes(entity, fragment, now, overwrite=overwrite)

        return await self._write_many(caller, [(each.id or "", each) for each in fragments], update)

    async def merge_entities(self, caller: Caller, fragments: Sequence[Fragment]) -> BatchResult:
        """Batch entity merge (5.6.20). Fragments bear their ids."""

        def merged(fragment: Fragment, before: Entity | None, now: Instant) -> Outcome:
            return merge.merge(found(before, fragment.id or ""), fragment, now)

        return await self._write_many(caller, [(each.id or "", each) for each in fragments], merged)

    async def delete_entities(self, caller: Caller, ids: Sequence[str]) -> BatchResult:
        """Batch entity delete (5.6.10)."""

        def delete(id: str, before: Entity | None, now: Instant) -> None:
            found(before, id)

        return await self._write_many(caller, [(id, id) for id in ids], delete)

    async def purge_entities(
        self, caller: Caller, query: Query, *, drop: Sequence[str] = (), keep: Sequence[str] = ()
    ) -> int:
        """Purge entities (5.6.21): delete all that the query selects, or only their attributes named by
        `drop`, or all attributes but those named by `keep`. Returns how many entities were selected."""

        def purge(id: str, before: Entity | None, now: Instant) -> Outcome | None:
            entity = found(before, id)
            if not drop and not keep:
                return None
            gone = [name for name in entity.attributes if (name not in keep if keep else name in drop)]
            for name in gone:
                entity = merge.delete_attribute(entity, name, now, delete_all=True)
            return Outcome(entity)

        # The ids first: taking attributes away may change what the query selects.
        ids: list[str] = []
        while True:
            page = await self.query_entities(
                caller, replace(query, limit=PURGE_PAGE, offset=len(ids), order=(), count=False)
            )
            ids.extend(stored.id for stored in page.entities)
            if len(page.entities) < PURGE_PAGE:
                break
        for chunk in chunks(ids, PURGE_PAGE):
            await self._write_many(caller, [(id, id) for id in chunk], purge)
        return len(ids)

    # -- consumption (5.7)

    async def retrieve_entity(self, caller: Caller, id: str, types: Select | None = None) -> Stored:
        """Retrieve entity (5.7.1), as document for `ld.document.render`. Raises ResourceNotFound."""
        tenant = caller.tenant
        if tenant not in self._tenants:
            await self._require(tenant)
        stored = await self._store.get(tenant, id)
        if stored is not None and b'"expires' in stored.document:
            stored = fresh(stored, self._clock())
        if stored is None or (types is not None and not of_type(document.load(stored.document), types)):
            raise ResourceNotFound(f"entity {id} does not exist")
        return stored

    async def query_entities(self, caller: Caller, query: Query) -> Page:
        """Query entities (5.7.2). Raises NonexistentTenant."""
        if caller.tenant not in self._tenants:
            await self._require(caller.tenant)
        now = self._clock()
        page = await self._store.query(caller.tenant, query, now=now)
        if any(b'"expires' in stored.document for stored in page.entities):
            live = (fresh(each, now) if b'"expires' in each.document else each for each in page.entities)
            return Page([each for each in live if each is not None], page.total)
        return page

    async def entities(self, caller: Caller, ids: Sequence[str]) -> dict[str, Entity]:
        """Those of `ids` that exist, by id."""
        return await entities_of(self._store, caller.tenant, ids, self._clock())

    async def linked_entities(
        self, caller: Caller, entities: Iterable[Entity], levels: int = 1
    ) -> dict[str, Entity]:
        """Entities that relationships of `entities` lead to within so many steps, for linked entity
        retrieval (4.5.23), by id; each is read once, loops end by themselves."""
        return await linked_entities(self._store, caller.tenant, entities, levels, self._clock())

    async def types(self, caller: Caller) -> list[TypeSummary]:
        """Entity types in use with their attributes (5.7.5 to 5.7.10)."""
        await self._require(caller.tenant)
        return await self._store.summary(caller.tenant)

    # -- history (5.6.11 to 5.6.16, 5.7.3, 5.7.4)

    async def retrieve_temporal(
        self, caller: Caller, id: str, window: Window, attributes: Sequence[str] = ()
    ) -> History:
        """Retrieve temporal evolution of an entity (5.7.3): without attributes when it has none within
        the window. Raises ResourceNotFound."""
        await self._require(caller.tenant)
        for history in await self._store.history(caller.tenant, [id], window, attributes):
            return lasting(history, self._clock())
        return replace(await self._recorded(caller.tenant, id), attributes={})

    async def query_temporal(
        self, caller: Caller, query: Query, window: Window, attributes: Sequence[str] = ()
    ) -> tuple[list[History], int | None]:
        """Query temporal evolution of entities (5.7.4): one page of `query.limit` from `query.offset`, and
        when `query.count` how many there are. A filter holds when instances within the window satisfy it."""
        await self._require(caller.tenant)
        ids = await self._store.recorded(caller.tenant, query)
        filtered = query.q is not None or query.geo is not None or bool(query.attributes)
        satisfied = matcher(replace(query, selectors=(), scopes=None))
        end = query.offset + query.limit
        page: list[History] = []
        total = 0
        for chunk in chunks(ids, 100):
            found = await self._store.history(caller.tenant, chunk, window, () if filtered else attributes)
            for history in (lasting(each, self._clock()) for each in found):
                if filtered and not satisfied(as_entity(history)):
                    continue
                if query.offset <= total < end:
                    page.append(history)
                total += 1
            if total >= end and not query.count:
                break
        if filtered and attributes:
            page = [only(history, attributes) for history in page]
        return page, total if query.count else None

    async def upsert_temporal(
        self, caller: Caller, id: str, types: Sequence[str], scopes: Sequence[str], attributes: Attributes
    ) -> bool:
        """Create or update temporal evolution of an entity (5.6.11). True when it is new."""
        await self._enter(caller.tenant)
        known = await self._store.recorded(caller.tenant, Query(selectors=(Selector(ids=(id,)),)))
        await self._provide(caller, id, types, scopes, attributes)
        self._made(caller.tenant)
        return not known

    async def append_temporal(self, caller: Caller, id: str, attributes: Attributes) -> None:
        """Add attributes to temporal evolution of an entity (5.6.12). Raises ResourceNotFound."""
        await self._require(caller.tenant)
        await self._recorded(caller.tenant, id)
        await self._provide(caller, id, (), (), attributes)

    async def delete_temporal_attribute(
        self,
        caller: Caller,
        id: str,
        attribute: str,
        *,
        dataset_id: str | None = None,
        delete_all: bool = False,
    ) -> None:
        """Delete attribute from temporal evolution (5.6.13): its default instances, those of `dataset_id`,
        or all of them. Raises ResourceNotFound."""
        await self._require(caller.tenant)
        datasets = () if delete_all else (dataset_id or "@none",)
        if not await self._store.forget(caller.tenant, id, attribute, dataset_ids=datasets):
            raise ResourceNotFound(f"no such attribute was recorded of entity {id}")

    async def update_temporal_instance(
        self, caller: Caller, id: str, attribute: str, instance_id: str, instances: Sequence[Attribute]
    ) -> None:
        """Modify attribute instance in temporal evolution (5.6.14). Raises ResourceNotFound."""
        await self._require(caller.tenant)
        before = await self._instance(caller.tenant, id, attribute, instance_id)
        now = self._clock()
        # The rule of a partial update (5.5.8) is the same for one recorded instance.
        bare = replace(before, dataset_id=None, instance_id=None)
        entity = Entity(id=id, types=("",), attributes={attribute: (bare,)})
        sent = [replace(each, dataset_id=None, instance_id=None) for each in instances]
        (after,) = merge.patch_attribute(entity, attribute, sent, now).entity.attributes[attribute]
        changed = replace(after, dataset_id=before.dataset_id, instance_id=instance_id)
        await self._provide(caller, id, (), (), {attribute: (changed,)})

    async def delete_temporal_instance(
        self, caller: Caller, id: str, attribute: str, instance_id: str
    ) -> None:
        """Delete attribute instance from temporal evolution (5.6.15). Raises ResourceNotFound."""
        await self._require(caller.tenant)
        if not await self._store.forget(caller.tenant, id, attribute, instance_id):
            raise ResourceNotFound(f"instance {instance_id} was not recorded of entity {id}")

    async def delete_temporal(self, caller: Caller, id: str) -> None:
        """Delete temporal evolution of an entity (5.6.16). Raises ResourceNotFound."""
        await self._require(caller.tenant)
        if not await self._store.forget(caller.tenant, id):
            raise ResourceNotFound(f"nothing was recorded of entity {id}")

    # -- subscriptions (5.8); `body` is the JSON that came, without its @context
    #    render an answer with `Subscriptions.render(subscription, context, sys_attrs=…)`

    async def create_subscription(self, caller: Caller, body: dict[str, Any], context: Context) -> str:
        """Create subscription (5.8.1): its id.
        Raises BadRequestData, AlreadyExists, LdContextNotAvailable."""
        await self._enter(caller.tenant)
        id = await self.subscriptions.create(caller.tenant, body, context)
        self._made(caller.tenant)
        return id

    async def update_subscription(
        self, caller: Caller, id: str, fragment: dict[str, Any], context: Context
    ) -> None:
        """Update subscription (5.8.2). Raises BadRequestData, ResourceNotFound, LdContextNotAvailable."""
        await self._require(caller.tenant)
        await self.subscriptions.update(caller.tenant, id, fragment, context)

    async def retrieve_subscription(self, caller: Caller, id: str) -> Subscription:
        """Retrieve subscription (5.8.3). Raises ResourceNotFound."""
        await self._require(caller.tenant)
        await self.subscriptions.catch_up()
        await self.subscriptions.recall(caller.tenant, (id,))
        return self.subscriptions.get(caller.tenant, id)

    async def query_subscriptions(
        self, caller: Caller, *, limit: int = 20, offset: int = 0
    ) -> tuple[list[Subscription], int]:
        """Query subscriptions (5.8.4): one page in creation order, and how many there are."""
        await self._require(caller.tenant)
        await self.subscriptions.catch_up()
        every = self.subscriptions.all(caller.tenant)
        page = every[offset : offset + limit]
        await self.subscriptions.recall(caller.tenant, (each.key for each in page))
        return page, len(every)

    async def delete_subscription(self, caller: Caller, id: str) -> None:
        """Delete subscription (5.8.5) and what waits to be delivered for it. Raises ResourceNotFound."""
        await self._require(caller.tenant)
        await self.subscriptions.delete(caller.tenant, id)
        await self.notifier.drop(caller.tenant, id)

    # -- context sources (5.9 to 5.11); registrations and subscriptions to them are read and rendered
    #    through `registrations` and `subscriptions`

    async def create_registration(self, caller: Caller, body: dict[str, Any], context: Context) -> str:
        """Register context source (5.9.2): its id. Raises BadRequestData, AlreadyExists, Conflict."""
        await self._enter(caller.tenant)
        id = await self.registrations.create(caller.tenant, body, context)
        self._made(caller.tenant)
        return id

    async def update_registration(
        self, caller: Caller, id: str, fragment: dict[str, Any], context: Context
    ) -> None:
        """Update context source registration (5.9.3). Raises BadRequestData, ResourceNotFound, Conflict."""
        await self._require(caller.tenant)
        await self.registrations.update(caller.tenant, id, fragment, context)

    async def delete_registration(self, caller: Caller, id: str) -> None:
        """Delete context source registration (5.9.4). Raises ResourceNotFound."""
        await self._require(caller.tenant)
        await self.registrations.delete(caller.tenant, id)

    async def retrieve_registration(self, caller: Caller, id: str) -> Registration:
        """Retrieve context source registration (5.10.1). Raises ResourceNotFound."""
        await self._require(caller.tenant)
        await self.registrations.catch_up()
        return self.registrations.get(caller.tenant, id).registration

    async def query_registrations(self, caller: Caller, seek: Seek) -> list[Registration]:
        """Query context source registrations (5.10.2): all that fit, in the order of their creation."""
        await self._require(caller.tenant)
        await self.registrations.catch_up()
        return [source.registration for source, _ in self.registrations.find(caller.tenant, seek)]

    async def subscribe_to_sources(self, caller: Caller, body: dict[str, Any], context: Context) -> str:
        """Create context source registration subscription (5.11.2), and tell it of what matches: its id.
        Raises BadRequestData, AlreadyExists, LdContextNotAvailable."""
        await self._enter(caller.tenant)
        check_source_filters(body, context)
        id = await self.subscriptions.create(caller.tenant, body, context, sources=True)
        self._made(caller.tenant)
        await self._tell_of_sources(caller.tenant, ABOUT_SOURCES + id)
        return id

    async def update_subscription_to_sources(
        self, caller: Caller, id: str, fragment: dict[str, Any], context: Context
    ) -> None:
        """Update context source registration subscription (5.11.3), and tell it of what matches.
        Raises BadRequestData, ResourceNotFound, LdContextNotAvailable."""
        await self._require(caller.tenant)
        check_source_filters(fragment, context)
        await self.subscriptions.update(caller.tenant, ABOUT_SOURCES + id, fragment, context)
        await self._tell_of_sources(caller.tenant, ABOUT_SOURCES + id)

    async def retrieve_subscription_to_sources(self, caller: Caller, id: str) -> Subscription:
        """Retrieve context source registration subscription (5.11.4). Raises ResourceNotFound."""
        return await self.retrieve_subscription(caller, ABOUT_SOURCES + id)

    async def query_subscriptions_to_sources(self, caller: Caller) -> list[Subscription]:
        """Query context source registration subscriptions (5.11.5), in the order of their creation."""
        await self._require(caller.tenant)
        await self.subscriptions.catch_up()
        own = self.subscriptions.all(caller.tenant, sources=True)
        return own + await self.copies.internal(caller.tenant)

    async def delete_subscription_to_sources(self, caller: Caller, id: str) -> None:
        """Delete context source registration subscription (5.11.6). Raises ResourceNotFound."""
        await self.delete_subscription(caller, ABOUT_SOURCES + id)

    async def _tell_of_sources(self, tenant: str, key: str) -> None:
        watch = self.subscriptions.watch(tenant, key)
        if watch is not None:
            await self.registrations.tell(watch)

    # -- tenants

    async def tenants(self) -> list[str]:
        """Tenants that exist; "" is the default one."""
        return [name for name in await self._store.tenants() if MARK not in name]

    async def _require(self, tenant: str) -> None:
        """The tenant exists (5.5.10), and its snapshot if one is meant (6.3.22).
        Raises NonexistentTenant, ResourceNotFound."""
        owner, snapshot = parted(tenant)
        if snapshot:
            await self.snapshots.use(owner, snapshot)
        elif tenant not in self._tenants:
            self._tenants.update(await self.tenants())
            if tenant not in self._tenants:
                raise NonexistentTenant(f"tenant {tenant} does not exist; creating an entity in it makes it")

    async def _enter(self, tenant: str) -> None:
        """What creates something also makes its tenant, but never a snapshot. Raises ResourceNotFound."""
        if MARK in tenant:
            await self._require(tenant)

    def _made(self, tenant: str) -> None:
        if MARK not in tenant:
            self._tenants.add(tenant)

    async def _write(self, caller: Caller, id: str, decide: Decide, *, creates: bool = False) -> Outcome:
        if caller.tenant not in self._tenants:
            await (self._enter(caller.tenant) if creates else self._require(caller.tenant))
        outcome = await self._writer.write(caller, id, decide)
        if creates:
            self._made(caller.tenant)
        return outcome

    async def _write_many(
        self,
        caller: Caller,
        items: Sequence[tuple[str, Item]],
        decide: Callable[[Item, Entity | None, Instant], Outcome | None],
        *,
        creates: bool = False,
    ) -> BatchResult:
        await (self._enter(caller.tenant) if creates else self._require(caller.tenant))
        result = await self._writer.write_many(caller, items, decide)
        if result.created:
            self._made(caller.tenant)
        return result

    async def sweep(self) -> int:
        """Delete entities past their `expiresAt` (4.22), but not their history. How many."""
        return await self._writer.sweep()

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                await self.sweep()
                await self.registrations.sweep()
                await self.registrations.flush()
                await self.entity_maps.sweep()
                await self.snapshots.sweep()
            except Exception:
                log.exception("what has expired could not be removed; trying again")

    # -- what was recorded

    async def _provide(
        self,
        caller: Caller,
        id: str,
        types: Sequence[str],
        scopes: Sequence[str],
        attributes: Attributes,
    ) -> None:
        point = PointWrite(
            tenant=caller.tenant,
            id=id,
            types=tuple(types),
            scopes=tuple(scopes),
            attributes=attributes,
            at=self._clock(),
        )
        try:
            await self._store.commit(Commit(points=(point,)))
        except StaleCommit:
            raise ResourceNotFound(f"that instance was not recorded of entity {id}") from None

    async def _recorded(self, tenant: str, id: str) -> History:
        """The newest of what was recorded of an entity. Raises ResourceNotFound."""
        for history in await self._store.history(tenant, [id], Window(last_n=1)):
            return history
        raise ResourceNotFound(f"nothing was recorded of entity {id}")

    async def _instance(self, tenant: str, id: str, attribute: str, instance_id: str) -> Attribute:
        for history in await self._store.history(tenant, [id], Window(), [attribute]):
            for instance in history.attributes.get(attribute, ()):
                if instance.instance_id == instance_id:
                    return instance
        raise ResourceNotFound(f"instance {instance_id} was not recorded of entity {id}")


def found(entity: Entity | None, id: str, types: Select | None = None) -> Entity:
    """The target of an operation. Raises ResourceNotFound."""
    if entity is None or (types is not None and not of_type(entity, types)):
        raise ResourceNotFound(f"entity {id} does not exist")
    return entity


def of_type(entity: Entity, types: Select) -> bool:
    """Whether the entity satisfies a type selection (4.17)."""
    return matcher(Query(selectors=(Selector(types=types),)))(entity)


def fresh(stored: Stored, now: Instant) -> Stored | None:
    """What of a document has not expired (4.22); None when all of it has."""
    entity = document.load(stored.document)
    live = merge.alive(entity, now)
    if live is None or live is entity:
        return None if live is None else stored
    return replace(stored, document=document.dump(live))


def fragment_of(entity: Entity) -> Fragment:
    """An entity as an update of itself."""
    return Fragment(
        id=entity.id,
        types=entity.types,
        scopes=entity.scopes or UNSET,
        attributes=entity.attributes,
        expires_at=entity.expires_at or UNSET,
    )


def as_entity(history: History) -> Entity:
    """Recorded instances as one entity, for filters that ask whether any of them satisfies."""
    lived = {
        name: tuple(each for each in instances if not each.deleted_at)
        for name, instances in history.attributes.items()
    }
    return Entity(
        id=history.id,
        types=history.types,
        scopes=history.scopes,
        attributes={name: instances for name, instances in lived.items() if instances},
    )


def lasting(history: History, now: Instant) -> History:
    """The history without the instances of transient attributes that have expired (4.22)."""
    left = {name: merge.living(instances, now) for name, instances in history.attributes.items()}
    if all(left[name] is instances for name, instances in history.attributes.items()):
        return history
    return replace(history, attributes={name: instances for name, instances in left.items() if instances})


def only(history: History, attributes: Sequence[str]) -> History:
    """The history of some attributes."""
    return replace(history, attributes={k: v for k, v in history.attributes.items() if k in attributes})


def chunks(items: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    """Slices of at most `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))
