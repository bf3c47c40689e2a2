"""Stored @contexts over HTTP (CIM 009, 5.13, 6.29, 6.30): added, listed, served, deleted, fetched anew."""

from __future__ import annotations

import msgspec

from autocity import errors
from autocity.api.asgi import Answer, Call, Route
from autocity.api.negotiate import (
    JSON,
    accepted,
    arguments,
    content_type,
    created,
    decode,
    done,
    route,
)
from autocity.broker import Contexts

TAG = "Contexts"


class Hosting:
    """The handlers of everything about stored @contexts."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts

    async def add(self, call: Call) -> Answer:
        """Add @context (5.13.2, 6.29.3.1)."""
        arguments(call)
        content_type(call.headers.get("content-type"), call.method)
        body = decode(call.body)
        if not isinstance(body, dict) or "@context" not in body:
            raise errors.InvalidRequest("the body must be a JSON object with an @context")
        return created("/jsonldContexts", await self._contexts.add(body, call.tenant))

    async def list_all(self, call: Call) -> Answer:
        """List @contexts (5.13.3, 6.29.3.2)."""
        values = arguments(call)
        accepted(call.headers.get("accept"), False)
        found = await self._contexts.list(values.get("kind"), call.tenant)
        told = [self._contexts.describe(each) if values.get("details") else each.url for each in found]
        return Answer(body=msgspec.json.encode(told), media=JSON)

    async def serve(self, call: Call) -> Answer:
        """Serve @context (5.13.4, 6.30.3.1)."""
        values = arguments(call)
        media = accepted(call.headers.get("accept"), False)
        id = call.params["id"]
        if values.get("details"):
            return Answer(body=msgspec.json.encode(await self._contexts.details(id, call.tenant)), media=JSON)
        return Answer(body=await self._contexts.serve(id, call.tenant), media=media)

    async def delete(self, call: Call) -> Answer:
        """Delete and reload @context (5.13.5, 6.30.3.2)."""
        values = arguments(call)
        reload = values.get("reload", False)
        await self._contexts.delete(call.params["id"], reload=reload, tenant=call.tenant)
        return done()

    def routes(self) -> list[Route]:
        """Every route of this module. Serving is public: a context is there to be fetched by strangers."""
        return [
            route("POST", "/jsonldContexts", self.add, "write", TAG, accepts="Context", answers={201: ""}),
            route(
                "GET", "/jsonldContexts", self.list_all, "read", TAG,
                parameters=("details", "kind"), answers={200: "ContextList"},
            ),
            route(
                "GET", "/jsonldContexts/{id*}", self.serve, "public", TAG,
                parameters=("details",), answers={200: "Context"},
            ),
            route(
                "DELETE", "/jsonldContexts/{id*}", self.delete, "write", TAG,
                parameters=("reload",), answers={204: ""},
            ),
        ]  # fmt: skip
