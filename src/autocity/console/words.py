"""The languages of the console: which one a reader gets, and the catalogue that translates into it.

Catalogues are gettext `.po` files in `locale/`, compiled in memory when a language is first asked for,
so that no compiled file can be older than its source. Refresh them after changing a text, in this folder:
`pybabel extract -F locale/babel.cfg -k _ -k say -o console.pot .`, then
`pybabel update -i console.pot -D console -d locale`.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

LANGUAGES = {"en": "English", "zh-Hans": "中文"}
"""Language tag (BCP 47) to its own name, in the order in which they are offered."""

FOLDER = Path(__file__).parent / "locale"


def choose(cookie: str | None, accept: str | None) -> str:
    """The language for a reader: the one in the cookie, else the best of Accept-Language, else English."""
    if cookie in LANGUAGES:
        return str(cookie)
    for tag in _by_preference(accept or ""):
        primary = tag.partition("-")[0].lower()
        if primary == "zh":
            return "zh-Hans"
        if primary == "en":
            return "en"
    return "en"


@cache
def catalogue(language: str) -> gettext.GNUTranslations:
    """The compiled catalogue of a language in `LANGUAGES`."""
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    name = language.replace("-", "_")
    with (FOLDER / name / "LC_MESSAGES" / "console.po").open("rb") as source:
        messages = read_po(source, locale=name)
    compiled = io.BytesIO()
    write_mo(compiled, messages)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@cache
def speech(language: str) -> Callable[..., str]:
    """The function that says a text in a language, with its `%(name)s` places filled from keywords."""
    translate = catalogue(language).gettext

    def say(text: str, **places: object) -> str:
        return translate(text) % places

    return say


def _by_preference(accept: str) -> list[str]:
    """Language tags of an Accept-Language header (RFC 9110, 12.5.4), most wanted first."""
    weighted = []
    for position, part in enumerate(accept.split(",")):
        tag, _, parameters = part.partition(";")
        if tag.strip() and (weight := _weight(parameters)) > 0:
            weighted.append((-weight, position, tag.strip()))
    return [tag for _, _, tag in sorted(weighted)]


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
