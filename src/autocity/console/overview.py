"""The overview: the city on a map, its figures, what changed, and how the platform feels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from autocity.api.asgi import Answer, Call
from autocity.console import names, page, show
from autocity.console.client import City, Document
from autocity.console.page import Reader, speech
from autocity.errors import CityError
from autocity.models import CITY_CONTEXT

Tone = Literal[
    "good", "fair", "poor", "calm", "off", "green", "heat", "energy", "lamp", "water", "bus", "plug"
]


class Step(Struct, frozen=True):
    """Values below `below` are shown in `tone` and called `label`; the last step has no bound."""

    below: float | None
    tone: Tone
    label: str


class Layer(Struct, frozen=True, kw_only=True):
    """One layer of the map. `measure` is the attribute that colours it: by `steps` when it is a number,
    by `states` when it is a word. `look` are the attributes that its card shows, the first ones first."""

    key: str
    type: str
    label: str
    shape: Literal["area", "line", "point"]
    tone: Tone
    look: tuple[str, ...]
    measure: str = ""
    steps: tuple[Step, ...] = ()
    states: dict[str, Tone] = {}
    size: float = 5
    shown: bool = True


def _(text: str) -> str:
    """Mark a text for the catalogue; it is translated when the page is made."""
    return text


LAYERS = (
    Layer(
        key="zones", type="Zone", label=_("Zones and towns"), shape="area", tone="calm",
        look=("zoneKind", "surfaceArea", "statisticalCode"),
    ),
    Layer(
        key="green", type="GreenSpace", label=_("Parks and green space"), shape="area", tone="green",
        look=("greenKind", "greenArea"),
    ),
    Layer(
        key="river", type="RiverReach", label=_("River reaches"), shape="line", tone="water",
        look=("reachLength", "waterClass"),
    ),
    Layer(
        key="traffic", type="TrafficFlowObserved", label=_("Traffic flow"), shape="line", tone="good", size=3,
        measure="averageVehicleSpeed",
        steps=(
            Step(20, "poor", _("under 20 km/h")),
            Step(35, "fair", _("20–35 km/h")),
            Step(None, "good", _("35 km/h and more")),
        ),
        look=("averageVehicleSpeed", "intensity", "occupancy", "congested"),
    ),
    Layer(
        key="heating", type="DistrictHeating", label=_("District heating"), shape="point", tone="heat",
        look=("supplyTemperature", "returnTemperature", "heatPower", "heatFlow", "heatedArea"), shown=False,
    ),
    Layer(
        key="energy", type="ThreePhaseAcMeasurement", label=_("Electricity meters"), shape="point",
        tone="energy", look=("totalActivePower", "totalActiveEnergyImport", "totalPowerFactor", "frequency"),
        shown=False,
    ),
    Layer(
        key="air", type="AirQualityObserved", label=_("Air quality index"), shape="point", tone="good",
        size=8, measure="airQualityIndex",
        # The classes of China's index (HJ 633): excellent to 50, good to 100, polluted above.
        steps=(
            Step(51, "good", _("to 50")),
            Step(101, "fair", _("to 100")),
            Step(None, "poor", _("above 100")),
        ),
        look=("airQualityIndex", "pm25", "pm10", "no2", "so2", "o3", "co"),
    ),
    Layer(
        key="water", type="WaterObserved", label=_("River gauges"), shape="point", tone="water", size=6,
        look=("waterLevel", "flow"),
    ),
    Layer(
        key="chargers", type="EVChargingStation", label=_("EV charging"), shape="point", tone="plug", size=6,
        measure="availableCapacity",
        steps=(Step(1, "off", _("full")), Step(None, "plug", _("free places"))),
        look=("availableCapacity", "capacity", "powerConsumption", "status"),
    ),
    Layer(
        key="signals", type="TrafficSignal", label=_("Traffic signals"), shape="point", tone="off",
        measure="signalState", shown=False,
        states={"mainGreen": "good", "crossGreen": "poor", "mainYellow": "fair", "crossYellow": "fair"},
        look=("signalState", "signalPlan", "cycleTime"),
    ),
    Layer(
        key="lights", type="Streetlight", label=_("Street lights"), shape="point", tone="lamp", size=3,
        measure="powerState", states={"on": "lamp", "low": "lamp", "off": "off"},
        look=("powerState", "powerRating", "status"),
    ),
    Layer(
        key="buses", type="Vehicle", label=_("Buses"), shape="point", tone="bus", size=6,
        measure="serviceStatus", states={"parked": "off"},
        look=("speed", "serviceStatus", "heading"),
    ),
)  # fmt: skip
"""The layers of the map, from the ground up."""


class Figure(Struct, frozen=True, kw_only=True):
    """One key figure: a value with unit and a note in a tone that words repeat. `synthetic` says that it
    is made from simulated values."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    tone: str = ""
    type: str = ""
    synthetic: bool = False


Frame = dict[str, str]
"""The geo-query (4.10) that keeps to the city's own ground; empty when the city has no outline."""


async def overview(city: City, who: Reader, call: Call) -> Answer:
    """The page; the map fills itself from the API."""
    frame = await home(city)
    found, state = await asyncio.gather(figures(city, who, frame), health(city))
    data = desk(who, frame)
    return page.render(who, "overview.html", figures=found, health=state, desk=data)


async def figures_part(city: City, who: Reader, call: Call) -> Answer:
    """The strip of key figures, as they are now."""
    return page.render(who, "figures.html", figures=await figures(city, who, await home(city)))


async def home(city: City) -> Frame:
    """A frame around the zones of the city: series from elsewhere may be held too, and are not shown here."""
    try:
        zones = await city.entities(type="Zone", pick="location", options="keyValues", context=CITY_CONTEXT)
    except CityError:
        return {}
    places = [
        place for zone in zones for place in show.positions(zone.get("location", {}).get("coordinates"))
    ]
    if not places:
        return {}
    west, east = min(place[0] for place in places), max(place[0] for place in places)
    south, north = min(place[1] for place in places), max(place[1] for place in places)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    coordinates = msgspec.json.encode([ring]).decode()
    return {"georel": "intersects", "geometry": "Polygon", "coordinates": coordinates}


def desk(who: Reader, frame: Frame) -> dict[str, Any]:
    """What the map island needs to know: layers, words and units."""
    say = speech(who)
    return {
        "frame": frame,
        "layers": [
            {
                **msgspec.to_builtins(layer),
                "label": say(layer.label),
                "context": names.context(layer.type),
                "steps": [{**msgspec.to_builtins(step), "label": say(step.label)} for step in layer.steps],
                "attributes": {
                    name: {
                        "label": names.attribute_name(name, [layer.type], who.language),
                        "unit": show.unit(names.unit_code(name, [layer.type])),
                    }
                    for name in layer.look
                },
            }
            for layer in LAYERS
        ],
        "words": {
            "map": say("Map of the city"),
            "live": say("Live"),
            "lost": say("Connection lost, trying again"),
            "paused": say("Paused"),
            "pause": say("Pause"),
            "resume": say("Resume"),
            "nothing": say("nothing yet"),
            "yes": say("yes"),
            "no": say("no"),
            "created": say("created"),
            "deleted": say("deleted"),
            "noMap": say("This browser cannot draw the map. The table shows the same data."),
            "states": {
                "on": say("on"), "off": say("off"), "low": say("dimmed"), "ok": say("working"),
                "working": say("working"), "outOfService": say("out of service"), "full": say("full"),
                "almostFull": say("almost full"), "defectiveLamp": say("defective lamp"), "bus": say("bus"),
                "onRoute": say("on its route"), "parked": say("parked"), "fixed": say("fixed"),
                "mainGreen": say("main road green"), "mainYellow": say("main road yellow"),
                "crossGreen": say("side road green"), "crossYellow": say("side road yellow"),
                "allRed": say("all red"), "park": say("park"), "square": say("square"),
                "riverside": say("riverside green"), "developmentZone": say("development zone"),
                "industrialConcentrationZone": say("industrial concentration zone"), "town": say("town"),
            },
        },
    }  # fmt: skip


async def figures(city: City, who: Reader, frame: Frame) -> list[Figure]:
    """The key figures that the city's entities allow; one without data is left out."""
    answers = await asyncio.gather(*(_values(city, type, look, frame) for type, (look, _) in FIGURES.items()))
    found = []
    for (type, (_, make)), values in zip(FIGURES.items(), answers, strict=True):
        figure = make(values, who) if values else None
        if figure is not None:
            made_up = any(one.get("synthetic") is True for one in values)
            found.append(msgspec.structs.replace(figure, type=type, synthetic=made_up))
    return found


class Ready(Struct, frozen=True):
    """Whether the platform can answer, and why not: what `/readyz` says."""

    status: str = "unready"
    reasons: list[str] = []


class Health(Struct, frozen=True):
    """How the platform feels, and how many entities it holds."""

    ready: Ready
    entities: int


async def health(city: City) -> Health:
    """The platform's own word on its readiness: an answer that is none counts as not ready."""
    told = await city.ask("/readyz")
    try:
        ready = msgspec.json.decode(told.body, type=Ready)
    except msgspec.DecodeError:
        ready = Ready()
    try:
        return Health(ready, await city.count(local="true"))
    except CityError as fault:
        return Health(Ready(reasons=[fault.detail]), 0)


def outdoors(found: list[Document], who: Reader) -> Figure | None:
    values = numbers(found, "temperature")
    wind = numbers(found, "windSpeed")
    if not values:
        return None
    say = speech(who)
    note = say("Wind %(speed)s m/s", speed=show.number(mean(wind), who.language, 1)) if wind else ""
    return Figure(
        label=say("Outdoors"), value=show.number(mean(values), who.language, 1), unit="°C", note=note
    )


def roads(found: list[Document], who: Reader) -> Figure | None:
    speeds = numbers(found, "averageVehicleSpeed")
    if not speeds:
        return None
    say = speech(who)
    slow = sum(speed < 20 for speed in speeds)
    share = slow / len(speeds)
    tone = "good" if share < 0.05 else "fair" if share < 0.2 else "poor"
    words = {"good": say("flowing"), "fair": say("slow in places"), "poor": say("congested")}[tone]
    return Figure(
        label=say("Mean road speed"), value=show.number(mean(speeds), who.language, 0), unit="km/h",
        note=say("%(words)s · %(slow)s of %(all)s slow", words=words, slow=slow, all=len(speeds)), tone=tone,
    )  # fmt: skip


def air(found: list[Document], who: Reader) -> Figure | None:
    index = numbers(found, "airQualityIndex")
    if not index:
        return None
    say = speech(who)
    worst = max(index)
    tone = "good" if worst < 51 else "fair" if worst < 101 else "poor"
    words = {"good": say("clean"), "fair": say("moderate"), "poor": say("polluted")}[tone]
    return Figure(
        label=say("Air quality index"), value=show.number(mean(index), who.language, 0), tone=tone,
        note=say("%(words)s · highest %(worst)s", words=words, worst=show.number(worst, who.language, 0)),
    )  # fmt: skip


def electricity(found: list[Document], who: Reader) -> Figure | None:
    power = numbers(found, "totalActivePower")
    if not power:
        return None
    say = speech(who)
    return Figure(
        label=say("Electric load"), value=show.number(sum(power) / 1000, who.language, 1), unit="MW",
        note=say("%(count)s feeders", count=len(power)),
    )  # fmt: skip


def heating(found: list[Document], who: Reader) -> Figure | None:
    heat, supply = numbers(found, "heatPower"), numbers(found, "supplyTemperature")
    if not heat or not supply:
        return None
    say = speech(who)
    return Figure(
        label=say("District heating"), value=show.number(sum(heat), who.language, 1), unit="MW",
        note=say("Supply %(degrees)s °C", degrees=show.number(mean(supply), who.language, 0)),
    )  # fmt: skip


def charging(found: list[Document], who: Reader) -> Figure | None:
    stations = [one for one in found if numbers([one], "availableCapacity") and numbers([one], "capacity")]
    if not stations:
        return None
    say = speech(who)
    free, places = sum(numbers(stations, "availableCapacity")), sum(numbers(stations, "capacity"))
    return Figure(
        label=say("Free charging places"), value=show.number(int(free), who.language),
        unit=say("of %(all)s", all=show.number(int(places), who.language)),
        note=say("%(count)s stations", count=len(stations)),
    )  # fmt: skip


def buses(found: list[Document], who: Reader) -> Figure | None:
    say = speech(who)
    serving = sum(one.get("serviceStatus", "onRoute") == "onRoute" for one in found)
    speeds = [speed for speed in numbers(found, "speed") if speed > 1]
    return Figure(
        label=say("Buses under way"), value=show.number(serving, who.language),
        unit=say("of %(all)s", all=show.number(len(found), who.language)),
        note=say("%(count)s moving now", count=len(speeds)),
    )  # fmt: skip


def lights(found: list[Document], who: Reader) -> Figure | None:
    say = speech(who)
    states = [one.get("powerState") for one in found]
    broken = sum(one.get("status", "ok") != "ok" for one in found)
    return Figure(
        label=say("Street lights on"),
        value=show.number(states.count("on") + states.count("low"), who.language),
        unit=say("of %(all)s", all=show.number(len(found), who.language)),
        note=say("%(count)s dimmed · %(broken)s defective", count=states.count("low"), broken=broken),
    )  # fmt: skip


FIGURES: dict[str, tuple[str, Callable[[list[Document], Reader], Figure | None]]] = {
    "WeatherObserved": ("temperature,windSpeed", outdoors),
    "TrafficFlowObserved": ("averageVehicleSpeed", roads),
    "AirQualityObserved": ("airQualityIndex", air),
    "ThreePhaseAcMeasurement": ("totalActivePower", electricity),
    "DistrictHeating": ("heatPower,supplyTemperature", heating),
    "EVChargingStation": ("availableCapacity,capacity", charging),
    "Vehicle": ("speed,serviceStatus", buses),
    "Streetlight": ("powerState,status", lights),
}
"""Entity type to the attributes that its figure is made from, and the function that makes it, in the order
of the strip."""


async def _values(city: City, type: str, look: str, frame: Frame) -> list[Document]:
    """The simplified entities of one type within the frame; a figure that cannot be had leaves a gap in the
    strip and does not take the page away."""
    try:
        return await city.entities(
            context=names.context(type), type=type, pick=f"{look},synthetic", options="keyValues", **frame
        )
    except CityError:
        return []


def numbers(found: Iterable[Document], attribute: str) -> list[float]:
    """The numeric values of one attribute of simplified entities."""
    values = (one.get(attribute) for one in found)
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def mean(values: list[float]) -> float:
    """The arithmetic mean of at least one value."""
    return sum(values) / len(values)
