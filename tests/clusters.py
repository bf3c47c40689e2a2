"""A private PostgreSQL server for the tests: started once, thrown away at the end; each has a database."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

PORT = 5432
"""Only part of the name of a socket; nothing listens on the network."""


class Cluster:
    """A running server with empty databases to give away."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self._numbers = count(1)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}&port={PORT}"

    async def run(self, *statements: str) -> None:
        import asyncpg

        db = await asyncpg.connect(self.url("postgres"))
        for statement in statements:
            await db.execute(statement)
        await db.close()

    def create(self) -> str:
        """The address of a new, empty database."""
        name = f"city{next(self._numbers)}"
        asyncio.run(self.run(f"CREATE DATABASE {name}"))
        return self.url(name)

    def drop(self, url: str) -> None:
        name = url.rpartition("?")[0].rpartition("/")[2]
        asyncio.run(self.run(f"DROP DATABASE {name} WITH (FORCE)"))

    def control(self, *arguments: str) -> None:
        """`pg_ctl` on this server."""
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-s", *arguments)

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    def start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self._call(
            "initdb",
            "-D",
            str(self.folder / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        )
        self._begin()

    def _begin(self) -> None:
        settings = f"-k {self.folder} -p {PORT} -c listen_addresses='' -c max_connections=200"
        self.control("start", "-l", str(self.folder / "log"), "-o", settings)

    def crash(self) -> None:
        """End the server without letting it finish anything, and start it again."""
        self.control("stop", "-m", "immediate")
        self._begin()


def programs() -> Path | None:
    """The folder of PostgreSQL's server programs, the newest when there are several."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    folders = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((one.parent for one in folders), key=lambda one: int(one.parent.name), default=None)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A server for as long as the context lasts; skips where PostgreSQL is not installed."""
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL's server is not installed (scripts/test installs it where it can)")
    with tempfile.TemporaryDirectory(prefix="autocity-pg-") as folder:
        server = Cluster(where, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
