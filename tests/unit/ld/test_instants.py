"""Dates and times (4.6.3)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.errors import BadRequestData
from autocity.ld.instants import LAST, instant, moment, timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = st.integers(-62_135_596_800_000_000, LAST)


@given(INSTANTS)
def test_an_instant_survives_its_writing(at: int) -> None:
    text = timestamp(at)
    assert instant(text) == at
    assert text.endswith("Z")
    assert ("." in text) == (at % 1_000_000 != 0)
    assert not text.endswith("0Z") or "." not in text


@given(st.datetimes(timezones=st.just(UTC)))
def test_agrees_with_datetime(time: datetime) -> None:
    text = time.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0") + f".{time.microsecond:06}Z"
    assert instant(text) == (time - EPOCH) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-22T08:30:00Z", "2026-11-22T08:30:00Z"),
        ("2026-11-22T08:30:00.000Z", "2026-11-22T08:30:00Z"),
        ("2026-11-22T08:30:00.120Z", "2026-11-22T08:30:00.12Z"),
        ("2026-11-22T08:30:00,5Z", "2026-11-22T08:30:00.5Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_reads_what_4_6_3_allows(text: str, written: str) -> None:
    assert timestamp(instant(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-11-22", "2026-11-22T08:30Z", "2026-11-22T08:30:00", "2026-11-22T08:30:00+01:00",
        "2026-11-22 08:30:00Z", "2026-11-22t08:30:00z", "20261122T083000Z", "2026-02-30T00:00:00Z",
        "2026-11-22T24:00:00Z", "2026-11-22T08:30:60Z", "2026-11-22T08:30:00.Z",
        "2026-11-22T08:30:00.1234567Z",
        "2026-11-22T08:30:00.１Z", "２026-11-22T08:30:00Z", "2026-W47-7T08:30:00Z", "2026-11-22T08:30:00ZZ",
        "10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_refuses_everything_else(text: str) -> None:
    with pytest.raises(BadRequestData, match="2026-11-22T08:30:00Z"):
        instant(text)
    assert moment(text) is None or text == "2026-11-22"


def test_tells_dates_from_times_from_datetimes() -> None:
    assert moment("1970-01-02") == ("Date", 1)
    assert moment("00:00:01Z") == ("Time", 1_000_000)
    assert moment("00:00:00.5Z") == ("Time", 500_000)
    assert moment("1970-01-01T00:00:01Z") == ("DateTime", 1_000_000)
    for text in ("1970-1-2", "25:00:00Z", "00:00:01", "red", "12345678901", "1970-01-0x"):
        assert moment(text) is None
