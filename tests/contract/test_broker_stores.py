"""What the broker promises holds on every store: no lost update, no lost notification, one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autocity.broker import Caller
from autocity.errors import AlreadyExists
from autocity.store.memory import MemoryStore
from autocity.store.port import Store
from autocity.store.postgres import PostgresStore
from autocity.store.sqlite import SQLiteStore
from towns import LAMP, Town, build, entity, fragment, tear_down

Open = Callable[[], Store]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Makes a store; it opens the same file or database every time."""
    if request.param == "memory":
        only = MemoryStore()
        return lambda: only
    if request.param == "postgres":
        database = request.getfixturevalue("database")
        return lambda: PostgresStore(database)
    return lambda: SQLiteStore(tmp_path / "city.db")


@pytest.fixture
async def city(new_store: Open) -> AsyncIterator[Town]:
    town = await build(new_store(), deliver=False)
    yield town
    await tear_down(town)


def numbered(prefix: str, count: int) -> dict[str, Any]:
    return {f"{prefix}{n}": n for n in range(count)}


async def test_concurrent_updates_of_one_entity_all_arrive(city: Town) -> None:
    await city.broker.create_entity(city.me, entity(power=0))
    await asyncio.gather(
        *(city.broker.update_attributes(city.me, LAMP, fragment(**{f"a{n}": n})) for n in range(100))
    )
    assert await city.values() == {"power": 0} | numbered("a", 100)
    assert len(await city.store.log(0)) == 101


async def test_two_brokers_on_one_store(city: Town) -> None:
    other = await build(city.store, deliver=False)
    await city.broker.create_entity(city.me, entity(power=0))
    await asyncio.gather(
        *(city.broker.update_attributes(city.me, LAMP, fragment(**{f"a{n}": n})) for n in range(30)),
        *(other.broker.merge_entities(city.me, [fragment(LAMP, **{f"b{n}": n})]) for n in range(30)),
    )
    assert await city.values() == {"power": 0} | numbered("a", 30) | numbered("b", 30)
    await other.broker.stop()


async def test_create_and_delete_race_and_answers_agree_with_the_log(city: Town) -> None:
    async def create() -> bool:
        try:
            await city.broker.create_entity(city.me, entity(power=0))
        except AlreadyExists:
            return False
        return True

    async def delete() -> bool:
        return bool((await city.broker.delete_entities(city.me, [LAMP])).success)

    done = await asyncio.gather(*(step() for _ in range(20) for step in (create, delete)))
    operations = [line.operation for line in await city.store.log(0)]
    assert operations.count("create") == sum(done[0::2])
    assert operations.count("delete") == sum(done[1::2])
    assert all(one != other for one, other in pairwise(operations))


async def test_every_change_is_told_once_to_every_subscription(city: Town) -> None:
    ids = [await city.subscribe() for _ in range(5)]
    await city.broker.create_entity(city.me, entity(power=0))
    await asyncio.gather(
        *(city.broker.update_attributes(city.me, LAMP, fragment(power=n)) for n in range(1, 40))
    )
    changes = len(await city.store.log(0))
    for id in ids:
        waiting = await city.broker.notifier.waiting("", id)
        assert len({each.id for each in waiting}) == len(waiting) == changes


async def test_subscriptions_and_what_waits_are_there_after_a_restart(new_store: Open) -> None:
    town = await build(new_store(), deliver=False)
    id = await town.subscribe(q="power>5", watchedAttributes=["power"])
    before = await town.broker.retrieve_subscription(town.me, id)
    await town.broker.create_entity(town.me, entity(power=6))
    waiting = await town.broker.notifier.waiting("", id)
    await tear_down(town)
    town = await build(new_store(), deliver=False)
    assert await town.broker.retrieve_subscription(town.me, id) == before
    assert await town.broker.notifier.waiting("", id) == waiting
    await town.broker.update_attributes(town.me, LAMP, fragment(power=7))
    await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    assert len(await town.broker.notifier.waiting("", id)) == 2
    await tear_down(town)


async def test_a_batch_is_all_or_nothing_on_disk_and_in_order(city: Town) -> None:
    many = [entity(f"urn:ngsi-ld:Lamp:{n % 50}", power=n) for n in range(200)]
    result = await city.broker.upsert_entities(city.me, many)
    assert (len(result.success), len(result.created), result.errors) == (50, 50, [])
    assert await city.values("urn:ngsi-ld:Lamp:7") == {"power": 157}
    assert len(await city.store.log(0)) == 200


async def test_tenants_are_apart(city: Town) -> None:
    await city.broker.create_entity(Caller("a"), entity(power=1))
    await city.broker.create_entity(Caller("b"), entity(power=2))
    assert (await city.entity(LAMP, "a")) != (await city.entity(LAMP, "b"))
    assert await city.broker.tenants() == ["", "a", "b"]


async def test_a_throttled_subscription_is_told_once_by_all_brokers(city: Town) -> None:
    other = await build(city.store, deliver=False)
    id = await city.subscribe(throttling=100)
    await other.broker.subscriptions.catch_up()
    lamps = [f"urn:ngsi-ld:Lamp:{n}" for n in range(10)]
    await asyncio.gather(
        *(
            town.broker.create_entity(city.me, entity(f"{lamp}{of}", power=1))
            for lamp in lamps
            for of, town in (("a", city), ("b", other))
        )
    )
    assert len(await city.broker.notifier.waiting("", id)) == 1
    assert len(await city.store.log(0)) == 20
    await city.broker.delete_subscription(city.me, id)
    assert await city.store.records(None, "subscription-pace") == []
    await other.broker.stop()


async def test_what_was_sent_is_added_up_over_all_brokers(city: Town) -> None:
    other = await build(city.store, deliver=False)
    id = await city.subscribe()
    await other.broker.subscriptions.catch_up()
    for town, times in ((city, 3), (other, 2), (city, 1)):
        subscriptions = town.broker.subscriptions
        for _ in range(times):
            subscriptions.sending("", id)
            subscriptions.sent("", id, ok=town is city)
        await asyncio.gather(*(each.broker.subscriptions.flush() for each in (city, other)))
    for town in (city, other):
        await town.broker.retrieve_subscription(city.me, id)
        tally = town.broker.subscriptions.tally("", id)
        assert (tally.times_sent, tally.times_failed, tally.failed) == (6, 2, False)
    await other.broker.delete_subscription(city.me, id)
    city.broker.subscriptions.sending("", id)
    await city.broker.subscriptions.flush()
    assert await city.store.records(None, "subscription-tally") == []
    await other.broker.stop()
