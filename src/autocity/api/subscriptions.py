"""Subscriptions over HTTP (CIM 009, 6.10, 6.11), and what waits to be delivered for them."""

from __future__ import annotations

from typing import Any

from autocity.api.asgi import Answer, Call, Route
from autocity.api.negotiate import (
    DEFAULT_LIMIT,
    Desk,
    arguments,
    caller,
    created,
    done,
    page_links,
    route,
    shape,
    uri,
)
from autocity.broker import Broker, Subscription
from autocity.ld.context import Context

TAG = "Subscriptions"


class Subscribing:
    """The handlers of everything about subscriptions."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)

    async def create(self, call: Call) -> Answer:
        """Create subscription (5.8.1, 6.10.3.1)."""
        arguments(call)
        body, context = await self._desk.body(call)
        id = await self._broker.create_subscription(caller(call), body, context)
        return created("/subscriptions", id)

    async def query(self, call: Call) -> Answer:
        """Query subscriptions (5.8.4, 6.10.3.2)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        limit, offset = values.get("limit", DEFAULT_LIMIT), values.get("offset", 0)
        found, total = await self._broker.query_subscriptions(caller(call), limit=limit, offset=offset)
        told = [self._show(each, values, context) for each in found]
        answer = await self._desk.told(call, told, form, context)
        if values.get("count"):
            answer.headers.append(("NGSILD-Results-Count", str(total)))
        if limit:
            answer.headers += page_links(call, form.media, limit, offset, offset + len(found) < total)
        return answer

    async def retrieve(self, call: Call) -> Answer:
        """Retrieve subscription (5.8.3, 6.11.3.1)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        found = await self._broker.retrieve_subscription(caller(call), uri(call, "id"))
        return await self._desk.told(call, self._show(found, values, context), form, context)

    async def update(self, call: Call) -> Answer:
        """Update subscription (5.8.2, 6.11.3.2)."""
        arguments(call)
        id = uri(call, "id")
        body, context = await self._desk.body(call)
        await self._broker.update_subscription(caller(call), id, body, context)
        return done()

    async def delete(self, call: Call) -> Answer:
        """Delete subscription (5.8.5, 6.11.3.3)."""
        arguments(call)
        await self._broker.delete_subscription(caller(call), uri(call, "id"))
        return done()

    def _show(self, subscription: Subscription, values: dict[str, Any], context: Context) -> dict[str, Any]:
        sys_attrs = "sysAttrs" in values.get("options", ())
        return self._broker.subscriptions.render(subscription, context, sys_attrs=sys_attrs)

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            route(
                "POST", "/subscriptions", self.create, "subscribe", TAG,
                accepts="Subscription", answers={201: ""},
            ),
            route(
                "GET", "/subscriptions", self.query, "read", TAG,
                parameters=("limit", "offset", "count"), options=("sysAttrs",),
                answers={200: "SubscriptionList"},
            ),
            route(
                "GET", "/subscriptions/{id}", self.retrieve, "read", TAG,
                options=("sysAttrs",), answers={200: "Object"},
            ),
            route(
                "PATCH", "/subscriptions/{id}", self.update, "subscribe", TAG,
                accepts="SubscriptionFragment", answers={204: ""},
            ),
            route("DELETE", "/subscriptions/{id}", self.delete, "subscribe", TAG, answers={204: ""}),
        ]  # fmt: skip
