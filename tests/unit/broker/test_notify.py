"""Notifications from the change to the receiver: content, order, retries, isolation, restart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autocity.broker import Caller, Outbound, notify, senders
from autocity.broker.matching import Watch
from autocity.broker.senders import seconds
from autocity.errors import ResourceNotFound
from autocity.ld.context import CORE, CORE_URL
from autocity.model import Delivery
from autocity.store.memory import MemoryStore
from towns import LAMP, Receiver, Town, build, entity, fragment, tear_down


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rests of milliseconds."""
    monkeypatch.setattr(notify, "FIRST_REST", 0.01)
    monkeypatch.setattr(notify, "LONGEST_REST", 0.05)


async def settled(town: Town, id: str, *, dead: bool = False) -> list[Any]:
    """What is in the outbox once everything has been written down."""
    await asyncio.sleep(0.05)
    return await town.broker.notifier.waiting("", id, dead=dead)


async def test_5_3_1_and_6_3_8_a_notification(town: Town, receiver: Receiver) -> None:
    id = await town.subscribe(receiver.url + "/a")
    await town.broker.create_entity(town.me, entity(power=5))
    (body,) = await receiver.until(1)
    assert body["id"].startswith("urn:ngsi-ld:Notification:")
    assert body.keys() == {"id", "type", "subscriptionId", "notifiedAt", "data"}
    assert (body["type"], body["subscriptionId"]) == ("Notification", id)
    assert body["data"] == [{"id": LAMP, "type": "Lamp", "power": {"type": "Property", "value": 5}}]
    (headers,) = receiver.headers
    assert headers["Content-Type"] == "application/json"
    assert headers["Link"] == (
        f'<{CORE_URL}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
    )
    assert receiver.paths == ["/a"]
    assert await settled(town, id) == []


async def test_5_2_14_2_counters(town: Town, receiver: Receiver) -> None:
    id = await town.subscribe(receiver.url)
    receiver.answers.extend([500])
    await town.broker.create_entity(town.me, entity(power=5))
    await receiver.until(2)
    await asyncio.sleep(0.02)
    shown = town.broker.subscriptions.render(await town.broker.retrieve_subscription(town.me, id), CORE)
    told = shown["notification"]
    assert (told["timesSent"], told["timesFailed"], told["status"]) == (2, 1, "ok")
    assert {"lastNotification", "lastSuccess", "lastFailure"} <= told.keys()


async def test_counters_survive_a_restart(receiver: Receiver) -> None:
    store = MemoryStore()
    town = await build(store)
    id = await town.subscribe(receiver.url, throttling=60)
    await town.broker.create_entity(town.me, entity(power=5))
    await receiver.until(1)
    await asyncio.sleep(0.02)
    await tear_down(town)
    town = await build(store)
    assert town.broker.subscriptions.tally("", id).times_sent == 1
    # The throttling goes on as well.
    await town.broker.update_attributes(town.me, LAMP, fragment(power=6))
    await asyncio.sleep(0.05)
    assert len(receiver.bodies) == 1
    await tear_down(town)


async def test_notifications_of_one_subscription_come_in_order(town: Town, receiver: Receiver) -> None:
    await town.subscribe(receiver.url, notification={"format": "keyValues"})
    await town.broker.create_entity(town.me, entity(power=0))
    for n in range(1, 50):
        await town.broker.update_attributes(town.me, LAMP, fragment(power=n))
    bodies = await receiver.until(50)
    assert [body["data"][0]["power"] for body in bodies] == list(range(50))
    assert receiver.most == 1


async def test_a_failure_is_retried_with_the_same_id_and_the_order_stays(
    town: Town, receiver: Receiver
) -> None:
    id = await town.subscribe(receiver.url, notification={"format": "keyValues"})
    receiver.answers.extend([503, 503])
    await town.broker.create_entity(town.me, entity(power=0))
    await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    bodies = await receiver.until(4)
    assert [body["data"][0]["power"] for body in bodies] == [0, 0, 0, 1]
    assert len({body["id"] for body in bodies[:3]}) == 1
    assert await settled(town, id) == []


async def test_what_is_refused_is_laid_aside_and_can_be_sent_again(town: Town, receiver: Receiver) -> None:
    id = await town.subscribe(receiver.url)
    receiver.answers.extend([400] * notify.MAX_REFUSALS)
    await town.broker.create_entity(town.me, entity(power=0))
    await receiver.until(3)
    (dead,) = await settled(town, id, dead=True)
    assert (dead.attempts, dead.error) == (3, "400 Bad Request")
    assert await town.broker.notifier.resend("", id) == 1
    bodies = await receiver.until(4)
    assert len({body["id"] for body in bodies}) == 1
    assert await settled(town, id, dead=True) == []
    assert await settled(town, id) == []


async def test_what_keeps_failing_is_laid_aside(
    town: Town, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "MAX_ATTEMPTS", 4)
    id = await town.subscribe(receiver.url)
    receiver.answers.extend([500] * 4)
    await town.broker.create_entity(town.me, entity(power=0))
    await receiver.until(4)
    assert [each.attempts for each in await settled(town, id, dead=True)] == [4]
    await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    await receiver.until(5)


async def test_nobody_at_the_endpoint(town: Town) -> None:
    id = await town.subscribe("http://127.0.0.1:9/")
    await town.broker.create_entity(town.me, entity(power=0))
    (waiting,) = await settled(town, id)
    assert waiting.attempts > 0
    assert "Cannot connect" in waiting.error
    tally = town.broker.subscriptions.tally("", id)
    assert tally.failed
    assert tally.last_failure > 0


async def test_a_slow_receiver_holds_up_nobody_else(town: Town, receiver: Receiver) -> None:
    receiver.delay["/slow"] = 0.9
    await town.subscribe(receiver.url + "/slow")
    for n in range(10):
        await town.subscribe(f"{receiver.url}/{n}")
    begun = asyncio.get_running_loop().time()
    await town.broker.create_entity(town.me, entity(power=0))
    await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    await receiver.until(20)
    assert asyncio.get_running_loop().time() - begun < 0.8
    assert "/slow" not in receiver.paths


async def test_a_slow_receiver_is_given_several_at_once(
    town: Town, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "PACE_SECONDS", 0.02)
    receiver.delay["/slow"] = 0.3
    await town.subscribe(receiver.url + "/slow")
    for n in range(8):
        await town.broker.create_entity(town.me, entity(f"urn:ngsi-ld:Lamp:{n}"))
        await town.broker.update_attributes(town.me, f"urn:ngsi-ld:Lamp:{n}", fragment(power=n))
    await receiver.until(8)
    assert 1 < receiver.most <= notify.WINDOW


async def test_what_waits_survives_a_restart_with_its_id(receiver: Receiver) -> None:
    store = MemoryStore()
    town = await build(store)
    id = await town.subscribe("http://127.0.0.1:9/")
    await town.broker.create_entity(town.me, entity(power=0))
    (waiting,) = await settled(town, id)
    await tear_down(town)
    town = await build(store)
    await town.broker.update_subscription(
        town.me, id, {"notification": {"endpoint": {"uri": receiver.url}}}, CORE
    )
    (body,) = await receiver.until(1)
    assert body["id"] == waiting.id
    assert await settled(town, id) == []
    await tear_down(town)


async def test_a_backlog_beyond_what_is_held_in_memory_arrives_whole(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LANE_ROOM", 5)
    monkeypatch.setattr(notify, "START_LIMIT", 3)
    store = MemoryStore()
    town = await build(store, deliver=False)
    one = await town.subscribe(receiver.url + "/one", notification={"format": "keyValues"})
    other = await town.subscribe(receiver.url + "/other", notification={"format": "keyValues"})
    await town.broker.create_entity(town.me, entity(power=0))
    for n in range(1, 40):
        await town.broker.update_attributes(town.me, LAMP, fragment(power=n))
    await tear_down(town)
    town = await build(store)
    for n in range(40, 60):
        await town.broker.update_attributes(town.me, LAMP, fragment(power=n))
    await receiver.until(120)
    for path in ("/one", "/other"):
        values = [
            body["data"][0]["power"]
            for body, where in zip(receiver.bodies, receiver.paths, strict=True)
            if where == path
        ]
        assert values == list(range(60))
    assert await settled(town, one) == await settled(town, other) == []
    await tear_down(town)


async def test_5_8_5_a_deleted_subscription_is_not_told_what_waits(town: Town) -> None:
    id = await town.subscribe("http://127.0.0.1:9/")
    await town.broker.create_entity(town.me, entity(power=0))
    assert len(await settled(town, id)) == 1
    await town.broker.delete_subscription(town.me, id)
    assert await settled(town, id) == []
    with pytest.raises(ResourceNotFound):
        await town.broker.retrieve_subscription(town.me, id)
    await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    assert await settled(town, id) == []


async def test_5_2_12_a_paused_subscription_is_told_nothing_until_it_is_resumed(
    town: Town, receiver: Receiver
) -> None:
    id = await town.subscribe(receiver.url, isActive=False)
    await town.broker.create_entity(town.me, entity(power=0))
    await asyncio.sleep(0.05)
    assert receiver.bodies == []
    await town.broker.update_subscription(town.me, id, {"isActive": True}, CORE)
    await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    assert len(await receiver.until(1)) == 1


async def test_5_2_12_throttling(town: Town, receiver: Receiver) -> None:
    await town.subscribe(receiver.url, throttling=0.2)
    await town.broker.create_entity(town.me, entity(power=0))
    await town.broker.update_attributes(town.me, LAMP, fragment(power=1))
    await asyncio.sleep(0.25)
    await town.broker.update_attributes(town.me, LAMP, fragment(power=2))
    await receiver.until(2)
    await asyncio.sleep(0.05)
    assert [body["data"][0]["power"]["value"] for body in receiver.bodies] == [0, 2]


async def test_a_throttled_notification_whose_commit_failed_is_told_after_all(late: Town) -> None:
    id = await late.subscribe("http://127.0.0.1:9/", throttling=60)
    late.store.fail_next = 1  # type: ignore[attr-defined]
    await late.broker.create_entity(late.me, entity(power=0))
    assert len(await settled(late, id)) == 1


async def test_4_14_a_tenant_is_named_and_apart(town: Town, receiver: Receiver) -> None:
    body = {
        "type": "Subscription",
        "entities": [{"type": "Lamp"}],
        "notification": {"endpoint": {"uri": receiver.url}},
    }
    await town.broker.create_subscription(Caller("b"), body, CORE)
    await town.broker.create_entity(town.me, entity(power=0))
    await town.broker.create_entity(Caller("b"), entity(power=1))
    (notification,) = await receiver.until(1)
    assert notification["data"][0]["power"]["value"] == 1
    assert receiver.headers[0]["NGSILD-Tenant"] == "b"


async def test_5_2_15_receiver_info_accept_and_timeout(town: Town, receiver: Receiver) -> None:
    endpoint = {
        "accept": "application/ld+json",
        "timeout": 50,
        "receiverInfo": [{"key": "X-Additional-Key", "value": "secret"}],
    }
    receiver.delay["/"] = 0.2
    id = await town.subscribe(
        receiver.url, notification={"endpoint": {"uri": receiver.url + "/", **endpoint}}
    )
    await town.broker.create_entity(town.me, entity(power=0))
    await receiver.until(1)
    headers = receiver.headers[0]
    assert headers["X-Additional-Key"] == "secret"
    assert headers["Content-Type"] == "application/ld+json"
    assert "Link" not in headers
    assert receiver.bodies[0]["data"][0]["@context"] == CORE_URL
    (waiting,) = await settled(town, id)
    assert waiting.error == "no answer in time"


async def test_geojson(town: Town, receiver: Receiver) -> None:
    prefer = {"receiverInfo": [{"key": "Prefer", "value": "body=json"}]}
    for more in ({}, prefer):
        endpoint = {"uri": receiver.url, "accept": "application/geo+json", **more}
        await town.subscribe(receiver.url, notification={"endpoint": endpoint})
    spot = {"type": "Point", "coordinates": [125.3, 43.8]}
    await town.broker.create_entity(town.me, entity(location={"type": "GeoProperty", "value": spot}))
    await receiver.until(2)
    for body, headers in zip(receiver.bodies, receiver.headers, strict=True):
        assert body["data"]["type"] == "FeatureCollection"
        assert body["data"]["features"][0]["geometry"] == spot
        assert ("@context" in body["data"]) is ("Prefer" not in headers)
        assert ("Link" in headers) is ("Prefer" in headers)


async def test_no_change_misses_a_subscription_that_was_acknowledged(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=0))

    async def writing() -> None:
        for n in range(1, 60):
            await late.broker.update_attributes(late.me, LAMP, fragment(power=n))

    async def subscribing() -> list[tuple[str, int]]:
        found = []
        for _ in range(10):
            id = await late.subscribe("http://127.0.0.1:9/", notification={"format": "keyValues"})
            found.append((id, int((await late.values())["power"])))
        return found

    _, subscribed = await asyncio.gather(writing(), subscribing())
    for id, seen in subscribed:
        told = [each.body for each in await settled(late, id)]
        assert len(told) >= 59 - seen
        assert len({bytes(body) for body in told}) == len(told)


async def test_another_process_learns_of_a_subscription_before_it_writes(late: Town) -> None:
    other = await build(late.store, deliver=False)
    await late.broker.create_entity(late.me, entity(power=0))
    id = await other.subscribe("http://127.0.0.1:9/")
    await late.broker.update_attributes(late.me, LAMP, fragment(power=1))
    assert len(await settled(late, id)) == 1
    await other.broker.delete_subscription(late.me, id)
    await late.broker.update_attributes(late.me, LAMP, fragment(power=2))
    assert await settled(late, id) == []
    assert (await late.broker.query_subscriptions(late.me)) == ([], 0)
    await other.broker.stop()


async def test_what_another_process_wrote_is_delivered_soon(town: Town, receiver: Receiver) -> None:
    other = await build(town.store, deliver=False)
    await town.subscribe(receiver.url)
    await other.broker.create_entity(town.me, entity(power=0))
    await receiver.until(1, seconds=1.0)
    await other.broker.stop()


async def test_subscriptions_written_without_end_do_not_starve_a_write(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=0))
    busy = True

    async def subscribing() -> None:
        while busy:
            await late.subscribe("http://127.0.0.1:9/", entities=[{"type": "Pole"}])

    noise = [asyncio.create_task(subscribing()) for _ in range(5)]
    async with asyncio.timeout(5):
        for n in range(10):
            await late.broker.update_attributes(late.me, LAMP, fragment(power=n + 1))
    busy = False
    await asyncio.gather(*noise)
    assert (await late.values())["power"] == 10


async def test_5_8_6_time_interval(town: Town, receiver: Receiver) -> None:
    await town.broker.create_entity(town.me, entity(power=5))
    await town.broker.create_entity(town.me, entity("urn:ngsi-ld:Lamp:2", power=50))
    id = await town.subscribe(receiver.url, timeInterval=0.1, q="power>10")
    bodies = await receiver.until(2)
    assert [[each["id"] for each in body["data"]] for body in bodies[:2]] == [["urn:ngsi-ld:Lamp:2"]] * 2
    await town.broker.update_attributes(town.me, "urn:ngsi-ld:Lamp:2", fragment(power=1))
    await asyncio.sleep(0.12)
    told = len(receiver.bodies)
    await asyncio.sleep(0.3)
    assert len(receiver.bodies) == told, "nothing matches, so nothing is told"
    await town.broker.delete_subscription(town.me, id)


async def test_who_may_not_be_called_is_not_called(town: Town, receiver: Receiver) -> None:
    id = await town.subscribe(receiver.url)
    watch = town.broker.subscriptions.watch("", id)
    assert watch is not None
    sender = senders.HttpSender(Outbound())
    await town.broker.create_entity(town.me, entity(power=5))
    await receiver.until(1)
    (delivery,) = [Delivery(id="urn:a:b", tenant="", subscription=id, created_at=1, body=b"{}")]
    with pytest.raises(senders.Undelivered, match="private"):
        await sender.send(watch, delivery)
    await sender.close()
    assert len(receiver.bodies) == 1


class Odd:
    """A sender that breaks in a way nobody thought of, then works."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, watch: Watch, delivery: Delivery) -> None:
        self.sent.append(delivery.id)
        if len(self.sent) < 3:
            raise RuntimeError("odd")

    async def close(self) -> None:
        self.sent.append("closed")


async def test_a_sender_that_breaks_stops_nothing_and_others_can_be_put_in(town: Town) -> None:
    odd = Odd()
    town.broker.notifier._senders["http"] = odd
    id = await town.subscribe("http://127.0.0.1:9/")
    await town.broker.create_entity(town.me, entity(power=0))
    async with asyncio.timeout(2):
        while len(odd.sent) < 3:
            await asyncio.sleep(0.01)
    assert len(set(odd.sent)) == 1
    assert await settled(town, id) == []


def test_retry_after() -> None:
    assert seconds("2") == min(2.0, senders.LONGEST_REST)
    assert seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds("") == 0
