"""The simulated living layer of the demo city: a pure function of seed and instant, synthetic throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

from msgspec import Struct

from autocity import models
from autocity.ingest import curves, world
from autocity.ingest.curves import bell, bustle, drift, hour, key, share

Entity = dict[str, Any]
"""Normalized NGSI-LD JSON with the `@context` of its subject."""

State = dict[str, Any]
"""Attribute names to key-values."""

SCOPE = "/Changchun"
PLATE = "urn:ngsi-ld:Plate:changchun-international-automobile-city"


class Thing(Struct, frozen=True):
    """One simulated entity: what never changes, and what does, sampled at ticks of its own.

    `tick(t)` is the last instant up to t at which the thing was measured; `state` takes a tick.
    """

    id: str
    type: str
    fixed: State
    tick: Callable[[float], float] | None = None
    state: Callable[[float], State] | None = None


class Simulation:
    """One synthetic city. Two simulations with one seed say the same about every instant."""

    def __init__(self, seed: int = 471) -> None:
        self.seed = seed
        self.source = f"Simulated by autocity, seed {seed}: not a measurement"
        self._things = list(_things(seed))
        self.moving = sum(thing.state is not None for thing in self._things)

    def entities(self, at: datetime) -> list[Entity]:
        """Every simulated entity as it is at an instant."""
        t = at.timestamp()
        return [self._entity(thing, t) for thing in self._things]

    def updates(self, previous_at: datetime, at: datetime) -> list[tuple[str, Entity]]:
        """What changed after `previous_at` up to `at`: entity id and fragment (what changed, `@context`).

        A thing that was measured several times in between tells its last state only.
        """
        then, now = previous_at.timestamp(), at.timestamp()
        found = ((thing.id, self._fragment(thing, then, now)) for thing in self._things if thing.tick)
        return [(id, fragment) for id, fragment in found if fragment]

    def history(self, start: datetime, end: datetime, step: timedelta) -> Iterator[Entity]:
        """One EntityTemporal (5.6.11) a moving entity: instances from `start` to before `end`, every `step`.

        What stays the same is told once, as a broker records it.
        """
        first, last, every = start.timestamp(), end.timestamp(), step.total_seconds()
        instants = [first + n * every for n in range(math.ceil((last - first) / every))]
        return (self._evolution(thing, instants) for thing in self._things if thing.state)

    def _entity(self, thing: Thing, t: float) -> Entity:
        body = models.normalized(
            {"id": thing.id, "type": thing.type, "scope": SCOPE, "synthetic": True, "source": self.source}
            | thing.fixed
        )
        if thing.tick and thing.state:
            tick = thing.tick(t)
            body |= _observed(thing.type, thing.state(tick), tick)
        return body

    def _fragment(self, thing: Thing, then: float, now: float) -> Entity | None:
        assert thing.tick and thing.state
        before, after = thing.tick(then), thing.tick(now)
        if before == after:
            return None
        old = thing.state(before)
        changed = {name: value for name, value in thing.state(after).items() if old[name] != value}
        if changed.keys() <= {"dateObserved"}:
            return None
        body = _observed(thing.type, changed, after)
        return {"id": thing.id, "type": thing.type, **body, "@context": models.get(thing.type).context}

    def _evolution(self, thing: Thing, instants: list[float]) -> Entity:
        assert thing.state
        told: State = {}
        evolution: dict[str, list[Any]] = {}
        for t in instants:
            state = thing.state(t)
            state.pop("dateObserved", None)
            fresh = {n: v for n, v in state.items() if n not in told or told[n] != v or isinstance(v, float)}
            told |= fresh
            for name, instance in _observed(thing.type, fresh, t).items():
                evolution.setdefault(name, []).append(instance)
        return {"id": thing.id, "type": thing.type, **evolution, "@context": models.get(thing.type).context}


def _observed(type: str, state: Mapping[str, Any], tick: float) -> dict[str, Any]:
    """Attributes in normalized form, each with the instant of its observation."""
    attributes = models.get(type).attributes
    at = _iso(tick)
    return {
        name: models.instance(attributes[name], value) | {"observedAt": at} for name, value in state.items()
    }


@lru_cache(maxsize=4096)
def _iso(t: float) -> str:
    """A whole second, cut off, as the standard writes it; a thousand things are seen at the same one."""
    return datetime.fromtimestamp(math.floor(t), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _every(seconds: int, of: int) -> Callable[[float], float]:
    """Ticks every so many whole seconds, at a phase of the thing's own so that not all tick at once."""
    phase = int(share(of) * seconds)
    return lambda t: math.floor((t - phase) / seconds) * seconds + phase


def _things(seed: int) -> Iterator[Thing]:
    yield from _roads(seed)
    yield from _signals(seed)
    yield from _buses(seed)
    yield from _streetlights(seed)
    yield from _chargers(seed)
    yield from _meters(seed)
    yield from _heating(seed)
    yield from _air(seed)
    yield from _weather(seed)
    yield from _river(seed)
    yield from _greens()


# Roads and traffic


def _roads(seed: int) -> Iterator[Thing]:
    for road in world.roads():
        sections = [f"urn:ngsi-ld:RoadSegment:sim:{s.key}" for s in world.segments() if s.road is road]
        fixed: State = {"name": road.name, "refRoadSegment": sections}
        yield Thing(f"urn:ngsi-ld:Road:sim:{road.key}", "Road", fixed)
    for segment in world.segments():
        of = key(seed, "traffic", segment.key)
        id = f"urn:ngsi-ld:RoadSegment:sim:{segment.key}"
        line = world.line_string(segment.line)
        yield Thing(
            id,
            "RoadSegment",
            {
                "name": segment.name,
                "location": line,
                "startPoint": world.point(segment.line[0]),
                "endPoint": world.point(segment.line[-1]),
                "refRoad": f"urn:ngsi-ld:Road:sim:{segment.road.key}",
                "roadName": segment.road.name,
                "roadClass": "MAJOR_CITY_ROAD" if segment.road.main else "MINOR_CITY_ROAD",
                "length": round(segment.length, 3),
                "totalLaneNumber": segment.road.lanes,
                "maximumAllowedSpeed": segment.road.speed_limit,
                "allowedVehicleType": ["bus", "car", "lorry", "motorcycle"],
            },
        )
        yield Thing(
            f"urn:ngsi-ld:TrafficFlowObserved:sim:{segment.key}",
            "TrafficFlowObserved",
            {"name": segment.name, "location": line, "refRoadSegment": id},
            _every(30, of),
            partial(_traffic, segment, of),
        )


def load(segment: world.Segment, of: int, t: float) -> float:
    """Demand on a segment as a share of what it can carry; above 1 it is jammed."""
    noise = 1 + 0.13 * drift(of, t, 900) + 0.09 * drift(of + 1, t, 5400)
    return 1.25 * segment.demand * bustle(t) * noise


def _traffic(segment: world.Segment, of: int, t: float) -> State:
    """Vehicles in the last five minutes, mean speed, share of time that the road is covered."""
    x = load(segment, of, t)
    speed = segment.road.speed_limit / (1 + 0.95 * x**4)
    hourly = 850 * segment.road.lanes * min(x, 1.0 + 0.1 * (x - 1))
    occupancy = min(0.95, hourly / max(speed, 3) / segment.road.lanes * 6.5 / 1000)
    return {
        "intensity": round(hourly / 12),
        "averageVehicleSpeed": round(speed, 1),
        "occupancy": round(occupancy, 3),
        "congested": speed < 0.5 * segment.road.speed_limit,
        "dateObserved": _iso(t),
    }


def _signals(seed: int) -> Iterator[Thing]:
    for junction in world.junctions():
        if not junction.key.startswith(("dongfeng", "parallel-north-1")):
            continue
        of = key(seed, "signal", junction.key)
        yield Thing(
            f"urn:ngsi-ld:TrafficSignal:sim:{junction.key}",
            "TrafficSignal",
            {
                "name": junction.name,
                "location": world.point(junction.at),
                "controls": [f"urn:ngsi-ld:RoadSegment:sim:{name}" for name in junction.segments],
                "cycleTime": CYCLE,
                "mainGreenTime": PHASES[1][0] - PHASES[0][0],
                "signalPlan": "fixed",
            },
            partial(_signal_tick, of),
            partial(_signal, of),
        )


CYCLE = 120
PHASES = (
    (0, "mainGreen"),
    (62, "mainYellow"),
    (65, "allRed"),
    (68, "crossGreen"),
    (112, "crossYellow"),
    (115, "allRed"),
)
"""Start of each phase in the cycle, in seconds."""


def _phase(of: int, t: float) -> tuple[float, str]:
    into = (t + int(share(of) * CYCLE)) % CYCLE
    start, state = next(phase for phase in reversed(PHASES) if phase[0] <= into)
    return into - start, state


def _signal_tick(of: int, t: float) -> float:
    return math.floor(t) - _phase(of, math.floor(t))[0]


def _signal(of: int, t: float) -> State:
    return {"signalState": _phase(of, t)[1]}


# Buses


def _buses(seed: int) -> Iterator[Thing]:
    for line in world.lines():
        way = world.line_string(line.way)
        route = f"urn:ngsi-ld:PublicTransportRoute:sim:{line.key}"
        fixed: State = {"name": line.name, "location": way, "transportationType": 3, "routeCode": line.key}
        yield Thing(route, "PublicTransportRoute", fixed)
        for n in range(line.buses):
            of = key(seed, "bus", line.key, n)
            name = {"en": f"{line.name['en']}, bus {n + 1}", "zh": f"{line.name['zh']}{n + 1}号车"}
            yield Thing(
                f"urn:ngsi-ld:Vehicle:sim:{line.key}-{n + 1}",
                "Vehicle",
                {
                    "name": name,
                    "vehicleType": "bus",
                    "category": ["tracked", "nonPrivate"],
                    "serviceProvided": ["urbanTransit"],
                    "description": line.name,
                },
                _every(3, of),
                partial(_bus, line, n, of),
            )


CRUISE = 24.0
"""Mean speed of a bus in km/h, stops included."""

STOP_SPACING = 0.7
"""Kilometres from stop to stop, about: a line has a whole number of stops."""

STANDING = 0.22
"""Share of its time that a bus stands at a stop."""


def _travelled(line: world.Line, n: int, t: float) -> tuple[float, bool]:
    """Kilometres from the first end of the line, and whether the bus is in service.

    A bus goes there and back without end. A round that would begin at night is spent standing at the
    end of the line, except by the first bus, which serves the night.
    """
    round_trip = 2 * line.length / CRUISE * 3600
    turns, into = divmod(t / round_trip + n / line.buses, 1.0)
    begins = hour((turns - n / line.buses) * round_trip)
    if n > 0 and not 4.8 <= begins < 22.7:
        return 0.0, False
    way = into * 2 * line.length
    spacing = line.length / round(line.length / STOP_SPACING)
    stop, rest = divmod(way / spacing, 1.0)
    moving = max(0.0, (rest - STANDING) / (1 - STANDING))
    way = (stop + moving * moving * (3 - 2 * moving)) * spacing
    return (way if way <= line.length else 2 * line.length - way), True


def _bus(line: world.Line, n: int, of: int, t: float) -> State:
    here, serving = _travelled(line, n, t)
    ahead, _ = _travelled(line, n, t + 1)
    at, heading = world.along(line, here)
    back = ahead < here
    return {
        "location": world.point(at),
        "speed": round(min(abs(ahead - here) * 3600, 60.0), 1),
        "heading": round((heading + 180 * back) % 360),
        "serviceStatus": "onRoute" if serving else "parked",
    }


# Light


def _streetlights(seed: int) -> Iterator[Thing]:
    lit = [s for s in world.segments() if s.road.main or s.demand > 0.55]
    for segment in lit:
        for place in (1, 3):
            of = key(seed, "light", segment.key, place)
            name = {
                "en": f"{segment.name['en']}, lights {(place + 1) // 2}",
                "zh": f"{segment.name['zh']}{(place + 1) // 2}号灯组",
            }
            yield Thing(
                f"urn:ngsi-ld:Streetlight:sim:{segment.key}-{place}",
                "Streetlight",
                {
                    "name": name,
                    "location": world.point(segment.line[place]),
                    "locationCategory": "road",
                    "controllingMethod": "group",
                    "powerRating": 180 if segment.road.main else 120,
                },
                _every(60, of),
                partial(_streetlight, of),
            )


def _streetlight(of: int, t: float) -> State:
    """On when the sun is a degree below the horizon, give or take the sensor; dimmed in the small hours."""
    dark = curves.elevation(t) < -1 + 0.6 * (share(of, 1) - 0.5)
    late = not 5 <= (hour(t) + 0.3 * share(of, 2)) % 24 < 23
    defective = share(of + 7, int(t // (3 * curves.DAY))) < 0.01
    level = 0.0 if not dark or defective else 0.6 if late else 1.0
    return {
        "powerState": "off" if level == 0 else "low" if level < 1 else "on",
        "illuminanceLevel": level,
        "status": "defectiveLamp" if defective else "ok",
    }


# Energy


def _chargers(seed: int) -> Iterator[Thing]:
    for number, junction in enumerate(world.junctions()[::2], 1):
        of = key(seed, "charger", number)
        capacity = 6 + 2 * int(share(of) * 8)
        yield Thing(
            f"urn:ngsi-ld:EVChargingStation:sim:{number}",
            "EVChargingStation",
            {
                "name": {"en": f"Charging station {number}", "zh": f"{number}号充电站"},
                "location": world.point((junction.at[0] + 0.18, junction.at[1] + 0.15)),
                "capacity": capacity,
                "socketNumber": capacity,
                "socketType": ["Other"],
                "description": {
                    "en": "Direct current, GB/T 20234.3 plugs",
                    "zh": "直流快充,GB/T 20234.3 接口",
                },
                "allowedVehicleType": ["car"],
            },
            _every(45, of),
            partial(_charger, capacity, of),
        )


def _charger(capacity: int, of: int, t: float) -> State:
    h = hour(t)
    wish = 0.18 + 0.45 * bell(h, 12.6, 2.0) + 0.55 * bell(h, 20.5, 2.6) + 0.35 * bell(h, 1.0, 2.0)
    busy = min(capacity, max(0, round(capacity * (wish + 0.3 * drift(of, t, 2700)))))
    closed = share(of + 7, int(t // curves.DAY)) < 0.02
    free = 0 if closed else capacity - busy
    status = "outOfService" if closed else "full" if free == 0 else "almostFull" if free == 1 else "working"
    power = 0.0 if closed else busy * (34 + 9 * drift(of + 1, t, 900))
    return {"availableCapacity": free, "status": status, "powerConsumption": round(power, 1)}


class Wave(Struct, frozen=True):
    """One term of a load curve: a share of the mean, a period in seconds, the time of its crest."""

    share: float
    period: float
    crest: float


_LOCAL = -curves.CITY_CLOCK
MIDWEEK = 6.5 * curves.DAY + _LOCAL
"""Noon of a Wednesday: 1 January 1970 was a Thursday."""
PROFILES: dict[str, tuple[Wave, ...]] = {
    "plant": (
        Wave(0.24, curves.DAY, 14 * 3600 + _LOCAL),
        Wave(0.10, curves.DAY / 2, 9 * 3600 + _LOCAL),
        Wave(0.16, 7 * curves.DAY, MIDWEEK),
    ),
    "housing": (
        Wave(0.22, curves.DAY, 19 * 3600 + _LOCAL),
        Wave(0.18, curves.DAY / 2, 8 * 3600 + _LOCAL),
        Wave(0.05, 7 * curves.DAY, MIDWEEK + 3.5 * curves.DAY),
    ),
    "offices": (
        Wave(0.45, curves.DAY, 13 * 3600 + _LOCAL),
        Wave(0.12, curves.DAY / 2, 10 * 3600 + _LOCAL),
        Wave(0.15, 7 * curves.DAY, MIDWEEK),
    ),
}
"""Loads as sums of cosines, for these have an exact integral: the meter counts what the power was."""

METERS = (
    ("plant", "Plant feeder", "厂区馈线", 6400.0, 6),
    ("housing", "Housing feeder", "居民馈线", 1500.0, 6),
    ("offices", "Office feeder", "办公馈线", 900.0, 4),
)
"""Profile, name in English and Chinese, mean load in kilowatts, number of feeders."""

METERING_SINCE = 1_767_196_800.0
"""1 January 2026 on the city's clock: when the meters stood at zero."""


def _meters(seed: int) -> Iterator[Thing]:
    spots = iter(world.junctions()[1::2])
    for profile, en, zh, mean, count in METERS:
        for n in range(1, count + 1):
            of = key(seed, "meter", profile, n)
            flicker = (Wave(0.03, 613, share(of, 2) * 613), Wave(0.04, 3187, share(of, 3) * 3187))
            shift = (share(of, 1) - 0.5) * 3600
            waves = tuple(Wave(w.share, w.period, w.crest + shift) for w in PROFILES[profile]) + flicker
            u, v = next(spots).at
            yield Thing(
                f"urn:ngsi-ld:ThreePhaseAcMeasurement:sim:{profile}-{n}",
                "ThreePhaseAcMeasurement",
                {
                    "name": {"en": f"{en} {n}", "zh": f"{zh}{n}"},
                    "location": world.point((u - 0.3, v + 0.25)),
                    "dateEnergyMeteringStarted": _iso(METERING_SINCE),
                },
                _every(30, of),
                partial(_meter, mean * (0.7 + 0.6 * share(of, 4)), waves, of),
            )


def power(mean: float, waves: tuple[Wave, ...], t: float) -> float:
    """Load in kilowatts."""
    return mean * (1 + sum(w.share * math.cos(2 * math.pi * (t - w.crest) / w.period) for w in waves))


def energy(mean: float, waves: tuple[Wave, ...], start: float, t: float) -> float:
    """Kilowatt hours from `start` to t: the exact integral of `power`."""
    rise = t - start
    for w in waves:
        turn = 2 * math.pi / w.period
        rise += w.share / turn * (math.sin(turn * (t - w.crest)) - math.sin(turn * (start - w.crest)))
    return mean * rise / 3600


def _meter(mean: float, waves: tuple[Wave, ...], of: int, t: float) -> State:
    return {
        "totalActivePower": round(power(mean, waves, t), 1),
        "totalActiveEnergyImport": round(energy(mean, waves, METERING_SINCE, t), 1),
        "totalPowerFactor": round(0.94 + 0.03 * drift(of, t, 1800), 3),
        "frequency": round(50 + 0.03 * drift(key("grid"), t, 120), 3),
    }


def _heating(seed: int) -> Iterator[Thing]:
    for number, junction in enumerate(world.junctions()[3::4][:12], 1):
        of = key(seed, "heating", number)
        area = round(80_000 + 160_000 * share(of), -3)
        u, v = junction.at
        yield Thing(
            f"urn:ngsi-ld:DistrictHeating:sim:{number}",
            "DistrictHeating",
            {
                "name": {"en": f"Heat exchange station {number}", "zh": f"{number}号换热站"},
                "location": world.point((u + 0.35, v - 0.3)),
                "heatingKind": "station",
                "heatedArea": area,
            },
            _every(60, of),
            partial(_heat, seed, area, of),
        )


def _heat(seed: int, area: float, of: int, t: float) -> State:
    """A weather-led heating curve: the colder outside, the warmer the water."""
    if not curves.heating(t):
        cold = 18 + 2 * drift(of, t, curves.DAY)
        off = {"supplyTemperature": cold, "returnTemperature": cold, "heatFlow": 0.0, "heatPower": 0.0}
        return {"heatingOn": False, **{n: round(v, 1) for n, v in off.items()}, "supplyPressure": 0.2}
    need = max(0.05, (20 - curves.temperature(seed, t - 3600)) / 43 * (1 + 0.04 * drift(of, t, 3600)))
    supply = 32 + 30 * need**0.9 + 0.5 * drift(of + 1, t, 700)
    flow = area / 1000 * (2.4 + 0.15 * drift(of + 2, t, 5400))
    heat = area * 45 * need / 1e6
    return {
        "heatingOn": True,
        "supplyTemperature": round(supply, 1),
        "returnTemperature": round(supply - heat * 1e6 / (flow * 1163), 1),
        "heatFlow": round(flow, 1),
        "heatPower": round(heat, 3),
        "supplyPressure": round(0.42 + 0.015 * drift(of + 3, t, 1800), 3),
    }


# Air, weather, water, green

STATIONS = (
    ("West", "西", (-11.0, 2.5)),
    ("South-west", "西南", (-9.0, -5.5)),
    ("Centre", "中心", (0.5, 0.8)),
    ("North", "北", (2.0, 7.2)),
    ("East", "东", (7.6, -1.2)),
    ("South", "南", (0.0, -7.6)),
    ("South-east", "东南", (9.2, -6.4)),
    ("North-west", "西北", (-6.0, 6.2)),
)


def _air(seed: int) -> Iterator[Thing]:
    for number, (en, zh, at) in enumerate(STATIONS, 1):
        of = key(seed, "air", number)
        yield Thing(
            f"urn:ngsi-ld:AirQualityObserved:sim:{number}",
            "AirQualityObserved",
            {"name": {"en": f"Air station {en}", "zh": f"{zh}部空气站"}, "location": world.point(at)},
            _every(120, of),
            partial(_air_state, seed, 0.6 + 0.7 * math.exp(-(at[0] ** 2 + at[1] ** 2) / 90), of),
        )


def _air_state(seed: int, traffic: float, of: int, t: float) -> State:
    """Concentrations that traffic and heating raise and wind carries away; ozone needs sun."""
    speed, _ = curves.wind(seed, t)
    still = 1 / (0.45 + speed / 6)
    stove = 1.0 if curves.heating(t) else 0.25
    streets = traffic * (0.35 + 0.65 * bustle(t - 1200))
    weather = 1 + 0.35 * drift(key(seed, "haze"), t, 1.6 * curves.DAY)
    own = 1 + 0.12 * drift(of, t, 4000)
    pm25 = still * weather * own * (12 + 19 * stove + 13 * streets)
    no2 = still * own * (9 + 9 * stove + 24 * streets)
    sun = max(0.0, math.sin(math.radians(curves.elevation(t - 5400))))
    ozone = max(4.0, (28 + 105 * sun * (1 - 0.5 * curves.cloud(seed, t)) - 0.35 * no2) * own)
    return {
        "airQualityIndex": air_quality_index(pm25, no2, ozone),
        "pm25": round(pm25, 1),
        "pm10": round(pm25 * 1.45 + 8 * weather, 1),
        "no2": round(no2, 1),
        "so2": round(still * own * (4 + 11 * stove), 1),
        "o3": round(ozone, 1),
        "co": round(0.25 + 0.013 * pm25, 2),
        "dateObserved": _iso(t),
    }


INDEX_STEPS = (0, 50, 100, 150, 200, 300, 400, 500)
INDEX_LIMITS = {
    "pm25": (0, 35, 75, 115, 150, 250, 350, 500),
    "no2": (0, 100, 200, 700, 1200, 2340, 3090, 3840),
    "o3": (0, 160, 200, 300, 400, 800, 1000, 1200),
}
"""Concentrations in µg/m³ at which a sub-index reaches a step, HJ 633-2012: PM2.5 by day, gases by hour."""


def air_quality_index(pm25: float, no2: float, o3: float) -> int:
    """The greatest sub-index of HJ 633-2012, rounded up."""
    return max(
        _sub_index(INDEX_LIMITS[name], value) for name, value in (("pm25", pm25), ("no2", no2), ("o3", o3))
    )


def _sub_index(limits: tuple[int, ...], value: float) -> int:
    steps = zip(pairwise(limits), pairwise(INDEX_STEPS), strict=True)
    for (low, high), (least, most) in steps:
        if value <= high:
            return math.ceil((most - least) / (high - low) * (value - low) + least)
    return INDEX_STEPS[-1]


def _weather(seed: int) -> Iterator[Thing]:
    for number, (en, zh, at) in enumerate((STATIONS[2], STATIONS[1]), 1):
        of = key(seed, "weather", number)
        yield Thing(
            f"urn:ngsi-ld:WeatherObserved:sim:{number}",
            "WeatherObserved",
            {"name": {"en": f"Weather station {en}", "zh": f"{zh}部气象站"}, "location": world.point(at)},
            _every(120, of),
            partial(_weather_state, seed, of),
        )


def _weather_state(seed: int, of: int, t: float) -> State:
    warmth = curves.temperature(seed, t) + 0.4 * drift(of, t, 5400)
    speed, direction = curves.wind(seed, t)
    clouds = curves.cloud(seed, t)
    humid = min(0.99, 0.48 + 0.24 * clouds + 0.1 * math.cos(2 * math.pi * (hour(t) - 5) / 24))
    light = max(0.0, math.sin(math.radians(curves.elevation(t))))
    return {
        "temperature": round(warmth, 1),
        "feelsLikeTemperature": round(_wind_chill(warmth, speed), 1),
        "relativeHumidity": round(humid, 2),
        "windSpeed": round(speed, 1),
        "windDirection": round(direction),
        "atmosphericPressure": round(992 + 9 * drift(key(seed, "pressure"), t, 2.2 * curves.DAY), 1),
        "solarRadiation": round(950 * light**1.2 * (1 - 0.72 * clouds)),
        "dateObserved": _iso(t),
    }


def _wind_chill(celsius: float, metres_per_second: float) -> float:
    """The wind chill index of Canada and the USA (2001), for 10 degrees and less and wind from 4.8 km/h."""
    kmh = metres_per_second * 3.6
    if celsius > 10 or kmh < 4.8:
        return celsius
    felt: float = kmh**0.16
    return 13.12 + 0.6215 * celsius - 11.37 * felt + 0.3965 * celsius * felt


def _river(seed: int) -> Iterator[Thing]:
    reaches = world.river()
    for number, reach in enumerate(reaches, 1):
        name = {"en": f"River, reach {number}", "zh": f"河道第{number}段"}
        fixed: State = {
            "name": name,
            "location": world.line_string(reach),
            "reachLength": round(sum(world.distance(a, b) for a, b in pairwise(reach)), 3),
        }
        if number < len(reaches):
            fixed["flowsInto"] = f"urn:ngsi-ld:RiverReach:sim:{number + 1}"
        yield Thing(f"urn:ngsi-ld:RiverReach:sim:{number}", "RiverReach", fixed)
        yield Thing(
            f"urn:ngsi-ld:WaterObserved:sim:{number}",
            "WaterObserved",
            {
                "name": {"en": f"Gauge {number}", "zh": f"{number}号水文站"},
                "location": world.point(reach[len(reach) // 2]),
            },
            _every(300, key(seed, "river", number)),
            partial(_water, seed, number),
        )


def _water(seed: int, reach: int, t: float) -> State:
    """Flow grows downstream and swings with the season: ice in winter, high water in August."""
    season = 0.35 + 0.65 * math.exp(-(((curves.day_of_year(t) - 222) / 48) ** 2))
    wave = 1 + 0.18 * drift(key(seed, "river"), t - reach * 1800, 0.7 * curves.DAY)
    flow = (2.6 + 0.35 * reach) * season * wave
    return {
        "flow": round(flow, 2),
        "waterLevel": round(0.35 + 0.42 * flow**0.6 + 0.005 * drift(key(seed, "level", reach), t, 1500), 3),
        "dateObserved": _iso(t),
    }


def _greens() -> Iterator[Thing]:
    for number, (u, v, size, kind) in enumerate(GREENS, 1):
        ring = [
            (u + size * math.cos(a) * (1 + 0.12 * math.sin(3 * a + number)), v + 0.7 * size * math.sin(a))
            for a in (2 * math.pi * step / 16 for step in range(16))
        ]
        doubled = sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
        names = {
            "park": ("Park", "公园"),
            "square": ("Square", "广场"),
            "riverside": ("Riverside green", "滨河绿地"),
        }
        en, zh = names[kind]
        yield Thing(
            f"urn:ngsi-ld:GreenSpace:sim:{number}",
            "GreenSpace",
            {
                "name": {"en": f"{en} {number}", "zh": f"{zh}{number}"},
                "location": world.polygon(ring),
                "greenKind": kind,
                "greenArea": round(doubled / 2 * 1e6),
                "inArea": PLATE,
            },
        )


GREENS = (
    (-11.5, 1.4, 0.8, "park"),
    (-8.4, -4.6, 0.7, "park"),
    (-2.7, 1.6, 0.6, "park"),
    (2.2, 4.6, 0.75, "park"),
    (-0.3, -1.4, 0.28, "square"),
    (7.2, 1.5, 0.6, "park"),
    (4.9, -6.4, 0.7, "riverside"),
    (0.2, 7.6, 0.6, "riverside"),
)
"""Place along and across the axis, half the length in kilometres, kind."""
