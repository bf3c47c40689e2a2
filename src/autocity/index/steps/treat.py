"""Outliers made harmless: winsorising and monotone transformations, used only where a column fails a test.

A column passes when its skewness or its kurtosis is small: |skewness| < 2 or kurtosis < 3.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autocity.index.arrays import Flags, Floats, highest, kurtosis, lowest, skewness

Number = Any
Signs = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Treated:
    """Treated values, and what was done to them.

    `points` is 1 where a value was drawn down from above, -1 where up from below, 0 elsewhere. `transformed` tells
    the columns that the second treatment changed. `passed`, `skewness` and `kurtosis` hold one array of the shape
    (..., columns) per test: before, after winsorising, after transforming (as before where nothing was done).
    """

    values: Floats
    points: Signs
    transformed: Flags
    passed: tuple[Flags, ...]
    skewness: tuple[Floats, ...]
    kurtosis: tuple[Floats, ...]

    @property
    def winsorised(self) -> npt.NDArray[np.int64]:
        """The number of winsorised points per column."""
        return np.asarray((self.points != 0).sum(-2))


def passes(x: Floats, skew: Number = 2.0, kurt: Number = 3.5) -> Flags:
    """Whether each column has no outlier problem; a column that cannot be tested passes. Shape (..., columns)."""
    skewed, peaked = skewness(x)[..., 0, :], kurtosis(x)[..., 0, :]
    return ~((np.abs(skewed) >= skew) & (peaked >= kurt))


def winsorise(
    x: Floats, *, winmax: Number = 5, skew: Number = 2.0, kurt: Number = 3.5, force: bool = False
) -> tuple[Floats, Signs]:
    """Draw the most extreme point to its neighbour until the column passes or `winmax` points are drawn.

    Tied points move together. `force` goes on to `winmax` whether the column passes or not. Returns the values and,
    for each, 1 (drawn down), -1 (drawn up) or 0.
    """
    columns, restore = _columns(x)
    limit, skew, kurt = (_per_column(n, x) for n in (winmax, skew, kurt))
    points = np.zeros(columns.shape, np.int8)
    drawn = np.zeros(columns.shape[0])
    spread = _spread(columns)
    active = np.flatnonzero((drawn < limit) & spread & (force | ~_rows_pass(columns, skew, kurt)))
    while active.size:
        moved, marks = _draw(columns[active])
        columns[active] = moved
        points[active] = np.where(marks != 0, marks, points[active])
        drawn[active] = (points[active] != 0).sum(-1)
        unsettled = force | ~_rows_pass(moved, skew[active], kurt[active])
        active = active[(drawn[active] < limit[active]) & unsettled & _spread(moved)]
    return restore(columns), restore(points)


def log_shift(x: Floats) -> Floats:
    """log(x - min + 1% of the range): the usual cure for positive skew."""
    low, high = lowest(x), highest(x)
    return _log(x - low + 0.01 * (high - low))


def log_signed(x: Floats) -> Floats:
    """As `log_shift`, mirrored for columns whose skew is negative."""
    low, high = lowest(x), highest(x)
    margin = 0.01 * (high - low)
    upward = skewness(x) > 0
    return np.where(upward, _log(x - low + margin), -_log(high + margin - x))


def log_one(x: Floats) -> Floats:
    """log(x - min + 1)."""
    return _log(x - lowest(x) + 1.0)


def log_gii(x: Floats) -> Floats:
    """log((max - 1)(x - min)/(max - min) + 1), mirrored for negative skew: as in the Global Innovation Index."""
    low, high = lowest(x), highest(x)
    reach = (high - 1.0) / np.where(high > low, high - low, np.nan)
    upward = skewness(x) > 0
    return np.where(upward, _log(reach * (x - low) + 1.0), -_log(reach * (high - x) + 1.0))


def boxcox(x: Floats, *, power: Number = 0.0, shift: bool = True) -> Floats:
    """(x^power - 1) / power, the logarithm for 0, of x - min + 1 unless not `shift`."""
    y = x - lowest(x) + 1.0 if shift else x
    power = np.asarray(power, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(power == 0, _log(y), (y**power - 1.0) / np.where(power == 0, 1.0, power))


def winsorise_or_log(
    x: Floats,
    *,
    winmax: Number = 5,
    transform: str = "log_shift",
    skew: Number = 2.0,
    kurt: Number = 3.5,
    pass_skew: Number | None = None,
    pass_kurt: Number | None = None,
    combine: bool = False,
) -> Treated:
    """Winsorise columns that fail the test; transform those that then still fail (from the start unless `combine`).

    `skew` and `kurt` stop the winsorising; `pass_skew` and `pass_kurt` (the same unless told) are the test.
    """
    limits = (skew if pass_skew is None else pass_skew, kurt if pass_kurt is None else pass_kurt)
    return _two_steps(
        x,
        lambda column: winsorise(column, winmax=winmax, skew=skew, kurt=kurt),
        TRANSFORMS[transform] if transform != "none" else None,
        limits,
        combine,
    )


def transform(x: Floats, *, transform: str = "log_shift", skew: Number = 2.0, kurt: Number = 3.5) -> Treated:
    """Transform the columns that fail the test."""
    untouched = np.zeros(x.shape, np.int8)
    return _two_steps(x, lambda column: (column, untouched), TRANSFORMS[transform], (skew, kurt), False)


def none(x: Floats) -> Treated:
    """Leave the columns as they are."""
    tested = (passes(x),)
    points = np.zeros(x.shape, np.int8)
    return Treated(x, points, np.zeros(tested[0].shape, np.bool_), tested, (_skew(x),), (_kurt(x),))


TRANSFORMS: dict[str, Callable[[Floats], Floats]] = {
    "log_shift": log_shift,
    "log_signed": log_signed,
    "log_one": log_one,
    "log_gii": log_gii,
    "boxcox": boxcox,
}

METHODS = {"winsorise_or_log": winsorise_or_log, "transform": transform, "none": none}


def _two_steps(
    x: Floats,
    first: Callable[[Floats], tuple[Floats, Signs]],
    second: Callable[[Floats], Floats] | None,
    limits: tuple[Number, Number],
    combine: bool,
) -> Treated:
    before = passes(x, *limits)
    drawn, points = first(x)
    drawn = np.where(before[..., None, :], x, drawn)
    points = np.where(before[..., None, :], np.int8(0), points)
    between = passes(drawn, *limits)
    stages = [x, drawn]
    failing = ~between
    if second is None or not failing.any():
        values, failing = drawn, np.zeros_like(failing)
    else:
        values = np.where(failing[..., None, :], second(drawn if combine else x), drawn)
        points = points if combine else np.where(failing[..., None, :], np.int8(0), points)
        stages.append(values)
    tests = tuple(passes(stage, *limits) for stage in stages)
    return Treated(values, points, failing, tests, tuple(map(_skew, stages)), tuple(map(_kurt, stages)))


def _skew(x: Floats) -> Floats:
    return skewness(x)[..., 0, :]


def _kurt(x: Floats) -> Floats:
    return kurtosis(x)[..., 0, :]


def _log(x: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(x))


def _columns(x: Floats) -> tuple[Floats, Callable[[Any], Any]]:
    """The columns as rows of a matrix of their own, and the way back."""
    turned = np.swapaxes(x, -1, -2)

    def restore(rows: Any) -> Any:
        return np.swapaxes(rows.reshape(turned.shape), -1, -2)

    return np.array(turned.reshape(-1, x.shape[-2])), restore


def _per_column(n: Number, x: Floats) -> Floats:
    """A parameter of the shape (), (columns,) or (..., 1, columns), as one number per column."""
    one_row = (*x.shape[:-2], 1, x.shape[-1])
    return np.broadcast_to(np.asarray(n, np.float64), one_row).reshape(-1)


def _rows_pass(rows: Floats, skew: Floats, kurt: Floats) -> Flags:
    skewed, peaked = skewness(rows, -1)[:, 0], kurtosis(rows, -1)[:, 0]
    return ~((np.abs(skewed) >= skew) & (peaked >= kurt))


def _spread(rows: Floats) -> Flags:
    return np.asarray((highest(rows, -1) > lowest(rows, -1))[:, 0])


def _draw(rows: Floats) -> tuple[Floats, Signs]:
    """Each row with its most extreme value, and all that equal it, set to the next one."""
    upward = skewness(rows, -1) >= 0
    signed = np.where(upward, rows, -rows)
    extreme = signed == highest(signed, -1)
    following = highest(np.where(extreme, np.nan, signed), -1)
    marks = np.where(extreme, np.where(upward, 1, -1), 0).astype(np.int8)
    return np.where(extreme, np.where(upward, following, -following), rows), marks
