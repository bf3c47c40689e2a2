"""Snapshots over HTTP (CIM 009, 6.36 to 6.38): created, cloned, looked at, changed, deleted, purged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec.structs import replace

from autocity import errors
from autocity.api.asgi import Answer, Call, Route
from autocity.api.federation import Shared, as_history, asked_by
from autocity.api.negotiate import Desk, arguments, created, done, owner, route, shape, uri
from autocity.api.queries import from_body, query_of
from autocity.api.temporal import asked_of
from autocity.broker import Broker, History, as_entity
from autocity.ld.context import Context
from autocity.ld.query import Query
from autocity.model import Entity

TAG = "Snapshots"


class Freezing:
    """The handlers of everything about snapshots."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)

    async def create(self, call: Call) -> Answer:
        """Create snapshot (5.16.1, 6.36.3.1)."""
        arguments(call)
        body, context = await self._desk.body(call)
        await self._broker.registrations.catch_up()
        fills = [self._fill(call, each, context) for each in _queries(body, "snapshotQueries")]
        temporal = [
            self._fill_history(call, each, context) for each in _queries(body, "snapshotTemporalQueries")
        ]
        id = await self._broker.snapshots.create(owner(call).tenant, body, fills, temporal)
        return created("/snapshots", id)

    async def clone(self, call: Call) -> Answer:
        """Clone snapshot (5.16.2, 6.38.3.1)."""
        arguments(call)
        body, _ = await self._desk.body(call)
        id = await self._broker.snapshots.clone(owner(call).tenant, uri(call, "id"), body)
        return created("/snapshots", id)

    async def retrieve(self, call: Call) -> Answer:
        """Retrieve snapshot status (5.16.3, 6.37.3.1)."""
        arguments(call)
        found = await self._broker.snapshots.get(owner(call).tenant, uri(call, "id"))
        return await self._desk.told(call, found.render(), shape(call), await self._desk.context(call))

    async def update(self, call: Call) -> Answer:
        """Update snapshot status (5.16.4, 6.37.3.2)."""
        arguments(call)
        id, form = uri(call, "id"), shape(call)
        body, context = await self._desk.body(call)
        found = await self._broker.snapshots.update(owner(call).tenant, id, body)
        return await self._desk.told(call, found.render(), form, context)

    async def delete(self, call: Call) -> Answer:
        """Delete snapshot (5.16.5, 6.37.3.3)."""
        arguments(call)
        await self._broker.snapshots.delete(owner(call).tenant, uri(call, "id"))
        return done()

    async def purge(self, call: Call) -> Answer:
        """Purge snapshots (5.16.7, 6.36.3.2)."""
        values = arguments(call)
        if "q" not in values:
            raise errors.BadRequestData("q is needed; it says which snapshots to delete")
        await self._broker.snapshots.purge(owner(call).tenant, values["q"])
        return done()

    def _fill(
        self, call: Call, said: dict[str, Any], context: Context
    ) -> Callable[[], Awaitable[list[Entity]]]:
        """One query of a snapshot, checked and ready to run. Raises BadRequestData."""
        if "temporalQ" in said:
            raise errors.BadRequestData("a query in snapshotQueries has no temporalQ (5.2.41)")
        values = from_body(said)
        shared = Shared(self._broker, call, values, replace(asked_by(call, context), caller=owner(call)))
        question = shared.question(replace(query_of(values, context), order=()))

        async def fill() -> list[Entity]:
            return (await shared.gather(question, shared.local)).entities

        return fill

    def _fill_history(
        self, call: Call, said: dict[str, Any], context: Context
    ) -> Callable[[], Awaitable[list[History]]]:
        """One temporal query of a snapshot, checked and ready to run. Raises BadRequestData."""
        if "temporalQ" not in said:
            raise errors.BadRequestData("a query in snapshotTemporalQueries has a temporalQ (5.2.41)")
        values = from_body(said)
        window = asked_of(values).window
        asked = replace(asked_by(call, context), caller=owner(call))
        shared = Shared(self._broker, call, values, asked)
        question = shared.question(query_of(values, context), window)

        async def local(query: Query) -> list[Entity]:
            found, _ = await self._broker.query_temporal(asked.caller, query, window)
            return [as_entity(each) for each in found]

        async def fill() -> list[History]:
            found = await shared.gather(question, local)
            return [as_history(each, window) for each in found.entities]

        return fill

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            route("POST", "/snapshots", self.create, "write", TAG, accepts="Snapshot", answers={201: ""}),
            route(
                "DELETE", "/snapshots", self.purge, "write", TAG, parameters=("q",), answers={204: ""},
            ),
            route("GET", "/snapshots/{id}", self.retrieve, "read", TAG, answers={200: "Object"}),
            route(
                "PATCH", "/snapshots/{id}", self.update, "write", TAG,
                accepts="SnapshotFragment", answers={200: "Object"},
            ),
            route("DELETE", "/snapshots/{id}", self.delete, "write", TAG, answers={204: ""}),
            route(
                "POST", "/snapshots/{id}/clone", self.clone, "write", TAG,
                accepts="SnapshotFragment", answers={201: ""},
            ),
        ]  # fmt: skip


def _queries(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The queries of a snapshot. Raises BadRequestData unless each is an object."""
    said = body.get(name, [])
    if not isinstance(said, list) or not all(isinstance(each, dict) for each in said):
        raise errors.BadRequestData(f"{name} must be an array of Query objects")
    return said
