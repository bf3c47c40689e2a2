"""The one way in which commands reach a city: requests to its API, over the network (`--url`) or in
this process on a data folder (`--data`), with the same answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import typer
from msgspec import Struct

from autocity.cli.say import Refusal

Url = typer.Option("http://127.0.0.1:8026", "--url", help="A running city.", envvar="AUTOCITY_URL")
TokenOption = typer.Option(None, "--token", help="API token for a running city.", envvar="AUTOCITY_TOKEN")
Data = typer.Option(None, "--data", help="A data folder, when no server is running on it.")
Tenant = typer.Option("", "--tenant", help="The tenant to work in.")


class Reply(Struct, frozen=True):
    """What the API said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else None


class City(Protocol):
    """A city that can be asked."""

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply: ...


@asynccontextmanager
async def reach(url: str, token: str | None, data: Path | None, tenant: str = "") -> AsyncIterator[City]:
    """The city in the data folder when one is given, else the running one at `url`."""
    common = {"NGSILD-Tenant": tenant} if tenant else {}
    if data is not None:
        async with _here(data, common) as city:
            yield city
    else:
        async with _there(url.rstrip("/"), token, common) as city:
            yield city


@asynccontextmanager
async def _here(data: Path, common: Mapping[str, str]) -> AsyncIterator[City]:
    from autocity import config, main
    from autocity.broker.identity import PLATFORM

    settings = config.load(flags={"store.data": str(data), "network.allow_private": True})

    class Here:
        async def request(
            self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
        ) -> Reply:
            sent = [*common.items(), *(headers or {}).items()]
            answer = await city.application.local(method, path, sent, body, PLATFORM)
            found = {name.lower(): value for name, value in answer.headers}
            return Reply(answer.status, found, answer.body)

    async with main.assemble(settings) as city:
        yield Here()


@asynccontextmanager
async def _there(url: str, token: str | None, common: Mapping[str, str]) -> AsyncIterator[City]:
    import aiohttp

    always = dict(common) | ({"Authorization": f"Bearer {token}"} if token else {})
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:

        class There:
            async def request(
                self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
            ) -> Reply:
                try:
                    async with session.request(
                        method, _address(url, path), data=body or None, headers={**always, **(headers or {})}
                    ) as answer:
                        found = {name.lower(): value for name, value in answer.headers.items()}
                        return Reply(answer.status, found, await answer.read())
                except aiohttp.ClientConnectionError as fault:
                    raise Refusal(
                        f"No city answers at {url} ({fault.__class__.__name__}). "
                        "Start one with `autocity serve`, name it with --url, or use a folder with --data."
                    ) from None

        yield There()


def _address(url: str, path: str) -> Any:
    from yarl import URL

    return URL(url + path, encoded=True)


def expect(reply: Reply, *allowed: int) -> Reply:
    """The reply when its status is one of `allowed` (default: any success), else a Refusal."""
    if reply.status in allowed or (not allowed and 200 <= reply.status < 300):
        return reply
    try:
        problem = reply.json() or {}
        text = f"{problem.get('title', 'Refused')}: {problem.get('detail', '')}".rstrip(": ")
    except (msgspec.DecodeError, AttributeError):
        text = reply.body.decode("utf-8", "replace")[:300]
    mend = " Give a token with --token." if reply.status == 401 else ""
    raise Refusal(f"{text} ({reply.status}).{mend}")


class ApiSink:
    """Takes imported entities to the API (see `ingest.files.Sink`)."""

    def __init__(self, city: City) -> None:
        self._city = city

    async def upsert(self, entities: Sequence[dict[str, Any]]) -> Sequence[str | None]:
        """Batch upsert with update (5.6.8): per entity None, or why it was refused."""
        bodies = [_in_context(entity) for entity in entities]
        reply = await self._post("/ngsi-ld/v1/entityOperations/upsert?options=update", bodies)
        return _per_entity(reply, [str(e.get("id")) for e in entities])

    async def record(self, histories: Sequence[dict[str, Any]]) -> Sequence[str | None]:
        """Temporal upsert (5.6.11), one by one: per history None, or why it was refused."""
        outcome: list[str | None] = []
        for history in histories:
            reply = await self._post("/ngsi-ld/v1/temporal/entities", _in_context(history))
            outcome.append(None if reply.status < 300 else _reason(reply))
        return outcome

    async def _post(self, path: str, body: Any) -> Reply:
        reply = await self._city.request(
            "POST", path, msgspec.json.encode(body), {"Content-Type": "application/ld+json"}
        )
        return expect(reply, reply.status) if reply.status not in (401, 403) else expect(reply)


def _in_context(body: dict[str, Any]) -> dict[str, Any]:
    """The body with an @context, the core one when it has none."""
    from autocity.ld.context import CORE_URL

    return body if "@context" in body else {"@context": CORE_URL, **body}


def _per_entity(reply: Reply, ids: Sequence[str]) -> list[str | None]:
    if reply.status in (201, 204):
        return [None] * len(ids)
    if reply.status != 207:
        return [_reason(reply)] * len(ids)
    refused = {}
    for entry in reply.json().get("errors", []):
        error = entry.get("error", {})
        refused[entry.get("entityId")] = f"{error.get('title', 'refused')}: {error.get('detail', '')}".rstrip(
            ": "
        )
    return [refused.get(id) for id in ids]


def _reason(reply: Reply) -> str:
    try:
        problem = reply.json() or {}
        return f"{problem.get('title', reply.status)}: {problem.get('detail', '')}".rstrip(": ")
    except (msgspec.DecodeError, AttributeError):
        return f"refused with {reply.status}"
