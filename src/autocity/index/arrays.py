"""Column arithmetic that every step shares: moments, quantiles and ranks that skip missing values.

An array has the shape (..., units, columns); a column runs along the units. Leading axes are replications,
periods or anything else: every function works on all of them in one pass and never mixes them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ties = Literal["min", "max", "average", "first"]

UNITS = -2


def gaps(x: Floats) -> bool:
    """Whether any value is missing."""
    return bool(np.isnan(x).any())


def count(x: Floats, axis: int = UNITS) -> Floats:
    """The number of known values."""
    return np.asarray((~np.isnan(x)).sum(axis, keepdims=True), np.float64)


def total(x: Floats, axis: int = UNITS) -> Floats:
    """The sum of the known values, NaN where none is known."""
    if not gaps(x):
        return np.asarray(x.sum(axis, keepdims=True))
    known = ~np.isnan(x)
    return np.where(known.any(axis, keepdims=True), np.where(known, x, 0.0).sum(axis, keepdims=True), np.nan)


def mean(x: Floats, axis: int = UNITS) -> Floats:
    """The mean of the known values, NaN where none is known."""
    return divide(total(x, axis), count(x, axis))


def lowest(x: Floats, axis: int = UNITS) -> Floats:
    """The lowest known value, NaN where none is known."""
    return _bounded(np.where(np.isnan(x), np.inf, x).min(axis, keepdims=True))


def highest(x: Floats, axis: int = UNITS) -> Floats:
    """The highest known value, NaN where none is known."""
    return _bounded(np.where(np.isnan(x), -np.inf, x).max(axis, keepdims=True))


def deviation(x: Floats, axis: int = UNITS, lost: int = 1) -> Floats:
    """The standard deviation over n - `lost`; NaN where fewer values are known."""
    squares = total((x - mean(x, axis)) ** 2, axis)
    return np.sqrt(divide(squares, count(x, axis) - lost))


def quantile(x: Floats, share: float, axis: int = UNITS) -> Floats:
    """A quantile of the known values, interpolated linearly (Hyndman and Fan's type 7)."""
    ordered = np.sort(x, axis)
    position = (count(x, axis) - 1).clip(0) * share
    low = np.floor(position).astype(np.intp)
    high = np.ceil(position).astype(np.intp)
    below = np.take_along_axis(ordered, low, axis)
    above = np.take_along_axis(ordered, high, axis)
    return np.asarray(below + (above - below) * (position - low))


def median(x: Floats, axis: int = UNITS) -> Floats:
    """The median of the known values."""
    return quantile(x, 0.5, axis)


def shape(x: Floats, axis: int = UNITS) -> tuple[Floats, Floats]:
    """Skewness and excess kurtosis, both corrected for sample size (type 2).

    NaN for fewer than three or four known values, or for a constant column.
    """
    n = count(x, axis)
    centred = x - mean(x, axis)
    centred = np.where(np.isnan(centred), 0.0, centred)
    squares = centred * centred
    second, third = squares.sum(axis, keepdims=True), (squares * centred).sum(axis, keepdims=True)
    fourth = (squares * squares).sum(axis, keepdims=True)
    # A constant column leaves rounding noise where its variance should be zero.
    second = np.where(highest(x, axis) > lowest(x, axis), second, np.nan)
    skewed = divide(np.sqrt(n) * third, second * np.sqrt(second)) * np.sqrt(n * (n - 1).clip(0))
    peaked = (n + 1) * (divide(n * fourth, second * second) - 3) + 6
    return (
        divide(skewed, np.where(n < 3, 0.0, n - 2)),
        divide(peaked * (n - 1), np.where(n < 4, 0.0, (n - 2) * (n - 3))),
    )


def skewness(x: Floats, axis: int = UNITS) -> Floats:
    """Skewness corrected for sample size (type 2), as `shape`."""
    return shape(x, axis)[0]


def kurtosis(x: Floats, axis: int = UNITS) -> Floats:
    """Excess kurtosis corrected for sample size (type 2), as `shape`."""
    return shape(x, axis)[1]


def divide(numerator: Any, denominator: Any) -> Floats:
    """The quotient, NaN where the denominator is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(denominator, 0), np.nan, numerator / denominator)


def ranks(x: Floats, ties: Ties = "min", axis: int = -1) -> Floats:
    """Ranks from 1 for the lowest value along an axis; a missing value has no rank (NaN).

    Tied values share the lowest, highest or average of their ranks, or are ranked in order ("first").
    """
    moved = np.moveaxis(x, axis, -1)
    order = np.argsort(moved, -1, kind="stable" if ties == "first" else None)
    place = np.arange(1.0, moved.shape[-1] + 1)
    ordered = np.take_along_axis(moved, order, -1)
    fresh = np.ones(moved.shape, np.bool_)
    fresh[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    placed = np.where(np.isnan(ordered), np.nan, _settle(fresh, place, ties))
    out = np.empty(moved.shape)
    np.put_along_axis(out, order, placed, -1)
    return np.moveaxis(out, -1, axis)


def standing(scores: Floats, decimals: int | None = None, axis: int = -1) -> Floats:
    """The place of each score: 1 for the highest, equal places for equal scores.

    `decimals` rounds first, for indices that are ranked as published.
    """
    rounded = scores if decimals is None else np.round(scores, decimals)
    return ranks(-rounded, "min", axis)


def _settle(fresh: Flags, place: Floats, ties: Ties) -> Floats:
    if ties == "first":
        return np.broadcast_to(place, fresh.shape)
    first = np.maximum.accumulate(np.where(fresh, place, 0.0), -1)
    if ties == "min":
        return first
    closing = np.roll(fresh, -1, -1)
    closing[..., -1] = True
    last = np.minimum.accumulate(np.where(closing, place, np.inf)[..., ::-1], -1)[..., ::-1]
    return last if ties == "max" else (first + last) / 2


def _bounded(x: Any) -> Floats:
    return np.where(np.isinf(x), np.nan, x)
