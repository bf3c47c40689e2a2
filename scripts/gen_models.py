"""Make the catalogue of Smart Data Models types that ships with the platform.

    uv run --no-project --with pysmartdatamodels python scripts/gen_models.py

The package holds the published attribute database and pulls GPL code, so it is never a dependency:
this script runs in an environment of its own and writes one JSON file of facts (CC-BY-4.0, see
src/autocity/models/CREDITS.md). Same package version in, same bytes out.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "src/autocity/models/smart-data-models.json"
ROOT = "https://smartdatamodels.org/"

CHOSEN = {
    "Alert": "Alert Anomaly",
    "AAS": "I4AAS I4Asset I4Submodel",
    "Battery": "StorageBatteryMeasurement",
    "Building": "Building BuildingOperation",
    "CPSV-AP": "LifeEvent PublicOrganization PublicService",
    "Consumption": "ConsumptionPoint",
    "DCAT-AP": "Catalogue DataService Dataset Distribution",
    "DataQuality": "DataQualityAssessment",
    "Device": "Camera SmartMeteringObservation",
    "Energy": "ACMeasurement ThreePhaseAcMeasurement",
    "EnergyCommunity": "EnergyCommunity",
    "Environment": "AirQualityObserved CarbonFootprint FloodMonitoring NoiseLevelObserved WaterObserved",
    "GBFS": "free_bike_status station_information station_status system_information vehicle_types",
    "GreenEnergy": "PhotovoltaicMeasurement",
    "IndustrialProcess": "ProcessEvent",
    "IssueTracking": "service_requests",
    "KeyPerformanceIndicator": "KeyPerformanceIndicator",
    "ManufacturingMachine": "ManufacturingMachine ManufacturingMachineOperation",
    "Multimedia": "MediaEvent",
    "OPCUA": "MachineTool",
    "OpenChannelManagement": "OpenChannel SluiceGate",
    "OpenStreetMap": "OSMBoundary",
    "Organization": "Organization",
    "Parking": "OffStreetParking ParkingSpot",
    "ParksAndGardens": "Garden GreenspaceRecord",
    "PointOfInterest": "PointOfInterest",
    "PredictiveMaintenance": "MaintenanceRequest",
    "QueueManagement": "QueueMonitor",
    "RiskManagement": "Risk",
    "SDG": "Project",
    "SDMX": "Observation",
    "Streetlighting": "Streetlight StreetlightControlCabinet",
    "TourismDestinations": "Event",
    "Transportation": (
        "BikeHireDockingStation CityWork CrowdFlowObserved EVChargingStation FleetVehicleStatus "
        "RestrictedTrafficArea Road RoadAccident RoadSegment TrafficFlowObserved TrafficViolation Vehicle "
        "VehicleFault"
    ),
    "UrbanMobility": (
        "ArrivalEstimation GtfsAgency GtfsCalendarDateRule GtfsCalendarRule GtfsFrequency GtfsRoute "
        "GtfsService GtfsShape GtfsStation GtfsStop GtfsStopTime GtfsTransferRule GtfsTrip "
        "PublicTransportRoute PublicTransportStop"
    ),
    "WasteManagement": "WasteContainer",
    "WaterConsumption": "WaterConsumptionObserved",
    "WaterQuality": "WaterQualityObserved",
    "Weather": "WeatherAlert WeatherForecast WeatherObserved",
}
"""Subject to the types that the city's systems use."""

UNITS = {
    r"mg/l": "M1",
    r"met(er|re)s?( \(m\))?": "MTR",
    r"volts?( \(v\))?": "VLT",
    r"amp(er|s|ere)?s?( \(a\))?": "AMP",
    r"kilowatts?( per)? ?hours?( \(kwh\))?": "KWH",
    r"kilowatts?( \(kw\))?|kw": "KWT",
    r"kilovolts?-ampere-reactive-hour( \(kvarh\))?\.?|kilovolts-ampere-reactive per hour \(kvarh\)": "K3",
    r"kilovolt-ampere-hour( \(kvah\))?\.?": "C79",
    r"kilovolt-ampere-reactive": "KVR",
    r"volts?-ampere-reactive( \(var\))?": "D44",
    r"volt-ampere( \(va\))?": "D46",
    r"watt( \(w\))?(\.active power consumed per phase)?": "WTT",
    r"w/m2": "D54",
    r"kilometer per hour \(km/h\)\.?|km/h": "KMH",
    r"hertz( \(hz\))?": "HTZ",
    r"hecto pascals": "A97",
    r"kpa": "KPA",
    r"lux": "LUX",
    r"centimeters": "CMT",
    r"second \(s\)": "SEC",
    r"minutes": "MIN",
    r"litres": "LTR",
    r"litres/hour": "E32",
    r"(celsius degrees|degrees celsius) ?": "CEL",
    r"cubic met(er|re)s?": "MTQ",
    r"cubic meters/hour": "MQH",
    r"square meters": "MTK",
    r"kilograms?( \(kg\))?": "KGM",
    r"kilometer \(km\)": "KMT",
    r"degree": "DD",
    r"rpm": "RPM",
    r"siemens per meter": "D10",
    r"liters per square meter": "MMT",  # one litre on one square metre stands one millimetre high
}
"""Published unit texts to UN/CEFACT common codes; texts that name no unit map to nothing."""

KNOWN_UNITS = {
    "Transportation/averageVehicleSpeed": "KMH",
    "Transportation/averageVehicleLength": "MTR",
    "Transportation/averageGapDistance": "MTR",
    "Transportation/averageHeadwayTime": "SEC",
    "Transportation/speed": "KMH",
    "Transportation/heading": "DD",
    "Transportation/length": "KMT",
    "Transportation/maximumAllowedSpeed": "KMH",
    "Environment/temperature": "CEL",
    "Environment/pressure": "A97",
    "Environment/pm1": "GQ",
    "Environment/pm25": "GQ",
    "Environment/pm10": "GQ",
    "Environment/no": "GQ",
    "Environment/no2": "GQ",
    "Environment/nox": "GQ",
    "Environment/so2": "GQ",
    "Environment/o3": "GQ",
    "Environment/co": "GP",
    "Environment/flow": "MQS",
    "Transportation/battery": "P1",
    "Transportation/bearing": "DD",
    "Transportation/powerConsumption": "KWT",
    "Environment/windSpeed": "MTS",
    "Environment/windDirection": "DD",
    "Weather/temperature": "CEL",
    "Weather/feelsLikeTemperature": "CEL",
    "Weather/dewPoint": "CEL",
    "Weather/windSpeed": "MTS",
    "Weather/windDirection": "DD",
    "Weather/atmosphericPressure": "A97",
    "Streetlighting/powerRating": "WTT",
    "Streetlighting/powerConsumption": "WTT",
    "Energy/totalActivePower": "KWT",
    "Energy/totalActiveEnergyImport": "KWH",
    "Energy/phaseVoltage": "VLT",
    "Energy/current": "AMP",
    "Energy/frequency": "HTZ",
}
"""Units that the published texts give only in prose, by the tail of the attribute's IRI."""

KNOWN_SCHEMAS: dict[str, dict[str, Any]] = {
    "seeAlso": {"type": ["array", "string"]},
    "dataModel.CPSV-AP/processingTime": {"type": "string", "examples": ["P5D"]},
    "dataModel.KeyPerformanceIndicator/kpiValue": {"type": ["number", "string", "object"], "examples": [20]},
    "dataModel.SDMX/obsValue": {"type": ["number", "string"], "examples": [1.5]},
    "dataModel.Weather/pressureTendency": {
        "anyOf": [{"enum": ["falling", "raising", "steady"]}, {"type": "number"}],
        "examples": ["steady"],
    },
}
"""Values that the published schema allows in several forms, of which the database keeps one."""

CORE = {"id", "type", "@context", "location", "observationSpace", "operationSpace"}
GEOJSON = {"bbox", "coordinates"}
KINDS = {"Property", "Relationship", "GeoProperty", "LanguageProperty"}


def main() -> None:
    assets = Path(str(find_spec("pysmartdatamodels").submodule_search_locations[0])) / "model-assets"  # type: ignore[union-attr,index]
    rows = json.loads(gzip.decompress((assets / "smartdatamodels.json.gz").read_bytes()))
    metadata = json.loads((assets / "datamodels_metadata.json").read_bytes())
    wanted = {(f"dataModel.{subject}", name) for subject, names in CHOSEN.items() for name in names.split()}
    by_type: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        key = (row["repoName"], row["dataModel"])
        if key in wanted and "parentId" not in row:
            by_type[key].append(row)
    about = {(m["subject"], m["dataModel"]): m for m in metadata}
    missing = sorted(wanted - by_type.keys())
    if missing:
        raise SystemExit(f"the package does not have {missing}")
    variants: dict[str, Counter[str]] = defaultdict(Counter)
    types: dict[str, dict[str, Any]] = {}
    for key in sorted(wanted):
        subject, name = key[0].removeprefix("dataModel."), key[1]
        attributes = {
            row["property"]: facts(row) for row in top_level(by_type[key], about[key].get("required", ()))
        }
        for fact in attributes.values():
            variants[fact["iri"]][json.dumps(fact, sort_keys=True)] += 1
        types[name] = {
            "subject": subject,
            "iri": f"{ROOT}dataModel.{subject}/{name}",
            "version": about[key]["version"],
            "description": brief(about[key].get("description", "")),
            "required": sorted(
                a for a in about[key].get("required", ()) if a in attributes or a == "location"
            ),
            "attributes": attributes,
        }
    write(types, {iri: json.loads(counter.most_common(1)[0][0]) for iri, counter in variants.items()})


def top_level(rows: list[dict[str, Any]], required: Iterable[str]) -> list[dict[str, Any]]:
    """The attributes of the type itself, in order.

    The database lists attributes in alphabetical order and lets members of some of their values
    follow without naming a parent. Those break the order, so the heaviest ascending run is kept:
    required attributes must be in it, objects and arrays (which have such members) rather should.
    """
    rows = [row for row in rows if row["property"] not in CORE | GEOJSON]
    weights = [
        1000 if row["property"] in required else 3 if row.get("type") in ("array", "object") else 2
        for row in rows
    ]
    runs = [ascending([order(row["property"]) for row in rows], weights) for order in (str.casefold, str)]
    return [rows[index] for index in max(runs, key=lambda run: sum(weights[index] for index in run))]


def ascending(names: list[str], weights: list[int]) -> list[int]:
    """Places of the strictly ascending run of names with the greatest total weight."""
    total: list[int] = []
    before: list[int] = []
    for place, name in enumerate(names):
        earlier = max((p for p in range(place) if names[p] < name), key=lambda p: total[p], default=-1)
        before.append(earlier)
        total.append(weights[place] + (total[earlier] if earlier >= 0 else 0))
    run: list[int] = []
    place = max(range(len(names)), key=lambda p: total[p], default=-1)
    while place >= 0:
        run.append(place)
        place = before[place]
    return run[::-1]


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """What the catalogue keeps of one attribute; members that say nothing are left out."""
    kind = row["typeNGSI"] if row.get("typeNGSI") in KINDS else "Property"
    fact = {
        "iri": row["context"],
        "kind": kind,
        "schema": KNOWN_SCHEMAS.get(row["context"].removeprefix(ROOT)) or schema(row, kind),
        "unit": unit(row),
        "description": brief(row.get("description", "")),
    }
    return {name: value for name, value in fact.items() if value}


def schema(row: dict[str, Any], kind: str) -> dict[str, Any]:
    """The JSON Schema of a value; that of references and geometry follows from the kind."""
    if kind != "Property":
        return {}
    shape: dict[str, Any] = {}
    if row.get("type") not in (None, "null"):
        shape["type"] = row["type"]
    if row.get("enum") and row.get("type") != "array":
        shape["enum"] = row["enum"]
    if row.get("format") in ("date-time", "date", "time", "uri"):
        shape["format"] = row["format"]
    return shape


def unit(row: dict[str, Any]) -> str | None:
    known = KNOWN_UNITS.get(row["context"].removeprefix(ROOT + "dataModel."))
    text = str(row.get("units") or "").strip().casefold()
    return known or next((code for form, code in UNITS.items() if text and re.fullmatch(form, text)), None)


def brief(text: str, limit: int = 180) -> str:
    """The first sentences of a description, without the parts that repeat schema facts."""
    text = re.sub(r"(Enum|Units?|Model|Property|Relationship)\s?:\s*\[?'[^']*'\.?\]?", " ", text)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.split())).strip(" .")
    if len(text) > limit:
        cut = text.rfind(". ", 0, limit)
        text = text[:cut] if cut > 40 else text[: text.rfind(" ", 0, limit)].rstrip(",;:(") + " …"
    return text


def write(types: dict[str, dict[str, Any]], shared: dict[str, dict[str, Any]]) -> None:
    """One line an attribute and one line a type, so that a new version of the models reads as a diff."""
    for entry in types.values():
        own = {}
        for name, fact in entry["attributes"].items():
            usual = shared[fact["iri"]]
            own[name] = (
                {"iri": fact["iri"]}
                | {k: v for k, v in fact.items() if usual.get(k) != v}
                | {k: None for k in usual if k not in fact}
            )
            if len(own[name]) == 1:
                own[name] = fact["iri"]
        entry["attributes"] = own
    origin = (
        f"Smart Data Models (smartdatamodels.org) through pysmartdatamodels {version('pysmartdatamodels')}"
    )
    lines = [f'"source": {compact(origin)}', '"licence": "CC-BY-4.0"']
    for title, table in (("attributes", shared), ("types", types)):
        keyed_by_iri = title == "attributes"
        entries = (
            f"{compact(key)}: {compact({k: v for k, v in value.items() if k != 'iri' or not keyed_by_iri})}"
            for key, value in sorted(table.items())
        )
        lines.append(f"{compact(title)}: {{\n" + ",\n".join(entries) + "\n}")
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(types)} types, {len(shared)} attributes, {TARGET.stat().st_size / 1024:.0f} KiB")


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


if __name__ == "__main__":
    main()
