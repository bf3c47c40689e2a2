"""The values that the city is made of: frozen structs in expanded form, no behaviour, no I/O.

Names of types, attributes, vocabulary terms and units of `objectType` are full IRIs here; the
short names of a client's @context exist only at the border (`ld`).

Two clocks: what a client said (`observed_at`, `expires_at`) stays the string that came, once
checked; what the platform noted (`created_at`, `modified_at`, `deleted_at`) is an `Instant`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field

Instant = int
"""Microseconds since 1970-01-01T00:00:00Z."""

Kind = Literal[
    "Property",
    "Relationship",
    "GeoProperty",
    "LanguageProperty",
    "VocabProperty",
    "JsonProperty",
    "ListProperty",
    "ListRelationship",
]

VALUE_MEMBER: dict[str, str] = {
    "Property": "value",
    "Relationship": "object",
    "GeoProperty": "value",
    "LanguageProperty": "languageMap",
    "VocabProperty": "vocab",
    "JsonProperty": "json",
    "ListProperty": "valueList",
    "ListRelationship": "objectList",
}
"""The member that carries the value of each kind of attribute (4.5.2 to 4.5.24)."""


class Attribute(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One instance of an attribute (4.5.2, 4.5.3, 4.5.5).

    `value` is the content of the kind's value member, untouched: numbers, nested arrays, nulls
    and objects stay as they came. For Relationship it is a URI or a list of URIs, for
    ListRelationship a list of URIs, for VocabProperty an IRI or a list of IRIs.
    `sub` holds sub-attributes by IRI, each a tuple of instances.
    `extra` holds members of the standard that have no field of their own (`objectType`,
    `valueType`, `expiresAt` and, on linked retrieval, `entity` and the like), by member name.
    """

    kind: Kind
    value: Any = None
    dataset_id: str | None = None
    observed_at: str | None = None
    unit_code: str | None = None
    created_at: Instant = 0
    modified_at: Instant = 0
    deleted_at: Instant = 0
    instance_id: str | None = None
    sub: dict[str, tuple[Attribute, ...]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


Attributes = dict[str, tuple[Attribute, ...]]
"""Attribute IRI to its instances, the default instance (no `dataset_id`) and others."""


class Entity(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An entity as the platform holds it (4.5.1), expanded."""

    id: str
    types: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    attributes: Attributes = field(default_factory=dict)
    created_at: Instant = 0
    modified_at: Instant = 0
    expires_at: str | None = None


class Fragment(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a client sent of an entity (5.4): parts that are unset were not sent.

    An attribute mapped to the constant `DELETE` was sent as NGSI-LD Null (4.5.0).
    """

    id: str | None = None
    types: tuple[str, ...] | UnsetType = UNSET
    scopes: tuple[str, ...] | UnsetType | None = UNSET
    attributes: Attributes = field(default_factory=dict)
    expires_at: str | UnsetType | None = UNSET


NGSI_LD_NULL = "urn:ngsi-ld:null"
"""The string that stands for 'take this away' in an update (4.5.0)."""

DELETE: tuple[Attribute, ...] = (Attribute(kind="Property", value=NGSI_LD_NULL),)
"""What `Fragment.attributes` holds for an attribute that was sent as NGSI-LD Null."""


class Stored(Struct, frozen=True):
    """An entity as a store returns it: its version and its document (see `ld.document`)."""

    id: str
    version: int
    document: bytes


class Change(Struct, frozen=True, kw_only=True):
    """One committed or to-be-committed change of one entity: the unit of writing.

    `expected` is the version that `before` had (0: the entity must not exist). After the commit
    the entity has version `version`, or `expected + 1` when that is 0. `after is None` deletes.
    `at` is the time of the change. `depth` counts how many changes made by the platform's own apps
    led to this one. `record` says whether the change is kept in history.
    """

    tenant: str
    id: str
    at: Instant
    before: Entity | None
    after: Entity | None
    expected: int
    version: int = 0
    actor: str = ""
    depth: int = 0
    record: bool = True


class Record(Struct, frozen=True, kw_only=True):
    """A document of the platform that is not an entity: subscription, registration, hosted
    context, user, token, session, setting. `body` is its JSON; a store never looks inside.
    """

    tenant: str
    kind: str
    id: str
    body: bytes
    version: int = 0


class Delivery(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notification on its way: written with the change that caused it, gone once delivered.

    `id` is the notification id that the receiver reads; a second attempt bears the same.
    """

    id: str
    tenant: str
    subscription: str
    created_at: Instant
    body: bytes
    due_at: Instant = 0
    attempts: int = 0
    dead: bool = False
    error: str = ""


class Logged(Struct, frozen=True, kw_only=True):
    """One line of the change log: what changed, by whom, in commit order (`seq`)."""

    seq: int
    tenant: str
    id: str
    operation: Literal["create", "update", "delete"]
    types: tuple[str, ...]
    attributes: tuple[str, ...]
    at: Instant
    actor: str = ""
    depth: int = 0
