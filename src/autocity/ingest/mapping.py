"""From a row to an entity, by declaration: a mapping is data (TOML or JSON), applying it is pure.

    [entity]
    id = "urn:ngsi-ld:EVChargingStation:{station_id}"
    type = "EVChargingStation"

    [attributes.capacity]
    column = "charge_count"

    [attributes.location]
    longitude = "lon"
    latitude = "lat"
    datum = "gcj02"

Kinds, units and limits come from the vocabulary where the type is known; a mapping may say otherwise.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable
from collections.abc import Mapping as Row
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from autocity import models
from autocity.errors import ConfigError
from autocity.ingest.datum import Datum, to_wgs84

SHIPPED = Path(__file__).parent / "open"
"""Mappings and open series that come with the platform."""

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "-", "--")
"""Cells that say nothing, unless a mapping lists its own."""

Value = Literal["text", "number", "integer", "boolean", "time", "json"]


class Fault(Struct, frozen=True):
    """Why a row, or one cell of it, was not taken. `line` counts from 1 in files of lines, items in a
    JSON array; `column` is empty when the fault is not of one cell."""

    line: int
    column: str
    value: str
    reason: str
    allowed: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}" + (f", {self.column}" if self.column else "")
        said = f" {self.value!r}" if self.value else ""
        return f"{where}:{said} {self.reason}" + (f"; allowed: {self.allowed}" if self.allowed else "")


class SourceRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to read the file, where it does not say so itself. `items` is the path to the rows in JSON."""

    format: Literal["csv", "json", "jsonl", "geojson"] | None = None
    delimiter: str | None = None
    encoding: str | None = None
    items: str = ""


class EntityRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a row becomes. `{column}` in `id` and `scope` stands for a cell, in `id` made safe for a URI."""

    id: str
    type: str
    context: str | None = None
    scope: str | None = None


class TimeRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where an instant stands. `format`: "iso", "unix", "unix_ms" or a strptime pattern; `timezone` (an
    IANA name or +08:00) holds for times that bear none."""

    column: str
    format: str = "iso"
    timezone: str = "UTC"


class AttributeRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the value of an attribute comes from: exactly one of `column`, `constant`, `template`,
    `languages` (language to template), `longitude` with `latitude`, `geometry` (a column of GeoJSON).

    `value` is how a cell is read (from the vocabulary when left out), then `scale`, `offset` and
    `decimals`; `minimum`, `maximum` and `allowed` bound it; `words` translates cells first.
    """

    column: str | None = None
    constant: Any = msgspec.UNSET
    template: str | None = None
    languages: dict[str, str] | None = None
    longitude: str | None = None
    latitude: str | None = None
    geometry: str | None = None
    datum: Datum = "wgs84"
    kind: models.Kind | None = None
    value: Value | None = None
    unit: str | None = None
    required: bool = False
    words: dict[str, Any] = {}
    scale: float = 1.0
    offset: float = 0.0
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    allowed: list[Any] = []
    format: str = "iso"
    timezone: str = "UTC"


class Mapping(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How rows of one source become entities of one type. With `series` the rows are instants of the same
    entities: the newest row is the present, the others are history."""

    entity: EntityRule
    attributes: dict[str, AttributeRule]
    source: SourceRule = SourceRule()
    observed_at: TimeRule | None = None
    series: bool = False
    missing: tuple[str, ...] = MISSING
    title: dict[str, str] = {}
    credit: str = ""
    licence: str = ""


Reader = Callable[[Row[str, Any], int], "tuple[dict[str, Any] | None, list[Fault]]"]
"""Row and line to the normalized entity, or every fault of the row."""


def shipped() -> list[str]:
    """Names of the mappings that come with the platform."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load(source: str | Path) -> Mapping:
    """Read a mapping from a TOML or JSON file, or by the name of a shipped one. Raises `ConfigError`."""
    path = Path(source)
    if not path.exists() and (SHIPPED / f"{source}.toml").exists():
        path = SHIPPED / f"{source}.toml"
    try:
        data = path.read_bytes()
        facts = msgspec.json.decode(data) if path.suffix == ".json" else tomllib.loads(data.decode())
        mapping = msgspec.convert(facts, Mapping)
    except OSError:
        raise ConfigError(f"no mapping at {source}; shipped ones: {', '.join(shipped())}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.MsgspecError) as fault:
        raise ConfigError(f"mapping {source}: {fault}") from None
    reader(mapping)
    return mapping


def columns(mapping: Mapping) -> set[str]:
    """Every column that a mapping reads."""
    named = set(_placeholders(mapping.entity.id)) | set(_placeholders(mapping.entity.scope or ""))
    if mapping.observed_at:
        named.add(mapping.observed_at.column)
    for rule in mapping.attributes.values():
        named.update(name for name in (rule.column, rule.longitude, rule.latitude, rule.geometry) if name)
        for template in (rule.template or "", *(rule.languages or {}).values()):
            named.update(_placeholders(template))
    return named


def reader(mapping: Mapping) -> Reader:
    """Compile a mapping. Raises `ConfigError` when it contradicts itself or the vocabulary."""
    type = _type(mapping.entity.type)
    context = mapping.entity.context or (type.context if type else None)
    missing = frozenset(mapping.missing)
    if not (mapping.series or _placeholders(mapping.entity.id)):
        raise ConfigError(
            "entity.id names no column, so every row would be the same entity; write {column} in it"
        )
    if mapping.series and not mapping.observed_at:
        raise ConfigError("a series needs [observed_at]: the column that says when each row was")
    makers = [(name, _maker(name, rule, type, missing)) for name, rule in mapping.attributes.items()]
    moment = _moment(mapping.observed_at, missing) if mapping.observed_at else None
    fixed = {"type": mapping.entity.type}
    # What the mapping itself says holds for all time; only cells are observations.
    lasting = {
        n for n, rule in mapping.attributes.items() if rule.constant is not msgspec.UNSET or rule.languages
    }

    def read(row: Row[str, Any], line: int) -> tuple[dict[str, Any] | None, list[Fault]]:
        faults: list[Fault] = []
        body: dict[str, Any] = {}
        at = None
        try:
            body["id"] = _filled(mapping.entity.id, row, missing, safe=True)
            body |= fixed
            if mapping.entity.scope:
                body["scope"] = _filled(mapping.entity.scope, row, missing)
        except Unfit as fault:
            faults.append(fault.at(line))
        if moment:
            try:
                at = moment(row)
            except Unfit as fault:
                faults.append(fault.at(line))
        for name, make in makers:
            try:
                instance = make(row)
            except Unfit as fault:
                faults.append(fault.at(line))
                continue
            if instance is not None:
                body[name] = instance | {"observedAt": at} if at and name not in lasting else instance
        if faults:
            return None, faults
        return (body | {"@context": context} if context else body), faults

    return read


class Unfit(Exception):
    """A cell does not fit what the mapping says."""

    def __init__(self, column: str, value: Any, reason: str, allowed: str = "") -> None:
        super().__init__(reason)
        self.column, self.value, self.reason, self.allowed = column, value, reason, allowed

    def at(self, line: int) -> Fault:
        """The fault that this is on a line."""
        text = "" if self.value is None else str(self.value)
        return Fault(
            line, self.column, text if len(text) <= 80 else text[:79] + "…", self.reason, self.allowed
        )


Make = Callable[[Row[str, Any]], dict[str, Any] | None]


def _type(name: str) -> models.TypeModel | None:
    try:
        return models.get(name)
    except models.UnknownType:
        return None


def _maker(name: str, rule: AttributeRule, type: models.TypeModel | None, missing: frozenset[str]) -> Make:
    """How one attribute is made from a row: None when the row has no value for it."""
    _check_sources(name, rule)
    known = type.attributes.get(name) if type else None
    model = models.AttributeModel(
        name=name,
        iri=known.iri if known else "",
        kind=rule.kind or _kind(rule, known),
        schema=known.schema if known else {},
        unit=rule.unit or (known.unit if known else None),
        description="",
        labels={},
    )
    value = _value(rule, model, missing)

    def make(row: Row[str, Any]) -> dict[str, Any] | None:
        found = value(row)
        if found is None:
            if rule.required or (type and name in type.required):
                raise Unfit(rule.column or rule.longitude or name, None, "is missing", f"{name} is required")
            return None
        return models.instance(model, found)

    return make


def _check_sources(name: str, rule: AttributeRule) -> None:
    given = [
        rule.column is not None,
        rule.constant is not msgspec.UNSET,
        rule.template is not None,
        rule.languages is not None,
        rule.longitude is not None or rule.latitude is not None,
        rule.geometry is not None,
    ]
    if sum(given) != 1:
        raise ConfigError(
            f"attributes.{name}: give exactly one of column, constant, template, languages, "
            "longitude with latitude, geometry"
        )
    if (rule.longitude is None) != (rule.latitude is None):
        raise ConfigError(f"attributes.{name}: longitude and latitude come together")


def _kind(rule: AttributeRule, known: models.AttributeModel | None) -> models.Kind:
    if rule.longitude or rule.geometry:
        return "GeoProperty"
    if rule.languages:
        return "LanguageProperty"
    if known and known.kind != "LanguageProperty":
        return known.kind
    return "Property"


def _value(
    rule: AttributeRule, model: models.AttributeModel, missing: frozenset[str]
) -> Callable[[Row[str, Any]], Any]:
    if rule.constant is not msgspec.UNSET:
        return lambda row: rule.constant
    if rule.longitude and rule.latitude:
        return _position(rule.longitude, rule.latitude, rule.datum, missing)
    if rule.geometry:
        return _geometry(rule.geometry, rule.datum, missing)
    if rule.languages:
        texts = rule.languages
        return lambda row: {language: _filled(text, row, missing) for language, text in texts.items()}
    if rule.template is not None:
        template = rule.template
        return lambda row: _filled(template, row, missing)
    return _cell(rule, model, missing)


def _cell(
    rule: AttributeRule, model: models.AttributeModel, missing: frozenset[str]
) -> Callable[[Row[str, Any]], Any]:
    column = rule.column or ""
    read = _as(rule, model)
    schema = model.schema
    allowed = rule.allowed or schema.get("enum") or []
    least = _first(rule.minimum, schema.get("minimum"), -math.inf)
    most = _first(rule.maximum, schema.get("maximum"), math.inf)

    def value(row: Row[str, Any]) -> Any:
        cell = _get(row, column, missing)
        if cell is None:
            return None
        if rule.words:
            cell = rule.words.get(str(cell), cell)
        found = read(column, cell)
        if allowed and found not in allowed:
            raise Unfit(column, cell, "is not one of the allowed values", ", ".join(map(str, allowed)))
        if isinstance(found, int | float) and not least <= found <= most:
            raise Unfit(column, cell, "is out of range", f"{least:g} to {most:g}")
        return found

    return value


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _as(rule: AttributeRule, model: models.AttributeModel) -> Callable[[str, Any], Any]:
    """How a cell is read: by the rule's word, else as the vocabulary knows the attribute, else as text."""
    by_schema: dict[str, Value] = {
        "number": "number",
        "integer": "integer",
        "boolean": "boolean",
        "object": "json",
    }
    said = rule.value or by_schema.get(str(model.schema.get("type")))
    if said is None and model.schema.get("format") == "date-time":
        said = "time"
    match said:
        case "number" | "integer":
            whole = said == "integer"
            return lambda column, cell: _number(column, cell, rule, whole)
        case "boolean":
            return _boolean
        case "time":
            return _time(rule.format, rule.timezone)
        case "json":
            return _json
        case _:
            return lambda column, cell: _text(column, cell)


def _number(column: str, cell: Any, rule: AttributeRule, whole: bool) -> float | int:
    try:
        number = float(cell if isinstance(cell, int | float) else str(cell).strip().replace(" ", ""))
    except ValueError:
        raise Unfit(column, cell, "is not a number", "digits with a point, such as 12.5") from None
    if not math.isfinite(number):
        raise Unfit(column, cell, "is not a finite number")
    number = number * rule.scale + rule.offset
    if rule.decimals is not None:
        number = round(number, rule.decimals)
    if whole and not number.is_integer():
        raise Unfit(column, cell, "is not a whole number")
    return int(number) if number.is_integer() and (whole or abs(number) < 1e15) else number


def _boolean(column: str, cell: Any) -> bool:
    word = str(cell).strip().casefold()
    if word in ("true", "yes", "1", "是", "on"):
        return True
    if word in ("false", "no", "0", "否", "off"):
        return False
    raise Unfit(column, cell, "is neither yes nor no", "true, yes, 1, 是; false, no, 0, 否")


def _json(column: str, cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return msgspec.json.decode(cell)
    except msgspec.DecodeError as fault:
        raise Unfit(column, cell, f"is not JSON: {fault}") from None


def _text(column: str, cell: Any) -> Any:
    if (
        isinstance(cell, str)
        and not cell.isascii()
        and any("\udc80" <= letter <= "\udcff" for letter in cell)
    ):
        raise Unfit(
            column, cell.encode("utf-8", "replace").decode(), "has bytes that are no text in this encoding"
        )
    return cell


def _moment(rule: TimeRule, missing: frozenset[str]) -> Callable[[Row[str, Any]], str]:
    read = _time(rule.format, rule.timezone)

    def moment(row: Row[str, Any]) -> str:
        cell = _get(row, rule.column, missing)
        if cell is None:
            raise Unfit(rule.column, None, "is missing", "every row needs its time")
        return read(rule.column, cell)

    return moment


@cache
def _time(form: str, timezone: str) -> Callable[[str, Any], str]:
    """How an instant is read; a row often says the same one twice, and a table many times."""
    zone = _zone(timezone)

    @lru_cache(maxsize=1024)
    def utc(cell: Any) -> str:
        if form in ("unix", "unix_ms"):
            found = datetime.fromtimestamp(float(cell) / (1000 if form == "unix_ms" else 1), UTC)
        elif form == "iso":
            found = datetime.fromisoformat(str(cell).strip())
        else:
            found = datetime.strptime(str(cell).strip(), form)  # noqa: DTZ007 (the zone follows)
        found = (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
        return found.isoformat(timespec="microseconds" if found.microsecond else "seconds").replace(
            "+00:00", "Z"
        )

    def read(column: str, cell: Any) -> str:
        try:
            return utc(cell)
        except (ValueError, TypeError, OverflowError, OSError):
            raise Unfit(column, cell, "is not a time", TIME_FORMS.get(form, f"the form {form}")) from None

    return read


TIME_FORMS = {
    "iso": "2026-11-22T08:00:00Z",
    "unix": "seconds since 1970",
    "unix_ms": "milliseconds since 1970",
}


def _zone(name: str) -> tzinfo:
    if name in ("UTC", "Z"):
        return UTC
    offset = re.fullmatch(r"([+-])(\d\d):?(\d\d)", name)
    if offset:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return timezone(ahead if offset[1] == "+" else -ahead)
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"timezone {name!r} is not known here; write an offset such as +08:00") from None


def _position(lon: str, lat: str, datum: Datum, missing: frozenset[str]) -> Callable[[Row[str, Any]], Any]:
    rule = AttributeRule(column=lon)

    def position(row: Row[str, Any]) -> Any:
        x, y = _get(row, lon, missing), _get(row, lat, missing)
        if x is None and y is None:
            return None
        found = []
        for column, cell, limit in ((lon, x, 180), (lat, y, 90)):
            if cell is None:
                raise Unfit(column, None, "is missing beside its partner")
            number = _number(column, cell, rule, whole=False)
            if abs(number) > limit:
                raise Unfit(column, cell, "is out of range", f"-{limit} to {limit} degrees")
            found.append(float(number))
        east, north = to_wgs84(datum, *found)
        return {"type": "Point", "coordinates": [round(east, 7), round(north, 7)]}

    return position


def _geometry(column: str, datum: Datum, missing: frozenset[str]) -> Callable[[Row[str, Any]], Any]:
    def geometry(row: Row[str, Any]) -> Any:
        cell = _get(row, column, missing)
        if cell is None:
            return None
        found = _json(column, cell)
        if not (isinstance(found, dict) and isinstance(found.get("coordinates"), list) and "type" in found):
            raise Unfit(
                column, cell, "is not a GeoJSON geometry", '{"type": "Point", "coordinates": [125.2, 43.8]}'
            )
        try:
            return found | {"coordinates": _shifted(found["coordinates"], datum)}
        except (TypeError, ValueError, IndexError):
            raise Unfit(column, cell, "has coordinates that are no numbers") from None

    return geometry


def _shifted(coordinates: list[Any], datum: Datum) -> list[Any]:
    if coordinates and isinstance(coordinates[0], list):
        return [_shifted(inner, datum) for inner in coordinates]
    if datum == "wgs84":
        return coordinates
    east, north = to_wgs84(datum, float(coordinates[0]), float(coordinates[1]))
    return [round(east, 7), round(north, 7), *coordinates[2:]]


def _get(row: Row[str, Any], column: str, missing: frozenset[str]) -> Any:
    """A cell, by its name or, in JSON, by a dotted path; None when it says nothing."""
    cell = row.get(column)
    if cell is None and "." in column and column not in row:
        inner: Any = row
        for step in column.split("."):
            inner = inner.get(step) if isinstance(inner, dict) else None
        cell = inner
    if isinstance(cell, str):
        cell = cell.strip()
        return None if cell in missing else cell
    return cell


def _placeholders(template: str) -> list[str]:
    return re.findall(r"\{([^{}]+)\}", template)


def _filled(template: str, row: Row[str, Any], missing: frozenset[str], safe: bool = False) -> str:
    """A template with its cells; every one must be there."""

    def cell(match: re.Match[str]) -> str:
        found = _get(row, match[1], missing)
        if found is None:
            raise Unfit(match[1], None, "is missing", "it is part of the id" if safe else "")
        text = str(_text(match[1], found))
        return quote(text, safe="-._~:") if safe else text

    return re.sub(r"\{([^{}]+)\}", cell, template)
