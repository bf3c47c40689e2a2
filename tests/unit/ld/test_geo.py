"""Geo queries (4.10): parsing, relations, distances and the boxes that stores filter by."""

from itertools import pairwise
from math import asin, atan2, cos, degrees, radians, sin
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autocity.errors import BadRequestData, TooComplexQuery
from autocity.ld.geo import (
    LOCATION,
    RADIUS,
    Geo,
    bbox,
    distance,
    fault,
    haversine,
    parse_geo,
    parse_geometry,
    relation,
    search_boxes,
)


def expand(name: str) -> str:
    return f"https://city.example/{name}"


def point(x: float, y: float) -> dict[str, Any]:
    return {"type": "Point", "coordinates": [x, y]}


def line(*positions: tuple[float, float]) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": [list(position) for position in positions]}


def polygon(*rings: list[tuple[float, float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(position) for position in ring] for ring in rings]}


def square(west: float, south: float, size: float) -> dict[str, Any]:
    east, north = west + size, south + size
    return polygon([(west, south), (east, south), (east, north), (west, north), (west, south)])


SHELL = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0), (0.0, 0.0)]
HOLE = [(4.0, 4.0), (6.0, 4.0), (6.0, 6.0), (4.0, 6.0), (4.0, 4.0)]
BOW_TIE = polygon([(0, 0), (4, 4), (4, 0), (0, 4), (0, 0)])


# Parsing


def test_parses_the_examples_of_4_10() -> None:
    assert parse_geo("near;maxDistance==2000", "Point", "[8,40]", "observationSpace", expand) == Geo(
        "near", point(8, 40), expand("observationSpace"), max_distance=2000.0
    )
    assert parse_geo("near;minDistance==1.5e3", "Point", [8, 40], None, expand) == Geo(
        "near", point(8, 40), LOCATION, min_distance=1500.0
    )
    coordinates = "[[[100.0,0.0],[101.0,0.0],[101.0,1.0],[100.0,1.0],[100.0,0.0]]]"
    assert parse_geo("within", "Polygon", coordinates, None, expand) == Geo("within", square(100, 0, 1))


@pytest.mark.parametrize(
    ("georel", "mend"),
    [
        ("touches", "near, within, contains"),
        ("", "near, within, contains"),
        ("near", "maxDistance==2000"),
        ("near;maxDistance==5;minDistance==1", "maxDistance==2000"),
        ("near;distance==5", "maxDistance==2000"),
        ("near;maxDistance=5", "maxDistance==2000"),
        ("near;maxDistance==0", "positive number"),
        ("near;maxDistance==-100", "positive number"),
        ("near;maxDistance==inf", "positive number"),
        ("near;maxDistance==NaN", "positive number"),
        ("near;maxDistance==1e400", "positive number"),
        ('near;maxDistance=="5"', "positive number"),
        ("within;maxDistance==5", "no modifier"),
    ],
)
def test_refuses_broken_relations(georel: str, mend: str) -> None:
    with pytest.raises(BadRequestData, match=mend):
        parse_geo(georel, "Point", "[8,40]", None, expand)


@pytest.mark.parametrize(
    ("geometry", "coordinates", "mend"),
    [
        ("Circle", "[8,40]", "Point, MultiPoint"),
        ("GeometryCollection", "[8,40]", "Point, MultiPoint"),
        ("Point", "[8", "not JSON"),
        ("Point", "[8,40]]", "not JSON"),
        ("Point", "8,40", "not JSON"),
        ("Point", "[8]", "longitude, latitude"),
        ("Point", "[8,40,0,0,0]", "longitude, latitude"),
        ("Point", '["8",40]', "longitude, latitude"),
        ("Point", "[true,40]", "longitude, latitude"),
        ("Point", "[181,40]", "longitude, latitude"),
        ("Point", "[8,-90.1]", "longitude, latitude"),
        ("Point", "null", "longitude, latitude"),
        ("LineString", "[[8,40]]", "fewer than 2"),
        ("LineString", "[8,40]", "longitude, latitude"),
        ("MultiPoint", "[]", "array of coordinates"),
        ("Polygon", "[[[0,0],[1,0],[1,1],[0,1]]]", "not closed"),
        ("Polygon", "[[[0,0],[1,0],[0,0]]]", "fewer than 4"),
        ("Polygon", "[[0,0],[1,0],[1,1],[0,0]]", "longitude, latitude"),
        ("MultiPolygon", "[[[[0,0],[1,0],[1,1],[0,0]]], 5]", "array of coordinates"),
        ("Polygon", "[" * 5_000, "not JSON"),
        ("Polygon", "[" * 5_000 + "]" * 5_000, ""),
    ],
)
def test_refuses_broken_geometries(geometry: str, coordinates: str, mend: str) -> None:
    with pytest.raises(BadRequestData) as refusal:
        parse_geometry(geometry, coordinates)
    assert mend in refusal.value.detail


def test_a_huge_reference_is_too_complex() -> None:
    with pytest.raises(TooComplexQuery):
        parse_geometry("MultiPoint", [[0, 0]] * 30_000)


@pytest.mark.parametrize(
    "geometry",
    [
        point(8, 40),
        {"type": "Point", "coordinates": [8, 40, 250.5]},
        {"type": "MultiPoint", "coordinates": [[1, 1], [2, 2]]},
        line((0, 0), (1, 1)),
        {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]},
        polygon(SHELL, HOLE),
        BOW_TIE,
        {"type": "MultiPolygon", "coordinates": [[[list(p) for p in SHELL]]]},
    ],
)
def test_every_geometry_is_equal_to_itself_and_near_itself(geometry: dict[str, Any]) -> None:
    assert fault(geometry) is None
    assert relation(Geo("equals", geometry))(geometry)
    assert relation(Geo("intersects", geometry))(geometry)
    assert not relation(Geo("disjoint", geometry))(geometry)
    assert relation(Geo("near", geometry, max_distance=0.001))(geometry)
    assert not relation(Geo("near", geometry, min_distance=0.001))(geometry)


# Relations


@pytest.mark.parametrize(
    ("name", "reference", "target", "holds"),
    [
        ("within", polygon(SHELL), point(2, 2), True),
        ("within", polygon(SHELL), point(12, 2), False),
        ("within", polygon(SHELL, HOLE), point(5, 5), False),
        ("within", polygon(SHELL, HOLE), point(2, 2), True),
        ("within", point(2, 2), polygon(SHELL), False),
        ("contains", point(2, 2), polygon(SHELL), True),
        ("contains", point(5, 5), polygon(SHELL, HOLE), False),
        ("contains", square(1, 1, 2), polygon(SHELL), True),
        ("contains", polygon(SHELL), square(1, 1, 2), False),
        ("intersects", square(9, 9, 5), polygon(SHELL), True),
        ("intersects", square(11, 9, 5), polygon(SHELL), False),
        ("disjoint", square(11, 9, 5), polygon(SHELL), True),
        ("disjoint", square(4.5, 4.5, 1), polygon(SHELL, HOLE), True),
        ("disjoint", square(9, 9, 5), polygon(SHELL), False),
        ("overlaps", square(9, 9, 5), polygon(SHELL), True),
        ("overlaps", square(1, 1, 2), polygon(SHELL), False),
        ("equals", polygon(SHELL), polygon([*SHELL[2:], *SHELL[1:3]]), True),
        ("equals", point(8, 40), point(8, 40.000001), False),
        ("intersects", BOW_TIE, point(2, 2), True),
        ("overlaps", square(1, 1, 8), BOW_TIE, True),
        ("within", square(-1, -1, 9), BOW_TIE, True),
    ],
)
def test_relations_are_of_the_target_to_the_reference(
    name: Any, reference: dict[str, Any], target: dict[str, Any], holds: bool
) -> None:
    assert relation(Geo(name, reference))(target) is holds


BROKEN = [
    None, 5, "Point", {}, {"type": "Point"}, {"type": "Point", "coordinates": ["a", 1]}, {"type": "Circle"},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}, {"type": "LineString", "coordinates": []},
    {"type": ["Point"], "coordinates": [1, 2]}, {"type": "MultiPoint", "coordinates": [[1]]},
]  # fmt: skip


@pytest.mark.parametrize("target", BROKEN)
@pytest.mark.parametrize(
    "geo",
    [
        *(Geo(name, square(-20, -20, 40)) for name in ("intersects", "disjoint", "within", "contains")),  # type: ignore[arg-type]
        Geo("near", point(0, 0), max_distance=1e7),
        Geo("near", point(100, 0), min_distance=1.0),
    ],
)
def test_a_broken_target_fulfils_no_relation(geo: Geo, target: Any) -> None:
    assert relation(geo)(target) is False


# Distances


@pytest.mark.parametrize(
    ("one", "other", "kilometres"),
    [
        (point(0, 0), point(0, 90), RADIUS * radians(90) / 1000),
        (point(-179.9, 0), point(179.9, 0), RADIUS * radians(0.2) / 1000),
        (point(0, 89.9), point(180, 89.9), RADIUS * radians(0.2) / 1000),
        (point(125.32, 43.88), point(116.40, 39.90), 860.8),
        (point(5, 1), line((0, 0), (10, 0)), RADIUS * radians(1) / 1000),
        (point(10, 60.009), line((0, 60), (10, 60)), 1.0008),
        (point(0, 85), line((1, 85), (0, 85.6)), 9.579),
        (point(-179.95, 9.9), square(179, 9, 0.9), RADIUS * radians(0.15) * cos(radians(9.9)) / 1000),
        (point(5, 5), polygon(SHELL), 0),
        (point(5, 5), polygon(SHELL, HOLE), RADIUS * radians(1) * cos(radians(5)) / 1000),
    ],
)
def test_distances_are_metres_on_the_sphere(one: Any, other: Any, kilometres: float) -> None:
    assert distance(one, other) / 1000 == pytest.approx(kilometres, rel=2e-3, abs=1e-3)
    assert distance(other, one) == pytest.approx(distance(one, other), rel=1e-6, abs=0.01)


POSITIONS = st.tuples(st.floats(-180, 180), st.floats(-90, 90))


@given(POSITIONS, POSITIONS, POSITIONS)
def test_haversine_is_a_metric(one: Any, two: Any, three: Any) -> None:
    assert haversine(one, one) == 0
    assert haversine(one, two) == haversine(two, one)
    assert haversine(one, three) <= haversine(one, two) + haversine(two, three) + 0.1


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.floats(-170, 170), st.floats(-75, 75)),
    st.lists(st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)), min_size=2, max_size=4, unique=True),
    st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_the_nearest_point_of_a_line_is_found(centre: Any, shape: Any, place: Any) -> None:
    """Against the least distance to many points of the line, at the size of a city region."""
    course = [(centre[0] + x, centre[1] + y) for x, y in shape]
    here = (centre[0] + place[0], centre[1] + place[1])
    samples = [
        haversine(here, (x0 + (x1 - x0) * k / 300, y0 + (y1 - y0) * k / 300))
        for (x0, y0), (x1, y1) in pairwise(course)
        for k in range(301)
    ]
    step = max(haversine(a, b) for a, b in pairwise(course)) / 300
    found = distance(point(*here), line(*course))
    assert min(samples) - step <= found <= min(samples) * 1.001 + 1


def test_near_compares_with_its_distance() -> None:
    """A target at the distance itself is within the closed buffer, and not disjoint from it."""
    reference, target = point(8, 40), point(8.02, 40)
    metres = distance(reference, target)
    assert relation(Geo("near", reference, max_distance=metres))(target)
    assert not relation(Geo("near", reference, max_distance=metres - 0.01))(target)
    assert not relation(Geo("near", reference, min_distance=metres))(target)
    assert relation(Geo("near", reference, min_distance=metres - 0.01))(target)


# Boxes


def test_boxes_are_drawn_around_every_geometry() -> None:
    assert bbox(point(8, 40)) == (8, 40, 8, 40)
    assert bbox(polygon(SHELL, HOLE)) == (0, 0, 10, 10)
    assert bbox({"type": "MultiLineString", "coordinates": [[[3, 1], [0, 2]], [[5, -1], [4, 4]]]}) == (
        0,
        -1,
        5,
        4,
    )
    for broken in BROKEN:
        if fault(broken) and not isinstance(broken, dict):
            assert bbox(broken) is None
    assert bbox({"type": "Circle", "coordinates": [1, 2]}) is None
    assert bbox({"type": "MultiPoint", "coordinates": [[1]]}) is None


def meets(boxes: Any, box: Any) -> bool:
    return any(
        box[0] <= each[2] and each[0] <= box[2] and box[1] <= each[3] and each[1] <= box[3] for each in boxes
    )


@settings(max_examples=200, deadline=None)
@given(POSITIONS, st.floats(1, 2e7), st.floats(0, 1.05), st.floats(0, 360))
def test_search_boxes_hold_every_point_in_reach(
    centre: Any, metres: float, share: float, bearing: float
) -> None:
    """Points at any share of the distance in any direction, poles and antimeridian included."""
    arc, away = metres * share / RADIUS, radians(bearing)
    south = radians(centre[1])
    north = asin(max(-1.0, min(1.0, sin(south) * cos(arc) + cos(south) * sin(arc) * cos(away))))
    east = radians(centre[0]) + atan2(sin(away) * sin(arc) * cos(south), cos(arc) - sin(south) * sin(north))
    target = point((degrees(east) + 540) % 360 - 180, degrees(north))
    geo = Geo("near", point(*centre), max_distance=metres)
    boxes = search_boxes(geo)
    if distance(geo.geometry, target) <= metres and boxes is not None:
        assert meets(boxes, bbox(target))
    assume(boxes is not None and share > 0.5)
    for west, low, right, high in boxes or []:
        assert -180 <= west <= right <= 180
        assert -90 <= low <= high <= 90


SHAPES = st.builds(square, st.floats(-20, 20), st.floats(-20, 20), st.floats(0.5, 10))


@settings(max_examples=80, deadline=None)
@given(
    SHAPES, SHAPES, st.sampled_from(["within", "contains", "intersects", "equals", "overlaps", "disjoint"])
)
def test_search_boxes_hold_every_match(reference: Any, target: Any, name: Any) -> None:
    geo = Geo(name, reference)
    boxes = search_boxes(geo)
    assert (boxes is None) == (name == "disjoint")
    if boxes is not None and relation(geo)(target):
        assert meets(boxes, bbox(target))


def test_nothing_can_be_left_out_for_far_or_disjoint() -> None:
    assert search_boxes(Geo("near", point(0, 0), min_distance=5.0)) is None
    assert search_boxes(Geo("near", point(0, 0), max_distance=3e7)) is None
    assert search_boxes(Geo("disjoint", point(0, 0))) is None


def test_a_search_across_the_antimeridian_has_two_boxes() -> None:
    (east, west) = search_boxes(Geo("near", point(179.9, 0), max_distance=50_000)) or []
    assert east[2] == 180
    assert west[0] == -180
    assert relation(Geo("near", point(179.9, 0), max_distance=50_000))(point(-179.9, 0))
