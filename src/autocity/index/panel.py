"""An index over time: growth and trends, and what moved a unit's rank, its own effort or the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autocity.index.arrays import Floats, standing
from autocity.index.composite import Index, rebuild
from autocity.index.engine import Positions
from autocity.index.faults import IndexFault
from autocity.index.frame import Frame


def growth(y: Floats, times: Floats) -> Floats:
    """Compound growth per unit of time from the first to the latest known value; periods on axis 0.

    NaN with fewer than two known values, or where the latest and the first differ in sign.
    """
    first, latest, known = _ends(y)
    start, end = _at(y, first), _at(y, latest)
    span = times[latest] - times[first]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (end / start) ** (1.0 / np.where(span > 0, span, np.nan)) - 1.0
    return np.where(known < 2, np.nan, np.where(end == start, 0.0, rate))


def percent_change(y: Floats, times: Floats, per: float = 1.0) -> Floats:
    """Slope of the straight line through the known values, in percent of the line at the first, per `per` of
    time.

    With two values, the line through both. NaN with fewer than two; 0 where all are alike. Periods on axis 0.
    """
    first, _, known = _ends(y)
    mask = ~np.isnan(y)
    at = np.where(mask, times.reshape(-1, *([1] * (y.ndim - 1))), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        n = np.where(known > 0, known, np.nan)
        centre_t, centre_y = np.nansum(at, 0) / n, np.nansum(y, 0) / n
        slope = np.nansum((at - centre_t) * (y - centre_y), 0) / np.nansum((at - centre_t) ** 2, 0)
        start = centre_y + slope * (times[first] - centre_t)
        change = slope * per / start * 100.0
    flat = np.nanmax(np.where(mask, y, -np.inf), 0) == np.nanmin(np.where(mask, y, np.inf), 0)
    return np.where(known < 2, np.nan, np.where(flat, 0.0, change))


def interpolate(y: Floats, times: Floats, at: Floats | None = None) -> Floats:
    """Straight lines between known values at some times (the same unless told); nothing beyond them. Axis
    0."""
    at = times if at is None else at
    series = y.reshape(len(y), -1)
    result = np.full((len(at), series.shape[1]), np.nan)
    for column in range(series.shape[1]):
        known = ~np.isnan(series[:, column])
        if known.sum() > 1:
            result[:, column] = np.interp(at, times[known], series[known, column], np.nan, np.nan)
    return result.reshape(len(at), *y.shape[1:])


@dataclass(frozen=True, eq=False)
class Trends:
    """A trend per unit and column, with the share of the periods known and the first and latest of them."""

    units: tuple[str, ...]
    columns: tuple[str, ...]
    growth: Floats
    percent_change: Floats
    known_share: Floats
    first: Floats
    latest: Floats


def trends(
    frame: Frame,
    columns: Sequence[str] | None = None,
    *,
    periods: Sequence[str] | None = None,
    last: int | None = None,
    fill: bool = False,
) -> Trends:
    """Trends of series over some periods (all unless told), or over the `last` n up to the latest known
    value.

    `fill` interpolates between known values first. Periods must be numbers. Shares and ends are of the values
    as given; with `last`, of that window, and a series shorter than it has no trend.
    """
    columns = tuple(columns or frame.columns)
    years, y = _window(frame, columns, periods)
    filled = interpolate(y, years) if fill else y
    if last is not None:
        years, y, filled = _tail(years, y, filled, last)
    first, latest, known = _ends(y)
    enough = known > 1
    rate, change = (_trend(filled, years, function) for function in (growth, percent_change))
    spans = [np.where(enough, _year(years, ends), np.nan) for ends in (first, latest)]
    share = known / len(y) if last is None else np.where(known > 0, known / len(y), np.nan)
    return Trends(frame.units, columns, rate, change, share, spans[0], spans[1])


@dataclass(frozen=True)
class RankChange:
    """A change of rank between two periods, split in two parts that add up to it; negative is a climb.

    `own` is what the unit's own new data would have done among the others as they were, `others` the rest,
    averaged over both orders of the two.
    """

    unit: str
    before: float
    after: float
    own: float
    others: float


def rank_change(index: Index, start: str, end: str, code: str | None = None) -> list[RankChange]:
    """What moved each unit's rank from one period to another: its own effort, or the others.

    Each unit is exchanged alone, and all others around it, and the index built again in one run: a shift of
    limits that the exchange causes belongs to whom it was caused by.
    """
    code = code or index.framework.root
    before, after = index.frame.at(start), index.frame.at(end)
    here, there = index.units, before.units
    if here != there:
        raise IndexFault("the periods do not have the same units")
    old, new = (_ranks(index, frame, code) for frame in (before, after))
    changes = []
    for row, unit in enumerate(index.units):
        alone = _ranks(index, _exchanged(before, after, row), code)[row]
        left = _ranks(index, _exchanged(after, before, row), code)[row]
        own = ((alone - old[row]) + (new[row] - left)) / 2
        changes.append(RankChange(unit, old[row], new[row], own, new[row] - old[row] - own))
    return changes


def _ranks(index: Index, frame: Frame, code: str) -> Floats:
    return np.asarray(standing(rebuild(index, frame)[code])[0])


def _exchanged(frame: Frame, other: Frame, row: int) -> Frame:
    values = {c: float(other.values[0, row, i]) for i, c in enumerate(other.columns)}
    return frame.changed(frame.units[row], values)


def _ends(y: Floats) -> tuple[Positions, Positions, Positions]:
    known = ~np.isnan(y)
    latest = len(y) - 1 - known[::-1].argmax(0)
    return known.argmax(0), latest, known.sum(0)


def _at(y: Floats, place: Positions) -> Floats:
    return np.asarray(np.take_along_axis(y, place[None], 0)[0])


def _year(years: Floats, place: Positions) -> Floats:
    return np.asarray(years[place] if years.ndim == 1 else np.take_along_axis(years, place[None], 0)[0])


def _window(frame: Frame, columns: Sequence[str], periods: Sequence[str] | None) -> tuple[Floats, Floats]:
    asked = frame.periods if periods is None else tuple(periods)
    unknown = [period for period in asked if period not in frame.periods]
    if unknown:
        raise IndexFault(f"the data has no period {', '.join(unknown)}; it has {', '.join(frame.periods)}")
    layers = [frame.periods.index(period) for period in frame.periods if period in asked]
    try:
        years = np.array([float(frame.periods[layer]) for layer in layers])
    except ValueError:
        raise IndexFault("trends need periods that are numbers, such as years") from None
    return years, frame.select(columns)[layers]


def _tail(years: Floats, y: Floats, filled: Floats, last: int) -> tuple[Floats, Floats, Floats]:
    """The `last` periods of each series up to its latest value, each with its own years."""
    _, latest, known = _ends(filled)
    start = latest - last + 1
    place = np.arange(last).reshape(-1, *([1] * latest.ndim)) + start.clip(0)
    short = (start < 0) | (known == 0)
    window = [
        np.where(short, np.nan, np.take_along_axis(s, place.clip(0, len(y) - 1), 0)) for s in (y, filled)
    ]
    return years[place.clip(0, len(y) - 1)], window[0], window[1]


def _trend(y: Floats, years: Floats, function: Callable[[Floats, Floats], Floats]) -> Floats:
    if years.ndim == 1:
        return function(y, years)
    # Each series has its own window of years.
    result = np.full(y.shape[1:], np.nan)
    for place in np.ndindex(y.shape[1:]):
        index = (slice(None), *place)
        result[place] = function(y[index][:, None], years[index])[0]
    return result
