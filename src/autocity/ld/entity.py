"""Entities between JSON and model: parsing with full validation, rendering in every representation.

Parsing reads everything, then refuses once, naming each faulty attribute. Attribute values are kept
as they came.

NGSI-LD Null (4.5.0) in fragments: an attribute sent as the bare null is `model.DELETE`; an instance
whose value is null, in whichever encoding its kind has, is an `Attribute` with
`value == NGSI_LD_NULL`; `unit_code`, `observed_at` and `extra` members sent as null hold that string;
a null sub-attribute maps to `DELETE` in `sub`. An attribute fragment that did not send its value is
a `Partial`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from autocity.ld.context import CORE, Context
from autocity.model import Attribute, Entity, Fragment

Form = Literal["normalized", "concise", "simplified"]


class Partial(Attribute, frozen=True, kw_only=True):
    """An attribute fragment without its value (5.5.8, 5.5.12): `value` is `msgspec.UNSET`.

    `typed` says whether the fragment named its kind; when not, `kind` is "Property" and means nothing.
    """

    typed: bool = False


def parse_entity(body: Any, context: Context) -> Entity:
    """A whole entity, normalized or concise, for create and replace (4.5.1, 5.2.4).

    Raises `errors.BadRequestData` naming every fault.
    """
    raise NotImplementedError


def parse_fragment(
    body: Any,
    context: Context,
    *,
    nulls: bool = True,
    partial: bool = False,
    simplified: bool = False,
) -> Fragment:
    """An entity fragment (5.4) for update, append and merge.

    `nulls`: NGSI-LD Null is allowed. `partial`: attributes may come without their value (merge).
    `simplified`: attributes are bare values (`format=simplified`, 4.5.4).
    """
    raise NotImplementedError


def parse_simplified(body: Any, context: Context) -> Entity:
    """A whole entity in simplified representation (4.5.4)."""
    raise NotImplementedError


def parse_attribute(
    body: Any,
    context: Context,
    name: str,
    *,
    nulls: bool = False,
    partial: bool = False,
) -> tuple[Attribute, ...]:
    """The instances of one attribute, for partial update (5.6.4) and replacement (5.6.19).

    `name` is only used in messages.
    """
    raise NotImplementedError


class Projection(Struct, frozen=True):
    """A parsed `pick` or `omit` (4.21): entity members and attribute IRIs, each with the projection of
    what it links to (`a{b,c}`) or None."""

    members: dict[str, Projection | None]


def parse_projection(text: str, context: Context) -> Projection:
    """Parse `pick=` or `omit=` (4.21); raises `errors.BadRequestData`."""
    raise NotImplementedError


class View(Struct, frozen=True, kw_only=True):
    """How entities are shown (4.5, 4.15, 4.21, 6.3): one per request, shared by all it renders.

    `attributes`, `dataset_ids` ("@none": the default instance) empty: all. `geometry_property` is
    the IRI that a GeoJSON feature takes its geometry from (4.5.16.1). `embed` puts `@context` into
    each entity.
    """

    context: Context = CORE
    form: Form = "normalized"
    sys_attrs: bool = False
    attributes: frozenset[str] = frozenset()
    pick: Projection | None = None
    omit: Projection | None = None
    dataset_ids: frozenset[str] = frozenset()
    lang: str | None = None
    geometry_property: str = "https://uri.etsi.org/ngsi-ld/location"
    embed: bool = False


def render(entity: Entity, view: View) -> dict[str, Any]:
    """The entity as JSON in the representation of the view (4.5.1 to 4.5.4)."""
    raise NotImplementedError


def render_attribute(instances: tuple[Attribute, ...], view: View) -> Any:
    """The instances of one attribute as JSON: one object, an array, or the simplified value."""
    raise NotImplementedError


def render_feature(entity: Entity, view: View) -> dict[str, Any]:
    """The entity as a GeoJSON Feature (4.5.16.2, 4.5.17.1)."""
    raise NotImplementedError


def render_features(entities: list[Entity], view: View) -> dict[str, Any]:
    """Entities as a GeoJSON FeatureCollection (4.5.16.3, 4.5.17.2)."""
    raise NotImplementedError
