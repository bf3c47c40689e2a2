"""The temporal representations of an entity (4.5.6 to 4.5.9, 4.5.19): recorded instances as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from msgspec.structs import replace

from autocity.ld.entity import View, choose_language, compact_types, public_value, render_attribute
from autocity.ld.instants import timestamp
from autocity.ld.merge import SCOPE
from autocity.ld.temporal import Duration, Method, TimeProperty, Window, aggregate, time_of
from autocity.model import NGSI_LD_NULL, VALUE_MEMBER, Attribute, Attributes, Instant

Form = Literal["normalized", "concise", "temporalValues", "aggregatedValues"]

Instances = tuple[Attribute, ...]


class Evolution(Protocol):
    """What was recorded of one entity: `store.port.History` and whatever looks like it."""

    @property
    def id(self) -> str: ...
    @property
    def types(self) -> tuple[str, ...]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def attributes(self) -> Attributes: ...
    @property
    def created_at(self) -> Instant: ...
    @property
    def modified_at(self) -> Instant: ...
    @property
    def deleted_at(self) -> Instant: ...


def render_history(
    history: Evolution,
    view: View,
    *,
    form: Form = "normalized",
    window: Window | None = None,
    methods: Sequence[Method] = (),
    period: Duration | None = None,
) -> dict[str, Any]:
    """The temporal representation of an entity: arrays of instances (4.5.6), pairs of value and time
    (`temporalValues`, 4.5.9) or aggregates (`aggregatedValues`, 4.5.19). `window.property` is the time
    in the pairs; `methods` and `period` belong to the aggregates. Scopes are told like a Property."""
    window = window or Window()
    context = view.context
    shown = {name: content for name, content in _head(history, view).items() if view.shows(name)}
    recorded = {
        iri: selected
        for iri, instances in history.attributes.items()
        if view.shows("scope" if iri == SCOPE else iri)
        and ((selected := _of_datasets(instances, view)) or not instances)
    }
    if form == "aggregatedValues":
        recorded.pop(SCOPE, None)
        rendered = _aggregated(recorded, methods, period or Duration(), window)
    else:
        if SCOPE not in recorded and history.scopes and form != "temporalValues" and view.shows("scope"):
            # Set before the window and valid in it (C.5.16).
            recorded = {SCOPE: (_scope(history.scopes),), **recorded}
        tell = _pairs(view, window.property) if form == "temporalValues" else _instances(view, form)
        rendered = {iri: tell(iri, instances) for iri, instances in recorded.items()}
    for iri, content in rendered.items():
        shown["scope" if iri == SCOPE else context.compact(iri)] = content
    if view.embed and shown:
        shown["@context"] = context.echo
    return shown


def _head(history: Evolution, view: View) -> dict[str, Any]:
    """The members of the entity itself."""
    head: dict[str, Any] = {"id": history.id, "type": compact_types(history.types, view.context)}
    if view.sys_attrs:
        times = {
            "createdAt": history.created_at,
            "modifiedAt": history.modified_at,
            "deletedAt": history.deleted_at,
        }
        head |= {name: timestamp(at) for name, at in times.items() if at}
    return head


def _scope(scopes: tuple[str, ...]) -> Attribute:
    return Attribute(kind="Property", value=scopes[0] if len(scopes) == 1 else list(scopes))


def _of_datasets(instances: Instances, view: View) -> Instances:
    if not view.dataset_ids:
        return instances
    return tuple([each for each in instances if (each.dataset_id or "@none") in view.dataset_ids])


def _by_dataset(instances: Instances) -> dict[str | None, Instances]:
    """The instances of each dataset, datasets in the order in which they first appear."""
    datasets: dict[str | None, list[Attribute]] = {}
    for instance in instances:
        datasets.setdefault(instance.dataset_id, []).append(instance)
    return {id: tuple(found) for id, found in datasets.items()}


Tell = Callable[[str, Instances], Any]
"""From attribute IRI and recorded instances to JSON."""


def _instances(view: View, form: Form) -> Tell:
    """Arrays of instances (4.5.7, 4.5.8); that an instance marks a deletion is always told."""
    view = replace(view, form="concise" if form == "concise" else "normalized", dataset_ids=frozenset())

    def tell(iri: str, instances: Instances) -> list[Any]:
        return [one(iri, instance) for instance in instances]

    def one(iri: str, instance: Attribute) -> Any:
        if iri == SCOPE:
            instance = _told_scope(instance)
        content = render_attribute((instance,), view, iri)
        if instance.deleted_at and isinstance(content, dict):
            content["deletedAt"] = timestamp(instance.deleted_at)
        return content

    return tell


def _told_scope(instance: Attribute) -> Attribute:
    # Clause 4.18 would have NGSI-LD Null for a deleted scope; the suite of the same standard body, no scope.
    return replace(instance, value=[]) if instance.value == NGSI_LD_NULL else instance


def _pairs(view: View, property: TimeProperty) -> Tell:
    """Pairs of value and time, apart by dataset (4.5.9)."""

    def tell(iri: str, instances: Instances) -> Any:
        if not instances:
            return {"type": "Property", "values": []}
        told = [series(iri, id, each) for id, each in _by_dataset(instances).items()]
        return told[0] if len(told) == 1 else told

    def series(iri: str, dataset_id: str | None, instances: Instances) -> dict[str, Any]:
        kind = instances[0].kind
        as_text = kind == "LanguageProperty" and view.lang is not None
        head: dict[str, Any] = {"type": "Property" if as_text else kind}
        if dataset_id is not None:
            head["datasetId"] = dataset_id
        member = "values" if as_text else VALUE_MEMBER[kind] + "s"
        return head | {member: [[value(iri, one), _moment(one, property)] for one in instances]}

    def value(iri: str, instance: Attribute) -> Any:
        if iri == SCOPE:
            return _told_scope(instance).value
        kind = instance.kind
        if kind == "ListRelationship":
            return [instance.value] if instance.value == NGSI_LD_NULL else instance.value
        if kind == "LanguageProperty" and view.lang is not None and instance.value != NGSI_LD_NULL:
            return choose_language(instance.value, view.lang)[1]
        content = public_value(instance, view.context)
        if kind in ("LanguageProperty", "JsonProperty", "VocabProperty"):
            return {VALUE_MEMBER[kind]: content}
        return content

    return tell


def _moment(instance: Attribute, property: TimeProperty) -> str:
    """The time in a pair: the one asked for as the client wrote it, else when it was recorded."""
    if property == "observedAt" and instance.observed_at is not None:
        return instance.observed_at
    return timestamp(time_of(instance, property) or instance.deleted_at or instance.modified_at)


def _aggregated(
    recorded: Attributes, methods: Sequence[Method], period: Duration, window: Window
) -> dict[str, Any]:
    """Aggregates (4.5.19), apart by dataset: values of different datasets are not of one kind."""
    series = {
        (iri, id): each for iri, instances in recorded.items() for id, each in _by_dataset(instances).items()
    }
    told: dict[str, list[dict[str, Any]]] = {}
    for (iri, id), values in aggregate(series, methods, period, window).items():
        head: dict[str, Any] = {"type": series[iri, id][0].kind}
        if id is not None:
            head["datasetId"] = id
        told.setdefault(iri, []).append(head | values)
    return {iri: each[0] if len(each) == 1 else each for iri, each in told.items()}
