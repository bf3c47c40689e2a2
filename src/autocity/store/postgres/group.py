"""Commits that share a transaction, as the arrays of one statement: pure, no connection.

A group is made as if everything were as its commits expect. The server looks first and writes nothing
when it is not; then the group is made again, with what is known by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from autocity.model import Delivery, Instant, Logged
from autocity.store.digest import MANY, Box, Digest, Looked, Paths, Row
from autocity.store.history import Point
from autocity.store.port import COUNTED, RecordWrite, StaleCommit
from autocity.store.postgres.knowledge import Knowledge, spelled
from autocity.store.postgres.tables import key, literal, marks

OPERATIONS = ("create", "update", "delete")

EntityKey = tuple[str, str]
RecordKey = tuple[str, str, str]
"""Kind, tenant, id."""


class Net(Struct):
    """All changes of one entity in a group, as one. `anew`: it was deleted and created in between;
    `created`: the place among all changes of the one that created it."""

    first: Row
    last: Row
    created: int = 0
    anew: bool = False
    recorded: bool = False
    moved: bool = False
    boxes: tuple[Box, ...] = ()
    looked: dict[int, Looked] = {}

    def take(self, row: Row, place: int) -> None:
        """Put a change upon those before it."""
        self.last = row
        if not row.expected:
            self.created = place
        self.recorded = self.recorded or row.record
        if not row.expected and row is not self.first:
            self.anew = True
        if row.boxes is not None:
            self.moved, self.boxes = True, row.boxes
        elif not row.expected:
            self.moved, self.boxes = True, ()
        for looked in row.looked:
            before = self.looked[looked.path].before if looked.path in self.looked else looked.before
            self.looked[looked.path] = Looked(looked.path, before, looked.after)


class RecordNet(Struct):
    """All writes of one record in a group, as one. `added`: how many there were since it was made anew."""

    expected: int | None
    anew: bool = False
    added: int = 0
    body: bytes | None = None

    def take(self, write: RecordWrite) -> None:
        """Put a write upon those before it."""
        self.body = write.body
        if write.body is None:
            self.anew, self.added = True, 0
        else:
            self.added += 1


class Versions(Struct):
    """Versions that were found when they were not as expected."""

    entities: dict[EntityKey, int] = {}
    records: dict[RecordKey, int] = {}


class Group:
    """The commits of a group that can be written, each upon those before it. `answers` has one for each
    commit: how many changes it has, or why it is refused. `doubted`: entities that refused commits rely on,
    whose versions were taken on trust; they may be stale as well."""

    def __init__(self, digests: Sequence[Digest], found: Versions, generation: int) -> None:
        self.nets: dict[EntityKey, Net] = {}
        self.records: dict[RecordKey, RecordNet] = {}
        self.rows: list[Row] = []
        self.deliveries: dict[str, Delivery] = {}
        self.settled: dict[str, None] = {}
        self.counted = 0
        self.relied: int | None = None
        self.answers: list[int | StaleCommit] = []
        self.doubted: set[EntityKey] = set()
        self._found = found
        self._generation = generation
        self._heads: dict[EntityKey, int] = {}
        self._versions: dict[RecordKey, int | None] = {}
        for digest in digests:
            self.answers.append(self._take(digest))
        # What is created gets its place among all entities in this order.
        self.nets = dict(sorted(self.nets.items(), key=lambda item: item[1].created))

    def _take(self, digest: Digest) -> int | StaleCommit:
        heads: dict[EntityKey, int] = {}
        versions: dict[RecordKey, int | None] = {}
        stale = list(self._stale(digest, heads, versions))
        if stale:
            self.doubted |= heads.keys() - self._found.entities.keys()
            return StaleCommit(stale)
        self._heads.update(heads)
        self._versions.update(versions)
        if digest.generation is not None:
            self.relied = self._generation
        for place, row in enumerate(digest.rows, len(self.rows)):
            name = row.tenant, row.id
            net = self.nets.get(name)
            if net is None:
                net = self.nets[name] = Net(row, row, looked={})
            net.take(row, place)
        self.rows += digest.rows
        for write in digest.records:
            record = record_key(write)
            known = self.records.get(record)
            if known is None:
                expected = self._found.records.get(record, write.expected)
                known = self.records[record] = RecordNet(expected)
            known.take(write)
            self.counted += write.kind in COUNTED
        for delivery in digest.deliveries:
            self.deliveries[delivery.id] = delivery
        for id in digest.settled:
            self.deliveries.pop(id, None)
            self.settled[id] = None
        return len(digest.rows)

    def _stale(
        self, digest: Digest, heads: dict[EntityKey, int], versions: dict[RecordKey, int | None]
    ) -> Iterable[tuple[str, str]]:
        if digest.generation is not None and digest.generation != self._generation + self.counted:
            yield "", "generation"
        for row in digest.rows:
            name = row.tenant, row.id
            # An entity that nobody has looked at yet is as it is expected to be.
            there = heads.get(name, self._heads.get(name, self._found.entities.get(name, row.expected)))
            if there != row.expected:
                yield name
            heads[name] = row.version
        for write in digest.records:
            record = record_key(write)
            known = record in versions or record in self._versions
            version = versions.get(record, self._versions.get(record))
            if not known:
                version = self._found.records.get(record, write.expected)
            if write.expected is not None and write.expected != version:
                yield write.tenant, f"{write.kind}/{write.id}"
            versions[record] = 0 if write.body is None else None if version is None else version + 1

    def tenants(self) -> Iterable[str]:
        """The tenants that are written to."""
        yield from (row.tenant for row in self.rows)
        yield from (tenant for _, tenant, _ in self.records)
        yield from (delivery.tenant for delivery in self.deliveries.values())

    def forms(self, tenants: Mapping[str, int]) -> Iterable[tuple[int, str]]:
        """The forms that entities take and leave."""
        for row in self.rows:
            yield tenants[row.tenant], row.form
            if row.form_before:
                yield tenants[row.tenant], row.form_before

    def words(self) -> Iterable[str]:
        """The words that are written."""
        for row in self.rows:
            yield _spelled(row.attributes)
            for point in row.points:
                yield _spelled(point.series)

    def logged(self, first: int) -> list[Logged]:
        """The lines of the change log, from a number on."""
        return [
            Logged(
                seq=seq,
                tenant=row.tenant,
                id=row.id,
                operation=row.operation,  # type: ignore[arg-type]
                types=row.types or row.types_before,
                attributes=row.attributes,
                at=row.at,
                actor=row.actor,
                depth=row.depth,
            )
            for seq, row in enumerate(self.rows, first)
        ]

    def arguments(self, know: Knowledge, holder: int, *, crowded: bool) -> list[Any]:
        """What `commit_1` wants, in its order."""
        places = {name: place for place, name in enumerate(self.nets, 1)}
        return [
            know.paths.revision,
            [know.tenants[tenant] for tenant in know.unwritten(self.tenants())],
            self.relied,
            self.counted,
            holder,
            crowded,
            *columns(17, [_entity(net, know) for net in self.nets.values()]),
            *self._lookups(know.paths),
            *self._points(places, know),
            *columns(7, [_record(name, net, know) for name, net in self.records.items()]),
            list(self.settled),
            *columns(9, [_delivery(one, know) for one in self.deliveries.values()]),
            *self._counts(know),
            *columns(8, [_line(row, know) for row in self.rows]),
        ]

    def _lookups(self, paths: Paths) -> Iterable[Any]:
        less, more = [], []
        overflown: set[int] = set()
        for place, net in enumerate(self.nets.values(), 1):
            for looked in net.looked.values():
                before, after = looked.before, looked.after
                if not net.anew:
                    before, after = (
                        tuple(entry for entry in before if entry not in looked.after),
                        tuple(entry for entry in after if entry not in looked.before),
                    )
                less += [(place, looked.path, key(entry)) for entry in before]
                more += [(place, looked.path, key(entry)) for entry in after]
                overflown.update(looked.path for kind, _ in after if kind == MANY)
        known = {one.id for some in paths.of.values() for one in some if one.overflow}
        return (*columns(3, less), *columns(3, more), sorted(overflown - known))

    def _points(self, places: Mapping[EntityKey, int], know: Knowledge) -> Iterable[list[Any]]:
        rows = []
        taken: Counter[tuple[int, int, Instant, int]] = Counter()
        for row in self.rows:
            if not row.points:
                continue
            place = places[row.tenant, row.id]
            for point in row.points:
                series = know.word(_spelled(point.series))
                spot = place, series, point.at, point.lag
                n = taken[spot]
                taken[spot] = n + 1
                rows.append((place, series, point.at, point.lag, n, *native(point)))
        return columns(9, rows)

    def _counts(self, know: Knowledge) -> tuple[list[int], list[int]]:
        """How many entities more or fewer each form has, in the order in which forms are locked."""
        counts: Counter[int] = Counter()
        for row in self.rows:
            tenant = know.tenants[row.tenant]
            if row.form_before:
                counts[know.form_numbers[tenant, row.form_before]] -= 1
            if row.version:
                counts[know.form_numbers[tenant, row.form]] += 1
        changed = sorted((form, count) for form, count in counts.items() if count)
        return [form for form, _ in changed], [count for _, count in changed]


def record_key(write: RecordWrite) -> RecordKey:
    """What tells a record from all others."""
    return write.kind, write.tenant, write.id


def uncertain(digests: Sequence[Digest]) -> set[RecordKey]:
    """Records that are written more than once, so that their present version must be known beforehand."""
    times = Counter(record_key(write) for digest in digests for write in digest.records)
    return {name for name, count in times.items() if count > 1}


def columns(width: int, rows: Sequence[tuple[Any, ...]]) -> Iterable[Any]:
    """Rows as columns; as many of them when there are no rows."""
    return zip(*rows, strict=True) if rows else [()] * width


def native(point: Point) -> tuple[int | None, float | None, bytes | None, bytes | None]:
    """The value of a point in the column that it goes to, and its rest."""
    value = point.value
    match value:
        case int():
            return value, None, None, point.rest
        case float():
            return None, value, None, point.rest
        case str():
            return None, None, value.encode(), point.rest
        case _:
            return None, None, None, point.rest


def past_of(
    types: Iterable[str], scopes: Iterable[str], created: Instant, modified: Instant, deleted: Instant
) -> str:
    """What history knows of an entity beyond its present state, as `entity.past` keeps it."""
    return msgspec.json.encode(
        {
            "types": list(types),
            "scopes": list(scopes),
            "created": created,
            "modified": modified,
            "deleted": deleted,
        }
    ).decode()


_spellings: dict[tuple[str, ...], str] = {}


def _spelled(names: tuple[str, ...]) -> str:
    """The spelling of a series or of names of attributes, remembered: the same few come again and again."""
    if (text := _spellings.get(names)) is None:
        if len(_spellings) > 10_000:
            _spellings.clear()
        text = _spellings[names] = spelled(names)
    return text


def _entity(net: Net, know: Knowledge) -> tuple[Any, ...]:
    first, last = net.first, net.last
    tenant = know.tenants[last.tenant]
    there = bool(last.version)
    if there:
        scoped = net.anew or first.scopes_before != last.scopes
        west, south, east, north = _around(net.boxes) if net.boxes else _NOWHERE
        return (
            tenant, last.id, first.expected, last.version, net.anew, net.recorded,
            know.form_numbers[tenant, last.form], last.expires,
            net.moved or net.anew, west, south, east, north,
            scoped, literal(marks(last.scopes)) if scoped and last.scopes else None, None, last.document,
        )  # fmt: skip
    past = past_of(last.types_before, last.scopes_before, last.created, last.modified, last.at)
    return (
        tenant, last.id, first.expected, 0, net.anew, net.recorded,
        None, None, True, None, None, None, None, True, None, past, None,
    )  # fmt: skip


_NOWHERE = None, None, None, None


def _around(boxes: Iterable[Box]) -> tuple[float, float, float, float]:
    """West, south, east and north of a box around boxes."""
    _, wests, easts, souths, norths = zip(*boxes, strict=True)
    return min(wests), min(souths), max(easts), max(norths)


def _record(name: RecordKey, net: RecordNet, know: Knowledge) -> tuple[Any, ...]:
    kind, tenant, id = name
    return kind, know.tenants[tenant], id, net.expected, net.anew, net.added, net.body


def _delivery(one: Delivery, know: Knowledge) -> tuple[Any, ...]:
    return (
        one.id, know.tenants[one.tenant], one.subscription, one.created_at, one.due_at, one.attempts,
        one.dead, one.error, one.body,
    )  # fmt: skip


def _line(row: Row, know: Knowledge) -> tuple[Any, ...]:
    tenant = know.tenants[row.tenant]
    return (
        tenant, row.id, OPERATIONS.index(row.operation), know.form_numbers[tenant, row.form],
        know.word(_spelled(row.attributes)), row.at, row.actor, row.depth,
    )  # fmt: skip
