"""Entity maps (CIM 009, 6.32, 6.34, 6.35; 5.5.14) and snapshots (6.36 to 6.38; 5.5.15)."""

from __future__ import annotations

import asyncio
from typing import Any

from elsewhere import elsewhere_running, registration

LAMPS = [
    {"id": f"urn:ngsi-ld:Lamp:{number}", "type": "Lamp", "power": {"type": "Property", "value": number}}
    for number in (1, 2, 3)
]
IDS = [each["id"] for each in LAMPS]
QUERY = {"type": "Query", "entities": [{"type": "Lamp"}]}


def ids(reply: Any) -> list[str]:
    assert reply.status in (200, 201), reply.body
    return [each["id"] for each in reply.json]


async def register(api: Any, url: str) -> None:
    body = registration(url, None, information=[{"entities": [{"type": "Lamp"}]}])
    assert (await api.post("/csourceRegistrations", body)).status == 201


async def test_a_query_leaves_a_map(api: Any) -> None:
    await api.create(*LAMPS)
    first = await api.get("/entities?type=Lamp&entityMap=true&limit=2")
    place = first.header("NGSILD-EntityMap")
    assert (first.status, ids(first)) == (201, IDS[:2])
    map = (await api.get(place)).json
    assert map["entityMap"] == {id: ["@none"] for id in IDS}
    # Those that came later are not in the map, those that left are passed over.
    await api.create({"id": "urn:ngsi-ld:Lamp:0", "type": "Lamp"})
    second = await api.get("/entities?type=Lamp&limit=2&offset=2", NGSILD_EntityMap=place)
    assert (second.status, ids(second), second.header("NGSILD-EntityMap")) == (200, IDS[2:], place)
    await api.delete(f"/entities/{IDS[0]}")
    assert ids(await api.get("/entities?type=Lamp", NGSILD_EntityMap=place)) == IDS[1:]
    assert set((await api.get(place)).json["entityMap"]) == set(IDS[1:])


async def test_a_map_that_is_gone_is_made_anew(api: Any) -> None:
    await api.create(*LAMPS)
    reply = await api.get("/entities?type=Lamp", NGSILD_EntityMap="/ngsi-ld/v1/entityMaps/urn:m:1")
    assert (reply.status, ids(reply)) == (201, IDS)
    assert "urn:m:1" not in reply.header("NGSILD-EntityMap")


async def test_maps_are_made_looked_at_prolonged_and_deleted(api: Any) -> None:
    await api.create(*LAMPS)
    window = "timerel=after&timeAt=2020-01-01T00:00:00Z&timeproperty=modifiedAt"
    past = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z", "timeproperty": "modifiedAt"}
    for reply in (
        await api.get("/entityMaps?type=Lamp"),
        await api.post("/entityMaps", QUERY),
        await api.get(f"/temporal/entityMaps?type=Lamp&{window}"),
        await api.post("/temporal/entityMaps", QUERY | {"temporalQ": past}),
    ):
        assert reply.status == 201, reply.body
        assert set(reply.json["entityMap"]) == set(IDS)
        path = f"/entityMaps/{reply.json['id']}"
        assert reply.header("NGSILD-EntityMap") == f"/ngsi-ld/v1{path}"
        assert (await api.patch(path, {"expiresAt": "2020-01-01T00:00:00Z"})).status == 204
        assert (await api.get(path)).refuses(404, "ResourceNotFound")
    path = f"/entityMaps/{(await api.get('/entityMaps?type=Lamp')).json['id']}"
    assert (await api.delete(path)).status == 204
    assert (await api.delete(path)).refuses(404, "ResourceNotFound")


async def test_only_the_sources_of_a_map_are_asked(api: Any) -> None:
    async with elsewhere_running() as one, elsewhere_running() as other:
        one.answer("GET", "/entities", LAMPS[:1])
        for running in (one, other):
            await register(api, running.url)
        reply = await api.get("/entities?type=Lamp&entityMap=true")
        assert ids(reply) == IDS[:1]
        asked = len(other.heard)
        place = reply.header("NGSILD-EntityMap")
        assert ids(await api.get("/entities?type=Lamp", NGSILD_EntityMap=place)) == IDS[:1]
        assert (len(one.heard), len(other.heard)) == (2, asked)


# -- snapshots


async def ready(api: Any, place: str) -> Any:
    async with asyncio.timeout(5):
        while (snapshot := (await api.get(place)).json)["snapshotStatus"] == "preparing":
            await asyncio.sleep(0.005)
    return snapshot


async def test_a_snapshot_stays_as_it_was(api: Any) -> None:
    await api.create(*LAMPS)
    reply = await api.post("/snapshots", {"type": "Snapshot", "snapshotQueries": [QUERY]})
    place = reply.header("Location")
    assert (reply.status, (await ready(api, place))["snapshotStatus"]) == (201, "success")
    id = place.rpartition("/")[2]
    await api.delete(f"/entities/{IDS[0]}")
    assert ids(await api.get("/entities?type=Lamp", NGSILD_Snapshot=id)) == IDS
    # What is done to a snapshot is done to nothing else.
    power = {"power": {"type": "Property", "value": 9}}
    assert (await api.patch(f"/entities/{IDS[1]}/attrs", power, NGSILD_Snapshot=id)).status == 204
    assert (await api.entity(IDS[1]))["power"]["value"] == 2
    assert (await api.entity(IDS[1], NGSILD_Snapshot=id))["power"]["value"] == 9
    clone = await api.post(f"/snapshots/{id}/clone", {"type": "Snapshot"})
    await ready(api, clone.header("Location"))
    assert (await api.delete(f"/snapshots/{id}")).status == 204
    assert (await api.get("/entities?type=Lamp", NGSILD_Snapshot=id)).refuses(404, "ResourceNotFound")
    copy = clone.header("Location").rpartition("/")[2]
    assert (await api.entity(IDS[1], NGSILD_Snapshot=copy))["power"]["value"] == 9


async def test_a_snapshot_holds_history(api: Any) -> None:
    await api.create(*LAMPS)
    past = {"timerel": "after", "timeAt": "2020-01-01T00:00:00Z", "timeproperty": "modifiedAt"}
    body = {"type": "Snapshot", "snapshotTemporalQueries": [QUERY | {"temporalQ": past}]}
    place = (await api.post("/snapshots", body)).header("Location")
    await ready(api, place)
    id = place.rpartition("/")[2]
    found = await api.get(f"/temporal/entities/{IDS[0]}", NGSILD_Snapshot=id)
    assert found.json["power"][0]["value"] == 1


async def test_sources_help_to_fill_a_snapshot_and_are_not_asked_again(api: Any) -> None:
    async with elsewhere_running() as running:
        running.answer("POST", "/entityOperations/query", LAMPS)
        await register(api, running.url)
        reply = await api.post("/snapshots", {"type": "Snapshot", "snapshotQueries": [QUERY]})
        place = reply.header("Location")
        assert (await ready(api, place))["snapshotStatus"] == "success"
        running.heard.clear()
        id = place.rpartition("/")[2]
        assert ids(await api.get("/entities?type=Lamp", NGSILD_Snapshot=id)) == IDS
        assert running.heard == []


async def test_snapshots_are_changed_and_purged(api: Any) -> None:
    await api.create(*LAMPS)
    body = {"type": "Snapshot", "id": "urn:s:1", "snapshotQueries": [QUERY], "snapshotPriority": 2}
    assert (await api.post("/snapshots", body)).status == 201
    await ready(api, "/snapshots/urn:s:1")
    reply = await api.patch("/snapshots/urn:s:1", {"snapshotPriority": 7})
    assert (reply.status, reply.json["snapshotPriority"]) == (200, 7)
    assert (await api.post("/snapshots", body)).refuses(409, "AlreadyExists")
    assert (await api.post("/snapshots", {"type": "Snapshot"})).refuses(400, "BadRequestData")
    assert (await api.delete("/snapshots")).refuses(400, "BadRequestData")
    assert (await api.delete("/snapshots?q=snapshotPriority==7")).status == 204
    assert (await api.get("/snapshots/urn:s:1")).refuses(404, "ResourceNotFound")
