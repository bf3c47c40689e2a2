"""How entities change: pure rules from what was and what was sent to what is (5.5.8, 5.5.12, 5.6).

Nothing is mutated, and whatever a rule leaves alone is the same object afterwards as before, so
`changed` compares by identity. The default instance of an attribute and those with a `datasetId`
are different things (4.5.5): no rule falls back from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import UNSET, Struct

from autocity.errors import BadRequestData, ResourceNotFound
from autocity.ld.context import NGSI_LD
from autocity.ld.entity import Partial
from autocity.ld.geo import fault
from autocity.ld.instants import instant
from autocity.model import (
    NGSI_LD_NULL,
    VALUE_MEMBER,
    Attribute,
    Attributes,
    Entity,
    Fragment,
    Instant,
    Kind,
)

SCOPE = NGSI_LD + "scope"
"""The IRI that stands for the scopes of an entity where attributes are named."""


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


# Whole entities


def create(entity: Entity, now: Instant) -> Entity:
    """A new entity with its times set (5.6.1): entity and attributes are created and modified now."""
    return _entity(entity, now, created_at=now)


def replace(before: Entity, entity: Entity, now: Instant) -> Entity:
    """Replace the whole entity (5.6.18); its `createdAt` stays, that of its attributes starts anew."""
    return _entity(entity, now, created_at=before.created_at)


def _entity(entity: Entity, now: Instant, created_at: Instant) -> Entity:
    return Entity(
        id=entity.id,
        types=entity.types,
        scopes=entity.scopes,
        attributes={
            name: tuple([_stamped(instance, None, now) for instance in instances])
            for name, instances in entity.attributes.items()
        },
        created_at=created_at,
        modified_at=now,
        expires_at=entity.expires_at,
    )


# Attributes by fragment


def update_attributes(before: Entity, fragment: Fragment, now: Instant) -> Outcome:
    """Update attributes (5.6.2): replace instance by instance, append what is new, delete by null.

    Scopes are replaced when the entity has any, else left; types are added.
    """

    def decide(name: str, old: Attribute | None, new: Attribute) -> Decision:
        return None if _is_null(new) else _stamped(new, old, now)

    draft = _Draft(before)
    draft.apply(fragment.attributes, decide)
    if fragment.scopes is not UNSET and not before.scopes:
        if fragment.scopes:
            draft.leave(SCOPE, "the entity has no scope; append it instead")
    elif fragment.scopes is not UNSET:
        draft.set_scopes(fragment.scopes or ())
    return draft.finish(fragment, now)


def append_attributes(before: Entity, fragment: Fragment, now: Instant, *, overwrite: bool = True) -> Outcome:
    """Append attributes (5.6.3). Without `overwrite`, instances that exist are left and reported, and
    scopes are added to those that the entity has; types are added in any case."""

    def decide(name: str, old: Attribute | None, new: Attribute) -> Decision:
        if _is_null(new):
            raise BadRequestData(f"attribute {name}: null takes nothing away when appending")
        if old is not None and not overwrite:
            return NotUpdated(name, "the attribute exists already and overwriting was ruled out")
        return _stamped(new, old, now)

    draft = _Draft(before)
    draft.apply(fragment.attributes, decide)
    if fragment.scopes:
        draft.set_scopes(fragment.scopes if overwrite else _union(before.scopes, fragment.scopes))
    return draft.finish(fragment, now)


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
    Raises `errors.BadRequestData` when a value does not suit the kind that is kept.
    """

    def decide(name: str, old: Attribute | None, new: Attribute) -> Decision:
        if _is_null(new):
            return None
        if old is None:
            return _stamped(_settled(name, new), None, now)
        if simplified or (lang and _is_text_in_language(old, new)):
            new = _as_kind(name, old, new, lang)
        common = observed_at if old.observed_at is not None else None
        return _patched(name, old, new, now, deep=True, observed_at=common)

    draft = _Draft(before)
    draft.apply(fragment.attributes, decide)
    if fragment.scopes is not UNSET:
        draft.set_scopes(fragment.scopes or ())
    return draft.finish(fragment, now)


# One attribute


def patch_attribute(before: Entity, name: str, instances: Sequence[Attribute], now: Instant) -> Outcome:
    """Partial attribute update (5.6.4) of the attribute with the IRI `name`, member by member (5.5.8).

    Raises `errors.ResourceNotFound` when an instance is not there, `errors.BadRequestData` when its
    kind would change.
    """

    def decide(name: str, old: Attribute | None, new: Attribute) -> Decision:
        if old is None:
            raise _missing(before, name, new.dataset_id)
        if _is_null(new):
            return None
        if new.kind != old.kind and not (isinstance(new, Partial) and not new.typed):
            raise BadRequestData(
                f"attribute {name} is a {old.kind}; a partial update cannot make it a {new.kind}"
            )
        return _patched(name, old, new, now, deep=False)

    return _one(before, name, instances, decide, now)


def replace_attribute(before: Entity, name: str, instances: Sequence[Attribute], now: Instant) -> Outcome:
    """Replace attribute instances (5.6.19). Raises `errors.ResourceNotFound` when one is not there."""

    def decide(name: str, old: Attribute | None, new: Attribute) -> Decision:
        if old is None:
            raise _missing(before, name, new.dataset_id)
        return _stamped(new, old, now)

    return _one(before, name, instances, decide, now)


def delete_attribute(
    before: Entity, name: str, now: Instant, *, dataset_id: str | None = None, delete_all: bool = False
) -> Entity:
    """Delete an attribute's default instance, the one of `dataset_id`, or all of them (5.6.5).

    The name "scope", or its IRI, deletes the scopes. Raises `errors.ResourceNotFound`.
    """
    draft = _Draft(before)
    if name in ("scope", SCOPE):
        if not before.scopes:
            raise ResourceNotFound(f"entity {before.id} has no scope")
        draft.set_scopes(())
        return draft.finish(Fragment(), now).entity
    instances = before.attributes.get(name, ())
    dataset_id = None if dataset_id == "@none" else dataset_id
    left = () if delete_all else tuple(one for one in instances if one.dataset_id != dataset_id)
    if len(left) == len(instances):
        raise _missing(before, name, dataset_id)
    draft.set(name, left)
    return draft.finish(Fragment(), now).entity


def _one(before: Entity, name: str, instances: Sequence[Attribute], decide: Decide, now: Instant) -> Outcome:
    if name in ("scope", SCOPE):
        raise BadRequestData("scope is no attribute; update it with the entity (5.6.2)")
    draft = _Draft(before)
    draft.apply({name: tuple(instances)}, decide)
    return draft.finish(Fragment(), now)


def _missing(entity: Entity, name: str, dataset_id: str | None) -> ResourceNotFound:
    if name in entity.attributes:
        which = f"with datasetId {dataset_id}" if dataset_id else "without datasetId"
        return ResourceNotFound(f"attribute {name} of entity {entity.id} has no instance {which}")
    return ResourceNotFound(f"entity {entity.id} has no attribute {name}")


# Differences


def changed(before: Entity | None, after: Entity | None) -> tuple[str, ...]:
    """IRIs of the attributes that differ between two states of an entity, by identity."""
    old: Attributes = before.attributes if before is not None else {}
    new: Attributes = after.attributes if after is not None else {}
    if old is new:
        return ()
    differing = [name for name, instances in new.items() if old.get(name) is not instances]
    return (*differing, *(name for name in old if name not in new))


def alive(entity: Entity, now: Instant) -> Entity | None:
    """The entity without the attribute instances that have expired, None when it has itself (4.22)."""
    if entity.expires_at is not None and instant(entity.expires_at) <= now:
        return None
    if not any(one.extra for instances in entity.attributes.values() for one in instances):
        return entity
    kept = {name: left for name, instances in entity.attributes.items() if (left := living(instances, now))}
    left_over = _with(entity, kept)
    return left_over if changed(entity, left_over) else entity


def living(instances: tuple[Attribute, ...], now: Instant) -> tuple[Attribute, ...]:
    """Those that have not expired (4.22); the very same tuple when none has."""
    left = tuple(one for one in instances if not _expired(one, now))
    return instances if len(left) == len(instances) else left


def _expired(instance: Attribute, now: Instant) -> bool:
    expires_at = instance.extra.get("expiresAt")
    return isinstance(expires_at, str) and instant(expires_at) <= now


def _with(entity: Entity, attributes: Attributes) -> Entity:
    return Entity(
        id=entity.id,
        types=entity.types,
        scopes=entity.scopes,
        attributes=attributes,
        created_at=entity.created_at,
        modified_at=entity.modified_at,
        expires_at=entity.expires_at,
    )


# Drafts: an entity in the making


Decision = Attribute | NotUpdated | None
"""What becomes of an instance: the new one, None to delete it, or why it is left."""

Decide = Callable[[str, Attribute | None, Attribute], Decision]
"""From attribute IRI, the instance there (of the same dataset, if any) and the one sent to a decision."""


class _Draft:
    """What an operation has changed so far; copies only what it changes."""

    def __init__(self, before: Entity) -> None:
        self.before = before
        self.attributes = before.attributes
        self.scopes = before.scopes
        self.updated: list[str] = []
        self.left: list[NotUpdated] = []

    def set(self, name: str, instances: tuple[Attribute, ...]) -> None:
        if self.attributes is self.before.attributes:
            self.attributes = dict(self.attributes)
        if instances:
            self.attributes[name] = instances
        else:
            self.attributes.pop(name, None)

    def set_scopes(self, scopes: tuple[str, ...]) -> None:
        self.scopes = scopes

    def leave(self, name: str, reason: str) -> None:
        self.left.append(NotUpdated(name, reason))

    def apply(self, sent: Attributes, decide: Decide) -> None:
        """Decide on every instance sent, each against the one of the same dataset (4.5.5)."""
        for name, instances in sent.items():
            before = after = self.attributes.get(name, ())
            for new in instances:
                old = next((one for one in after if one.dataset_id == new.dataset_id), None)
                decision = decide(name, old, new)
                if isinstance(decision, NotUpdated):
                    self.left.append(decision)
                elif decision is not None or old is not None:
                    after = _placed(after, old, decision)
            if after is not before:
                self.set(name, after)
                self.updated.append(name)

    def finish(self, fragment: Fragment, now: Instant) -> Outcome:
        """The outcome, with what else the fragment has to say: types are added, expiry is set."""
        before = self.before
        types = before.types
        if fragment.types is not UNSET:
            types = _union(types, fragment.types)
        expires_at = before.expires_at
        if fragment.expires_at is not UNSET:
            expires_at = None if fragment.expires_at == NGSI_LD_NULL else fragment.expires_at
        same = (
            self.attributes is before.attributes
            and self.scopes is before.scopes
            and types == before.types
            and expires_at == before.expires_at
        )
        entity = before
        if not same:
            entity = Entity(
                id=before.id,
                types=types,
                scopes=self.scopes,
                attributes=self.attributes,
                created_at=before.created_at,
                modified_at=now,
                expires_at=expires_at,
            )
        return Outcome(entity, tuple(self.updated), tuple(self.left))


def _placed(
    instances: tuple[Attribute, ...], old: Attribute | None, new: Attribute | None
) -> tuple[Attribute, ...]:
    """Instances with a new one in the place of the old; at the end without old, taken away without new."""
    if old is None:
        return instances if new is None else (*instances, new)
    if new is None:
        return tuple(one for one in instances if one is not old)
    return tuple(new if one is old else one for one in instances)


def _union(known: tuple[str, ...], added: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *added)))


# Instances


def _is_null(instance: Attribute) -> bool:
    return isinstance(instance.value, str) and instance.value == NGSI_LD_NULL


def _stamped(new: Attribute, old: Attribute | None, now: Instant) -> Attribute:
    """An instance that takes the place of an old one: modified now, created when the old one was."""
    return Attribute(
        kind=new.kind,
        value=new.value,
        dataset_id=new.dataset_id,
        observed_at=new.observed_at,
        unit_code=new.unit_code,
        created_at=now if old is None else old.created_at,
        modified_at=now,
        sub={
            name: tuple([_stamped(one, _same(old, name, one), now) for one in instances])
            for name, instances in new.sub.items()
        }
        if new.sub
        else {},
        extra=new.extra,
    )


def _same(owner: Attribute | None, name: str, instance: Attribute) -> Attribute | None:
    """The sub-attribute instance of an owner that has this name and the dataset of this instance."""
    if owner is None:
        return None
    return next((one for one in owner.sub.get(name, ()) if one.dataset_id == instance.dataset_id), None)


def _patched(
    name: str,
    old: Attribute,
    new: Attribute,
    now: Instant,
    *,
    deep: bool,
    observed_at: str | None = None,
) -> Attribute | None:
    """An instance with the members that were sent (5.5.8), or with `deep` also what is inside of them
    (5.5.12). None when nothing is left of its value."""
    kind, value = _value(name, old, new, deep=deep)
    if kind == "LanguageProperty" and not value:
        return None
    return Attribute(
        kind=kind,
        value=value,
        dataset_id=old.dataset_id,
        observed_at=_member(new.observed_at, observed_at or old.observed_at),
        unit_code=_member(new.unit_code, old.unit_code),
        created_at=old.created_at,
        modified_at=now,
        sub=_patched_sub(old, new, now, deep=deep) if new.sub else old.sub,
        extra=_patch(old.extra, new.extra) if new.extra else old.extra,
    )


def _member(sent: str | None, kept: str | None) -> str | None:
    if sent is None:
        return kept
    return None if sent == NGSI_LD_NULL else sent


def _patched_sub(old: Attribute, new: Attribute, now: Instant, *, deep: bool) -> Attributes:
    def decide(name: str, before: Attribute | None, sent: Attribute) -> Decision:
        if _is_null(sent):
            return None
        if before is None or not deep:
            return _stamped(_settled(name, sent), before, now)
        return _patched(name, before, sent, now, deep=True)

    sub = dict(old.sub)
    for name, instances in new.sub.items():
        after = sub.get(name, ())
        for sent in instances:
            before = next((one for one in after if one.dataset_id == sent.dataset_id), None)
            decision = decide(name, before, sent)
            assert not isinstance(decision, NotUpdated)
            after = _placed(after, before, decision)
        if after:
            sub[name] = after
        else:
            sub.pop(name, None)
    return sub


def _settled(name: str, new: Attribute) -> Attribute:
    """An instance sent as a patch that meets nothing to patch: complete, and without nulls."""
    if new.value is UNSET:
        raise BadRequestData(f"attribute {name} is new here; send its value too")
    value = new.value
    if new.kind in ("Property", "JsonProperty", "LanguageProperty"):
        value = _patch(None, value)
    return Attribute(
        kind=new.kind,
        value=value,
        dataset_id=new.dataset_id,
        observed_at=_member(new.observed_at, None),
        unit_code=_member(new.unit_code, None),
        sub={
            sub: left
            for sub, instances in new.sub.items()
            if (left := tuple(_settled(sub, one) for one in instances if not _is_null(one)))
        },
        extra=_patch({}, new.extra),
    )


# Values


def _value(name: str, old: Attribute, new: Attribute, *, deep: bool) -> tuple[Kind, Any]:
    if new.value is UNSET:
        if isinstance(new, Partial) and new.typed and new.kind != old.kind:
            raise BadRequestData(
                f"attribute {name} is a {old.kind}; to make it a {new.kind} send its {VALUE_MEMBER[new.kind]}"
            )
        return old.kind, old.value
    if not deep:
        return new.kind, new.value
    if new.kind not in ("Property", "JsonProperty", "LanguageProperty"):
        return new.kind, new.value
    return new.kind, _patch(old.value if new.kind == old.kind else None, new.value)


def _patch(old: Any, new: Any) -> Any:
    """JSON Merge Patch (RFC 7396) with NGSI-LD Null in the place of null; a JSON null is a value."""
    if not isinstance(new, dict) or "@value" in new:
        return new
    result = dict(old) if isinstance(old, dict) and "@value" not in old else {}
    for key, value in new.items():
        if isinstance(value, str) and value == NGSI_LD_NULL:
            result.pop(key, None)
        else:
            result[key] = _patch(result.get(key), value)
    return result


def _is_text_in_language(old: Attribute, new: Attribute) -> bool:
    return old.kind == "LanguageProperty" and new.kind == "Property" and isinstance(new.value, str)


def _as_kind(name: str, old: Attribute, new: Attribute, lang: str | None) -> Attribute:
    """What was sent without its kind, as the kind that the attribute has (5.6.17)."""
    if new.kind == old.kind or new.value is UNSET:
        return new
    value = new.value
    if old.kind == "LanguageProperty" and isinstance(value, str):
        value = {lang or "@none": value}
    if not _suits(old.kind, value):
        raise BadRequestData(
            f"attribute {name} is a {old.kind}, and {value!r:.60} is no {VALUE_MEMBER[old.kind]} for it"
        )
    return Attribute(
        kind=old.kind,
        value=value,
        dataset_id=new.dataset_id,
        observed_at=new.observed_at,
        unit_code=new.unit_code,
        sub=new.sub,
        extra=new.extra,
    )


def _suits(kind: Kind, value: Any) -> bool:
    """Whether a value can be that of an attribute of this kind."""
    match kind:
        case "Property" | "JsonProperty":
            return True
        case "Relationship" | "VocabProperty":
            return isinstance(value, str) or (bool(value) and _are_texts(value))
        case "ListRelationship":
            return _are_texts(value)
        case "ListProperty":
            return isinstance(value, list)
        case "LanguageProperty":
            return isinstance(value, dict)
        case "GeoProperty":
            return fault(value) is None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
