"""Types, contexts, schemas, labels: what the vocabulary promises of every type it knows."""

from __future__ import annotations

import subprocess
import sys

import jsonschema
import pytest

from autocity import models
from autocity.ld.context import CORE
from autocity.models import vocabulary

OWN = [type for type in models.catalogue().values() if type.own]
EVERY = list(models.catalogue().values())
SYSTEMS = """
Alert Camera CrowdFlowObserved ThreePhaseAcMeasurement SmartMeteringObservation Streetlight Building
Dataset Distribution PointOfInterest Event WeatherAlert Vehicle TrafficFlowObserved RoadSegment
RoadAccident EVChargingStation OffStreetParking GtfsStop ArrivalEstimation PublicService
service_requests Organization ManufacturingMachine ProcessEvent MaintenanceRequest Project
AirQualityObserved NoiseLevelObserved WaterObserved WaterQualityObserved WeatherObserved
WeatherForecast Garden WasteContainer KeyPerformanceIndicator AdministrativeArea Zone
IndustrialProject ProductionRecord SupplyLink Enterprise ServiceFacility Incident Notice GreenSpace
RiverReach DistrictHeating TalentProgramme IndexFramework IndexScore TrafficSignal
"""


@pytest.mark.parametrize("name", SYSTEMS.split())
def test_the_types_that_the_city_s_systems_need_are_there(name: str) -> None:
    assert models.get(name).name == name


def test_a_type_is_found_by_name_and_by_iri_and_a_wrong_name_is_told_the_nearest() -> None:
    assert models.get("https://w3id.org/autocity/Zone") is models.get("Zone")
    with pytest.raises(models.UnknownType, match="TrafficFlowObserved"):
        models.get("TrafficFlowObservd")


@pytest.mark.parametrize("type", EVERY, ids=lambda type: type.name)
def test_every_schema_is_valid_and_every_example_fits(type: models.TypeModel) -> None:
    jsonschema.Draft202012Validator.check_schema(models.schema(type.name))
    example = models.example(type.name)
    assert models.validate(example) == []
    assert set(type.required) <= example.keys()


@pytest.mark.parametrize("type", OWN, ids=lambda type: type.name)
def test_every_own_type_and_attribute_is_labelled_and_described(type: models.TypeModel) -> None:
    for labels in (type.labels, *(attribute.labels for attribute in type.attributes.values())):
        assert labels["en"]
        assert any("\u4e00" <= letter <= "\u9fff" for letter in labels["zh"])
    assert type.description
    assert all(attribute.description for attribute in type.attributes.values())
    assert set(type.required) <= type.attributes.keys()
    assert models.example(type.name).keys() - {"id", "type"}


@pytest.mark.parametrize("type", EVERY, ids=lambda type: type.name)
def test_every_type_can_say_where_its_data_comes_from(type: models.TypeModel) -> None:
    provenance = {"source", "statedIn", "statedOn", "confidence", "synthetic", "name", "location"}
    assert provenance <= type.attributes.keys()


def test_every_name_of_the_vocabulary_has_a_chinese_label() -> None:
    assert [name for name, label in models.labels("zh").items() if label == vocabulary.spell(name)] == []


def test_no_chinese_label_is_for_a_name_that_is_gone() -> None:
    published = (type for type in EVERY if not type.own)
    known = {name for type in published for name in (type.name, *type.attributes)}
    assert vocabulary._words().keys() <= known


@pytest.mark.parametrize("type", EVERY, ids=lambda type: type.name)
def test_the_context_of_a_type_gives_its_names_their_iris(type: models.TypeModel) -> None:
    terms = models.contexts()[type.context]["@context"]
    assert terms[type.name] == type.iri
    for attribute in type.attributes.values():
        assert terms.get(attribute.name, CORE.expand(attribute.name)) == attribute.iri


@pytest.mark.parametrize("url", models.contexts())
def test_no_context_says_again_what_the_core_says(url: str) -> None:
    terms = models.contexts()[url]["@context"]
    unknown = "https://uri.etsi.org/ngsi-ld/default-context/"
    assert [name for name in terms if not CORE.expand(name).startswith(unknown)] == []


def test_the_city_s_context_speaks_for_its_own_and_the_borrowed_types() -> None:
    terms = models.contexts()[models.CITY_CONTEXT]["@context"]
    assert {type.name for type in OWN} <= terms.keys()
    assert terms["TrafficFlowObserved"] == models.get("TrafficFlowObserved").iri
    assert terms["temperature"] == models.get("WeatherObserved").attributes["temperature"].iri


def test_short_names_that_mean_different_things_stay_apart_in_their_own_contexts() -> None:
    category = {
        document["@context"]["category"]
        for document in models.contexts().values()
        if "category" in document["@context"]
    }
    assert len(category) >= 8


def test_units_are_common_codes() -> None:
    speed = models.get("TrafficFlowObserved").attributes["averageVehicleSpeed"]
    assert speed.unit == "KMH"
    units = {attribute.unit for type in EVERY for attribute in type.attributes.values()} - {None}
    assert all(unit.isalnum() and unit.isupper() and 2 <= len(unit) <= 3 for unit in units if unit)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("averageVehicleSpeed", "Average vehicle speed"),
        ("route_id", "Route id"),
        ("accessURL", "Access URL"),
        ("pm25", "Pm25"),
        ("EVChargingStation", "EV charging station"),
    ],
)
def test_a_short_name_is_spelled_out(name: str, words: str) -> None:
    assert vocabulary.spell(name) == words


def test_importing_the_vocabulary_reads_no_file_and_loads_no_validator() -> None:
    code = (
        "import sys, autocity.models as m; from autocity.models import vocabulary as v;"
        "print('jsonschema' in sys.modules, v._published.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "0"]
