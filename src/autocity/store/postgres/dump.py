"""Backups of a city on PostgreSQL, made and put back by PostgreSQL's own programs."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from autocity.errors import StoreUnavailable
from autocity.store.postgres.connections import named, without_password

SCHEMA = "autocity"


async def backup(url: str, target: str | Path) -> None:
    """Write a consistent dump of the city into a new file, while it runs, and read it back. Raises
    StoreUnavailable, naming the command to run elsewhere when pg_dump is not installed here."""
    path = Path(target)
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    await _run("pg_dump", "--format=custom", f"--schema={SCHEMA}", f"--file={part}", url=url)
    await _run("pg_restore", "--list", str(part))
    part.replace(path)


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
