"""What is behind a score: contributions down the hierarchy, strengths and weaknesses, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autocity.index.arrays import Floats, highest, standing
from autocity.index.composite import Index, Trace
from autocity.index.faults import IndexFault


@dataclass(frozen=True)
class Contribution:
    """A child's part in a score: its own score, its share of weight, and what it adds against a reference.

    `effect` is how much the score would move if the child had the reference's value instead: positive for a
    strength. It is found by folding again, so that it holds for every kind of mean.
    """

    code: str
    name: str
    score: float
    share: float
    reference: float
    effect: float


@dataclass(frozen=True)
class Standing:
    """An indicator of a unit with its rank among the units."""

    code: str
    name: str
    under: str
    rank: float
    value: float
    unit: str | None


def contributions(
    index: Index, unit: str, code: str | None = None, *, against: str = "median", period: str | None = None
) -> list[Contribution]:
    """What each child adds to a unit's score against the median unit or another unit, largest effect
    first."""
    code = code or index.framework.root
    trace = index.trace(unit, code, period)
    layer = index.periods.index(trace.period)
    children = [part.code for part in trace.parts]
    _refuse_leaf(index, trace)
    scores = np.stack([index[child][layer] for child in children], -1)
    row = index.units.index(unit)
    reference = _reference(index, scores, against)
    effects = _effects(index, code, scores, row, reference)
    found = [
        Contribution(
            part.code,
            index.framework[part.code].label(),
            part.value,
            part.share,
            float(reference[i]),
            float(effects[i]),
        )
        for i, part in enumerate(trace.parts)
    ]
    return sorted(found, key=lambda c: -c.effect if c.effect == c.effect else np.inf)


def strengths(
    index: Index, unit: str, count: int = 5, *, weakest: bool = False, keep_last: bool = True
) -> list[Standing]:
    """The indicators in which a unit ranks best (or worst), in the latest period; its values are the raw
    ones.

    Without `keep_last`, indicators in which it has the last place are left out: where many units share it (a
    zero), that says little.
    """
    row, raw = index._row(unit), index.stage("raw").values[-1]
    places = standing(raw * index.plan.direction, axis=0)
    last = highest(places)[0]
    found = [
        _standing(index, code, float(places[row, i]), float(raw[row, i]))
        for i, code in enumerate(index.framework.indicators)
        if not np.isnan(places[row, i]) and (keep_last or places[row, i] < last[i])
    ]
    return sorted(found, key=lambda s: -s.rank if weakest else s.rank)[:count]


def _standing(index: Index, code: str, rank: float, value: float) -> Standing:
    element = index.framework[code]
    return Standing(code, element.label(), element.parent or "", rank, value, element.unit)


@dataclass(frozen=True, eq=False)
class Table:
    """Scores and ranks of some elements, best unit first."""

    units: tuple[str, ...]
    codes: tuple[str, ...]
    scores: Floats
    ranks: Floats


def results(index: Index, codes: Sequence[str] | None = None, period: str | None = None) -> Table:
    """Scores and ranks, from the whole index down to the indicators unless told, sorted by rank of the
    first."""
    layer = index._period(period)
    codes = tuple(codes or reversed([c for c in index.codes if c in index.framework.children]))
    columns = [index._node(code) for code in codes]
    scores, ranks = index.scores[layer][:, columns], index.ranks[layer][:, columns]
    order = np.argsort(np.where(np.isnan(ranks[:, 0]), np.inf, ranks[:, 0]), kind="stable")
    return Table(tuple(index.units[i] for i in order), codes, scores[order], ranks[order])


def _refuse_leaf(index: Index, trace: Trace) -> None:
    """An indicator has no parts; say where it comes from instead."""
    if not trace.parts:
        raise IndexFault(
            f"{trace.code} is an indicator of {index.framework.code}: trace it to its source instead"
        )


def _reference(index: Index, scores: Floats, against: str) -> Floats:
    if against in index.units:
        return np.asarray(scores[index.units.index(against)])
    if against == "median":
        return np.asarray(np.nanmedian(scores, 0))
    raise IndexFault(f"{against} is neither a unit nor median")


def _effects(index: Index, code: str, scores: Floats, row: int, reference: Floats) -> Floats:
    """Own score less the score with each child at its reference."""
    from autocity.index import engine
    from autocity.index.fold import fold

    children = index.framework.children[code]
    parent = next(
        p for p in engine.parents(index.plan, index.recipe["aggregate"], code) if p.node == index._node(code)
    )
    inside = type(parent)(len(children), np.arange(len(children)), parent.method, parent.availability)
    variants = np.repeat(scores[None], len(children) + 1, 0)
    for i in range(len(children)):
        variants[i + 1, row, i] = reference[i]
    weights = np.array([[*(index.weights[c] for c in children), 1.0]])
    folded = fold(variants, weights, [inside], (1, len(scores)), names=[*children, code])[len(children)]
    return np.asarray(folded[0, row] - folded[1:, row])
