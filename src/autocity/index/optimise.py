"""Weights that give each part of an index its due influence, measured by correlation with the index.

All starting points are improved together: one batch of weights up the hierarchy per round, differences
included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autocity.index import engine
from autocity.index.arrays import Floats, divide
from autocity.index.engine import Flow, Plan
from autocity.index.faults import IndexFault, refuse
from autocity.index.fold import fold
from autocity.index.recipe import Step, step

STARTS = 24
ROUNDS = 200
NUDGE = 1e-6


@dataclass(frozen=True)
class Optimised:
    """Weights by code (1 in sum among siblings), the correlations they lead to, and how near they come.

    `objective` is log(mean squared difference between shares of correlation and target) for "balance", minus
    the sum of the correlations for "infomax": less is better.
    """

    weights: Mapping[str, float]
    correlations: Mapping[str, float]
    target: Mapping[str, float] | None
    obtained: Mapping[str, float]
    objective: float


def optimise(
    plan: Plan,
    flow: Flow,
    *,
    level: int = 2,
    objective: str = "balance",
    target: Mapping[str, float] | Sequence[float] | None = None,
    signed: bool = False,
    seed: int = 0,
    aggregate: Step | None = None,
) -> Optimised:
    """Weights of one level, from normalised values, for correlations in proportion to a target, or all high.

    `target` gives importance by code, or in the order of the framework (equal unless told). Weights are not
    below zero unless `signed`. A target may be out of reach: then the nearest found is given, with what it
    obtains.
    """
    codes = plan.framework.at(level)
    refuse(
        [] if level < plan.framework.height and len(codes) > 1 else [f"level {level} has nothing to weigh"]
    )
    if objective not in ("balance", "infomax"):
        raise IndexFault(f"objective is balance or infomax, not {objective}")
    wanted = _wanted(codes, target)
    influence = _Influence(plan, flow, codes, aggregate or step("aggregate", "arithmetic"))

    def residuals(weights: Floats) -> Floats:
        r = influence(weights)
        if objective == "infomax":
            return np.asarray(np.sqrt((1.0 - r).clip(1e-15)))
        return divide(r, r.sum(1, keepdims=True)) - wanted

    best = influence.scaled(_least(residuals, _starts(wanted, seed), signed))
    correlations = influence(best[None])[0]
    share = correlations / correlations.sum()
    reached = (
        -correlations.sum() if objective == "infomax" else np.log(np.mean((share - wanted) ** 2).clip(1e-300))
    )

    def named(values: Floats) -> dict[str, float]:
        return dict(zip(codes, values.tolist(), strict=True))

    goal = None if objective == "infomax" else named(wanted)
    return Optimised(named(best), named(correlations), goal, named(share), float(reached))


class _Influence:
    """Correlations of the elements of a level with the index, for many sets of their weights at once."""

    def __init__(self, plan: Plan, flow: Flow, codes: Sequence[str], aggregate: Step) -> None:
        leaves = flow.values[:1].reshape(1, -1, flow.values.shape[-1])
        shape = (flow.values.shape[1], flow.values.shape[2])
        self.plan, self.shape = plan, shape
        self.columns = np.array([plan.position[c] for c in codes])
        every = engine.parents(plan, aggregate, plan.framework.root)
        height = plan.framework.level
        below = [p for p in every if height[plan.nodes[p.node]] <= height[codes[0]]]
        self.above = [p for p in every if p not in below]
        nodes = fold(leaves, plan.weights[None], below, shape, names=plan.nodes)
        self.leaves = np.full((1, leaves.shape[1], len(plan.nodes)), np.nan)
        for node, values in nodes.items():
            self.leaves[0, :, node] = values[0]
        self.parts = self.leaves[0][:, self.columns]
        self.siblings = [np.flatnonzero(np.isin(self.columns, p.children)) for p in self.above]
        self.siblings = [s for s in self.siblings if s.size]

    def __call__(self, weights: Floats) -> Floats:
        """Correlations (sets, elements); units with a gap in either are left out."""
        full = np.repeat(self.plan.weights[None], len(weights), 0)
        full[:, self.columns] = weights
        names = self.plan.nodes
        index = fold(self.leaves, full, self.above, self.shape, names=names)[self.above[-1].node]
        index = np.broadcast_to(index, (len(weights), index.shape[1]))
        known = ~(np.isnan(self.parts).any(1) | np.isnan(index).any(0))
        one = self.parts[known] - self.parts[known].mean(0)
        other = index[:, known] - index[:, known].mean(1, keepdims=True)
        spread = np.sqrt((other**2).sum(1))[:, None] * np.sqrt((one**2).sum(0))
        return divide(other @ one, spread)

    def scaled(self, weights: Floats) -> Floats:
        """The same weights with 1 as their sum among siblings."""
        result = weights.copy()
        for group in self.siblings:
            whole = result[..., group].sum(-1, keepdims=True)
            result[..., group] = np.where(whole == 0, result[..., group], result[..., group] / whole)
        return result


def _wanted(codes: Sequence[str], target: Mapping[str, float] | Sequence[float] | None) -> Floats:
    if target is None:
        return np.full(len(codes), 1.0 / len(codes))
    if isinstance(target, Mapping):
        refuse([f"target: {c} is not an element of the level" for c in target if c not in codes])
        refuse([f"target: {c} is not given" for c in codes if c not in target])
        target = [target[c] for c in codes]
    if len(target) != len(codes):
        raise IndexFault(f"target has {len(target)} numbers for {len(codes)} elements: {', '.join(codes)}")
    wanted = np.asarray(target, np.float64)
    refuse([] if (wanted >= 0).all() and wanted.any() else ["a target is not below zero, and not all zero"])
    return np.asarray(wanted / wanted.sum())


def _starts(wanted: Floats, seed: int) -> Floats:
    random = np.random.default_rng(seed)
    drawn = random.dirichlet(np.ones(len(wanted)), STARTS - 2) * len(wanted)
    return np.concatenate([np.ones((1, len(wanted))), wanted[None] * len(wanted), drawn])


def _least(residuals: Callable[[Floats], Floats], starts: Floats, signed: bool) -> Floats:
    """The weights of least squared residuals: damped Gauss-Newton from every start, all in one batch."""
    w, damping = starts.copy(), np.full(len(starts), 1e-3)
    r = residuals(w)
    cost = (r**2).sum(1)
    for _ in range(ROUNDS):
        slope = _slope(residuals, w)
        pull = np.einsum("krc,kr->kc", slope, r)
        free = np.ones(w.shape, np.bool_) if signed else (w > 0) | (pull < 0)
        slope = slope * free[:, None, :]
        normal = np.swapaxes(slope, 1, 2) @ slope + damping[:, None, None] * np.eye(w.shape[1])
        move = -np.linalg.solve(normal, (pull * free)[..., None])[..., 0]
        tried = w + move if signed else (w + move).clip(0.0)
        fresh = residuals(tried)
        value = np.nan_to_num((fresh**2).sum(1), nan=np.inf)
        better = value < cost
        gain = (cost - value)[better].max(initial=0.0)
        w[better], r[better], cost[better] = tried[better], fresh[better], value[better]
        damping = np.where(better, damping / 4, damping * 4).clip(1e-14, 1e12)
        if gain <= 1e-15 * cost.min() and (damping > 1e6).all():
            break
    return np.asarray(w[cost.argmin()])


def _slope(residuals: Callable[[Floats], Floats], w: Floats) -> Floats:
    """Central differences of the residuals, (starts, residuals, weights), from one batch."""
    sets, width = w.shape
    moved = np.concatenate([w[:, None] + NUDGE * np.eye(width), w[:, None] - NUDGE * np.eye(width)], 1)
    values = residuals(moved.reshape(-1, width)).reshape(sets, 2, width, width)
    return np.swapaxes((values[:, 0] - values[:, 1]) / (2 * NUDGE), 1, 2)
