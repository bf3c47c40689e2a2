"""Batches of entities over HTTP (CIM 009, 6.14 to 6.17, 6.31): each element succeeds or fails by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import msgspec

from autocity.api import errors as problems
from autocity.api.asgi import Answer, Call, Route
from autocity.api.negotiate import JSON, Desk, arguments, caller, content_type, decode, done, is_uri, route
from autocity.broker import BatchResult, Broker
from autocity.errors import BadRequestData, CityError, InvalidRequest
from autocity.ld.context import Context
from autocity.ld.entity import parse_entity, parse_fragment
from autocity.model import Fragment

TAG = "Batches"

Parsed = TypeVar("Parsed")
Refused = list[tuple[str, CityError]]


class Batches:
    """The handlers of the batch operations."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)

    async def create(self, call: Call) -> Answer:
        """Batch entity creation (5.6.7, 6.14.3.1)."""
        arguments(call)
        entities, refused = await self._read(call, parse_entity)
        result = await self._broker.create_entities(caller(call), entities)
        return _answer(result, refused)

    async def upsert(self, call: Call) -> Answer:
        """Batch entity creation or update (5.6.8, 6.15.3.1)."""
        options = arguments(call).get("options", ())
        if len(options) > 1:
            raise InvalidRequest("options: replace and update exclude each other")
        entities, refused = await self._read(call, parse_entity)
        result = await self._broker.upsert_entities(caller(call), entities, update="update" in options)
        return _answer(result, refused)

    async def update(self, call: Call) -> Answer:
        """Batch entity update (5.6.9, 6.16.3.1)."""
        overwrite = "noOverwrite" not in arguments(call).get("options", ())
        fragments, refused = await self._read(call, partial(_fragment, partial=False))
        result = await self._broker.update_entities(caller(call), fragments, overwrite=overwrite)
        return _answer(result, refused)

    async def merge(self, call: Call) -> Answer:
        """Batch entity merge (5.6.20, 6.31.3.1)."""
        arguments(call)
        fragments, refused = await self._read(call, partial(_fragment, partial=True))
        return _answer(await self._broker.merge_entities(caller(call), fragments), refused)

    async def delete(self, call: Call) -> Answer:
        """Batch entity delete (5.6.10, 6.17.3.1)."""
        arguments(call)
        content_type(call.headers.get("content-type"), call.method)
        ids = decode(call.body)
        if not isinstance(ids, list) or not ids:
            raise BadRequestData("the body must be a JSON array of entity ids, at least one")
        valid = [id for id in ids if isinstance(id, str) and is_uri(id)]
        refused: Refused = [(str(id), BadRequestData(f"{id!r} is no URI")) for id in ids if id not in valid]
        return _answer(await self._broker.delete_entities(caller(call), valid), refused)

    async def _read(
        self, call: Call, parse: Callable[[Any, Context], Parsed]
    ) -> tuple[list[Parsed], Refused]:
        """What of a batch can be understood, and the refusal of each other element."""
        parsed: list[Parsed] = []
        refused: Refused = []
        for item, context in await self._desk.items(call):
            try:
                if isinstance(context, CityError):
                    raise context
                parsed.append(parse(item, context))
            except CityError as refusal:
                id = item.get("id") if isinstance(item, dict) else None
                refused.append((id if isinstance(id, str) else "", refusal))
        return parsed, refused

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            route(
                "POST", "/entityOperations/create", self.create, "write", TAG,
                parameters=("local",), accepts="Entities", answers={201: "Ids", 207: "BatchOperationResult"},
            ),
            route(
                "POST", "/entityOperations/upsert", self.upsert, "write", TAG,
                parameters=("local",), options=("replace", "update"), accepts="Entities",
                answers={201: "Ids", 204: "", 207: "BatchOperationResult"},
            ),
            route(
                "POST", "/entityOperations/update", self.update, "write", TAG,
                parameters=("local",), options=("noOverwrite",), accepts="Entities",
                answers={204: "", 207: "BatchOperationResult"},
            ),
            route(
                "POST", "/entityOperations/merge", self.merge, "write", TAG,
                parameters=("local",), accepts="Entities", answers={204: "", 207: "BatchOperationResult"},
            ),
            route(
                "POST", "/entityOperations/delete", self.delete, "write", TAG,
                parameters=("local",), accepts="Ids", answers={204: "", 207: "BatchOperationResult"},
            ),
        ]  # fmt: skip


def _fragment(item: Any, context: Context, *, partial: bool) -> Fragment:
    fragment = parse_fragment(item, context, partial=partial)
    if fragment.id is None:
        raise BadRequestData("an element of a batch needs an id")
    return fragment


def _answer(result: BatchResult, refused: Refused) -> Answer:
    """What became of a batch: 207 with a BatchOperationResult (5.2.16) unless all went well."""
    failed = [*refused, *result.errors]
    if failed:
        body = {
            "success": result.success,
            "errors": [{"entityId": id, "error": problems.problem(error)} for id, error in failed],
        }
        return Answer(status=207, body=msgspec.json.encode(body), media=JSON)
    if result.created:
        return Answer(status=201, body=msgspec.json.encode(result.created), media=JSON)
    return done()
