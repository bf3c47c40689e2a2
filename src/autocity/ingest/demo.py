"""The demo city, put together: stated facts, the simulated layer with its last day, two open series."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from autocity import models
from autocity.errors import ConfigError, StoreUnavailable
from autocity.ingest import files, mapping
from autocity.ingest.files import Report, Sink
from autocity.ingest.simulate import Simulation

log = logging.getLogger(__name__)

MARK = "autocity-demo.json"
"""The file that marks a data folder as the demo's; only a folder that has it may be wiped."""

SEED = 471
"""The demo's own seed: the square kilometres of the city."""

LAST = "urn:ngsi-ld:WeatherObserved:urbanev:central"
"""What `remember` writes last: when it is there, the demo city is complete."""

BACKFILL = timedelta(hours=24)
BACKFILL_STEP = timedelta(minutes=15)
"""How far back the simulated layer remembers on the first start, and how often it was looked at."""

SERIES = (("urbanev-stations", "urbanev-stations.csv"), ("urbanev-weather", "urbanev-weather.csv.gz"))
"""Shipped mapping and file of each open series."""

BATCH = 200
HISTORIES = 12
"""How many entities, or days of one thing, go to the sink at once: others want the loop in between."""

Stage = Callable[[str, int, int], None]


async def load(sink: Sink, seed: int, now: datetime, progress: Stage | None = None) -> list[Report]:
    """Fill an empty city: first `furnish`, then `remember`. One report a part.

    `progress(stage, done, total)` with the stages facts, simulation, history and one per open series.
    """
    return await furnish(sink, seed, now, progress) + await remember(sink, seed, now, progress)


async def furnish(sink: Sink, seed: int, now: datetime, progress: Stage | None = None) -> list[Report]:
    """What the city shows at once: stated facts, and the simulated entities as they are at `now` (which
    bears a timezone). Well under a second."""
    tell = progress or _silent
    return [
        await _upsert(sink, "facts", models.facts(), tell),
        await _upsert(sink, "simulation", Simulation(seed).entities(now), tell),
    ]


async def remember(sink: Sink, seed: int, now: datetime, progress: Stage | None = None) -> list[Report]:
    """What fills the charts: the simulated layer's day before `now`, and the open series. A few seconds;
    may run while the city is in use, and again when it was interrupted."""
    tell = progress or _silent
    reports = [await _remember(sink, Simulation(seed), now, tell)]
    for rules, file in SERIES:
        reports.append(await _import(sink, rules, mapping.SHIPPED / file, tell))
    return reports


def _silent(stage: str, done: int, total: int) -> None:
    pass


async def live(sink: Sink, seed: int, clock: Callable[[], datetime], interval: float = 1.0) -> None:
    """Move the simulated layer, every `interval` seconds, until cancelled.

    The first step tells everything, for the city may have slept through dusk. A step that the store
    refuses is not lost: the next one tells what changed since the last that was taken.
    """
    simulation = Simulation(seed)
    shown: datetime | None = None
    while True:
        now = clock()
        told = [each for _, each in simulation.updates(shown, now)] if shown else simulation.entities(now)
        try:
            refused = [reason for reason in await sink.upsert(told) if reason] if told else []
        except StoreUnavailable as fault:
            log.warning("the simulated layer waits for the store", extra={"reason": fault.detail})
        else:
            shown = now
            if refused:
                log.warning(
                    "simulated updates were refused", extra={"count": len(refused), "first": refused[0]}
                )
        await asyncio.sleep(interval)


async def _upsert(sink: Sink, stage: str, entities: Sequence[dict[str, Any]], tell: Stage) -> Report:
    report = Report(source=stage, rows=len(entities))
    for start in range(0, len(entities), BATCH):
        batch = entities[start : start + BATCH]
        for entity, refusal in zip(batch, await sink.upsert(batch), strict=True):
            _book(report, entity, refusal)
        tell(stage, start + len(batch), len(entities))
    return report


async def _remember(sink: Sink, simulation: Simulation, now: datetime, tell: Stage) -> Report:
    report = Report(source="history")
    evolutions = simulation.history(now - BACKFILL, now, BACKFILL_STEP)
    while batch := list(islice(evolutions, HISTORIES)):
        report.rows += len(batch)
        for evolution, refusal in zip(batch, await sink.record(batch), strict=True):
            _book(report, evolution, refusal)
        await asyncio.sleep(0)
        tell("history", report.rows, simulation.moving)
    return report


def _book(report: Report, entity: dict[str, Any], refusal: str | None) -> None:
    if refusal is None:
        report.taken += 1
    else:
        report.faults.append(mapping.Fault(report.taken + len(report.faults) + 1, "", entity["id"], refusal))


async def _import(sink: Sink, rules: str, file: Path, tell: Stage) -> Report:
    return await files.run(
        file,
        sink,
        mapping.load(rules),
        batch=BATCH,
        progress=lambda done, total: tell(rules, done, total),
    )


def mark(folder: Path, seed: int) -> None:
    """Mark a folder as the demo's, making it when absent. A folder that holds anything else is refused with
    `ConfigError`, so that the demo never mixes with real data; one marked already is left as it is."""
    if (folder / MARK).exists():
        return
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            f"{folder} holds data that is not the demo's; give the demo another folder with --data"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(json.dumps({"demo": True, "seed": seed}) + "\n", encoding="utf-8")


def wipe(folder: Path) -> None:
    """Delete the demo's folder with all it holds. One without its mark is refused with `ConfigError`."""
    if not (folder / MARK).exists():
        raise ConfigError(
            f"{folder} is not marked as the demo's ({MARK} is not there), so nothing was deleted"
        )
    shutil.rmtree(folder)
