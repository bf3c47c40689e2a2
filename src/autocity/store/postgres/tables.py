"""Sets of entities in the tables of PostgreSQL, and the keys that its attribute index sorts by."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from itertools import count

from autocity.ld.geo import Box
from autocity.store.compile import Bound, Sql, union
from autocity.store.digest import MANY, NUMBER, PART, STRING, Key

SIGN = 1 << 63


class PostgresTables:
    """The `compile.Tables` of one tenant on PostgreSQL."""

    def __init__(self, tenant: int) -> None:
        self.tenant = tenant

    def named(self, ids: Sequence[str]) -> Sql:
        return Sql(
            "SELECT rid FROM entity WHERE tenant = ? AND id = ANY (?::text[])", (self.tenant, tuple(ids))
        )

    def near(self, property: str, boxes: Sequence[Box]) -> Sql:
        # The one box of an entity is around all its geometries, so the property makes no difference.
        meets = "SELECT rid FROM entity WHERE tenant = ? AND bounds && box(point(?, ?), point(?, ?))"
        return union([Sql(meets, (self.tenant, *box)) for box in boxes])

    def in_scope(self, scope: str) -> Sql:
        return self._scoped(f"={scope}")

    def below(self, scope: str) -> Sql:
        return self._scoped(scope)

    def _scoped(self, mark: str) -> Sql:
        return Sql("SELECT rid FROM entity WHERE tenant = ? AND scopes @> ?::text[]", (self.tenant, (mark,)))

    def compared(self, path: int, bounds: Sequence[Bound]) -> tuple[Sql, Sql]:
        where = [*(one for bound in bounds for one in _ranges(bound)), Sql("key = ?", (key((MANY, 0)),))]
        either = " OR ".join(f"({one.text})" for one in where)
        # OFFSET keeps this a question about one entity: it is asked where a join would read the whole path.
        seek = Sql(
            f"EXISTS (SELECT FROM lookup WHERE path = {path} AND rid = e.rid AND ({either}) OFFSET 0)",
            tuple(value for one in where for value in one.values),
        )
        start = f"SELECT rid FROM lookup WHERE path = {path} AND"
        return union([Sql(f"{start} {one.text}", one.values) for one in where]), seek


def marks(scopes: Iterable[str]) -> list[str]:
    """What the scopes of an entity are found by: each itself, and everything that it is below."""
    found: dict[str, None] = {}
    for scope in scopes:
        plain = scope.removeprefix("/")
        found[f"={plain}"] = None
        found[""] = None
        levels = plain.split("/")
        found.update(("/".join(levels[:n]), None) for n in range(1, len(levels)))
    return list(found)


def literal(texts: Iterable[str]) -> str:
    """Texts as PostgreSQL writes an array of them."""
    return "{" + ",".join('"' + _SPECIAL.sub(r"\\\g<0>", text) + '"' for text in texts) + "}"


_SPECIAL = re.compile(r'[\\"]')


def key(entry: Key) -> bytes:
    """An entry of the attribute index as bytes that sort as the values of one data type do."""
    kind, value = entry
    return bytes((kind,)) + _ordered(kind % PART, value)


def _ordered(kind: int, value: str | int | float) -> bytes:
    if kind == STRING:
        return str(value).encode()
    if kind != NUMBER:
        return (int(value) + SIGN).to_bytes(8)
    bits: int
    # The one zero that is equal to the other sorts with it.
    (bits,) = struct.unpack(">Q", struct.pack(">d", float(value) + 0.0))
    return (bits ^ (2 * SIGN - 1) if bits & SIGN else bits | SIGN).to_bytes(8)


def _ranges(bound: Bound) -> Iterable[Sql]:
    for kind in (bound.kind, bound.kind + PART) if bound.parts else (bound.kind,):
        keys = tuple(key((kind, value)) for value in bound.values)
        match bound.operator:
            case "between":
                yield Sql("key BETWEEN ? AND ?", keys)
            case "=":
                yield Sql("key = ?", keys)
            case ">" | ">=":
                yield Sql(f"key {bound.operator} ? AND key < ?", (*keys, bytes((kind + 1,))))
            case _:
                yield Sql(f"key {bound.operator} ? AND key >= ?", (*keys, bytes((kind,))))


def numbered(text: str) -> str:
    """A statement with its parameters numbered, as PostgreSQL wants them."""
    numbers = count(1)
    return _MARK.sub(lambda _: f"${next(numbers)}", text)


_MARK = re.compile(r"\?")
