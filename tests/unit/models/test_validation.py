"""Faults are named with place, reason and what is allowed, whatever form the entity comes in."""

from __future__ import annotations

import pytest

from autocity import models
from autocity.models import Fault

GOOD = {"id": "urn:ngsi-ld:Zone:1", "type": "Zone", "name": "West", "partOf": "urn:ngsi-ld:Plate:1"}


def test_one_entity_in_three_forms_fits_alike() -> None:
    normalized = {
        "id": "urn:ngsi-ld:Zone:1",
        "type": "Zone",
        "name": {"type": "LanguageProperty", "languageMap": {"en": "West"}},
        "partOf": {"type": "Relationship", "object": "urn:ngsi-ld:Plate:1"},
        "surfaceArea": {"type": "Property", "value": 12.5, "unitCode": "KMK"},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [125.2, 43.8]}},
        "@context": models.CITY_CONTEXT,
    }
    concise = {
        **GOOD,
        "partOf": {"object": "urn:ngsi-ld:Plate:1"},
        "surfaceArea": {"value": 12.5, "unitCode": "KMK"},
        "location": {"type": "Point", "coordinates": [125.2, 43.8]},
    }
    for entity in (normalized, concise, GOOD):
        assert models.validate(entity) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"surfaceArea": "wide"}, Fault("surfaceArea", "'wide' has the wrong type", "number")),
        ({"surfaceArea": 0}, Fault("surfaceArea", "0 is out of range", "more than 0")),
        (
            {"zoneKind": "harbour"},
            Fault(
                "zoneKind",
                "'harbour' is not one of the allowed values",
                "developmentZone, industrialConcentrationZone, town",
            ),
        ),
        ({"statedOn": "yesterday"}, Fault("statedOn", "'yesterday' is not a valid date", "2026-11-22")),
        (
            {"partOf": "not a uri"},
            Fault(
                "partOf",
                "'not a uri' fits none of the allowed forms",
                "a URI such as urn:ngsi-ld:Zone:1; or array",
            ),
        ),
        ({"location": {"type": "Circle", "coordinates": [1, 2]}}, None),
    ],
)
def test_a_fault_names_place_reason_and_what_is_allowed(
    change: dict[str, object], fault: Fault | None
) -> None:
    (found,) = models.validate(GOOD | change)
    assert found == fault or (fault is None and found.where == "location.type" and "Point" in found.allowed)


def test_all_faults_are_told_at_once() -> None:
    faults = models.validate({"id": "urn:x:1", "type": "Zone", "surfaceArea": -1, "confidence": "sure"})
    assert {fault.where for fault in faults} == {"name", "partOf", "surfaceArea", "confidence"}


def test_every_instance_of_an_attribute_is_checked() -> None:
    speeds = [
        {"type": "Property", "value": 20},
        {"type": "Property", "value": "fast", "datasetId": "urn:ngsi-ld:dataset:2"},
    ]
    entity = {
        "id": "urn:x:1",
        "type": "TrafficFlowObserved",
        "dateObserved": "2026-11-22T08:00:00Z",
        "averageVehicleSpeed": speeds,
    }
    assert [fault.where for fault in models.validate(entity)] == ["averageVehicleSpeed"]


def test_wrapped_and_plain_dates_mean_the_same() -> None:
    wrapped = {"type": "Property", "value": {"@type": "DateTime", "@value": "2026-11-22T08:00:00Z"}}
    entity = {"id": "urn:x:1", "type": "TrafficFlowObserved", "dateObserved": wrapped}
    assert models.validate(entity) == []
    assert models.key_values(entity)["dateObserved"] == "2026-11-22T08:00:00Z"


def test_values_that_look_like_attributes_stay_values() -> None:
    entity = {"id": "urn:x:1", "type": "X", "a": {"type": "Property", "value": {"value": 5}}, "b": [1, [2]]}
    assert models.key_values(entity) == {"id": "urn:x:1", "type": "X", "a": {"value": 5}, "b": [1, [2]]}


def test_a_type_that_nobody_knows_is_refused_and_one_of_several_is_enough() -> None:
    with pytest.raises(models.UnknownType, match="Zeppelin"):
        models.validate({"id": "urn:x:1", "type": "Zeppelin"})
    assert models.validate(GOOD | {"type": ["Zeppelin", "Zone"]}) == []
