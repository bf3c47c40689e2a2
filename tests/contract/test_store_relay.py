"""The store of a worker process keeps the store contract, through a socket to the owner of the file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from autocity.errors import StoreUnavailable
from autocity.model import Logged
from autocity.store.port import Store
from autocity.store.relay import RelayServer, RelayStore
from autocity.store.sqlite import SQLiteStore
from autocity.store.testing import (
    StoreContract,
    Twins,
    creation,
    discarding,
    entity,
    eventually,
    version,
)


class Owned(RelayStore):
    """A worker's store that brings the owner of the file with it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "city.db", folder / "s")
        self.owner = SQLiteStore(folder / "city.db")
        self.server = RelayServer(self.owner, folder / "s")

    async def open(self) -> None:
        await self.owner.open()
        await self.server.start()
        await super().open()

    async def close(self) -> None:
        await super().close()
        await self.server.stop()
        await self.owner.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    # The path of a unix socket may have about a hundred bytes, fewer than pytest's own folders have.
    with TemporaryDirectory() as name:
        yield Path(name)


class TestRelayStore(StoreContract):
    @pytest.fixture
    def make(self, folder: Path) -> Callable[[], Store]:
        return lambda: Owned(folder)

    @pytest.fixture
    def reopen(self) -> Callable[[Path], Store]:
        return SQLiteStore


class RelayTwins(Twins):
    def make(self) -> tuple[Store, Callable[[], None]]:
        folder, discard = discarding(TemporaryDirectory())
        return Owned(folder), discard


TestRelayTwins = pytest.mark.timeout(180)(RelayTwins.TestCase)
TestRelayTwins.settings = settings(
    max_examples=4, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
async def owned(folder: Path) -> AsyncIterator[Owned]:
    store = Owned(folder)
    await store.open()
    yield store
    await store.close()


async def test_every_process_hears_of_everything_in_the_same_order(owned: Owned, folder: Path) -> None:
    other = RelayStore(folder / "city.db", folder / "s")
    await other.open()
    heard: list[list[Logged]] = [[], [], []]
    stores: list[Store] = [owned, other, owned.owner]
    for store, ear in zip(stores, heard, strict=True):
        store.watch(ear.extend)
    await asyncio.gather(*(stores[n % 3].commit(creation(entity(n))) for n in range(60)))
    await eventually(lambda: all(len(ear) == 60 for ear in heard))
    assert heard[0] == heard[1] == heard[2] == await owned.log(0)
    assert await version(other, "urn:ngsi-ld:Car:0") == 1
    await other.close()


async def test_a_worker_comes_back_to_a_new_owner_and_misses_nothing(owned: Owned, folder: Path) -> None:
    heard: list[Logged] = []
    owned.watch(heard.extend)
    await owned.commit(creation(entity(1)))
    await owned.server.stop()
    await eventually(lambda: owned._frames is None)
    with pytest.raises(StoreUnavailable):
        await owned.commit(creation(entity(2)))
    assert await version(owned, "urn:ngsi-ld:Car:1") == 1
    await owned.owner.commit(creation(entity(3)))
    owned.server = RelayServer(owned.owner, folder / "s")
    await owned.server.start()
    await eventually(lambda: owned._frames is not None)
    await owned.commit(creation(entity(4)))
    await eventually(lambda: [line.id[-1] for line in heard] == ["1", "3", "4"])


async def test_commits_in_flight_are_told_when_the_owner_goes(owned: Owned) -> None:
    going = asyncio.ensure_future(owned.commit(creation(entity(1))))
    await asyncio.sleep(0)
    assert owned._frames is not None
    owned._frames.close()
    with pytest.raises(StoreUnavailable):
        await going


async def test_a_worker_says_when_there_is_no_owner(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocity.store.relay.PATIENCE", 0.05)
    with pytest.raises(StoreUnavailable, match="nobody"):
        await RelayStore(folder / "city.db", folder / "s").open()
