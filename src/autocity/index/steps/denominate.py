"""Indicators made comparable between large and small units: divided by a size and brought to a scale."""

from __future__ import annotations

from autocity.index.arrays import Floats, divide


def ratio(x: Floats, denominators: Floats, *, scale: float | Floats = 1.0) -> Floats:
    """x / denominator x scale; NaN where the denominator is zero or missing.

    `denominators` has the shape of x, with ones where an indicator stays as it is.
    """
    return divide(x, denominators) * scale


METHODS = {"ratio": ratio}
