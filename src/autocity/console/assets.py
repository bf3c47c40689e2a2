"""Static files of the console: read once each, addressed by a digest of them all, cached for ever.

Every file has a route of its own, so no request path ever meets the file system.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from msgspec import Struct

FOLDER = Path(__file__).parent / "static"

MEDIA = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}


class Asset(Struct, frozen=True):
    """One static file: its name below `static/`, where it lies and its media type."""

    name: str
    file: Path
    media: str


@cache
def assets() -> dict[str, Asset]:
    """Every static file by name."""
    found = (file for file in sorted(FOLDER.rglob("*")) if file.is_file() and file.suffix in MEDIA)
    return {
        (name := file.relative_to(FOLDER).as_posix()): Asset(name, file, MEDIA[file.suffix]) for file in found
    }


@cache
def version() -> str:
    """A digest of all static files: a changed file changes every address, so caches never lie."""
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(name.encode() + b"\0" + asset.file.read_bytes())
    return digest.hexdigest()[:12]


@cache
def content(name: str) -> bytes:
    """The bytes of a static file, read when it is first asked for."""
    return assets()[name].file.read_bytes()


def address(name: str) -> str:
    """The path that serves a static file. Raises KeyError for a name that is no file, so typos fail."""
    return f"/static/{version()}/{assets()[name].name}"
