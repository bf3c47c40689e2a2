"""Context sources over HTTP (CIM 009, 6.8, 6.9, 6.12, 6.13): registered, found, and subscribed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from autocity import errors
from autocity.api.asgi import Answer, Call, Route
from autocity.api.negotiate import (
    DEFAULT_LIMIT,
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
from autocity.api.queries import geo_of, paths, selectors_of
from autocity.broker import REMOTE_NOTIFICATIONS, Broker, Seek, Subscription
from autocity.ld.context import Context
from autocity.ld.query import ENTITY_MEMBERS, parse_q, parse_scope
from autocity.ld.temporal import parse_window

TAG = "Context sources"
WINDOW = ("timerel", "timeAt", "endTimeAt", "timeproperty")
SEEK = (
    "id", "idPattern", "type", "attrs", "pick", "omit", "q", "csf", "scopeQ", "georel", "geometry",
    "coordinates", "geoproperty", "geometryProperty", "datasetId", "lang", *WINDOW,
)  # fmt: skip
PAGE = ("limit", "offset", "count")


class Registering:
    """The handlers of everything about context sources."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)

    # -- registrations (5.9, 5.10)

    async def register(self, call: Call) -> Answer:
        """Register context source (5.9.2, 6.8.3.1)."""
        arguments(call)
        body, context = await self._desk.body(call)
        return created(
            "/csourceRegistrations", await self._broker.create_registration(caller(call), body, context)
        )

    async def query(self, call: Call) -> Answer:
        """Query context source registrations (5.10.2, 6.8.3.2)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        found = await self._broker.query_registrations(caller(call), seek_of(values, context))
        shown = self._broker.registrations.render
        sys_attrs = "sysAttrs" in values.get("options", ())
        page = found[values.get("offset", 0) :][: values.get("limit", DEFAULT_LIMIT)]
        told = [shown(each, context, sys_attrs=sys_attrs) for each in page]
        return await self._page(call, values, form, context, told, len(found))

    async def retrieve(self, call: Call) -> Answer:
        """Retrieve context source registration (5.10.1, 6.9.3.1)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        found = await self._broker.retrieve_registration(caller(call), uri(call, "id"))
        sys_attrs = "sysAttrs" in values.get("options", ())
        told = self._broker.registrations.render(found, context, sys_attrs=sys_attrs)
        return await self._desk.told(call, told, form, context)

    async def update(self, call: Call) -> Answer:
        """Update context source registration (5.9.3, 6.9.3.2)."""
        arguments(call)
        id = uri(call, "id")
        body, context = await self._desk.body(call)
        await self._broker.update_registration(caller(call), id, body, context)
        return done()

    async def delete(self, call: Call) -> Answer:
        """Delete context source registration (5.9.4, 6.9.3.3)."""
        arguments(call)
        await self._broker.delete_registration(caller(call), uri(call, "id"))
        return done()

    # -- subscriptions to them (5.11)

    async def subscribe(self, call: Call) -> Answer:
        """Create context source registration subscription (5.11.2, 6.12.3.1)."""
        arguments(call)
        body, context = await self._desk.body(call)
        return created(
            "/csourceSubscriptions", await self._broker.subscribe_to_sources(caller(call), body, context)
        )

    async def query_subscriptions(self, call: Call) -> Answer:
        """Query context source registration subscriptions (5.11.5, 6.12.3.2)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        found = await self._broker.query_subscriptions_to_sources(caller(call))
        page = found[values.get("offset", 0) :][: values.get("limit", DEFAULT_LIMIT)]
        told = [self._show(each, values, context) for each in page]
        return await self._page(call, values, form, context, told, len(found))

    async def retrieve_subscription(self, call: Call) -> Answer:
        """Retrieve context source registration subscription (5.11.4, 6.13.3.1)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        found = await self._broker.retrieve_subscription_to_sources(caller(call), uri(call, "id"))
        return await self._desk.told(call, self._show(found, values, context), form, context)

    async def update_subscription(self, call: Call) -> Answer:
        """Update context source registration subscription (5.11.3, 6.13.3.2)."""
        arguments(call)
        id = uri(call, "id")
        body, context = await self._desk.body(call)
        await self._broker.update_subscription_to_sources(caller(call), id, body, context)
        return done()

    async def delete_subscription(self, call: Call) -> Answer:
        """Delete context source registration subscription (5.11.6, 6.13.3.3)."""
        arguments(call)
        await self._broker.delete_subscription_to_sources(caller(call), uri(call, "id"))
        return done()

    async def notified(self, call: Call) -> Answer:
        """Notification of a context source (5.8.6)."""
        arguments(call)
        body, context = await self._desk.body(call)
        await self._broker.copies.receive(body, context)
        return Answer()

    def _show(
        self, subscription: Subscription, values: Mapping[str, Any], context: Context
    ) -> dict[str, Any]:
        sys_attrs = "sysAttrs" in values.get("options", ())
        return self._broker.subscriptions.render(subscription, context, sys_attrs=sys_attrs)

    async def _page(
        self,
        call: Call,
        values: Mapping[str, Any],
        form: Shape,
        context: Context,
        told: list[dict[str, Any]],
        total: int,
    ) -> Answer:
        answer = await self._desk.told(call, told, form, context)
        limit, offset = values.get("limit", DEFAULT_LIMIT), values.get("offset", 0)
        if values.get("count"):
            answer.headers.append(("NGSILD-Results-Count", str(total)))
        if limit:
            answer.headers += page_links(call, form.media, limit, offset, offset + len(told) < total)
        return answer

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            route(
                "POST", "/csourceRegistrations", self.register, "write", TAG,
                accepts="Registration", answers={201: ""},
            ),
            route(
                "GET", "/csourceRegistrations", self.query, "read", TAG,
                parameters=(*SEEK, *PAGE), options=("sysAttrs",), answers={200: "RegistrationList"},
            ),
            route(
                "GET", "/csourceRegistrations/{id}", self.retrieve, "read", TAG,
                options=("sysAttrs",), answers={200: "Object"},
            ),
            route(
                "PATCH", "/csourceRegistrations/{id}", self.update, "write", TAG,
                accepts="RegistrationFragment", answers={204: ""},
            ),
            route(
                "DELETE", "/csourceRegistrations/{id}", self.delete, "write", TAG, answers={204: ""},
            ),
            route(
                "POST", "/csourceSubscriptions", self.subscribe, "subscribe", TAG,
                accepts="Subscription", answers={201: ""},
            ),
            route(
                "GET", "/csourceSubscriptions", self.query_subscriptions, "read", TAG,
                parameters=PAGE, options=("sysAttrs",), answers={200: "SubscriptionList"},
            ),
            route(
                "GET", "/csourceSubscriptions/{id}", self.retrieve_subscription, "read", TAG,
                options=("sysAttrs",), answers={200: "Object"},
            ),
            route(
                "PATCH", "/csourceSubscriptions/{id}", self.update_subscription, "subscribe", TAG,
                accepts="SubscriptionFragment", answers={204: ""},
            ),
            route(
                "DELETE", "/csourceSubscriptions/{id}", self.delete_subscription, "subscribe", TAG,
                answers={204: ""},
            ),
            # Public: who knows the id of a copy is the source that was given it.
            replace(
                route("POST", "", self.notified, "public", TAG, accepts="Object", answers={200: ""}),
                path=REMOTE_NOTIFICATIONS,
            ),
        ]  # fmt: skip


def seek_of(values: Mapping[str, Any], context: Context) -> Seek:
    """What sources are looked for (5.10.2). Raises BadRequestData, also for a query that is too wide."""
    q = parse_q(values["q"], context.expand) if "q" in values else None
    attributes = {*map(context.expand, values.get("attrs", ()))}
    attributes.update(name for path in paths(q) if (name := path.names[0]) not in ENTITY_MEMBERS)
    geo = geo_of(values, context)
    window = parse_window(*(values.get(name) for name in WINDOW))
    selectors = selectors_of(values, context)
    if not attributes and geo is None and not any(each.types for each in selectors) and not _any_type(values):
        raise errors.BadRequestData("the query is too wide; give type, attrs, q or georel")
    return Seek(
        selectors=selectors,
        attributes=frozenset(attributes),
        dataset_ids=frozenset(values.get("datasetId", ())),
        geo=geo,
        scopes=parse_scope(values["scopeQ"]) if "scopeQ" in values else None,
        csf=parse_q(values["csf"], context.expand) if "csf" in values else None,
        window=window if window.relation is not None else None,
        strict=True,
    )


def _any_type(values: Mapping[str, Any]) -> bool:
    return values.get("type") == "*"
