"""The way up the hierarchy: children to parents, level by level, for many sets of weights in one pass.

A node is an array (replications, rows); rows are periods × units. One replication stands for all where they
agree, so that what no choice touches is calculated once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from autocity.index.arrays import Flags, Floats, divide
from autocity.index.faults import IndexFault
from autocity.index.steps.aggregate import Mean, outside

Compare = Callable[[Floats, Floats], Floats]
"""A method that looks at a whole group: (..., units, children), (..., children) -> (..., units)."""


@dataclass(frozen=True)
class Parent:
    """An aggregate to calculate: positions of the node and its children, its method, and the data it
    needs."""

    node: int
    children: npt.NDArray[np.intp]
    method: Mean | Compare
    availability: float = 0.0


@dataclass
class Failures:
    """Replications in which a value could not enter a mean, with the reason."""

    reasons: dict[str, Flags] = field(default_factory=dict)

    def add(self, reason: str, failed: Flags) -> None:
        """Note replications (1 for all, or one flag each) that failed for a reason."""
        self.reasons[reason] = self.reasons.get(reason, np.zeros(1, np.bool_)) | failed

    def failed(self, replications: int) -> Flags:
        """Which of the replications failed."""
        flags = np.zeros(replications, np.bool_)
        for reason in self.reasons.values():
            flags |= reason
        return flags


def fold(
    leaves: Floats,
    weights: Floats,
    parents: Sequence[Parent],
    shape: tuple[int, int],
    *,
    names: Sequence[str],
    failures: Failures | None = None,
) -> dict[int, Floats]:
    """Every node, from leaves (1 or K, rows, indicators) and weights (1 or K, nodes).

    `shape` is the number of periods and of units that make the rows.
    Where a value cannot enter a mean (a zero in a geometric one), raises `IndexFault`; with `failures` given,
    it is left out and its replication told there.
    """
    nodes = {i: leaves[:, :, i] for i in range(leaves.shape[2])}
    for parent in parents:
        children = [nodes[c] for c in parent.children]
        share = weights[:, parent.children]
        if isinstance(parent.method, Mean):
            children = _guarded(parent.method, children, names[parent.node], failures)
            score = _mean(parent.method, children, share)
        else:
            score = _compare(parent.method, children, share, shape)
        nodes[parent.node] = _enough(score, children, parent.availability)
    return nodes


def summit(
    leaves: Floats,
    weights: Floats,
    parents: Sequence[Parent],
    shape: tuple[int, int],
    *,
    names: Sequence[str],
    failures: Failures | None = None,
) -> Floats:
    """The last parent alone, by the shortest way.

    What all sets of weights agree on is folded once; above it, nested means of one kind are one mean whose
    weights are the products of theirs, so that all replications are one matrix product.
    """
    agreed = (weights == weights[:1]).all(0)
    common = 0
    while common < len(parents) and leaves.shape[0] == 1 and agreed[parents[common].children].all():
        common += 1
    below, above = parents[:common], parents[common:]
    nodes = fold(leaves, weights[:1], below, shape, names=names, failures=failures)
    frontier = _frontier(above)
    mean = _one_mean(above)
    gaps = any(np.isnan(nodes[c]).any() for c in frontier)
    if mean is None or not above or gaps or _starved(weights, above):
        return fold(leaves, weights, parents, shape, names=names, failures=failures)[parents[-1].node]
    children = [nodes[c] for c in frontier]
    children = _guarded(mean, children, names[above[-1].node], failures)
    return _mean(mean, children, _products(weights, above, frontier))


def _frontier(parents: Sequence[Parent]) -> list[int]:
    """The nodes from which the remaining parents are reached."""
    made = {parent.node for parent in parents}
    return [int(c) for parent in parents for c in parent.children if c not in made]


def _one_mean(parents: Sequence[Parent]) -> Mean | None:
    methods = [parent.method for parent in parents]
    kinds = {method.name if isinstance(method, Mean) else "" for method in methods}
    first = methods[0] if methods else None
    return first if len(kinds) == 1 and isinstance(first, Mean) else None


def _starved(weights: Floats, parents: Sequence[Parent]) -> bool:
    """Whether in some replication all children of a parent weigh nothing: it is missing there, not zero."""
    return any(bool((weights[:, parent.children].sum(1) == 0).any()) for parent in parents)


def _products(weights: Floats, parents: Sequence[Parent], frontier: Sequence[int]) -> Floats:
    """The share of each frontier node in the last parent, per replication."""
    shares: Mapping[int, Floats] = {parents[-1].node: np.ones(len(weights))}
    for parent in reversed(parents):
        own = weights[:, parent.children]
        own = divide(own, own.sum(1, keepdims=True)) * shares[parent.node][:, None]
        shares = {**shares, **{int(c): own[:, i] for i, c in enumerate(parent.children)}}
    return np.stack([shares[c] for c in frontier], 1)


def _mean(mean: Mean, children: Sequence[Floats], weights: Floats) -> Floats:
    if any(np.isnan(child).any() for child in children):
        return _gapped_mean(mean, children, weights)
    whole = weights.sum(1)[:, None]
    if all(child.shape[0] == 1 for child in children):
        level = mean.forth(np.concatenate(children))
        return mean.back(divide(weights @ level, whole))
    weighted = sum(weights[:, i, None] * mean.forth(child) for i, child in enumerate(children))
    return mean.back(divide(weighted, whole))


def _gapped_mean(mean: Mean, children: Sequence[Floats], weights: Floats) -> Floats:
    """As `_mean`, where a missing child leaves its weight to the others."""
    weighted, whole = np.zeros(1), np.zeros(1)
    for i, child in enumerate(children):
        known = ~np.isnan(child)
        share = weights[:, i, None] * known
        weighted = weighted + share * mean.forth(np.where(known, child, 1.0))
        whole = whole + share
    return mean.back(divide(weighted, whole))


def _compare(method: Compare, children: Sequence[Floats], weights: Floats, shape: tuple[int, int]) -> Floats:
    replications = max(len(weights), *(len(child) for child in children))
    group = np.stack([np.broadcast_to(c, (replications, c.shape[1])) for c in children], -1)
    scores = method(group.reshape(replications, *shape, len(children)), weights[:, None, :])
    return scores.reshape(replications, -1)


def _guarded(mean: Mean, children: Sequence[Floats], name: str, failures: Failures | None) -> list[Floats]:
    """The children that can enter the mean; one that cannot is refused, or missing and told."""
    reason = f"{name}: a {mean.name} mean needs {mean.wants}; normalise to a range that has only such"
    fit = []
    for child in children:
        wrong = outside(mean, child)
        if wrong.any():
            if failures is None:
                raise IndexFault(reason)
            failures.add(reason, np.asarray(wrong.any(1)))
        fit.append(np.where(wrong, np.nan, child) if wrong.any() else child)
    return fit


def _enough(score: Floats, children: Sequence[Floats], availability: float) -> Floats:
    """The score where enough children are known, else NaN."""
    if availability <= 0:
        return score
    known = sum((~np.isnan(child)).astype(np.float64) for child in children)
    # A share such as 2/3 must not fail on its own rounding.
    return np.where(known / len(children) >= availability - 1e-12, score, np.nan)
