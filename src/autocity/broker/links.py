"""Linked entities (4.5.23): where relationships lead, read together, shown inside or beside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from autocity.ld import document, merge
from autocity.ld.entity import View
from autocity.model import Attribute, Entity, Instant
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
            yield from objects(instance)


def objects(instance: Attribute) -> Sequence[str]:
    """Ids that one instance of a relationship names."""
    if instance.kind not in ("Relationship", "ListRelationship"):
        return ()
    value = instance.value
    return (value,) if isinstance(value, str) else value


def inline(
    entity: Entity, linked: Mapping[str, Entity], levels: int, seen: frozenset[str] = frozenset()
) -> Entity:
    """The entity with those it leads to inside its relationships (4.5.23.2), each only where it has
    not been met on the way."""
    seen |= {entity.id}
    if levels == 0:
        return entity
    attributes = dict(entity.attributes)
    for name, instances in attributes.items():
        attributes[name] = tuple(inlined(each, linked, levels, seen) for each in instances)
    return replace(entity, attributes=attributes)


def inlined(
    instance: Attribute, linked: Mapping[str, Entity], levels: int, seen: frozenset[str]
) -> Attribute:
    """One instance, with the entities that it names when it is a relationship."""
    reached = [
        inline(linked[id], linked, levels - 1, seen)
        for id in objects(instance)
        if id in linked and id not in seen
    ]
    if not reached:
        return instance
    member = "entityList" if instance.kind == "ListRelationship" else "entity"
    inside = reached[0] if isinstance(instance.value, str) else reached
    return replace(instance, extra={**instance.extra, member: inside})


def beside(
    entities: Iterable[Entity], linked: Mapping[str, Entity], levels: int, view: View
) -> list[tuple[Entity, View]]:
    """The entities, then those that what is shown of them leads to (4.5.23.3), each once and with the
    view that the projection asks for."""
    answer = {entity.id: (entity, view) for entity in entities}
    frontier = list(answer.values())
    for _ in range(levels):
        reached: dict[str, tuple[Entity, View]] = {}
        for entity, shown in frontier:
            for name, instances in entity.attributes.items():
                if not shown.shows(name):
                    continue
                for id in (id for instance in instances for id in objects(instance)):
                    if id in linked and id not in answer and id not in reached:
                        reached[id] = linked[id], replace(shown.linked(name), embed=view.embed)
        answer.update(reached)
        frontier = list(reached.values())
    return list(answer.values())
