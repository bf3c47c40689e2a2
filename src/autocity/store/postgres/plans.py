"""Statements that answer queries: the entities of some forms, narrowed by sets, in order of creation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from autocity.model import Instant
from autocity.store.compile import Choice, Sql
from autocity.store.postgres.tables import numbered

FEW = 64
"""Forms that are each gone through in order; more are read together and sorted."""


class Plan(NamedTuple):
    """Where a query looks: forms, the conditions beside them, and whether all that is there matches.
    `decided`: the forms alone tell. `gathers`: it begins with a set, not with the forms."""

    forms: tuple[int, ...]
    where: Sql
    exact: bool
    decided: bool
    gathers: bool


def plan(forms: Sequence[int], choice: Choice, decided: bool, now: Instant) -> Plan:
    """The plan of a query; entities that have expired are not there."""
    where = Sql("(e.expires IS NULL OR e.expires > ?)", (now,))
    for place, one in enumerate(choice.sets):
        # The smallest set is gathered and its entities are looked up; of others it is asked who is in them.
        text = f"e.rid = ANY (ARRAY({one.text}))" if place == 0 else f"e.rid IN ({one.text})"
        where = where.then(Sql(f"AND {text}", one.values))
    for seek in choice.seeks:
        where = where.then(Sql(f"AND {seek.text}", seek.values))
    return Plan(tuple(forms), where, choice.exact, decided, bool(choice.sets))


def page(
    plan: Plan, columns: str, limit: int, offset: int = 0, after: int = 0
) -> tuple[str, tuple[object, ...]]:
    """A statement for some columns of entities `e` in order of creation, those created after a `rid`. Each
    row begins with the revision of knowledge that holds for the answer; there is at least one row."""
    rows = _rows(plan, columns, limit, offset, after)
    text = f"SELECT k.revision, q.* FROM knowledge k LEFT JOIN LATERAL ({rows.text}) q ON true ORDER BY q.rid"
    return numbered(text), rows.values


def gathered(
    plan: Plan, some: Sql, columns: str, limit: int, offset: int, most: int
) -> tuple[str, tuple[object, ...]]:
    """The same as `page` for the entities of one set, if it has fewer than so many rids: in one go with
    finding out, which the last column tells."""
    where = Sql("e.rid = ANY (ARRAY(SELECT rid FROM gathered)) AND").then(plan.where)
    rows = _rows(plan._replace(where=where, gathers=True), columns, limit, offset, 0)
    text = (
        f"WITH gathered AS MATERIALIZED (SELECT rid FROM ({some.text}) s LIMIT {most})"
        " SELECT k.revision, q.*, (SELECT count(*) FROM gathered) AS size"
        f" FROM knowledge k LEFT JOIN LATERAL ({rows.text}) q ON true ORDER BY q.rid"
    )
    return numbered(text), some.values + rows.values


def _rows(plan: Plan, columns: str, limit: int, offset: int, after: int) -> Sql:
    where = plan.where.then(Sql("AND e.rid > ?", (after,)))
    select = f"SELECT {columns}, e.rid FROM entity e WHERE"
    bound = Sql("ORDER BY e.rid LIMIT ? OFFSET ?", (limit, offset))
    if plan.gathers or len(plan.forms) > FEW:
        return Sql(f"{select} e.form = ANY (?::integer[]) AND", (plan.forms,)).then(where).then(bound)
    if len(plan.forms) == 1:
        return Sql(f"{select} e.form = ? AND", plan.forms).then(where).then(bound)
    each = (
        Sql(f"{select} e.form = f.form AND")
        .then(where)
        .then(Sql("ORDER BY e.rid LIMIT ?", (limit + offset,)))
    )
    return Sql(
        f"SELECT e.* FROM unnest(?::integer[]) f(form), LATERAL ({each.text}) e"
        " ORDER BY e.rid LIMIT ? OFFSET ?",
        (plan.forms, *each.values, limit, offset),
    )


def total(plan: Plan, now: Instant) -> tuple[str, tuple[object, ...]]:
    """A statement for the revision of knowledge and how many entities there are."""
    counted = Sql("SELECT count(*) FROM entity e WHERE e.form = ANY (?::integer[]) AND", (plan.forms,))
    counted = counted.then(plan.where)
    if plan.decided:
        # The forms know, unless something has expired that is still here.
        counted = Sql(
            f"CASE WHEN EXISTS (SELECT FROM entity WHERE expires <= ?) THEN ({counted.text})"
            " ELSE (SELECT coalesce(sum(entities), 0)::bigint FROM form WHERE id = ANY (?::integer[])) END",
            (now, *counted.values, plan.forms),
        )
    return numbered(f"SELECT revision, ({counted.text}) FROM knowledge"), counted.values
