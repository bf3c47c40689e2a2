"""Which units have enough data to be compared: each method says it of every unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocity.index.arrays import Flags, Floats, divide


def availability(x: Floats) -> Floats:
    """Share of the indicators that are known, per unit; shape (..., units)."""
    return np.asarray((~np.isnan(x)).mean(-1))


def nonzero(x: Floats) -> Floats:
    """Share of the known values that are not zero, per unit; NaN where nothing is known."""
    known = (~np.isnan(x)).sum(-1)
    return divide(known - (x == 0).sum(-1), known)


def missing(x: Floats, *, share: float = 2 / 3) -> Flags:
    """Keep units of which at least `share` of the indicators are known."""
    return availability(x) >= share


def zeros(x: Floats, *, share: float = 0.05) -> Flags:
    """Keep units of which at least `share` of the known values are not zero."""
    return ~(nonzero(x) < share)


def both(x: Floats, *, share: float = 2 / 3, nonzero_share: float = 0.05) -> Flags:
    """Keep units that pass on missing values and on zeros."""
    return missing(x, share=share) & zeros(x, share=nonzero_share)


def force(keep: Flags, units: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> Flags:
    """The decision with some units kept or removed by name."""
    forced = keep.copy()
    forced[..., [unit in include for unit in units]] = True
    forced[..., [unit in exclude for unit in units]] = False
    return forced


METHODS = {"missing": missing, "zeros": zeros, "both": both}
