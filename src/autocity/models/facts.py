"""The demo city as its documents state it: facts in short form, made into NGSI-LD entities with their source.

A file in `demo/` is a list of key-values entities. `from` names the document that states the fact,
`confidence` how sure it is, `observedAt` the instant that the numbers speak of. Kinds and units come
from the vocabulary, so a fact says nothing twice.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from autocity.models.vocabulary import FOLDER, AttributeModel, get

FILES = ("documents", "areas", "city", "industry", "hongqi-town", "services", "index-package")

SCOPE = "/Changchun"
"""The scope (4.18) of everything that the demo says about the city itself."""

T = TypeVar("T")


class Document(Struct, frozen=True, rename="camel"):
    """A public document that facts are stated in. `issued_on` is empty when the document bears no date."""

    id: str
    name: dict[str, str]
    publisher: str
    issued_on: str = ""


class _Place(Struct, frozen=True):
    id: str
    synthetic: bool
    source: str
    geometry: dict[str, Any]


@cache
def documents() -> Mapping[str, Document]:
    """The documents by the short name that facts cite them by."""
    return {document.id.rpartition(":")[2]: document for document in _read("documents", list[Document])}


def facts() -> list[dict[str, Any]]:
    """Every stated fact as a normalized entity with its `@context`, documents first, in a fixed order."""
    places = _places()
    return [
        normalized(_sourced(fact) | {"scope": SCOPE}) | places.get(fact["id"], {})
        for file in FILES
        for fact in _read(file, list[dict[str, Any]])
    ]


def normalized(entity: Mapping[str, Any]) -> dict[str, Any]:
    """The normalized form (4.5.1) of a key-values entity of the catalogue, with kinds, units and `@context`
    from the vocabulary. `observedAt` beside the attributes becomes that of every number.

    Raises `UnknownType`, and `KeyError` for an attribute that the type does not have.
    """
    type = get(entity["type"])
    observed_at = entity.get("observedAt")
    body: dict[str, Any] = {"id": entity["id"], "type": type.name}
    if "scope" in entity:
        body["scope"] = entity["scope"]
    for name, value in entity.items():
        if name not in ("id", "type", "scope", "observedAt"):
            body[name] = instance(type.attributes[name], value, observed_at)
    return body | {"@context": type.context}


def instance(attribute: AttributeModel, value: Any, observed_at: str | None = None) -> dict[str, Any]:
    """One instance of an attribute in normalized form; `observed_at` is kept for numbers and truth values."""
    match attribute.kind:
        case "Relationship":
            return {"type": "Relationship", "object": value}
        case "GeoProperty":
            return {"type": "GeoProperty", "value": value}
        case "LanguageProperty" if isinstance(value, dict):
            return {"type": "LanguageProperty", "languageMap": value}
        case _:
            if (
                isinstance(value, dict)
                and value.keys() <= {"en", "zh"}
                and attribute.schema.get("type") == "string"
            ):
                return {"type": "LanguageProperty", "languageMap": value}
            body: dict[str, Any] = {"type": "Property", "value": value}
            if attribute.unit and isinstance(value, int | float):
                body["unitCode"] = attribute.unit
            if observed_at and isinstance(value, int | float):
                body["observedAt"] = observed_at
            return body


def _places() -> dict[str, dict[str, Any]]:
    """Locations by entity id. Documents give none: where one was drawn for the demo, it says so itself."""
    return {
        place.id: {
            "location": {
                "type": "GeoProperty",
                "value": place.geometry,
                "synthetic": {"type": "Property", "value": place.synthetic},
                "source": {"type": "Property", "value": place.source},
            }
        }
        for place in _read("places", list[_Place])
    }


def _sourced(fact: dict[str, Any]) -> dict[str, Any]:
    """A fact with what its document says about itself in place of the citation."""
    cited = fact.pop("from", None)
    if cited is None:
        return fact
    document = documents()[cited]
    date = {"statedOn": document.issued_on} if document.issued_on else {}
    return fact | {"source": _cite(document), "statedIn": document.id} | date


def _cite(document: Document) -> str:
    return f"{document.name['en']}, {document.publisher}, {document.issued_on or 'undated'}"


def _read(file: str, type: builtins.type[T]) -> T:
    return msgspec.json.decode((FOLDER / "demo" / f"{file}.json").read_bytes(), type=type)
