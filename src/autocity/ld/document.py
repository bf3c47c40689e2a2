"""The stored form of an entity, made for splicing: what most requests ask for is already written in it.

A document is JSON: `id`, `type`, `scope`, `created`, `modified`, `expires`, `attrs` and `times`.
In `attrs` a *plain* attribute (one instance, no sub-attributes, no names that depend on a context)
is its public normalized object, ready to send; any other is an array of internal instances.
"""

from __future__ import annotations

from collections.abc import Iterable

from autocity.ld.entity import View
from autocity.model import Entity


def dump(entity: Entity) -> bytes:
    """The document of an entity; `load(dump(entity)) == entity`."""
    raise NotImplementedError


def load(document: bytes) -> Entity:
    """The entity of a document."""
    raise NotImplementedError


def render(document: bytes, view: View) -> bytes:
    """The JSON text of an entity in the representation of the view."""
    raise NotImplementedError


def render_all(documents: Iterable[bytes], view: View) -> bytes:
    """A JSON array of entities."""
    raise NotImplementedError


def render_feature(document: bytes, view: View) -> bytes:
    """A GeoJSON Feature (4.5.16.2)."""
    raise NotImplementedError


def render_features(documents: Iterable[bytes], view: View) -> bytes:
    """A GeoJSON FeatureCollection (4.5.16.3)."""
    raise NotImplementedError
