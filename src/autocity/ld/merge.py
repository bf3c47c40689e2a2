"""How entities change: pure rules from what was and what was sent to what is (5.5.8, 5.5.12, 5.6).

Nothing is mutated, and whatever a rule leaves alone is the same object afterwards as before, so
`changed` compares by identity. The default instance of an attribute and those with a `datasetId`
are different things (4.5.5): no rule falls back from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from autocity.model import Attribute, Entity, Fragment, Instant


class NotUpdated(Struct, frozen=True):
    """Why an attribute, named by its IRI, was left as it was (NotUpdatedDetails, 5.2.19)."""

    attribute: str
    reason: str


class Outcome(Struct, frozen=True):
    """The entity after an operation and the attribute IRIs it updated and left (UpdateResult, 5.2.18).

    `entity is before` when the operation changed nothing.
    """

    entity: Entity
    updated: tuple[str, ...] = ()
    not_updated: tuple[NotUpdated, ...] = ()


def create(entity: Entity, now: Instant) -> Entity:
    """A new entity with its times set (5.6.1): entity and attributes are created and modified now."""
    raise NotImplementedError


def replace(before: Entity, entity: Entity, now: Instant) -> Entity:
    """Replace the whole entity (5.6.18); its `createdAt` stays, that of its attributes starts anew."""
    raise NotImplementedError


def update_attributes(before: Entity, fragment: Fragment, now: Instant) -> Outcome:
    """Update attributes (5.6.2): replace instance by instance, append what is new, delete by null."""
    raise NotImplementedError


def append_attributes(before: Entity, fragment: Fragment, now: Instant, *, overwrite: bool = True) -> Outcome:
    """Append attributes (5.6.3). Without `overwrite`, instances that exist are left and reported."""
    raise NotImplementedError


def patch_attribute(before: Entity, name: str, instances: Sequence[Attribute], now: Instant) -> Outcome:
    """Partial attribute update (5.6.4) of the attribute with the IRI `name`, member by member.

    Raises `errors.ResourceNotFound` when an instance is not there, `errors.BadRequestData` when its
    kind would change.
    """
    raise NotImplementedError


def replace_attribute(before: Entity, name: str, instances: Sequence[Attribute], now: Instant) -> Outcome:
    """Replace attribute instances (5.6.19). Raises `errors.ResourceNotFound` when one is not there."""
    raise NotImplementedError


def delete_attribute(
    before: Entity, name: str, now: Instant, *, dataset_id: str | None = None, delete_all: bool = False
) -> Entity:
    """Delete an attribute's default instance, the one of `dataset_id`, or all of them (5.6.5).

    The name "scope" deletes the scopes. Raises `errors.ResourceNotFound`.
    """
    raise NotImplementedError


def merge(
    before: Entity,
    fragment: Fragment,
    now: Instant,
    *,
    observed_at: str | None = None,
    lang: str | None = None,
    simplified: bool = False,
) -> Outcome:
    """Merge entity (5.6.17, 5.5.12), down into JSON values, language maps and sub-attributes.

    `observed_at` is the common timestamp for attributes that had one, `lang` the language that a
    string sent for a LanguageProperty stands for, `simplified` says that kinds were not sent.
    """
    raise NotImplementedError


def changed(before: Entity | None, after: Entity | None) -> tuple[str, ...]:
    """IRIs of the attributes that differ between two states of an entity, by identity."""
    raise NotImplementedError


def alive(entity: Entity, now: Instant) -> Entity | None:
    """The entity without the attribute instances that have expired, None when it has itself (4.22)."""
    raise NotImplementedError
