"""The temporal evolution of entities over HTTP (CIM 009, 6.18 to 6.22, 6.24)."""

from __future__ import annotations

from typing import Any

import pytest

BUS = "urn:ngsi-ld:Vehicle:1"
HISTORY = f"/temporal/entities/{BUS}"
ALL = "timerel=after&timeAt=2000-01-01T00:00:00Z"


def points(*values: float, name: str = "speed") -> dict[str, Any]:
    return {
        name: [
            {"type": "Property", "value": value, "observedAt": f"2026-01-01T00:{minute:02}:00Z"}
            for minute, value in enumerate(values)
        ]
    }


def bus(*values: float) -> dict[str, Any]:
    return {"id": BUS, "type": "Vehicle", **points(*values)}


async def test_provision_creates_then_adds(api: Any) -> None:
    reply = await api.post("/temporal/entities", bus(1, 2))
    assert (reply.status, reply.header("Location")) == (201, f"/ngsi-ld/v1{HISTORY}")
    assert (await api.post("/temporal/entities/", bus(1, 2, 3))).status == 204
    assert (await api.post(f"{HISTORY}/attrs/", points(7, name="load"))).status == 204
    found = (await api.get(f"{HISTORY}?{ALL}")).json
    assert [each["value"] for each in found["speed"]] == [1, 1, 2, 2, 3]
    assert [each["value"] for each in found["load"]] == [7]


async def test_what_happened_to_an_entity_is_history(api: Any) -> None:
    await api.create({"id": BUS, "type": "Vehicle", "speed": {"type": "Property", "value": 1}})
    await api.patch(f"/entities/{BUS}/attrs/speed", {"value": 2})
    await api.delete(f"/entities/{BUS}")
    found = (await api.get(f"{HISTORY}?{ALL}&timeproperty=modifiedAt")).json
    assert [each["value"] for each in found["speed"]][:2] == [1, 2]


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("timerel=before&timeAt=2026-01-01T00:01:00Z", [1]),
        ("timerel=after&timeAt=2026-01-01T00:01:00Z", [2, 3]),
        ("timerel=between&timeAt=2026-01-01T00:01:00Z&endTimeAt=2026-01-01T00:02:00Z", [2]),
        ("lastN=2", [2, 3]),
    ],
)
async def test_windows(api: Any, query: str, values: list[float]) -> None:
    await api.post("/temporal/entities", bus(1, 2, 3))
    found = (await api.get(f"{HISTORY}?{query}")).json
    assert [each["value"] for each in found["speed"]] == values


async def test_representations(api: Any) -> None:
    await api.post("/temporal/entities", bus(1, 2, 3))
    found = (await api.get(f"{HISTORY}?{ALL}&format=temporalValues")).json
    assert found["speed"]["values"] == [[n + 1, f"2026-01-01T00:0{n}:00Z"] for n in range(3)]
    query = f"{ALL}&options=aggregatedValues&aggrMethods=avg,max&aggrPeriodDuration=P1D"
    found = (await api.get(f"{HISTORY}?{query}")).json
    assert (found["speed"]["avg"][0][0], found["speed"]["max"][0][0]) == (2, 3)


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("timerel=later&timeAt=2026-01-01T00:00:00Z", "BadRequestData"),
        ("timerel=before", "BadRequestData"),
        ("timerel=between&timeAt=2026-01-01T00:00:00Z", "BadRequestData"),
        ("timerel=before&timeAt=yesterday", "BadRequestData"),
        ("timeproperty=seenAt", "BadRequestData"),
        ("lastN=0", "BadRequestData"),
        ("format=aggregatedValues", "BadRequestData"),
        ("format=aggregatedValues&aggrMethods=median", "BadRequestData"),
        ("format=aggregatedValues&aggrMethods=avg&aggrPeriodDuration=day", "BadRequestData"),
        ("options=temporalValues,aggregatedValues&aggrMethods=avg", "InvalidRequest"),
        ("format=geo", "InvalidRequest"),
        ("options=temporalValues,fancy", "InvalidRequest"),
    ],
)
async def test_questions_that_make_no_sense_are_refused(api: Any, query: str, kind: str) -> None:
    await api.post("/temporal/entities", bus(1))
    assert (await api.get(f"{HISTORY}?{query}")).refuses(400, kind)
    whole = query if "timerel" in query else f"{ALL}&{query}"
    assert (await api.get(f"/temporal/entities?type=Vehicle&{whole}")).refuses(400, kind)


async def test_what_was_never_recorded_is_not_found(api: Any) -> None:
    assert (await api.get(HISTORY)).refuses(404, "ResourceNotFound")
    await api.post("/temporal/entities", bus(1))
    assert (await api.get(f"{HISTORY}?attrs=unknown")).refuses(404, "ResourceNotFound")
    outside = "timerel=before&timeAt=2000-01-01T00:00:00Z&attrs=speed"
    reply = await api.get(f"{HISTORY}?{outside}")
    assert (reply.status, reply.json["id"]) == (200, BUS)


async def test_a_long_history_comes_in_parts(api: Any) -> None:
    await api.post("/temporal/entities", bus(*range(40)))
    reply = await api.get(f"{HISTORY}?{ALL}")
    assert (reply.status, len(reply.json["speed"])) == (206, 30)
    assert reply.header("Content-Range") == "date-time 2000-01-01T00:00:00Z-2026-01-01T00:29:00Z/*"
    rest = await api.get(f"{HISTORY}?timerel=after&timeAt=2026-01-01T00:29:01Z")
    assert (rest.status, len(rest.json["speed"])) == (200, 10)
    reply = await api.get(f"{HISTORY}?lastN=35")
    assert (reply.status, len(reply.json["speed"])) == (200, 35)
    reply = await api.get(f"/temporal/entities?type=Vehicle&{ALL}")
    assert (reply.status, len(reply.json[0]["speed"])) == (206, 30)


async def test_two_attributes_share_the_room(api: Any) -> None:
    await api.post("/temporal/entities", bus(*range(20)) | points(*range(20), name="load"))
    reply = await api.get(f"{HISTORY}?lastN=20")
    assert reply.status == 206
    assert len(reply.json["speed"]) + len(reply.json["load"]) <= 30


async def test_querying_histories(api: Any) -> None:
    for number in range(3):
        await api.post("/temporal/entities", bus(number) | {"id": f"urn:ngsi-ld:Vehicle:{number}"})
    reply = await api.get(f"/temporal/entities?type=Vehicle&{ALL}&limit=2&count=true")
    assert (len(reply.json), reply.header("NGSILD-Results-Count")) == (2, "3")
    assert 'rel="next"' in reply.header("Link")
    reply = await api.get(f"/temporal/entities?type=Vehicle&{ALL}&limit=2&offset=2")
    assert len(reply.json) == 1
    assert 'rel="next"' not in reply.header("Link")
    reply = await api.get(f"/temporal/entities?type=Vehicle&{ALL}&q=speed>1")
    assert [each["id"] for each in reply.json] == ["urn:ngsi-ld:Vehicle:2"]
    body = {
        "type": "Query",
        "entities": [{"type": "Vehicle"}],
        "temporalQ": {"timerel": "after", "timeAt": "2000-01-01T00:00:00Z"},
    }
    assert len((await api.post("/temporal/entityOperations/query", body)).json) == 3
    body["aggrParams"] = {"aggrMethods": ["max"]}
    assert (await api.post("/temporal/entityOperations/query", body)).json[2]["speed"]["max"][0][0] == 2


@pytest.mark.parametrize(
    "query", ["type=Vehicle", ALL, f"{ALL}&id={BUS}", f"{ALL}&type=Vehicle&orderBy=speed"]
)
async def test_queries_must_be_temporal_and_narrow(api: Any, query: str) -> None:
    assert (await api.get(f"/temporal/entities?{query}")).refuses(400, "BadRequestData")


async def test_instances_are_changed_and_deleted(api: Any) -> None:
    await api.post("/temporal/entities", bus(1, 2))
    instance = (await api.get(HISTORY)).json["speed"][0]["instanceId"]
    path = f"{HISTORY}/attrs/speed/{instance}"
    assert (await api.patch(path, {"speed": [{"type": "Property", "value": 9}]})).status == 204
    assert (await api.get(HISTORY)).json["speed"][0]["value"] == 9
    assert (await api.patch(path, {"speed": [{"value": 1}, {"value": 2}]})).refuses(400, "BadRequestData")
    assert (await api.delete(path)).status == 204
    assert (await api.delete(path)).refuses(404, "ResourceNotFound")
    assert [each["value"] for each in (await api.get(HISTORY)).json["speed"]] == [2]


async def test_attributes_and_histories_are_deleted(api: Any) -> None:
    await api.post("/temporal/entities", bus(1) | points(2, name="load"))
    assert (await api.delete(f"{HISTORY}/attrs/load")).status == 204
    assert (await api.delete(f"{HISTORY}/attrs/load")).refuses(404, "ResourceNotFound")
    assert (await api.delete(HISTORY)).status == 204
    assert (await api.get(HISTORY)).refuses(404, "ResourceNotFound")


async def test_null_is_a_value_of_history_only(api: Any) -> None:
    gone = {"type": "Property", "value": "urn:ngsi-ld:null", "observedAt": "2026-01-01T00:00:00Z"}
    assert (
        await api.post("/temporal/entities", {"id": BUS, "type": "Vehicle", "speed": [gone]})
    ).status == 201
    for broken in ({"speed": ["urn:ngsi-ld:null"]}, {"expiresAt": "urn:ngsi-ld:null"}, {}):
        body = {"id": "urn:x:1", "type": "Vehicle", **broken}
        assert (await api.post("/temporal/entities", body)).refuses(400, "BadRequestData")
