"""The curves that a simulated city follows: noise, the sun, the working day, Changchun's weather.

Pure functions of seconds since 1970 (UTC). Plausible, not measured: climate and habits in round figures.
"""

from __future__ import annotations

import math
from hashlib import blake2b

DAY = 86_400
CITY_CLOCK = 8 * 3600
"""Changchun's clock is eight hours ahead of UTC, all year."""

LATITUDE, LONGITUDE = 43.83, 125.20
MASK = (1 << 64) - 1


# Noise


def key(*parts: object) -> int:
    """A number that stands for its parts, the same on every machine."""
    return int.from_bytes(blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest())


def share(of: int, n: int = 0) -> float:
    """A number from 0 to below 1, evenly spread over keys and n (the finaliser of SplitMix64)."""
    x = (of + (n + 1) * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return (x ^ (x >> 31)) / 2**64


def drift(of: int, t: float, period: float) -> float:
    """Smooth noise from -1 to 1: a new random height every `period` seconds, eased in between."""
    n, rest = divmod(t / period, 1.0)
    ease = rest * rest * (3 - 2 * rest)
    a, b = share(of, int(n)), share(of, int(n) + 1)
    return 2 * (a + (b - a) * ease) - 1


# The clock and the sun


def hour(t: float) -> float:
    """Hour of the day on the city's clock, 0 to below 24."""
    return ((t + CITY_CLOCK) % DAY) / 3600


def day_of_year(t: float) -> float:
    """Days since the first of January, to within a day: years of 365.2425 days."""
    return (t + CITY_CLOCK) / DAY % 365.2425


def elevation(t: float) -> float:
    """Elevation of the sun above the city's horizon in degrees, to about half a degree."""
    day = day_of_year(t)
    declination = math.radians(-23.44) * math.cos(2 * math.pi * (day + 10) / 365.2425)
    b = 2 * math.pi * (day - 81) / 364
    equation_of_time = 9.87 * math.sin(2 * b) - 7.53 * math.cos(b) - 1.5 * math.sin(b)
    solar_hour = (t % DAY) / 3600 + LONGITUDE / 15 + equation_of_time / 60
    angle = math.radians(15 * (solar_hour - 12))
    latitude = math.radians(LATITUDE)
    up = math.sin(latitude) * math.sin(declination)
    up += math.cos(latitude) * math.cos(declination) * math.cos(angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, up))))


# The working day


def bell(x: float, centre: float, width: float) -> float:
    """A hill of height 1 around `centre`."""
    return math.exp(-(((x - centre) / width) ** 2) / 2)


def weekend(t: float) -> float:
    """0 on working days, 1 at weekends, rising and falling within two hours around midnight."""
    local = (t + CITY_CLOCK) / DAY
    before, after = _is_weekend(math.floor(local - 1 / 24)), _is_weekend(math.floor(local + 1 / 24))
    if before == after:
        return before
    midnight = math.floor(local + 1 / 24)
    across = (local - midnight + 1 / 24) * 12
    return before + (after - before) * across


def _is_weekend(local_day: int) -> float:
    return float((local_day + 3) % 7 >= 5)  # 1 January 1970 was a Thursday


def bustle(t: float) -> float:
    """How busy the streets are: about 0.06 at night, near 1 in the rush of a working day."""
    h, w = hour(t), weekend(t)
    working = 0.9 * bell(h, 7.6, 0.9) + 0.82 * bell(h, 17.3, 1.2) + 0.42 * bell(h, 12.5, 3.2)
    free = 0.45 * bell(h, 11.0, 2.2) + 0.55 * bell(h, 16.5, 2.8)
    return 0.06 + (1 - w) * working + w * free


# Weather and heating


def temperature(seed: int, t: float) -> float:
    """Air temperature in degrees Celsius: Changchun's year (-14 in January, 23 in July), day, weather."""
    season = 5.6 - 19.2 * math.cos(2 * math.pi * (day_of_year(t) - 17) / 365.2425)
    daily = 4.6 * math.cos(2 * math.pi * (hour(t) - 14.5) / 24)
    weather = 5.5 * drift(key(seed, "weather"), t, 2.7 * DAY) + 0.7 * drift(key(seed, "gusts"), t, 2400)
    return season + daily * (0.8 + 0.2 * drift(key(seed, "clear"), t, DAY)) + weather


def cloud(seed: int, t: float) -> float:
    """Share of the sky that clouds cover."""
    return min(1.0, max(0.0, 0.45 + 0.6 * drift(key(seed, "cloud"), t, 0.6 * DAY)))


def wind(seed: int, t: float) -> tuple[float, float]:
    """Speed in metres a second and direction in degrees from which it blows: mostly from the south-west."""
    speed = 3.4 + 2.2 * drift(key(seed, "wind"), t, 0.4 * DAY) + 0.7 * drift(key(seed, "puffs"), t, 600)
    return max(0.2, speed), (225 + 95 * drift(key(seed, "vane"), t, 0.8 * DAY)) % 360


def heating(t: float) -> bool:
    """Whether it is the city's heating season, 20 October to 10 April."""
    day = day_of_year(t)
    return day >= 293 or day < 100
