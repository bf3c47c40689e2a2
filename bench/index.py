"""Speed of the index engine in CPU seconds, as ratios to the R package COINr on the same work.

COINr 1.1.14 was measured on one thread (R 4.2.2, reference BLAS): its CPU seconds stand in `COINR` and move
by about 3% from run to run. Run with `python -m bench index`; `--scale` adds 1,000 cities x 200 indicators x
20 years with 10,000 replications, `--scale 2000` with fewer, which shows that time is linear in them.
"""

from __future__ import annotations

import argparse
import csv
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autocity.index import Element, Frame, Framework, Index, Recipe, build
from autocity.index.engine import Flow
from autocity.index.optimise import optimise
from autocity.index.robust import Choice, leave_one_out, noisy_weights, sensitivity, uncertainty
from autocity.index.steps.aggregate import copeland
from bench.report import tell

DATA = Path(__file__).parents[1] / "tests/data/index"
COINR = {
    "build, 51 units x 49 indicators": (0.099, 15),
    "uncertainty, 1,000 replications": (126.0, 100),
    "Sobol, 1,500 runs + 100 bootstraps": (187.0, 100),
    "leave one of 49 out": (5.0, 50),
    "weights for equal influence": (33.0, 20),
    "Copeland, 51 units x 49 indicators": (1.6, 100),
}
"""CPU seconds of COINr, and the ratio that is asked for."""


def asem() -> Index:
    """The ASEM example as COINr builds it."""
    with (DATA / "asem_iMeta.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Type"] in ("Indicator", "Aggregate")]
    elements = tuple(
        Element(
            row["iCode"],
            row["iName"],
            parent=row["Parent"] or None,
            direction=1 if row["Direction"] == "1" else -1,
            denominator=row["Denominator"] or None,
        )
        for row in rows
    )
    framework = Framework("asem", "ASEM", elements)
    frame = Frame.read(DATA / "asem_iData.csv", framework, unit="uCode", period="Time")
    recipe = Recipe.of(
        denominate="ratio",
        impute={"method": "group_mean", "group": "EurAsia_group"},
        screen={"share": 0.9},
        treat={"winmax": 5},
    )
    return build(framework, frame, recipe)


def cpu(work: Callable[[], object], times: int = 5) -> float:
    """Median CPU seconds of some runs after one that warms up."""
    work()
    took = []
    for _ in range(times):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return statistics.median(took)


def tasks(index: Index) -> dict[str, Callable[[], object]]:
    """The work of the table, by name."""
    choices = [
        Choice("treat.winmax", (1, 2, 3, 4, 5)),
        Choice("normalise", ({"low": 1, "high": 100}, {"method": "zscore", "mean": 10, "sd": 2})),
        Choice("weight", weights=noisy_weights(index, {2: 0.25, 3: 0.25}, 100)),
        Choice("aggregate", ("arithmetic", "geometric")),
    ]
    stage = index.stage("normalise")
    flow = Flow(stage.values[None], np.array([index.units.index(unit) for unit in stage.units]))
    x = stage.values[0]
    work: tuple[Callable[[], object], ...] = (
        lambda: build(index.framework, index.frame, index.recipe),
        lambda: uncertainty(index, choices, 1000),
        lambda: sensitivity(index, choices, 250, bootstrap=100),
        lambda: leave_one_out(index),
        lambda: optimise(index.plan, flow),
        lambda: copeland(x, np.ones(x.shape[1])),
    )
    return dict(zip(COINR, work, strict=True))


def scale(replications: int) -> None:
    """Build and uncertainty at the size of a world of cities."""
    periods, units, indicators, groups = 20, 1000, 200, 10
    random = np.random.default_rng(0)
    tops = [Element("all", "all"), *(Element(f"g{g}", f"g{g}", parent="all") for g in range(groups))]
    leaves = [Element(f"x{i}", f"x{i}", parent=f"g{i % groups}") for i in range(indicators)]
    framework = Framework("world", "world", (*tops, *leaves))
    years = tuple(str(2000 + p) for p in range(periods))
    values = random.lognormal(0.0, 1.0, (periods, units, indicators))
    frame = Frame(tuple(f"u{i}" for i in range(units)), framework.indicators, values, years)
    wall, start = time.perf_counter(), time.process_time()
    index = build(framework, frame, Recipe.of(treat="winsorise_or_log", normalise={"low": 1}))
    choices = [
        Choice("normalise", ({"low": 1}, {"method": "zscore", "mean": 100, "sd": 10})),
        Choice("weight", weights=noisy_weights(index, 0.25, replications)),
        Choice("aggregate", ("arithmetic", "geometric")),
    ]
    uncertainty(index, choices, replications)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    tell(
        f"{units:,} cities x {indicators} indicators x {periods} years",
        time.perf_counter() - wall,
        "s",
        cpu_s=round(time.process_time() - start, 1),
        memory_gb=round(memory, 2),
        replications=replications,
    )


def main(arguments: list[str]) -> int:
    """Tell every task in multiples of the anchor."""
    parser = argparse.ArgumentParser(prog="python -m bench index", description=__doc__)
    parser.add_argument("--scale", type=int, nargs="?", const=10_000, help="replications at full size")
    replications = parser.parse_args(arguments).scale
    for name, work in tasks(asem()).items():
        took, (anchor, wanted) = cpu(work), COINR[name]
        tell(name, took, "s CPU", anchor / took, wanted=wanted)
    if replications:
        scale(replications)
    return 0
