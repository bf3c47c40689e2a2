"""What a table of indicators looks like before use: moments, gaps, repeats, and flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autocity.index import arrays
from autocity.index.arrays import Flags, Floats, divide
from autocity.index.framework import Framework
from autocity.index.steps.screen import availability, nonzero


@dataclass(frozen=True, eq=False)
class Columns:
    """Statistics per indicator; every array has one number per column.

    Shares of known values are of all units; shares of non-zero, distinct and repeated ones are of the known
    values.
    """

    low: Floats
    high: Floats
    mean: Floats
    median: Floats
    deviation: Floats
    skewness: Floats
    kurtosis: Floats
    known: Floats
    nonzero: Floats
    distinct: Floats
    repeated: Floats
    units: int

    @property
    def known_share(self) -> Floats:
        """Share of the units with a value."""
        return self.known / self.units

    @property
    def nonzero_share(self) -> Floats:
        """Share of the known values that are not zero."""
        return divide(self.nonzero, self.known)

    @property
    def distinct_share(self) -> Floats:
        """Share of the known values that differ from each other."""
        return divide(self.distinct, self.known)

    @property
    def repeated_share(self) -> Floats:
        """Share of the known values that are the most frequent one."""
        return divide(self.repeated, self.known)

    def flags(
        self,
        *,
        skew: float = 2.0,
        kurt: float = 3.5,
        known: float = 0.65,
        nonzero: float = 0.5,
        distinct: float = 0.5,
    ) -> Mapping[str, Flags]:
        """Which columns call for a look: few values, many zeros, many repeats (all of all units),
        outliers."""
        return {
            "few": self.known / self.units < known,
            "zeros": self.nonzero / self.units < nonzero,
            "repeats": self.distinct / self.units < distinct,
            "outliers": (np.abs(self.skewness) > skew) & (self.kurtosis > kurt),
        }


def describe(x: Floats) -> Columns:
    """Statistics of the columns of one table (units, columns)."""
    repeats = [np.unique(column[~np.isnan(column)], return_counts=True)[1] for column in x.T]
    row = {
        name: getattr(arrays, name)(x)[0] for name in ("mean", "median", "deviation", "skewness", "kurtosis")
    }
    return Columns(
        low=arrays.lowest(x)[0],
        high=arrays.highest(x)[0],
        **row,
        known=arrays.count(x)[0],
        nonzero=((x != 0) & ~np.isnan(x)).sum(0).astype(np.float64),
        distinct=np.array([float(len(counts)) for counts in repeats]),
        repeated=np.array([float(counts.max(initial=0)) for counts in repeats]),
        units=len(x),
    )


@dataclass(frozen=True, eq=False)
class Coverage:
    """How much is known of each unit: counts, shares, and the share known under each aggregate."""

    missing: Floats
    zeros: Floats
    known_share: Floats
    nonzero_share: Floats
    under: Mapping[str, Floats]


def coverage(x: Floats, framework: Framework, codes: Sequence[str] | None = None) -> Coverage:
    """Data availability of one table (units, indicators); `codes` names its columns, the indicators unless
    told."""
    columns = list(codes or framework.indicators)
    under = {
        aggregate: availability(x[:, [columns.index(i) for i in framework.indicators_of(aggregate)]])
        for aggregate in framework.aggregates
    }
    return Coverage(
        np.isnan(x).sum(1).astype(np.float64),
        (x == 0).sum(1).astype(np.float64),
        availability(x),
        nonzero(x),
        under,
    )
