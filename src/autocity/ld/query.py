"""One query tree: parsed from the languages of the standard (4.9, 4.10, 4.17, 4.19), read by the
matcher here and by the SQL compiler of the stores. A property test says that the two agree."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

Compare = Literal["==", "!=", ">", ">=", "<", "<=", "~=", "!~="]


class Path(Struct, frozen=True):
    """An attribute path (4.9): attribute IRI, sub-attribute IRIs, then keys inside the value
    (`a.b[c.d]`: names ("A","B"), inside ("c","d")). System names (`createdAt`, `modifiedAt`,
    `observedAt`, `unitCode`, `datasetId` …) may stand last in `names`, unexpanded.
    `through` holds what follows a link into another entity (`a{Type}.b`), v1.8 and later."""

    names: tuple[str, ...]
    inside: tuple[str, ...] = ()
    through: Path | None = None


class Exists(Struct, frozen=True, tag=True):
    """The path leads to something."""

    path: Path


class Comparison(Struct, frozen=True, tag=True):
    """The value at the path compared with constants. One value, a list (`a==1,2`) or a range
    (`a==1..5`). `temporal` says that the constants were unquoted dates or times."""

    path: Path
    operator: Compare
    values: tuple[Any, ...] = ()
    range: tuple[Any, Any] | None = None
    temporal: bool = False


class And(Struct, frozen=True, tag=True):
    parts: tuple[Node, ...]


class Or(Struct, frozen=True, tag=True):
    parts: tuple[Node, ...]


class Not(Struct, frozen=True, tag=True):
    part: Node


Node = Exists | Comparison | And | Or | Not


class TypeIs(Struct, frozen=True, tag=True):
    """The entity has this type (an IRI); leaf of a type selection (4.17), joined by And and Or."""

    type: str


class ScopeIs(Struct, frozen=True, tag=True):
    """The entity has a scope that fits (4.19): levels, `+` for any one level, a last `#` for this
    scope and everything below it. Leaf of a scope query, joined by And and Or."""

    levels: tuple[str, ...]


class AllOf(Struct, frozen=True, tag=True):
    parts: tuple[Select, ...]


class AnyOf(Struct, frozen=True, tag=True):
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
    """One key of the requested order (4.23): a path or id/type/createdAt/modifiedAt/distance."""

    path: Path
    descending: bool = False
    collation: str | None = None


class Query(Struct, frozen=True):
    """A whole query (5.7.2). Several selectors: any of them. Empty: every entity.
    `attributes`: IRIs of which the entity must have at least one.
    `order_geometry`: what `dist-asc`/`dist-desc` orders by."""

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
