"""Linked entities (4.5.23): where relationships lead, read together, shown inside or beside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autocity.ld import document, merge
from autocity.model import Entity, Instant
from autocity.store.port import Store


async def entities_of(store: Store, tenant: str, ids: Sequence[str], now: Instant) -> dict[str, Entity]:
    """Those of `ids` that exist, by id."""
    found = {}
    for stored in await store.get_many(tenant, ids):
        entity = merge.alive(document.load(stored.document), now)
        if entity is not None:
            found[entity.id] = entity
    return found


async def linked_entities(
    store: Store, tenant: str, entities: Iterable[Entity], levels: int, now: Instant
) -> dict[str, Entity]:
    """Entities that relationships of `entities` lead to within so many steps, by id; each is read
    once, so loops end by themselves."""
    known: dict[str, Entity] = {}
    frontier = list(entities)
    for _ in range(levels):
        wanted = {target for entity in frontier for target in targets(entity)} - known.keys()
        if not wanted:
            break
        reached = await entities_of(store, tenant, sorted(wanted), now)
        known.update(reached)
        frontier = list(reached.values())
    return known


def targets(entity: Entity) -> Iterable[str]:
    """Ids that relationships of the entity lead to (4.5.3, 4.5.22)."""
    for instances in entity.attributes.values():
        for instance in instances:
            if instance.kind in ("Relationship", "ListRelationship"):
                value = instance.value
                yield from (value,) if isinstance(value, str) else value
