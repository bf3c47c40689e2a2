"""The embedded store: one SQLite file, many readers beside one writer thread that commits in groups."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO, Any, TypeVar

import apsw

from autocity.errors import StoreUnavailable
from autocity.ld import query as language
from autocity.ld.query import Query
from autocity.ld.temporal import Window
from autocity.model import Delivery, Instant, Logged, Record, Stored
from autocity.store.digest import Digest, Paths, Row, digest
from autocity.store.listeners import Listeners
from autocity.store.port import Commit, History, Page, TypeSummary
from autocity.store.reader import Budget, Reader, TooLong, connect
from autocity.store.writer import Announcement, Job, Writer, load_paths, nobody

APPLICATION = 0x41435459
"""Marks the file as ours (`PRAGMA application_id`)."""

BUSY = 2000
"""When queries have decoded more entities than this for want of an attribute index, one is made."""

THREADS = 2

Answer = TypeVar("Answer")


class FileReads:
    """The reading half of a `port.Store` on one file, for the process that writes it and for others.

    What is quick is read on the event loop's thread; what is not moves to a small pool of readers.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.paths = Paths()
        self._listeners = Listeners()
        self._generation = 0
        self._reader: Reader | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._own = threading.local()
        self._readers: list[Reader] = []
        self._missed: Counter[tuple[str, language.Path]] = Counter()

    def _start_reading(self) -> None:
        self._reader = Reader(self.path, Budget(looks=2, entities=300))
        self._pool = ThreadPoolExecutor(THREADS, "autocity-reader")

    def _stop_reading(self) -> None:
        if self._pool:
            self._pool.shutdown()
        for reader in (*self._readers, self._reader):
            if reader:
                reader.close()
        self._reader, self._pool, self._readers, self._own = None, None, [], threading.local()

    def _here(self) -> Reader:
        if self._reader is None:
            raise StoreUnavailable("the store is closed")
        return self._reader

    async def _elsewhere(self, read: Callable[[Reader], Answer]) -> Answer:
        """Read in a thread of the pool, through that thread's own connection."""
        if self._pool is None:
            raise StoreUnavailable("the store is closed")

        def run() -> Answer:
            reader: Reader | None = getattr(self._own, "reader", None)
            if reader is None:
                reader = self._own.reader = Reader(self.path)
                self._readers.append(reader)
            return read(reader)

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    async def _either(self, read: Callable[[Reader], Answer]) -> Answer:
        """Read here if that is quick, else elsewhere."""
        try:
            return read(self._here())
        except TooLong:
            return await self._elsewhere(read)

    # -- state

    async def get(self, tenant: str, id: str) -> Stored | None:
        return self._here().get(tenant, id)

    async def get_many(self, tenant: str, ids: Sequence[str]) -> list[Stored]:
        return self._here().get_many(tenant, ids)

    async def query(self, tenant: str, query: Query, *, now: Instant) -> Page:
        paths = self.paths
        page, plan, decoded = await self._either(lambda reader: reader.query(tenant, query, paths, now))
        for path in plan.wanted:
            self._missed[tenant, path] += decoded
            if self._missed[tenant, path] > BUSY:
                del self._missed[tenant, path]
                self._want(tenant, path)
        return page

    def _want(self, tenant: str, path: language.Path) -> None:
        """Ask for an attribute index; whoever cannot make one lets it be."""

    async def expired(self, now: Instant, limit: int = 1000) -> list[tuple[str, str]]:
        return self._here().expired(now, limit)

    async def summary(self, tenant: str) -> list[TypeSummary]:
        return self._here().summary(tenant)

    async def tenants(self) -> list[str]:
        return self._here().tenants()

    async def count(self, tenant: str | None = None) -> int:
        return self._here().count(tenant)

    # -- history

    async def history(
        self, tenant: str, ids: Sequence[str], window: Window, attributes: Sequence[str] = ()
    ) -> list[History]:
        return await self._either(lambda reader: reader.history(tenant, ids, window, attributes))

    async def recorded(self, tenant: str, query: Query) -> list[str]:
        paths = self.paths
        return await self._elsewhere(lambda reader: reader.recorded(tenant, query, paths))

    # -- records, outbox, feed

    def generation(self) -> int:
        return self._generation

    async def record(self, tenant: str, kind: str, id: str) -> Record | None:
        return self._here().record(tenant, kind, id)

    async def records(self, tenant: str | None, kind: str) -> list[Record]:
        return self._here().records(tenant, kind)

    async def outbox(
        self,
        *,
        due_before: Instant | None = None,
        subscription: str | None = None,
        dead: bool = False,
        limit: int = 1000,
    ) -> list[Delivery]:
        return self._here().outbox(due_before, subscription, dead, limit)

    async def claim(self, *, subscription: str | None = None, limit: int = 1000) -> list[Delivery]:
        # Only the process that owns the file sends.
        return await self.outbox(subscription=subscription, limit=limit)

    async def leads(self) -> bool:
        return True

    async def log(self, after: int, limit: int = 1000, tenant: str | None = None) -> list[Logged]:
        return self._here().log(after, limit, tenant)

    async def last_seq(self) -> int:
        return self._here().last_seq()

    def watch(self, hear: Callable[[Sequence[Logged]], None]) -> Callable[[], None]:
        return self._listeners.add(hear)

    # -- care

    async def check(self) -> list[str]:
        return await self._elsewhere(Reader.check)

    async def backup(self, target: str) -> None:
        await self._elsewhere(lambda reader: reader.backup(Path(target)))


class SQLiteStore(FileReads):
    """A `port.Store` in one file. Durable before `commit` returns (WAL, `synchronous=FULL`).

    One process at a time writes: `open` takes the lock beside the file and raises
    `errors.StoreUnavailable` naming the holder, or when the file is of a newer release.
    `readonly` opens beside a running writer, without the lock; commits are refused then.
    """

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        super().__init__(path)
        self._readonly = readonly
        self._lock: IO[str] | None = None
        self._writer: Writer | None = None
        self._db: apsw.Connection | None = None
        self._announced: list[Callable[[Announcement], None]] = []

    async def open(self) -> None:
        if self._reader:
            return
        try:
            if self._readonly:
                self._open_beside()
            else:
                self._open_alone()
        except BaseException:
            await self.close()
            raise

    def _open_beside(self) -> None:
        if not self.path.exists():
            raise StoreUnavailable(f"there is no city in {self.path}")
        db = connect(self.path)
        refuse_newer(db)
        self._generation = db.execute("SELECT value FROM meta WHERE key = 'generation'").get
        self.paths = load_paths(db, 0)
        db.close()
        self._start_reading()

    def _open_alone(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.path)
        self._db = connect(self.path, write=True)
        migrate(self._db)
        self._start_reading()
        loop = asyncio.get_running_loop()
        self._writer = Writer(self._db, lambda done: loop.call_soon_threadsafe(self._settle, done))
        self._generation, self.paths = self._writer.generation, self._writer.paths
        self._writer.start()

    async def close(self) -> None:
        if self._writer:
            writer, self._writer = self._writer, None
            await asyncio.get_running_loop().run_in_executor(None, writer.stop)
            await asyncio.sleep(0)  # the last announcement is on the loop already; let it be heard
        self._stop_reading()
        if self._db:
            self._db.close()
        if self._lock:
            self._lock.close()
        self._db = self._lock = None

    # -- writing

    async def commit(self, commit: Commit) -> list[int]:
        return await self.commit_digest(digest(commit, self.paths))

    async def commit_digest(self, rows: Digest) -> list[int]:
        """Commit what is taken apart already."""
        done: list[int] = await self._do(lambda writer: writer.commit(rows), rows.rows)
        return done

    async def forget(
        self,
        tenant: str,
        id: str,
        attribute: str | None = None,
        instance_id: str | None = None,
        *,
        dataset_ids: Sequence[str] = (),
    ) -> bool:
        done: bool = await self._do(
            lambda writer: writer.forget(tenant, id, attribute, instance_id, dataset_ids)
        )
        return done

    async def index(self, tenant: str, path: language.Path) -> bool:
        """Begin an attribute index for a path; False when there is one or there are too many."""
        done: bool = await self._do(lambda writer: writer.index(tenant, path))
        return done

    def _want(self, tenant: str, path: language.Path) -> None:
        if self._writer:
            self._writer.submit(Job(lambda writer: writer.index(tenant, path), nobody))

    async def _do(self, run: Callable[[Writer], Any], about: tuple[Row, ...] = ()) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.submit(Job(run, partial(resolve, future), about))
        return await future

    def submit(self, job: Job) -> None:
        """Hand a job to the writer; jobs are done in the order in which they are submitted."""
        if self._writer is None:
            raise StoreUnavailable(
                "the store is open for reading only" if self._readonly else "the store is closed"
            )
        self._writer.submit(job)

    def _settle(self, announcement: Announcement) -> None:
        """On the loop: what was committed becomes known, in order, at once."""
        self._generation, self.paths = announcement.generation, announcement.paths
        for job, answer in announcement.answers:
            job.answer(answer)
        self._listeners.tell(announcement.logged)
        for hear in self._announced:
            hear(announcement)

    def announced(self, hear: Callable[[Announcement], None]) -> None:
        """Tell `hear` of every transaction, changes or not; for the relay."""
        self._announced.append(hear)


def resolve(future: asyncio.Future[Any], answer: Any) -> None:
    """Give a future its answer, unless whoever waited has left."""
    if future.done():
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)


# -- the file


def lock(path: Path) -> IO[str]:
    """Become the one process that writes this file. The lock goes with the process, however it ends."""
    name = path.with_name(f"{path.name}.lock")
    file = name.open("a+")
    if not _locked(file):
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise StoreUnavailable(
            f"the city in {path.parent} is in use by process {holder}; stop that process, "
            "or choose another folder with --data"
        )
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


if sys.platform == "win32":
    import msvcrt

    def _locked(file: IO[str]) -> bool:
        try:
            file.seek(1 << 20)  # beyond the text, which others may want to read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _locked(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def migrations() -> list[tuple[int, str]]:
    """The numbered steps from an empty file to the present schema."""
    folder = resources.files("autocity.store") / "schema" / "sqlite"
    return sorted(
        (int(file.name[:4]), file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql")
    )


def refuse_newer(db: apsw.Connection) -> int:
    """The schema version of a file; raises `errors.StoreUnavailable` for one that is not ours to open."""
    version = int(db.pragma("user_version"))
    mark = int(db.pragma("application_id"))
    latest = migrations()[-1][0]
    if version > latest:
        raise StoreUnavailable(
            f"the city was written by a newer release (schema {version}, this one knows {latest}); "
            "upgrade autocity, or restore a backup made before"
        )
    if mark != APPLICATION and (mark or version):
        raise StoreUnavailable("the file is a SQLite database of another program; choose another folder")
    return version


def migrate(db: apsw.Connection) -> None:
    """Bring a file forward to the present schema, each step in a transaction of its own."""
    version = refuse_newer(db)
    for number, text in migrations():
        if number > version:
            with db:
                db.execute(text)
                db.pragma("user_version", number)
                db.pragma("application_id", APPLICATION)
