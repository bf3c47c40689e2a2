"""Where @contexts come from: built in, hosted here, or fetched once and kept (5.5.5, 5.13).

What was fetched is kept durably, so that a city that has lost its network still understands its
clients, and is renewed in the background when its time is up. Compiled contexts are remembered by
what the client said.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.broker.outbound import Outbound
from autocity.errors import (
    BadRequestData,
    LdContextNotAvailable,
    OperationNotSupported,
    ResourceNotFound,
)
from autocity.ld import context as language
from autocity.ld.context import CORE, Context, Source
from autocity.ld.instants import SECOND, timestamp
from autocity.model import Instant
from autocity.store.port import Commit, RecordWrite, Store

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

Kind = Literal["Cached", "Hosted", "ImplicitlyCreated"]

PATH = "/ngsi-ld/v1/jsonldContexts/"
RECORD = "context"
MAX_BYTES = 2**20
MAX_REDIRECTS = 3
CONNECT_SECONDS = 2.0
TOTAL_SECONDS = 5.0
MAX_COMPILED = 1000
MAX_CACHED = 1000
DAY = 86_400 * SECOND
LEAST_AGE, USUAL_AGE, MOST_AGE = 60 * SECOND, DAY, 7 * DAY
RETRY_AFTER = 30 * SECOND
"""How long a URL that timed out is not asked again; one that refused at once may be asked at once."""


class Served(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stored @context: its document as JSON and what is known of it (5.13.3.5)."""

    id: str
    url: str
    kind: Kind
    created_at: Instant
    document: msgspec.Raw = msgspec.Raw(b"{}")
    tenant: str = ""
    expires_at: Instant = 0
    etag: str = ""


class Use:
    """How often an entry was found (5.13.3.5), counted since this process started."""

    __slots__ = ("hits", "last")

    def __init__(self) -> None:
        self.hits = 0
        self.last: Instant = 0


class Compiled(Struct, frozen=True):
    """A compiled context, the entries it was made of, and when the first of them is to be renewed."""

    context: Context
    parts: tuple[str, ...]
    stale_at: Instant


class Contexts:
    """Resolves what clients say as @context.

    `built_in` maps URL to document (with `@context`); these never leave the process. `base_url` is
    where hosted contexts are served from, such as `http://host:port/ngsi-ld/v1/jsonldContexts/`.
    Hosted contexts belong to the tenant that added them; fetched ones serve all.
    """

    def __init__(
        self,
        store: Store,
        built_in: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], Instant],
        outbound: Outbound,
        base_url: str = PATH,
    ) -> None:
        self._store = store
        self._built_in = dict(built_in or {})
        self._clock = clock
        self._outbound = outbound
        self._base_url = base_url
        self._entries: dict[str, Served] = {}
        self._by_url: dict[str, str] = {}
        self._uses: dict[str, Use] = {}
        self._compiled: dict[tuple[str, str | bytes], Compiled] = {}
        self._failed: dict[str, tuple[Instant, str]] = {}
        self._fetching: dict[str, asyncio.Task[Served]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Read what is stored."""
        for record in await self._store.records(None, RECORD):
            self._remember(msgspec.json.decode(record.body, type=Served))

    async def close(self) -> None:
        """Break off what is being fetched."""
        for task in list(self._fetching.values()):
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    # -- resolving

    def known(self, source: Source | None, tenant: str = "") -> Context | None:
        """The compiled context when it was resolved before and is still good (the hot path), else None."""
        if source is None:
            return CORE
        compiled = self._compiled.get((tenant, key_of(source)))
        if compiled is None:
            return None
        now = self._clock()
        if compiled.stale_at <= now:
            return None
        for part in compiled.parts:
            self._use(part, now)
        return compiled.context

    async def resolve(self, source: Source | None, tenant: str = "") -> Context:
        """The compiled context of a URL, object, array or None (the core alone).
        Raises LdContextNotAvailable, BadRequestData."""
        context = self.known(source, tenant)
        if context is not None:
            return context
        check_form(source)
        parts: list[str] = []
        context = await language.compile(source, partial(self._load, tenant, parts))
        entries = [self._entries[part] for part in parts if part in self._entries]
        stale_at = min((entry.expires_at for entry in entries if entry.expires_at), default=2**62)
        if len(self._compiled) >= MAX_COMPILED:
            # The oldest goes; if it is still in use it comes back, compiled from what is kept.
            self._compiled.pop(next(iter(self._compiled)))
        # A part that could not be renewed goes on to serve; it is asked for again after a while.
        stale_at = max(stale_at, self._clock() + RETRY_AFTER)
        self._compiled[tenant, key_of(source)] = Compiled(context, tuple(parts), stale_at)
        return context

    async def host(self, source: Source, tenant: str = "") -> str:
        """The URL under which a context that has none can be referred to (5.13.1, ImplicitlyCreated)."""
        id = hashlib.sha256(tenant.encode() + b"\0" + msgspec.json.encode(source)).hexdigest()[:32]
        if id not in self._entries:
            await self._keep(
                Served(
                    id=id,
                    url=self._base_url + id,
                    kind="ImplicitlyCreated",
                    created_at=self._clock(),
                    document=msgspec.Raw(msgspec.json.encode({"@context": source})),
                    tenant=tenant,
                )
            )
        return self._entries[id].url

    async def _load(self, tenant: str, parts: list[str], url: str) -> Any:
        """The document behind a URL, wherever it is nearest."""
        if url in self._built_in:
            return self._built_in[url]
        now = self._clock()
        entry = await self._hosted(tenant, url) or self._cached(url)
        if entry is None:
            entry = await self._fetch(url)
        elif entry.expires_at and entry.expires_at <= now:
            self._renew(entry)
        parts.append(entry.id)
        self._use(entry.id, now)
        return msgspec.json.decode(entry.document)

    async def _hosted(self, tenant: str, url: str) -> Served | None:
        """The entry that a URL of ours names. Its host is not looked at: a server has several names,
        and an id cannot be guessed."""
        _, found, id = url.partition(PATH)
        entry = await self._entry(tenant, id) if found and re.fullmatch("[0-9a-f]{32}", id) else None
        return entry if entry is not None and entry.tenant == tenant else None

    def _cached(self, url: str) -> Served | None:
        id = self._by_url.get(url)
        return self._entries.get(id) if id else None

    async def _entry(self, tenant: str, id: str) -> Served | None:
        """An entry by local id, also one that another process has stored meanwhile."""
        if id not in self._entries:
            for owner in dict.fromkeys((tenant, "")):
                record = await self._store.record(owner, RECORD, id)
                if record is not None:
                    self._remember(msgspec.json.decode(record.body, type=Served))
        return self._entries.get(id)

    def _use(self, id: str, now: Instant) -> None:
        use = self._uses.get(id)
        if use is None:
            use = self._uses[id] = Use()
        use.hits += 1
        use.last = now

    # -- fetching

    def _renew(self, entry: Served) -> None:
        """Fetch again in the background; what is there serves until then, and for good if that fails."""
        failed = self._failed.get(entry.url)
        if entry.url not in self._fetching and (failed is None or failed[0] <= self._clock()):
            self._begin(entry.url)

    async def _fetch(self, url: str) -> Served:
        """Fetch once for all who wait. Raises LdContextNotAvailable, BadRequestData."""
        failed = self._failed.get(url)
        if failed is not None and self._clock() < failed[0]:
            raise LdContextNotAvailable(failed[1])
        return await asyncio.shield(self._fetching.get(url) or self._begin(url))

    def _begin(self, url: str) -> asyncio.Task[Served]:
        task = self._fetching[url] = asyncio.create_task(self._fetch_now(url))
        task.add_done_callback(lambda _: self._fetching.pop(url, None))
        task.add_done_callback(noted)
        return task

    async def _fetch_now(self, url: str) -> Served:
        before, begun = self._cached(url), self._clock()
        try:
            fetched = await self._download(url, before.etag if before else "")
        except LdContextNotAvailable as fault:
            if len(self._failed) > MAX_CACHED:
                self._failed.clear()
            # A failure is remembered for as long as it hurt: it guards against waiting, not against asking.
            now = self._clock()
            self._failed[url] = (now + min(RETRY_AFTER, 6 * (now - begun)), fault.detail)
            raise
        self._failed.pop(url, None)
        now = self._clock()
        if fetched is None and before is not None:
            entry = replace(before, expires_at=now + USUAL_AGE)
        else:
            body, etag, age = fetched or (b"{}", "", USUAL_AGE)
            entry = Served(
                id=before.id if before else secrets.token_hex(16),
                url=url,
                kind="Cached",
                created_at=now,
                document=msgspec.Raw(body),
                expires_at=now + age,
                etag=etag,
            )
        await self._make_room()
        await self._keep(entry)
        return entry

    async def _download(self, url: str, etag: str) -> tuple[bytes, str, Instant] | None:
        """Body, ETag and age that a URL answers with; None when nothing changed since `etag`."""
        import aiohttp

        headers = {
            "Accept": "application/ld+json, application/json;q=0.9, */*;q=0.1",
            "Accept-Encoding": "identity",
            **({"If-None-Match": etag} if etag else {}),
        }
        if self._session is None:
            self._session = self._outbound.session(total=TOTAL_SECONDS, connect=CONNECT_SECONDS)
        target = url
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                for _ in range(MAX_REDIRECTS + 1):
                    self._outbound.check(target)
                    async with self._session.get(target, headers=headers, allow_redirects=False) as answer:
                        if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                            target = urljoin(target, answer.headers["Location"])
                            continue
                        if answer.status == 304 and etag:
                            return None
                        return await read(url, answer)
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            # TimeoutError is an OSError.
            reason = str(fault) or type(fault).__name__
            raise LdContextNotAvailable(f"the @context at {url} cannot be fetched: {reason}") from None
        raise LdContextNotAvailable(f"the @context at {url} redirects more than {MAX_REDIRECTS} times")

    async def _make_room(self) -> None:
        """Let go of the fetched entry that was used longest ago when there are too many."""
        cached = [entry for entry in self._entries.values() if entry.kind == "Cached"]
        if len(cached) >= MAX_CACHED:
            await self._drop(min(cached, key=lambda entry: self._uses.get(entry.id, Use()).last))

    # -- keeping

    def _remember(self, entry: Served) -> None:
        self._entries[entry.id] = entry
        if entry.kind == "Cached":
            self._by_url[entry.url] = entry.id
        self._compiled.clear()

    async def _keep(self, entry: Served) -> None:
        body = msgspec.json.encode(entry)
        write = RecordWrite(tenant=entry.tenant, kind=RECORD, id=entry.id, body=body)
        await self._store.commit(Commit(records=(write,)))
        self._remember(entry)

    async def _drop(self, entry: Served) -> None:
        write = RecordWrite(tenant=entry.tenant, kind=RECORD, id=entry.id, body=None)
        await self._store.commit(Commit(records=(write,)))
        self._entries.pop(entry.id, None)
        self._by_url.pop(entry.url, None)
        self._uses.pop(entry.id, None)
        self._compiled.clear()

    # -- operations on stored contexts (5.13)

    async def add(self, document: Any, tenant: str = "") -> str:
        """Add @context (5.13.2): host it; its local id. Everything beside `@context` is let go.
        Raises BadRequestData, LdContextNotAvailable."""
        if not isinstance(document, dict) or "@context" not in document:
            raise BadRequestData("the body must be an object with a member @context")
        source = document["@context"]
        check_form(source)
        parts: list[str] = []
        await language.compile(source, partial(self._load, tenant, parts))
        id = secrets.token_hex(16)
        await self._keep(
            Served(
                id=id,
                url=self._base_url + id,
                kind="Hosted",
                created_at=self._clock(),
                document=msgspec.Raw(msgspec.json.encode({"@context": source})),
                tenant=tenant,
            )
        )
        return id

    async def list(self, kind: str | None = None, tenant: str = "") -> list[Served]:
        """List @contexts (5.13.3), those of the tenant and those fetched for all, oldest first.
        Raises BadRequestData for an unknown kind."""
        if kind not in (None, "Cached", "Hosted", "ImplicitlyCreated"):
            raise BadRequestData(f"kind {kind!r} must be Cached, Hosted or ImplicitlyCreated")
        stored = [
            msgspec.json.decode(record.body, type=Served)
            for record in await self._store.records(None, RECORD)
        ]
        return sorted(
            (
                entry
                for entry in stored
                if kind in (None, entry.kind) and (entry.kind == "Cached" or entry.tenant == tenant)
            ),
            key=lambda entry: entry.created_at,
        )

    async def details(self, id: str, tenant: str = "") -> dict[str, Any]:
        """Metadata of one @context by local id or URL (5.13.4). Raises ResourceNotFound."""
        entry = await self._stored(id, tenant)
        answer = self.describe(entry)
        self._use(entry.id, self._clock())
        return answer

    def describe(self, entry: Served) -> dict[str, Any]:
        """The JSON object that stands for an entry in a detailed list (5.13.3.5)."""
        use = self._uses.get(entry.id)
        return {
            "URL": entry.url,
            "localId": entry.id,
            "kind": entry.kind,
            "createdAt": timestamp(entry.created_at),
            **({"expiresAt": timestamp(entry.expires_at)} if entry.expires_at else {}),
            **({"lastUsage": timestamp(use.last)} if use else {}),
            "numberOfHits": use.hits if use else 0,
        }

    async def serve(self, id: str, tenant: str = "") -> bytes:
        """Serve @context (5.13.4): the document. Raises ResourceNotFound, OperationNotSupported (Cached)."""
        entry = await self._stored(id, tenant)
        if entry.kind == "Cached":
            raise OperationNotSupported(f"{entry.url} is kept for the platform's own use; fetch it there")
        self._use(entry.id, self._clock())
        return bytes(entry.document)

    async def delete(self, id: str, *, reload: bool = False, tenant: str = "") -> None:
        """Delete or reload @context (5.13.5).
        Raises ResourceNotFound, BadRequestData, LdContextNotAvailable."""
        if not id:
            raise BadRequestData("name the @context to delete by its local id or URL")
        if language.is_core(id) or id in self._built_in:
            if reload:  # what is built in is always fresh
                return
            raise BadRequestData(f"{id} is built in and cannot be deleted")
        try:
            entry = await self._stored(id, tenant)
        except ResourceNotFound:
            if reload:
                raise BadRequestData(f"no @context that was fetched is kept under {id}") from None
            raise
        if not reload:
            await self._drop(entry)
            return
        if entry.kind != "Cached":
            raise BadRequestData(f"{entry.kind} @contexts are not reloaded, only fetched ones are")
        self._failed.pop(entry.url, None)
        try:
            await self._fetch(entry.url)
        except BadRequestData as fault:
            raise LdContextNotAvailable(f"what {entry.url} answers is no @context: {fault.detail}") from None

    async def _stored(self, id: str, tenant: str) -> Served:
        if language.is_core(id):
            return Served(id=id, url=id, kind="Cached", created_at=0)
        if id in self._built_in:
            document = msgspec.Raw(msgspec.json.encode(self._built_in[id]))
            return Served(id=id, url=id, kind="Hosted", created_at=0, document=document)
        entry = await self._hosted(tenant, id) or self._cached(id) or await self._entry(tenant, id)
        if entry is None or (entry.kind != "Cached" and entry.tenant != tenant):
            raise ResourceNotFound(f"no @context is stored under {id}")
        return entry


async def read(url: str, answer: aiohttp.ClientResponse) -> tuple[bytes, str, Instant]:
    """Body, ETag and age of an answer that must bring a context. Raises LdContextNotAvailable,
    BadRequestData when what came is none (5.5.6)."""
    if answer.status != 200:
        raise LdContextNotAvailable(f"the @context at {url} cannot be fetched: {answer.status}")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise LdContextNotAvailable(f"the @context at {url} comes compressed, which was not asked for")
    body = await answer.content.read(MAX_BYTES + 1)
    while len(body) <= MAX_BYTES and (more := await answer.content.read(MAX_BYTES + 1 - len(body))):
        body += more
    if len(body) > MAX_BYTES:
        raise BadRequestData(f"the @context at {url} has more than {MAX_BYTES} bytes")
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise BadRequestData(f"the document at {url} is not JSON") from None
    if not isinstance(document, dict) or "@context" not in document:
        raise BadRequestData(f"the document at {url} has no @context")
    return body, answer.headers.get("ETag", ""), age_of(answer.headers.get("Cache-Control", ""))


def age_of(cache_control: str) -> Instant:
    """How long an answer may be kept, in microseconds: `max-age` within reason, else a day."""
    named = re.search(r"\bmax-age=(\d{1,9})\b", cache_control)
    return min(max(int(named[1]) * SECOND, LEAST_AGE), MOST_AGE) if named else USUAL_AGE


def check_form(source: Any, depth: int = 0) -> None:
    """Refuse what can be no context before anything is fetched for it. Raises BadRequestData."""
    if isinstance(source, list) and depth < language.MAX_DEPTH:
        for part in source:
            check_form(part, depth + 1)
    elif source is not None and not isinstance(source, str | dict | list):
        raise BadRequestData(f"an @context is a URL, an object or an array of them, not {source!r:.60}")


def key_of(source: Source | None) -> str | bytes:
    """What a context is remembered by."""
    return source if isinstance(source, str) else msgspec.json.encode(source)


def noted(task: asyncio.Task[Served]) -> None:
    """A fetch may fail when nobody waits for it any more, or for a renewal that nobody asked for."""
    if not task.cancelled() and (fault := task.exception()):
        log.info("an @context could not be fetched", extra={"reason": str(fault)})
