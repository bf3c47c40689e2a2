"""What is asked, in the terms of `ld`: parameters (6.4.3.2) and Query bodies (5.2.23) made query and view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from autocity import errors
from autocity.api.negotiate import DEFAULT_LIMIT, GEO, Shape, is_uri
from autocity.ld.context import Context
from autocity.ld.entity import LOCATION, Form, Projection, View, parse_projection
from autocity.ld.geo import parse_geo
from autocity.ld.query import (
    And,
    Comparison,
    Exists,
    Geo,
    Node,
    Not,
    Or,
    Path,
    Query,
    Select,
    Selector,
    id_pattern,
    parse_order,
    parse_q,
    parse_scope,
    parse_types,
)

FORMS: dict[str, Form] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
"""What `format` and `options` may call a representation (6.3.7)."""

SYSTEM = frozenset(("createdAt", "modifiedAt", "deletedAt", "observedAt", "expiresAt"))
"""Members that alone do not narrow a query (5.7.2.4)."""


class Linked(NamedTuple):
    """How linked entities are retrieved (4.5.23): `flat`, `inline` or not, how deep, and which are known."""

    how: str = "@none"
    level: int = 1
    contained_by: tuple[str, ...] = ()


UNLINKED = Linked()


def form_of(values: Mapping[str, Any]) -> Form:
    """The representation asked for; `format` takes precedence over `options` (6.3.7)."""
    if "format" in values:
        return FORMS.get(values["format"], "normalized")
    return next((FORMS[word] for word in FORMS if word in values.get("options", ())), "normalized")


def view_of(values: Mapping[str, Any], context: Context, shape: Shape) -> View:
    """How the entities of an answer are shown. Raises `BadRequestData`."""
    if not values:
        return View(context=context, embed=shape.embed)
    pick, omit = _projection(values, "pick", context), _projection(values, "omit", context)
    if "attrs" in values and (pick or omit):
        raise errors.BadRequestData("attrs goes with neither pick nor omit; pick does what attrs did")
    if pick and omit and pick.members.keys() & omit.members.keys():
        raise errors.BadRequestData("a member cannot be in both pick and omit")
    _check_depth(linked_of(values), pick, omit)
    geometry = values.get("geometryProperty")
    if geometry is not None and shape.media is not GEO:
        raise errors.BadRequestData(f"geometryProperty needs Accept: {GEO}")
    return View(
        context=context,
        form=form_of(values),
        sys_attrs="sysAttrs" in values.get("options", ()),
        attributes=frozenset(map(context.expand, values.get("attrs", ()))),
        pick=pick,
        omit=omit,
        dataset_ids=frozenset(values.get("datasetId", ())),
        lang=values.get("lang"),
        geometry_property=LOCATION if geometry is None else context.expand(geometry),
        embed=shape.embed,
    )


def linked_of(values: Mapping[str, Any]) -> Linked:
    """How linked entities are retrieved. Raises `BadRequestData` for a level without a join."""
    if not values:
        return UNLINKED
    how = values.get("join", "@none")
    if how == "@none" and ("joinLevel" in values or "containedBy" in values):
        raise errors.BadRequestData("joinLevel and containedBy need join=flat or join=inline")
    return Linked(how, values.get("joinLevel", 1), tuple(values.get("containedBy", ())))


def query_of(values: Mapping[str, Any], context: Context) -> Query:
    """The query of 5.7.2. Raises `BadRequestData`, also for one that is too wide (5.7.2.4)."""
    expand = context.expand
    q = _q(values, context)
    if "csf" in values:
        parse_q(values["csf"], expand)
    selectors = selectors_of(values, context)
    where = geo_of(values, context)
    attributes = tuple(map(expand, values.get("attrs", ()))) or _picked(values, context)
    if not _narrow(values, selectors, q, where is not None):
        raise errors.BadRequestData(
            "the query is too wide; give type, attrs, q or georel, or local=true to ask this platform for all"
        )
    linked = linked_of(values)
    if q is not None and (depth := _depth_of(q)) > (linked.level if linked.how != "@none" else 0):
        raise errors.BadRequestData(f"q follows links {depth} deep; it needs join and a joinLevel like that")
    limit = values.get("limit", DEFAULT_LIMIT)
    return Query(
        selectors=selectors,
        q=q,
        scopes=parse_scope(values["scopeQ"]) if "scopeQ" in values else None,
        geo=where,
        attributes=attributes,
        dataset_ids=tuple(values.get("datasetId", ())) if attributes else (),
        order=order_of(values, context),
        limit=limit,
        offset=values.get("offset", 0),
        count=values.get("count", False),
    )


def selectors_of(values: Mapping[str, Any], context: Context) -> tuple[Selector, ...]:
    """Which entities: those of a Query body (5.2.33), or the one that id, idPattern and type make."""
    if "entities" in values:
        return tuple(_entity_selector(item, context) for item in values["entities"])
    if not values.keys() & {"id", "idPattern", "type"}:
        return ()
    return (_selector(values.get("id", ()), values.get("idPattern"), values.get("type"), context),)


def types_of(values: Mapping[str, Any], context: Context) -> Select | None:
    """The type selection (4.17) that the target of an operation must satisfy."""
    return parse_types(values["type"], context.expand) if "type" in values else None


def geo_of(values: Mapping[str, Any], context: Context) -> Geo | None:
    """The geo query (4.10). Raises `BadRequestData` unless its three parts come together."""
    parts = [values.get(name) for name in ("georel", "geometry", "coordinates")]
    if parts == [None, None, None]:
        return None
    if None in parts:
        raise errors.BadRequestData("a geo query needs georel, geometry and coordinates together")
    return parse_geo(str(parts[0]), str(parts[1]), parts[2], values.get("geoproperty"), context.expand)


def order_of(values: Mapping[str, Any], context: Context) -> tuple[Any, ...]:
    """The order asked for (4.23)."""
    if "orderBy" not in values:
        if values.keys() & {"collation", "orderFrom", "orderGeometry"}:
            raise errors.BadRequestData("collation, orderFrom and orderGeometry need orderBy")
        return ()
    return parse_order(
        values["orderBy"],
        context.expand,
        collation=values.get("collation"),
        order_from=values.get("orderFrom"),
        order_geometry=values.get("orderGeometry", "Point"),
    )


def _projection(values: Mapping[str, Any], name: str, context: Context) -> Projection | None:
    return parse_projection(values[name], context) if name in values else None


def _picked(values: Mapping[str, Any], context: Context) -> tuple[str, ...]:
    """Attributes of which an entity must have one to be shown at all: pick names nothing that all have."""
    pick = _projection(values, "pick", context)
    if pick is None or not pick.members.keys().isdisjoint(("id", "type", "scope")):
        return ()
    return tuple(pick.members)


def _check_depth(linked: Linked, *projections: Projection | None) -> None:
    """A projection reaches no deeper than linked retrieval does (5.7.1.4)."""
    deepest = max((_projected(each) for each in projections if each), default=0)
    if deepest > (linked.level if linked.how != "@none" else 0):
        raise errors.BadRequestData(
            f"the projection follows links {deepest} deep; it needs join and a joinLevel like that"
        )


def _projected(projection: Projection) -> int:
    return max((1 + _projected(inner) for inner in projection.members.values() if inner), default=0)


def _q(values: Mapping[str, Any], context: Context) -> Node | None:
    if "q" not in values:
        return None
    expanded = tuple(map(context.expand, values.get("expandValues", ())))
    return parse_q(values["q"], context.expand, expand_values=expanded)


def _selector(ids: tuple[str, ...], pattern: str | None, types: str | None, context: Context) -> Selector:
    if pattern is not None:
        id_pattern(pattern)
    return Selector(
        ids=ids,
        id_pattern=pattern,
        types=parse_types(types, context.expand) if types is not None else None,
    )


def _entity_selector(item: Any, context: Context) -> Selector:
    """One EntitySelector of a Query body (5.2.33)."""
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        raise errors.BadRequestData("entities: each element is an object that has at least a type")
    unknown = item.keys() - {"id", "idPattern", "type"}
    if unknown:
        raise errors.BadRequestData(f"entities: {', '.join(sorted(unknown))} is not a member of a selector")
    given = item.get("id", [])
    ids = tuple(given) if isinstance(given, list) else (given,)
    if not all(isinstance(id, str) and is_uri(id) for id in ids):
        raise errors.BadRequestData("entities: id must be a URI or an array of URIs")
    pattern = item.get("idPattern")
    if pattern is not None and not isinstance(pattern, str):
        raise errors.BadRequestData("entities: idPattern must be a string")
    # An id takes precedence over a pattern (5.2.33).
    return _selector(ids, None if ids else pattern, item["type"], context)


def _narrow(
    values: Mapping[str, Any], selectors: tuple[Selector, ...], q: Node | None, located: bool
) -> bool:
    """Whether a query says enough to be answered (5.7.2.4); `type=*` implies the local scope (6.4.3.2)."""
    every = any(item.get("type") == "*" for item in values.get("entities", ())) or values.get("type") == "*"
    if every and values.get("local") is False:
        raise errors.BadRequestData("type=* asks this platform only; leave local=false away")
    names = [*values.get("attrs", ()), *(path.names[0] for path in paths(q))]
    return (
        located
        or every
        or values.get("local", False)
        or any(selector.types is not None for selector in selectors)
        or any(name not in SYSTEM for name in names)
    )


def paths(node: Node | None) -> Iterator[Path]:
    """Every attribute path that a query reads."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from paths(part)
        case Not(part):
            yield from paths(part)
        case Exists(path) | Comparison(path):
            yield path


def _depth_of(q: Node) -> int:
    return max((_links(path) for path in paths(q)), default=0)


def _links(path: Path) -> int:
    return 0 if path.through is None else 1 + _links(path.through)


# -- Query bodies (5.2.23)

_STRINGS = ("q", "csf", "scopeQ", "lang", "join")
_LISTS = ("attrs", "datasetId", "containedBy")
_PROJECTIONS = ("pick", "omit")
_NAMES = ("expandValues", "jsonKeys")
_MEMBERS = frozenset(
    (
        "type", "entities", "geoQ", "temporalQ", "aggrParams", "joinLevel", "ordering", "splitEntities",
        *_STRINGS, *_LISTS, *_PROJECTIONS, *_NAMES,
    )
)  # fmt: skip


def from_body(body: dict[str, Any]) -> dict[str, Any]:
    """The members of a Query as parameters of the same meaning. Raises one `BadRequestData` for all."""
    faults = [f"{name} is not a member of a Query" for name in sorted(body.keys() - _MEMBERS)]
    if body.get("type") != "Query":
        faults.append('type must be "Query"')
    values: dict[str, Any] = {}
    for name in _STRINGS:
        _take(body, name, values, faults, str, "a string")
    for name in _LISTS + _PROJECTIONS:
        _take_list(body, name, values, faults)
    for name in _NAMES:
        _take(body, name, values, faults, str, "a string with a comma-separated list")
        if name in values:
            values[name] = tuple(item.strip() for item in values[name].split(","))
    _take(body, "splitEntities", values, faults, bool, "true or false")
    _take(body, "joinLevel", values, faults, int, "a whole number")
    if "joinLevel" in values and not 1 <= values["joinLevel"] <= 10:
        faults.append("joinLevel must be 1 to 10")
    if values.get("join", "flat") not in ("flat", "inline", "@none"):
        faults.append("join must be flat, inline or @none")
    if "entities" in body:
        values["entities"] = body["entities"]
        if not isinstance(body["entities"], list) or not body["entities"]:
            faults.append("entities must be an array with at least one element")
    for name, members in _NESTED.items():
        _take_members(body, name, members, values, faults)
    if faults:
        raise errors.BadRequestData("; ".join(faults))
    for name in _PROJECTIONS:
        if name in values:
            values[name] = ",".join(values[name])
    if "aggrMethods" in values:
        # Who sends aggregation parameters wants aggregates, though no format says so.
        values["format"] = "aggregatedValues"
    return values


def _take(
    body: dict[str, Any], name: str, values: dict[str, Any], faults: list[str], kind: type, what: str
) -> None:
    if name not in body:
        return
    if not isinstance(body[name], kind) or (kind is int and isinstance(body[name], bool)) or body[name] == "":
        faults.append(f"{name} must be {what}")
    else:
        values[name] = body[name]


def _take_list(body: dict[str, Any], name: str, values: dict[str, Any], faults: list[str]) -> None:
    if name not in body:
        return
    items = body[name]
    if not isinstance(items, list) or not items or not all(isinstance(item, str) and item for item in items):
        faults.append(f"{name} must be an array of strings with at least one element")
    else:
        values[name] = tuple(items)


def _take_members(
    body: dict[str, Any], name: str, members: dict[str, str], values: dict[str, Any], faults: list[str]
) -> None:
    """Spread the members of a nested object over the values, each under its parameter's name."""
    if name not in body:
        return
    inner = body[name]
    if not isinstance(inner, dict):
        faults.append(f"{name} must be an object")
        return
    faults += [f"{name}.{key} is not known" for key in sorted(inner.keys() - members.keys() - {"type"})]
    for key in inner.keys() & members.keys():
        value, parameter = inner[key], members[key]
        if parameter in ("aggrMethods", "orderBy") and isinstance(value, list):
            value = ",".join(map(str, value))
        if isinstance(value, _KINDS.get(parameter, str)) and not isinstance(value, bool):
            values[parameter] = value
        else:
            faults.append(f"{name}.{key} is of the wrong kind")


_NESTED: dict[str, dict[str, str]] = {
    "geoQ": {name: name for name in ("georel", "geometry", "coordinates", "geoproperty")},
    "temporalQ": {name: name for name in ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN")},
    "aggrParams": {name: name for name in ("aggrMethods", "aggrPeriodDuration")},
    "ordering": {
        "orderBy": "orderBy",
        "collation": "collation",
        "coordinates": "orderFrom",
        "geometry": "orderGeometry",
    },
}
"""Objects inside a Query (5.2.13, 5.2.21, 5.2.44, 5.2.43) and the parameters that their members are."""

_KINDS: dict[str, Any] = {"lastN": int, "coordinates": str | list, "orderFrom": str | list}
