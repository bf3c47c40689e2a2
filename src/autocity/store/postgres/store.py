"""The store on PostgreSQL: several equal processes on one database, each with one task that writes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from autocity.errors import StoreUnavailable
from autocity.ld import query as language
from autocity.model import Delivery, Logged
from autocity.store.port import Commit
from autocity.store.postgres import dump, indexes, past
from autocity.store.postgres.connections import (
    CHANNEL,
    LEADER_LOCK,
    SENDER_LOCK,
    connect,
    migrate,
    pool,
    refusing,
)
from autocity.store.postgres.reads import DELIVERY, Reads, delivery_of
from autocity.store.postgres.writing import Writing

if TYPE_CHECKING:
    import asyncpg

log = logging.getLogger(__name__)

READERS = 6
"""Connections that a process reads through, at most."""

LOG_LINES, LOG_SLACK = 1_000_000, 10_000
REMIND_SECONDS = 5.0
"""How often a process is told again of deliveries that it has: of some it may not know, for what waited
for the commit was cancelled."""

LISTEN_SECONDS = 1.0
"""Between two attempts to listen again when the connection was lost."""


class PostgresStore(Reads):
    """A `port.Store` in the schema `autocity` of a PostgreSQL database (15 or later).

    Any number of processes may have it open. `commit` returns once PostgreSQL has it on disk. Raises
    `errors.ConfigError` where asyncpg is not installed, `errors.StoreUnavailable` where there is no server.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._writing: Writing | None = None
        self._listening: asyncpg.Connection[Any] | None = None
        self._open = False
        self._holder = 0
        self._leads = False
        self._reminded = -REMIND_SECONDS
        self._generation = 0
        self._latest = 0
        self._own: dict[int, list[Logged]] = {}
        self._catching_up = False
        self._reconnecting = False
        self._filling: set[tuple[str, language.Path]] = set()

    async def open(self) -> None:
        if self._open:
            return
        self._pool = await pool(self.url, READERS)
        self._open = True
        try:
            async with refusing(), self._pool.acquire() as db:
                await migrate(db)
                await self.know.refresh(db)
            self._told = self._latest = -1
            await self._listen()
            self._told = self._latest
            self._writing = Writing(self.url, self.know, self._generation, self._committed)
            for tenant, some in self.know.paths.of.items():
                for one in some:
                    if not one.ready:
                        self._fill(tenant, one.path)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._writing is not None:
            await self._writing.stop()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listening is not None:
            with suppress(Exception):
                await self._listening.close(timeout=5)
        if self._pool is not None:
            await self._pool.close()
        self._pool = self._listening = self._writing = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _writer(self) -> Writing:
        if self._writing is None:
            raise StoreUnavailable("the store is closed")
        return self._writing

    # -- writing

    async def commit(self, commit: Commit) -> list[int]:
        return await self._writer().commit(commit)

    def generation(self) -> int:
        return max(self._generation, self._writing.generation if self._writing else 0)

    async def forget(
        self,
        tenant: str,
        id: str,
        attribute: str | None = None,
        instance_id: str | None = None,
        *,
        dataset_ids: Sequence[str] = (),
    ) -> bool:
        if await self._tenant(tenant) is None:
            return False
        done: bool = await self._writer().run(
            lambda db: past.forget(db, self.know, tenant, id, attribute, instance_id, dataset_ids)
        )
        return done

    async def index(self, tenant: str, path: language.Path) -> bool:
        """Begin an attribute index for a path; False when there is one or there are too many."""
        begun: bool = await self._writer().run(lambda db: indexes.begin(db, self.know, tenant, path))
        async with refusing():
            await self.know.refresh(self._db())
        if begun:
            self._fill(tenant, path)
        return begun

    async def _want(self, tenant: str, path: language.Path) -> None:
        await self.index(tenant, path)

    def _fill(self, tenant: str, path: language.Path) -> None:
        if (tenant, path) not in self._filling:
            self._filling.add((tenant, path))
            self._spawn(self._fill_on(tenant, path))

    async def _fill_on(self, tenant: str, path: language.Path) -> None:
        try:
            while await self._writer().run(lambda db: indexes.fill(db, self.know, tenant, path)):
                pass
            await self.know.refresh(self._db())
            # Until it has looked, PostgreSQL reads the table for each entry that it finds in its index.
            await self._db().execute("VACUUM (ANALYZE) lookup")
        except Exception:
            log.exception("an attribute index is not complete; it will be after the next start")
        finally:
            self._filling.discard((tenant, path))

    def _committed(self, lines: list[Logged], generation: int) -> None:
        """What this process committed: told at once when nobody else's changes come before."""
        self._generation = max(self._generation, generation)
        if not lines:
            return
        self._own[lines[0].seq] = lines
        self._heard(lines[-1].seq)
        if lines[-1].seq // LOG_SLACK > (lines[0].seq - 1) // LOG_SLACK:
            self._spawn(self._shorten_log(lines[-1].seq - LOG_LINES))

    async def _shorten_log(self, last: int) -> None:
        with suppress(StoreUnavailable):
            await self._value("DELETE FROM log WHERE seq <= $1", last)

    # -- what others committed

    async def _listen(self) -> None:
        """Hear of every commit; then know what was committed before."""
        async with refusing():
            db = self._listening = await connect(self.url)
            self._leads = False
            db.add_termination_listener(self._lost)
            await db.add_listener(CHANNEL, self._notified)
            if self._holder:
                await db.execute("SELECT pg_advisory_lock($1, $2)", SENDER_LOCK, self._holder)
            row = await db.fetchrow("SELECT seq, generation FROM city")
            await self.know.refresh(db)
        self._generation = max(self._generation, row["generation"])
        self._heard(row["seq"])

    def _lost(self, connection: object) -> None:
        # It may be lost again while it is being made; the one who makes it goes on.
        if self._open and not self._reconnecting:
            self._reconnecting = True
            self._spawn(self._listen_again())

    async def _listen_again(self) -> None:
        log.warning("the connection to PostgreSQL was lost")
        try:
            while self._open:
                try:
                    await self._listen()
                except StoreUnavailable:
                    await asyncio.sleep(LISTEN_SECONDS)
                else:
                    if self._listening is not None and not self._listening.is_closed():
                        return
        finally:
            self._reconnecting = False

    def _notified(self, connection: object, pid: int, channel: str, payload: object) -> None:
        if self._writing is not None and pid == self._writing.pid:
            return
        seq, generation, paths = map(int, str(payload).split())
        self._generation = max(self._generation, generation)
        if paths != self.know.paths.revision:
            self._spawn(self._learn())
        self._heard(seq)

    async def _learn(self) -> None:
        with suppress(StoreUnavailable):
            async with refusing():
                await self.know.refresh(self._db())

    def _heard(self, seq: int) -> None:
        """There is a line of this number, and are all before it."""
        self._latest = max(self._latest, seq)
        if self._told < 0:
            return
        while lines := self._own.pop(self._told + 1, None):
            self._tell(lines)
        if self._told < self._latest and not self._catching_up:
            self._catching_up = True
            self._spawn(self._catch_up())

    async def _catch_up(self) -> None:
        """Read what other processes committed, and tell all of it in order."""
        try:
            while self._told < self._latest:
                lines = await self.log(self._told)
                if not lines:
                    break
                self._tell(lines)
        except StoreUnavailable:
            log.warning("the change log cannot be read; trying again with the next change")
        finally:
            self._catching_up = False
        self._own = {first: lines for first, lines in self._own.items() if first > self._told}

    def _tell(self, lines: list[Logged]) -> None:
        self._told = lines[-1].seq
        self._listeners.tell(lines)

    # -- the outbox

    async def claim(self, *, subscription: str | None = None, limit: int = 1000) -> list[Delivery]:
        """See `port.Store.claim`. A process holds an advisory lock while it lives; what those held who have
        none any more goes to whoever comes first."""
        if not self._holder:
            await self._register()
        taken = await self._fetch(TAKE, self._holder, SENDER_LOCK, subscription, limit)
        now = asyncio.get_running_loop().time()
        if subscription is None and now < self._reminded + REMIND_SECONDS:
            return [delivery_of(row) for row in sorted(taken, key=lambda row: row["seq"])]
        if subscription is None:
            self._reminded = now
        return [delivery_of(row) for row in await self._fetch(HELD, self._holder, subscription, limit)]

    async def leads(self) -> bool:
        if self._listening is None:
            raise StoreUnavailable("the store is closed")
        if not self._leads:
            async with refusing():
                # Held with the connection, so it is free again as soon as this process is gone.
                self._leads = await self._listening.fetchval("SELECT pg_try_advisory_lock($1)", LEADER_LOCK)
        return self._leads

    async def _register(self) -> None:
        if self._listening is None:
            raise StoreUnavailable("the store is closed")
        async with refusing(), self._listening.transaction():
            holder = await self._listening.fetchval("INSERT INTO sender DEFAULT VALUES RETURNING id")
            # Before anybody else can see that there is such a sender.
            await self._listening.execute("SELECT pg_advisory_lock($1, $2)", SENDER_LOCK, holder)
        self._holder = self._writer().holder = holder

    # -- care

    async def backup(self, target: str) -> None:
        await dump.backup(self.url, target)


HELD = f"""{DELIVERY} WHERE d.holder = $1 AND ($2::text IS NULL OR d.subscription = $2) AND NOT d.dead
ORDER BY d.seq LIMIT $3"""

TAKE = """
WITH alive AS (
  SELECT objid::integer AS id FROM pg_locks WHERE locktype = 'advisory' AND classid = $2::bigint::oid
  AND objsubid = 2 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
),
gone AS (SELECT id FROM sender WHERE id <> $1 AND id NOT IN (SELECT id FROM alive)),
free AS (
  SELECT seq FROM delivery
  WHERE NOT dead AND holder = ANY (ARRAY(SELECT id FROM gone UNION ALL SELECT 0))
  AND ($3::text IS NULL OR subscription = $3)
  ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED
)
UPDATE delivery d SET holder = $1 FROM free, tenant t WHERE d.seq = free.seq AND t.id = d.tenant
RETURNING d.id, t.name, d.subscription, d.created, d.body, d.due, d.attempts, d.dead, d.error, d.seq
"""
