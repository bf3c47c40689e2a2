"""How an index is made, as data: ordered steps, each a method with its parameters."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from autocity.index.faults import IndexFault, choices, refuse

Kind = Literal["denominate", "impute", "screen", "treat", "normalise", "weight", "aggregate"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, eq=False)
class Step:
    """One step: what is done (`kind`), by which `method`, with which `params`.

    A parameter is a number, a text, a flag, a list, a mapping from indicator code to value, or a text that
    begins with "@": the field of each indicator in the framework ("@target", "@limits.low",
    "@parameters.floor"). `each` holds exceptions: code of an element -> a method, or a mapping with its own
    "method" and parameters.
    """

    kind: Kind
    method: str | tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    each: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def key(self) -> str:
        """The step as canonical text: equal steps have equal keys."""
        return json.dumps(self.plain(), sort_keys=True, ensure_ascii=False, default=_number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def plain(self) -> dict[str, Any]:
        """The step as written in a file."""
        method = list(self.method) if isinstance(self.method, tuple) else self.method
        written: dict[str, Any] = {"step": self.kind, "method": method, **self.params}
        return {**written, "each": dict(self.each)} if self.each else written

    def but(self, change: Any) -> Step:
        """The same step with another method (a text or a list), or with some parameters replaced (a mapping).

        Another method starts from its own defaults. A mapping that names another "method" does so too.
        """
        if isinstance(change, Step):
            return change
        if isinstance(change, (str, list, tuple)):
            return step(self.kind, change)
        if not isinstance(change, Mapping):
            raise IndexFault(
                f"{self.kind}: a change is a method, a mapping of parameters or None, not {change!r}"
            )
        method = change.get("method", self.method)
        kept = self.params if _method(method) == self.method else {}
        merged = {**kept, **{name: value for name, value in change.items() if name not in ("method", "each")}}
        return step(self.kind, method, each=change.get("each", self.each), **merged)


@dataclass(frozen=True)
class Recipe:
    """The ordered steps of an index."""

    steps: tuple[Step, ...]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __getitem__(self, kind: str) -> Step:
        for item in self.steps:
            if item.kind == kind:
                return item
        raise IndexFault(f"the recipe has no step {kind}; it has {', '.join(s.kind for s in self.steps)}")

    def but(self, **changes: Any) -> Recipe:
        """The same recipe with some choices changed: `recipe.but(aggregate="geometric")`.

        The name is a kind of step; the value a method, a mapping of parameters, a `Step`, or None to leave it
        out. `recipe.but(**{"treat.winmax": 3})` changes one parameter. A step that was absent takes its usual
        place.
        """
        recipe = self
        for name, change in changes.items():
            kind, _, parameter = name.partition(".")
            recipe = recipe._replaced(kind, {parameter: change} if parameter else change)
        return recipe

    def _replaced(self, kind: str, change: Any) -> Recipe:
        if kind not in KINDS:
            raise IndexFault(f"{kind} is not a kind of step; allowed are {choices(KINDS)}")
        if change is None:
            return Recipe(tuple(item for item in self.steps if item.kind != kind))
        if any(item.kind == kind for item in self.steps):
            return Recipe(tuple(item.but(change) if item.kind == kind else item for item in self.steps))
        added = step(kind, DEFAULT_METHODS[kind]).but(change)
        place = sum(KINDS.index(item.kind) < KINDS.index(added.kind) for item in self.steps)
        return Recipe((*self.steps[:place], added, *self.steps[place:]))

    def plain(self) -> list[dict[str, Any]]:
        """The recipe as written in a file."""
        return [item.plain() for item in self.steps]

    @classmethod
    def of(cls, **steps: Any) -> Recipe:
        """A recipe in the usual order: `Recipe.of(treat="winsorise_or_log", normalise={"method": "zscore"})`.

        Normalisation (min-max 0 to 100), the framework's weights and arithmetic means are there unless
        changed.
        """
        return cls(()).but(**{"normalise": "minmax", "weight": "given", "aggregate": "arithmetic", **steps})

    @classmethod
    def from_plain(cls, written: Sequence[Mapping[str, Any]]) -> Recipe:
        """The recipe in a file; every fault is named at once."""
        faults: list[str] = []
        steps = []
        for position, item in enumerate(written):
            try:
                steps.append(_read(item))
            except IndexFault as fault:
                faults += [f"recipe[{position}]: {text}" for text in fault.faults]
        refuse(faults)
        return cls(tuple(steps))


DEFAULT_METHODS: Mapping[str, str] = {
    "denominate": "ratio",
    "impute": "mean",
    "screen": "missing",
    "treat": "winsorise_or_log",
    "normalise": "minmax",
    "weight": "given",
    "aggregate": "arithmetic",
}


def step(
    kind: str, method: str | Sequence[str], *, each: Mapping[str, Any] | None = None, **params: Any
) -> Step:
    """A step whose method and parameters are known to the engine.

    Raises `IndexFault` naming the unknown kind, method or parameter and what is allowed.
    """
    from autocity.index.steps import check

    if kind not in KINDS:
        raise IndexFault(f"{kind} is not a kind of step; allowed are {choices(KINDS)}")
    made = Step(kind, _method(method), params, each or {})
    refuse(check(made))
    return made


def _read(item: Mapping[str, Any]) -> Step:
    if not isinstance(item, Mapping) or "step" not in item:
        raise IndexFault('a step is a mapping with "step" and "method"')
    kind = item["step"]
    params = {name: value for name, value in item.items() if name not in ("step", "method", "each")}
    return step(kind, item.get("method", DEFAULT_METHODS.get(kind, "")), each=item.get("each"), **params)


def _method(method: str | Sequence[str]) -> str | tuple[str, ...]:
    return method if isinstance(method, str) else tuple(method)


def _number(value: Any) -> Any:
    # numpy scalars and arrays may stand in a step made by a program; a file holds plain numbers.
    return value.tolist()
