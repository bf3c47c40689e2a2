"""Who calls: from token, session cookie or place to an identity, and the routes to sign in and to
manage users and tokens.

A browser cannot be talked into writing by a foreign page: session writes must bring the session's
CSRF token back, requests that a browser marks as cross-site are refused, and while visitors are
trusted for coming over loopback the Host header must name this machine (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from msgspec import Struct

from autocity.api.asgi import Answer, Call, Operation, Route
from autocity.broker.identity import NOBODY, PERMISSIONS, Identities, Identity, guest
from autocity.errors import BadRequestData, CityError, Forbidden, InvalidRequest, Unauthorized

COOKIE = "autocity_session"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK_NAMES = frozenset({"localhost", "[::1]", "::1"})
TAG = "Identity"


class Policy(Struct, frozen=True, kw_only=True):
    """What is granted to whom. `visitor` is the role of a caller without token or session ("" none);
    `loopback_only` says that it is granted because nobody else can reach the server. `origins` are
    those of foreign pages that may call."""

    visitor: str = ""
    loopback_only: bool = True
    secure_cookies: bool = False
    origins: frozenset[str] = frozenset()

    def welcomes(self, call: Call) -> bool:
        """Whether a write may come from where the browser says it does."""
        if call.header("sec-fetch-site") != "cross-site":
            return True
        return bool({call.header("origin"), "*"} & self.origins)


def authenticator(identities: Identities, policy: Policy) -> Callable[[Call], Awaitable[Identity]]:
    """The function that finds out who calls. Raises Unauthorized for a token or session that is not good."""
    visitor = guest(policy.visitor) if policy.visitor else NOBODY

    async def authenticate(call: Call) -> Identity:
        token = call.header("authorization")
        if token is not None:
            return await _by_token(identities, call, token)
        if call.method not in SAFE and not policy.welcomes(call):
            raise Forbidden("a page of another site may not write here")
        secret = session_secret(call)
        if secret is not None:
            identity = await identities.by_session(secret)
            if identity is not None:
                if call.method not in SAFE and not await _brings(call, identity.csrf):
                    raise Forbidden("the CSRF token is missing or old; reload the page and send it again")
                return identity
        if policy.loopback_only and visitor.permissions and not _names_this_machine(call):
            raise Forbidden(
                "this server answers visitors under a loopback name only; use http://127.0.0.1 or a token"
            )
        return visitor

    return authenticate


async def _by_token(identities: Identities, call: Call, header: str) -> Identity:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("send `Authorization: Bearer <token>`; other schemes are not known here")
    identity = await identities.by_token(token.strip())
    if identity is None:
        raise Unauthorized("this token is unknown, expired or revoked")
    if identity.tenant is not None and identity.tenant != call.tenant:
        raise Forbidden(f"this token is bound to the tenant {identity.tenant or '(default)'}")
    return identity


def session_secret(call: Call) -> str | None:
    """The secret in the session cookie of a call."""
    for part in (call.header("cookie") or "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            return value
    return None


async def _brings(call: Call, csrf: str) -> bool:
    header = call.header("x-csrf-token")
    if header is not None:
        return header == csrf
    if _is_form(call):
        return dict(parse_qsl((await call.read()).decode("utf-8", "replace"))).get("csrf") == csrf
    return False


def _names_this_machine(call: Call) -> bool:
    host = call.header("host")
    if not host:
        return True
    name = host if host.endswith("]") else host.rsplit(":", 1)[0] if ":" in host else host
    return name in LOOPBACK_NAMES or name.startswith("127.")


def _is_form(call: Call) -> bool:
    return (call.header("content-type") or "").startswith("application/x-www-form-urlencoded")


class _Credentials(Struct, frozen=True):
    username: str
    password: str
    next: str = "/"


class _SetUp(Struct, frozen=True):
    token: str
    username: str
    password: str
    name: str = ""
    next: str = "/"


class _NewPassword(Struct, frozen=True):
    old: str
    new: str


class _NewToken(Struct, frozen=True):
    name: str
    scopes: tuple[str, ...] = ()
    days: int = 90
    tenant: str | None = None


class _NewUser(Struct, frozen=True):
    username: str
    password: str
    role: str
    name: str = ""


class _UserChange(Struct, frozen=True):
    role: str | None = None
    disabled: bool | None = None


def routes(identities: Identities, policy: Policy) -> list[Route]:
    """Sign in and out, first set-up, users and tokens. Bodies are JSON, or forms where a page posts them;
    a form is answered with a redirect to its `next` or back to the page with `error`."""

    def cookie(secret: str, age: int) -> tuple[str, str]:
        secure = "; Secure" if policy.secure_cookies else ""
        return "Set-Cookie", f"{COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}"

    async def signed_in(call: Call, secret: str, csrf: str, subject: str, target: str) -> Answer:
        header = cookie(secret, 30 * 24 * 3600)
        if _is_form(call):
            return Answer(status=303, headers=[("Location", local_path(target)), header])
        answer = _json({"subject": subject, "csrf": csrf})
        answer.headers.append(header)
        return answer

    async def sign_in(call: Call) -> Answer:
        """Sign in with name and password; the answer sets the session cookie."""
        given = _read(call, _Credentials)
        try:
            secret, session = await identities.sign_in(given.username, given.password)
        except CityError as fault:
            return _back(call, fault, "/signin", next=local_path(given.next))
        return await signed_in(call, secret, session.csrf, session.user, given.next)

    async def sign_out(call: Call) -> Answer:
        """End the session."""
        secret = session_secret(call)
        if secret is not None:
            await identities.sign_out(secret)
        status, headers = (303, [("Location", "/")]) if _is_form(call) else (204, [])
        return Answer(status=status, headers=[*headers, cookie("", 0)])

    async def set_up(call: Call) -> Answer:
        """Make the first administrator with the secret of the set-up link, and sign in."""
        given = _read(call, _SetUp)
        try:
            user = await identities.set_up(given.token, given.username, given.password, given.name)
        except CityError as fault:
            return _back(call, fault, "/setup", token=given.token)
        secret, session = await identities.open_session(user)
        return await signed_in(call, secret, session.csrf, user.id, given.next)

    async def whoami(call: Call) -> Answer:
        """Who the caller is and what they may do."""
        who = _who(call)
        return _json(
            {
                "subject": who.subject,
                "name": who.name,
                "role": who.role,
                "how": who.how,
                "permissions": sorted(who.permissions),
                "csrf": who.csrf,
                "needsSetup": await identities.needs_setup(),
            }
        )

    async def change_password(call: Call) -> Answer:
        """Change one's own password."""
        given = _read(call, _NewPassword)
        if _who(call).how != "session":
            raise Forbidden("sign in to change your password")
        await identities.change_password(_who(call).subject, given.old, given.new)
        return Answer(status=204)

    async def issue_token(call: Call) -> Answer:
        """Make an API token; its secret is in this answer and never again."""
        given = _read(call, _NewToken)
        secret, token = await identities.issue_token(
            _who(call), given.name, given.scopes, given.days, given.tenant
        )
        return _json(_token_view(token) | {"token": secret}, 201)

    async def list_tokens(call: Call) -> Answer:
        """One's own tokens; for an administrator all."""
        who = _who(call)
        found = await identities.tokens(None if who.may("admin") else who.subject)
        return _json([_token_view(token) for token in found])

    async def revoke_token(call: Call) -> Answer:
        """End a token at once."""
        await identities.revoke_token(call.params["id"], _who(call))
        return Answer(status=204)

    async def list_users(call: Call) -> Answer:
        """Every user."""
        return _json([_user_view(user) for user in await identities.users()])

    async def add_user(call: Call) -> Answer:
        """Make a user."""
        given = _read(call, _NewUser)
        return _json(
            _user_view(await identities.add_user(given.username, given.password, given.role, given.name)), 201
        )

    async def change_user(call: Call) -> Answer:
        """Give a user another role, or switch the user off or on."""
        given = _read(call, _UserChange)
        user = await identities.change_user(call.params["id"], role=given.role, disabled=given.disabled)
        return _json(_user_view(user))

    def route(
        method: str, path: str, handle: Any, scope: Any, id: str, accepts: str = "", status: int = 200
    ) -> Route:
        operation = Operation(
            id=id, summary=(handle.__doc__ or "").strip(), tag=TAG, accepts=accepts, answers={status: ""}
        )
        return Route(method=method, path=path, handle=handle, scope=scope, operation=operation)

    return [
        route("POST", "/auth/signin", sign_in, "public", "signIn", "Credentials"),
        route("POST", "/auth/signout", sign_out, "public", "signOut", status=204),
        route("POST", "/auth/setup", set_up, "public", "setUp", "SetUp"),
        route("GET", "/auth/me", whoami, "public", "whoAmI"),
        route("POST", "/auth/password", change_password, "read", "changePassword", "NewPassword", 204),
        route("POST", "/auth/tokens", issue_token, "read", "issueToken", "NewToken", 201),
        route("GET", "/auth/tokens", list_tokens, "read", "listTokens"),
        route("DELETE", "/auth/tokens/{id}", revoke_token, "read", "revokeToken", status=204),
        route("GET", "/auth/users", list_users, "admin", "listUsers"),
        route("POST", "/auth/users", add_user, "admin", "addUser", "NewUser", 201),
        route("PATCH", "/auth/users/{id}", change_user, "admin", "changeUser", "UserChange"),
    ]


SCHEMAS: dict[str, dict[str, Any]] = {
    "Credentials": {
        "type": "object",
        "required": ["username", "password"],
        "properties": {
            "username": {"type": "string"},
            "password": {"type": "string"},
            "next": {"type": "string"},
        },
    },
    "SetUp": {
        "type": "object",
        "required": ["token", "username", "password"],
        "properties": {
            "token": {"type": "string"},
            "username": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{1,63}$"},
            "password": {"type": "string", "minLength": 10},
            "name": {"type": "string"},
        },
    },
    "NewPassword": {
        "type": "object",
        "required": ["old", "new"],
        "properties": {"old": {"type": "string"}, "new": {"type": "string", "minLength": 10}},
    },
    "NewToken": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 100},
            "scopes": {"type": "array", "items": {"enum": sorted(PERMISSIONS["administrator"])}},
            "days": {"type": "integer", "minimum": 1, "maximum": 3650},
            "tenant": {"type": ["string", "null"]},
        },
    },
    "NewUser": {
        "type": "object",
        "required": ["username", "password", "role"],
        "properties": {
            "username": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{1,63}$"},
            "password": {"type": "string", "minLength": 10},
            "role": {"enum": list(PERMISSIONS)},
            "name": {"type": "string"},
        },
    },
    "UserChange": {
        "type": "object",
        "properties": {"role": {"enum": list(PERMISSIONS)}, "disabled": {"type": "boolean"}},
    },
}
"""Body schemas of these routes, by the name in `Operation.accepts`."""


def local_path(target: str) -> str:
    """`target` when it is a path of this server, else "/": a sign-in never redirects elsewhere."""
    parts = urlsplit(target)
    fine = (
        target.startswith("/")
        and not target.startswith(("//", "/\\"))
        and not parts.scheme
        and not parts.netloc
    )
    return target if fine and target.isprintable() else "/"


def _who(call: Call) -> Identity:
    identity = call.identity
    assert isinstance(identity, Identity)
    return identity


def _read(call: Call, kind: Any) -> Any:
    """The body as a struct. Raises BadRequestData that names the member."""
    try:
        if _is_form(call):
            form = dict(parse_qsl(call.body.decode("utf-8"), keep_blank_values=True))
            return msgspec.convert(form, kind, strict=False)
        return msgspec.json.decode(call.body or b"{}", type=kind)
    except msgspec.ValidationError as fault:
        raise BadRequestData(str(fault)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise InvalidRequest(f"the body is not valid JSON: {fault}") from None


def _back(call: Call, fault: CityError, page: str, **query: str) -> Answer:
    """Send a form back to its page with the fault; raise it for a program."""
    if not _is_form(call):
        raise fault
    return Answer(status=303, headers=[("Location", f"{page}?{urlencode(query | {'error': fault.detail})}")])


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(
        status=status,
        body=msgspec.json.encode(value),
        media="application/json",
        headers=[("Cache-Control", "no-store")],
    )


def _token_view(token: Any) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "user": token.user,
        "scopes": token.scopes,
        "tenant": token.tenant,
        "createdAt": _time(token.created_at),
        "expiresAt": _time(token.expires_at),
    }


def _user_view(user: Any) -> dict[str, Any]:
    return {"id": user.id, "name": user.name, "role": user.role, "disabled": user.disabled}


def _time(instant: int) -> str:
    from autocity.ld.instants import timestamp

    return timestamp(instant)
