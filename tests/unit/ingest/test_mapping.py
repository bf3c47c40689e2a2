"""A mapping turns a row into an entity, or names every fault of it with column, reason, what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from autocity import models
from autocity.errors import ConfigError
from autocity.ingest import mapping as mappings
from autocity.ingest.datum import to_gcj02
from autocity.ingest.mapping import Fault, Mapping

STATION: dict[str, Any] = {
    "entity": {
        "id": "urn:ngsi-ld:EVChargingStation:{id}",
        "type": "EVChargingStation",
        "scope": "/City/{town}",
    },
    "attributes": {
        "capacity": {"column": "places", "value": "integer", "minimum": 1},
        "location": {"longitude": "lon", "latitude": "lat"},
        "name": {"languages": {"en": "Station {id}", "zh": "{id}号站"}},
        "status": {"column": "state", "words": {"1": "working", "0": "outOfService"}},
        "source": {"constant": "a test"},
    },
}
ROW = {"id": "A 1", "town": "West", "places": "8", "lon": "125.2", "lat": "43.83", "state": "1"}


def made(change: dict[str, Any] | None = None) -> Mapping:
    return msgspec.convert(STATION | (change or {}), Mapping)


def read(row: dict[str, Any], mapping: Mapping | None = None) -> tuple[dict[str, Any] | None, list[Fault]]:
    return mappings.reader(mapping or made())(row, 7)


def attribute(rule: dict[str, Any], cell: Any, name: str = "thing") -> Any:
    """What one attribute becomes of one cell in column `c`; the fault when it is none."""
    mapping = made({"attributes": {name: {"column": "c"} | rule}})
    entity, faults = read(ROW | {"c": cell}, mapping)
    return faults[0] if faults else (entity or {}).get(name)


def test_a_row_becomes_an_entity_that_fits_the_vocabulary() -> None:
    entity, faults = read(ROW)
    assert faults == []
    assert entity == {
        "id": "urn:ngsi-ld:EVChargingStation:A%201",
        "type": "EVChargingStation",
        "scope": "/City/West",
        "capacity": {"type": "Property", "value": 8},
        "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [125.2, 43.83]}},
        "name": {"type": "LanguageProperty", "languageMap": {"en": "Station A 1", "zh": "A 1号站"}},
        "status": {"type": "Property", "value": "working"},
        "source": {"type": "Property", "value": "a test"},
        "@context": models.get("EVChargingStation").context,
    }


def test_units_and_kinds_come_from_the_vocabulary_unless_the_mapping_says_otherwise() -> None:
    weather = {"id": "urn:ngsi-ld:WeatherObserved:{id}", "type": "WeatherObserved"}
    mapping = made(
        {
            "entity": weather,
            "attributes": {
                "temperature": {"column": "t"},
                "dewPoint": {"column": "t", "unit": "FAH"},
                "refDevice": {"template": "urn:ngsi-ld:Device:{id}"},
            },
        }
    )
    entity, faults = read({"id": "1", "t": " -7.5 "}, mapping)
    assert not faults and entity
    assert entity["temperature"] == {"type": "Property", "value": -7.5, "unitCode": "CEL"}
    assert entity["dewPoint"]["unitCode"] == "FAH"
    assert entity["refDevice"] == {"type": "Relationship", "object": "urn:ngsi-ld:Device:1"}


def test_every_fault_of_a_row_is_told() -> None:
    entity, faults = read(ROW | {"id": "", "places": "0", "lon": "x", "state": "broken"})
    assert entity is None
    assert {fault.column for fault in faults} == {"id", "places", "lon", "state"}
    assert {fault.line for fault in faults} == {7}
    assert str(faults[1]) == "line 7, places: '0' is out of range; allowed: 1 to inf"


@pytest.mark.parametrize(
    ("rule", "cell", "value"),
    [
        ({}, "text", "text"),
        ({"value": "number"}, "1e3", 1000),
        ({"value": "number", "scale": 0.01, "decimals": 2}, "87", 0.87),
        ({"value": "number", "scale": 1.8, "offset": 32}, "100", 212),
        ({"value": "integer"}, "12.0", 12),
        ({"value": "boolean"}, "是", True),
        ({"value": "boolean"}, "No", False),
        ({"value": "json"}, '[1, {"a": null}]', [1, {"a": None}]),
        ({"value": "time", "timezone": "+08:00"}, "2026-11-22 08:00", "2026-11-22T00:00:00Z"),
        ({"value": "time", "format": "unix"}, "0", "1970-01-01T00:00:00Z"),
        ({"value": "time", "format": "unix_ms"}, "1500", "1970-01-01T00:00:01.500000Z"),
        (
            {"value": "time", "format": "%d.%m.%Y", "timezone": "Asia/Shanghai"},
            "22.11.2026",
            "2026-11-21T16:00:00Z",
        ),
    ],
)
def test_a_cell_is_read_as_the_rule_says(rule: dict[str, Any], cell: str, value: Any) -> None:
    assert attribute(rule, cell)["value"] == value


@pytest.mark.parametrize(
    ("rule", "cell", "reason", "allowed"),
    [
        ({"value": "number"}, "twelve", "is not a number", "digits"),
        ({"value": "number"}, "1e999", "is not a finite number", ""),
        ({"value": "integer"}, "1.5", "is not a whole number", ""),
        ({"value": "boolean"}, "maybe", "is neither yes nor no", "true"),
        ({"value": "json"}, "{", "is not JSON", ""),
        ({"value": "time"}, "noon", "is not a time", "2026-11-22T08:00:00Z"),
        ({"value": "number", "maximum": 5}, "6", "is out of range", "-inf to 5"),
        ({"allowed": ["a", "b"]}, "c", "is not one of the allowed values", "a, b"),
        ({"required": True}, "NA", "is missing", "required"),
        ({}, "bad\udcff", "has bytes that are no text", ""),
    ],
)
def test_a_cell_that_does_not_fit_is_named_with_what_is_allowed(
    rule: dict[str, Any], cell: str, reason: str, allowed: str
) -> None:
    fault = attribute(rule, cell)
    assert isinstance(fault, Fault)
    assert (fault.line, fault.column) == (7, "c")
    assert reason in fault.reason
    assert allowed in fault.allowed


def test_limits_of_the_vocabulary_hold_for_cells() -> None:
    fault = attribute({}, "sideways", "status")
    assert isinstance(fault, Fault) and "outOfService" in fault.allowed


def test_a_cell_that_says_nothing_leaves_the_attribute_away() -> None:
    assert attribute({"value": "number"}, " -- ") is None


def test_the_datum_of_a_chinese_map_is_left_at_the_edge() -> None:
    lon, lat = to_gcj02(125.2, 43.83)
    position = {"longitude": "lon", "latitude": "lat", "datum": "gcj02"}
    mapping = made({"attributes": {"location": position}})
    entity, _ = read(ROW | {"lon": str(lon), "lat": str(lat)}, mapping)
    assert entity and entity["location"]["value"]["coordinates"] == pytest.approx([125.2, 43.83], abs=1e-7)


@pytest.mark.parametrize("change", [{"lon": "181"}, {"lat": ""}, {"lat": "91"}])
def test_half_a_position_or_one_off_the_globe_is_a_fault(change: dict[str, str]) -> None:
    entity, faults = read(ROW | change)
    assert entity is None and [fault.column for fault in faults] == [*change]


def test_geometry_comes_from_geojson_and_is_shifted_too() -> None:
    mapping = made({"attributes": {"location": {"geometry": "g", "datum": "gcj02"}}})
    line = [list(to_gcj02(125.2, 43.8)), list(to_gcj02(125.3, 43.9))]
    entity, _ = read(ROW | {"g": {"type": "LineString", "coordinates": line}}, mapping)
    assert entity
    assert entity["location"]["value"]["coordinates"][1] == pytest.approx([125.3, 43.9], abs=1e-7)
    entity, faults = read(ROW | {"g": "POINT (1 2)"}, mapping)
    assert entity is None and "is not JSON" in faults[0].reason


def test_observations_bear_their_instant_and_lasting_facts_do_not() -> None:
    mapping = made({"observed_at": {"column": "time", "format": "%Y/%m/%d %H:%M", "timezone": "+08:00"}})
    entity, _ = read(ROW | {"time": "2022/9/1 0:00"}, mapping)
    assert entity
    assert entity["capacity"]["observedAt"] == "2022-08-31T16:00:00Z"
    assert "observedAt" not in entity["source"] and "observedAt" not in entity["name"]
    _, faults = read(ROW | {"time": ""}, mapping)
    assert [fault.column for fault in faults] == ["time"]


def test_a_dotted_column_reaches_into_json() -> None:
    assert attribute({"column": "deep.er"}, None) is None
    mapping = made({"attributes": {"thing": {"column": "deep.er", "value": "number"}}})
    entity, _ = read(ROW | {"deep": {"er": 5}}, mapping)
    assert entity and entity["thing"]["value"] == 5


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"entity": {"id": "urn:x:1", "type": "Zone"}}, "names no column"),
        ({"series": True}, "a series needs"),
        ({"attributes": {"a": {}}}, "exactly one of"),
        ({"attributes": {"a": {"column": "x", "constant": 1}}}, "exactly one of"),
        ({"attributes": {"a": {"longitude": "x"}}}, "come together"),
        ({"observed_at": {"column": "t", "timezone": "Mars/Olympus"}}, r"such as \+08:00"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        mappings.reader(made(change))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.toml", "[entity", "Expected"),
        ("a.toml", 'colour = "red"', "unknown field `colour`"),
        ("a.json", "{", "truncated"),
        ("a.toml", '[entity]\nid = "{x}"\ntype = "T"\n[attributes.a]\ncolum = "x"', "unknown field `colum`"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_with_the_place(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        mappings.load(file)


def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(msgspec.json.encode(STATION))
    assert mappings.load(file) == made()


@pytest.mark.parametrize("name", mappings.shipped())
def test_shipped_mappings_load_by_name_and_say_whose_data_they_read(name: str) -> None:
    mapping = mappings.load(name)
    assert mapping.credit and mapping.licence == "CC0-1.0" and mapping.title.keys() == {"en", "zh"}


def test_a_mapping_that_is_nowhere_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match="urbanev-stations"):
        mappings.load("nowhere")
