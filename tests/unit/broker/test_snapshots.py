"""Snapshots: filled in the background, apart from everything else, for a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autocity.broker import Caller
from autocity.broker.snapshots import LIFETIME, status_of
from autocity.errors import AlreadyExists, BadRequestData, GatewayTimeout, ResourceNotFound
from autocity.ld.context import CORE
from autocity.model import Entity
from towns import LAMP, Receiver, Town, entity

BODY = {"type": "Snapshot", "snapshotQueries": [{"type": "Query", "entities": [{"type": "Lamp"}]}]}


async def lamps(*entities: Entity) -> list[Entity]:
    return list(entities)


async def made(town: Town, *entities: Entity, tenant: str = "", **members: Any) -> str:
    snapshots = town.broker.snapshots
    id = await snapshots.create(tenant, BODY | members, [lambda: lamps(*entities)], [])
    await settled(town)
    return id


async def settled(town: Town) -> None:
    async with asyncio.timeout(5):
        while town.broker.snapshots._tasks:
            await asyncio.sleep(0.001)


async def test_a_snapshot_is_a_place_of_its_own(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=1))
    id = await made(town, entity(power=5))
    snapshot = await town.broker.snapshots.get("", id)
    assert snapshot.status == "success"
    place = Caller(snapshot.place)
    assert (await town.entity(LAMP, snapshot.place)).attributes[CORE.expand("power")][0].value == 5
    await town.broker.delete_entity(place, LAMP)
    assert (await town.values())["power"] == 1
    assert await town.broker.tenants() == [""]


async def test_what_a_snapshot_may_say(town: Town) -> None:
    for change in (
        {"type": "Other"},
        {"snapshotPriority": 11},
        {"snapshotLifetime": "soon"},
        {"snapshotLifetime": "PT0S"},
        {"endpoint": "nonsense"},
        {"endpoint": "http://10.0.0.1/"},
        {"id": "no uri"},
        {"else": 1},
    ):
        with pytest.raises(BadRequestData):
            await made(town, **change)
    with pytest.raises(BadRequestData):
        await town.broker.snapshots.create("", BODY, [], [])
    await made(town, id="urn:s:1")
    with pytest.raises(AlreadyExists):
        await made(town, id="urn:s:1")
    await made(town, id="urn:s:1", tenant="faw")


async def test_versions_of_one_entity_come_together(town: Town) -> None:
    id = await made(town, entity(power=1), entity(color="red"))
    found = await town.entity(LAMP, (await town.broker.snapshots.get("", id)).place)
    assert {CORE.compact(name) for name in found.attributes} == {"power", "color"}


@pytest.mark.parametrize(
    ("results", "status"),
    [
        (["success", "success"], "success"),
        (["success", "empty"], "partial"),
        (["success", "failure"], "partial"),
        (["empty", "failure"], "empty"),
        (["failure"], "failure"),
    ],
)
def test_what_the_results_of_queries_come_to(results: list[str], status: str) -> None:
    assert status_of(results) == status


async def test_a_query_that_fails_is_told_of(town: Town, receiver: Receiver) -> None:
    async def broken() -> list[Entity]:
        raise GatewayTimeout("too late")

    id = await town.broker.snapshots.create("", BODY | {"endpoint": receiver.url}, [broken], [])
    (told,) = await receiver.until(1)
    assert (told["type"], told["snapshotId"], told["snapshotStatus"]) == (
        "SnapshotNotification",
        id,
        "failure",
    )
    assert told["snapshotQueriesDetails"][0]["problemDetails"]["detail"] == "too late"


async def test_a_clone_is_independent(town: Town) -> None:
    origin = await made(town, entity(power=1))
    snapshots = town.broker.snapshots
    with pytest.raises(BadRequestData):
        await snapshots.clone("", origin, BODY)
    with pytest.raises(ResourceNotFound):
        await snapshots.clone("", "urn:s:none", {"type": "Snapshot"})
    clone = await snapshots.clone("", origin, {"type": "Snapshot", "id": "urn:s:2"})
    await settled(town)
    await snapshots.delete("", origin)
    found = await snapshots.get("", clone)
    assert (found.status, found.queries) == ("success", BODY["snapshotQueries"])
    assert (await town.entity(LAMP, found.place)).id == LAMP


async def test_all_of_a_snapshot_goes_with_it(town: Town) -> None:
    id = await made(town, *(entity(f"urn:l:{number}", power=1) for number in range(3)))
    snapshot = await town.broker.snapshots.get("", id)
    body = {
        "type": "Subscription",
        "entities": [{"type": "Lamp"}],
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9"}},
    }
    await town.broker.create_subscription(Caller(snapshot.place), body, CORE)
    await town.broker.snapshots.delete("", id)
    with pytest.raises(ResourceNotFound):
        await town.broker.snapshots.get("", id)
    assert await town.store.count(snapshot.place) == 0
    await town.broker.subscriptions.catch_up()
    assert town.broker.subscriptions.all(snapshot.place) == []


async def test_notifications_name_the_snapshot(town: Town, receiver: Receiver) -> None:
    id = await made(town, tenant="faw")
    place = (await town.broker.snapshots.get("faw", id)).place
    body = {
        "type": "Subscription",
        "entities": [{"type": "Lamp"}],
        "notification": {"endpoint": {"uri": receiver.url}},
    }
    await town.broker.create_subscription(Caller(place), body, CORE)
    await town.broker.create_entity(Caller(place), entity(power=1))
    await receiver.until(1)
    headers = receiver.headers[0]
    assert (headers["NGSILD-Tenant"], headers["NGSILD-Snapshot"]) == ("faw", id)


async def test_snapshots_are_purged_by_what_they_are(town: Town) -> None:
    for number, priority in ((1, 3), (2, 8)):
        await made(town, id=f"urn:s:{number}", snapshotPriority=priority)
    purge = town.broker.snapshots.purge
    await purge("", "snapshotPriority<5")
    with pytest.raises(ResourceNotFound):
        await town.broker.snapshots.get("", "urn:s:1")
    assert (await town.broker.snapshots.get("", "urn:s:2")).priority == 8
    with pytest.raises(ResourceNotFound):
        await purge("", "snapshotPriority<5")
    with pytest.raises(BadRequestData):
        await purge("", "nothing<5")


async def test_a_snapshot_has_its_time(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshots = town.broker.snapshots
    id = await made(town, entity(power=1), id="urn:s:1")
    before = await snapshots.get("", id)
    assert before.expires_at == before.created_at + LIFETIME
    after = await snapshots.update("", id, {"snapshotLifetime": "PT1H", "snapshotPriority": 9})
    assert (after.priority, after.expires_at < before.expires_at) == (9, True)
    for fragment in (BODY, {"id": "urn:s:2"}, {"snapshotPriority": "high"}):
        with pytest.raises(BadRequestData):
            await snapshots.update("", id, fragment)
    monkeypatch.setattr(snapshots, "_clock", lambda: after.expires_at)
    with pytest.raises(ResourceNotFound):
        await snapshots.get("", id)
    assert await snapshots.sweep() == 1
    assert await town.store.count(after.place) == 0


async def test_what_was_being_prepared_when_the_process_ended_has_failed(town: Town) -> None:
    snapshots = town.broker.snapshots

    async def endless() -> list[Entity]:
        await asyncio.sleep(60)
        return []

    id = await snapshots.create("", BODY, [endless], [])
    assert (await snapshots.get("", id)).status == "preparing"
    await snapshots.close()
    await snapshots.open()
    assert (await snapshots.get("", id)).status == "failure"
