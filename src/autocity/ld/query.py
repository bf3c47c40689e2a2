"""One query tree: parsed from the languages of the standard (4.9, 4.10, 4.17, 4.19), read by the
matcher here and by the SQL compiler of the stores. A property test says that the two agree."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from autocity.model import Entity

Compare = Literal["==", "!=", ">", ">=", "<", "<=", "~=", "!~="]


class Path(Struct, frozen=True):
    """An attribute path (4.9): attribute IRI, sub-attribute IRIs, then keys inside the value
    (`a.b[c.d]`: names ("A","B"), inside ("c","d")). System names (`createdAt`, `modifiedAt`,
    `observedAt`, `unitCode`, `datasetId` …) may stand last in `names`, unexpanded.
    `through` is the path in the entity that the Relationship `names` links to (`a{T:b}`), and
    `types` of that path are the types (T) hinted for it."""

    names: tuple[str, ...]
    inside: tuple[str, ...] = ()
    through: Path | None = None
    types: tuple[str, ...] = ()


class Temporal(Struct, frozen=True):
    """A date-time, date or time (4.6.3): microseconds since 1970, days since 1970, microseconds since
    midnight. The three are different data types and never compare with each other (4.9)."""

    kind: Literal["DateTime", "Date", "Time"]
    value: int


Scalar = str | int | float | bool | Temporal
"""A constant of a query: quoted string or URI, number, boolean, unquoted date or time."""


class Exists(Struct, frozen=True, tag=True, tag_field="node"):
    """The path leads to something."""

    path: Path


class Comparison(Struct, frozen=True, tag=True, tag_field="node"):
    """The value at the path compared with constants. One value, a list (`a==1,2`) or a range
    (`a==1..5`). For `~=` and `!~=` the one value is a regular expression."""

    path: Path
    operator: Compare
    values: tuple[Scalar, ...] = ()
    range: tuple[Scalar, Scalar] | None = None


class And(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Node, ...]


class Or(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Node, ...]


class Not(Struct, frozen=True, tag=True, tag_field="node"):
    part: Node


Node = Exists | Comparison | And | Or | Not


class TypeIs(Struct, frozen=True, tag=True, tag_field="node"):
    """The entity has this type (an IRI); leaf of a type selection (4.17), joined by And and Or."""

    type: str


class ScopeIs(Struct, frozen=True, tag=True, tag_field="node"):
    """The entity has a scope that fits (4.19): levels, `+` for any one level, a last `#` for this
    scope and everything below it. Leaf of a scope query, joined by And and Or."""

    levels: tuple[str, ...]


class AllOf(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Select, ...]


class AnyOf(Struct, frozen=True, tag=True, tag_field="node"):
    parts: tuple[Select, ...]


Select = TypeIs | ScopeIs | AllOf | AnyOf


class Geo(Struct, frozen=True):
    """A geo query (4.10). `geometry` is GeoJSON; `property` an IRI. `min_distance` and
    `max_distance` in metres belong to `near`."""

    relation: Literal["near", "within", "contains", "intersects", "equals", "disjoint", "overlaps"]
    geometry: dict[str, Any]
    property: str = "https://uri.etsi.org/ngsi-ld/location"
    min_distance: float | None = None
    max_distance: float | None = None


class Selector(Struct, frozen=True):
    """Which entities (4.7, 5.2.8, 5.2.33): ids, a pattern of ids, a type selection; all that are given must hold."""

    ids: tuple[str, ...] = ()
    id_pattern: str | None = None
    types: Select | None = None


class Order(Struct, frozen=True):
    """One key of the requested order (4.23): a path (`id`, `type`, `createdAt` … stand unexpanded), or
    with `geometry` the distance of the GeoProperty at the path from that GeoJSON geometry."""

    path: Path
    descending: bool = False
    collation: str | None = None
    geometry: dict[str, Any] | None = None


class Query(Struct, frozen=True):
    """A whole query (5.7.2). Several selectors: any of them. Empty: every entity.
    `attributes`: IRIs of which the entity must have at least one, in a dataset of `dataset_ids`
    ("@none": the default one) when those are given."""

    selectors: tuple[Selector, ...] = ()
    q: Node | None = None
    scopes: Select | None = None
    geo: Geo | None = None
    attributes: tuple[str, ...] = ()
    dataset_ids: tuple[str, ...] = ()
    order: tuple[Order, ...] = ()
    limit: int = 20
    offset: int = 0
    count: bool = False


Expand = Callable[[str], str]
"""Short name to IRI: the `expand` of the request's context."""

Resolve = Callable[[str], Entity | None]
"""Entity id to entity, for queries that follow links; None when there is no such entity at hand."""


def parse_q(text: str, expand: Expand, *, expand_values: Collection[str] = ()) -> Node:
    """Parse `q` (4.9). `expand_values`: IRIs of attributes whose constants are names to expand.

    Raises `errors.BadRequestData` with position and mend, `errors.TooComplexQuery` past the bounds.
    """
    raise NotImplementedError


def parse_types(text: str, expand: Expand) -> Select | None:
    """Parse a type selection (4.17); None for `*`, which asks nothing."""
    raise NotImplementedError


def parse_scope(text: str) -> Select:
    """Parse `scopeQ` (4.19)."""
    raise NotImplementedError


def parse_order(
    text: str,
    expand: Expand,
    *,
    collation: str | None = None,
    order_from: Any = None,
    order_geometry: str = "Point",
) -> tuple[Order, ...]:
    """Parse `orderBy` (4.23). `order_from`: coordinates (JSON text or decoded) that `dist-asc` measures from."""
    raise NotImplementedError


class Fact(NamedTuple):
    """One scalar that a path leads to. `whole`: it is the value itself, not an element of an array or a
    URI of a relationship, so the ordering and pattern operators apply to it."""

    value: Scalar
    whole: bool = True


def facts(path: Path, entity: Entity) -> list[Fact]:
    """Every scalar at the path, over all instances, array elements and languages.

    What a lookup index keeps. A string that is a date or time (4.6.3) gives two facts, the string
    and the `Temporal`. An `==` (value, list, range) matches exactly when one fact does; an ordering
    comparison when one `whole` fact of the same data type does; `!=` needs the matcher.
    """
    raise NotImplementedError


def matcher(query: Query, resolve: Resolve | None = None) -> Callable[[Entity], bool]:
    """The query as a function, compiled once. Tells whether an entity belongs to the answer;
    `limit`, `offset`, `order` and time of expiry are not its matter."""
    raise NotImplementedError


def matches(query: Query, entity: Entity, resolve: Resolve | None = None) -> bool:
    """Whether the entity belongs to the answer of the query."""
    return matcher(query, resolve)(entity)


def matches_q(node: Node, entity: Entity, resolve: Resolve | None = None) -> bool:
    """Whether the entity satisfies a parsed `q`."""
    raise NotImplementedError


def sort(entities: Iterable[Entity], order: tuple[Order, ...]) -> list[Entity]:
    """Entities in the order asked for (4.23.2: data types in a fixed order, the absent last); stable."""
    raise NotImplementedError


def id_pattern(text: str) -> Callable[[str], bool]:
    """A compiled `idPattern`: whether the regular expression is found anywhere in an id.

    Raises `errors.BadRequestData`. Matching time is linear in the id, whatever the pattern.
    """
    raise NotImplementedError
