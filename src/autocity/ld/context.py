"""Compiled term maps: the short names of a client's `@context` on one side, full IRIs on the other.

A context is compiled once and then answers from dictionaries. The core context of every version is
built in, always has the last word (4.4) and is never fetched. Only names pass through here
(attributes, types, `vocab`, `objectType`, `valueType`); values of attributes are opaque to the platform.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar
from urllib.parse import urljoin

import msgspec
from msgspec import Struct

from autocity.errors import BadRequestData
from autocity.ld import core_terms

NGSI_LD = core_terms.NGSI_LD
DEFAULT = core_terms.VOCABULARY
CORE_URL = NGSI_LD + "v1/ngsi-ld-core-context-v1.9.jsonld"

Source = str | dict[str, Any] | list[Any]
"""A user `@context` as JSON: URL, object, or array of them."""

Load = Callable[[str], Awaitable[Any]]
"""Fetches the JSON document behind a URL; raises `errors.LdContextNotAvailable`."""

MAX_REMOTE = 10  # different URLs in one user context; PyLD has the same bound
MAX_PARTS = 100  # contexts applied in all, so that a short text cannot ask for endless work
MAX_TERMS = 20_000
MAX_DEPTH = 16  # of nested arrays, of documents that refer to documents, of terms defined through terms
MAX_IRI = 2_000
MAX_REMEMBERED = 5_000  # names and IRIs that one context remembers beside its own terms
MAX_REMEMBERED_LENGTH = 200

_ALSO_ATTRIBUTES = frozenset((NGSI_LD + "hasValue",))
"""Members of attributes that published models use as names of attributes too; on an entity `value` cannot
be taken for the member, and it is no non-reified Property (4.5.1)."""

_CORE = re.compile(r"https?://uri\.etsi\.org/ngsi-ld/v1/ngsi-ld-core-context(?:-v1\.[3-9])?\.jsonld")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S*")
_DELIMITERS = tuple(":/?#[]@")  # an IRI that ends so is a prefix without being declared one
_LIKE_KEYWORD = re.compile(r"@[A-Za-z]+")
_FORBIDDEN = re.compile(r"""[\s<>"{}|\\^`\x00-\x20\x7f]""")
_SETTING_WORDS = "base direction import language propagate protected version vocab"
_VALUE_WORDS = "container context graph id included index json list nest none prefix reverse set type value"
_SETTINGS = frozenset(f"@{word}" for word in _SETTING_WORDS.split())
_KEYWORDS = _SETTINGS.union(f"@{word}" for word in _VALUE_WORDS.split())
_COERCIONS = frozenset(("@id", "@json", "@none", "@vocab"))

_MEMBERS = """
createdAt datasetId deletedAt entity entityIdSealed entityList entityTypeSealed expiresAt hasJSON
hasLanguageMap hasObject hasObjectList hasObjectType hasPreviousJson hasPreviousLanguageMap
hasPreviousObject hasPreviousObjectList hasPreviousValue hasPreviousValueList hasPreviousVocab hasValue
hasValueList hasValueType hasVocab instanceId lang modifiedAt observedAt scope unitCode
"""
NON_REIFIED = frozenset(NGSI_LD + name for name in _MEMBERS.split())
"""IRIs of core terms that are members of attributes, never attributes (4.5.1)."""


class Term(Struct, frozen=True):
    """What one term stands for. `prefix`: it may stand before a colon."""

    iri: str
    coercion: str | None = None
    prefix: bool = False


Answer = TypeVar("Answer")


class _Memo(dict[str, Answer], Generic[Answer]):
    """A dictionary that works out what it lacks, and remembers a bounded number of answers."""

    __slots__ = ("_room", "_work")

    def __init__(self, work: Callable[[str], Answer], known: Mapping[str, Answer] | None = None) -> None:
        super().__init__(known or {})
        self._work = work
        self._room = MAX_REMEMBERED + len(self)

    def __missing__(self, key: str) -> Answer:
        answer = self._work(key)
        if len(self) < self._room and len(key) <= MAX_REMEMBERED_LENGTH:
            self[key] = answer
        return answer


class Context:
    """A compiled, immutable term map (4.4, 5.5.7).

    `source` is what the user gave, without any core context (None: nothing but the core).
    `expand(name)` is the IRI of a term, of `prefix:name`, of a full IRI, else of the name in the
    default vocabulary. `compact(iri)` is the shortest name that `expand` maps back to the IRI, or the
    IRI itself when there is none. `attribute(name)` and `type(name)` expand a name that must also be
    allowed (4.6.2; an attribute also by 4.5.1), else raise `errors.BadRequestData`. `key(iri)` is the
    compacted name as the beginning of a JSON member: `,"name":`. These five are dictionary look-ups
    after the first time.
    """

    __slots__ = ("_prefixes", "_terms", "attribute", "compact", "expand", "key", "source", "type")

    expand: Callable[[str], str]
    compact: Callable[[str], str]
    attribute: Callable[[str], str]
    type: Callable[[str], str]
    key: Callable[[str], bytes]

    def __init__(self, terms: Mapping[str, Term], source: Source | None) -> None:
        self.source = source
        self._terms = terms
        self._prefixes = [(term.iri, name) for name, term in terms.items() if term.prefix]
        self.expand = _Memo(self._expand, {name: term.iri for name, term in terms.items()}).__getitem__
        self.compact = _Memo(self._compact, self._inverse()).__getitem__
        self.attribute = _Memo(self._attribute).__getitem__
        self.type = _Memo(self._type).__getitem__
        self.key = _Memo(self._key).__getitem__

    def __repr__(self) -> str:
        return f"Context({self.source!r:.100})"

    @property
    def link(self) -> str | None:
        """The URL for a `Link` header; None when the source is more than one URL."""
        if self.source is None:
            return CORE_URL
        only = self.source[0] if isinstance(self.source, list) and len(self.source) == 1 else self.source
        return only if isinstance(only, str) else None

    @property
    def echo(self) -> Source:
        """What an answer carries as `@context`: `source`, or the URL of the core when there is none."""
        return CORE_URL if self.source is None else self.source

    def coercion(self, name: str) -> str | None:
        """What `@type` the term gives its values: `@id`, `@vocab`, `@json` or an IRI; None if nothing."""
        term = self._terms.get(name)
        return term.coercion if term else None

    def _expand(self, name: str) -> str:
        return _join(name, self._terms) if ":" in name or name in _KEYWORDS else DEFAULT + name

    def _inverse(self) -> dict[str, str]:
        # Least wanted first: long before short, and the user's own before the core's.
        ordered = sorted(
            self._terms, key=lambda name: (name not in CORE_TERMS, len(name), name), reverse=True
        )
        return {self._terms[name].iri: name for name in ordered}

    def _compact(self, iri: str) -> str:
        # Every candidate is expanded again: a shorter name must never mean something else.
        if iri.startswith(DEFAULT):
            name = iri[len(DEFAULT) :]
            if name and self.expand(name) == iri:
                return name
            # The name means something else here; the prefix of the core says which one this is.
            long = "ngsi-ld:" + iri[len(NGSI_LD) :]
            if is_name(name) and self.expand(long) == iri:
                return long
        candidates = [
            f"{prefix}:{iri[len(start) :]}"
            for start, prefix in self._prefixes
            if iri.startswith(start) and is_name(iri[len(start) :])
        ]
        fitting = [name for name in candidates if self.expand(name) == iri]
        return min(fitting, key=lambda name: (len(name), name), default=iri)

    def _key(self, iri: str) -> bytes:
        return b"," + msgspec.json.encode(self.compact(iri)) + b":"

    def _attribute(self, name: str) -> str:
        iri = self._type(name)
        if iri in _KEYWORDS or (iri in NON_REIFIED and iri not in _ALSO_ATTRIBUTES):
            raise BadRequestData(f"{name!r:.100} is reserved by the standard and cannot name an attribute")
        return iri

    def _type(self, name: str) -> str:
        if ":" in name:
            iri = self.expand(name)
            if len(iri) <= MAX_IRI and not _FORBIDDEN.search(iri) and not iri.endswith(":"):
                return iri
        elif is_name(name) and len(name) <= MAX_IRI:
            iri = self.expand(name)
            if not iri.startswith("@"):
                return iri
        raise BadRequestData(
            f"{name!r:.100} is no name: use a letter, then letters, digits and _, or a full IRI"
        )


def is_name(text: str) -> bool:
    """Whether the text is a name without prefix (4.6.2): a letter, then letters, digits and `_`."""
    return text[:1].isalpha() and (text.isalnum() or text.replace("_", "a").isalnum())


def is_core(url: str) -> bool:
    """Whether the URL names a core context that is built in (v1.3 to v1.9, or unversioned)."""
    return _CORE.fullmatch(url) is not None


def core_document() -> dict[str, Any]:
    """The core context as a JSON-LD document, ready to be served."""
    return {"@context": core_terms.definitions()}


async def compile(source: Source | None, load: Load) -> Context:
    """Compile a user `@context`, loading remote parts (at most 10 URLs) through `load`.

    The core stands before it, so that its prefixes may be used, and after it, where nothing can
    override it. Scoped contexts are refused (5.5.7). A term set to null goes to the default vocabulary.
    Raises `errors.BadRequestData` for an invalid context, and what `load` raises.
    """
    if source is None:
        return CORE
    compiler = _Compiler(load)
    await compiler.apply(source, base=None, depth=0)
    own = _without_core(source)
    if own is None:
        return CORE
    terms = {name: term for name, term in compiler.terms.items() if term is not None}
    return Context(terms | CORE_TERMS, own)


def _without_core(source: Any) -> Any:
    """The source as an answer carries it: core contexts taken out; None when nothing is left."""
    if isinstance(source, str):
        return None if is_core(source) else source
    if isinstance(source, list):
        return [part for part in map(_without_core, source) if part is not None] or None
    return source


class _Compiler:
    """The context processing of JSON-LD 1.1, as far as names are concerned; one per compilation."""

    def __init__(self, load: Load) -> None:
        self.terms: dict[str, Term | None] = dict(CORE_TERMS)
        self.vocabulary = DEFAULT
        self._load = load
        self._documents: dict[str, Any] = {}
        self._parts = 0

    async def apply(self, source: Any, base: str | None, depth: int) -> None:
        """Apply a context of any form. `base` is the URL of the document that it stands in."""
        self._parts += 1
        if self._parts > MAX_PARTS or depth > MAX_DEPTH:
            raise BadRequestData(f"the @context is nested too deeply or has more than {MAX_PARTS} parts")
        if isinstance(source, list):
            for part in source:
                await self.apply(part, base, depth + 1)
        elif isinstance(source, str):
            await self._apply_remote(source, base, depth)
        elif isinstance(source, dict):
            await self._apply_object(source, base)
        elif source is None:
            self.terms, self.vocabulary = dict(CORE_TERMS), DEFAULT
        else:
            raise BadRequestData(f"an @context is a URL, an object or an array of them, not {source!r:.60}")

    async def _apply_remote(self, reference: str, base: str | None, depth: int) -> None:
        url = _resolve(reference, base)
        if is_core(url):
            self.terms |= CORE_TERMS
            self.vocabulary = DEFAULT
        else:
            await self.apply(await self._fetch(url), url, depth + 1)

    async def _fetch(self, url: str) -> Any:
        """The `@context` member of the document at a URL."""
        if url not in self._documents:
            if len(self._documents) == MAX_REMOTE:
                raise BadRequestData(f"the @context refers to more than {MAX_REMOTE} URLs")
            self._documents[url] = await self._load(url)
        document = self._documents[url]
        if not isinstance(document, dict) or "@context" not in document:
            raise BadRequestData(f"the document at {url} has no @context")
        return document["@context"]

    async def _apply_object(self, context: dict[str, Any], base: str | None) -> None:
        if "@import" in context:
            context = await self._imported(context, base)
        if context.get("@version", 1.1) != 1.1:
            raise BadRequestData(f"@version {context['@version']!r:.40} is not supported; it must be 1.1")
        if "@vocab" in context:
            self.vocabulary = self._vocabulary(context["@vocab"])
        _Definitions(self.terms, self.vocabulary, context).define_all()
        if len(self.terms) > MAX_TERMS + len(CORE_TERMS):
            raise BadRequestData(f"the @context defines more than {MAX_TERMS} terms")

    async def _imported(self, context: dict[str, Any], base: str | None) -> dict[str, Any]:
        reference = context["@import"]
        if not isinstance(reference, str):
            raise BadRequestData(f"@import takes a URL, not {reference!r:.60}")
        imported = await self._fetch(_resolve(reference, base))
        if not isinstance(imported, dict) or "@import" in imported:
            raise BadRequestData(f"{reference!r:.100} cannot be imported: it is not one context object")
        return imported | {key: value for key, value in context.items() if key != "@import"}

    def _vocabulary(self, value: Any) -> str:
        if value is None:
            return DEFAULT
        if not isinstance(value, str):
            raise BadRequestData(f"@vocab takes an IRI, not {value!r:.60}")
        if value == "":
            return self.vocabulary
        iri = _join(value, self.terms) if ":" in value else self.vocabulary + value
        term = self.terms.get(value)
        return _bounded(term.iri if term else iri)


class _Definitions:
    """The terms of one context object, defined in whatever order they refer to one another."""

    def __init__(self, terms: dict[str, Term | None], vocabulary: str, context: dict[str, Any]) -> None:
        self._terms = terms
        self._vocabulary = vocabulary
        self._context = context
        self._begun: list[str] = []
        self._done: set[str] = set()

    def define_all(self) -> None:
        for name in self._context:
            if name not in _SETTINGS:
                self._define(name)

    def _define(self, name: str) -> None:
        if name in self._done:
            return
        if name in self._begun:
            raise BadRequestData(f"the @context defines {name!r:.100} through itself")
        if len(self._begun) == MAX_DEPTH:
            raise BadRequestData(f"the @context defines {name!r:.100} through too many other terms")
        self._begun.append(name)
        if not _LIKE_KEYWORD.fullmatch(name):
            self._terms[name] = self._term(name, self._context[name])
        elif name in _KEYWORDS and name != "@type":
            raise BadRequestData(f"the @context redefines the keyword {name}")
        self._begun.pop()
        self._done.add(name)

    def _term(self, name: str, definition: Any) -> Term | None:
        if name == "":
            raise BadRequestData("the @context defines an empty term")
        if definition is None:
            return None
        if isinstance(definition, str):
            return self._simple(name, definition)
        if not isinstance(definition, dict):
            raise BadRequestData(
                f"the @context defines {name!r:.100} as {definition!r:.60}; a term is an IRI or an object"
            )
        return self._expanded(name, definition)

    def _simple(self, name: str, reference: str) -> Term | None:
        iri = self._own(name) if reference == name else self._mapping(name, reference)
        if iri is None:
            return None
        return Term(iri, prefix=iri.endswith(_DELIMITERS) and not _is_compound(name))

    def _expanded(self, name: str, definition: dict[str, Any]) -> Term | None:
        if "@context" in definition:
            # It could change the core's terms behind the standard's back (5.5.7).
            raise BadRequestData(f"the @context gives {name!r:.100} a scoped context, which is not allowed")
        reference = definition.get("@id", name)
        if reference is None or "@reverse" in definition:
            return None
        if not isinstance(reference, str):
            raise BadRequestData(f"the @id of {name!r:.100} in the @context must be an IRI")
        iri = self._own(name) if reference == name else self._mapping(name, reference)
        if iri is None:
            return None
        prefix = definition.get("@prefix", False)
        if "@prefix" in definition and (_is_compound(name) or iri in _KEYWORDS or type(prefix) is not bool):
            raise BadRequestData(
                f"the @prefix of {name!r:.100} in the @context must be true or false, if any"
            )
        return Term(iri, self._coercion(name, definition.get("@type")), prefix)

    def _coercion(self, name: str, reference: Any) -> str | None:
        if reference is None:
            return None
        if not isinstance(reference, str):
            raise BadRequestData(f"the @type of {name!r:.100} in the @context must be an IRI or keyword")
        iri = self._expand(reference)
        if iri is None or not (iri in _COERCIONS or _ABSOLUTE.fullmatch(iri)):
            raise BadRequestData(f"the @type of {name!r:.100} in the @context is no IRI: {reference!r:.100}")
        return iri

    def _mapping(self, name: str, reference: str) -> str | None:
        """The IRI that a reference in a definition stands for; None when it is to be ignored."""
        if reference == "@context":
            raise BadRequestData(f"the @context makes {name!r:.100} another name of @context")
        if reference not in _KEYWORDS and _LIKE_KEYWORD.fullmatch(reference):
            return None
        iri = self._expand(reference)
        if iri is None or not (iri in _KEYWORDS or _ABSOLUTE.fullmatch(iri)):
            raise BadRequestData(f"the @context maps {name!r:.100} to {reference!r:.100}, which is no IRI")
        if _is_compound(name) and self._own(name) != iri:
            raise BadRequestData(f"the @context maps {name!r:.100} to something else than it reads")
        return _bounded(iri)

    def _own(self, name: str) -> str:
        """The IRI of a term that is defined by its own spelling."""
        prefix, colon, rest = name.partition(":")
        if not colon or not prefix:
            return _bounded(self._vocabulary + name)
        if prefix in self._context and prefix not in _SETTINGS:
            self._define(prefix)
        term = self._terms.get(prefix)
        return _bounded(term.iri + rest) if term else name

    def _expand(self, reference: str) -> str | None:
        """IRI expansion within a definition: what it refers to is defined first."""
        if reference in _KEYWORDS:
            return reference
        for needed in (reference, reference.partition(":")[0]):
            if needed in self._context and needed not in _SETTINGS:
                self._define(needed)
        if reference in self._terms:
            term = self._terms[reference]
            return term.iri if term else None
        return _join(reference, self._terms) if ":" in reference else self._vocabulary + reference


def _is_compound(name: str) -> bool:
    """Whether a term is spelled like an IRI, so that it has a meaning before it is defined."""
    return ":" in name[1:-1] or "/" in name


def _join(name: str, terms: Mapping[str, Term | None]) -> str:
    """The IRI of a name with a colon: joined when its prefix is known, else it is an IRI already."""
    prefix, colon, rest = name.partition(":")
    term = terms.get(prefix) if colon and not rest.startswith("//") else None
    return term.iri + rest if term and term.prefix else name


def _resolve(reference: str, base: str | None) -> str:
    try:
        url = urljoin(base, reference) if base else reference
    except ValueError:
        url = ""
    if not _ABSOLUTE.fullmatch(url) or len(url) > MAX_IRI:
        raise BadRequestData(f"the @context refers to {reference!r:.100}, which is no absolute URL")
    return url


def _bounded(iri: str) -> str:
    if len(iri) > MAX_IRI:
        raise BadRequestData(f"the @context leads to an IRI of more than {MAX_IRI} characters: {iri[:100]}…")
    return iri


def _core_terms() -> dict[str, Term]:
    definitions = core_terms.definitions()
    # Its scoped context concerns members of `ngsildproof` alone; they are handled by name.
    definitions["ngsildproof"] = {"@id": definitions["ngsildproof"]["@id"]}
    terms: dict[str, Term | None] = {}
    _Definitions(terms, DEFAULT, definitions).define_all()
    return {name: term for name, term in terms.items() if term is not None}


CORE_TERMS = _core_terms()

CORE = Context(CORE_TERMS, None)
"""The core context alone: what holds when a request brings no `@context` (5.5.5)."""
