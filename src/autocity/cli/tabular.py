"""Entities as rows: normalized or key-values JSON flattened into columns."""

from __future__ import annotations

import csv
from typing import Any

import msgspec

_VALUE = ("value", "object", "languageMap", "vocab", "json", "valueList", "objectList")


def flat(entity: dict[str, Any]) -> dict[str, Any]:
    """One entity as column → text or number; points as `lon,lat`, anything nested as JSON."""
    return {name: _cell(value) for name, value in entity.items() if name != "@context"}


def _cell(value: Any) -> Any:
    if isinstance(value, dict) and isinstance(value.get("type"), str):
        for member in _VALUE:
            if member in value:
                return _cell(value[member])
        if value["type"] == "Point" and "coordinates" in value:
            return ",".join(f"{number:g}" for number in value["coordinates"])
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    return msgspec.json.encode(value).decode()


class CsvRows:
    """CSV whose columns are known only at the end: rows wait until `finish`."""

    def __init__(self, out: Any) -> None:
        self._out = out
        self._rows: list[dict[str, Any]] = []
        self._columns: dict[str, None] = {}

    def write(self, entity: dict[str, Any]) -> None:
        row = flat(entity)
        self._columns |= dict.fromkeys(row)
        self._rows.append(row)

    def finish(self) -> None:
        writer = csv.DictWriter(self._out, fieldnames=list(self._columns), restval="")
        writer.writeheader()
        writer.writerows(self._rows)
