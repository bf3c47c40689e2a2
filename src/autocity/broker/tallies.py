"""What became of notifications, counted by each process that sends and added up in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.errors import StoreUnavailable
from autocity.ld.instants import timestamp
from autocity.model import Instant, Record
from autocity.store.port import Commit, RecordWrite, StaleCommit, Store

FLUSH_SECONDS = 5.0
MAX_TRIES = 8

Key = tuple[str, str]
"""Tenant and id."""


class Tally(Struct):
    """What became of a subscription's notifications (5.2.14.2)."""

    times_sent: int = 0
    times_failed: int = 0
    last_notification: Instant = 0
    last_success: Instant = 0
    last_failure: Instant = 0
    failed: bool = False

    def shown(self) -> dict[str, Any]:
        """The output-only members of `notification`."""
        if not self.times_sent:
            return {}
        return {
            "timesSent": self.times_sent,
            **({"timesFailed": self.times_failed} if self.times_failed else {}),
            "lastNotification": timestamp(self.last_notification),
            **({"lastSuccess": timestamp(self.last_success)} if self.last_success else {}),
            **({"lastFailure": timestamp(self.last_failure)} if self.last_failure else {}),
            "status": "failed" if self.failed else "ok",
        }


def added(stored: Tally, here: Tally, base: Tally) -> Tally:
    """What the store has, with what was counted here since it had `base`."""
    success = max(stored.last_success, here.last_success)
    failure = max(stored.last_failure, here.last_failure)
    return Tally(
        times_sent=stored.times_sent + here.times_sent - base.times_sent,
        times_failed=stored.times_failed + here.times_failed - base.times_failed,
        last_notification=max(stored.last_notification, here.last_notification),
        last_success=success,
        last_failure=failure,
        failed=failure > success,
    )


class Tallies:
    """Tallies by tenant and id. Counting costs nothing; what was counted is in the store some seconds
    later. `before` is awaited then, so that nothing is written of what is no more."""

    def __init__(
        self, store: Store, kind: str, clock: Callable[[], Instant], before: Callable[[], Awaitable[None]]
    ) -> None:
        self._before = before
        self._store = store
        self._kind = kind
        self._clock = clock
        self._here: dict[Key, Tally] = {}
        self._stored: dict[Key, tuple[int, Tally]] = {}
        self._dirty: set[Key] = set()
        self._flusher: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what is stored, and begin to write now and then."""
        for record in await self._store.records(None, self._kind):
            self._take(record)
        self._flusher = asyncio.create_task(self._flush_on())

    async def close(self) -> None:
        """Write down what was counted."""
        if self._flusher is not None:
            self._flusher.cancel()
            with suppress(asyncio.CancelledError):
                await self._flusher
            self._flusher = None
        await self.flush()

    def of(self, key: Key) -> Tally:
        """What is known here of one."""
        return self._here.get(key) or Tally()

    def sending(self, key: Key) -> None:
        """Count one attempt to notify (5.8.6)."""
        tally = self._here.setdefault(key, Tally())
        tally.times_sent += 1
        tally.last_notification = self._clock()
        self._dirty.add(key)

    def sent(self, key: Key, *, ok: bool) -> None:
        """Note how an attempt ended."""
        tally = self._here.get(key)
        if tally is None:
            return
        tally.failed = not ok
        if ok:
            tally.last_success = self._clock()
        else:
            tally.times_failed += 1
            tally.last_failure = self._clock()
        self._dirty.add(key)

    def forget(self, key: Key) -> None:
        """Nothing is counted for this one any more."""
        self._here.pop(key, None)
        self._stored.pop(key, None)
        self._dirty.discard(key)

    async def recall(self, keys: Iterable[Key]) -> None:
        """Know what other processes have counted and written down."""
        for tenant, id in keys:
            record = await self._store.record(tenant, self._kind, id)
            if record is not None:
                self._take(record)
            else:
                self._stored.pop((tenant, id), None)

    def _take(self, record: Record) -> None:
        key = record.tenant, record.id
        version, base = self._stored.get(key, (0, Tally()))
        if record.version != version:
            stored = msgspec.json.decode(record.body, type=Tally)
            here = self._here.get(key)
            self._here[key] = added(stored, here, base) if here is not None else replace(stored)
            self._stored[key] = record.version, stored

    async def flush(self) -> None:
        """Write down what was counted since the last time, upon what others wrote."""
        if self._dirty:
            with suppress(StoreUnavailable):
                await self._before()
        for _ in range(MAX_TRIES):
            counted = {key: replace(self._here[key]) for key in self._dirty if key in self._here}
            self._dirty.clear()
            if not counted:
                return
            writes = tuple(self._write(key, tally) for key, tally in counted.items())
            try:
                await self._store.commit(Commit(records=writes))
            except StaleCommit as stale:
                self._dirty |= counted.keys()
                await self.recall((tenant, name.partition("/")[2]) for tenant, name in stale.stale)
            except StoreUnavailable:
                self._dirty |= counted.keys()
                return
            else:
                for key, tally in counted.items():
                    if key in self._here:
                        self._stored[key] = self._version(key) + 1, tally
                return

    def _version(self, key: Key) -> int:
        return self._stored[key][0] if key in self._stored else 0

    def _write(self, key: Key, tally: Tally) -> RecordWrite:
        return RecordWrite(
            tenant=key[0],
            kind=self._kind,
            id=key[1],
            body=msgspec.json.encode(tally),
            expected=self._version(key),
        )

    async def _flush_on(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()
