"""Geometry for geo queries (4.10) and ordering by distance (4.23): relations, boxes, metres on the sphere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autocity.ld.query import Geo

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees; west <= east always (see `search_boxes`)."""


def parse_geo(
    georel: str,
    geometry: str,
    coordinates: Any,
    geoproperty: str | None,
    expand: Callable[[str], str],
) -> Geo:
    """Parse a geo query (4.10); `coordinates` is JSON text or decoded. Raises `errors.BadRequestData`."""
    raise NotImplementedError


def relation(geo: Geo) -> Callable[[Any], bool]:
    """The geo query as a function of a GeoJSON geometry (the target); a broken target never matches."""
    raise NotImplementedError


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Metres between two GeoJSON geometries, 0 when they touch: haversine on a sphere of 6,371,008.8 m."""
    raise NotImplementedError


def bbox(geometry: dict[str, Any]) -> Box | None:
    """The box around a GeoJSON geometry as it is drawn; None when it has no position."""
    raise NotImplementedError


def search_boxes(geo: Geo) -> list[Box] | None:
    """Boxes of which every match's `bbox` meets at least one: a superset to filter by before the exact
    relation. Two boxes when the search crosses the antimeridian; None when nothing can be left out."""
    raise NotImplementedError
