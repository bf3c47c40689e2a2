"""Numbers that stand for names in the tables, and what a process knows of forms and attribute indexes."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from autocity.ld.query import Path
from autocity.store.compile import Form, Forms
from autocity.store.digest import Indexed, Paths, parse_form
from autocity.store.history import Series

if TYPE_CHECKING:
    import asyncpg

ROOM = 100_000
"""Words that are remembered, at most."""

_series = msgspec.json.Decoder(Series)
_names = msgspec.json.Decoder(tuple[str, ...])
_path = msgspec.json.Decoder(Path)


def spelled(words: Iterable[str]) -> str:
    """A series, or names of attributes, as a word."""
    return msgspec.json.encode(list(words)).decode()


class Knowledge:
    """What never changes once given (numbers of names), and as of `revision` the forms and paths.

    `paths.revision` is the one that commits rely on.
    """

    def __init__(self) -> None:
        self.revision = -1
        self.paths = Paths()
        self.tenants: dict[str, int] = {}
        self.tenant_names: dict[int, str] = {}
        self.written: set[str] = set()
        self.form_numbers: dict[tuple[int, str], int] = {}
        self.forms: dict[int, Form] = {}
        self._forms_of: dict[int, Forms] = {}
        self._words: dict[str, int] = {}
        self._bodies: dict[int, str] = {}

    # -- forms, tenants, paths

    async def refresh(self, db: asyncpg.Connection[Any] | asyncpg.Pool[Any]) -> None:
        """Know everything that is there. The revision is read first: should more be added meanwhile, it is
        too low, and the next answer says so."""
        revision = await db.fetchval("SELECT revision FROM knowledge")
        for id, name in await db.fetch(
            "SELECT id, name FROM tenant WHERE NOT id = ANY ($1)", list(self.tenant_names)
        ):
            self._meet_tenant(name, id)
        last = max(self.forms, default=0)
        for id, tenant, body in await db.fetch(
            "SELECT id, tenant, body FROM form WHERE id > $1 ORDER BY id", last
        ):
            self._meet_form(id, tenant, body)
        await self.refresh_paths(db)
        self.revision = max(self.revision, revision)

    async def refresh_paths(self, db: asyncpg.Connection[Any] | asyncpg.Pool[Any]) -> None:
        """Know the attribute indexes and their revision, which are of one moment."""
        rows = await db.fetch(
            "SELECT city.paths, path.id, name, body, filled, overflow FROM city"
            " LEFT JOIN path ON true LEFT JOIN tenant ON tenant.id = path.tenant ORDER BY path.id"
        )
        of: dict[str, tuple[Indexed, ...]] = {}
        for _, id, tenant, body, filled, overflow in rows:
            if id is not None:
                of[tenant] = (*of.get(tenant, ()), Indexed(id, _path.decode(body), filled is None, overflow))
        if rows[0][0] >= self.paths.revision:
            self.paths = Paths(rows[0][0], of)

    def unwritten(self, tenants: Iterable[str]) -> list[str]:
        """Those of these tenants that, as far as is known here, were never written to."""
        return [tenant for tenant in dict.fromkeys(tenants) if tenant not in self.written]

    def forms_of(self, tenant: int) -> Forms:
        """The forms of a tenant."""
        return self._forms_of.get(tenant) or Forms((), {})

    def _meet_tenant(self, name: str, id: int) -> None:
        self.tenants[name], self.tenant_names[id] = id, name

    def _meet_form(self, id: int, tenant: int, body: str) -> None:
        if id in self.forms:
            return
        form = self.forms[id] = Form(id, *parse_form(body))
        self.form_numbers[tenant, body] = id
        # Readers hold on to what they were given, so what is shown is never changed.
        known = self.forms_of(tenant)
        of_type = dict(known.of_type)
        for type in form.types:
            of_type[type] = [*of_type.get(type, ()), form]
        self._forms_of[tenant] = Forms([*known.all, form], of_type)

    # -- giving numbers

    async def learn_tenants(self, db: asyncpg.Connection[Any], names: Iterable[str]) -> None:
        """Have numbers for tenants, new ones included."""
        for name in names:
            if name not in self.tenants:
                self._meet_tenant(name, await db.fetchval("SELECT learn_tenant_1($1)", name))

    async def learn_forms(self, db: asyncpg.Connection[Any], forms: Iterable[tuple[int, str]]) -> None:
        """Have numbers for forms of tenants, new ones included."""
        new = [form for form in dict.fromkeys(forms) if form not in self.form_numbers]
        if new:
            tenants, bodies = zip(*new, strict=True)
            digests = [digested(body) for body in bodies]
            await db.execute("SELECT learn_forms_1($1, $2, $3)", tenants, digests, bodies)
            await self.refresh(db)

    async def learn_words(self, db: asyncpg.Connection[Any], words: Iterable[str]) -> None:
        """Have numbers for words, new ones included."""
        if len(self._words) > ROOM:
            self.forget_words()
        new = {digested(word): word for word in words if word not in self._words}
        if not new:
            return
        rows = await db.fetch("SELECT id, digest FROM word WHERE digest = ANY ($1)", list(new))
        if len(rows) < len(new):
            rows = await db.fetch(
                "SELECT number, print FROM learn_words_1($1, $2)", list(new), list(new.values())
            )
        for id, digest in rows:
            self._words[new[digest]], self._bodies[id] = id, new[digest]

    def forget_words(self) -> None:
        """Know no words any more: they are too many, or some were never committed."""
        self._words.clear()
        self._bodies.clear()

    def word(self, word: str) -> int:
        """The number of a word that was learnt."""
        return self._words[word]

    # -- reading numbers

    async def recall(
        self, db: asyncpg.Connection[Any] | asyncpg.Pool[Any], numbers: Iterable[int]
    ) -> dict[int, str]:
        """The words of numbers."""
        wanted = set(numbers)
        found = {number: self._bodies[number] for number in wanted if number in self._bodies}
        missing = wanted - found.keys()
        if missing:
            fetched = dict(await db.fetch("SELECT id, body FROM word WHERE id = ANY ($1)", missing))
            self._bodies.update(fetched)
            found.update(fetched)
        return found

    async def series(
        self, db: asyncpg.Connection[Any] | asyncpg.Pool[Any], numbers: Iterable[int]
    ) -> dict[int, Series]:
        """The series of numbers."""
        return {number: _series.decode(body) for number, body in (await self.recall(db, numbers)).items()}


def parse_names(body: str) -> tuple[str, ...]:
    """The names of attributes that a word spells."""
    return _names.decode(body)


def digested(text: str) -> bytes:
    """What a text of any length is told by."""
    return blake2b(text.encode(), digest_size=16).digest()
