"""Entities between JSON and model: parsing with full validation, rendering in every representation.

Parsing reads everything, then refuses once, naming each faulty attribute. Attribute values are kept
as they came.

NGSI-LD Null (4.5.0) in fragments: an attribute sent as the bare null is `model.DELETE`; an instance
whose value is null, in whichever encoding its kind has, is an `Attribute` with
`value == NGSI_LD_NULL`. In a fragment that may leave values out (`partial`), `unit_code`,
`observed_at` and members of `extra` sent as null hold that string, and a null sub-attribute maps to
`DELETE` in `sub`; where whole attributes are sent, such members are simply not there.
An attribute fragment that did not send its value is a `Partial`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, cast

from msgspec import UNSET, Struct, structs

from autocity.errors import BadRequestData
from autocity.ld import values
from autocity.ld.context import CORE, NGSI_LD, Context
from autocity.ld.instants import instant, timestamp
from autocity.model import (
    DELETE,
    NGSI_LD_NULL,
    VALUE_MEMBER,
    Attribute,
    Attributes,
    Entity,
    Fragment,
    Instant,
    Kind,
)

Form = Literal["normalized", "concise", "simplified"]

MAX_DEPTH = 16  # of attributes of attributes
MAX_FAULTS = 20  # named in one refusal

LOCATION = NGSI_LD + "location"
_GEO_ATTRIBUTES = frozenset(NGSI_LD + name for name in ("location", "observationSpace", "operationSpace"))
_PROOF = NGSI_LD + "ngsildproof"
_CONSTRAINED = _GEO_ATTRIBUTES | {_PROOF}

_SYSTEM_MEMBERS = frozenset(("createdAt", "modifiedAt", "deletedAt", "instanceId"))
_VALUE_MEMBERS = frozenset(VALUE_MEMBER.values())
_KIND_OF_MEMBER: dict[str, Kind] = {
    member: cast("Kind", kind) for kind, member in VALUE_MEMBER.items() if kind != "GeoProperty"
}
_OUTPUT_MEMBERS = frozenset(f"previous{member[0].upper()}{member[1:]}" for member in _VALUE_MEMBERS) | {
    "entity",
    "entityList",
}
_WITH_UNITS = frozenset(("Property", "ListProperty"))
_WITH_OBJECTS = frozenset(("Relationship", "ListRelationship"))
_SCALARS = frozenset((str, int, float, bool))


class Partial(Attribute, frozen=True, kw_only=True):
    """An attribute fragment without its value (5.5.8, 5.5.12): `value` is `msgspec.UNSET`.

    `typed` says whether the fragment named its kind; when not, `kind` is "Property" and means nothing.
    """

    typed: bool = False


# Parsing


def parse_entity(body: Any, context: Context) -> Entity:
    """A whole entity, normalized or concise, for create and replace (4.5.1, 5.2.4).

    Raises `errors.BadRequestData` naming every fault.
    """
    return _whole(body, _Reader(context))


def parse_evolution(body: Mapping[str, Any], context: Context) -> Entity:
    """An EntityTemporal (5.2.20): attributes are arrays of instances that may share a datasetId.

    Raises `errors.BadRequestData` naming every fault.
    """
    head = {name: content for name, content in body.items() if name in _NOT_ATTRIBUTES}
    return structs.replace(parse_entity(head, context), attributes=parse_instances(body, context))


def parse_instances(body: Mapping[str, Any], context: Context) -> Attributes:
    """The attributes of an EntityTemporal or of a fragment of one (5.6.11, 5.6.12).

    Raises `errors.BadRequestData` naming every fault, also when there is no attribute.
    """
    attributes: Attributes = {}
    faults: list[str] = []
    for name, raw in body.items():
        items = raw if isinstance(raw, list) else [raw]
        if name in _NOT_ATTRIBUTES or not items:
            continue
        try:
            if NGSI_LD_NULL in items:
                raise BadRequestData(f"{name} must hold instances; only the value of one may be null (5.5.4)")
            # What was deleted is part of a history: an instance whose value is null (4.5.7).
            attributes[context.attribute(name)] = tuple(
                instance for item in items for instance in parse_attribute(item, context, name, nulls=True)
            )
        except BadRequestData as fault:
            faults.append(fault.detail)
    _refuse(faults)
    if not attributes:
        raise BadRequestData("at least one attribute with an instance is needed")
    return attributes


def parse_simplified(body: Any, context: Context) -> Entity:
    """A whole entity in simplified representation (4.5.4). Raises `errors.BadRequestData`."""
    return _whole(body, _Reader(context, simplified=True))


def parse_fragment(
    body: Any,
    context: Context,
    *,
    nulls: bool = True,
    partial: bool = False,
    simplified: bool = False,
) -> Fragment:
    """An entity fragment (5.4) for update, append and merge.

    `nulls`: NGSI-LD Null is allowed. `partial`: attributes may come without their value, and null
    may stand within values (merge, 5.5.12). `simplified`: attributes are bare values (4.5.4).
    Raises `errors.BadRequestData` naming every fault.
    """
    reader = _Reader(context, nulls=nulls, partial=partial, inside=partial, simplified=simplified)
    members, attributes, faults = reader.read(body, "an entity fragment")
    _refuse(faults)
    return Fragment(attributes=attributes, **members)


def parse_attribute(
    body: Any,
    context: Context,
    name: str,
    *,
    nulls: bool = False,
    partial: bool = False,
) -> tuple[Attribute, ...]:
    """The instances of one attribute, for partial update (5.6.4) and replacement (5.6.19).

    `name` is the attribute's name as the client gave it; raises `errors.BadRequestData` also when it
    is none. A `@context` beside the members of the attribute is not part of it. The attribute may also
    come inside a fragment of its entity (5.4): alone, under its name.
    """
    iri = context.attribute(name)
    try:
        instances = _attribute_fragment(body, iri, _Reader(context, nulls=nulls, partial=partial))
        _check_constraints(iri, instances)
    except BadRequestData as fault:
        raise BadRequestData(f"{name:.100}: {fault.detail}") from None
    return instances


def _attribute_fragment(body: Any, iri: str, reader: _Reader) -> tuple[Attribute, ...]:
    if isinstance(body, dict):
        members = {key: content for key, content in body.items() if key != "@context"}
        if len(members) == 1:
            ((name, body),) = members.items()
            if reader.context.expand(name) == iri and isinstance(body, dict | list):
                return _attribute_fragment(body, "", reader)
        return (reader.instance(members, iri, 0, fragment=True),)
    if isinstance(body, list) and body and all(isinstance(item, dict) for item in body):
        return reader.several(body, iri, 0)
    raise BadRequestData("an attribute fragment must be a JSON object")


def _whole(body: Any, reader: _Reader) -> Entity:
    members, attributes, faults = reader.read(body, "an entity")
    faults += [f"{name} is missing" for name in ("id", "type") if name not in body and f"@{name}" not in body]
    _refuse(faults)
    return Entity(attributes=attributes, **members)


def _refuse(faults: list[str]) -> None:
    if not faults:
        return
    named = "; ".join(faults[:MAX_FAULTS])
    more = len(faults) - MAX_FAULTS
    raise BadRequestData(f"{named}; and {more} more" if more > 0 else named)


class _Reader:
    """Reads attributes under one context and one set of allowances."""

    __slots__ = ("context", "inside", "nulls", "partial", "simplified")

    def __init__(
        self,
        context: Context,
        *,
        nulls: bool = False,
        partial: bool = False,
        inside: bool = False,
        simplified: bool = False,
    ) -> None:
        """`nulls`, `partial`, `simplified` as in `parse_fragment`; `inside`: null may stand within values."""
        self.context = context
        self.nulls = nulls
        self.partial = partial
        self.inside = inside
        self.simplified = simplified

    def read(self, body: Any, what: str) -> tuple[dict[str, Any], Attributes, list[str]]:
        """The members of an entity by field of the model, its attributes, and what is wrong with it."""
        if not isinstance(body, dict):
            raise BadRequestData(f"{what} must be a JSON object")
        attribute = self.context.attribute
        instances = self.instances
        members: dict[str, Any] = {}
        attributes: Attributes = {}
        faults: list[str] = []
        for name, raw in body.items():
            try:
                if name not in _NOT_ATTRIBUTES:
                    iri = attribute(name)
                    if iri in attributes:
                        raise BadRequestData("is there twice, under two names")
                    attributes[iri] = instances(raw, iri, 0)
                elif name in _ENTITY_MEMBERS:
                    field, read = _ENTITY_MEMBERS[name]
                    members[field] = read(raw, self)
            except BadRequestData as fault:
                faults.append(f"{name:.100}: {fault.detail}")
        return members, attributes, faults

    def instances(self, raw: Any, iri: str, depth: int) -> tuple[Attribute, ...]:
        """All instances of one attribute, in whatever representation they came."""
        found: tuple[Attribute, ...]
        if type(raw) is dict and not self.simplified:
            found = (self.instance(raw, iri, depth),)
        elif self.simplified:
            found = self._simplified(raw)
        elif type(raw) is list and any(map(_is_instance, raw)):
            found = self.several(raw, iri, depth)
        else:
            found = self._bare(raw)
        if iri in _CONSTRAINED:
            _check_constraints(iri, found)
        return found

    def several(self, raw: Sequence[Any], iri: str, depth: int) -> tuple[Attribute, ...]:
        """Instances of one attribute, told apart by `datasetId` (4.5.5)."""
        if not all(type(item) is dict for item in raw):
            raise BadRequestData("every instance in the array must be an object")
        found = tuple([self.instance(item, iri, depth) for item in raw])
        _check_datasets(found)
        return found

    def instance(self, raw: dict[str, Any], iri: str, depth: int, *, fragment: bool = False) -> Attribute:
        """One instance. `fragment`: an object without value is a part of one, never a bare value."""
        kind = raw.get("type")
        if type(kind) is not str or kind not in VALUE_MEMBER:
            kind = self._inferred(raw, fragment)
            if kind is None:
                return self._bare(raw)[0]
        member = VALUE_MEMBER[kind]
        value = raw.get(member, UNSET)
        if kind != "Property" or type(value) not in _SCALARS or value == NGSI_LD_NULL:
            value = self._value(kind, member, value)
        if len(raw) == 2 and value is not UNSET and "type" in raw:
            return Attribute(kind=kind, value=value)  # type: ignore[arg-type]
        return self._members(raw, kind, member, value, iri, depth)

    def _inferred(self, raw: dict[str, Any], fragment: bool) -> str | None:
        """The kind of an object that does not say it (concise, 4.5.2.3); None when it is a bare value."""
        keyword = raw.get("@type")
        if type(keyword) is str and keyword in VALUE_MEMBER:
            return keyword
        if "type" in raw:
            if values.is_geometry(raw):
                return None
            raise BadRequestData(f"type {raw['type']!r:.60} is no kind of attribute")
        present = [member for member in raw if member in _VALUE_MEMBERS]
        if len(present) > 1:
            raise BadRequestData(f"{present[0]} and {present[1]} cannot stand together")
        if present:
            return "GeoProperty" if values.is_geometry(raw.get("value")) else _KIND_OF_MEMBER[present[0]]
        reserved = [member for member in raw if member in _OWN_MEMBERS]
        if fragment or (self.partial and (reserved or any(map(_is_instance, raw.values())))):
            return "Property"
        if reserved:
            raise BadRequestData(f"{reserved[0]} is there, but the value is missing")
        return None

    def _bare(self, raw: Any) -> tuple[Attribute, ...]:
        """An attribute that is nothing but its value (4.5.2.3, 4.7.3)."""
        if raw == NGSI_LD_NULL and self.nulls:
            return DELETE
        kind: Kind = "GeoProperty" if values.is_geometry(raw) else "Property"
        return (Attribute(kind=kind, value=self._value(kind, "value", raw)),)

    def _simplified(self, raw: Any) -> tuple[Attribute, ...]:
        """An attribute in simplified representation (4.5.4)."""
        if type(raw) is not dict or len(raw) != 1:
            return self._bare(raw)
        ((member, content),) = raw.items()
        if member == "dataset" and type(content) is dict and content:
            return tuple([self._of_dataset(id, value) for id, value in content.items()])
        if member in ("languageMap", "json", "vocab"):
            kind = _KIND_OF_MEMBER[member]
            return (Attribute(kind=kind, value=self._value(kind, member, content)),)
        return self._bare(raw)

    def _of_dataset(self, id: str, raw: Any) -> Attribute:
        (attribute,) = self._simplified(raw)
        return Attribute(kind=attribute.kind, value=attribute.value, dataset_id=_dataset_id(id))

    def _value(self, kind: str, member: str, value: Any) -> Any:
        """The checked content of the value member; NGSI-LD Null in one form for all kinds."""
        if value is UNSET:
            if self.partial:
                return UNSET
            raise BadRequestData(f"{member} is missing")
        if value is None:
            raise BadRequestData(f"{member} is null, which is no value")
        if value in _NULLS[kind]:
            if self.nulls:
                return NGSI_LD_NULL
            raise BadRequestData(f"{member} is urn:ngsi-ld:null, which may only be sent to update or merge")
        match kind:
            case "Property":
                if type(value) in _SCALARS:
                    return value
                values.check_nesting(value, nulls=self.inside)
                return value
            case "VocabProperty":
                return self._vocab(value)
            case _:
                return _CHECKS[kind](value)

    def _vocab(self, value: Any) -> str | list[str]:
        if type(value) is str and value:
            return self.context.expand(value)
        if type(value) is list and value and all(type(term) is str and term for term in value):
            return [self.context.expand(term) for term in value]
        raise BadRequestData("vocab must be a term or an array of terms")

    def _members(
        self, raw: dict[str, Any], kind: str, member: str, value: Any, iri: str, depth: int
    ) -> Attribute:
        """The attribute with everything that stands beside its value."""
        own: dict[str, Any] = {}
        sub: Attributes = {}
        for key, content in raw.items():
            if key == member or key == "type" or key == "@type" or key in _SYSTEM_MEMBERS:
                continue
            try:
                read = _OWN_MEMBERS.get(key)
                if read is None:
                    self._add_sub(sub, key, content, kind, depth)
                elif content == NGSI_LD_NULL and self.nulls and key != "datasetId":
                    # Null takes the member away; of a whole attribute, it says that there is none.
                    if self.partial:
                        own[key] = NGSI_LD_NULL
                else:
                    own[key] = read(content, self.context, kind, iri)
            except BadRequestData as fault:
                raise BadRequestData(f"{key:.100}: {fault.detail}") from None
        if value is UNSET:
            return Partial(
                kind=kind,  # type: ignore[arg-type]
                value=value,
                dataset_id=own.pop("datasetId", None),
                observed_at=own.pop("observedAt", None),
                unit_code=own.pop("unitCode", None),
                sub=sub,
                extra=own,
                typed="type" in raw or "@type" in raw,
            )
        return Attribute(
            kind=kind,  # type: ignore[arg-type]
            value=value,
            dataset_id=own.pop("datasetId", None),
            observed_at=own.pop("observedAt", None),
            unit_code=own.pop("unitCode", None),
            sub=sub,
            extra=own,
        )

    def _add_sub(self, sub: Attributes, key: str, content: Any, kind: str, depth: int) -> None:
        if key in _VALUE_MEMBERS or key in _OUTPUT_MEMBERS:
            raise BadRequestData(f"cannot be sent in a {kind}")
        if key[:1] == "@":
            raise BadRequestData("cannot stand within an attribute")
        if depth >= MAX_DEPTH:
            raise BadRequestData(f"attributes are nested more than {MAX_DEPTH} levels deep")
        iri = self.context.attribute(key)
        if iri in sub:
            raise BadRequestData("is there twice, under two names")
        found = self.instances(content, iri, depth + 1)
        if found is not DELETE or self.partial:
            sub[iri] = found


def _is_instance(raw: Any) -> bool:
    """Whether this is an attribute instance, not a value: it says its kind or has a value member."""
    if type(raw) is not dict:
        return False
    kind = raw.get("type")
    return (type(kind) is str and kind in VALUE_MEMBER) or not _VALUE_MEMBERS.isdisjoint(raw)


def _check_datasets(instances: Iterable[Attribute]) -> None:
    seen: set[str | None] = set()
    for instance in instances:
        if instance.dataset_id in seen:
            which = (
                "the default instance" if instance.dataset_id is None else f"datasetId {instance.dataset_id}"
            )
            raise BadRequestData(f"{which} is there twice")
        seen.add(instance.dataset_id)


def _check_constraints(iri: str, instances: Iterable[Attribute]) -> None:
    """What the standard says about single attributes: places (4.7.1) and proofs (4.5.2.2)."""
    for instance in instances:
        if instance.value is UNSET or instance.value == NGSI_LD_NULL:
            continue
        if iri in _GEO_ATTRIBUTES and instance.kind != "GeoProperty":
            raise BadRequestData("must be a GeoProperty")
        if iri == _PROOF and type(instance.value) is not dict:
            raise BadRequestData("value must be an object with the proof")


# Members of an entity that are no attributes.


def _id(content: Any, _: _Reader) -> str:
    if values.is_uri(content) and content != NGSI_LD_NULL:
        return cast("str", content)
    raise BadRequestData(f"{content!r:.100} is not a URI")


def _types(content: Any, reader: _Reader) -> tuple[str, ...]:
    if type(content) is str:
        return (reader.context.type(content),)
    if type(content) is list and content and all(type(name) is str for name in content):
        return tuple(dict.fromkeys(map(reader.context.type, content)))
    raise BadRequestData("must be the name of an entity type, or an array of names")


def _scopes(content: Any, reader: _Reader) -> tuple[str, ...] | None:
    scopes = content if type(content) is list else [content]
    if reader.nulls and scopes == [NGSI_LD_NULL]:
        return None
    if all(map(values.is_scope, scopes)):
        return tuple(dict.fromkeys(scopes))
    raise BadRequestData(
        "must be a scope such as /Madrid/Gardens (letters, digits, _), or an array of scopes"
    )


def _expiry(content: Any, reader: _Reader) -> str | None:
    return None if reader.nulls and content == NGSI_LD_NULL else _date_time(content)


_ENTITY_MEMBERS: dict[str, tuple[str, Callable[[Any, _Reader], Any]]] = {
    "id": ("id", _id),
    "@id": ("id", _id),
    "type": ("types", _types),
    "@type": ("types", _types),
    "scope": ("scopes", _scopes),
    "expiresAt": ("expires_at", _expiry),
}
_NOT_ATTRIBUTES = _ENTITY_MEMBERS.keys() | {"@context", "createdAt", "modifiedAt", "deletedAt"}

# Members of an attribute that are no attributes themselves: (content, context, kind, IRI of the attribute).


def _dataset_id(content: Any, *_: Any) -> str | None:
    if content == "@none":
        return None
    if values.is_uri(content) and content != NGSI_LD_NULL:
        return cast("str", content)
    raise BadRequestData("must be a URI or @none")


def _date_time(content: Any, *_: Any) -> str:
    if type(content) is dict and "@value" in content:
        content = content["@value"]
    if type(content) is not str:
        raise BadRequestData("must be a DateTime such as 2026-11-22T08:30:00Z")
    return values.date_time(content)


def _unit_code(content: Any, context: Context, kind: str, iri: str) -> str:
    if kind not in _WITH_UNITS:
        raise BadRequestData(f"cannot be sent in a {kind}, which has no unit")
    if type(content) is str and content:
        return content
    raise BadRequestData("must be a UN/CEFACT unit code such as CEL")


def _object_type(content: Any, context: Context, kind: str, iri: str) -> str | list[str]:
    if kind not in _WITH_OBJECTS:
        raise BadRequestData(f"cannot be sent in a {kind}")
    if type(content) is str:
        return context.type(content)
    if type(content) is list and content and all(type(name) is str for name in content):
        return [context.type(name) for name in content]
    raise BadRequestData("must be the name of an entity type, or an array of names")


def _value_type(content: Any, context: Context, kind: str, iri: str) -> str:
    if kind in _WITH_OBJECTS:
        raise BadRequestData(f"cannot be sent in a {kind}")
    if type(content) is not str or not content:
        raise BadRequestData("must be the name of a data type")
    if kind == "LanguageProperty" and content != "langString":
        raise BadRequestData("must be langString")
    return context.expand(content)


def _sealed_id(content: Any, context: Context, kind: str, iri: str) -> str:
    if iri == _PROOF and type(content) is str:
        return content
    raise BadRequestData("must be a string, in ngsildproof only")


def _sealed_type(content: Any, context: Context, kind: str, iri: str) -> str:
    return context.expand(_sealed_id(content, context, kind, iri))


_OWN_MEMBERS: dict[str, Callable[[Any, Context, str, str], Any]] = {
    "datasetId": _dataset_id,
    "observedAt": _date_time,
    "unitCode": _unit_code,
    "objectType": _object_type,
    "valueType": _value_type,
    "expiresAt": _date_time,
    "entityIdSealed": _sealed_id,
    "entityTypeSealed": _sealed_type,
}

_READ_AS_INSTANCE = {"type", "@type"} | _VALUE_MEMBERS | _OWN_MEMBERS.keys()
"""Keys that make an object without `value` be read as an attribute instance, or refused."""

_NULLS: dict[str, tuple[Any, ...]] = {
    "Property": (NGSI_LD_NULL,),
    "GeoProperty": (NGSI_LD_NULL,),
    "Relationship": (NGSI_LD_NULL, [NGSI_LD_NULL]),
    "LanguageProperty": (NGSI_LD_NULL, {"@none": NGSI_LD_NULL}),
    "VocabProperty": (NGSI_LD_NULL, [NGSI_LD_NULL]),
    "JsonProperty": (NGSI_LD_NULL, {"@type": "@json", "@value": None}),
    "ListProperty": (NGSI_LD_NULL, [NGSI_LD_NULL]),
    "ListRelationship": (NGSI_LD_NULL, [NGSI_LD_NULL], [{"object": NGSI_LD_NULL}]),
}
"""How NGSI-LD Null may be written in the value member of each kind (4.5.0)."""

_CHECKS: dict[str, Callable[[Any], Any]] = {
    "GeoProperty": values.geometry,
    "Relationship": values.uris,
    "LanguageProperty": values.language_map,
    "JsonProperty": values.json_value,
    "ListProperty": values.value_list,
    "ListRelationship": values.object_list,
}


# Choosing what is shown


class Projection(Struct, frozen=True):
    """A parsed `pick` or `omit` (4.21): entity members (`id`, `type`, `scope`, `createdAt`, `modifiedAt`,
    `expiresAt`) and attribute IRIs, each with the projection of what it links to (`a{b,c}`) or None."""

    members: dict[str, Projection | None]

    def depth(self) -> int:
        """How many links deep the projection reaches: 0 for `a,b`, 1 for `a{b}`."""
        return max((1 + linked.depth() for linked in self.members.values() if linked), default=0)


_PROJECTED_MEMBERS = frozenset(("id", "type", "scope", "createdAt", "modifiedAt", "expiresAt"))


def parse_projection(text: str, context: Context) -> Projection:
    """Parse `pick` or `omit` (4.21): names, parted by `,` or `|`, a relationship with `{…}` of its target.

    Raises `errors.BadRequestData` with the position of the fault.
    """
    projection, end = _projection(text, 0, context, 0)
    if end < len(text):
        raise _projection_fault(text, end)
    return projection


def _projection(text: str, at: int, context: Context, depth: int) -> tuple[Projection, int]:
    """The projection that starts at a position, and the position behind it."""
    members: dict[str, Projection | None] = {}
    while True:
        start = at
        while at < len(text) and text[at] not in ",|{}":
            at += 1
        name = _projected(text[start:at], context)
        if name is None or name in members or depth > MAX_DEPTH:
            raise _projection_fault(text, start)
        members[name] = None
        if text[at : at + 1] == "{":
            members[name], at = _projection(text, at + 1, context, depth + 1)
            if text[at : at + 1] != "}":
                raise _projection_fault(text, at)
            at += 1
        if text[at : at + 1] not in (",", "|"):
            return Projection(members), at
        at += 1


def _projected(name: str, context: Context) -> str | None:
    if name in _PROJECTED_MEMBERS:
        return name
    try:
        return context.attribute(name)
    except BadRequestData:
        return None


def _projection_fault(text: str, at: int) -> BadRequestData:
    return BadRequestData(f"{text!r:.200} is no list of names such as id,speed,owner{{name}} (position {at})")


class View(Struct, frozen=True, kw_only=True):
    """How entities are shown (4.5, 4.15, 4.21, 6.3): one per request, shared by all it renders.

    `attributes` (IRIs) and `dataset_ids` ("@none": the default instance) empty: all. At most one of
    `attributes`, `pick` and `omit` is given, except that `pick` and `omit` may name different members.
    `lang` is a language filter. `geometry_property` is the IRI that a GeoJSON feature takes its
    geometry from (4.5.16.1). `embed` puts `@context` into each entity. `at`: instances that have
    expired then are not shown (4.22); None shows all.
    """

    context: Context = CORE
    form: Form = "normalized"
    sys_attrs: bool = False
    attributes: frozenset[str] = frozenset()
    pick: Projection | None = None
    omit: Projection | None = None
    dataset_ids: frozenset[str] = frozenset()
    lang: str | None = None
    geometry_property: str = LOCATION
    embed: bool = False
    at: Instant | None = None

    def shows(self, name: str) -> bool:
        """Whether an attribute (by IRI) or a member of the entity (by name) is shown."""
        if self.attributes and name not in self.attributes and name not in _PROJECTED_MEMBERS:
            return False
        if self.pick and name not in self.pick.members:
            return False
        return not (self.omit and self.omit.members.get(name, self) is None)

    def linked(self, name: str) -> View:
        """The view on entities that an attribute links to: the same, with the projection within `{…}`."""
        return View(
            context=self.context,
            form=self.form,
            sys_attrs=self.sys_attrs,
            pick=self.pick.members.get(name) if self.pick else None,
            omit=self.omit.members.get(name) if self.omit else None,
            dataset_ids=self.dataset_ids,
            lang=self.lang,
            at=self.at,
        )

    @property
    def wanted(self) -> frozenset[str]:
        """The attributes that are shown as far as they are named; none named means all."""
        picked = self.pick.members if self.pick and not self.attributes else ()
        return self.attributes or frozenset(name for name in picked if name not in _PROJECTED_MEMBERS)

    @property
    def selective(self) -> bool:
        """Whether some members may not be shown."""
        return bool(self.attributes or self.pick or self.omit)


# Rendering


def render(entity: Entity, view: View) -> dict[str, Any]:
    """The entity as JSON in the representation of the view (4.5.1 to 4.5.4).

    Empty (also without `@context`) when the projection leaves nothing.
    """
    shown = _members_of(entity, view)
    if view.embed and shown:
        shown["@context"] = view.context.echo
    return shown


def render_feature(entity: Entity, view: View) -> dict[str, Any]:
    """The entity as a GeoJSON Feature (4.5.16.2, 4.5.17.1)."""
    properties = _members_of(entity, view)
    properties.pop("id", None)
    feature = {
        "id": entity.id,
        "type": "Feature",
        "geometry": _geometry(entity, view),
        "properties": properties,
    }
    if view.embed:
        feature["@context"] = view.context.echo
    return feature


def render_features(entities: Iterable[Entity], view: View) -> dict[str, Any]:
    """Entities as a GeoJSON FeatureCollection (4.5.16.3, 4.5.17.2); the `@context` stands once."""
    each = without_context(view)
    collection: dict[str, Any] = {
        "type": "FeatureCollection",
        "features": [render_feature(entity, each) for entity in entities],
    }
    if view.embed:
        collection["@context"] = view.context.echo
    return collection


def without_context(view: View) -> View:
    """The same view, not embedding `@context`."""
    return _replaced(view, embed=False) if view.embed else view


def _replaced(view: View, **fields: Any) -> View:
    return View(**{name: getattr(view, name) for name in View.__struct_fields__} | fields)


def render_attribute(instances: tuple[Attribute, ...], view: View, name: str = "") -> Any:
    """The instances of one attribute as JSON: one object, an array, or the simplified value (4.5.4).

    `name` is the attribute's IRI; it only matters where entities are linked in.
    """
    if view.form == "simplified":
        if len(instances) == 1 and instances[0].dataset_id is None:
            return _simplified(instances[0], view, name)
        return {"dataset": {each.dataset_id or "@none": _simplified(each, view, name) for each in instances}}
    form = _normalized if view.form == "normalized" else _concise
    shown = [form(instance, view, name) for instance in instances]
    if len(shown) > 1:
        return shown
    return _bare(shown[0]) if view.form == "concise" else shown[0]


def compact_types(types: tuple[str, ...], context: Context) -> str | list[str]:
    """Type names as JSON: one name, or an array of several."""
    return context.compact(types[0]) if len(types) == 1 else [context.compact(type) for type in types]


def _members_of(entity: Entity, view: View) -> dict[str, Any]:
    context = view.context
    shown: dict[str, Any] = {"id": entity.id, "type": compact_types(entity.types, context)}
    if entity.scopes:
        shown["scope"] = entity.scopes[0] if len(entity.scopes) == 1 else list(entity.scopes)
    if view.sys_attrs:
        _add_times(shown, entity.created_at, entity.modified_at, 0)
        if entity.expires_at:
            shown["expiresAt"] = entity.expires_at
    selective = view.selective
    if selective:
        shown = {name: content for name, content in shown.items() if view.shows(name)}
    filtered = view.dataset_ids or view.at is not None
    for iri, instances in entity.attributes.items():
        if selective and not view.shows(iri):
            continue
        if filtered:
            instances = visible(instances, view)
            if not instances:
                continue
        shown[context.compact(iri)] = render_attribute(instances, view, iri)
    return shown


def visible(instances: tuple[Attribute, ...], view: View) -> tuple[Attribute, ...]:
    """The instances that the view's datasets select (4.5.5) and that have not expired (4.22)."""
    return tuple([each for each in instances if _selects(view, each) and not _has_expired(each, view.at)])


def _selects(view: View, attribute: Attribute) -> bool:
    return not view.dataset_ids or (attribute.dataset_id or "@none") in view.dataset_ids


def _has_expired(attribute: Attribute, at: Instant | None) -> bool:
    expires_at = attribute.extra.get("expiresAt") if at is not None else None
    return expires_at is not None and instant(expires_at) <= cast("int", at)


def _normalized(attribute: Attribute, view: View, name: str) -> dict[str, Any]:
    """One instance in normalized representation (4.5.2.2 and its siblings)."""
    kind = attribute.kind
    if view.lang and kind == "LanguageProperty" and attribute.value != NGSI_LD_NULL:
        language, text = choose_language(attribute.value, view.lang)
        shown = {"type": "Property", "value": text, "lang": language}
    else:
        shown = {"type": kind, VALUE_MEMBER[kind]: public_value(attribute, view.context)}
    _add_members(shown, attribute, view, name)
    return shown


def _concise(attribute: Attribute, view: View, name: str) -> dict[str, Any]:
    """One instance in concise representation (4.5.2.3): no `type` where it can be inferred."""
    kind = attribute.kind
    value = attribute.value
    if view.lang and kind == "LanguageProperty" and value != NGSI_LD_NULL:
        language, text = choose_language(value, view.lang)
        shown: dict[str, Any] = {"value": text, "lang": language}
    elif kind == "ListRelationship" and value != NGSI_LD_NULL:
        shown = {"objectList": value}
    else:
        shown = {VALUE_MEMBER[kind]: public_value(attribute, view.context)}
    _add_members(shown, attribute, view, name)
    inferred = "GeoProperty" if values.is_geometry(shown.get("value")) else "Property"
    return (
        {"type": kind, **shown} if "value" in shown and kind not in (inferred, "LanguageProperty") else shown
    )


def _bare(shown: dict[str, Any]) -> Any:
    """The value alone of an instance that is nothing else, if it is read back as this value (4.5.2.3)."""
    if shown.keys() != {"value"}:
        return shown
    value = shown["value"]
    if type(value) is dict and not values.is_geometry(value):
        clear = not any(key in _READ_AS_INSTANCE for key in value)
    else:
        clear = type(value) is not list or not any(map(_is_instance, value))
    return value if clear else shown


def _simplified(attribute: Attribute, view: View, name: str) -> Any:
    """One instance in simplified representation (4.5.4)."""
    kind = attribute.kind
    value = attribute.value
    match kind:
        case "Relationship" | "ListRelationship":
            linked = attribute.extra.get("entity") or attribute.extra.get("entityList")
            return value if linked is None else _joined(value, linked, view.linked(name))
        case "Property" | "GeoProperty" | "ListProperty":
            return public_value(attribute, view.context)
        case "LanguageProperty" if view.lang and value != NGSI_LD_NULL:
            return choose_language(value, view.lang)[1]
        case "JsonProperty" | "VocabProperty" if value == NGSI_LD_NULL:
            return value
        case _:
            return {VALUE_MEMBER[kind]: public_value(attribute, view.context)}


def public_value(attribute: Attribute, context: Context) -> Any:
    """The content of the value member as a client reads it."""
    value = attribute.value
    match attribute.kind:
        case "VocabProperty":
            return _compacted(value, context)
        case "LanguageProperty" if value == NGSI_LD_NULL:
            return {"@none": value}
        case "ListProperty" if value == NGSI_LD_NULL:
            return [value]
        case "ListRelationship":
            return [value] if value == NGSI_LD_NULL else [{"object": uri} for uri in value]
        case _:
            return value


def _compacted(names: Any, context: Context) -> Any:
    if names == NGSI_LD_NULL:
        return names
    return [context.compact(name) for name in names] if type(names) is list else context.compact(names)


def _add_members(shown: dict[str, Any], attribute: Attribute, view: View, name: str) -> None:
    """Everything that stands beside the value."""
    if attribute.unit_code is not None:
        shown["unitCode"] = attribute.unit_code
    if attribute.observed_at is not None:
        shown["observedAt"] = attribute.observed_at
    if attribute.dataset_id is not None:
        shown["datasetId"] = attribute.dataset_id
    if attribute.instance_id is not None:
        shown["instanceId"] = attribute.instance_id
    for member, content in attribute.extra.items():
        if member != "expiresAt" or view.sys_attrs:
            shown[member] = _shown_extra(member, content, view, name)
    if view.sys_attrs:
        _add_times(shown, attribute.created_at, attribute.modified_at, attribute.deleted_at)
    for iri, instances in attribute.sub.items():
        # A selection of datasets does not reach attributes of attributes.
        left = tuple([each for each in instances if not _has_expired(each, view.at)])
        if left:
            shown[view.context.compact(iri)] = render_attribute(left, view, iri)


def _shown_extra(member: str, content: Any, view: View, name: str) -> Any:
    match member:
        case "objectType" | "valueType" | "entityTypeSealed" | "previousVocab":
            return _compacted(content, view.context)
        case "entity" | "entityList":
            return _linked(content, view.linked(name))
        case "previousObjectList" if view.form == "normalized":
            return [{"object": uri} for uri in content]
        case _:
            return content


def _linked(content: Any, view: View) -> Any:
    if isinstance(content, Entity):
        return render(content, view)
    if isinstance(content, list | tuple):
        return [_linked(entity, view) for entity in content]
    return content


def _joined(objects: str | list[str], linked: Any, view: View) -> Any:
    """Linked entities in the place of their URIs; a URI stays where its entity is not at hand."""
    entities = [linked] if isinstance(linked, Entity) else linked
    by_id = {entity.id: entity for entity in entities}
    if isinstance(objects, str):
        return render(by_id[objects], view) if objects in by_id else objects
    return [render(by_id[uri], view) if uri in by_id else uri for uri in objects]


def _add_times(shown: dict[str, Any], created: Instant, modified: Instant, deleted: Instant) -> None:
    if created:
        shown["createdAt"] = timestamp(created)
    if modified:
        shown["modifiedAt"] = timestamp(modified)
    if deleted:
        shown["deletedAt"] = timestamp(deleted)


def _geometry(entity: Entity, view: View) -> Any:
    """The geometry of a feature: the default instance's, or that of the one the datasets leave (4.5.16.1)."""
    instances = visible(entity.attributes.get(view.geometry_property, ()), view)
    chosen = [each for each in instances if each.dataset_id is None] or instances
    if len(chosen) == 1 and chosen[0].kind == "GeoProperty" and values.is_geometry(chosen[0].value):
        return chosen[0].value
    return None


# Languages (4.15)


def choose_language(texts: dict[str, Any], wanted: str) -> tuple[str, Any]:
    """The language and the text that fit a language filter best (4.15); some language always does.

    Tags compare without case; a longer range falls back to its beginning (`nl-BE` to `nl`), a shorter
    one takes a longer tag (`en` takes `en-US`).
    """
    tags = {tag.lower(): tag for tag in texts}
    for language in _ranked(wanted):
        tag = _lookup(language, tags)
        if tag is not None:
            return tag, texts[tag]
    tag = tags.get("@none") or next(iter(texts))
    return tag, texts[tag]


def _lookup(language: str, tags: dict[str, str]) -> str | None:
    if language == "*":
        return tags.get("@none") or next(iter(tags.values()))
    shortened = language
    while shortened:
        if shortened in tags:
            return tags[shortened]
        shortened = shortened.rpartition("-")[0]
    return next((tag for lowered, tag in tags.items() if lowered.startswith(language + "-")), None)


@lru_cache(maxsize=1024)
def _ranked(wanted: str) -> tuple[str, ...]:
    """The language ranges of a filter, lower case, the most wanted first."""
    ranked = []
    for part in wanted.split(","):
        language, *parameters = part.lower().replace(" ", "").split(";")
        quality = _quality(parameters)
        if language and quality > 0:
            ranked.append((quality, language))
    return tuple(language for _, language in sorted(ranked, key=lambda pair: -pair[0]))


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
