"""The one task of a process that writes: everything that waits becomes one statement, one transaction."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from autocity.errors import CityError, StoreUnavailable
from autocity.model import Logged
from autocity.store.digest import Digest, digest
from autocity.store.port import Commit, StaleCommit
from autocity.store.postgres import past
from autocity.store.postgres.connections import broken, connect, driver, refusal
from autocity.store.postgres.group import Group, Versions, uncertain
from autocity.store.postgres.knowledge import Knowledge

if TYPE_CHECKING:
    import asyncpg

GROUP = 256
"""Commits that share one transaction, at most."""

CHANGES = 4096
"""Changes and records that share one transaction, unless one commit has more."""

TRIES = 32

CHANGED_MEANWHILE = "AC001"


class Job(Struct, eq=False):
    """Something to write: a commit, or what to run in a transaction of its own."""

    future: asyncio.Future[Any]
    commit: Commit | None = None
    digest: Digest = Digest()
    run: Callable[[Any], Awaitable[Any]] | None = None

    @property
    def size(self) -> int:
        return len(self.digest.rows) + len(self.digest.records)

    def answer(self, answer: Any) -> None:
        """Let whoever waits know, unless they have left."""
        if self.future.done():
            return
        if isinstance(answer, BaseException):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


class Again(Exception):
    """Somebody else came first; what was to be written has to be looked at again."""


class Writing:
    """Writes what is submitted, in order, on a connection of its own.

    `committed` is called after each transaction with the lines that it added to the change log, and the
    generation; `holder` is who sends the notifications that are written.
    """

    def __init__(
        self, url: str, know: Knowledge, generation: int, committed: Callable[[list[Logged], int], None]
    ) -> None:
        self.generation = generation
        self.holder = 0
        self.pid = 0
        self._url = url
        self._know = know
        self._committed = committed
        self._jobs: deque[Job] = deque()
        self._stirred = asyncio.Event()
        self._ending = False
        self._db: asyncpg.Connection[Any] | None = None
        self._task = asyncio.create_task(self._write_on())

    async def stop(self) -> None:
        """Finish what waits, then let go of the connection."""
        self._ending = True
        self._stirred.set()
        await self._task
        if self._db is not None:
            await self._db.close()

    async def commit(self, commit: Commit) -> list[int]:
        """Submit a commit; see `port.Store.commit`."""
        job = Job(self._future(), commit=commit, digest=digest(commit, self._know.paths))
        return await self._submit(job)  # type: ignore[no-any-return]

    async def run(self, run: Callable[[Any], Awaitable[Any]]) -> Any:
        """Run something in a transaction of its own, in its turn."""
        return await self._submit(Job(self._future(), run=run))

    def _future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    async def _submit(self, job: Job) -> Any:
        if self._ending:
            raise StoreUnavailable("the store is closed")
        self._jobs.append(job)
        self._stirred.set()
        return await job.future

    async def _write_on(self) -> None:
        while not (self._ending and not self._jobs):
            await self._stirred.wait()
            self._stirred.clear()
            while self._jobs:
                jobs = self._take()
                try:
                    await self._together(jobs)
                except Exception as fault:  # noqa: BLE001 - it goes to all who wait
                    for job in jobs:
                        job.answer(refusal(fault))

    def _take(self) -> list[Job]:
        """What can share a transaction: commits that leave history alone, in the order in which they came.
        The group is what arrived during the last transaction; there is no timer."""
        jobs = [self._jobs.popleft()]
        size = jobs[0].size
        if _stands_alone(jobs[0]):
            return jobs
        while self._jobs and len(jobs) < GROUP and size < CHANGES and not _stands_alone(self._jobs[0]):
            jobs.append(self._jobs.popleft())
            size += jobs[-1].size
        return jobs

    async def _together(self, jobs: list[Job]) -> None:
        try:
            await self._transact(jobs)
        except Exception as fault:
            told = refusal(fault)
            if len(jobs) == 1 or isinstance(told, StoreUnavailable):
                raise told from fault
            # One of them cannot be written: let each stand alone, so that only that one fails.
            for job in jobs:
                try:
                    await self._transact([job])
                except Exception as alone:  # noqa: BLE001 - it goes to the one who waits
                    job.answer(refusal(alone))

    async def _transact(self, jobs: list[Job]) -> None:
        asyncpg = driver()
        found = Versions()
        crowded = False
        for _ in range(TRIES):
            db = await self._connected()
            try:
                if jobs[0].run is not None:
                    async with self._alone(db):
                        answer = await jobs[0].run(db)
                    jobs[0].answer(answer)
                elif jobs[0].digest.points:
                    await self._commit_with_points(db, jobs, found)
                else:
                    group = await self._prepare(db, jobs, found)
                    last = await self._execute(db, group, found, crowded=crowded)
                    self._answer(jobs, group, last)
                return
            except Again:
                continue
            except (StaleCommit, CityError) as refused:
                jobs[0].answer(refused)
                return
            except asyncpg.UniqueViolationError as fault:
                # Two points at one place, or somebody else made the same thing at the same time.
                crowded = crowded or fault.table_name == "point"
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                pass
            except asyncpg.PostgresError as fault:
                if fault.sqlstate != CHANGED_MEANWHILE:
                    raise
            except broken():
                self._forget_connection()
                raise
        raise StoreUnavailable("others keep changing the same things; try again")

    async def _prepare(self, db: asyncpg.Connection[Any], jobs: list[Job], found: Versions) -> Group:
        """The group of these commits, all its names known."""
        know = self._know
        for job in jobs:
            if job.digest.paths != know.paths.revision and job.commit is not None:
                job.digest = digest(job.commit, know.paths)
        digests = [job.digest for job in jobs]
        for kind, tenant, id in uncertain(digests) - found.records.keys():
            version = await db.fetchval(
                "SELECT version FROM record r JOIN tenant t ON t.id = r.tenant"
                " WHERE kind = $1 AND t.name = $2 AND r.id = $3",
                kind,
                tenant,
                id,
            )
            found.records[kind, tenant, id] = version or 0
        group = Group(digests, found, self.generation)
        if group.doubted:
            tenants, ids = zip(*group.doubted, strict=True)
            found.entities.update(dict.fromkeys(group.doubted, 0))
            for tenant, id, version in await db.fetch(VERSIONS, tenants, ids):
                found.entities[tenant, id] = version
            group = Group(digests, found, self.generation)
        await know.learn_tenants(db, dict.fromkeys(group.tenants()))
        await know.learn_forms(db, group.forms(know.tenants))
        await know.learn_words(db, group.words())
        return group

    async def _execute(
        self, db: asyncpg.Connection[Any], group: Group, found: Versions, *, crowded: bool = False
    ) -> int:
        """Write a group; the number of the last line of the change log. Raises Again when something is not
        as expected; `found` says what there is."""
        if not (group.rows or group.records or group.deliveries or group.settled):
            return 0
        know = self._know
        row = await db.fetchrow(COMMIT, *group.arguments(know, self.holder, crowded=crowded))
        self.generation = max(self.generation, row["new_generation"])
        if row["done"]:
            know.written.update(group.tenants())
            if row["new_paths"] != know.paths.revision and (group.rows or group.counted):
                await know.refresh_paths(db)
            return int(row["last_seq"])
        if row["new_paths"] != know.paths.revision:
            await know.refresh_paths(db)
        found.entities.update(zip(group.nets, row["versions"] or (), strict=False))
        found.records.update(zip(group.records, row["record_versions"] or (), strict=False))
        raise Again

    def _answer(self, jobs: list[Job], group: Group, last: int) -> None:
        first = last - len(group.rows) + 1
        seq = first
        for job, answer in zip(jobs, group.answers, strict=True):
            if isinstance(answer, int):
                job.answer(list(range(seq, seq + answer)))
                seq += answer
            else:
                job.answer(answer)
        self._committed(group.logged(first), self.generation)

    async def _commit_with_points(
        self, db: asyncpg.Connection[Any], jobs: list[Job], found: Versions
    ) -> None:
        """A commit that also writes to history alone."""
        provisions = jobs[0].digest.points
        await self._know.learn_tenants(db, dict.fromkeys(one.tenant for one in provisions))
        group = await self._prepare(db, jobs, found)
        (answer,) = group.answers
        async with self._alone(db):
            last = await self._execute(db, group, found)
            stale = list(answer.stale) if isinstance(answer, StaleCommit) else []
            try:
                await past.provide(db, self._know, provisions)
                await db.execute(
                    "UPDATE tenant SET written = true WHERE id = ANY ($1) AND NOT written",
                    [self._know.tenants[one.tenant] for one in provisions],
                )
            except StaleCommit as fault:
                stale += fault.stale
            if stale:
                raise StaleCommit(stale)
        self._answer(jobs, group, last)

    @asynccontextmanager
    async def _alone(self, db: asyncpg.Connection[Any]) -> AsyncIterator[None]:
        """A transaction; what it learnt is forgotten when it is not committed."""
        try:
            async with db.transaction():
                yield
        except BaseException:
            self._know.forget_words()
            raise

    async def _connected(self) -> asyncpg.Connection[Any]:
        if self._db is None or self._db.is_closed():
            db = self._db = await connect(self._url)
            self.pid = db.get_server_pid()
            await db.execute(DURABLE)
        return self._db

    def _forget_connection(self) -> None:
        if self._db is not None:
            self._db.terminate()
            self._db = None


def _stands_alone(job: Job) -> bool:
    return job.run is not None or bool(job.digest.points)


DURABLE = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""

VERSIONS = """
SELECT t.name, e.id, e.version FROM unnest($1::text[], $2::text[]) x(tenant, id)
JOIN tenant t ON t.name = x.tenant JOIN entity e ON e.tenant = t.id AND e.id = x.id
"""

PARAMETERS = 66
COMMIT = f"SELECT * FROM commit_1({', '.join(f'${n}' for n in range(1, PARAMETERS + 1))})"
