"""Entity maps: how long they live, and who sees them."""

from __future__ import annotations

import pytest

from autocity.broker.entitymaps import LIFETIME, LONGEST, EntityMaps
from autocity.errors import BadRequestData, ResourceNotFound
from autocity.ld.instants import SECOND, timestamp
from autocity.ld.temporal import duration
from autocity.model import Instant
from autocity.store.memory import MemoryStore

ENTITIES = {"urn:v:1": ["@none"], "urn:v:2": ["urn:r:1"]}


class Clock:
    def __init__(self) -> None:
        self.now: Instant = 1_800_000_000 * SECOND

    def __call__(self) -> Instant:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def maps(clock: Clock) -> EntityMaps:
    store = MemoryStore()
    await store.open()
    return EntityMaps(store, clock)


async def test_a_map_is_kept_for_its_time(maps: EntityMaps, clock: Clock) -> None:
    map = await maps.create("", ENTITIES)
    assert (await maps.get("", map.id)).entities == ENTITIES
    with pytest.raises(ResourceNotFound):
        await maps.get("faw", map.id)
    clock.now += LIFETIME
    with pytest.raises(ResourceNotFound):
        await maps.get("", map.id)


async def test_nobody_keeps_one_for_ever(maps: EntityMaps, clock: Clock) -> None:
    assert (await maps.create("", {}, duration("P1Y"))).expires_at == clock.now + LONGEST
    map = await maps.create("", {}, duration("PT1M"))
    assert map.expires_at == clock.now + 60 * SECOND
    await maps.update("", map.id, {"expiresAt": timestamp(clock.now + 2 * LONGEST)})
    assert (await maps.get("", map.id)).expires_at == clock.now + LONGEST


async def test_only_its_expiry_can_be_set(maps: EntityMaps) -> None:
    map = await maps.create("", ENTITIES)
    await maps.update("", map.id, {"type": "EntityMap", "entityMap": {}})
    assert (await maps.get("", map.id)).entities == ENTITIES
    for fragment in ({"expiresAt": "soon"}, {"expiresAt": 5}, {"type": "Map"}, {"id": "urn:x:1"}):
        with pytest.raises(BadRequestData):
            await maps.update("", map.id, fragment)


async def test_entities_leave_a_map(maps: EntityMaps) -> None:
    map = await maps.create("", ENTITIES)
    await maps.drop(map, ["urn:v:1", "urn:v:9"])
    assert (await maps.get("", map.id)).entities == {"urn:v:2": ["urn:r:1"]}


async def test_maps_are_deleted_and_swept(maps: EntityMaps, clock: Clock) -> None:
    gone, late, stays = [await maps.create("", {}, duration(text)) for text in ("PT1H", "PT1M", "PT1H")]
    await maps.delete("", gone.id)
    with pytest.raises(ResourceNotFound):
        await maps.delete("", gone.id)
    clock.now += 61 * SECOND
    assert await maps.sweep() == 1
    assert await maps.sweep() == 0
    with pytest.raises(ResourceNotFound):
        await maps.get("", late.id)
    assert (await maps.get("", stays.id)).id == stays.id
