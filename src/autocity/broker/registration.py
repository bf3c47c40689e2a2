"""The CSourceRegistration data type (5.2.8 to 5.2.11, 5.2.34): every fault named when parsed, kept
expanded, shown compacted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.broker.outbound import Outbound
from autocity.broker.subscription import (
    HEADER,
    Faults,
    datasets,
    flag,
    objects,
    one_of,
    pairs,
    positive,
    text,
    texts,
    uri,
)
from autocity.errors import BadRequestData, CityError
from autocity.ld import values
from autocity.ld.context import CORE, NGSI_LD, Context
from autocity.ld.entity import parse_attribute
from autocity.ld.instants import instant, timestamp
from autocity.ld.query import id_pattern
from autocity.ld.temporal import duration
from autocity.model import NGSI_LD_NULL, Attribute, Attributes, Entity, Instant

Mode = Literal["inclusive", "exclusive", "redirect", "auxiliary"]
MODES: tuple[Mode, ...] = ("inclusive", "exclusive", "redirect", "auxiliary")

PROXIED = frozenset(("exclusive", "redirect"))
"""Modes in which what is registered is held elsewhere only (4.3.6.3)."""

CONSUMPTION = frozenset(
    (
        "retrieveEntity", "queryEntity", "queryBatch", "retrieveTemporal", "queryTemporal",
        "retrieveEntityTypes", "retrieveEntityTypeDetails", "retrieveEntityTypeInfo",
        "retrieveAttrTypes", "retrieveAttrTypeDetails", "retrieveAttrTypeInfo",
    )
)  # fmt: skip
"""Operations that only read (4.20)."""

TEMPORAL = frozenset(
    (
        "retrieveTemporal", "queryTemporal", "upsertTemporal", "appendAttrsTemporal", "deleteAttrsTemporal",
        "updateAttrInstanceTemporal", "deleteAttrInstanceTemporal", "deleteTemporal",
        "createEntityMapQueryTemporal",
    )
)  # fmt: skip
"""Operations on history (4.20)."""

_DISCOVERY = CONSUMPTION - {"retrieveTemporal", "queryTemporal"}
_SUBSCRIBING = frozenset(
    (
        "createSubscription", "updateSubscription", "retrieveSubscription", "querySubscription",
        "deleteSubscription",
    )
)  # fmt: skip
_MAPS = frozenset(("retrieveEntityMap", "updateEntityMap", "deleteEntityMap", "createEntityMapQueryEntity"))
_IDENTITY = frozenset(("retrieveContextSourceIdentity",))
_UPDATE = frozenset(("updateEntity", "updateAttrs", "replaceEntity", "replaceAttrs"))
_PROVISION = _UPDATE | {
    "createEntity", "appendAttrs", "deleteAttrs", "deleteEntity", "mergeEntity", "purgeEntity",
}  # fmt: skip

GROUPS: dict[str, frozenset[str]] = {
    "federationOps": _DISCOVERY | _SUBSCRIBING | _MAPS | _IDENTITY,
    "associationOps": _DISCOVERY | _SUBSCRIBING | _IDENTITY,
    "updateOps": _UPDATE,
    "retrieveOps": frozenset(("retrieveEntity", "queryEntity")),
    "redirectionOps": _PROVISION | (_DISCOVERY - {"queryBatch"}) | _MAPS | _IDENTITY,
}
"""Named groups of operations (4.20, table 2)."""

OPERATIONS = frozenset().union(
    *GROUPS.values(),
    CONSUMPTION,
    TEMPORAL,
    ("createBatch", "upsertBatch", "updateBatch", "deleteBatch", "mergeBatch"),
)
"""Names of operations (4.20, table 1)."""

AUXILIARY = frozenset(("retrieveOps", "retrieveEntity", "queryEntity"))
"""What an auxiliary registration may list (5.9.2.4)."""

OUTPUT_ONLY = frozenset(
    ("status", "lastFailure", "lastSuccess", "timesFailed", "timesSent", "createdAt", "modifiedAt")
)
LOCAL_ONLY = NGSI_LD + "localOnly"


class EntityInfo(Struct, frozen=True, omit_defaults=True):
    """Which entities a source has (5.2.8): of one type, of several at once when `listed`, or, when it is
    told by id alone, of any."""

    types: tuple[str, ...] = ()
    id: str | None = None
    id_pattern: str | None = None
    listed: bool = False


class Information(Struct, frozen=True, omit_defaults=True):
    """What a source has (5.2.10): entities (none named: any), attributes (none named: all)."""

    entities: tuple[EntityInfo, ...] = ()
    property_names: tuple[str, ...] = ()
    relationship_names: tuple[str, ...] = ()

    @property
    def attributes(self) -> frozenset[str]:
        """IRIs of the attributes named."""
        return frozenset(self.property_names + self.relationship_names)


class TimeInterval(Struct, frozen=True, omit_defaults=True):
    """A time interval (5.2.11), open when it has no end."""

    start_at: str
    end_at: str | None = None

    def touches(self, start: Instant, end: Instant) -> bool:
        """Whether the two have an instant in common."""
        return instant(self.start_at) <= end and (self.end_at is None or start <= instant(self.end_at))


class Management(Struct, frozen=True, omit_defaults=True):
    """How a source wants to be asked (5.2.34). Times in milliseconds."""

    cache_duration: str | None = None
    cooldown: float | None = None
    local_only: bool | None = None
    timeout: float | None = None


class Registration(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One context source registration as the platform keeps it (5.2.9).

    `tenant` owns it, `source_tenant` is the one to address at the source. `spaces` are the geometries by
    member name. `properties` are Context Source Properties by IRI, their values as they came. `rest`
    holds members that are only kept and shown.
    """

    id: str
    endpoint: str
    information: tuple[Information, ...]
    tenant: str = ""
    created_at: Instant = 0
    modified_at: Instant = 0
    mode: Mode | None = None
    operations: tuple[str, ...] = ()
    context_source_info: tuple[tuple[str, str], ...] = ()
    context_source_alias: str | None = None
    dataset_id: tuple[str, ...] = ()
    expires_at: str | None = None
    spaces: dict[str, Any] = {}
    management: Management | None = None
    management_interval: TimeInterval | None = None
    observation_interval: TimeInterval | None = None
    scopes: tuple[str, ...] = ()
    source_tenant: str | None = None
    properties: dict[str, Any] = {}
    rest: dict[str, Any] = {}

    @property
    def working_mode(self) -> Mode:
        """The mode of distributed operations (4.3.6)."""
        return self.mode or "inclusive"

    @property
    def supported(self) -> frozenset[str]:
        """The operations that the source takes (4.20); an auxiliary one only reads."""
        named = self.operations or ("federationOps",)
        every = frozenset().union(*(GROUPS.get(name, {name}) for name in named))
        return every & CONSUMPTION if self.mode == "auxiliary" else every

    @property
    def temporal(self) -> bool:
        """Whether it is about history and not about the present (5.9.1)."""
        return self.management_interval is not None or self.observation_interval is not None

    @property
    def recording(self) -> bool:
        """Whether it can be asked for history: it says of which time, or takes an operation on history."""
        return self.temporal or not TEMPORAL.isdisjoint(self.supported)

    @property
    def local_only(self) -> bool:
        """Whether the source is to leave out sources of its own (4.3.6.4)."""
        told = self.management is not None and self.management.local_only
        return bool(told) or self.properties.get(LOCAL_ONLY) is True

    def expired(self, now: Instant) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and instant(self.expires_at) <= now

    def described(self) -> Entity:
        """The registration as an entity, so that `csf`, `scopeQ` and geo queries can be asked of it."""
        told: dict[str, Any] = {
            "endpoint": self.endpoint,
            "mode": self.working_mode,
            "operations": list(self.operations) or ["federationOps"],
            "contextSourceAlias": self.context_source_alias,
            "tenant": self.source_tenant,
            "expiresAt": self.expires_at,
            **self.rest,
        }
        attributes: Attributes = {
            CORE.expand(name): (Attribute(kind="Property", value=value),)
            for name, value in told.items()
            if value is not None
        }
        for name, geometry in self.spaces.items():
            attributes[CORE.expand(name)] = (Attribute(kind="GeoProperty", value=geometry),)
        for iri, value in self.properties.items():
            attributes[iri] = _attribute(value)
        return Entity(id=self.id, types=(), scopes=self.scopes, attributes=attributes)


def _attribute(value: Any) -> tuple[Attribute, ...]:
    """A Context Source Property: an attribute, or a bare value."""
    try:
        return parse_attribute(value, CORE, "description")
    except BadRequestData:
        return (Attribute(kind="Property", value=value),)


def parse(body: Any, context: Context, now: Instant, outbound: Outbound) -> Registration:
    """A registration from what a client sent to create it (5.9.2); its id is "" when none was sent.

    Raises BadRequestData naming every fault.
    """
    reader = Reader(body, context, now, outbound)
    members = reader.members()
    for needed in ("type", "endpoint", "information"):
        if needed not in reader.body and f"@{needed}" not in reader.body:
            reader.faults.append(f"{needed} is missing")
    reader.complain()
    registration = Registration(**{"id": "", **members, "created_at": now, "modified_at": now})
    check(registration)
    return registration


def update(
    before: Registration, body: Any, context: Context, now: Instant, outbound: Outbound
) -> Registration:
    """A registration after a fragment was applied to it (5.9.3, 5.5.8): members sent replace those there,
    null takes them away. Raises BadRequestData naming every fault."""
    reader = Reader(body, context, now, outbound)
    sent = reader.body
    gone = [name for name, value in sent.items() if value is None or value == NGSI_LD_NULL]
    for name in gone:
        del sent[name]
        if name in ("id", "type", "endpoint", "information"):
            reader.faults.append(f"{name} cannot be taken away")
    members = reader.members()
    reader.complain()
    if members.pop("id", before.id) != before.id:
        raise BadRequestData(f"id must stay {before.id}")
    lost = {context.expand(name) for name in gone} | set(gone)
    for field in ("properties", "rest", "spaces"):
        kept = {name: value for name, value in getattr(before, field).items() if name not in lost}
        members[field] = kept | members.get(field, {})
    cleared = {FIELDS[name]: _default(FIELDS[name]) for name in gone if name in FIELDS}
    after = replace(before, **{**cleared, **members, "modified_at": now})
    check(after)
    return after


def check(registration: Registration) -> None:
    """Restrictions that concern several members (4.3.6.3, 5.9.2.4). Raises BadRequestData."""
    faults = []
    if registration.mode == "exclusive":
        for each in registration.information:
            if not each.entities or any(info.id is None or info.id_pattern for info in each.entities):
                faults.append("an exclusive registration names its entities by id, none by a pattern")
            if not each.attributes:
                faults.append("an exclusive registration names propertyNames or relationshipNames")
    if registration.mode == "auxiliary" and not AUXILIARY.issuperset(registration.operations):
        faults.append(f"operations of an auxiliary registration are of {', '.join(sorted(AUXILIARY))}")
    if faults:
        raise BadRequestData("; ".join(dict.fromkeys(faults)))


class Reader:
    """Reads the members of one body and collects what is wrong with them."""

    def __init__(self, body: Any, context: Context, now: Instant, outbound: Outbound) -> None:
        if not isinstance(body, dict):
            raise BadRequestData("a context source registration is a JSON object")
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
        """The members that came, as fields of `Registration`."""
        found: dict[str, Any] = {}
        for name, value in self.body.items():
            try:
                self._read(found, name, value)
            except Faults as several:
                self.faults.extend(f"{name}{fault}" for fault in several.faults)
            except CityError as fault:
                self.faults.append(f"{name:.60}: {fault.detail}")
        return found

    def _read(self, found: dict[str, Any], name: str, value: Any) -> None:
        if name in ("type", "@type"):
            if value != "ContextSourceRegistration":
                raise BadRequestData(f"must be ContextSourceRegistration, not {value!r:.60}")
        elif name in FIELDS:
            read = PLAIN.get(name) or getattr(self, f"_{FIELDS[name]}")
            found[FIELDS[name]] = read(value)
        elif name in SPACES:
            found.setdefault("spaces", {})[name] = values.geometry(value)
        elif name in KEPT:
            found.setdefault("rest", {})[name] = KEPT[name](value)
        elif name not in OUTPUT_ONLY:
            # Whatever else is said describes the source (4.9, "Context Source Properties").
            found.setdefault("properties", {})[self._context.attribute(name)] = value

    def _endpoint(self, value: Any) -> str:
        url = uri(value)
        self._outbound.check(url)
        return url

    def _information(self, value: Any) -> tuple[Information, ...]:
        return tuple(self._one_information(each) for each in objects(value))

    def _one_information(self, said: dict[str, Any]) -> Information:
        unknown = said.keys() - {"entities", "propertyNames", "relationshipNames"}
        if unknown or not said:
            raise BadRequestData("each has entities, propertyNames or relationshipNames, and nothing else")
        return Information(
            entities=tuple(map(self._entity, objects(said["entities"]))) if "entities" in said else (),
            property_names=self._names(said, "propertyNames"),
            relationship_names=self._names(said, "relationshipNames"),
        )

    def _names(self, said: dict[str, Any], member: str) -> tuple[str, ...]:
        return tuple(map(self._context.attribute, texts(said[member]))) if member in said else ()

    def _entity(self, said: dict[str, Any]) -> EntityInfo:
        if said.keys() - {"id", "idPattern", "type"} or not said:
            raise BadRequestData("an entity is described by its type, by id or idPattern, and nothing else")
        # `type` is mandatory in the table, yet an id alone describes something sensible.
        listed = isinstance(said.get("type"), list)
        types = texts(said["type"]) if listed else (text(said["type"]),) if "type" in said else ()
        pattern = text(said["idPattern"]) if "idPattern" in said else None
        if pattern is not None:
            id_pattern(pattern)
        return EntityInfo(
            types=tuple(map(self._context.type, types)),
            id=uri(said["id"]) if "id" in said else None,
            id_pattern=pattern,
            listed=listed,
        )

    def _expires_at(self, value: Any) -> str:
        if instant(value) <= self._now:
            raise BadRequestData("must lie in the future")
        return text(value)


# -- members


def operations(value: Any) -> tuple[str, ...]:
    """Names of operations and of groups of them (4.20)."""
    return tuple(one_of(*sorted(GROUPS), *sorted(OPERATIONS))(each) for each in texts(value))


def source_info(value: Any) -> tuple[tuple[str, str], ...]:
    """What to tell a source (4.3.6.5): pairs that can be sent as headers, some with a meaning (4.3.6.6)."""
    found = pairs(value)
    for key, content in found:
        if key in MEANINGS:
            MEANINGS[key](content)
        elif not HEADER.fullmatch(key) or not content.isprintable():
            raise BadRequestData(f"{key!r:.60} and its value cannot be sent as a header")
    return found


def version(value: Any) -> str:
    """A version of the standard, such as 1.5."""
    if not re.fullmatch(r"\d{1,3}\.\d{1,3}", text(value)):
        raise BadRequestData("must be a version such as 1.5")
    return str(value)


def interval(value: Any) -> TimeInterval:
    """A time interval (5.2.11)."""
    if not isinstance(value, dict) or value.keys() - {"startAt", "endAt"} or "startAt" not in value:
        raise BadRequestData("must have startAt and maybe endAt, both DateTimes")
    start, end = instant(value["startAt"]), instant(value["endAt"]) if "endAt" in value else None
    if end is not None and end < start:
        raise BadRequestData("endAt lies before startAt")
    return TimeInterval(value["startAt"], value.get("endAt"))


def period(value: Any) -> str:
    """A duration in ISO 8601."""
    duration(text(value))
    return str(value)


def management(value: Any) -> Management:
    """Registration management information (5.2.34)."""
    if not isinstance(value, dict):
        raise BadRequestData("must be an object")
    found: dict[str, Any] = {}
    faults = []
    for name, each in value.items():
        if name not in MANAGEMENT:
            faults.append(f".{name:.60} is not a member of management")
            continue
        field, read = MANAGEMENT[name]
        try:
            found[field] = read(each)
        except CityError as fault:
            faults.append(f".{name}: {fault.detail}")
    if faults:
        raise Faults(faults)
    return Management(**found)


def scopes(value: Any) -> tuple[str, ...]:
    """A scope or several (4.18)."""
    found = value if isinstance(value, list) else [value]
    if not found or not all(map(values.is_scope, found)):
        raise BadRequestData("must be a scope such as /Madrid/Gardens, or an array of scopes")
    return tuple(found)


def tenant(value: Any) -> str:
    """A tenant, as the header that names it can hold it (6.3.14)."""
    name = text(value)
    if not (len(name) <= 256 and name.isascii() and name.isprintable()):
        raise BadRequestData("must have 1 to 256 printable characters")
    return name


def _default(field: str) -> Any:
    """What a field holds when its member is taken away."""
    info = next(each for each in msgspec.structs.fields(Registration) if each.name == field)
    return info.default


FIELDS: dict[str, str] = {
    "id": "id",
    "endpoint": "endpoint",
    "information": "information",
    "mode": "mode",
    "operations": "operations",
    "contextSourceInfo": "context_source_info",
    "contextSourceAlias": "context_source_alias",
    "datasetId": "dataset_id",
    "expiresAt": "expires_at",
    "management": "management",
    "managementInterval": "management_interval",
    "observationInterval": "observation_interval",
    "scope": "scopes",
    "tenant": "source_tenant",
}
"""Members that the platform acts upon, and the fields that hold them."""

SPACES = ("location", "observationSpace", "operationSpace")

PLAIN: dict[str, Callable[[Any], Any]] = {
    "id": uri,
    "mode": one_of(*MODES),
    "operations": operations,
    "contextSourceInfo": source_info,
    "contextSourceAlias": text,
    "datasetId": datasets,
    "management": management,
    "managementInterval": interval,
    "observationInterval": interval,
    "scope": scopes,
    "tenant": tenant,
}

KEPT: dict[str, Callable[[Any], Any]] = {
    "registrationName": text,
    "description": text,
    "refreshRate": period,
}

MEANINGS: dict[str, Callable[[Any], Any]] = {
    "accept": one_of("application/json", "application/ld+json"),
    "contentType": one_of("application/json", "application/ld+json"),
    "jsonldContext": uri,
    "ngsildConformance": version,
}
"""Keys of `contextSourceInfo` that are no headers of their own, and what they take (4.3.6.6)."""

MANAGEMENT: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "cacheDuration": ("cache_duration", period),
    "cooldown": ("cooldown", positive),
    "localOnly": ("local_only", flag),
    "timeout": ("timeout", positive),
}


# -- the other way round


def render(
    registration: Registration,
    context: Context,
    tally: Mapping[str, Any],
    *,
    information: Iterable[Information] | None = None,
    listed: bool = False,
    sys_attrs: bool = False,
) -> dict[str, Any]:
    """The registration as an answer shows it (5.2.9), names compacted, without @context.

    `tally` holds the output-only members; `information` the elements to show instead of all (5.11.7);
    `listed` shows types as arrays even when there is one.
    """
    shown: dict[str, Any] = {
        "id": registration.id,
        "type": "ContextSourceRegistration",
        **registration.rest,
        "information": [
            render_information(each, context, listed=listed)
            for each in (registration.information if information is None else information)
        ],
        "endpoint": registration.endpoint,
    }
    for name in ("mode", "contextSourceAlias", "expiresAt", "tenant"):
        value = getattr(registration, FIELDS[name])
        if value is not None:
            shown[name] = value
    for name in ("operations", "datasetId"):
        value = getattr(registration, FIELDS[name])
        if value:
            shown[name] = list(value)
    if registration.context_source_info:
        shown["contextSourceInfo"] = [{"key": k, "value": v} for k, v in registration.context_source_info]
    if registration.scopes:
        several = len(registration.scopes) > 1
        shown["scope"] = list(registration.scopes) if several else registration.scopes[0]
    if registration.management is not None:
        shown["management"] = {
            name: getattr(registration.management, field)
            for name, (field, _) in MANAGEMENT.items()
            if getattr(registration.management, field) is not None
        }
    for name in ("managementInterval", "observationInterval"):
        span = cast("TimeInterval | None", getattr(registration, FIELDS[name]))
        if span is not None:
            shown[name] = {"startAt": span.start_at, **({"endAt": span.end_at} if span.end_at else {})}
    shown |= registration.spaces
    shown |= {context.compact(iri): value for iri, value in registration.properties.items()}
    if sys_attrs:
        shown["createdAt"] = timestamp(registration.created_at)
        shown["modifiedAt"] = timestamp(registration.modified_at)
    return {**shown, **tally}


def render_information(each: Information, context: Context, *, listed: bool = False) -> dict[str, Any]:
    """A RegistrationInfo (5.2.10)."""
    shown: dict[str, Any] = {}
    if each.entities:
        shown["entities"] = [_render_entity(info, context, listed) for info in each.entities]
    if each.property_names:
        shown["propertyNames"] = list(map(context.compact, each.property_names))
    if each.relationship_names:
        shown["relationshipNames"] = list(map(context.compact, each.relationship_names))
    return shown


def _render_entity(info: EntityInfo, context: Context, listed: bool) -> dict[str, Any]:
    types = list(map(context.compact, info.types))
    shown: dict[str, Any] = {} if info.id is None else {"id": info.id}
    if info.id_pattern is not None:
        shown["idPattern"] = info.id_pattern
    if types:
        shown["type"] = types if listed or info.listed else types[0]
    return shown
