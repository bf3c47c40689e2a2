"""Answers for clients of earlier versions of the standard (CIM 009, 4.3.6.8): what they cannot know is
taken away or put in the form they know."""

from __future__ import annotations

import re
from typing import Any

import msgspec

Version = tuple[int, int]

CURRENT: Version = (1, 9)

_ENTITY_MEMBERS: dict[str, Version] = {"scope": (1, 4), "expiresAt": (1, 9)}
"""When members of an entity were introduced (table 4.3.6.8-1); before that they are left out."""

_ATTRIBUTE_MEMBERS: dict[str, Version] = {
    "datasetId": (1, 3),
    "observedAt": (1, 3),
    "unitCode": (1, 3),
    "objectType": (1, 8),
    "expiresAt": (1, 9),
    "valueType": (1, 9),
}
"""When members of an attribute were introduced (tables 4.3.6.8-2 and -3)."""

_KINDS: dict[str, tuple[Version, str, str]] = {
    "languageMap": ((1, 4), "Property", "value"),
    "json": ((1, 8), "Property", "value"),
    "vocab": ((1, 8), "Property", "value"),
    "valueList": ((1, 8), "Property", "value"),
    "objectList": ((1, 8), "Relationship", "object"),
}
"""When the kind with this value member was introduced, and which kind and member it is before that."""

_SEVERAL: Version = (1, 3)
"""When entities may have several types, and attributes several instances."""

_VALUES = frozenset(("value", "object", "@context", *_KINDS))


def parse(text: str) -> Version | None:
    """A version as `Prefer: ngsi-ld=1.5` says it; None when it cannot be read. A later one is the current."""
    found = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", text)
    return min((int(found[1]), int(found[2])), CURRENT) if found else None


def conform(body: bytes, version: Version) -> bytes:
    """A JSON entity, or an array of entities, in terms of the version; the same bytes if nothing changes."""
    told = msgspec.json.decode(body)
    for entity in told if isinstance(told, list) else (told,):
        _entity(entity, version)
    amended = msgspec.json.encode(told)
    return body if told == msgspec.json.decode(body) else amended


def _entity(entity: dict[str, Any], version: Version) -> None:
    _leave_out(entity, _ENTITY_MEMBERS, version)
    if version < _SEVERAL and isinstance(entity.get("type"), list):
        entity["type"] = entity["type"][0]
    _attributes(entity, version)


def _attributes(holder: dict[str, Any], version: Version) -> None:
    """Amend the attributes of an entity, or of an attribute; whatever is a value stays untouched."""
    for name in holder.keys() - _VALUES:
        content = holder[name]
        if isinstance(content, list) and content and all(isinstance(each, dict) for each in content):
            if version < _SEVERAL:
                holder[name] = content = next((e for e in content if "datasetId" not in e), content[0])
                content = [content]
        elif isinstance(content, dict):
            content = [content]
        else:
            continue
        for instance in content:
            _attribute(instance, version)


def _attribute(instance: dict[str, Any], version: Version) -> None:
    _attributes(instance, version)
    _leave_out(instance, _ATTRIBUTE_MEMBERS, version)
    for member in instance.keys() & _KINDS.keys():
        introduced, kind, value = _KINDS[member]
        if version < introduced:
            instance[value] = instance.pop(member)
            if "type" in instance:
                instance["type"] = kind


def _leave_out(holder: dict[str, Any], introduced: dict[str, Version], version: Version) -> None:
    for name in holder.keys() & introduced.keys():
        if version < introduced[name]:
            del holder[name]
