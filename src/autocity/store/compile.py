"""Queries as SQL: which rows can match, by the indexes there are, and whether they surely do.

A query is taken as conditions that must all hold. Each is first put to the *forms* (types and
attributes with their kinds, see `digest`): a form that no condition can be true of is left out, a
condition that is true of every form left needs no more looking. What remains is narrowed by sets of
rids out of the attribute index, the boxes and the scopes; and where a set is not the condition
itself but more, the plan says so and the language's matcher has the last word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from autocity.ld import geo, pattern
from autocity.ld.query import (
    AllOf,
    And,
    AnyOf,
    Comparison,
    Exists,
    Geo,
    Node,
    Not,
    Or,
    Path,
    Query,
    Scalar,
    ScopeIs,
    Select,
    Selector,
    TypeIs,
)
from autocity.model import Instant
from autocity.store.digest import MANY, PART, TEXT, Indexed, scalar

SMALL = 4096
"""A set of fewer rids than this is worth gathering; past it, going through a type in order is quicker."""

FAR = 1000
"""Beyond this many answers gathering a large set is quicker than looking at each entity before them."""

Verdict = bool | None
"""True: of every entity; False: of none; None: one has to look."""


class Form(NamedTuple):
    """What a number of entities look like without their values."""

    id: int
    types: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]


class Sql(NamedTuple):
    """A piece of SQL with the values bound to it."""

    text: str
    values: tuple[object, ...] = ()

    def then(self, other: Sql) -> Sql:
        return Sql(f"{self.text} {other.text}", self.values + other.values)


class Forms(NamedTuple):
    """The forms of a tenant, and those of each type."""

    all: Sequence[Form]
    of_type: Mapping[str, Sequence[Form]]

    def of(self, query: Query) -> Sequence[Form]:
        """The forms that the type of a query leaves, at a glance."""
        if len(query.selectors) == 1 and isinstance(types := query.selectors[0].types, TypeIs):
            return self.of_type.get(types.type, ())
        return self.all


class Bound(NamedTuple):
    """A condition on the entries of an attribute index (`digest.Key`). `values` are one, or two for
    "between". `parts`: also what is not the value itself (`digest.PART`). `sure`: it is the comparison
    itself, not more."""

    kind: int
    operator: str
    values: tuple[str | int | float, ...]
    parts: bool
    sure: bool


class Tables(Protocol):
    """Where databases differ: sets of entities of one tenant, each a SELECT of rids."""

    def named(self, ids: Sequence[str]) -> Sql:
        """Those of these ids."""

    def near(self, property: str, boxes: Sequence[geo.Box]) -> Sql:
        """At least those with a geometry of the property whose box meets one of the boxes."""

    def in_scope(self, scope: str) -> Sql:
        """Those of a scope, written without the first slash."""

    def below(self, scope: str) -> Sql:
        """Those of scopes below one, "" for all."""

    def compared(self, path: int, bounds: Sequence[Bound]) -> tuple[Sql, Sql]:
        """Those with an entry within a bound at an indexed path; and the same as a condition on `e.rid`.
        Entities of more entries than are kept are among them."""


class Schema(NamedTuple):
    """What a store knows that queries are compiled against."""

    forms: Forms
    paths: Mapping[Path, Indexed]
    tables: Tables


class Plan(Struct, frozen=True):
    """Where to look. `rows` follows `SELECT …`; `exact`: all of them match, nothing needs matching.
    `forms`, when given, tells that their entities are exactly the answer. `ids` tests an id before
    anything is decoded. `wanted`: paths whose index would have helped. `cost`: what the plan rests on."""

    rows: Sql
    order: str
    exact: bool
    forms: tuple[int, ...] | None = None
    wanted: tuple[Path, ...] = ()
    empty: bool = False


class Rids(NamedTuple):
    """A set of entities as a SELECT of rids. `exact`: the condition itself, not more than it.
    `seek`: the same as a condition on one rid, when that is one step in an index."""

    sql: Sql
    exact: bool
    seek: Sql | None = None


# -- forms


def judge(node: Node, form: Form) -> Verdict:
    """What a form tells of a `q` (4.9)."""
    match node:
        case Exists(path) | Comparison(path):
            if not _is_attribute(path.names[0]):
                return None
            if path.names[0] not in form.attributes:
                return False
            whole = len(path.names) == 1 and not path.inside and path.through is None
            return True if whole and isinstance(node, Exists) else None
        case And(parts):
            return _all(judge(part, form) for part in parts)
        case Or(parts):
            return _any(judge(part, form) for part in parts)
        case Not(part):
            verdict = judge(part, form)
            return None if verdict is None else not verdict


def judge_types(select: Select, form: Form) -> Verdict:
    """What a form tells of a type selection (4.17): everything."""
    match select:
        case TypeIs(type):
            return type in form.types
        case AllOf(parts):
            return _all(judge_types(part, form) for part in parts)
        case AnyOf(parts):
            return _any(judge_types(part, form) for part in parts)
        case ScopeIs():
            return None


def _judge_selector(selector: Selector, form: Form) -> Verdict:
    types = judge_types(selector.types, form) if selector.types else True
    return None if types and (selector.ids or selector.id_pattern) else types


def _judge_geo(query: Geo, form: Form) -> Verdict:
    return None if "GeoProperty" in form.attributes.get(query.property, ()) else False


def _all(verdicts: Iterable[Verdict]) -> Verdict:
    unsure = False
    for verdict in verdicts:
        if verdict is False:
            return False
        unsure = unsure or verdict is None
    return None if unsure else True


def _any(verdicts: Iterable[Verdict]) -> Verdict:
    unsure = False
    for verdict in verdicts:
        if verdict:
            return True
        unsure = unsure or verdict is None
    return None if unsure else False


def _is_attribute(name: str) -> bool:
    return ":" in name


# -- conditions


class Condition(NamedTuple):
    """One of the conditions of a query: what forms tell of it, and the rids it allows when that is known."""

    judge: Callable[[Form], Verdict]
    rids: Callable[[], Rids | None]


def _conditions(query: Query, schema: Schema) -> list[Condition]:
    found = []
    if query.selectors:
        found.append(
            Condition(
                lambda form: _any(_judge_selector(selector, form) for selector in query.selectors),
                lambda: _selected(query.selectors, schema.tables),
            )
        )
    if query.attributes:
        wanted = None if query.dataset_ids else True
        found.append(
            Condition(
                lambda form: wanted if any(a in form.attributes for a in query.attributes) else False,
                lambda: None,
            )
        )
    found += (Condition(partial(judge, part), partial(_looked, part, schema)) for part in _flat(query.q))
    if (scopes := query.scopes) is not None:
        found.append(Condition(lambda form: None, lambda: _scoped(scopes, schema.tables)))
    if (where := query.geo) is not None:
        found.append(Condition(lambda form: _judge_geo(where, form), lambda: _boxed(where, schema.tables)))
    return found


def _flat(node: Node | None) -> tuple[Node, ...]:
    match node:
        case None:
            return ()
        case And(parts):
            return tuple(leaf for part in parts for leaf in _flat(part))
        case _:
            return (node,)


def _selected(selectors: tuple[Selector, ...], tables: Tables) -> Rids | None:
    if not all(selector.ids for selector in selectors):
        return None
    # Forms have had their say on the types of one selector, but not on which of several an id belongs to.
    exact = len(selectors) == 1 or not any(selector.types for selector in selectors)
    return Rids(tables.named([id for selector in selectors for id in selector.ids]), exact)


def _boxed(query: Geo, tables: Tables) -> Rids | None:
    boxes = geo.search_boxes(query)
    return None if boxes is None else Rids(tables.near(query.property, boxes), exact=False)


def _scoped(select: Select, tables: Tables) -> Rids | None:
    match select:
        case ScopeIs(levels):
            fixed = levels[: next((i for i, level in enumerate(levels) if level in "+#"), len(levels))]
            return _below("/".join(fixed), levels[len(fixed) :], tables)
        case AllOf(parts):
            return _intersect([_scoped(part, tables) for part in parts])
        case AnyOf(parts):
            return _unite([_scoped(part, tables) for part in parts])
        case TypeIs():
            return None


def _below(scope: str, rest: tuple[str, ...], tables: Tables) -> Rids:
    here = tables.in_scope(scope)
    return Rids(union([here, tables.below(scope)]), exact=rest == ("#",)) if rest else Rids(here, exact=True)


# -- the attribute index


def _looked(node: Node, schema: Schema) -> Rids | None:
    match node:
        case Comparison(path):
            indexed = schema.paths.get(path)
            return (
                _compared(node, indexed, schema.tables)
                if indexed and indexed.ready and _sargable(node)
                else None
            )
        case And(parts):
            return _intersect([_looked(part, schema) for part in parts])
        case Or(parts):
            return _unite([_looked(part, schema) for part in parts])
        case _:
            return None


def _sargable(node: Comparison) -> bool:
    """Whether single facts decide it (`ld.query.facts`), in an order that the index knows."""
    if node.path.through is not None:
        return False
    if node.operator == "==" and node.range is None:
        return True
    bounds = node.range or node.values
    return node.operator in ("==", ">", ">=", "<", "<=") and not any(isinstance(one, bool) for one in bounds)


def wanted(query: Query) -> tuple[Path, ...]:
    """The paths whose index would serve the query."""
    return tuple(dict.fromkeys(path for part in _flat(query.q) for path in _wanted(part)))


def _wanted(node: Node) -> Iterable[Path]:
    match node:
        case Comparison(path) if _sargable(node):
            yield path
        case And(parts) | Or(parts):
            for part in parts:
                yield from _wanted(part)
        case _:
            pass


def attributes_of(query: Query) -> frozenset[str]:
    """The attributes that one must know to tell whether an entity matches, and where it stands."""
    names = {path.names[0] for node in _flat(query.q) for path in _paths(node)}
    names.update(order.path.names[0] for order in query.order)
    if query.geo is not None:
        names.add(query.geo.property)
    return frozenset(names.union(query.attributes))


def _paths(node: Node) -> Iterable[Path]:
    match node:
        case Exists(path) | Comparison(path):
            yield path
        case And(parts) | Or(parts):
            for part in parts:
                yield from _paths(part)
        case Not(part):
            yield from _paths(part)


def id_test(query: Query) -> Callable[[str], bool] | None:
    """A test of ids that tells most of what does not match before anything is decoded."""
    if len(query.selectors) != 1:
        return None
    (selector,) = query.selectors
    if selector.ids or selector.id_pattern is None:
        return None
    return pattern.search(selector.id_pattern)


def _compared(node: Comparison, indexed: Indexed, tables: Tables) -> Rids:
    bounds = list(_bounds(node))
    sets, seek = tables.compared(indexed.id, bounds)
    return Rids(sets, not indexed.overflow and all(bound.sure for bound in bounds), seek)


def _bounds(node: Comparison) -> Iterable[Bound]:
    if node.range is not None:
        yield from _between(*node.range)
    elif node.operator == "==":
        for value in node.values:
            kind, key = scalar(value)
            yield Bound(kind, "=", (key,), parts=True, sure=_sure(value))
    else:
        value = node.values[0]
        kind, key = scalar(value)
        sure = _sure(value)
        operator = node.operator if sure else f"{node.operator[0]}="
        yield Bound(kind, operator, (key,), parts=False, sure=sure)


def _between(low: Scalar, high: Scalar) -> Iterable[Bound]:
    (kind, least), (other, most) = scalar(low), scalar(high)
    # Values of two data types have nothing between them.
    if kind == other:
        yield Bound(kind, "between", (least, most), parts=True, sure=_sure(low) and _sure(high))


def _sure(value: Scalar) -> bool:
    """Whether the index keeps every value near this one as it is (see `digest.scalar`)."""
    if isinstance(value, str):
        return len(value) < TEXT
    return not isinstance(value, int | float) or abs(value) < 1 << 53


# -- sets


def union(sets: Sequence[Sql]) -> Sql:
    return Sql(
        " UNION ALL ".join(one.text for one in sets), tuple(value for one in sets for value in one.values)
    )


def _unite(sets: Sequence[Rids | None]) -> Rids | None:
    known = [one for one in sets if one is not None]
    if len(known) < len(sets):
        return None
    return Rids(union([_nested(one.sql) for one in known]), all(one.exact for one in known))


def _intersect(sets: Sequence[Rids | None]) -> Rids | None:
    known = [one for one in sets if one is not None]
    if not known:
        return None
    text = " INTERSECT ".join(_nested(one.sql).text for one in known)
    values = tuple(value for one in known for value in one.sql.values)
    return Rids(Sql(text, values), len(known) == len(sets) and all(one.exact for one in known))


def _nested(sql: Sql) -> Sql:
    return Sql(f"SELECT * FROM ({sql.text}) AS one", sql.values)


def array(values: Iterable[object]) -> str:
    """A JSON array to bind."""
    return msgspec.json.encode(list(values)).decode()


# -- the plan


class Draft(NamedTuple):
    """What is known of a query before anything is counted: the forms that are left, whether they decide it,
    and the sets of rids that narrow it further, as far as there are any."""

    left: Sequence[Form]
    decided: bool
    known: Sequence[Rids | None]


class Choice(NamedTuple):
    """Which sets to gather, the smallest first; which conditions to seek; whether that is all."""

    sets: Sequence[Sql]
    seeks: Sequence[Sql]
    exact: bool


def draft(query: Query, schema: Schema) -> Draft:
    """Put the conditions of a query to the forms."""
    conditions = _conditions(query, schema)
    left: list[Form] = []
    unsure: set[int] = set()
    for form in schema.forms.of(query):
        verdicts = [condition.judge(form) for condition in conditions]
        if False not in verdicts:
            left.append(form)
            unsure.update(number for number, verdict in enumerate(verdicts) if verdict is None)
    known = [conditions[number].rids() for number in sorted(unsure)] if left else []
    return Draft(left, not unsure, known)


def choose(query: Query, known: Sequence[Rids | None], sizes: Mapping[Sql, int]) -> Choice:
    """How to go about the sets, given how many rids each has (no further than `SMALL`)."""
    exact = all(rids is not None and rids.exact for rids in known)
    far = query.count or query.offset + query.limit > FAR or bool(query.order)
    sets: list[Sql] = []
    seeks: list[Sql] = []
    for rids in sorted((one for one in known if one is not None), key=lambda one: sizes[one.sql]):
        small = sizes[rids.sql] < SMALL
        if rids.seek is not None and (sets or not (far or small)):
            seeks.append(rids.seek)
        elif far or small:
            sets.append(rids.sql)
        else:
            exact = False
    return Choice(sets, seeks, exact)


def wanting(query: Query, schema: Schema, exact: bool) -> tuple[Path, ...]:
    """The paths whose index would have helped a plan."""
    return () if exact else tuple(path for path in wanted(query) if path not in schema.paths)


# -- the embedded store


class SQLiteTables:
    """The `Tables` of the embedded store. `name` is the number of an IRI, or -1."""

    def __init__(self, tenant: int, name: Callable[[str], int]) -> None:
        self.tenant = tenant
        self.name = name

    def named(self, ids: Sequence[str]) -> Sql:
        return Sql(f"SELECT rid FROM entity WHERE tenant = ? AND id {AMONG}", (self.tenant, array(ids)))

    def near(self, property: str, boxes: Sequence[geo.Box]) -> Sql:
        number = self.name(property)
        return union([Sql(MEETING, (east, west, north, south, number)) for west, south, east, north in boxes])

    def in_scope(self, scope: str) -> Sql:
        return Sql("SELECT rid FROM entity_scope WHERE tenant = ? AND scope = ?", (self.tenant, scope))

    def below(self, scope: str) -> Sql:
        # "0" is the character after "/".
        low, high = (f"{scope}/", f"{scope}0") if scope else ("", "\U0010ffff")
        return Sql(
            "SELECT rid FROM entity_scope WHERE tenant = ? AND scope >= ? AND scope < ?",
            (self.tenant, low, high),
        )

    def compared(self, path: int, bounds: Sequence[Bound]) -> tuple[Sql, Sql]:
        where = [*map(_entries, bounds), Sql(f"kind = {MANY}")]
        either = " OR ".join(f"({one.text})" for one in where)
        seek = Sql(
            f"EXISTS (SELECT 1 FROM lookup WHERE path = {path} AND rid = e.rid AND ({either}))",
            tuple(value for one in where for value in one.values),
        )
        start = f"SELECT rid FROM lookup WHERE path = {path} AND"
        return union([Sql(f"{start} {one.text}", one.values) for one in where]), seek


AMONG = "IN (SELECT value FROM json_each(?))"
"""Membership in a JSON array."""

MEETING = (
    "SELECT id >> 8 FROM box"
    " WHERE west <= ? AND east >= ? AND south <= ? AND north >= ? AND property IN (?, 0)"
)


def _entries(bound: Bound) -> Sql:
    kinds = f"IN ({bound.kind}, {bound.kind + PART})" if bound.parts else f"= {bound.kind}"
    value = "BETWEEN ? AND ?" if bound.operator == "between" else f"{bound.operator} ?"
    return Sql(f"kind {kinds} AND value {value}", bound.values)


def compile(
    query: Query,
    schema: Schema,
    tables: SQLiteTables,
    estimate: Callable[[Sql], int],
    *,
    expired: Instant | None = None,
) -> Plan:
    """Where to look for the answer of a query. `estimate` counts the rids of a set, no further than `SMALL`.

    `expired`: leave out what has expired at this time; None when nothing has.
    """
    left, decided, known = draft(query, schema)
    if not left:
        return Plan(Sql("FROM entity e WHERE 0"), "e.rid", exact=True, empty=True)
    sizes = {rids.sql: estimate(rids.sql) for rids in known if rids is not None}
    sets, seeks, exact = choose(query, known, sizes)
    rows, order = _rows(left, sets, seeks, schema.forms, tables)
    if expired is not None:
        rows = rows.then(Sql("AND (e.expires IS NULL OR e.expires > ?)", (expired,)))
    return Plan(
        rows,
        order,
        exact,
        tuple(form.id for form in left) if decided and expired is None else None,
        wanting(query, schema, exact),
    )


def _rows(
    left: Sequence[Form], sets: Sequence[Sql], seeks: Sequence[Sql], forms: Forms, tables: SQLiteTables
) -> tuple[Sql, str]:
    """`FROM … WHERE …` over the entities of some forms, and the column that tells their order."""
    tenant = tables.tenant
    everything = len(left) == len(forms.all)
    common = set.intersection(*(set(form.types) for form in left))
    if sets:
        rows = Sql(f"FROM entity e WHERE e.rid IN ({sets[0].text})", sets[0].values)
        for further in sets[1:]:
            rows = rows.then(Sql(f"AND +e.rid IN ({further.text})", further.values))
        rows = rows.then(
            Sql("AND +e.tenant = ?", (tenant,)) if everything else _of_form(left, common, tables)
        )
        order = "e.rid"
    elif common and not (everything and tenant == 0):
        of_type = forms.of_type
        type = min(common, key=lambda type: len(of_type[type]))
        rows = Sql(
            "FROM entity_type t CROSS JOIN entity e ON e.rid = t.rid WHERE t.tenant = ? AND t.type = ?",
            (tenant, tables.name(type)),
        )
        if len(left) < len(of_type[type]):
            rows = rows.then(Sql(f"AND t.form {AMONG}", (array(form.id for form in left),)))
        order = "t.rid"
    elif everything and tenant == 0:
        rows = Sql("FROM entity e NOT INDEXED WHERE e.tenant = ?", (tenant,))
        order = "e.rid"
    else:
        types = {tables.name(form.types[0]) for form in left}
        rows = Sql(
            f"FROM entity e WHERE e.rid IN (SELECT rid FROM entity_type WHERE tenant = ?"
            f" AND type {AMONG} AND form {AMONG})",
            (tenant, array(types), array(form.id for form in left)),
        )
        order = "e.rid"
    for seek in seeks:
        rows = rows.then(Sql(f"AND {seek.text.replace('e.rid', order)}", seek.values))
    return rows, order


def _of_form(left: Sequence[Form], common: set[str], tables: SQLiteTables) -> Sql:
    """The condition that an entity `e` is of one of these forms."""
    types = sorted(common)[:1] or sorted({form.types[0] for form in left})
    return Sql(
        f"AND EXISTS (SELECT 1 FROM entity_type t WHERE t.tenant = ? AND t.type {AMONG}"
        f" AND t.rid = e.rid AND t.form {AMONG})",
        (tables.tenant, array(tables.name(type) for type in types), array(form.id for form in left)),
    )
