"""From a row to an entity fragment, by declaration: a mapping is data (TOML or JSON), applying it is pure."""

from __future__ import annotations

from collections.abc import Mapping as Row
from pathlib import Path
from typing import Any

from msgspec import Struct


class Fault(Struct, frozen=True):
    """Why one row was not taken: its line (or its number in a JSON array), the column, the reason, what is allowed."""

    line: int
    column: str
    value: str
    reason: str
    allowed: str = ""


class Mapping(Struct, frozen=True):
    """How rows of one source become entities of one type."""


def load(source: str | Path) -> Mapping:
    """Read a mapping from a TOML or JSON file, or by the name of one that ships with the platform."""
    raise LookupError(source)


def apply(mapping: Mapping, row: Row[str, Any], line: int) -> tuple[dict[str, Any] | None, list[Fault]]:
    """The normalized entity that a row stands for, or every fault of the row."""
    raise LookupError(mapping)
