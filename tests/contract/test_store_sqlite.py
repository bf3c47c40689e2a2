"""The embedded store keeps the store contract, and agrees with the memory store on random operations.

`AUTOCITY_TWINS` is the number of random sequences to play; the default is for every day.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from autocity.store import compile, writer
from autocity.store.port import Store
from autocity.store.sqlite import SQLiteStore
from autocity.store.testing import StoreContract, Twins, discarding

SEQUENCES = int(os.environ.get("AUTOCITY_TWINS", "12"))
PLAY = settings(
    max_examples=SEQUENCES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[], Store]:
        return lambda: SQLiteStore(tmp_path / "city.db")

    @pytest.fixture
    def reopen(self) -> Callable[[Path], Store]:
        return SQLiteStore


class SQLiteTwins(Twins):
    def make(self) -> tuple[Store, Callable[[], None]]:
        folder, discard = discarding(TemporaryDirectory())
        return SQLiteStore(folder / "city.db"), discard


TestSQLiteTwins = pytest.mark.timeout(60 + 5 * SEQUENCES)(SQLiteTwins.TestCase)
TestSQLiteTwins.settings = PLAY


class LargeSQLiteTwins(SQLiteTwins):
    """Goes about a handful of entities as if they were a hundred thousand."""


@pytest.mark.timeout(60 + 5 * SEQUENCES)
class TestLargeSQLiteTwins(LargeSQLiteTwins.TestCase):
    settings = PLAY

    @pytest.fixture(autouse=True)
    def as_if_there_were_many(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(compile, "SMALL", 1)
        monkeypatch.setattr(writer, "CHUNK", 1)
        yield
