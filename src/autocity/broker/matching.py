"""Which subscriptions a change concerns (5.8.6), found without asking each of them.

What a subscription watches decides where it lies: under a type and an attribute, and there under
the ids it names, the threshold or value that its `q` compares with, or the cells of a map that its
`geoQ` reaches. Where it lies only narrows the search; whoever is found is asked exactly.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import reduce
from math import floor, inf
from operator import or_
from typing import Any

import msgspec

from autocity.broker.subscription import DEFAULT_TRIGGERS, Subscription
from autocity.ld.context import Context
from autocity.ld.entity import View
from autocity.ld.geo import Geo, bbox, search_boxes
from autocity.ld.instants import SECOND, instant
from autocity.ld.merge import changed
from autocity.ld.query import (
    AllOf,
    And,
    AnyOf,
    Comparison,
    Node,
    Not,
    Or,
    Path,
    Select,
    TypeIs,
    facts,
    matcher,
)
from autocity.model import Attribute, Change, Entity, Instant

ATTRIBUTE_CREATED, ATTRIBUTE_UPDATED, ATTRIBUTE_DELETED, ENTITY_CREATED, ENTITY_DELETED = 1, 2, 4, 8, 16

BITS = {
    "attributeCreated": ATTRIBUTE_CREATED,
    "attributeUpdated": ATTRIBUTE_UPDATED,
    "attributeDeleted": ATTRIBUTE_DELETED,
    "entityCreated": ENTITY_CREATED,
    "entityUpdated": ATTRIBUTE_CREATED | ATTRIBUTE_UPDATED | ATTRIBUTE_DELETED,
    "entityDeleted": ENTITY_DELETED,
}

ANY = ""
"""Where subscriptions lie that name no type, or watch no attribute in particular."""

MAX_CELLS = 16
LEVELS = (0.05, 0.8, 12.8, 360.0)
"""Degrees: the sizes of cells, from a street block to the world."""


class Watch:
    """A subscription at work: ready to be asked, with what it remembers of its last notification.

    Most of very many subscriptions are never asked, so the costlier parts are made at first use.
    """

    __slots__ = (
        "_fits",
        "_head",
        "_look",
        "_view",
        "active",
        "context",
        "expires_at",
        "headers",
        "last",
        "levels",
        "linked",
        "pace",
        "subscription",
        "throttling",
        "triggers",
        "version",
        "watched",
    )

    def __init__(self, subscription: Subscription, context: Context, version: int) -> None:
        self.subscription = subscription
        self.version = version
        self.context = context
        self.active = subscription.is_active is not False
        self.expires_at = instant(subscription.expires_at) if subscription.expires_at else 2**62
        self.throttling = int((subscription.throttling or 0) * SECOND)
        self.last: Instant = 0
        # The version of the record that tells when it was last told, as far as is known here.
        self.pace = 0
        self.triggers = 0
        for name in subscription.notification_trigger or DEFAULT_TRIGGERS:
            self.triggers |= BITS[name]
        self.watched = frozenset(subscription.watched_attributes)
        self.levels = max(
            subscription.notification.levels, depth_of(subscription.q.tree) if subscription.q else 0
        )
        self.linked: Mapping[str, Entity] = {}
        self.headers: dict[str, str] | None = None
        self._fits: Callable[[Entity], bool] | None = None
        self._view: View | None = None
        self._look: tuple[Any, ...] | None = None
        self._head: bytes | None = None

    @property
    def tenant(self) -> str:
        """Whose subscription it is."""
        return self.subscription.tenant

    @property
    def view(self) -> View:
        """How entities are shown in its notifications."""
        if self._view is None:
            notification = self.subscription.notification
            self._view = View(
                context=self.context,
                form=notification.form,
                sys_attrs=bool(notification.sys_attrs),
                attributes=frozenset(notification.attributes),
                pick=notification.pick,
                omit=notification.omit,
                dataset_ids=frozenset(self.subscription.dataset_id),
                lang=self.subscription.lang,
                embed=embeds(self.subscription),
            )
        return self._view

    @property
    def look(self) -> tuple[Any, ...]:
        """What the text of a notification depends on: watches of the same look get the same data."""
        if self._look is None:
            notification = self.subscription.notification
            told = self.triggers & ATTRIBUTE_DELETED
            self._look = (
                id(self.context),
                notification.endpoint.media,
                repr((notification.pick, notification.omit)),
                notification.form,
                notification.attributes,
                notification.show_changes,
                notification.sys_attrs,
                notification.join,
                notification.levels,
                self.subscription.dataset_id,
                self.subscription.lang,
                self.view.embed,
                self.watched if told else None,
            )
        return self._look

    @property
    def head(self) -> bytes:
        """What each of its notifications says about itself, as it stands in the text."""
        if self._head is None:
            said = {"type": "Notification", "subscriptionId": self.subscription.id}
            self._head = msgspec.json.encode(said)[1:-1]
        return self._head

    def fits(self, entity: Entity) -> bool:
        """Whether the entity is one that it is about."""
        if self._fits is None:
            self._fits = matcher(self.subscription.query, self._resolve)
        return self._fits(entity)

    def _resolve(self, id: str) -> Entity | None:
        return self.linked.get(id)

    def wants(self, touched: Touched, now: Instant) -> bool:
        """Whether the change is one to be told now."""
        if (
            not self.active
            or now >= self.expires_at
            or (self.throttling and now < self.last + self.throttling)
        ):
            return False
        if not self._triggered(touched):
            return False
        return self.fits(touched.entity)

    def _triggered(self, touched: Touched) -> bool:
        triggers, watched, attributes = self.triggers, self.watched, touched.attributes
        if triggers & touched.whole and (not watched or not watched.isdisjoint(touched.entity.attributes)):
            return True
        if watched:
            return any(attributes.get(name, 0) & triggers for name in watched)
        return bool(touched.bits & triggers)


class Touched:
    """What a change does: to the entity as a whole, and to which attributes, one by one and
    (`bits`) taken together. `entity` is the state that filters look at: the one after, or before a
    deletion."""

    __slots__ = ("_facts", "attributes", "bits", "change", "entity", "whole")

    def __init__(self, change: Change) -> None:
        before, after = change.before, change.after
        entity = after if after is not None else before
        assert entity is not None, "a change has a state before or after it"
        self.change = change
        self.entity = entity
        self._facts: dict[Path, list[Any]] = {}
        if before is None:
            self.whole = ENTITY_CREATED
            self.attributes = dict.fromkeys(entity.attributes, ATTRIBUTE_CREATED)
        elif after is None:
            self.whole = ENTITY_DELETED
            self.attributes = dict.fromkeys(entity.attributes, ATTRIBUTE_DELETED)
        else:
            self.whole = 0
            self.attributes = {}
            for name in changed(before, after):
                bits = compare(before.attributes.get(name, ()), after.attributes.get(name, ()))
                if bits:
                    self.attributes[name] = bits
        self.bits = reduce(or_, self.attributes.values(), 0)

    def values(self, path: Path) -> list[Any]:
        """The scalars at a path of the entity."""
        found = self._facts.get(path)
        if found is None:
            found = self._facts[path] = [fact.value for fact in facts(path, self.entity)]
        return found


def compare(before: tuple[Attribute, ...], after: tuple[Attribute, ...]) -> int:
    """What became of an attribute. An attribute changes when a member of it differs (5.8.6), the times
    that the platform notes aside."""
    if not before:
        return ATTRIBUTE_CREATED
    if not after:
        return ATTRIBUTE_DELETED
    old = {each.dataset_id: each for each in before}
    new = {each.dataset_id: each for each in after}
    bits = ATTRIBUTE_DELETED if old.keys() - new.keys() else 0
    for dataset, instance in new.items():
        if dataset not in old or not alike(old[dataset], instance):
            bits |= ATTRIBUTE_UPDATED
    return bits


def alike(one: Attribute, other: Attribute) -> bool:
    """Whether two instances say the same."""
    return one is other or (
        one.value == other.value
        and type(one.value) is type(other.value)
        and one.observed_at == other.observed_at
        and one.unit_code == other.unit_code
        and one.kind == other.kind
        and one.extra == other.extra
        and one.sub.keys() == other.sub.keys()
        and all(
            len(instances) == len(other.sub[name]) and all(map(alike, instances, other.sub[name]))
            for name, instances in one.sub.items()
        )
    )


class Index:
    """The watches of one tenant that react to changes."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, Bucket]] = {}
        self.linked = 0

    def add(self, watch: Watch) -> None:
        """Put a watch where changes find it."""
        for bucket in self._buckets(watch):
            bucket.add(watch)
        self.linked += watch.levels > 0

    def remove(self, watch: Watch) -> None:
        """Take a watch away."""
        for bucket in self._buckets(watch):
            bucket.remove(watch)
        self.linked -= watch.levels > 0

    def _buckets(self, watch: Watch) -> Iterator[Bucket]:
        for type in types_of(watch.subscription):
            attributes = self._places.setdefault(type, {})
            for attribute in watch.watched or (ANY,):
                yield attributes.setdefault(attribute, Bucket())

    def candidates(self, touched: Touched) -> set[Watch]:
        """Watches that the change may concern."""
        found: set[Watch] = set()
        if not touched.whole and not touched.attributes:
            return found
        for type in (*touched.entity.types, ANY):
            attributes = self._places.get(type)
            if attributes is None:
                continue
            if len(attributes) < len(touched.attributes):
                concerned = [bucket for name, bucket in attributes.items() if name in touched.attributes]
            else:
                concerned = [attributes[name] for name in touched.attributes if name in attributes]
            everything = attributes.get(ANY)
            if everything is not None:
                concerned.append(everything)
            for bucket in concerned:
                bucket.find(touched, found)
        return found


class Bucket:
    """Watches of one type and attribute, each in the narrowest of several places."""

    __slots__ = ("_geo", "_ids", "_rest", "_values")

    def __init__(self) -> None:
        self._ids: dict[str, list[Watch]] = {}
        self._values: dict[Path, Thresholds] = {}
        self._geo: dict[str, Grid] = {}
        self._rest: list[Watch] = []

    def add(self, watch: Watch) -> None:
        """Put a watch in its place."""
        subscription = watch.subscription
        ids = ids_of(subscription)
        if ids:
            for id in ids:
                self._ids.setdefault(id, []).append(watch)
            return
        compared = comparison_of(subscription.q.tree) if subscription.q else None
        if compared is not None:
            self._values.setdefault(compared.path, Thresholds()).add(compared, watch)
            return
        geo = subscription.geo_q.geo if subscription.geo_q else None
        if geo is None or not self._geo.setdefault(geo.property, Grid()).add(geo, watch):
            self._rest.append(watch)

    def remove(self, watch: Watch) -> None:
        """Take a watch out of its place."""
        subscription = watch.subscription
        ids = ids_of(subscription)
        if ids:
            for id in ids:
                self._ids[id].remove(watch)
                if not self._ids[id]:
                    del self._ids[id]
            return
        compared = comparison_of(subscription.q.tree) if subscription.q else None
        if compared is not None:
            self._values[compared.path].remove(compared, watch)
            return
        geo = subscription.geo_q.geo if subscription.geo_q else None
        if geo is None or not self._geo[geo.property].remove(geo, watch):
            self._rest.remove(watch)

    def find(self, touched: Touched, found: set[Watch]) -> None:
        """Add those that may be concerned."""
        if self._ids:
            found.update(self._ids.get(touched.entity.id, ()))
        for path, thresholds in self._values.items():
            thresholds.find(touched.values(path), found)
        for name, grid in self._geo.items():
            for instance in touched.entity.attributes.get(name, ()):
                grid.find(bbox(instance.value) if isinstance(instance.value, dict) else None, found)
        found.update(self._rest)


class Thresholds:
    """Watches by the constant that their `q` compares one path with."""

    __slots__ = ("_above", "_below", "_equal")

    def __init__(self) -> None:
        self._above: list[tuple[float, int, Watch]] = []
        self._below: list[tuple[float, int, Watch]] = []
        self._equal: dict[Any, list[Watch]] = {}

    def add(self, compared: Comparison, watch: Watch) -> None:
        """Put a watch at its constant."""
        ordered, constants = self._place(compared)
        if ordered is not None:
            insort(ordered, (constants[0], id(watch), watch))
        else:
            for constant in constants:
                self._equal.setdefault(constant, []).append(watch)

    def remove(self, compared: Comparison, watch: Watch) -> None:
        """Take a watch from its constant."""
        ordered, constants = self._place(compared)
        if ordered is not None:
            del ordered[bisect_left(ordered, (constants[0], id(watch)))]
        else:
            for constant in constants:
                self._equal[constant].remove(watch)
                if not self._equal[constant]:
                    del self._equal[constant]

    def _place(self, compared: Comparison) -> tuple[list[tuple[float, int, Watch]] | None, tuple[Any, ...]]:
        if compared.range is not None:
            return self._above, (compared.range[0],)
        if compared.operator in (">", ">="):
            return self._above, compared.values
        if compared.operator in ("<", "<="):
            return self._below, compared.values
        return None, compared.values

    def find(self, values: Iterable[Any], found: set[Watch]) -> None:
        """Add those whose constant one of the values reaches."""
        for value in values:
            for watch in self._equal.get(value, ()) if self._equal else ():
                found.add(watch)
            if is_number(value):
                if self._above:
                    reached = bisect_right(self._above, (value, inf))
                    found.update(watch for _, _, watch in self._above[:reached])
                if self._below:
                    reached = bisect_left(self._below, (value,))
                    found.update(watch for _, _, watch in self._below[reached:])


class Grid:
    """Watches by the cells of a map that their geo query reaches, in cells of several sizes."""

    __slots__ = ("_cells", "_levels")

    def __init__(self) -> None:
        self._cells: dict[tuple[float, int, int], list[Watch]] = {}
        self._levels: dict[float, int] = {}

    def add(self, geo: Geo, watch: Watch) -> bool:
        """Put a watch into its cells; False when it reaches too far for any."""
        cells = cells_of(geo)
        for cell in cells:
            self._cells.setdefault(cell, []).append(watch)
            self._levels[cell[0]] = self._levels.get(cell[0], 0) + 1
        return bool(cells)

    def remove(self, geo: Geo, watch: Watch) -> bool:
        """Take a watch out of its cells; False when it was in none."""
        cells = cells_of(geo)
        for cell in cells:
            self._cells[cell].remove(watch)
            if not self._cells[cell]:
                del self._cells[cell]
            self._levels[cell[0]] -= 1
        return bool(cells)

    def find(self, box: tuple[float, float, float, float] | None, found: set[Watch]) -> None:
        """Add those whose cells a box meets."""
        if box is None:
            return
        for size, count in self._levels.items():
            if not count:
                continue
            cells = covering(box, size, len(self._cells))
            if cells is None:
                cells = [cell for cell in self._cells if cell[0] == size]
            for cell in cells:
                found.update(self._cells.get(cell, ()))


def cells_of(geo: Geo) -> list[tuple[float, int, int]]:
    """The cells that a geo query reaches, of the smallest size that needs few of them."""
    boxes = search_boxes(geo)
    for size in LEVELS if boxes is not None else ():
        found: list[tuple[float, int, int]] = []
        for box in boxes or ():
            cells = covering(box, size, MAX_CELLS)
            if cells is None:
                break
            found.extend(cells)
        else:
            return list(dict.fromkeys(found))
    return []


def covering(
    box: tuple[float, float, float, float], size: float, most: int
) -> list[tuple[float, int, int]] | None:
    """The cells of one size that a box meets; None when they are more than `most`."""
    west, south, east, north = (floor(degree / size) for degree in box)
    if (east - west + 1) * (north - south + 1) > most:
        return None
    return [(size, x, y) for x in range(west, east + 1) for y in range(south, north + 1)]


def types_of(subscription: Subscription) -> set[str]:
    """Types of which an entity must have one; `ANY` when none can be named."""
    found: set[str] = set()
    for selector in subscription.entities:
        found |= alternatives(selector.types)
    return {ANY} if ANY in found or not found else found


def alternatives(select: Select | None) -> set[str]:
    """Types of which at least one satisfies every way to satisfy a selection."""
    match select:
        case TypeIs(type=type):
            return {type}
        case AnyOf(parts=parts):
            return set().union(*map(alternatives, parts))
        case AllOf(parts=parts):
            return min(map(alternatives, parts), key=lambda types: (ANY in types, len(types)))
        case _:
            return {ANY}


def ids_of(subscription: Subscription) -> set[str]:
    """The ids that the subscription is confined to; none when it is not."""
    if not subscription.entities or not all(selector.ids for selector in subscription.entities):
        return set()
    return {id for selector in subscription.entities for id in selector.ids}


def comparison_of(node: Node) -> Comparison | None:
    """A comparison with constants that everything matching must satisfy, if one can be looked up."""
    if isinstance(node, And):
        return next(filter(None, map(comparison_of, node.parts)), None)
    if not isinstance(node, Comparison) or node.path.through is not None:
        return None
    if node.operator == "==" and node.range is not None:
        return node if all(map(is_number, node.range)) else None
    if node.operator == "==":
        return node if node.values and all(is_plain(value) for value in node.values) else None
    if node.operator in (">", ">=", "<", "<=") and node.range is None:
        return node if len(node.values) == 1 and is_number(node.values[0]) else None
    return None


def is_number(value: Any) -> bool:
    """Whether a scalar can be ordered among thresholds."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_plain(value: Any) -> bool:
    """Whether a scalar can be looked up by equality."""
    return isinstance(value, str | int | float)


def depth_of(node: Node) -> int:
    """How many links a query follows."""
    match node:
        case And(parts=parts) | Or(parts=parts):
            return max(map(depth_of, parts))
        case Not(part=part):
            return depth_of(part)
        case _:
            path, depth = node.path.through, 0
            while path is not None:
                path, depth = path.through, depth + 1
            return depth


def embeds(subscription: Subscription) -> bool:
    """Whether notifications carry their @context within (6.3.8)."""
    endpoint = subscription.notification.endpoint
    if endpoint.media == "application/geo+json":
        return (endpoint.header("prefer") or "").replace(" ", "") != "body=json"
    return endpoint.media == "application/ld+json"
