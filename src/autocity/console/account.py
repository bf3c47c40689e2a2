"""Doors and keys: sign in, first set-up, one's own account and tokens. The forms post to `/auth`."""

from __future__ import annotations

import msgspec

from autocity.api.asgi import Answer, Call
from autocity.api.auth import local_path
from autocity.console import page
from autocity.console.client import City
from autocity.console.page import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, Reader
from autocity.console.words import LANGUAGES
from autocity.errors import CityError

YEAR = 365 * 24 * 3600


async def sign_in(city: City, who: Reader, call: Call) -> Answer:
    """The sign-in form, with the fault of the attempt before."""
    query = dict(call.query)
    return page.render(
        who, "signin.html", next=local_path(query.get("next", "/")), error=query.get("error", "")
    )


async def set_up(city: City, who: Reader, call: Call) -> Answer:
    """The form that makes the first administrator, reached by the one-time link."""
    query = dict(call.query)
    return page.render(who, "setup.html", token=query.get("token", ""), error=query.get("error", ""))


async def account(city: City, who: Reader, call: Call) -> Answer:
    """Who one is, what one may do, and the tokens one's programs use."""
    tokens = []
    if who.how == "session":
        try:
            tokens = msgspec.json.decode((await city.get("/auth/tokens")).body)
        except CityError:
            tokens = []
    return page.render(who, "account.html", tokens=tokens, permissions=sorted(who.permissions))


async def preferences(call: Call, *, secure: bool) -> Answer:
    """Keep language and light in cookies, and go back. They are choices of taste: nothing is protected
    by them, so a plain link may set them."""
    query = dict(call.query)
    chosen = []
    if query.get("language") in LANGUAGES:
        chosen.append((LANGUAGE_COOKIE, query["language"]))
    if query.get("theme") in THEMES:
        chosen.append((THEME_COOKIE, query["theme"]))
    ending = f"; Path=/; Max-Age={YEAR}; SameSite=Lax; HttpOnly" + ("; Secure" if secure else "")
    cookies = [("Set-Cookie", f"{name}={value}{ending}") for name, value in chosen]
    return Answer(
        status=303,
        headers=[("Location", local_path(query.get("next", "/"))), ("Cache-Control", "no-store"), *cookies],
    )
