"""A commit taken apart into rows before it meets a database: pure, so it runs where there is a free core."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec
from msgspec import Struct

from autocity.ld import document, geo
from autocity.ld.instants import instant
from autocity.ld.merge import changed
from autocity.ld.query import Fact, Path, Scalar, Temporal, facts
from autocity.model import Attribute, Attributes, Change, Delivery, Entity, Instant
from autocity.store.history import Point, encode, recorded
from autocity.store.port import Commit, PointWrite, RecordWrite, TypeSummary

Kinds = tuple[tuple[str, tuple[str, ...]], ...]
Box = tuple[str, float, float, float, float]
"""The IRI of a GeoProperty; west, east, south, north."""

Key = tuple[int, str | int | float]
"""Kind and value of a scalar in the attribute index."""

BOXES = 256
"""Geometries of an entity that have a box of their own in the index; the last one stands for the rest."""

FACTS = 100
"""Scalars of an entity at one path that the attribute index keeps; more are told by MANY alone."""

TEXT = 200
"""Characters of a string that the attribute index keeps."""

MAX_PATHS = 64
"""Paths that have an attribute index, at most: each costs every write of an entity that has it."""

NUMBER, STRING, BOOLEAN, DATE_TIME, DATE, TIME = range(6)
MANY = 7
PART = 8
"""Added to the kind of a scalar that is not the value itself (`Fact.whole`)."""

_TEMPORAL = {"DateTime": DATE_TIME, "Date": DATE, "Time": TIME}


class Indexed(Struct, frozen=True):
    """A path that has an attribute index. Only one that is `ready` answers queries; `overflow` tells
    that some entity has more scalars there than are kept."""

    id: int
    path: Path
    ready: bool
    overflow: bool


class Paths(Struct, frozen=True):
    """The paths that have an attribute index, by tenant. `revision` tells one such set from the next."""

    revision: int = 0
    of: Mapping[str, tuple[Indexed, ...]] = msgspec.field(default_factory=dict)


class Looked(Struct, frozen=True, array_like=True):
    """The index entries of one path before and after a change."""

    path: int
    before: tuple[Key, ...]
    after: tuple[Key, ...]


class Row(Struct, frozen=True, array_like=True):
    """One change as rows. `form`, `boxes` and `looked` are None or empty where the change leaves them."""

    tenant: str
    id: str
    at: Instant
    expected: int
    version: int
    operation: str
    document: bytes
    created: Instant
    modified: Instant
    expires: Instant | None
    types: tuple[str, ...]
    types_before: tuple[str, ...]
    scopes: tuple[str, ...]
    scopes_before: tuple[str, ...]
    form: str
    form_before: str
    boxes: tuple[Box, ...] | None
    boxes_before: int
    looked: tuple[Looked, ...]
    points: tuple[Point, ...]
    attributes: tuple[str, ...]
    record: bool
    actor: str
    depth: int


class Provision(Struct, frozen=True, array_like=True):
    """One `PointWrite` as rows: instances to append, and those that replace another, by instance id."""

    tenant: str
    id: str
    at: Instant
    types: tuple[str, ...]
    scopes: tuple[str, ...]
    points: tuple[Point, ...]
    replacing: tuple[tuple[str, Point], ...]


class Digest(Struct, frozen=True, array_like=True):
    """A commit as rows. `paths`: the revision of the path set that `Row.looked` was made for."""

    rows: tuple[Row, ...] = ()
    records: tuple[RecordWrite, ...] = ()
    points: tuple[Provision, ...] = ()
    deliveries: tuple[Delivery, ...] = ()
    settled: tuple[str, ...] = ()
    generation: int | None = None
    paths: int = 0


def digest(commit: Commit, paths: Paths) -> Digest:
    """Take a commit apart. Raises `errors.BadRequestData` for what no store can keep."""
    return Digest(
        tuple([_row(change, paths.of.get(change.tenant, ())) for change in commit.changes]),
        commit.records,
        tuple([_provision(provision) for provision in commit.points]),
        commit.deliveries,
        commit.settled,
        commit.generation,
        paths.revision,
    )


def _row(change: Change, paths: tuple[Indexed, ...]) -> Row:
    before, after, at = change.before, change.after, change.at
    present = after or before
    if present is None:
        raise ValueError(f"a change of {change.id} from nothing to nothing")
    old = before or _NOBODY
    new = after or _NOBODY
    names = changed(before, after)
    same = after is not None and before is not None and _same_form(old, new, names)
    form = _form_of(present)
    return Row(
        tenant=change.tenant,
        id=change.id,
        at=at,
        expected=change.expected,
        version=0 if after is None else change.version or change.expected + 1,
        operation="delete" if after is None else "update" if before else "create",
        document=document.dump(after) if after else b"",
        created=present.created_at,
        modified=present.modified_at,
        expires=instant(new.expires_at) if new.expires_at else None,
        types=new.types,
        types_before=old.types,
        scopes=new.scopes,
        scopes_before=old.scopes,
        form=form,
        form_before=form if same else _form_of(old) if before else "",
        boxes=_boxes(old, new, names),
        boxes_before=_count_boxes(old),
        looked=tuple(_looked(paths, before, after, names)) if paths else (),
        points=_points(change) if change.record else (),
        attributes=names,
        record=change.record,
        actor=change.actor,
        depth=change.depth,
    )


_NOBODY = Entity(id="", types=())


def _points(change: Change) -> tuple[Point, ...]:
    at = change.at
    return tuple([encode(name, instance, at, at) for name, instance in recorded(change)])


def _provision(write: PointWrite) -> Provision:
    new, replacing = [], []
    for name, instances in write.attributes.items():
        for instance in instances:
            point = encode(name, instance, write.at, write.at)
            if instance.instance_id:
                replacing.append((instance.instance_id, point))
            else:
                new.append(point)
    return Provision(
        write.tenant, write.id, write.at, write.types, write.scopes, tuple(new), tuple(replacing)
    )


# -- forms


def _form_of(entity: Entity) -> str:
    return form(
        entity.types,
        tuple(
            [
                (name, (instances[0].kind,) if len(instances) == 1 else kinds(instances))
                for name, instances in entity.attributes.items()
            ]
        ),
    )


@lru_cache(maxsize=8192)
def form(types: tuple[str, ...], attributes: Kinds) -> str:
    """Types, and attributes with their kinds, in the one spelling that stands for all who share them."""
    return msgspec.json.encode((types, sorted(attributes))).decode()


def parse_form(text: str) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The types and attributes of a form."""
    types, attributes = _forms.decode(text)
    return types, dict(attributes)


_forms = msgspec.json.Decoder(tuple[tuple[str, ...], Kinds])


def _same_form(before: Entity, after: Entity, names: Iterable[str]) -> bool:
    old, new = before.attributes, after.attributes
    return before.types == after.types and all(
        name in old and name in new and kinds(old[name]) == kinds(new[name]) for name in names
    )


def kinds(instances: tuple[Attribute, ...]) -> tuple[str, ...]:
    """The kinds that the instances of one attribute take."""
    return tuple(sorted({instance.kind for instance in instances}))


def summarize(
    forms: Iterable[tuple[tuple[str, ...], Mapping[str, tuple[str, ...]], int]],
) -> list[TypeSummary]:
    """Types in use, out of forms and how many entities take each (5.7.5 to 5.7.10)."""
    counts: Counter[str] = Counter()
    found: dict[str, dict[str, set[str]]] = {}
    for types, attributes, entities in forms:
        for type in types:
            counts[type] += entities
            known = found.setdefault(type, {})
            for name, some in attributes.items():
                known.setdefault(name, set()).update(some)
    return [
        TypeSummary(
            type, counts[type], {name: tuple(sorted(some)) for name, some in sorted(found[type].items())}
        )
        for type in sorted(counts)
    ]


# -- boxes


def _boxes(before: Entity, after: Entity, names: Iterable[str]) -> tuple[Box, ...] | None:
    if not (_any_geo(before.attributes, names) or _any_geo(after.attributes, names)):
        return None
    boxes = [
        (name, box[0], box[2], box[1], box[3])
        for name, instances in after.attributes.items()
        for instance in instances
        if instance.kind == "GeoProperty" and (box := geo.bbox(instance.value))
    ]
    if len(boxes) <= BOXES:
        return tuple(boxes)
    # One box around all the others, of no property: it is a candidate for each.
    _, west, east, south, north = zip(*boxes[BOXES - 1 :], strict=True)
    return (*boxes[: BOXES - 1], ("", min(west), max(east), min(south), max(north)))


def _any_geo(attributes: Attributes, names: Iterable[str]) -> bool:
    for name in names:
        for instance in attributes.get(name, ()):
            if instance.kind == "GeoProperty":
                return True
    return False


def _count_boxes(entity: Entity) -> int:
    count = 0
    for instances in entity.attributes.values():
        for instance in instances:
            if instance.kind == "GeoProperty":
                count += 1
    return min(count, BOXES)


# -- the attribute index


def _looked(
    paths: tuple[Indexed, ...], before: Entity | None, after: Entity | None, names: tuple[str, ...]
) -> Iterable[Looked]:
    present = (after or before or _NOBODY).attributes
    for indexed in paths:
        path, name = indexed.path, indexed.path.names[0]
        # A name that is no attribute may be a member of the entity, whose times change with every write.
        if name in names or name not in present:
            old, new = keys(path, before), keys(path, after)
            if old != new:
                yield Looked(indexed.id, old, new)


def keys(path: Path, entity: Entity | None) -> tuple[Key, ...]:
    """The index entries of an entity at a path."""
    if entity is None:
        return ()
    found = facts(path, entity)
    if len(found) > FACTS:
        return ((MANY, 0),)
    return tuple(dict.fromkeys([_key(fact) for fact in found]))


def mentions(text: bytes, path: Path) -> bool:
    """Whether an entity can have anything at the path: cheaper than to decode it."""
    name = path.names[0]
    return ":" not in name or msgspec.json.encode(name) in text


def _key(fact: Fact) -> Key:
    kind, value = scalar(fact.value)
    return kind if fact.whole else kind + PART, value


def scalar(value: Scalar) -> Key:
    """Data type and comparable value of a scalar. Only values of one data type compare with each other."""
    match value:
        case bool():
            return BOOLEAN, int(value)
        case int():
            return NUMBER, value if abs(value) < 1 << 63 else _float(value)
        case float():
            return NUMBER, value
        case str():
            return STRING, value[:TEXT]
        case Temporal(kind, moment):
            return _TEMPORAL[kind], moment


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
