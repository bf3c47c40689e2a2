"""Windows on history (4.11) and its aggregation (4.5.19): pure functions over recorded instances."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from autocity.model import Instant


class Window(Struct, frozen=True):
    """A temporal query: which instances, by which of their times, and how many at most.

    `before`: strictly before `at`; `after`: strictly after it; `between`: from `at` to `end`, the start included.
    `last_n` keeps the newest n instances of each attribute. `limit` bounds instances per attribute."""

    relation: Literal["before", "after", "between"] | None = None
    at: Instant = 0
    end: Instant = 0
    property: Literal["observedAt", "createdAt", "modifiedAt", "deletedAt"] = "observedAt"
    last_n: int | None = None
    dataset_ids: tuple[str, ...] = ()
    limit: int | None = None
