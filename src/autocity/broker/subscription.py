"""The Subscription data type (5.2.12 to 5.2.15): every fault named when parsed, kept expanded, shown
compacted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.broker import mqtt
from autocity.broker.outbound import Outbound
from autocity.errors import BadRequestData, CityError
from autocity.ld.context import Context, Source
from autocity.ld.entity import Form, Projection, parse_projection
from autocity.ld.geo import Geo, parse_geo
from autocity.ld.instants import instant, timestamp
from autocity.ld.query import Node, Query, Select, Selector, id_pattern, parse_q, parse_scope, parse_types
from autocity.ld.values import is_uri
from autocity.model import NGSI_LD_NULL, Instant

TRIGGERS = (
    "attributeCreated",
    "attributeUpdated",
    "attributeDeleted",
    "entityCreated",
    "entityUpdated",
    "entityDeleted",
)
DEFAULT_TRIGGERS = ("attributeCreated", "attributeUpdated")
MEDIA = ("application/json", "application/ld+json", "application/geo+json")
FORMS: dict[str, Form] = {
    "normalized": "normalized",
    "concise": "concise",
    "simplified": "simplified",
    "keyValues": "simplified",
}
OUTPUT_ONLY = frozenset({"status", "createdAt", "modifiedAt"})
OUTPUT_ONLY_NOTIFICATION = frozenset(
    {"lastFailure", "lastNotification", "lastSuccess", "status", "timesFailed", "timesSent"}
)
HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
RESERVED_HEADERS = frozenset({"content-length", "content-type", "host", "transfer-encoding", "connection"})
MAX_LIST = 1000

ABOUT_SOURCES = "csource "
"""What stands before the id of a subscription to context sources where subscriptions of both kinds are
kept together; no URI holds a blank, so none is taken for another."""


class Said(Struct, frozen=True):
    """An expression as a client wrote it, and what the names in it stood for."""

    text: str
    names: dict[str, str] = {}

    def under(self, context: Context) -> str:
        """The same expression in the names of another context."""
        changed = {
            name: context.compact(iri) for name, iri in self.names.items() if context.expand(name) != iri
        }
        if not changed:
            return self.text
        token = "|".join(re.escape(name) for name in sorted(changed, key=len, reverse=True))
        # Quoted strings are passed over; a name is no part of a longer one.
        pattern = rf'"(?:[^"\\]|\\.)*"|(?<![\w:/#%-])(?:{token})(?![\w:/#%-])'
        return re.sub(pattern, lambda found: changed.get(found[0], found[0]), self.text)


class EntitySelector(Struct, frozen=True, omit_defaults=True):
    """Which entities (5.2.33). `said` is the type selection as it came; `listed`: ids came as an array."""

    ids: tuple[str, ...] = ()
    listed: bool = False
    id_pattern: str | None = None
    types: Select | None = None
    said: Said | None = None


class Filter(Struct, frozen=True):
    """A `q`: its tree, and the text as it came."""

    said: Said
    tree: Node


class GeoFilter(Struct, frozen=True):
    """A geo query (5.2.13) and its members as they came; of `geoproperty` only whether it was `named`."""

    said: dict[str, Any]
    geo: Geo
    named: bool = False


class ScopeFilter(Struct, frozen=True):
    """A scope query (4.19) and its text as it came."""

    said: str
    tree: Select


class Endpoint(Struct, frozen=True, omit_defaults=True):
    """Where notifications go (5.2.15). Times in milliseconds."""

    uri: str
    accept: str | None = None
    timeout: float | None = None
    cooldown: float | None = None
    receiver_info: tuple[tuple[str, str], ...] = ()
    notifier_info: tuple[tuple[str, str], ...] = ()

    @property
    def media(self) -> str:
        """The media type of notifications."""
        return self.accept or MEDIA[0]

    def header(self, name: str) -> str | None:
        """A header of `receiverInfo`, its name in lower case."""
        return next((value for key, value in self.receiver_info if key.lower() == name), None)


class Notification(Struct, frozen=True, omit_defaults=True):
    """What notifications look like (5.2.14); names of attributes are IRIs."""

    endpoint: Endpoint
    attributes: tuple[str, ...] = ()
    pick: Projection | None = None
    omit: Projection | None = None
    format: str | None = None
    show_changes: bool | None = None
    sys_attrs: bool | None = None
    join: str | None = None
    join_level: int | None = None

    @property
    def form(self) -> Form:
        """The representation of entities."""
        return FORMS[self.format or "normalized"]

    @property
    def levels(self) -> int:
        """How many steps of linked entities to include (4.5.23)."""
        return (self.join_level or 1) if self.join in ("flat", "inline") else 0


class Subscription(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One subscription as the platform keeps it (5.2.12).

    `context` is what `jsonld_context`, the URL for receivers, stands for. `rest` holds members that
    are only kept and shown (`description`, `csf` …). With `sources` it is about registrations of
    context sources, not about entities (5.11).
    """

    id: str
    notification: Notification
    tenant: str = ""
    sources: bool = False
    created_at: Instant = 0
    modified_at: Instant = 0
    entities: tuple[EntitySelector, ...] = ()
    watched_attributes: tuple[str, ...] = ()
    notification_trigger: tuple[str, ...] = ()
    time_interval: float | None = None
    throttling: float | None = None
    q: Filter | None = None
    geo_q: GeoFilter | None = None
    scope_q: ScopeFilter | None = None
    dataset_id: tuple[str, ...] = ()
    lang: str | None = None
    local_only: bool | None = None
    expires_at: str | None = None
    is_active: bool | None = None
    jsonld_context: str = ""
    context: Source | None = None
    rest: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """What it is called among the subscriptions of its tenant."""
        return ABOUT_SOURCES + self.id if self.sources else self.id

    @property
    def query(self) -> Query:
        """The entities that it is about."""
        return Query(
            selectors=tuple(Selector(each.ids, each.id_pattern, each.types) for each in self.entities),
            q=self.q.tree if self.q else None,
            scopes=self.scope_q.tree if self.scope_q else None,
            geo=self.geo_q.geo if self.geo_q else None,
        )

    def status(self, now: Instant) -> Literal["active", "paused", "expired"]:
        """Whether it is under operation (5.2.12, table 2)."""
        if self.expires_at is not None and instant(self.expires_at) <= now:
            return "expired"
        return "paused" if self.is_active is False else "active"


def parse(body: Any, context: Context, now: Instant, outbound: Outbound) -> Subscription:
    """A subscription from what a client sent to create it (5.8.1); without id when none was sent.

    Raises BadRequestData naming every fault.
    """
    reader = Reader(body, context, now, outbound)
    members = reader.members()
    for needed in ("type", "notification"):
        if needed not in reader.body:
            reader.faults.append(f"{needed} is missing")
    reader.complain()
    subscription = Subscription(**{"id": "", **members, "created_at": now, "modified_at": now})
    check(subscription)
    return subscription


def update(
    before: Subscription, body: Any, context: Context, now: Instant, outbound: Outbound
) -> Subscription:
    """A subscription after a fragment was applied to it (5.8.2, 5.5.8): members sent replace those there,
    null takes them away. Raises BadRequestData naming every fault."""
    reader = Reader(body, context, now, outbound)
    sent = reader.body
    gone = [name for name, value in sent.items() if value is None or value == NGSI_LD_NULL]
    for name in gone:
        del sent[name]
        if name in ("id", "type", "notification"):
            reader.faults.append(f"{name} cannot be taken away")
    members = reader.members()
    reader.complain()
    if members.pop("id", before.id) != before.id:
        raise BadRequestData(f"id must stay {before.id}")
    rest = {key: value for key, value in before.rest.items() if key not in gone}
    rest |= members.pop("rest", {})
    cleared = {FIELDS[name]: default_of(FIELDS[name]) for name in gone if name in FIELDS}
    after = replace(before, **{**cleared, **members, "rest": rest, "modified_at": now})
    check(after)
    return after


def check(subscription: Subscription) -> None:
    """Restrictions that concern several members (5.2.12, 5.2.14). Raises BadRequestData."""
    faults = []
    if not subscription.entities and not subscription.watched_attributes and not subscription.local_only:
        faults.append("entities or watchedAttributes is needed (or localOnly)")
    if subscription.time_interval is not None:
        if subscription.watched_attributes:
            faults.append("timeInterval and watchedAttributes exclude each other")
        if subscription.throttling is not None:
            faults.append("timeInterval and throttling exclude each other")
        if not subscription.entities and not subscription.local_only:
            faults.append("timeInterval needs entities")
    notification = subscription.notification
    if notification.show_changes and notification.form == "simplified":
        faults.append("showChanges needs the normalized or concise format")
    if notification.attributes and (notification.pick or notification.omit):
        faults.append("notification.attributes excludes pick and omit")
    if notification.pick and notification.omit:
        both = {
            name
            for name, inner in notification.pick.members.items()
            if inner is None and notification.omit.members.get(name, notification) is None
        }
        faults.extend(f"{name} is both in pick and omit" for name in sorted(both))
    if faults:
        raise BadRequestData("; ".join(faults))


class Reader:
    """Reads the members of one body and collects what is wrong with them."""

    def __init__(self, body: Any, context: Context, now: Instant, outbound: Outbound) -> None:
        if not isinstance(body, dict):
            raise BadRequestData("a subscription is a JSON object")
        self.body = {key: value for key, value in body.items() if key != "@context"}
        self.faults: list[str] = []
        self._context = context
        self._now = now
        self._outbound = outbound

    def complain(self) -> None:
        """Raises BadRequestData with every fault found."""
        if self.faults:
            raise BadRequestData("; ".join(self.faults))

    def members(self) -> dict[str, Any]:
        """The members that came, as fields of `Subscription`."""
        found: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for name, value in self.body.items():
            if name in ("type", "@type"):
                if value != "Subscription":
                    self.faults.append(f"type must be Subscription, not {value!r:.60}")
            elif name in FIELDS:
                self._into(found, FIELDS[name], name, self._reader(name), value)
            elif name in KEPT:
                self._into(rest, name, name, self._csf if name == "csf" else KEPT[name], value)
            elif name not in OUTPUT_ONLY:
                self.faults.extend(misspelt(name, (*FIELDS, *KEPT)))
        if rest:
            found["rest"] = rest
        return found

    def _into(
        self, target: dict[str, Any], field: str, name: str, read: Callable[[Any], Any], value: Any
    ) -> None:
        try:
            target[field] = read(value)
        except Faults as several:
            self.faults.extend(f"{name}{fault}" for fault in several.faults)
        except CityError as fault:
            self.faults.append(f"{name}: {fault.detail}")

    def _reader(self, name: str) -> Callable[[Any], Any]:
        return PLAIN.get(name) or getattr(self, f"_{FIELDS[name]}")

    def _entities(self, value: Any) -> tuple[EntitySelector, ...]:
        return tuple(self._selector(each) for each in objects(value))

    def _selector(self, said: dict[str, Any]) -> EntitySelector:
        unknown = said.keys() - {"id", "idPattern", "type"}
        if unknown or not said:
            raise BadRequestData("an entity selector has type, id and idPattern, and nothing else")
        listed = isinstance(said.get("id"), list)
        ids = uris(said["id"] if listed else [said["id"]]) if "id" in said else ()
        pattern = text(said["idPattern"]) if "idPattern" in said else None
        if pattern is not None:
            id_pattern(pattern)
        # `type` is mandatory in the table, yet a selector by id alone asks something sensible.
        if "type" not in said and not ids and pattern is None:
            raise BadRequestData("an entity selector needs a type")
        if "type" not in said:
            return EntitySelector(ids, listed, pattern)
        spelling = Spelling(self._context.type)
        types = parse_types(text(said["type"]), spelling)
        return EntitySelector(ids, listed, pattern, types, spelling.said(said["type"]))

    def _watched_attributes(self, value: Any) -> tuple[str, ...]:
        return tuple(self._context.attribute(name) for name in texts(value))

    def _q(self, value: Any) -> Filter:
        said = text(value)
        # The language is defined percent-encoded (4.9); some clients send it so in a body, too.
        plain = unquote(said) if re.search("%[0-9A-Fa-f]{2}", said) else said
        spelling = Spelling(self._context.expand)
        valued = self.body.get("expandValues")
        names = valued.split(",") if isinstance(valued, str) else []
        expanded = [self._context.expand(name.strip()) for name in names]
        tree = parse_q(plain, spelling, expand_values=expanded)
        return Filter(spelling.said(said), tree)

    def _csf(self, value: Any) -> str:
        parse_q(text(value), self._context.expand)
        return str(value)

    def _geo_q(self, value: Any) -> GeoFilter:
        if not isinstance(value, dict):
            raise BadRequestData("a geo query is an object")
        unknown = value.keys() - {"geometry", "coordinates", "georel", "geoproperty"}
        missing = {"geometry", "coordinates", "georel"} - value.keys()
        if unknown or missing:
            raise BadRequestData("a geo query has geometry, coordinates, georel, and maybe geoproperty")
        georel, geometry = text(value["georel"]), text(value["geometry"])
        geo = parse_geo(
            georel, geometry, value["coordinates"], value.get("geoproperty"), self._context.expand
        )
        said = {key: value[key] for key in value if key != "geoproperty"}
        return GeoFilter(said, geo, "geoproperty" in value)

    def _scope_q(self, value: Any) -> ScopeFilter:
        said = text(value)
        return ScopeFilter(said, parse_scope(said))

    def _expires_at(self, value: Any) -> str:
        if instant(value) <= self._now:
            raise BadRequestData("must lie in the future")
        return text(value)

    def _notification(self, value: Any) -> Notification:
        if not isinstance(value, dict):
            raise BadRequestData("must be an object")
        found: dict[str, Any] = {}
        faults = [] if "endpoint" in value else [".endpoint is missing"]
        for name, each in value.items():
            reader = NOTIFICATION_PLAIN.get(name)
            if name == "endpoint":
                reader = self._endpoint
            elif name == "attributes":
                reader = self._watched_attributes
            elif name in ("pick", "omit"):
                reader = self._projection
            if reader is None:
                if name not in OUTPUT_ONLY_NOTIFICATION:
                    faults.extend(f".{fault}" for fault in misspelt(name, NOTIFICATION_MEMBERS))
                continue
            try:
                found[field_of(name)] = reader(each)
            except Faults as several:
                faults.extend(f".{name}{fault}" for fault in several.faults)
            except CityError as fault:
                faults.append(f".{name}: {fault.detail}")
        if faults:
            raise Faults(faults)
        return Notification(**found)

    def _projection(self, value: Any) -> Projection:
        return parse_projection(",".join(texts(value)), self._context)

    def _endpoint(self, value: Any) -> Endpoint:
        if not isinstance(value, dict):
            raise BadRequestData("must be an object")
        found: dict[str, Any] = {}
        faults = [] if "uri" in value else [".uri is missing"]
        for name, each in value.items():
            try:
                if name == "uri":
                    found[name] = self._target(each)
                elif name in ENDPOINT_PLAIN:
                    found[field_of(name)] = ENDPOINT_PLAIN[name](each)
                else:
                    faults.extend(f".{fault}" for fault in misspelt(name, ("uri", *ENDPOINT_PLAIN)))
            except CityError as fault:
                faults.append(f".{name}: {fault.detail}")
        if not faults and found["uri"].lower().startswith("mqtt"):
            mqtt.check(found["uri"], found.get("notifier_info", ()))
        if faults:
            raise Faults(faults)
        return Endpoint(**found)

    def _target(self, value: Any) -> str:
        url = text(value)
        if not is_uri(url):
            raise BadRequestData(f"{url!r:.100} is not a URI")
        self._outbound.check(url, schemes=("http", "https", *mqtt.SCHEMES))
        return url


class Spelling:
    """Expands names, and remembers which."""

    def __init__(self, expand: Callable[[str], str]) -> None:
        self._expand = expand
        self._names: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        iri = self._names[name] = self._expand(name)
        return iri

    def said(self, text: str) -> Said:
        """What was written, with what its names stood for so far."""
        return Said(text, self._names)


class Faults(BadRequestData):
    """Several faults within one member, each beginning with the path from it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def misspelt(name: str, members: Sequence[str]) -> list[str]:
    """A fault when an unknown member looks like a known one; others mean nothing and are let go."""
    meant = get_close_matches(name, members, 1, 0.85)
    return [f"{name:.60} is not a member; did you mean {meant[0]}?"] if meant else []


def text(value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise BadRequestData("must be a string that is not empty")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """An array of strings that is not empty."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_LIST:
        raise BadRequestData(f"must be an array of 1 to {MAX_LIST} strings")
    return tuple(text(each) for each in value)


def uri(value: Any) -> str:
    """A URI."""
    if not is_uri(text(value)):
        raise BadRequestData(f"{value!r:.100} is not a URI")
    return str(value)


def uris(value: Any) -> tuple[str, ...]:
    """An array of URIs that is not empty."""
    return tuple(uri(each) for each in texts(value))


def datasets(value: Any) -> tuple[str, ...]:
    """An array of URIs or `@none`."""
    return tuple(each if each == "@none" else uri(each) for each in texts(value))


def objects(value: Any) -> list[dict[str, Any]]:
    """An array of objects that is not empty."""
    fitting = isinstance(value, list) and 0 < len(value) <= MAX_LIST
    if not fitting or not all(isinstance(each, dict) for each in value):
        raise BadRequestData(f"must be an array of 1 to {MAX_LIST} objects")
    return value  # type: ignore[no-any-return]


def positive(value: Any) -> float:
    """A number greater than 0 that a clock can count."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e10:
        raise BadRequestData("must be a number greater than 0")
    return value


def level(value: Any) -> int:
    """A number of steps."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 10:
        raise BadRequestData("must be a whole number from 1 to 10")
    return value


def flag(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise BadRequestData("must be true or false")
    return value


def triggers(value: Any) -> tuple[str, ...]:
    """Names of notification triggers (5.2.12)."""
    return tuple(one_of(*TRIGGERS)(each) for each in texts(value))


def one_of(*allowed: str) -> Callable[[Any], str]:
    """One of some words."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise BadRequestData(f"{value!r:.60} must be one of {', '.join(allowed)}")
        return str(value)

    return read


def pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """An array of key-value pairs (5.2.22)."""
    return tuple(pair(each) for each in objects(value))


def pair(value: dict[str, Any]) -> tuple[str, str]:
    """A key and a value, both strings."""
    key, content = value.get("key"), value.get("value")
    if not isinstance(key, str) or not key or not isinstance(content, str) or len(value) != 2:
        raise BadRequestData("each must have a string as key, a string as value, and nothing else")
    return key, content


def headers(value: Any) -> tuple[tuple[str, str], ...]:
    """Key-value pairs that can be sent as HTTP headers (6.3.8)."""
    found = pairs(value)
    for key, content in found:
        if not HEADER.fullmatch(key) or key.lower() in RESERVED_HEADERS:
            raise BadRequestData(f"{key!r:.60} cannot be sent as a header")
        if not content.isprintable():
            raise BadRequestData(f"the value of {key} cannot be sent as a header")
    return found


def anything(value: Any) -> Any:
    """Whatever came."""
    return value


FIELDS: dict[str, str] = {
    "id": "id",
    "entities": "entities",
    "watchedAttributes": "watched_attributes",
    "notificationTrigger": "notification_trigger",
    "timeInterval": "time_interval",
    "throttling": "throttling",
    "q": "q",
    "geoQ": "geo_q",
    "scopeQ": "scope_q",
    "datasetId": "dataset_id",
    "lang": "lang",
    "localOnly": "local_only",
    "expiresAt": "expires_at",
    "isActive": "is_active",
    "jsonldContext": "jsonld_context",
    "notification": "notification",
}
"""Members that the platform acts upon, and the fields that hold them."""

PLAIN: dict[str, Callable[[Any], Any]] = {
    "id": uri,
    "notificationTrigger": triggers,
    "timeInterval": positive,
    "throttling": positive,
    "datasetId": datasets,
    "lang": text,
    "localOnly": flag,
    "isActive": flag,
    "jsonldContext": uri,
}

KEPT: dict[str, Callable[[Any], Any]] = {
    "subscriptionName": text,
    "description": text,
    "csf": text,
    "temporalQ": anything,
    "expandValues": text,
    "jsonKeys": text,
    "ngsildConformance": text,
    "splitEntities": flag,
}
"""Members that are kept and shown; they matter once the city has context sources."""

NOTIFICATION_PLAIN: dict[str, Callable[[Any], Any]] = {
    "format": one_of(*FORMS),
    "showChanges": flag,
    "sysAttrs": flag,
    "join": one_of("flat", "inline", "@none"),
    "joinLevel": level,
}

NOTIFICATION_MEMBERS = (*NOTIFICATION_PLAIN, "endpoint", "attributes", "pick", "omit")

ENDPOINT_PLAIN: dict[str, Callable[[Any], Any]] = {
    "accept": one_of(*MEDIA),
    "timeout": positive,
    "cooldown": positive,
    "receiverInfo": headers,
    "notifierInfo": pairs,
}

_RENAMED = {
    "showChanges": "show_changes",
    "sysAttrs": "sys_attrs",
    "joinLevel": "join_level",
    "receiverInfo": "receiver_info",
    "notifierInfo": "notifier_info",
}


def field_of(member: str) -> str:
    """The field that holds a member of `notification` or `endpoint`."""
    return _RENAMED.get(member, member)


def default_of(field: str) -> Any:
    """What a field holds when its member is taken away."""
    info = next(each for each in msgspec.structs.fields(Subscription) if each.name == field)
    return info.default


# -- the other way round


def render(
    subscription: Subscription, context: Context, now: Instant, tally: Mapping[str, Any], *, sys_attrs: bool
) -> dict[str, Any]:
    """The subscription as an answer shows it (5.2.12, 5.2.14.2), names compacted, without @context.
    `tally` holds the output-only members of `notification`."""
    compact = context.compact
    shown: dict[str, Any] = {"id": subscription.id, "type": "Subscription", **subscription.rest}
    if subscription.entities:
        shown["entities"] = [render_selector(each, context) for each in subscription.entities]
    if subscription.watched_attributes:
        shown["watchedAttributes"] = [compact(name) for name in subscription.watched_attributes]
    if not subscription.sources:  # to which triggers do not apply (5.2.12)
        shown["notificationTrigger"] = list(subscription.notification_trigger or DEFAULT_TRIGGERS)
    for name in ("timeInterval", "throttling", "lang", "localOnly", "isActive", "expiresAt"):
        value = getattr(subscription, FIELDS[name])
        if value is not None:
            shown[name] = value
    if subscription.q is not None:
        shown["q"] = subscription.q.said.under(context)
    if subscription.geo_q is not None:
        shown["geoQ"] = render_geo(subscription.geo_q, context)
    if subscription.scope_q is not None:
        shown["scopeQ"] = subscription.scope_q.said
    if subscription.dataset_id:
        shown["datasetId"] = list(subscription.dataset_id)
    shown["notification"] = {**render_notification(subscription.notification, context), **tally}
    if not subscription.sources:
        shown["jsonldContext"] = subscription.jsonld_context
    shown["status"] = subscription.status(now)
    if sys_attrs:
        shown["createdAt"] = timestamp(subscription.created_at)
        shown["modifiedAt"] = timestamp(subscription.modified_at)
    return shown


def render_selector(selector: EntitySelector, context: Context) -> dict[str, Any]:
    """An entity selector (5.2.33)."""
    shown: dict[str, Any] = {}
    if selector.ids:
        shown["id"] = list(selector.ids) if selector.listed else selector.ids[0]
    if selector.id_pattern is not None:
        shown["idPattern"] = selector.id_pattern
    if selector.said is not None:
        shown["type"] = selector.said.under(context)
    return shown


def render_geo(geo: GeoFilter, context: Context) -> dict[str, Any]:
    """A geo query (5.2.13)."""
    return {**geo.said, **({"geoproperty": context.compact(geo.geo.property)} if geo.named else {})}


def render_notification(notification: Notification, context: Context) -> dict[str, Any]:
    """Notification parameters as they came (5.2.14.1)."""
    shown: dict[str, Any] = {}
    if notification.attributes:
        shown["attributes"] = [context.compact(name) for name in notification.attributes]
    for name, projection in (("pick", notification.pick), ("omit", notification.omit)):
        if projection is not None:
            shown[name] = spell(projection, context)
    for name in NOTIFICATION_PLAIN:
        value = getattr(notification, field_of(name))
        if value is not None:
            shown[name] = value
    shown["endpoint"] = render_endpoint(notification.endpoint)
    return shown


def render_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as it came (5.2.15)."""
    shown: dict[str, Any] = {"uri": endpoint.uri}
    for name in ENDPOINT_PLAIN:
        value = getattr(endpoint, field_of(name))
        if value is not None and value != ():
            shown[name] = value
    for name in ("receiverInfo", "notifierInfo"):
        if name in shown:
            shown[name] = [{"key": key, "value": content} for key, content in shown[name]]
    return shown


def spell(projection: Projection, context: Context) -> list[str]:
    """The elements of a projection (4.21) in the names of a context."""
    return [
        compacted(name, context) + (f"{{{','.join(spell(inner, context))}}}" if inner else "")
        for name, inner in projection.members.items()
    ]


def compacted(name: str, context: Context) -> str:
    """A member of an entity, which stays, or an attribute's name."""
    return context.compact(name) if ":" in name else name
