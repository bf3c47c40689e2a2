"""Orders of text for `collation` (4.23, RFC 6067): language tags to sort keys, without a locale database.

A key has the levels of the Unicode Collation Algorithm, made from Unicode's own decompositions: base
letters, then accents, then case. That is the root order for alphabetic scripts; of the orders that
differ from it by language only German phone books are known, and any other well-formed tag sorts like
the root.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from unicodedata import combining, normalize

from autocity.errors import BadRequestData

# RFC 5646 without grandfathered tags: language, script, region, variants, then extensions.
_TAG = re.compile(
    r"(?:und|[a-z]{2,3})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?(?:-(?:[a-z0-9]{5,8}|\d[a-z0-9]{3}))*"
    r"(?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?",
    re.ASCII | re.IGNORECASE,
)
_NUMBER = re.compile(r"(\d+)")
_PHONE_BOOK = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "AE", "Ö": "OE", "Ü": "UE"})

_STRENGTH = {"level1": 1, "level2": 2, "level3": 3, "level4": 3, "identic": 3, "identical": 3}


@lru_cache(maxsize=64)
def collation(tag: str) -> Callable[[str], Any]:
    """The sort key of a collation, such as `und`, `de-u-co-phonebk` or `en-u-ks-level1-kn`.

    Known keys: `co` (phonebk), `ks` (strength), `kf` (upper: capitals first), `kn` (digits as numbers).
    Raises `errors.BadRequestData` for a tag that is not well formed.
    """
    if len(tag) > 100 or not _TAG.fullmatch(tag):
        raise BadRequestData(f"collation {tag!r:.40} is not a language tag, such as und or de-u-co-phonebk")
    keys = _keywords(tag.lower())
    strength = _STRENGTH.get(keys.get("ks", "level3"), 3)
    phone_book = keys.get("co") == "phonebk"
    numeric = keys.get("kn", "false") in ("", "true")
    upper_first = keys.get("kf") == "upper"

    def key(text: str) -> Any:
        if phone_book:
            text = text.translate(_PHONE_BOOK)
        marked = normalize("NFKD", text)
        base = "".join(char for char in marked if not combining(char))
        plain = base.casefold()
        letters: Any = _numbers(plain) if numeric else plain
        if strength == 1:
            return (letters,)
        accents = tuple(char for char in marked if combining(char))
        places = tuple(place for place, char in enumerate(marked) if combining(char))
        if strength == 2:
            return (letters, accents, places)
        # Small before capital, as the root order has it, unless asked otherwise.
        return (letters, accents, places, base if upper_first else base.swapcase(), text)

    return key


def _keywords(tag: str) -> dict[str, str]:
    """The `-u-` extension of a tag as key to value (RFC 6067)."""
    words = tag.split("-")
    if "u" not in words:
        return {}
    keys: dict[str, str] = {}
    key = ""
    for word in words[words.index("u") + 1 :]:
        if len(word) == 1:
            break
        if len(word) == 2:
            key = word
            keys[key] = ""
        elif key:
            keys[key] += ("-" if keys[key] else "") + word
    return keys


def _numbers(text: str) -> tuple[tuple[int, int, str], ...]:
    """Text in parts, runs of digits as numbers of any size, which come before letters."""
    parts = [part.lstrip("0") if part.isdecimal() else part for part in _NUMBER.split(text) if part]
    return tuple((0, len(part), part) if not part or part.isdecimal() else (1, 0, part) for part in parts)
