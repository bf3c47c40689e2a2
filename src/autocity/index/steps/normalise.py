"""Indicators brought to one scale on which more is better; every method skips missing values.

`direction` is 1 or -1 per column. Limits, targets, references and thresholds are given in the indicator's own
unit; for a reversed indicator each method reads them from the other side. A column without spread has no
information: min-max and z-scores give its units the middle of the scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from autocity.index.arrays import Flags, Floats, Ties, count, deviation, divide, highest, lowest, mean, ranks
from autocity.index.arrays import median as middle
from autocity.index.arrays import quantile as share_of

Number = float | Floats
"""A number, or an array that fits (..., 1, columns)."""


def minmax(x: Floats, direction: Number, *, low: Number = 0.0, high: Number = 100.0) -> Floats:
    """From `low` for the worst to `high` for the best unit."""
    z = x * direction
    worst, best = lowest(z), highest(z)
    return _level(divide(z - worst, best - worst), z, 0.5) * (high - low) + low


def scaled(
    x: Floats,
    direction: Number,
    *,
    low: Number = 0.0,
    high: Number = 100.0,
    scale: Number = 100.0,
    log: Number = False,
) -> Floats:
    """From 0 at `low` to `scale` at `high`, both in the indicator's unit; not cut off outside.

    With `log`, value and limits are compared by their logarithms.
    """
    return _between(x, direction, low, high, log) * scale


def goalposts(
    x: Floats,
    direction: Number,
    *,
    low: Number = 0.0,
    high: Number = 1.0,
    scale: Number = 1.0,
    clip: Number = True,
    log: Number = False,
) -> Floats:
    """As `scaled`, cut off outside the goalposts unless `clip` is false."""
    y = _between(x, direction, low, high, log)
    return np.where(clip, y.clip(0.0, 1.0), y) * scale


def zscore(x: Floats, direction: Number, *, mean: Number = 0.0, sd: Number = 1.0) -> Floats:
    """Distance to the mean in sample standard deviations, moved to a mean and spread."""
    z = x * direction
    return _level(divide(z - _mean(z), deviation(z)), z, 0.0) * sd + mean


def robust(x: Floats, direction: Number, *, mean: Number = 0.0, sd: Number = 1.0) -> Floats:
    """Distance to the median in interquartile ranges: outliers weigh little."""
    z = x * direction
    spread = share_of(z, 0.75) - share_of(z, 0.25)
    return _level(divide(z - middle(z), spread), z, 0.0) * sd + mean


def distance_to_best(x: Floats, direction: Number) -> Floats:
    """1 for the best, 0 for the worst unit, linear between."""
    return minmax(x, direction, low=0.0, high=1.0)


def distance_to_reference(
    x: Floats, direction: Number, *, reference: int = 0, clip: Number = False
) -> Floats:
    """1 for the reference unit (its position), 0 for the worst; above 1 for better ones unless `clip`."""
    z = x * direction
    anchor, worst = z[..., reference : reference + 1, :], lowest(z)
    return _capped(divide(z - worst, anchor - worst), clip, beyond=(anchor == worst) & (z > anchor))


def distance_to_target(x: Floats, direction: Number, *, target: Number = 1.0, clip: Number = False) -> Floats:
    """1 at the target, 0 for the worst unit; above 1 beyond the target unless `clip`."""
    z = x * direction
    worst, goal = lowest(z), np.asarray(target) * direction
    return _capped(divide(z - worst, goal - worst), clip, beyond=(goal == worst) & (z > goal))


def fraction_of_best(x: Floats, direction: Number) -> Floats:
    """Share of the best value: x / max, and min / x for a reversed indicator; undefined at zero."""
    return np.where(np.asarray(direction) > 0, divide(x, highest(x)), divide(lowest(x), x))


def rank(x: Floats, direction: Number, *, ties: Ties = "min") -> Floats:
    """Position from the worst, which has 1."""
    return ranks(x * direction, ties, -2)


def borda(x: Floats, direction: Number, *, ties: Ties = "min") -> Floats:
    """The number of units that are worse: from 0."""
    return rank(x, direction, ties=ties) - 1


def percentile_rank(x: Floats, direction: Number, *, ties: Ties = "min") -> Floats:
    """Share of the other units that are worse: from 0 to 1."""
    return _level(divide(borda(x, direction, ties=ties), count(x) - 1), x, 0.5)


def adjusted(
    x: Floats, direction: Number, *, reference: int = 0, low: Number = 70.0, high: Number = 130.0
) -> Floats:
    """From `low` to `high` over a range as wide as the data's, centred on the reference unit (its position).

    The scale of the adjusted Mazziotta-Pareto index: the reference has the middle.
    """
    half = (highest(x) - lowest(x)) / 2
    anchor = x[..., reference : reference + 1, :]
    y = divide(x - anchor, 2 * half) * direction + 0.5
    return y * (high - low) + low


def percentile(
    x: Floats, direction: Number, *, low: Number = 0.05, high: Number = 0.95, scale: Number = 100.0
) -> Floats:
    """From 0 at a low to `scale` at a high quantile of the units, cut off outside."""
    z = x * direction
    worst, best = share_of(z, float(low)), share_of(z, float(high))
    return _level(divide(z - worst, best - worst).clip(0.0, 1.0), z, 0.5) * scale


def categories(
    x: Floats, direction: Number, *, cuts: Sequence[float] = (0.2, 0.4, 0.6, 0.8), step: Number = 1.0
) -> Floats:
    """The number of quantile cuts that a unit has passed, times `step`."""
    z = x * direction
    passed = sum((z >= share_of(z, float(cut))).astype(np.float64) for cut in cuts)
    return np.where(np.isnan(z), np.nan, passed) * step


def logistic(x: Floats, direction: Number, *, scale: Number = 100.0) -> Floats:
    """Z-scores bent into 0 to `scale`: far outliers count little more than near ones."""
    return np.asarray(scale / (1.0 + np.exp(-zscore(x, direction))))


def tiers(
    x: Floats, direction: Number, thresholds: Floats, *, scale: Number = 100.0, smooth: bool = True
) -> Floats:
    """How far up a ladder of thresholds a unit has climbed: `scale` at the highest, linear between two rungs.

    `thresholds` has the shape (columns, tiers), from the lowest tier up, NaN where none is set; those are
    left out. Below the first rung a unit has 0 when not `smooth`; else the share of the first threshold that
    it reaches (threshold / value for a reversed indicator), cut off at 0 and 1. Without any threshold there
    is no score.
    """
    way = np.broadcast_to(np.asarray(direction, np.float64), x.shape[-1:])
    columns = [_climb(x[..., i], thresholds[i], float(way[i]), smooth) for i in range(x.shape[-1])]
    return np.stack(columns, -1) * scale


def none(x: Floats, direction: Number) -> Floats:
    """The value as it is, turned so that more is better."""
    return x * direction


def raw(x: Floats, direction: Number) -> Floats:
    """The value as it is, for data that are scores already."""
    return x


def _between(x: Floats, direction: Number, low: Number, high: Number, log: Number) -> Floats:
    x, low, high = (_logged(np.asarray(n, np.float64), log) for n in (x, low, high))
    upward = np.asarray(direction) > 0
    worst, best = np.where(upward, low, high), np.where(upward, high, low)
    return divide(x - worst, best - worst)


def _logged(n: Floats, log: Number) -> Floats:
    if not np.any(log):
        return n
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(log, np.log(np.where(n > 0, n, np.nan)), n)


def _capped(y: Floats, clip: Number, beyond: Flags) -> Floats:
    return np.where(np.logical_and(clip, (y > 1.0) | beyond), 1.0, y)


def _level(y: Floats, x: Floats, neutral: float) -> Floats:
    # Only a column without spread divides by zero here: every known unit gets the neutral score.
    return np.where(np.isnan(y) & ~np.isnan(x), neutral, y)


def _climb(x: Floats, rungs: Floats, direction: float, smooth: bool) -> Floats:
    rungs = rungs[~np.isnan(rungs)]
    if not rungs.size:
        return np.full(x.shape, np.nan)
    z, ladder = x * direction, rungs * direction
    reached = (z[..., None] >= ladder).sum(-1)
    if not smooth:
        return np.where(np.isnan(z), np.nan, reached / rungs.size)
    start = divide(x, rungs[0]) if direction > 0 else divide(rungs[0], x)
    height = np.interp(z, ladder, np.arange(1.0, rungs.size + 1)) if rungs.size > 1 else np.ones(z.shape)
    return np.where(np.isnan(z), np.nan, np.where(reached, height, start.clip(0.0, 1.0))) / rungs.size


_mean = mean

METHODS: dict[str, Callable[..., Floats]] = {
    "minmax": minmax,
    "scaled": scaled,
    "goalposts": goalposts,
    "zscore": zscore,
    "robust": robust,
    "distance_to_best": distance_to_best,
    "distance_to_reference": distance_to_reference,
    "distance_to_target": distance_to_target,
    "fraction_of_best": fraction_of_best,
    "rank": rank,
    "borda": borda,
    "percentile_rank": percentile_rank,
    "adjusted": adjusted,
    "percentile": percentile,
    "categories": categories,
    "logistic": logistic,
    "tiers": tiers,
    "none": none,
    "raw": raw,
}
