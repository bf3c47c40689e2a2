"""What an index measures: elements in a hierarchy with units, limits, targets, tiers, weights, sources."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autocity.index.faults import IndexFault, choices, refuse
from autocity.index.plain import pack, schema, unpack
from autocity.index.recipe import Recipe

FORMAT = "autocity-framework-1"

Text = str | dict[str, str]
"""A text, or its translations by language tag."""

Confidence = Literal["primary", "secondary", "unconfirmed", "unpublished", "chosen"]
"""primary: read in the owner's publication; secondary: reported by others; unconfirmed: not traced to a
document; unpublished: the owner has not published it, so the place is empty; chosen: an assumption of this
file."""


@dataclass(frozen=True)
class Source:
    """Where a statement comes from."""

    title: Text
    publisher: str | None = None
    date: str | None = None
    url: str | None = None
    licence: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Limits:
    """Fixed ends of the scale of an indicator, in its own unit."""

    low: float
    high: float
    log: bool = False
    clip: bool = True


@dataclass(frozen=True)
class Tier:
    """A stage of a standard; tiers are listed from the lowest to the highest."""

    code: str
    name: Text


@dataclass(frozen=True)
class Element:
    """An indicator (it has no children) or an aggregate of the elements that name it as parent.

    `tiers` holds one threshold per tier of the framework: a number in the unit of the indicator, one of its
    `categories` (listed from worst to best), or null where none is published.
    `availability` is the share of children an aggregate needs; `scale` multiplies the denominated value.
    """

    code: str
    name: Text
    parent: str | None = None
    direction: Literal[1, -1] = 1
    unit: str | None = None
    weight: float = 1.0
    limits: Limits | None = None
    target: float | None = None
    tiers: tuple[float | str | None, ...] = ()
    categories: tuple[str, ...] = ()
    denominator: str | None = None
    scale: float = 1.0
    availability: float | None = None
    source: str | None = None
    confidence: Confidence = "chosen"
    note: Text | None = None
    parameters: dict[str, float | str | bool | None] = field(default_factory=dict)

    def label(self, language: str = "en") -> str:
        """The name in a language, else in English, else in any."""
        return label(self.name, language)

    @property
    def published(self) -> bool:
        """False for a place that its owner has not published."""
        return self.confidence != "unpublished"


@dataclass(frozen=True)
class Framework:
    """A set of elements with their rules; `recipe` is how its owner calculates it."""

    code: str
    name: Text
    elements: tuple[Element, ...]
    format: str = FORMAT
    version: str = "1"
    description: Text | None = None
    levels: tuple[Text, ...] = ()
    tiers: tuple[Tier, ...] = ()
    scored: bool = True
    group: str | None = None
    availability: float = 0.0
    sources: dict[str, Source] = field(default_factory=dict)
    recipe: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        refuse(_faults(self))

    def __getitem__(self, code: str) -> Element:
        try:
            return self._by_code[code]
        except KeyError:
            raise IndexFault(f"{code} is not an element of {self.code}") from None

    def __contains__(self, code: object) -> bool:
        return code in self._by_code

    @functools.cached_property
    def _by_code(self) -> dict[str, Element]:
        return {element.code: element for element in self.elements}

    @functools.cached_property
    def children(self) -> dict[str, tuple[str, ...]]:
        """Code of each aggregate -> codes of its children, in the order of the file."""
        found: dict[str, list[str]] = {}
        for element in self.elements:
            if element.parent is not None:
                found.setdefault(element.parent, []).append(element.code)
        return {code: tuple(codes) for code, codes in found.items()}

    @functools.cached_property
    def level(self) -> dict[str, int]:
        """Level of each element: 1 for an indicator, one more than its highest child for an aggregate."""
        found: dict[str, int] = {}

        def measure(code: str) -> int:
            if code not in found:
                found[code] = 1 + max((measure(child) for child in self.children.get(code, ())), default=0)
            return found[code]

        for element in self.elements:
            measure(element.code)
        return found

    @functools.cached_property
    def indicators(self) -> tuple[str, ...]:
        """Codes of the indicators, in the order of the file."""
        return tuple(element.code for element in self.elements if element.code not in self.children)

    @functools.cached_property
    def aggregates(self) -> tuple[str, ...]:
        """Codes of the aggregates, lowest level first, in the order of the file inside a level."""
        return tuple(
            sorted((e.code for e in self.elements if e.code in self.children), key=self.level.__getitem__)
        )

    @property
    def height(self) -> int:
        """The number of levels."""
        return max(self.level.values())

    @functools.cached_property
    def root(self) -> str:
        """The highest aggregate: what is ranked unless another element is asked for."""
        return self.aggregates[-1] if self.aggregates else self.indicators[0]

    def at(self, level: int) -> tuple[str, ...]:
        """Codes of the elements of one level, in the order of the file."""
        return tuple(element.code for element in self.elements if self.level[element.code] == level)

    def indicators_of(self, code: str) -> tuple[str, ...]:
        """Codes of the indicators under an element (itself, if it is one)."""
        below = self.children.get(code)
        if below is None:
            return (self[code].code,)
        return tuple(indicator for child in below for indicator in self.indicators_of(child))

    def lineage(self, code: str) -> tuple[str, ...]:
        """The element and everything above it, upwards."""
        parent = self[code].parent
        return (code,) if parent is None else (code, *self.lineage(parent))

    def effective_weights(self, weights: Mapping[str, float] | None = None) -> dict[str, float]:
        """Share of each element in the whole: weights scaled to 1 among siblings, times the parent's
        share."""
        given = {e.code: e.weight for e in self.elements} | dict(weights or {})
        roots = [element.code for element in self.elements if element.parent is None]
        shares: dict[str, float] = {}

        def share_out(codes: Sequence[str], whole: float) -> None:
            total = sum(given[code] for code in codes)
            for code in codes:
                shares[code] = whole * given[code] / total if total else float("nan")
                share_out(self.children.get(code, ()), shares[code])

        share_out(roots, 1.0)
        return {element.code: shares[element.code] for element in self.elements}

    def but(self, changes: Mapping[str, Mapping[str, Any]]) -> Framework:
        """The same framework with some fields of some elements replaced."""
        refuse([f"{code} is not an element of {self.code}" for code in changes if code not in self])
        changed = (dataclasses.replace(e, **changes.get(e.code, {})) for e in self.elements)
        return dataclasses.replace(self, elements=tuple(changed))

    def without(self, codes: Iterable[str]) -> Framework:
        """The same framework without some elements, what is below them, and aggregates that are left
        empty."""
        gone = set(codes)
        refuse([f"{code} is not an element of {self.code}" for code in sorted(gone) if code not in self])
        gone |= {e.code for e in self.elements if gone.intersection(self.lineage(e.code))}
        kept = {i for i in self.indicators if i not in gone}
        alive = {code for indicator in kept for code in self.lineage(indicator)}
        if not alive:
            raise IndexFault("an index needs at least one indicator")
        return dataclasses.replace(self, elements=tuple(e for e in self.elements if e.code in alive))

    def default_recipe(self) -> Recipe:
        """How the owner of the framework calculates it, else the usual recipe."""
        return Recipe.from_plain(self.recipe) if self.recipe else Recipe.of()

    def dumps(self, form: Literal["json", "yaml"] = "json") -> str:
        """The framework as text; `loads` gives back an equal framework."""
        plain = {"format": self.format, **pack(self)}
        if form == "json":
            return json.dumps(plain, ensure_ascii=False, indent=1) + "\n"
        import yaml

        text = str(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=110))
        # YAML folds some rare line separators when they are written as themselves: escape everything then.
        return text if yaml.safe_load(text) == plain else str(yaml.safe_dump(plain, sort_keys=False))

    @classmethod
    def loads(cls, text: str, form: Literal["json", "yaml"] = "json") -> Framework:
        """The framework in a text. Raises `IndexFault` with every fault by its place in the file."""
        faults: list[str] = []
        framework = unpack(cls, _parse(text, form), "framework", faults)
        refuse(faults)
        assert isinstance(framework, cls)
        return framework

    @classmethod
    def load(cls, path: str | Path) -> Framework:
        """The framework in a .json, .yaml or .yml file."""
        path = Path(path)
        return cls.loads(path.read_text("utf-8"), _form(path))

    def save(self, path: str | Path) -> None:
        """Write the framework as .json, .yaml or .yml."""
        path = Path(path)
        path.write_text(self.dumps(_form(path)), "utf-8")

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """JSON Schema (2020-12) of a framework file."""
        return schema(cls)


def label(text: Text, language: str = "en") -> str:
    """A text in a language, else in English, else in any."""
    if isinstance(text, str):
        return text
    return text.get(language) or text.get("en") or next(iter(text.values()), "")


def _form(path: Path) -> Literal["json", "yaml"]:
    return "json" if path.suffix == ".json" else "yaml"


def _parse(text: str, form: str) -> Any:
    try:
        if form == "json":
            return json.loads(text)
        import yaml

        return yaml.safe_load(text)
    except ValueError as error:
        raise IndexFault(f"the framework is not valid JSON: {error}") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "yaml":
            raise
        raise IndexFault(f"the framework is not valid YAML: {error}") from None


def _faults(framework: Framework) -> list[str]:
    """Everything in a framework that contradicts itself."""
    if framework.format != FORMAT:
        return [f"format {framework.format} is not known; this engine reads {FORMAT}"]
    counted = Counter(element.code for element in framework.elements)
    faults = [f"{code} is the code of {count} elements" for code, count in counted.items() if count > 1]
    faults += [
        fault for element in framework.elements for fault in _element_faults(framework, element, counted)
    ]
    return faults or (["the framework has no element"] if not framework.elements else _cycles(framework))


def _element_faults(framework: Framework, element: Element, known: Mapping[str, int]) -> list[str]:
    code = element.code
    checks = {
        f"{code}: parent {element.parent} is not an element": element.parent is None
        or element.parent in known,
        f"{code}: weight {element.weight} is below zero": element.weight >= 0,
        f"{code}: source {element.source} is not among the sources of the framework": (
            element.source is None or element.source in framework.sources
        ),
        f"{code}: has {len(element.tiers)} tier thresholds, the framework {len(framework.tiers)} tiers": (
            len(element.tiers) in (0, len(framework.tiers))
        ),
        f"{code}: scale is zero": element.scale != 0,
    }
    faults = [fault for fault, fine in checks.items() if not fine]
    return faults + _limit_faults(code, element.limits) + _tier_faults(element)


def _limit_faults(code: str, limits: Limits | None) -> list[str]:
    if limits is None:
        return []
    if limits.low >= limits.high:
        return [f"{code}: the low limit {limits.low:g} is not below the high limit {limits.high:g}"]
    return [f"{code}: limits on a log scale are above zero"] if limits.log and limits.low <= 0 else []


def _tier_faults(element: Element) -> list[str]:
    named = [t for t in element.tiers if isinstance(t, str)]
    faults = [
        f"{element.code}: {t} is not one of its categories ({choices(element.categories)})"
        for t in named
        if t not in element.categories
    ]
    if faults:
        return faults
    order = {category: position for position, category in enumerate(element.categories)}
    ladder = [
        order[t] if isinstance(t, str) else t * element.direction for t in element.tiers if t is not None
    ]
    return (
        [] if ladder == sorted(ladder) else [f"{element.code}: a higher tier asks for less than a lower one"]
    )


def _cycles(framework: Framework) -> list[str]:
    parents = {element.code: element.parent for element in framework.elements}
    for code in parents:
        seen, current = {code}, parents[code]
        while current is not None:
            if current in seen:
                return [f"{code}: is its own ancestor"]
            seen.add(current)
            current = parents[current]
    return []
