"""Missing values filled from the column, the group, the row, the past, or the other indicators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from autocity.index.arrays import Floats, divide, highest, lowest, ranks
from autocity.index.arrays import mean as mean_of
from autocity.index.arrays import median as median_of

Positions = npt.NDArray[np.intp]
Reducer = Callable[[Floats, int], Floats]


def mean(x: Floats) -> Floats:
    """The mean of the column."""
    return _fill(x, mean_of(x))


def median(x: Floats) -> Floats:
    """The median of the column."""
    return _fill(x, median_of(x))


def group_mean(x: Floats, groups: Positions) -> Floats:
    """The mean of the unit's group (its number per unit, -1 for none); stays missing where the group knows
    nothing."""
    return _by_group(x, groups, mean_of)


def group_median(x: Floats, groups: Positions) -> Floats:
    """The median of the unit's group, as `group_mean`."""
    return _by_group(x, groups, median_of)


def row_mean(x: Floats, direction: Any, members: Sequence[Positions]) -> Floats:
    """The mean of the unit's other indicators, of the same aggregate (`members`), on a 0 to 1 scale and
    back."""
    return _by_row(x, direction, members, mean_of)


def row_median(x: Floats, direction: Any, members: Sequence[Positions]) -> Floats:
    """The median of the unit's other indicators, as `row_mean`."""
    return _by_row(x, direction, members, median_of)


def constant(x: Floats, *, value: Any = 0.0) -> Floats:
    """A given value."""
    return _fill(x, np.asarray(value, np.float64))


def regression(x: Floats, *, predictors: int = 3) -> Floats:
    """A linear regression on the best correlated other indicators, over the units that know the target.

    A gap in a predictor is filled with its mean. A column without any spread among others falls back to its
    mean.
    """
    return _each_matrix(x, lambda table: _regressed(table, predictors))


def em(x: Floats, *, rounds: int = 50, ridge: float = 0.1) -> Floats:
    """The expectation given the unit's other indicators, all being jointly normal (expectation-maximisation).

    `ridge` draws the correlations towards zero, which keeps the solution stable with few units.
    """
    return _each_matrix(x, lambda table: _expected(table, rounds, ridge))


def multiple(x: Floats, *, draw: int = 0) -> Floats:
    """One random completion, drawn from what the unit's other indicators leave open; `draw` numbers it.

    The draws differ as much as the truth may: values follow each column's own distribution, correlations are
    those of a resample of the units. Many draws through the index give the interval that missing data cause.
    """
    return _each_matrix(x, lambda table: _drawn(table, int(draw)))


def latest(x: Floats, *, reach: int | None = None) -> Floats:
    """The latest earlier value of the unit, at most `reach` periods back; periods on axis -3."""
    return carried(x, reach)[0]


def carried(x: Floats, reach: int | None = None) -> tuple[Floats, Positions]:
    """As `latest`, with the position of the period that each value is from (-1 where none is known)."""
    periods = np.arange(x.shape[-3]).reshape(-1, 1, 1)
    origin = np.maximum.accumulate(np.where(np.isnan(x), -1, periods), axis=-3)
    if reach is not None:
        origin = np.where(periods - origin > reach, -1, origin)
    return np.where(origin < 0, np.nan, np.take_along_axis(x, origin.clip(0), -3)), origin


def step(x: Floats) -> Floats:
    """The latest earlier value of the unit, before its first known one that; periods on axis -3."""
    forward = latest(x)
    return np.where(np.isnan(forward), latest(x[..., ::-1, :, :])[..., ::-1, :, :], forward)


def linear(x: Floats, times: Floats) -> Floats:
    """Straight lines between known periods, level beyond the first and last; periods on axis -3."""
    turned = np.moveaxis(x, -3, -1)
    series = turned.reshape(-1, x.shape[-3])
    filled = series.copy()
    for row in np.flatnonzero(np.isnan(series).any(-1) & ~np.isnan(series).all(-1)):
        known = ~np.isnan(series[row])
        filled[row] = np.interp(times, times[known], series[row, known])
    return np.where(np.isnan(x), np.moveaxis(filled.reshape(turned.shape), -1, -3), x)


METHODS: dict[str, Callable[..., Floats]] = {
    "mean": mean,
    "median": median,
    "group_mean": group_mean,
    "group_median": group_median,
    "row_mean": row_mean,
    "row_median": row_median,
    "constant": constant,
    "regression": regression,
    "em": em,
    "multiple": multiple,
    "latest": latest,
    "step": step,
    "linear": linear,
}


def _fill(x: Floats, substitute: Floats) -> Floats:
    return np.where(np.isnan(x), substitute, x)


def _by_group(x: Floats, groups: Positions, reduce: Reducer) -> Floats:
    filled = x.copy()
    for group in np.unique(groups[groups >= 0]):
        rows = groups == group
        filled[..., rows, :] = _fill(x[..., rows, :], reduce(x[..., rows, :], -2))
    return filled


def _by_row(x: Floats, direction: Any, members: Sequence[Positions], reduce: Reducer) -> Floats:
    turned = x * direction
    low, high = lowest(turned), highest(turned)
    level = divide(turned - low, high - low)
    filled = x.copy()
    for columns in members:
        typical = reduce(level[..., columns], -1)
        back = (typical * (high - low)[..., columns] + low[..., columns]) * np.broadcast_to(
            direction, x.shape[-1:]
        )[columns]
        filled[..., columns] = _fill(x[..., columns], back)
    return filled


def _each_matrix(x: Floats, fill: Callable[[Floats], Floats]) -> Floats:
    tables = x.reshape(-1, *x.shape[-2:])
    return np.stack([fill(table) if np.isnan(table).any() else table for table in tables]).reshape(x.shape)


def _standardised(x: Floats) -> tuple[Floats, Floats, Floats]:
    centre = np.where(np.isnan(mean_of(x)), 0.0, mean_of(x))
    spread = np.sqrt(mean_of((x - centre) ** 2))
    spread = np.where(spread > 0, spread, 1.0)
    return (x - centre) / spread, centre, spread


def _regressed(x: Floats, predictors: int) -> Floats:
    z, centre, spread = _standardised(x)
    filled = np.where(np.isnan(z), 0.0, z)
    result = z.copy()
    for column in np.flatnonzero(np.isnan(x).any(0)):
        known = ~np.isnan(z[:, column])
        closeness = np.abs(filled[known].T @ filled[known, column])
        closeness[column] = -1.0
        chosen = np.argsort(-closeness, kind="stable")[: min(predictors, known.sum() - 2, x.shape[1] - 1)]
        design = np.column_stack([np.ones(len(x)), filled[:, chosen]])
        slope = np.linalg.lstsq(design[known], z[known, column], rcond=None)[0]
        result[~known, column] = design[~known] @ slope
    return np.where(np.isnan(x), result * spread + centre, x)


def _expected(x: Floats, rounds: int, ridge: float) -> Floats:
    z, centre, spread = _standardised(x)
    correlation = _correlation(z, ridge)
    for _ in range(rounds):
        filled, residual = _conditioned(z, correlation)
        fresh = _shrunk(filled.T @ filled / len(z) + residual / len(z), ridge)
        settled = np.abs(fresh - correlation).max() < 1e-8
        correlation = fresh
        if settled:
            break
    return np.where(np.isnan(x), _conditioned(z, correlation)[0] * spread + centre, x)


def _correlation(z: Floats, ridge: float) -> Floats:
    """Correlations of standardised columns over the pairs known for both, shrunk until they are a
    correlation."""
    known = (~np.isnan(z)).astype(np.float64)
    filled = np.where(np.isnan(z), 0.0, z)
    return _shrunk(divide(filled.T @ filled, np.maximum(known.T @ known, 1.0)), ridge)


def _shrunk(moment: Floats, ridge: float) -> Floats:
    scale = np.sqrt(np.diag(moment).clip(1e-12))
    correlation = moment / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)
    repaired = (vectors * values.clip(0)) @ vectors.T
    return np.asarray((1 - ridge) * repaired + ridge * np.eye(len(moment)))


def _conditioned(z: Floats, correlation: Floats) -> tuple[Floats, Floats]:
    """Each gap's expectation given the row's known values, and the summed uncertainty about all rows'
    gaps."""
    filled = z.copy()
    residual = np.zeros_like(correlation)
    for gaps, rows in _patterns(z):
        slope, rest = _given(correlation, gaps)
        filled[np.ix_(rows, np.flatnonzero(gaps))] = z[np.ix_(rows, np.flatnonzero(~gaps))] @ slope
        residual[np.ix_(gaps, gaps)] += len(rows) * rest
    return filled, residual


def _patterns(z: Floats) -> list[tuple[npt.NDArray[np.bool_], Positions]]:
    """Each pattern of gaps with the rows that show it."""
    gaps = np.isnan(z)
    patterns, inverse = np.unique(gaps[gaps.any(1)], axis=0, return_inverse=True)
    rows = np.flatnonzero(gaps.any(1))
    return [(pattern, rows[inverse.reshape(-1) == i]) for i, pattern in enumerate(patterns)]


def _given(correlation: Floats, gaps: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Slope of the gaps on the known columns, and the covariance that remains."""
    among, across = correlation[np.ix_(~gaps, ~gaps)], correlation[np.ix_(~gaps, gaps)]
    slope = np.asarray(np.linalg.solve(among, across), np.float64)
    return slope, correlation[np.ix_(gaps, gaps)] - across.T @ slope


def _drawn(x: Floats, draw: int) -> Floats:
    from scipy.special import ndtr, ndtri

    random = np.random.default_rng([draw, *x.shape])
    known = (~np.isnan(x)).sum(0)
    scores = np.asarray(ndtri(divide(ranks(x, "average", 0) - 0.5, known)))
    resample = random.integers(0, len(x), len(x))
    # The more indicators for the units, the less their correlations can be believed.
    ridge = x.shape[1] / sum(x.shape)
    correlation = _correlation(scores[resample], ridge)
    freedom = _freedom(correlation, ridge, len(x))
    # The spread of what is left open is itself known only as well as the sample lets it be.
    spread = len(x) / random.chisquare(freedom)
    result = x.copy()
    for gaps, rows in _patterns(scores):
        slope, rest = _given(correlation, gaps)
        root = np.linalg.cholesky(spread * rest + 1e-10 * np.eye(int(gaps.sum())))
        noise = random.standard_normal((len(rows), int(gaps.sum()))) @ root.T
        drawn = scores[np.ix_(rows, np.flatnonzero(~gaps))] @ slope + noise
        for place, column in enumerate(np.flatnonzero(gaps)):
            own = x[:, column] if np.isnan(x[resample, column]).all() else x[resample, column]
            result[rows, column] = _read_off(own, ndtr(drawn[:, place]))
    return result


def _freedom(correlation: Floats, ridge: float, units: int) -> float:
    """Units less the directions that the slopes are fitted to; those that the ridge has flattened do not
    count."""
    spectrum = np.linalg.eigvalsh(correlation)
    directions = float(((spectrum - ridge).clip(0.0) / spectrum).sum())
    return max(units - directions - 1.0, 1.0)


def _read_off(column: Floats, levels: Floats) -> Floats:
    """The values at some levels (0 to 1) of a column's own distribution."""
    ordered = np.sort(column[~np.isnan(column)])
    if not ordered.size:
        return np.full(levels.shape, np.nan)
    return np.interp(levels * ordered.size - 0.5, np.arange(ordered.size), ordered)
