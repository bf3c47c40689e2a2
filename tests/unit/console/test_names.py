"""What types and attributes are called."""

import pytest

from autocity.console import names


@pytest.mark.parametrize(("language", "label"), [("en", "Zone"), ("zh-Hans", "片区")])
def test_types_have_names_in_both_languages(language: str, label: str) -> None:
    assert names.type_name("Zone", language) == label
    assert names.type_name("https://w3id.org/autocity/Zone", language) == label


def test_an_unknown_name_is_made_readable() -> None:
    assert names.type_name("https://example.org/ns#ParkingSensor", "en") == "Parking sensor"
    assert names.attribute_name("https://example.org/ns/batteryLevel", ["Nothing"], "en") == "Battery level"


def test_an_attribute_is_worded_by_the_type_it_stands_on() -> None:
    assert names.attribute_name("surfaceArea", ["Plate"], "en") == "Area"
    assert names.attribute_name("surfaceArea", ["Nothing"], "zh-Hans") == names.attribute_name(
        "surfaceArea", ["Plate"], "zh-Hans"
    )


def test_the_catalogue_lends_units() -> None:
    assert names.unit_code("outputValue", ["Nothing", "OutputRecord"]) == "CNY"
    assert names.unit_code("outputValue", ["Nothing"]) is None


@pytest.mark.parametrize(
    ("name", "spaced"),
    [
        ("averageVehicleSpeed", "Average vehicle speed"), ("CO2_level", "CO2 level"),
        ("dongfeng-street", "Dongfeng street"), ("", ""),
    ],
)  # fmt: skip
def test_names_are_spaced(name: str, spaced: str) -> None:
    assert names.spaced(name) == spaced
