"""Templates to answers: who reads, in which language and light, and the headers every page carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from http.cookies import CookieError, SimpleCookie
from importlib.metadata import version as release
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from msgspec import Struct

from autocity.api.asgi import Answer, Call
from autocity.console import assets, show, words

LANGUAGE_COOKIE = "autocity_language"
THEME_COOKIE = "autocity_theme"
THEMES = ("auto", "light", "dark")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of every page: nothing from elsewhere, nothing inline."""


class Reader(Struct, frozen=True, kw_only=True):
    """Who reads a page: language, light, identity, the address they are at, and the moment of reading."""

    language: str
    theme: str
    name: str
    how: str
    role: str
    csrf: str
    path: str
    now: datetime
    clock: tzinfo
    permissions: frozenset[str] = frozenset()

    @property
    def guest(self) -> bool:
        return self.how == "guest"

    def may(self, permission: str) -> bool:
        return permission in self.permissions


def reader(call: Call, clock: tzinfo = show.CITY_CLOCK) -> Reader:
    """Who asks for a page."""
    found = cookies(call)
    theme = found.get(THEME_COOKIE, "auto")
    # Any identity will do: a test's, or that of a platform without users, has no name and no role.
    identity = call.identity
    return Reader(
        language=words.choose(found.get(LANGUAGE_COOKIE), call.header("accept-language")),
        theme=theme if theme in THEMES else "auto",
        name=getattr(identity, "name", ""),
        how=getattr(identity, "how", "guest"),
        role=getattr(identity, "role", ""),
        csrf=getattr(identity, "csrf", ""),
        permissions=getattr(identity, "permissions", frozenset()),
        path=quote(call.path, safe="/") + (f"?{call.query_string}" if call.query_string else ""),
        now=datetime.now(UTC),
        clock=clock,
    )


def cookies(call: Call) -> Mapping[str, str]:
    """The cookies of a request; a broken Cookie header is none."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(call.header("cookie") or "").items()}
    except CookieError:
        return {}


def render(who: Reader, template: str, /, *, status: int = 200, **values: Any) -> Answer:
    """A page, or the part of one that a fragment template holds."""
    text = environment(who.language).get_template(template).render(reader=who, **values)
    return Answer(
        status=status,
        body=text.encode(),
        media="text/html; charset=utf-8",
        headers=[
            ("Content-Security-Policy", POLICY),
            ("Content-Language", who.language),
            ("Cache-Control", "no-store"),
            ("Vary", "Cookie, Accept-Language, HX-Request-Type"),
            ("Referrer-Policy", "same-origin"),
        ],
    )


def speech(who: Reader) -> Callable[..., str]:
    """The function that says a text in the reader's language."""
    return words.speech(who.language)


@cache
def environment(language: str) -> Environment:
    """The templates in one language, with the writers of `show` bound to it."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_translations(words.catalogue(language), newstyle=True)  # type: ignore[attr-defined]
    made.filters |= {
        "number": lambda value, digits=None: show.number(value, language, digits),
        "percent": lambda value: show.percent(value, language),
        "phrase": lambda value: show.phrase(value, language),
        "day": lambda value: show.day(value, language),
        "clocked": lambda text, clock: show.clocked(text, language, clock),
        "segment": lambda value: quote(str(value), safe=""),
        "embed": embed,
    }
    made.globals |= {
        "asset": assets.address,
        "languages": words.LANGUAGES,
        "release": release("autocity"),
        "when": lambda instant, clock: show.when(instant, language, clock),
        "age": lambda instant, now: show.age(instant, now, language),
        "unit": show.unit,
    }
    return made


def embed(value: Any) -> Markup:
    """A value as JSON that is safe inside `<script type="application/json">`, which is data and never run."""
    text = msgspec.json.encode(value).decode()
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))
