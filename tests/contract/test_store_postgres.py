"""The store on PostgreSQL keeps the store contract, and agrees with the memory store on random operations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings

from autocity.store import compile
from autocity.store.port import Store
from autocity.store.testing import StoreContract, Twins
from clusters import Cluster

pytest.importorskip("asyncpg")

from autocity.store.postgres import PostgresStore, indexes, plans, reads

SEQUENCES = int(os.environ.get("AUTOCITY_TWINS", "8"))
PLAY = settings(
    max_examples=SEQUENCES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def make(self, database: str) -> Callable[[], Store]:
        return lambda: PostgresStore(database)

    @pytest.fixture
    def reopen(self) -> None:
        """A dump is put back by `restore`, which has tests of its own."""


class PostgresTwins(Twins):
    cluster: ClassVar[Cluster]

    def make(self) -> tuple[Store, Callable[[], None]]:
        url = self.cluster.create()
        return PostgresStore(url), lambda: self.cluster.drop(url)


@pytest.mark.timeout(60 + 10 * SEQUENCES)
class TestPostgresTwins(PostgresTwins.TestCase):
    settings = PLAY

    @pytest.fixture(autouse=True)
    def start(self, postgres: Cluster) -> None:
        PostgresTwins.cluster = postgres


class LargePostgresTwins(PostgresTwins):
    """Goes about a handful of entities as if they were a hundred thousand, and of many forms."""


@pytest.mark.timeout(60 + 10 * SEQUENCES)
class TestLargePostgresTwins(LargePostgresTwins.TestCase):
    settings = PLAY

    @pytest.fixture(autouse=True)
    def as_if_there_were_many(self, postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        PostgresTwins.cluster = postgres
        monkeypatch.setattr(compile, "SMALL", 1)
        monkeypatch.setattr(indexes, "CHUNK", 1)
        monkeypatch.setattr(plans, "FEW", 1)
        monkeypatch.setattr(reads, "CHUNK", 2)
        monkeypatch.setattr(reads, "LARGEST", 1)
        yield
