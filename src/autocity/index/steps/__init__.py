"""The methods of every step, and whether a step as written can be carried out; one file per kind of step."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from autocity.index.faults import choices
from autocity.index.recipe import Step
from autocity.index.steps import aggregate, denominate, impute, normalise, screen, treat, weight


def given() -> None:
    """The weights of the framework, or `values` by code."""


def ahp() -> None:
    """Weights from expert `judgements`: parent -> matrix of pairwise importance (see `experts.ahp`)."""


def budget() -> None:
    """Weights from expert `allocations`: parent -> one allocation of points per expert (see
    `experts.budget`)."""


def optimised(*, objective: str = "balance", target: Any = None, signed: bool = False, seed: int = 0) -> None:
    """Weights of one `level` that bring the correlations with the index to a target (see `optimise`)."""


JUDGED: Mapping[str, Callable[..., Any]] = {
    "given": given,
    "ahp": ahp,
    "budget": budget,
    "optimised": optimised,
}
"""Weights that do not come from the columns of one group: the engine finds them."""

METHODS: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "screen": screen.METHODS,
    "denominate": denominate.METHODS,
    "impute": impute.METHODS,
    "treat": treat.METHODS,
    "normalise": normalise.METHODS,
    "weight": {**JUDGED, **weight.METHODS},
    "aggregate": aggregate.METHODS,
}

SHARED: Mapping[str, frozenset[str]] = {
    "screen": frozenset({"include", "exclude"}),
    "denominate": frozenset({"by"}),
    "impute": frozenset({"across", "group", "level"}),
    "treat": frozenset({"across"}),
    "normalise": frozenset({"across"}),
    "weight": frozenset({"values", "level", "judgements", "allocations"}),
    "aggregate": frozenset({"availability"}),
}
"""Parameters that every method of a kind takes: the engine reads them, not the method."""

EXCEPTIONS = frozenset({"treat", "normalise", "aggregate"})
"""Kinds of step in which `each` may hold exceptions."""


def parameters(kind: str, method: str) -> tuple[str, ...]:
    """The parameters of a method's own."""
    signature = inspect.signature(METHODS[kind][method])
    return tuple(name for name, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY)


def defaults(kind: str, method: str) -> dict[str, Any]:
    """The parameters of a method with the values they have unless told."""
    signature = inspect.signature(METHODS[kind][method])
    return {name: signature.parameters[name].default for name in parameters(kind, method)}


def check(step: Step) -> list[str]:
    """Everything in a step that the engine cannot carry out."""
    methods = step.method if isinstance(step.method, tuple) else (step.method,)
    if step.kind != "aggregate" and isinstance(step.method, tuple):
        return [f"{step.kind}: only aggregation takes a list of methods, one per level"]
    faults = _unknown_methods(step.kind, methods) or _unknown_parameters(step.kind, methods, step.params)
    if step.each and step.kind not in EXCEPTIONS:
        return [
            *faults,
            f"{step.kind}: exceptions by element (each) are allowed in {choices(list(EXCEPTIONS))}",
        ]
    return faults + [
        f"each {code}: {fault}" for code, entry in step.each.items() for fault in _check_entry(step, entry)
    ]


def exception(step: Step, code: str) -> tuple[str, Mapping[str, Any]]:
    """Method and parameters that an element's exception asks for."""
    entry = step.each[code]
    if isinstance(entry, str):
        return entry, {}
    params = {name: value for name, value in entry.items() if name != "method"}
    method = entry.get("method", step.method)
    return method, ({**step.params, **params} if method == step.method else params)


def _check_entry(step: Step, entry: Any) -> list[str]:
    if not isinstance(entry, (str, Mapping)):
        return ["an exception is a method, or a mapping of parameters"]
    method = entry if isinstance(entry, str) else entry.get("method", step.method)
    params = () if isinstance(entry, str) else [name for name in entry if name != "method"]
    return _unknown_methods(step.kind, (method,)) or _unknown_parameters(step.kind, (method,), params)


def _unknown_methods(kind: str, methods: tuple[str, ...]) -> list[str]:
    known = METHODS[kind]
    return [
        f"{kind}: {m} is not a method; allowed are {choices(list(known))}" for m in methods if m not in known
    ]


def _unknown_parameters(kind: str, methods: tuple[str, ...], params: Iterable[str]) -> list[str]:
    known = {name for method in methods for name in parameters(kind, method)} | SHARED[kind]
    label = f"{kind} {', '.join(methods)}"
    return [
        f"{label}: {p} is not a parameter; allowed are {choices(list(known))}"
        for p in params
        if p not in known
    ]
