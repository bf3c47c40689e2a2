"""Connections to PostgreSQL: how they are made, what their faults mean, and the schema they need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from autocity.errors import BadRequestData, ConfigError, StoreUnavailable

if TYPE_CHECKING:
    import asyncpg

CHANNEL = "autocity"
"""Where commits are announced (LISTEN)."""

SCHEMA_LOCK, LEADER_LOCK, SENDER_LOCK = 0x41435459, 0x4143544C, 0x41435453
"""Advisory locks: of who changes the schema, who does what one process does for all, and (the first of
two numbers) who sends notifications."""

SETTINGS = {
    "application_name": "autocity",
    "search_path": "autocity, public",
    # Every statement here is short; compiling it would take longer than running it, and so would planning
    # it each time. Plans may be made while the tables are nearly empty, or before anything was counted, so
    # none may be chosen that reads a whole table.
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "timezone": "UTC",
}

OLDEST = 15
"""The version of PostgreSQL that this was built and tested with; older ones are refused."""

CONNECT_SECONDS = 10.0
STATEMENTS = 512


def driver() -> Any:
    """asyncpg, which only this store needs. Raises ConfigError when it is not installed."""
    try:
        import asyncpg
    except ImportError:
        raise ConfigError(
            "a store on PostgreSQL needs the driver asyncpg; pip install 'autocity[postgres]'"
        ) from None
    return asyncpg


def without_password(url: str) -> tuple[str, str]:
    """An address without its password, and the password."""
    parts = urlsplit(url)
    if parts.password is None:
        return url, ""
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}@{host}")), unquote(parts.password)


def named(url: str) -> str:
    """An address as it may be shown."""
    return without_password(url)[0]


async def connect(url: str) -> asyncpg.Connection[Any]:
    """One connection. Raises StoreUnavailable."""
    with _unreachable(url):
        return await driver().connect(
            url, timeout=CONNECT_SECONDS, server_settings=SETTINGS, statement_cache_size=STATEMENTS
        )


async def pool(url: str, size: int) -> asyncpg.Pool[Any]:
    """Connections for reading. Raises StoreUnavailable."""
    with _unreachable(url):
        return await driver().create_pool(
            url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_SECONDS,
            # Nothing here changes the state of a session, and asking to clear it costs a round trip.
            reset=_as_it_is,
            server_settings=SETTINGS,
            statement_cache_size=STATEMENTS,
        )


async def _as_it_is(connection: object) -> None:
    """Leave a connection as it is."""


class _unreachable:
    """What it means when no connection comes about."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, (*broken(), driver().PostgresError)):
            reason = str(fault) or type(fault).__name__
            raise StoreUnavailable(
                f"no connection to {named(self._url)}: {reason}; check the address (store.url), "
                "that the server runs and that the database exists"
            ) from None


def refusal(fault: BaseException) -> BaseException:
    """What a fault of the driver means to who asked."""
    if isinstance(fault, unstorable()):
        return BadRequestData(f"this cannot be stored: {fault}")
    if isinstance(fault, (*broken(), driver().PostgresError)):
        return StoreUnavailable(f"the store cannot be used now: {fault or type(fault).__name__}; try again")
    return fault


def unstorable() -> tuple[type[Exception], ...]:
    """Faults of what was to be written, not of the server."""
    asyncpg = driver()
    return (
        asyncpg.DataError,
        asyncpg.ProgramLimitExceededError,
        asyncpg.UntranslatableCharacterError,
        UnicodeEncodeError,
    )


def broken() -> tuple[type[Exception], ...]:
    """Faults after which a connection cannot be relied on."""
    asyncpg = driver()
    return asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError


# -- the schema


def migrations() -> list[tuple[int, str]]:
    """The numbered steps from an empty database to the present schema."""
    folder = resources.files("autocity.store") / "schema" / "postgres"
    return sorted(
        (int(file.name[:4]), file.read_text()) for file in folder.iterdir() if file.name[:4].isdigit()
    )


async def migrate(db: asyncpg.Connection[Any]) -> None:
    """Bring a database forward to the present schema, one process at a time, each step in a transaction.
    Raises StoreUnavailable for one of a newer release, and for one that cannot hold a city."""
    server, encoding = db.get_server_version(), await db.fetchval("SHOW server_encoding")
    if server.major < OLDEST:
        raise StoreUnavailable(f"PostgreSQL {server.major} is too old; use {OLDEST} or newer")
    if encoding != "UTF8":
        raise StoreUnavailable(
            f"the database is encoded in {encoding}; make one with CREATE DATABASE … ENCODING 'UTF8'"
            " TEMPLATE template0"
        )
    await db.execute("SELECT pg_advisory_lock($1)", SCHEMA_LOCK)
    try:
        await db.execute("CREATE SCHEMA IF NOT EXISTS autocity")
        await db.execute("CREATE TABLE IF NOT EXISTS autocity.schema (version integer NOT NULL)")
        version = await db.fetchval("SELECT coalesce(max(version), 0) FROM autocity.schema")
        steps = migrations()
        if version > steps[-1][0]:
            raise StoreUnavailable(
                f"the city was written by a newer release (schema {version}, this one knows {steps[-1][0]}); "
                "upgrade autocity, or restore a backup made before"
            )
        for number, text in steps:
            if number > version:
                async with db.transaction():
                    await db.execute(text)
                    await db.execute("INSERT INTO autocity.schema VALUES ($1)", number)
        if await db.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'postgis')"):
            await db.execute((resources.files("autocity.store") / "schema/postgres/postgis.sql").read_text())
    finally:
        await db.execute("SELECT pg_advisory_unlock($1)", SCHEMA_LOCK)


@asynccontextmanager
async def refusing() -> AsyncIterator[None]:
    """Tell faults of the driver in the words of `errors`."""
    try:
        yield
    except asyncio.CancelledError:
        raise
    except Exception as fault:
        told = refusal(fault)
        if told is fault:
            raise
        raise told from fault
