"""Entities and their attributes over HTTP (CIM 009, 6.4 to 6.7; 5.6, 5.7)."""

from __future__ import annotations

from typing import Any

import pytest

BUS = "urn:ngsi-ld:Vehicle:1"
ZONE = {
    "id": "urn:ngsi-ld:Zone:1",
    "type": "Zone",
    "name": {"type": "Property", "value": "North"},
    "of": {"type": "Relationship", "object": "urn:ngsi-ld:City:1"},
}
CITY = {"id": "urn:ngsi-ld:City:1", "type": "City", "name": {"type": "Property", "value": "Changchun"}}


# 5.6.1 create


async def test_created_entities_have_a_location_and_no_body(api: Any, bus: Any) -> None:
    reply = await api.post("/entities/", bus)
    assert (reply.status, reply.body) == (201, b"")
    assert reply.header("Location") == f"/ngsi-ld/v1/entities/{BUS}"


async def test_what_was_sent_comes_back_value_for_value(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert await api.entity(BUS) == bus


async def test_an_id_may_hold_anything_that_a_uri_may(api: Any) -> None:
    id = "https://example.org/红旗/a?b=c&d=%2F#e"
    reply = await api.post("/entities", {"id": id, "type": "Vehicle"})
    assert reply.status == 201
    assert (await api.get(reply.header("Location"))).json["id"] == id


async def test_an_entity_exists_once(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert (await api.post("/entities", bus)).refuses(409, "AlreadyExists")


# 5.7.1 retrieve


async def test_an_unknown_entity_is_not_found(api: Any) -> None:
    assert (await api.get(f"/entities/{BUS}")).refuses(404, "ResourceNotFound")


@pytest.mark.parametrize("path", ["/entities/nonsense", "/entities//attrs/speed", "/entities/%20"])
async def test_an_id_that_is_no_uri_is_refused(api: Any, path: str) -> None:
    assert (await api.delete(path)).refuses(400, "BadRequestData")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_replace_and_merge_need_an_id(api: Any, method: str) -> None:
    assert (await api.call(method, "/entities/", {"a": 1})).refuses(400, "BadRequestData")


async def test_a_type_selection_narrows_the_target(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert (await api.get(f"/entities/{BUS}?type=Vehicle,Zone")).status == 200
    assert (await api.get(f"/entities/{BUS}?type=Zone")).refuses(404, "ResourceNotFound")
    assert (await api.delete(f"/entities/{BUS}?type=Zone")).refuses(404, "ResourceNotFound")


async def test_attributes_are_chosen(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert set(await api.entity(BUS, "?attrs=speed,unknown")) == {"id", "type", "speed"}
    assert set(await api.entity(BUS, "?pick=id,speed")) == {"id", "speed"}
    assert set(await api.entity(BUS, "?omit=location,line,label")) == {"id", "type", "speed", "inside"}


@pytest.mark.parametrize(
    "query", ["attrs=unknown", "pick=unknown", "omit=id,type,speed,line,inside,location,label"]
)
async def test_nothing_left_is_not_found(api: Any, bus: Any, query: str) -> None:
    await api.create(bus)
    assert (await api.get(f"/entities/{BUS}?{query}")).refuses(404, "ResourceNotFound")


@pytest.mark.parametrize(
    "query",
    [
        "attrs=id",
        "attrs=speed,",
        "attrs=a%20b",
        "pick=speed&attrs=speed",
        "pick=speed&omit=speed",
        "pick=inside{name}",
        "pick=inside{of{name}}&join=inline&joinLevel=1",
        "pick=speed,,line",
        "joinLevel=2",
        "geometryProperty=location",
        "datasetId=nonsense",
    ],
)
async def test_contradictions_are_refused(api: Any, bus: Any, query: str) -> None:
    await api.create(bus)
    assert (await api.get(f"/entities/{BUS}?{query}")).refuses(400, "BadRequestData")


async def test_a_language_is_chosen(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert (await api.entity(BUS, "?lang=zh"))["label"] == {
        "type": "Property",
        "value": "公交车",
        "lang": "zh",
    }


async def test_datasets_are_chosen(api: Any, bus: Any) -> None:
    instances = [
        {"type": "Property", "value": 1},
        {"type": "Property", "value": 2, "datasetId": "urn:ngsi-ld:Dataset:a"},
    ]
    await api.create(bus | {"speed": instances})
    assert (await api.entity(BUS, "?datasetId=@none"))["speed"] == instances[0]
    assert (await api.entity(BUS, "?datasetId=urn:ngsi-ld:Dataset:a"))["speed"] == instances[1]
    assert "speed" not in await api.entity(BUS, "?datasetId=urn:ngsi-ld:Dataset:b")


async def test_geojson_takes_the_geometry_asked_for(api: Any, bus: Any) -> None:
    home = {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [1, 2]}}
    await api.create(bus | {"home": home})
    feature = await api.entity(BUS, "?geometryProperty=home", Accept="application/geo+json")
    assert (feature["type"], feature["id"], feature["geometry"]) == ("Feature", BUS, home["value"])


# 4.5.23 linked entities


async def test_linked_entities_come_inside(api: Any, bus: Any) -> None:
    await api.create(bus, ZONE, CITY)
    found = await api.entity(BUS, "?join=inline&joinLevel=2")
    assert found["inside"]["entity"]["name"]["value"] == "North"
    assert found["inside"]["entity"]["of"]["entity"]["id"] == CITY["id"]
    found = await api.entity(BUS, "?join=inline&options=keyValues&pick=id,inside{name}")
    assert found == {"id": BUS, "inside": {"name": "North"}}


async def test_linked_entities_come_beside(api: Any, bus: Any) -> None:
    await api.create(bus, ZONE, CITY)
    found = await api.entity(BUS, "?join=flat&joinLevel=2")
    assert [each["id"] for each in found] == [BUS, ZONE["id"], CITY["id"]]
    found = await api.entity(BUS, f"?join=flat&joinLevel=2&containedBy={ZONE['id']}")
    assert BUS in str(found)
    assert "North" not in str(found)
    collection = await api.entity(BUS, "?join=flat", Accept="application/geo+json")
    assert [each["id"] for each in collection["features"]] == [BUS, ZONE["id"]]
    found = (await api.get("/entities?type=Vehicle&join=flat")).json
    assert [each["id"] for each in found] == [BUS, ZONE["id"]]


# 5.6.18 replace, 5.6.17 merge, 5.6.6 delete


async def test_replacing_leaves_nothing_of_before(api: Any, bus: Any) -> None:
    await api.create(bus)
    after = {"id": BUS, "type": "Vehicle", "speed": {"type": "Property", "value": 1}}
    assert (await api.put(f"/entities/{BUS}", after)).status == 204
    assert await api.entity(BUS) == after
    assert (await api.put("/entities/urn:x:1", after | {"id": "urn:x:1"})).refuses(404, "ResourceNotFound")
    assert (await api.put(f"/entities/{BUS}", after | {"id": "urn:x:1"})).refuses(400, "BadRequestData")


async def test_merging_goes_deep(api: Any, bus: Any) -> None:
    await api.create(bus)
    fragment = {
        "speed": {"value": 40},
        "line": "urn:ngsi-ld:null",
        "seats": {"type": "Property", "value": 80},
    }
    assert (await api.patch(f"/entities/{BUS}", fragment)).status == 204
    found = await api.entity(BUS)
    assert (found["speed"]["value"], found["speed"]["unitCode"], found["seats"]["value"]) == (40, "KMH", 80)
    assert "line" not in found


async def test_merging_takes_bare_values_a_time_and_a_language(api: Any, bus: Any) -> None:
    await api.create(bus)
    at = "2026-11-22T09:00:00Z"
    path = f"/entities/{BUS}?format=keyValues&observedAt={at}&lang=en"
    assert (await api.patch(path, {"speed": 50, "label": "Coach"})).status == 204
    found = await api.entity(BUS)
    assert (found["speed"]["value"], found["speed"]["observedAt"]) == (50, at)
    assert found["label"]["languageMap"] == {"en": "Coach", "zh": "公交车"}
    assert (await api.patch(f"/entities/{BUS}?observedAt=now", {"speed": 1})).refuses(400, "BadRequestData")


async def test_deleted_is_gone(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert (await api.delete(f"/entities/{BUS}")).status == 204
    assert (await api.get(f"/entities/{BUS}")).refuses(404, "ResourceNotFound")
    assert (await api.delete(f"/entities/{BUS}")).refuses(404, "ResourceNotFound")


# 5.6.21 purge


async def test_a_purge_takes_what_it_selects(api: Any, bus: Any) -> None:
    await api.create(bus, ZONE)
    assert (await api.delete("/entities")).refuses(400, "BadRequestData")
    assert (await api.delete(f"/entities?id={BUS}")).refuses(400, "BadRequestData")
    assert (await api.delete("/entities?type=Zone&keep=a&drop=b")).refuses(400, "BadRequestData")
    assert (await api.delete("/entities?type=Vehicle&drop=line,label")).status == 204
    assert set(await api.entity(BUS)) == {"id", "type", "speed", "inside", "location"}
    assert (await api.delete("/entities?type=Vehicle")).status == 204
    assert [each["id"] for each in (await api.get("/entities?local=true")).json] == [ZONE["id"]]


# 5.6.2 to 5.6.5, 5.6.19 attributes


async def test_appending_without_overwriting_tells_what_was_left(api: Any, bus: Any) -> None:
    await api.create(bus)
    fragment = {"speed": {"type": "Property", "value": 99}, "seats": {"type": "Property", "value": 80}}
    reply = await api.post(f"/entities/{BUS}/attrs?options=noOverwrite", fragment)
    assert reply.status == 207
    full = "https://uri.etsi.org/ngsi-ld/default-context/"
    assert reply.json["updated"] == [f"{full}seats"]
    assert [each["attributeName"] for each in reply.json["notUpdated"]] == [f"{full}speed"]
    assert (await api.entity(BUS))["speed"]["value"] == 30
    assert (await api.post(f"/entities/{BUS}/attrs/", fragment)).status == 204
    assert (await api.entity(BUS))["speed"]["value"] == 99


async def test_updating_replaces_whole_attributes(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert (
        await api.patch(f"/entities/{BUS}/attrs", {"speed": {"type": "Property", "value": 5}})
    ).status == 204
    assert (await api.entity(BUS))["speed"] == {"type": "Property", "value": 5}


async def test_a_partial_update_keeps_the_rest_of_the_attribute(api: Any, bus: Any) -> None:
    await api.create(bus)
    assert (await api.patch(f"/entities/{BUS}/attrs/speed", {"value": 6})).status == 204
    assert (await api.entity(BUS))["speed"] == bus["speed"] | {"value": 6}
    change = {"type": "Relationship", "object": "urn:x:1"}
    assert (await api.patch(f"/entities/{BUS}/attrs/speed", change)).refuses(400, "BadRequestData")
    assert (await api.patch(f"/entities/{BUS}/attrs/none", {"value": 6})).refuses(404, "ResourceNotFound")


async def test_replacing_an_attribute(api: Any, bus: Any) -> None:
    await api.create(bus)
    new = {"type": "Property", "value": "fast"}
    assert (await api.put(f"/entities/{BUS}/attrs/speed", new)).status == 204
    assert (await api.entity(BUS))["speed"] == new
    assert (await api.put(f"/entities/{BUS}/attrs/none", new)).refuses(404, "ResourceNotFound")


async def test_the_default_instance_is_not_that_of_a_dataset(api: Any, bus: Any) -> None:
    a = {"type": "Property", "value": 2, "datasetId": "urn:ngsi-ld:Dataset:a"}
    await api.create(bus | {"speed": a})
    assert (await api.delete(f"/entities/{BUS}/attrs/speed")).refuses(404, "ResourceNotFound")
    assert (await api.patch(f"/entities/{BUS}/attrs/speed", {"value": 1})).refuses(404, "ResourceNotFound")
    assert (await api.delete(f"/entities/{BUS}/attrs/speed?datasetId=urn:ngsi-ld:Dataset:a")).status == 204
    assert "speed" not in await api.entity(BUS)


async def test_deleting_all_instances(api: Any, bus: Any) -> None:
    both = [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:a:b"}]
    await api.create(bus | {"speed": both})
    path = f"/entities/{BUS}/attrs/speed"
    assert (await api.delete(f"{path}?deleteAll=true&datasetId=urn:a:b")).refuses(400, "BadRequestData")
    assert (await api.delete(f"{path}?deleteAll=maybe")).refuses(400, "InvalidRequest")
    assert (await api.delete(f"{path}?deleteAll=true")).status == 204
    assert "speed" not in await api.entity(BUS)


@pytest.mark.parametrize("name", ["id", "type", "scope", "a(b", "%2e%2e", "%252e", "1a", "a%20b"])
async def test_what_cannot_name_an_attribute_is_refused(api: Any, bus: Any, name: str) -> None:
    await api.create(bus)
    assert (await api.patch(f"/entities/{BUS}/attrs/{name}", {"value": 1})).refuses(400, "BadRequestData")


async def test_an_attribute_may_be_named_by_its_iri(api: Any, bus: Any, link: dict[str, str]) -> None:
    await api.create(bus, **link)
    path = f"/entities/{BUS}/attrs/https%3A%2F%2Fexample.org%2Fspeed"
    assert (await api.patch(path, {"value": 7})).status == 204
    assert (await api.patch(f"/entities/{BUS}/attrs/city:speed", {"value": 8}, **link)).status == 204
    assert (await api.entity(BUS, **link))["speed"]["value"] == 8


# 5.7.2 query


async def query(api: Any, text: str) -> list[str]:
    reply = await api.get(f"/entities?{text}")
    assert reply.status == 200, reply.body
    return [each["id"] for each in reply.json]


async def test_queries_select(api: Any, bus: Any) -> None:
    await api.create(bus, ZONE, CITY)
    assert await query(api, "type=Vehicle,Zone") == [BUS, ZONE["id"]]
    assert await query(api, "type=*") == [BUS, ZONE["id"], CITY["id"]]
    assert await query(api, "q=speed%3E29") == [BUS]
    assert await query(api, "q=speed>29;label[zh]==%22公交车%22") == [BUS]
    assert await query(api, "attrs=name") == [ZONE["id"], CITY["id"]]
    assert await query(api, "type=City,Zone&idPattern=City") == [CITY["id"]]
    assert await query(api, f"type=*&id={BUS},{CITY['id']}") == [BUS, CITY["id"]]
    near = "georel=near;maxDistance==5000&geometry=Point&coordinates=[125.3,43.81]"
    assert await query(api, near) == [BUS]
    assert await query(api, "type=Vehicle&q=inside%7Bname%7D==%22North%22&join=inline") == [BUS]
    assert await query(api, "type=City,Zone&orderBy=name") == [CITY["id"], ZONE["id"]]


async def test_an_unescaped_plus_is_a_wildcard_in_a_scope(api: Any, bus: Any) -> None:
    await api.create(bus | {"scope": "/Changchun/North"})
    assert await query(api, "type=Vehicle&scopeQ=/+/North") == [BUS]


async def test_pick_drops_what_has_none_of_it(api: Any, bus: Any) -> None:
    await api.create(bus, ZONE)
    reply = await api.get("/entities?type=Vehicle,Zone&pick=name&count=true")
    assert reply.json == [{"name": ZONE["name"]}]
    assert reply.header("NGSILD-Results-Count") == "1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"id={BUS}",
        "idPattern=.*",
        "attrs=createdAt",
        "q=modifiedAt>%222020-01-01T00:00:00Z%22",
        "type=*&local=false",
        "type=Vehicle&id=nonsense",
        "type=Vehicle&idPattern=a**",
        "type=Vehicle&q=((",
        "type=Vehicle&csf=))bad((",
        "type=Vehicle&scopeQ=//",
        "type=;",
        "type=Vehicle&georel=near",
        "type=Vehicle&georel=touches&geometry=Point&coordinates=[1,2]",
        "type=Vehicle&georel=within&geometry=Polygon&coordinates=[1,2]",
        "type=Vehicle&q=inside%7Bname%7D==%22x%22",
        "type=Vehicle&collation=en",
        "type=Vehicle&orderBy=location;dist-asc",
        "type=Vehicle&geometryProperty=location",
    ],
)
async def test_queries_that_make_no_sense_are_refused(api: Any, text: str) -> None:
    assert (await api.get(f"/entities?{text}")).refuses(400, "BadRequestData")


# 5.2.23 query by body


async def test_a_query_body_does_what_parameters_do(api: Any, bus: Any) -> None:
    await api.create(bus, ZONE, CITY)
    body = {
        "type": "Query",
        "entities": [{"type": "Vehicle", "id": BUS}, {"type": "Zone", "idPattern": "Zone"}],
        "pick": ["id", "name", "speed"],
        "ordering": {"orderBy": ["id;desc"]},
    }
    reply = await api.post("/entityOperations/query?count=true&options=keyValues", body)
    assert reply.json == [{"id": ZONE["id"], "name": "North"}, {"id": BUS, "speed": 30}]
    assert reply.header("NGSILD-Results-Count") == "2"
    body = {
        "type": "Query",
        "q": "speed>1",
        "geoQ": {
            "georel": "within",
            "geometry": "Polygon",
            "coordinates": [[[125, 43], [126, 43], [126, 44], [125, 44], [125, 43]]],
        },
    }
    assert len((await api.post("/entityOperations/query", body)).json) == 1


async def test_every_fault_of_a_query_body_is_told_at_once(api: Any) -> None:
    body = {"type": "Qeury", "entites": [], "attrs": [], "geoQ": {"x": 1}, "joinLevel": True, "q": 5}
    reply = await api.post("/entityOperations/query", body)
    assert reply.refuses(400, "BadRequestData")
    for part in ("entites", 'type must be "Query"', "attrs", "geoQ.x", "joinLevel", "q must be a string"):
        assert part in reply.json["detail"]


# 5.6.7 to 5.6.10, 5.6.20 batches


async def test_a_batch_tells_what_became_of_each(api: Any, bus: Any) -> None:
    await api.create(bus)
    broken = {"id": "urn:ngsi-ld:Zone:2", "type": "Zone", "name": {"type": "Property"}}
    reply = await api.post("/entityOperations/create", [bus, ZONE, broken])
    assert reply.status == 207
    assert reply.json["success"] == [ZONE["id"]]
    kinds = {each["entityId"]: each["error"]["type"].rpartition("/")[2] for each in reply.json["errors"]}
    assert kinds == {BUS: "AlreadyExists", broken["id"]: "BadRequestData"}
    reply = await api.post("/entityOperations/create", [CITY])
    assert (reply.status, reply.json) == (201, [CITY["id"]])


async def test_an_upsert_creates_and_updates(api: Any, bus: Any) -> None:
    await api.create(bus)
    small = {"id": BUS, "type": "Vehicle", "speed": {"type": "Property", "value": 1}}
    reply = await api.post("/entityOperations/upsert?options=update", [small, ZONE])
    assert (reply.status, reply.json) == (201, [ZONE["id"]])
    assert "line" in await api.entity(BUS)
    assert (await api.post("/entityOperations/upsert", [small])).status == 204
    assert await api.entity(BUS) == small
    reply = await api.post("/entityOperations/upsert?options=update,replace", [small])
    assert reply.refuses(400, "InvalidRequest")


async def test_updates_merges_and_deletes_in_batches(api: Any, bus: Any) -> None:
    await api.create(bus, ZONE)
    change = {"id": BUS, "type": "Vehicle", "speed": {"type": "Property", "value": 2}}
    assert (await api.post("/entityOperations/update", [change])).status == 204
    merge = {"id": BUS, "type": "Vehicle", "line": "urn:ngsi-ld:null"}
    assert (await api.post("/entityOperations/merge", [merge])).status == 204
    found = await api.entity(BUS)
    assert (found["speed"], "line" in found) == ({"type": "Property", "value": 2}, False)
    reply = await api.post("/entityOperations/delete", [BUS, ZONE["id"], "urn:x:none", "nonsense"])
    assert reply.status == 207
    assert reply.json["success"] == [BUS, ZONE["id"]]
    assert {each["entityId"] for each in reply.json["errors"]} == {"urn:x:none", "nonsense"}
    await api.create(bus)
    assert (await api.post("/entityOperations/delete", [BUS])).status == 204


@pytest.mark.parametrize("operation", ["create", "upsert", "update", "merge"])
async def test_a_batch_with_a_null_is_refused_whole(api: Any, operation: str) -> None:
    reply = await api.post(f"/entityOperations/{operation}", [ZONE, None])
    assert reply.refuses(400, "BadRequestData")
    assert (await api.post(f"/entityOperations/{operation}", [])).refuses(400, "BadRequestData")
    assert (await api.get("/entities?local=true")).json == []


async def test_each_element_bears_its_own_context(api: Any, bus: Any, link: dict[str, str]) -> None:
    core = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
    batch = [
        bus | {"@context": "https://example.org/city.jsonld"},
        ZONE | {"@context": core},
        CITY,
        {"id": "urn:a:2", "type": "Zone", "@context": "http://127.0.0.1:9/none"},
    ]
    reply = await api.post("/entityOperations/create", batch, Content_Type="application/ld+json")
    assert reply.status == 207
    assert reply.json["success"] == [BUS, ZONE["id"]]
    kinds = [each["error"]["type"].rpartition("/")[2] for each in reply.json["errors"]]
    assert kinds == ["BadRequestData", "LdContextNotAvailable"]
    assert "speed" in await api.entity(BUS, **link)
    reply = await api.post("/entityOperations/create", batch, Content_Type="application/ld+json", **link)
    assert reply.refuses(400, "BadRequestData")


# 5.7.5 to 5.7.10 discovery


async def test_types_and_attributes_in_use(api: Any, bus: Any, link: dict[str, str]) -> None:
    await api.create(bus, ZONE, **link)
    found = (await api.get("/types", **link)).json
    assert (found["type"], found["typeList"]) == ("EntityTypeList", ["Vehicle", "Zone"])
    details = {each["typeName"]: each for each in (await api.get("/types?details=true", **link)).json}
    assert "speed" in details["Vehicle"]["attributeNames"]
    info = (await api.get("/types/Vehicle", Accept="application/ld+json", **link)).json
    assert (info["id"], info["entityCount"]) == ("https://example.org/Vehicle", 1)
    assert info["@context"] == "https://example.org/city.jsonld"
    kinds = {each["attributeName"]: each["attributeTypes"] for each in info["attributeDetails"]}
    assert (kinds["speed"], kinds["location"]) == (["Property"], ["GeoProperty"])
    names = (await api.get("/attributes")).json["attributeList"]
    assert "https://example.org/speed" in names
    info = (await api.get("/attributes/speed", **link)).json
    assert (info["typeNames"], info["attributeCount"], info["attributeTypes"]) == (
        ["Vehicle"],
        1,
        ["Property"],
    )


@pytest.mark.parametrize("path", ["/types/Nothing", "/attributes/nothing"])
async def test_what_is_not_in_use_is_not_found(api: Any, path: str) -> None:
    assert (await api.get(path)).refuses(404, "ResourceNotFound")


async def test_each_tenant_is_a_source_of_its_own(api: Any) -> None:
    plain, north = [
        (await api.get("/info/sourceIdentity", **h)).json for h in ({}, {"NGSILD_Tenant": "north"})
    ]
    assert plain["type"] == "ContextSourceIdentity"
    assert plain["contextSourceAlias"] != north["contextSourceAlias"]
    assert plain["contextSourceUptime"].startswith("PT")
    assert plain["contextSourceTimeAt"].endswith("Z")
