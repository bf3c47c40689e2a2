"""What types and attributes are called in the reader's language, from the catalogue of types."""

from __future__ import annotations

import re

from autocity import models
from autocity.console.show import short


def type_name(type: str, language: str) -> str:
    """The label of a type, given its short name or IRI; a readable form of the name itself when unknown."""
    try:
        return models.get(type).labels[_key(language)]
    except LookupError:
        return spaced(short(type))


def attribute_name(attribute: str, types: list[str], language: str) -> str:
    """The label of an attribute as the entity's own types word it, else as any type does."""
    for type in types:
        try:
            found = models.get(type).attributes
        except LookupError:
            continue
        for model in (found.get(attribute), *(m for m in found.values() if m.iri == attribute)):
            if model is not None:
                return model.labels[_key(language)]
    return models.labels(_key(language)).get(short(attribute)) or spaced(short(attribute))


def unit_code(attribute: str, types: list[str]) -> str | None:
    """The unit that the catalogue gives an attribute, for data that came without one."""
    for type in types:
        try:
            model = models.get(type).attributes.get(attribute)
        except LookupError:
            continue
        if model is not None:
            return model.unit
    return None


def context(type: str) -> str:
    """The @context in which a type's attributes have their short names: its subject's, for one short name
    means different things in different subjects; the city's own when the type is unknown."""
    try:
        return models.get(type).context
    except LookupError:
        return models.CITY_CONTEXT


def spaced(name: str) -> str:
    """A camelCase or snake_case name as words: `averageVehicleSpeed` to `Average vehicle speed`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_-]+", " ", name).split()
    text = " ".join(word if word.isupper() else word.lower() for word in words)
    return text[:1].upper() + text[1:]


def _key(language: str) -> models.Language:
    return "zh" if language.startswith("zh") else "en"
