"""How a write happens: read, decide, submit, and decide again when what it was decided upon is no more.

Writers of one entity do not wait for each other: each decides upon the newest state submitted in
this process, and the store refuses all that was built upon a commit that failed
(docs/decisions/0001). Nothing is concluded from a state before that state is on disk.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from autocity.broker.links import linked_entities
from autocity.broker.notify import Notifier
from autocity.broker.subscriptions import Subscriptions
from autocity.errors import AlreadyExists, CityError, Conflict, StoreUnavailable
from autocity.ld import document, merge
from autocity.ld.merge import Outcome
from autocity.model import Change, Entity, Instant, Stored
from autocity.store.port import Commit, StaleCommit, Store

log = logging.getLogger(__name__)

MAX_DEPTH = 8
"""How many changes made by the platform's own apps may follow from one; more is taken for a loop."""

MAX_TRIES = 64
"""How often a write is decided anew before the store counts as too busy."""

PATIENCE = 3
"""After so many losses a write keeps writers of subscriptions waiting while it commits."""


class Caller(Struct, frozen=True):
    """On whose behalf an operation runs: the tenant ("" is the default one), who acts (for the
    audit), and how many changes made by the platform's own apps led here."""

    tenant: str = ""
    actor: str = ""
    depth: int = 0


class BatchResult(Struct, frozen=True):
    """What became of a batch (5.2.16): ids that succeeded, of those the ones that were created,
    and the refusal of each other one, all in the order of the batch."""

    success: list[str]
    created: list[str]
    errors: list[tuple[str, CityError]]


Item = TypeVar("Item")

Decide = Callable[[Entity | None, Instant], Outcome | None]
"""From the entity as it is (None: there is none) to what it shall be (None: deleted). Raises to refuse;
answering with the entity it was given asks for nothing."""


DELETED = Outcome(Entity(id="", types=()))
"""What a deletion answers: nothing updated, nothing left alone."""


class Head:
    """The newest state of an entity to decide upon. `settled` is there while its commit is under way
    and tells whether that succeeded; heads built upon one another share their `chain`."""

    __slots__ = ("chain", "entity", "settled", "version")

    def __init__(
        self, entity: Entity | None, version: int, settled: asyncio.Future[bool] | None, chain: object
    ) -> None:
        self.entity = entity
        self.version = version
        self.settled = settled
        self.chain = chain


class Writer:
    """Commits what operations decide, with the notifications that it causes."""

    def __init__(
        self, store: Store, subscriptions: Subscriptions, notifier: Notifier, clock: Callable[[], Instant]
    ) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._notifier = notifier
        self._clock = clock
        self._heads: dict[tuple[str, str], Head] = {}
        # Versions go on in wide steps from a random start, so that no other writer gives the same one
        # to another state: what was built upon a state that was refused can then never be accepted.
        self._versions = itertools.count(secrets.randbits(60), 1 << 10)

    async def write(self, caller: Caller, id: str, decide: Decide) -> Outcome:
        """Decide upon one entity and commit, again and again while others come first."""
        tenant = caller.tenant
        guard(caller)
        for attempt in range(MAX_TRIES):
            head = await self._head(tenant, id)
            now = self._clock()
            before = head.entity
            live = None if before is None else merge.alive(before, now)
            try:
                outcome = decide(live, now)
            except CityError:
                # Refused because of a state that is not on disk yet: true only if it gets there.
                if head.settled is None or await asyncio.shield(head.settled):
                    raise
                continue
            after = None if outcome is None else outcome.entity
            if after is live:
                if head.settled is None or await asyncio.shield(head.settled):
                    return outcome or DELETED
                continue
            changes = self._changes(caller, id, head, live, after, now)
            if await self._commit(caller, changes, {id: head.chain}, attempt):
                return outcome or DELETED
        raise StoreUnavailable(f"entity {id} is being changed too often to keep up; try again")

    async def write_many(
        self,
        caller: Caller,
        items: Sequence[tuple[str, Item]],
        decide: Callable[[Item, Entity | None, Instant], Outcome | None],
    ) -> BatchResult:
        """Decide upon items by entity id, each upon what those before it made of its entity (5.5.11),
        and commit them as one. A refused item does not hold up the others."""
        tenant = caller.tenant
        guard(caller)
        for attempt in range(MAX_TRIES):
            heads = await self._heads_of(tenant, dict.fromkeys(id for id, _ in items))
            now = self._clock()
            plan = Plan()
            for id, item in items:
                head = plan.heads.get(id) or heads[id]
                before = head.entity
                live = None if before is None else merge.alive(before, now)
                try:
                    outcome = decide(item, live, now)
                except CityError as refusal:
                    plan.errors.append((id, refusal))
                    plan.doubt(head)
                    continue
                after = None if outcome is None else outcome.entity
                if outcome is not None and outcome.not_updated:
                    left = "; ".join(f"{each.attribute}: {each.reason}" for each in outcome.not_updated)
                    plan.errors.append((id, AlreadyExists(f"some attributes were left as they were: {left}")))
                else:
                    plan.success[id] = None
                if live is None:
                    plan.created[id] = None
                if after is live:
                    plan.doubt(head)
                    continue
                changes = self._changes(caller, id, head, live, after, now)
                plan.changes.extend(changes)
                plan.heads[id] = Head(after, changes[-1].version, head.settled, head.chain)
            if plan.doubts and not all([await asyncio.shield(doubt) for doubt in plan.doubts]):
                continue
            chains = {id: head.chain for id, head in plan.heads.items()}
            if not plan.changes or await self._commit(caller, plan.changes, chains, attempt):
                return BatchResult(list(plan.success), list(plan.created), plan.errors)
        raise StoreUnavailable("the entities of this batch are being changed too often to keep up; try again")

    async def sweep(self) -> int:
        """Delete entities past their `expiresAt`, told as any deletion. Their history outlives
        them and does not name the end (4.22). How many."""
        swept = 0
        for tenant, id in await self._store.expired(self._clock()):
            caller = Caller(tenant, actor="platform")
            head = await self._head(tenant, id)
            now = self._clock()
            if head.entity is None or merge.alive(head.entity, now) is not None:
                continue
            changes = [replace(c, record=False) for c in self._changes(caller, id, head, None, None, now)]
            swept += await self._commit(caller, changes, {id: head.chain}, 0)
        return swept

    async def _head(self, tenant: str, id: str) -> Head:
        head = self._heads.get((tenant, id))
        if head is None:
            stored = await self._store.get(tenant, id)
            # While the store was asked, another writer here may have submitted a newer state.
            head = self._heads.get((tenant, id)) or head_of(stored)
        return head

    async def _heads_of(self, tenant: str, ids: Collection[str]) -> dict[str, Head]:
        stored = {each.id: each for each in await self._store.get_many(tenant, list(ids))}
        return {id: self._heads.get((tenant, id)) or head_of(stored.get(id)) for id in ids}

    def _changes(
        self, caller: Caller, id: str, head: Head, live: Entity | None, after: Entity | None, now: Instant
    ) -> list[Change]:
        """What leads from the head to `after`: one change, or two when what is there has expired."""
        tenant, actor, depth = caller.tenant, caller.actor, caller.depth
        before, expected = head.entity, head.version
        changes = []
        if live is None and before is not None and after is not None:
            changes.append(
                Change(
                    tenant=tenant,
                    id=id,
                    at=now,
                    before=before,
                    after=None,
                    expected=expected,
                    actor=actor,
                    depth=depth,
                )
            )
            before, expected = None, 0
        changes.append(
            Change(
                tenant=tenant,
                id=id,
                at=now,
                before=before,
                after=after,
                expected=expected,
                version=0 if after is None else next(self._versions),
                actor=actor,
                depth=depth,
            )
        )
        return changes

    async def _commit(
        self, caller: Caller, changes: Sequence[Change], chains: dict[str, object], attempt: int
    ) -> bool:
        """Submit changes with the notifications that they cause. False when they were decided upon a
        state that is no more."""
        tenant = caller.tenant
        if attempt >= PATIENCE:
            async with self._subscriptions.quiet():
                return await self._submit(tenant, changes, chains)
        done = await self._submit(tenant, changes, chains)
        if not done:
            await self._subscriptions.catch_up()
        return done

    async def _submit(self, tenant: str, changes: Sequence[Change], chains: dict[str, object]) -> bool:
        subscriptions = self._subscriptions
        levels = subscriptions.links_wanted(changes)
        linked = await self._links(tenant, changes, levels) if levels else {}
        matched = subscriptions.match(changes, linked)
        heads = self._heads
        settled: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for change in changes:
            heads[tenant, change.id] = Head(change.after, change.version, settled, chains[change.id])
        done = False
        refused: Sequence[tuple[str, str]] = ()
        try:
            await self._store.commit(
                Commit(
                    changes=tuple(changes),
                    records=matched.paces,
                    deliveries=matched.deliveries,
                    generation=matched.generation,
                )
            )
            done = True
            matched.keep()
        except StaleCommit as stale:
            refused = stale.stale
            log.debug("a commit was decided upon a state that is no more", extra={"stale": stale.stale})
        finally:
            for change in changes:
                head = heads.get((tenant, change.id))
                # After a failure nobody may build on what was built upon it; after a success the store knows.
                if head is not None and (
                    head.settled is settled if done else head.chain is chains[change.id]
                ):
                    del heads[tenant, change.id]
            settled.set_result(done)
            if not done:
                matched.undo()
        if done and matched.deliveries:
            self._notifier.accept(matched.deliveries)
        await subscriptions.heed(refused)
        return done

    async def _links(self, tenant: str, changes: Sequence[Change], levels: int) -> dict[str, Entity]:
        states = [state for change in changes for state in (change.before, change.after) if state is not None]
        return await linked_entities(self._store, tenant, states, levels, self._clock())


class Plan:
    """What a batch comes to: changes, the state that each leaves behind, and the answer."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.heads: dict[str, Head] = {}
        self.success: dict[str, None] = {}
        self.created: dict[str, None] = {}
        self.errors: list[tuple[str, CityError]] = []
        self.doubts: list[asyncio.Future[bool]] = []

    def doubt(self, head: Head) -> None:
        """Something was concluded from a state that is not on disk yet."""
        if head.settled is not None:
            self.doubts.append(head.settled)


def guard(caller: Caller) -> None:
    """Stop changes that follow from themselves."""
    if caller.depth > MAX_DEPTH:
        log.error("a chain of reactions was cut", extra={"actor": caller.actor, "depth": caller.depth})
        raise Conflict(f"{caller.depth} changes made by apps led to this one, more than {MAX_DEPTH}: a loop")


def head_of(stored: Stored | None) -> Head:
    """What to decide upon when nothing newer is under way."""
    if stored is None:
        return Head(None, 0, None, object())
    return Head(document.load(stored.document), stored.version, None, object())
