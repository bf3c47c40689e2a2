"""The embedded store keeps the store contract, and agrees with the memory store on random operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from autocity.store.port import Store
from autocity.store.sqlite import SQLiteStore
from autocity.store.testing import StoreContract, Twins, discarding


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


TestSQLiteTwins = SQLiteTwins.TestCase
TestSQLiteTwins.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
