"""The types that the city speaks of, read from two files of facts, and what follows from them:
@contexts, JSON Schemas, labels, examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

NAMESPACE = "https://w3id.org/autocity/"
"""The IRI prefix of everything that is ours."""

CONTEXTS = NAMESPACE + "contexts/"
CITY_CONTEXT = CONTEXTS + "autocity.jsonld"
"""The @context of our own types and of everything the demo city uses."""

Kind = Literal["Property", "Relationship", "GeoProperty", "LanguageProperty"]
Language = Literal["en", "zh"]

CORE_TERMS = {
    "location": "https://uri.etsi.org/ngsi-ld/location",
    "description": "http://purl.org/dc/terms/description",
    "title": "http://purl.org/dc/terms/title",
    "status": "https://uri.etsi.org/ngsi-ld/status",
}
"""Attributes of ours that the core context defines; a context of ours never says them again."""

CORE_VOCABULARIES = ("https://uri.etsi.org/ngsi-ld/", "https://purl.org/geojson/vocab#")

FOLDER = Path(__file__).parent


class AttributeModel(Struct, frozen=True):
    """One attribute of a type. `schema` describes its value in key-values form, `unit` is a UN/CEFACT
    common code (None: no unit), `labels` are by language."""

    name: str
    iri: str
    kind: Kind
    schema: Mapping[str, Any]
    unit: str | None
    description: str
    labels: Mapping[str, str]


class TypeModel(Struct, frozen=True):
    """One entity type. `context` is the URL of its subject's @context; `own` tells our types from those
    of Smart Data Models; `version` is the published one of the model."""

    name: str
    iri: str
    subject: str
    context: str
    own: bool
    version: str
    description: str
    required: Sequence[str]
    attributes: Mapping[str, AttributeModel]
    labels: Mapping[str, str]


class UnknownType(LookupError):
    """The catalogue has no such type; the message names the nearest ones."""


def get(name: str) -> TypeModel:
    """The type with this short name or IRI; raises `UnknownType`."""
    found = catalogue().get(name) or _by_iri().get(name)
    if found is None:
        from difflib import get_close_matches

        near = get_close_matches(name, catalogue(), n=3)
        raise UnknownType(
            f"the catalogue has no type {name!r}" + (f"; near: {', '.join(near)}" if near else "")
        )
    return found


@cache
def catalogue() -> Mapping[str, TypeModel]:
    """Every type by its short name, ours first, each group in alphabetical order."""
    own = _own()
    types = [_own_type(name, facts, own) for name, facts in sorted(own.types.items())]
    published, words = _published(), _words()
    types += [
        _published_type(name, facts, published, words) for name, facts in sorted(published.types.items())
    ]
    return MappingProxyType({type.name: type for type in types})


@cache
def contexts() -> Mapping[str, dict[str, Any]]:
    """The built-in @contexts by URL: one per subject, and `CITY_CONTEXT`. Served, never fetched.

    One short name has many IRIs across subjects (`category` alone has ten), so no single context
    can speak for all. Terms of the core are left out: the core is appended last and wins anyway.
    """
    by_subject: dict[str, list[TypeModel]] = {}
    for type in catalogue().values():
        by_subject.setdefault(type.context, []).append(type)
    borrowed = [get(name) for name in _own().borrowed]
    by_subject[CITY_CONTEXT] += borrowed
    return {url: {"@context": _terms(types)} for url, types in by_subject.items()}


@cache
def labels(language: Language) -> Mapping[str, str]:
    """Labels of every type and attribute by short name. Where two types word an attribute differently,
    ours wins; ask the type's own `labels` for the exact one."""
    words: dict[str, str] = {}
    for type in catalogue().values():
        words.setdefault(type.name, type.labels[language])
        for attribute in type.attributes.values():
            words.setdefault(attribute.name, attribute.labels[language])
    return MappingProxyType(words)


def schema(name: str) -> dict[str, Any]:
    """JSON Schema (Draft 2020-12) of the key-values form (4.5.4) of a type; raises `UnknownType`.

    Attributes beyond the catalogue are allowed, as the standard does; those in it must fit.
    """
    type = get(name)
    properties: dict[str, Any] = {
        "id": {"type": "string", "format": "uri", "description": "URI of the entity"},
        "type": {"anyOf": [{"const": type.name}, {"type": "array", "contains": {"const": type.name}}]},
    }
    properties |= {attribute.name: value_schema(attribute) for attribute in type.attributes.values()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{NAMESPACE}schemas/{type.name}.json",
        "title": type.labels["en"],
        "description": type.description,
        "type": "object",
        "properties": properties,
        "required": ["id", "type", *type.required],
        "$defs": {"geometry": GEOMETRY, "languageMap": LANGUAGE_MAP},
    }


def value_schema(attribute: AttributeModel) -> dict[str, Any]:
    """The schema of one attribute's value in key-values form, with its unit and words."""
    match attribute.kind:
        case "Relationship":
            uri = {"type": "string", "format": "uri"}
            shape: dict[str, Any] = {"anyOf": [uri, {"type": "array", "items": uri, "minItems": 1}]}
        case "GeoProperty":
            shape = {"$ref": "#/$defs/geometry"}
        case "LanguageProperty":
            shape = {"anyOf": [{"$ref": "#/$defs/languageMap"}, {"type": "string"}]}
        case "Property" if attribute.schema == {"type": "string"}:
            # Free text may come in several languages: another kind to the standard, the same to a reader.
            shape = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/languageMap"}]}
        case _:
            shape = dict(attribute.schema)
    words = {"title": attribute.labels["en"], "description": attribute.description}
    unit = {"x-unitCode": attribute.unit} if attribute.unit else {}
    return shape | {word: text for word, text in words.items() if text} | unit


def example(name: str) -> dict[str, Any]:
    """A small valid entity of a type in key-values form, made from its facts; raises `UnknownType`."""
    type = get(name)
    wanted = [
        a for n, a in type.attributes.items() if n in type.required or (type.own and n not in _common())
    ]
    body = {attribute.name: _sample(attribute) for attribute in wanted}
    return {"id": f"urn:ngsi-ld:{type.name}:example", "type": type.name} | body


def _sample(attribute: AttributeModel) -> Any:
    match attribute.kind:
        case "Relationship":
            return f"urn:ngsi-ld:{attribute.name[:1].upper()}{attribute.name[1:]}:example"
        case "GeoProperty":
            return {"type": "Point", "coordinates": [125.2, 43.83]}
        case "LanguageProperty":
            return {"languageMap": {"en": "Example", "zh": "示例"}}
        case _:
            return _sample_value(attribute.schema)


def _sample_value(shape: Mapping[str, Any]) -> Any:
    for listed in ("examples", "enum"):
        if shape.get(listed):
            return shape[listed][0]
    match shape.get("type"):
        case "integer" | "number":
            return shape.get("minimum", shape.get("exclusiveMinimum", 0) + 1)
        case "boolean":
            return True
        case "array":
            return [_sample_value(shape.get("items", {"type": "string"}))]
        case "object":
            return {"example": True}
        case _:
            return SAMPLE_TEXT.get(shape.get("format", ""), "Example")


SAMPLE_TEXT = {
    "date-time": "2026-11-22T08:00:00Z",
    "date": "2026-11-22",
    "time": "08:00:00Z",
    "uri": "https://example.org/",
}

LANGUAGE_MAP: dict[str, Any] = {
    "type": "object",
    "properties": {"languageMap": {"type": "object", "additionalProperties": {"type": ["string", "array"]}}},
    "required": ["languageMap"],
}

GEOMETRY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {
            "enum": ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"],
        },
        "coordinates": {"type": "array", "minItems": 1},
    },
    "required": ["type", "coordinates"],
}


# The two files of facts


class _Attribute(Struct, frozen=True):
    kind: Kind = "Property"
    schema: dict[str, Any] = {}
    unit: str | None = None
    description: str = ""
    en: str = ""
    zh: str = ""
    iri: str = ""


class _Variant(Struct, frozen=True):
    """How one published type words a shared attribute; unset: as usual, None: not at all."""

    iri: str
    kind: Kind | UnsetType = UNSET
    schema: dict[str, Any] | UnsetType | None = UNSET
    unit: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET


class _PublishedType(Struct, frozen=True):
    subject: str
    iri: str
    version: str
    description: str
    required: list[str]
    attributes: dict[str, str | _Variant]


class _Published(Struct, frozen=True):
    attributes: dict[str, _Attribute]
    types: dict[str, _PublishedType]


class _OwnType(Struct, frozen=True):
    en: str
    zh: str
    description: str
    attributes: list[str]
    required: list[str] = []


class _Own(Struct, frozen=True):
    version: str
    common: list[str]
    borrowed: list[str]
    attributes: dict[str, _Attribute]
    types: dict[str, _OwnType]


@cache
def _own() -> _Own:
    return msgspec.json.decode((FOLDER / "autocity.json").read_bytes(), type=_Own)


@cache
def _published() -> _Published:
    return msgspec.json.decode((FOLDER / "smart-data-models.json").read_bytes(), type=_Published)


@cache
def _words() -> dict[str, str]:
    """Chinese words for the published names."""
    return msgspec.json.decode((FOLDER / "zh.json").read_bytes(), type=dict[str, str])


@cache
def _common() -> frozenset[str]:
    return frozenset(_own().common)


@cache
def _by_iri() -> Mapping[str, TypeModel]:
    return {type.iri: type for type in catalogue().values()}


def _own_type(name: str, facts: _OwnType, own: _Own) -> TypeModel:
    names = dict.fromkeys([*facts.attributes, *own.common])
    return TypeModel(
        name=name,
        iri=NAMESPACE + name,
        subject="autocity",
        context=CITY_CONTEXT,
        own=True,
        version=own.version,
        description=facts.description,
        required=tuple(facts.required),
        attributes={n: _own_attribute(n) for n in names},
        labels={"en": facts.en, "zh": facts.zh},
    )


@cache
def _own_attribute(name: str) -> AttributeModel:
    facts = _own().attributes[name]
    return AttributeModel(
        name=name,
        iri=facts.iri or CORE_TERMS.get(name) or NAMESPACE + name,
        kind=facts.kind,
        schema=facts.schema,
        unit=facts.unit,
        description=facts.description,
        labels={"en": facts.en, "zh": facts.zh},
    )


def _published_type(
    name: str, facts: _PublishedType, published: _Published, words: Mapping[str, str]
) -> TypeModel:
    attributes = {n: _published_attribute(n, fact, published, words) for n, fact in facts.attributes.items()}
    provenance = {n: _own_attribute(n) for n in _own().common if n not in attributes}
    return TypeModel(
        name=name,
        iri=facts.iri,
        subject=facts.subject,
        context=f"{CONTEXTS}{facts.subject.lower()}.jsonld",
        own=False,
        version=facts.version,
        description=facts.description,
        required=tuple(facts.required),
        attributes=attributes | provenance,
        labels={"en": spell(name), "zh": words.get(name, spell(name))},
    )


def _published_attribute(
    name: str, fact: str | _Variant, published: _Published, words: Mapping[str, str]
) -> AttributeModel:
    iri = fact if isinstance(fact, str) else fact.iri
    usual = published.attributes[iri]
    variant = _Variant(iri) if isinstance(fact, str) else fact
    return AttributeModel(
        name=name,
        iri=iri,
        kind=usual.kind if isinstance(variant.kind, UnsetType) else variant.kind,
        schema=usual.schema if isinstance(variant.schema, UnsetType) else variant.schema or {},
        unit=usual.unit if isinstance(variant.unit, UnsetType) else variant.unit,
        description=usual.description
        if isinstance(variant.description, UnsetType)
        else variant.description or "",
        labels={"en": spell(name), "zh": words.get(name) or _own_words(name)},
    )


def _own_words(name: str) -> str:
    """The Chinese words of our own attribute of a name, for published ones that share it."""
    own = _own().attributes.get(name)
    return own.zh if own else spell(name)


def _terms(types: Iterable[TypeModel]) -> dict[str, str]:
    """Type and attribute names to IRIs; the first type to use a name decides what it means."""
    terms: dict[str, str] = {"autocity": NAMESPACE}
    for type in types:
        terms.setdefault(type.name, type.iri)
        for attribute in type.attributes.values():
            if attribute.name not in CORE_TERMS and not attribute.iri.startswith(CORE_VOCABULARIES):
                terms.setdefault(attribute.name, attribute.iri)
    return terms


def spell(name: str) -> str:
    """A short name in words: `averageVehicleSpeed` is "Average vehicle speed", `accessURL` "Access URL"."""
    parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[_-]", " ", name).split()
    text = " ".join(part if part.isupper() and len(part) > 1 else part.lower() for part in parts)
    return text[:1].upper() + text[1:]
