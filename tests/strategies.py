"""Hypothesis strategies for what the city is made of, as the model holds it: values, attributes, entities."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from autocity.ld.context import DEFAULT, NGSI_LD
from autocity.ld.instants import timestamp
from autocity.model import NGSI_LD_NULL, Attribute, Entity

NOW = 1_795_000_000_000_000
"""An instant in November 2026; generated instants lie before and after it."""

TYPES = [DEFAULT + "Vehicle", "https://example.org/Building", NGSI_LD + "Property", "urn:example:Škola"]
NAMES = [
    DEFAULT + "speed",
    DEFAULT + "výška_1",
    "https://example.org/name",
    "urn:example:x",
    "http://purl.org/dc/terms/title",
]
SUB_NAMES = [DEFAULT + "accuracy", "https://example.org/providedBy", DEFAULT + "speed"]

instants = st.integers(NOW - 10**15, NOW + 10**15)
date_times = instants.map(timestamp)
text = st.text(max_size=12)
uris = st.sampled_from(
    ["urn:ngsi-ld:Vehicle:1", "urn:ngsi-ld:Vehicle:2", "https://example.org/a?b=c#d", "urn:x:París"]
)
dataset_ids = st.sampled_from(
    [None, "urn:ngsi-ld:Dataset:1", "urn:ngsi-ld:Dataset:2", "https://example.org/gps"]
)

numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.booleans() | numbers | text
keys = st.text(max_size=6) | st.sampled_from(["type", "value", "object", "coordinates", "@value", "unitCode"])
json = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
values = scalars | st.lists(json, max_size=3) | st.dictionaries(keys, json, max_size=3)
"""Any JSON value of a Property: not null itself."""

positions = st.tuples(st.floats(-180, 180), st.floats(-90, 90)).map(list)
rings = st.lists(positions, min_size=3, max_size=5).map(lambda ring: [*ring, ring[0]])


def _geometry(kind: str, coordinates: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return coordinates.map(lambda content: {"type": kind, "coordinates": content})


geometries = (
    _geometry("Point", positions)
    | _geometry("MultiPoint", st.lists(positions, min_size=1, max_size=3))
    | _geometry("LineString", st.lists(positions, min_size=2, max_size=4))
    | _geometry(
        "MultiLineString", st.lists(st.lists(positions, min_size=2, max_size=3), min_size=1, max_size=2)
    )
    | _geometry("Polygon", st.lists(rings, min_size=1, max_size=2))
    | _geometry("MultiPolygon", st.lists(st.lists(rings, min_size=1, max_size=1), min_size=1, max_size=2))
)

languages = st.sampled_from(["en", "zh-Hans", "fr-CH", "de", "@none"])
language_maps = st.dictionaries(languages, text | st.lists(text, max_size=2), min_size=1, max_size=3)
vocabulary = st.sampled_from([DEFAULT + "non-commercial", "https://example.org/Car", "urn:example:red"])

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Property": values,
    "Relationship": uris | st.lists(uris, min_size=1, max_size=3),
    "GeoProperty": geometries,
    "LanguageProperty": language_maps,
    "VocabProperty": vocabulary | st.lists(vocabulary, min_size=1, max_size=2),
    "JsonProperty": st.dictionaries(keys, json, max_size=3)
    | st.lists(st.dictionaries(keys, json), max_size=2),
    "ListProperty": st.lists(json, max_size=3),
    "ListRelationship": st.lists(uris, max_size=3),
}
"""By kind of attribute, what its value may be in the model."""


def _holds_null(value: Any) -> bool:
    return value == NGSI_LD_NULL


@st.composite
def extras(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """Members of the standard without a field of their own."""
    extra: dict[str, Any] = {}
    types = st.sampled_from(TYPES)
    if kind in ("Relationship", "ListRelationship"):
        if draw(st.booleans()):
            extra["objectType"] = draw(types | st.lists(types, min_size=1, max_size=2))
    elif draw(st.booleans()):
        langString = "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString"
        extra["valueType"] = langString if kind == "LanguageProperty" else draw(vocabulary)
    if draw(st.booleans()):
        extra["expiresAt"] = draw(date_times)
    return extra


@st.composite
def attributes(
    draw: st.DrawFn,
    kind: str | None = None,
    depth: int = 1,
    dataset_id: str | None = None,
    system: bool = True,
) -> Attribute:
    """One instance of an attribute. `depth`: levels of attributes below it; `system`: with times."""
    kind = kind or draw(st.sampled_from(sorted(VALUES)))
    rich = draw(st.booleans())
    with_unit = rich and kind in ("Property", "ListProperty")
    return Attribute(
        kind=kind,  # type: ignore[arg-type]
        value=draw(VALUES[kind].filter(lambda value: not _holds_null(value))),
        dataset_id=dataset_id,
        observed_at=draw(st.none() | date_times) if rich else None,
        unit_code=draw(st.none() | st.sampled_from(["CEL", "KMH", "P1"])) if with_unit else None,
        created_at=draw(st.just(0) | instants) if system else 0,
        modified_at=draw(st.just(0) | instants) if system else 0,
        sub=draw(_attribute_maps(SUB_NAMES, depth - 1, system)) if rich and depth else {},
        extra=draw(extras(kind)) if rich else {},
    )


@st.composite
def instances(draw: st.DrawFn, depth: int = 1, system: bool = True) -> tuple[Attribute, ...]:
    """All instances of one attribute: one kind, each dataset at most once."""
    kind = draw(st.sampled_from(sorted(VALUES)))
    ids = draw(st.just([None]) | st.lists(dataset_ids, min_size=1, max_size=3, unique=True))
    return tuple(draw(attributes(kind, depth, id, system)) for id in ids)


def _attribute_maps(names: list[str], depth: int, system: bool) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(names), instances(depth, system), max_size=3)


@st.composite
def entities(draw: st.DrawFn, system: bool = True) -> Entity:
    """An entity as the platform holds it. `system`: with the times that the platform notes."""
    created = draw(st.just(0) | instants) if system else 0
    found = draw(_attribute_maps(NAMES, 1, system))
    location = draw(st.none() | attributes("GeoProperty", 0, system=system))
    if location is not None:
        found[NGSI_LD + "location"] = (location,)
    return Entity(
        id=draw(uris),
        types=tuple(draw(st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True))),
        scopes=tuple(
            draw(st.lists(st.sampled_from(["/Madrid", "Ökö/b_1", "/A/B/C"]), max_size=2, unique=True))
        ),
        attributes=found,
        created_at=created,
        modified_at=draw(st.just(created) | instants) if system else 0,
        expires_at=draw(st.none() | date_times),
    )
