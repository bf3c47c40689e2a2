"""Outliers made harmless: winsorising and monotone transformations, used only where a column fails a test.

A column passes when its skewness or its kurtosis is small: |skewness| < 2 or kurtosis < 3.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autocity.index.arrays import Flags, Floats, highest, lowest, shape, skewness
from autocity.index.faults import IndexFault, choices

Number = float | Floats
Signs = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Treated:
    """Treated values, and what was done to them.

    `points` is 1 where a value was drawn down from above, -1 where up from below, 0 elsewhere. `transformed`
    tells the columns that the second treatment changed. `passed`, `skewness` and `kurtosis` hold one array of
    the shape (..., columns) per test: before, then after each treatment that was tried.
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
    """Whether each column has no outlier problem; a column that cannot be tested passes. Shape (...,
    columns)."""
    skewed, peaked = shape(x)
    return _fine(skewed[..., 0, :], peaked[..., 0, :], skew, kurt)


def winsorise(
    x: Floats, *, winmax: Number = 5, skew: Number = 2.0, kurt: Number = 3.5, force: bool = False
) -> tuple[Floats, Signs]:
    """Draw the most extreme point to its neighbour until the column passes or `winmax` points are drawn.

    Tied points move together. `force` goes on to `winmax` whether the column passes or not. Returns the
    values and, for each, 1 (drawn down), -1 (drawn up) or 0.
    """
    rows, restore = _rows(x)
    limits = [_per_column(n, x) for n in (winmax, skew, kurt)]
    drawn, points = _winsorised(rows, limits, force)
    return restore(drawn), restore(points)


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
    """log((max - 1)(x - min)/(max - min) + 1), mirrored for negative skew: as in the Global Innovation Index.

    Raises `IndexFault` where the highest value is not above 1, for which it has no meaning.
    """
    low, high = lowest(x), highest(x)
    if (high <= 1.0).any():
        raise IndexFault("log_gii needs columns whose highest value is above 1; choose log_shift")
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
    """Winsorise columns that fail the test; transform those that then still fail (from the start unless
    `combine`).

    `skew` and `kurt` stop the winsorising; `pass_skew` and `pass_kurt` (the same unless told) are the test.
    """
    test = (skew if pass_skew is None else pass_skew, kurt if pass_kurt is None else pass_kurt)
    return _Work(x, test).winsorise(winmax, skew, kurt).transform(transform, combine).done()


def transform(x: Floats, *, transform: str = "log_shift", skew: Number = 2.0, kurt: Number = 3.5) -> Treated:
    """Transform the columns that fail the test."""
    return _Work(x, (skew, kurt)).transform(transform, combine=False).done()


def none(x: Floats) -> Treated:
    """Leave the columns as they are."""
    return _Work(x, (2.0, 3.5)).done()


TRANSFORMS: dict[str, Callable[[Floats], Floats]] = {
    "log_shift": log_shift,
    "log_signed": log_signed,
    "log_one": log_one,
    "log_gii": log_gii,
    "boxcox": boxcox,
}

METHODS: dict[str, Callable[..., Treated]] = {
    "winsorise_or_log": winsorise_or_log,
    "transform": transform,
    "none": none,
}


class _Work:
    """Columns under treatment, as rows: each treatment touches only those that fail the test at that
    moment."""

    def __init__(self, x: Floats, test: tuple[Number, Number]) -> None:
        self.x = x
        self.rows, self.restore = _rows(x)
        self.start = self.rows.copy()
        self.test = tuple(_per_column(n, x) for n in test)
        self.points = np.zeros(self.rows.shape, np.int8)
        self.transformed = np.zeros(len(self.rows), np.bool_)
        self.tests: list[tuple[Flags, Floats, Floats]] = []
        self._examine(np.arange(len(self.rows)))

    def winsorise(self, winmax: Number, skew: Number, kurt: Number) -> _Work:
        failing = self._failing()
        limits = [_per_column(n, self.x)[failing] for n in (winmax, skew, kurt)]
        self.rows[failing], self.points[failing] = _winsorised(self.rows[failing], limits, False)
        self._examine(failing)
        return self

    def transform(self, name: str, combine: bool) -> _Work:
        if name != "none" and name not in TRANSFORMS:
            raise IndexFault(
                f"treat: {name} is not a transformation; allowed are none, {choices(list(TRANSFORMS))}"
            )
        failing = self._failing()
        if name == "none" or not failing.size:
            return self
        rows = self.rows if combine else self.start
        self.rows[failing] = TRANSFORMS[name](rows[failing].T).T
        self.points[failing] *= combine
        self.transformed[failing] = True
        self._examine(failing)
        return self

    def done(self) -> Treated:
        passed, skewed, peaked = zip(*self.tests, strict=True)
        back = self._per_table
        return Treated(
            self.restore(self.rows),
            self.restore(self.points),
            back(self.transformed),
            tuple(map(back, passed)),
            tuple(map(back, skewed)),
            tuple(map(back, peaked)),
        )

    def _failing(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(~self.tests[-1][0])

    def _examine(self, changed: npt.NDArray[np.intp]) -> None:
        n = len(self.rows)
        passed, skewed, peaked = (
            self.tests[-1] if self.tests else (np.ones(n, np.bool_), np.zeros(n), np.zeros(n))
        )
        passed, skewed, peaked = passed.copy(), skewed.copy(), peaked.copy()
        if changed.size:
            now = shape(self.rows[changed], -1)
            skewed[changed], peaked[changed] = now[0][:, 0], now[1][:, 0]
            passed[changed] = _fine(
                skewed[changed], peaked[changed], *(limit[changed] for limit in self.test)
            )
        self.tests.append((passed, skewed, peaked))

    def _per_table(self, per_row: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return per_row.reshape(*self.x.shape[:-2], self.x.shape[-1])


def _fine(skewed: Floats, peaked: Floats, skew: Number, kurt: Number) -> Flags:
    return np.asarray(~((np.abs(skewed) >= skew) & (peaked >= kurt)))


def _log(x: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.log(x))


def _rows(x: Floats) -> tuple[Floats, Callable[[Any], Any]]:
    """The columns as rows of a matrix of their own, and the way back."""
    turned = np.swapaxes(x, -1, -2)

    def restore(rows: Any) -> Any:
        return np.swapaxes(rows.reshape(turned.shape), -1, -2)

    return np.array(turned.reshape(-1, x.shape[-2])), restore


def _per_column(n: Number, x: Floats) -> Floats:
    """A parameter of the shape (), (columns,) or (..., 1, columns), as one number per column."""
    one_row = (*x.shape[:-2], 1, x.shape[-1])
    return np.broadcast_to(np.asarray(n, np.float64), one_row).reshape(-1)


def _winsorised(rows: Floats, limits: Sequence[Floats], force: bool) -> tuple[Floats, Signs]:
    """Rows drawn in until each passes or has its most drawn points; all rows move at once, a point at a
    time."""
    winmax, skew, kurt = limits
    rows, points = rows.copy(), np.zeros(rows.shape, np.int8)
    active = np.arange(len(rows))
    while active.size:
        skewed, peaked = (moment[:, 0] for moment in shape(rows[active], -1))
        # Without spread there is no skewness, and nothing left to draw.
        wanting = ~np.isnan(skewed) & ((points[active] != 0).sum(-1) < winmax[active])
        wanting &= force | ~_fine(skewed, peaked, skew[active], kurt[active])
        active = active[wanting]
        rows[active], marks = _drawn(rows[active], skewed[wanting, None] >= 0)
        points[active] = np.where(marks != 0, marks, points[active])
    return rows, points


def _drawn(rows: Floats, upward: Flags) -> tuple[Floats, Signs]:
    """Each row with its most extreme value, and all that equal it, set to the next one."""
    signed = np.where(upward, rows, -rows)
    extreme = signed == highest(signed, -1)
    following = highest(np.where(extreme, np.nan, signed), -1)
    marks = np.where(extreme, np.where(upward, 1, -1), 0).astype(np.int8)
    return np.where(extreme, np.where(upward, following, -following), rows), marks
