"""Subscriptions at context sources: made, kept in step, taken away, and their notifications passed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from autocity.errors import BadRequestData, ResourceNotFound
from autocity.ld.context import CORE
from autocity.store.memory import MemoryStore
from elsewhere import Elsewhere, Heard, elsewhere_running, registration
from towns import LAMP, Receiver, Town, build, entity, tear_down

HERE = "http://city.example:8026"


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async with elsewhere_running() as running:
        running.answer("POST", "/subscriptions", None, 201)
        yield running


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    built = await build(MemoryStore(), here=HERE)
    yield built
    await tear_down(built)


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.005)


async def register(town: Town, elsewhere: Elsewhere, **members: Any) -> str:
    members = {"information": [{"entities": [{"type": "Lamp"}]}]} | members
    return await town.broker.create_registration(town.me, registration(elsewhere.url, None, **members), CORE)


async def copied(town: Town, elsewhere: Elsewhere, count: int = 1) -> list[Heard]:
    await until(lambda: len(elsewhere.asked("POST", "/subscriptions")) >= count)
    return elsewhere.asked("POST", "/subscriptions")


async def test_a_subscription_is_copied_reduced(town: Town, elsewhere: Elsewhere) -> None:
    information = [{"entities": [{"type": "Lamp", "id": LAMP}], "propertyNames": ["power", "color"]}]
    await register(town, elsewhere, information=information)
    await town.subscribe(q="power>5", notification={"attributes": ["power", "size"]}, throttling=5)
    (heard,) = await copied(town, elsewhere)
    body = heard.body
    assert body["entities"] == [{"type": "Lamp", "id": LAMP}]
    assert body["q"] == "power>5"
    assert body["notification"]["endpoint"]["uri"] == f"{HERE}/ngsi-ld/ex/remote-notify"
    assert body["id"].startswith("urn:ngsi-ld:Subscription:")
    assert "size" not in str(body["notification"])


@pytest.mark.parametrize(
    "members",
    [
        {"information": [{"entities": [{"type": "Bus"}]}]},
        {"operations": ["retrieveOps"]},
        {"mode": "auxiliary"},
    ],
)
async def test_sources_that_cannot_tell_get_no_copy(
    town: Town, elsewhere: Elsewhere, members: dict[str, Any]
) -> None:
    await register(town, elsewhere, **members)
    await town.subscribe()
    await register(town, elsewhere)
    assert len(await copied(town, elsewhere)) == 1
    await asyncio.sleep(0.05)
    assert len(elsewhere.asked("POST", "/subscriptions")) == 1


async def test_a_local_subscription_stays_here(town: Town, elsewhere: Elsewhere) -> None:
    await register(town, elsewhere)
    await town.subscribe(localOnly=True)
    await asyncio.sleep(0.05)
    assert elsewhere.heard == []


async def test_copies_follow_the_subscription(town: Town, elsewhere: Elsewhere) -> None:
    await register(town, elsewhere)
    id = await town.subscribe()
    (heard,) = await copied(town, elsewhere)
    path = f"/subscriptions/{heard.body['id']}"
    await town.broker.update_subscription(town.me, id, {"q": "power>5"}, CORE)
    await until(lambda: elsewhere.asked("PATCH", path))
    assert elsewhere.asked("PATCH", path)[0].body["q"] == "power>5"
    await town.broker.delete_subscription(town.me, id)
    await until(lambda: elsewhere.asked("DELETE", path))
    assert await town.store.records(None, "subscription-copy") == []


async def test_copies_follow_registrations(town: Town, elsewhere: Elsewhere) -> None:
    await town.subscribe()
    id = await register(town, elsewhere)
    (heard,) = await copied(town, elsewhere)
    assert [each.sources for each in await town.broker.query_subscriptions_to_sources(town.me)] == [True]
    await town.broker.delete_registration(town.me, id)
    await until(lambda: elsewhere.asked("DELETE", f"/subscriptions/{heard.body['id']}"))
    assert await town.broker.query_subscriptions_to_sources(town.me) == []


async def test_a_source_that_is_not_there_yet_is_told_later(
    town: Town, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocity.broker.copies.RETRY_SECONDS", 0.05)
    elsewhere.answer("POST", "/subscriptions", None, 503)
    await register(town, elsewhere)
    await town.subscribe()
    await copied(town, elsewhere)
    elsewhere.answer("POST", "/subscriptions", None, 201)
    first, *_, last = await copied(town, elsewhere, 2)
    assert first.body["id"] == last.body["id"]


def notification(id: str, *data: dict[str, Any]) -> dict[str, Any]:
    return {"id": "urn:n:1", "type": "Notification", "subscriptionId": id, "data": list(data)}


async def test_what_a_source_tells_is_passed_on(town: Town, elsewhere: Elsewhere, receiver: Receiver) -> None:
    await register(town, elsewhere)
    id = await town.subscribe(receiver.url)
    (heard,) = await copied(town, elsewhere)
    power = {"type": "Property", "value": 7}
    told = notification(heard.body["id"], {"id": LAMP, "type": "Lamp", "power": power})
    await town.broker.copies.receive(told, CORE)
    (passed,) = await receiver.until(1)
    assert (passed["subscriptionId"], passed["data"][0]["power"]["value"]) == (id, 7)
    assert passed["id"] != "urn:n:1"


async def test_what_is_spread_is_told_as_a_whole(
    town: Town, elsewhere: Elsewhere, receiver: Receiver
) -> None:
    await town.broker.create_entity(town.me, entity(color="red"))
    await register(town, elsewhere)
    await town.subscribe(receiver.url, splitEntities=True, q='color=="red"')
    (heard,) = await copied(town, elsewhere)
    assert "q" not in heard.body
    power = {"type": "Property", "value": 7}
    await town.broker.copies.receive(
        notification(heard.body["id"], {"id": "urn:l:2", "type": "Lamp", "power": power}), CORE
    )
    await town.broker.copies.receive(
        notification(heard.body["id"], {"id": LAMP, "type": "Lamp", "power": power}), CORE
    )
    (passed,) = await receiver.until(1)
    (lamp,) = passed["data"]
    assert (lamp["id"], lamp["color"]["value"], lamp["power"]["value"]) == (LAMP, "red", 7)


async def test_what_nobody_asked_for_is_refused(town: Town, elsewhere: Elsewhere) -> None:
    with pytest.raises(ResourceNotFound):
        await town.broker.copies.receive(notification("urn:ngsi-ld:Subscription:none"), CORE)
    for body in ({}, {"subscriptionId": 5, "data": []}, {"subscriptionId": "urn:s:1", "data": {}}):
        with pytest.raises(BadRequestData):
            await town.broker.copies.receive(body, CORE)
    await register(town, elsewhere)
    await town.subscribe()
    (heard,) = await copied(town, elsewhere)
    for data in (5, {"id": LAMP}, {"type": "Lamp"}):
        with pytest.raises(BadRequestData):
            await town.broker.copies.receive(notification(heard.body["id"], data), CORE)  # type: ignore[arg-type]
