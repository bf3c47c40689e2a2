"""Asks context sources over HTTP (4.3.6, 6.3.17 to 6.3.19): in which words, how long, not again too soon.

Whatever goes wrong is one kind of fault, which says how a reader is warned and how a writer is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Struct, UnsetType

from autocity.broker.contexts import Contexts
from autocity.broker.outbound import Outbound
from autocity.broker.registration import MEANINGS, Registration
from autocity.broker.registrations import Registrations, Source
from autocity.broker.writing import Caller
from autocity.errors import (
    AlreadyExists,
    BadGateway,
    BadRequestData,
    CityError,
    Conflict,
    GatewayTimeout,
    LoopDetected,
    ResourceNotFound,
)
from autocity.ld.context import CORE, CORE_URL, Context
from autocity.store.port import Commit, RecordWrite, StaleCommit, Store

if TYPE_CHECKING:
    import aiohttp

API = "/ngsi-ld/v1"
RECORD = "source-name"
TIMEOUT_SECONDS = 10.0
"""How long a source may take when its registration does not say (5.2.34)."""

CONNECT_SECONDS = 2.0
MAX_ANSWER = 16 * 2**20
"""Bytes of an answer that are read; a longer one is taken for broken."""

PATIENCE = 3
"""How often in a row a source may be late before it is left alone for a while, longer each time."""

LONGEST_REST = 30.0

FROM_REQUEST = "urn:ngsi-ld:request"
"""Stands for the value that the triggering request has for the same key (4.3.6.5)."""

UNTOUCHABLE = frozenset(
    (
        "accept-encoding", "connection", "content-length", "content-type", "host", "keep-alive", "link",
        "ngsild-tenant", "te", "trailer", "transfer-encoding", "upgrade", "via",
    )
)  # fmt: skip
"""Headers that a registration cannot set (4.3.6.5)."""

STALE, INVALID, SILENT, REFUSED = 110, 111, 199, 299
"""Warning codes (6.3.17, table 1)."""

_IN_SEGMENT = "!$&'()*+=:@~"
_IN_QUERY = "!$'()*:@~/?"


class Asked(Struct, frozen=True):
    """The request for which sources are asked: on whose behalf, in whose words, with which headers (their
    names in lower case)."""

    caller: Caller
    context: Context = CORE
    headers: Mapping[str, str] = {}

    @property
    def via(self) -> tuple[str, ...]:
        """Pseudonyms of the sources that the request came through (6.3.18)."""
        passed = [entry.split() for entry in self.headers.get("via", "").split(",")]
        return tuple(entry[1] for entry in passed if len(entry) > 1)


class Message(Struct, frozen=True, kw_only=True):
    """What a source is asked. `path` is below the root of the API and encoded; names in `params` and
    `body` are those of the words that it is sent with."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    body: Any | UnsetType = UNSET
    headers: tuple[tuple[str, str], ...] = ()


class Reply(Struct, frozen=True):
    """What a source answered: its status, its JSON (None when there is none), its headers, and its warnings
    (6.3.17), for it may have sources of its own."""

    status: int
    content: Any
    headers: Mapping[str, str]
    warnings: tuple[str, ...] = ()


class Words(Struct, frozen=True):
    """The @context that a source is spoken to with, and the URL under which it finds it ("": the core)."""

    context: Context
    link: str = ""


class Unanswered(Exception):
    """A source did not answer as it should. `code` warns a reader, `error` refuses a writer."""

    def __init__(self, code: int, error: CityError) -> None:
        super().__init__(error.detail)
        self.code = code
        self.error = error


class Rest(Struct):
    """How long a source is left alone, and after how many failures in a row."""

    until: float = 0.0
    failures: int = 0


class Sources:
    """The way to context sources. `name` is the city's pseudonym among them (5.2.40)."""

    def __init__(self, registrations: Registrations, contexts: Contexts, *, outbound: Outbound) -> None:
        self.name = "autocity"
        self._registrations = registrations
        self._contexts = contexts
        self._outbound = outbound
        self._session: aiohttp.ClientSession | None = None
        self._rests: dict[tuple[str, str], Rest] = {}

    async def open(self, store: Store) -> None:
        """Learn the pseudonym that the city goes by for good; the first time, take one."""
        known = await store.record("", RECORD, RECORD)
        if known is None:
            name = f"autocity-{secrets.token_hex(4)}"
            write = RecordWrite(tenant="", kind=RECORD, id=RECORD, body=msgspec.json.encode(name), expected=0)
            with suppress(StaleCommit):
                await store.commit(Commit(records=(write,)))
            known = await store.record("", RECORD, RECORD)
        if known is not None:
            self.name = msgspec.json.decode(known.body, type=str)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def alias(self, tenant: str) -> str:
        """The pseudonym of a tenant: each is a source of its own, or a request from one to another would
        look like a loop (4.3.6.4)."""
        return f"{self.name}-{hashlib.sha256(tenant.encode()).hexdigest()[:8]}" if tenant else self.name

    def looped(self, asked: Asked) -> bool:
        """Whether the request has been here before."""
        return self.alias(asked.caller.tenant) in asked.via

    async def words(self, source: Source, asked: Asked) -> Words:
        """The words to speak in: those that the source wants (4.3.6.6), else those of the request if the
        source can find them, else full names."""
        wanted = dict(source.registration.context_source_info).get("jsonldContext")
        if wanted is not None:
            return Words(await self._contexts.resolve(wanted, source.tenant), wanted)
        link = asked.context.link
        if asked.context is CORE or link is None or link.startswith(("http://localhost/", "/")):
            return Words(CORE)
        return Words(asked.context, link)

    async def ask(self, source: Source, message: Message, words: Words, asked: Asked) -> Reply:
        """What a source answers, whatever the status. Raises Unanswered."""
        rest = self._rests.get((source.tenant, source.id))
        if rest is not None and rest.until > time.monotonic():
            raise Unanswered(
                SILENT, GatewayTimeout(f"{source.id} failed lately and is left alone for a while")
            )
        try:
            reply = await self._call(source.registration, message, words, asked)
        except Unanswered as fault:
            self._failed(source, late=fault.code == SILENT)
            raise
        except asyncio.CancelledError:
            raise
        if reply.status < 400 or reply.status == 404:
            self._rests.pop((source.tenant, source.id), None)
            self._registrations.sent(source, ok=True)
        else:
            self._failed(source, late=False)
        return reply

    async def _call(self, registration: Registration, message: Message, words: Words, asked: Asked) -> Reply:
        import aiohttp
        from yarl import URL

        if self._session is None:
            self._session = self._outbound.session(connect=CONNECT_SECONDS)
        told = registration.management.timeout if registration.management else None
        headers, data = self._dressed(registration, message, words, asked)
        try:
            # The policy may have become stricter since the source was registered.
            self._outbound.check(registration.endpoint)
            async with self._session.request(
                message.method,
                URL(address(registration, message), encoded=True),
                data=data,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=TIMEOUT_SECONDS if told is None else told / 1000, sock_connect=CONNECT_SECONDS
                ),
            ) as answer:
                return await read(answer, registration)
        except TimeoutError:
            raise Unanswered(SILENT, GatewayTimeout(f"{registration.id} did not answer in time")) from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            reason = str(fault) or type(fault).__name__
            error = GatewayTimeout(f"{registration.id} cannot be reached: {reason}")
            raise Unanswered(SILENT, error) from None
        except BadRequestData as fault:
            raise Unanswered(REFUSED, BadGateway(fault.detail)) from None

    def _dressed(
        self, registration: Registration, message: Message, words: Words, asked: Asked
    ) -> tuple[dict[str, str], bytes | None]:
        """The headers and the body of a request to a source (6.3.19)."""
        info = dict(registration.context_source_info)
        headers = {"Accept": info.get("accept", "application/json"), "User-Agent": "autocity"}
        for key, value in registration.context_source_info:
            if key in MEANINGS or key.lower() in UNTOUCHABLE:
                continue
            given = asked.headers.get(key.lower()) if value == FROM_REQUEST else value
            if given is not None:
                headers[key] = given
        headers |= dict(message.headers)
        headers["Accept-Encoding"] = "identity"
        passed = asked.headers.get("via")
        own = f"1.1 {self.alias(asked.caller.tenant)}"
        headers["Via"] = f"{passed}, {own}" if passed else own
        if registration.source_tenant is not None:
            headers["NGSILD-Tenant"] = registration.source_tenant
        if "ngsildConformance" in info:
            headers["Prefer"] = f"ngsi-ld={info['ngsildConformance']}"
        if message.body is UNSET:
            data = None
        elif info.get("contentType") == "application/ld+json" and "jsonldContext" not in info:
            headers["Content-Type"] = "application/ld+json"
            return headers, msgspec.json.encode(with_context(message.body, words.link or CORE_URL))
        else:
            headers["Content-Type"] = "application/json"
            data = msgspec.json.encode(message.body)
        if words.link:
            headers["Link"] = (
                f'<{words.link}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
            )
        return headers, data

    def _failed(self, source: Source, *, late: bool) -> None:
        self._registrations.sent(source, ok=False)
        management = source.registration.management
        rest = self._rests.setdefault((source.tenant, source.id), Rest())
        rest.failures += 1
        length = (management.cooldown or 0) / 1000 if management else 0.0
        if not length and late and rest.failures >= PATIENCE:
            length = min(2.0 ** (rest.failures - PATIENCE), LONGEST_REST)
        rest.until = time.monotonic() + length


def address(registration: Registration, message: Message) -> str:
    """The URL of a request to a source, encoded; an endpoint may or may not name the root of the API."""
    root = registration.endpoint.rstrip("/").removesuffix(API)
    params = message.params + ((("local", "true"),) if registration.local_only else ())
    query = "&".join(f"{name}={quote(value, safe=_IN_QUERY)}" for name, value in params)
    return f"{root}{API}{message.path}{'?' if query else ''}{query}"


def segment(text: str) -> str:
    """A path segment, encoded; ids stay readable."""
    return quote(text, safe=_IN_SEGMENT)


async def read(answer: aiohttp.ClientResponse, registration: Registration) -> Reply:
    """What a source answered. Raises Unanswered for what is too long or no JSON."""
    body = bytearray()
    async for chunk in answer.content.iter_chunked(2**16):
        body += chunk
        if len(body) > MAX_ANSWER:
            answer.close()
            raise Unanswered(INVALID, BadGateway(f"{registration.id} answered more than {MAX_ANSWER} bytes"))
    headers = {name.lower(): value for name, value in answer.headers.items()}
    warnings = tuple(answer.headers.getall("NGSILD-Warning", ()))
    if not body:
        return Reply(answer.status, None, headers, warnings)
    try:
        return Reply(answer.status, msgspec.json.decode(bytes(body)), headers, warnings)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        if answer.status >= 400:
            return Reply(answer.status, None, headers)
        raise Unanswered(INVALID, BadGateway(f"{registration.id} did not answer JSON")) from None


def with_context(body: Any, context: str) -> Any:
    """A body that bears its @context, in each element when it is an array of objects."""
    if isinstance(body, list):
        return [with_context(each, context) for each in body]
    return {**body, "@context": context} if isinstance(body, dict) else body


def refusal(source: Source, reply: Reply) -> CityError:
    """What the answer of a source that failed means to a writer (6.3.17)."""
    told = reply.content if isinstance(reply.content, dict) else {}
    detail = str(told.get("detail") or told.get("title") or f"it answered {reply.status}")
    kind = _REFUSALS.get(reply.status, BadGateway)
    if reply.status == 409 and str(told.get("type")).endswith("/AlreadyExists"):
        kind = AlreadyExists
    return kind(f"{source.id}: {detail}")


_REFUSALS: dict[int, type[CityError]] = {
    404: ResourceNotFound,
    409: Conflict,
    504: GatewayTimeout,
    508: LoopDetected,
}
