"""Runs recipes: frameworks and data as arrays, step after step, many recipes sharing their prefix."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autocity.index.arrays import Flags, Floats
from autocity.index.faults import IndexFault, choices, refuse
from autocity.index.fold import Failures, Parent, fold, summit
from autocity.index.frame import Frame
from autocity.index.framework import Framework
from autocity.index.recipe import Recipe, Step
from autocity.index.steps import METHODS, aggregate, exception, parameters, screen, treat
from autocity.index.steps.normalise import adjusted, distance_to_reference, tiers

Positions = npt.NDArray[np.intp]

BLOCK = 8_000_000
"""Numbers (8 bytes each) that a block of replications may hold in one array."""

FEW = 16
"""Up to this many alternatives of a step are run one after the other, each for all replications that chose
it."""

PLAIN = frozenset({"by", "values", "judgements", "allocations"})
"""Parameters that hold mappings of their own, not one number per indicator."""

STACKED: Mapping[tuple[str, str], frozenset[str]] = {
    ("treat", "winsorise_or_log"): frozenset({"winmax", "skew", "kurt", "pass_skew", "pass_kurt"}),
    ("normalise", "minmax"): frozenset({"low", "high"}),
    ("normalise", "scaled"): frozenset({"low", "high", "scale"}),
    ("normalise", "goalposts"): frozenset({"low", "high", "scale"}),
    ("normalise", "zscore"): frozenset({"mean", "sd"}),
    ("normalise", "distance_to_target"): frozenset({"target"}),
}
"""Numeric parameters that a method takes as arrays, one number per replication."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A framework and its data as arrays, checked against each other."""

    framework: Framework
    frame: Frame

    def __post_init__(self) -> None:
        absent = [code for code in self.framework.indicators if code not in self.frame.columns]
        refuse([f"the data has no column {code} ({self.framework[code].label()})" for code in absent])

    @functools.cached_property
    def start(self) -> Floats:
        """Raw values, shape (periods, units, indicators)."""
        return self.frame.select(self.framework.indicators)

    @functools.cached_property
    def direction(self) -> Floats:
        """1 or -1 per indicator."""
        return self.each_indicator("direction")

    @functools.cached_property
    def nodes(self) -> tuple[str, ...]:
        """Codes of all nodes: indicators, then aggregates from the lowest level up."""
        return (*self.framework.indicators, *self.framework.aggregates)

    @functools.cached_property
    def position(self) -> Mapping[str, int]:
        """Code of a node -> its position."""
        return {code: i for i, code in enumerate(self.nodes)}

    @functools.cached_property
    def weights(self) -> Floats:
        """The framework's weight per node."""
        return np.array([self.framework[code].weight for code in self.nodes])

    @functools.cached_property
    def times(self) -> Floats:
        """Periods as numbers: years where they are years, else 0, 1, 2, ..."""
        try:
            return np.array([float(period) for period in self.frame.periods])
        except ValueError:
            return np.arange(float(len(self.frame.periods)))

    def each_indicator(self, path: str) -> Floats:
        """A field of every indicator ("target", "limits.low", "parameters.floor") as numbers.

        Raises `IndexFault` that names the indicators without it.
        """
        found = [_field(self.framework[code], path) for code in self.framework.indicators]
        lacking = [c for c, v in zip(self.framework.indicators, found, strict=True) if v is None]
        if lacking:
            raise IndexFault(f"{path} is not set for {', '.join(lacking)}")
        return np.array(found, np.float64)

    def groups(self, name: str | None) -> Positions:
        """The number of each unit's group, -1 for none."""
        name = name or self.framework.group
        if name is None or name not in self.frame.groups:
            raise IndexFault(
                f"group {name} is not in the data; it has {choices(list(self.frame.groups)) or 'none'}"
            )
        labels = self.frame.groups[name]
        order = {label: i for i, label in enumerate(sorted({label for label in labels if label is not None}))}
        return np.array([-1 if label is None else order[label] for label in labels], np.intp)

    def members(self, level: int) -> list[Positions]:
        """Positions of the indicators under each element of a level."""
        place = {code: i for i, code in enumerate(self.framework.indicators)}
        return [
            np.array([place[i] for i in self.framework.indicators_of(code)], np.intp)
            for code in self.framework.at(level)
        ]

    def thresholds(self) -> Floats:
        """Tier thresholds (indicators, tiers) as numbers, NaN where none is set."""
        return np.array([tier_values(self.framework, code) for code in self.framework.indicators], np.float64)


@dataclass(frozen=True, eq=False)
class Flow:
    """Values between two steps: (1 or K replications, periods, kept units, indicators).

    `kept` holds the positions of the units that are still in; `absent` marks those out in some period only.
    """

    values: Floats
    kept: Positions
    absent: Flags | None = None

    @classmethod
    def of(cls, plan: Plan) -> Flow:
        """The raw data of a plan."""
        return cls(plan.start[None], np.arange(len(plan.frame.units)))


def tier_values(framework: Framework, code: str) -> list[float]:
    """An indicator's threshold per tier as numbers: categories are positions from 1, NaN where none is
    set."""
    element = framework[code]
    rungs = element.tiers or (None,) * len(framework.tiers)
    return [
        float("nan")
        if t is None
        else float(element.categories.index(t) + 1)
        if isinstance(t, str)
        else float(t)
        for t in rungs
    ]


def apply(plan: Plan, flow: Flow, steps: Sequence[Step]) -> tuple[Flow, Any]:
    """One step on a flow: the same for all, or one of the same family per replication. Also what the step
    found."""
    return _APPLY[steps[0].kind](plan, flow, steps)


def weigh(plan: Plan, flow: Flow, step: Step | None) -> Floats:
    """Weight of every node, (1 or K, nodes), by the weight step of a recipe."""
    if step is None or step.method == "given":
        return _given(plan, step.params.get("values") if step else None)
    if step.method in ("ahp", "budget"):
        return _judged(plan, step)
    if step.method == "optimised":
        from autocity.index.optimise import optimise

        rest = {k: v for k, v in step.params.items() if k not in ("level", "values")}
        return _given(plan, optimise(plan, flow, level=int(step.params.get("level", 2)), **rest).weights)
    if int(step.params.get("level", 1)) != 1:
        raise IndexFault(
            f"weight {step.method}: only indicators (level 1) have data before they are aggregated"
        )
    return _suggested(plan, flow, step)


def parents(plan: Plan, step: Step, target: str | None = None) -> list[Parent]:
    """The aggregates to calculate for a target (all of them unless told), in order, by an aggregation
    step."""
    framework = plan.framework
    wanted = [c for c in framework.aggregates if target is None or target in framework.lineage(c)]
    return [_parent(plan, step, code) for code in wanted]


def whole(plan: Plan, flow: Flow, weights: Floats, step: Step) -> Floats:
    """Scores of every node for one recipe: (periods, all units, nodes)."""
    values = flow.values[0]
    shape = values.shape[:2]
    leaves = values.reshape(1, -1, values.shape[2])
    nodes = fold(leaves, weights, parents(plan, step), (shape[0], shape[1]), names=plan.nodes)
    stacked = np.stack([nodes[i][0] for i in range(len(plan.nodes))], -1)
    full = np.full((shape[0], len(plan.frame.units), len(plan.nodes)), np.nan)
    full[:, flow.kept] = stacked.reshape(*shape, -1)
    return full


BY_COLUMN = frozenset(
    {"mean", "median", "group_mean", "group_median", "constant", "latest", "step", "linear"}
)
"""Imputations that look at one indicator at a time, as every other step before weighing does but
screening."""


def by_column(recipe: Recipe) -> bool:
    """Whether each indicator comes to its normalised values without a look at the others."""
    return all(step.kind != "impute" or step.method in BY_COLUMN for step in recipe)


def rescore(plan: Plan, recipe: Recipe, row: int, versions: Floats, target: str) -> Floats:
    """The target's scores when one unit has other values in the latest period: (versions, periods, units).

    `versions` has the shape (versions, indicators). All are screened as the data are. Where a value cannot
    enter a mean, the unit's score is NaN.
    """
    packed, place = _packed(versions) if by_column(recipe) else (versions, None)
    values = np.repeat(plan.start[None], len(packed), 0)
    values[:, -1, row] = packed
    flow, weight_step = Flow(values, np.arange(values.shape[2])), None
    for step in recipe:
        if step.kind == "weight":
            weight_step = step
        elif step.kind != "aggregate":
            flow, _ = apply(plan, flow, [step])
    if place is not None:
        flow = dataclasses.replace(flow, values=np.take_along_axis(flow.values, place[:, None, None], 0))
    periods, units = flow.values.shape[1:3]
    leaves = flow.values.reshape(len(versions), -1, flow.values.shape[3])
    folded, weights = parents(plan, recipe["aggregate"], target), weigh(plan, flow, weight_step)
    scores = summit(leaves, weights, folded, (periods, units), names=plan.nodes, failures=Failures())
    full = np.full((len(versions), periods, len(plan.frame.units)), np.nan)
    full[:, :, flow.kept] = scores.reshape(-1, periods, units)
    return full


def _packed(versions: Floats) -> tuple[Floats, Positions]:
    """As few versions as hold every different value of each indicator, and where each version's values stand.

    Versions that differ in one indicator each, as tangents need them, become two.
    """
    columns = [np.unique(column, return_inverse=True, equal_nan=True) for column in versions.T]
    depth = max(len(values) for values, _ in columns)
    packed = np.stack([np.resize(values, depth) for values, _ in columns], 1)
    return packed, np.stack([inverse.reshape(-1) for _, inverse in columns], 1)


@dataclass(frozen=True, eq=False)
class Block:
    """Scores of some replications: their positions, (replications, periods, units), and what failed."""

    replications: Positions
    scores: Floats
    failures: Mapping[str, Flags]


def replicate(
    plan: Plan,
    recipes: Sequence[Recipe],
    which: Positions | None = None,
    weights: Floats | None = None,
    target: str | None = None,
) -> Iterator[Block]:
    """The target's scores under many recipes, block by block.

    `which` names the recipe of each replication (each recipe once unless told); `weights` (replications,
    nodes) replaces the weights of the recipes. Recipes that begin alike are run together up to where they
    part.
    """
    which = np.arange(len(recipes)) if which is None else which
    target = target or plan.framework.root
    for kinds, members in _alike(recipes).items():
        steps = {m: recipes[m].steps for m in members}
        before = sum(kind not in ("weight", "aggregate") for kind in kinds)
        for flow, branch in _descend(plan, Flow.of(plan), steps, members, before):
            yield from _leaf(plan, flow, steps, branch, which, weights, target)


def _descend(
    plan: Plan,
    flow: Flow,
    steps: Mapping[int, Sequence[Step]],
    members: Sequence[int],
    before: int,
    depth: int = 0,
) -> Iterator[tuple[Flow, list[int]]]:
    """Flows just before weighing, each with the recipes it belongs to (one replication each, or one for
    all)."""
    if depth == before:
        yield flow, list(members)
        return
    chosen = _group(members, lambda m: steps[m][depth].key)
    if len(flow.values) > 1:
        yield from _descend(
            plan, _advance(plan, flow, steps, members, depth), steps, members, before, depth + 1
        )
    elif len(chosen) <= FEW or steps[members[0]][depth].kind == "screen":
        for branch in chosen.values():
            moved, _ = apply(plan, flow, [steps[branch[0]][depth]])
            yield from _descend(plan, moved, steps, branch, before, depth + 1)
    else:
        size = max(2, BLOCK // flow.values.size)
        for i in range(0, len(members), size):
            branch = list(members[i : i + size])
            moved = _advance(plan, flow, steps, branch, depth)
            yield from _descend(plan, moved, steps, branch, before, depth + 1)


def _advance(
    plan: Plan, flow: Flow, steps: Mapping[int, Sequence[Step]], members: Sequence[int], depth: int
) -> Flow:
    """A flow with one replication per recipe after their steps at a depth."""
    parts: list[tuple[list[int], Flow]] = []
    own = len(flow.values) > 1
    for family in _group(range(len(members)), lambda i: _family(steps[members[i]][depth])).values():
        chosen = [steps[members[i]][depth] for i in family]
        start = dataclasses.replace(flow, values=flow.values[family]) if own else flow
        if len({s.key for s in chosen}) == 1:
            moved = apply(plan, start, chosen[:1])[0].values
        elif _stackable(chosen[0]):
            moved = apply(plan, start, chosen)[0].values
        else:
            singles = [start.values[i if own else 0][None] for i in range(len(family))]
            moved = np.concatenate(
                [
                    apply(plan, dataclasses.replace(flow, values=single), [s])[0].values
                    for single, s in zip(singles, chosen, strict=True)
                ]
            )
        parts.append((family, dataclasses.replace(flow, values=moved)))
    values = np.empty((len(members), *flow.values.shape[1:]))
    for family, part in parts:
        values[family] = part.values
    return dataclasses.replace(flow, values=values)


def _leaf(
    plan: Plan,
    flow: Flow,
    steps: Mapping[int, Sequence[Step]],
    branch: Sequence[int],
    which: Positions,
    weights: Floats | None,
    target: str,
) -> Iterator[Block]:
    """Blocks of scores for the recipes whose values have come to one flow."""
    place = {m: i for i, m in enumerate(branch)}
    for family in _group(branch, lambda m: _final(steps[m], weights is None)).values():
        folded = parents(plan, steps[family[0]][-1], target)
        weight_step = next((s for s in steps[family[0]] if s.kind == "weight"), None)
        reps = np.flatnonzero(np.isin(which, family))
        rows = flow.values.shape[1] * flow.values.shape[2]
        size = max(1, BLOCK // rows)
        for i in range(0, len(reps), size):
            chunk = reps[i : i + size]
            own = flow
            if len(flow.values) > 1:
                own = dataclasses.replace(flow, values=flow.values[[place[m] for m in which[chunk]]])
            w = weigh(plan, own, weight_step) if weights is None else weights[chunk]
            yield _block(plan, own, w, folded, chunk)


def _block(plan: Plan, flow: Flow, weights: Floats, folded: Sequence[Parent], reps: Positions) -> Block:
    periods, units = flow.values.shape[1:3]
    leaves = flow.values.reshape(len(flow.values), -1, flow.values.shape[3])
    failures = Failures()
    scores = summit(leaves, weights, folded, (periods, units), names=plan.nodes, failures=failures)
    full = np.full((len(reps), periods, len(plan.frame.units)), np.nan)
    full[:, :, flow.kept] = scores.reshape(-1, periods, units)
    full[failures.failed(len(reps))] = np.nan
    flags = {reason: np.broadcast_to(flag, len(reps)) for reason, flag in failures.reasons.items()}
    return Block(reps, full, flags)


def _alike(recipes: Sequence[Recipe]) -> dict[tuple[str, ...], list[int]]:
    """Recipes by the kinds of their steps, which must end in aggregation."""
    refuse([fault for recipe in recipes for fault in order_faults(recipe)][:1])
    return _group(range(len(recipes)), lambda m: tuple(step.kind for step in recipes[m]))


def order_faults(recipe: Recipe) -> list[str]:
    """What is wrong with the order of a recipe's steps."""
    kinds = [step.kind for step in recipe]
    faults = [
        f"a recipe has one step {kind}, not {kinds.count(kind)}"
        for kind in set(kinds)
        if kinds.count(kind) > 1
    ]
    if kinds[-1:] != ["aggregate"]:
        faults.append("a recipe ends with the step aggregate")
    if "weight" in kinds and kinds.index("weight") != len(kinds) - 2:
        faults.append("the step weight stands just before aggregate")
    return faults


def _group(items: Any, key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _final(steps: Sequence[Step], weighed: bool) -> tuple[str, ...]:
    return tuple(
        step.key for step in steps if step.kind == "aggregate" or (weighed and step.kind == "weight")
    )


def _stackable(step: Step) -> bool:
    return isinstance(step.method, str) and (step.kind, step.method) in STACKED and not step.each


def _family(step: Step) -> str:
    """Steps of one family differ only in numbers that their method takes as arrays."""
    if not _stackable(step) or not isinstance(step.method, str):
        return step.key
    free = STACKED[step.kind, step.method]
    fixed = {name: value for name, value in step.params.items() if name not in free}
    named = sorted(name for name in step.params if name in free)
    return json.dumps([step.kind, step.method, fixed, named], sort_keys=True, default=str)


def resolve(plan: Plan, name: str, value: Any) -> Any:
    """A parameter as written, as a number, an array per indicator, or itself."""
    if name in PLAIN:
        return value
    if isinstance(value, str) and value.startswith("@"):
        return plan.each_indicator(value[1:])
    if isinstance(value, Mapping):
        return _by_code(plan, name, value)
    return value


def _by_code(plan: Plan, name: str, values: Mapping[str, Any]) -> Floats:
    unknown = [c for c in values if c != "default" and c not in plan.framework]
    refuse([f"{name}: {code} is not an element of {plan.framework.code}" for code in unknown])
    lacking = [c for c in plan.framework.indicators if c not in values and "default" not in values]
    if lacking:
        raise IndexFault(f'{name} is not given for {", ".join(lacking)}; add them or a "default"')
    return np.array([values.get(c, values.get("default")) for c in plan.framework.indicators], np.float64)


def _arguments(plan: Plan, steps: Sequence[Step], method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The method's own parameters; one number per replication becomes an array (K, 1, 1)."""
    names = [name for name in parameters(steps[0].kind, method) if name in params]
    if len(steps) == 1:
        return {name: resolve(plan, name, params[name]) for name in names}
    stacked = {}
    for name in names:
        values = [np.asarray(resolve(plan, name, s.params[name]), np.float64) for s in steps]
        stacked[name] = np.stack([v.reshape(1, -1) for v in values])
    return stacked


def _across(
    flow: Flow, params: Mapping[str, Any], usual: str = "panel"
) -> tuple[Floats, Callable[[Any], Any]]:
    """Values as the step looks at them, all periods as one table ("panel") or each for itself ("period"),
    and back."""
    across = params.get("across", usual)
    if across not in ("panel", "period"):
        raise IndexFault(f"across is panel or period, not {across}")
    shape = flow.values.shape
    if across == "period" and shape[1] > 1:
        return flow.values, lambda y: y
    return flow.values.reshape(shape[0], -1, shape[3]), lambda y: y.reshape(-1, *shape[1:])


def _masked(flow: Flow, values: Floats) -> Flow:
    """A flow with new values; units that are out of a period stay out."""
    if flow.absent is not None:
        values = np.where(flow.absent[None, :, :, None], np.nan, values)
    return dataclasses.replace(flow, values=values)


def _screen(plan: Plan, flow: Flow, steps: Sequence[Step]) -> tuple[Flow, Any]:
    step = steps[0]
    method = METHODS["screen"][str(step.method)]
    keep = method(flow.values[0], **_arguments(plan, steps, str(step.method), step.params))
    units = [plan.frame.units[i] for i in flow.kept]
    named = [*step.params.get("include", ()), *step.params.get("exclude", ())]
    refuse([f"screen: {unit} is not a unit of the data" for unit in named if unit not in plan.frame.units])
    keep = screen.force(keep, units, step.params.get("include", ()), step.params.get("exclude", ()))
    stay = np.asarray(keep.any(0))
    if not stay.any():
        raise IndexFault("screening leaves no unit; ask for less data")
    absent = ~keep[:, stay]
    moved = Flow(flow.values[:, :, stay], flow.kept[stay], absent if absent.any() else None)
    removed = [unit for unit, in_ in zip(units, stay, strict=True) if not in_]
    return _masked(moved, moved.values), {"removed": removed, "kept": keep}


def _denominate(plan: Plan, flow: Flow, steps: Sequence[Step]) -> tuple[Flow, Any]:
    step = steps[0]
    by = {e.code: e.denominator for e in plan.framework.elements} | dict(step.params.get("by", {}))
    denominators = np.ones((len(plan.frame.periods), len(plan.frame.units), len(plan.framework.indicators)))
    for i, code in enumerate(plan.framework.indicators):
        if by.get(code):
            denominators[:, :, i] = plan.frame.column(str(by[code]))
    arguments = {"scale": plan.each_indicator("scale"), **_arguments(plan, steps, "ratio", step.params)}
    values = METHODS["denominate"]["ratio"](flow.values, denominators[:, flow.kept], **arguments)
    return _masked(flow, values), {"by": {c: d for c, d in by.items() if d}}


def _impute(plan: Plan, flow: Flow, steps: Sequence[Step]) -> tuple[Flow, Any]:
    step = steps[0]
    name = str(step.method)
    method = METHODS["impute"][name]
    arguments = _arguments(plan, steps, name, step.params)
    if name in ("latest", "step", "linear"):
        extra = (plan.times,) if name == "linear" else ()
        return _masked(flow, method(flow.values, *extra, **arguments)), _filled(flow, step)
    x, back = _across(flow, step.params, "period")
    if name.startswith("group_"):
        groups = plan.groups(step.params.get("group"))[flow.kept]
        x = back(method(x, np.tile(groups, x.shape[-2] // len(groups)), **arguments))
    elif name.startswith("row_"):
        members = plan.members(int(step.params.get("level", plan.framework.height)))
        x = back(method(x, plan.direction, members, **arguments))
    else:
        x = back(method(x, **arguments))
    return _masked(flow, x), _filled(flow, step)


def _filled(flow: Flow, step: Step) -> dict[str, Any]:
    return {"missing": np.isnan(flow.values[0]), "group": step.params.get("group")}


def _treat(plan: Plan, flow: Flow, steps: Sequence[Step]) -> tuple[Flow, Any]:
    x, back = _across(flow, steps[0].params)
    parts: list[tuple[Positions, treat.Treated]] = []
    for method, params, columns in _columns(plan, steps[0]):
        arguments = _arguments(plan, steps, method, params)
        arguments = {name: _of_columns(value, columns, x.shape[-1]) for name, value in arguments.items()}
        if np.ndim(arguments.get("winmax", 0)) == 3 and x.ndim == 4:
            arguments = {k: v[:, None] if np.ndim(v) == 3 else v for k, v in arguments.items()}
        chosen = x if len(columns) == x.shape[-1] else x[..., columns]
        if len(steps) > 1 and len(chosen) == 1:
            chosen = np.broadcast_to(chosen, (len(steps), *chosen.shape[1:]))
        parts.append((columns, METHODS["treat"][method](chosen, **arguments)))
    values = np.empty((len(parts[0][1].values), *x.shape[1:]))
    for columns, treated in parts:
        values[..., columns] = treated.values
    return _masked(flow, back(values)), {"parts": parts}


def _normalise(plan: Plan, flow: Flow, steps: Sequence[Step]) -> tuple[Flow, Any]:
    x, back = _across(flow, steps[0].params)
    values: Floats | None = None
    for name, params, columns in _columns(plan, steps[0]):
        method: Callable[..., Floats] = METHODS["normalise"][name]
        arguments = _arguments(plan, steps, name, params)
        arguments = {k: _of_columns(v, columns, x.shape[-1]) for k, v in arguments.items()}
        if x.ndim == 4:
            arguments = {k: v[:, None] if np.ndim(v) == 3 else v for k, v in arguments.items()}
        if method in (distance_to_reference, adjusted):
            arguments["reference"] = _reference(plan, flow, params.get("reference", 0))
        extra = (plan.thresholds()[columns],) if method is tiers else ()
        every = len(columns) == x.shape[-1]
        part = method(x if every else x[..., columns], plan.direction[columns], *extra, **arguments)
        if every:
            return _masked(flow, back(part)), {}
        values = np.empty((len(part), *x.shape[1:])) if values is None else values
        values[..., columns] = part
    assert values is not None
    return _masked(flow, back(values)), {}


def _reference(plan: Plan, flow: Flow, reference: Any) -> int:
    """The row of a unit given by its code (or position)."""
    if not isinstance(reference, str):
        return int(reference)
    units = [plan.frame.units[i] for i in flow.kept]
    if reference not in units:
        raise IndexFault(f"the reference {reference} is not among the units")
    return (len(plan.frame.periods) - 1) * len(units) + units.index(reference)


def _columns(plan: Plan, step: Step) -> list[tuple[str, Mapping[str, Any], Positions]]:
    """The methods of a step, each with its parameters and the positions of its indicators."""
    place = {code: i for i, code in enumerate(plan.framework.indicators)}
    refuse([f"{step.kind}: each {code} is not an indicator" for code in step.each if code not in place])
    rest = np.array([i for code, i in place.items() if code not in step.each], np.intp)
    parts = [(*exception(step, code), np.array([place[code]], np.intp)) for code in step.each]
    return [*([(str(step.method), step.params, rest)] if rest.size else []), *parts]


def _of_columns(value: Any, columns: Positions, width: int) -> Any:
    """A parameter with one number per indicator, for some of them."""
    if isinstance(value, np.ndarray) and value.ndim and value.shape[-1] == width and len(columns) != width:
        return value[..., columns]
    return value


def _given(plan: Plan, values: Mapping[str, float] | None) -> Floats:
    weights = plan.weights.copy()
    unknown = [code for code in values or {} if code not in plan.position]
    refuse([f"weight: {code} is not an element of {plan.framework.code}" for code in unknown])
    for code, value in (values or {}).items():
        weights[plan.position[code]] = value
    negative = [code for code, w in zip(plan.nodes, weights, strict=True) if not w >= 0]
    refuse([f"weight: {code} has a weight that is not zero or more" for code in negative])
    return weights[None]


def _judged(plan: Plan, step: Step) -> Floats:
    from autocity.index import experts

    weights = plan.weights.copy()
    name, judge = ("judgements", experts.ahp) if step.method == "ahp" else ("allocations", experts.budget)
    for parent, judgement in step.params.get(name, {}).items():
        children = plan.framework.children.get(parent)
        if children is None:
            raise IndexFault(f"weight {step.method}: {parent} is not an aggregate of {plan.framework.code}")
        judged = judge(judgement).weights
        if len(judged) != len(children):
            raise IndexFault(
                f"weight {step.method}: {parent} has {len(children)} children, not {len(judged)}"
            )
        weights[[plan.position[c] for c in children]] = judged
    return weights[None]


def _suggested(plan: Plan, flow: Flow, step: Step) -> Floats:
    method = METHODS["weight"][str(step.method)]
    table, _ = _across(flow, {})
    weights = np.tile(plan.weights, (len(table), 1))
    for children in plan.framework.children.values():
        columns = [plan.position[c] for c in children if c not in plan.framework.children]
        if columns:
            weights[:, columns] = method(table[..., columns])
    return weights


def _parent(plan: Plan, step: Step, code: str) -> Parent:
    framework = plan.framework
    level = framework.level[code]
    methods = step.method if isinstance(step.method, tuple) else (step.method,) * (framework.height - 1)
    if len(methods) != framework.height - 1:
        raise IndexFault(
            f"aggregate: {len(methods)} methods for {framework.height - 1} levels above the indicators"
        )
    name, params = (methods[level - 2], step.params) if code not in step.each else exception(step, code)
    arguments = {k: v for k, v in params.items() if k in parameters("aggregate", name)}
    maker = aggregate.METHODS[name]
    method = maker(**arguments) if name in aggregate.MEANS else functools.partial(maker, **arguments)
    needed = framework[code].availability
    if needed is None:
        asked = params.get("availability", framework.availability)
        needed = asked[level - 2] if isinstance(asked, (list, tuple)) else asked
    children = np.array([plan.position[c] for c in framework.children[code]], np.intp)
    return Parent(plan.position[code], children, method, float(needed))


def _field(element: Any, path: str) -> Any:
    head, _, rest = path.partition(".")
    value = element.get(head) if isinstance(element, Mapping) else getattr(element, head, None)
    return _field(value, rest) if rest and value is not None else value


_APPLY: Mapping[str, Callable[[Plan, Flow, Sequence[Step]], tuple[Flow, Any]]] = {
    "screen": _screen,
    "denominate": _denominate,
    "impute": _impute,
    "treat": _treat,
    "normalise": _normalise,
}
