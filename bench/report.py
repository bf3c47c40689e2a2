"""How a figure is told, and how the CPU time and memory of a process tree are read (Linux)."""

from __future__ import annotations

import functools
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

TICK = os.sysconf("SC_CLK_TCK")


@functools.cache
def versions() -> dict[str, str]:
    """What was measured, with what."""
    names = ("autocity", "apsw", "msgspec", "uvicorn", "uvloop", "httptools")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}


def tell(name: str, figure: float, unit: str, ratio: float | None = None, **more: Any) -> None:
    """One line: what, how much, in which unit, and how it stands to the reference of this run."""
    line: dict[str, Any] = {"name": name, "figure": round(figure, 3), "unit": unit}
    if ratio is not None:
        line["ratio"] = round(ratio, 2)
    line |= more
    line |= {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "versions": versions()}
    print(json.dumps(line), flush=True)


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(*pids: int) -> float:
    """User and system time of process trees so far, with those of their processes that have ended."""
    total = 0
    for one in (found for pid in pids for found in tree(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))
    return total / TICK


def resident_mb(pid: int) -> float:
    """Resident memory of a process tree in MiB; shared pages count once (proportional set size)."""
    total = 0
    for one in tree(pid):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def percentile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
