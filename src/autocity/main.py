"""The composition root: the only file that knows every part. It puts a city together from settings
and takes it apart again; how it is run as processes is `serving.py`."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from autocity import api, console, models
from autocity.api import auth
from autocity.api.asgi import Application
from autocity.broker import Broker, Contexts, Feed, Outbound
from autocity.broker.identity import Identities
from autocity.config import Settings
from autocity.model import Instant
from autocity.store.port import Store


class City(Struct, frozen=True):
    """A city put together and running in this process."""

    settings: Settings
    store: Store
    broker: Broker
    feed: Feed
    identities: Identities
    application: Application


def clock() -> Instant:
    """The platform's time."""
    return time.time_ns() // 1000


def is_loopback(host: str) -> bool:
    """Whether listening on this address leaves the server reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def visitor_role(settings: Settings) -> str:
    """The role of a caller without token or session; "" when there is none."""
    guest = settings.access.guest
    if guest == "auto":
        return "editor" if is_loopback(settings.server.host) else ""
    return "" if guest == "none" else guest


def policy(settings: Settings) -> auth.Policy:
    """What is granted to whom under these settings."""
    return auth.Policy(
        visitor=visitor_role(settings),
        loopback_only=is_loopback(settings.server.host),
        secure_cookies=settings.server.secure_cookies,
        origins=frozenset(settings.server.cors_origins),
    )


def outbound(settings: Settings) -> Outbound:
    """Where the platform may call: private addresses when allowed, or while nobody else can reach it."""
    allowed = settings.network.allow_private
    return Outbound(allow_private=allowed, allow_loopback=allowed or is_loopback(settings.server.host))


def is_shared(settings: Settings) -> bool:
    """Whether the store is a server that any number of equal processes may use."""
    return settings.store.url.startswith(("postgresql://", "postgres://"))


def open_store(settings: Settings) -> Store:
    """The store that the settings name, not yet opened."""
    if settings.store.url == "memory":
        from autocity.store.memory import MemoryStore

        return MemoryStore()
    if is_shared(settings):
        from autocity.store.postgres import PostgresStore

        return PostgresStore(settings.store.url)
    from autocity.store.sqlite import SQLiteStore

    folder = Path(settings.store.data)
    folder.mkdir(parents=True, exist_ok=True)
    return SQLiteStore(folder / "city.db")


@asynccontextmanager
async def assemble(
    settings: Settings, *, address: str = "/", store: Store | None = None, deliver: bool = True
) -> AsyncIterator[City]:
    """A running city. `address` is where others reach it; `store` replaces the one that the settings name
    (a worker's relay); with `deliver=False` notifications are left to another process. Leaving the
    context finishes what was begun."""
    store = store or open_store(settings)
    async with AsyncExitStack() as open_parts:
        await store.open()
        open_parts.push_async_callback(store.close)
        contexts = Contexts(
            store,
            clock=clock,
            outbound=outbound(settings),
            built_in=models.contexts(),
            base_url=f"{address}ngsi-ld/v1/jsonldContexts/",
        )
        await contexts.open()
        open_parts.push_async_callback(contexts.close)
        broker = Broker(
            store,
            contexts,
            clock=clock,
            outbound=outbound(settings),
            deliver=deliver,
            here=address if "://" in address else "",
        )
        await broker.start()
        open_parts.push_async_callback(broker.stop)
        identities = Identities(store, clock, session_hours=settings.access.session_hours)
        feed = Feed(store)
        grants = policy(settings)
        metrics = api.Metrics()
        application = Application(
            [
                *api.routes(broker, feed, metrics=metrics, clock=clock),
                *auth.routes(identities, grants),
                *console.routes(lambda: application, secure=settings.server.secure_cookies),
            ],
            authenticate=auth.authenticator(identities, grants),
            refuse=console.refuse,
            observe=metrics.observe,
            origins=settings.server.cors_origins,
            max_body=settings.server.max_body_mb * 2**20,
        )
        yield City(settings, store, broker, feed, identities, application)
