"""Keys sort as values do, scopes are found by what they are below, parameters get their numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autocity.store.compile import Bound
from autocity.store.digest import BOOLEAN, DATE_TIME, NUMBER, STRING
from autocity.store.postgres.tables import PostgresTables, key, literal, marks, numbered

numbers = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53)


@given(numbers, numbers)
def test_keys_of_numbers_sort_as_numbers(one: float, other: float) -> None:
    assert (key((NUMBER, one)) < key((NUMBER, other))) == (one < other)
    assert (key((NUMBER, one)) == key((NUMBER, other))) == (one == other)


@given(st.text(), st.text())
def test_keys_of_texts_sort_by_character(one: str, other: str) -> None:
    one, other = (text.encode("utf-8", "ignore").decode() for text in (one, other))
    assert (key((STRING, one)) < key((STRING, other))) == (one < other)


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_keys_of_times_sort_by_time(one: int, other: int) -> None:
    assert (key((DATE_TIME, one)) < key((DATE_TIME, other))) == (one < other)


def test_values_of_different_data_types_never_meet() -> None:
    assert len({key((kind, 1))[:1] for kind in (NUMBER, BOOLEAN, DATE_TIME)}) == 3
    _, seek = PostgresTables(0).compared(1, [Bound(NUMBER, ">", (5,), parts=False, sure=True)])
    low, high, _ = seek.values
    assert low < key((NUMBER, 6)) < high
    assert not low < key((STRING, "6")) < high


def test_marks_of_a_scope() -> None:
    assert marks(["/city/north/1", "city"]) == ["=city/north/1", "", "city", "city/north", "=city"]
    assert marks([]) == []


def test_texts_as_an_array_of_postgresql() -> None:
    assert literal(["a", 'b"c', "d\\e", "", "{,}"]) == '{"a","b\\"c","d\\\\e","","{,}"}'


def test_parameters_are_numbered_in_their_order() -> None:
    assert numbered("a = ? AND b = ANY (?::text[])") == "a = $1 AND b = ANY ($2::text[])"
