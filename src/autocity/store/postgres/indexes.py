"""Attribute indexes: begun when a query misses one, filled lump by lump beside everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from autocity.ld import document
from autocity.ld.query import Path
from autocity.store.digest import MANY, MAX_PATHS, keys, mentions
from autocity.store.postgres.connections import CHANNEL
from autocity.store.postgres.knowledge import Knowledge
from autocity.store.postgres.tables import key

if TYPE_CHECKING:
    import asyncpg

CHUNK = 500
"""Entities whose scalars are put into a new attribute index in one transaction."""

# Whoever holds the one row of the city waits for commits under way, and makes later ones know the new paths.
ANNOUNCE = f"""
WITH now AS (UPDATE city SET paths = paths + 1 RETURNING seq, generation, paths),
  known AS (UPDATE knowledge SET revision = revision + 1)
SELECT pg_notify('{CHANNEL}', seq || ' ' || generation || ' ' || paths) FROM now
"""


async def begin(db: asyncpg.Connection[Any], know: Knowledge, tenant: str, path: Path) -> bool:
    """Begin an attribute index for a path; False when there is one, or there are too many."""
    number = know.tenants.get(tenant)
    if number is None:
        return False
    body = msgspec.json.encode(path).decode()
    await db.execute("SELECT FROM city FOR UPDATE")
    paths = await db.fetch("SELECT tenant, body FROM path")
    if len(paths) >= MAX_PATHS or any((owner, one) == (number, body) for owner, one in paths):
        return False
    await db.execute("INSERT INTO path (tenant, body, filled) VALUES ($1, $2, 0)", number, body)
    await db.execute(ANNOUNCE)
    return True


async def fill(db: asyncpg.Connection[Any], know: Knowledge, tenant: str, path: Path) -> bool:
    """Put the next lump of entities into a new index; the last lump makes it ready. False when it is.
    Entities are locked meanwhile: whoever changes one finds its entries, or is found with the new ones."""
    indexed = next(one for one in know.paths.of[tenant] if one.path == path)
    number = know.tenants[tenant]
    filled = await db.fetchval("SELECT filled FROM path WHERE id = $1 FOR UPDATE", indexed.id)
    if filled is None:
        return False
    last = await db.fetchval(
        "SELECT max(rid) FROM (SELECT rid FROM entity WHERE rid > $1 ORDER BY rid LIMIT $2) e", filled, CHUNK
    )
    if last is None:
        await db.execute("UPDATE path SET filled = NULL WHERE id = $1", indexed.id)
        await db.execute(ANNOUNCE)
        return False
    rows = await db.fetch(
        "SELECT rid, document FROM entity WHERE tenant = $1 AND rid > $2 AND rid <= $3"
        " ORDER BY tenant, id FOR NO KEY UPDATE",
        number,
        filled,
        last,
    )
    entries = [
        (entry, rid)
        for rid, text in rows
        if mentions(text, path)
        for entry in keys(path, document.load_part(text, path.names[:1]))
    ]
    await db.execute(
        "INSERT INTO lookup SELECT $1, * FROM unnest($2::bytea[], $3::bigint[]) ON CONFLICT DO NOTHING",
        indexed.id,
        [key(entry) for entry, _ in entries],
        [rid for _, rid in entries],
    )
    overflow = any(entry[0] == MANY for entry, _ in entries)
    await db.execute(
        "UPDATE path SET filled = $2, overflow = overflow OR $3 WHERE id = $1", indexed.id, last, overflow
    )
    if overflow and not indexed.overflow:
        await db.execute(ANNOUNCE)
    return True
