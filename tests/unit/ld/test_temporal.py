"""Durations, windows (4.11), pages of history (6.3.10) and aggregation (4.5.19)."""

from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from autocity.errors import BadRequestData
from autocity.ld.instants import DAY, LAST, SECOND, instant, timestamp
from autocity.ld.temporal import (
    Duration,
    Window,
    add,
    aggregate,
    content_range,
    duration,
    page,
    parse_methods,
    parse_window,
    select,
    time_of,
    within,
)
from autocity.model import NGSI_LD_NULL, Attribute

START = instant("2026-01-01T00:00:00Z")


def at(minute: int, value: Any = 0, dataset: str | None = None, **members: Any) -> Attribute:
    """An instance observed some minutes after the start."""
    time = timestamp(START + minute * 60 * SECOND)
    return Attribute(kind="Property", value=value, observed_at=time, dataset_id=dataset, **members)


def minutes(instances: Any) -> list[int]:
    return [(instant(one.observed_at) - START) // (60 * SECOND) for one in instances]


# Durations


@pytest.mark.parametrize(
    ("text", "months", "microseconds"),
    [
        ("P3Y6M4DT12H30M5S", 42, 4 * DAY + (12 * 3600 + 30 * 60 + 5) * SECOND),
        ("PT1H", 0, 3600 * SECOND),
        ("P1D", 0, DAY),
        ("P2W", 0, 14 * DAY),
        ("P1M", 1, 0),
        ("PT0S", 0, 0),
        ("P0D", 0, 0),
        ("PT0.5S", 0, 500_000),
        ("PT1,25S", 0, 1_250_000),
    ],
)
def test_reads_the_durations_of_4_5_19_1(text: str, months: int, microseconds: int) -> None:
    parsed = duration(text)
    assert parsed == Duration(months, microseconds)
    assert bool(parsed) == bool(months or microseconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1DT",
        "1H",
        "PT1",
        "P1H",
        "PT1D",
        "P1W2D",
        "P-1D",
        "PT1H1H",
        "P1.5D",
        "p1d",
        "PT١S",
        "P9999999D",
    ],
)
def test_refuses_other_durations(text: str) -> None:
    with pytest.raises(BadRequestData, match="PT1H"):
        duration(text)


def test_months_keep_the_day_or_take_the_last() -> None:
    january = instant("2024-01-31T12:00:00Z")
    steps = [timestamp(add(january, Duration(months=1), n)) for n in range(4)]
    assert steps == [
        "2024-01-31T12:00:00Z", "2024-02-29T12:00:00Z", "2024-03-31T12:00:00Z", "2024-04-30T12:00:00Z",
    ]  # fmt: skip
    assert timestamp(add(january, Duration(12, SECOND))) == "2025-01-31T12:00:01Z"
    assert add(january, Duration(months=12 * 9_000)) == add(january, Duration(0, DAY), 10**9) == LAST


# Windows


@pytest.mark.parametrize(
    ("relation", "end", "inside"),
    [
        ("before", None, [0, 1]),
        ("after", None, [2, 3, 4]),
        ("between", 4, [2, 3]),
        (None, None, [0, 1, 2, 3, 4]),
    ],
)
def test_bounds_of_4_11(relation: Any, end: int | None, inside: list[int]) -> None:
    """Before is exclusive, after inclusive, between includes its start only."""
    window = parse_window(
        relation,
        timestamp(START + 120 * SECOND).replace("Z", ".000Z") if relation else None,
        timestamp(START + end * 60 * SECOND) if end else None,
    )
    instances, cut = select([at(minute) for minute in (3, 0, 4, 2, 1)], window)
    assert minutes(instances) == inside
    assert not cut


def test_instances_without_the_time_are_outside() -> None:
    bare = Attribute(kind="Property", value=1, created_at=START, modified_at=START)
    gone = replace(bare, deleted_at=START)
    assert select([bare, at(1)], Window("after", START)) == ((at(1),), False)
    assert select([bare, at(1)], Window()) == ((bare, at(1)), False)
    assert select([bare, gone], Window(property="deletedAt")) == ((gone,), False)
    assert select([bare, gone, at(1)], Window("before", START + 1, property="createdAt"))[0] == (bare, gone)
    assert time_of(gone, "deletedAt") == time_of(bare, "modifiedAt") == START
    assert time_of(bare, "deletedAt") is time_of(bare, "observedAt") is None


def test_datasets_and_last_n() -> None:
    instances = [at(1), at(2, dataset="urn:d"), at(3), at(4, dataset="urn:d")]
    assert minutes(select(instances, Window(dataset_ids=("urn:d",)))[0]) == [2, 4]
    assert minutes(select(instances, Window(dataset_ids=("@none",)))[0]) == [1, 3]
    assert minutes(select(instances, Window(last_n=3))[0]) == [2, 3, 4]
    assert minutes(select(instances, Window(last_n=1, dataset_ids=("@none", "urn:d")))[0]) == [4]


def test_limit_cuts_the_end_or_with_last_n_the_beginning() -> None:
    instances = [at(minute) for minute in range(5)]
    kept, cut = select(instances, Window(limit=2))
    assert (minutes(kept), cut) == ([0, 1], True)
    kept, cut = select(instances, Window(limit=2, last_n=4))
    assert (minutes(kept), cut) == ([3, 4], True)
    kept, cut = select(instances, Window(limit=5))
    assert (minutes(kept), cut) == ([0, 1, 2, 3, 4], False)


@given(
    st.lists(st.integers(0, 9), max_size=12),
    st.sampled_from([None, "before", "after", "between"]),
    st.integers(0, 9),
    st.integers(0, 9),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_select_is_filter_then_sort_then_tail(
    times: list[int], relation: Any, first: int, last: int, last_n: int | None
) -> None:
    window = Window(relation, START + first * 60 * SECOND, START + last * 60 * SECOND, last_n=last_n)
    fits = {
        None: lambda n: True,
        "before": lambda n: n < first,
        "after": lambda n: n >= first,
        "between": lambda n: first <= n < last,
    }[relation]
    expected = sorted(filter(fits, times))
    found, _ = select([at(minute) for minute in times], window)
    assert minutes(found) == (expected[-last_n:] if last_n else expected)
    assert all(map(within(window), [time_of(one, "observedAt") for one in found]))


@pytest.mark.parametrize(
    ("given_", "mend"),
    [
        ({"timerel": "during", "time_at": "2026-01-01T00:00:00Z"}, "before, after or between"),
        ({"timerel": "after"}, "needs timeAt"),
        ({"timerel": "after", "time_at": ""}, "needs timeAt"),
        ({"timerel": "after", "time_at": "2026-01-01"}, "not a DateTime"),
        ({"timerel": "between", "time_at": "2026-01-01T00:00:00Z"}, "endTimeAt"),
        ({"timerel": "between", "time_at": "2026-01-01T00:00:00Z", "end_time_at": "x"}, "endTimeAt 'x'"),
        (
            {"timerel": "after", "time_at": "2026-01-01T00:00:00Z", "end_time_at": "2026-01-01T00:00:00Z"},
            "between",
        ),
        ({"time_at": "2026-01-01T00:00:00Z"}, "need timerel"),
        ({"timeproperty": "expiresAt"}, "observedAt, createdAt"),
        ({"last_n": 0}, "positive integer"),
        ({"last_n": "-1"}, "positive integer"),
        ({"last_n": 1.5}, "positive integer"),
        ({"last_n": "9" * 30}, "positive integer"),
        ({"last_n": True}, "positive integer"),
    ],
)
def test_refuses_broken_windows(given_: dict[str, Any], mend: str) -> None:
    with pytest.raises(BadRequestData, match=mend):
        parse_window(**given_)


def test_names_every_fault_of_a_window_at_once() -> None:
    with pytest.raises(BadRequestData) as refusal:
        parse_window("during", None, None, "x", last_n="0")
    for parameter in ("timerel", "timeAt", "timeproperty", "lastN"):
        assert parameter in refusal.value.detail


def test_reads_a_whole_window() -> None:
    assert parse_window(
        "between",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:00Z",
        "modifiedAt",
        last_n="5",
        dataset_ids=["@none"],
        limit=7,
    ) == Window("between", START, START + 60 * SECOND, "modifiedAt", 5, ("@none",), 7)
    assert parse_window() == Window()


# Pages


def test_a_page_cuts_all_attributes_at_one_instant() -> None:
    """6.3.10: nothing is missing in the range named, so an attribute beyond the cut is empty."""
    early, late = tuple(at(n) for n in range(60)), tuple(at(1000 + n) for n in range(60))
    (kept,), cut = page([{"early": early, "late": late}], Window("after", START), 30)
    assert cut
    assert (len(kept["early"]), kept["late"]) == (30, ())
    (kept,), cut = page([{"early": early, "late": late}], Window("before", START + DAY, last_n=100), 30)
    assert cut
    assert (kept["early"], len(kept["late"])) == ((), 30)


def test_a_page_that_fits_is_whole() -> None:
    one = {"a": (at(1), at(2)), "b": (at(1),)}
    assert page([one], Window(), 3) == ([one], False)
    same = {"a": (at(1), at(1, 2), at(1, 3))}
    assert page([same], Window(), 2) == ([same], False)
    timeless = {"a": (Attribute(kind="Property", value=1),) * 5}
    assert page([timeless], Window(), 2) == ([timeless], False)


@given(
    st.lists(st.lists(st.integers(0, 20), max_size=10), min_size=1, max_size=4),
    st.integers(1, 12),
    st.booleans(),
)
def test_a_page_is_all_that_lies_before_its_cut(series: list[list[int]], limit: int, backwards: bool) -> None:
    window = Window("after", START, last_n=50 if backwards else None)
    evolutions = [{"a": tuple(at(minute) for minute in sorted(times))} for times in series]
    kept, cut = page(evolutions, window, limit)
    every = [minute for one in evolutions for minute in minutes(one["a"])]
    left = [minute for one in kept for minute in minutes(one["a"])]
    assert cut == (len(left) < len(every))
    if cut:
        edge = min(left) if backwards else max(left)
        assert sorted(left) == sorted(n for n in every if (n >= edge if backwards else n <= edge))
        assert len(left) >= limit
        assert len([n for n in left if n != edge]) < limit


RANGE = [{"a": (at(3), at(5)), "b": (at(4), at(6))}]


@pytest.mark.parametrize(
    ("relation", "last_n", "expected"),
    [
        (None, None, "00:03:00Z 00:06:00Z *"),
        ("before", None, "00:03:00Z 00:06:00Z *"),
        ("after", None, "00:00:00Z 00:06:00Z *"),
        ("between", None, "00:00:00Z 00:06:00Z *"),
        (None, 20, "00:06:00Z 00:03:00Z 20"),
        ("before", 20, "00:00:00Z 00:03:00Z 20"),
        ("after", 20, "00:06:00Z 00:03:00Z 20"),
        ("between", 20, "01:00:00Z 00:03:00Z 20"),
    ],
)
def test_content_range_of_6_3_10(relation: Any, last_n: int | None, expected: str) -> None:
    window = Window(relation, START, START + 3600 * SECOND, last_n=last_n)
    start, end, size = expected.split()
    assert content_range(RANGE, window) == f"date-time 2026-01-01T{start}-2026-01-01T{end}/{size}"


# Aggregation

HOUR = duration("PT1H")


def test_periods_count_from_the_oldest_instance_of_the_entity() -> None:
    speed = [at(3, 120), at(5, 80), at(7, 100)]
    fuel = [at(3, 67), at(65, 53), at(127, 40)]
    found = aggregate({"speed": speed, "fuel": fuel}, ["avg", "max"], HOUR, Window())
    assert found["speed"]["avg"] == [[100, "2026-01-01T00:03:00Z", "2026-01-01T01:03:00Z"]]
    assert found["speed"]["max"] == [[120, "2026-01-01T00:03:00Z", "2026-01-01T01:03:00Z"]]
    assert found["fuel"]["avg"] == [
        [67, "2026-01-01T00:03:00Z", "2026-01-01T01:03:00Z"],
        [53, "2026-01-01T01:03:00Z", "2026-01-01T02:03:00Z"],
        [40, "2026-01-01T02:03:00Z", "2026-01-01T03:03:00Z"],
    ]


def test_periods_count_from_the_window() -> None:
    """C.5.14: periods of four minutes from timeAt."""
    values = [at(1, 120), at(5, 80), at(7, 100)]
    found = aggregate(
        {"s": values}, ["max", "avg"], duration("PT4M"), Window("between", START, START + 3600 * SECOND)
    )
    assert found["s"] == {
        "max": [
            [120, "2026-01-01T00:00:00Z", "2026-01-01T00:04:00Z"],
            [100, "2026-01-01T00:04:00Z", "2026-01-01T00:08:00Z"],
        ],
        "avg": [
            [120, "2026-01-01T00:00:00Z", "2026-01-01T00:04:00Z"],
            [90, "2026-01-01T00:04:00Z", "2026-01-01T00:08:00Z"],
        ],
    }


@pytest.mark.parametrize(
    ("window", "start", "end"),
    [
        (Window(), "00:01:00Z", "00:03:00Z"),
        (Window("after", START), "00:00:00Z", "00:03:00Z"),
        (Window("before", START + 3600 * SECOND), "00:01:00Z", "01:00:00Z"),
        (Window("between", START, START + 3600 * SECOND), "00:00:00Z", "01:00:00Z"),
    ],
)
def test_a_zero_period_is_the_whole_range(window: Window, start: str, end: str) -> None:
    found = aggregate({"a": [at(1, 1), at(3, 2)]}, ["sum"], Duration(), window)
    assert found == {"a": {"sum": [[3, f"2026-01-01T{start}", f"2026-01-01T{end}"]]}}


def test_periods_of_months_follow_the_calendar() -> None:
    days = [at(1440 * day, 1) for day in range(120)]
    found = aggregate({"a": days}, ["totalCount"], duration("P1M"), Window("after", START))
    assert found["a"]["totalCount"] == [
        [31, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"],
        [28, "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"],
        [31, "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"],
        [30, "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"],
    ]


METHODS: Any = ("totalCount", "distinctCount", "sum", "avg", "min", "max", "stddev", "sumsq")


def methods_of(*values: Any, kind: Any = "Property") -> dict[str, Any]:
    instances = [replace(at(n, value), kind=kind) for n, value in enumerate(values)]
    found = aggregate({"a": instances}, METHODS, Duration(), Window())["a"]
    return {method: rows[0][0] for method, rows in found.items() if rows}


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ((1, 2, 3.5, 2), "Property",
         {"sum": 8.5, "avg": 2.125, "min": 1, "max": 3.5, "sumsq": 21.25, "stddev": pstdev([1, 2, 3.5, 2]),
          "totalCount": 4, "distinctCount": 3}),
        ((True, False, True), "Property",
         {"sum": 2, "avg": 2 / 3, "min": 0, "max": 1, "sumsq": 2, "stddev": pstdev([1, 0, 1]),
          "totalCount": 3, "distinctCount": 2}),
        (("b", "a", "a"), "Property", {"min": "a", "max": "b", "totalCount": 3, "distinctCount": 2}),
        (([1], [1, 2, 3]), "Property",
         {"sum": 4, "avg": 2, "min": 1, "max": 3, "totalCount": 2, "distinctCount": 2}),
        (([1], []), "ListProperty",
         {"sum": 1, "avg": 0.5, "min": 0, "max": 1, "totalCount": 2, "distinctCount": 2}),
        (({"a": 1, "b": 2}, {"b": 2, "a": 1}), "Property", {"totalCount": 2, "distinctCount": 1}),
        (("2026-01-01T00:00:00.0Z", "2026-01-01T00:00:00.5Z"), "Property",
         {"min": "2026-01-01T00:00:00.0Z", "max": "2026-01-01T00:00:00.5Z",
          "totalCount": 2, "distinctCount": 2}),
        (("08:00:00Z", "09:00:00Z"), "Property",
         {"min": "08:00:00Z", "max": "09:00:00Z", "avg": "08:30:00Z", "totalCount": 2, "distinctCount": 2}),
        (("urn:a", "urn:b", "urn:a"), "Relationship", {"totalCount": 3, "distinctCount": 2}),
        ((["urn:a"], ["urn:b"]), "ListRelationship", {"totalCount": 2, "distinctCount": 2}),
        (({"en": "a"},), "LanguageProperty", {"totalCount": 1, "distinctCount": 1}),
        (({"@type": "Number", "@value": 4},), "Property",
         {"sum": 4, "avg": 4, "min": 4, "max": 4, "sumsq": 16, "stddev": 0,
          "totalCount": 1, "distinctCount": 1}),
    ],
)  # fmt: skip
def test_methods_by_data_type(values: tuple[Any, ...], kind: str, expected: dict[str, Any]) -> None:
    """Tables 4.5.19.1-1 to -3."""
    assert methods_of(*values, kind=kind) == pytest.approx(expected)


def test_deletions_are_not_values() -> None:
    assert methods_of(1, NGSI_LD_NULL, 3)["totalCount"] == 2
    assert aggregate({"a": []}, ["sum"], HOUR, Window()) == {"a": {"sum": []}}


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(-9, 9)), min_size=1, max_size=30),
    st.sampled_from(["PT7M", "PT1H", "P1D", "P1M", "P1MT5H", "PT0S"]),
    st.sampled_from([None, "after"]),
)
def test_every_instance_is_in_exactly_one_period(points: Any, period: str, relation: Any) -> None:
    instances = [at(minute, value) for minute, value in points]
    window = Window(relation, START - DAY)
    found = aggregate({"a": instances}, ["totalCount", "sum", "avg"], duration(period), window)["a"]
    assert sum(row[0] for row in found["totalCount"]) == len(points)
    assert sum(row[0] for row in found["sum"]) == sum(value for _, value in points)
    for count, average in zip(found["totalCount"], found["avg"], strict=True):
        low, high = instant(count[1]), instant(count[2])
        inside = [
            value
            for minute, value in points
            if low <= START + minute * 60 * SECOND
            and (START + minute * 60 * SECOND < high or period == "PT0S")
        ]
        assert count[0] == len(inside)
        assert average[0] == pytest.approx(fmean(inside))
    starts = [row[1] for row in found["sum"]]
    assert starts == sorted(starts)


def test_reads_methods() -> None:
    assert parse_methods("avg,max,avg") == ("avg", "max")
    assert parse_methods(["sum"]) == ("sum",)
    for wrong in ("", "bogus", "avg,,max", []):
        with pytest.raises(BadRequestData, match="aggrMethods"):
            parse_methods(wrong)
