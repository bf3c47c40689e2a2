"""Compiled term maps: the short names of a client's `@context` on one side, full IRIs on the other.

A context is compiled once and then answers from two dictionaries. The core context of every version
is built in, always has the last word (4.4) and is never fetched. Only names pass through here
(attributes, types, `vocab`, `objectType`); values of attributes are opaque to the platform.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

NGSI_LD = "https://uri.etsi.org/ngsi-ld/"
DEFAULT = NGSI_LD + "default-context/"
CORE_URL = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"

Source = str | dict[str, Any] | list[Any]
"""A user `@context` as JSON: URL, object, or array of them."""

Load = Callable[[str], Awaitable[Any]]
"""Fetches the JSON document behind a URL; raises `errors.LdContextNotAvailable`."""


class Context:
    """A compiled, immutable term map (4.4, 5.5.7). Two of the same source behave the same.

    `source` is what the user gave, without any core context: what an answer carries as `@context`
    (None: the user gave nothing but the core). `link` is the URL for a `Link` header, or None when
    the source is no single URL.
    """

    source: Source | None
    link: str | None

    def expand(self, name: str) -> str:
        """The IRI of a name: term, `prefix:name`, full IRI, else the default vocabulary."""
        raise NotImplementedError

    def compact(self, iri: str) -> str:
        """The shortest name that `expand` maps back to `iri`; the IRI itself when there is none."""
        raise NotImplementedError

    def coercion(self, name: str) -> str | None:
        """What `@type` the term gives its values: `@id`, `@vocab`, `@json` or an IRI; None if nothing."""
        raise NotImplementedError

    @property
    def echo(self) -> Source:
        """What an answer carries as `@context`: `source`, or the URL of the core when there is none."""
        raise NotImplementedError


CORE: Context
"""The core context alone: what holds when a request brings no `@context` (5.5.5)."""


def is_core(url: str) -> bool:
    """Whether the URL names a core context that is built in (v1.3 to v1.9, or unversioned)."""
    raise NotImplementedError


def core_document() -> dict[str, Any]:
    """The core context as a JSON-LD document, ready to be served."""
    raise NotImplementedError


async def compile(source: Source | None, load: Load) -> Context:
    """Compile a user `@context`, loading remote parts (at most 10) through `load`.

    Raises `errors.BadRequestData` for an invalid context, `errors.LdContextNotAvailable` from `load`.
    """
    raise NotImplementedError
