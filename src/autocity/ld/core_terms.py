"""The core @context of CIM 009 v1.9.1 (Annex B) as a table of facts; `ld.context` compiles it."""

from __future__ import annotations

from typing import Any

NGSI_LD = "https://uri.etsi.org/ngsi-ld/"
GEOJSON = "https://purl.org/geojson/vocab#"
VOCABULARY = NGSI_LD + "default-context/"

_PLAIN = """
Attribute AttributeList ContextSourceIdentity ContextSourceNotification ContextSourceRegistration Date
DateTime EntityType EntityTypeInfo EntityTypeList ExecutionResultDetails GeoProperty JsonProperty
LanguageProperty ListProperty ListRelationship Notification Property Relationship Snapshot
SnapshotNotification Subscription TemporalProperty Time VocabProperty accept aggrMethods aggrParams
aggrPeriodDuration attrs cacheDuration collation contextSourceAlias contextSourceInfo contextSourceUptime
cooldown csf data detail endpoint entities entity entityCount error errors expandValues format geoQ
geoproperty georel idPattern information isActive join jsonKeys lang linkedMaps localOnly location
management managementInterval mode notUpdated notification notificationTrigger notifierInfo
observationInterval observationSpace omit operationSpace operations ordering pick q reason receiverInfo
refreshRate registrationId registrationName resultStatus scope scopeQ showChanges snapshotId
snapshotLifetime snapshotPriority snapshotStatus status subscriptionName sysAttrs temporalQ throttling
timeInterval timeout timeproperty timerel timesFailed timesSent triggerReason unchanged unitCode updated
uri
"""

_TYPED = {
    "@vocab": """attributeList attributeName attributeNames attributeTypes attributes propertyNames
        relationshipNames typeList typeName typeNames watchedAttributes""",
    "@id": "datasetId entityId instanceId subscriptionId success tenant",
    "@json": "contextSourceExtras problemDetails",
    "DateTime": """contextSourceTimeAt createdAt deletedAt endAt endTimeAt expiresAt lastFailure
        lastNotification lastSuccess lastUsedAt modifiedAt notifiedAt observedAt startAt timeAt""",
}

_LISTS = """
avg distinctCount entityList jsons max min orderBy snapshotQueries snapshotQueriesDetails
snapshotTemporalQueries snapshotTemporalQueriesDetails stddev sum sumsq totalCount
"""

_GEO = """
Feature FeatureCollection GeometryCollection LineString MultiLineString MultiPoint MultiPolygon Point
Polygon geometry properties
"""

_HAS = "entityMap joinLevel key previousValue value"
_HAS_LISTS = """
languageMaps objectList objectLists objects previousObjectList previousValueList valueList valueLists
values vocabs
"""
_HAS_TYPED = {
    "@id": "object previousObject",
    "@vocab": "objectType previousVocab valueType vocab",
    "@json": "previousJson",
}
_HAS_LANGUAGES = "languageMap previousLanguageMap"

_SINGLE: dict[str, Any] = {
    "attributeCount": "attributeCount",
    "attributeDetails": "attributeDetails",
    "bbox": {"@id": "geojson:bbox", "@container": "@list"},
    "containedBy": "ngsi-ld:isContainedBy",
    "coordinates": {"@id": "geojson:coordinates", "@container": "@list"},
    "dataset": {"@id": "ngsi-ld:hasDataset", "@container": "@index"},
    "description": "http://purl.org/dc/terms/description",
    "features": {"@id": "geojson:features", "@container": "@set"},
    "json": {"@id": "ngsi-ld:hasJSON", "@type": "@json"},
    "langString": "http://www.w3.org/1999/02/22-rdf-syntax-ns#langString",
    "ngsildproof": {
        "@id": "ngsi-ld:ngsildproof",
        "@context": [
            {
                "entityIdSealed": "ngsi-ld:entityIdSealed",
                "entityTypeSealed": {"@id": "ngsi-ld:entityTypeSealed", "@type": "@vocab"},
            },
            "https://w3id.org/security/data-integrity/v2",
        ],
    },
    "title": "http://purl.org/dc/terms/title",
}


def _has(name: str) -> str:
    return f"ngsi-ld:has{name[0].upper()}{name[1:]}"


def definitions() -> dict[str, Any]:
    """The content of the core `@context`: every term with its JSON-LD definition."""
    terms: dict[str, Any] = {name: f"ngsi-ld:{name}" for name in _PLAIN.split()}
    terms |= {name: f"geojson:{name}" for name in _GEO.split()}
    terms |= {name: _has(name) for name in _HAS.split()}
    terms |= {name: {"@id": f"ngsi-ld:{name}", "@container": "@list"} for name in _LISTS.split()}
    terms |= {name: {"@id": _has(name), "@container": "@list"} for name in _HAS_LISTS.split()}
    terms |= {name: {"@id": _has(name), "@container": "@language"} for name in _HAS_LANGUAGES.split()}
    for coercion, names in _TYPED.items():
        terms |= {name: {"@id": f"ngsi-ld:{name}", "@type": coercion} for name in names.split()}
    for coercion, names in _HAS_TYPED.items():
        terms |= {name: {"@id": _has(name), "@type": coercion} for name in names.split()}
    return {
        "@version": 1.1,
        "@protected": True,
        "ngsi-ld": NGSI_LD,
        "geojson": GEOJSON,
        "id": "@id",
        "type": "@type",
        **dict(sorted((terms | _SINGLE).items())),
        "@vocab": VOCABULARY,
    }
