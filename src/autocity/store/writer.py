"""The one thread that writes to the embedded store: everything that waits becomes one transaction."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import apsw
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.errors import CityError, StoreUnavailable
from autocity.ld import document
from autocity.ld.query import Path
from autocity.model import Delivery, Entity, Logged
from autocity.store import history
from autocity.store.compile import array
from autocity.store.digest import (
    MANY,
    MAX_PATHS,
    Digest,
    Indexed,
    Looked,
    Paths,
    Provision,
    Row,
    keys,
    mentions,
)
from autocity.store.history import Point, Series
from autocity.store.port import COUNTED, RecordWrite, StaleCommit
from autocity.store.reader import OPERATIONS, leap, load_series, place

GROUP = 256
"""Commits that share one transaction, at most."""

GROUP_ROWS = 4096
"""Changes in one transaction beyond which no further commit joins it, so that none waits long."""

CHUNK = 200
"""Entities whose scalars are put into a new attribute index in one transaction."""

LOG_LINES = 1_000_000
LOG_SLACK = 10_000


class Announcement(NamedTuple):
    """What a transaction left, for those who wait: each job's answer, the changes in commit order."""

    answers: list[tuple[Job, Any]]
    logged: list[Logged]
    generation: int
    paths: Paths


class Job(NamedTuple):
    """Something to do in a transaction. `run` writes nothing when it raises a refusal. `answer` is called
    by whoever hears the announcement, with what `run` returned or raised. `about`: the rows of a commit,
    so that what they rely on is read for a whole group at once."""

    run: Callable[[Writer], Any]
    answer: Callable[[Any], None]
    about: tuple[Row, ...] = ()


class Known(Struct):
    """What the transaction knows of an entity id: present (`rid` not 0) or not, and its history."""

    rid: int = 0
    version: int = 0
    history: int = 0
    net: Net | None = None


class Net(Struct):
    """All changes of one incarnation of an entity in this transaction, as one."""

    rid: int
    new: bool
    first: Row
    last: Row
    history: int
    boxes: tuple[Any, ...] | None = None
    looked: dict[int, Looked] = {}


class Writer:
    """Owns the writing connection. `announce` is called on the writer's thread after each transaction."""

    def __init__(self, db: apsw.Connection, announce: Callable[[Announcement], object]) -> None:
        self._db = db
        self._announce = announce
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="autocity-writer", daemon=True)
        self._logged: list[Logged] = []
        self.generation = 0
        self.paths = Paths()
        self._sure = False
        self._load()

    def start(self) -> None:
        self._thread.start()
        for tenant, indexed in self._unfilled():
            self.submit(Job(lambda writer, t=tenant, i=indexed: writer.fill(t, i), nobody))  # type: ignore[misc]

    def submit(self, job: Job) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """Finish what waits, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    # -- transactions

    def _run(self) -> None:
        going = True
        while going:
            jobs, going = self._take()
            if jobs:
                self._announce(self._transact(jobs))

    def _take(self) -> tuple[list[Job], bool]:
        """Whatever waits, but at least one. The group is what arrived during the last commit: no timer."""
        job = self._jobs.get()
        jobs: list[Job] = []
        rows = 0
        while job is not None:
            jobs.append(job)
            rows += len(job.about)
            if len(jobs) == GROUP or rows > GROUP_ROWS:
                return jobs, True
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs, True
        return jobs, False

    def _transact(self, jobs: list[Job]) -> Announcement:
        try:
            return self._together(jobs)
        except Exception as fault:  # noqa: BLE001 - whatever it is, nothing of it was written
            if len(jobs) == 1:
                return Announcement([(jobs[0], _refusal(fault))], [], self.generation, self.paths)
        # One of them cannot be written: let each stand alone, so that only that one fails.
        alone = [self._transact([job]) for job in jobs]
        return Announcement(
            [answer for one in alone for answer in one.answers],
            [line for one in alone for line in one.logged],
            self.generation,
            self.paths,
        )

    def _together(self, jobs: list[Job]) -> Announcement:
        if not self._sure:
            self._load()
        before = self.generation, self.paths
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._meet((row.tenant, row.id) for job in jobs for row in job.about)
            answers = [(job, self._answer(job)) for job in jobs]
            self._flush()
            logged = self._logged
            self._db.execute("COMMIT")
        except BaseException:
            self._sure = False
            self.generation, self.paths = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._logged = []
        return Announcement(answers, logged, self.generation, self.paths)

    def _answer(self, job: Job) -> Any:
        try:
            return job.run(self)
        except (StaleCommit, CityError) as refusal:
            return refusal

    def _load(self) -> None:
        """Know what the file holds; all that a rolled back transaction thought it knew is gone."""
        db = self._db
        self._logged = []
        self._begin()
        meta = dict(db.execute("SELECT key, value FROM meta"))
        self.generation = meta["generation"]
        self._seq: int = db.execute("SELECT coalesce(max(seq), 0) FROM log").get
        self._rid: int = db.execute(
            "SELECT max(coalesce((SELECT max(rid) FROM entity), 0),"
            " coalesce((SELECT max(history) FROM past), 0), coalesce((SELECT max(history) FROM point), 0))"
        ).get
        self._tenants = dict(db.execute("SELECT name, id FROM tenant"))
        self._names: dict[str, int] = {}
        self._lists: dict[tuple[str, ...], str] = {}
        self._forms = {
            (tenant, body): id for id, tenant, body in db.execute("SELECT id, tenant, body FROM form")
        }
        self._series: dict[Series, int] = {}
        self.paths = load_paths(db, meta["paths"])
        self._sure = True

    def _begin(self) -> None:
        """Nothing is pending."""
        self._known: dict[tuple[str, str], Known] = {}
        self._nets: list[Net] = []
        self._past: dict[int, tuple[Any, ...] | None] = {}
        self._points: list[tuple[Any, ...]] = []
        self._counts: Counter[int] = Counter()
        self._log: list[tuple[Any, ...]] = []
        self._deliveries: dict[str, Delivery] = {}
        self._settled: set[str] = set()

    # -- numbers for names

    def _tenant(self, name: str) -> int:
        if (number := self._tenants.get(name)) is None:
            number = self._tenants[name] = len(self._tenants)
            self._db.execute("INSERT INTO tenant VALUES (?, ?)", (number, name))
        return number

    def _name(self, iri: str) -> int:
        if (number := self._names.get(iri)) is None:
            if len(self._names) > 100_000:
                self._names.clear()
            number = self._db.execute("SELECT id FROM name WHERE iri = ?", (iri,)).get
            if number is None:
                self._db.execute("INSERT INTO name (iri) VALUES (?)", (iri,))
                number = self._db.last_insert_rowid()
            self._names[iri] = number
        return number

    def _form(self, tenant: int, body: str) -> int:
        if (number := self._forms.get((tenant, body))) is None:
            self._db.execute("INSERT INTO form (tenant, body, entities) VALUES (?, ?, 0)", (tenant, body))
            number = self._forms[tenant, body] = self._db.last_insert_rowid()
        return number

    def _attributes(self, names: tuple[str, ...]) -> str:
        """A JSON array of the numbers of some names."""
        if (text := self._lists.get(names)) is None:
            if len(self._lists) > 10_000:
                self._lists.clear()
            text = self._lists[names] = array(map(self._name, names))
        return text

    def _series_number(self, series: Series) -> int:
        if len(self._series) > 100_000:
            self._series.clear()
        attribute, dataset, *rest = series
        values = self._name(attribute), self._name(dataset) if dataset else 0, *rest
        number = self._db.execute(
            "SELECT id FROM series WHERE (attribute, dataset, kind, unit_code, written, coding)"
            " = (?, ?, ?, ?, ?, ?)",
            values,
        ).get
        if number is None:
            self._db.execute(
                "INSERT INTO series (attribute, dataset, kind, unit_code, written, coding)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
            number = self._db.last_insert_rowid()
        self._series[series] = number
        return int(number)

    def _next_rid(self) -> int:
        self._rid += 1
        return self._rid

    # -- commits

    def commit(self, digest: Digest) -> list[int]:
        """Take a commit into the transaction. Raises `StaleCommit`, having changed nothing."""
        stale = list(self._stale(digest))
        if stale:
            raise StaleCommit(stale)
        first = self._seq + 1
        current = digest.paths == self.paths.revision
        for row in digest.rows:
            self._apply(row if current else self._relooked(row))
        for write in digest.records:
            self._put(write)
        for provision in digest.points:
            self._provide(provision)
        for delivery in digest.deliveries:
            self._deliveries[delivery.id] = delivery
        for id in digest.settled:
            self._deliveries.pop(id, None)
            self._settled.add(id)
        return list(range(first, self._seq + 1))

    def _stale(self, digest: Digest) -> Iterable[tuple[str, str]]:
        if digest.generation is not None and digest.generation != self.generation:
            yield "", "generation"
        for provision in digest.points:
            if provision.replacing:
                self._flush()
                number = self._history(provision.tenant, provision.id)
                for instance_id, point in provision.replacing:
                    if self._find(provision.id, number, point.series.attribute, instance_id) is None:
                        yield provision.tenant, provision.id
        self._meet((row.tenant, row.id) for row in digest.rows)
        heads: dict[tuple[str, str], int] = {}
        for row in digest.rows:
            key = row.tenant, row.id
            if heads.get(key, self._known[key].version) != row.expected:
                yield key
            heads[key] = row.version
        versions: dict[tuple[str, str, str], int] = {}
        for write in digest.records:
            name = write.tenant, write.kind, write.id
            version = versions[name] if name in versions else self._record_version(write)
            if write.expected not in (None, version):
                yield write.tenant, f"{write.kind}/{write.id}"
            versions[name] = 0 if write.body is None else version + 1

    def _meet(self, keys: Iterable[tuple[str, str]]) -> None:
        """Know the present version of these entities, whether they were met in this transaction or not."""
        strange: dict[str, list[str]] = {}
        for key in keys:
            if key not in self._known:
                self._known[key] = Known()
                strange.setdefault(key[0], []).append(key[1])
        for tenant, ids in strange.items():
            number = self._tenants.get(tenant)
            if number is None:
                continue
            found: list[tuple[Any, ...]] = self._db.execute(
                "SELECT id, rid, version, history FROM entity"
                " WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))",
                (number, array(ids)),
            ).fetchall()
            for id, rid, version, history_number in found:
                self._known[tenant, id] = Known(rid, version, history_number)
            if len(found) < len(ids):
                self._meet_past(tenant, number, [id for id in ids if not self._known[tenant, id].rid])

    def _meet_past(self, tenant: str, number: int, ids: list[str]) -> None:
        for id, history_number in self._db.execute(
            "SELECT id, history FROM past WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))",
            (number, array(ids)),
        ):
            self._known[tenant, id].history = history_number

    def _apply(self, row: Row) -> None:
        known = self._known[row.tenant, row.id]
        tenant = self._tenant(row.tenant)
        net = known.net
        if net is None:
            new = not known.rid
            net = Net(known.rid or self._next_rid(), new, row, row, known.history, looked={})
            self._nets.append(net)
        if row.record and not known.history:
            known.history = net.rid
        if not row.expected and known.history:
            self._past[known.history] = None
        net.last, net.history = row, known.history
        if row.boxes is not None:
            net.boxes = row.boxes
        for looked in row.looked:
            before = net.looked.get(looked.path, looked).before
            net.looked[looked.path] = Looked(looked.path, before, looked.after)
        number = known.history
        self._points += [self._point(number, point) for point in row.points]
        known.rid, known.version, known.net = net.rid, row.version, net
        if not row.version:
            if known.history:
                self._leave(known.history, tenant, row)
            known.rid, known.net = 0, None
        self._note(row, tenant)

    def _leave(self, number: int, tenant: int, row: Row) -> None:
        """Let history remember an entity that is deleted."""
        types = list(row.types_before)
        pending = self._past.get(number)
        added = (
            pending[3]
            if pending
            else self._db.execute("SELECT types FROM past WHERE history = ?", (number,)).get
            if number not in self._past
            else None
        )
        types += (type for type in msgspec.json.decode(added or "[]") if type not in types)
        self._past[number] = (
            number, tenant, row.id, array(types), array(row.scopes_before), row.created, row.modified, row.at,
        )  # fmt: skip

    def _note(self, row: Row, tenant: int) -> None:
        self._seq += 1
        form = self._form(tenant, row.form)
        before = self._form(tenant, row.form_before) if row.form_before else 0
        if before and before != (form if row.version else 0):
            self._counts[before] -= 1
        if row.version and before != form:
            self._counts[form] += 1
        self._log.append(
            (
                self._seq, tenant, row.id, OPERATIONS.index(row.operation), form,
                self._attributes(row.attributes), row.at, row.actor, row.depth,
            )
        )  # fmt: skip
        self._logged.append(
            Logged(
                seq=self._seq,
                tenant=row.tenant,
                id=row.id,
                operation=row.operation,  # type: ignore[arg-type]
                types=row.types or row.types_before,
                attributes=row.attributes,
                at=row.at,
                actor=row.actor,
                depth=row.depth,
            )
        )

    def _point(self, number: int, point: Point) -> tuple[Any, ...]:
        series, at, lag, value, rest = point
        ms, us = divmod(at, 1000)
        return number, self._series.get(series) or self._series_number(series), ms, us << 20, lag, value, rest

    def _insert_points(self, points: list[tuple[Any, ...]]) -> None:
        """Two instances hardly ever stand at the same place of a series; only then is `n` looked for."""
        before = self._db.total_changes()
        self._db.execute("SAVEPOINT points")
        self._db.executemany(INSERT_POINT, points)
        if self._db.total_changes() - before < len(points):
            self._db.execute("ROLLBACK TO points")
            self._db.executemany(INSERT_NEXT_POINT, points)
        self._db.execute("RELEASE points")

    def _document(self, rid: int) -> bytes:
        text: bytes = self._db.execute("SELECT document FROM entity WHERE rid = ?", (rid,)).get
        return text

    # -- records, history

    def _record_version(self, write: RecordWrite) -> int:
        tenant = self._tenants.get(write.tenant, -1)
        version: int | None = self._db.execute(
            "SELECT version FROM record WHERE kind = ? AND tenant = ? AND id = ?",
            (write.kind, tenant, write.id),
        ).get
        return version or 0

    def _put(self, write: RecordWrite) -> None:
        tenant = self._tenant(write.tenant)
        if write.body is None:
            self._db.execute(
                "DELETE FROM record WHERE kind = ? AND tenant = ? AND id = ?", (write.kind, tenant, write.id)
            )
        else:
            self._db.execute(
                "INSERT INTO record (kind, tenant, id, version, body) VALUES (?, ?, ?, 1, ?)"
                " ON CONFLICT (kind, tenant, id) DO UPDATE SET version = version + 1, body = excluded.body",
                (write.kind, tenant, write.id, write.body),
            )
        if write.kind in COUNTED:
            self.generation += 1
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'generation'", (self.generation,))

    def _history(self, tenant: str, id: str) -> int:
        """The number of an entity's history, 0 when it has none."""
        self._meet([(tenant, id)])
        return self._known[tenant, id].history

    def _provide(self, write: Provision) -> None:
        """Temporal provision is rare beside changes and touches what they touch, so it writes at once."""
        self._flush()
        number = self._history(write.tenant, write.id)
        known, tenant, db = self._known[write.tenant, write.id], self._tenant(write.tenant), self._db
        if known.rid:
            if not number:
                number = known.rid
                db.execute("UPDATE entity SET history = ? WHERE rid = ?", (number, known.rid))
            self._add_types(number, tenant, write, document.load(self._document(known.rid)).types)
        elif number:
            self._add_types(number, tenant, write, ())
            db.execute("UPDATE past SET modified = ? WHERE history = ?", (write.at, number))
            if write.scopes:
                db.execute("UPDATE past SET scopes = ? WHERE history = ?", (array(write.scopes), number))
        else:
            number = self._next_rid()
            types, scopes = array(dict.fromkeys(write.types)), array(write.scopes)
            db.execute(
                "INSERT INTO past VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
                (number, tenant, write.id, types, scopes, write.at, write.at),
            )
        points = [self._point(number, point) for point in write.points]
        points += [self._replaced(number, write, *pair) for pair in write.replacing]
        self._insert_points(points)
        self._begin()

    def _add_types(self, number: int, tenant: int, write: Provision, present: tuple[str, ...]) -> None:
        old = self._db.execute("SELECT types FROM past WHERE history = ?", (number,)).get
        types = msgspec.json.decode(old) if old else []
        added = [type for type in dict.fromkeys(write.types) if type not in types and type not in present]
        if added:
            self._db.execute(
                "INSERT INTO past VALUES (?, ?, ?, ?, '[]', 0, 0, 0)"
                " ON CONFLICT (history) DO UPDATE SET types = excluded.types",
                (number, tenant, write.id, array(types + added)),
            )

    def _replaced(self, number: int, write: Provision, instance_id: str, point: Point) -> tuple[Any, ...]:
        """Take the old instance out; the new one, which keeps its id and `createdAt` (5.6.14)."""
        found = self._find(write.id, number, point.series.attribute, instance_id)
        assert found is not None
        self._db.execute(DELETE_POINT, found)
        _, _, ms, fine, lag = found
        created = ms * 1000 + (fine >> 20) + lag
        instance = history.decode(write.id, point, 0)
        return self._point(number, history.encode(point.series.attribute, instance, created, write.at))

    def _find(self, entity: str, number: int, attribute: str | None, instance_id: str) -> Key | None:
        """Where an instance stands: by what its id tells, else by the id that a replaced one keeps."""
        parsed = history.parse_instance_id(instance_id)
        for id, series in self._series_of(number):
            if attribute not in (None, series.attribute):
                continue
            if parsed and parsed[0] == history.series_id(entity, series):
                _, at, lag, n = parsed
                key = (number, id, *place(at, n), lag)
                rest = self._db.execute(f"{SELECT_REST} AND (ms, fine, lag) = (?, ?, ?)", key).fetchone()
                if rest and not history.left_over(rest[0]).instance_id:
                    return key
            kept: list[tuple[Any, ...]] = self._db.execute(
                f"{SELECT_REST} AND rest IS NOT NULL", (number, id)
            ).fetchall()
            for rest, *there in kept:
                if history.left_over(rest).instance_id == instance_id:
                    return number, id, *there
        return None

    def _series_of(self, number: int) -> list[tuple[int, Series]]:
        return [(id, load_series(self._db, id)) for id in leap(self._db, number)]

    def forget(
        self, tenant: str, id: str, attribute: str | None, instance_id: str | None, datasets: Sequence[str]
    ) -> bool:
        """Delete history; see `port.Store.forget`."""
        self._flush()
        number = self._history(tenant, id)
        self._begin()
        db = self._db
        if not number:
            return False
        if instance_id is not None:
            found = self._find(id, number, attribute, instance_id)
            if found:
                db.execute(DELETE_POINT, found)
            return found is not None
        if attribute is None and not datasets:
            db.execute("DELETE FROM point WHERE history = ?", (number,))
            db.execute("DELETE FROM past WHERE history = ?", (number,))
            db.execute(
                "UPDATE entity SET history = 0 WHERE tenant = ? AND id = ?", (self._tenants[tenant], id)
            )
            return True
        going = [
            (number, series_number)
            for series_number, series in self._series_of(number)
            if attribute in (None, series.attribute)
            and (not datasets or (series.dataset or "@none") in datasets)
        ]
        db.executemany("DELETE FROM point WHERE history = ? AND series = ?", going)
        return bool(going)

    # -- attribute indexes

    def index(self, tenant: str, path: Path) -> bool:
        """Begin an attribute index for a path; False when there is one, or there are too many."""
        number = self._tenants.get(tenant)
        known = self.paths.of.get(tenant, ())
        if number is None or any(one.path == path for one in known):
            return False
        if sum(map(len, self.paths.of.values())) >= MAX_PATHS:
            return False
        self._flush()
        body = msgspec.json.encode(path).decode()
        self._db.execute("INSERT INTO path (tenant, body, filled) VALUES (?, ?, 0)", (number, body))
        self._repath()
        self.submit(Job(lambda writer: writer.fill(tenant, path), nobody))
        return True

    def fill(self, tenant: str, path: Path) -> None:
        """Put the next lump of entities into a new index; the last lump makes it ready."""
        self._flush()
        db, number = self._db, self._tenants[tenant]
        indexed = next(one for one in self.paths.of[tenant] if one.path == path)
        done = db.execute("SELECT filled FROM path WHERE id = ?", (indexed.id,)).get
        rows: list[tuple[Any, ...]] = db.execute(
            "SELECT rid, document FROM entity NOT INDEXED WHERE tenant = ? AND rid > ? ORDER BY rid LIMIT ?",
            (number, done, CHUNK),
        ).fetchall()
        entries = [
            (indexed.id, kind, value, rid)
            for rid, text in rows
            if mentions(text, path)
            for kind, value in keys(path, document.load(text))
        ]
        self._insert_lookups(entries)
        last = rows[-1][0] if len(rows) == CHUNK else None
        db.execute("UPDATE path SET filled = ? WHERE id = ?", (last, indexed.id))
        if last is None:
            self._repath()
        else:
            self.submit(Job(lambda writer: writer.fill(tenant, path), nobody))

    def _unfilled(self) -> list[tuple[str, Path]]:
        return [
            (tenant, one.path) for tenant, known in self.paths.of.items() for one in known if not one.ready
        ]

    def _repath(self) -> None:
        revision = self.paths.revision + 1
        self._db.execute("UPDATE meta SET value = ? WHERE key = 'paths'", (revision,))
        self.paths = load_paths(self._db, revision)

    def _insert_lookups(self, entries: list[tuple[Any, ...]]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO lookup VALUES (?, ?, ?, ?)", entries)
        over = {entry[0] for entry in entries if entry[1] == MANY}
        known = {one.id for paths in self.paths.of.values() for one in paths if one.overflow}
        if over - known:
            self._db.executemany("UPDATE path SET overflow = 1 WHERE id = ?", [(id,) for id in over])
            self._repath()

    def _relooked(self, row: Row) -> Row:
        """The row with its index entries made again: the set of paths changed since it was prepared."""
        paths = self.paths.of.get(row.tenant, ())
        if not paths:
            return replace(row, looked=())
        known = self._known[row.tenant, row.id]
        before: Entity | None = None
        if known.net:
            before = document.load(known.net.last.document)
        elif known.rid:
            before = document.load(self._document(known.rid))
        after = document.load(row.document) if row.version else None
        looked = tuple(Looked(one.id, keys(one.path, before), keys(one.path, after)) for one in paths)
        return replace(row, looked=looked)

    # -- the transaction's rows, table by table

    def _flush(self) -> None:
        """Write what is pending, as sets. Changes of one entity have become one by now, so that no
        table needs to see them in their order; what is taken away goes first."""
        db, nets = self._db, self._nets
        gone = [net for net in nets if not net.new and not net.last.version]
        kept = [net for net in nets if not net.new and net.last.version]
        new = [net for net in nets if net.new and net.last.version]
        present = kept + new
        many = db.executemany
        if gone:
            many("DELETE FROM entity WHERE rid = ?", [(net.rid,) for net in gone])
        if kept:
            many(
                "UPDATE entity SET version = ?, expires = ?, history = ?, document = ? WHERE rid = ?",
                [
                    (net.last.version, net.last.expires, net.history, net.last.document, net.rid)
                    for net in kept
                ],
            )
        if new:
            many(
                "INSERT INTO entity (rid, tenant, id, version, expires, history, document)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        net.rid, self._tenants[net.last.tenant], net.last.id, net.last.version,
                        net.last.expires, net.history, net.last.document,
                    )
                    for net in new
                ],
            )  # fmt: skip
        self._flush_types(gone, kept, new)
        self._flush_scopes(gone, kept, new)
        self._flush_boxes(gone, kept, new)
        self._flush_lookups(gone + present)
        if self._past:
            many("DELETE FROM past WHERE history = ?", [(number,) for number in self._past])
            many(
                "INSERT INTO past VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [row for row in self._past.values() if row],
            )
        if self._points:
            self._insert_points(self._points)
        if self._counts:
            many(
                "UPDATE form SET entities = entities + ? WHERE id = ?",
                [(count, form) for form, count in self._counts.items() if count],
            )
        self._flush_deliveries()
        self._flush_log()
        self._begin()

    def _flush_types(self, gone: list[Net], kept: list[Net], new: list[Net]) -> None:
        less, more = [], []
        for net in gone:
            less += self._types(net, net.first.types_before)
        for net in kept:
            if net.first.form_before != net.last.form:
                less += self._types(net, net.first.types_before)
                more.append(net)
        if less:
            self._db.executemany("DELETE FROM entity_type WHERE tenant = ? AND type = ? AND rid = ?", less)
        more += new
        if more:
            self._db.executemany(
                "INSERT INTO entity_type VALUES (?, ?, ?, ?)",
                [
                    (*key, self._forms[key[0], net.last.form])
                    for net in more
                    for key in self._types(net, net.last.types)
                ],
            )

    def _types(self, net: Net, types: tuple[str, ...]) -> list[tuple[int, int, int]]:
        tenant = self._tenants[net.last.tenant]
        return [(tenant, self._name(type), net.rid) for type in types]

    def _flush_scopes(self, gone: list[Net], kept: list[Net], new: list[Net]) -> None:
        kept = [net for net in kept if net.first.scopes_before != net.last.scopes]
        less = [key for net in gone + kept for key in self._scopes(net, net.first.scopes_before)]
        more = [key for net in kept + new for key in self._scopes(net, net.last.scopes)]
        if less:
            self._db.executemany("DELETE FROM entity_scope WHERE tenant = ? AND scope = ? AND rid = ?", less)
        if more:
            self._db.executemany("INSERT OR IGNORE INTO entity_scope VALUES (?, ?, ?)", more)

    def _scopes(self, net: Net, scopes: tuple[str, ...]) -> list[tuple[int, str, int]]:
        tenant = self._tenants[net.last.tenant]
        return [(tenant, scope.removeprefix("/"), net.rid) for scope in scopes]

    def _flush_boxes(self, gone: list[Net], kept: list[Net], new: list[Net]) -> None:
        moved = [net for net in kept if net.boxes is not None]
        less = [(net.rid * 256 + i,) for net in gone + moved for i in range(net.first.boxes_before)]
        if less:
            self._db.executemany("DELETE FROM box WHERE id = ?", less)
        more = [
            (net.rid * 256 + i, *box[1:], self._name(box[0]) if box[0] else 0)
            for net in moved + new
            for i, box in enumerate(net.boxes or ())
        ]
        if more:
            self._db.executemany(
                "INSERT INTO box (id, west, east, south, north, property) VALUES (?, ?, ?, ?, ?, ?)", more
            )

    def _flush_lookups(self, nets: list[Net]) -> None:
        less, more = [], []
        for net in nets:
            for looked in net.looked.values():
                after = looked.after if net.last.version else ()
                less += [(looked.path, *key, net.rid) for key in looked.before if key not in after]
                more += [(looked.path, *key, net.rid) for key in after if key not in looked.before]
        if less:
            self._db.executemany(
                "DELETE FROM lookup WHERE path = ? AND kind = ? AND value = ? AND rid = ?", less
            )
        if more:
            self._insert_lookups(more)

    def _flush_deliveries(self) -> None:
        if self._settled:
            self._db.executemany("DELETE FROM delivery WHERE id = ?", [(id,) for id in self._settled])
        if self._deliveries:
            self._db.executemany(
                PUT_DELIVERY,
                [
                    (
                        one.id, self._tenant(one.tenant), one.subscription, one.created_at, one.due_at,
                        one.attempts, one.dead, one.error, one.body,
                    )
                    for one in self._deliveries.values()
                ],
            )  # fmt: skip

    def _flush_log(self) -> None:
        if not self._log:
            return
        self._db.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._log)
        if self._seq // LOG_SLACK > (self._seq - len(self._log)) // LOG_SLACK:
            self._db.execute("DELETE FROM log WHERE seq <= ?", (self._seq - LOG_LINES,))


INSERT_POINT = "INSERT INTO point VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"

INSERT_NEXT_POINT = """
INSERT INTO point VALUES (?1, ?2, ?3, coalesce((SELECT max(fine) + 1 FROM point
  WHERE (history, series, ms, lag) = (?1, ?2, ?3, ?5) AND fine BETWEEN ?4 AND ?4 + 1048575), ?4), ?5, ?6, ?7)
"""

PUT_DELIVERY = """
INSERT INTO delivery (id, tenant, subscription, created, due, attempts, dead, error, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, subscription = excluded.subscription,
  created = excluded.created, due = excluded.due, attempts = excluded.attempts, dead = excluded.dead,
  error = excluded.error, body = excluded.body
"""

DELETE_POINT = "DELETE FROM point WHERE (history, series, ms, fine, lag) = (?, ?, ?, ?, ?)"

SELECT_REST = "SELECT rest, ms, fine, lag FROM point WHERE history = ? AND series = ?"

Key = tuple[int, int, int, int, int]
"""The primary key of a point."""


def load_paths(db: apsw.Connection, revision: int) -> Paths:
    """The attribute indexes that the file has."""
    of: dict[str, tuple[Indexed, ...]] = {}
    for id, tenant, body, filled, overflow in db.execute(
        "SELECT path.id, name, body, filled, overflow FROM path"
        " JOIN tenant ON tenant.id = path.tenant ORDER BY path.id"
    ):
        indexed = Indexed(id, msgspec.json.decode(body, type=Path), filled is None, bool(overflow))
        of[tenant] = (*of.get(tenant, ()), indexed)
    return Paths(revision, of)


def _refusal(fault: Exception) -> Exception:
    if isinstance(fault, apsw.Error):
        return StoreUnavailable(f"the store cannot be written: {fault}")
    return fault


def nobody(answer: Any) -> None:
    """Nobody waits for this."""
