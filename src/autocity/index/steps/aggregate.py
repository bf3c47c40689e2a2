"""Children to one score of their parent: means of every kind, outranking, and frontiers.

A group has the shape (..., units, children), its weights (..., children); the result is (..., units). Means
skip a missing child and share its weight among the others. Methods that compare units with each other say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from autocity.index.arrays import Flags, Floats, divide
from autocity.index.faults import IndexFault

Sense = Literal["positive", "negative"]

TIE = 1e-9
"""Support for one unit over another that differs by less, as a share of all weight, is a tie, not a
rounding error."""


@dataclass(frozen=True)
class Mean:
    """A quasi-arithmetic mean: `back(sum of w x forth(x))` with weights that sum to 1."""

    name: str
    forth: Callable[[Floats], Floats]
    back: Callable[[Floats], Floats]
    domain: Callable[[Floats], Flags]
    wants: str


def arithmetic() -> Mean:
    """The weighted mean: a low score is made up for by a high one."""
    return Mean("arithmetic", _same, _same, _anything, "numbers")


def geometric() -> Mean:
    """The weighted geometric mean: balance is rewarded."""
    return Mean("geometric", np.log, np.exp, _positive, "values above zero")


def harmonic() -> Mean:
    """The weighted harmonic mean: the weakest child weighs most."""
    return Mean("harmonic", np.reciprocal, np.reciprocal, _nonzero, "values that are not zero")


def generalised(*, p: float = 2.0) -> Mean:
    """The weighted power mean; its limit at p = 0 is the geometric mean."""
    if p == 0:
        return geometric()
    domain, wants = (_positive, "values above zero") if p < 0 else (_not_negative, "values not below zero")
    if p > 0 and float(p).is_integer() and int(p) % 2:
        domain, wants = _not_negative, "values not below zero"
    return Mean(f"generalised({p:g})", lambda x: x**p, lambda y: y ** (1.0 / p), domain, wants)


MEANS: dict[str, Callable[..., Mean]] = {
    "arithmetic": arithmetic,
    "geometric": geometric,
    "harmonic": harmonic,
    "generalised": generalised,
}


def outside(mean: Mean, x: Floats) -> Flags:
    """Where a known value cannot enter the mean."""
    return ~(mean.domain(x) | np.isnan(x))


def average(mean: Mean, x: Floats, weights: Floats) -> Floats:
    """A mean of a group. Raises `IndexFault` where a value cannot enter it."""
    if outside(mean, x).any():
        raise IndexFault(f"a {mean.name} mean needs {mean.wants}; normalise to a range that has only such")
    known = ~np.isnan(x)
    w = np.where(known, weights[..., None, :], 0.0)
    safe = np.where(known, x, 1.0)
    return np.asarray(mean.back(divide((w * mean.forth(safe)).sum(-1), w.sum(-1))))


def total(x: Floats, weights: Floats) -> Floats:
    """The weighted sum of the known children."""
    known = ~np.isnan(x)
    summed = np.where(known, x * weights[..., None, :], 0.0).sum(-1)
    return np.where(known.any(-1), summed, np.nan)


def weakest(x: Floats, weights: Floats) -> Floats:
    """The lowest known child."""
    lowest = np.where(np.isnan(x), np.inf, x).min(-1)
    return np.where(np.isinf(lowest), np.nan, lowest)


def mazziotta_pareto(
    x: Floats, weights: Floats, *, polarity: Sense = "positive", population: bool = False
) -> Floats:
    """Mean, less (or plus) spread x coefficient of variation over the children.

    Imbalance is taken off where more is better (`polarity` "positive"), added where the index measures an
    evil. The spread is that of a sample (n - 1), of a population (n) in the adjusted index.
    """
    known = ~np.isnan(x)
    w = np.where(known, weights[..., None, :], 0.0)
    n, whole = known.sum(-1), w.sum(-1)
    centre = divide(np.where(known, w * x, 0.0).sum(-1), whole)
    variance = divide(np.where(known, w * (x - centre[..., None]) ** 2, 0.0).sum(-1), whole)
    variance = variance if population else divide(variance * n, n - 1)
    spread = np.where(n == 1, 0.0, variance)
    return centre + (-1.0 if polarity == "positive" else 1.0) * divide(spread, centre)


def mean_min(x: Floats, weights: Floats, *, alpha: float = 0.5) -> Floats:
    """Between the mean (alpha 0) and the weakest child (alpha 1)."""
    return (1.0 - alpha) * average(arithmetic(), x, weights) + alpha * weakest(x, weights)


def owa(x: Floats, weights: Floats, *, order: Sequence[float] | None = None, orness: float = 0.5) -> Floats:
    """Ordered weighted average: weights belong to places, the first to the best child.

    Without `order` they follow from `orness`: 1 takes the best, 0 the weakest, 0.5 the plain mean. The
    weights of the children (w) bend them: place k takes the quantifier's rise over the weight gathered so
    far.
    """
    ranked = np.argsort(-x, -1, kind="stable")
    ordered = np.take_along_axis(x, ranked, -1)
    known = ~np.isnan(ordered)
    if order is not None:
        if len(order) != x.shape[-1]:
            raise IndexFault(f"owa: {len(order)} order weights for {x.shape[-1]} children")
        places = np.broadcast_to(np.asarray(order, np.float64), x.shape)
    else:
        places = _quantified(
            np.take_along_axis(np.broadcast_to(weights[..., None, :], x.shape), ranked, -1), known, orness
        )
    w = np.where(known, places, 0.0)
    return divide(np.where(known, w * ordered, 0.0).sum(-1), w.sum(-1))


def outranking(x: Floats, weights: Floats) -> Floats:
    """Share of weight by which each unit (row) is better than each other (column); ties count half.

    Only children known for both units are counted; a pair without any has NaN. Shape (..., units, units).
    """
    ahead = np.zeros((*np.broadcast_shapes(x.shape[:-2], weights.shape[:-1]), x.shape[-2], x.shape[-2]))
    known = np.zeros_like(ahead)
    for child in range(x.shape[-1]):
        column, weight = x[..., child], weights[..., child][..., None, None]
        one, other = column[..., :, None], column[..., None, :]
        ahead += weight * ((one > other) + 0.5 * (one == other))
        known += weight * ~(np.isnan(one) | np.isnan(other))
    share = divide(ahead, known)
    share[..., np.arange(x.shape[-2]), np.arange(x.shape[-2])] = 0.0
    return share


def copeland(x: Floats, weights: Floats) -> Floats:
    """Units beaten less units lost to, by weight of children; compares units with each other."""
    share = outranking(x, weights)
    units = np.arange(x.shape[-2])
    share[..., units, units] = 0.5
    result = (share > 0.5 + TIE).sum(-1) - (share < 0.5 - TIE).sum(-1)
    return np.where(np.isnan(x).all(-1), np.nan, result)


def wroclaw(x: Floats, weights: Floats) -> Floats:
    """Distance to an ideal unit, over mean + 2 standard deviations of all distances: less is better.

    The ideal has the best of every child; compares units with each other.
    """
    best = np.nanmax(x, -2, keepdims=True)
    distance = np.sqrt(total((x - best) ** 2, np.ones_like(weights)))
    spread = np.nanstd(distance, -1, ddof=1, keepdims=True)
    return np.asarray(distance / (np.nanmean(distance, -1, keepdims=True) + 2 * spread))


def benefit_of_doubt(x: Floats, weights: Floats, *, low: float = 0.0, high: float = 1.0) -> Floats:
    """The score with the weights that favour each unit most, while no unit passes 1.

    `low` and `high` bound the share of one child in the unit's own score. Compares units with each other;
    `weights` have no say.
    """
    if np.isnan(x).any() or (x < 0).any():
        raise IndexFault("benefit of the doubt needs known values not below zero; impute and normalise first")
    groups = x.reshape(-1, *x.shape[-2:])
    return np.stack([_frontier(group, low, high) for group in groups]).reshape(x.shape[:-1])


METHODS: dict[str, Callable[..., Any]] = {
    **MEANS,
    "sum": total,
    "minimum": weakest,
    "mean_min": mean_min,
    "mazziotta_pareto": mazziotta_pareto,
    "owa": owa,
    "copeland": copeland,
    "wroclaw": wroclaw,
    "benefit_of_doubt": benefit_of_doubt,
}


def _frontier(x: Floats, low: float, high: float) -> Floats:
    """One linear programme per unit: most w.x with Xw <= 1, w >= 0 and shares of w.x in bounds."""
    from scipy.optimize import linprog

    bounded = low > 0 or high < 1
    scores = np.empty(len(x))
    for unit, own in enumerate(x):
        limits, ceiling = [x], [np.ones(len(x))]
        if bounded:
            shares = np.diag(own)
            limits += [shares - high * own, low * own - shares]
            ceiling += [np.zeros(len(own))] * 2
        solved = linprog(-own, np.concatenate(limits), np.concatenate(ceiling), method="highs")
        if solved.status != 0:
            raise IndexFault(f"benefit of the doubt: unit {unit + 1} has no weights within the bounds")
        scores[unit] = -solved.fun
    return scores


def _quantified(weights: Floats, known: Flags, orness: float) -> Floats:
    if not 0 < orness < 1:
        chosen = np.zeros(weights.shape)
        last = known.sum(-1, keepdims=True).clip(1) - 1
        np.put_along_axis(chosen, np.zeros_like(last) if orness >= 1 else last, 1.0, -1)
        return chosen
    share = np.where(known, weights, 0.0)
    reached = divide(share.cumsum(-1), share.sum(-1, keepdims=True))
    return np.diff(reached ** ((1.0 - orness) / orness), axis=-1, prepend=0.0)


def _same(x: Floats) -> Floats:
    return x


def _anything(x: Floats) -> Flags:
    return np.ones(x.shape, np.bool_)


def _positive(x: Floats) -> Flags:
    return np.asarray(x > 0)


def _nonzero(x: Floats) -> Flags:
    return np.asarray(x != 0)


def _not_negative(x: Floats) -> Flags:
    return np.asarray(x >= 0)
