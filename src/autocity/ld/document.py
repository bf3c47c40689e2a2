"""The stored form of an entity, made for splicing: what most requests ask for is already written in it.

A document is JSON: `id`, `type`, `scope`, `created`, `modified`, `expires`, `attrs`, `times`, `odd`;
members that say nothing are left out. In `attrs` a *plain* attribute (one instance, no attributes of
its own, nothing that depends on a context or on the time of reading) is its public normalized object,
ready to send; any other is an array of instances, and `odd` names it. `times` has creation and
modification of the plain attributes for which they differ from the entity's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from autocity.ld import entity as entities
from autocity.ld.entity import View
from autocity.model import NGSI_LD_NULL, VALUE_MEMBER, Attribute, Entity, Instant, Kind


class _Document(Struct, frozen=True, omit_defaults=True):
    id: str
    type: tuple[str, ...]
    scope: tuple[str, ...] = ()
    created: Instant = 0
    modified: Instant = 0
    expires: str | None = None
    attrs: dict[str, Any] = {}
    times: dict[str, tuple[Instant, Instant]] = {}
    odd: tuple[str, ...] = ()


class _ForSplicing(_Document, frozen=True, omit_defaults=True):
    attrs: dict[str, Raw] = {}


class _Plain(Struct, frozen=True):
    """A plain attribute in its public form."""

    type: Kind
    value: Any = None
    object: Any = None
    languageMap: Any = None
    json: Any = None
    valueList: Any = None
    objectList: Any = None
    unitCode: str | None = None
    observedAt: str | None = None
    datasetId: str | None = None


class _ForLoading(_Document, frozen=True, omit_defaults=True):
    attrs: dict[str, _Plain | tuple[Attribute, ...]] = {}


_encode = msgspec.json.Encoder().encode
_decode_for_splicing = msgspec.json.Decoder(_ForSplicing).decode
_decode_for_loading = msgspec.json.Decoder(_ForLoading).decode
_decode_plain = msgspec.json.Decoder(_Plain).decode
_decode_instances = msgspec.json.Decoder(tuple[Attribute, ...]).decode


def dump(entity: Entity) -> bytes:
    """The document of an entity; `load(dump(entity)) == entity`."""
    whole = (entity.created_at, entity.modified_at)
    attrs: dict[str, Any] = {}
    times: dict[str, tuple[Instant, Instant]] = {}
    odd: list[str] = []
    for iri, instances in entity.attributes.items():
        if len(instances) == 1 and _is_plain(instances[0]):
            attribute = instances[0]
            attrs[iri] = _public(attribute)
            own = (attribute.created_at, attribute.modified_at)
            if own != whole:
                times[iri] = own
        else:
            attrs[iri] = instances
            odd.append(iri)
    return _encode(
        _Document(
            entity.id,
            entity.types,
            entity.scopes,
            entity.created_at,
            entity.modified_at,
            entity.expires_at,
            attrs,
            times,
            tuple(odd),
        )
    )


def load(document: bytes) -> Entity:
    """The entity of a document."""
    stored = _decode_for_loading(document)
    whole = (stored.created, stored.modified)
    times = stored.times
    return Entity(
        id=stored.id,
        types=stored.type,
        scopes=stored.scope,
        attributes={
            iri: each if isinstance(each, tuple) else (_attribute(each, *times.get(iri, whole)),)
            for iri, each in stored.attrs.items()
        },
        created_at=stored.created,
        modified_at=stored.modified,
        expires_at=stored.expires,
    )


def load_part(document: bytes, attributes: Collection[str]) -> Entity:
    """The entity of a document with no other attributes than these; the rest is not even decoded."""
    stored = _decode_for_splicing(document)
    whole = (stored.created, stored.modified)
    part: dict[str, tuple[Attribute, ...]] = {}
    for iri in attributes:
        if raw := stored.attrs.get(iri):
            part[iri] = (
                _decode_instances(raw)
                if iri in stored.odd
                else (_attribute(_decode_plain(raw), *stored.times.get(iri, whole)),)
            )
    return Entity(
        id=stored.id,
        types=stored.type,
        scopes=stored.scope,
        attributes=part,
        created_at=stored.created,
        modified_at=stored.modified,
        expires_at=stored.expires,
    )


def render(document: bytes, view: View) -> bytes:
    """The JSON text of an entity in the representation of the view.

    `{}` when its projection leaves nothing.
    """
    if view.form != "normalized" or view.sys_attrs or view.dataset_ids or view.lang:
        return _encode(entities.render(load(document), view))
    return _splice(_decode_for_splicing(document), view)


def render_all(documents: Iterable[bytes], view: View) -> bytes:
    """A JSON array of entities."""
    return b"[" + b",".join([render(document, view) for document in documents]) + b"]"


def render_feature(document: bytes, view: View) -> bytes:
    """A GeoJSON Feature (4.5.16.2)."""
    return _encode(entities.render_feature(load(document), view))


def render_features(documents: Iterable[bytes], view: View) -> bytes:
    """A GeoJSON FeatureCollection (4.5.16.3)."""
    return _encode(entities.render_features(map(load, documents), view))


def _is_plain(attribute: Attribute) -> bool:
    return (
        not attribute.sub
        and not attribute.extra
        and attribute.kind != "VocabProperty"
        and attribute.instance_id is None
        and not attribute.deleted_at
        and attribute.value != NGSI_LD_NULL
    )


def _public(attribute: Attribute) -> dict[str, Any]:
    """A plain attribute as a client reads it."""
    kind = attribute.kind
    value = attribute.value
    public = {
        "type": kind,
        VALUE_MEMBER[kind]: [{"object": uri} for uri in value] if kind == "ListRelationship" else value,
    }
    if attribute.unit_code is not None:
        public["unitCode"] = attribute.unit_code
    if attribute.observed_at is not None:
        public["observedAt"] = attribute.observed_at
    if attribute.dataset_id is not None:
        public["datasetId"] = attribute.dataset_id
    return public


def _attribute(plain: _Plain, created: Instant, modified: Instant) -> Attribute:
    """A plain attribute from its public form."""
    kind = plain.type
    value = getattr(plain, VALUE_MEMBER[kind])
    return Attribute(
        kind=kind,
        value=[item["object"] for item in value] if kind == "ListRelationship" else value,
        dataset_id=plain.datasetId,
        observed_at=plain.observedAt,
        unit_code=plain.unitCode,
        created_at=created,
        modified_at=modified,
    )


def _splice(stored: _ForSplicing, view: View) -> bytes:
    """Normalized, without system attributes: compacted names and the bytes as they are stored."""
    key = view.context.key
    selective = view.selective
    parts: list[Any] = []
    if not selective or view.shows("id"):
        parts += (b',"id":', _encode(stored.id))
    if not selective or view.shows("type"):
        parts += (b',"type":', _encode(entities.compact_types(stored.type, view.context)))
    if stored.scope and (not selective or view.shows("scope")):
        parts += (b',"scope":', _encode(stored.scope[0] if len(stored.scope) == 1 else stored.scope))
    for iri, raw in stored.attrs.items():
        if selective and not view.shows(iri):
            continue
        if stored.odd and iri in stored.odd:
            instances = entities.visible(_decode_instances(raw), view)
            if instances:
                parts += (key(iri), _encode(entities.render_attribute(instances, view, iri)))
        else:
            parts += (key(iri), raw)
    if not parts:
        return b"{}"
    if view.embed:
        parts += (b',"@context":', _encode(view.context.echo))
    parts[0] = b"{" + parts[0][1:]
    parts.append(b"}")
    return b"".join(parts)
