"""What `doctor` looks at: each check gives one finding with its state and, where it is not well, the mend."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

EXTRAS = {"index": ("numpy", "scipy", "yaml"), "mqtt": ("aiomqtt",), "postgres": ("asyncpg",)}
"""Modules by the extra that brings them."""

ENOUGH_DISK_MB = 500


class Finding(Struct, frozen=True):
    """One thing looked at."""

    name: str
    state: Literal["ok", "warning", "fault"]
    detail: str
    mend: str = ""


def everything(*, data: Path | None, config_file: Path | None, deep: bool) -> list[Finding]:
    """Every check that applies, in order."""
    return [*_program(), *_settings(data, config_file), *_extras(), *_contexts(), *_folder(data, deep)]


def _program() -> Iterator[Finding]:
    from autocity import __version__

    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("python", "ok", version)
    yield Finding("autocity", "ok", __version__)
    import apsw

    yield Finding("sqlite", "ok", f"{apsw.sqlite_lib_version()} through apsw {apsw.apsw_version()}")
    year = time.gmtime().tm_year
    if year < 2026:
        yield Finding(
            "clock", "fault", f"it says {year}", "Set the machine's clock; history is kept by its time."
        )
    else:
        yield Finding("clock", "ok", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def _settings(data: Path | None, config_file: Path | None) -> Iterator[Finding]:
    from autocity import config

    if config_file is None and data is not None and (data / config.FILE_NAME).exists():
        config_file = data / config.FILE_NAME
    try:
        settings = config.load(file=config_file, environment=os.environ)
    except config.SettingsError as fault:
        yield Finding(
            "settings", "fault", str(fault), "`autocity config show` lists settings and where they come from."
        )
        return
    yield Finding(
        "settings", "ok", f"{sum(o != 'default' for o in settings.origins.values())} differ from the default"
    )
    if settings.store.url.startswith(("postgresql://", "postgres://")):
        yield _database(settings.store.url)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.server.host, settings.server.port))
            yield Finding("port", "ok", f"{settings.server.host}:{settings.server.port} is free")
        except OSError as fault:
            yield Finding(
                "port",
                "warning",
                f"{settings.server.host}:{settings.server.port}: {fault.strerror}",
                "A city may be running already; else choose another with --port.",
            )
    if not settings.server.host.startswith("127.") and not settings.server.secure_cookies:
        yield Finding(
            "exposure",
            "warning",
            f"listens on {settings.server.host} without TLS of its own",
            "Put a TLS proxy in front and set server.secure_cookies = true.",
        )


def _database(url: str) -> Finding:
    """Whether there is a sound city on PostgreSQL, or room for one."""
    import asyncio

    from autocity.errors import CityError
    from autocity.store.postgres import PostgresStore
    from autocity.store.postgres.connections import named

    async def look() -> tuple[list[str], int]:
        store = PostgresStore(url)
        await store.open()
        try:
            return await store.check(), await store.count()
        finally:
            await store.close()

    try:
        faults, entities = asyncio.run(look())
    except CityError as fault:
        return Finding("store", "fault", fault.detail, "Start the server, or mend store.url.")
    if faults:
        return Finding("store", "fault", "; ".join(faults), "Restore the last backup into another database.")
    return Finding("store", "ok", f"{named(url)}, {entities} entities, checked whole")


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        if missing:
            yield Finding(
                f"extra {extra}",
                "warning",
                f"not installed ({', '.join(missing)})",
                f"pip install 'autocity[{extra}]'",
            )
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def _contexts() -> Iterator[Finding]:
    from autocity import models
    from autocity.ld.context import CORE

    yield Finding(
        "contexts",
        "ok",
        f"core ({CORE.expand('location')}) and {len(models.contexts())} of the city's own are built in",
    )


def _folder(data: Path | None, deep: bool) -> Iterator[Finding]:
    folder = data or Path("data")
    if not folder.exists():
        if data is not None:
            yield Finding("data", "warning", f"{folder} does not exist", "`autocity serve --data` makes it.")
        return
    if not os.access(folder, os.W_OK):
        yield Finding(
            "data", "fault", f"{folder} cannot be written", f"chown or chmod {folder} for this user."
        )
        return
    free = shutil.disk_usage(folder).free // 2**20
    state: Literal["ok", "warning"] = "ok" if free >= ENOUGH_DISK_MB else "warning"
    mend = "" if state == "ok" else "Free some room; a full disk stops writing, never corrupts."
    yield Finding("disk", state, f"{free} MiB free in {folder}", mend)
    yield from _store(folder, deep)


def _store(folder: Path, deep: bool) -> Iterator[Finding]:
    from autocity.store import archive

    if not archive.has_city(folder):
        yield Finding("store", "warning", f"no city in {folder} yet", "`autocity serve --data` makes one.")
        return
    faults, facts = archive.inspect(folder, deep=deep)
    if faults:
        yield Finding("store", "fault", "; ".join(faults), "Stop the server and restore the last backup.")
    else:
        detail = f"schema {facts.schema}, {facts.entities} entities, {facts.size // 2**20} MiB"
        yield Finding("store", "ok", detail + (", checked whole" if deep else ""))
