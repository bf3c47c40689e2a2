"""Entities in every representation: what is accepted, what is refused and how, what comes back."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from autocity.errors import BadRequestData
from autocity.ld.context import CORE, CORE_TERMS, DEFAULT, NGSI_LD, Context, Term
from autocity.ld.entity import (
    MAX_DEPTH,
    MAX_FAULTS,
    Partial,
    Projection,
    View,
    choose_language,
    parse_attribute,
    parse_entity,
    parse_evolution,
    parse_fragment,
    parse_instances,
    parse_projection,
    parse_simplified,
    render,
    render_feature,
    render_features,
)
from autocity.model import DELETE, NGSI_LD_NULL, Attribute, Entity
from strategies import entities, json

NULL = NGSI_LD_NULL
OWN = Context(
    CORE_TERMS | {"ex": Term("https://example.org/", prefix=True), "tempo": Term(DEFAULT + "speed")},
    "https://example.org/context.jsonld",
)


def entity(**attributes: Any) -> dict[str, Any]:
    return {"id": "urn:ngsi-ld:Vehicle:1", "type": "Vehicle", **attributes}


def parsed(raw: Any, **options: Any) -> tuple[Attribute, ...]:
    """The instances of one attribute of an entity."""
    (instances,) = parse_entity(entity(a=raw), CORE).attributes.values()
    return instances


def one(raw: Any) -> Attribute:
    (instance,) = parsed(raw)
    return instance


def fault(body: Any, context: Context = CORE) -> str:
    with pytest.raises(BadRequestData) as refusal:
        parse_entity(body, context)
    return refusal.value.detail


def shown(attribute: Any, **view: Any) -> Any:
    """One attribute after parsing and rendering."""
    return render(parse_entity(entity(a=attribute), CORE), View(**view)).get("a")


# Round trips


@given(entities(system=False), st.sampled_from([CORE, OWN]), st.sampled_from(["normalized", "concise"]))
def test_what_is_rendered_is_read_back(value: Entity, context: Context, form: Any) -> None:
    body = render(value, View(context=context, form=form, sys_attrs=True))
    # Through JSON, as it would travel.
    assert parse_entity(msgspec.json.decode(msgspec.json.encode(body)), context) == value


@given(json.filter(lambda value: value is not None and "urn:ngsi-ld:null" not in str(value)))
def test_values_of_properties_are_opaque(value: Any) -> None:
    assert shown({"type": "Property", "value": value}) == {"type": "Property", "value": value}


@given(st.dictionaries(st.text(max_size=5), json))
def test_json_is_opaque(value: Any) -> None:
    assert shown({"type": "JsonProperty", "json": value})["json"] == value


@given(json)
def test_anything_at_all_is_parsed_or_refused(body: Any) -> None:
    for parse in (parse_entity, parse_simplified, parse_fragment):
        try:
            parse(entity(a=body), CORE)
            parse(body, CORE)
        except BadRequestData as refusal:
            assert refusal.detail


# The entity itself (4.5.1)


def test_an_entity_has_its_members() -> None:
    body = {
        "@context": "ignored here",
        "id": "urn:x:1",
        "type": ["Car", "ex:Thing"],
        "scope": ["/Madrid", "B"],
        "expiresAt": "2030-01-01T00:00:00,5Z",
        "createdAt": "whatever",
        "speed": {"type": "Property", "value": 1},
    }
    assert parse_entity(body, OWN) == Entity(
        id="urn:x:1",
        types=(DEFAULT + "Car", "https://example.org/Thing"),
        scopes=("/Madrid", "B"),
        expires_at="2030-01-01T00:00:00.5Z",
        attributes={DEFAULT + "speed": (Attribute(kind="Property", value=1),)},
    )


def test_keywords_may_stand_for_id_and_type() -> None:
    assert parse_entity({"@id": "urn:x:1", "@type": "Car"}, CORE) == Entity(
        id="urn:x:1", types=(DEFAULT + "Car",)
    )


@pytest.mark.parametrize("body", [None, 1, "text", [], [{}]])
def test_an_entity_is_an_object(body: Any) -> None:
    assert "must be a JSON object" in fault(body)


@pytest.mark.parametrize(
    "id", [None, 1, "", "no uri", "urn:", "a b:c", "urn:x:<1>", "urn:x:\n", NULL, "urn:x:" + "y" * 3_000]
)
def test_an_id_is_a_uri(id: Any) -> None:
    assert fault({"id": id, "type": "T"}).startswith("id: ")


INVISIBLE = [
    0x202E,
    0x200B,
    0xFEFF,
    0x2028,
    0xA0,
    0x3C,
    0xFE0F,
    0xE0100,
    0xFDD0,
    0xFFFE,
    0x115F,
    0x3164,
    0xFFA0,
    0x2800,
]


@pytest.mark.parametrize("codepoint", INVISIBLE)
def test_an_id_shows_what_it_is(codepoint: int) -> None:
    assert fault({"id": f"urn:x:A{chr(codepoint)}B", "type": "T"}).startswith("id: ")


@pytest.mark.parametrize("id", ["urn:x:París", "https://例え.jp/車/1?a=b#c", "a+b.c-1:%20"])
def test_an_id_may_be_an_iri(id: str) -> None:
    assert parse_entity({"id": id, "type": "T"}, CORE).id == id


@pytest.mark.parametrize("type", [None, 1, "", [], [1], ["A", None], "9T", "a b", {"a": 1}])
def test_a_type_is_a_name_or_several(type: Any) -> None:
    assert fault({"id": "urn:x:1", "type": type}).startswith("type: ")


def test_what_is_missing_is_named() -> None:
    assert fault({}) == "id is missing; type is missing"


@pytest.mark.parametrize("scope", ["9bad", "/a//b", "a-b", "", "/", NULL, ["/ok", "9bad"], 1, None, {"a": 1}])
def test_scopes_follow_their_grammar(scope: Any) -> None:
    assert fault(entity(scope=scope)).startswith("scope: ")


@pytest.mark.parametrize(
    "text", ["2026-13-45T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00+01:00", 1, None, NULL]
)
def test_date_times_are_utc(text: Any) -> None:
    assert fault(entity(expiresAt=text)).startswith("expiresAt: ")
    assert fault(entity(a={"value": 1, "observedAt": text})).startswith("a: observedAt: ")


def test_everything_wrong_is_said_at_once() -> None:
    body = {
        "type": "9",
        "a": {"type": "Property"},
        "b c": 1,
        "d": {"object": "x"},
        "e": {"value": 1, "f": {"object": 2}},
    }
    assert fault(body).split("; ") == [
        "type: '9' is no name: use a letter, then letters, digits and _, or a full IRI",
        "a: value is missing",
        "b c: 'b c' is no name: use a letter, then letters, digits and _, or a full IRI",
        "d: object must be a URI or an array of URIs",
        "e: f: object must be a URI or an array of URIs",
        "id is missing",
    ]


def test_a_refusal_has_an_end() -> None:
    detail = fault(entity(**{f"a{n}": {"type": "Property"} for n in range(1_000)}))
    assert detail.endswith(f"and {1_000 - MAX_FAULTS} more")
    assert len(detail) < 1_000


def test_two_names_of_one_attribute_are_refused() -> None:
    assert "twice" in fault(entity(speed=1, tempo=2), OWN)
    assert "twice" in fault(entity(a={"value": 1, "speed": 1, "tempo": 2}), OWN)


# Kinds of attributes (4.5.2 to 4.5.24)

POINT = {"type": "Point", "coordinates": [125.3, 43.8]}

ACCEPTED: list[tuple[str, Any, Any, Any]] = [
    # kind, as sent, value in the model, value member as shown
    ("Property", {"type": "Property", "value": 5}, 5, 5),
    ("Property", {"@type": "Property", "value": 5}, 5, 5),
    ("Property", {"value": 5}, 5, 5),
    ("Property", 5, 5, 5),
    ("Property", False, False, False),
    ("Property", "text", "text", "text"),
    ("Property", [], [], []),
    ("Property", [1, [2]], [1, [2]], [1, [2]]),
    ("Property", {"street": "A"}, {"street": "A"}, {"street": "A"}),
    (
        "Property",
        {"value": {"type": "Free", "x": None}},
        {"type": "Free", "x": None},
        {"type": "Free", "x": None},
    ),
    ("Property", {"@type": "DateTime", "@value": "2026"}, *[{"@type": "DateTime", "@value": "2026"}] * 2),
    ("Property", [POINT], [POINT], [POINT]),
    ("Property", {"type": "Property", "value": POINT}, POINT, POINT),
    ("Relationship", {"type": "Relationship", "object": "urn:x:1"}, "urn:x:1", "urn:x:1"),
    ("Relationship", {"object": ["urn:x:1", "urn:x:2"]}, ["urn:x:1", "urn:x:2"], ["urn:x:1", "urn:x:2"]),
    ("GeoProperty", {"type": "GeoProperty", "value": POINT}, POINT, POINT),
    ("GeoProperty", {"value": POINT}, POINT, POINT),
    ("GeoProperty", POINT, POINT, POINT),
    (
        "GeoProperty",
        {"type": "GeoProperty", "value": '{"type":"Point","coordinates":[125.3,43.8]}'},
        POINT,
        POINT,
    ),
    ("LanguageProperty", {"languageMap": {"en": "a", "zh": ["b"]}}, *[{"en": "a", "zh": ["b"]}] * 2),
    ("VocabProperty", {"vocab": "non-commercial"}, DEFAULT + "non-commercial", "non-commercial"),
    ("VocabProperty", {"vocab": ["a", "urn:x:b"]}, [DEFAULT + "a", "urn:x:b"], ["a", "urn:x:b"]),
    ("JsonProperty", {"json": {"type": "x", "n": None}}, {"type": "x", "n": None}, {"type": "x", "n": None}),
    ("JsonProperty", {"json": [{"speed": 1}]}, [{"speed": 1}], [{"speed": 1}]),
    ("ListProperty", {"valueList": [1, [2], None]}, [1, [2], None], [1, [2], None]),
    ("ListRelationship", {"objectList": ["urn:x:1"]}, ["urn:x:1"], [{"object": "urn:x:1"}]),
    ("ListRelationship", {"objectList": [{"object": "urn:x:1"}]}, ["urn:x:1"], [{"object": "urn:x:1"}]),
]
MEMBER = {"Relationship": "object", "LanguageProperty": "languageMap", "VocabProperty": "vocab"} | {
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}


@pytest.mark.parametrize(("kind", "raw", "value", "public"), ACCEPTED)
def test_kinds_are_named_or_inferred(kind: Any, raw: Any, value: Any, public: Any) -> None:
    assert one(raw) == Attribute(kind=kind, value=value)
    assert shown(raw) == {"type": kind, MEMBER.get(kind, "value"): public}


REFUSED: list[tuple[Any, str]] = [
    (None, "value is null"),
    (NULL, "urn:ngsi-ld:null"),
    ({"type": "Property"}, "value is missing"),
    ({"type": "Property", "value": None}, "value is null"),
    ({"type": "Property", "value": NULL}, "urn:ngsi-ld:null"),
    ({"type": "Property", "value": {"a": [{"b": NULL}]}}, "urn:ngsi-ld:null"),
    ({"type": "Foo", "value": 1}, "'Foo' is no kind"),
    ({"type": 1, "value": 1}, "1 is no kind"),
    ({"type": None, "value": 1}, "None is no kind"),
    ({"type": ["Property"], "value": 1}, "is no kind"),
    ({"value": 1, "object": "urn:x:1"}, "value and object cannot stand together"),
    ({"type": "Property", "value": 1, "object": "urn:x:1"}, "object: cannot be sent in a Property"),
    ({"type": "Property", "value": 1, "previousValue": 0}, "previousValue: cannot be sent"),
    (
        {"type": "Relationship", "object": "urn:x:1", "previousObject": "urn:x:0"},
        "previousObject: cannot be sent",
    ),
    ({"type": "Relationship", "object": "urn:x:1", "entity": {}}, "entity: cannot be sent"),
    ({"type": "Property", "value": 1, "@context": {}}, "@context: cannot stand within"),
    ({"type": "Property", "value": 1, "entityIdSealed": "x"}, "ngsildproof only"),
    ({"type": "Property", "value": 1, "lang": "en"}, "'lang' is reserved"),
    ({"type": "Property", "value": 1, "scope": "/a"}, "'scope' is reserved"),
    ({"type": "Property", "value": 1, "unitCode": 5}, "unitCode: must be"),
    ({"type": "Property", "value": 1, "objectType": "T"}, "objectType: cannot be sent in a Property"),
    ({"type": "Property", "value": 1, "valueType": 5}, "valueType: must be"),
    ({"type": "Property", "value": 1, "datasetId": "x"}, "datasetId: must be a URI or @none"),
    ({"type": "Property", "value": 1, "datasetId": NULL}, "datasetId: must be a URI or @none"),
    ({"observedAt": "2026-01-01T00:00:00Z"}, "the value is missing"),
    ({"type": "Relationship", "object": "not a uri"}, "object must be"),
    ({"type": "Relationship", "object": []}, "object must be"),
    ({"type": "Relationship", "object": {"a": 1}}, "object must be"),
    ({"type": "Relationship", "object": NULL}, "urn:ngsi-ld:null"),
    ({"type": "Relationship", "object": "urn:x:1", "unitCode": "KMH"}, "no unit"),
    ({"type": "Relationship", "object": "urn:x:1", "objectType": "9"}, "objectType: '9' is no name"),
    ({"type": "Relationship", "object": "urn:x:1", "valueType": "T"}, "valueType: cannot be sent"),
    ({"type": "LanguageProperty", "languageMap": {"en": 5}}, "languageMap must have"),
    ({"type": "LanguageProperty", "languageMap": {"en": ["a", 5]}}, "languageMap must have"),
    ({"type": "LanguageProperty", "languageMap": {"": "x"}}, "no language tag"),
    ({"type": "LanguageProperty", "languageMap": {}}, "languageMap must be"),
    ({"type": "LanguageProperty", "languageMap": {"@none": NULL}}, "urn:ngsi-ld:null"),
    ({"type": "LanguageProperty", "languageMap": {"en": "x"}, "unitCode": "KMH"}, "no unit"),
    (
        {"type": "LanguageProperty", "languageMap": {"en": "x"}, "valueType": "xsd:string"},
        "must be langString",
    ),
    ({"type": "VocabProperty", "vocab": 5}, "vocab must be"),
    ({"type": "VocabProperty", "vocab": ["a", 5]}, "vocab must be"),
    ({"type": "JsonProperty", "json": 5}, "json must be"),
    ({"type": "JsonProperty", "json": {}, "unitCode": "KMH"}, "no unit"),
    ({"type": "JsonProperty", "json": {}, "value": 1}, "value: cannot be sent"),
    ({"type": "ListProperty", "valueList": 5}, "valueList must be"),
    ({"type": "ListProperty", "valueList": [NULL]}, "urn:ngsi-ld:null"),
    ({"type": "ListRelationship", "objectList": ["not a uri"]}, "objectList must be"),
    ({"type": "ListRelationship", "objectList": [{"object": "urn:x:1", "b": 1}]}, "objectList must be"),
    ([{"value": 1}, {"value": 2}], "the default instance is there twice"),
    ([{"value": 1, "datasetId": "urn:x:d"}, {"value": 2, "datasetId": "urn:x:d"}], "urn:x:d is there twice"),
    ([{"value": 1, "datasetId": "@none"}, {"value": 2}], "the default instance is there twice"),
    ([{"type": "Property", "value": 1}, 5], "every instance"),
]


@pytest.mark.parametrize(("raw", "reason"), REFUSED)
def test_what_breaks_the_rules_is_refused(raw: Any, reason: str) -> None:
    detail = fault(entity(a=raw))
    assert detail.startswith("a: ")
    assert reason in detail


GEOMETRIES = [
    {"type": "Point", "coordinates": [200, 0]},
    {"type": "Point", "coordinates": [0, 91]},
    {"type": "Point", "coordinates": [0]},
    {"type": "Point", "coordinates": ["0", "0"]},
    {"type": "Point", "coordinates": [True, 0]},
    {"type": "Point", "coordinates": [[0, 0]]},
    {"type": "LineString", "coordinates": [[0, 0]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [0, 0]]]},
    {"type": "Polygon", "coordinates": []},
    {"type": "MultiPolygon", "coordinates": [[[[0, 0], [1, 0], [1, 1], [0, 1]]]]},
    {"type": "MultiPoint", "coordinates": 5},
    {"type": "GeometryCollection", "geometries": []},
    {"type": "Point"},
    "not a geometry",
    '{"type":"Point"}',
    5,
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_geometries_are_checked(geometry: Any) -> None:
    assert fault(entity(a={"type": "GeoProperty", "value": geometry})).startswith("a: ")


def test_a_self_intersecting_polygon_is_kept() -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    assert one(bow_tie).value == bow_tie


@pytest.mark.parametrize("name", ["location", "observationSpace", "operationSpace"])
def test_places_of_the_core_are_geospatial(name: str) -> None:
    assert parse_entity(entity(**{name: POINT}), CORE).attributes[NGSI_LD + name][0].kind == "GeoProperty"
    assert fault(entity(**{name: {"type": "Property", "value": 7}})) == f"{name}: must be a GeoProperty"
    with pytest.raises(BadRequestData):
        parse_attribute({"type": "Property", "value": 7}, CORE, name)


def test_what_stands_beside_the_value() -> None:
    raw = {
        "type": "Property",
        "value": 5,
        "unitCode": "KMH",
        "observedAt": {"@type": "DateTime", "@value": "2026-01-01T00:00:00Z"},
        "datasetId": "urn:x:d",
        "valueType": "xsd:double",
        "expiresAt": "2030-01-01T00:00:00Z",
        "createdAt": "ignored",
        "instanceId": "urn:x:ignored",
        "source": {"type": "Property", "value": "GPS", "owner": {"object": "urn:x:1"}},
        "accuracy": [{"value": 1}, {"value": 2, "datasetId": "urn:x:e"}],
    }
    owner = Attribute(kind="Relationship", value="urn:x:1")
    assert one(raw) == Attribute(
        kind="Property",
        value=5,
        unit_code="KMH",
        observed_at="2026-01-01T00:00:00Z",
        dataset_id="urn:x:d",
        extra={"valueType": "xsd:double", "expiresAt": "2030-01-01T00:00:00Z"},
        sub={
            DEFAULT + "source": (Attribute(kind="Property", value="GPS", sub={DEFAULT + "owner": (owner,)}),),
            DEFAULT + "accuracy": (
                Attribute(kind="Property", value=1),
                Attribute(kind="Property", value=2, dataset_id="urn:x:e"),
            ),
        },
    )


def test_types_of_objects_are_names() -> None:
    raw = {"type": "Relationship", "object": "urn:x:1", "objectType": ["City", "urn:x:T"]}
    assert one(raw).extra == {"objectType": [DEFAULT + "City", "urn:x:T"]}
    assert shown(raw) == raw


def test_a_proof_has_sealed_members() -> None:
    proof = {
        "type": "Property",
        "value": {"type": "P"},
        "entityIdSealed": "urn:x:1",
        "entityTypeSealed": "Vehicle",
    }
    read = parse_entity(entity(ngsildproof=proof), CORE)
    assert read.attributes[NGSI_LD + "ngsildproof"][0].extra["entityTypeSealed"] == DEFAULT + "Vehicle"
    assert render(read, View())["ngsildproof"] == proof
    assert "with the proof" in fault(entity(ngsildproof={"type": "Property", "value": "text"}))
    assert "entityTypeSealed" in fault(entity(ngsildproof=proof | {"entityTypeSealed": 42}))


# Fragments (5.4, 5.5.8, 5.5.12)


def fragment(raw: Any, **options: Any) -> Any:
    """The instances of one attribute of a fragment."""
    return parse_fragment({"a": raw}, CORE, **options).attributes[DEFAULT + "a"]


def test_what_was_not_sent_is_unset() -> None:
    empty = parse_fragment({}, CORE)
    assert (empty.id, empty.types, empty.scopes, empty.expires_at, empty.attributes) == (
        None,
        UNSET,
        UNSET,
        UNSET,
        {},
    )


def test_members_of_a_fragment() -> None:
    sent = parse_fragment(entity(scope="/a", expiresAt="2030-01-01T00:00:00Z"), CORE)
    assert sent.id == "urn:ngsi-ld:Vehicle:1"
    assert sent.types == (DEFAULT + "Vehicle",)
    assert sent.scopes == ("/a",)
    assert sent.expires_at == "2030-01-01T00:00:00Z"


def test_null_takes_members_of_an_entity_away() -> None:
    sent = parse_fragment({"scope": NULL, "expiresAt": NULL, "a": NULL}, CORE)
    assert (sent.scopes, sent.expires_at) == (None, None)
    assert sent.attributes[DEFAULT + "a"] is DELETE


NULLS: list[tuple[str, Any]] = [
    ("Property", {"type": "Property", "value": NULL}),
    ("Property", {"value": NULL}),
    ("GeoProperty", {"type": "GeoProperty", "value": NULL}),
    ("Relationship", {"object": NULL}),
    ("LanguageProperty", {"languageMap": {"@none": NULL}}),
    ("VocabProperty", {"vocab": NULL}),
    ("JsonProperty", {"json": {"@type": "@json", "@value": None}}),
    ("JsonProperty", {"json": NULL}),
    ("ListProperty", {"valueList": [NULL]}),
    ("ListRelationship", {"objectList": [NULL]}),
    ("ListRelationship", {"objectList": [{"object": NULL}]}),
]


@pytest.mark.parametrize(("kind", "raw"), NULLS)
def test_every_spelling_of_null_is_one_value(kind: str, raw: Any) -> None:
    (sent,) = fragment(raw | {"datasetId": "urn:x:d"})
    assert (sent.kind, sent.value, sent.dataset_id) == (kind, NULL, "urn:x:d")


@pytest.mark.parametrize("raw", [NULL, *(raw for _, raw in NULLS)])
def test_null_may_be_forbidden(raw: Any) -> None:
    with pytest.raises(BadRequestData, match=NULL):
        fragment(raw, nulls=False)


def test_null_within_a_value_is_for_merge_alone() -> None:
    raw = {"type": "Property", "value": {"city": NULL}}
    assert fragment(raw, partial=True)[0].value == {"city": NULL}
    with pytest.raises(BadRequestData):
        fragment(raw)
    with pytest.raises(BadRequestData):
        parse_attribute(raw, CORE, "a", nulls=True, partial=True)


def test_a_whole_attribute_is_needed_unless_partial() -> None:
    with pytest.raises(BadRequestData, match="value is missing"):
        fragment({"type": "Property", "unitCode": "KMH"})
    assert fragment({"type": "Property", "unitCode": "KMH"}, partial=True) == (
        Partial(kind="Property", value=UNSET, unit_code="KMH", typed=True),
    )
    assert fragment({"unitCode": "KMH"}, partial=True) == (
        Partial(kind="Property", value=UNSET, unit_code="KMH", typed=False),
    )


def test_null_members_take_away_in_parts_and_are_nothing_in_wholes() -> None:
    raw = {"value": 1, "unitCode": NULL, "observedAt": NULL, "valueType": NULL, "sub": NULL}
    (part,) = fragment(raw, partial=True)
    assert (part.unit_code, part.observed_at, part.extra) == (NULL, NULL, {"valueType": NULL})
    assert part.sub == {DEFAULT + "sub": DELETE}
    assert fragment(raw) == (Attribute(kind="Property", value=1),)


def test_an_object_in_a_merge_is_a_value_unless_it_reads_like_an_attribute() -> None:
    assert fragment({"city": "Berlin"}, partial=True)[0].value == {"city": "Berlin"}
    assert fragment({"by": {"object": "urn:x:1"}}, partial=True)[0].value is UNSET


def test_an_attribute_fragment_is_a_part_of_the_attribute() -> None:
    (part,) = parse_attribute({"by": 5, "@context": "left out"}, CORE, "a", partial=True)
    assert part == Partial(
        kind="Property", value=UNSET, sub={DEFAULT + "by": (Attribute(kind="Property", value=5),)}
    )
    (whole,) = parse_attribute({"value": 5, "datasetId": "urn:x:d"}, CORE, "a")
    assert whole == Attribute(kind="Property", value=5, dataset_id="urn:x:d")
    assert len(parse_attribute([{"value": 5}, {"value": 6, "datasetId": "urn:x:d"}], CORE, "a")) == 2


@pytest.mark.parametrize("body", [5, None, "text", [], [5]])
def test_an_attribute_fragment_is_an_object(body: Any) -> None:
    with pytest.raises(BadRequestData, match="must be a JSON object"):
        parse_attribute(body, CORE, "a")


def test_an_attribute_fragment_without_value_is_refused_when_whole() -> None:
    with pytest.raises(BadRequestData, match="value is missing"):
        parse_attribute({"unitCode": "KMH"}, CORE, "a")


# Histories (5.2.20)


def test_an_evolution_holds_many_instances_of_one_dataset() -> None:
    body = entity(
        scope="/a", speed=[{"value": 1}, {"value": 2}, {"value": NULL}], name={"value": "x"}, gone=[]
    )
    read = parse_evolution(body, CORE)
    assert read.scopes == ("/a",)
    assert {name: [each.value for each in instances] for name, instances in read.attributes.items()} == {
        DEFAULT + "speed": [1, 2, NULL],
        DEFAULT + "name": ["x"],
    }
    assert list(read.attributes) == list(parse_instances(body, CORE))


def test_all_faults_of_an_evolution_are_named() -> None:
    with pytest.raises(BadRequestData) as refusal:
        parse_instances({"a": [{"value": None}], "b": NULL, "c d": [{"value": 1}]}, CORE)
    for said in ("a: value is null", "b must hold instances", "'c d' is no name"):
        assert said in refusal.value.detail
    with pytest.raises(BadRequestData, match="at least one attribute"):
        parse_instances({"id": "urn:x:1"}, CORE)


def test_simplified_input() -> None:
    body = entity(
        speed=5,
        place=POINT,
        name={"languageMap": {"en": "x"}},
        raw={"json": {"a": 1}},
        state={"vocab": "on"},
        both={"dataset": {"@none": 1, "urn:x:d": {"vocab": "on"}}},
        free={"type": "Property", "value": 1},
    )
    read = parse_simplified(body, CORE)
    assert {name[len(DEFAULT) :]: each[0].kind for name, each in read.attributes.items()} == {
        "speed": "Property",
        "place": "GeoProperty",
        "name": "LanguageProperty",
        "raw": "JsonProperty",
        "state": "VocabProperty",
        "both": "Property",
        "free": "Property",
    }
    assert [each.dataset_id for each in read.attributes[DEFAULT + "both"]] == [None, "urn:x:d"]
    assert render(read, View(form="simplified")) == body
    assert parse_fragment({"speed": NULL}, CORE, simplified=True).attributes == {DEFAULT + "speed": DELETE}


# Hostile input


def nested(depth: int, wrap: Any) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "raw",
    [
        nested(900, lambda inner: [inner]),
        nested(900, lambda inner: {"a": inner}),
        {"json": nested(900, lambda inner: {"a": inner})},
        {"valueList": nested(900, lambda inner: [inner])},
        nested(MAX_DEPTH + 2, lambda inner: {"value": 1, "a": inner}),
        nested(300, lambda inner: {"value": 1, "a": inner}),
        {
            "type": "GeoProperty",
            "value": {"type": "Point", "coordinates": nested(900, lambda inner: [inner])},
        },
    ],
)
def test_deep_nesting_is_refused(raw: Any) -> None:
    begun = time.process_time()
    fault(entity(a=raw))
    assert time.process_time() - begun < 0.5


# Views


STREET = {"type": "LanguageProperty", "languageMap": {"fr": "Grand Place", "nl": "Grote Markt"}}


@pytest.mark.parametrize(
    ("raw", "concise", "simplified"),
    [
        ({"type": "Property", "value": 5}, 5, 5),
        ({"type": "Property", "value": {"type": "x"}}, {"value": {"type": "x"}}, {"type": "x"}),
        ({"type": "Property", "value": [{"value": 1}]}, {"value": [{"value": 1}]}, [{"value": 1}]),
        ({"type": "Property", "value": POINT}, {"type": "Property", "value": POINT}, POINT),
        ({"type": "Property", "value": 5, "unitCode": "KMH"}, {"value": 5, "unitCode": "KMH"}, 5),
        ({"type": "GeoProperty", "value": POINT}, POINT, POINT),
        ({"type": "Relationship", "object": "urn:x:1"}, {"object": "urn:x:1"}, "urn:x:1"),
        (STREET, {"languageMap": STREET["languageMap"]}, {"languageMap": STREET["languageMap"]}),
        ({"type": "VocabProperty", "vocab": "on"}, {"vocab": "on"}, {"vocab": "on"}),
        ({"type": "JsonProperty", "json": {"a": 1}}, {"json": {"a": 1}}, {"json": {"a": 1}}),
        ({"type": "ListProperty", "valueList": [1]}, {"valueList": [1]}, [1]),
        ({"type": "ListRelationship", "objectList": ["urn:x:1"]}, {"objectList": ["urn:x:1"]}, ["urn:x:1"]),
        (
            [{"type": "Property", "value": 1}, {"type": "Property", "value": 2, "datasetId": "urn:x:d"}],
            [{"value": 1}, {"value": 2, "datasetId": "urn:x:d"}],
            {"dataset": {"@none": 1, "urn:x:d": 2}},
        ),
    ],
)
def test_concise_and_simplified(raw: Any, concise: Any, simplified: Any) -> None:
    assert shown(raw, form="concise") == concise
    assert shown(raw, form="simplified") == simplified


def test_deleted_attributes_in_notifications() -> None:
    for kind, public in {
        "Property": {"value": NULL},
        "LanguageProperty": {"languageMap": {"@none": NULL}},
        "JsonProperty": {"json": NULL},
        "VocabProperty": {"vocab": NULL},
        "ListRelationship": {"objectList": [NULL]},
        "Relationship": {"object": NULL},
    }.items():
        deleted = Attribute(kind=kind, value=NULL)  # type: ignore[arg-type]
        gone = Entity(id="urn:x:1", types=("urn:x:T",), attributes={DEFAULT + "a": (deleted,)})
        assert render(gone, View())["a"] == {"type": kind, **public}


def test_previous_values_in_notifications() -> None:
    before = {"previousVocab": DEFAULT + "old", "previousObjectList": ["urn:x:0"]}
    changed = Attribute(kind="VocabProperty", value=DEFAULT + "new", extra=before)
    after = Entity(id="urn:x:1", types=("urn:x:T",), attributes={DEFAULT + "a": (changed,)})
    assert render(after, View())["a"] == {
        "type": "VocabProperty",
        "vocab": "new",
        "previousVocab": "old",
        "previousObjectList": [{"object": "urn:x:0"}],
    }


def test_system_attributes_are_shown_on_demand() -> None:
    speed = Attribute(
        kind="Property",
        value=1,
        created_at=1_000_000,
        modified_at=2_500_000,
        extra={"expiresAt": "2030-01-01T00:00:00Z"},
    )
    whole = Entity(
        id="urn:x:1",
        types=("urn:x:T",),
        attributes={DEFAULT + "speed": (speed,)},
        created_at=1_000_000,
        modified_at=2_500_000,
        expires_at="2031-01-01T00:00:00Z",
    )
    times = {"createdAt": "1970-01-01T00:00:01Z", "modifiedAt": "1970-01-01T00:00:02.5Z"}
    assert render(whole, View(sys_attrs=True)) == {
        "id": "urn:x:1",
        "type": "urn:x:T",
        **times,
        "expiresAt": "2031-01-01T00:00:00Z",
        "speed": {"type": "Property", "value": 1, "expiresAt": "2030-01-01T00:00:00Z", **times},
    }
    assert render(whole, View()) == {
        "id": "urn:x:1",
        "type": "urn:x:T",
        "speed": {"type": "Property", "value": 1},
    }


def test_the_context_is_embedded_on_demand() -> None:
    plain = parse_entity(entity(), OWN)
    assert render(plain, View(context=OWN, embed=True))["@context"] == "https://example.org/context.jsonld"
    assert "@context" not in render(plain, View(context=OWN))


def test_datasets_are_selected() -> None:
    raw = [{"value": 1}, {"value": 2, "datasetId": "urn:x:d"}, {"value": 3, "datasetId": "urn:x:e"}]
    assert shown(raw, dataset_ids=frozenset(["@none"])) == {"type": "Property", "value": 1}
    assert [each["value"] for each in shown(raw, dataset_ids=frozenset(["urn:x:d", "@none"]))] == [1, 2]
    assert shown(raw, dataset_ids=frozenset(["urn:x:unknown"])) is None


def test_scopes_and_types_are_one_or_many() -> None:
    one_of_each = parse_entity(entity(scope="/a"), CORE)
    assert render(one_of_each, View()) == entity(scope="/a")
    many = {"id": "urn:x:1", "type": ["A", "B"], "scope": ["/a", "/b"]}
    assert render(parse_entity(many, CORE), View()) == many


# Projection (4.21)

WHOLE = parse_entity(entity(name=1, speed=2, scope="/a"), CORE)


@pytest.mark.parametrize(
    ("pick", "members"),
    [
        ("name", ["name"]),
        ("id", ["id"]),
        ("id,name", ["id", "name"]),
        ("id|type,scope", ["id", "type", "scope"]),
        ("unknown", []),
    ],
)
def test_pick(pick: str, members: list[str]) -> None:
    assert list(render(WHOLE, View(pick=parse_projection(pick, CORE)))) == members


@pytest.mark.parametrize(
    ("omit", "members"),
    [
        ("name", ["id", "type", "scope", "speed"]),
        ("id,type", ["scope", "name", "speed"]),
        ("name{x}", ["id", "type", "scope", "name", "speed"]),
        ("id,type,scope,name,speed", []),
    ],
)
def test_omit(omit: str, members: list[str]) -> None:
    assert list(render(WHOLE, View(omit=parse_projection(omit, CORE)))) == members


def test_attributes_keep_the_members_of_the_entity() -> None:
    assert list(render(WHOLE, View(attributes=frozenset([DEFAULT + "speed"])))) == [
        "id",
        "type",
        "scope",
        "speed",
    ]


def test_projections_nest() -> None:
    assert parse_projection("id,owner{name,ex:home{id}}", OWN) == Projection(
        {
            "id": None,
            DEFAULT + "owner": Projection(
                {DEFAULT + "name": None, "https://example.org/home": Projection({"id": None})}
            ),
        }
    )
    assert parse_projection("a", CORE).depth() == 0
    assert parse_projection("a,b{c{d}}", CORE).depth() == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "a,",
        ",a",
        "a,,b",
        "a||b",
        "a;b",
        "a{",
        "a{b",
        "a{{b}",
        "a{}",
        "a{,b}",
        "a}",
        "a{b}c",
        "a,a",
        " a",
    ],
)
def test_a_malformed_projection_is_refused(text: str) -> None:
    with pytest.raises(BadRequestData, match="position"):
        parse_projection(text, CORE)


def test_a_deep_projection_is_refused() -> None:
    with pytest.raises(BadRequestData, match="position"):
        parse_projection("a{" * 10_000, CORE)


# Linked entities (4.5.23)

PARIS = Entity(
    id="urn:x:Paris",
    types=(DEFAULT + "City",),
    attributes={DEFAULT + "name": (Attribute(kind="Property", value="P"),)},
)


def linking(linked: Any, objects: Any) -> Entity:
    at = Attribute(kind="Relationship", value=objects, extra={"entity": linked})
    return Entity(id="urn:x:1", types=(DEFAULT + "B",), attributes={DEFAULT + "at": (at,)})


def test_a_linked_entity_stands_in_its_relationship() -> None:
    city = {"id": "urn:x:Paris", "type": "City", "name": {"type": "Property", "value": "P"}}
    assert render(linking(PARIS, "urn:x:Paris"), View())["at"]["entity"] == city
    both = linking((PARIS,), ["urn:x:Paris", "urn:x:Rome"])
    assert render(both, View())["at"]["entity"] == [city]
    assert render(both, View(form="simplified"))["at"] == [
        {"id": "urn:x:Paris", "type": "City", "name": "P"},
        "urn:x:Rome",
    ]


def test_a_projection_reaches_into_linked_entities() -> None:
    pick = parse_projection("id,at{id,name}", CORE)
    assert render(linking(PARIS, "urn:x:Paris"), View(pick=pick, form="simplified")) == {
        "id": "urn:x:1",
        "at": {"id": "urn:x:Paris", "name": "P"},
    }
    omit = parse_projection("type,at{name}", CORE)
    assert render(linking(PARIS, "urn:x:Paris"), View(omit=omit, form="simplified")) == {
        "id": "urn:x:1",
        "at": {"id": "urn:x:Paris", "type": "City"},
    }


# GeoJSON (4.5.16, 4.5.17)


def test_a_feature() -> None:
    placed = parse_entity(entity(location=POINT, speed=5), CORE)
    assert render_feature(placed, View(embed=True, context=OWN)) == {
        "id": "urn:ngsi-ld:Vehicle:1",
        "type": "Feature",
        "geometry": POINT,
        "properties": {
            "type": "Vehicle",
            "location": {"type": "GeoProperty", "value": POINT},
            "tempo": {"type": "Property", "value": 5},
        },
        "@context": "https://example.org/context.jsonld",
    }
    simplified = render_feature(placed, View(form="simplified"))
    assert simplified["properties"] == {"type": "Vehicle", "location": POINT, "speed": 5}


def test_features_carry_the_context_once() -> None:
    placed = parse_entity(entity(location=POINT), CORE)
    collection = render_features([placed, placed], View(embed=True, context=OWN))
    assert collection["@context"] == "https://example.org/context.jsonld"
    assert all("@context" not in feature for feature in collection["features"])
    assert render_features([], View()) == {"type": "FeatureCollection", "features": []}


def test_the_geometry_of_a_feature_is_chosen() -> None:
    other = {"type": "Point", "coordinates": [1, 2]}
    placed = parse_entity(
        entity(location=[{"value": POINT}, {"value": other, "datasetId": "urn:x:d"}], speed=5), CORE
    )
    assert render_feature(placed, View())["geometry"] == POINT
    assert render_feature(placed, View(dataset_ids=frozenset(["urn:x:d"])))["geometry"] == other
    assert render_feature(placed, View(geometry_property=DEFAULT + "speed"))["geometry"] is None
    assert render_feature(placed, View(geometry_property=DEFAULT + "unknown"))["geometry"] is None


# Languages (4.15)


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("fr", "fr"),
        ("fr-CH,fr", "fr"),
        ("*", "fr"),
        ("fr-CH,fr;q=0.9,en;q=0.8,*;q=0.5", "fr"),
        ("fr;q=0.2,nl;q=0.9", "nl"),
        ("NL", "nl"),
        ("nl-BE", "nl"),
        ("de;q=0, nl", "nl"),
        ("nl;q=x,fr;q=0.1", "fr"),
        ("pt", "fr"),
        ("", "fr"),
    ],
)
def test_the_language_that_fits_best(wanted: str, language: str) -> None:
    texts: Any = STREET["languageMap"]
    assert choose_language(texts, wanted) == (language, texts[language])


def test_a_short_range_takes_a_longer_tag() -> None:
    assert choose_language({"de": "x", "en-US": "y"}, "en") == ("en-US", "y")
    assert choose_language({"de": "x", "@none": "y"}, "en") == ("@none", "y")


def test_a_language_filter_makes_properties() -> None:
    assert shown(STREET, lang="nl") == {"type": "Property", "value": "Grote Markt", "lang": "nl"}
    assert shown(STREET, lang="nl", form="concise") == {"value": "Grote Markt", "lang": "nl"}
    assert shown(STREET, lang="nl", form="simplified") == "Grote Markt"
    assert shown({"value": 5, "note": STREET}, lang="nl")["note"]["lang"] == "nl"
