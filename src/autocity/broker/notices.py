"""What a notification says (5.3.1, 5.8.6): the entity as the subscription wants to see it, as bytes."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from autocity.broker.links import beside, inline
from autocity.broker.matching import ATTRIBUTE_DELETED, Touched, Watch
from autocity.ld.entity import render, render_feature, render_features, without_context
from autocity.ld.instants import timestamp
from autocity.model import NGSI_LD_NULL, Attribute, Attributes, Delivery, Entity, Instant

PREVIOUS = {
    "Property": "previousValue",
    "GeoProperty": "previousValue",
    "Relationship": "previousObject",
    "LanguageProperty": "previousLanguageMap",
    "VocabProperty": "previousVocab",
    "JsonProperty": "previousJson",
    "ListProperty": "previousValueList",
    "ListRelationship": "previousObjectList",
}
"""The member that tells the former value of each kind of attribute (4.5.2 to 4.5.24)."""

_encode = msgspec.json.Encoder().encode

_random = random.Random(os.urandom(32))
os.register_at_fork(after_in_child=lambda: _random.seed(os.urandom(32)))


def delivery(watch: Watch, data: bytes, now: Instant) -> Delivery:
    """A notification with its data, ready for the outbox. Its id is fixed here, for every attempt."""
    id = "urn:ngsi-ld:Notification:" + random_uuid()
    return Delivery(
        id=id,
        tenant=watch.tenant,
        subscription=watch.subscription.key,
        created_at=now,
        body=b'{"id":"%b",%b,"notifiedAt":"%b","data":%b}'
        % (id.encode(), watch.head, timestamp(now).encode(), data),
    )


def delivery_of_sources(watch: Watch, data: Sequence[dict[str, Any]], reason: str, now: Instant) -> Delivery:
    """A notification about registrations of context sources (5.3.2), ready for the outbox."""
    id = "urn:ngsi-ld:Notification:" + random_uuid()
    told: dict[str, Any] = {
        "id": id,
        "type": "ContextSourceNotification",
        "subscriptionId": watch.subscription.id,
        "notifiedAt": timestamp(now),
        "data": data,
        "triggerReason": reason,
    }
    if watch.view.embed:
        told["@context"] = watch.context.echo
    return Delivery(
        id=id,
        tenant=watch.tenant,
        subscription=watch.subscription.key,
        created_at=now,
        body=_encode(told),
    )


def random_uuid() -> str:
    """A UUID of version 4. It must be unique, not secret, so no system call is spent on it."""
    text = f"{_random.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def data_of_change(watch: Watch, touched: Touched, linked: Mapping[str, Entity]) -> bytes:
    """The `data` of a notification about one change."""
    change, notification = touched.change, watch.subscription.notification
    if change.after is None:
        return _data([departed(watch, touched)], watch, linked, deleted_at=change.at)
    entity = change.after
    if notification.show_changes or touched.bits & ATTRIBUTE_DELETED:
        entity = replace(entity, attributes=told(watch, touched))
    return _data([entity], watch, linked)


def data_of_entities(watch: Watch, entities: Sequence[Entity], linked: Mapping[str, Entity]) -> bytes:
    """The `data` of a periodic notification."""
    return _data(entities, watch, linked)


def told(watch: Watch, touched: Touched) -> Attributes:
    """The attributes after a change, with those that it took away, and former values if wanted."""
    change = touched.change
    before = change.before.attributes if change.before else {}
    after = change.after.attributes if change.after else {}
    previous = bool(watch.subscription.notification.show_changes)
    attributes = dict(after)
    for name in touched.attributes:
        old = {each.dataset_id: each for each in before.get(name, ())}
        current = after.get(name, ())
        if not current:
            attributes[name] = gone(before[name], change.at, previous)
            continue
        kept = {each.dataset_id for each in current}
        instances = [with_previous(each, old.get(each.dataset_id)) if previous else each for each in current]
        instances += [
            absent(each, change.at, previous) for dataset, each in old.items() if dataset not in kept
        ]
        attributes[name] = tuple(instances)
    return attributes


def departed(watch: Watch, touched: Touched) -> Entity:
    """A deleted entity: no attributes, but those whose deletion is to be told, or all with what they were."""
    entity, change = touched.entity, touched.change
    previous = bool(watch.subscription.notification.show_changes)
    if previous:
        names = list(entity.attributes)
    elif watch.triggers & ATTRIBUTE_DELETED:
        names = [name for name in entity.attributes if not watch.watched or name in watch.watched]
    else:
        names = []
    attributes = {name: gone(entity.attributes[name], change.at, previous) for name in names}
    return replace(entity, scopes=(), attributes=attributes, expires_at=None)


def gone(instances: tuple[Attribute, ...], at: Instant, previous: bool) -> tuple[Attribute, ...]:
    """An attribute that is no more: its default instance stands for all where there was one."""
    default = [each for each in instances if each.dataset_id is None]
    return tuple(absent(each, at, previous) for each in default or instances)


def absent(instance: Attribute, at: Instant, previous: bool) -> Attribute:
    """An instance that is no more."""
    return Attribute(
        kind=instance.kind,
        value=NGSI_LD_NULL,
        dataset_id=instance.dataset_id,
        created_at=instance.created_at,
        modified_at=instance.modified_at,
        deleted_at=at,
        extra={PREVIOUS[instance.kind]: instance.value} if previous else {},
    )


def with_previous(instance: Attribute, old: Attribute | None) -> Attribute:
    """An instance with the value that it had, if that was another."""
    if old is None or old is instance or (old.value == instance.value and old.kind == instance.kind):
        return instance
    return replace(instance, extra={**instance.extra, PREVIOUS[old.kind]: old.value})


def _data(
    entities: Sequence[Entity], watch: Watch, linked: Mapping[str, Entity], deleted_at: Instant = 0
) -> bytes:
    notification, view = watch.subscription.notification, watch.view
    levels = notification.levels
    if notification.join == "inline":
        entities = [inline(entity, linked, levels) for entity in entities]
    views = beside(entities, linked, levels if notification.join == "flat" else 0, view)
    if notification.endpoint.media == "application/geo+json":
        collection = render_features([], view)
        collection["features"] = [render_feature(entity, without_context(each)) for entity, each in views]
        if deleted_at:
            collection["features"][0]["properties"]["deletedAt"] = timestamp(deleted_at)
        return _encode(collection)
    shown = [render(entity, each) for entity, each in views]
    if deleted_at:
        shown[0] = with_deletion(shown[0], deleted_at)
    return _encode(shown)


def with_deletion(shown: dict[str, Any], at: Instant) -> dict[str, Any]:
    """A rendered entity that says when it was deleted, before its attributes."""
    head: dict[str, Any] = {
        name: shown.pop(name) for name in ("id", "type", "createdAt", "modifiedAt") if name in shown
    }
    return {**head, "deletedAt": timestamp(at), **shown}
