"""The running program: sockets, processes, logs, and what a person is told at the start."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from autocity import __version__
from autocity.config import Settings, SettingsError
from autocity.ingest.files import Sink
from autocity.main import City, assemble, is_loopback, is_shared, visitor_role
from autocity.store.port import Store

log = logging.getLogger("autocity")


def free_port(wanted: int, host: str) -> int:
    """The wanted port, or the next free one of the twenty after it, else any (0)."""
    for port in range(wanted, wanted + 20):
        with socket.socket(_family(host)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((host, port))
                return port
    return 0


def serve(settings: Settings, *, demo_seed: int | None = None, open_browser: bool = False) -> None:
    """Run the city until it is told to stop (SIGINT, SIGTERM). Raises SettingsError for an address in use."""
    set_up_logs(settings)
    listener = _listen(settings)
    try:
        if settings.server.workers == 1:
            _run(_serve_alone(settings, listener, demo_seed, open_browser))
        else:
            _run(_serve_with_workers(settings, listener, demo_seed, open_browser))
    finally:
        listener.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(work)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def _serve_alone(
    settings: Settings, listener: socket.socket, demo_seed: int | None, open_browser: bool
) -> None:
    async with assemble(settings, address=base_url(settings, listener)) as city:
        background = await _begin(city, demo_seed)
        server = _server(city)
        announce = asyncio.create_task(_announce(city, listener, server, demo_seed is not None, open_browser))
        try:
            await server.serve(sockets=[listener])
        finally:
            for task in (announce, *background):
                task.cancel()
            await asyncio.gather(announce, *background, return_exceptions=True)


async def _serve_with_workers(
    settings: Settings, listener: socket.socket, demo_seed: int | None, open_browser: bool
) -> None:
    """The workers answer HTTP on the shared listener. On the embedded store this process owns the file and
    delivers; on a server they are equal and deliver what they write, and this one watches over them."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # A socket's path must be short (108 bytes), which a data folder's need not be.
    with tempfile.TemporaryDirectory(prefix="autocity-") as folder:
        path = None if is_shared(settings) else str(Path(folder) / "commits.sock")
        address = base_url(settings, listener)
        async with (
            assemble(settings, address=address, deliver=path is not None) as city,
            _relaying(city.store, path),
        ):
            workers = _Workers(settings, listener, path)
            workers.start()
            background = await _begin(city, demo_seed)
            watch = asyncio.create_task(workers.keep_alive())
            announce = asyncio.create_task(
                _announce(city, listener, None, demo_seed is not None, open_browser)
            )
            try:
                await stop.wait()
            finally:
                for task in (announce, watch, *background):
                    task.cancel()
                await asyncio.gather(announce, watch, *background, return_exceptions=True)
                await asyncio.to_thread(workers.stop)


@asynccontextmanager
async def _relaying(store: Store, path: str | None) -> AsyncIterator[None]:
    """Commit for workers through a socket at `path`; None: they do that themselves."""
    if path is None:
        yield
        return
    from autocity.store.relay import RelayServer
    from autocity.store.sqlite import SQLiteStore

    assert isinstance(store, SQLiteStore)
    relay = RelayServer(store, path)
    await relay.start()
    try:
        yield
    finally:
        await relay.stop()


class _Workers:
    """The HTTP processes: started, replaced when one dies, stopped together."""

    def __init__(self, settings: Settings, listener: socket.socket, relay_path: str | None) -> None:
        self._arguments = (settings, listener, relay_path, os.getpid())
        self._spawn = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []

    def start(self) -> None:
        self._processes = [self._one() for _ in range(self._arguments[0].server.workers)]

    def _one(self) -> Any:
        process = self._spawn.Process(target=work, args=self._arguments, daemon=True)
        process.start()
        return process

    async def keep_alive(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for place, process in enumerate(self._processes):
                if not process.is_alive():
                    log.error("a worker died and is replaced", extra={"exit_code": process.exitcode})
                    self._processes[place] = self._one()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()


def work(settings: Settings, listener: socket.socket, relay_path: str | None, parent: int) -> None:
    """One worker process: answers HTTP and reads the store itself. Where another process owns the store it
    hands commits to it and delivers nothing."""
    set_up_logs(settings)

    async def answer() -> None:
        store = None
        if relay_path is not None:
            from autocity.store.relay import RelayStore

            store = RelayStore(Path(settings.store.data) / "city.db", relay_path)
        address = base_url(settings, listener)
        async with assemble(settings, address=address, store=store, deliver=store is None) as city:
            server = _server(city)
            orphaned = asyncio.create_task(_stop_with_parent(parent, server))
            try:
                await server.serve(sockets=[listener])
            finally:
                orphaned.cancel()

    _run(answer())


async def _stop_with_parent(parent: int, server: uvicorn.Server) -> None:
    while os.getppid() == parent:
        await asyncio.sleep(1)
    server.should_exit = True


class _Server(uvicorn.Server):
    """A server that stops on SIGINT and SIGTERM and then lets the program end by itself: uvicorn's own way
    raises the signal again, which would end the process before the store is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def _server(city: City) -> _Server:
    return _Server(
        uvicorn.Config(
            city.application,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            ws="none",
            http="httptools",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=5,
        )
    )


async def _begin(city: City, demo_seed: int | None) -> list[asyncio.Task[None]]:
    """Fill the demo city when it is empty, and start what lives in the background."""
    if demo_seed is None:
        return []
    from autocity.ingest import demo
    from autocity.ingest.sink import BrokerSink

    sink = BrokerSink(city.broker, actor="demo")
    if await city.store.count() == 0:
        await demo.furnish(sink, demo_seed, datetime.now(UTC))
    complete = await city.store.get("", demo.LAST) is not None
    return [asyncio.create_task(_demo(sink, demo_seed, complete))]


async def _demo(sink: Sink, seed: int, complete: bool) -> None:
    """Fill the charts once, while the city is shown already, and move the simulated layer."""
    from autocity.ingest import demo

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(demo.live(sink, seed, lambda: datetime.now(UTC)))
            if not complete:
                await demo.remember(sink, seed, datetime.now(UTC))
    except Exception:
        log.exception("the demo city stands still")
        raise


async def _announce(
    city: City, listener: socket.socket, server: uvicorn.Server | None, demo: bool, open_browser: bool
) -> None:
    """Tell where the city is once it answers: stdout gets the address, stderr the rest."""
    while server is not None and not server.started:
        await asyncio.sleep(0.01)
    address = base_url(city.settings, listener)
    lines = [f"autocity {__version__} is up."]
    if demo:
        lines += [
            f"Console   {address}",
            "You are a guest who may look and play; simulated data says that it is synthetic.",
        ]
    else:
        lines.append(f"Console   {address}")
        if await city.identities.needs_setup():
            secret = await city.identities.offer_setup()
            lines.append(f"Set up    {address}setup?token={secret}   (makes the first administrator, once)")
    lines.append(f"API       {address}ngsi-ld/v1")
    if city.settings.store.url == "memory":
        lines.append("Data      in memory; gone when the server stops")
    elif is_shared(city.settings):
        from autocity.store.postgres.connections import named

        lines.append(f"Data      {named(city.settings.store.url)}")
    else:
        lines.append(f"Data      {Path(city.settings.store.data).resolve()}")
    if not is_loopback(city.settings.server.host):
        visitors = visitor_role(city.settings)
        lines.append(
            f"Open to the network: visitors are {visitors}s."
            if visitors
            else "Open to the network: every request needs a token or a session."
        )
    lines.append("Stop with Ctrl-C.")
    print("\n".join(lines), file=sys.stderr, flush=True)
    print(address, flush=True)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def base_url(settings: Settings, listener: socket.socket) -> str:
    """The address that a person types."""
    if settings.server.public_url:
        return settings.server.public_url.rstrip("/") + "/"
    host, port = settings.server.host, listener.getsockname()[1]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    listener = socket.socket(_family(host))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port}: {fault.strerror}; choose another "
            "--port (0 takes a free one) or --host"
        ) from None
    listener.listen(2048)
    listener.set_inheritable(True)
    return listener


_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, constant message, and the facts as fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextLines(logging.Formatter):
    """The same for a person: time, level, message, facts."""

    def format(self, record: logging.LogRecord) -> str:
        facts = " ".join(f"{n}={v}" for n, v in vars(record).items() if n not in _PLAIN_FIELDS)
        moment = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S")
        text = f"{moment} {record.levelname.lower():7} {record.getMessage()} {facts}".rstrip()
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


def set_up_logs(settings: Settings) -> None:
    """Send logs to stderr in the form that the settings ask for."""
    form = settings.log.format
    handler = logging.StreamHandler(sys.stderr)
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(TextLines() if text else JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log.level.upper())
    for noisy in ("uvicorn", "uvicorn.error", "aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    access = logging.getLogger("autocity.access")
    access.setLevel(logging.INFO if settings.log.requests == "all" else logging.WARNING)
