"""What notifications say about changes: deletions, former values, linked entities (5.8.6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autocity.ld.context import CORE
from autocity.ld.entity import parse_attribute
from towns import Town, entity, fragment

TOWER = "urn:ngsi-ld:Building:1"
NULL = "urn:ngsi-ld:null"
BUILDING: dict[str, Any] = {
    "name": {"type": "Property", "value": "Eiffel Tower"},
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [-8.5, 41.2]}},
    "street": {"type": "LanguageProperty", "languageMap": {"fr": "Grand Place", "nl": "Grote Markt"}},
    "locatedAt": {"type": "Relationship", "object": "urn:ngsi-ld:City:Paris"},
    "plan": {"type": "JsonProperty", "json": {"id": "some-id", "null": None}},
    "style": {"type": "VocabProperty", "vocab": "monument"},
}
EVERY = ["attributeCreated", "attributeUpdated", "attributeDeleted"]


async def subscribe(town: Town, triggers: list[str] = EVERY, **notification: Any) -> str:
    members = {k: notification.pop(k) for k in ("watchedAttributes", "datasetId") if k in notification}
    return await town.subscribe(
        entities=[{"type": "Building"}], notificationTrigger=triggers, notification=notification, **members
    )


async def told(town: Town, id: str) -> Any:
    """The data of the only notification that waits."""
    (delivery,) = await town.store.outbox(subscription=id)
    return msgspec.json.decode(delivery.body)["data"]


def building(**members: Any) -> Any:
    return entity(TOWER, "Building", **(BUILDING | members))


def shown(**members: Any) -> dict[str, Any]:
    return {"id": TOWER, "type": "Building", **BUILDING, **members}


async def remove(town: Town, name: str, **options: Any) -> None:
    await town.broker.delete_attribute(town.me, TOWER, CORE.expand(name), **options)


@pytest.mark.parametrize(
    ("name", "null"),
    [
        ("name", {"type": "Property", "value": NULL}),
        ("location", {"type": "GeoProperty", "value": NULL}),
        ("locatedAt", {"type": "Relationship", "object": NULL}),
        ("street", {"type": "LanguageProperty", "languageMap": {"@none": NULL}}),
        ("plan", {"type": "JsonProperty", "json": NULL}),
        ("style", {"type": "VocabProperty", "vocab": NULL}),
    ],
)
async def test_a_deleted_attribute_of_each_kind(late: Town, name: str, null: dict[str, Any]) -> None:
    await late.broker.create_entity(late.me, building())
    plain = await subscribe(late)
    changes = await subscribe(late, showChanges=True)
    await remove(late, name)
    assert await told(late, plain) == [shown(**{name: null})]
    member = next(key for key in null if key != "type")
    previous = {f"previous{member[0].upper()}{member[1:]}": BUILDING[name][member]}
    assert await told(late, changes) == [shown(**{name: null | previous})]


async def test_a_deleted_attribute_simplified_and_with_system_attributes(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(TOWER, "Building", name="Eiffel Tower", height=330))
    simplified = await subscribe(late, format="keyValues")
    system = await subscribe(late, sysAttrs=True)
    await remove(late, "name")
    assert await told(late, simplified) == [{"id": TOWER, "type": "Building", "height": 330, "name": NULL}]
    (body,) = await told(late, system)
    assert body["name"].keys() == {"type", "value", "createdAt", "modifiedAt", "deletedAt"}
    assert "deletedAt" not in body


MULTI = [
    {"type": "Property", "value": "Eiffel Tower"},
    {"type": "Property", "value": "Eiffelturm", "datasetId": "urn:ngsi-ld:Dataset:german"},
    {"type": "Property", "value": "Tour Eiffel", "datasetId": "urn:ngsi-ld:Dataset:french"},
]


async def test_a_deleted_instance_stands_beside_those_that_stay(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(TOWER, "Building", name=MULTI))
    normalized, simplified = await subscribe(late), await subscribe(late, format="simplified")
    await remove(late, "name", dataset_id="urn:ngsi-ld:Dataset:french")
    gone = MULTI[2] | {"value": NULL}
    assert (await told(late, normalized))[0]["name"] == [*MULTI[:2], gone]
    assert (await told(late, simplified))[0]["name"] == {
        "dataset": {
            "@none": "Eiffel Tower",
            "urn:ngsi-ld:Dataset:german": "Eiffelturm",
            "urn:ngsi-ld:Dataset:french": NULL,
        }
    }


async def test_when_all_instances_go_the_default_one_stands_for_them(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(TOWER, "Building", name=MULTI))
    id = await subscribe(late)
    await remove(late, "name", delete_all=True)
    assert (await told(late, id))[0]["name"] == {"type": "Property", "value": NULL}


async def test_deletion_by_null_in_a_merge_is_told_as_well(late: Town) -> None:
    await late.broker.create_entity(late.me, building())
    id = await subscribe(late, ["attributeDeleted"])
    await late.broker.merge_entity(late.me, TOWER, fragment(name={"type": "Property", "value": NULL}))
    assert await told(late, id) == [shown(name={"type": "Property", "value": NULL})]


async def test_a_deletion_that_is_not_watched_is_not_told(late: Town) -> None:
    await late.broker.create_entity(late.me, building())
    id = await subscribe(late, ["attributeDeleted"], watchedAttributes=["name"])
    await remove(late, "street")
    assert await late.store.outbox(subscription=id) == []


async def test_a_deleted_entity(late: Town) -> None:
    await late.broker.create_entity(late.me, building())
    plain = await subscribe(late, ["entityDeleted"])
    system = await subscribe(late, ["entityDeleted"], sysAttrs=True)
    attribute = await subscribe(late, ["attributeDeleted"], watchedAttributes=["name"])
    changes = await subscribe(late, ["entityDeleted"], showChanges=True)
    await late.broker.delete_entity(late.me, TOWER)
    (body,) = await told(late, plain)
    assert list(body) == ["id", "type", "deletedAt"]
    (body,) = await told(late, system)
    assert list(body) == ["id", "type", "createdAt", "modifiedAt", "deletedAt"]
    (body,) = await told(late, attribute)
    assert list(body) == ["id", "type", "deletedAt", "name"]
    assert body["name"] == {"type": "Property", "value": NULL}
    (body,) = await told(late, changes)
    assert body["location"] == {
        "type": "GeoProperty", "value": NULL, "previousValue": BUILDING["location"]["value"]
    }  # fmt: skip
    assert body.keys() == {"id", "type", "deletedAt", *BUILDING}


@pytest.mark.parametrize(
    ("update", "previous"),
    [
        ({"name": {"type": "Property", "value": "Tour"}}, {"previousValue": "Eiffel Tower"}),
        (
            {"locatedAt": {"type": "Relationship", "object": "urn:ngsi-ld:City:Nantes"}},
            {"previousObject": "urn:ngsi-ld:City:Paris"},
        ),
        (
            {"street": {"type": "LanguageProperty", "languageMap": {"es": "Gran Lugar"}}},
            {"previousLanguageMap": {"fr": "Grand Place", "nl": "Grote Markt"}},
        ),
        ({"plan": {"type": "JsonProperty", "json": {}}}, {"previousJson": {"id": "some-id", "null": None}}),
        ({"style": {"type": "VocabProperty", "vocab": "museum"}}, {"previousVocab": "monument"}),
    ],
)
async def test_former_values(late: Town, update: dict[str, Any], previous: dict[str, Any]) -> None:
    await late.broker.create_entity(late.me, building())
    id = await subscribe(late, showChanges=True)
    await late.broker.update_attributes(late.me, TOWER, fragment(**update))
    ((name, instance),) = update.items()
    assert await told(late, id) == [shown(**{name: instance | previous})]


async def test_what_is_new_had_no_former_value(late: Town) -> None:
    id = await subscribe(late, ["entityCreated"], showChanges=True)
    await late.broker.create_entity(late.me, building())
    assert await told(late, id) == [shown()]


async def test_only_the_datasets_asked_for_are_told(late: Town) -> None:
    id = await subscribe(late, datasetId=["urn:ngsi-ld:Dataset:french"])
    await late.broker.create_entity(late.me, entity(TOWER, "Building", name=MULTI, height=330))
    assert await told(late, id) == [{"id": TOWER, "type": "Building", "name": MULTI[2]}]


async def test_attributes_pick_and_omit(late: Town) -> None:
    attributes = await subscribe(late, attributes=["name"])
    pick = await subscribe(late, pick=["id", "name"])
    omit = await subscribe(late, omit=["type", *[name for name in BUILDING if name != "name"]])
    await late.broker.create_entity(late.me, building())
    name = BUILDING["name"]
    assert await told(late, attributes) == [{"id": TOWER, "type": "Building", "name": name}]
    assert await told(late, pick) == [{"id": TOWER, "name": name}]
    assert await told(late, omit) == [{"id": TOWER, "name": name}]


PARIS = {"name": {"type": "Property", "value": "Paris"}}
IN_PARIS = {"type": "Relationship", "object": "urn:ngsi-ld:City:Paris"}


async def test_4_5_23_linked_entities(late: Town) -> None:
    await late.broker.create_entity(late.me, entity("urn:ngsi-ld:City:Paris", "City", **PARIS))
    paris = {"id": "urn:ngsi-ld:City:Paris", "type": "City", **PARIS}
    inline = await subscribe(late, join="inline")
    flat = await subscribe(late, join="flat")
    simplified = await subscribe(late, join="inline", format="simplified")
    chosen = await subscribe(late, join="flat", attributes=["locatedAt"])
    hidden = await subscribe(late, join="flat", attributes=["height"])
    await late.broker.create_entity(
        late.me,
        entity(TOWER, "Building", height=330, locatedAt={"type": "Relationship", "object": paris["id"]}),
    )
    tower = {"id": TOWER, "type": "Building", "height": {"type": "Property", "value": 330}}
    assert await told(late, inline) == [tower | {"locatedAt": IN_PARIS | {"entity": paris}}]
    assert await told(late, flat) == [tower | {"locatedAt": IN_PARIS}, paris]
    (body,) = await told(late, simplified)
    assert body["locatedAt"] == {"id": paris["id"], "type": "City", "name": "Paris"}
    assert await told(late, chosen) == [{"id": TOWER, "type": "Building", "locatedAt": IN_PARIS}, paris]
    assert await told(late, hidden) == [tower]


async def test_4_9_a_query_that_follows_a_link(late: Town) -> None:
    for name, level in (("low", 0.3), ("full", 0.95)):
        await late.broker.create_entity(
            late.me, entity(f"urn:ngsi-ld:Device:{name}", "Device", batteryLevel=level)
        )
    id = await late.subscribe(entities=[{"type": "Vehicle"}], q="isConnectedTo{batteryLevel}<0.5")
    for name in ("full", "low"):
        link = {"type": "Relationship", "object": f"urn:ngsi-ld:Device:{name}"}
        await late.broker.create_entity(
            late.me, entity(f"urn:ngsi-ld:Vehicle:{name}", "Vehicle", isConnectedTo=link)
        )
    assert [each["id"] for each in await told(late, id)] == ["urn:ngsi-ld:Vehicle:low"]


async def test_5_8_1_the_context_of_the_subscription_names_things(late: Town) -> None:
    source = {"tower": "https://example.org/Building", "title": "https://example.org/name"}
    context = await late.contexts.resolve(source)
    id = await late.broker.create_subscription(
        late.me,
        {
            "type": "Subscription",
            "entities": [{"type": "tower"}],
            "notification": {"endpoint": {"uri": "http://127.0.0.1:9/"}, "format": "keyValues"},
        },
        context,
    )
    await late.broker.create_entity(late.me, entity(TOWER, "tower", context, title="Eiffel"))
    assert await told(late, id) == [{"id": TOWER, "type": "tower", "title": "Eiffel"}]
    # A context without a URL is hosted, so that a receiver can be referred to it.
    subscription = await late.broker.retrieve_subscription(late.me, id)
    (hosted,) = await late.contexts.list("ImplicitlyCreated")
    assert subscription.jsonld_context == hosted.url
    assert msgspec.json.decode(await late.contexts.serve(hosted.id)) == {"@context": source}


async def test_each_change_of_a_batch_is_told(late: Town) -> None:
    id = await subscribe(late, ["attributeUpdated"], format="keyValues")
    await late.broker.create_entity(late.me, entity(TOWER, "Building", height=1))
    await late.broker.merge_entities(late.me, [fragment(TOWER, height=n) for n in (2, 3)])
    found = [msgspec.json.decode(each.body) for each in await late.store.outbox(subscription=id)]
    assert [body["data"][0]["height"] for body in found] == [2, 3]


async def test_a_write_that_says_what_is_there_already_is_not_told(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(TOWER, "Building", height=330))
    id = await subscribe(late)
    await late.broker.update_attributes(late.me, TOWER, fragment(height={"type": "Property", "value": 330}))
    same = parse_attribute({"value": 330}, CORE, "height", nulls=True, partial=True)
    await late.broker.update_attribute(late.me, TOWER, CORE.expand("height"), same)
    assert await late.store.outbox(subscription=id) == []
