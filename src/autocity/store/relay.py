"""One file, several processes: the process that owns the embedded store commits for the others."""

from __future__ import annotations

from pathlib import Path

from autocity.store.sqlite import SQLiteStore


class RelayServer:
    """In the process that owns the file: takes commits from a unix socket, tells every worker what
    was committed."""

    def __init__(self, store: SQLiteStore, socket: str | Path) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Listen on the socket; only this user may connect."""

    async def stop(self) -> None:
        """Let the workers go and remove the socket."""


class RelayStore:
    """In a worker: a `port.Store` that reads the file itself and commits through the socket."""

    def __init__(self, path: str | Path, socket: str | Path) -> None:
        raise NotImplementedError
