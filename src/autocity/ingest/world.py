"""The ground that the simulated city stands on: roads, junctions, lines, a river, drawn by rule around
43.83 N 125.20 E. Nothing of it is surveyed; only the name of Dongfeng Street is real."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from msgspec import Struct

Position = tuple[float, float]
"""Kilometres along and across the city's axis."""

CENTRE = (125.20, 43.83)
AXIS = math.radians(35)
"""The axis runs from south-west to north-east."""

KM_PER_LATITUDE = 111.13
KM_PER_LONGITUDE = 111.32 * math.cos(math.radians(CENTRE[1]))

LONG_ROADS = (-6.5, -3.0, 0.0, 3.0, 6.0)
"""Roads along the axis, by their distance from it; the one at 0 is Dongfeng Street."""

CROSS_ROADS = (-13.0, -10.0, -7.0, -4.0, -1.5, 1.0, 3.5, 6.0, 8.5)
"""Roads across the axis, by their place on it."""

Name = dict[str, str]


class Road(Struct, frozen=True):
    """One road. `lanes` counts both directions, `speed_limit` is in km/h."""

    key: str
    name: Name
    lanes: int
    speed_limit: float
    main: bool


class Segment(Struct, frozen=True):
    """A road between two junctions; `length` in kilometres, `demand` relative to Dongfeng Street's core."""

    key: str
    name: Name
    road: Road
    line: tuple[Position, ...]
    length: float
    demand: float


class Junction(Struct, frozen=True):
    """A crossing of a long and a cross road."""

    key: str
    name: Name
    at: Position
    segments: tuple[str, ...]


class Line(Struct, frozen=True):
    """A bus line: its way there (it returns on the same), with the distance travelled at each point."""

    key: str
    name: Name
    way: tuple[Position, ...]
    distances: tuple[float, ...]
    buses: int

    @property
    def length(self) -> float:
        """Kilometres from one end to the other."""
        return self.distances[-1]


class Spot(Struct, frozen=True):
    """A named place."""

    key: str
    name: Name
    at: Position


def bent(u: float, v: float) -> Position:
    """A place of the plan, bent a little, for no city is a chessboard."""
    return (u + 0.35 * math.sin(v / 2.7), v + 0.4 * math.sin(u / 4.3))


def lon_lat(at: Position) -> list[float]:
    """WGS 84 longitude and latitude of a place, to about 10 cm."""
    u, v = at
    east = u * math.cos(AXIS) - v * math.sin(AXIS)
    north = u * math.sin(AXIS) + v * math.cos(AXIS)
    return [round(CENTRE[0] + east / KM_PER_LONGITUDE, 6), round(CENTRE[1] + north / KM_PER_LATITUDE, 6)]


def point(at: Position) -> dict[str, Any]:
    """GeoJSON Point."""
    return {"type": "Point", "coordinates": lon_lat(at)}


def line_string(way: Sequence[Position]) -> dict[str, Any]:
    """GeoJSON LineString."""
    return {"type": "LineString", "coordinates": [lon_lat(at) for at in way]}


def polygon(ring: Sequence[Position]) -> dict[str, Any]:
    """GeoJSON Polygon of a ring that need not be closed; counter-clockwise when the ring is."""
    return {"type": "Polygon", "coordinates": [[lon_lat(at) for at in (*ring, ring[0])]]}


def distance(a: Position, b: Position) -> float:
    """Kilometres between two places."""
    return math.hypot(b[0] - a[0], b[1] - a[1])


@cache
def roads() -> tuple[Road, ...]:
    """Long roads, then cross roads."""
    return tuple([_long_road(v) for v in LONG_ROADS] + [_cross_road(n) for n in range(len(CROSS_ROADS))])


def _long_road(v: float) -> Road:
    if v == 0:
        return Road(
            "dongfeng", {"en": "Dongfeng Street", "zh": "东风大街"}, lanes=8, speed_limit=60, main=True
        )
    side, sides, place = ("north", "北", v) if v > 0 else ("south", "南", -v)
    number = 1 if place == 3.0 else 2
    name = {"en": f"Parallel Road {side.title()} {number}", "zh": f"平行路{sides}{number}"}
    return Road(f"parallel-{side}-{number}", name, lanes=6, speed_limit=50, main=False)


def _cross_road(n: int) -> Road:
    return Road(f"cross-{n + 1}", {"en": f"Cross Road {n + 1}", "zh": f"横路{n + 1}"}, 4, 40, main=False)


@cache
def segments() -> tuple[Segment, ...]:
    """Every stretch of road between two neighbouring junctions, along the long roads first."""
    long_roads, cross_roads = roads()[: len(LONG_ROADS)], roads()[len(LONG_ROADS) :]
    along = [
        _segment(road, n, [(a + (b - a) * step / 4, v) for step in range(5)])
        for road, v in zip(long_roads, LONG_ROADS, strict=True)
        for n, (a, b) in enumerate(pairwise(CROSS_ROADS), 1)
    ]
    across = [
        _segment(road, n, [(u, a + (b - a) * step / 4) for step in range(5)])
        for road, u in zip(cross_roads, CROSS_ROADS, strict=True)
        for n, (a, b) in enumerate(pairwise(LONG_ROADS), 1)
    ]
    return (*along, *across)


def _segment(road: Road, n: int, plan: Sequence[Position]) -> Segment:
    line = tuple(bent(u, v) for u, v in plan)
    middle = plan[len(plan) // 2]
    # Demand falls with the distance from the core and from the axis.
    demand = (1.0 if road.main else 0.9) * (
        0.62 + 0.38 * math.exp(-((middle[0] - 2) ** 2 + middle[1] ** 2) / 60)
    )
    return Segment(
        key=f"{road.key}-{n}",
        name={"en": f"{road.name['en']}, section {n}", "zh": f"{road.name['zh']}第{n}段"},
        road=road,
        line=line,
        length=sum(distance(a, b) for a, b in pairwise(line)),
        demand=demand,
    )


@cache
def junctions() -> tuple[Junction, ...]:
    """Crossings, each with the keys of the segments that meet there."""
    ends: dict[Position, list[str]] = {}
    for segment in segments():
        for end in (segment.line[0], segment.line[-1]):
            ends.setdefault(end, []).append(segment.key)
    return tuple(
        Junction(
            key=f"{long_road.key}-{cross_road.key}",
            name={
                "en": f"{long_road.name['en']} / {cross_road.name['en']}",
                "zh": f"{long_road.name['zh']}与{cross_road.name['zh']}路口",
            },
            at=bent(u, v),
            segments=tuple(ends[bent(u, v)]),
        )
        for long_road, v in zip(roads(), LONG_ROADS, strict=False)
        for cross_road, u in zip(roads()[len(LONG_ROADS) :], CROSS_ROADS, strict=True)
    )


LINES = (
    ("1", ((-13, 0), (8.5, 0)), 8),
    ("2", ((-7, -6.5), (-7, 0), (6, 0), (6, 6)), 6),
    ("3", ((-10, 6), (1, 6), (1, -6.5)), 5),
    ("4", ((-4, -3), (8.5, -3), (8.5, 3), (-1.5, 3)), 5),
)
"""Bus lines: number, corners of the way, buses."""


@cache
def lines() -> tuple[Line, ...]:
    """The bus lines; each follows roads."""
    return tuple(_line(number, corners, buses) for number, corners, buses in LINES)


def _line(number: str, corners: Sequence[Position], buses: int) -> Line:
    way: list[Position] = []
    for (u0, v0), (u1, v1) in pairwise(corners):
        steps = max(2, round(distance((u0, v0), (u1, v1)) / 0.6))
        way += [bent(u0 + (u1 - u0) * s / steps, v0 + (v1 - v0) * s / steps) for s in range(steps)]
    way.append(bent(*corners[-1]))
    distances = [0.0]
    for a, b in pairwise(way):
        distances.append(distances[-1] + distance(a, b))
    name = {"en": f"Bus line {number}", "zh": f"公交{number}路"}
    return Line(f"line-{number}", name, tuple(way), tuple(distances), buses)


@cache
def river() -> tuple[tuple[Position, ...], ...]:
    """Eight reaches of a river that crosses the city from south-east to north-west, downstream in order."""
    course = [
        (5.2 - 0.55 * step / 6 + 0.7 * math.sin(step / 7.5), -9.3 + 18.2 * step / 64) for step in range(65)
    ]
    return tuple(tuple(course[start : start + 9]) for start in range(0, 64, 8))


def along(line: Line, travelled: float) -> tuple[Position, float]:
    """Place and heading (degrees from north, clockwise) after some kilometres on a line's way."""
    lower, upper = 0, len(line.distances) - 1
    while upper - lower > 1:
        middle = (lower + upper) // 2
        lower, upper = (middle, upper) if line.distances[middle] <= travelled else (lower, middle)
    a, b = line.way[lower], line.way[upper]
    share = (travelled - line.distances[lower]) / (line.distances[upper] - line.distances[lower])
    place = (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)
    return place, math.degrees(math.pi / 2 - math.atan2(b[1] - a[1], b[0] - a[0]) - AXIS) % 360
