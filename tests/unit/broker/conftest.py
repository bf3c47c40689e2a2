"""A broker on the memory store, one whose store commits late, and a receiver of notifications."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from autocity.store.memory import MemoryStore
from towns import LateStore, Receiver, Town, build, tear_down


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    built = await build(MemoryStore())
    yield built
    await tear_down(built)


@pytest.fixture
async def late() -> AsyncIterator[Town]:
    """A town whose store commits late and that delivers nothing."""
    built = await build(LateStore(), deliver=False)
    yield built
    await tear_down(built)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    built = Receiver()
    application = web.Application(client_max_size=2**24)
    application.router.add_post("/{tail:.*}", built.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    built.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield built
    await runner.cleanup()
