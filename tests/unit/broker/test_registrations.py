"""Registrations: what they may say, which of them match, what they must not contradict, who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from autocity.broker import Caller, Outbound, Seek
from autocity.broker.registration import GROUPS, parse, render, update
from autocity.broker.registrations import Source
from autocity.errors import AlreadyExists, BadRequestData, Conflict, ResourceNotFound
from autocity.ld.context import CORE
from autocity.ld.geo import parse_geo
from autocity.ld.query import Selector, parse_q, parse_scope, parse_types
from autocity.ld.temporal import parse_window
from autocity.store.memory import MemoryStore
from elsewhere import registration
from towns import Receiver, Town, build, entity, now, tear_down

URL = "http://127.0.0.1:9"
OUTBOUND = Outbound(allow_loopback=True)
IRI = CORE.expand


def parsed(mode: str | None = None, /, **members: Any) -> Any:
    return parse(registration(URL, mode, **members), CORE, now(), OUTBOUND)


def source(*information: dict[str, Any], **members: Any) -> Source:
    return Source(parsed(information=list(information), **members), 1)


VEHICLES = {"entities": [{"type": "Vehicle"}]}
SPEED = {"entities": [{"type": "Vehicle", "id": "urn:v:1"}], "propertyNames": ["speed"]}


# -- what a registration may say


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"type": "Other"}, "type"),
        ({"endpoint": "nonsense"}, "endpoint"),
        ({"endpoint": "http://10.0.0.1/"}, "endpoint"),
        ({"information": []}, "information"),
        ({"information": [{}]}, "information"),
        ({"information": [{"entities": [{"type": "A", "idPattern": "("}]}]}, "information"),
        ({"information": [{"entities": [{}]}]}, "information"),
        ({"information": [{"else": 1}]}, "information"),
        ({"mode": "other"}, "mode"),
        ({"operations": ["fly"]}, "operations"),
        ({"expiresAt": "2001-01-01T00:00:00Z"}, "expiresAt"),
        ({"location": {"type": "Point"}}, "location"),
        ({"observationInterval": {}}, "observationInterval"),
        (
            {"managementInterval": {"startAt": "2026-02-01T00:00:00Z", "endAt": "2026-01-01T00:00:00Z"}},
            "endAt",
        ),
        ({"management": {"timeout": -1, "else": 1}}, "management"),
        ({"contextSourceInfo": [{"key": "bad header", "value": "x"}]}, "contextSourceInfo"),
        ({"contextSourceInfo": [{"key": "ngsildConformance", "value": "new"}]}, "contextSourceInfo"),
        ({"scope": "no/slash//"}, "scope"),
        ({"tenant": ""}, "tenant"),
    ],
)
def test_broken_registrations_are_refused_by_name(members: dict[str, Any], named: str) -> None:
    with pytest.raises(BadRequestData, match=named):
        parsed(**members)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(BadRequestData, match=r"(?s)mode.*operations"):
        parsed(mode="other", operations=["fly"])
    with pytest.raises(BadRequestData, match=r"type is missing; endpoint is missing; information is missing"):
        parse({}, CORE, now(), OUTBOUND)


@pytest.mark.parametrize(
    "information",
    [
        [VEHICLES],
        [{"entities": [{"type": "Vehicle", "idPattern": ".*"}], "propertyNames": ["speed"]}],
        [{"propertyNames": ["speed"]}],
    ],
)
def test_what_is_exclusive_names_entities_by_id_and_attributes(information: Any) -> None:
    with pytest.raises(BadRequestData, match="exclusive"):
        parsed("exclusive", information=information)
    assert parsed("exclusive", information=[SPEED]).mode == "exclusive"


def test_an_auxiliary_source_only_reads() -> None:
    with pytest.raises(BadRequestData, match="auxiliary"):
        parsed("auxiliary", operations=["redirectionOps"])
    found = parsed("auxiliary")
    assert "retrieveEntity" in found.supported
    assert not found.supported & {"createEntity", "createSubscription"}


def test_operations_come_in_groups() -> None:
    assert parsed().supported == GROUPS["federationOps"]
    assert parsed(operations=["retrieveOps", "deleteEntity"]).supported == {
        "retrieveEntity",
        "queryEntity",
        "deleteEntity",
    }


def test_what_was_said_is_shown_again() -> None:
    body = registration(
        URL,
        "redirect",
        information=[
            {
                "entities": [{"type": ["Bus", "Tram"]}, {"id": "urn:v:1", "type": "Bus"}],
                "propertyNames": ["speed"],
                "relationshipNames": ["inside"],
            }
        ],
        registrationName="A",
        description="B",
        datasetId=["urn:d:1", "@none"],
        observationInterval={"startAt": "2026-01-01T00:00:00Z"},
        management={"timeout": 500, "cooldown": 1000, "localOnly": True},
        contextSourceInfo=[{"key": "Authorization", "value": "urn:ngsi-ld:request"}],
        location={"type": "Point", "coordinates": [1, 2]},
        scope="/a",
        tenant="other",
        refreshRate="PT5M",
        owner={"type": "Property", "value": "me"},
    )
    found = parse(body, CORE, now(), OUTBOUND)
    shown = render(found, CORE, {})
    assert shown.pop("id") == ""
    assert shown == body
    assert found.local_only


def test_an_update_changes_what_it_names() -> None:
    before = parsed(description="B", registrationName="A", owner=1, scope="/a")
    after = update(
        before, {"mode": "redirect", "description": None, "owner": None, "scope": None}, CORE, 7, OUTBOUND
    )
    assert (after.mode, after.scopes, after.properties, after.modified_at) == ("redirect", (), {}, 7)
    assert after.rest == {"registrationName": "A"}
    for fragment in ({"endpoint": None}, {"id": "urn:x:1"}, {"mode": "exclusive"}, {"mode": "other"}):
        with pytest.raises(BadRequestData):
            update(before, fragment, CORE, 7, OUTBOUND)


# -- matching (5.12)


def seek(text: str = "", id: str = "", pattern: str = "", /, **members: Any) -> Seek:
    selector = Selector(
        ids=(id,) if id else (),
        id_pattern=pattern or None,
        types=parse_types(text, IRI) if text else None,
    )
    return Seek(selectors=(selector,) if text or id or pattern else (), **members)


@pytest.mark.parametrize(
    ("information", "wanted", "matches"),
    [
        (VEHICLES, seek("Vehicle"), True),
        (VEHICLES, seek("Bus"), False),
        (VEHICLES, seek("Bus,Vehicle"), True),
        (VEHICLES, seek("Bus;Vehicle"), False),
        (VEHICLES, seek("", "urn:v:1"), True),
        (VEHICLES, seek(), True),
        ({"entities": [{"type": ["Bus", "Vehicle"]}]}, seek("Bus;Vehicle"), True),
        (SPEED, seek("Vehicle", "urn:v:1"), True),
        (SPEED, seek("Vehicle", "urn:v:2"), False),
        (SPEED, seek("Vehicle", "", "urn:v:.*"), True),
        (SPEED, seek("Vehicle", "", "urn:w:.*"), False),
        (SPEED, seek("Vehicle", attributes=frozenset([IRI("speed")])), True),
        (SPEED, seek("Vehicle", attributes=frozenset([IRI("brand")])), False),
        ({"entities": [{"type": "Vehicle", "idPattern": "urn:v:.*"}]}, seek("Vehicle", "urn:v:7"), True),
        ({"entities": [{"type": "Vehicle", "idPattern": "urn:v:.*"}]}, seek("Vehicle", "urn:w:7"), False),
        ({"propertyNames": ["speed"]}, seek("Anything"), True),
        ({"entities": [{"id": "urn:v:1"}]}, seek("Anything"), True),
    ],
)
def test_information_matches(information: dict[str, Any], wanted: Seek, matches: bool) -> None:
    assert bool(source(information).matching(wanted)) is matches


def test_only_the_elements_that_match_are_told() -> None:
    one = source(VEHICLES, {"entities": [{"type": "Bus"}]})
    assert [each.entities[0].types for each in one.matching(seek("Bus"))] == [(IRI("Bus"),)]


AREA = {"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}


@pytest.mark.parametrize(
    ("relation", "place", "matches"),
    [
        ("near;maxDistance==1000", [5, 5], True),
        ("near;maxDistance==1000", [50, 5], False),
        ("near;minDistance==1000", [5, 5], True),
        ("equals", [5, 5], True),
        ("equals", [50, 5], False),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_places(relation: str, place: list[int], matches: bool, strict: bool) -> None:
    geo = parse_geo(relation, "Point", place, "location", IRI)
    assert bool(source(VEHICLES, location=AREA).matching(Seek(geo=geo, strict=strict))) is matches
    # One that does not say where it is may be anywhere, but is not found by those who look for a place.
    assert bool(source(VEHICLES).matching(Seek(geo=geo, strict=strict))) is not strict


def test_scopes_datasets_and_properties_of_sources() -> None:
    one = source(VEHICLES, scope="/a/b", datasetId=["urn:d:1"], quality=5)
    assert one.matching(Seek(scopes=parse_scope("/a/#")))
    assert not one.matching(Seek(scopes=parse_scope("/c")))
    assert one.matching(Seek(dataset_ids=frozenset(["urn:d:1"])))
    assert not one.matching(Seek(dataset_ids=frozenset(["urn:d:2"])))
    assert one.matching(Seek(csf=parse_q("quality>=5", IRI)))
    assert not one.matching(Seek(csf=parse_q("quality<5", IRI)))
    assert source(VEHICLES).matching(Seek(scopes=parse_scope("/c")))
    assert not source(VEHICLES).matching(Seek(scopes=parse_scope("/c"), strict=True))


def test_history_is_looked_for_where_it_is() -> None:
    year = {"startAt": "2025-01-01T00:00:00Z", "endAt": "2025-12-31T00:00:00Z"}
    past = source(VEHICLES, observationInterval=year)
    assert not past.matching(Seek())

    def within(relation: str, at: str, end: str | None = None, property: str | None = None) -> bool:
        return bool(past.matching(Seek(window=parse_window(relation, at, end, property))))

    assert within("after", "2025-06-01T00:00:00Z")
    assert not within("after", "2026-06-01T00:00:00Z")
    assert within("before", "2025-06-01T00:00:00Z")
    assert not within("before", "2024-06-01T00:00:00Z")
    assert within("between", "2024-06-01T00:00:00Z", "2025-06-01T00:00:00Z")
    assert not within("between", "2024-06-01T00:00:00Z", "2024-07-01T00:00:00Z")
    assert not within("after", "2025-06-01T00:00:00Z", None, "modifiedAt")
    assert source(VEHICLES, operations=["queryTemporal"]).matching(Seek(temporal=True))
    assert not source(VEHICLES).matching(Seek(temporal=True))


# -- kept


@pytest.fixture
async def other(town: Town) -> AsyncIterator[Town]:
    """Another process of the same city."""
    built = await build(town.store, deliver=False)
    yield built
    await built.broker.stop()


async def register(town: Town, mode: str | None = None, /, tenant: str = "", **members: Any) -> str:
    return await town.broker.create_registration(Caller(tenant), registration(URL, mode, **members), CORE)


async def test_registrations_come_go_and_are_kept(town: Town) -> None:
    registrations = town.broker.registrations
    assert registrations.idle
    id = await register(town, id="urn:r:1")
    assert id == "urn:r:1"
    assert not registrations.idle
    with pytest.raises(AlreadyExists):
        await register(town, id="urn:r:1")
    await town.broker.update_registration(town.me, id, {"scope": "/a"}, CORE)
    again = await build(town.store, deliver=False)
    found = await again.broker.retrieve_registration(again.me, id)
    assert found.scopes == ("/a",)
    assert [each.id for each, _ in again.broker.registrations.find("", seek("Vehicle"))] == [id]
    await again.broker.stop()
    await town.broker.delete_registration(town.me, id)
    with pytest.raises(ResourceNotFound):
        await town.broker.retrieve_registration(town.me, id)
    with pytest.raises(ResourceNotFound):
        await town.broker.delete_registration(town.me, id)
    assert registrations.idle


async def test_processes_learn_from_each_other(town: Town, other: Town) -> None:
    id = await register(town)
    assert not other.broker.registrations.idle
    assert (await other.broker.retrieve_registration(other.me, id)).id == id
    await other.broker.update_registration(other.me, id, {"mode": "redirect"}, CORE)
    assert (await town.broker.retrieve_registration(town.me, id)).mode == "redirect"
    await town.broker.delete_registration(town.me, id)
    assert await other.broker.query_registrations(other.me, Seek()) == []
    assert other.broker.registrations.idle


async def test_tenants_do_not_see_each_others_registrations(town: Town) -> None:
    await register(town, id="urn:r:1")
    await register(town, tenant="faw", id="urn:r:1")
    registrations = town.broker.registrations
    assert len(registrations.find("", Seek())) == len(registrations.find("faw", Seek())) == 1
    await town.broker.delete_registration(Caller("faw"), "urn:r:1")
    assert registrations.find("faw", Seek()) == []
    assert registrations.find("", Seek())


async def test_a_registration_whose_time_is_over_is_gone(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    registrations = town.broker.registrations
    await register(town, id="urn:r:1", expiresAt="2100-01-01T00:00:00Z")
    monkeypatch.setattr(registrations, "_clock", lambda: now() * 3)
    assert registrations.find("", Seek()) == []
    assert registrations.having("", "urn:v:1", None) == []
    assert await registrations.sweep() == 1
    assert await town.store.records(None, "registration") == []
    assert await register(town, id="urn:r:1") == "urn:r:1"


# -- conflicts (4.3.6.3, 5.9.2.4)


async def test_what_is_exclusive_is_nobody_elses(town: Town) -> None:
    await register(town, "exclusive", information=[SPEED])
    for mode in ("exclusive", "redirect"):
        with pytest.raises(Conflict):
            await register(town, mode, information=[SPEED])
    with pytest.raises(Conflict):
        await register(town, "redirect")
    brand = SPEED | {"propertyNames": ["brand"]}
    await register(town, "exclusive", information=[brand])
    await register(town, "inclusive", information=[SPEED])
    await register(town, "exclusive", tenant="faw", information=[SPEED])


async def test_redirects_may_share(town: Town) -> None:
    await register(town, "redirect")
    await register(town, "redirect")


@pytest.mark.parametrize(
    ("mode", "information", "conflicts"),
    [
        ("exclusive", SPEED, True),
        ("exclusive", SPEED | {"propertyNames": ["brand"]}, False),
        ("redirect", VEHICLES, True),
        ("redirect", {"entities": [{"type": "Bus"}]}, False),
        ("inclusive", VEHICLES, False),
        ("auxiliary", VEHICLES, False),
    ],
)
async def test_what_is_here_cannot_be_elsewhere_only(
    town: Town, mode: str, information: dict[str, Any], conflicts: bool
) -> None:
    await town.broker.create_entity(town.me, entity("urn:v:1", "Vehicle", speed=1))
    if conflicts:
        with pytest.raises(Conflict, match="urn:v:1"):
            await register(town, mode, information=[information])
    else:
        await register(town, mode, information=[information])


# -- telling (5.11.7)


async def test_who_subscribed_is_told_of_sources(town: Town, receiver: Receiver) -> None:
    body = {
        "type": "Subscription",
        "entities": [{"type": "Vehicle"}],
        "notification": {"endpoint": {"uri": receiver.url, "accept": "application/json"}},
    }
    await register(town, id="urn:r:0", information=[{"entities": [{"type": "Bus"}]}])
    id = await town.broker.subscribe_to_sources(town.me, body, CORE)
    await register(town, id="urn:r:1", information=[VEHICLES, {"entities": [{"type": "Bus"}]}])
    await town.broker.update_registration(town.me, "urn:r:1", {"description": "new"}, CORE)
    gone = {"information": [{"entities": [{"type": "Bus"}]}]}
    await town.broker.update_registration(town.me, "urn:r:1", gone, CORE)
    await town.broker.delete_registration(town.me, "urn:r:1")
    told = await receiver.until(3)
    reasons = [(each["triggerReason"], each["data"][0]["id"]) for each in told]
    assert reasons == [(each, "urn:r:1") for each in ("newlyMatching", "updated", "noLongerMatching")]
    assert told[0]["subscriptionId"] == id
    assert told[0]["data"][0]["information"] == [{"entities": [{"type": ["Vehicle"]}]}]
    # Subscriptions to sources are not among those to entities.
    with pytest.raises(ResourceNotFound):
        await town.broker.retrieve_subscription(town.me, id)


async def test_a_new_subscription_is_told_of_what_matches_already(town: Town, receiver: Receiver) -> None:
    await register(town, id="urn:r:1")
    body = {
        "type": "Subscription",
        "entities": [{"type": "Vehicle"}],
        "notification": {"endpoint": {"uri": receiver.url}},
    }
    await town.broker.subscribe_to_sources(town.me, body, CORE)
    told = await receiver.until(1)
    assert [each["id"] for each in told[0]["data"]] == ["urn:r:1"]


# -- counting


async def test_what_became_of_requests_is_counted_and_kept(town: Town) -> None:
    await register(town, id="urn:r:1")
    registrations = town.broker.registrations
    found = registrations.get("", "urn:r:1")
    registrations.sent(found, ok=True)
    registrations.sent(found, ok=False)
    shown = registrations.render(found.registration, CORE)
    assert (shown["status"], shown["timesSent"], shown["timesFailed"]) == ("failed", 2, 1)
    assert shown["lastSuccess"] <= shown["lastFailure"]
    await registrations.flush()
    again = await build(town.store, deliver=False)
    assert again.broker.registrations.render(found.registration, CORE) == shown
    await again.broker.stop()
    await town.broker.delete_registration(town.me, "urn:r:1")
    assert await town.store.records(None, "registration-tally") == []


async def test_having_tells_who_has_what_of_an_entity() -> None:
    town = await build(MemoryStore())
    await register(town, id="urn:r:1")
    await register(town, id="urn:r:2", information=[SPEED])
    await register(town, id="urn:r:3", information=[{"entities": [{"type": "Bus"}]}])
    having = town.broker.registrations.having

    def told(id: str, *types: str) -> dict[str, frozenset[str]]:
        known = [IRI(type) for type in types] or None
        return {source.id: attributes for source, attributes in having("", id, known)}

    assert told("urn:v:1", "Vehicle") == {"urn:r:1": frozenset(), "urn:r:2": frozenset([IRI("speed")])}
    assert told("urn:v:2", "Vehicle") == {"urn:r:1": frozenset()}
    assert list(told("urn:v:2")) == ["urn:r:1", "urn:r:3"]
    assert told("urn:v:1", "Tram") == {}
    await tear_down(town)
