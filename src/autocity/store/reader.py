"""Reading the embedded store: one connection, plain functions, no event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path as FilePath
from typing import Any, Literal

import apsw
import msgspec

from autocity.ld import document
from autocity.ld.query import Query, matcher, sort
from autocity.ld.temporal import Window
from autocity.model import Attribute, Delivery, Entity, Instant, Logged, Record, Stored
from autocity.store import history
from autocity.store.compile import (
    SMALL,
    Form,
    Forms,
    Plan,
    Schema,
    Sql,
    SQLiteTables,
    array,
    attributes_of,
    compile,
    id_test,
)
from autocity.store.digest import Paths, parse_form, summarize
from autocity.store.history import Point, Series
from autocity.store.port import History, Page, TypeSummary

Operation = Literal["create", "update", "delete"]

STEPS = 20_000
"""Steps of SQLite's machine between two looks at the budget: a fraction of a millisecond."""

_strings = msgspec.json.Decoder(tuple[str, ...])
_numbers = msgspec.json.Decoder(tuple[int, ...])


class TooLong(Exception):
    """This would take longer than the event loop can wait; do it in another thread."""


class Budget:
    """How much a read may cost before it must give up its place on the event loop."""

    def __init__(self, looks: int, entities: int) -> None:
        self._limits = looks, entities
        self._bound = False

    def __enter__(self) -> None:
        self._looks, self._entities = self._limits
        self._bound = True

    def __exit__(self, *fault: object) -> None:
        self._bound = False

    def looked(self) -> bool:
        """Called by SQLite every `STEPS`; true interrupts it."""
        if self._bound:
            self._looks -= 1
        return self._bound and self._looks < 0

    def spend(self, entities: int = 1) -> None:
        """An entity, or some five points of history, has been decoded."""
        self._entities -= entities
        if self._entities < 0:
            raise TooLong


def connect(path: FilePath, *, write: bool = False) -> apsw.Connection:
    """A connection as this store needs it."""
    flags = apsw.SQLITE_OPEN_NOMUTEX | apsw.SQLITE_OPEN_READWRITE
    db = apsw.Connection(str(path), flags | (apsw.SQLITE_OPEN_CREATE if write else 0), statementcachesize=256)
    db.set_busy_timeout(10_000)
    db.pragma("page_size", 8192)  # of a new file: a tenth smaller than with 4096, and as quick
    db.pragma("journal_mode", "wal")
    db.pragma("synchronous", "FULL")  # for readers too: whoever closes the file last completes it
    db.pragma("temp_store", "memory")
    db.pragma("journal_size_limit", 64 << 20)
    db.pragma("cache_size", -16_000)
    if not write:
        db.pragma("query_only", True)
    return db


class Reader:
    """What a store can answer from one connection. `budget`, when given, bounds `query` and `history`,
    which raise `TooLong` past it."""

    def __init__(self, path: FilePath, budget: Budget | None = None) -> None:
        self._db = connect(path)
        self._budget = budget
        if budget:
            self._db.set_progress_handler(budget.looked, STEPS)
        self._tenants: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {0: ""}
        self._known_series: dict[int, Series] = {}
        self._forms: dict[int, Form] = {}
        self._last_form = 0
        self._forms_of: dict[int, Forms] = {}
        self._estimates: dict[Sql, tuple[int, int]] = {}
        self._decoded = 0

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """Hold to the budget, if there is one."""
        try:
            with self._budget or nullcontext():
                yield
        except apsw.InterruptError:
            raise TooLong from None

    # -- names and numbers, which never change once given

    def _tenant(self, name: str) -> int:
        """The number of a tenant, -1 when there is none."""
        number = self._tenants.get(name)
        if number is None:
            number = self._db.execute("SELECT id FROM tenant WHERE name = ?", (name,)).get
            if number is None:
                return -1
            self._tenants[name] = number
        return number

    def _number(self, iri: str) -> int:
        """The number of a name, -1 when there is none."""
        number = self._numbers.get(iri)
        if number is None:
            number = self._db.execute("SELECT id FROM name WHERE iri = ?", (iri,)).get
            if number is None:
                return -1
            self._numbers[iri] = number
        return number

    def _name(self, number: int) -> str:
        name = self._names.get(number)
        if name is None:
            if len(self._names) > 100_000:
                self._names = {0: ""}
            name = self._names[number] = str(
                self._db.execute("SELECT iri FROM name WHERE id = ?", (number,)).get
            )
        return name

    def _series(self, number: int) -> Series:
        series = self._known_series.get(number)
        if series is None:
            if len(self._known_series) > 100_000:
                self._known_series.clear()
            series = self._known_series[number] = load_series(self._db, number)
        return series

    def _learn_forms(self) -> None:
        """Forms are only ever added, so the new ones are those past the last."""
        rows: Any = self._db.execute(
            "SELECT id, tenant, body FROM form WHERE id > ? ORDER BY id", (self._last_form,)
        )
        fresh: dict[int, list[Form]] = {}
        for id, tenant, body in rows:
            form = self._forms[id] = Form(id, *parse_form(body))
            fresh.setdefault(tenant, []).append(form)
            self._last_form = id
        for tenant, forms in fresh.items():
            known = self._forms_of.get(tenant, Forms((), {}))
            of_type = {type: list(some) for type, some in known.of_type.items()}
            for form in forms:
                for type in form.types:
                    of_type.setdefault(type, []).append(form)
            self._forms_of[tenant] = Forms([*known.all, *forms], of_type)

    # -- state

    def get(self, tenant: str, id: str) -> Stored | None:
        row: Any = self._db.execute(
            "SELECT version, document FROM entity WHERE tenant = ? AND id = ?", (self._tenant(tenant), id)
        ).fetchone()
        return Stored(id, row[0], row[1]) if row else None

    def get_many(self, tenant: str, ids: Sequence[str]) -> list[Stored]:
        rows: Any = self._db.execute(
            "SELECT id, version, document FROM entity"
            " WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))",
            (self._tenant(tenant), array(ids)),
        )
        found = {row[0]: Stored(*row) for row in rows}
        return [found[id] for id in dict.fromkeys(ids) if id in found]

    def query(self, tenant: str, query: Query, paths: Paths, now: Instant) -> tuple[Page, Plan, int]:
        """A page, the plan it came by, and how many entities were decoded for it."""
        with self._bounded():
            self._decoded = 0
            page, plan = self._query(tenant, query, paths, now)
            return page, plan, self._decoded

    def _query(self, tenant: str, query: Query, paths: Paths, now: Instant) -> tuple[Page, Plan]:
        plan = self.plan(tenant, query, paths, now)
        if plan.empty:
            return Page([], 0 if query.count else None), plan
        if plan.exact and not query.order:
            rows: Any = self._db.execute(
                f"SELECT e.id, e.version, e.document {plan.rows.text} ORDER BY {plan.order} LIMIT ? OFFSET ?",
                (*plan.rows.values, query.limit, query.offset),
            )
            return Page([Stored(*row) for row in rows], self._total(plan) if query.count else None), plan
        matching = self._entities(plan, query)
        if not plan.exact:
            fits = matcher(query, lambda id: self._resolve(tenant, id, now))
            matching = (pair for pair in matching if fits(pair[0]))
        return _page(matching, query), plan

    def plan(self, tenant: str, query: Query, paths: Paths, now: Instant) -> Plan:
        """How a query will be answered."""
        self._learn_forms()
        number = self._tenant(tenant)
        tables = SQLiteTables(number, self._number)
        schema = Schema(
            self._forms_of.get(number, Forms((), {})),
            {one.path: one for one in paths.of.get(tenant, ())},
            tables,
        )
        some = self._db.execute("SELECT 1 FROM entity WHERE expires <= ? LIMIT 1", (now,)).get
        return compile(query, schema, tables, self._estimate, expired=now if some else None)

    def explain(self, plan: Plan) -> list[str]:
        """SQLite's own account of how it goes through a plan's rows."""
        text = f"EXPLAIN QUERY PLAN SELECT e.id, e.version, e.document {plan.rows.text} ORDER BY {plan.order}"
        return [str(row[3]) for row in self._db.execute(text, plan.rows.values)]

    def _entities(self, plan: Plan, query: Query) -> Iterator[tuple[Entity, Stored]]:
        """The plan's entities, with no more of them decoded than the query looks at."""
        looked_at = attributes_of(query)
        fits = id_test(query)
        rows: Any = self._db.execute(
            f"SELECT e.id, e.version, e.document {plan.rows.text} ORDER BY {plan.order}", plan.rows.values
        )
        for id, version, text in rows:
            self._decoded += 1
            if self._budget:
                self._budget.spend()
            if fits is None or fits(id):
                yield document.load_part(text, looked_at), Stored(id, version, text)

    def _total(self, plan: Plan) -> int:
        if plan.forms is not None:
            text = "SELECT coalesce(sum(entities), 0) FROM form WHERE id IN (SELECT value FROM json_each(?))"
            return int(self._db.execute(text, (array(plan.forms),)).get)
        return int(self._db.execute(f"SELECT count(*) {plan.rows.text}", plan.rows.values).get)

    def _resolve(self, tenant: str, id: str, now: Instant) -> Entity | None:
        text: Any = self._db.execute(
            "SELECT document FROM entity WHERE tenant = ? AND id = ? AND (expires IS NULL OR expires > ?)",
            (self._tenant(tenant), id, now),
        ).get
        return document.load(text) if text else None

    def _estimate(self, sql: Sql) -> int:
        """How many rids a set has, up to `SMALL`; remembered while little changes."""
        seq = self.last_seq()
        known = self._estimates.get(sql)
        if known and seq - known[0] < SMALL:
            return known[1]
        if len(self._estimates) > 1024:
            self._estimates.clear()
        count = self._db.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM ({sql.text}) LIMIT {SMALL})", sql.values
        ).get
        self._estimates[sql] = seq, int(count)
        return int(count)

    def expired(self, now: Instant, limit: int) -> list[tuple[str, str]]:
        rows: Any = self._db.execute(
            "SELECT name, entity.id FROM entity JOIN tenant ON tenant.id = tenant"
            " WHERE expires <= ? ORDER BY expires, rid LIMIT ?",
            (now, limit),
        )
        return [(name, id) for name, id in rows]

    def summary(self, tenant: str) -> list[TypeSummary]:
        rows: Any = self._db.execute(
            "SELECT body, entities FROM form WHERE tenant = ? AND entities > 0", (self._tenant(tenant),)
        )
        return summarize((*parse_form(body), entities) for body, entities in rows)

    def tenants(self) -> list[str]:
        return sorted(str(row[0]) for row in self._db.execute("SELECT name FROM tenant"))

    def count(self, tenant: str | None) -> int:
        if tenant is None:
            return int(self._db.execute("SELECT coalesce(sum(entities), 0) FROM form").get)
        text = "SELECT coalesce(sum(entities), 0) FROM form WHERE tenant = ?"
        return int(self._db.execute(text, (self._tenant(tenant),)).get)

    # -- history

    def history(
        self, tenant: str, ids: Sequence[str], window: Window, attributes: Sequence[str]
    ) -> list[History]:
        """What was recorded of entities, by the entity's number and its series."""
        with self._bounded():
            found = (self._history(tenant, id, window, attributes) for id in dict.fromkeys(ids))
            return [history for history in found if history]

    def _history(self, tenant: str, id: str, window: Window, attributes: Sequence[str]) -> History | None:
        number, about = self._about(tenant, id)
        if not number:
            return None
        chosen: dict[str, tuple[Attribute, ...]] = {}
        truncated = False
        for name, series in self._series_of(number, window, attributes):
            points = [found for one in series for found in self._points(number, one, window)]
            kept, cut = history.selected(id, points, window)
            if kept:
                chosen[name] = kept
            truncated = truncated or cut
        return History(id=id, attributes=chosen, truncated=truncated, **about) if chosen else None

    def _about(self, tenant: str, id: str) -> tuple[int, dict[str, Any]]:
        """The number of an entity's history, and what the temporal space knows of the entity itself."""
        key = self._tenant(tenant), id
        past: Any = self._db.execute(
            "SELECT history, types, scopes, created, modified, deleted FROM past WHERE tenant = ? AND id = ?",
            key,
        ).fetchone()
        present: Any = self._db.execute(
            "SELECT history, document FROM entity WHERE tenant = ? AND id = ?", key
        ).fetchone()
        added = _strings.decode(past[1]) if past else ()
        if present:
            entity = document.load_part(present[1], ())
            return present[0], {
                "types": entity.types + tuple(type for type in added if type not in entity.types),
                "scopes": entity.scopes,
                "created_at": entity.created_at,
                "modified_at": entity.modified_at,
            }
        if not past:
            return 0, {}
        return past[0], {
            "types": added,
            "scopes": _strings.decode(past[2]),
            "created_at": past[3],
            "modified_at": past[4],
            "deleted_at": past[5],
        }

    def _series_of(
        self, number: int, window: Window, attributes: Sequence[str]
    ) -> list[tuple[str, list[int]]]:
        """By attribute, the series that can be in a window: found by leaps, not by reading the points."""
        found: dict[str, list[int]] = {}
        datasets = frozenset(window.dataset_ids)
        observed = window.relation is not None and window.property == "observedAt"
        for one in leap(self._db, number):
            series = self._series(one)
            if (
                (not attributes or series.attribute in attributes)
                and (not datasets or (series.dataset or "@none") in datasets)
                and (series.written or not observed)
            ):
                found.setdefault(series.attribute, []).append(one)
        return sorted(found.items())

    def _points(self, number: int, series: int, window: Window) -> list[tuple[Point, int]]:
        """The points of a series that can be in a window, with their numbers."""
        shared = self._series(series)
        rows = _range(window, number, series)
        found: Any = self._db.execute(
            f"SELECT ms, fine, lag, value, rest FROM point {rows.text}", rows.values
        )
        points = [
            (Point(shared, ms * 1000 + (fine >> 20), lag, value, rest), fine & 0xFFFFF)
            for ms, fine, lag, value, rest in found
        ]
        if self._budget:
            self._budget.spend(len(points) // 5)
        return points

    def recorded(self, tenant: str, query: Query, paths: Paths) -> list[str]:
        """Ids with history. Those that `past` knows are judged by it, the others by their present state."""
        only = Query(selectors=query.selectors, scopes=query.scopes)
        fits = matcher(only)
        number = self._tenant(tenant)
        rows: Any = self._db.execute("SELECT id FROM past WHERE tenant = ?", (number,)).fetchall()
        told = {id for (id,) in rows}
        found = []
        for id in told:
            _, about = self._about(tenant, id)
            if fits(Entity(id=id, types=about["types"], scopes=about["scopes"])):
                found.append(id)
        plan = self.plan(tenant, only, paths, -(1 << 62))
        living: Any = self._db.execute(
            f"SELECT e.id, e.document {plan.rows.text} AND e.history <> 0", plan.rows.values
        )
        found += (
            id for id, text in living if id not in told and (plan.exact or fits(document.load_part(text, ())))
        )
        return sorted(found)

    # -- records, outbox, log

    def record(self, tenant: str, kind: str, id: str) -> Record | None:
        row: Any = self._db.execute(
            "SELECT body, version FROM record WHERE kind = ? AND tenant = ? AND id = ?",
            (kind, self._tenant(tenant), id),
        ).fetchone()
        return Record(tenant=tenant, kind=kind, id=id, body=row[0], version=row[1]) if row else None

    def records(self, tenant: str | None, kind: str) -> list[Record]:
        where = Sql("WHERE kind = ?", (kind,))
        if tenant is not None:
            where = where.then(Sql("AND tenant = ?", (self._tenant(tenant),)))
        rows: Any = self._db.execute(
            "SELECT name, record.id, body, version FROM record"
            f" JOIN tenant ON tenant.id = tenant {where.text} ORDER BY seq",
            where.values,
        )
        return [
            Record(tenant=owner, kind=kind, id=id, body=body, version=version)
            for owner, id, body, version in rows
        ]

    def outbox(
        self, due_before: Instant | None, subscription: str | None, dead: bool, limit: int
    ) -> list[Delivery]:
        where = Sql("WHERE dead = ?", (dead,))
        if due_before is not None:
            where = where.then(Sql("AND due <= ?", (due_before,)))
        if subscription is not None:
            where = where.then(Sql("AND subscription = ?", (subscription,)))
        rows: Any = self._db.execute(
            "SELECT delivery.id, name, subscription, created, body, due, attempts, dead, error FROM delivery"
            f" JOIN tenant ON tenant.id = tenant {where.text} ORDER BY seq LIMIT ?",
            (*where.values, limit),
        )
        return [
            Delivery(
                id=id, tenant=tenant, subscription=subscription, created_at=created, body=body,
                due_at=due, attempts=attempts, dead=bool(dead), error=error,
            )
            for id, tenant, subscription, created, body, due, attempts, dead, error in rows
        ]  # fmt: skip

    def log(self, after: int, limit: int, tenant: str | None) -> list[Logged]:
        self._learn_forms()
        where = Sql("WHERE seq > ?", (after,))
        if tenant is not None:
            where = where.then(Sql("AND tenant = ?", (self._tenant(tenant),)))
        rows: Any = self._db.execute(
            "SELECT seq, name, log.id, operation, form, attributes, at, actor, depth FROM log"
            f" JOIN tenant ON tenant.id = tenant {where.text} ORDER BY seq LIMIT ?",
            (*where.values, limit),
        )
        return [
            Logged(
                seq=seq, tenant=name, id=id, operation=OPERATIONS[operation], types=self._forms[form].types,
                attributes=tuple(map(self._name, _numbers.decode(attributes))),
                at=at, actor=actor, depth=depth,
            )
            for seq, name, id, operation, form, attributes, at, actor, depth in rows
        ]  # fmt: skip

    def last_seq(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM log").get)

    # -- care

    def check(self) -> list[str]:
        """SQLite's own check, then what must hold between our tables."""
        faults = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check") if row[0] != "ok"]
        for promise, text in INVARIANTS:
            broken = self._db.execute(text).get
            if broken:
                faults.append(f"{promise}: {broken} do not")
        return faults

    def backup(self, target: FilePath) -> None:
        """Copy the file as of now. In one step, so that no write can make it begin again."""
        part = target.with_name(f"{target.name}.part")
        part.unlink(missing_ok=True)
        copy = apsw.Connection(str(part))
        with copy.backup("main", self._db, "main") as running:
            while not running.done:
                running.step(-1)
        copy.pragma("journal_mode", "delete")
        copy.close()
        part.replace(target)


OPERATIONS: tuple[Operation, ...] = ("create", "update", "delete")

INVARIANTS = (
    ("entities have a type", "SELECT count(*) FROM entity WHERE rid NOT IN (SELECT rid FROM entity_type)"),
    *(
        (
            f"rows of {table} belong to an entity",
            f"SELECT count(*) FROM {table} WHERE {rid} NOT IN (SELECT rid FROM entity)",
        )
        for table, rid in {
            "entity_type": "rid",
            "entity_scope": "rid",
            "box": "id >> 8",
            "lookup": "rid",
        }.items()
    ),
    (
        "forms count their entities",
        "SELECT count(*) FROM form f LEFT JOIN (SELECT form, count(DISTINCT rid) AS entities FROM entity_type"
        " GROUP BY form) t ON t.form = f.id WHERE f.entities <> coalesce(t.entities, 0)",
    ),
    (
        "points belong to an entity that is or was",
        "SELECT count(DISTINCT history) FROM point WHERE history NOT IN (SELECT history FROM entity)"
        " AND history NOT IN (SELECT history FROM past)",
    ),
    (
        "numbers of the change log follow each other",
        "SELECT coalesce(max(seq) - min(seq) + 1 - count(*), 0) FROM log",
    ),
)
"""What must hold, and a SELECT that counts where it does not."""


def leap(db: apsw.Connection, number: int) -> list[int]:
    """The series of a history, one seek each."""
    text = "SELECT min(series) FROM point WHERE history = ? AND series > ?"
    found: list[int] = []
    while (one := db.execute(text, (number, found[-1] if found else -1)).get) is not None:
        found.append(one)
    return found


def load_series(db: apsw.Connection, number: int) -> Series:
    """What the points of a series share."""
    row: Any = db.execute(
        "SELECT a.iri, coalesce(d.iri, ''), kind, unit_code, written, coding FROM series"
        " JOIN name a ON a.id = attribute LEFT JOIN name d ON d.id = dataset WHERE series.id = ?",
        (number,),
    ).fetchone()
    return Series(*row)


def place(at: Instant, n: int = 0) -> tuple[int, int]:
    """The columns `ms` and `fine` of the `n`-th point at an instant."""
    ms, us = divmod(at, 1000)
    return ms, us << 20 | n


def _range(window: Window, number: int, series: int) -> Sql:
    """The rows of a series that can be in a window: exactly, or more when the window is on another time
    than the file's order, which is `observedAt` for those who have one. (Those who have none stand before
    all others, but in a series all have it or none.)"""
    rows = Sql("WHERE history = ? AND series = ?", (number, series))
    if window.property != "observedAt":
        return rows
    if window.relation in ("after", "between"):
        rows = rows.then(Sql("AND (ms, fine) >= (?, ?)", place(window.at)))
    if window.relation in ("before", "between"):
        end = window.at if window.relation == "before" else window.end
        rows = rows.then(Sql("AND (ms, fine) < (?, ?)", place(end)))
    many = window.last_n if window.limit is None else window.limit + 1
    if many is None:
        return rows
    # All of the millisecond in which the last one wanted stands, for within it the file's order is its own.
    newest = window.last_n is not None
    many = min(many, window.last_n) if window.last_n is not None else many
    order, last, within = ("DESC", "min", ">=") if newest else ("ASC", "max", "<=")
    nearest = Sql(f"SELECT ms FROM point {rows.text} ORDER BY ms {order} LIMIT ?", (*rows.values, many))
    return rows.then(Sql(f"AND ms {within} (SELECT {last}(ms) FROM ({nearest.text}))", nearest.values))


def _page(matching: Iterable[tuple[Entity, Stored]], query: Query) -> Page:
    end = query.offset + query.limit
    if query.order:
        by_id = {stored.id: (entity, stored) for entity, stored in matching}
        ordered = sort((entity for entity, _ in by_id.values()), query.order)
        page = [by_id[entity.id][1] for entity in ordered[query.offset : end]]
        return Page(page, len(ordered) if query.count else None)
    page, count = [], 0
    for _, stored in matching:
        if query.offset <= count < end:
            page.append(stored)
        count += 1
        if count >= end and not query.count:
            break
    return Page(page, count if query.count else None)
