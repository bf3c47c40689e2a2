"""The city's vocabulary: types, @contexts, JSON Schemas, labels in English and Chinese, and the demo city's facts.

Data and reading of data only: no clock, no network, no other room of the platform.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

NAMESPACE = "https://w3id.org/autocity/"
"""The IRI prefix of everything that is ours."""

CITY_CONTEXT = NAMESPACE + "contexts/autocity.jsonld"
"""The @context of our own types and of the demo city."""


class AttributeModel(Struct, frozen=True):
    """One attribute of a type. `unit` is a UN/CEFACT common code, `schema` its JSON Schema (key-values)."""

    name: str
    iri: str
    kind: str
    schema: Mapping[str, Any]
    unit: str | None
    description: str
    labels: Mapping[str, str]


class TypeModel(Struct, frozen=True):
    """One entity type. `context` is the URL of the subject's @context, `own` tells ours from Smart Data Models."""

    name: str
    iri: str
    subject: str
    context: str
    own: bool
    description: str
    required: Sequence[str]
    attributes: Mapping[str, AttributeModel]
    labels: Mapping[str, str]


class Fault(Struct, frozen=True):
    """What is wrong with one place of an entity: the place, the reason, what would be allowed."""

    where: str
    reason: str
    allowed: str = ""


class UnknownType(LookupError):
    """The catalogue has no such type; the message names the nearest ones."""


def catalogue() -> Mapping[str, TypeModel]:
    """Every type by its short name."""
    raise UnknownType


def get(name: str) -> TypeModel:
    """The type with this short name or IRI; raises `UnknownType`."""
    raise UnknownType(name)


def schema(name: str) -> dict[str, Any]:
    """JSON Schema (Draft 2020-12) of the key-values form of a type."""
    raise UnknownType(name)


def example(name: str) -> dict[str, Any]:
    """A small valid entity of a type, in key-values form, made from its schema."""
    raise UnknownType(name)


def validate(entity: Mapping[str, Any], type: str | None = None) -> list[Fault]:
    """Every fault of an entity, normalized, concise or key-values; empty when there is none."""
    raise UnknownType(type)


def contexts() -> Mapping[str, dict[str, Any]]:
    """The built-in @contexts by URL, one per subject and `CITY_CONTEXT`; to be served and never fetched."""
    return {}


def labels(language: str) -> Mapping[str, str]:
    """Labels of types and attributes by short name, in "en" or "zh"."""
    return {}


def facts() -> list[dict[str, Any]]:
    """The demo city as its documents state it: NGSI-LD entities, normalized, each with `@context`."""
    return []
