"""Time in the language of the standard: date-times, durations, windows on history (4.11), aggregation
(4.5.19) and the temporal representations (4.5.6 to 4.5.9); pure functions over recorded instances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from autocity.ld.entity import View
from autocity.ld.instants import instant as instant
from autocity.ld.instants import timestamp as timestamp
from autocity.model import Attribute, Attributes, Instant

TimeProperty = Literal["observedAt", "createdAt", "modifiedAt", "deletedAt"]
Method = Literal["totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq"]


class Window(Struct, frozen=True):
    """A temporal query: which instances, by which of their times, and how many at most.

    `before`: strictly before `at`; `after`: at `at` or later; `between`: from `at` to `end`, the start
    included, the end not (4.11). Instances without the time asked for are never in a window with a
    `relation`. `last_n` keeps the newest n instances of each attribute. `limit` bounds instances per
    attribute: the newest when `last_n` is given, else the oldest (6.3.10)."""

    relation: Literal["before", "after", "between"] | None = None
    at: Instant = 0
    end: Instant = 0
    property: TimeProperty = "observedAt"
    last_n: int | None = None
    dataset_ids: tuple[str, ...] = ()
    limit: int | None = None


class Duration(Struct, frozen=True):
    """An ISO 8601 duration: calendar months, and microseconds beside them."""

    months: int = 0
    microseconds: int = 0

    def __bool__(self) -> bool:
        return bool(self.months or self.microseconds)


def duration(text: str) -> Duration:
    """Parse an ISO 8601 duration (4.5.19.1). Raises `errors.BadRequestData`."""
    raise NotImplementedError


def add(at: Instant, step: Duration, times: int = 1) -> Instant:
    """The instant `times` steps later; a month step keeps the day or takes the month's last."""
    raise NotImplementedError


def parse_window(
    timerel: str | None = None,
    time_at: str | None = None,
    end_time_at: str | None = None,
    timeproperty: str | None = None,
    *,
    last_n: str | int | None = None,
    dataset_ids: Iterable[str] = (),
    limit: int | None = None,
) -> Window:
    """Parse a temporal query (4.11, 5.2.21). Raises `errors.BadRequestData`."""
    raise NotImplementedError


def time_of(instance: Attribute, property: TimeProperty) -> Instant | None:
    """The time of an instance that the window looks at; None when it has none."""
    raise NotImplementedError


def select(instances: Iterable[Attribute], window: Window) -> tuple[tuple[Attribute, ...], bool]:
    """The instances of one attribute within the window, oldest first, and whether `limit` cut some off."""
    raise NotImplementedError


def parse_methods(text: str) -> tuple[Method, ...]:
    """Parse `aggrMethods` (4.5.19.1). Raises `errors.BadRequestData`."""
    raise NotImplementedError


def aggregate(
    instances: Sequence[Attribute], methods: Sequence[Method], period: Duration, window: Window
) -> dict[str, list[list[Any]]]:
    """Per method, `[value, start, end]` of every period that holds instances (4.5.19)."""
    raise NotImplementedError


def render_history(
    history: Any,
    view: View,
    *,
    form: Literal["normalized", "temporalValues", "aggregatedValues"] = "normalized",
    window: Window | None = None,
    methods: Sequence[Method] = (),
    period: Duration | None = None,
) -> dict[str, Any]:
    """The temporal representation of an entity (4.5.6, 4.5.9, 4.5.19). `history` has `id`, `types`,
    `scopes`, `attributes`, `created_at`, `modified_at` and `deleted_at` like `store.port.History`."""
    raise NotImplementedError


def content_range(attributes: Mapping[str, Sequence[Attribute]] | Attributes, window: Window) -> str:
    """The `Content-Range` header of a partial answer (6.3.10): `DateTime start-end/size`."""
    raise NotImplementedError
