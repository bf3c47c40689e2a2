"""Entity maps over HTTP (CIM 009, 6.32, 6.34, 6.35): made by a query, looked at, prolonged, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autocity import errors
from autocity.api.asgi import Answer, Call, Route
from autocity.api.federation import Shared, alone, asked_by
from autocity.api.negotiate import Desk, arguments, caller, done, route, shape, uri
from autocity.api.ngsild import FORMATS
from autocity.api.ngsild import QUERY as ENTITIES
from autocity.api.queries import from_body, query_of, view_of
from autocity.api.temporal import QUERY, SHOW, WINDOW, asked_of, wanted_of
from autocity.broker import Broker, EntityMap, as_entity
from autocity.ld.context import Context
from autocity.ld.query import Query
from autocity.model import Entity

TAG = "Entity maps"


class Maps:
    """The handlers of everything about entity maps."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)

    async def create(self, call: Call) -> Answer:
        """Create EntityMap for query entities (5.14.4, 6.34.3.1)."""
        values, context = arguments(call), await self._desk.context(call)
        return await self._made(call, values, context)

    async def create_by_post(self, call: Call) -> Answer:
        """Create EntityMap for query entities by a Query body (5.14.4, 6.34.3.2)."""
        values = arguments(call)
        body, context = await self._desk.body(call)
        return await self._made(call, values | from_body(body), context)

    async def create_temporal(self, call: Call) -> Answer:
        """Create EntityMap for query temporal evolution of entities (5.14.5, 6.35.3.1)."""
        values, context = arguments(call), await self._desk.context(call)
        return await self._made_temporal(call, values, context)

    async def create_temporal_by_post(self, call: Call) -> Answer:
        """Create EntityMap for query temporal evolution of entities by a Query body (5.14.5, 6.35.3.2)."""
        values = arguments(call)
        body, context = await self._desk.body(call)
        return await self._made_temporal(call, values | from_body(body), context)

    async def _made(self, call: Call, values: Mapping[str, Any], context: Context) -> Answer:
        view_of(values, context, shape(call))
        query = query_of(values, context)
        if query.order and not alone(call, values):
            raise errors.BadRequestData("orderBy asks one platform only; add local=true (5.7.2.4)")
        shared = await self._shared(call, values, context)
        map = await shared.map_of(shared.question(query), shared.local)
        return await self._told(call, map, 201)

    async def _made_temporal(self, call: Call, values: Mapping[str, Any], context: Context) -> Answer:
        window, wanted = asked_of(values).window, wanted_of(view_of(values, context, shape(call)))
        query = query_of(values, context)
        if window.relation is None:
            raise errors.BadRequestData(
                "a temporal query is needed: timerel, timeAt and what belongs to them"
            )

        async def local(query: Query) -> list[Entity]:
            found, _ = await self._broker.query_temporal(caller(call), query, window, wanted)
            return [as_entity(each) for each in found]

        shared = await self._shared(call, values, context)
        map = await shared.map_of(shared.question(query, window), local)
        return await self._told(call, map, 201)

    async def _shared(self, call: Call, values: Mapping[str, Any], context: Context) -> Shared:
        await self._broker.registrations.catch_up()
        return Shared(self._broker, call, values, asked_by(call, context), nobody=alone(call, values))

    async def retrieve(self, call: Call) -> Answer:
        """Retrieve EntityMap (5.14.1, 6.32.3.1)."""
        arguments(call)
        return await self._told(
            call, await self._broker.entity_maps.get(caller(call).tenant, uri(call, "id"))
        )

    async def update(self, call: Call) -> Answer:
        """Update EntityMap (5.14.2, 6.32.3.2)."""
        arguments(call)
        id = uri(call, "id")
        body, _ = await self._desk.body(call)
        await self._broker.entity_maps.update(caller(call).tenant, id, body)
        return done()

    async def delete(self, call: Call) -> Answer:
        """Delete EntityMap (5.14.3, 6.32.3.3)."""
        arguments(call)
        await self._broker.entity_maps.delete(caller(call).tenant, uri(call, "id"))
        return done()

    async def _told(self, call: Call, map: EntityMap, status: int = 200) -> Answer:
        answer = await self._desk.told(call, map.render(), shape(call), await self._desk.context(call))
        answer.status = status
        return answer

    def routes(self) -> list[Route]:
        """Every route of this module."""
        entities = tuple(name for name in ENTITIES if name != "entityMap")
        history = tuple(name for name in (*QUERY, *SHOW, *WINDOW) if name != "entityMap")
        options = (*FORMATS, "sysAttrs")
        made = {201: "EntityMap"}
        return [
            route(
                "GET", "/entityMaps", self.create, "read", TAG,
                parameters=entities, formats=FORMATS, options=options, answers=made,
            ),
            route(
                "POST", "/entityMaps", self.create_by_post, "read", TAG,
                parameters=("local", "entityMapLifetime"), accepts="Query", answers=made,
            ),
            route(
                "GET", "/temporal/entityMaps", self.create_temporal, "read", TAG,
                parameters=history, options=("sysAttrs",), answers=made,
            ),
            route(
                "POST", "/temporal/entityMaps", self.create_temporal_by_post, "read", TAG,
                parameters=("local", "entityMapLifetime"), accepts="TemporalQuery", answers=made,
            ),
            route("GET", "/entityMaps/{id}", self.retrieve, "read", TAG, answers={200: "EntityMap"}),
            route(
                "PATCH", "/entityMaps/{id}", self.update, "read", TAG,
                accepts="EntityMapFragment", answers={204: ""},
            ),
            route("DELETE", "/entityMaps/{id}", self.delete, "read", TAG, answers={204: ""}),
        ]  # fmt: skip
