"""The entity explorer: find entities, and read one with its values, history, links and JSON-LD."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from autocity.api.asgi import Answer, Call
from autocity.console import names, page, show
from autocity.console.client import ROOT, City, Document, entities_path, entity_path, results_count
from autocity.console.connect import example
from autocity.console.page import Reader, speech
from autocity.errors import CityError, ResourceNotFound
from autocity.models import CITY_CONTEXT

PAGE = 25
"""Rows on one page of the explorer."""

POINTS = 2000
"""At most this many of the newest points are drawn in a history chart."""

RANGES = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
}
"""Choices of history, by name in the address; any other name means all of it."""

FRAME = frozenset({"id", "type", "@context", "scope", "createdAt", "modifiedAt", "deletedAt", "expiresAt"})
"""Members of an entity that are not attributes."""

SHOWN_APART = frozenset({"name", "location", "synthetic", "source", "confidence", "description"})
"""Attributes that a row of the explorer shows elsewhere or not at all."""

MEMBERS = frozenset(
    {"type", "value", "object", "objectType", "languageMap", "vocab", "json", "valueList", "objectList",
     "unitCode", "observedAt", "datasetId", "createdAt", "modifiedAt", "instanceId", "valueType", "expiresAt"}
)  # fmt: skip
"""Members of an attribute that are not sub-attributes (4.5.2 to 4.5.24)."""


class Search(Struct, frozen=True, kw_only=True):
    """What the reader looks for."""

    type: str = ""
    text: str = ""
    q: str = ""
    offset: int = 0

    def query(self) -> dict[str, str | int]:
        """The parameters of Query Entities (5.7.2) that find it."""
        found: dict[str, str | int] = {}
        if self.type:
            found["type"] = self.type
        if self.text:
            found["idPattern"] = f".*{_any_case(self.text)}.*"
        if self.q:
            found["q"] = self.q
        # A query must narrow something (5.7.2.4); asking for what is held here does.
        return found if self.type or self.q else {**found, "local": "true"}

    def address(self, **changes: Any) -> str:
        """The address of the explorer for this search with some parts changed."""
        parts = {"type": self.type, "text": self.text, "q": self.q, "offset": self.offset, **changes}
        query = urlencode({name: value for name, value in parts.items() if value})
        return "/entities" + (f"?{query}" if query else "")


class Line(Struct, frozen=True, kw_only=True):
    """One entity in the explorer."""

    id: str
    name: str
    types: list[str]
    values: list[tuple[str, str]]
    synthetic: bool
    modified: datetime | None


class Cell(Struct, frozen=True, kw_only=True):
    """One attribute instance on an entity's page. `links` are ids of entities, `more` further wordings."""

    attribute: str
    label: str
    kind: str
    text: str
    unit: str = ""
    links: list[str] = []
    more: list[str] = []
    code: str = ""
    observed: datetime | None = None
    dataset: str = ""
    subs: list[tuple[str, str]] = []
    numeric: bool = False


class Series(Struct, frozen=True, kw_only=True):
    """A history to draw: instants in ISO 8601 and values, oldest first."""

    attribute: str
    label: str
    unit: str
    points: list[tuple[str, float]]


class History(Struct, frozen=True, kw_only=True):
    """The history that was asked for: a series, nothing, or why it cannot be had."""

    series: Series | None = None
    fault: str = ""


async def explorer(city: City, who: Reader, call: Call) -> Answer:
    """Entities by type, id and expression, a page at a time."""
    search = _search(call)
    if call.header("hx-request-type") == "partial":
        return page.render(who, "found.html", search=search, **await _results(city, who, search))
    results, types = await asyncio.gather(_results(city, who, search), _types(city, who))
    return page.render(who, "entities.html", search=search, types=types, **results)


async def entity(city: City, who: Reader, call: Call) -> Answer:
    """One entity: values, history, links, place and JSON-LD."""
    id = call.params["id"]
    found, context = await _in_own_words(city, id)
    plain = await city.get(entity_path(id), context=context, accept="application/ld+json")
    cells = _cells(found, who)
    measures = _measures(cells)
    chosen = measures[0].attribute if measures else ""
    return page.render(
        who,
        "entity.html",
        **_head(found, who),
        cells=cells,
        measures=measures,
        history=await _history(city, who, found, context, chosen, "24h") if chosen else History(),
        chosen=chosen,
        span="24h",
        spans=list(RANGES),
        place=_place(found, who),
        jsonld=msgspec.json.format(plain.body, indent=2).decode(),
        command=example("entity", call, who, path=entity_path(id), context=context),
    )


async def values_part(city: City, who: Reader, call: Call) -> Answer:
    """The table of an entity's values, as they are now."""
    found, _ = await _in_own_words(city, call.params["id"])
    return page.render(who, "values.html", cells=_cells(found, who))


async def history_part(city: City, who: Reader, call: Call) -> Answer:
    """The history of one attribute over one range."""
    query = dict(call.query)
    chosen, span = query.get("attribute", ""), query.get("span", "24h")
    found, context = await _in_own_words(city, call.params["id"])
    return page.render(
        who,
        "history.html",
        entity_id=found["id"],
        measures=_measures(_cells(found, who)),
        chosen=chosen,
        span=span,
        spans=list(RANGES),
        history=await _history(city, who, found, context, chosen, span),
    )


async def _in_own_words(city: City, id: str) -> tuple[Document, str]:
    """An entity in the @context of its own subject, and that context, for which its type is read first."""
    types = _type_list(await city.entity(id, context=CITY_CONTEXT, pick="id,type"))
    context = names.context(types[0])
    return await city.entity(id, context=context, options="sysAttrs"), context


# The explorer


def _any_case(text: str) -> str:
    """A regular expression for a text in capitals or small letters: patterns here (4.7.1) have no flags."""
    return "".join(
        f"[{char.lower()}{char.upper()}]" if char.isascii() and char.isalpha() else re.escape(char)
        for char in text
    )


def _search(call: Call) -> Search:
    query = {name: value.strip() for name, value in call.query}
    offset = query.get("offset", "0")
    return Search(
        type=query.get("type", ""),
        text=query.get("text", ""),
        q=query.get("q", ""),
        offset=int(offset) if offset.isdecimal() else 0,
    )


async def _results(city: City, who: Reader, search: Search) -> dict[str, Any]:
    """The lines of one page and how many there are, or the fault that the API found in the search."""
    path = entities_path(
        **search.query(), limit=PAGE, offset=search.offset, count="true", options="keyValues,sysAttrs"
    )
    try:
        answer = await city.get(path, context=names.context(search.type))
    except CityError as fault:
        return {"lines": [], "total": 0, "fault": fault.detail, "size": PAGE}
    found = msgspec.json.decode(answer.body)
    lines = [_line(one, who) for one in found]
    return {"lines": lines, "total": results_count(answer), "fault": "", "size": PAGE}


async def _types(city: City, who: Reader) -> list[tuple[str, str, int]]:
    """Every type that is here: name, label and number of entities, by label."""
    listed = await city.document(f"{ROOT}/types", context=CITY_CONTEXT)
    types = [str(type) for type in listed.get("typeList", [])]
    counts = await asyncio.gather(*(city.count(type=type, context=CITY_CONTEXT) for type in types))
    labelled = ((type, names.type_name(type, who.language)) for type in types)
    found = [(type, label, count) for (type, label), count in zip(labelled, counts, strict=True)]
    return sorted(found, key=lambda one: one[1])


def _line(found: Document, who: Reader) -> Line:
    language = who.language
    types = _type_list(found)
    values = []
    for name, value in found.items():
        if name in FRAME or name in SHOWN_APART or not isinstance(value, int | float | str):
            continue
        text = _scalar(value, who)
        if len(text) <= 24 and not text.startswith(("http", "urn:")) and not show.moment(text):
            symbol = show.unit(names.unit_code(name, types)) if isinstance(value, int | float) else ""
            values.append((names.attribute_name(name, types, language), f"{text} {symbol}".strip()))
    return Line(
        id=found["id"],
        name=_title(found, language),
        types=[names.type_name(type, language) for type in types],
        values=values[:3],
        synthetic=found.get("synthetic") is True,
        modified=show.moment(found.get("modifiedAt")),
    )


# One entity


def _head(found: Document, who: Reader) -> dict[str, Any]:
    """What stands above everything else: name, types, where it comes from and how sure it is."""
    values = {
        name: _value(found[name])
        for name in ("source", "confidence", "synthetic", "description")
        if name in found
    }
    return {
        "entity_id": found["id"],
        "name": _title({"id": found["id"], "name": _value(found.get("name"))}, who.language),
        "types": [(type, names.type_name(type, who.language)) for type in _type_list(found)],
        "synthetic": values.get("synthetic") is True,
        "source": show.phrase(values["source"], who.language) if "source" in values else "",
        "confidence": show.phrase(values["confidence"], who.language) if "confidence" in values else "",
        "description": show.phrase(values["description"], who.language) if "description" in values else "",
        "created": show.moment(found.get("createdAt")),
        "modified": show.moment(found.get("modifiedAt")),
    }


def _cells(found: Document, who: Reader) -> list[Cell]:
    """Every attribute instance, those that are measured first, then as the entity has them."""
    types = _type_list(found)
    cells = [
        _cell(name, instance, types, who)
        for name, content in found.items()
        if name not in FRAME
        for instance in (content if isinstance(content, list) else [content])
        if isinstance(instance, dict)
    ]
    return sorted(cells, key=lambda cell: (not (cell.numeric and cell.observed), not cell.observed))


def _cell(name: str, instance: Document, types: list[str], who: Reader) -> Cell:
    language = who.language
    kind = str(instance.get("type", "Property"))
    value = _value(instance)
    code = instance.get("unitCode") or names.unit_code(name, types)
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    common = Cell(
        attribute=name,
        label=names.attribute_name(name, types, language),
        kind=kind,
        text="",
        observed=show.moment(instance.get("observedAt")),
        dataset=str(instance.get("datasetId", "")),
        subs=[
            (names.attribute_name(sub, types, language), _scalar(_value(part), who))
            for sub, part in instance.items()
            if sub not in MEMBERS and isinstance(part, dict)
        ],
        numeric=numeric,
    )
    change = msgspec.structs.replace
    if kind in ("Relationship", "ListRelationship"):
        listed = value if isinstance(value, list) else [value]
        links = [
            str(one["object"]) if isinstance(one, dict) and "object" in one else str(one) for one in listed
        ]
        return change(common, links=links)
    if kind == "LanguageProperty" and isinstance(value, dict):
        best = show.phrase(value, language)
        more = [f"{tag}: {show.joined(text)}" for tag, text in value.items() if show.joined(text) != best]
        return change(common, text=best, more=more)
    if kind == "GeoProperty":
        return change(common, text=show.geometry(value, language))
    if isinstance(value, dict | list) and "@value" not in value:
        return change(common, code=msgspec.json.encode(value).decode())
    return change(common, text=_scalar(value, who), unit=show.unit(code) if numeric else "")


def _measures(cells: list[Cell]) -> list[Cell]:
    """The attributes that have a history worth drawing: numbers, each name once."""
    return list({cell.attribute: cell for cell in cells if cell.numeric and not cell.dataset}.values())


async def _history(
    city: City, who: Reader, found: Document, context: str, attribute: str, span: str
) -> History:
    """The recorded values of a numeric attribute (5.7.3)."""
    query: dict[str, str | int] = {"attrs": attribute, "options": "temporalValues", "lastN": POINTS}
    if span in RANGES:
        since = who.now - RANGES[span]
        query |= {"timerel": "after", "timeAt": since.strftime("%Y-%m-%dT%H:%M:%SZ")}
    instance = found.get(attribute)
    if isinstance(instance, dict) and "observedAt" not in instance:
        query["timeproperty"] = "modifiedAt"
    try:
        temporal = await city.document(
            f"{ROOT}/temporal/entities/{quote(found['id'], safe='')}?{urlencode(query)}", context=context
        )
    except ResourceNotFound:
        return History()
    except CityError as fault:
        return History(fault=fault.detail)
    types = _type_list(found)
    code = instance.get("unitCode") if isinstance(instance, dict) else None
    points = _points(temporal.get(attribute))
    if not points:
        return History()
    return History(
        series=Series(
            attribute=attribute,
            label=names.attribute_name(attribute, types, who.language),
            unit=show.unit(code or names.unit_code(attribute, types)),
            points=points,
        )
    )


def _points(content: Any) -> list[tuple[str, float]]:
    """Instants and numbers of an attribute in simplified temporal form (4.5.8), oldest first."""
    instances = content if isinstance(content, list) else [content or {}]
    pairs = [pair for instance in instances for pair in instance.get("values", ())]
    found = [
        (str(at), value)
        for value, at in pairs
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    return sorted(found)


def _place(found: Document, who: Reader) -> dict[str, Any] | None:
    """The GeoJSON geometry of the entity's location and what the small map of it is called."""
    location = found.get("location")
    geometry = _value(location[0] if isinstance(location, list) else location)
    if not isinstance(geometry, dict) or "coordinates" not in geometry:
        return None
    say = speech(who)
    name = _title({"id": found["id"], "name": _value(found.get("name"))}, who.language)
    return {"geometry": geometry, "label": say("Place of %(name)s", name=name), "context": CITY_CONTEXT}


def _value(instance: Any) -> Any:
    """The content of an attribute's value member, whatever its kind."""
    if not isinstance(instance, dict):
        return instance
    for member in ("value", "object", "languageMap", "vocab", "json", "valueList", "objectList"):
        if member in instance:
            return instance[member]
    return instance


def _scalar(value: Any, who: Reader) -> str:
    """A value on one line."""
    if isinstance(value, dict) and "@value" in value:
        value = value["@value"]
    if isinstance(value, bool):
        say = speech(who)
        return say("yes") if value else say("no")
    if isinstance(value, int | float):
        return show.number(value, who.language)
    if isinstance(value, dict):
        return show.phrase(value, who.language)
    if isinstance(value, list):
        return ", ".join(_scalar(one, who) for one in value)
    if (
        isinstance(value, str)
        and re.fullmatch(r"\d{4}-\d\d-\d\dT.+", value)
        and (instant := show.moment(value))
    ):
        return show.when(instant, who.language, who.clock)
    return str(value)


def _title(found: Document, language: str) -> str:
    name = found.get("name")
    if isinstance(name, dict):
        name = name.get("languageMap", name)
    return show.phrase(name, language) if name else names.spaced(str(found["id"]).rsplit(":", 1)[-1])


def _type_list(found: Document) -> list[str]:
    types = found.get("type", [])
    return [types] if isinstance(types, str) else list(types)
