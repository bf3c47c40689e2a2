"""Backups of a city on PostgreSQL, made and put back by PostgreSQL's own programs."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from autocity.errors import ConfigError, StoreUnavailable
from autocity.store.postgres.connections import named, without_password

SCHEMA = "autocity"


async def backup(url: str, target: str | Path) -> None:
    """Write a consistent dump of the city into a new file, while it runs, and read its contents back.
    Raises ConfigError when there is a file already, StoreUnavailable when it cannot be made; where pg_dump
    is not installed that names the command to run elsewhere."""
    path = Path(target)
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another name")
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    # The view of places needs PostGIS, which may not be where the dump goes; it is made anew there.
    what = f"--schema={SCHEMA}", f"--exclude-table={SCHEMA}.place"
    await _run("pg_dump", "--format=custom", *what, f"--file={part}", url=url)
    await inspect(part)
    part.replace(path)


async def inspect(source: str | Path) -> None:
    """Read the contents of a dump. Raises StoreUnavailable when it is none."""
    await _run("pg_restore", "--list", str(source))


async def restore(source: str | Path, url: str) -> None:
    """Put a dump into a database without a city, all of it or nothing. Raises StoreUnavailable."""
    await _run("pg_restore", "--single-transaction", "--no-owner", "--no-privileges", str(source), url=url)


async def _run(program: str, *arguments: str, url: str = "") -> None:
    if shutil.which(program) is None:
        connecting = (f"--dbname='{named(url)}'",) if url else ()
        raise StoreUnavailable(
            f"{program} is not installed here; install PostgreSQL's client programs, or run where they are: "
            + " ".join((program, *arguments, *connecting))
        )
    # Everybody on a machine can read the arguments of a program; its environment they cannot.
    address, password = without_password(url)
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        *((f"--dbname={address}",) if url else ()),
        env=os.environ | ({"PGPASSWORD": password} if password else {}),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise StoreUnavailable(f"{program} failed: {said.decode(errors='replace').strip()}")
