"""The simulated layer: the same for one seed, valid, marked synthetic, continuous, at a bearable pace."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from autocity import models
from autocity.ingest import simulate, world
from autocity.ingest.simulate import Simulation

NOW = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)  # half past eight on a working day
SECOND = timedelta(seconds=1)
CITY = Simulation(471)
ENTITIES = CITY.entities(NOW)


def values(entities: list[dict[str, Any]], type: str, attribute: str) -> list[Any]:
    return [entity[attribute]["value"] for entity in entities if entity["type"] == type]


def test_one_seed_says_the_same_and_another_does_not() -> None:
    assert Simulation(471).entities(NOW) == ENTITIES
    other = Simulation(7).entities(NOW)
    assert [e["id"] for e in other] == [e["id"] for e in ENTITIES]
    assert values(other, "TrafficFlowObserved", "intensity") != values(
        ENTITIES, "TrafficFlowObserved", "intensity"
    )


@pytest.mark.parametrize("type", sorted({entity["type"] for entity in ENTITIES}))
def test_every_entity_is_valid_and_says_that_it_is_synthetic(type: str) -> None:
    for entity in (e for e in ENTITIES if e["type"] == type):
        assert models.validate(entity) == []
        assert entity["synthetic"] == {"type": "Property", "value": True}
        assert "not a measurement" in entity["source"]["value"]
        assert entity["scope"] == "/Changchun"
        assert entity["@context"] == models.get(type).context
        assert entity["name"]["languageMap"].keys() == {"en", "zh"}


def test_there_are_some_hundred_entities_and_relationships_lead_somewhere() -> None:
    assert 300 <= len(ENTITIES) <= 500
    known = {e["id"] for e in ENTITIES} | {fact["id"] for fact in models.facts()}
    assert len({e["id"] for e in ENTITIES}) == len(ENTITIES)
    for entity in ENTITIES:
        for member in entity.values():
            if isinstance(member, dict) and member.get("type") == "Relationship":
                targets = member["object"] if isinstance(member["object"], list) else [member["object"]]
                assert set(targets) <= known


def test_updates_lead_from_one_state_to_the_next() -> None:
    start, end = NOW, NOW + timedelta(seconds=97)
    state = {entity["id"]: entity for entity in CITY.entities(start)}
    at = start
    while at < end:
        for id, fragment in CITY.updates(at, at + SECOND):
            state[id] = state[id] | fragment
        at += SECOND
    later = {entity["id"]: entity for entity in CITY.entities(end)}
    for id, entity in later.items():
        shown = {n: m["value"] for n, m in state[id].items() if isinstance(m, dict) and "observedAt" in m}
        wanted = {n: m["value"] for n, m in entity.items() if isinstance(m, dict) and "observedAt" in m}
        # The time of a look that saw nothing new is not told.
        assert {n: v for n, v in shown.items() if n != "dateObserved"} == {
            n: v for n, v in wanted.items() if n != "dateObserved"
        }


def test_a_long_step_ends_where_many_short_ones_do() -> None:
    end = NOW + timedelta(minutes=5)
    state = {entity["id"]: entity for entity in ENTITIES}
    for id, fragment in CITY.updates(NOW, end):
        state[id] = state[id] | fragment
    buses = {e["id"]: e["location"] for e in CITY.entities(end) if e["type"] == "Vehicle"}
    assert {id: state[id]["location"] for id in buses} == buses


def test_the_pace_is_lively_and_bearable() -> None:
    told: Counter[str] = Counter()
    for second in range(120):
        for _, fragment in CITY.updates(NOW + second * SECOND, NOW + (second + 1) * SECOND):
            told[fragment["type"]] += sum(isinstance(member, dict) for member in fragment.values())
    assert 15 <= told.total() / 120 <= 60
    assert {"Vehicle", "TrafficFlowObserved", "TrafficSignal", "ThreePhaseAcMeasurement"} <= told.keys()
    assert CITY.updates(NOW, NOW) == []


def test_fragments_are_small_and_bear_the_instant_of_the_look() -> None:
    for id, fragment in CITY.updates(NOW, NOW + 30 * SECOND):
        assert fragment["id"] == id
        members = [member for member in fragment.values() if isinstance(member, dict)]
        assert members and all(m["observedAt"] <= "2026-11-23T00:30:30Z" for m in members)
        assert "synthetic" not in fragment and "name" not in fragment


def test_history_is_a_day_of_instances_in_order() -> None:
    start = NOW - timedelta(hours=24)
    evolutions = {e["id"]: e for e in CITY.history(start, NOW, timedelta(minutes=15))}
    assert len(evolutions) == CITY.moving
    flow = evolutions["urn:ngsi-ld:TrafficFlowObserved:sim:dongfeng-5"]
    speeds = flow["averageVehicleSpeed"]
    assert len(speeds) == 96
    times = [instance["observedAt"] for instance in speeds]
    assert (
        times == sorted(times) and times[0] == "2026-11-22T00:30:00Z" and times[-1] < "2026-11-23T00:30:00Z"
    )
    assert all(instance["unitCode"] == "KMH" for instance in speeds)
    lamp = evolutions["urn:ngsi-ld:Streetlight:sim:dongfeng-5-1"]
    assert [i["value"] for i in lamp["powerState"]] in (
        ["off", "on", "low", "off"],
        ["off", "on", "low", "on", "off"],
    )


def test_a_bus_moves_on_without_leaping_and_turns_round() -> None:
    line = world.lines()[0]
    seen = [simulate._travelled(line, 0, NOW.timestamp() + s)[0] for s in range(8000)]
    assert max(abs(b - a) for a, b in pairwise(seen)) < 60 / 3600
    assert min(seen) < 0.05 and max(seen) > line.length - 0.05


def test_buses_rest_at_night() -> None:
    night = CITY.entities(datetime(2026, 11, 23, 19, 0, tzinfo=UTC))  # three in the morning
    states = Counter(values(night, "Vehicle", "serviceStatus"))
    assert states["parked"] > states["onRoute"] >= 1
    assert Counter(values(ENTITIES, "Vehicle", "serviceStatus")) == {"onRoute": 24}


def test_lamps_follow_the_sun() -> None:
    dusk = CITY.entities(datetime(2026, 11, 23, 10, 0, tzinfo=UTC))  # six in the evening, dark in November
    assert Counter(values(dusk, "Streetlight", "powerState")).most_common(1)[0][0] == "on"
    assert set(values(ENTITIES, "Streetlight", "powerState")) == {"off"}


def test_the_rush_slows_traffic() -> None:
    night = CITY.entities(datetime(2026, 11, 23, 19, 0, tzinfo=UTC))
    rush, free = (values(es, "TrafficFlowObserved", "averageVehicleSpeed") for es in (ENTITIES, night))
    assert sum(rush) / len(rush) < 0.85 * sum(free) / len(free)
    peak = CITY.entities(datetime(2026, 11, 22, 23, 40, tzinfo=UTC))
    assert 5 <= sum(values(peak, "TrafficFlowObserved", "congested")) <= 60
    assert all(0 <= share <= 1 for share in values(ENTITIES, "TrafficFlowObserved", "occupancy"))


def test_meters_count_what_the_power_was() -> None:
    mean, waves = 1000.0, simulate.PROFILES["plant"]
    start, hours = NOW.timestamp(), 5
    counted = simulate.energy(mean, waves, start, start + hours * 3600)
    steps = 20_000
    width = hours * 3600 / steps
    summed = sum(simulate.power(mean, waves, start + (n + 0.5) * width) for n in range(steps)) * width / 3600
    assert counted == pytest.approx(summed, rel=1e-9)


def test_meters_never_run_backwards() -> None:
    name = "totalActiveEnergyImport"
    readings = [
        values(CITY.entities(NOW + timedelta(hours=h)), "ThreePhaseAcMeasurement", name) for h in (0, 1, 2)
    ]
    assert all(a < b < c for a, b, c in zip(*readings, strict=True))


def test_heat_is_flow_times_the_fall_in_temperature() -> None:
    for entity in (e for e in ENTITIES if e["type"] == "DistrictHeating"):
        assert entity["heatingOn"]["value"] is True
        fall = entity["supplyTemperature"]["value"] - entity["returnTemperature"]["value"]
        heat = entity["heatFlow"]["value"] * 1.163 * fall / 1000
        assert heat == pytest.approx(entity["heatPower"]["value"], rel=0.05)
        assert 30 < entity["supplyTemperature"]["value"] < 75


def test_stations_are_cold_in_summer() -> None:
    summer = CITY.entities(datetime(2026, 7, 1, 4, tzinfo=UTC))
    assert set(values(summer, "DistrictHeating", "heatingOn")) == {False}
    assert set(values(summer, "DistrictHeating", "heatPower")) == {0}


def test_charging_places_never_exceed_what_there_is() -> None:
    for entity in (e for e in ENTITIES if e["type"] == "EVChargingStation"):
        assert 0 <= entity["availableCapacity"]["value"] <= entity["capacity"]["value"]


@pytest.mark.parametrize(
    ("pm25", "no2", "o3", "index"),
    [
        (0, 0, 0, 0),
        (35, 0, 0, 50),
        (75, 0, 0, 100),
        (55, 0, 0, 75),
        (10, 100, 10, 50),
        (10, 10, 200, 100),
        (900, 0, 0, 500),
    ],
)
def test_the_air_quality_index_follows_the_standard(pm25: float, no2: float, o3: float, index: int) -> None:
    assert simulate.air_quality_index(pm25, no2, o3) == index
