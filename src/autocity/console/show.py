"""How values are written for people: numbers, units, times and places in the reader's language. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

CITY_CLOCK = timezone(timedelta(hours=8), "Asia/Shanghai")
"""The clock of the demo city. China keeps one time zone and no summer time."""

LOCALES = {"en": "en_GB", "zh-Hans": "zh_Hans_CN"}
"""Language tag to the locale whose numbers and dates it uses."""

UNITS = {
    "2N": "dB", "4K": "mA", "A1": "kW", "AMP": "A", "ANN": "a", "BAR": "bar", "C62": "", "CEL": "°C",
    "CMT": "cm", "D30": "TJ", "DAY": "d", "DD": "°", "EA": "", "GQ": "µg/m³", "GP": "mg/m³", "GV": "GJ",
    "H87": "", "HAR": "ha", "HTZ": "Hz", "HUR": "h", "J": "J", "JOU": "J", "KEL": "K", "KGM": "kg",
    "KMH": "km/h", "KMK": "km²", "KMT": "km", "KPA": "kPa", "KVA": "kVA", "KVR": "kvar", "KWH": "kWh",
    "KWT": "kW", "LTR": "l", "LUX": "lx", "MAW": "MW", "MBR": "mbar", "MGM": "mg", "MIN": "min", "MMT": "mm",
    "MPA": "MPa", "MQH": "m³/h", "MQS": "m³/s", "MTK": "m²", "MTQ": "m³", "MTR": "m", "MTS": "m/s",
    "MWH": "MWh", "N1": "", "NEWTON": "N", "P1": "%", "PAL": "Pa", "SEC": "s", "TNE": "t", "VA": "VA",
    "VLT": "V", "WTT": "W", "YRD": "yd",
    "A97": "hPa", "M1": "mg/l", "59": "ppm", "61": "ppb", "D5": "kg/cm²", "E46": "kWh/m³", "FNU": "FNU",
    "Q30": "pH", "D10": "S/m", "G42": "µS/cm", "D54": "W/m²", "KGS": "kg/s", "MON": "mo",
}  # fmt: skip
"""UN/CEFACT common code (Recommendation 20) to the symbol that people read."""


def unit(code: str | None) -> str:
    """The symbol of a unit code; the code itself when it is not known here."""
    return "" if code is None else UNITS.get(code, code)


def number(value: float, language: str, digits: int | None = None) -> str:
    """A number with the reader's grouping: up to 4 significant decimals, or exactly `digits` decimals."""
    from babel.numbers import format_decimal

    if digits is not None:
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
    elif isinstance(value, int) or abs(value) >= 1000:
        pattern = "#,##0"
    else:
        pattern = "#,##0.##" if abs(value) >= 1 else "#,##0.####"
    return format_decimal(value, format=pattern, locale=LOCALES[language])


def percent(value: float, language: str) -> str:
    """A signed change in percent points of a whole, such as +10.2 %."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return f"{sign}{number(abs(value), language, 1)}\u202f%"


def moment(text: str | None) -> datetime | None:
    """The instant of an ISO 8601 date or date-time, None when it is neither."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(_trimmed(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def when(instant: datetime, language: str, clock: tzinfo = CITY_CLOCK, form: str = "medium") -> str:
    """An instant on the city's clock."""
    from babel.dates import format_datetime

    return format_datetime(instant.astimezone(clock), format=form, locale=LOCALES[language])


def clocked(text: str, language: str, clock: tzinfo = CITY_CLOCK) -> str:
    """An ISO 8601 date-time on the city's clock; the text itself when it is none."""
    instant = moment(text)
    return text if instant is None else when(instant, language, clock)


def day(text: str, language: str) -> str:
    """A calendar day such as 2020-07-30 in words; the text itself when it is no day (`2020-H1`)."""
    from babel.dates import format_date

    try:
        return format_date(datetime.fromisoformat(text).date(), format="medium", locale=LOCALES[language])
    except ValueError:
        return text


def age(since: datetime, now: datetime, language: str) -> str:
    """How long ago, in words."""
    from babel.dates import format_timedelta

    passed = max(timedelta(seconds=1), now - since)
    return format_timedelta(
        -passed, granularity="second", threshold=1.2, add_direction=True, locale=LOCALES[language]
    )


def phrase(languages: Any, language: str) -> str:
    """The best wording of a language map (4.5.18) or plain string for a reader."""
    if not isinstance(languages, dict):
        return str(languages)
    wanted = ("zh-Hans", "zh", "zh-CN") if language.startswith("zh") else ("en", "en-GB", "en-US")
    for tag in (*wanted, "en", "zh", "@none"):
        if tag in languages:
            return joined(languages[tag])
    return joined(next(iter(languages.values()), ""))


def joined(value: Any) -> str:
    """Several wordings as one line."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def short(iri: str) -> str:
    """The last, telling part of an IRI."""
    return re.split(r"[/#]", iri.rstrip("/#"))[-1] or iri


def geometry(value: Any, language: str) -> str:
    """A GeoJSON geometry in a few words: its middle for a point, its kind and size for the rest."""
    if not isinstance(value, dict) or "coordinates" not in value:
        return str(value)
    points = list(positions(value["coordinates"]))
    if value.get("type") == "Point" and points:
        lon, lat = points[0][:2]
        return f"{number(lat, language, 5)}, {number(lon, language, 5)}"
    return f"{value.get('type')} · {number(len(points), language)}"


def positions(coordinates: Any) -> Iterable[list[float]]:
    """Every position of nested GeoJSON coordinates."""
    if isinstance(coordinates, list) and coordinates and isinstance(coordinates[0], int | float):
        yield coordinates
    elif isinstance(coordinates, list):
        for inner in coordinates:
            yield from positions(inner)


def _trimmed(text: str) -> str:
    # datetime.fromisoformat takes at most six digits of a second; the standard (4.6.3) allows more.
    return re.sub(r"(\.\d{6})\d+", r"\1", text)
