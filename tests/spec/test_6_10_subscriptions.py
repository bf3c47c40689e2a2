"""Subscriptions, stored contexts (CIM 009, 6.10, 6.11, 6.29, 6.30), and what operates the platform."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from autocity.api.asgi import EVERYONE
from autocity.errors import StoreUnavailable

SUBSCRIPTION = {
    "id": "urn:ngsi-ld:Subscription:1",
    "type": "Subscription",
    "entities": [{"type": "Vehicle"}],
    "notification": {"endpoint": {"uri": "http://127.0.0.1:9/hear", "accept": "application/json"}},
}
PATH = f"/subscriptions/{SUBSCRIPTION['id']}"


async def test_a_subscription_lives(api: Any) -> None:
    reply = await api.post("/subscriptions/", SUBSCRIPTION)
    assert (reply.status, reply.header("Location")) == (201, f"/ngsi-ld/v1{PATH}")
    assert (await api.post("/subscriptions", SUBSCRIPTION)).refuses(409, "AlreadyExists")
    found = (await api.get(PATH)).json
    assert (found["id"], found["status"]) == (SUBSCRIPTION["id"], "active")
    assert (await api.patch(PATH, {"isActive": False})).status == 204
    assert (await api.get(PATH)).json["status"] == "paused"
    assert (await api.delete(PATH)).status == 204
    assert (await api.get(PATH)).refuses(404, "ResourceNotFound")
    assert (await api.delete(PATH)).refuses(404, "ResourceNotFound")


async def test_an_id_is_given_where_none_came(api: Any) -> None:
    body = {name: value for name, value in SUBSCRIPTION.items() if name != "id"}
    reply = await api.post("/subscriptions", body)
    assert (await api.get(reply.header("Location"))).json["type"] == "Subscription"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Other"},
        {"notification": {}},
        {"notification": {"endpoint": {"uri": "nonsense"}}},
        {"entities": []},
        {"q": "(("},
        {"notificationTrigger": ["entityChanged"]},
        {"throttling": -1},
        {"expiresAt": "soon"},
    ],
)
async def test_broken_subscriptions_are_refused(api: Any, change: dict[str, Any]) -> None:
    assert (await api.post("/subscriptions", SUBSCRIPTION | change)).refuses(400, "BadRequestData")
    assert (await api.get("/subscriptions")).json == []


async def test_subscriptions_come_in_pages(api: Any) -> None:
    for number in range(3):
        await api.post("/subscriptions", SUBSCRIPTION | {"id": f"urn:ngsi-ld:Subscription:{number}"})
    reply = await api.get("/subscriptions?limit=2&count=true")
    assert (len(reply.json), reply.header("NGSILD-Results-Count")) == (2, "3")
    assert 'rel="next"' in reply.header("Link")
    reply = await api.get("/subscriptions?limit=2&offset=2", Accept="application/ld+json")
    assert len(reply.json) == 1
    assert "@context" in reply.json[0]
    assert (await api.get("/subscriptions?limit=0")).refuses(400, "InvalidRequest")


async def test_names_are_shown_in_the_readers_terms(api: Any, link: dict[str, str]) -> None:
    await api.post("/subscriptions", SUBSCRIPTION, **link)
    assert (await api.get(PATH, **link)).json["entities"] == [{"type": "Vehicle"}]
    assert (await api.get(PATH)).json["entities"] == [{"type": "https://example.org/Vehicle"}]


# 5.13 stored contexts


async def test_a_context_is_hosted_served_used_and_deleted(api: Any) -> None:
    document = {"@context": {"speed": "https://mine.example/v"}}
    reply = await api.post("/jsonldContexts", document)
    path = reply.header("Location")
    assert reply.status == 201
    assert (await api.get(path)).json == document
    details = (await api.get(f"{path}?details=true")).json
    assert details["kind"] == "Hosted"
    assert details["URL"] in (await api.get("/jsonldContexts?kind=Hosted")).json
    assert (await api.get("/jsonldContexts?details=true&kind=Hosted")).json[0]["localId"] == details[
        "localId"
    ]
    assert (await api.get("/jsonldContexts?kind=Cached")).json == []
    link = f'<{details["URL"]}>; rel="http://www.w3.org/ns/json-ld#context"'
    await api.create(
        {"id": "urn:a:1", "type": "Vehicle", "speed": {"type": "Property", "value": 1}}, Link=link
    )
    assert "https://mine.example/v" in await api.entity("urn:a:1")
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).refuses(404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("body", "kind"),
    [({"a": 1}, "InvalidRequest"), ([1], "InvalidRequest"), ({"@context": 5}, "BadRequestData")],
)
async def test_what_is_no_context_is_not_hosted(api: Any, body: Any, kind: str) -> None:
    assert (await api.post("/jsonldContexts", body)).refuses(400, kind)


async def test_the_core_is_not_deleted(api: Any) -> None:
    core = "https%3A%2F%2Furi.etsi.org%2Fngsi-ld%2Fv1%2Fngsi-ld-core-context-v1.8.jsonld"
    assert (await api.delete(f"/jsonldContexts/{core}")).refuses(400, "BadRequestData")
    assert (await api.delete("/jsonldContexts/none")).refuses(404, "ResourceNotFound")
    assert (await api.delete("/jsonldContexts/none?reload=xxx")).refuses(400, "BadRequestData")
    assert (await api.get("/jsonldContexts?kind=Odd")).refuses(400, "BadRequestData")


# operations


async def test_health_and_readiness(api: Any) -> None:
    assert (await api.get("/healthz")).json["status"] == "alive"
    ready = await api.get("/readyz")
    assert (ready.status, ready.json["status"], ready.json["reasons"]) == (200, "ready", [])


async def test_a_store_that_is_away_is_a_reason(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> list[str]:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(api.broker, "tenants", away)
    reply = await api.get("/readyz")
    assert (reply.status, reply.json["status"], reply.json["reasons"]) == (
        503,
        "unready",
        ["the disk is full"],
    )


async def test_metrics_are_served(api: Any) -> None:
    reply = await api.get("/metrics")
    assert reply.header("Content-Type").startswith("text/plain")
    assert b"autocity_info" in reply.body


async def test_deliveries_are_visible(api: Any, bus: Any) -> None:
    await api.post("/subscriptions", SUBSCRIPTION)
    await api.create(bus)
    (waiting,) = (await api.get("/deliveries")).json
    assert (waiting["subscription"], waiting["attempts"], waiting["dead"]) == (SUBSCRIPTION["id"], 0, False)
    assert (await api.get(f"/deliveries?id={SUBSCRIPTION['id']}")).json == [waiting]
    assert (await api.get("/deliveries?dead=true")).json == []
    assert (await api.get("/deliveries?id=urn:x:none")).refuses(404, "ResourceNotFound")
    assert (await api.post(f"/deliveries/{SUBSCRIPTION['id']}/resend")).json == {"resent": 0}
    assert (await api.post("/deliveries/urn:x:none/resend")).refuses(404, "ResourceNotFound")


class Listener:
    """The other end of an event stream."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.blocks: list[str] = []

    async def event(self) -> dict[str, Any]:
        """The next event with data."""
        while True:
            while self.blocks:
                lines = self.blocks.pop(0).split("\n")
                fields = dict(line.split(": ", 1) for line in lines if line and not line.startswith(":"))
                if "data" in fields:
                    told = msgspec.json.decode(fields["data"])
                    return {"kind": fields["event"], "cursor": int(fields["id"]), **told}
            self.blocks = (await asyncio.wait_for(anext(self.stream), 2)).decode().split("\n\n")


@pytest.fixture
async def streams(api: Any) -> Any:
    opened: list[Any] = []

    async def open(query: str = "", **headers: str) -> Listener:
        answer = await api.application.local("GET", f"/events{query}", headers.items(), b"", EVERYONE)
        assert answer.status == 200, answer.body
        assert answer.media == "text/event-stream"
        listener = Listener(answer.stream)
        opened.append(answer.stream)
        assert b"connected" in await anext(answer.stream)
        return listener

    yield open
    for stream in opened:
        await stream.aclose()


async def test_changes_are_heard_as_they_happen(api: Any, streams: Any, bus: Any) -> None:
    listener = await streams()
    heard = asyncio.ensure_future(listener.event())
    await asyncio.sleep(0)
    await api.create(bus)
    event = await heard
    assert (event["kind"], event["operation"], event["id"]) == ("change", "create", bus["id"])
    assert event["cursor"] == event["seq"]
    assert event["actor"] == "tester"
    await api.patch(f"/entities/{bus['id']}/attrs/speed", {"value": 1})
    event = await listener.event()
    assert (event["operation"], event["attributes"]) == ("update", ["speed"])
    await api.delete(f"/entities/{bus['id']}")
    assert (await listener.event())["operation"] == "delete"


async def test_a_cursor_brings_what_was_missed(api: Any, streams: Any, bus: Any) -> None:
    await api.create(bus, bus | {"id": "urn:ngsi-ld:Vehicle:2"})
    first = await (await streams("?after=0")).event()
    assert first["id"] == bus["id"]
    second = await (await streams("", **{"Last-Event-ID": str(first["cursor"])})).event()
    assert second["id"] == "urn:ngsi-ld:Vehicle:2"


async def test_listeners_hear_only_what_they_want(api: Any, streams: Any, bus: Any, link: Any) -> None:
    context = "context=https://example.org/city.jsonld"
    wanted = [
        await streams(f"?after=0&type=Vehicle&{context}"),
        await streams("?after=0&id=urn:ngsi-ld:Vehicle:1"),
        await streams(f"?after=0&attrs=speed&{context}&format=keyValues"),
    ]
    await api.create({"id": "urn:ngsi-ld:Zone:7", "type": "Zone"})
    await api.create(bus, **link)
    for listener in wanted:
        assert (await listener.event())["id"] == bus["id"]


async def test_the_entity_comes_along_when_it_is_asked_for(
    api: Any, streams: Any, bus: Any, link: Any
) -> None:
    listener = await streams("?after=0&format=keyValues&context=https://example.org/city.jsonld")
    await api.create(bus, **link)
    event = await listener.event()
    assert event["types"] == ["Vehicle"]
    assert event["entity"]["speed"] == 30
    await api.patch(f"/entities/{bus['id']}/attrs/speed", {"value": 31}, **link)
    assert (await listener.event())["entity"] == {"id": bus["id"], "type": "Vehicle", "speed": 31}


async def test_a_nonsense_cursor_is_refused(api: Any) -> None:
    assert (await api.get("/events", Last_Event_ID="soon")).refuses(400, "InvalidRequest")
    reply = await api.application.local("GET", "/events?after=soon", (), b"", EVERYONE)
    assert reply.status == 400
