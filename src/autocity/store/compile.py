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
from typing import NamedTuple

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


class Dialect(NamedTuple):
    """Where databases differ.

    `among`: membership in a JSON array; `lookup`: which columns a kind's values stand in;
    `box`: rids whose boxes of a property meet a box; `scan`: the table of entities when it is read
    in order of rid.
    """

    among: str
    box: str
    scan: str
    scopes_below: str


SQLITE = Dialect(
    among="IN (SELECT value FROM json_each(?))",
    box=(
        "SELECT id >> 8 FROM box"
        " WHERE west <= ? AND east >= ? AND south <= ? AND north >= ? AND property IN (?, 0)"
    ),
    scan="entity e NOT INDEXED",
    scopes_below="scope >= ? AND scope < ?",
)


class Schema(NamedTuple):
    """What a store knows that queries are compiled against. `name` is the number of an IRI, or -1;
    `estimate` counts the rows of a SELECT, but no further than `SMALL`."""

    tenant: int
    forms: Forms
    paths: Mapping[Path, Indexed]
    name: Callable[[str], int]
    estimate: Callable[[Sql], int]


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


def _conditions(query: Query, schema: Schema, dialect: Dialect) -> list[Condition]:
    found = []
    if query.selectors:
        found.append(
            Condition(
                lambda form: _any(_judge_selector(selector, form) for selector in query.selectors),
                lambda: _selected(query.selectors, schema, dialect),
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
        found.append(Condition(lambda form: None, lambda: _scoped(scopes, schema, dialect)))
    if (where := query.geo) is not None:
        found.append(Condition(lambda form: _judge_geo(where, form), lambda: _boxed(where, schema, dialect)))
    return found


def _flat(node: Node | None) -> tuple[Node, ...]:
    match node:
        case None:
            return ()
        case And(parts):
            return tuple(leaf for part in parts for leaf in _flat(part))
        case _:
            return (node,)


def _selected(selectors: tuple[Selector, ...], schema: Schema, dialect: Dialect) -> Rids | None:
    if not all(selector.ids for selector in selectors):
        return None
    ids = [id for selector in selectors for id in selector.ids]
    # Forms have had their say on the types of one selector, but not on which of several an id belongs to.
    exact = len(selectors) == 1 or not any(selector.types for selector in selectors)
    text = f"SELECT rid FROM entity WHERE tenant = ? AND id {dialect.among}"
    return Rids(Sql(text, (schema.tenant, array(ids))), exact)


def _boxed(query: Geo, schema: Schema, dialect: Dialect) -> Rids | None:
    boxes = geo.search_boxes(query)
    if boxes is None:
        return None
    number = schema.name(query.property)
    sets = [Sql(dialect.box, (east, west, north, south, number)) for west, south, east, north in boxes]
    return Rids(_union(sets), exact=False)


def _scoped(select: Select, schema: Schema, dialect: Dialect) -> Rids | None:
    match select:
        case ScopeIs(levels):
            fixed = levels[: next((i for i, level in enumerate(levels) if level in "+#"), len(levels))]
            return _below(fixed, levels[len(fixed) :], schema, dialect)
        case AllOf(parts):
            return _intersect([_scoped(part, schema, dialect) for part in parts])
        case AnyOf(parts):
            return _unite([_scoped(part, schema, dialect) for part in parts])
        case TypeIs():
            return None


def _below(fixed: tuple[str, ...], rest: tuple[str, ...], schema: Schema, dialect: Dialect) -> Rids:
    start = "SELECT rid FROM entity_scope WHERE tenant = ? AND"
    scope = "/".join(fixed)
    here = Sql(f"{start} scope = ?", (schema.tenant, scope))
    if not rest:
        return Rids(here, exact=True)
    low, high = (f"{scope}/", f"{scope}0") if fixed else ("", "\U0010ffff")
    below = Sql(f"{start} {dialect.scopes_below}", (schema.tenant, low, high))
    return Rids(_union([here, below]), exact=rest == ("#",))


# -- the attribute index


def _looked(node: Node, schema: Schema) -> Rids | None:
    match node:
        case Comparison(path):
            indexed = schema.paths.get(path)
            return _compared(node, indexed) if indexed and indexed.ready and _sargable(node) else None
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


def _compared(node: Comparison, indexed: Indexed) -> Rids:
    bounds = list(_bounds(node))
    where = [Sql(condition, values) for condition, values, _ in bounds]
    where.append(Sql(f"kind = {MANY}"))
    either = " OR ".join(f"({one.text})" for one in where)
    seek = Sql(
        f"EXISTS (SELECT 1 FROM lookup WHERE path = {indexed.id} AND rid = e.rid AND ({either}))",
        tuple(value for one in where for value in one.values),
    )
    start = f"SELECT rid FROM lookup WHERE path = {indexed.id} AND"
    sets = _union([Sql(f"{start} {one.text}", one.values) for one in where])
    return Rids(sets, not indexed.overflow and all(sure for _, _, sure in bounds), seek)


Bound = tuple[str, tuple[object, ...], bool]
"""A condition on kind and value, its values, and whether it is the comparison itself, not more."""


def _bounds(node: Comparison) -> Iterable[Bound]:
    if node.range is not None:
        yield from _between(*node.range)
    elif node.operator == "==":
        for value in node.values:
            kind, key = scalar(value)
            yield f"kind IN ({kind}, {kind + PART}) AND value = ?", (key,), _sure(value)
    else:
        value = node.values[0]
        kind, key = scalar(value)
        sure = _sure(value)
        operator = node.operator if sure else f"{node.operator[0]}="
        yield f"kind = {kind} AND value {operator} ?", (key,), sure


def _between(low: Scalar, high: Scalar) -> Iterable[Bound]:
    (kind, least), (other, most) = scalar(low), scalar(high)
    if kind != other:
        yield "kind = -1", (), False
        return
    sure = _sure(low) and _sure(high)
    yield f"kind IN ({kind}, {kind + PART}) AND value BETWEEN ? AND ?", (least, most), sure


def _sure(value: Scalar) -> bool:
    """Whether the index keeps every value near this one as it is (see `digest.scalar`)."""
    if isinstance(value, str):
        return len(value) < TEXT
    return not isinstance(value, int | float) or abs(value) < 1 << 53


# -- sets


def _union(sets: Sequence[Sql]) -> Sql:
    return Sql(
        " UNION ALL ".join(one.text for one in sets), tuple(value for one in sets for value in one.values)
    )


def _unite(sets: Sequence[Rids | None]) -> Rids | None:
    known = [one for one in sets if one is not None]
    if len(known) < len(sets):
        return None
    return Rids(_union([_nested(one.sql) for one in known]), all(one.exact for one in known))


def _intersect(sets: Sequence[Rids | None]) -> Rids | None:
    known = [one for one in sets if one is not None]
    if not known:
        return None
    text = " INTERSECT ".join(_nested(one.sql).text for one in known)
    values = tuple(value for one in known for value in one.sql.values)
    return Rids(Sql(text, values), len(known) == len(sets) and all(one.exact for one in known))


def _nested(sql: Sql) -> Sql:
    return Sql(f"SELECT * FROM ({sql.text})", sql.values)


def array(values: Iterable[object]) -> str:
    """A JSON array to bind."""
    return msgspec.json.encode(list(values)).decode()


# -- the plan


def compile(query: Query, schema: Schema, dialect: Dialect, *, expired: Instant | None = None) -> Plan:
    """Where to look for the answer of a query.

    `expired`: leave out what has expired at this time; None when nothing has.
    """
    conditions = _conditions(query, schema, dialect)
    left: list[Form] = []
    unsure: set[int] = set()
    for form in schema.forms.of(query):
        verdicts = [condition.judge(form) for condition in conditions]
        if False not in verdicts:
            left.append(form)
            unsure.update(number for number, verdict in enumerate(verdicts) if verdict is None)
    if not left:
        return Plan(Sql("FROM entity e WHERE 0"), "e.rid", exact=True, empty=True)
    known = [conditions[number].rids() for number in sorted(unsure)]
    sets, seeks, exact = _choose(known, query, schema)
    rows, order = _rows(left, sets, seeks, schema, dialect)
    if expired is not None:
        rows = rows.then(Sql("AND (e.expires IS NULL OR e.expires > ?)", (expired,)))
    decided = not unsure and expired is None
    return Plan(
        rows,
        order,
        exact,
        tuple(form.id for form in left) if decided else None,
        tuple(path for path in wanted(query) if path not in schema.paths) if not exact else (),
    )


def _choose(known: Sequence[Rids | None], query: Query, schema: Schema) -> tuple[list[Sql], list[Sql], bool]:
    """Which sets to gather (the smallest first), which conditions to seek, and whether that is all."""
    exact = all(rids is not None and rids.exact for rids in known)
    far = query.count or query.offset + query.limit > FAR or bool(query.order)
    sized = sorted(
        ((schema.estimate(rids.sql), number, rids) for number, rids in enumerate(known) if rids is not None),
        key=lambda one: one[:2],
    )
    sets: list[Sql] = []
    seeks: list[Sql] = []
    for size, _, rids in sized:
        if rids.seek is not None and (sets or not (far or size < SMALL)):
            seeks.append(rids.seek)
        elif far or size < SMALL:
            sets.append(rids.sql)
        else:
            exact = False
    return sets, seeks, exact


def _rows(
    left: Sequence[Form], sets: Sequence[Sql], seeks: Sequence[Sql], schema: Schema, dialect: Dialect
) -> tuple[Sql, str]:
    """`FROM … WHERE …` over the entities of some forms, and the column that tells their order."""
    everything = len(left) == len(schema.forms.all)
    common = set.intersection(*(set(form.types) for form in left))
    if sets:
        rows = Sql(f"FROM entity e WHERE e.rid IN ({sets[0].text})", sets[0].values)
        for further in sets[1:]:
            rows = rows.then(Sql(f"AND +e.rid IN ({further.text})", further.values))
        rows = rows.then(
            Sql("AND +e.tenant = ?", (schema.tenant,))
            if everything
            else _of_form(left, common, schema, dialect)
        )
        order = "e.rid"
    elif common and not (everything and schema.tenant == 0):
        of_type = schema.forms.of_type
        type = min(common, key=lambda type: len(of_type[type]))
        rows = Sql(
            "FROM entity_type t CROSS JOIN entity e ON e.rid = t.rid WHERE t.tenant = ? AND t.type = ?",
            (schema.tenant, schema.name(type)),
        )
        if len(left) < len(of_type[type]):
            rows = rows.then(Sql(f"AND t.form {dialect.among}", (array(form.id for form in left),)))
        order = "t.rid"
    elif everything and schema.tenant == 0:
        rows = Sql(f"FROM {dialect.scan} WHERE e.tenant = ?", (schema.tenant,))
        order = "e.rid"
    else:
        types = {schema.name(form.types[0]) for form in left}
        rows = Sql(
            f"FROM entity e WHERE e.rid IN (SELECT rid FROM entity_type WHERE tenant = ?"
            f" AND type {dialect.among} AND form {dialect.among})",
            (schema.tenant, array(types), array(form.id for form in left)),
        )
        order = "e.rid"
    for seek in seeks:
        rows = rows.then(Sql(f"AND {seek.text.replace('e.rid', order)}", seek.values))
    return rows, order


def _of_form(left: Sequence[Form], common: set[str], schema: Schema, dialect: Dialect) -> Sql:
    """The condition that an entity `e` is of one of these forms."""
    types = sorted(common)[:1] or sorted({form.types[0] for form in left})
    return Sql(
        f"AND EXISTS (SELECT 1 FROM entity_type t WHERE t.tenant = ? AND t.type {dialect.among}"
        f" AND t.rid = e.rid AND t.form {dialect.among})",
        (schema.tenant, array(schema.name(type) for type in types), array(form.id for form in left)),
    )
