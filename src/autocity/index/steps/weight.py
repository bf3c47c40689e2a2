"""Weights that the data suggest: of the columns (..., units, columns), as (..., columns) that sum to 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autocity.index.arrays import Floats, count, deviation, divide, mean, total


def equal(x: Floats) -> Floats:
    """The same for every column."""
    return np.full((*x.shape[:-2], x.shape[-1]), 1.0 / x.shape[-1])


def entropy(x: Floats) -> Floats:
    """More for columns whose values are further from being all alike (Shannon's entropy of their shares).

    Values are moved so that the lowest is zero, for shares cannot be negative.
    """
    lifted = x - np.nanmin(x, -2, keepdims=True)
    shares = divide(lifted, total(lifted))
    terms = np.where(shares > 0, -shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0)
    evenness = divide(terms.sum(-2), np.log(count(x))[..., 0, :])
    return _normalised(1.0 - np.where(np.isnan(evenness), 1.0, evenness))


def critic(x: Floats) -> Floats:
    """More for columns with much spread and little correlation with the others (CRITIC)."""
    spread = deviation(x)[..., 0, :]
    conflict = (1.0 - correlation(x)).sum(-1)
    return _normalised(spread * conflict)


def spread(x: Floats) -> Floats:
    """In proportion to the standard deviation."""
    return _normalised(deviation(x)[..., 0, :])


def pca(x: Floats) -> Floats:
    """Squared loadings on the first principal component: its variance shared out among the columns."""
    return _normalised(loadings(x) ** 2)


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of standardised columns: `rotation` has one column per component."""

    deviation: Floats
    centre: Floats
    scale: Floats
    rotation: Floats

    @property
    def explained(self) -> Floats:
        """Share of the variance per component."""
        return np.asarray(self.deviation**2 / (self.deviation**2).sum())


def components(x: Floats) -> Components:
    """Principal components of one table (units, columns), over the units that know every column."""
    complete = x[~np.isnan(x).any(-1)]
    centre, scale = mean(complete), deviation(complete)
    _, singular, rows = np.linalg.svd(divide(complete - centre, scale), full_matrices=False)
    return Components(singular / np.sqrt(len(complete) - 1), centre[0], scale[0], rows.T)


def loadings(x: Floats) -> Floats:
    """Loadings on the first principal component, per table; their sum is not negative."""
    tables = x.reshape(-1, *x.shape[-2:])
    first = np.stack([components(table).rotation[:, 0] for table in tables])
    first = first * np.where(first.sum(-1, keepdims=True) < 0, -1.0, 1.0)
    return first.reshape(*x.shape[:-2], x.shape[-1])


def correlation(x: Floats) -> Floats:
    """Pearson's correlations of the columns over the units that know both; shape (..., columns, columns)."""
    known = (~np.isnan(x)).astype(np.float64)
    filled = np.where(np.isnan(x), 0.0, x - mean(x))
    turned, paired = np.swapaxes(filled, -1, -2), np.swapaxes(known, -1, -2) @ known
    sums = np.swapaxes(filled, -1, -2) @ known
    products = turned @ filled - divide(sums * np.swapaxes(sums, -1, -2), paired)
    squares = np.swapaxes(filled**2, -1, -2) @ known - divide(sums**2, paired)
    return divide(products, np.sqrt((squares * np.swapaxes(squares, -1, -2)).clip(0)))


def _normalised(weights: Floats) -> Floats:
    whole = weights.sum(-1, keepdims=True)
    return np.where(whole > 0, divide(weights, whole), 1.0 / weights.shape[-1])


METHODS: dict[str, Callable[[Floats], Floats]] = {
    "equal": equal,
    "entropy": entropy,
    "critic": critic,
    "spread": spread,
    "pca": pca,
}
