"""What a change leaves in history: recorded instances, their names and their stored form, for every store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from autocity.ld.instants import instant, timestamp
from autocity.model import NGSI_LD_NULL, Attribute, Attributes, Change, Entity, Instant

SCOPE = "https://uri.etsi.org/ngsi-ld/scope"
"""The IRI under which changes of scope are recorded (4.5.6)."""

URN = "urn:ngsi-ld:instance:"


# -- what is recorded


def points(change: Change) -> list[tuple[str, Attribute]]:
    """The instances that a change records, by attribute IRI: those not the same as before, a deletion
    marker for those that are gone (4.5.7), and the scope when it changed (4.5.6)."""
    before, after, at = change.before, change.after, change.at
    old: Attributes = before.attributes if before else {}
    new: Attributes = after.attributes if after else {}
    found = [
        (name, stamped(instance, at))
        for name, instances in new.items()
        if (previous := old.get(name)) is not instances
        for instance in (instances if previous is None else _changed(previous, instances))
    ]
    for name, instances in old.items():
        if (left := new.get(name)) is not instances:
            found += ((name, deletion(gone, at)) for gone in _gone(instances, left or ()))
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
        scope = Attribute(kind="Property", value=value, observed_at=timestamp(at))
        yield stamped(scope, at)
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
    return Attribute(
        kind=instance.kind,
        value=NGSI_LD_NULL,
        dataset_id=instance.dataset_id,
        created_at=at,
        modified_at=at,
        deleted_at=at,
    )


def place(instance: Attribute) -> Instant:
    """Where an instance stands in its series: when it was observed, else when it was recorded."""
    return instant(instance.observed_at) if instance.observed_at else instance.created_at


# -- names of instances


@lru_cache(maxsize=4096)
def series(entity: str, attribute: str, dataset_id: str | None) -> str:
    """The part of an instance id that names the series: a digest that does not depend on any store."""
    text = f"{entity}\n{attribute}\n{dataset_id or ''}"
    return URN + blake2b(text.encode(), digest_size=8).hexdigest()


def instance_id(entity: str, attribute: str, dataset_id: str | None, at: Instant, n: int) -> str:
    """The name of the `n`-th instance at one place of a series, from which it can be found again."""
    return f"{series(entity, attribute, dataset_id)}:{at:x}:{n:x}"


def parse_instance_id(text: str) -> tuple[str, Instant, int] | None:
    """Series, place and number of an instance id; None when it is none of ours."""
    head, _, n = text.rpartition(":")
    head, _, at = head.rpartition(":")
    try:
        return (head, int(at, 16), int(n, 16)) if head.startswith(URN) else None
    except ValueError:
        return None


# -- the stored form: what is the same in most instances of a series is a shape, told once


class Shape(NamedTuple):
    """What instances share: kind, unit, how `observedAt` was written, and how the value is stored.

    `written`: how many decimals its seconds have, "" when the instance bears no `observedAt`, "=" when
    the text stands in `rest`. `coding`: "n" native, "b" a boolean as 0 or 1, "d" a deletion marker,
    "r" in `rest`.
    """

    kind: str
    unit_code: str | None
    written: str
    coding: str


class Point(NamedTuple):
    """One instance as stored. `lag`: microseconds from `at` to when it was recorded, None when `at` is
    that time. `rest`: JSON of an Attribute with all that has no place of its own, else None."""

    at: Instant
    shape: Shape
    value: int | float | str | None
    lag: int | None
    rest: bytes | None


INT64 = 1 << 63

_encoder = msgspec.json.Encoder()
_rest = msgspec.json.Decoder(Attribute)


def encode(instance: Attribute) -> Point:
    """The stored form of a recorded instance; `decode` gives the instance back."""
    coding, value = _native(instance)
    observed = instance.observed_at
    at = instance.created_at
    written, lag = "", None
    if observed is not None:
        recorded, at = at, instant(observed)
        lag = recorded - at
        written = _written(observed)
    return Point(
        at, Shape(instance.kind, instance.unit_code, written, coding), value, lag,
        _left_over(instance, coding, written),
    )  # fmt: skip


def decode(point: Point, dataset_id: str | None, name: str) -> Attribute:
    """The recorded instance. `name` is its instance id unless the stored form holds another."""
    at, (kind, unit_code, written, coding), value, lag, rest = point
    left = _rest.decode(rest) if rest is not None else _NOTHING
    recorded = at if lag is None else at + lag
    return Attribute(
        kind=kind,  # type: ignore[arg-type]
        value=_value(coding, value, left),
        dataset_id=dataset_id,
        observed_at=_observed(at, written, left),
        unit_code=unit_code,
        created_at=recorded,
        modified_at=left.modified_at or recorded,
        deleted_at=left.deleted_at or (recorded if coding == "d" else 0),
        instance_id=left.instance_id or name,
        sub=left.sub,
        extra=left.extra,
    )


def left_over(rest: bytes) -> Attribute:
    """What a point keeps beside its own columns."""
    return _rest.decode(rest)


_NOTHING = Attribute(kind="Property")


def _native(instance: Attribute) -> tuple[str, int | float | str | None]:
    value = instance.value
    if instance.deleted_at == instance.created_at and instance.deleted_at and value == NGSI_LD_NULL:
        return "d", None
    match value:
        case bool():
            return "b", int(value)
        case int() if -INT64 <= value < INT64:
            return "n", value
        case float() | str():
            return "n", value
        case _:
            return "r", None


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


def _left_over(instance: Attribute, coding: str, written: str) -> bytes | None:
    corrected = instance.modified_at != instance.created_at
    deleted = instance.deleted_at if coding != "d" else 0
    if not (
        coding == "r" or written == "=" or instance.sub or instance.extra or corrected
        or deleted or instance.instance_id
    ):  # fmt: skip
        return None
    return _encoder.encode(
        Attribute(
            kind="Property",
            value=instance.value if coding == "r" else None,
            observed_at=instance.observed_at if written == "=" else None,
            modified_at=instance.modified_at if corrected else 0,
            deleted_at=deleted,
            instance_id=instance.instance_id,
            sub=instance.sub,
            extra=instance.extra,
        )
    )


def _written(text: str) -> str:
    """How many decimals a DateTime is written with, or "=" when its spelling cannot be told from that."""
    decimals = len(text) - 21
    if decimals < 0:
        return "0"
    return str(decimals) if text[19] == "." else "="


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
