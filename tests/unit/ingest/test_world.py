"""The ground of the simulated city: in the right place, of one piece, drawn by rule."""

from __future__ import annotations

from itertools import pairwise

import pytest
from shapely.geometry import LineString, Point, shape

from autocity import models
from autocity.ingest import world

PLATE = next(shape(fact["location"]["value"]) for fact in models.facts() if fact["type"] == "Plate")


def test_roads_river_and_lines_lie_within_the_drawn_outline() -> None:
    ways = (
        [segment.line for segment in world.segments()]
        + [line.way for line in world.lines()]
        + [*world.river()]
    )
    grown = PLATE.buffer(0.004)
    for way in ways:
        assert grown.contains(LineString([world.lon_lat(at) for at in way]))
    assert PLATE.contains(Point(world.lon_lat((0.0, 0.0))))


def test_every_segment_ends_where_others_begin() -> None:
    ends = {end for segment in world.segments() for end in (segment.line[0], segment.line[-1])}
    assert ends == {junction.at for junction in world.junctions()}
    assert all(2 <= len(junction.segments) <= 4 for junction in world.junctions())
    assert len({segment.key for segment in world.segments()}) == len(world.segments()) == 76


def test_dongfeng_street_is_the_axis_and_the_only_real_name() -> None:
    (main,) = (road for road in world.roads() if road.main)
    assert main.name == {"en": "Dongfeng Street", "zh": "东风大街"}


def test_reaches_of_the_river_flow_on_where_the_last_one_ended() -> None:
    assert all(upper[-1] == lower[0] for upper, lower in pairwise(world.river()))


@pytest.mark.parametrize("line", world.lines(), ids=lambda line: line.key)
def test_travelling_along_a_line_passes_its_corners(line: world.Line) -> None:
    assert world.along(line, 0)[0] == line.way[0]
    assert world.along(line, line.length)[0] == pytest.approx(line.way[-1])
    place, heading = world.along(line, line.length / 3)
    assert 0 <= heading < 360
    onward, _ = world.along(line, line.length / 3 + 0.001)
    assert world.distance(place, onward) == pytest.approx(0.001, rel=0.05)


def test_positions_become_wgs84_around_the_centre() -> None:
    assert world.lon_lat((0.0, 0.0)) == [125.2, 43.83]
    lon, lat = world.lon_lat((10.0, 0.0))
    assert world.KM_PER_LATITUDE * (lat - 43.83) == pytest.approx(5.736, abs=0.01)
    assert world.KM_PER_LONGITUDE * (lon - 125.2) == pytest.approx(8.19, abs=0.01)
