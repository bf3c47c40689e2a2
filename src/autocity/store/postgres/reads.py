"""Reading the store on PostgreSQL: what many ask in one turn of the event loop is asked once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from autocity.errors import StoreUnavailable
from autocity.ld import document
from autocity.ld.instants import instant
from autocity.ld.query import Order, Path, Query, matcher, sort
from autocity.ld.temporal import Window
from autocity.model import Attribute, Delivery, Entity, Instant, Logged, Record, Stored
from autocity.store import compile as compiling
from autocity.store import history
from autocity.store.compile import (
    FAR,
    Choice,
    Draft,
    Rids,
    Schema,
    Sql,
    attributes_of,
    choose,
    draft,
    id_test,
    wanting,
)
from autocity.store.digest import Paths, parse_form, summarize
from autocity.store.history import Point, Series
from autocity.store.listeners import Listeners
from autocity.store.port import History, Page, TypeSummary
from autocity.store.postgres import plans
from autocity.store.postgres.connections import refusing
from autocity.store.postgres.group import OPERATIONS
from autocity.store.postgres.knowledge import Knowledge, parse_names
from autocity.store.postgres.plans import Plan
from autocity.store.postgres.tables import PostgresTables, numbered

if TYPE_CHECKING:
    import asyncpg

BUSY = 200
"""A query that decodes more entities than this to find its answer asks for an attribute index."""

CHUNK, LARGEST = 100, 200
"""Entities that are read together when each has to be looked at: no more than the event loop can bear."""

AT_ONCE = 2
"""Statements for single entities under way at once; whoever asks meanwhile asks in the next one."""

TRIES = 16

DELIVERY = """
SELECT d.id, t.name, d.subscription, d.created, d.body, d.due, d.attempts, d.dead, d.error FROM delivery d
JOIN tenant t ON t.id = d.tenant
"""


class Outdated(Exception):
    """The answer was planned with less knowledge than there is."""


class Reads:
    """The reading half of a `port.Store` on PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.know = Knowledge()
        self._pool: asyncpg.Pool[Any] | None = None
        self._listeners = Listeners()
        self._asked: dict[tuple[int, str], list[asyncio.Future[Stored | None]]] = {}
        self._asking = 0
        self._sizes: dict[str, tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told = 0

    @property
    def paths(self) -> Paths:
        """The attribute indexes there are."""
        return self.know.paths

    def _db(self) -> asyncpg.Pool[Any]:
        if self._pool is None:
            raise StoreUnavailable("the store is closed")
        return self._pool

    async def _fetch(self, text: str, *values: object) -> list[Any]:
        async with refusing():
            found: list[Any] = await self._db().fetch(text, *values)
            return found

    async def _value(self, text: str, *values: object) -> Any:
        async with refusing():
            return await self._db().fetchval(text, *values)

    async def _tenant(self, name: str) -> int | None:
        """The number of a tenant, None when there is none."""
        number = self.know.tenants.get(name)
        if number is None:
            async with refusing():
                await self.know.refresh(self._db())
            number = self.know.tenants.get(name)
        return number

    # -- state

    async def get(self, tenant: str, id: str) -> Stored | None:
        number = await self._tenant(tenant)
        if number is None:
            return None
        self._db()
        future: asyncio.Future[Stored | None] = asyncio.get_running_loop().create_future()
        self._asked.setdefault((number, id), []).append(future)
        if len(self._asked) == 1 and len(self._asked[number, id]) == 1 and self._asking < AT_ONCE:
            asyncio.get_running_loop().call_soon(self._ask)
        return await future

    def _ask(self) -> None:
        """Ask for everything that was asked for in this turn."""
        if self._asked:
            asked, self._asked = self._asked, {}
            self._asking += 1
            task = asyncio.create_task(self._answer(asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, asked: dict[tuple[int, str], list[asyncio.Future[Stored | None]]]) -> None:
        try:
            found = await self._look_up(asked)
        except Exception as fault:  # noqa: BLE001 - it goes to all who asked
            for futures in asked.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(fault)
        else:
            for key, futures in asked.items():
                for future in futures:
                    if not future.done():
                        future.set_result(found.get(key))
        finally:
            self._asking -= 1
            self._ask()

    async def _look_up(self, keys: Iterable[tuple[int, str]]) -> dict[tuple[int, str], Stored]:
        of: dict[int, list[str]] = {}
        for tenant, id in keys:
            of.setdefault(tenant, []).append(id)
        return {
            (tenant, id): Stored(id, version, text)
            for tenant, ids in of.items()
            for id, version, text in await self._fetch(ENTITIES, tenant, ids)
        }

    async def get_many(self, tenant: str, ids: Sequence[str]) -> list[Stored]:
        number = await self._tenant(tenant)
        if number is None or not ids:
            return []
        found = await self._look_up((number, id) for id in dict.fromkeys(ids))
        return [found[number, id] for id in dict.fromkeys(ids) if (number, id) in found]

    async def query(self, tenant: str, query: Query, *, now: Instant) -> Page:
        for _ in range(TRIES):
            number = await self._tenant(tenant)
            if number is None:
                break
            try:
                return await self._query(tenant, number, query, now)
            except Outdated:
                async with refusing():
                    await self.know.refresh(self._db())
        else:
            raise StoreUnavailable("the kinds of entities change too quickly to keep up; try again")
        return Page([], 0 if query.count else None)

    async def _query(self, tenant: str, number: int, query: Query, now: Instant) -> Page:
        revision = self.know.revision
        schema = self._schema(tenant, number)
        drafted = draft(query, schema)
        if not drafted.left:
            self._current(revision, await self._value("SELECT revision FROM knowledge"))
            return Page([], 0 if query.count else None)
        if (only := _only(drafted, query)) and (
            page := await self._gathered(revision, drafted, only, query, now)
        ):
            return page
        plan = await self.plan(drafted, query, now)
        if plan.exact and not query.order:
            rows = await self._page(revision, plan, COLUMNS, query.limit, query.offset)
            total = await self._total(revision, plan, now) if query.count else None
            return Page([Stored(*row[1:4]) for row in rows], total)
        read = 0
        found: list[tuple[Entity, Stored]] = []
        end = None if query.count or query.order else query.offset + query.limit
        async for chunk in self._matching(revision, tenant, plan, query, now):
            read += chunk[0]
            found += chunk[1]
            if end is not None and len(found) >= end:
                break
        if read > BUSY:
            for path in wanting(query, schema, plan.exact):
                await self._want(tenant, path)
        return _paged(found, query)

    def _schema(self, tenant: str, number: int) -> Schema:
        return Schema(
            self.know.forms_of(number),
            {one.path: one for one in self.paths.of.get(tenant, ())},
            PostgresTables(number),
        )

    async def plan(self, drafted: Draft, query: Query, now: Instant) -> Plan:
        """How a query will be answered."""
        left, decided, known = drafted
        choice = choose(query, known, {rids.sql: await self._estimate(rids) for rids in known if rids})
        return plans.plan([form.id for form in left], choice, decided, now)

    async def _gathered(
        self, revision: int, drafted: Draft, only: Rids, query: Query, now: Instant
    ) -> Page | None:
        """The answer to a query that one set decides, unless that is large."""
        name = _name(only.sql)
        if self._size(name) == compiling.SMALL:
            return None
        plan = plans.plan([form.id for form in drafted.left], Choice((), (), True), False, now)
        text, values = plans.gathered(plan, only.sql, COLUMNS, query.limit, query.offset, compiling.SMALL)
        rows = await self._fetch(text, *values)
        self._current(revision, rows[0]["revision"])
        self._remember(name, rows[0]["size"])
        if rows[0]["size"] == compiling.SMALL:
            return None
        return Page([Stored(*row[1:4]) for row in rows if row["rid"] is not None])

    async def _estimate(self, rids: Rids) -> int:
        """How many rids a set has, up to `SMALL`."""
        name = _name(rids.sql)
        size = self._size(name)
        if size is None:
            text = f"SELECT count(*) FROM (SELECT FROM ({rids.sql.text}) s LIMIT {compiling.SMALL}) s"
            size = int(await self._value(numbered(text), *rids.sql.values))
            self._remember(name, size)
        return size

    def _size(self, name: str) -> int | None:
        """How many rids a set had, as long as little has changed since."""
        known = self._sizes.get(name)
        return known[1] if known and self._told - known[0] < compiling.SMALL else None

    def _remember(self, name: str, size: int) -> None:
        if len(self._sizes) > 1024:
            self._sizes.clear()
        self._sizes[name] = self._told, size

    def _current(self, planned: int, present: int) -> None:
        if present != planned:
            raise Outdated

    async def _page(
        self, revision: int, plan: Plan, columns: str, limit: int, offset: int = 0, after: int = 0
    ) -> list[Any]:
        text, values = plans.page(plan, columns, limit, offset, after)
        rows = await self._fetch(text, *values)
        self._current(revision, rows[0][0])
        return rows if rows[0]["rid"] is not None else []

    async def _total(self, revision: int, plan: Plan, now: Instant) -> int:
        text, values = plans.total(plan, now)
        ((present, total),) = await self._fetch(text, *values)
        self._current(revision, present)
        return int(total)

    async def _matching(
        self, revision: int, tenant: str, plan: Plan, query: Query, now: Instant
    ) -> AsyncIterator[tuple[int, list[tuple[Entity, Stored]]]]:
        """The plan's entities that match, chunk by chunk, with how many were looked at. No more of them is
        decoded than the query looks at."""
        looked_at = attributes_of(query)
        fits_id = id_test(query)
        after, size = 0, CHUNK
        while True:
            rows = await self._page(revision, plan, COLUMNS, size, after=after)
            candidates = [
                (document.load_part(text, looked_at), Stored(id, version, text))
                for _, id, version, text, _ in rows
                if fits_id is None or fits_id(id)
            ]
            if not plan.exact:
                candidates = await self._fitting(tenant, query, candidates, now)
            yield len(rows), candidates
            if len(rows) < size:
                return
            after, size = rows[-1]["rid"], LARGEST

    async def _fitting(
        self, tenant: str, query: Query, candidates: list[tuple[Entity, Stored]], now: Instant
    ) -> list[tuple[Entity, Stored]]:
        """Those that the language's matcher takes. It asks for linked entities as it goes; those that are
        not at hand are fetched, and it is asked again."""
        linked: dict[str, Entity | None] = {}
        missing: dict[str, None] = {}

        def resolve(id: str) -> Entity | None:
            if id not in linked:
                missing[id] = None
            return linked.get(id)

        fits = matcher(query, resolve)
        while True:
            fitting = [pair for pair in candidates if fits(pair[0])]
            if not missing:
                return fitting
            linked.update(dict.fromkeys(missing))
            for stored in await self.get_many(tenant, list(missing)):
                entity = document.load(stored.document)
                expires = entity.expires_at
                if expires is None or instant(expires) > now:
                    linked[stored.id] = entity
            missing.clear()

    async def _want(self, tenant: str, path: Path) -> None:
        """Ask for an attribute index."""

    async def expired(self, now: Instant, limit: int = 1000) -> list[tuple[str, str]]:
        rows = await self._fetch(
            "SELECT t.name, e.id FROM entity e JOIN tenant t ON t.id = e.tenant"
            " WHERE e.expires <= $1 ORDER BY e.expires, e.rid LIMIT $2",
            now,
            limit,
        )
        return [(name, id) for name, id in rows]

    async def summary(self, tenant: str) -> list[TypeSummary]:
        rows = await self._fetch(
            "SELECT body, entities FROM form JOIN tenant t ON t.id = tenant"
            " WHERE t.name = $1 AND entities > 0",
            tenant,
        )
        return summarize((*parse_form(body), entities) for body, entities in rows)

    async def tenants(self) -> list[str]:
        return sorted(name for (name,) in await self._fetch("SELECT name FROM tenant WHERE written"))

    async def count(self, tenant: str | None = None) -> int:
        text = (
            "SELECT coalesce(sum(entities), 0)::bigint FROM form JOIN tenant t ON t.id = tenant"
            " WHERE t.name = $1 OR $1 IS NULL"
        )
        return int(await self._value(text, tenant))

    # -- history

    async def history(
        self, tenant: str, ids: Sequence[str], window: Window, attributes: Sequence[str] = ()
    ) -> list[History]:
        number = await self._tenant(tenant)
        if number is None:
            return []
        rows = await self._fetch(RECORDED, number, list(dict.fromkeys(ids)))
        subjects = {row["id"]: row for row in rows}
        points = await self._points([row["number"] for row in rows], window, attributes)
        found = []
        for id in dict.fromkeys(ids):
            row = subjects.get(id)
            history = _history(row, points.get(row["number"], {}), window) if row else None
            if history:
                found.append(history)
        return found

    async def _points(
        self, numbers: Sequence[int], window: Window, attributes: Sequence[str]
    ) -> dict[int, dict[str, list[tuple[Point, int]]]]:
        """By entity and attribute, the points that can be in a window."""
        pairs = await self._fetch(SERIES, numbers)
        async with refusing():
            series = await self.know.series(self._db(), (one for _, one in pairs))
        wanted = _wanted(window, attributes)
        pairs = [(number, one) for number, one in pairs if wanted(series[one])]
        found: dict[int, dict[str, list[tuple[Point, int]]]] = {}
        if not pairs:
            return found
        rows = range_of(window)
        text = numbered(
            "SELECT s.entity, s.series, p.at, p.lag, p.n, p.whole, p.real, p.words, p.rest"
            " FROM unnest(?::bigint[], ?::integer[]) s(entity, series), LATERAL (SELECT * FROM point"
            f" WHERE entity = s.entity AND series = s.series {rows.text}) p"
        )
        of, those = zip(*pairs, strict=True)
        for number, one, at, lag, n, whole, real, words, rest in await self._fetch(
            text, of, those, *rows.values
        ):
            value = whole if real is None else real
            if words is not None:
                value = words.decode()
            point = Point(series[one], at, lag, value, rest)
            found.setdefault(number, {}).setdefault(series[one].attribute, []).append((point, n))
        return found

    async def recorded(self, tenant: str, query: Query) -> list[str]:
        """Those that are there are judged by their form and scopes, the others by what history knows."""
        number = await self._tenant(tenant)
        if number is None:
            return []
        fits = matcher(Query(selectors=query.selectors, scopes=query.scopes))
        found: list[str] = []
        after = ""
        while True:
            rows = await self._fetch(PASTS, number, after)
            if any(row["form"] not in self.know.forms for row in rows if row["form"]):
                async with refusing():
                    await self.know.refresh(self._db())
            for id, form, scopes, past in rows:
                told = _past(past)
                types = self.know.forms[form].types if form else ()
                types += tuple(type for type in told.types if type not in types)
                held = tuple(mark[1:] for mark in scopes or () if mark[:1] == "=") if form else told.scopes
                if fits(Entity(id=id, types=types, scopes=held)):
                    found.append(id)
            if not rows:
                return found
            after = rows[-1]["id"]

    # -- records, outbox, log

    async def record(self, tenant: str, kind: str, id: str) -> Record | None:
        rows = await self._fetch(
            "SELECT r.body, r.version FROM record r JOIN tenant t ON t.id = r.tenant"
            " WHERE r.kind = $1 AND t.name = $2 AND r.id = $3",
            kind,
            tenant,
            id,
        )
        return Record(tenant=tenant, kind=kind, id=id, body=rows[0][0], version=rows[0][1]) if rows else None

    async def records(self, tenant: str | None, kind: str) -> list[Record]:
        rows = await self._fetch(
            "SELECT t.name, r.id, r.body, r.version FROM record r JOIN tenant t ON t.id = r.tenant"
            " WHERE r.kind = $1 AND ($2::text IS NULL OR t.name = $2) ORDER BY r.seq",
            kind,
            tenant,
        )
        return [
            Record(tenant=owner, kind=kind, id=id, body=body, version=version)
            for owner, id, body, version in rows
        ]

    async def outbox(
        self,
        *,
        due_before: Instant | None = None,
        subscription: str | None = None,
        dead: bool = False,
        limit: int = 1000,
    ) -> list[Delivery]:
        where = Sql("WHERE d.dead = ?", (dead,))
        if due_before is not None:
            where = where.then(Sql("AND d.due <= ?", (due_before,)))
        if subscription is not None:
            where = where.then(Sql("AND d.subscription = ?", (subscription,)))
        text = numbered(f"{DELIVERY} {where.text} ORDER BY d.seq LIMIT ?")
        return [delivery_of(row) for row in await self._fetch(text, *where.values, limit)]

    async def log(self, after: int, limit: int = 1000, tenant: str | None = None) -> list[Logged]:
        rows = await self._fetch(
            "SELECT l.seq, t.name, l.id, l.operation, f.body, l.attributes, l.at, l.actor, l.depth FROM log l"
            " JOIN tenant t ON t.id = l.tenant JOIN form f ON f.id = l.form"
            " WHERE l.seq > $1 AND ($2::text IS NULL OR t.name = $2) ORDER BY l.seq LIMIT $3",
            after,
            tenant,
            limit,
        )
        async with refusing():
            names = await self.know.recall(self._db(), (row["attributes"] for row in rows))
        return [
            Logged(
                seq=seq, tenant=name, id=id, operation=OPERATIONS[operation],  # type: ignore[arg-type]
                types=parse_form(form)[0], attributes=parse_names(names[attributes]),
                at=at, actor=actor, depth=depth,
            )
            for seq, name, id, operation, form, attributes, at, actor, depth in rows
        ]  # fmt: skip

    async def last_seq(self) -> int:
        return int(await self._value("SELECT seq FROM city"))

    def watch(self, hear: Callable[[Sequence[Logged]], None]) -> Callable[[], None]:
        return self._listeners.add(hear)

    # -- care

    async def check(self) -> list[str]:
        """What must hold between the tables."""
        faults = []
        for promise, text in INVARIANTS:
            broken = await self._value(text)
            if broken:
                faults.append(f"{promise}: {broken} do not")
        return faults


COLUMNS = "e.id, e.version, e.document"

ENTITIES = "SELECT id, version, document FROM entity WHERE tenant = $1 AND id = ANY ($2) AND rid IS NOT NULL"

RECORDED = "SELECT id, number, past, document FROM entity WHERE tenant = $1 AND id = ANY ($2) AND recorded"

PASTS = """
SELECT id, form, scopes, past FROM entity WHERE tenant = $1 AND id > $2 AND recorded ORDER BY id LIMIT 5000
"""

SERIES = """
SELECT e.number, s.series FROM unnest($1::bigint[]) e(number), LATERAL (
  WITH RECURSIVE leap(series) AS (
    SELECT min(series) FROM point WHERE entity = e.number
    UNION ALL
    SELECT (SELECT min(series) FROM point WHERE entity = e.number AND series > leap.series)
    FROM leap WHERE leap.series IS NOT NULL
  )
  SELECT series FROM leap WHERE series IS NOT NULL
) s
"""
"""The series of entities: found by leaps, not by reading the points."""

INVARIANTS = (
    (
        "forms count their entities",
        "SELECT count(*) FROM form f LEFT JOIN (SELECT form, count(*) AS entities FROM entity"
        " WHERE rid IS NOT NULL GROUP BY form) e ON e.form = f.id"
        " WHERE f.entities <> coalesce(e.entities, 0)",
    ),
    (
        "entities have a document and a form, or a past",
        "SELECT count(*) FROM entity WHERE (rid IS NULL) <> (document IS NULL)"
        " OR (rid IS NULL) <> (form IS NULL) OR (rid IS NULL) <> (version = 0)"
        " OR rid IS NULL AND (past IS NULL OR NOT recorded)",
    ),
    (
        "entries of attribute indexes belong to an entity",
        "SELECT count(*) FROM lookup l WHERE NOT EXISTS (SELECT FROM entity e WHERE e.rid = l.rid)",
    ),
    (
        "points belong to an entity that is or was",
        "SELECT count(DISTINCT p.entity) FROM point p"
        " WHERE NOT EXISTS (SELECT FROM entity e WHERE e.number = p.entity AND e.recorded)",
    ),
    (
        "numbers of the change log follow each other",
        "SELECT coalesce(max(seq) - min(seq) + 1 - count(*), 0) FROM log",
    ),
)
"""What must hold, and a SELECT that counts where it does not."""


class Past(msgspec.Struct, frozen=True):
    """What history knows of an entity beyond its present state (`entity.past`)."""

    types: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    created: Instant = 0
    modified: Instant = 0
    deleted: Instant = 0


_decode_past = msgspec.json.Decoder(Past).decode


def _past(text: str | None) -> Past:
    return _decode_past(text) if text else Past()


def _name(sql: Sql) -> str:
    return f"{sql.text}{sql.values}"


def _only(drafted: Draft, query: Query) -> Rids | None:
    """The one set that decides a query of which a page is wanted, and no more."""
    if len(drafted.known) != 1 or query.order or query.count or query.offset + query.limit > FAR:
        return None
    (only,) = drafted.known
    return only if only is not None and only.exact and only.seek is not None else None


def delivery_of(row: Sequence[Any]) -> Delivery:
    """The delivery of a row of `DELIVERY`."""
    id, tenant, subscription, created, body, due, attempts, dead, error = row[:9]
    return Delivery(
        id=id, tenant=tenant, subscription=subscription, created_at=created, body=body,
        due_at=due, attempts=attempts, dead=dead, error=error,
    )  # fmt: skip


def _paged(found: list[tuple[Entity, Stored]], query: Query) -> Page:
    end = query.offset + query.limit
    total = len(found) if query.count else None
    if query.order:
        found = _ordered(found, query.order)
    return Page([stored for _, stored in found[query.offset : end]], total)


def _ordered(found: list[tuple[Entity, Stored]], order: Sequence[Order]) -> list[tuple[Entity, Stored]]:
    by_id = {stored.id: (entity, stored) for entity, stored in found}
    return [by_id[entity.id] for entity in sort((entity for entity, _ in found), order)]


def _history(row: Any, points: dict[str, list[tuple[Point, int]]], window: Window) -> History | None:
    chosen: dict[str, tuple[Attribute, ...]] = {}
    truncated = False
    for name in sorted(points):
        kept, cut = history.selected(row["id"], points[name], window)
        if kept:
            chosen[name] = kept
        truncated = truncated or cut
    if not chosen:
        return None
    told = _past(row["past"])
    if row["document"] is None:
        about: dict[str, Any] = {
            "types": told.types,
            "scopes": told.scopes,
            "created_at": told.created,
            "modified_at": told.modified,
            "deleted_at": told.deleted,
        }
    else:
        entity = document.load_part(row["document"], ())
        about = {
            "types": entity.types + tuple(type for type in told.types if type not in entity.types),
            "scopes": entity.scopes,
            "created_at": entity.created_at,
            "modified_at": entity.modified_at,
        }
    return History(id=row["id"], attributes=chosen, truncated=truncated, **about)


def _wanted(window: Window, attributes: Sequence[str]) -> Any:
    """A test of series that can be in a window."""
    datasets = frozenset(window.dataset_ids)
    observed = window.relation is not None and window.property == "observedAt"

    def wanted(series: Series) -> bool:
        return bool(
            (not attributes or series.attribute in attributes)
            and (not datasets or (series.dataset or "@none") in datasets)
            and (series.written or not observed)
        )

    return wanted


def range_of(window: Window) -> Sql:
    """The points of a series that can be in a window: exactly, or all of them when the window is on another
    time than their order. (That is `observedAt`; in a series all have it or none.)"""
    if window.property != "observedAt":
        return Sql("")
    rows = Sql("")
    if window.relation in ("after", "between"):
        rows = rows.then(Sql("AND at >= ?", (window.at,)))
    if window.relation in ("before", "between"):
        rows = rows.then(Sql("AND at < ?", (window.at if window.relation == "before" else window.end,)))
    if window.last_n is not None:
        many = window.last_n if window.limit is None else min(window.last_n, window.limit + 1)
        return rows.then(Sql("ORDER BY at DESC, lag DESC, n DESC LIMIT ?", (many,)))
    if window.limit is not None:
        return rows.then(Sql("ORDER BY at, lag, n LIMIT ?", (window.limit + 1,)))
    return rows
