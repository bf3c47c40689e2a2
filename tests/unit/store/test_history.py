"""What a change records, and that the stored form of an instance gives it back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from autocity.ld.instants import timestamp
from autocity.model import NGSI_LD_NULL, Attribute, Change, Entity
from autocity.store import history
from autocity.store.history import SCOPE, decode, encode, instance_id, parse_instance_id, points, series_id
from strategies import NAMES, NOW, attributes

A, B = "https://example.org/a", "https://example.org/b"
GPS = "urn:ngsi-ld:Dataset:gps"


def one(value: object, at: int = 1, dataset: str | None = None) -> Attribute:
    return Attribute(kind="Property", value=value, created_at=1, modified_at=at, dataset_id=dataset)


def state(**members: object) -> Entity:
    return Entity(id="urn:x:1", types=("urn:t",), **members)  # type: ignore[arg-type]


def recorded(before: Entity | None, after: Entity | None) -> list[tuple[str, object, str | None, int]]:
    change = Change(tenant="", id="urn:x:1", at=NOW, before=before, after=after, expected=0)
    found = points(change)
    assert all(instance.created_at == instance.modified_at == NOW for _, instance in found)
    return [(name, i.value, i.dataset_id, i.deleted_at) for name, i in found]


def test_a_creation_records_everything() -> None:
    after = state(attributes={A: (one(1), one(2, dataset=GPS)), B: (one(3),)})
    assert recorded(None, after) == [(A, 1, None, 0), (A, 2, GPS, 0), (B, 3, None, 0)]


def test_an_update_records_only_what_is_not_as_before() -> None:
    before = state(attributes={A: (one(1), one(2, dataset=GPS)), B: (one(3),)})
    after = replace(before, attributes={A: (one(1), one(2, 9, GPS)), B: before.attributes[B]})
    assert recorded(before, after) == [(A, 2, GPS, 0)]
    assert recorded(before, before) == []


def test_what_is_gone_leaves_a_marker() -> None:
    before = state(attributes={A: (one(1), one(2, dataset=GPS)), B: (one(3),)})
    assert recorded(before, replace(before, attributes={A: (one(1),)})) == [
        (A, NGSI_LD_NULL, GPS, NOW),
        (B, NGSI_LD_NULL, None, NOW),
    ]
    assert len(recorded(before, None)) == 3


@pytest.mark.parametrize(
    ("before", "after", "value"),
    [
        (None, ("/a",), "/a"),
        (("/a",), ("/a", "/b"), ["/a", "/b"]),
        (("/a",), (), NGSI_LD_NULL),
        (("/a",), None, NGSI_LD_NULL),
    ],
)
def test_a_change_of_scope_is_recorded(
    before: tuple[str, ...] | None, after: tuple[str, ...] | None, value: object
) -> None:
    states = [None if scopes is None else state(scopes=scopes) for scopes in (before, after)]
    ((name, found, _, _),) = recorded(*states)
    assert (name, found) == (SCOPE, value)


def test_the_same_scope_is_not_recorded_again() -> None:
    assert recorded(state(scopes=("/a",)), state(scopes=("/a",))) == []


@given(attributes(depth=1), st.sampled_from(NAMES), st.integers(0, 10**7), st.integers(0, 3))
def test_the_stored_form_gives_the_instance_back(
    instance: Attribute, name: str, correction: int, n: int
) -> None:
    point = encode(name, instance, NOW, NOW + correction)
    expected = replace(
        instance,
        created_at=NOW,
        modified_at=NOW + correction,
        instance_id=instance_id("urn:x:1", point.series, point.at, point.lag, n),
    )
    assert decode("urn:x:1", point, n) == expected
    assert type(decode("urn:x:1", point, n).value) is type(instance.value)


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-22T08:30:00Z",
        "2026-11-22T08:30:00.500Z",
        "2026-11-22T08:30:00.5Z",
        "1969-07-20T20:17:40.000001Z",
        "2026-11-22T08:30:00,5Z",
    ],
)
def test_a_date_time_keeps_its_spelling(written: str) -> None:
    instance = Attribute(kind="Property", value=1, observed_at=written)
    assert decode("urn:x:1", encode(A, instance, NOW, NOW), 0).observed_at == written


def test_plain_numbers_have_nothing_beside_their_columns() -> None:
    for value in (1, 2.5, "text", True):
        instance = Attribute(kind="Property", value=value, unit_code="CEL", observed_at=timestamp(NOW))
        assert encode(A, instance, NOW, NOW).rest is None


def test_a_deletion_marker_has_nothing_beside_its_columns() -> None:
    point = encode(A, history.deletion(one(1), NOW), NOW, NOW)
    assert (point.rest, point.series.coding) == (None, "d")
    assert decode("urn:x:1", point, 0).deleted_at == NOW


@given(st.integers(-(10**18), 10**18), st.integers(-(10**15), 10**15), st.integers(0, 99))
def test_an_instance_id_tells_where_the_instance_stands(at: int, lag: int, n: int) -> None:
    series = encode(A, one(1), NOW, NOW).series
    assert parse_instance_id(instance_id("urn:x:1", series, at, lag, n)) == (
        series_id("urn:x:1", series),
        at,
        lag,
        n,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "urn:x:1",
        "urn:ngsi-ld:instance:1:2:z",
        "urn:other:00:1:2:3",
        f"urn:ngsi-ld:instance:0:{'f' * 40}:0:0",
    ],
)
def test_other_ids_are_none_of_ours(text: str) -> None:
    assert parse_instance_id(text) is None


def test_ids_of_one_place_differ_by_entity_attribute_dataset_and_number() -> None:
    places = [encode(name, one(1, dataset=dataset), NOW, NOW) for name in (A, B) for dataset in (None, GPS)]
    ids = {
        instance_id(entity, point.series, point.at, point.lag, n)
        for entity in ("urn:x:1", "urn:x:2")
        for point in places
        for n in (0, 1)
    }
    assert len(ids) == 16
