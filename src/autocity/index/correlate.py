"""How indicators and aggregates move together: correlations, their chance, flags, and reliability of a scale.

A table has the shape (units, columns). Every pair is compared over the units that know both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autocity.index.arrays import Floats, divide, ranks
from autocity.index.framework import Framework
from autocity.index.steps.weight import correlation as pearson

Method = Literal["pearson", "spearman", "kendall"]


@dataclass(frozen=True)
class Pair:
    """Two columns under one aggregate and their correlation."""

    group: str
    one: str
    other: str
    correlation: float


def correlate(x: Floats, other: Floats | None = None, method: Method = "pearson") -> Floats:
    """Correlations of the columns of x with those of another table (itself unless told)."""
    if other is None:
        return _square(x, method)
    both = _square(np.concatenate([x, other], 1), method)
    return both[: x.shape[1], x.shape[1] :]


def chances(x: Floats, method: Method = "pearson") -> Floats:
    """Two-sided chance of a correlation this strong between unrelated columns; 0 on the diagonal.

    Student's t for Pearson and Spearman, the normal approximation with ties for Kendall.
    """
    r = correlate(x, method=method)
    known = (~np.isnan(x)).astype(np.float64)
    p = _kendall_chances(x, r) if method == "kendall" else _t_chances(r, known.T @ known)
    np.fill_diagonal(p, 0.0)
    return p


def flagged(
    x: Floats,
    framework: Framework,
    *,
    threshold: float = 0.9,
    side: Literal["above", "below"] = "above",
    level: int = 2,
    method: Method = "pearson",
) -> list[Pair]:
    """Pairs of indicators under one element of a level whose correlation lies above or below a threshold.

    Strong positive pairs count one thing twice, negative ones cancel each other out.
    """
    r = correlate(x, method=method)
    return [
        pair
        for pair in _pairs(r, framework, level)
        if (pair.correlation > threshold if side == "above" else pair.correlation < threshold)
    ]


def cronbach(x: Floats) -> float:
    """Cronbach's alpha: how far the columns measure one thing. Covariances are over pairs known for both."""
    covariance = _covariance(x)
    k, whole = x.shape[1], np.nansum(covariance)
    between = (whole - np.nansum(np.diag(covariance))) / (k * (k - 1)) if k > 1 else np.nan
    return float(k**2 * between / whole)


def _square(x: Floats, method: Method) -> Floats:
    if method == "pearson":
        return pearson(x)
    if method == "spearman" and not np.isnan(x).any():
        return pearson(ranks(x, "average", 0))
    if method == "kendall" and not np.isnan(x).any():
        return _kendall(x)
    return _by_pairs(x, method)


def _kendall(x: Floats) -> Floats:
    """Kendall's tau-b of complete columns: one product of the signs of all differences between units."""
    one, other = np.triu_indices(len(x), 1)
    signs = np.sign(x[one] - x[other])
    agreement = signs.T @ signs
    distinct = np.diag(agreement)
    return divide(agreement, np.sqrt(np.outer(distinct, distinct)))


def _by_pairs(x: Floats, method: Method) -> Floats:
    width = x.shape[1]
    result = np.eye(width)
    for i in range(width):
        for j in range(i, width):
            both = x[~np.isnan(x[:, [i, j]]).any(1)][:, [i, j]]
            r = _square(both, method)[0, 1] if len(both) > 1 else np.nan
            result[i, j] = result[j, i] = r
    return result


def _t_chances(r: Floats, n: Floats) -> Floats:
    from scipy.special import stdtr

    freedom = n - 2
    t = np.abs(r) * np.sqrt(divide(freedom, (1 - r**2).clip(1e-300)))
    return np.asarray(2 * stdtr(freedom, -t))


def _kendall_chances(x: Floats, r: Floats) -> Floats:
    from scipy.special import ndtr

    width = x.shape[1]
    p = np.zeros((width, width))
    for i in range(width):
        for j in range(i):
            both = x[~np.isnan(x[:, [i, j]]).any(1)][:, [i, j]]
            p[i, j] = p[j, i] = 2 * ndtr(-abs(_kendall_z(both)))
    return p


def _kendall_z(pair: Floats) -> float:
    """Kendall's score over its standard deviation, both corrected for ties."""
    one, other = np.triu_indices(len(pair), 1)
    score = float(np.prod(np.sign(pair[one] - pair[other]), 1).sum())
    n = len(pair)
    (a1, a2, a3), (b1, b2, b3) = (_ties(column) for column in pair.T)
    free = (n * (n - 1) * (2 * n + 5) - a1 - b1) / 18
    shared = a2 * b2 / (2 * n * (n - 1)) + a3 * b3 / (9 * n * (n - 1) * (n - 2))
    return score / float(np.sqrt(free + shared))


def _ties(column: Floats) -> tuple[float, float, float]:
    t = np.unique(column, return_counts=True)[1].astype(np.float64)
    two = t * (t - 1)
    return float((two * (2 * t + 5)).sum()), float(two.sum()), float((two * (t - 2)).sum())


def _covariance(x: Floats) -> Floats:
    known = (~np.isnan(x)).astype(np.float64)
    filled = np.where(np.isnan(x), 0.0, x - np.nanmean(x, 0))
    n, sums = known.T @ known, filled.T @ known
    return divide(filled.T @ filled - divide(sums * sums.T, n), n - 1)


def _pairs(r: Floats, framework: Framework, level: int) -> Iterator[Pair]:
    codes = framework.indicators
    ancestor = {c: next((a for a in framework.lineage(c) if framework.level[a] >= level), c) for c in codes}
    for i, one in enumerate(codes):
        for j in range(i + 1, len(codes)):
            if ancestor[one] == ancestor[codes[j]] and not np.isnan(r[i, j]):
                yield Pair(ancestor[one], one, codes[j], float(r[i, j]))
