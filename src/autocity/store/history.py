"""What a change leaves in history: recorded instances, their names and their stored form, for every store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from autocity.ld.instants import instant, timestamp
from autocity.ld.temporal import Window, select
from autocity.model import NGSI_LD_NULL, Attribute, Attributes, Change, Entity, Instant

SCOPE = "https://uri.etsi.org/ngsi-ld/scope"
"""The IRI under which changes of scope are recorded (4.5.6)."""

URN = "urn:ngsi-ld:instance:"


# -- what is recorded


def points(change: Change) -> list[tuple[str, Attribute]]:
    """The instances that a change records, by attribute IRI, with the times at which it does."""
    return [(name, stamped(instance, change.at)) for name, instance in recorded(change)]


def recorded(change: Change) -> list[tuple[str, Attribute]]:
    """What a change records: instances that are not the same as before, a deletion marker for those that
    are gone (4.5.7), and the scope when it changed (4.5.6)."""
    before, after, at = change.before, change.after, change.at
    old: Attributes = before.attributes if before else {}
    new: Attributes = after.attributes if after else {}
    found = []
    for name, instances in new.items():
        previous = old.get(name)
        if previous is None:
            for instance in instances:
                found.append((name, instance))  # noqa: PERF401 - half the time of extend and a generator
        elif previous is not instances:
            found += ((name, instance) for instance in _changed(previous, instances))
    for name, instances in old.items():
        if (left := new.get(name)) is not instances:
            found += ((name, deletion(gone, at)) for gone in _gone(instances, left or ()))
    if (before.scopes if before else ()) or (after.scopes if after else ()):
        found += ((SCOPE, instance) for instance in _scope(before, after, at))
    return found


def _changed(before: tuple[Attribute, ...], after: tuple[Attribute, ...]) -> Iterator[Attribute]:
    for instance in after:
        if not any(instance is one or instance == one for one in before):
            yield instance


def _gone(before: tuple[Attribute, ...], after: tuple[Attribute, ...]) -> Iterator[Attribute]:
    left = {instance.dataset_id for instance in after}
    return (instance for instance in before if instance.dataset_id not in left)


def _scope(before: Entity | None, after: Entity | None, at: Instant) -> Iterator[Attribute]:
    old = before.scopes if before else ()
    new = after.scopes if after else ()
    if new and (new != old or before is None):
        value: Any = new[0] if len(new) == 1 else list(new)
        yield Attribute(kind="Property", value=value, observed_at=timestamp(at))
    elif old and not new:
        yield deletion(Attribute(kind="Property"), at)


def stamped(instance: Attribute, at: Instant) -> Attribute:
    """The instance as it is recorded at `at`. (The fields one by one: `replace` costs three times this.)"""
    return Attribute(
        kind=instance.kind,
        value=instance.value,
        dataset_id=instance.dataset_id,
        observed_at=instance.observed_at,
        unit_code=instance.unit_code,
        created_at=at,
        modified_at=at,
        deleted_at=instance.deleted_at,
        sub=instance.sub,
        extra=instance.extra,
    )


def deletion(instance: Attribute, at: Instant) -> Attribute:
    """The marker that an attribute instance was deleted (4.5.7)."""
    return Attribute(kind=instance.kind, value=NGSI_LD_NULL, dataset_id=instance.dataset_id, deleted_at=at)


# -- the stored form


class Series(NamedTuple):
    """What the points of a series share, so that it is told once for all of them.

    `dataset`: "" for the default instance; `unit_code`: "" for none. `written`: how many decimals the
    seconds of `observedAt` have, "" when there is none, "=" when its text stands in the point's `rest`.
    `coding` of values: "n" native, "b" a boolean as 0 or 1, "d" a deletion marker, "r" in `rest`.
    """

    attribute: str
    dataset: str
    kind: str
    unit_code: str
    written: str
    coding: str


class Point(NamedTuple):
    """One instance as stored. `at`: when it was observed, else recorded; `lag`: microseconds from `at` to
    when it was recorded. `rest`: JSON of an Attribute with all that has no place of its own, or None."""

    series: Series
    at: Instant
    lag: int
    value: int | float | str | None
    rest: bytes | None


INT64 = 1 << 63

_series = lru_cache(maxsize=8192)(Series)
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Attribute)


def encode(attribute: str, instance: Attribute, created: Instant, modified: Instant) -> Point:
    """The stored form of an instance recorded at one time and replaced, perhaps, at another."""
    value, deleted = instance.value, instance.deleted_at
    of = type(value)
    coding, native = "n", value
    if deleted:
        coding, native = "d" if deleted == created and value == NGSI_LD_NULL else "r", None
    elif of is bool:
        coding, native = "b", int(value)
    elif not (of is float or of is str or (of is int and -INT64 <= value < INT64)):
        coding, native = "r", None
    at, written = (created, "") if instance.observed_at is None else _seen(instance.observed_at)
    rest = None
    plain = coding != "r" and written != "=" and modified == created
    if not plain or instance.sub or instance.extra or instance.instance_id:
        rest = _rest(instance, coding, written, 0 if modified == created else modified)
    series = _series(
        attribute, instance.dataset_id or "", instance.kind, instance.unit_code or "", written, coding
    )
    return Point(series, at, created - at, native, rest)


def decode(entity: str, point: Point, n: int) -> Attribute:
    """The recorded instance of an entity; `n` tells it from others that stand at the same place."""
    series, at, lag, value, rest = point
    left = left_over(rest)
    created = at + lag
    return Attribute(
        kind=series.kind,  # type: ignore[arg-type]
        value=_value(series.coding, value, left),
        dataset_id=series.dataset or None,
        observed_at=_observed(at, series.written, left),
        unit_code=series.unit_code or None,
        created_at=created,
        modified_at=left.modified_at or created,
        deleted_at=left.deleted_at or (created if series.coding == "d" else 0),
        instance_id=left.instance_id or instance_id(entity, series, at, lag, n),
        sub=left.sub,
        extra=left.extra,
    )


def position(point: Point, n: int) -> tuple[Instant, int, str, Series, int]:
    """The order of the instances of an attribute: by time, then by when they were recorded."""
    return point.at, point.lag, point.series.dataset, point.series, n


def selected(
    entity: str, points: list[tuple[Point, int]], window: Window
) -> tuple[tuple[Attribute, ...], bool]:
    """What `ld.temporal.select` makes of the points of one attribute, with their numbers. For a window on
    `observedAt` they lie within it already."""
    if window.property != "observedAt":
        points.sort(key=lambda found: position(*found))
        return select([decode(entity, *found) for found in points], window)
    # Times need not be read again: whoever has none stands first.
    points.sort(key=lambda found: (found[0].series.written != "", *position(*found)))
    if window.last_n is not None:
        points = points[-window.last_n :]
    cut = window.limit is not None and len(points) > window.limit
    if window.limit is not None and cut:
        points = points[-window.limit :] if window.last_n is not None else points[: window.limit]
    return tuple([decode(entity, *found) for found in points]), cut


def left_over(rest: bytes | None) -> Attribute:
    """What a point keeps beside its own columns."""
    return _NOTHING if rest is None else _decoder.decode(rest)


_NOTHING = Attribute(kind="Property")


def _value(coding: str, value: Any, left: Attribute) -> Any:
    match coding:
        case "n":
            return value
        case "b":
            return bool(value)
        case "d":
            return NGSI_LD_NULL
        case _:
            return left.value


def _rest(instance: Attribute, coding: str, written: str, modified: Instant) -> bytes:
    return _encoder.encode(
        Attribute(
            kind="Property",
            value=instance.value if coding == "r" else None,
            observed_at=instance.observed_at if written == "=" else None,
            modified_at=modified,
            deleted_at=instance.deleted_at if coding == "r" else 0,
            instance_id=instance.instance_id,
            sub=instance.sub,
            extra=instance.extra,
        )
    )


@lru_cache(maxsize=1024)
def _seen(text: str) -> tuple[Instant, str]:
    """The instant of a DateTime and how many decimals it is written with, or "=" when its spelling
    cannot be told from that. (Attributes of an entity are often observed together: hence the cache.)"""
    decimals = len(text) - 21
    if decimals < 0:
        return instant(text), "0"
    return instant(text), str(decimals) if text[19] == "." else "="


def _observed(at: Instant, written: str, left: Attribute) -> str | None:
    match written:
        case "":
            return None
        case "=":
            return left.observed_at
        case "0":
            return timestamp(at)
        case _:
            seconds, microseconds = divmod(at, 1_000_000)
            return f"{timestamp(seconds * 1_000_000)[:-1]}.{microseconds:06d}"[: 20 + int(written)] + "Z"


# -- names of instances


@lru_cache(maxsize=8192)
def series_id(entity: str, series: Series) -> str:
    """The part of an instance id that names the series: a digest that does not depend on any store."""
    text = "\n".join((entity, *series))
    return URN + blake2b(text.encode(), digest_size=8).hexdigest()


def instance_id(entity: str, series: Series, at: Instant, lag: int, n: int) -> str:
    """The name of the `n`-th instance at one place of a series, from which it can be found again."""
    return f"{series_id(entity, series)}:{at:x}:{lag:x}:{n:x}"


def parse_instance_id(text: str) -> tuple[str, Instant, int, int] | None:
    """Series, place and number of an instance id; None when it is none of ours."""
    head, *numbers = text.rsplit(":", 3)
    try:
        at, lag, n = (int(number, 16) for number in numbers)
    except ValueError:
        return None
    # Whoever made up an id may have made up numbers that no column holds.
    ours = head.startswith(URN) and abs(at) < INT64 // 2 and abs(lag) < INT64 // 2 and 0 <= n < 1 << 20
    return (head, at, lag, n) if ours else None
