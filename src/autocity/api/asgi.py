"""A bare ASGI application with its own router: one call in, one answer out; it knows no NGSI-LD."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from copy import copy
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


class Nobody(Struct, frozen=True):
    """The identity before anyone has asked who it is."""

    actor: str = ""
    known: bool = False

    def may(self, scope: Scope) -> bool:
        return False


class Everyone(Struct, frozen=True):
    """The identity that may do everything: for tests and for a platform without users."""

    actor: str = ""
    known: bool = True

    def may(self, scope: Scope) -> bool:
        return True


NOBODY = Nobody()
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

    `parameters` are names in `negotiate.PARAMETERS`; any other is refused (6.3.20). `formats` and `options`
    are the values that the parameters of those names take here. `accepts` and `answers` name schemas of the
    description ("" for no body). `example` is a request path or body to try.
    """

    id: str
    summary: str
    clause: str = ""
    tag: str = "Platform"
    parameters: tuple[str, ...] = ()
    formats: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    geojson: bool = False
    accepts: str = ""
    answers: dict[int, str] = field(default_factory=dict)
    example: str = ""


class Call:
    """One request being answered.

    Path segments are percent-decoded one by one, so an id may hold any character. `aside` are headers that
    go with the answer, whatever it is.
    """

    __slots__ = (
        "_body",
        "_limit",
        "_query",
        "_receive",
        "application",
        "aside",
        "headers",
        "identity",
        "method",
        "params",
        "path",
        "request_id",
        "route",
        "scope",
        "started",
    )

    headers: dict[str, str]
    identity: Identity
    route: Route | None

    def __init__(self, application: Application, scope: Message, receive: Receive | None, limit: int) -> None:
        self.application = application
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = _headers(scope["headers"])
        self.params: dict[str, str] = {}
        self.route = None
        self.identity = NOBODY
        self.aside: list[tuple[str, str]] = []
        self.started = perf_counter()
        self._receive = receive
        self._limit = limit
        self._body: bytes | None = None
        self._query: list[tuple[str, str]] | None = None
        self.request_id = _request_id(self.header("x-request-id"))

    def header(self, name: str) -> str | None:
        """The value of a header, its name in lower case."""
        return self.headers.get(name)

    @property
    def query_string(self) -> str:
        """The query as it came, still percent-encoded."""
        encoded: bytes = self.scope["query_string"]
        return encoded.decode("latin-1")

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query parameters in order, decoded. Raises `InvalidRequest` when too many or not UTF-8."""
        if self._query is None:
            self._query = _parse_query(self.scope["query_string"])
        return self._query

    @property
    def tenant(self) -> str:
        """The tenant addressed (6.3.14); "" is the default one."""
        return self.headers.get("ngsild-tenant", "")

    @property
    def body(self) -> bytes:
        """The body; the application has read it before it calls the handler."""
        return self._body or b""

    def with_body(self, body: bytes) -> Call:
        """The same call with another body."""
        other = copy(self)
        other._body = body
        return other

    async def read(self) -> bytes:
        """Read the body now, for who must see it before the handler does.

        Raises `LengthRequired` when its length is not said, `PayloadTooLarge` beyond the limit.
        """
        if self._body is None:
            self._body = b"" if self._receive is None else await self._read(self._receive)
        return self._body

    async def _read(self, receive: Receive) -> bytes:
        length = self.headers.get("content-length")
        if length is None:
            raise errors.LengthRequired
        if not length.isdecimal():
            raise errors.InvalidRequest("Content-Length must be a number")
        if len(length) > 18 or int(length) > self._limit:
            raise errors.PayloadTooLarge(
                f"a body may have {self._limit} bytes at most; this one has {length}"
            )
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)


class Gone(Exception):
    """The client hung up before it had said everything."""


class Route(Struct, frozen=True, kw_only=True):
    """A path and a method, and who answers.

    `{name}` in `path` takes one segment, a last `{name*}` the rest.
    """

    method: str
    path: str
    handle: Callable[[Call], Awaitable[Answer]]
    scope: Scope = "public"
    operation: Operation | None = None


class Application:
    """The ASGI application over a table of routes.

    `authenticate` finds out who calls (it may look at `call.route`, and `await call.read()`); the application
    then refuses those who lack the route's permission. `refuse` turns a refusal into an answer where the
    plain ProblemDetails will not do (None: they will). `observe` hears the method, route template, status and
    seconds of every answer. `origins` are the web origins whose pages may call from a browser, `*` for all.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        authenticate: Callable[[Call], Awaitable[Identity]] | None = None,
        on_start: Callable[[], Awaitable[None]] | None = None,
        on_stop: Callable[[], Awaitable[None]] | None = None,
        refuse: Callable[[Call, CityError], Answer | None] | None = None,
        observe: Callable[[str, str, int, float], None] | None = None,
        max_body: int = 16 * 1024 * 1024,
        origins: Sequence[str] = (),
    ) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in self.routes:
            self._root.add(route)
        self._authenticate = authenticate or _everyone
        self._on_start = on_start
        self._on_stop = on_stop
        self._refuse = refuse
        self._observe = observe
        self._max_body = max_body
        self._origins = frozenset(origins)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request, or follow the server's lifespan."""
        if scope["type"] == "http":
            await self._serve(Call(self, scope, receive, self._max_body), receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def local(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        identity: Identity | None = None,
    ) -> Answer:
        """Answer a request made inside this process, `path` with query. `identity` skips authentication."""
        raw, _, query = path.partition("?")
        call = Call(
            self,
            {
                "method": method,
                "path": raw,
                "raw_path": raw.encode(),
                "query_string": query.encode(),
                "headers": [
                    (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers
                ],
            },
            None,
            self._max_body,
        )
        call._body = body
        return await self._answer(call, identity)

    async def _serve(self, call: Call, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(call, None)
        except Gone:
            return
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": self._head(call, answer)}
        )
        if answer.stream is None or call.method == "HEAD":
            body = b"" if call.method == "HEAD" else answer.body
            await send({"type": "http.response.body", "body": body})
            self._note(call, answer.status)
        else:
            # How long a client listens says nothing about how long an answer takes.
            self._note(call, answer.status)
            await _pour(answer.stream, receive, send)

    async def _answer(self, call: Call, identity: Identity | None) -> Answer:
        try:
            route = self._find(call)
            if route is None:
                return Answer(status=204, headers=[("Allow", self._allow(call))])
            call.route = route
            call.identity = identity or await self._authenticate(call)
            if route.scope != "public" and not call.identity.may(route.scope):
                raise _unpermitted(call.identity, route.scope)
            if call._body is None and call.method in _BODIED:
                await call.read()
            answer = await route.handle(call)
            if call.aside:
                answer.headers += call.aside
            return answer
        except CityError as error:
            return self._refused(call, error)
        except Gone:
            raise
        except Exception:
            # The edge of the process: whatever is wrong inside, the caller gets a number to ask us about.
            log.exception("request failed", extra={"request_id": call.request_id, "path": call.path})
            return self._refused(call, CityError(f"ask the operator about request {call.request_id}"))

    def _refused(self, call: Call, error: CityError) -> Answer:
        answer = (self._refuse and self._refuse(call, error)) or refusal(call, error)
        answer.headers += call.aside
        return answer

    def _find(self, call: Call) -> Route | None:
        """The route of the call, its parameters set; None when the call only asks which methods there are."""
        segments = _segments(call.scope)
        node, values = self._root.find(segments)
        if node is None or not node.routes:
            raise errors.ResourceNotFound(f"nothing is at {call.path}")
        method = call.method
        leaf = node.routes.get(method) or (node.routes.get("GET") if method == "HEAD" else None)
        if leaf is None:
            if method == "OPTIONS":
                return None
            raise errors.MethodNotAllowed(
                f"{method} is not possible at {call.path}; {node.allow} are", allow=node.allow
            )
        route, names = leaf
        if names:
            call.params = dict(zip(names, values, strict=True))
        return route

    def _allow(self, call: Call) -> str:
        node, _ = self._root.find(_segments(call.scope))
        return node.allow if node else ""

    def _head(self, call: Call, answer: Answer) -> list[tuple[bytes, bytes]]:
        head = [(b"x-request-id", call.request_id.encode("latin-1")), *_SECURITY]
        # Whatever the answer, it says which tenant and snapshot it speaks of (6.3.14, 6.3.22).
        for name in _ECHOED:
            said = call.headers.get(name)
            if said is not None:
                head.append((name.encode(), said.encode("latin-1")))
        if answer.media:
            head.append((b"content-type", answer.media.encode("latin-1")))
        # A 204 bears no Content-Length (6.3.6), and a stream does not know its own.
        if answer.stream is None and answer.status != 204:
            head.append((b"content-length", b"%d" % len(answer.body)))
        if answer.headers:
            own = [(name.lower().encode("latin-1"), _field(value)) for name, value in answer.headers]
            names = {name for name, _ in own}
            head = [pair for pair in head if pair[0] not in names] + own
        if self._origins:
            head.extend(self._cross_origin(call))
        return head

    def _cross_origin(self, call: Call) -> list[tuple[bytes, bytes]]:
        origin = call.header("origin")
        if origin is None or not ("*" in self._origins or origin in self._origins):
            return []
        head = [
            (b"access-control-allow-origin", b"*" if "*" in self._origins else origin.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]
        if call.method == "OPTIONS":
            asked = call.header("access-control-request-headers") or ""
            head += [
                (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
                (b"access-control-allow-headers", asked.encode("latin-1")),
                (b"access-control-max-age", b"600"),
            ]
        return head

    def _note(self, call: Call, status: int) -> None:
        seconds = perf_counter() - call.started
        template = call.route.path if call.route else ""
        if self._observe is not None:
            self._observe(call.method, template, status, seconds)
        level = logging.INFO if status < 400 else logging.WARNING
        if access.isEnabledFor(level):
            access.log(
                level,
                "request answered" if status < 400 else "request refused",
                extra={
                    "request_id": call.request_id,
                    "method": call.method,
                    "path": call.path,
                    "route": template,
                    "status": status,
                    "ms": round(seconds * 1000, 2),
                    "actor": call.identity.actor,
                    "client": (call.scope.get("client") or ("",))[0],
                },
            )

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            stage = (await receive())["type"].removeprefix("lifespan.")
            hook = self._on_start if stage == "startup" else self._on_stop
            try:
                if hook is not None:
                    await hook()
            except Exception as error:
                log.exception("lifespan failed", extra={"stage": stage})
                await send({"type": f"lifespan.{stage}.failed", "message": str(error)})
                return
            await send({"type": f"lifespan.{stage}.complete"})
            if stage == "shutdown":
                return


class _Node:
    """A place in the tree of path templates."""

    __slots__ = ("allow", "literal", "rest", "routes", "variable")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.rest: _Node | None = None
        self.routes: dict[str, tuple[Route, tuple[str, ...]]] = {}
        self.allow = ""

    def add(self, route: Route) -> None:
        node, names = self, []
        for segment in route.path.strip("/").split("/") if route.path != "/" else ():
            if not segment.startswith("{"):
                node = node.literal.setdefault(segment, _Node())
                continue
            names.append(segment.strip("{}*"))
            if segment.endswith("*}"):
                node.rest = node.rest or _Node()
                node = node.rest
            else:
                node.variable = node.variable or _Node()
                node = node.variable
        if route.method in node.routes:
            raise ValueError(f"two routes answer {route.method} {route.path}")
        node.routes[route.method] = (route, tuple(names))
        methods = {*node.routes, "OPTIONS"} | ({"HEAD"} if "GET" in node.routes else set())
        node.allow = ", ".join(sorted(methods))

    def find(self, segments: list[str]) -> tuple[_Node | None, list[str]]:
        """The node at these segments and the values of its parameters; a literal wins over a parameter."""
        node, values = self, list[str]()
        for index, segment in enumerate(segments):
            step = node.literal.get(segment)
            if step is None:
                step = node.variable
                if step is None:
                    return node.rest, [*values, "/".join(segments[index:])]
                values.append(segment)
            node = step
        return node, values


_BODIED = frozenset(("POST", "PUT", "PATCH"))

_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)

_EXPOSED = b"Link, Location, Content-Range, NGSILD-Results-Count, NGSILD-Tenant, NGSILD-Warning, X-Request-ID"

_ECHOED = ("ngsild-tenant", "ngsild-snapshot")

_MAX_PARAMETERS = 200
_RUN = secrets.token_hex(4)
_COUNT = itertools.count(1)


def refusal(call: Call, error: CityError) -> Answer:
    """A refusal as ProblemDetails (6.3.3); 411 and 415 go without a body (6.3.4)."""
    status = problems.status(error)
    headers = []
    if isinstance(error, errors.MethodNotAllowed):
        headers.append(("Allow", str(error.members.get("allow", ""))))
    elif isinstance(error, errors.Unauthorized):
        headers.append(("WWW-Authenticate", "Bearer"))
    elif isinstance(error, errors.PayloadTooLarge):
        headers.append(("Connection", "close"))
    if isinstance(error, errors.LengthRequired | errors.UnsupportedMediaType):
        return Answer(status=status, headers=headers)
    return Answer(
        status=status, body=problems.encode(error, call.request_id), media=problems.PROBLEM, headers=headers
    )


async def _everyone(call: Call) -> Identity:
    return EVERYONE


def _unpermitted(identity: Identity, scope: Scope) -> CityError:
    if identity.known:
        return errors.Forbidden(f"this needs the permission {scope}, which {identity.actor} does not have")
    return errors.Unauthorized(f"this needs the permission {scope}; sign in or send a token")


def _request_id(given: str | None) -> str:
    """The caller's own id when it is harmless to log, else the next of this process."""
    if given and len(given) <= 64 and given.replace("-", "").replace("_", "").isalnum() and given.isascii():
        return given
    return f"{_RUN}-{next(_COUNT):x}"


def _field(value: str) -> bytes:
    """A header's value on one line, whatever a handler put into it."""
    if not value.isprintable():
        value = "".join(char if char.isprintable() else " " for char in value)
    return value.encode("latin-1", "replace")


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; several of one name are joined with commas (RFC 9110, 5.3)."""
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if len(found) == len(raw):
        return found
    joined: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


def _segments(scope: Message) -> list[str]:
    """The decoded segments of the path; one trailing slash is nothing (6.2 writes lists with it)."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    segments = raw.decode("latin-1").split("/")
    del segments[0]
    if segments and not segments[-1]:
        del segments[-1]
    return [_decode(segment) if "%" in segment or not segment.isascii() else segment for segment in segments]


def _decode(text: str) -> str:
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise errors.InvalidRequest("the path or query holds bytes that are not UTF-8") from None


def _parse_query(encoded: bytes) -> list[tuple[str, str]]:
    if not encoded:
        return []
    parts = encoded.decode("latin-1").split("&", _MAX_PARAMETERS)
    if len(parts) > _MAX_PARAMETERS:
        raise errors.InvalidRequest(f"a request may have {_MAX_PARAMETERS} parameters at most")
    pairs = []
    for part in parts:
        if not part:
            continue
        name, _, value = part.replace("+", " ").partition("=")
        if "%" in part or not part.isascii():
            name, value = _decode(name), _decode(value)
        pairs.append((name, value))
    return pairs


async def _pour(stream: AsyncIterator[bytes], receive: Receive, send: Send) -> None:
    """Send a stream as it comes, until it ends or the client hangs up."""
    pump = asyncio.ensure_future(_pump(stream, send))
    gone = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (pump, gone):
            task.cancel()
        results = await asyncio.gather(pump, gone, return_exceptions=True)
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()
    if isinstance(results[0], Exception):
        log.error("stream failed", exc_info=results[0])


async def _pump(stream: AsyncIterator[bytes], send: Send) -> None:
    async for part in stream:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
