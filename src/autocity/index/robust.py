"""How far an index depends on the choices in its recipe: uncertainty, sensitivity, removal, and comparison.

A choice is a step or parameter with alternatives. Replications draw from all choices at once; they share
every stage that their draws agree on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from autocity.index import engine
from autocity.index.arrays import Floats, divide, standing
from autocity.index.composite import Index
from autocity.index.correlate import correlate
from autocity.index.engine import Positions
from autocity.index.faults import IndexFault, refuse
from autocity.index.faults import choices as listed
from autocity.index.recipe import Recipe
from autocity.index.steps.aggregate import MEANS

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Choice:
    """What could have been chosen otherwise: `Choice("aggregate", ("arithmetic", "geometric"))`.

    `name` is what `Recipe.but` takes: a kind of step, or "kind.parameter". The alternatives are equally
    likely, or a number is drawn evenly `between` two. `weights` (sets, nodes) holds alternative weights of
    all nodes instead.
    """

    name: str
    alternatives: tuple[Any, ...] = ()
    between: tuple[float, float] | None = None
    weights: Floats | None = None

    def __post_init__(self) -> None:
        given = [self.alternatives != (), self.between is not None, self.weights is not None]
        if sum(given) != 1:
            raise IndexFault(f"choice {self.name}: give alternatives, or between, or weights")

    def picked(self, draws: Floats) -> npt.NDArray[Any]:
        """Draws from [0, 1) as positions of alternatives or sets of weights, or as numbers between the two
        ends."""
        if self.between is not None:
            low, high = self.between
            return low + (high - low) * draws
        sets = len(self.alternatives) if self.weights is None else len(self.weights)
        return np.minimum((draws * sets).astype(np.intp), sets - 1)

    def value(self, pick: Any) -> Any:
        """What a pick puts into the recipe."""
        return float(pick) if self.between is not None else self.alternatives[int(pick)]


def noisy_weights(index: Index, share: float | Mapping[int, float], sets: int, seed: int = 0) -> Floats:
    """Sets of weights, each moved by up to +- `share` of itself (per level if a mapping); (sets, nodes)."""
    random = np.random.default_rng(seed)
    base = np.array([index.weights[code] for code in index.codes])
    level = [index.framework.level[code] for code in index.codes]
    noise = np.array([share.get(lev, 0.0) if isinstance(share, Mapping) else share for lev in level])
    return base * (1.0 + noise * random.uniform(-1.0, 1.0, (sets, len(base))))


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """Ranks of every unit over all replications: arrays of the shape (periods, units).

    `counts` (periods, units, places) tells how often a unit came out at each place. `failures` tells why and
    how often a replication could not be calculated; those are in no statistic. `scores` and `ranks`
    (replications, periods, units) are kept on request.
    """

    units: tuple[str, ...]
    periods: tuple[str, ...]
    nominal: Floats
    counts: Counts
    replications: int
    failures: Mapping[str, int]
    scores: Floats | None = None
    ranks: Floats | None = None

    @property
    def mean(self) -> Floats:
        """The mean rank."""
        places = np.arange(1.0, self.counts.shape[-1] + 1)
        return divide((self.counts * places).sum(-1), self.counts.sum(-1))

    @property
    def median(self) -> Floats:
        """The median rank."""
        return self.quantile(0.5)

    def quantile(self, share: float) -> Floats:
        """A quantile of the rank (type 7)."""
        gathered = self.counts.cumsum(-1)
        position = (gathered[..., -1] - 1).clip(0) * share
        low = 1.0 + (gathered <= np.floor(position)[..., None]).sum(-1)
        high = 1.0 + (gathered <= np.ceil(position)[..., None]).sum(-1)
        value = low + (high - low) * (position - np.floor(position))
        return np.where(gathered[..., -1] > 0, value, np.nan)

    def chance(self, place: int) -> Floats:
        """Share of the replications in which a unit came out at a place or better."""
        return divide(self.counts[..., :place].sum(-1), self.counts.sum(-1))


def uncertainty(
    index: Index,
    choices: Sequence[Choice],
    replications: int = 1000,
    *,
    seed: int = 0,
    target: str | None = None,
    draws: Floats | None = None,
    keep: bool = False,
) -> Uncertainty:
    """Ranks when every choice is drawn at random; the same `seed` gives the same draws.

    `draws` (replications, choices) in [0, 1) replaces the random ones. `target` is what is ranked (the whole
    index unless told). `keep` holds all scores and ranks in memory.
    """
    if draws is None:
        draws = np.random.default_rng(seed).random((replications, len(choices)))
    target = target or index.framework.root
    tally = _Tally(index, len(draws), keep)
    for block in _run(index, choices, draws, target):
        tally.add(block)
    return tally.result(index.rank(target))


@dataclass
class _Tally:
    """Gathers blocks of scores into counts of ranks."""

    index: Index
    replications: int
    keep: bool
    failures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        periods, units = len(self.index.periods), len(self.index.units)
        self.counts = np.zeros((periods, units, units), np.int64)
        shape = (self.replications if self.keep else 0, periods, units)
        self.scores, self.ranks = np.full(shape, np.nan), np.full(shape, np.nan)

    def add(self, block: engine.Block) -> None:
        places = standing(block.scores)
        units = places.shape[-1]
        offset = np.arange(units) * units - 1
        for period in range(places.shape[1]):
            layer = places[:, period]
            cells = (layer + offset)[~np.isnan(layer)].astype(np.intp)
            self.counts[period] += np.bincount(cells, minlength=units * units).reshape(units, units)
        for reason, failed in block.failures.items():
            self.failures[reason] = self.failures.get(reason, 0) + int(failed.sum())
        if self.keep:
            self.scores[block.replications], self.ranks[block.replications] = block.scores, places

    def result(self, nominal: Floats) -> Uncertainty:
        kept = (self.scores, self.ranks) if self.keep else (None, None)
        return Uncertainty(
            self.index.units,
            self.index.periods,
            nominal,
            self.counts,
            self.replications,
            self.failures,
            *kept,
        )


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Share of the variance of an output that each choice explains: alone (`first`) and with all others
    (`total`).

    Arrays begin with the choices. `first_interval` and `total_interval` hold the 5% and 95% bootstrap bounds
    (2, choices, ...), if asked for.
    """

    choices: tuple[str, ...]
    variance: Floats
    first: Floats
    total: Floats
    first_interval: Floats | None = None
    total_interval: Floats | None = None


def sensitivity(
    index: Index,
    choices: Sequence[Choice],
    sample: int = 512,
    *,
    seed: int = 0,
    target: str | None = None,
    draws: Floats | None = None,
    by_unit: bool = False,
    bootstrap: int = 0,
    centred: bool = True,
) -> Sensitivity:
    """Sobol indices of the choices for the mean absolute rank change, or for the rank of every unit
    (`by_unit`).

    Runs sample x (choices + 2) replications. `draws` replaces the random design (see `sobol_design`).
    """
    if draws is None:
        draws = sobol_design(sample, len(choices), seed)
    sample = len(draws) // (len(choices) + 2)
    result = uncertainty(index, choices, target=target, draws=draws, keep=True)
    if result.failures:
        raise IndexFault(*(f"{count} replications: {reason}" for reason, count in result.failures.items()))
    assert result.ranks is not None
    y = result.ranks if by_unit else np.nanmean(np.abs(result.ranks - result.nominal), (1, 2))
    names = tuple(choice.name for choice in choices)
    return sobol_indices(y, sample, names, bootstrap=bootstrap, seed=seed, centred=centred)


def sobol_design(sample: int, choices: int, seed: int = 0) -> Floats:
    """Draws for Sobol indices: two samples A and B, then A with each column from B; rows one below the other.

    The points fill the cube more evenly than random ones (an additive recurrence with a random start), so
    that the error falls almost as fast as their number grows.
    """
    start = np.random.default_rng(seed).random(2 * choices)
    points = (start + np.arange(1, sample + 1)[:, None] * _strides(2 * choices)) % 1.0
    a, b = points[:, :choices], points[:, choices:]
    mixed = np.repeat(a[None], choices, 0)
    for choice in range(choices):
        mixed[choice, :, choice] = b[:, choice]
    return np.concatenate([a, b, mixed.reshape(-1, choices)])


def _strides(dimensions: int) -> Floats:
    """Powers of the inverse of the root of x^(d + 1) = x + 1, the golden ratio's kin in d dimensions."""
    root = 2.0
    for _ in range(64):
        root = (1.0 + root) ** (1.0 / (dimensions + 1))
    return root ** -np.arange(1.0, dimensions + 1)


def sobol_indices(
    y: Floats, sample: int, names: Sequence[str], *, bootstrap: int = 0, seed: int = 0, centred: bool = True
) -> Sensitivity:
    """Sobol indices of an output (rows as `sobol_design`; any further axes are outputs of their own).

    First-order indices after Saltelli (2010), total ones after Jansen (1999). Centring the output takes the
    noise of its mean out of the first; without it they are those of the R package COINr.
    """
    if len(y) != sample * (len(names) + 2):
        raise IndexFault(f"{len(y)} outputs are not {sample} x ({len(names)} choices + 2)")
    y = y - y[: 2 * sample].mean(0) if centred else y
    a, b = y[:sample], y[sample : 2 * sample]
    mixed = y[2 * sample :].reshape(len(names), sample, *y.shape[1:])
    first, total = _indices(a, b, mixed)
    variance = np.concatenate([a, b]).var(0, ddof=1)
    intervals: tuple[Floats | None, Floats | None] = (None, None)
    if bootstrap:
        random = np.random.default_rng(seed)
        rows = random.integers(0, sample, (bootstrap, sample))
        repeated = [_indices(a[row], b[row], mixed[:, row]) for row in rows]
        low_high = [np.quantile(np.stack(part), (0.05, 0.95), axis=0) for part in zip(*repeated, strict=True)]
        intervals = (low_high[0], low_high[1])
    return Sensitivity(tuple(names), variance, first, total, *intervals)


def _indices(a: Floats, b: Floats, mixed: Floats) -> tuple[Floats, Floats]:
    variance = np.concatenate([a, b]).var(0, ddof=1)
    first = (b * (mixed - a)).mean(1)
    total = ((a - mixed) ** 2).mean(1) / 2
    return divide(first, variance), divide(total, variance)


def _run(index: Index, choices: Sequence[Choice], draws: Floats, target: str) -> Iterable[engine.Block]:
    """Every replication of the draws, in blocks."""
    _check(index, choices, draws)
    picks = [choice.picked(draws[:, i]) for i, choice in enumerate(choices)]
    stepwise = [(c, p) for c, p in zip(choices, picks, strict=True) if c.weights is None]
    weights = next((c.weights[p] for c, p in zip(choices, picks, strict=True) if c.weights is not None), None)
    recipes, which = _recipes(index.recipe, stepwise, len(draws))
    return engine.replicate(index.plan, recipes, which, weights, target)


def _recipes(
    base: Recipe, stepwise: Sequence[tuple[Choice, npt.NDArray[Any]]], replications: int
) -> tuple[list[Recipe], Positions]:
    """The distinct recipes of the picks, and which of them each replication follows."""
    if not stepwise:
        return [base], np.zeros(replications, np.intp)
    table = np.stack([picks.astype(np.float64) for _, picks in stepwise], 1)
    distinct, which = np.unique(table, axis=0, return_inverse=True)
    names = [choice for choice, _ in stepwise]
    recipes = [base.but(**{c.name: c.value(p) for c, p in zip(names, row, strict=True)}) for row in distinct]
    return recipes, which.reshape(-1)


def _check(index: Index, choices: Sequence[Choice], draws: Floats) -> None:
    faults = [] if choices else ["there is nothing to choose from"]
    if draws.ndim != 2 or draws.shape[1] != len(choices):
        faults.append(f"draws have the shape {draws.shape}, not (replications, {len(choices)})")
    faults += [
        f"choice {choice.name}: weights are not one per node ({len(index.codes)})"
        for choice in choices
        if choice.weights is not None and choice.weights.shape[1:] != (len(index.codes),)
    ]
    if sum(choice.weights is not None for choice in choices) > 1:
        faults.append("only one choice can hold sets of weights")
    refuse(faults)


@dataclass(frozen=True, eq=False)
class Removal:
    """The index without each of some elements: scores (elements, periods, units) and what that does to
    ranks."""

    codes: tuple[str, ...]
    scores: Floats
    rank_changes: Floats

    @property
    def mean_change(self) -> Floats:
        """The mean absolute rank change that removing each element causes."""
        return np.asarray(np.nanmean(np.abs(self.rank_changes), (1, 2)))


def leave_one_out(index: Index, level: int = 1, target: str | None = None) -> Removal:
    """The index without each element of a level in turn, as if it had never been in the framework."""
    target = target or index.framework.root
    framework = index.framework
    codes = tuple(code for code in framework.at(level) if target in framework.lineage(code)[1:])
    refuse([] if codes else [f"no element of level {level} lies under {target}"])
    scores = np.empty((len(codes), len(index.periods), len(index.units)))
    quick = [i for i, code in enumerate(codes) if _weight_decides(index, code)]
    weights = np.stack([_without(index, code) for code in codes])
    if quick:
        which = np.zeros(len(quick), np.intp)
        for block in engine.replicate(index.plan, [index.recipe], which, weights[quick], target):
            scores[np.array(quick)[block.replications]] = block.scores
    for i in sorted(set(range(len(codes))) - set(quick)):
        scores[i] = index.without(codes[i])[target]
    return Removal(codes, scores, standing(scores) - index.rank(target))


BY_COLUMN = frozenset(
    {"mean", "median", "group_mean", "group_median", "constant", "latest", "step", "linear"}
)


def _weight_decides(index: Index, code: str) -> bool:
    """Whether giving an element no weight is the same as never having had it."""
    aggregate = index.recipe["aggregate"]
    methods = {*(aggregate.method if isinstance(aggregate.method, tuple) else (aggregate.method,))}
    plain = (
        methods <= {*MEANS, "copeland"} and not aggregate.each and not aggregate.params.get("availability")
    )
    demands = index.framework.availability or any(e.availability for e in index.framework.elements)
    if not plain or demands or not engine.by_column(index.recipe):
        return False
    for before, stage in zip(index.stages, index.stages[1:], strict=False):
        assert stage.step is not None
        if stage.name == "screen" and not _same_screen(index, code, before.values, stage):
            return False
    weighting = [step.method for step in index.recipe if step.kind == "weight"]
    return all(method in ("given", "ahp", "budget") for method in weighting)


def _same_screen(index: Index, code: str, values: Floats, stage: Any) -> bool:
    gone = index.framework.indicators_of(code)
    kept = [i for i, c in enumerate(index.framework.indicators) if c not in gone]
    if not kept:
        return False
    flow = engine.Flow(values[None][..., kept], np.arange(values.shape[1]))
    units = [u for u in index.units if u in set(index.stages[index.stages.index(stage) - 1].units)]
    flow = engine.Flow(flow.values, np.array([index.units.index(u) for u in units]))
    _, record = engine.apply(index.plan, flow, [stage.step])
    return bool((record["kept"] == stage.record["kept"]).all())


def _without(index: Index, code: str) -> Floats:
    """The weights with nothing on an element, nor on a parent that is left without children."""
    weights = np.array([index.weights[c] for c in index.codes])
    gone = code
    while gone is not None:
        weights[index.plan.position[gone]] = 0.0
        parent = index.framework[gone].parent
        siblings = index.framework.children.get(parent, ()) if parent else ()
        empty = parent is not None and not any(weights[index.plan.position[s]] for s in siblings)
        if not empty or parent is None:
            break
        gone = parent
    return weights


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several variants of an index side by side: scores and ranks (variants, units) of one element.

    `changes` is the rank less that of the first variant; `correlations` the rank correlations of every
    element that a variant shares with the first.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    scores: Floats
    ranks: Floats
    correlations: tuple[Mapping[str, float], ...]

    @property
    def changes(self) -> Floats:
        """How many places each unit falls (or climbs, if negative) against the first variant."""
        return np.asarray(self.ranks - self.ranks[0])


def compare(variants: Mapping[str, Index], code: str | None = None, method: str = "spearman") -> Comparison:
    """Compare variants of an index on the units of the first, in the latest period.

    `correlations` are of the scores of each shared aggregate, by `method`.
    """
    names, built = tuple(variants), list(variants.values())
    refuse([] if built else ["there is nothing to compare"])
    first = built[0]
    scores = np.stack([_aligned(first, other, code or other.framework.root) for other in built])
    correlations = tuple(
        {c: _alike(first, other, c, method) for c in first.framework.aggregates if c in other.framework}
        for other in built
    )
    return Comparison(names, first.units, scores, standing(scores), correlations)


def _aligned(first: Index, other: Index, code: str) -> Floats:
    values = dict(zip(other.units, other[code][-1], strict=True))
    return np.array([values.get(unit, np.nan) for unit in first.units])


def _alike(first: Index, other: Index, code: str, method: str) -> float:
    pair = np.column_stack([_aligned(first, first, code), _aligned(first, other, code)])
    if method not in ("pearson", "spearman", "kendall"):
        raise IndexFault(
            f"{method} is not a correlation; allowed are {listed(['pearson', 'spearman', 'kendall'])}"
        )
    return float(correlate(pair, method=method)[0, 1])  # type: ignore[arg-type]
