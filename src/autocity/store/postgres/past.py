"""What is written to history alone: temporal provision and forgetting, each in a transaction of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from autocity.ld import document
from autocity.store import history
from autocity.store.digest import Provision
from autocity.store.history import Point, Series
from autocity.store.port import StaleCommit
from autocity.store.postgres.group import columns, native, past_of
from autocity.store.postgres.knowledge import Knowledge, spelled
from autocity.store.postgres.reads import SERIES, Past

if TYPE_CHECKING:
    import asyncpg


class Place(NamedTuple):
    """The primary key of a point."""

    entity: int
    series: int
    at: int
    lag: int
    n: int


class Subject(Struct):
    """An entity as history knows it. `types`: of its present state, None when it is not there."""

    number: int
    types: tuple[str, ...] | None
    past: Past
    new: bool = False


FIND = """
SELECT id, number, rid, recorded, past, document FROM entity WHERE tenant = $1 AND id = $2 FOR NO KEY UPDATE
"""

INSERT = """
INSERT INTO point (entity, at, lag, series, n, whole, real, words, rest)
SELECT x.entity, x.at, x.lag, x.series, x.n + coalesce((SELECT max(p.n) + 1 FROM point p
  WHERE p.entity = x.entity AND p.series = x.series AND p.at = x.at AND p.lag = x.lag), 0),
  x.whole, x.real, x.words, x.rest
FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bigint[], $5::integer[], $6::bigint[],
  $7::float8[], $8::bytea[], $9::bytea[]) x(entity, series, at, lag, n, whole, real, words, rest)
"""

DELETE = "DELETE FROM point WHERE entity = $1 AND series = $2 AND at = $3 AND lag = $4 AND n = $5"


async def provide(db: asyncpg.Connection[Any], know: Knowledge, provisions: Sequence[Provision]) -> None:
    """Put instances into history (see `port.PointWrite`). Raises StaleCommit for one to replace that is
    not there; then the transaction must not be committed."""
    subjects = await _subjects(db, know, provisions)
    found: list[tuple[Provision, str, Point, Place | None]] = []
    for one in provisions:
        subject = subjects.get((one.tenant, one.id))
        for instance_id, point in one.replacing:
            place = (
                await _find(db, know, one.id, subject.number, point.series.attribute, instance_id)
                if subject
                else None
            )
            found.append((one, instance_id, point, place))
    stale = [(one.tenant, one.id) for one, _, _, place in found if place is None]
    if stale:
        raise StaleCommit(stale)

    points: list[tuple[int, Point]] = []
    for one in provisions:
        name = one.tenant, one.id
        subject = subjects.get(name)
        if subject is None:
            number = await db.fetchval("SELECT nextval('entity_rid')")
            past = Past(tuple(dict.fromkeys(one.types)), one.scopes, one.at, one.at)
            subject = subjects[name] = Subject(number, None, past, new=True)
        else:
            subject.past = _told(subject, one)
        points += [(subject.number, point) for point in one.points]
    for one, _, point, place in found:
        assert place is not None
        await db.execute(DELETE, *place)
        # The new instance keeps the id and the `createdAt` of the one that it replaces (5.6.14).
        instance = history.decode(one.id, point, 0)
        replaced = history.encode(point.series.attribute, instance, place.at + place.lag, one.at)
        points.append((place.entity, replaced))
    await _write_subjects(db, know, subjects)
    await _write_points(db, know, points)


async def _subjects(
    db: asyncpg.Connection[Any], know: Knowledge, provisions: Sequence[Provision]
) -> dict[tuple[str, str], Subject]:
    """The entities that there are, locked in the order of their keys."""
    found = {}
    for tenant, id in sorted({(know.tenants[one.tenant], one.id) for one in provisions}):
        row = await db.fetchrow(FIND, tenant, id)
        if row is not None:
            types = None if row["document"] is None else document.load_part(row["document"], ()).types
            past = msgspec.json.decode(row["past"], type=Past) if row["past"] else Past()
            found[know.tenant_names[tenant], id] = Subject(row["number"], types, past)
    return found


def _told(subject: Subject, one: Provision) -> Past:
    """What history knows of a subject after a provision."""
    past = subject.past
    known = past.types + (subject.types or ())
    types = past.types + tuple(type for type in dict.fromkeys(one.types) if type not in known)
    if subject.types is not None:
        return Past(types)
    return Past(types, one.scopes or past.scopes, past.created, one.at, past.deleted)


async def _write_subjects(
    db: asyncpg.Connection[Any], know: Knowledge, subjects: dict[tuple[str, str], Subject]
) -> None:
    for (tenant, id), subject in subjects.items():
        past = past_of(*(getattr(subject.past, name) for name in Past.__struct_fields__))
        if subject.new:
            await db.execute(
                "INSERT INTO entity (tenant, id, number, version, recorded, past)"
                " VALUES ($1, $2, $3, 0, true, $4::text::jsonb)",
                know.tenants[tenant],
                id,
                subject.number,
                past,
            )
        else:
            await db.execute(
                "UPDATE entity SET recorded = true, past = $3::text::jsonb WHERE tenant = $1 AND id = $2",
                know.tenants[tenant],
                id,
                past if subject.types is None or subject.past.types else None,
            )


async def _write_points(
    db: asyncpg.Connection[Any], know: Knowledge, points: Sequence[tuple[int, Point]]
) -> None:
    words = {point.series: spelled(point.series) for _, point in points}
    await know.learn_words(db, words.values())
    taken: Counter[tuple[int, int, int, int]] = Counter()
    rows = []
    for number, point in points:
        spot = number, know.word(words[point.series]), point.at, point.lag
        rows.append((*spot, taken[spot], *native(point)))
        taken[spot] += 1
    if rows:
        await db.execute(INSERT, *columns(9, rows))


async def _series_of(db: asyncpg.Connection[Any], know: Knowledge, number: int) -> list[tuple[int, Series]]:
    numbers = [series for _, series in await db.fetch(SERIES, [number])]
    return list((await know.series(db, numbers)).items())


async def _find(
    db: asyncpg.Connection[Any],
    know: Knowledge,
    entity: str,
    number: int,
    attribute: str | None,
    instance_id: str,
) -> Place | None:
    """Where an instance stands: by what its id tells, else by the id that a replaced one keeps."""
    parsed = history.parse_instance_id(instance_id)
    for id, series in await _series_of(db, know, number):
        if attribute not in (None, series.attribute):
            continue
        if parsed and parsed[0] == history.series_id(entity, series):
            place = Place(number, id, *parsed[1:])
            row = await db.fetchrow(
                "SELECT rest FROM point WHERE (entity, series, at, lag, n) = ($1, $2, $3, $4, $5)", *place
            )
            if row and not history.left_over(row["rest"]).instance_id:
                return place
        kept = await db.fetch(
            "SELECT rest, at, lag, n FROM point WHERE entity = $1 AND series = $2 AND rest IS NOT NULL",
            number,
            id,
        )
        for rest, at, lag, n in kept:
            if history.left_over(rest).instance_id == instance_id:
                return Place(number, id, at, lag, n)
    return None


async def forget(
    db: asyncpg.Connection[Any],
    know: Knowledge,
    tenant: str,
    id: str,
    attribute: str | None,
    instance_id: str | None,
    datasets: Sequence[str],
) -> bool:
    """Delete history; see `port.Store.forget`."""
    row = await db.fetchrow(FIND, know.tenants.get(tenant, -1), id)
    if row is None or not row["recorded"]:
        return False
    number = row["number"]
    if instance_id is not None:
        place = await _find(db, know, id, number, attribute, instance_id)
        if place:
            await db.execute(DELETE, *place)
        return place is not None
    if attribute is None and not datasets:
        await db.execute("DELETE FROM point WHERE entity = $1", number)
        if row["rid"] is None:
            await db.execute("DELETE FROM entity WHERE tenant = $1 AND id = $2", know.tenants[tenant], id)
        else:
            await db.execute(
                "UPDATE entity SET recorded = false, past = NULL WHERE tenant = $1 AND id = $2",
                know.tenants[tenant],
                id,
            )
        return True
    going = [
        series_number
        for series_number, series in await _series_of(db, know, number)
        if attribute in (None, series.attribute) and (not datasets or (series.dataset or "@none") in datasets)
    ]
    await db.execute("DELETE FROM point WHERE entity = $1 AND series = ANY ($2)", number, going)
    return bool(going)
