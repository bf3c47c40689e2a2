"""The stated facts: every one sourced, every one valid, the figures exactly as the documents give them."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from autocity import models

FACTS = models.facts()
BY_ID = {fact["id"]: fact for fact in FACTS}


def test_ids_are_unique_and_relationships_lead_somewhere() -> None:
    assert len(BY_ID) == len(FACTS)
    for fact in FACTS:
        for member in fact.values():
            if isinstance(member, dict) and member.get("type") == "Relationship":
                targets = member["object"] if isinstance(member["object"], list) else [member["object"]]
                assert set(targets) <= BY_ID.keys()


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["id"])
def test_every_fact_is_valid_sourced_and_bilingual(fact: dict[str, Any]) -> None:
    assert models.validate(fact) == []
    assert fact["confidence"]["value"] in ("high", "medium")
    if fact["type"] != "SourceDocument":
        document = BY_ID[fact["statedIn"]["object"]]
        assert document["name"]["languageMap"]["en"] in fact["source"]["value"]
        issued = document.get("issuedOn", {}).get("value")
        assert fact.get("statedOn", {}).get("value") == issued
    words = fact.get("name") or fact.get("orientationText") or fact["mainFeature"]
    assert words["languageMap"].keys() == {"en", "zh"}


@pytest.mark.parametrize(
    ("id", "figures"),
    [
        ("ProductionRecord:faw-group:2020-H1", (1622279, 1.5, 1630923, 2.3)),
        ("ProductionRecord:hongqi:2020-H1", (69759, 89.5, 70045, 110.7)),
        ("ProductionRecord:jiefang:2020-H1", (232164, 16.5, 278235, 35.6)),
    ],
)
def test_production_and_sales_of_the_first_half_of_2020(id: str, figures: tuple[float, ...]) -> None:
    record = BY_ID["urn:ngsi-ld:" + id]
    names = ("unitsProduced", "productionGrowth", "unitsSold", "salesGrowth")
    assert tuple(record[name]["value"] for name in names) == figures
    assert {record[name]["unitCode"] for name in names} == {"H87", "P1"}
    assert record["periodEnd"]["value"] == "2020-06-30"
    # The half year ends at midnight on the city's clock.
    assert {record[name]["observedAt"] for name in names} == {"2020-06-30T16:00:00Z"}


def test_output_projects_and_area() -> None:
    output = BY_ID["urn:ngsi-ld:OutputRecord:automobile-zone:2020-H1"]
    assert (output["outputValue"]["value"], output["outputGrowth"]["value"]) == (252_110_000_000, 10.2)
    projects = BY_ID["urn:ngsi-ld:ProjectPortfolio:auto-projects:2020-H1"]
    assert (projects["projectsStarted"]["value"], projects["projectsTotal"]["value"]) == (6, 7)
    plate = BY_ID["urn:ngsi-ld:Plate:changchun-international-automobile-city"]
    assert (plate["surfaceArea"]["value"], plate["surfaceArea"]["unitCode"]) == (471, "KMK")


def test_what_there_is_of_each() -> None:
    count = {type: sum(fact["type"] == type for fact in FACTS) for type in {fact["type"] for fact in FACTS}}
    assert count["Zone"] == 6
    assert count["Brand"] == 7
    assert count["IndexSystem"] == 7
    parts = [fact["townPartKind"]["value"] for fact in FACTS if fact["type"] == "TownPart"]
    assert [parts.count(kind) for kind in ("district", "street", "centre", "place")] == [2, 1, 6, 9]
    roles = [fact["cityRole"]["value"] for fact in FACTS if fact["type"] == "ReferenceCity"]
    assert [roles.count(role) for role in ("visited", "friendship")] == [5, 4]
    chain = [fact["chainRole"]["value"] for fact in FACTS if fact["type"] == "CorePart"]
    assert [chain.count(role) for role in ("core", "weak")] == [4, 3]
    codes = {fact["statisticalCode"]["value"] for fact in FACTS if fact["type"] == "AdministrativeArea"}
    assert {"220174", "220173", "220106101", "220184103", "220184105"} <= codes
    assert sum(len(code) == 6 for code in codes) == 15


def test_what_was_drawn_says_so_and_measures_the_stated_area() -> None:
    plate = BY_ID["urn:ngsi-ld:Plate:changchun-international-automobile-city"]["location"]
    assert plate["synthetic"]["value"] is True
    assert _square_kilometres(plate["value"]) == pytest.approx(471, rel=0.005)
    zones = [fact["location"] for fact in FACTS if fact["type"] == "Zone"]
    assert all(zone["synthetic"]["value"] is True and zone["source"]["value"] for zone in zones)
    assert sum(_square_kilometres(zone["value"]) for zone in zones) == pytest.approx(471, rel=0.005)
    assert BY_ID["urn:ngsi-ld:AdministrativeArea:2201"]["location"]["synthetic"]["value"] is False


def test_an_attribute_that_the_type_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        models.normalized({"id": "urn:x:1", "type": "Zone", "unitsSold": 5})


def _square_kilometres(polygon: dict[str, Any]) -> float:
    (ring,) = polygon["coordinates"]
    assert ring[0] == ring[-1]
    scale = 111.32 * math.cos(math.radians(43.83)) * 111.13
    doubled = sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(ring))
    assert doubled > 0, "the outer ring goes counter-clockwise"
    return doubled / 2 * scale
