"""What a request says about form: media types, @context, preferences and parameters, each read strictly."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Struct

from autocity import errors
from autocity.api.asgi import Answer, Call, Operation, Route, Scope
from autocity.api.versions import CURRENT, Version, conform, parse
from autocity.broker import Caller, Contexts, shadow
from autocity.errors import CityError
from autocity.ld.context import CORE_URL, Context, is_name
from autocity.ld.temporal import Duration, duration

Media = Literal["application/json", "application/ld+json", "application/geo+json"]

JSON: Media = "application/json"
LD: Media = "application/ld+json"
GEO: Media = "application/geo+json"
MERGE_PATCH = "application/merge-patch+json"

CONTEXT_RELATION = "http://www.w3.org/ns/json-ld#context"
API = "/ngsi-ld/v1"

MAX_LIMIT = 1000
DEFAULT_LIMIT = 20


def route(
    method: str, path: str, handle: Callable[[Call], Awaitable[Answer]], scope: Scope, tag: str, **facts: Any
) -> Route:
    """A route of the NGSI-LD API; summary and clause are the first line of the handler's docstring."""
    summary, _, clause = (handle.__doc__ or "").strip().splitlines()[0].partition(" (")
    name = handle.__name__.replace("_", " ").title().replace(" ", "")
    operation = Operation(
        id=tag.replace(" ", "") + name,
        summary=summary.rstrip(".:"),
        clause=clause.partition(")")[0],
        tag=tag,
        **facts,
    )
    return Route(method=method, path=API + path, handle=handle, scope=scope, operation=operation)


# -- media types (6.3.4)


@lru_cache(maxsize=256)
def accepted(header: str | None, geojson: bool) -> Media:
    """The representation that an `Accept` header selects among those offered.

    Each takes its weight from the most specific range that fits it (RFC 9110, 12.5.1); among equals the
    order of 6.3.4 decides. Raises `NotAcceptable` that lists what there is.
    """
    offered: tuple[Media, ...] = (JSON, LD, GEO) if geojson else (JSON, LD)
    if header is None or not header.strip():
        return JSON
    ranges = [_media_range(part) for part in header.split(",")]
    weights = [_weight(media, ranges) for media in offered]
    best = max(weights)
    if best <= 0:
        raise errors.NotAcceptable(
            f"Accept must allow {', '.join(offered[:-1])} or {offered[-1]}", availableRepresentations=offered
        )
    return offered[weights.index(best)]


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return name, _quality(value.strip())
    return name, 1.0


def _quality(text: str) -> float:
    """A weight; one that cannot be read is no weight."""
    return float(text) if re.fullmatch(r"0(\.\d{0,3})?|1(\.0{0,3})?", text) else 1.0


def _weight(media: str, ranges: list[tuple[str, float]]) -> float:
    for wanted in (media, "application/*", "*/*"):
        found = [weight for name, weight in ranges if name == wanted]
        if found:
            return max(found)
    return 0.0


@lru_cache(maxsize=64)
def content_type(header: str | None, method: str) -> Media:
    """Whether a body is plain JSON or JSON-LD (6.3.4).

    Raises `UnsupportedMediaType`, and `InvalidRequest` when nothing is said: no type is not a wrong one.
    """
    if header is None:
        raise errors.InvalidRequest(f"Content-Type is missing; a body is {JSON} or {LD}")
    name = header.partition(";")[0].strip().lower()
    if name == LD:
        return LD
    if name == JSON or (name == MERGE_PATCH and method == "PATCH"):
        return JSON
    raise errors.UnsupportedMediaType(f"a body is {JSON} or {LD}")


# -- @context (6.3.5)

_LINK = re.compile(
    r'\s*<(?P<target>[^<>\s]*)>(?P<parameters>(?:\s*;\s*[\w!#$%&+^`|~.*-]+(?:\s*=\s*(?:"[^"]*"|[^\s",;]*))?)*)'
    r"\s*(?:,|$)"
)
_MAX_LINK = 4096
_RELATION = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]*))', re.IGNORECASE)


@lru_cache(maxsize=256)
def linked_context(header: str | None) -> str | None:
    """The URL of the @context in a `Link` header. Raises `BadRequestData` for a broken one or for two."""
    if header is None:
        return None
    if len(header) > _MAX_LINK:
        raise errors.BadRequestData(f"the Link header may have {_MAX_LINK} characters at most")
    found, position = list[str](), 0
    while position < len(header):
        link = _LINK.match(header, position)
        if link is None:
            raise errors.BadRequestData(
                f'the Link header is not well formed; write <URL>; rel="{CONTEXT_RELATION}"; type="{LD}"'
            )
        relation = _RELATION.search(link["parameters"])
        if relation and CONTEXT_RELATION in (relation[1] or relation[2] or "").split():
            target = link["target"]
            # A path of our own names a hosted @context, whatever name the server is called by.
            found.append(f"http://localhost{target}" if target.startswith("/") else target)
        position = link.end()
    if len(found) > 1:
        raise errors.BadRequestData("the Link header names more than one @context; host them as one")
    return found[0] if found else None


# -- bodies (5.5.4, 6.3.5)


def decode(body: bytes) -> Any:
    """The JSON of a body, numbers as they came. Raises `InvalidRequest`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise errors.InvalidRequest(f"the body is not JSON: {fault}") from None
    except RecursionError:
        raise errors.InvalidRequest("the body is nested too deeply") from None


def source_of(body: dict[str, Any], media: Media, link: str | None) -> Any:
    """What a body of this media type says as @context; it is taken out of the body. No mixing (6.3.5)."""
    linked = linked_context(link)
    if media is JSON:
        if "@context" in body:
            raise errors.BadRequestData(
                f"a body of {JSON} bears no @context; name it in a Link header or send {LD}"
            )
        return linked
    _no_link(linked)
    if "@context" not in body:
        raise errors.BadRequestData(f"a body of {LD} must bear an @context")
    return body.pop("@context")


def _no_link(linked: str | None) -> None:
    if linked is not None:
        raise errors.BadRequestData(f"a body of {LD} bears its @context itself; leave the Link header away")


# -- parameters (6.3.20): everything is read, then refused once


class Parameter(Struct, frozen=True):
    """One query parameter: how its text becomes a value, and what the description says of it.

    `read` raises ValueError that ends the sentence "NAME ...". `data`: a fault in it is BadRequestData.
    """

    read: Callable[[str], Any]
    about: str
    schema: Mapping[str, Any]
    data: bool = False


def _text(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


def _between(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and low <= int(text) <= high):
            raise ValueError(f"must be {low} to {high}")
        return int(text)

    return read


def _list(text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(","))
    if not all(items):
        raise ValueError("must be a comma-separated list without empty elements")
    return items


def _uris(text: str) -> tuple[str, ...]:
    items = _list(text)
    for item in items:
        if not is_uri(item):
            raise ValueError(f"must be a list of URIs; {item!r} is none")
    return items


def _datasets(text: str) -> tuple[str, ...]:
    items = _list(text)
    for item in items:
        if item != "@none" and not is_uri(item):
            raise ValueError(f"must be a list of URIs or @none; {item!r} is neither")
    return items


def _attributes(text: str) -> tuple[str, ...]:
    items = _list(text)
    for item in items:
        if not is_attribute_name(item):
            raise ValueError(f"must be a list of attribute names; {item!r} is none")
    return items


def _join(text: str) -> str:
    if text not in ("flat", "inline", "@none"):
        raise ValueError("must be flat, inline or @none")
    return text


def _period(text: str) -> Duration:
    try:
        return duration(text)
    except errors.BadRequestData:
        raise ValueError("must be an ISO 8601 duration such as PT1H") from None


def _plus(text: str) -> str:
    # A `+` that was not percent-encoded came as a space; here a space can mean nothing else.
    return _text(text).replace(" ", "+")


_MEMBERS = frozenset(("id", "type", "scope", "@id", "@type", "@context"))
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+")

_TEXT = {"type": "string", "minLength": 1}
_LIST = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
_URIS = {"type": "array", "items": {"type": "string", "format": "uri"}, "minItems": 1}
_TIME = {"type": "string", "format": "date-time"}
_BOOLEAN = {"type": "boolean"}

PARAMETERS: dict[str, Parameter] = {
    "id": Parameter(_uris, "Ids of the entities.", _URIS, data=True),
    "idPattern": Parameter(_text, "A regular expression that ids match.", _TEXT, data=True),
    "type": Parameter(_text, "Entity types (4.17): `A,B` either, `(A;B)` both, `*` any.", _TEXT, data=True),
    "attrs": Parameter(
        _attributes, "Attributes of which an entity must have one; only these are shown.", _LIST, data=True
    ),
    "pick": Parameter(_text, "Members to show (4.21).", _TEXT, data=True),
    "omit": Parameter(_text, "Members to leave out (4.21).", _TEXT, data=True),
    "q": Parameter(_text, 'Query on attribute values (4.9), such as `speed>50;brandName=="Hongqi"`.', _TEXT),
    "csf": Parameter(_text, "Filter on properties of context sources (4.9).", _TEXT),
    "scopeQ": Parameter(_plus, "Scope query (4.19), such as `/Changchun/#`.", _TEXT),
    "georel": Parameter(
        _text, "Geo relationship (4.10): `near;maxDistance==2000`, `within`, `intersects`, ...", _TEXT
    ),
    "geometry": Parameter(_text, "Type of the reference geometry (4.10).", _TEXT),
    "coordinates": Parameter(_text, "Coordinates of the reference geometry as JSON (4.10).", _TEXT),
    "geoproperty": Parameter(_text, "GeoProperty that the geo query looks at; `location` by default.", _TEXT),
    "geometryProperty": Parameter(
        _text, "GeoProperty that becomes the geometry of a GeoJSON feature.", _TEXT, data=True
    ),
    "datasetId": Parameter(
        _datasets, "Datasets of the instances to show (4.5.5); `@none`: the default one.", _LIST, data=True
    ),
    "lang": Parameter(_text, "Preferred natural language (4.15), such as `zh,en;q=0.5`.", _TEXT, data=True),
    "expandValues": Parameter(_attributes, "Attributes whose values in `q` are names to expand.", _LIST),
    "jsonKeys": Parameter(_attributes, "Attributes whose values in `q` are raw JSON.", _LIST),
    "join": Parameter(
        _join, "Linked entity retrieval (4.5.23).", {"type": "string", "enum": ["flat", "inline", "@none"]}
    ),
    "joinLevel": Parameter(
        _between(1, 10), "Depth of linked entity retrieval.", {"type": "integer", "minimum": 1, "maximum": 10}
    ),
    "containedBy": Parameter(_uris, "Entities met before in linked retrieval.", _URIS, data=True),
    "orderBy": Parameter(_text, "Order (4.23), such as `speed;desc,id`.", _TEXT),
    "collation": Parameter(_text, "ICU collation of the order.", _TEXT, data=True),
    "orderFrom": Parameter(_text, "Coordinates that `dist-asc` measures from.", _TEXT),
    "orderGeometry": Parameter(_text, "Type of the geometry of `orderFrom`.", _TEXT),
    "splitEntities": Parameter(_boolean, "Whether entities may be spread over several sources.", _BOOLEAN),
    "limit": Parameter(
        _between(0, MAX_LIMIT),
        f"Elements per page; {DEFAULT_LIMIT} by default, 0 only with `count=true`.",
        {"type": "integer", "minimum": 0, "maximum": MAX_LIMIT},
        data=True,
    ),
    "offset": Parameter(
        _between(0, 10**9),
        "Elements to skip.",
        {"type": "integer", "minimum": 0, "maximum": 10**9},
        data=True,
    ),
    "count": Parameter(_boolean, "Whether `NGSILD-Results-Count` tells how many there are.", _BOOLEAN),
    "entityMap": Parameter(_boolean, "Whether to keep which entities the query is about (5.5.14).", _BOOLEAN),
    "entityMapLifetime": Parameter(
        _period,
        "How long the entity map should be kept (ISO 8601), such as `PT1H`.",
        {"type": "string", "format": "duration"},
        data=True,
    ),
    "local": Parameter(_boolean, "Whether other context sources are left out (6.3.18).", _BOOLEAN),
    "details": Parameter(_boolean, "Whether details are wanted.", _BOOLEAN),
    "kind": Parameter(
        _text, "Kind of @context.", {"type": "string", "enum": ["Cached", "Hosted", "ImplicitlyCreated"]}
    ),
    "reload": Parameter(_boolean, "Whether to download a cached @context anew.", _BOOLEAN, data=True),
    "deleteAll": Parameter(_boolean, "Whether all instances of the attribute are deleted.", _BOOLEAN),
    "keep": Parameter(_attributes, "Attributes to keep.", _LIST, data=True),
    "drop": Parameter(_attributes, "Attributes to delete.", _LIST, data=True),
    "observedAt": Parameter(_text, "Common time of what is merged (5.6.17).", _TIME, data=True),
    "timerel": Parameter(
        _text,
        "Temporal relationship (4.11).",
        {"type": "string", "enum": ["before", "after", "between"]},
        data=True,
    ),
    "timeAt": Parameter(_text, "Time that the relationship is about.", _TIME, data=True),
    "endTimeAt": Parameter(_text, "End of `between`.", _TIME, data=True),
    "timeproperty": Parameter(
        _text,
        "Which time of an instance counts.",
        {"type": "string", "enum": ["observedAt", "createdAt", "modifiedAt", "deletedAt"]},
        data=True,
    ),
    "lastN": Parameter(
        _between(1, 10**6),
        "Only the newest n instances per attribute.",
        {"type": "integer", "minimum": 1},
        data=True,
    ),
    "aggrMethods": Parameter(_text, "Aggregation methods (4.5.19), such as `avg,max`.", _TEXT, data=True),
    "aggrPeriodDuration": Parameter(
        _text,
        "Length of a period (ISO 8601), such as `PT1H`.",
        {"type": "string", "format": "duration"},
        data=True,
    ),
    "context": Parameter(_text, "URL of the @context, for clients that cannot send a Link header.", _TEXT),
    "after": Parameter(_between(0, 2**62), "Changes after this number.", {"type": "integer", "minimum": 0}),
    "dead": Parameter(_boolean, "Whether deliveries given up are meant.", _BOOLEAN),
}
"""Every query parameter of the API."""


def is_attribute_name(text: str) -> bool:
    """Whether this can name an attribute: a name, perhaps with a prefix (4.6.2), or a full IRI."""
    prefix, colon, name = text.rpartition(":")
    if text in _MEMBERS:
        return False
    return is_name(text) or (bool(colon) and is_name(prefix) and is_name(name)) or is_uri(text)


def is_uri(text: str) -> bool:
    """Whether this is a URI in the sense of 5.2.2: it has a scheme and no forbidden character."""
    return _URI.fullmatch(text) is not None


def uri(call: Call, name: str) -> str:
    """A path parameter that must be a URI. Raises `BadRequestData`."""
    text = call.params[name]
    if not is_uri(text):
        raise errors.BadRequestData(f"{text!r} is not a URI; an id looks like urn:ngsi-ld:Building:1")
    return text


def arguments(call: Call) -> dict[str, Any]:
    """The query parameters as values, `format` and `options` included (see `Arguments`).

    Raises one `InvalidRequest` (or `BadRequestData`) that names every fault.
    """
    pairs = call.query
    if not pairs:
        return {}
    assert call.route is not None and call.route.operation is not None
    operation = call.route.operation
    values: dict[str, Any] = {}
    faults, data = list[str](), True
    for name, text in pairs:
        if name in values:
            faults.append(f"{name} is given twice")
            data = False
            continue
        try:
            if name == "format" and operation.formats:
                values[name] = _one_of(text, operation.formats)
            elif name == "options" and operation.options:
                values[name] = _all_of(text, operation.options)
            elif name in operation.parameters:
                values[name] = PARAMETERS[name].read(text)
            else:
                raise ValueError(f"is not a parameter here{_near(name, operation.parameters)}")
        except ValueError as fault:
            faults.append(f"{name} {fault}")
            known = PARAMETERS.get(name)
            data = data and known is not None and known.data and name in operation.parameters
            values[name] = None
    if values.get("limit") == 0 and not values.get("count"):
        # By itself this is a combination that cannot be; beside a faulty value it is one more of these.
        data = data and bool(faults)
        faults.append("limit may be 0 only with count=true")
    if faults:
        raise (errors.BadRequestData if data else errors.InvalidRequest)("; ".join(faults))
    return values


def _one_of(text: str, allowed: Iterable[str]) -> str:
    if text not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}")
    return text


def _all_of(text: str, allowed: Iterable[str]) -> frozenset[str]:
    words = text.split(",")
    wrong = [word for word in words if word not in allowed]
    if wrong:
        raise ValueError(f"must be of {', '.join(allowed)}; {', '.join(map(repr, wrong))} is not")
    return frozenset(words)


def _near(name: str, allowed: Iterable[str]) -> str:
    near = get_close_matches(name, list(allowed), n=1)
    return f" ({near[0]} is)" if near else ""


# -- who and in which form


def caller(call: Call) -> Caller:
    """On whose behalf the broker acts: in a tenant (6.3.14), or in a snapshot of it (6.3.22).

    Raises `BadRequestData` for a name that cannot be one.
    """
    snapshot = call.headers.get("ngsild-snapshot")
    if snapshot is not None:
        if not is_uri(snapshot):
            raise errors.BadRequestData(f"NGSILD-Snapshot: {snapshot!r:.100} is not a URI")
        return Caller(shadow(owner(call).tenant, snapshot), call.identity.actor)
    return owner(call)


def owner(call: Call) -> Caller:
    """On whose behalf the broker acts, whatever the snapshot. Raises `BadRequestData`."""
    tenant = call.headers.get("ngsild-tenant")
    if tenant is None:
        return Caller("", call.identity.actor)
    if not (0 < len(tenant) <= 256 and tenant.isascii() and tenant.isprintable()):
        raise errors.BadRequestData("NGSILD-Tenant must have 1 to 256 printable characters")
    return Caller(tenant, call.identity.actor)


class Preference(NamedTuple):
    """What the `Prefer` header asks: the version that an answer conforms to, and a GeoJSON body
    without @context."""

    version: Version | None = None
    plain_geojson: bool = False


@lru_cache(maxsize=64)
def preferred(header: str | None) -> Preference:
    """The preferences of 6.3.6; those that nobody here knows are ignored (RFC 7240)."""
    if header is None:
        return Preference()
    wishes = {
        key.strip().lower(): value.strip().strip('"')
        for key, _, value in (part.partition("=") for part in re.split("[,;]", header))
    }
    return Preference(parse(wishes.get("ngsi-ld", "")), wishes.get("body") == "json")


class Shape(NamedTuple):
    """The media type of an answer, and whether its content carries the @context (6.3.6)."""

    media: Media
    embed: bool


def shape(call: Call) -> Shape:
    """How an answer is to come. Raises `NotAcceptable`."""
    assert call.route is not None and call.route.operation is not None
    media = accepted(call.headers.get("accept"), call.route.operation.geojson)
    if media is GEO:
        return Shape(GEO, not preferred(call.headers.get("prefer")).plain_geojson)
    return _SHAPES[media]


_SHAPES = {JSON: Shape(JSON, False), LD: Shape(LD, True)}


# -- answers


def created(path: str, id: str) -> Answer:
    """201 with the path of what was created (6.4.3.1)."""
    return Answer(status=201, headers=[("Location", f"{API}{path}/{quote(id, safe=_IN_SEGMENT)}")])


NO_CONTENT = 204


def done() -> Answer:
    """204: it was done, and there is nothing to say."""
    return Answer(status=NO_CONTENT)


def page_links(call: Call, media: Media, limit: int, offset: int, more: bool) -> list[tuple[str, str]]:
    """The `Link` headers to the pages before and after this one (6.3.10)."""
    links = []
    if offset > 0:
        links.append(_page_link(call, media, limit, max(0, offset - limit), "prev"))
    if more:
        links.append(_page_link(call, media, limit, offset + limit, "next"))
    return [("Link", link) for link in links]


def _page_link(call: Call, media: Media, limit: int, offset: int, relation: str) -> str:
    values = dict(call.query) | {"limit": str(limit), "offset": str(offset)}
    query = "&".join(f"{quote(k)}={quote(v, safe=_IN_QUERY)}" for k, v in sorted(values.items()))
    path = quote(call.path.rstrip("/"), safe=_IN_SEGMENT + "/")
    return f'<{path}?{query}>; rel="{relation}"; type="{media}"'


# What may stand unescaped: clients compare locations and links as text, so ids stay readable.
_IN_SEGMENT = "!$&'()*+=:@~"
_IN_QUERY = "!$'()*:@~/?"
_IN_URL = "!#$%&'()*+,/:;=?@[]~"


@lru_cache(maxsize=256)
def _context_link(url: str) -> tuple[str, str]:
    """The header that names the @context of an answer (6.3.6)."""
    return "Link", f'<{quote(url, safe=_IN_URL)}>; rel="{CONTEXT_RELATION}"; type="{LD}"'


class Desk:
    """Where requests come in and answers go out: whatever of form needs the known @contexts."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts

    async def context(self, call: Call) -> Context:
        """The @context of a request without a body: from its `Link` header, else the core (6.3.5)."""
        return await self._resolve(linked_context(call.headers.get("link")), call.tenant)

    async def named(self, url: str, tenant: str) -> Context:
        """The @context behind a URL. Raises `LdContextNotAvailable`, `BadRequestData`."""
        return await self._resolve(url, tenant)

    async def body(self, call: Call) -> tuple[dict[str, Any], Context]:
        """The JSON object that a request brings, and its @context, which is taken out of it (6.3.5).

        Raises `UnsupportedMediaType`, `InvalidRequest`, `BadRequestData`, `LdContextNotAvailable`.
        """
        media = content_type(call.headers.get("content-type"), call.method)
        body = decode(call.body)
        if not isinstance(body, dict):
            raise errors.InvalidRequest("the body must be a JSON object")
        source = source_of(body, media, call.headers.get("link"))
        return body, await self._resolve(source, call.tenant)

    async def items(self, call: Call) -> list[tuple[Any, Context | CityError]]:
        """The JSON array of a batch, each element with its @context or the refusal of it.

        Raises `UnsupportedMediaType`, `InvalidRequest`, `BadRequestData`.
        """
        media = content_type(call.headers.get("content-type"), call.method)
        items = decode(call.body)
        if not isinstance(items, list):
            raise errors.InvalidRequest("the body must be a JSON array")
        if not items or None in items:
            raise errors.BadRequestData("the array must hold at least one element, and no null (5.6.7.4)")
        link = call.headers.get("link")
        if media is LD:
            _no_link(linked_context(link))
        return [(item, await self._item_context(item, media, link, call.tenant)) for item in items]

    async def shown(
        self, call: Call, body: bytes, shape: Shape, context: Context, status: int = 200
    ) -> Answer:
        """An answer with content: its @context in a `Link` header when it is not in the body (6.3.6)."""
        headers: list[tuple[str, str]] = []
        if not shape.embed:
            url = context.link or await self._url(context, call)
            headers.append(_context_link(url))
        prefer = call.headers.get("prefer")
        version = preferred(prefer).version if prefer is not None else None
        if version is not None:
            headers.append(("Preference-Applied", f"ngsi-ld={version[0]}.{version[1]}"))
        return Answer(status=status, body=body, media=shape.media, headers=headers)

    async def entities(self, call: Call, body: bytes, shape: Shape, context: Context) -> Answer:
        """Entity data as an answer; 203 when an earlier version was preferred and it had to be amended."""
        prefer = call.headers.get("prefer")
        version = preferred(prefer).version if prefer is not None else None
        if version is None or version == CURRENT or shape.media is GEO:
            return await self.shown(call, body, shape, context)
        amended = conform(body, version)
        return await self.shown(call, amended, shape, context, 200 if amended == body else 203)

    async def told(
        self, call: Call, told: dict[str, Any] | list[dict[str, Any]], shape: Shape, context: Context
    ) -> Answer:
        """JSON objects as an answer, each with the @context when the media type asks for it."""
        if shape.embed:
            for each in told if isinstance(told, list) else (told,):
                each["@context"] = context.echo
        return await self.shown(call, msgspec.json.encode(told), shape, context)

    async def _resolve(self, source: Any, tenant: str) -> Context:
        # A context that is known costs no suspension.
        known = self._contexts.known(source, tenant)
        return known if known is not None else await self._contexts.resolve(source, tenant)

    async def _item_context(
        self, item: Any, media: Media, link: str | None, tenant: str
    ) -> Context | CityError:
        if not isinstance(item, dict):
            return errors.BadRequestData("each element must be a JSON object")
        try:
            return await self._resolve(source_of(item, media, link), tenant)
        except CityError as refusal:
            return refusal

    async def _url(self, context: Context, call: Call) -> str:
        """A URL for a context that has none of its own: the core, or a copy kept here (5.13.1)."""
        if context.source is None:
            return CORE_URL
        url = await self._contexts.host(context.source, call.tenant)
        host = call.headers.get("host")
        if host and url.startswith("/"):
            return f"{call.scope.get('scheme', 'http')}://{host}{url}"
        return url
