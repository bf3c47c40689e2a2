"""Durations, windows on history (4.11), paging (6.3.10) and aggregation (4.5.19): pure functions over
recorded instances. `history` renders what they leave."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import sqrt
from typing import Any, Literal, TypeVar, get_args

import msgspec
from msgspec import Struct

from autocity.errors import BadRequestData
from autocity.ld.instants import DAY, EPOCH_DAY, LAST, SECOND, moment, read, timestamp
from autocity.model import NGSI_LD_NULL, Attribute, Attributes, Instant

Relation = Literal["before", "after", "between"]
TimeProperty = Literal["observedAt", "createdAt", "modifiedAt", "deletedAt"]
Method = Literal["totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq"]


class Window(Struct, frozen=True):
    """A temporal query: which instances, by which of their times, and how many at most.

    `before`: strictly before `at`; `after`: at `at` or later; `between`: from `at` to `end`, the start
    included, the end not (4.11). Instances without the time asked for are never in a window with a
    `relation`, nor in one that asks for `deletedAt`. `last_n` keeps the newest n instances of each
    attribute. `limit` bounds how many instances of each attribute are read at once: the newest when
    `last_n` is given, else the oldest (6.3.10)."""

    relation: Relation | None = None
    at: Instant = 0
    end: Instant = 0
    property: TimeProperty = "observedAt"
    last_n: int | None = None
    dataset_ids: tuple[str, ...] = ()
    limit: int | None = None


class Duration(Struct, frozen=True):
    """An ISO 8601 duration: calendar months, and microseconds beside them. False when it is zero."""

    months: int = 0
    microseconds: int = 0

    def __bool__(self) -> bool:
        return bool(self.months or self.microseconds)


# Durations

_DURATION = re.compile(
    r"P(?:(?P<weeks>\d{1,6})W"
    r"|(?:(?P<years>\d{1,6})Y)?(?:(?P<months>\d{1,6})M)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?"
    r"(?:(?P<seconds>\d{1,9})(?:[.,](?P<fraction>\d{1,6}))?S)?)?)",
    re.ASCII,
)


def duration(text: str) -> Duration:
    """Parse an ISO 8601 duration (4.5.19.1): `P[n]Y[n]M[n]DT[n]H[n]M[n]S` or `P[n]W`.

    Raises `errors.BadRequestData`.
    """
    found = _DURATION.fullmatch(text)
    if found is None or len(text) < 3:
        raise BadRequestData(f"{_quoted(text)} is not a duration; write it like PT1H, P1D or P1W (ISO 8601)")
    part = {name: int(digits) for name, digits in found.groupdict("0").items() if name != "fraction"}
    seconds = (part["hours"] * 60 + part["minutes"]) * 60 + part["seconds"]
    fraction = int((found["fraction"] or "").ljust(6, "0"))
    return Duration(
        months=part["years"] * 12 + part["months"],
        microseconds=(part["weeks"] * 7 + part["days"]) * DAY + seconds * SECOND + fraction,
    )


def add(at: Instant, step: Duration, times: int = 1) -> Instant:
    """The instant `times` steps later, at most the end of the year 9999; a step of months keeps the
    day of the month, or takes the month's last."""
    if step.months:
        at = _add_months(at, step.months * times)
    return min(at + step.microseconds * times, LAST)


def _add_months(at: Instant, months: int) -> Instant:
    day, within = divmod(at, DAY)
    date = datetime.fromordinal(day + EPOCH_DAY)
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    if year > 9999:
        return LAST
    date = date.replace(year=year, month=month + 1, day=min(date.day, monthrange(year, month + 1)[1]))
    return (date.toordinal() - EPOCH_DAY) * DAY + within


# Windows


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
    """Parse a temporal query (4.11, 5.2.21). Raises `errors.BadRequestData` naming every fault."""
    faults: list[str] = []
    if timerel is not None and timerel not in get_args(Relation):
        faults.append(f"timerel {_quoted(timerel)} is unknown; use before, after or between")
    if timerel is not None and not time_at:
        faults.append("timerel needs timeAt")
    if timerel is None and (time_at or end_time_at):
        faults.append("timeAt and endTimeAt need timerel")
    if timerel == "between" and not end_time_at:
        faults.append("timerel=between needs endTimeAt")
    if timerel in ("before", "after") and end_time_at:
        faults.append(f"timerel={timerel} takes no endTimeAt; use between")
    if timeproperty is not None and timeproperty not in get_args(TimeProperty):
        faults.append(
            f"timeproperty {_quoted(timeproperty)} is unknown;"
            " use observedAt, createdAt, modifiedAt or deletedAt"
        )
    at = _part("timeAt", time_at, faults)
    end = _part("endTimeAt", end_time_at, faults)
    count = _positive("lastN", last_n, faults)
    if faults:
        raise BadRequestData("; ".join(faults))
    return msgspec.convert(
        {
            "relation": timerel,
            "at": at,
            "end": end,
            "property": timeproperty or "observedAt",
            "last_n": count,
            "dataset_ids": tuple(dataset_ids),
            "limit": limit,
        },
        Window,
    )


def _part(name: str, text: str | None, faults: list[str]) -> Instant:
    if not text:
        return 0
    at = read(text)
    if at is None:
        faults.append(f"{name} {_quoted(text)} is not a DateTime; write it like 2026-11-22T08:30:00Z")
        return 0
    return at


def _positive(name: str, given: str | int | None, faults: list[str]) -> int | None:
    if given is None or given == "":
        return None
    text = str(given)
    if isinstance(given, bool) or not _digits(text) or len(text) > 9 or int(text) == 0:
        faults.append(f"{name} is a positive integer, not {_quoted(text)}")
        return None
    return int(text)


def time_of(instance: Attribute, property: TimeProperty) -> Instant | None:
    """The time of an instance that the window looks at; None when it has none."""
    if property == "observedAt":
        return None if instance.observed_at is None else read(instance.observed_at)
    if property == "createdAt":
        return instance.created_at or None
    if property == "modifiedAt":
        return instance.modified_at or None
    return instance.deleted_at or None


def within(window: Window) -> Callable[[Instant | None], bool]:
    """Whether a time fits the window's relation, as a function of it."""
    at, end = window.at, window.end
    if window.relation is None:
        return lambda time: time is not None or window.property != "deletedAt"
    if window.relation == "before":
        return lambda time: time is not None and time < at
    if window.relation == "after":
        return lambda time: time is not None and time >= at
    return lambda time: time is not None and at <= time < end


def select(instances: Iterable[Attribute], window: Window) -> tuple[tuple[Attribute, ...], bool]:
    """The instances of one attribute within the window, oldest first, and whether `limit` cut some off.

    Instances without the window's time come first, among themselves in the order given. The last n
    are counted over all datasets that the window keeps.
    """
    fits, datasets = within(window), frozenset(window.dataset_ids)
    kept = [
        (time, instance)
        for instance in instances
        if (not datasets or (instance.dataset_id or "@none") in datasets)
        and fits(time := time_of(instance, window.property))
    ]
    kept.sort(key=_by_time)
    if window.last_n is not None:
        kept = kept[-window.last_n :]
    cut = window.limit is not None and len(kept) > window.limit
    if window.limit is not None and cut:
        kept = kept[-window.limit :] if window.last_n is not None else kept[: window.limit]
    return tuple(instance for _, instance in kept), cut


def _by_time(pair: tuple[Instant | None, Attribute]) -> tuple[bool, Instant]:
    return (pair[0] is not None, pair[0] or 0)


# Pages of history


def page(evolutions: Sequence[Attributes], window: Window, limit: int) -> tuple[list[Attributes], bool]:
    """Cut the selected instances of one answer so that about `limit` remain, and whether it did (6.3.10).

    The cut is one instant for all attributes of all entities, so that `Content-Range` names a range in
    which nothing is missing: forwards from the oldest, or with `last_n` backwards from the newest.
    Instances that share the instant of the cut stay together. An attribute may be left with no
    instance; its name stays.
    """
    if sum(len(instances) for one in evolutions for instances in one.values()) <= limit:
        return list(evolutions), False
    backwards = window.last_n is not None
    times = sorted(_times(evolutions, window.property), reverse=backwards)
    if len(times) <= limit:
        return list(evolutions), False
    edge = times[limit - 1]

    def stays(instance: Attribute) -> bool:
        time = time_of(instance, window.property)
        return time is None or (time >= edge if backwards else time <= edge)

    if edge == times[-1]:  # everything shares the instant of the cut
        return list(evolutions), False
    return [
        {name: tuple(filter(stays, instances)) for name, instances in one.items()} for one in evolutions
    ], True


def content_range(evolutions: Sequence[Attributes], window: Window) -> str:
    """The `Content-Range` header of an answer that `page` cut (6.3.10): `date-time start-end/size`.

    The clause calls the unit `DateTime`; the suite of the same standard body expects `date-time`.
    """
    times = _times(evolutions, window.property)
    oldest, newest = min(times, default=window.at), max(times, default=window.at)
    if window.last_n is None:
        start = oldest if window.relation in (None, "before") else window.at
        return f"date-time {timestamp(start)}-{timestamp(newest)}/*"
    latest = {"before": window.at, "between": window.end}.get(window.relation or "", newest)
    return f"date-time {timestamp(latest)}-{timestamp(oldest)}/{window.last_n}"


def _times(evolutions: Iterable[Attributes], property: TimeProperty) -> list[Instant]:
    return [
        time
        for one in evolutions
        for instances in one.values()
        for instance in instances
        if (time := time_of(instance, property)) is not None
    ]


# Aggregation (4.5.19)


def parse_methods(given: str | Iterable[str]) -> tuple[Method, ...]:
    """Parse `aggrMethods` (4.5.19.1), comma separated or listed. Raises `errors.BadRequestData`."""
    names = given.split(",") if isinstance(given, str) else list(given)
    wrong = [name for name in names if name not in get_args(Method)]
    if wrong or not names:
        raise BadRequestData(
            f"aggrMethods {', '.join(map(_quoted, wrong)) or 'is empty'}: use {', '.join(get_args(Method))}"
        )
    return tuple(dict.fromkeys(msgspec.convert(names, tuple[Method, ...])))


Key = TypeVar("Key")


def aggregate(
    series: Mapping[Key, Sequence[Attribute]],
    methods: Sequence[Method],
    period: Duration,
    window: Window,
) -> dict[Key, dict[Method, list[list[Any]]]]:
    """Per series and method, `[value, start, end]` of every period that holds instances (4.5.19.1).

    Periods count from the start of the window, or from the oldest instance of the entity when the
    window has none; a zero period is the whole range. A method that a value's data type does not
    know (N/A in the tables of the clause) gives no element. Deletions are not values.
    """
    timed = {
        name: [
            (time, instance)
            for instance in instances
            if (time := time_of(instance, window.property)) is not None and instance.value != NGSI_LD_NULL
        ]
        for name, instances in series.items()
    }
    times = [time for pairs in timed.values() for time, _ in pairs]
    if not times:
        return {name: {method: [] for method in methods} for name in timed}
    origin = window.at if window.relation in ("after", "between") else min(times)
    end = {"before": window.at, "between": window.end}.get(window.relation or "", max(times))
    locate = _periods(origin, end, period)
    return {name: _aggregate(pairs, methods, locate) for name, pairs in timed.items()}


Span = tuple[Instant, Instant]


def _periods(origin: Instant, end: Instant, period: Duration) -> Callable[[Instant], Span]:
    """The period that an instant falls into."""
    if not period:
        return lambda time: (origin, end)
    if not period.months:
        step = period.microseconds

        def fixed(time: Instant) -> Span:
            start = origin + (time - origin) // step * step
            return start, min(start + step, LAST)

        return fixed

    # A period with months has no fixed length: estimate by its least length, then correct.
    longest = period.months * 31 * DAY + period.microseconds

    def calendar(time: Instant) -> Span:
        index = (time - origin) // longest
        while (following := add(origin, period, index + 1)) <= time and following < LAST:
            index += 1
        return add(origin, period, index), following

    return calendar


def _aggregate(
    pairs: Sequence[tuple[Instant, Attribute]], methods: Sequence[Method], locate: Callable[[Instant], Span]
) -> dict[Method, list[list[Any]]]:
    buckets: dict[Span, list[Attribute]] = {}
    for time, instance in pairs:
        buckets.setdefault(locate(time), []).append(instance)
    result: dict[Method, list[list[Any]]] = {method: [] for method in methods}
    for span in sorted(buckets):
        start, end = timestamp(span[0]), timestamp(span[1])
        for method in methods:
            value = _apply(method, buckets[span])
            if value is not None:
                result[method].append([value, start, end])
    return result


def _apply(method: Method, instances: Sequence[Attribute]) -> Any:
    """The value of a method over one period, None where the clause has N/A."""
    if method == "totalCount":
        return len(instances)
    if method == "distinctCount":
        return len({_identity(instance) for instance in instances})
    if instances[0].kind in ("Relationship", "ListRelationship"):
        return None
    values = [_plain(instance.value) for instance in instances]
    numbers = [float(v) if isinstance(v, bool) else v for v in values if isinstance(v, int | float)]
    if numbers:
        return _NUMERIC[method](numbers)
    sizes = [len(value) for value in values if isinstance(value, list)]
    if sizes:
        return None if method in ("stddev", "sumsq") else _NUMERIC[method](sizes)
    return _of_texts(method, [value for value in values if isinstance(value, str)])


def _of_texts(method: Method, texts: list[str]) -> Any:
    """Strings have a least and a greatest; times of day have an average too."""
    if not texts or method not in ("min", "max", "avg"):
        return None
    moments = [moment(text) for text in texts]
    kinds = {each and each[0] for each in moments}
    if method == "avg":
        if kinds != {"Time"}:
            return None
        mean = sum(each[1] for each in moments if each) // len(moments)
        return timestamp(mean)[11:]
    choose = min if method == "min" else max
    if len(kinds) == 1 and None not in kinds:
        return choose(zip((each[1] for each in moments if each), texts, strict=True))[1]
    return choose(texts)


def _average(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _deviation(numbers: Sequence[float]) -> float:
    """The standard deviation of the population."""
    mean = _average(numbers)
    return sqrt(sum((number - mean) ** 2 for number in numbers) / len(numbers))


_NUMERIC: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": sum,
    "avg": _average,
    "min": min,
    "max": max,
    "stddev": _deviation,
    "sumsq": lambda numbers: sum(number * number for number in numbers),
}


def _plain(value: Any) -> Any:
    """A JSON-LD typed value counts as what it wraps."""
    return value["@value"] if isinstance(value, dict) and "@value" in value else value


def _identity(instance: Attribute) -> bytes:
    return msgspec.json.encode(instance.value, order="deterministic")


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _quoted(text: str) -> str:
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}…'"
