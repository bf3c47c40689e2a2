"""The Subscription data type: what is accepted, refused, kept and shown (5.2.12 to 5.2.15, 5.2.33)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autocity.broker import Outbound
from autocity.broker.subscription import Subscription, parse, render, update
from autocity.errors import BadRequestData
from autocity.ld.context import CORE, Context
from autocity.ld.context import compile as compile_context
from autocity.ld.instants import instant

NOW = instant("2026-11-22T00:00:00Z")
OUTBOUND = Outbound()
ENDPOINT = {"uri": "http://receiver.example/notify"}


def header(key: str, value: str) -> dict[str, Any]:
    return {"receiverInfo": [{"key": key, "value": value}]}


FULL: dict[str, Any] = {
    "id": "urn:ngsi-ld:Subscription:1",
    "type": "Subscription",
    "subscriptionName": "warm rooms",
    "description": "tells of warm rooms",
    "entities": [
        {"type": "Room"},
        {"id": "urn:ngsi-ld:Room:1", "type": "Room|(Hall;Public)"},
        {"id": ["urn:ngsi-ld:Room:2"], "idPattern": "^urn:.*", "type": "Hall"},
    ],
    "watchedAttributes": ["temperature", "humidity"],
    "notificationTrigger": ["entityCreated", "attributeUpdated"],
    "q": 'temperature>20;label=="temperature is high"',
    "geoQ": {"geometry": "Point", "coordinates": [125.2, 43.8], "georel": "near;maxDistance==2000",
             "geoproperty": "place"},
    "scopeQ": "/Changchun/#",
    "throttling": 2.5,
    "datasetId": ["@none", "urn:ngsi-ld:Dataset:1"],
    "lang": "zh",
    "expiresAt": "2027-01-01T00:00:00Z",
    "isActive": True,
    "jsonldContext": "https://example.org/context.jsonld",
    "notification": {
        "pick": ["id", "temperature", "owner{name,age}"],
        "omit": ["humidity"],
        "format": "keyValues",
        "sysAttrs": True,
        "join": "inline",
        "joinLevel": 2,
        "endpoint": {
            **ENDPOINT,
            "accept": "application/ld+json",
            "timeout": 500,
            "cooldown": 1000,
            "receiverInfo": [{"key": "Authorization", "value": "Bearer x"}],
            "notifierInfo": [{"key": "any", "value": "thing"}],
        },
    },
}  # fmt: skip


def minimal(**members: Any) -> dict[str, Any]:
    return {
        "type": "Subscription", "entities": [{"type": "Room"}], "notification": {"endpoint": ENDPOINT}
    } | members  # fmt: skip


def read(body: Any, context: Context = CORE) -> Subscription:
    return parse(body, context, NOW, OUTBOUND)


def shown(subscription: Subscription, context: Context = CORE) -> dict[str, Any]:
    return render(subscription, context, NOW, {}, sys_attrs=False)


async def rooms(prefix: str) -> Context:
    async def nothing(url: str) -> Any:
        raise AssertionError(url)

    names = [
        "temperature",
        "humidity",
        "label",
        "place",
        "owner",
        "name",
        "age",
        "co2",
        "Room",
        "Hall",
        "Public",
    ]
    return await compile_context({name: prefix + name for name in names}, nothing)


def test_every_member_comes_back_as_it_was_sent() -> None:
    assert shown(read(FULL)) == FULL | {"status": "active"}


def test_what_is_stored_reads_back_the_same() -> None:
    subscription = read(FULL)
    stored = msgspec.json.encode(subscription)
    assert msgspec.json.decode(stored, type=Subscription) == subscription


def test_defaults_are_shown_only_where_the_standard_generates_them() -> None:
    assert shown(read(minimal(id="urn:a:b"))) == minimal(
        id="urn:a:b",
        notificationTrigger=["attributeCreated", "attributeUpdated"],
        jsonldContext="",
        status="active",
    )


async def test_names_are_shown_in_the_context_of_who_asks() -> None:
    theirs = await rooms("https://theirs.example/")
    body = shown(read(FULL, theirs))
    at = "https://theirs.example/"
    assert body["watchedAttributes"] == [at + "temperature", at + "humidity"]
    assert body["q"] == f'{at}temperature>20;{at}label=="temperature is high"'
    assert body["entities"][1]["type"] == f"{at}Room|({at}Hall;{at}Public)"
    assert body["geoQ"]["geoproperty"] == at + "place"
    assert body["notification"]["pick"] == ["id", at + "temperature", f"{at}owner{{{at}name,{at}age}}"]
    assert shown(read(FULL, theirs), theirs) == FULL | {"status": "active"}


async def test_5_8_2_an_update_expands_with_its_own_context_and_leaves_the_rest() -> None:
    theirs = await rooms("https://theirs.example/")
    after = update(read(FULL), {"watchedAttributes": ["co2"], "throttling": None}, theirs, NOW, OUTBOUND)
    assert after.watched_attributes == ("https://theirs.example/co2",)
    assert after.throttling is None
    assert after.q == read(FULL).q


def test_5_8_2_status_follows_is_active_and_expiry() -> None:
    later = instant("2028-01-01T00:00:00Z")
    subscription = read(FULL)
    assert subscription.status(later) == "expired"
    assert update(subscription, {"isActive": False}, CORE, NOW, OUTBOUND).status(NOW) == "paused"
    assert update(subscription, {"expiresAt": None}, CORE, NOW, OUTBOUND).status(later) == "active"


@pytest.mark.parametrize(
    ("fragment", "fault"),
    [
        ({"notification": None}, "notification cannot be taken away"),
        ({"notification": {"format": "keyValues", "endpoint": None}}, "endpoint"),
        ({"notification": {"format": "keyValues"}}, "endpoint is missing"),
        ({"id": "urn:other:id"}, "id must stay"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "future"),
        ({"entities": None, "watchedAttributes": "urn:ngsi-ld:null"}, "entities or watchedAttributes"),
        ({"timeInterval": 5}, "exclude"),
    ],
)
def test_5_8_2_updates_that_are_refused(fragment: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadRequestData, match=fault):
        update(read(FULL), fragment, CORE, NOW, OUTBOUND)


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ({"type": "Description"}, "type must be Subscription"),
        ({"id": "no uri"}, "id"),
        ({"entities": []}, "entities"),
        ({"entities": [{}]}, "entities"),
        ({"entities": [{"type": ""}]}, "entities"),
        ({"entities": [{"type": "A", "colour": "red"}]}, "entities"),
        ({"entities": [{"type": "A", "idPattern": "("}]}, "entities"),
        ({"watchedAttributes": []}, "watchedAttributes"),
        ({"watchedAttributes": ["a b"]}, "watchedAttributes"),
        ({"notificationTrigger": ["entityMoved"]}, "notificationTrigger"),
        ({"q": "temperature>"}, "q"),
        ({"q": 5}, "q"),
        ({"geoQ": {"geometry": "Point", "coordinates": [1, 2]}}, "geoQ"),
        ({"geoQ": {"geometry": "Point", "coordinates": [1, 2], "georel": "beside"}}, "geoQ"),
        ({"scopeQ": ""}, "scopeQ"),
        ({"throttling": -30}, "throttling"),
        ({"throttling": True}, "throttling"),
        ({"throttling": 1e308}, "throttling"),
        ({"timeInterval": 5, "throttling": 5}, "exclude"),
        ({"timeInterval": 5, "watchedAttributes": ["a"]}, "exclude"),
        ({"expiresAt": "tomorrow"}, "expiresAt"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "future"),
        ({"isActive": "yes"}, "isActive"),
        ({"datasetId": ["a b"]}, "datasetId"),
        ({"watchedAtributes": ["a"]}, "did you mean watchedAttributes"),
        ({"csf": "(("}, "csf"),
        ({"notification": {"endpoint": ENDPOINT, "sysAttr": True}}, "did you mean sysAttrs"),
        ({"notification": {"endpoint": ENDPOINT | {"acept": "application/json"}}}, "did you mean accept"),
        ({"notification": {}}, "endpoint is missing"),
        ({"notification": {"endpoint": {}}}, "uri is missing"),
        ({"notification": {"endpoint": {"uri": "receiver"}}}, "notification.endpoint.uri"),
        ({"notification": {"endpoint": {"uri": "ftp://receiver.example"}}}, "notification.endpoint.uri"),
        ({"notification": {"endpoint": {"uri": "http://10.0.0.1/x"}}}, "allow_private"),
        ({"notification": {"endpoint": ENDPOINT | {"accept": "text/xml"}}}, "accept"),
        ({"notification": {"endpoint": ENDPOINT | {"receiverInfo": [{"key": "a"}]}}}, "receiverInfo"),
        ({"notification": {"endpoint": ENDPOINT | header("A B", "x")}}, "header"),
        ({"notification": {"endpoint": ENDPOINT | header("Content-Length", "5")}}, "header"),
        ({"notification": {"endpoint": ENDPOINT | header("A", "x\r\nB: y")}}, "header"),
        ({"notification": {"endpoint": ENDPOINT, "attributes": []}}, "attributes"),
        ({"notification": {"endpoint": ENDPOINT, "pick": []}}, "pick"),
        ({"notification": {"endpoint": ENDPOINT, "omit": []}}, "omit"),
        ({"notification": {"endpoint": ENDPOINT, "attributes": ["a"], "pick": ["b"]}}, "excludes"),
        ({"notification": {"endpoint": ENDPOINT, "pick": ["id"], "omit": ["id"]}}, "both in pick and omit"),
        ({"notification": {"endpoint": ENDPOINT, "format": "keyValues", "showChanges": True}}, "showChanges"),
        ({"notification": {"endpoint": ENDPOINT, "format": "simplified", "showChanges": True}}, "show"),
        ({"notification": {"endpoint": ENDPOINT, "format": "short"}}, "format"),
        ({"notification": {"endpoint": ENDPOINT, "joinLevel": 0}}, "joinLevel"),
        ({"notification": []}, "notification"),
    ],
)  # fmt: skip
def test_5_8_1_subscriptions_that_are_refused(members: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadRequestData, match=fault):
        read(minimal(**members))


def test_every_fault_is_named_at_once() -> None:
    with pytest.raises(BadRequestData) as refusal:
        read({"id": "x", "throttling": 0, "notification": {"format": "no", "endpoint": {"accept": "no"}}})
    for name in ("id", "throttling", "notification.format", "notification.endpoint.uri", "type is missing"):
        assert name in refusal.value.detail


def test_5_8_1_something_must_be_watched() -> None:
    body = minimal()
    del body["entities"]
    with pytest.raises(BadRequestData, match="entities or watchedAttributes"):
        read(body)
    read(body | {"watchedAttributes": ["a"]})
    read(body | {"localOnly": True})


def test_5_2_14_2_output_only_members_are_ignored() -> None:
    body = minimal(status="paused", createdAt="2020-01-01T00:00:00Z")
    body["notification"] = body["notification"] | {"timesSent": 5, "status": "failed"}
    assert shown(read(body))["notification"] == {"endpoint": ENDPOINT}


def test_members_that_mean_nothing_are_let_go() -> None:
    assert "__context" not in shown(read(minimal(__context="http://x.example")))


def test_4_9_a_percent_encoded_q_is_read_and_shown_as_it_came() -> None:
    subscription = read(minimal(q='name=="Eiffel%20Tower"'))
    plain = read(minimal(q='name=="Eiffel Tower"')).q
    assert subscription.q is not None
    assert plain is not None
    assert subscription.q.tree == plain.tree
    assert shown(subscription)["q"] == 'name=="Eiffel%20Tower"'
