"""JSON Schemas and examples of what travels through the API, by the names that operations use."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A reference to a schema of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(*, required: tuple[str, ...] = (), extra: Any = None, **properties: Any) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    if extra is not None:
        schema["additionalProperties"] = extra
    return schema


def _named(**facts: Any) -> Schema:
    """An object whose further members are attributes, by names that can be theirs."""
    return _object(**facts) | {"propertyNames": TERM}


def _array(of: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": of} | ({"minItems": least} if least else {})


def _one_or_more(of: Schema) -> Schema:
    return {"oneOf": [of, _array(of, 1)]}


URI: Schema = {"type": "string", "format": "uri"}
NAME: Schema = {"type": "string", "minLength": 1}
TERM: Schema = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]{0,40}$"}
"""A short name (4.6.2) in the letters that every tool can type; the platform takes those of any script."""
SCOPE: Schema = {"type": "string", "pattern": "^/[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*$"}
TIME: Schema = {"type": "string", "format": "date-time"}
COUNT: Schema = {"type": "integer", "minimum": 0}

GEOMETRY = _object(
    required=("type", "coordinates"),
    type={"enum": ["Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon"]},
    coordinates={"type": "array"},
)

_KINDS = {
    "Property": ("value", {}),
    "GeoProperty": ("value", ref("Geometry")),
    "Relationship": ("object", _one_or_more(URI)),
    "LanguageProperty": ("languageMap", {"type": "object"}),
    "VocabProperty": ("vocab", _one_or_more(NAME)),
    "JsonProperty": ("json", {}),
    "ListProperty": ("valueList", {"type": "array"}),
    "ListRelationship": ("objectList", _array(URI)),
}


def _instance(kind: str, member: str, value: Schema) -> Schema:
    return _object(
        required=("type", member),
        type={"const": kind},
        **{member: value},
        observedAt=TIME,
        unitCode={"type": "string"},
        datasetId=URI,
    )


_REGISTRATION: Schema = {
    "id": URI,
    "type": {"const": "ContextSourceRegistration"},
    "registrationName": NAME,
    "description": NAME,
    "endpoint": URI,
    "information": _array(
        _object(
            entities=_array(_object(required=("type",), type=_one_or_more(TERM), id=URI, idPattern=NAME), 1),
            propertyNames=_array(TERM, 1),
            relationshipNames=_array(TERM, 1),
        ),
        1,
    ),
    "mode": {"enum": ["inclusive", "exclusive", "redirect", "auxiliary"]},
    "operations": _array(NAME, 1),
    "contextSourceAlias": NAME,
    "contextSourceInfo": _array(_object(required=("key", "value"), key=NAME, value={"type": "string"}), 1),
    "tenant": NAME,
    "expiresAt": TIME,
    "location": ref("Geometry"),
    "observationInterval": _object(required=("startAt",), startAt=TIME, endAt=TIME),
    "managementInterval": _object(required=("startAt",), startAt=TIME, endAt=TIME),
    "management": _object(
        localOnly={"type": "boolean"},
        timeout={"type": "number", "exclusiveMinimum": 0},
        cooldown={"type": "number", "exclusiveMinimum": 0},
        cacheDuration={"type": "string", "format": "duration"},
    ),
}

_SELECTOR = _object(required=("type",), type=TERM, id=_one_or_more(URI), idPattern=NAME)
_GEO_QUERY = _object(
    required=("georel", "geometry", "coordinates"),
    georel=NAME,
    geometry=NAME,
    coordinates={"type": ["array", "string"]},
    geoproperty=NAME,
)
_TEMPORAL_QUERY = _object(
    required=("timerel", "timeAt"),
    timerel={"enum": ["before", "after", "between"]},
    timeAt=TIME,
    endTimeAt=TIME,
    timeproperty={"enum": ["observedAt", "createdAt", "modifiedAt", "deletedAt"]},
    lastN={"type": "integer", "minimum": 1},
)
_QUERY: dict[str, Any] = {
    "type": {"const": "Query"},
    "entities": _array(_SELECTOR, 1),
    "q": NAME,
    "geoQ": _GEO_QUERY,
    "scopeQ": NAME,
    "attrs": _array(NAME, 1),
    "pick": _array(NAME, 1),
    "omit": _array(NAME, 1),
    "datasetId": _array(NAME, 1),
    "lang": NAME,
    "join": {"enum": ["flat", "inline", "@none"]},
    "joinLevel": {"type": "integer", "minimum": 1, "maximum": 10},
    "ordering": _object(
        orderBy=_array(NAME, 1), collation=NAME, coordinates={"type": "array"}, geometry=NAME
    ),
}
_SUBSCRIPTION: dict[str, Any] = {
    "id": URI,
    "type": {"const": "Subscription"},
    "subscriptionName": NAME,
    "description": NAME,
    "entities": _array(_SELECTOR, 1),
    "watchedAttributes": _array(NAME, 1),
    "notificationTrigger": _array(
        {
            "enum": [
                f"{what}{done}"
                for what in ("entity", "attribute")
                for done in ("Created", "Updated", "Deleted")
            ]
        },
        1,
    ),
    "timeInterval": {"type": "number", "exclusiveMinimum": 0},
    "throttling": {"type": "number", "exclusiveMinimum": 0},
    "q": NAME,
    "geoQ": _GEO_QUERY,
    "scopeQ": NAME,
    "isActive": {"type": "boolean"},
    "expiresAt": TIME,
    "notification": _object(
        required=("endpoint",),
        attributes=_array(NAME, 1),
        format={"enum": ["normalized", "concise", "simplified", "keyValues"]},
        endpoint=_object(
            required=("uri",),
            uri=URI,
            accept={"enum": ["application/json", "application/ld+json", "application/geo+json"]},
        ),
    ),
}
_SNAPSHOT: dict[str, Any] = {
    "id": URI,
    "type": {"const": "Snapshot"},
    "snapshotQueries": _array(ref("Query"), 1),
    "snapshotTemporalQueries": _array(ref("TemporalQuery"), 1),
    "snapshotLifetime": {"type": "string", "format": "duration"},
    "snapshotPriority": {"type": "integer", "minimum": 1, "maximum": 10},
    "endpoint": URI,
    "receiverInfo": _array(_object(required=("key", "value"), key=NAME, value=NAME), 1),
}


SCHEMAS: dict[str, Schema] = {
    "ProblemDetails": _object(
        required=("type", "title", "status", "detail"),
        type=URI,
        title={"type": "string"},
        status={"type": "integer"},
        detail={"type": "string"},
        requestId={"type": "string"},
    ),
    "Geometry": GEOMETRY,
    "Instance": {"oneOf": [_instance(kind, member, value) for kind, (member, value) in _KINDS.items()]},
    "Attribute": _one_or_more(ref("Instance")),
    "AttributeFragment": {"type": "object", "minProperties": 1},
    "Entity": _named(
        required=("id", "type"),
        id=URI,
        type=_one_or_more(TERM),
        scope=_one_or_more(SCOPE),
        extra=ref("Attribute"),
    ),
    "Entities": _array(ref("Entity"), 1),
    "EntityList": _array({"type": "object"}),
    "Fragment": _named(type=_one_or_more(TERM), scope=_one_or_more(SCOPE), extra=ref("Attribute")),
    "EntityTemporal": _named(
        required=("id", "type"), id=URI, type=_one_or_more(TERM), extra=ref("Attribute")
    ),
    "EntityTemporalFragment": _named(extra=ref("Attribute")),
    "EntityTemporalList": _array({"type": "object"}),
    "Ids": _array(URI),
    "UpdateResult": _object(
        required=("updated", "notUpdated"),
        updated=_array(NAME),
        notUpdated=_array(
            _object(required=("attributeName", "reason"), attributeName=NAME, reason={"type": "string"})
        ),
    ),
    "BatchOperationResult": _object(
        required=("success", "errors"),
        success=_array(URI),
        errors=_array(
            _object(required=("entityId", "error"), entityId={"type": "string"}, error=ref("ProblemDetails"))
        ),
    ),
    "Query": _object(required=("type",), **_QUERY, extra=False),
    "TemporalQuery": _object(
        required=("type", "temporalQ"),
        **_QUERY,
        temporalQ=_TEMPORAL_QUERY,
        aggrParams=_object(aggrMethods=_array(NAME, 1), aggrPeriodDuration=NAME),
        extra=False,
    ),
    "Subscription": _object(required=("type", "notification"), **_SUBSCRIPTION),
    "SubscriptionFragment": _object(**_SUBSCRIPTION),
    "SubscriptionList": _array({"type": "object"}),
    "Registration": _object(required=("type", "endpoint", "information"), **_REGISTRATION),
    "RegistrationFragment": _object(**_REGISTRATION),
    "RegistrationList": _array({"type": "object"}),
    "EntityMap": _object(
        required=("id", "type", "expiresAt", "entityMap"),
        id=URI,
        type={"const": "EntityMap"},
        expiresAt=TIME,
        entityMap={"type": "object"},
        linkedMaps={"type": "object"},
    ),
    "EntityMapFragment": _object(type={"const": "EntityMap"}, expiresAt=TIME),
    "Snapshot": _object(required=("type",), **_SNAPSHOT),
    "SnapshotFragment": _object(
        type={"const": "Snapshot"},
        **{name: schema for name, schema in _SNAPSHOT.items() if not name.endswith(("ype", "Queries"))},
    ),
    "Types": {
        "oneOf": [
            _object(required=("id", "type", "typeList"), id=URI, type=NAME, typeList=_array(NAME)),
            _array(_object(required=("id", "type", "typeName"), id=URI, type=NAME, typeName=NAME)),
        ]
    },
    "TypeInfo": _object(
        required=("id", "type", "typeName", "entityCount", "attributeDetails"),
        id=URI,
        type=NAME,
        typeName=NAME,
        entityCount=COUNT,
        attributeDetails=_array({"type": "object"}),
    ),
    "AttributeTypes": {
        "oneOf": [
            _object(required=("id", "type", "attributeList"), id=URI, type=NAME, attributeList=_array(NAME)),
            _array(_object(required=("id", "type", "attributeName"), id=URI, type=NAME, attributeName=NAME)),
        ]
    },
    "AttributeInfo": _object(
        required=("id", "type", "attributeName"),
        id=URI,
        type=NAME,
        attributeName=NAME,
        attributeTypes=_array(NAME),
        typeNames=_array(NAME),
    ),
    "SourceIdentity": _object(
        required=("id", "type", "contextSourceAlias", "contextSourceUptime", "contextSourceTimeAt"),
        id=URI,
        type={"const": "ContextSourceIdentity"},
        contextSourceAlias=NAME,
        contextSourceUptime={"type": "string", "format": "duration"},
        contextSourceTimeAt=TIME,
    ),
    "Context": _object(required=("@context",), **{"@context": {"type": ["object", "array", "string"]}}),
    "ContextList": _array({"type": ["string", "object"]}),
    "Health": _object(required=("status", "version"), status={"const": "alive"}, version=NAME, pid=COUNT),
    "Readiness": _object(
        required=("status", "reasons"),
        status={"enum": ["ready", "unready"]},
        reasons=_array({"type": "string"}),
        version=NAME,
    ),
    "Deliveries": _array(
        _object(
            required=("id", "subscription", "createdAt", "attempts", "dead"),
            id=URI,
            subscription=URI,
            createdAt=TIME,
            dueAt=TIME,
            attempts=COUNT,
            dead={"type": "boolean"},
            error={"type": "string"},
        )
    ),
    "Resent": _object(required=("resent",), resent=COUNT),
    "Object": {"type": "object"},
    "Text": {"type": "string"},
    "Html": {"type": "string"},
    "EventStream": {"type": "string"},
}

MEDIA: dict[str, str] = {"Text": "text/plain", "Html": "text/html", "EventStream": "text/event-stream"}
"""Answers that are not JSON."""

_STATION = {
    "id": "urn:ngsi-ld:EVChargingStation:example-1",
    "type": "EVChargingStation",
    "capacity": {"type": "Property", "value": 12},
    "availableCapacity": {"type": "Property", "value": 5, "observedAt": "2026-11-22T08:30:00Z"},
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [125.24, 43.86]}},
}

EXAMPLES: dict[str, Any] = {
    "Entity": _STATION,
    "Entities": [_STATION],
    "Fragment": {"availableCapacity": {"type": "Property", "value": 4, "observedAt": "2026-11-22T08:31:00Z"}},
    "Attribute": {"type": "Property", "value": 4},
    "AttributeFragment": {"value": 3},
    "Ids": [_STATION["id"]],
    "Query": {
        "type": "Query",
        "entities": [{"type": "EVChargingStation"}],
        "q": "availableCapacity>2",
    },
    "TemporalQuery": {
        "type": "Query",
        "entities": [{"type": "EVChargingStation"}],
        "temporalQ": {"timerel": "after", "timeAt": "2026-11-22T00:00:00Z"},
    },
    "EntityTemporal": {
        "id": _STATION["id"],
        "type": "EVChargingStation",
        "availableCapacity": [
            {"type": "Property", "value": 7, "observedAt": "2026-11-22T08:00:00Z"},
            {"type": "Property", "value": 6, "observedAt": "2026-11-22T08:10:00Z"},
        ],
    },
    "EntityTemporalFragment": {
        "availableCapacity": [{"type": "Property", "value": 5, "observedAt": "2026-11-22T08:20:00Z"}]
    },
    "Subscription": {
        "type": "Subscription",
        "entities": [{"type": "EVChargingStation"}],
        "q": "availableCapacity==0",
        "notification": {"endpoint": {"uri": "http://127.0.0.1:9000/full", "accept": "application/json"}},
    },
    "SubscriptionFragment": {"isActive": False},
    "Context": {"@context": {"capacity": "https://example.org/capacity"}},
}
"""A body to try, by schema."""

SEGMENTS: dict[str, tuple[Schema, str]] = {
    "id": (URI, str(_STATION["id"])),
    "attribute": (TERM, "availableCapacity"),
    "instance": (URI, "urn:ngsi-ld:Instance:1"),
    "type": (TERM, "EVChargingStation"),
}
"""What a path parameter is, with an example."""
