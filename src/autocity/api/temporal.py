"""The temporal evolution of entities over HTTP (CIM 009, 6.18 to 6.22, 6.24)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from autocity import errors
from autocity.api.asgi import Answer, Call, Route
from autocity.api.federation import Sharing
from autocity.api.negotiate import (
    Desk,
    Shape,
    arguments,
    caller,
    created,
    done,
    page_links,
    route,
    shape,
    uri,
)
from autocity.api.ngsild import attribute_of, one_dataset
from autocity.api.queries import from_body, query_of, view_of
from autocity.broker import Broker
from autocity.ld.context import Context
from autocity.ld.entity import View, parse_attribute, parse_evolution, parse_instances
from autocity.ld.history import Form, render_history
from autocity.ld.temporal import (
    Duration,
    Method,
    Window,
    content_range,
    duration,
    page,
    parse_methods,
    parse_window,
)

Told = dict[str, Any] | list[dict[str, Any]]

TAG = "History"
FORMS: dict[str, Form] = {
    "normalized": "normalized",
    "concise": "concise",
    "temporalValues": "temporalValues",
    "aggregatedValues": "aggregatedValues",
}
FORMATS = tuple(FORMS)
WINDOW = ("timerel", "timeAt", "endTimeAt", "timeproperty", "lastN", "aggrMethods", "aggrPeriodDuration")
SHOW = ("attrs", "pick", "omit", "datasetId", "lang", "entityMap", "entityMapLifetime")
QUERY = (
    "id", "idPattern", "type", "q", "csf", "scopeQ", "georel", "geometry", "coordinates", "geoproperty",
    "orderBy", "collation", "limit", "offset", "count", "expandValues", "jsonKeys", "splitEntities", "local",
)  # fmt: skip


class Asked(msgspec.Struct, frozen=True):
    """How history is asked for: which instances, in which representation."""

    window: Window
    form: Form
    methods: tuple[Method, ...] = ()
    period: Duration | None = None

    @property
    def paged(self) -> bool:
        """Aggregates are short; everything else is cut into pages."""
        return self.form != "aggregatedValues"


class Evolution:
    """The handlers of everything about history. `page_size` is how many attribute instances an answer
    holds before it is partial (6.3.10); a larger `lastN` says that more are welcome."""

    def __init__(self, broker: Broker, *, page_size: int) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)
        self._sharing = Sharing(broker)
        self._page_size = page_size

    # -- provision (5.6.11 to 5.6.16)

    async def create(self, call: Call) -> Answer:
        """Create or update temporal evolution of an entity (5.6.11, 6.18.3.1)."""
        arguments(call)
        body, context = await self._desk.body(call)
        entity = parse_evolution(body, context)
        new = await self._broker.upsert_temporal(
            caller(call), entity.id, entity.types, entity.scopes, entity.attributes
        )
        return created("/temporal/entities", entity.id) if new else done()

    async def append(self, call: Call) -> Answer:
        """Add attributes to temporal evolution of an entity (5.6.12, 6.20.3.1)."""
        arguments(call)
        id = uri(call, "id")
        body, context = await self._desk.body(call)
        await self._broker.append_temporal(caller(call), id, parse_instances(body, context))
        return done()

    async def delete_attribute(self, call: Call) -> Answer:
        """Delete attribute from temporal evolution of an entity (5.6.13, 6.21.3.1)."""
        values, id = arguments(call), uri(call, "id")
        name = attribute_of(call, await self._desk.context(call))
        await self._broker.delete_temporal_attribute(
            caller(call),
            id,
            name,
            dataset_id=one_dataset(values),
            delete_all=values.get("deleteAll", False),
        )
        return done()

    async def update_instance(self, call: Call) -> Answer:
        """Modify attribute instance in temporal evolution of an entity (5.6.14, 6.22.3.1)."""
        arguments(call)
        id, instance = uri(call, "id"), uri(call, "instance")
        body, context = await self._desk.body(call)
        name = attribute_of(call, context)
        fragment = _only_attribute(body, call.params["attribute"], name, context)
        instances = parse_attribute(fragment, context, call.params["attribute"], partial=True)
        await self._broker.update_temporal_instance(caller(call), id, name, instance, instances)
        return done()

    async def delete_instance(self, call: Call) -> Answer:
        """Delete attribute instance from temporal evolution of an entity (5.6.15, 6.22.3.2)."""
        arguments(call)
        id, instance = uri(call, "id"), uri(call, "instance")
        name = attribute_of(call, await self._desk.context(call))
        await self._broker.delete_temporal_instance(caller(call), id, name, instance)
        return done()

    async def delete(self, call: Call) -> Answer:
        """Delete temporal evolution of an entity (5.6.16, 6.19.3.2)."""
        arguments(call)
        await self._broker.delete_temporal(caller(call), uri(call, "id"))
        return done()

    # -- consumption (5.7.3, 5.7.4)

    async def retrieve(self, call: Call) -> Answer:
        """Retrieve temporal evolution of an entity (5.7.3, 6.19.3.1)."""
        values, form, id = arguments(call), shape(call), uri(call, "id")
        context = await self._desk.context(call)
        view, asked = view_of(values, context, form), asked_of(values)
        window = replace(asked.window, limit=self._limit(asked) + 1) if asked.paged else asked.window
        wanted = wanted_of(view)
        shared = await self._sharing.of(call, values, context)
        if shared is None:
            history = await self._broker.retrieve_temporal(caller(call), id, window, wanted)
        else:
            history = await shared.retrieve_history(id, window, wanted)
        if wanted and not history.attributes:
            await self._require_any(call, id, wanted)
        (body,), partial = self._rendered([history], view, asked)
        if not body:
            raise errors.ResourceNotFound(f"nothing is left of entity {id} after pick and omit")
        return await self._told(call, body, form, context, partial)

    async def _require_any(self, call: Call, id: str, names: tuple[str, ...]) -> None:
        """Refuse attributes that were never recorded; those with nothing in the window are no mistake."""
        ever = await self._broker.retrieve_temporal(caller(call), id, Window(last_n=1), names)
        if not ever.attributes:
            raise errors.ResourceNotFound(f"none of these attributes was recorded of entity {id}")

    async def query(self, call: Call) -> Answer:
        """Query temporal evolution of entities (5.7.4, 6.18.3.2)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        return await self._page(call, values, form, context)

    async def query_by_post(self, call: Call) -> Answer:
        """Query temporal evolution of entities by a Query body (5.7.4, 6.24.3.1)."""
        values, form = arguments(call), shape(call)
        body, context = await self._desk.body(call)
        return await self._page(call, values | from_body(body), form, context)

    async def _page(self, call: Call, values: dict[str, Any], form: Shape, context: Context) -> Answer:
        view, asked, query = view_of(values, context, form), asked_of(values), query_of(values, context)
        if asked.window.relation is None:
            raise errors.BadRequestData(
                "a temporal query is needed: timerel, timeAt and what belongs to them"
            )
        if any(order.path.names != ("id",) for order in query.order):
            raise errors.BadRequestData("orderBy takes only id here (5.7.4)")
        filtered = query.q is not None or query.geo is not None or query.attributes
        window = asked.window
        if asked.paged and not filtered:
            # A filter must see every instance of the window; without one, a page's worth is enough.
            window = replace(window, limit=self._limit(asked) + 1)
        limit = query.limit
        wanted = query if query.count else replace(query, limit=limit + 1)
        shared = await self._sharing.of(call, values, context)
        if shared is None:
            found, total = await self._broker.query_temporal(caller(call), wanted, window, wanted_of(view))
            more = len(found) > limit if total is None else query.offset + len(found) < total
        else:
            found, total, more = await shared.query_history(query, window, wanted_of(view))
        bodies, partial = self._rendered(found[:limit], view, asked)
        answer = await self._told(call, bodies, form, context, partial)
        if total is not None:
            answer.headers.append(("NGSILD-Results-Count", str(total)))
        if shared is not None and shared.status == 201 and answer.status == 200:
            answer.status = 201
        if limit:
            answer.headers += page_links(call, form.media, limit, query.offset, more)
        return answer

    async def _told(
        self, call: Call, told: Told, form: Shape, context: Context, partial: str | None
    ) -> Answer:
        answer = await self._desk.told(call, told, form, context)
        if partial:
            answer.status = 206
            answer.headers.append(("Content-Range", partial))
        return answer

    def _limit(self, asked: Asked) -> int:
        return max(self._page_size, asked.window.last_n or 0)

    def _rendered(
        self, found: list[Any], view: View, asked: Asked
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The temporal representations, and the `Content-Range` when they are partial (6.3.10)."""
        partial = None
        if asked.paged:
            pages, cut = page([each.attributes for each in found], asked.window, self._limit(asked))
            if cut:
                partial = content_range(pages, asked.window)
                found = [replace(each, attributes=kept) for each, kept in zip(found, pages, strict=True)]
        return [
            render_history(
                each,
                view,
                form=asked.form,
                window=asked.window,
                methods=asked.methods,
                period=asked.period,
            )
            for each in found
        ], partial

    def routes(self) -> list[Route]:
        """Every route of this module."""
        options = (*FORMATS, "sysAttrs")
        return [
            route(
                "POST", "/temporal/entities", self.create, "write", TAG,
                parameters=("local",), accepts="EntityTemporal", answers={201: "", 204: ""},
            ),
            route(
                "GET", "/temporal/entities", self.query, "read", TAG,
                parameters=(*QUERY, *SHOW, *WINDOW), formats=FORMATS, options=options,
                answers={200: "EntityTemporalList", 206: "EntityTemporalList"},
                example="type=ProductionRecord&timerel=after&timeAt=2020-01-01T00:00:00Z",
            ),
            route(
                "GET", "/temporal/entities/{id}", self.retrieve, "read", TAG,
                parameters=(*SHOW, *WINDOW, "local"), formats=FORMATS, options=options,
                answers={200: "Object", 206: "Object"},
            ),
            route(
                "DELETE", "/temporal/entities/{id}", self.delete, "write", TAG,
                parameters=("local",), answers={204: ""},
            ),
            route(
                "POST", "/temporal/entities/{id}/attrs", self.append, "write", TAG,
                parameters=("local",), accepts="EntityTemporalFragment", answers={204: ""},
            ),
            route(
                "DELETE", "/temporal/entities/{id}/attrs/{attribute}", self.delete_attribute, "write", TAG,
                parameters=("datasetId", "deleteAll", "local"), answers={204: ""},
            ),
            route(
                "PATCH", "/temporal/entities/{id}/attrs/{attribute}/{instance}", self.update_instance,
                "write", TAG, parameters=("local",), accepts="EntityTemporalFragment", answers={204: ""},
            ),
            route(
                "DELETE", "/temporal/entities/{id}/attrs/{attribute}/{instance}", self.delete_instance,
                "write", TAG, parameters=("local",), answers={204: ""},
            ),
            route(
                "POST", "/temporal/entityOperations/query", self.query_by_post, "read", TAG,
                parameters=("limit", "offset", "count", "local", "entityMap", "entityMapLifetime"),
                formats=FORMATS, options=options, accepts="TemporalQuery",
                answers={200: "EntityTemporalList", 206: "EntityTemporalList"},
            ),
        ]  # fmt: skip


def asked_of(values: Mapping[str, Any]) -> Asked:
    """How history is asked for. Raises `BadRequestData`."""
    window = parse_window(
        values.get("timerel"),
        values.get("timeAt"),
        values.get("endTimeAt"),
        values.get("timeproperty"),
        last_n=values.get("lastN"),
        dataset_ids=values.get("datasetId", ()),
    )
    form = _form(values)
    if form != "aggregatedValues":
        return Asked(window, form)
    if "aggrMethods" not in values:
        raise errors.BadRequestData("aggregatedValues needs aggrMethods")
    try:
        period = duration(values["aggrPeriodDuration"]) if "aggrPeriodDuration" in values else Duration()
    except errors.BadRequestData as fault:
        raise errors.BadRequestData(f"aggrPeriodDuration {fault.detail}") from None
    return Asked(window, form, parse_methods(values["aggrMethods"]), period)


def _form(values: Mapping[str, Any]) -> Form:
    """The temporal representation; `format` takes precedence, `options` may hold one (6.3.12)."""
    words = [word for word in FORMATS if word in values.get("options", ())]
    if len(words) > 1:
        raise errors.InvalidRequest(f"options: {' and '.join(words)} exclude each other")
    return FORMS[values.get("format") or (words[0] if words else "normalized")]


def wanted_of(view: View) -> tuple[str, ...]:
    """The attributes whose history is needed, none for all."""
    if view.attributes:
        return tuple(view.attributes)
    members = view.pick.members.keys() if view.pick else ()
    return tuple(name for name in members if name not in ("id", "type", "scope"))


# -- bodies: an EntityTemporal holds arrays of instances that may well share a datasetId (5.2.20)


def _only_attribute(body: dict[str, Any], name: str, iri: str, context: Context) -> Any:
    """The single instance that a fragment of 5.6.14 holds, wrapped in its attribute or bare."""
    inside = next((value for key, value in body.items() if key == name or context.expand(key) == iri), body)
    if isinstance(inside, list):
        if len(inside) != 1:
            raise errors.BadRequestData(f"{name} must hold exactly one instance")
        return inside[0]
    return inside
