"""The overview: the city on a map, its figures, what changed, and how the platform feels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from autocity.api.asgi import Answer, Call
from autocity.console import names, page, show
from autocity.console.client import City, Document, results_count
from autocity.console.page import Reader, speech
from autocity.errors import CityError
from autocity.models import CITY_CONTEXT

Tone = Literal["good", "fair", "poor", "calm", "off", "lamp", "water", "bus", "plug"]


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
    live: bool = True
    shown: bool = True


def _(text: str) -> str:
    """Mark a text for the catalogue; it is translated when the page is made."""
    return text


LAYERS: tuple[Layer, ...] = (
    Layer(
        key="zones", type="Zone", label=_("Zones and towns"), shape="area", tone="calm", live=False,
        look=("area", "industrialOutput", "statisticalCode"),
    ),
    Layer(
        key="river", type="RiverReach", label=_("River reaches"), shape="line", tone="water", live=False,
        look=("length", "width"),
    ),
    Layer(
        key="traffic", type="TrafficFlowObserved", label=_("Traffic flow"), shape="line", tone="good", size=3,
        measure="averageVehicleSpeed",
        steps=(
            Step(20, "poor", _("under 20 km/h")), Step(35, "fair", _("20–35 km/h")), Step(None, "good", _("35 km/h and more")),
        ),
        look=("averageVehicleSpeed", "intensity", "occupancy", "congested"),
    ),
    Layer(
        key="air", type="AirQualityObserved", label=_("Air quality"), shape="point", tone="good", size=8,
        measure="airQualityIndex",
        steps=(Step(51, "good", _("good")), Step(101, "fair", _("moderate")), Step(None, "poor", _("unhealthy"))),
        look=("airQualityIndex", "pm25", "pm10", "no2", "o3", "temperature"),
    ),
    Layer(
        key="water", type="WaterObserved", label=_("River gauges"), shape="point", tone="water", size=6,
        look=("height", "flow", "temperature"),
    ),
    Layer(
        key="chargers", type="EVChargingStation", label=_("EV charging"), shape="point", tone="plug", size=6,
        measure="availableCapacity",
        steps=(Step(1, "off", _("full")), Step(None, "plug", _("free places"))),
        look=("availableCapacity", "capacity", "chargingPower", "status"),
    ),
    Layer(
        key="buses", type="Vehicle", label=_("Buses"), shape="point", tone="bus", size=6,
        look=("speed", "bearing", "vehicleType"),
    ),
    Layer(
        key="lights", type="Streetlight", label=_("Street lights"), shape="point", tone="lamp", size=3,
        measure="powerState", states={"on": "lamp", "low": "lamp", "off": "off"},
        look=("powerState", "illuminanceLevel", "status"),
    ),
)  # fmt: skip
"""The layers of the map, from the ground up."""


class Figure(Struct, frozen=True, kw_only=True):
    """One key figure: a value with unit and a note in a tone that words repeat."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    tone: str = ""
    type: str = ""


async def overview(city: City, who: Reader, call: Call) -> Answer:
    """The page; the map fills itself from the API."""
    found, state, data = await asyncio.gather(figures(city, who), health(city), desk(who, city))
    return page.render(who, "overview.html", figures=found, health=state, desk=data, layers=LAYERS)


async def figures_part(city: City, who: Reader, call: Call) -> Answer:
    """The strip of key figures and the health panel's values, as they are now."""
    found, state = await asyncio.gather(figures(city, who), health(city))
    return page.render(who, "figures.html", figures=found, health=state)


async def desk(who: Reader, city: City) -> dict[str, Any]:
    """What the map island needs to know: layers, words and units."""
    say = speech(who)
    return {
        "context": CITY_CONTEXT,
        "layers": [
            {
                **msgspec.to_builtins(layer),
                "label": say(layer.label),
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
                "working": say("working"), "outOfService": say("out of service"), "bus": say("bus"),
            },
        },
    }  # fmt: skip


async def figures(city: City, who: Reader) -> list[Figure]:
    """The key figures that the city's entities allow; one without data is left out."""
    answers = await asyncio.gather(*(_values(city, type) for type in FIGURES))
    found = []
    for (type, make), values in zip(FIGURES.items(), answers, strict=True):
        figure = make(values, who) if values else None
        if figure is not None:
            found.append(msgspec.structs.replace(figure, type=type))
    return found


async def health(city: City) -> dict[str, Any]:
    """Whether the platform is ready, why not, and how much it holds."""
    try:
        ready: Any = msgspec.json.decode((await city.get("/readyz")).body)
    except CityError as fault:
        ready = {"status": "unready", "reasons": [fault.detail]}
    try:
        held = results_count(await city.get("/ngsi-ld/v1/entities?local=true&limit=0&count=true"))
    except CityError:
        held = 0
    return {"ready": ready, "entities": held}


def outdoors(found: list[Document], who: Reader) -> Figure | None:
    values = numbers(found, "temperature")
    wind = numbers(found, "windSpeed")
    if not values:
        return None
    say = speech(who)
    note = say("Wind %(speed)s m/s", speed=show.number(mean(wind), who.language, 1)) if wind else ""
    return Figure(label=say("Outdoors"), value=show.number(mean(values), who.language, 1), unit="°C", note=note)


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
        label=say("Mean speed on the roads"), value=show.number(mean(speeds), who.language, 0), unit="km/h",
        note=say("%(words)s · %(slow)s of %(all)s under 20 km/h", words=words, slow=slow, all=len(speeds)), tone=tone,
    )  # fmt: skip


def air(found: list[Document], who: Reader) -> Figure | None:
    index = numbers(found, "airQualityIndex")
    fine = numbers(found, "pm25")
    if not index and not fine:
        return None
    say = speech(who)
    if index:
        worst = max(index)
        tone = "good" if worst < 51 else "fair" if worst < 101 else "poor"
        words = {"good": say("good"), "fair": say("moderate"), "poor": say("unhealthy")}[tone]
        note = say("%(words)s · highest %(worst)s", words=words, worst=show.number(worst, who.language, 0))
        return Figure(label=say("Air quality index"), value=show.number(mean(index), who.language, 0), note=note, tone=tone)
    return Figure(label=say("Fine dust PM2.5"), value=show.number(mean(fine), who.language, 0), unit="µg/m³")


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
    moving = sum(speed > 1 for speed in numbers(found, "speed"))
    return Figure(
        label=say("Buses under way"), value=show.number(moving, who.language),
        unit=say("of %(all)s", all=show.number(len(found), who.language)),
    )  # fmt: skip


def lights(found: list[Document], who: Reader) -> Figure | None:
    say = speech(who)
    lit = sum(one.get("powerState") in ("on", "low") for one in found)
    return Figure(
        label=say("Street lights on"), value=show.number(lit, who.language),
        unit=say("of %(all)s", all=show.number(len(found), who.language)),
    )  # fmt: skip


def river(found: list[Document], who: Reader) -> Figure | None:
    heights = numbers(found, "height")
    if not heights:
        return None
    say = speech(who)
    return Figure(
        label=say("River level, highest gauge"), value=show.number(max(heights), who.language, 2), unit="m",
        note=say("%(count)s gauges", count=len(heights)),
    )  # fmt: skip


FIGURES: dict[str, Callable[[list[Document], Reader], Figure | None]] = {
    "WeatherObserved": outdoors,
    "TrafficFlowObserved": roads,
    "AirQualityObserved": air,
    "EVChargingStation": charging,
    "Vehicle": buses,
    "Streetlight": lights,
    "WaterObserved": river,
}
"""Entity type to the figure that is made from its simplified entities, in the order of the strip."""


async def _values(city: City, type: str) -> list[Document]:
    try:
        return await city.entities(context=CITY_CONTEXT, type=type, options="keyValues")
    except CityError:
        # A figure that cannot be had leaves a gap in the strip; it does not take the page away.
        return []


def numbers(found: Iterable[Document], attribute: str) -> list[float]:
    """The numeric values of one attribute of simplified entities."""
    values = (one.get(attribute) for one in found)
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def mean(values: list[float]) -> float:
    """The arithmetic mean of at least one value."""
    return sum(values) / len(values)
