"""The memory store keeps the store contract."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autocity.store.memory import MemoryStore
from autocity.store.port import Store
from autocity.store.testing import StoreContract


class TestMemoryStore(StoreContract):
    durable = False

    @pytest.fixture
    def make(self) -> Callable[[], Store]:
        return MemoryStore

    @pytest.fixture
    def reopen(self) -> None:
        return None
