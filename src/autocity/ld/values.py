"""What identifiers and values may be: URIs, scopes, geometries, language maps, nested JSON (4.6, 4.7, 4.18).

Each check returns the value as the platform keeps it, or raises `errors.BadRequestData` with a
sentence that goes on where the name of the attribute stops.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

import msgspec

from autocity.errors import BadRequestData
from autocity.ld.context import is_name
from autocity.ld.instants import instant
from autocity.model import NGSI_LD_NULL

MAX_URI = 2_000
MAX_NESTING = 64  # of objects and arrays within one value

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-\[\]_a-z~]+")  # no blank, no " < > { } | \\ ^ `
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|@none")

# Letters and marks that show nothing: an identifier with one of them reads like another identifier.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_VARIATION_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def is_uri(value: Any) -> bool:
    """Whether the value is an absolute URI, or an IRI of visible characters (4.5.1, RFC 3986, RFC 3987)."""
    if type(value) is not str or len(value) > MAX_URI:
        return False
    if value.isascii():
        return _URI.fullmatch(value) is not None
    visible = "".join(["x" if char > "\x7f" and _is_visible(char) else char for char in value])
    return _URI.fullmatch(visible) is not None


def _is_visible(char: str) -> bool:
    return (
        unicodedata.category(char)[0] not in "CZ"
        and char not in _BLANK
        and not any(ord(char) in selectors for selectors in _VARIATION_SELECTORS)
    )


def is_scope(value: Any) -> bool:
    """Whether the value is a scope such as `/Madrid/Gardens` (4.18)."""
    return type(value) is str and all(map(is_name, value.removeprefix("/").split("/")))


@lru_cache(maxsize=4096)
def date_time(text: str) -> str:
    """The DateTime, its comma (if any) replaced by a point (4.6.3)."""
    instant(text)
    return text.replace(",", ".")


_NESTED = frozenset((dict, list))


def check_nesting(value: Any, *, nulls: bool) -> None:
    """Refuse a value nested too deeply, and NGSI-LD Null in an object when not `nulls` (5.5.4)."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_NESTING:
            raise BadRequestData(f"value is nested more than {MAX_NESTING} levels deep")
        below: list[Any] = []
        for item in level:
            parts = item
            if type(item) is dict:
                parts = item.values()
                if not nulls and NGSI_LD_NULL in parts:
                    raise BadRequestData("value contains urn:ngsi-ld:null, which only a merge understands")
            if not _NESTED.isdisjoint(map(type, parts)):
                below += [part for part in parts if type(part) in _NESTED]
        level = below


def language_map(value: Any) -> dict[str, Any]:
    """A `languageMap`: language tags or `@none`, each with a string or strings (4.6.5)."""
    if type(value) is not dict or not value:
        raise BadRequestData("languageMap must be an object of language tags and texts")
    for tag, texts in value.items():
        if not _LANGUAGE.fullmatch(tag):
            raise BadRequestData(f"{tag!r:.60} in languageMap is no language tag")
        if type(texts) is not str and not _are_strings(texts):
            raise BadRequestData(f"languageMap must have a string or strings for {tag!r}")
    return value


def _are_strings(value: Any) -> bool:
    return type(value) is list and all(type(text) is str for text in value)


def uris(value: Any) -> str | list[str]:
    """The `object` of a Relationship: a URI, or one or more of them (4.5.3)."""
    if is_uri(value) or (type(value) is list and value and all(map(is_uri, value))):
        return value  # type: ignore[no-any-return]
    raise BadRequestData("object must be a URI or an array of URIs")


def object_list(value: Any) -> list[str]:
    """The `objectList` of a ListRelationship, as bare URIs (4.5.22)."""
    if type(value) is list:
        objects = [item["object"] if _wraps_object(item) else item for item in value]
        if all(map(is_uri, objects)):
            return objects
    raise BadRequestData('objectList must be an array of URIs or of {"object": URI}')


def _wraps_object(item: Any) -> bool:
    return type(item) is dict and item.keys() == {"object"}


def json_value(value: Any) -> Any:
    """The `json` of a JsonProperty: an object or an array of objects (4.5.24)."""
    if type(value) is not dict and not (type(value) is list and all(type(item) is dict for item in value)):
        raise BadRequestData("json must be an object or an array of objects")
    check_nesting(value, nulls=True)
    return value


def value_list(value: Any) -> list[Any]:
    """The `valueList` of a ListProperty: an array (4.5.21)."""
    if type(value) is not list:
        raise BadRequestData("valueList must be an array")
    check_nesting(value, nulls=True)
    return value


# GeoJSON (4.7, RFC 7946). Self-intersecting polygons are kept: they exist in the field.

_RANK = {"Point": 0, "LineString": 1, "MultiPoint": 1, "Polygon": 2, "MultiLineString": 2, "MultiPolygon": 3}
_NUMBER = frozenset((int, float))


def is_geometry(value: Any) -> bool:
    """Whether the value looks like a GeoJSON geometry: a type that is supported, and coordinates."""
    if type(value) is not dict:
        return False
    kind = value.get("type")
    return type(kind) is str and kind in _RANK and "coordinates" in value


def geometry(value: Any) -> dict[str, Any]:
    """The value of a GeoProperty: a GeoJSON geometry, also one written as a JSON string (4.7.2)."""
    if type(value) is str:
        value = _decoded(value)
    if not is_geometry(value):
        raise BadRequestData("value must be a GeoJSON geometry (a Point, LineString, Polygon or Multi-…)")
    kind = value["type"]
    _check_coordinates(kind, value["coordinates"], _RANK[kind])
    return value  # type: ignore[no-any-return]


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _check_coordinates(kind: str, part: Any, rank: int) -> None:
    """`rank`: how many levels of arrays stand above the positions."""
    if rank == 0:
        if not _is_position(part):
            raise BadRequestData(
                f"{kind} has {part!r:.60} where a position must be: [longitude, latitude] in degrees"
            )
        return
    if type(part) is not list or not part:
        raise BadRequestData(f"{kind} has {part!r:.60} where an array of coordinates must be")
    for below in part:
        _check_coordinates(kind, below, rank - 1)
    if rank == 1 and "Polygon" in kind and (len(part) < 4 or part[0] != part[-1]):
        raise BadRequestData(f"{kind} has a ring that is not closed or has fewer than 4 positions")
    if rank == 1 and "LineString" in kind and len(part) < 2:
        raise BadRequestData(f"{kind} has a line of fewer than 2 positions")


def _is_position(part: Any) -> bool:
    return (
        type(part) is list
        and 2 <= len(part) <= 4
        and _NUMBER.issuperset(map(type, part))
        and -180 <= part[0] <= 180
        and -90 <= part[1] <= 90
    )
