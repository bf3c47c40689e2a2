"""Backups of the embedded store: one file with the city, its version and its checksum."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from autocity import __version__
from autocity.errors import ConfigError

CITY = "city.db"
"""The one file of an embedded city, in its data folder and inside a backup."""
MANIFEST = "manifest.json"
FORMAT = 1


class Manifest(Struct, frozen=True, kw_only=True):
    """What a backup says of itself. `sha256` and `size` are of the city's file inside."""

    format: int
    version: str
    schema: int
    created: str
    entities: int
    size: int
    sha256: str


class Facts(Struct, frozen=True):
    """What a data folder holds."""

    schema: int
    entities: int
    size: int


def has_city(folder: Path) -> bool:
    """Whether there is an embedded city in this folder."""
    return (folder / CITY).exists()


def inspect(folder: Path, *, deep: bool = False) -> tuple[list[str], Facts]:
    """Faults and facts of the city in a folder, also while a server runs on it. `deep` reads all of it."""
    db = apsw.Connection(str(folder / CITY), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.set_busy_timeout(5000)
        faults = []
        try:
            pragma = "integrity_check" if deep else "quick_check(1)"
            if deep or (folder / CITY).stat().st_size < 64 * 2**20:
                faults = [str(row[0]) for row in db.execute(f"PRAGMA {pragma}") if row[0] != "ok"]
            facts = _facts(db, folder / CITY)
        except apsw.Error as fault:
            return [f"the file cannot be read: {fault}"], Facts(0, 0, 0)
        return faults, facts
    finally:
        db.close()


def backup(folder: Path, target: Path) -> Manifest:
    """Copy the city in `folder` into the new file `target`, consistently, while a server may run on it;
    then check the copy. Raises ConfigError."""
    if not has_city(folder):
        raise ConfigError(f"there is no city in {folder}; name its data folder with --data")
    if target.exists():
        raise ConfigError(f"{target} exists already; choose another name")
    with tempfile.TemporaryDirectory(prefix=".autocity-", dir=target.resolve().parent) as workshop:
        copy = Path(workshop) / CITY
        _copy(folder / CITY, copy)
        faults, facts = inspect(Path(workshop), deep=True)
        if faults:
            raise ConfigError(f"the copy is not sound ({'; '.join(faults)}); run `autocity doctor --deep`")
        manifest = Manifest(
            format=FORMAT,
            version=__version__,
            schema=facts.schema,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            entities=facts.entities,
            size=copy.stat().st_size,
            sha256=_sum(copy),
        )
        packed = Path(workshop) / "packed"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(MANIFEST, msgspec.json.encode(manifest))
            archive.write(copy, CITY)
        with packed.open("rb") as written:
            os.fsync(written.fileno())
        packed.replace(target)
    return manifest


def restore(source: Path, folder: Path, *, dry_run: bool = False) -> Manifest:
    """Put a backup into an empty or missing folder, once its sum, version and integrity are checked.
    Raises ConfigError; then the folder is as it was."""
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; restore into an empty or missing folder")
    manifest = read_manifest(source)
    near = folder.resolve().parent
    near.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".autocity-", dir=near) as workshop:
        try:
            with zipfile.ZipFile(source) as archive:
                archive.extract(CITY, workshop)
        except (zipfile.BadZipFile, OSError, KeyError) as fault:
            raise ConfigError(f"{source} is damaged: {fault}") from None
        copy = Path(workshop) / CITY
        if _sum(copy) != manifest.sha256:
            raise ConfigError(f"{source} is damaged: its content does not have the checksum that it names")
        faults, _ = inspect(Path(workshop), deep=True)
        if faults:
            raise ConfigError(f"{source} is damaged: {'; '.join(faults)}")
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.move(copy, folder / CITY)
    return manifest


def read_manifest(source: Path) -> Manifest:
    """What a backup says of itself. Raises ConfigError when it is none, or is of a newer form."""
    try:
        with zipfile.ZipFile(source) as archive:
            manifest = msgspec.json.decode(archive.read(MANIFEST), type=Manifest)
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file") from None
    except (zipfile.BadZipFile, KeyError, msgspec.DecodeError, OSError) as fault:
        raise ConfigError(f"{source} is not a backup made by `autocity backup`: {fault}") from None
    if manifest.format > FORMAT:
        raise ConfigError(
            f"{source} was written by autocity {manifest.version}; install that version or newer"
        )
    return manifest


def _copy(source: Path, target: Path) -> None:
    origin = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
    copy = apsw.Connection(str(target))
    try:
        origin.set_busy_timeout(30_000)
        with copy.backup("main", origin, "main") as work:
            while not work.done:
                work.step(1000)
    finally:
        copy.close()
        origin.close()


def _facts(db: apsw.Connection, path: Path) -> Facts:
    schema = next(iter(db.execute("PRAGMA user_version")))[0]
    entities = next(iter(db.execute("SELECT count(*) FROM entity")))[0]
    return Facts(int(schema), int(entities), path.stat().st_size)


def _sum(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
