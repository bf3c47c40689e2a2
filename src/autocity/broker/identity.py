"""Who may do what: local users, roles, API tokens, sessions and the one-time set-up link.

Nothing here knows HTTP. What proves an identity (a session secret, a token, one day an OIDC claim)
is turned into one `Identity`; routes ask only `identity.may(permission)`.
Secrets are kept as hashes: passwords by argon2id, the random ones (128 bits and more) by SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Struct

from autocity.errors import (
    AlreadyExists,
    BadRequestData,
    Forbidden,
    ResourceNotFound,
    TooManyRequests,
    Unauthorized,
)
from autocity.model import Instant
from autocity.store.port import Commit, RecordWrite, StaleCommit, Store

Role = Literal["viewer", "operator", "editor", "approver", "administrator"]
Permission = Literal["public", "read", "write", "subscribe", "operate", "approve", "admin"]

PERMISSIONS: dict[str, frozenset[str]] = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "operate"}),
    "editor": frozenset({"read", "operate", "write", "subscribe"}),
    "approver": frozenset({"read", "operate", "write", "subscribe", "approve"}),
    "administrator": frozenset({"read", "operate", "write", "subscribe", "approve", "admin"}),
}
"""What each role may do. `operate` acts on the running city (acknowledge, override), `approve`
releases what touches people, `admin` manages users and the platform itself."""

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
SETUP_HOURS = 24
CACHE_SECONDS = 5.0
"""How long a verified token or session is trusted before it is read again. A revocation takes
effect at once in the process that made it, in others within this time."""
FAILURES_ALLOWED = 5
FAILURE_WINDOW_SECONDS = 300.0
MIN_PASSWORD = 10
USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}\Z")


class Identity(Struct, frozen=True, kw_only=True):
    """Who asks. `how` tells by what they are known; `csrf` must come back with a session's writes."""

    subject: str
    name: str
    role: str
    how: Literal["guest", "session", "token", "platform"]
    permissions: frozenset[str]
    csrf: str = ""
    tenant: str | None = None

    @property
    def actor(self) -> str:
        """The name under which changes are recorded."""
        return self.subject

    @property
    def known(self) -> bool:
        """Whether the caller proved who they are."""
        return self.how != "guest"

    def may(self, permission: str) -> bool:
        """Whether this permission is held; `public` needs none."""
        return permission == "public" or permission in self.permissions


NOBODY = Identity(subject="", name="", role="", how="guest", permissions=frozenset())
PLATFORM = Identity(
    subject="platform",
    name="autocity",
    role="administrator",
    how="platform",
    permissions=PERMISSIONS["administrator"],
)


def guest(role: str) -> Identity:
    """A visitor without session or token, who has this role."""
    return Identity(subject="guest", name="guest", role=role, how="guest", permissions=PERMISSIONS[role])


class User(Struct, frozen=True, kw_only=True):
    """A person known here. `password` is an argon2id hash."""

    id: str
    name: str
    role: Role
    password: str
    created_at: Instant
    disabled: bool = False


class Token(Struct, frozen=True, kw_only=True):
    """An API token: what it may do is the meet of its scopes and its owner's role."""

    id: str
    name: str
    user: str
    digest: str
    scopes: tuple[str, ...]
    created_at: Instant
    expires_at: Instant
    tenant: str | None = None


class Session(Struct, frozen=True, kw_only=True):
    """A console sign-in; its record id is the digest of the cookie's secret."""

    user: str
    csrf: str
    created_at: Instant
    expires_at: Instant


class Identities:
    """The register of users, tokens and sessions, kept as records of the default tenant."""

    def __init__(self, store: Store, clock: Callable[[], Instant], *, session_hours: int = 12) -> None:
        self._store = store
        self._clock = clock
        self._session_hours = session_hours
        self._known: dict[str, tuple[float, Identity]] = {}
        self._failures: dict[str, list[float]] = {}

    # users

    async def users(self) -> list[User]:
        return [msgspec.json.decode(r.body, type=User) for r in await self._store.records("", "user")]

    async def user(self, id: str) -> User | None:
        record = await self._store.record("", "user", id)
        return msgspec.json.decode(record.body, type=User) if record else None

    async def add_user(self, id: str, password: str, role: str, name: str = "") -> User:
        """A new user. Raises BadRequestData that names every fault, or AlreadyExists."""
        faults = []
        if not USERNAME.match(id):
            faults.append("username: 2 to 64 of a-z 0-9 . _ - and starts with a letter or digit")
        if len(password) < MIN_PASSWORD:
            faults.append(f"password: at least {MIN_PASSWORD} characters")
        if role not in PERMISSIONS:
            faults.append(f"role: one of {', '.join(PERMISSIONS)}")
        if faults:
            raise BadRequestData("; ".join(faults))
        user = User(
            id=id,
            name=name or id,
            role=msgspec.convert(role, Role),
            password=await asyncio.to_thread(_hash, password),
            created_at=self._clock(),
        )
        try:
            await self._put("user", id, user, expected=0)
        except StaleCommit:
            raise AlreadyExists(f"user {id} exists already") from None
        return user

    async def change_user(self, id: str, *, role: str | None = None, disabled: bool | None = None) -> User:
        """Give a user another role, or switch the user off or on; open sessions end within seconds."""
        user = await self.user(id)
        if user is None:
            raise ResourceNotFound(f"user {id} does not exist")
        if role is not None and role not in PERMISSIONS:
            raise BadRequestData(f"role: one of {', '.join(PERMISSIONS)}")
        user = msgspec.structs.replace(
            user,
            role=user.role if role is None else msgspec.convert(role, Role),
            disabled=user.disabled if disabled is None else disabled,
        )
        await self._put("user", id, user)
        self._known.clear()
        return user

    async def change_password(self, id: str, old: str, new: str) -> None:
        """Set a new password for the user who knows the old one."""
        user = await self._verify(id, old)
        if len(new) < MIN_PASSWORD:
            raise BadRequestData(f"password: at least {MIN_PASSWORD} characters")
        await self._put(
            "user", id, msgspec.structs.replace(user, password=await asyncio.to_thread(_hash, new))
        )

    # set-up

    async def needs_setup(self) -> bool:
        """Whether nobody can administer this city yet."""
        return not any(u.role == "administrator" and not u.disabled for u in await self.users())

    async def offer_setup(self) -> str:
        """A secret for the one-time set-up link, good for a day; an earlier one becomes void."""
        secret = secrets.token_urlsafe(24)
        body = msgspec.json.encode(
            {"digest": _digest(secret), "expires_at": self._clock() + SETUP_HOURS * HOUR}
        )
        await self._store.commit(
            Commit(records=(RecordWrite(tenant="", kind="setup", id="first-administrator", body=body),))
        )
        return secret

    async def set_up(self, secret: str, id: str, password: str, name: str = "") -> User:
        """Make the first administrator with the secret of the set-up link, which is used up by it."""
        record = await self._store.record("", "setup", "first-administrator")
        offer = msgspec.json.decode(record.body) if record else None
        if offer is None or offer["expires_at"] < self._clock() or not _same(offer["digest"], secret):
            raise Forbidden("this set-up link is not valid any more; restart the server to get a new one")
        user = await self.add_user(id, password, "administrator", name)
        await self._drop("setup", "first-administrator")
        return user

    # sessions

    async def sign_in(self, id: str, password: str, origin: str = "") -> tuple[str, Session]:
        """The secret for a session cookie, and the session. Slows down guessing by user and origin."""
        keys = (f"user:{id}", f"from:{origin}") if origin else (f"user:{id}",)
        if any(
            self._recent_failures(key) >= FAILURES_ALLOWED * (4 if key.startswith("from") else 1)
            for key in keys
        ):
            raise TooManyRequests("too many failed attempts; wait five minutes")
        try:
            user = await self._verify(id, password)
        except Unauthorized:
            for key in keys:
                self._failures.setdefault(key, []).append(time.monotonic())
            raise
        self._failures.pop(keys[0], None)
        return await self.open_session(user)

    async def open_session(self, user: User) -> tuple[str, Session]:
        """Sign a verified user in."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        session = Session(
            user=user.id,
            csrf=secrets.token_urlsafe(24),
            created_at=now,
            expires_at=now + self._session_hours * HOUR,
        )
        await self._put("session", _digest(secret), session)
        return secret, session

    async def by_session(self, secret: str) -> Identity | None:
        """Who holds this session cookie; None when it is unknown, ended or the user is switched off."""
        key = _digest(secret)
        if (known := self._fresh(key)) is not None:
            return known
        record = await self._store.record("", "session", key)
        if record is None:
            return None
        session = msgspec.json.decode(record.body, type=Session)
        now = self._clock()
        user = await self.user(session.user)
        if session.expires_at < now or user is None or user.disabled:
            await self._drop("session", key)
            return None
        lifetime = self._session_hours * HOUR
        if session.expires_at - now < lifetime // 2:
            await self._put("session", key, msgspec.structs.replace(session, expires_at=now + lifetime))
        return self._remember(
            key,
            Identity(
                subject=user.id,
                name=user.name,
                role=user.role,
                how="session",
                permissions=PERMISSIONS[user.role],
                csrf=session.csrf,
            ),
        )

    async def sign_out(self, secret: str) -> None:
        self._known.pop(_digest(secret), None)
        await self._drop("session", _digest(secret))

    # tokens

    async def issue_token(
        self,
        owner: Identity,
        name: str,
        scopes: tuple[str, ...] = (),
        days: int = 90,
        tenant: str | None = None,
    ) -> tuple[str, Token]:
        """A token for programs and its description; the secret is shown this once only.

        `scopes` must lie within what the owner may do; empty means all of it. `tenant` binds the
        token to one tenant. `days` is 1 to 3650.
        """
        if owner.how not in ("session", "platform"):
            raise Forbidden("sign in to make a token; a guest or a token cannot make one")
        faults = [
            f"scope {s}: yours are {', '.join(sorted(owner.permissions))}" for s in scopes if not owner.may(s)
        ]
        if not 1 <= days <= 3650:
            faults.append("days: 1 to 3650")
        if not 1 <= len(name) <= 100:
            faults.append("name: 1 to 100 characters that say what the token is for")
        if faults:
            raise BadRequestData("; ".join(faults))
        id, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), self._clock()
        token = Token(
            id=id,
            name=name,
            user=owner.subject,
            digest=_digest(secret),
            scopes=scopes or tuple(sorted(owner.permissions)),
            created_at=now,
            expires_at=now + days * DAY,
            tenant=tenant,
        )
        await self._put("token", id, token, expected=0)
        return f"act_{id}_{secret}", token

    async def tokens(self, user: str | None = None) -> list[Token]:
        """Tokens of one user, or all."""
        found = [msgspec.json.decode(r.body, type=Token) for r in await self._store.records("", "token")]
        return [t for t in found if user is None or t.user == user]

    async def by_token(self, text: str) -> Identity | None:
        """Who holds this token; None when it is unknown, revoked, expired or the owner is switched off."""
        prefix, _, rest = text.partition("_")
        id, _, secret = rest.partition("_")
        if prefix != "act" or not secret:
            return None
        key = _digest(text)
        if (known := self._fresh(key)) is not None:
            return known
        record = await self._store.record("", "token", id)
        if record is None:
            return None
        token = msgspec.json.decode(record.body, type=Token)
        if not _same(token.digest, secret) or token.expires_at < self._clock():
            return None
        if token.user == PLATFORM.subject:
            permissions = PLATFORM.permissions
        else:
            user = await self.user(token.user)
            if user is None or user.disabled:
                return None
            permissions = PERMISSIONS[user.role]
        return self._remember(
            key,
            Identity(
                subject=f"{token.user}/{token.id}",
                name=token.name,
                role="",
                how="token",
                permissions=permissions & frozenset(token.scopes),
                tenant=token.tenant,
            ),
        )

    async def revoke_token(self, id: str, by: Identity) -> None:
        """End a token: one's own, or anyone's for an administrator."""
        record = await self._store.record("", "token", id)
        if record is None:
            raise ResourceNotFound(f"token {id} does not exist")
        if msgspec.json.decode(record.body, type=Token).user != by.subject and not by.may("admin"):
            raise Forbidden("this token belongs to someone else")
        await self._drop("token", id)
        self._known.clear()

    # within

    async def _verify(self, id: str, password: str) -> User:
        user = await self.user(id)
        # An unknown name costs the same time as a wrong password, so that names cannot be probed.
        right = await asyncio.to_thread(_check, user.password if user else _DECOY, password)
        if user is None or not right or user.disabled:
            raise Unauthorized("the username or the password is wrong")
        return user

    def _recent_failures(self, key: str) -> int:
        since = time.monotonic() - FAILURE_WINDOW_SECONDS
        recent = [at for at in self._failures.get(key, ()) if at > since]
        if recent:
            self._failures[key] = recent
        else:
            self._failures.pop(key, None)
        return len(recent)

    def _fresh(self, key: str) -> Identity | None:
        known = self._known.get(key)
        return known[1] if known and known[0] > time.monotonic() else None

    def _remember(self, key: str, identity: Identity) -> Identity:
        if len(self._known) > 10_000:
            self._known.clear()
        self._known[key] = (time.monotonic() + CACHE_SECONDS, identity)
        return identity

    async def _put(self, kind: str, id: str, value: Struct, expected: int | None = None) -> None:
        write = RecordWrite(tenant="", kind=kind, id=id, body=msgspec.json.encode(value), expected=expected)
        await self._store.commit(Commit(records=(write,)))

    async def _drop(self, kind: str, id: str) -> None:
        await self._store.commit(Commit(records=(RecordWrite(tenant="", kind=kind, id=id, body=None),)))


def _hash(password: str) -> str:
    from argon2 import PasswordHasher

    return PasswordHasher().hash(password)


def _check(hashed: str, password: str) -> bool:
    from argon2 import PasswordHasher
    from argon2.exceptions import VerificationError

    try:
        return PasswordHasher().verify(hashed, password)
    except VerificationError:
        return False


# A well-formed hash that no password fits: 16 zero bytes of salt, 32 zero bytes of hash.
_DECOY = f"$argon2id$v=19$m=65536,t=3,p=4${'A' * 22}${'A' * 43}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _same(digest: str, secret: str) -> bool:
    return hmac.compare_digest(digest, _digest(secret))
