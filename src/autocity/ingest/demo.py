"""The demo city, put together: stated facts, one open series through the importer, the simulated layer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from autocity.ingest.files import Report, Sink

MARK = "autocity-demo.json"
"""The file that marks a data folder as the demo's; only a folder that has it may be wiped."""


async def load(
    sink: Sink, seed: int, now: datetime, progress: Callable[[str, int, int], None] | None = None
) -> list[Report]:
    """Fill an empty city: facts, open series, simulated entities and their last 24 hours.
    `progress(stage, done, total)`."""
    raise LookupError(seed)


async def live(sink: Sink, seed: int, clock: Callable[[], datetime], interval: float = 1.0) -> None:
    """Move the simulated layer until cancelled."""


def mark(folder: Path, seed: int) -> None:
    """Mark an empty folder as the demo's; raises `ConfigError` when it holds anything else."""


def wipe(folder: Path) -> None:
    """Delete what the demo wrote; raises `ConfigError` for a folder without the demo's mark."""
