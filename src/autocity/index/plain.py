"""Frozen dataclasses to plain JSON values and back, bit for bit, and their JSON Schema."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from autocity.index.faults import choices

MISSING = dataclasses.MISSING


@functools.cache
def hints(kind: type) -> dict[str, Any]:
    """The resolved field types of a dataclass, in the order of its fields."""
    resolved = get_type_hints(kind)
    return {field.name: resolved[field.name] for field in dataclasses.fields(kind)}


def pack(value: Any) -> Any:
    """Plain JSON value of a frozen value; what equals its default is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: pack(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, Mapping):
        return {key: pack(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [pack(item) for item in value]
    return value


def unpack(kind: Any, value: Any, path: str, faults: list[str]) -> Any:
    """The frozen value of `kind` in a plain JSON value; what does not fit is added to `faults` by its
    path."""
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _unpack_record(kind, value, path, faults)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return _check(
            value in arguments, value, path, f"one of {choices([str(a) for a in arguments])}", faults
        )
    if origin in (Union, types.UnionType):
        return _unpack_union(arguments, value, path, faults)
    if origin is tuple:
        items = value if isinstance(value, list) else _check(False, [], path, "a list", faults)
        return tuple(unpack(arguments[0], item, f"{path}[{i}]", faults) for i, item in enumerate(items))
    if origin in (dict, Mapping):
        items = value if isinstance(value, dict) else _check(False, {}, path, "a mapping", faults)
        return {str(key): unpack(arguments[1], item, f"{path}.{key}", faults) for key, item in items.items()}
    return _unpack_scalar(kind, value, path, faults)


def schema(kind: type) -> dict[str, Any]:
    """JSON Schema (2020-12) of the file form of a dataclass."""
    definitions: dict[str, Any] = {}
    root = _describe(kind, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _required(kind: type) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if _default(field) is MISSING]


def _check(fits: bool, value: Any, path: str, wanted: str, faults: list[str]) -> Any:
    if not fits:
        faults.append(f"{path} is not {wanted}")
    return value


def _unpack_record(kind: type, value: Any, path: str, faults: list[str]) -> Any:
    if not isinstance(value, dict):
        faults.append(f"{path} is not a mapping")
        return None
    known, before = hints(kind), len(faults)
    faults += [
        f"{path}.{name} is not known; allowed are {choices(list(known))}"
        for name in value
        if name not in known
    ]
    faults += [f"{path}.{name} is missing" for name in _required(kind) if name not in value]
    given = {
        name: unpack(hint, value[name], f"{path}.{name}", faults)
        for name, hint in known.items()
        if name in value
    }
    return kind(**given) if len(faults) == before else None


def _unpack_union(arguments: tuple[Any, ...], value: Any, path: str, faults: list[str]) -> Any:
    attempts = []
    for argument in arguments:
        trial: list[str] = []
        result = unpack(argument, value, path, trial)
        if not trial:
            return result
        attempts.append((argument, trial))
    # The complaint of the richest alternative helps most: nobody forgot to write null.
    faults += attempts[0][1] if attempts[0][0] is not type(None) else attempts[-1][1]
    return None


def _unpack_scalar(kind: Any, value: Any, path: str, faults: list[str]) -> Any:
    if kind in (None, type(None)):
        return _check(value is None, None, path, "null", faults)
    if kind is bool:
        return _check(isinstance(value, bool), value, path, "true or false", faults)
    if kind is str:
        return _check(isinstance(value, str), value, path, "a text", faults)
    if kind is int:
        return _check(
            isinstance(value, int) and not isinstance(value, bool), value, path, "a whole number", faults
        )
    finite = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return _check(finite, value, path, "a finite number", faults)


def _describe(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind is Any:
        return {}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _describe_record(kind, definitions)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe(argument, definitions) for argument in arguments]}
    if origin is tuple:
        return {"type": "array", "items": _describe(arguments[0], definitions)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _describe(arguments[1], definitions)}
    names = {bool: "boolean", str: "string", int: "integer", float: "number", type(None): "null"}
    return {"type": names[kind]}


def _describe_record(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}
        definitions[name] = {
            "description": " ".join((kind.__doc__ or name).partition("\n\n")[0].split()),
            "type": "object",
            "properties": {field: _describe(hint, definitions) for field, hint in hints(kind).items()},
            "required": _required(kind),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{name}"}
