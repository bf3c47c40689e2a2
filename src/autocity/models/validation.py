"""Does an entity fit its type? JSON Schema over the key-values form, faults told in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from autocity.models.vocabulary import UnknownType, get, schema

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

VALUE_MEMBERS = ("value", "object", "valueList", "objectList")
KEPT_MEMBERS = ("languageMap", "vocab", "json")


class Fault(Struct, frozen=True):
    """What is wrong in one place of an entity: the place, the reason, what is allowed there."""

    where: str
    reason: str
    allowed: str = ""


def validate(entity: Mapping[str, Any], type: str | None = None) -> list[Fault]:
    """Every fault of an entity (normalized, concise or key-values) against its type; empty when it fits.

    Without `type` the entity's own types that the catalogue knows are asked, each of them.
    Raises `UnknownType` when there is none.
    """
    said = entity.get("type", entity.get("@type"))
    names = (
        [type]
        if type
        else [name for name in ([said] if isinstance(said, str) else said or []) if _known(name)]
    )
    if not names:
        raise UnknownType(f"the catalogue has no type {said!r}; give the type to compare with")
    faults: dict[Fault, None] = {}
    for name in names:
        validator = _validator(get(name).name)
        for instance in _alternatives(entity):
            for error in validator.iter_errors(instance):
                faults[_fault(error)] = None
    return list(faults)


def key_values(entity: Mapping[str, Any]) -> dict[str, Any]:
    """The simplified form (4.5.4) of an entity in any form: default instances only, DateTime wrappers opened.

    Values of attributes that were simplified already pass through.
    """
    return {name: _simplified(value) for name, value in entity.items() if name != "@context"}


def _simplified(value: Any) -> Any:
    if isinstance(value, list) and value and all(_is_instance(item) for item in value):
        return _simplified(next((item for item in value if "datasetId" not in item), value[0]))
    if not isinstance(value, dict):
        return value
    for member in VALUE_MEMBERS:
        if member in value and _is_instance(value):
            return _opened(value[member])
    for member in KEPT_MEMBERS:
        if member in value:
            return {member: value[member]}
    return _opened(value)


def _opened(value: Any) -> Any:
    """Dates come plain or as `{"@type": "DateTime", "@value": …}` (4.6.3); both mean the same."""
    if isinstance(value, dict) and "@value" in value:
        return value["@value"]
    return [_opened(item) for item in value] if isinstance(value, list) else value


def _is_instance(value: Any) -> bool:
    return isinstance(value, dict) and ("type" in value or any(member in value for member in VALUE_MEMBERS))


def _alternatives(entity: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entity with its default instances, and once more for each further instance of an attribute."""
    default = key_values(entity)
    yield default
    for name, value in entity.items():
        if isinstance(value, list) and value and all(_is_instance(item) for item in value):
            for item in value:
                yield default | {name: _simplified(item)}


def _fault(error: ValidationError) -> Fault:
    where = ".".join(str(step) for step in error.absolute_path) or "entity"
    said, rule = f"{error.instance!r}", str(error.validator)
    wanted: Any = error.validator_value
    match rule:
        case "required":
            missing = next(name for name in wanted if f"'{name}'" in error.message)
            return Fault(
                missing if where == "entity" else f"{where}.{missing}", "is missing", "it is required"
            )
        case "enum":
            return Fault(where, f"{said} is not one of the allowed values", ", ".join(map(str, wanted)))
        case "type":
            return Fault(
                where,
                f"{said} has the wrong type",
                wanted if isinstance(wanted, str) else " or ".join(wanted),
            )
        case "format":
            return Fault(where, f"{said} is not a valid {wanted}", FORMATS[wanted])
        case "minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum":
            return Fault(where, f"{said} is out of range", f"{BOUNDS[rule]} {wanted}")
        case "pattern":
            return Fault(where, f"{said} has the wrong form", wanted)
        case "anyOf":
            allowed = dict.fromkeys(
                fault.allowed for fault in map(_fault, error.context or ()) if fault.allowed
            )
            return Fault(where, f"{said} fits none of the allowed forms", "; or ".join(allowed))
        case _:
            return Fault(where, error.message)


BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}
FORMATS = {
    "date-time": "2026-11-22T08:00:00Z",
    "date": "2026-11-22",
    "time": "08:00:00Z",
    "uri": "a URI such as urn:ngsi-ld:Zone:1",
}


def _known(name: str) -> bool:
    try:
        get(name)
    except UnknownType:
        return False
    return True


@cache
def _validator(name: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator, FormatChecker  # 60 ms that only validation should pay

    formats = FormatChecker(formats=())
    formats.checks("date-time", raises=ValueError)(_is_moment)
    formats.checks("date", raises=ValueError)(_is_date)
    formats.checks("uri")(_is_uri)
    return Draft202012Validator(schema(name), format_checker=formats)


def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or ("T" in value and datetime.fromisoformat(value) is not None)


def _is_date(value: object) -> bool:
    return not isinstance(value, str) or (len(value) == 10 and datetime.fromisoformat(value) is not None)


def _is_uri(value: object) -> bool:
    if not isinstance(value, str):
        return True
    scheme, colon, rest = value.partition(":")
    return bool(colon and rest and scheme[:1].isalpha() and not any(letter.isspace() for letter in value))
