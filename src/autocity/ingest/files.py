"""Files in: CSV, JSON, JSON lines, GeoJSON and NGSI-LD; every bad row named, every good one kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from autocity.ingest.mapping import Fault, Mapping


class Sink(Protocol):
    """Where entities go. An answer is given when they are durable."""

    async def upsert(self, entities: Sequence[dict[str, Any]]) -> Sequence[str | None]:
        """Create or update entities (normalized JSON with `@context`), in order, the same id several times if
        it must be. Per entity: None when taken, else the reason of the refusal."""

    async def record(self, histories: Sequence[dict[str, Any]]) -> Sequence[str | None]:
        """Put instances into history without touching the present (EntityTemporal, 5.6.11): each attribute is a
        list of instances with `observedAt` and `instanceId`; an instance that is there already is replaced."""


class Report(Struct, kw_only=True):
    """What became of a file, writable as JSON or CSV."""

    source: str
    rows: int = 0
    taken: int = 0
    faults: list[Fault] = []
    stopped: str = ""
    next_line: int | None = None

    def write(self, path: Path) -> None:
        """Write the report: `.csv` gives one line a fault, anything else JSON."""


async def run(
    source: Path,
    sink: Sink,
    mapping: Mapping | None = None,
    *,
    batch: int = 500,
    first_line: int = 1,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Import a file. `progress(bytes read, bytes in all)`. With `dry_run` nothing reaches the sink."""
    raise LookupError(source)


Progress = Callable[[str, float], Awaitable[None] | None]
