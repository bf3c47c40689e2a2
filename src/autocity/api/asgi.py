"""A bare ASGI application with its own router: one call in, one answer out; it knows no NGSI-LD."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Literal, Protocol
from urllib.parse import unquote_to_bytes

from msgspec import Struct, field

from autocity import errors
from autocity.api import errors as problems
from autocity.errors import CityError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Scope = Literal["public", "read", "write", "subscribe", "operate", "approve", "admin"]
"""The permission that a route needs; `public` needs none."""

log = logging.getLogger("autocity.api")
access = logging.getLogger("autocity.access")


class Identity(Protocol):
    """Who is calling, as `authenticate` found out."""

    @property
    def actor(self) -> str:
        """The name under which changes are recorded."""

    @property
    def known(self) -> bool:
        """Whether the caller proved who they are; an unknown one is asked to sign in, not forbidden."""

    def may(self, scope: Scope) -> bool:
        """Whether the caller holds this permission."""


class Everyone(Struct, frozen=True):
    """The identity that may do everything: for tests and for a platform without users."""

    actor: str = ""
    known: bool = True

    def may(self, scope: Scope) -> bool:
        return True


EVERYONE = Everyone()


class Answer(Struct, kw_only=True):
    """What goes back. `stream`, when given, replaces `body` and is sent as it comes (SSE).

    `Content-Length`, `Content-Type` (from `media`), `X-Request-ID` and the security headers are added on
    the way out; a header of the same name in `headers` wins over those.
    """

    status: int = 200
    body: bytes = b""
    media: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    stream: AsyncIterator[bytes] | None = None


class Operation(Struct, frozen=True, kw_only=True):
    """The facts of one route that its description, its argument reader and its tests share.

    `parameters` are names in `negotiate.PARAMETERS`, required ones marked with `!`; None: the handler reads
    its query itself. `accepts` and `answers` name schemas in `openapi.SCHEMAS` ("" for no body).
    """

    id: str
    summary: str
    clause: str = ""
    tag: str = "Platform"
    parameters: tuple[str, ...] | None = ()
    headers: tuple[str, ...] = ()
    accepts: str = ""
    answers: dict[int, str] = field(default_factory=dict)
    example: str = ""


class Call:
    """One request being answered. Path segments are percent-decoded one by one, so an id may hold any character."""

    __slots__ = (
        "_body",
        "_headers",
        "_limit",
        "_query",
        "_receive",
        "identity",
        "method",
        "params",
        "path",
        "query_string",
        "request_id",
        "route",
        "scope",
        "started",
    )

    method: str
    path: str
    params: dict[str, str]
    identity: Identity
    request_id: str
    route: Route
    started: float

    def header(self, name: str) -> str | None:
        """The value of a header; several of one name are joined with commas (RFC 9110, 5.3)."""

    @property
    def headers(self) -> dict[str, str]:
        """All headers by lower-case name."""

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters in order, decoded. Raises `InvalidRequest` when they are not UTF-8."""

    @property
    def tenant(self) -> str:
        """The tenant addressed (6.3.14); "" is the default one."""

    @property
    def body(self) -> bytes:
        """The body; the application has read it before it calls the handler."""

    async def read(self) -> bytes:
        """Read the body now (for `authenticate`, which runs before it is read).

        Raises `LengthRequired` for a body of unsaid length, `PayloadTooLarge` beyond the limit.
        """


class Route(Struct, frozen=True, kw_only=True):
    """A path and a method, and who answers. `{name}` in `path` takes one segment, a last `{name*}` the rest."""

    method: str
    path: str
    handle: Callable[[Call], Awaitable[Answer]]
    scope: Scope = "public"
    operation: Operation | None = None


class Application:
    """The ASGI application over a table of routes.

    `authenticate` finds out who calls (it may read `call.route.scope`); the application then refuses those
    who lack the route's permission. `refuse` turns a refusal into an answer (pages differ from the API).
    `observe` hears (method, route template, status, seconds) of every answer.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        authenticate: Callable[[Call], Awaitable[Identity]] | None = None,
        on_start: Callable[[], Awaitable[None]] | None = None,
        on_stop: Callable[[], Awaitable[None]] | None = None,
        refuse: Callable[[Call, CityError], Answer] | None = None,
        observe: Callable[[str, str, int, float], None] | None = None,
        max_body: int = 16 * 1024 * 1024,
        origins: Sequence[str] = (),
    ) -> None: ...

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or follow the server's lifespan."""

    async def local(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        identity: Identity | None = None,
    ) -> Answer:
        """Answer a request made inside this process, `path` with its query. `identity` skips authentication."""
