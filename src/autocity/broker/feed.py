"""Committed changes in order, for whoever listens: the console's live view, apps, other nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Struct

from autocity.model import Logged
from autocity.store.port import Store


class Resync(Struct, frozen=True):
    """Some changes up to `seq` were not told; read the present state again, then go on from `seq`."""

    seq: int


class Feed:
    """The change log as a live stream."""

    def __init__(self, store: Store) -> None:
        raise NotImplementedError

    def listen(
        self, *, after: int | None = None, tenant: str | None = None, buffer: int = 1000
    ) -> AsyncIterator[list[Logged] | Resync]:
        """Changes after the cursor (`Last-Event-ID`; None: from now on), in commit order, in the
        lumps in which they came. A listener that falls more than `buffer` behind gets a `Resync`."""
        raise NotImplementedError
