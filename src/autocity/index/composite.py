"""An index: what framework, data and recipe give, every stage kept, every number traceable."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autocity.index import engine
from autocity.index.arrays import Floats, count, highest, lowest, mean, standing
from autocity.index.engine import Flow, Plan
from autocity.index.faults import IndexFault, refuse
from autocity.index.frame import Frame
from autocity.index.framework import Framework
from autocity.index.recipe import Recipe, Step
from autocity.index.steps import defaults, exception


@dataclass(frozen=True, eq=False)
class Stage:
    """The indicators after a step: values (periods, units, indicators) and what the step found."""

    name: str
    step: Step | None
    values: Floats
    units: tuple[str, ...]
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Mark:
    """One station on the way of a number: the stage, what was done with which parameters, and what came
    out."""

    stage: str
    value: float
    method: str
    parameters: Mapping[str, Any]
    note: str = ""


@dataclass(frozen=True)
class Part:
    """A child's part in a score: its value, its share of weight (of what is known), and score x share."""

    code: str
    value: float
    share: float
    contribution: float


@dataclass(frozen=True)
class Trace:
    """Where a number comes from: an indicator's source and stages, or an aggregate's parts."""

    unit: str
    code: str
    period: str
    value: float
    source: str | None
    confidence: str
    marks: tuple[Mark, ...] = ()
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, eq=False)
class Index:
    """A built index. `scores` has the shape (periods, units, nodes); units that were screened out have
    NaN."""

    plan: Plan
    recipe: Recipe
    stages: tuple[Stage, ...]
    weights: Mapping[str, float]
    scores: Floats

    @property
    def framework(self) -> Framework:
        """What is measured."""
        return self.plan.framework

    @property
    def frame(self) -> Frame:
        """The data it was built on."""
        return self.plan.frame

    @property
    def units(self) -> tuple[str, ...]:
        """All units of the data."""
        return self.frame.units

    @property
    def periods(self) -> tuple[str, ...]:
        """All periods of the data."""
        return self.frame.periods

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of all nodes: indicators, then aggregates from the lowest level up."""
        return self.plan.nodes

    @functools.cached_property
    def ranks(self) -> Floats:
        """Places, 1 for the best, equal for equal scores; the shape of `scores`."""
        return standing(self.scores, axis=1)

    def __getitem__(self, code: str) -> Floats:
        """Scores of one element, shape (periods, units)."""
        return self.scores[:, :, self._node(code)]

    def rank(self, code: str | None = None, decimals: int | None = None) -> Floats:
        """Places of the units in one element (the whole index unless told), shape (periods, units).

        `decimals` ranks on rounded scores, as some owners publish them.
        """
        return standing(self[code or self.framework.root], decimals)

    def group_ranks(self, group: str | None = None, code: str | None = None) -> Floats:
        """Places of the units inside their own group, shape (periods, units)."""
        scores, groups = self[code or self.framework.root], self.plan.groups(group)
        places = np.full(scores.shape, np.nan)
        for number in np.unique(groups[groups >= 0]):
            places[:, groups == number] = standing(scores[:, groups == number])
        return places

    def stage(self, name: str) -> Stage:
        """A stage by its name: "raw" or the kind of a step."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise IndexFault(f"there is no stage {name}; there are {', '.join(s.name for s in self.stages)}")

    def but(self, **changes: Any) -> Index:
        """The index built again with some choices of its recipe changed, as `Recipe.but`."""
        return build(self.framework, self.frame, self.recipe.but(**changes))

    def without(self, *codes: str) -> Index:
        """The index built again without some elements."""
        return build(self.framework.without(codes), self.frame, self.recipe)

    def trace(self, unit: str, code: str | None = None, period: str | None = None) -> Trace:
        """Where a number comes from. Raises `IndexFault` for an unknown unit, element or period."""
        code = code or self.framework.root
        layer, row, node = self._period(period), self._row(unit), self._node(code)
        element = self.framework[code]
        value = float(self.scores[layer, row, node])
        below = code in self.framework.children
        source = element.source if below else self.frame.sources.get(code) or element.source
        return Trace(
            unit,
            code,
            self.periods[layer],
            value,
            source,
            element.confidence,
            () if below else tuple(self._marks(unit, node, layer)),
            self._parts(code, layer, row) if below else (),
        )

    def _marks(self, unit: str, column: int, layer: int) -> list[Mark]:
        marks = []
        for stage in self.stages:
            method = _method(stage, self, column)[0]
            if unit not in stage.units:
                marks.append(Mark(stage.name, float("nan"), method, {}, "unit screened out"))
                break
            row = stage.units.index(unit)
            value = float(stage.values[layer, row, column])
            note = _note(stage, layer, row, column)
            marks.append(Mark(stage.name, value, method, _parameters(stage, self, column), note))
        return marks

    def _parts(self, code: str, layer: int, row: int) -> tuple[Part, ...]:
        children = self.framework.children[code]
        values = [float(self.scores[layer, row, self._node(child)]) for child in children]
        known = [0.0 if np.isnan(v) else self.weights[c] for c, v in zip(children, values, strict=True)]
        whole = sum(known) or float("nan")
        return tuple(
            Part(child, value, weight / whole, value * weight / whole if weight else 0.0)
            for child, value, weight in zip(children, values, known, strict=True)
        )

    def _node(self, code: str) -> int:
        if code not in self.plan.position:
            raise IndexFault(f"{code} is not an element of {self.framework.code}")
        return self.plan.position[code]

    def _row(self, unit: str) -> int:
        if unit not in self.units:
            raise IndexFault(f"{unit} is not a unit of the data")
        return self.units.index(unit)

    def _period(self, period: str | None) -> int:
        if period is not None and period not in self.periods:
            raise IndexFault(f"the data has no period {period}; it has {', '.join(self.periods)}")
        return len(self.periods) - 1 if period is None else self.periods.index(period)


def build(framework: Framework, frame: Frame, recipe: Recipe | None = None) -> Index:
    """Build an index. The recipe is the framework's own unless told.

    Raises `IndexFault` for data or parameters that cannot give one, naming every fault found.
    """
    recipe = recipe or framework.default_recipe()
    refuse(engine.order_faults(recipe))
    plan = Plan(framework, frame)
    flow = Flow.of(plan)
    stages = [Stage("raw", None, plan.start, frame.units)]
    for step in recipe:
        if step.kind in ("weight", "aggregate"):
            continue
        flow, record = engine.apply(plan, flow, [step])
        stages.append(
            Stage(step.kind, step, flow.values[0], tuple(frame.units[i] for i in flow.kept), record)
        )
    weight = recipe["weight"] if any(step.kind == "weight" for step in recipe) else None
    weights = engine.weigh(plan, flow, weight)
    by_code = dict(zip(plan.nodes, weights[0].tolist(), strict=True))
    refuse(_weightless(framework, by_code))
    scores = engine.whole(plan, flow, weights, recipe["aggregate"])
    return Index(plan, recipe, tuple(stages), by_code, scores)


def rebuild(index: Index, frame: Frame) -> Index:
    """The same index on other data."""
    return build(index.framework, frame, index.recipe)


def _weightless(framework: Framework, weights: Mapping[str, float]) -> list[str]:
    return [
        f"the weights of all children of {code} are zero"
        for code, children in framework.children.items()
        if not any(weights[child] for child in children)
    ]


def _method(stage: Stage, index: Index, column: int) -> tuple[str, Mapping[str, Any]]:
    """The method and parameters that a stage used for one indicator, its exceptions heeded."""
    if stage.step is None:
        return "as given", {}
    code = index.codes[column]
    return (
        exception(stage.step, code)
        if code in stage.step.each
        else (str(stage.step.method), stage.step.params)
    )


def _parameters(stage: Stage, index: Index, column: int) -> dict[str, Any]:
    """The parameters in force for one indicator, with what the column was before a normalisation."""
    if stage.step is None:
        return {}
    method, params = _method(stage, index, column)
    given = {**defaults(stage.step.kind, method), **params}
    resolved = {name: _one(engine.resolve(index.plan, name, v), column) for name, v in given.items()}
    if stage.name == "normalise":
        before = index.stages[index.stages.index(stage) - 1].values[..., column].reshape(-1, 1)
        told = {"min": lowest, "max": highest, "mean": mean, "known": count}
        resolved |= {f"column {name}": float(measure(before)[0, 0]) for name, measure in told.items()}
    return resolved


def _one(value: Any, column: int) -> Any:
    return float(value[column]) if isinstance(value, np.ndarray) else value


def _note(stage: Stage, layer: int, row: int, column: int) -> str:
    if stage.name == "impute" and stage.record["missing"][layer, row, column]:
        return "was missing"
    return _treatment(stage, layer, row, column) if stage.name == "treat" else ""


def _treatment(stage: Stage, layer: int, row: int, column: int) -> str:
    columns, treated = next(part for part in stage.record["parts"] if column in part[0])
    place = int(np.flatnonzero(columns == column)[0])
    periods, units = stage.values.shape[:2]
    points = treated.points.reshape(periods, units, -1)
    transformed = np.broadcast_to(treated.transformed[0], (periods, len(columns)))
    if transformed[layer, place]:
        return "column transformed"
    return {1: "winsorised from above", -1: "winsorised from below"}.get(int(points[layer, row, place]), "")


def tables(index: Index) -> dict[str, Sequence[Any]]:
    """Scores and ranks as rows for export: one per unit and period, best first."""
    places = index.rank()
    rows = []
    for layer, period in enumerate(index.periods):
        for row in np.argsort(np.where(np.isnan(places[layer]), np.inf, places[layer]), kind="stable"):
            scores = {code: float(index.scores[layer, row, i]) for i, code in enumerate(index.codes)}
            rows.append(
                {"unit": index.units[row], "period": period, "rank": float(places[layer, row]), **scores}
            )
    return {"columns": ["unit", "period", "rank", *index.codes], "rows": rows}
