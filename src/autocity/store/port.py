"""What every store promises. `store/testing.py` is the same promise in executable form.

A write is data, not a callback: the broker reads, decides, and hands over a `Commit` that names
the versions it decided upon. So one protocol serves a thread, a writer process behind a socket
and a database server (docs/decisions/0001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from autocity.ld.query import Query
from autocity.ld.temporal import Window
from autocity.model import Attributes, Change, Delivery, Instant, Logged, Record, Stored

COUNTED = frozenset(("subscription", "registration"))
"""Kinds of records that every process keeps at hand; writing one makes the `generation` grow."""


class StaleCommit(Exception):
    """Something that the commit was decided upon has changed; read again and decide again.

    `stale` holds `(tenant, entity id)` or `(tenant, "kind/id")` of what differs, or `("", "generation")`.
    """

    def __init__(self, stale: Sequence[tuple[str, str]]) -> None:
        super().__init__(f"{len(stale)} of the things this commit relies on have changed")
        self.stale = tuple(stale)


class RecordWrite(Struct, frozen=True, kw_only=True):
    """Put (`body`) or remove (`body is None`) one record. `expected`: the version it must have
    (0: must not exist; None: any)."""

    tenant: str
    kind: str
    id: str
    body: bytes | None
    expected: int | None = None


class PointWrite(Struct, frozen=True, kw_only=True):
    """Put instances into the history of one entity without touching its present state (temporal
    provision, 5.6.11 to 5.6.16). An instance without `instance_id` is appended, with `created_at` and
    `modified_at` equal to `at`. One with an `instance_id` replaces that instance, which keeps its
    `created_at`; if there is no such instance the commit is stale. The entity need not exist: `types` are
    added to those recorded; `scopes`, when there are any, replace those recorded of one that is not there."""

    tenant: str
    id: str
    types: tuple[str, ...]
    scopes: tuple[str, ...]
    attributes: Attributes
    at: Instant


class Commit(Struct, frozen=True, kw_only=True):
    """All or nothing. Several changes of one entity apply in their order, each upon the one before.
    A delivery whose id is there already replaces it in its place; `settled` takes deliveries away.
    `generation`, when given, is the store's `generation()` that the matching of subscriptions relied on;
    the commit is stale when records of a `COUNTED` kind changed since."""

    changes: tuple[Change, ...] = ()
    records: tuple[RecordWrite, ...] = ()
    points: tuple[PointWrite, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    settled: tuple[str, ...] = ()
    generation: int | None = None


class Page(Struct, frozen=True):
    """One page of a query's answer, in order. `total` only when the query asked for a count."""

    entities: list[Stored]
    total: int | None = None


class History(Struct, frozen=True, kw_only=True):
    """What was recorded of one entity within a window: instances by attribute, newest last.

    Each instance carries `instance_id`, `created_at` (when it was recorded), `modified_at` (the same
    until it is replaced), and `deleted_at` where it marks the deletion of the attribute instance
    (4.5.7). Changes of scope are instances of a Property under the IRI of `scope` whose `observed_at`
    is the time of the change (4.5.6). `truncated` tells that `limit` cut instances off.
    """

    id: str
    types: tuple[str, ...]
    scopes: tuple[str, ...]
    attributes: Attributes
    created_at: Instant = 0
    modified_at: Instant = 0
    deleted_at: Instant = 0
    truncated: bool = False


class TypeSummary(Struct, frozen=True):
    """One entity type in use: how many entities, and per attribute IRI the kinds it takes."""

    type: str
    count: int
    attributes: dict[str, tuple[str, ...]]


class Store(Protocol):
    """State, history, records, outbox and change log of all tenants.

    Every coroutine may raise `errors.StoreUnavailable`. Nothing is visible before it is durable,
    and `commit` returns only when it is (`kill -9` included). The tenant "" is the default one.
    """

    async def open(self) -> None:
        """Make the store ready: create it when absent, migrate it forward, refuse a newer one."""

    async def close(self) -> None:
        """Finish what was begun and let go of files and sockets."""

    # state
    async def get(self, tenant: str, id: str) -> Stored | None: ...

    async def get_many(self, tenant: str, ids: Sequence[str]) -> list[Stored]:
        """Those of `ids` that exist, each once, in the order of `ids`."""

    async def query(self, tenant: str, query: Query, *, now: Instant) -> Page:
        """Entities that `ld.query.matches`, ordered by `query.order`, else in the order in which they
        were created (one created anew after its deletion stands last). Entities whose `expires_at`
        is not after `now` are not there any more."""

    async def expired(self, now: Instant, limit: int = 1000) -> list[tuple[str, str]]:
        """`(tenant, id)` of entities whose `expires_at` is not after `now`, the longest expired first."""

    async def summary(self, tenant: str) -> list[TypeSummary]:
        """Types in use with their attributes, ordered by type (5.7.5 to 5.7.10)."""

    async def tenants(self) -> list[str]:
        """Tenants that exist: the default one and every one ever written to."""

    async def count(self, tenant: str | None = None) -> int:
        """How many entities there are, in one tenant or in all."""

    # writing
    async def commit(self, commit: Commit) -> list[int]:
        """Apply all of it durably or none; the sequence number of each change, in order.

        Raises `StaleCommit` when a version, record or generation is not as expected.
        """

    def generation(self) -> int:
        """A number that grows whenever a record of a `COUNTED` kind is written."""

    # history
    async def history(
        self, tenant: str, ids: Sequence[str], window: Window, attributes: Sequence[str] = ()
    ) -> list[History]:
        """History of the entities named that have any within the window (also of deleted ones)."""

    async def recorded(self, tenant: str, query: Query) -> list[str]:
        """Ids, in their own order, of entities with history, deleted ones included, whose ids, types and
        scopes match the selectors and scopes of the query (the rest of the query is not looked at)."""

    async def forget(
        self,
        tenant: str,
        id: str,
        attribute: str | None = None,
        instance_id: str | None = None,
        *,
        dataset_ids: Sequence[str] = (),
    ) -> bool:
        """Delete history (5.6.13, 5.6.15, 5.6.16): of an entity, of an attribute, of some of its
        datasets ("@none": the default one), or one instance. False when there was none."""

    # records
    async def record(self, tenant: str, kind: str, id: str) -> Record | None: ...

    async def records(self, tenant: str | None, kind: str) -> list[Record]:
        """Records of a kind in creation order, of one tenant or (None) of all."""

    # outbox and feed
    async def outbox(
        self,
        *,
        due_before: Instant | None = None,
        subscription: str | None = None,
        dead: bool = False,
        limit: int = 1000,
    ) -> list[Delivery]:
        """Deliveries waiting (or dead), in the order in which they were first written; with
        `due_before` only those whose `due_at` is not after it."""

    async def claim(self, *, subscription: str | None = None, limit: int = 1000) -> list[Delivery]:
        """Deliveries waiting that this process is to send, and no other one, in the order in which they
        were first written: all of one subscription, else at least those that nobody sends. What a process
        writes is its own from the first time that it asked; what it left when it ended goes to another."""

    async def leads(self) -> bool:
        """Whether this process, of all that have the store open, does what only one shall do."""

    async def log(self, after: int, limit: int = 1000, tenant: str | None = None) -> list[Logged]:
        """The change log from `after` (exclusive) on. Sequence numbers have no gaps, so a first line
        other than `after + 1` tells that older lines have been let go (the newest million are kept)."""

    async def last_seq(self) -> int: ...

    def watch(self, hear: Callable[[Sequence[Logged]], None]) -> Callable[[], None]:
        """Call `hear` on the event loop with every committed change, in order, whichever process
        committed it. Returns a function that ends the watch."""

    # care
    async def check(self) -> list[str]:
        """Faults found by the backend's own integrity check and ours; empty when sound."""

    async def backup(self, target: str) -> None:
        """A consistent copy while running."""
