"""One entity from what several sources say of it (4.5.5), and bodies in the words of another @context.

What a source answers is read with its times, which decide between conflicting instances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from autocity.errors import BadRequestData
from autocity.ld.context import Context
from autocity.ld.entity import parse_entity, parse_evolution
from autocity.ld.instants import LAST, instant, read
from autocity.ld.temporal import TimeProperty, time_of
from autocity.model import VALUE_MEMBER, Attribute, Attributes, Entity, Instant

_KEPT = frozenset(("id", "@id", "scope", "@context", "createdAt", "modifiedAt", "deletedAt", "expiresAt"))
_VALUES = frozenset(VALUE_MEMBER.values())
_MEMBERS = frozenset(
    (
        "type", "@type", "datasetId", "observedAt", "unitCode", "instanceId", "expiresAt", "lang",
        "createdAt", "modifiedAt", "deletedAt", "objectType", "valueType", *_VALUES,
    )
)  # fmt: skip
_NAMING = frozenset(("vocab", "objectType", "valueType"))
"""Members of attributes whose content is names."""


# -- what a source says


def received(body: Any, context: Context) -> Entity:
    """An entity as a source told it, normalized, with the times that it told. Raises BadRequestData."""
    return _told(body, context, parse_entity)


def received_evolution(body: Any, context: Context) -> Entity:
    """The history of an entity as a source told it, instances with their ids and times.

    Raises BadRequestData.
    """
    return _told(body, context, parse_evolution)


def _told(body: Any, context: Context, parse: Callable[[Any, Context], Entity]) -> Entity:
    if not isinstance(body, dict):
        raise BadRequestData("an entity must be a JSON object")
    entity = parse(body, context)
    attributes = dict(entity.attributes)
    for name, raw in body.items():
        iri = context.expand(name)
        instances = attributes.get(iri)
        said = raw if isinstance(raw, list) else [raw]
        if instances is not None and len(said) == len(instances):
            attributes[iri] = tuple(map(_timed, instances, said))
    return replace(
        entity,
        attributes=attributes,
        created_at=_instant(body, "createdAt"),
        modified_at=_instant(body, "modifiedAt"),
    )


def _timed(instance: Attribute, said: Any) -> Attribute:
    if not isinstance(said, dict) or not said.keys() & {"createdAt", "modifiedAt", "deletedAt", "instanceId"}:
        return instance
    id = said.get("instanceId")
    return replace(
        instance,
        created_at=_instant(said, "createdAt"),
        modified_at=_instant(said, "modifiedAt"),
        deleted_at=_instant(said, "deletedAt"),
        instance_id=id if isinstance(id, str) else None,
    )


def _instant(said: Mapping[str, Any], member: str) -> Instant:
    value = said.get(member)
    return (read(value) or 0) if isinstance(value, str) else 0


# -- putting together


def assemble(versions: Sequence[Entity], now: Instant) -> Entity:
    """One entity from several versions of it, at least one. Of instances that contradict each other the
    newest holds (4.5.5.3), the earlier version where no time tells; what has expired is left out."""
    first, *others = _aligned(versions)
    if not others:
        return first
    attributes: Attributes = {}
    for version in (first, *others):
        for iri, instances in version.attributes.items():
            known = attributes.get(iri)
            attributes[iri] = instances if known is None else _joined(known, instances, now)
    expiries = [each.expires_at for each in versions]
    return Entity(
        id=first.id,
        types=tuple(dict.fromkeys(type for each in versions for type in each.types)),
        scopes=tuple(dict.fromkeys(scope for each in versions for scope in each.scopes)),
        attributes=attributes,
        created_at=min((each.created_at for each in versions if each.created_at), default=0),
        modified_at=max(each.modified_at for each in versions),
        expires_at=None if None in expiries else max((each for each in expiries if each), key=instant),
    )


def supplement(entity: Entity, additions: Iterable[Entity]) -> Entity:
    """The entity with attributes that it lacks, from auxiliary sources (4.3.6.2)."""
    attributes = dict(entity.attributes)
    for each in additions:
        for iri, instances in each.attributes.items():
            attributes.setdefault(iri, instances)
    return entity if len(attributes) == len(entity.attributes) else replace(entity, attributes=attributes)


def _aligned(versions: Sequence[Entity]) -> Sequence[Entity]:
    """The versions; an expiry that not all have is brought down to the attributes (4.5.5.2)."""
    if len({each.expires_at for each in versions}) == 1:
        return versions
    return [_expiring(each) if each.expires_at else each for each in versions]


def _expiring(entity: Entity) -> Entity:
    expiry = str(entity.expires_at)
    latest = instant(expiry)

    def until(instance: Attribute) -> Attribute:
        own = instance.extra.get("expiresAt")
        if own is not None and instant(own) <= latest:
            return instance
        return replace(instance, extra={**instance.extra, "expiresAt": expiry})

    attributes = {iri: tuple(map(until, each)) for iri, each in entity.attributes.items()}
    return replace(entity, attributes=attributes)


def _joined(
    known: tuple[Attribute, ...], added: tuple[Attribute, ...], now: Instant
) -> tuple[Attribute, ...]:
    found = {each.dataset_id: each for each in known}
    for each in added:
        rival = found.get(each.dataset_id)
        if rival is None or _rank(each, now) > _rank(rival, now):
            found[each.dataset_id] = each
    return tuple(found.values())


def _rank(instance: Attribute, now: Instant) -> tuple[bool, Instant, Instant]:
    """What lets an instance win over another: not to have expired, when observed, when modified."""
    expiry = instance.extra.get("expiresAt")
    live = expiry is None or instant(expiry) > now
    observed = (read(instance.observed_at) or 0) if instance.observed_at else -LAST
    return live, observed, instance.modified_at


def interleave(
    versions: Sequence[Entity], additions: Iterable[Entity] = (), property: TimeProperty = "observedAt"
) -> Entity:
    """One history from several, at least one. Where several tell of the same time, the instances of the
    one that was modified last hold (4.5.5.3, 5.7.3.4), those of the earlier version where that is no
    different; `additions`, from auxiliary sources, only tell of times that nobody else tells of."""
    first, *others = versions
    attributes = first.attributes
    for version in others:
        attributes = _interleaved(attributes, version.attributes, property, rivals=True)
    for version in additions:
        attributes = _interleaved(attributes, version.attributes, property, rivals=False)
    if attributes is first.attributes:
        return first
    return replace(
        first,
        types=tuple(dict.fromkeys(type for each in versions for type in each.types)),
        scopes=tuple(dict.fromkeys(scope for each in versions for scope in each.scopes)),
        attributes=attributes,
    )


def _interleaved(known: Attributes, added: Attributes, property: TimeProperty, *, rivals: bool) -> Attributes:
    """What is recorded in one place with what is recorded in another; `rivals` if the latter may win."""
    both = dict(known)
    for iri, instances in added.items():
        times = _by_time(known.get(iri, ()), property)
        for slot, told in _by_time(instances, property).items():
            rival = times.get(slot)
            if rival is None or (rivals and _latest(told) > _latest(rival)):
                times[slot] = told
        both[iri] = tuple(each for told in times.values() for each in told)
    return both


def _by_time(
    instances: Iterable[Attribute], property: TimeProperty
) -> dict[tuple[str | None, object], list[Attribute]]:
    """Instances by their dataset and their time; one without a time stands by its id, or for itself."""
    found: dict[tuple[str | None, object], list[Attribute]] = {}
    for each in instances:
        time = time_of(each, property)
        mark = time if time is not None else each.instance_id or str(id(each))
        found.setdefault((each.dataset_id, mark), []).append(each)
    return found


def _latest(instances: Iterable[Attribute]) -> Instant:
    return max(each.modified_at for each in instances)


# -- bodies on their way to a source


def names_of(body: Mapping[str, Any], context: Context) -> dict[str, str]:
    """The attributes of an entity or fragment: name as sent to IRI."""
    return {
        name: context.expand(name) for name in body if name not in _KEPT and name not in ("type", "@type")
    }


def narrowed(body: Mapping[str, Any], context: Context, attributes: frozenset[str]) -> dict[str, Any]:
    """The body with none but these attributes (IRIs)."""
    names = names_of(body, context)
    return {name: content for name, content in body.items() if name not in names or names[name] in attributes}


def reworded(body: Any, here: Context, there: Context, *, simplified: bool = False) -> Any:
    """An entity or fragment, its names those of another @context."""
    if here is there or not isinstance(body, dict):
        return body
    said: dict[str, Any] = {}
    for name, content in body.items():
        if name in _KEPT:
            said[name] = content
        elif name in ("type", "@type"):
            said[name] = _renamed(content, here, there)
        else:
            name = there.compact(here.expand(name))
            said[name] = content if simplified else reworded_attribute(content, here, there)
    return said


def reworded_attribute(body: Any, here: Context, there: Context) -> Any:
    """An attribute or a fragment of one, its names those of another @context."""
    if here is there:
        return body
    if isinstance(body, list):
        return [reworded_attribute(each, here, there) if _is_instance(each) else each for each in body]
    if not _is_instance(body):
        return body
    said = {}
    for name, content in body.items():
        if name in _NAMING:
            said[name] = _renamed(content, here, there)
        elif name in _MEMBERS:
            said[name] = content
        else:
            said[there.compact(here.expand(name))] = reworded_attribute(content, here, there)
    return said


def _is_instance(body: Any) -> bool:
    """Whether this is an attribute, not a bare value (4.5.2.3)."""
    return isinstance(body, dict) and (
        body.get("type") in VALUE_MEMBER or not _MEMBERS.isdisjoint(body.keys() - {"type"})
    )


def _renamed(content: Any, here: Context, there: Context) -> Any:
    if isinstance(content, list):
        return [_renamed(each, here, there) for each in content]
    return there.compact(here.expand(content)) if isinstance(content, str) else content
