"""Committed changes in order, for whoever listens: the console's live view, apps, other nodes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from autocity.model import Logged
from autocity.store.port import Store

PAGE = 1000


class Resync(Struct, frozen=True):
    """Some changes up to `seq` were not told; read the present state again, then go on from `seq`."""

    seq: int


class Feed:
    """The change log as a live stream, for any number of listeners at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def listen(
        self, *, after: int | None = None, tenant: str | None = None, buffer: int = 1000
    ) -> AsyncIterator[list[Logged] | Resync]:
        """Changes after the cursor (`Last-Event-ID`; None: from now on), in commit order, in the lumps in
        which they came, of one tenant or (None) of all. A listener that falls more than `buffer` lines
        behind, or whose cursor is older than the log, gets a `Resync` in their place."""
        inbox = Inbox(tenant, buffer)
        # Listening before reading: a change between the two is heard twice rather than never.
        leave = self._store.watch(inbox.hear)
        try:
            seen = await self._store.last_seq() if after is None else after
            if after is not None:
                async for lump in self._missed(after, tenant, buffer):
                    seen = lump.seq if isinstance(lump, Resync) else lump[-1].seq
                    yield lump
            while True:
                lump = await inbox.next()
                if isinstance(lump, Resync):
                    if lump.seq > seen:
                        seen = lump.seq
                        yield lump
                    continue
                fresh = [line for line in lump if line.seq > seen]
                if fresh:
                    seen = fresh[-1].seq
                    yield fresh
        finally:
            leave()

    async def _missed(
        self, after: int, tenant: str | None, buffer: int
    ) -> AsyncIterator[list[Logged] | Resync]:
        """What the log holds beyond a cursor; a Resync when that is too much, or has been let go."""
        last = await self._store.last_seq()
        oldest = await self._store.log(after, 1)
        if last - after > buffer or after > last or (oldest and oldest[0].seq != after + 1):
            yield Resync(last)
            return
        while lines := await self._store.log(after, PAGE, tenant):
            yield lines
            after = lines[-1].seq


class Inbox:
    """What one listener has not read yet."""

    def __init__(self, tenant: str | None, room: int) -> None:
        self._tenant = tenant
        self._room = room
        self._lines: deque[Logged] = deque()
        self._skipped = 0
        self._filled = asyncio.Event()

    def hear(self, lines: Sequence[Logged]) -> None:
        """Take up committed changes; when there is no room, forget all and remember that."""
        if self._tenant is not None:
            lines = [line for line in lines if line.tenant == self._tenant]
        if not lines:
            return
        self._lines.extend(lines)
        if len(self._lines) > self._room:
            self._lines.clear()
            self._skipped = lines[-1].seq
        self._filled.set()

    async def next(self) -> list[Logged] | Resync:
        """Everything that came since the last time; waits until there is something."""
        await self._filled.wait()
        if self._skipped:
            skipped, self._skipped = self._skipped, 0
            if not self._lines:
                self._filled.clear()
            return Resync(skipped)
        lines = list(self._lines)
        self._lines.clear()
        self._filled.clear()
        return lines
