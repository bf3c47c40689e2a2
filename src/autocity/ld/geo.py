"""Geometry for geo queries (4.10) and order by distance (4.23): relations, boxes, metres on the sphere.

Relations are planar in longitude and latitude, edges straight lines between positions, as GeoJSON has
them (RFC 7946, 3.1.1); distances are spherical (haversine). Shapely is loaded when a geometry is more
than a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import asin, cos, degrees, isfinite, pi, radians, sin, sqrt
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec
from msgspec import Struct

from autocity.errors import BadRequestData, TooComplexQuery
from autocity.ld import values

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

LOCATION = "https://uri.etsi.org/ngsi-ld/location"

RADIUS = 6_371_008.8
"""Metres: the mean radius of the Earth (IUGG)."""

MAX_POSITIONS = 20_000

GeoRelation = Literal["near", "within", "contains", "intersects", "equals", "disjoint", "overlaps"]

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees, west <= east."""

WORLD: Box = (-180.0, -90.0, 180.0, 90.0)

DEPTH = {
    "Point": 1,
    "MultiPoint": 2,
    "LineString": 2,
    "MultiLineString": 3,
    "Polygon": 3,
    "MultiPolygon": 4,
}
"""The geometries of GeoJSON except GeometryCollection (4.6.3), and how deep their numbers lie."""


class Geo(Struct, frozen=True):
    """A geo query (4.10). `geometry` is GeoJSON, the reference; `property` an IRI. `min_distance` and
    `max_distance` in metres belong to `near`, which has exactly one of them."""

    relation: GeoRelation
    geometry: dict[str, Any]
    property: str = LOCATION
    min_distance: float | None = None
    max_distance: float | None = None


# Parsing


def parse_geo(
    georel: str,
    geometry: str,
    coordinates: Any,
    geoproperty: str | None,
    expand: Callable[[str], str],
) -> Geo:
    """Parse a geo query (4.10); `coordinates` is JSON text or decoded. Raises `errors.BadRequestData`."""
    relation, *modifiers = georel.split(";")
    if relation not in get_args(GeoRelation):
        raise BadRequestData(f"georel {relation!r:.40} is unknown; use {', '.join(get_args(GeoRelation))}")
    distances: dict[str, float] = {}
    if relation == "near":
        distances = _distance(georel, modifiers)
    elif modifiers:
        raise BadRequestData(f"georel {relation} takes no modifier; only near does")
    reference = parse_geometry(geometry, coordinates)
    property = expand(geoproperty) if geoproperty else LOCATION
    return msgspec.convert(
        {"relation": relation, "geometry": reference, "property": property, **distances}, Geo
    )


def _distance(georel: str, modifiers: list[str]) -> dict[str, float]:
    """The one distance of `near` (production rule nearRel), by the field of `Geo` that holds it."""
    name, equal, number = modifiers[0].partition("==") if len(modifiers) == 1 else ("", "", "")
    if not equal or name not in ("maxDistance", "minDistance"):
        raise BadRequestData(
            f"georel {georel!r:.60}: near takes one distance in metres, like near;maxDistance==2000"
        )
    try:
        metres = msgspec.json.decode(number, type=float)
    except msgspec.MsgspecError:
        metres = 0.0
    if not (metres > 0 and isfinite(metres)):
        raise BadRequestData(f"{name} is a positive number of metres, not {number!r:.40}")
    return {"max_distance" if name == "maxDistance" else "min_distance": metres}


def parse_geometry(type: str, coordinates: Any) -> dict[str, Any]:
    """The GeoJSON geometry of a type and its coordinates, JSON text or decoded.

    Raises `errors.BadRequestData`, and `errors.TooComplexQuery` past the bounds.
    """
    if isinstance(coordinates, str | bytes):
        try:
            coordinates = msgspec.json.decode(coordinates)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise BadRequestData(f"coordinates {coordinates!r:.60} are not JSON") from None
    geometry = {"type": type, "coordinates": coordinates}
    if type not in DEPTH:
        raise BadRequestData(f"geometry {type!r:.40} is unknown; use {', '.join(DEPTH)}")
    found = fault(geometry)
    if found is not None:
        raise BadRequestData(f"coordinates: {found}")
    if sum(map(len, _lines(coordinates, DEPTH[type]))) > MAX_POSITIONS:
        raise TooComplexQuery(f"the geometry of a query has at most {MAX_POSITIONS} positions")
    return geometry


def fault(geometry: Any) -> str | None:
    """What keeps a value from being a geometry of the standard (4.7), None when nothing does."""
    if not isinstance(geometry, dict):
        return "a geometry is an object with type and coordinates"
    try:
        values.geometry(geometry)
    except BadRequestData as refusal:
        return refusal.detail
    return None


def _lines(coordinates: Any, depth: int) -> Iterator[Any]:
    """The arrays of positions in the coordinates of a geometry."""
    if depth <= 2:
        yield coordinates if depth == 2 else [coordinates]
    else:
        for part in coordinates:
            yield from _lines(part, depth - 1)


# Relations


def relation(geo: Geo) -> Callable[[Any], bool]:
    """The geo query as a function of a GeoJSON geometry (the target); a broken target never matches."""
    reference = geo.geometry
    if geo.max_distance is not None:
        furthest = geo.max_distance
        boxes = search_boxes(geo) or [WORLD]
        return lambda target: (
            (box := bbox(target)) is not None
            and any(_meet(box, each) for each in boxes)
            and fault(target) is None
            and distance(reference, target) <= furthest
        )
    if geo.min_distance is not None:
        nearest = geo.min_distance
        # Disjoint from a closed buffer: farther than its distance.
        return lambda target: fault(target) is None and distance(reference, target) > nearest
    return _topology(geo.relation, reference)


def _topology(relation: GeoRelation, reference: dict[str, Any]) -> Callable[[Any], bool]:
    import shapely

    fixed = _shape(reference)
    shapely.prepare(fixed)
    # The relation is the target's to the reference; prepared is the reference, so some turn round.
    predicates: dict[str, Callable[[BaseGeometry], bool]] = {
        "within": fixed.contains,
        "contains": fixed.within,
        "intersects": fixed.intersects,
        "disjoint": fixed.disjoint,
        "overlaps": fixed.overlaps,
        "equals": fixed.equals,
    }
    holds = predicates[relation]
    around = bbox(reference)
    apart = relation == "disjoint"

    def related(target: Any) -> bool:
        box = bbox(target)
        if box is None:
            return False
        if around is not None and not _meet(box, around):
            return apart and fault(target) is None
        return fault(target) is None and bool(holds(_shape(target)))

    return related


def _shape(geometry: dict[str, Any]) -> BaseGeometry:
    """A geometry of shapely; a ring that crosses itself is mended, for predicates may refuse it."""
    import shapely
    from shapely.geometry import shape

    drawn: BaseGeometry = shape(_flat(geometry))
    if geometry["type"] == "Point" or drawn.is_valid:
        return drawn
    mended: BaseGeometry = shapely.make_valid(drawn)
    return mended


def _flat(geometry: dict[str, Any]) -> dict[str, Any]:
    """The geometry without altitudes and without what is finer than a micrometre, for GEOS stumbles over
    coordinates that almost, but not quite, vanish."""

    def cut(coordinates: Any, depth: int) -> Any:
        if depth == 1:
            return round(coordinates[0], 12), round(coordinates[1], 12)
        return [cut(part, depth - 1) for part in coordinates]

    type = geometry["type"]
    return {"type": type, "coordinates": cut(geometry["coordinates"], DEPTH[type])}


# Distance


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Metres between two GeoJSON geometries, 0 when they touch: haversine between their nearest points.

    Between points exact on the sphere. The nearest points of lines and areas are sought in a plane
    scaled to their latitude, on both sides of the antimeridian.
    """
    if one["type"] == "Point" and other["type"] == "Point":
        return haversine(one["coordinates"], other["coordinates"])
    from shapely.affinity import translate

    here, there = _shape(one), _shape(other)
    return min(_apart(here, translate(there, turn)) for turn in (0.0, -360.0, 360.0))


def _apart(here: BaseGeometry, there: BaseGeometry) -> float:
    from shapely import shortest_line
    from shapely.affinity import scale

    least = RADIUS * pi
    latitude = (here.centroid.y + there.centroid.y) / 2
    # The scale depends on where the nearest points are, and they on the scale: three rounds settle it.
    for _ in range(3):
        factor = max(cos(radians(latitude)), 1e-6)
        line = shortest_line(
            scale(here, factor, 1.0, origin=(0, 0)), scale(there, factor, 1.0, origin=(0, 0))
        )
        (west, south), (east, north) = line.coords
        least = min(least, haversine((west / factor, south), (east / factor, north)))
        latitude = (south + north) / 2
    return least


def haversine(one: Any, other: Any) -> float:
    """Metres between two positions (longitude, latitude) on the sphere."""
    south, north = radians(one[1]), radians(other[1])
    half = sin((north - south) / 2) ** 2
    half += cos(south) * cos(north) * sin(radians(other[0] - one[0]) / 2) ** 2
    return 2 * RADIUS * asin(min(1.0, sqrt(half)))


# Boxes


def bbox(geometry: Any) -> Box | None:
    """The box around a GeoJSON geometry as it is drawn; None when it is no geometry of the standard."""
    try:
        type: str = geometry["type"]
        coordinates: Any = geometry["coordinates"]
        if type == "Point":
            x, y = float(coordinates[0]), float(coordinates[1])
            return x, y, x, y
        positions = [position for line in _lines(coordinates, DEPTH[type]) for position in line]
        xs = [float(position[0]) for position in positions]
        ys = [float(position[1]) for position in positions]
        return min(xs), min(ys), max(xs), max(ys)
    except (TypeError, ValueError, LookupError):
        return None


def search_boxes(geo: Geo) -> list[Box] | None:
    """Boxes of which every match's `bbox` meets at least one: a superset to filter by before the exact
    relation. Two when the search crosses the antimeridian; None when nothing can be left out."""
    if geo.relation == "disjoint" or geo.min_distance is not None:
        return None
    box = bbox(geo.geometry)
    if box is None:
        return None
    return [box] if geo.max_distance is None else _widened(box, geo.max_distance)


def _widened(box: Box, metres: float) -> list[Box] | None:
    """Boxes that hold every point within some metres of a box."""
    west, south, east, north = box
    # A little more than the distance, for the roundings of both sides.
    angle = metres / RADIUS * (1 + 1e-9) + 1e-9
    if angle >= pi:
        return None
    south, north = south - degrees(angle), north + degrees(angle)
    if south <= -90 or north >= 90:  # around a pole every longitude is near
        return [(-180.0, max(south, -90.0), 180.0, min(north, 90.0))]
    latitude = max(abs(box[1]), abs(box[3]))
    reach = degrees(asin(min(1.0, sin(min(angle, pi / 2)) / cos(radians(latitude)))))
    west, east = west - reach, east + reach
    if east - west >= 360:
        return [(-180.0, south, 180.0, north)]
    boxes: list[Box] = [(max(west, -180.0), south, min(east, 180.0), north)]
    if west < -180:
        boxes.append((west + 360, south, 180.0, north))
    if east > 180:
        boxes.append((-180.0, south, east - 360, north))
    return boxes


def _meet(one: Box, other: Box) -> bool:
    return one[0] <= other[2] and other[0] <= one[2] and one[1] <= other[3] and other[1] <= one[3]
