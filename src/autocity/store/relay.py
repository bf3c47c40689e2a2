"""One file, several processes: the process that owns the embedded store commits for the others.

Workers read the file themselves. What they write goes over a unix socket as frames of msgpack: four
bytes of length, then everything that came together in one turn of the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import Raw, Struct

from autocity import errors
from autocity.errors import CityError, StoreUnavailable
from autocity.ld import query as language
from autocity.model import Logged
from autocity.store.digest import Digest, Paths, digest
from autocity.store.port import Commit, StaleCommit
from autocity.store.sqlite import FileReads, SQLiteStore, resolve
from autocity.store.writer import Announcement, Job, Writer

PATIENCE = 10.0
"""Seconds that a worker waits for the owner of the file before it says that the store is unavailable."""

GONE = "the process that owns the city is gone; try again"

HEADER = 4


class Committing(Struct, frozen=True, array_like=True, tag=0):
    """Please commit."""

    number: int
    rows: Digest


class Forgetting(Struct, frozen=True, array_like=True, tag=1):
    """Please delete history."""

    number: int
    tenant: str
    id: str
    attribute: str | None
    instance_id: str | None
    datasets: tuple[str, ...]


class Indexing(Struct, frozen=True, array_like=True, tag=2):
    """An attribute index would help."""

    number: int
    tenant: str
    path: language.Path


Request = Committing | Forgetting | Indexing


class Reply(Struct, frozen=True, array_like=True):
    """What became of a request: a result, or why it was refused."""

    number: int
    result: list[int] | bool | None = None
    stale: tuple[tuple[str, str], ...] = ()
    refusal: tuple[str, str] | None = None


class News(Struct, frozen=True, array_like=True):
    """What everyone must know after a transaction. `last`: the last line of the change log that has been
    told; `paths` only when they changed."""

    logged: list[Logged]
    last: int
    generation: int
    paths: Paths | None


class ToWorker(Struct, frozen=True, array_like=True):
    """A frame to a worker: its replies, and the news that all get."""

    replies: list[Reply]
    news: Raw


_encode = msgspec.msgpack.Encoder().encode
_decode_requests = msgspec.msgpack.Decoder(list[Request]).decode
_decode_frame = msgspec.msgpack.Decoder(ToWorker).decode
_decode_news = msgspec.msgpack.Decoder(News).decode

Frame = TypeVar("Frame")


class Frames(asyncio.Protocol, Generic[Frame]):
    """A connection that carries frames. `heard` is called with each, `lost` when the other side is gone."""

    def __init__(
        self, decode: Callable[[bytes], Frame], heard: Callable[[Frame], None], lost: Callable[[], None]
    ) -> None:
        self._decode, self._heard, self._lost = decode, heard, lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Transports of uvloop are none of asyncio by class, only by what they do.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER:
            end = start + HEADER + int.from_bytes(buffer[start : start + HEADER], "big")
            if len(buffer) < end:
                break
            self._heard(self._decode(bytes(buffer[start + HEADER : end])))
            start = end
        del buffer[:start]

    def connection_lost(self, fault: Exception | None) -> None:
        self._transport = None
        self._lost()

    def send(self, frame: object) -> None:
        """Send a frame; to whoever is gone, nothing."""
        if self._transport is not None:
            body = _encode(frame)
            self._transport.write(len(body).to_bytes(HEADER, "big") + body)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Worker(Struct, eq=False):
    """A connected worker and the replies it waits for."""

    frames: Frames[list[Request]]
    replies: list[Reply] = []


class RelayServer:
    """In the process that owns the file: takes commits from a unix socket, tells every worker what
    was committed."""

    def __init__(self, store: SQLiteStore, socket: str | Path) -> None:
        self._store = store
        self._socket = Path(socket)
        self._workers: list[_Worker] = []
        self._server: asyncio.Server | None = None
        self._told = Paths()
        self._last = 0

    async def start(self) -> None:
        """Listen on the socket; only this user may connect."""
        self._socket.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._told = self._store.paths
        self._last = await self._store.last_seq()
        self._store.announced(self._announce)
        self._server = await loop.create_unix_server(self._welcome, str(self._socket))
        self._socket.chmod(0o600)

    async def stop(self) -> None:
        """Let the workers go and remove the socket."""
        if self._server:
            self._server.close()
        for worker in tuple(self._workers):
            worker.frames.close()
        self._socket.unlink(missing_ok=True)

    def _welcome(self) -> Frames[list[Request]]:
        worker: _Worker
        frames: Frames[list[Request]] = Greeting(
            _decode_requests,
            lambda requests: self._take(worker, requests),
            lambda: self._workers.remove(worker),
            lambda: self._greet(worker),
        )
        worker = _Worker(frames, [])
        return frames

    def _greet(self, worker: _Worker) -> None:
        self._workers.append(worker)
        worker.frames.send(ToWorker([], self._news([], self._store.generation(), self._told)))

    def _take(self, worker: _Worker, requests: Sequence[Request]) -> None:
        for request in requests:
            answer = partial(self._reply, worker, request.number)
            match request:
                case Committing(_, rows):
                    job = Job(partial(Writer.commit, digest=rows), answer, rows.rows)
                case Forgetting(_, tenant, id, attribute, instance_id, datasets):
                    job = Job(lambda w: w.forget(tenant, id, attribute, instance_id, datasets), answer)
                case Indexing(_, tenant, path):
                    job = Job(partial(Writer.index, tenant=tenant, path=path), answer)
            self._store.submit(job)

    def _reply(self, worker: _Worker, number: int, answer: Any) -> None:
        worker.replies.append(_reply_to(number, answer))

    def _announce(self, announcement: Announcement) -> None:
        """One frame to each worker, its replies and the news together, so that it knows as it is answered."""
        changed = announcement.paths is not self._told
        self._told = announcement.paths
        if announcement.logged:
            self._last = announcement.logged[-1].seq
        news = self._news(
            announcement.logged, announcement.generation, announcement.paths if changed else None
        )
        for worker in self._workers:
            if worker.replies or announcement.logged or changed:
                worker.frames.send(ToWorker(worker.replies, news))
                worker.replies = []

    def _news(self, logged: list[Logged], generation: int, paths: Paths | None) -> Raw:
        return Raw(_encode(News(logged, self._last, generation, paths)))


class Greeting(Frames[Frame]):
    """Frames that say hello as soon as there is a connection."""

    def __init__(
        self,
        decode: Callable[[bytes], Frame],
        heard: Callable[[Frame], None],
        lost: Callable[[], None],
        greet: Callable[[], None],
    ) -> None:
        super().__init__(decode, heard, lost)
        self._greet = greet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._greet()


def _reply_to(number: int, answer: Any) -> Reply:
    match answer:
        case StaleCommit():
            return Reply(number, stale=answer.stale)
        case CityError():
            return Reply(number, refusal=(type(answer).__name__, answer.detail))
        case Exception():
            return Reply(number, refusal=("StoreUnavailable", f"{type(answer).__name__}: {answer}"))
        case _:
            return Reply(number, answer)


def _answer(reply: Reply) -> Any:
    """What a reply says, as whoever asked wants it: a result, or the exception to raise."""
    if reply.refusal:
        name, detail = reply.refusal
        return getattr(errors, name, StoreUnavailable)(detail)
    return StaleCommit(reply.stale) if reply.stale else reply.result


class RelayStore(FileReads):
    """In a worker: a `port.Store` that reads the file itself and commits through the socket.

    When the owner of the file goes away, commits raise `StoreUnavailable` until it is back; reading
    goes on, and nothing that was committed meanwhile is missed by those who watch.
    """

    def __init__(self, path: str | Path, socket: str | Path) -> None:
        super().__init__(path)
        self._socket = Path(socket)
        self._frames: Frames[ToWorker] | None = None
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._requests: list[Request] = []
        self._last = 0
        self._known = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._reader:
            return
        self._connecting = asyncio.ensure_future(self._connect())
        try:
            async with asyncio.timeout(PATIENCE):
                await self._known.wait()
        except TimeoutError:
            await self.close()
            raise StoreUnavailable(f"nobody who owns the city answers at {self._socket}") from None

    async def close(self) -> None:
        if self._connecting:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
            self._connecting = None
        if self._frames:
            self._frames.close()
            self._frames = None
        self._abandon("the store is closed")
        self._stop_reading()

    # -- the connection

    async def _connect(self) -> None:
        """Until there is a connection: try, and wait a little longer each time."""
        loop = asyncio.get_running_loop()
        pause = 0.02
        while True:
            try:
                _, frames = await loop.create_unix_connection(
                    lambda: Frames(_decode_frame, self._hear, self._lose), str(self._socket)
                )
            except OSError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                self._frames = frames
                return

    def _lose(self) -> None:
        self._abandon(GONE)
        if self._frames is not None:  # else it was us who closed
            self._frames = None
            self._connecting = asyncio.ensure_future(self._connect())

    def _abandon(self, why: str) -> None:
        waiting, self._waiting = self._waiting, {}
        self._requests.clear()
        for future in waiting.values():
            resolve(future, StoreUnavailable(why))

    def _hear(self, frame: ToWorker) -> None:
        """What was committed becomes known, then whoever waits is answered, then watchers hear of it."""
        news = _decode_news(frame.news)
        self._generation = news.generation
        if news.paths is not None:
            self.paths = news.paths
        for reply in frame.replies:
            future = self._waiting.pop(reply.number, None)
            if future is not None:
                resolve(future, _answer(reply))
        if self._reader is None:
            self._start_reading()
            self._last = news.last
            self._known.set()
            return
        logged = news.logged
        if self._last + len(logged) < news.last:  # others committed while nobody told us
            logged = [line for line in self._here().log(self._last, 1 << 30, None) if line.seq <= news.last]
        self._last = news.last
        self._listeners.tell(logged)

    # -- writing

    async def commit(self, commit: Commit) -> list[int]:
        rows = digest(commit, self.paths)
        done: list[int] = await self._ask(Committing(next(self._numbers), rows))
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
        number = next(self._numbers)
        done: bool = await self._ask(
            Forgetting(number, tenant, id, attribute, instance_id, tuple(dataset_ids))
        )
        return done

    async def index(self, tenant: str, path: language.Path) -> bool:
        """Begin an attribute index for a path; False when there is one or there are too many."""
        done: bool = await self._ask(Indexing(next(self._numbers), tenant, path))
        return done

    def _want(self, tenant: str, path: language.Path) -> None:
        if self._frames:
            self._send(Indexing(0, tenant, path))

    async def _ask(self, request: Request) -> Any:
        if self._frames is None:
            raise StoreUnavailable("the store is closed" if self._reader is None else GONE)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[request.number] = future
        self._send(request)
        return await future

    def _send(self, request: Request) -> None:
        """Put a request into the frame that leaves at the end of this turn of the loop."""
        if not self._requests:
            asyncio.get_running_loop().call_soon(self._flush)
        self._requests.append(request)

    def _flush(self) -> None:
        requests, self._requests = self._requests, []
        if requests and self._frames:
            self._frames.send(requests)
