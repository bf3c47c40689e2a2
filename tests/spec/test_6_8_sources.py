"""Context sources and distributed operations (CIM 009, 6.8, 6.9, 6.12, 6.13, 6.3.17, 6.3.18)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from elsewhere import Elsewhere, elsewhere_running, registration

URL = "http://127.0.0.1:9"
BUS = "urn:ngsi-ld:Vehicle:1"
PATH = f"/entities/{BUS}"
ALL = ["redirectionOps", "createBatch", "upsertBatch", "updateBatch", "deleteBatch", "mergeBatch"]


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async with elsewhere_running() as running:
        yield running


async def register(api: Any, url: str = URL, mode: str | None = None, /, **members: Any) -> str:
    reply = await api.post("/csourceRegistrations", registration(url, mode, **members))
    assert reply.status == 201, reply.body
    return str(reply.header("Location")).rpartition("/")[2]


def number(value: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value}


def vehicle(id: str = BUS, **values: Any) -> dict[str, Any]:
    return {"id": id, "type": "Vehicle"} | {name: number(value) for name, value in values.items()}


# -- registrations


async def test_a_registration_lives(api: Any) -> None:
    body = registration(URL, "inclusive", id="urn:r:1", registrationName="A")
    reply = await api.post("/csourceRegistrations/", body)
    path = "/csourceRegistrations/urn:r:1"
    assert (reply.status, reply.header("Location")) == (201, f"/ngsi-ld/v1{path}")
    assert (await api.post("/csourceRegistrations", body)).refuses(409, "AlreadyExists")
    assert (await api.get(path)).json == body
    assert (await api.patch(path, {"mode": "redirect"})).status == 204
    shown = (await api.get(f"{path}?options=sysAttrs")).json
    assert (shown["mode"], shown["createdAt"] <= shown["modifiedAt"]) == ("redirect", True)
    assert (await api.delete(path)).status == 204
    for method in ("get", "delete"):
        assert (await getattr(api, method)(path)).refuses(404, "ResourceNotFound")
    assert (await api.patch(path, {"mode": "redirect"})).refuses(404, "ResourceNotFound")


async def test_names_are_shown_in_the_words_of_who_asks(api: Any, link: dict[str, str]) -> None:
    body = registration(URL, None, id="urn:r:1", information=[{"propertyNames": ["speed"]}])
    assert (await api.post("/csourceRegistrations", body, **link)).status == 201
    path = "/csourceRegistrations/urn:r:1"
    assert (await api.get(path, **link)).json["information"] == [{"propertyNames": ["speed"]}]
    assert (await api.get(path)).json["information"] == [{"propertyNames": ["https://example.org/speed"]}]


async def test_sources_are_found(api: Any) -> None:
    await register(api, id="urn:r:1")
    await register(api, id="urn:r:2", information=[{"entities": [{"type": "Bus"}]}], owner=number("me"))
    await register(api, id="urn:r:3", information=[{"propertyNames": ["speed"]}])

    async def found(query: str) -> list[str]:
        reply = await api.get(f"/csourceRegistrations?{query}")
        assert reply.status == 200, reply.body
        return [each["id"] for each in reply.json]

    assert await found("type=Vehicle") == ["urn:r:1", "urn:r:3"]
    assert await found("type=Bus") == ["urn:r:2", "urn:r:3"]
    assert await found("type=*") == ["urn:r:1", "urn:r:2", "urn:r:3"]
    assert await found("attrs=brand") == ["urn:r:1", "urn:r:2"]
    assert await found('type=*&csf=owner=="me"') == ["urn:r:2"]
    page = await api.get("/csourceRegistrations?type=*&limit=1&offset=1&count=true")
    assert ([each["id"] for each in page.json], page.header("NGSILD-Results-Count")) == (["urn:r:2"], "3")
    assert 'rel="next"' in page.header("Link")
    assert (await api.get("/csourceRegistrations")).refuses(400, "BadRequestData")


async def test_what_is_here_conflicts_with_what_is_elsewhere_only(api: Any) -> None:
    await api.create(vehicle(speed=1))
    body = registration(URL, "redirect")
    assert (await api.post("/csourceRegistrations", body)).refuses(409, "Conflict")


async def test_subscriptions_to_sources_live(api: Any) -> None:
    body = {
        "id": "urn:s:1",
        "type": "Subscription",
        "entities": [{"type": "Vehicle"}],
        "notification": {"endpoint": {"uri": URL, "accept": "application/json"}},
    }
    path = "/csourceSubscriptions/urn:s:1"
    assert (await api.post("/csourceSubscriptions", body)).status == 201
    assert (await api.post("/csourceSubscriptions", body)).refuses(409, "AlreadyExists")
    # They are apart from subscriptions to entities, ids included.
    assert (await api.post("/subscriptions", body)).status == 201
    assert (await api.delete("/subscriptions/urn:s:1")).status == 204
    assert (await api.get(path)).json["id"] == "urn:s:1"
    assert (await api.patch(path, {"isActive": False})).status == 204
    assert [each["status"] for each in (await api.get("/csourceSubscriptions")).json] == ["paused"]
    assert (await api.delete(path)).status == 204
    assert (await api.get(path)).refuses(404, "ResourceNotFound")


# -- reading


async def test_an_entity_comes_from_everywhere(api: Any, elsewhere: Elsewhere) -> None:
    await api.create(vehicle(speed=1))
    await register(api, elsewhere.url)
    elsewhere.answer("GET", PATH, vehicle(brand="faw"))
    assert await api.entity(BUS) == vehicle(speed=1, brand="faw")
    assert await api.entity(BUS, query="?local=true") == vehicle(speed=1)
    assert await api.entity(BUS, query="?attrs=brand&format=keyValues") == {
        "id": BUS,
        "type": "Vehicle",
        "brand": "faw",
    }
    assert elsewhere.heard[-1].params["attrs"] == "brand"
    assert (await api.get("/entities/urn:v:none")).refuses(404, "ResourceNotFound")


async def test_who_does_not_answer_is_warned_of(api: Any) -> None:
    await api.create(vehicle(speed=1))
    await register(api)
    reply = await api.get("/entities?type=Vehicle")
    assert reply.json == [vehicle(speed=1)]
    assert reply.header("NGSILD-Warning").startswith("199 ")
    missing = await api.get("/entities/urn:v:none")
    assert missing.refuses(404, "ResourceNotFound")
    assert missing.header("NGSILD-Warning").startswith("199 ")


async def test_a_query_goes_everywhere(api: Any, elsewhere: Elsewhere) -> None:
    await api.create(vehicle(speed=1))
    await register(api, elsewhere.url)
    elsewhere.answer("GET", "/entities", [vehicle(brand="faw"), vehicle("urn:v:2", brand="vw")])
    reply = await api.get("/entities?type=Vehicle&count=true&limit=1&offset=1")
    assert (reply.json, reply.header("NGSILD-Results-Count")) == ([vehicle("urn:v:2", brand="vw")], "2")
    posted = {"type": "Query", "entities": [{"type": "Vehicle"}]}
    elsewhere.answer("POST", "/entityOperations/query", [vehicle("urn:v:2", brand="vw")])
    assert len((await api.post("/entityOperations/query", posted)).json) == 2
    assert len((await api.get("/entities?type=Vehicle&local=true")).json) == 1
    assert (await api.get("/entities?type=Vehicle&orderBy=speed")).refuses(400, "BadRequestData")
    assert (await api.get("/entities?type=Vehicle&orderBy=speed&local=true")).status == 200


async def test_history_comes_from_everywhere(api: Any, elsewhere: Elsewhere) -> None:
    await register(api, elsewhere.url, operations=["retrieveTemporal", "queryTemporal"])
    past = {
        "id": BUS,
        "type": "Vehicle",
        "speed": [number(5) | {"observedAt": "2026-05-01T00:00:00Z"}],
    }
    elsewhere.answer("GET", f"/temporal/entities/{BUS}", past)
    elsewhere.answer("GET", "/temporal/entities", [past])
    window = "timerel=after&timeAt=2026-01-01T00:00:00Z&options=temporalValues"
    values = {"type": "Property", "values": [[5, "2026-05-01T00:00:00Z"]]}
    found = (await api.get(f"/temporal/entities/{BUS}?{window}")).json
    assert found["speed"] == values
    (found,) = (await api.get(f"/temporal/entities?type=Vehicle&{window}")).json
    assert found["speed"] == values
    assert elsewhere.heard[-1].params["timeAt"] == "2026-01-01T00:00:00Z"


async def test_a_request_that_has_been_here_asks_nobody(api: Any, elsewhere: Elsewhere) -> None:
    await api.create(vehicle(speed=1))
    await register(api, elsewhere.url)
    via = f"1.1 somebody, 1.1 {api.broker.sources.name}"
    reply = await api.get("/entities?type=Vehicle", Via=via)
    assert (reply.json, elsewhere.heard) == ([vehicle(speed=1)], [])
    assert reply.header("NGSILD-Warning").startswith("199 ")


async def test_sources_are_spoken_to_in_words_they_can_find(
    api: Any, elsewhere: Elsewhere, link: dict[str, str]
) -> None:
    reply = await api.post("/csourceRegistrations", registration(elsewhere.url), **link)
    assert reply.status == 201
    await api.get("/entities?type=Vehicle&q=speed>5", **link)
    (heard,) = elsewhere.heard
    assert (heard.params["type"], heard.params["q"]) == ("Vehicle", "speed>5")
    assert "https://example.org/city.jsonld" in heard.headers["Link"]
    wanted = [{"key": "jsonldContext", "value": "https://example.org/city.jsonld"}]
    path = f"/csourceRegistrations/{reply.header('Location').rpartition('/')[2]}"
    assert (await api.patch(path, {"contextSourceInfo": wanted})).status == 204
    await api.get("/entities?type=https://example.org/Vehicle&attrs=https://example.org/speed")
    assert (elsewhere.heard[-1].params["type"], elsewhere.heard[-1].params["attrs"]) == ("Vehicle", "speed")


# -- writing


async def test_what_is_redirected_is_not_here(api: Any, elsewhere: Elsewhere) -> None:
    await register(api, elsewhere.url, "redirect", operations=ALL)
    elsewhere.answer("POST", "/entities", None, 201)
    reply = await api.post("/entities", vehicle(speed=1))
    assert (reply.status, reply.header("Location")) == (201, f"/ngsi-ld/v1{PATH}")
    assert elsewhere.heard[0].body == vehicle(speed=1)
    assert (await api.get(f"{PATH}?local=true")).refuses(404, "ResourceNotFound")
    for method, path, body in (
        ("PUT", PATH, vehicle(speed=2)),
        ("PATCH", PATH, {"type": "Vehicle", "speed": number(3)}),
        ("POST", f"{PATH}/attrs", {"type": "Vehicle", "line": number(3)}),
        ("PATCH", f"{PATH}/attrs", {"type": "Vehicle", "line": number(3)}),
        ("DELETE", f"{PATH}?type=Vehicle", None),
        ("DELETE", f"{PATH}/attrs/line?type=Vehicle", None),
        ("PATCH", f"{PATH}/attrs/line?type=Vehicle", number(5)),
        ("PUT", f"{PATH}/attrs/line?type=Vehicle", number(5)),
    ):
        reply = await api.call(method, path, body)
        assert reply.status == 204, (method, path, reply.body)
        heard = elsewhere.heard[-1]
        assert (heard.method, heard.path, heard.body) == (method, path.partition("?")[0], body)


async def test_what_a_source_refuses_is_refused(api: Any, elsewhere: Elsewhere) -> None:
    await register(api, elsewhere.url, "redirect", operations=ALL)
    elsewhere.answer("POST", "/entities", {"type": "x", "title": "t", "detail": "no room"}, 409)
    assert (await api.post("/entities", vehicle(speed=1))).refuses(409, "Conflict")
    elsewhere.answer("POST", "/entities", None, 500)
    assert (await api.post("/entities", vehicle(speed=1))).status == 502


async def test_what_a_source_does_not_take_conflicts(api: Any) -> None:
    await register(api, URL, "redirect", operations=["retrieveOps"])
    assert (await api.post("/entities", vehicle(speed=1))).refuses(409, "Conflict")


async def test_a_loop_is_refused(api: Any) -> None:
    await register(api, URL, "redirect", operations=ALL)
    reply = await api.post("/entities", vehicle(speed=1), Via=f"1.1 {api.broker.sources.name}")
    assert reply.status == 508


async def test_one_that_cannot_be_reached_is_told_of(api: Any) -> None:
    await register(api, URL, "redirect", operations=ALL)
    assert (await api.post("/entities", vehicle(speed=1))).status == 504


async def test_what_is_exclusive_is_divided(api: Any, elsewhere: Elsewhere) -> None:
    information = [{"entities": [{"type": "Vehicle", "id": BUS}], "propertyNames": ["speed"]}]
    await register(api, elsewhere.url, "exclusive", information=information, operations=ALL)
    elsewhere.answer("POST", "/entities", None, 201)
    assert (await api.post("/entities", vehicle(speed=1, line=2))).status == 201
    assert elsewhere.heard[0].body == vehicle(speed=1)
    assert await api.entity(BUS, query="?local=true") == vehicle(line=2)
    elsewhere.answer("PATCH", f"{PATH}/attrs", None, 500)
    reply = await api.patch(f"{PATH}/attrs", {"speed": number(3), "line": number(4)})
    assert reply.status == 207
    assert reply.json["updated"] == ["https://uri.etsi.org/ngsi-ld/default-context/line"]
    (lost,) = reply.json["notUpdated"]
    assert lost["attributeName"].endswith("/speed")
    assert lost["registrationId"].startswith("urn:ngsi-ld:ContextSourceRegistration:")
    assert await api.entity(BUS, query="?local=true") == vehicle(line=4)


async def test_what_is_wrong_in_itself_is_sent_to_nobody(api: Any, elsewhere: Elsewhere) -> None:
    await register(api, elsewhere.url, "redirect", operations=ALL)
    broken = {"speed": {"type": "Relationship", "object": 5}}
    assert (await api.post("/entities", vehicle() | broken)).refuses(400, "BadRequestData")
    assert (await api.patch(PATH, broken)).refuses(400, "BadRequestData")
    assert elsewhere.heard == []


async def test_an_inclusive_source_is_told_too(api: Any, elsewhere: Elsewhere) -> None:
    await register(api, elsewhere.url, operations=["createEntity"])
    elsewhere.answer("POST", "/entities", None, 201)
    assert (await api.post("/entities", vehicle(speed=1))).status == 201
    assert len(elsewhere.heard) == 1
    assert await api.entity(BUS, query="?local=true") == vehicle(speed=1)
    elsewhere.answer("POST", "/entities", None, 500)
    reply = await api.post("/entities", vehicle("urn:v:2", speed=1))
    (lost,) = reply.json["errors"]
    assert (reply.status, reply.json["success"], lost["entityId"]) == (207, ["urn:v:2"], "urn:v:2")
    assert (await api.get("/entities/urn:v:2?local=true")).status == 200


# -- batches


async def test_a_batch_is_divided(api: Any, elsewhere: Elsewhere) -> None:
    information = [{"entities": [{"type": "Bus"}]}]
    await register(api, elsewhere.url, "redirect", information=information, operations=ALL)
    elsewhere.answer("POST", "/entityOperations/create", ["urn:b:1"], 201)
    bus = vehicle("urn:b:1", speed=1) | {"type": "Bus"}
    reply = await api.post("/entityOperations/create", [vehicle(speed=1), bus])
    assert (reply.status, set(reply.json)) == (201, {BUS, "urn:b:1"})
    assert elsewhere.heard[0].body == [bus]
    elsewhere.answer("POST", "/entityOperations/upsert", None, 500)
    reply = await api.post("/entityOperations/upsert", [vehicle(speed=2), bus])
    assert (reply.status, reply.json["success"]) == (207, [BUS])
    (lost,) = reply.json["errors"]
    assert (lost["entityId"], lost["error"]["status"]) == ("urn:b:1", 502)


async def test_a_batch_may_go_one_by_one(api: Any, elsewhere: Elsewhere) -> None:
    await register(api, elsewhere.url, "redirect", operations=["redirectionOps"])
    elsewhere.answer("POST", "/entities", None, 409)
    two = [vehicle(speed=1), vehicle("urn:v:2", speed=2)]
    assert (await api.post("/entityOperations/upsert", two)).status == 204
    assert {(each.method, each.path) for each in elsewhere.heard} == {
        ("POST", "/entities"),
        ("PUT", PATH),
        ("PUT", "/entities/urn:v:2"),
    }
    elsewhere.heard.clear()
    for operation, method, suffix in (
        ("update", "PATCH", "/attrs"),
        ("merge", "PATCH", ""),
    ):
        assert (await api.post(f"/entityOperations/{operation}", two[:1])).status == 204
        assert (elsewhere.heard[-1].method, elsewhere.heard[-1].path) == (method, PATH + suffix)


async def test_a_purge_goes_everywhere(api: Any, elsewhere: Elsewhere) -> None:
    await api.create(vehicle(speed=1))
    await register(api, elsewhere.url, operations=["purgeEntity"])
    assert (await api.delete("/entities?type=Vehicle")).status == 204
    assert elsewhere.heard[0].params == {"type": "Vehicle"}
    assert (await api.get(f"{PATH}?local=true")).status == 404


# -- tenants


async def test_tenants_have_sources_of_their_own(api: Any, elsewhere: Elsewhere) -> None:
    tenant = {"NGSILD_Tenant": "faw"}
    body = registration(elsewhere.url, None, tenant="theirs")
    assert (await api.post("/csourceRegistrations", body, **tenant)).status == 201
    elsewhere.answer("GET", "/entities", [vehicle(speed=1)])
    assert (await api.get("/entities?type=Vehicle")).json == []
    assert (await api.get("/entities?type=Vehicle", **tenant)).json == [vehicle(speed=1)]
    assert elsewhere.heard[0].headers["NGSILD-Tenant"] == "theirs"
