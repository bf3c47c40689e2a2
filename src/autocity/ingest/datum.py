"""From the datums of Chinese maps to WGS 84, at the edge only: GCJ-02 (Amap, Tencent), BD-09 (Baidu)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Datum = Literal["wgs84", "gcj02", "bd09"]
LonLat = tuple[float, float]

SEMI_MAJOR = 6_378_245.0
ECCENTRICITY_SQUARED = 0.00669342162296594323
"""The ellipsoid of Krasovsky 1940, which GCJ-02 is defined upon."""

BD_PI = math.pi * 3000 / 180


def to_wgs84(datum: Datum, lon: float, lat: float) -> LonLat:
    """WGS 84 longitude and latitude of a position given in `datum`, to better than a centimetre.

    GCJ-02 applies within China only; outside its box a position is taken as it is.
    """
    match datum:
        case "bd09":
            return _unshift(*_from_bd09(lon, lat))
        case "gcj02":
            return _unshift(lon, lat)
        case _:
            return lon, lat


def to_gcj02(lon: float, lat: float) -> LonLat:
    """GCJ-02 longitude and latitude of a WGS 84 position."""
    if not in_china(lon, lat):
        return lon, lat
    east, north = _offset_metres(lon - 105.0, lat - 35.0)
    phi = math.radians(lat)
    w = 1 - ECCENTRICITY_SQUARED * math.sin(phi) ** 2
    meridian = SEMI_MAJOR * (1 - ECCENTRICITY_SQUARED) / (w * math.sqrt(w))
    parallel = SEMI_MAJOR / math.sqrt(w) * math.cos(phi)
    return lon + math.degrees(east / parallel), lat + math.degrees(north / meridian)


def to_bd09(lon: float, lat: float) -> LonLat:
    """BD-09 longitude and latitude of a GCJ-02 position."""
    radius = math.hypot(lon, lat) + 0.00002 * math.sin(lat * BD_PI)
    angle = math.atan2(lat, lon) + 0.000003 * math.cos(lon * BD_PI)
    return radius * math.cos(angle) + 0.0065, radius * math.sin(angle) + 0.006


def in_china(lon: float, lat: float) -> bool:
    """Whether a position lies in the box in which GCJ-02 shifts."""
    return 72.004 <= lon <= 137.8347 and 0.8293 <= lat <= 55.8271


def _from_bd09(lon: float, lat: float) -> LonLat:
    return _invert(to_bd09, lon, lat)


def _unshift(lon: float, lat: float) -> LonLat:
    return _invert(to_gcj02, lon, lat) if in_china(lon, lat) else (lon, lat)


def _invert(forward: Callable[[float, float], LonLat], lon: float, lat: float) -> LonLat:
    """The position that `forward` takes to the given one: the shift changes so slowly that fixed-point
    steps gain three digits each."""
    x, y = lon, lat
    for _ in range(8):
        shifted = forward(x, y)
        x, y = x + lon - shifted[0], y + lat - shifted[1]
    return x, y


def _offset_metres(x: float, y: float) -> LonLat:
    """The published offset polynomial of GCJ-02, east and north, for degrees from 105 E, 35 N."""
    root = math.sqrt(abs(x))
    ripple = 20 * math.sin(6 * math.pi * x) + 20 * math.sin(2 * math.pi * x)
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    east += 2 / 3 * (ripple + _waves(x, (20, 1), (40, 1 / 3)) + _waves(x, (150, 1 / 12), (300, 1 / 30)))
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    north += 2 / 3 * (ripple + _waves(y, (20, 1), (40, 1 / 3)) + _waves(y, (160, 1 / 12), (320, 1 / 30)))
    return east, north


def _waves(z: float, *terms: tuple[float, float]) -> float:
    return sum(height * math.sin(turns * math.pi * z) for height, turns in terms)
