"""How values are written: numbers, units, times, languages, geometry."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.console import show


@pytest.mark.parametrize(
    ("value", "digits", "written"),
    [
        (1622279, None, "1,622,279"), (35.8449, None, "35.84"), (0.01234, None, "0.0123"),
        (252110.55, None, "252,111"), (2.0, 1, "2.0"), (-6.4, None, "-6.4"), (3, 0, "3"),
    ],
)  # fmt: skip
def test_numbers_are_grouped_and_cut_to_what_matters(value: float, digits: int | None, written: str) -> None:
    assert show.number(value, "en", digits) == written


def test_a_change_bears_its_sign() -> None:
    assert show.percent(10.2, "en") == "+10.2\u202f%"
    assert show.percent(-3, "zh-Hans") == "−3.0\u202f%"
    assert show.percent(0, "en") == "0.0\u202f%"


@pytest.mark.parametrize(("code", "symbol"), [("KMH", "km/h"), ("GQ", "µg/m³"), (None, ""), ("XYZ", "XYZ")])
def test_units_are_written_as_people_read_them(code: str | None, symbol: str) -> None:
    assert show.unit(code) == symbol


def test_time_is_told_on_the_clock_of_the_city() -> None:
    instant = datetime(2026, 11, 22, 20, 30, tzinfo=UTC)
    assert show.when(instant, "en") == "23 Nov 2026, 04:30:00"
    assert "04:30" in show.when(instant, "zh-Hans")
    assert show.clocked("2026-11-22T20:30:00.1234567Z", "en") == "23 Nov 2026, 04:30:00"
    assert show.clocked("2020-H1", "en") == "2020-H1"


def test_days_and_ages_are_told_in_words() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert show.day("2020-07-30", "en") == "30 Jul 2020"
    assert show.day("2020-07-30", "zh-Hans") == "2020年7月30日"
    assert show.day("2020-H1", "en") == "2020-H1"
    assert show.age(now - timedelta(minutes=3), now, "en") == "3 minutes ago"
    assert show.age(now + timedelta(minutes=3), now, "en") == "1 second ago"


@pytest.mark.parametrize(("language", "best"), [("en", "Street"), ("zh-Hans", "街")])
def test_the_reader_gets_their_own_wording(language: str, best: str) -> None:
    assert show.phrase({"en": "Street", "zh": "街"}, language) == best


def test_a_missing_wording_falls_back_to_another() -> None:
    assert show.phrase({"de": ["Straße", "Weg"]}, "en") == "Straße, Weg"
    assert show.phrase({}, "en") == ""
    assert show.phrase("plain", "zh-Hans") == "plain"


def test_places_are_told_by_latitude_and_longitude() -> None:
    assert show.geometry({"type": "Point", "coordinates": [125.2, 43.83]}, "en") == "43.83000, 125.20000"
    line = {"type": "LineString", "coordinates": [[1, 2], [3, 4], [5, 6]]}
    assert show.geometry(line, "en") == "LineString · 3"
    assert show.geometry("nowhere", "en") == "nowhere"


@given(st.text())
def test_no_text_is_too_odd_for_a_moment(text: str) -> None:
    found = show.moment(text)
    assert found is None or found.tzinfo is not None
