"""The console's view of the API: requests made inside this process, as the reader who asked for the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from autocity.api.asgi import Answer, Call, Identity
from autocity.errors import NAMESPACE, CityError, StoreUnavailable

ROOT = "/ngsi-ld/v1"

Document = dict[str, Any]


class Api(Protocol):
    """What answers requests without a network: `api.asgi.Application`, or a stand-in in a test."""

    async def local(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        identity: Identity | None = None,
    ) -> Answer:
        """Answer one request."""


class City:
    """The city as one reader may see it: their identity and tenant go with every request."""

    def __init__(self, api: Api, call: Call) -> None:
        self._api = api
        self._identity = call.identity
        self._tenant = call.tenant

    async def get(self, path: str, *, context: str | None = None, accept: str = "application/json") -> Answer:
        """The answer to a GET. Raises the refusal that the API gave."""
        answer = await self.ask(path, context=context, accept=accept)
        if answer.status >= 400:
            raise refusal(answer)
        return answer

    async def ask(self, path: str, *, context: str | None = None, accept: str = "application/json") -> Answer:
        """The answer to a GET, whatever it is."""
        headers = [("Accept", accept)]
        if context:
            headers.append(("Link", link(context)))
        if self._tenant:
            headers.append(("NGSILD-Tenant", self._tenant))
        return await self._api.local("GET", path, headers, b"", self._identity)

    async def document(self, path: str, *, context: str | None = None) -> Any:
        """The JSON at a path."""
        return msgspec.json.decode((await self.get(path, context=context)).body)

    async def entities(self, *, context: str | None = None, **query: str | int) -> list[Document]:
        """Query Entities (5.7.2) with these query parameters; at most 1000 unless `limit` says less."""
        found = await self.document(entities_path(**{"limit": 1000, **query}), context=context)
        return list(found)

    async def count(self, *, context: str | None = None, **query: str | int) -> int:
        """How many entities match (6.3.13)."""
        answer = await self.get(entities_path(**query, limit=0, count="true"), context=context)
        return results_count(answer)

    async def entity(self, id: str, *, context: str | None = None, **query: str | int) -> Document:
        """Retrieve Entity (5.7.1)."""
        found: Document = await self.document(entity_path(id, **query), context=context)
        return found


def entities_path(**query: str | int) -> str:
    """The path of Query Entities with these parameters."""
    return f"{ROOT}/entities?{urlencode(query)}"


def entity_path(id: str, **query: str | int) -> str:
    """The path of one entity, its id encoded as one segment."""
    return f"{ROOT}/entities/{quote(id, safe='')}" + (f"?{urlencode(query)}" if query else "")


def link(context: str) -> str:
    """The Link header that names a @context (6.3.5)."""
    return f'<{context}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'


def results_count(answer: Answer) -> int:
    """What NGSILD-Results-Count says; 0 when it is absent."""
    return int(next((v for k, v in answer.headers if k.lower() == "ngsild-results-count"), 0))


def refusal(answer: Answer) -> CityError:
    """The refusal that a ProblemDetails answer carries (6.3.2), as the class it was raised with."""
    try:
        problem = msgspec.json.decode(answer.body)
        kind = str(problem["type"]).removeprefix(NAMESPACE)
        detail = str(problem.get("detail") or problem.get("title") or "")
    except (msgspec.DecodeError, TypeError, KeyError):
        return StoreUnavailable(f"the API answered {answer.status} without saying why; try again")
    return next((found for found in _refusals(CityError) if found.name == kind), CityError)(detail)


def _refusals(root: type[CityError]) -> Iterator[type[CityError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _refusals(kind)
