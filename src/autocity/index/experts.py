"""Weights that people give: comparison in pairs, its consistency, budgets of points, rounds of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from autocity.index.arrays import Floats, divide, quantile, ranks
from autocity.index.faults import refuse

RANDOM_INDEX = (0.0, 0.0, 0.58, 0.90, 1.12, 1.24, 1.32, 1.41, 1.45, 1.49, 1.51, 1.48, 1.56, 1.57, 1.59)
"""Saaty's mean consistency index of random reciprocal matrices of size 1 to 15."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """Weights from pairwise comparisons, and how far these contradict each other.

    A consistency ratio above 0.1 asks for another look; `doubtful` is then the pair (row, column) that agrees
    least with the weights, and `suggested` the value that would agree.
    """

    weights: Floats
    ratio: float
    eigenvalue: float
    doubtful: tuple[int, int] | None
    suggested: float | None

    @property
    def consistent(self) -> bool:
        """Whether the consistency ratio is at most 0.1."""
        return self.ratio <= 0.1


def ahp(judgements: Any) -> Judgement:
    """Weights from a matrix of pairwise importance, or the geometric mean of several experts' matrices.

    Entry (i, j) tells how many times as important i is as j; (j, i) is its reciprocal. The weights are the
    principal eigenvector. Raises `IndexFault` naming each entry that breaks these rules.
    """
    matrices = np.asarray(judgements, np.float64)
    matrices = matrices[None] if matrices.ndim == 2 else matrices
    for number, matrix in enumerate(matrices, start=1):
        refuse(_matrix_faults(matrix, f"expert {number}: " if len(matrices) > 1 else ""))
    joint = np.exp(np.log(matrices).mean(0))
    values, vectors = np.linalg.eig(joint)
    chief = int(values.real.argmax())
    weights = np.abs(vectors[:, chief].real)
    weights = weights / weights.sum()
    ratio = _consistency(float(values[chief].real), len(joint))
    doubtful, suggested = _doubtful(joint, weights) if ratio > 0.1 else (None, None)
    return Judgement(weights, ratio, float(values[chief].real), doubtful, suggested)


@dataclass(frozen=True, eq=False)
class Allocation:
    """Mean shares of the experts' points, their spread over experts, and how far the experts agree
    (Kendall's W)."""

    weights: Floats
    deviation: Floats
    agreement: Agreement


def budget(allocations: Any) -> Allocation:
    """Weights from points that each expert shares out among the items: (experts, items).

    Every expert counts the same, whatever the sum of the points. Raises `IndexFault` for an expert who gave
    none or less than none.
    """
    points = np.atleast_2d(np.asarray(allocations, np.float64))
    wrong = np.flatnonzero((points < 0).any(1) | ~(points.sum(1) > 0))
    refuse([f"expert {i + 1}: points are not below zero, and not all zero" for i in wrong])
    shares = points / points.sum(1, keepdims=True)
    spread = shares.std(0, ddof=1) if len(shares) > 1 else np.zeros(shares.shape[1])
    return Allocation(shares.mean(0), spread, agreement(points))


@dataclass(frozen=True)
class Agreement:
    """Kendall's coefficient of concordance (0 none, 1 full), and the chance of as much among random
    rankings."""

    w: float
    chance: float


def agreement(scores: Any) -> Agreement:
    """How far experts rank items alike, (experts, items); ties are corrected for.

    The chance is that of a chi-square with items - 1 degrees of freedom, fair from about seven items on. NaN
    for fewer than two experts or items, or where no expert tells any two items apart.
    """
    placed = ranks(np.asarray(scores, np.float64), "average", -1)
    experts, items = placed.shape
    squares = float(((placed.sum(0) - experts * (items + 1) / 2) ** 2).sum())
    ties = sum(float((t**3 - t).sum()) for t in (np.unique(row, return_counts=True)[1] for row in placed))
    whole = experts**2 * (items**3 - items) - experts * ties
    if experts < 2 or whole <= 0:
        return Agreement(float("nan"), float("nan"))
    from scipy.special import chdtrc

    w = 12 * squares / whole
    return Agreement(w, float(chdtrc(items - 1, experts * (items - 1) * w)))


@dataclass(frozen=True, eq=False)
class Round:
    """One round of a panel: each item's median, quartiles and share of experts within one point of the
    median."""

    median: Floats
    low: Floats
    high: Floats
    consensus: Floats
    agreement: Agreement
    moved: Floats


@dataclass(frozen=True, eq=False)
class Delphi:
    """Rounds of a panel, whether it has settled, and the weights of its last round."""

    rounds: tuple[Round, ...]
    settled: bool
    open_items: tuple[int, ...]
    weights: Floats


def delphi(
    rounds: Sequence[Any], *, consensus: float = 0.75, agreement_wanted: float = 0.7, tolerance: float = 1.0
) -> Delphi:
    """Follow a panel over its rounds, each (experts, items) of scores; NaN where an expert did not answer.

    The panel has settled when in the last round every item has `consensus` (the share of experts within
    `tolerance` of the median) or Kendall's W reaches `agreement_wanted`. `open_items` still lack consensus.
    Weights are the shares of the last medians.
    """
    tables = [np.atleast_2d(np.asarray(table, np.float64)) for table in rounds]
    refuse([] if tables else ["a panel needs at least one round"])
    widths = {table.shape[1] for table in tables}
    refuse([] if len(widths) == 1 else [f"the rounds have {sorted(widths)} items; all need the same"])
    told: list[Round] = []
    for table in tables:
        told.append(_round(table, told[-1].median if told else None, tolerance))
    last = told[-1]
    lacking = tuple(int(i) for i in np.flatnonzero(last.consensus < consensus))
    settled = not lacking or last.agreement.w >= agreement_wanted
    return Delphi(tuple(told), settled, lacking, divide(last.median, last.median.sum()))


def _round(table: Floats, before: Floats | None, tolerance: float) -> Round:
    empty = np.flatnonzero(np.isnan(table).all(0))
    refuse([f"item {i + 1} has no answer" for i in empty])
    median, low, high = (quantile(table, share)[0] for share in (0.5, 0.25, 0.75))
    within = np.where(np.isnan(table), np.nan, np.abs(table - median) <= tolerance)
    complete = table[~np.isnan(table).any(1)]
    agreed = agreement(complete) if len(complete) > 1 else Agreement(float("nan"), float("nan"))
    moved = np.full(median.shape, np.nan) if before is None else median - before
    return Round(median, low, high, np.nanmean(within, 0), agreed, moved)


def _matrix_faults(matrix: Floats, who: str) -> list[str]:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        return [f"{who}a matrix of comparisons is square"]
    if len(matrix) > len(RANDOM_INDEX):
        return [f"{who}more than {len(RANDOM_INDEX)} items cannot be compared in pairs; group them"]
    rows, columns = np.nonzero(~(matrix > 0) | ~np.isfinite(matrix))
    if rows.size:
        return [
            f"{who}entry ({i + 1}, {j + 1}) is not above zero" for i, j in zip(rows, columns, strict=True)
        ]
    rows, columns = np.nonzero(np.triu(np.abs(matrix * matrix.T - 1.0) > 1e-6))
    return [
        f"{who}entries ({i + 1}, {j + 1}) and ({j + 1}, {i + 1}) are not reciprocal"
        for i, j in zip(rows, columns, strict=True)
    ]


def _consistency(eigenvalue: float, items: int) -> float:
    if items < 3:
        return 0.0
    return max(0.0, (eigenvalue - items) / (items - 1) / RANDOM_INDEX[items - 1])


def _doubtful(matrix: Floats, weights: Floats) -> tuple[tuple[int, int], float]:
    implied = weights[:, None] / weights[None, :]
    row, column = np.unravel_index(int(np.abs(np.log(matrix / implied)).argmax()), matrix.shape)
    row, column = (row, column) if implied[row, column] >= 1 else (column, row)
    return (int(row), int(column)), float(implied[row, column])
