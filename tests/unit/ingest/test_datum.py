"""GCJ-02 and BD-09 to WGS 84: published reference points, and there and back again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.ingest.datum import in_china, to_bd09, to_gcj02, to_wgs84

LON = st.floats(75, 134)
LAT = st.floats(4, 53)


def test_reference_points_that_everyone_s_conversion_gives() -> None:
    assert to_gcj02(116.404, 39.915) == pytest.approx((116.41024449916938, 39.91640428150164), abs=1e-9)
    assert to_bd09(116.404, 39.915) == pytest.approx((116.41036949371029, 39.92133699351021), abs=1e-6)


@given(LON, LAT)
def test_gcj02_there_and_back_is_within_a_centimetre(lon: float, lat: float) -> None:
    assert to_wgs84("gcj02", *to_gcj02(lon, lat)) == pytest.approx((lon, lat), abs=1e-7)


@given(LON, LAT)
def test_bd09_there_and_back_is_within_a_centimetre(lon: float, lat: float) -> None:
    assert to_wgs84("bd09", *to_bd09(*to_gcj02(lon, lat))) == pytest.approx((lon, lat), abs=1e-7)


def test_the_shift_at_changchun_is_some_hundred_metres() -> None:
    lon, lat = to_gcj02(125.2, 43.83)
    assert 0.003 < lon - 125.2 < 0.01
    assert 0.0005 < lat - 43.83 < 0.005


def test_wgs84_and_places_outside_the_box_stay_as_they_are() -> None:
    assert to_wgs84("wgs84", 125.2, 43.83) == (125.2, 43.83)
    assert not in_china(10.78, 52.42)
    assert to_wgs84("gcj02", 10.78, 52.42) == (10.78, 52.42)
