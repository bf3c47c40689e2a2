"""The embedded store: one SQLite file, many readers beside one writer thread that commits in groups."""

from __future__ import annotations

from pathlib import Path


class SQLiteStore:
    """A `port.Store` in one file. Durable before `commit` returns (WAL, `synchronous=FULL`).

    One process at a time writes: `open` takes the lock beside the file and raises
    `errors.StoreUnavailable` naming the holder, or when the file is of a newer release.
    `readonly` opens beside a running writer, without the lock; commits are refused then.
    """

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        raise NotImplementedError
