"""Entities over HTTP: provision, batches, consumption and discovery (CIM 009, 6.4 to 6.7, 6.14 to 6.17,
6.23, 6.25 to 6.28, 6.31, 6.33)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec

from autocity import errors
from autocity.api import errors as problems
from autocity.api.asgi import Answer, Call, Route, Scope
from autocity.api.negotiate import (
    GEO,
    JSON,
    Shape,
    arguments,
    caller,
    content_type,
    context_of,
    created,
    decode,
    done,
    is_uri,
    page_links,
    read_body,
    read_items,
    route,
    shape,
    shown,
    uri,
)
from autocity.api.queries import form_of, from_body, query_of, types_of, view_of
from autocity.broker import BatchResult, Broker
from autocity.errors import CityError
from autocity.ld import document
from autocity.ld.context import Context
from autocity.ld.entity import parse_attribute, parse_entity, parse_fragment
from autocity.ld.instants import instant, timestamp
from autocity.ld.merge import Outcome
from autocity.model import Entity, Fragment, Instant

Parsed = TypeVar("Parsed")

encode = msgspec.json.encode

FORMATS = ("normalized", "concise", "simplified", "keyValues")
SHOW = ("attrs", "pick", "omit", "datasetId", "lang", "geometryProperty", "join", "joinLevel", "containedBy")
SELECT = (
    "id", "idPattern", "type", "q", "csf", "scopeQ", "georel", "geometry", "coordinates", "geoproperty",
)  # fmt: skip
ORDER = ("orderBy", "collation", "orderFrom", "orderGeometry")
PAGE = ("limit", "offset", "count")
QUERY = (*SELECT, *SHOW, *ORDER, *PAGE, "expandValues", "jsonKeys", "splitEntities", "local")


class Entities:
    """The handlers of everything about present entities."""

    def __init__(self, broker: Broker, *, name: str, clock: Callable[[], Instant]) -> None:
        self._broker = broker
        self._contexts = broker.contexts
        self._name = name
        self._clock = clock
        self._since = time.monotonic()

    # -- provision (5.6)

    async def create(self, call: Call) -> Answer:
        """Create entity (5.6.1, 6.4.3.1)."""
        arguments(call)
        body, context = await read_body(call, self._contexts)
        entity = parse_entity(body, context)
        await self._broker.create_entity(caller(call), entity)
        return created("/entities", entity.id)

    async def replace(self, call: Call) -> Answer:
        """Replace entity (5.6.18, 6.5.3.3)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await read_body(call, self._contexts)
        _same_id(body, id)
        entity = parse_entity(body | {"id": id}, context)
        await self._broker.replace_entity(caller(call), entity, types_of(values, context))
        return done()

    async def merge(self, call: Call) -> Answer:
        """Merge entity (5.6.17, 6.5.3.4)."""
        values, id = arguments(call), uri(call, "id")
        if "observedAt" in values:
            instant(values["observedAt"])
        body, context = await read_body(call, self._contexts)
        _same_id(body, id)
        simplified = form_of(values) == "simplified"
        fragment = parse_fragment(body, context, partial=True, simplified=simplified)
        result = await self._broker.merge_entity(
            caller(call),
            id,
            fragment,
            types=types_of(values, context),
            observed_at=values.get("observedAt"),
            lang=values.get("lang"),
            simplified=simplified,
        )
        return _updated(result)

    async def delete(self, call: Call) -> Answer:
        """Delete entity (5.6.6, 6.5.3.2)."""
        values, id = arguments(call), uri(call, "id")
        types = types_of(values, await context_of(call, self._contexts))
        await self._broker.delete_entity(caller(call), id, types)
        return done()

    async def purge(self, call: Call) -> Answer:
        """Purge entities (5.6.21, 6.4.3.3)."""
        values = arguments(call)
        context = await context_of(call, self._contexts)
        if "keep" in values and "drop" in values:
            raise errors.BadRequestData("keep and drop exclude each other")
        await self._broker.purge_entities(
            caller(call),
            query_of(values, context),
            drop=tuple(map(context.expand, values.get("drop", ()))),
            keep=tuple(map(context.expand, values.get("keep", ()))),
        )
        return done()

    async def append(self, call: Call) -> Answer:
        """Append attributes (5.6.3, 6.6.3.1)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await read_body(call, self._contexts)
        _same_id(body, id)
        fragment = parse_fragment(body, context, nulls=False)
        result = await self._broker.append_attributes(
            caller(call),
            id,
            fragment,
            overwrite="noOverwrite" not in values.get("options", ()),
            types=types_of(values, context),
        )
        return _updated(result)

    async def update(self, call: Call) -> Answer:
        """Update attributes (5.6.2, 6.6.3.2)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await read_body(call, self._contexts)
        _same_id(body, id)
        fragment = parse_fragment(body, context)
        types = types_of(values, context)
        return _updated(await self._broker.update_attributes(caller(call), id, fragment, types))

    async def update_attribute(self, call: Call) -> Answer:
        """Partial attribute update (5.6.4, 6.7.3.1)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await read_body(call, self._contexts)
        name = _attribute(call, context)
        instances = parse_attribute(body, context, call.params["attribute"], nulls=True, partial=True)
        types = types_of(values, context)
        await self._broker.update_attribute(caller(call), id, name, instances, types)
        return done()

    async def replace_attribute(self, call: Call) -> Answer:
        """Replace attribute (5.6.19, 6.7.3.3)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await read_body(call, self._contexts)
        name = _attribute(call, context)
        instances = parse_attribute(body, context, call.params["attribute"])
        types = types_of(values, context)
        await self._broker.replace_attribute(caller(call), id, name, instances, types)
        return done()

    async def delete_attribute(self, call: Call) -> Answer:
        """Delete attribute (5.6.5, 6.7.3.2)."""
        values, id = arguments(call), uri(call, "id")
        context = await context_of(call, self._contexts)
        await self._broker.delete_attribute(
            caller(call),
            id,
            _attribute(call, context, scope=True),
            dataset_id=one_dataset(values),
            delete_all=values.get("deleteAll", False),
            types=types_of(values, context),
        )
        return done()

    # -- batches (5.6.7 to 5.6.10, 5.6.20)

    async def create_batch(self, call: Call) -> Answer:
        """Batch entity creation (5.6.7, 6.14.3.1)."""
        arguments(call)
        entities, refused = await self._read_entities(call)
        result = await self._broker.create_entities(caller(call), entities)
        return _batch(result, refused)

    async def upsert_batch(self, call: Call) -> Answer:
        """Batch entity creation or update (5.6.8, 6.15.3.1)."""
        options = arguments(call).get("options", ())
        if len(options) > 1:
            raise errors.InvalidRequest("options: replace and update exclude each other")
        entities, refused = await self._read_entities(call)
        result = await self._broker.upsert_entities(caller(call), entities, update="update" in options)
        return _batch(result, refused)

    async def update_batch(self, call: Call) -> Answer:
        """Batch entity update (5.6.9, 6.16.3.1)."""
        overwrite = "noOverwrite" not in arguments(call).get("options", ())
        fragments, refused = await self._read_fragments(call, partial=False)
        result = await self._broker.update_entities(caller(call), fragments, overwrite=overwrite)
        return _batch(result, refused)

    async def merge_batch(self, call: Call) -> Answer:
        """Batch entity merge (5.6.20, 6.31.3.1)."""
        arguments(call)
        fragments, refused = await self._read_fragments(call, partial=True)
        return _batch(await self._broker.merge_entities(caller(call), fragments), refused)

    async def delete_batch(self, call: Call) -> Answer:
        """Batch entity delete (5.6.10, 6.17.3.1)."""
        arguments(call)
        content_type(call.headers.get("content-type"), call.method)
        ids = decode(call.body)
        if not isinstance(ids, list) or not ids:
            raise errors.BadRequestData("the body must be a JSON array of entity ids, at least one")
        valid = [id for id in ids if isinstance(id, str) and is_uri(id)]
        refused: list[tuple[str, CityError]] = [
            (str(id), errors.BadRequestData(f"{id!r} is not a URI")) for id in ids if id not in valid
        ]
        return _batch(await self._broker.delete_entities(caller(call), valid), refused)

    async def _read_entities(self, call: Call) -> tuple[list[Entity], list[tuple[str, CityError]]]:
        return _parse_each(await read_items(call, self._contexts), parse_entity)

    async def _read_fragments(
        self, call: Call, *, partial: bool
    ) -> tuple[list[Fragment], list[tuple[str, CityError]]]:
        def parse(item: Any, context: Context) -> Fragment:
            fragment = parse_fragment(item, context, partial=partial)
            if fragment.id is None:
                raise errors.BadRequestData("an element of a batch needs an id")
            return fragment

        return _parse_each(await read_items(call, self._contexts), parse)

    # -- consumption (5.7.1, 5.7.2)

    async def retrieve(self, call: Call) -> Answer:
        """Retrieve entity (5.7.1, 6.5.3.1)."""
        values, form = arguments(call), shape(call)
        context = await context_of(call, self._contexts)
        view = view_of(values, context, form)
        types = types_of(values, context)
        stored = await self._broker.retrieve_entity(caller(call), uri(call, "id"), types)
        if view.attributes and not view.attributes & document.load(stored.document).attributes.keys():
            raise errors.ResourceNotFound(f"entity {stored.id} has none of the attributes asked for")
        render = document.render_feature if form.media is GEO else document.render
        return shown(call, render(stored.document, view), form, context)

    async def query(self, call: Call) -> Answer:
        """Query entities (5.7.2, 6.4.3.2)."""
        values, form = arguments(call), shape(call)
        context = await context_of(call, self._contexts)
        return await self._page(call, values, form, context)

    async def query_by_post(self, call: Call) -> Answer:
        """Query entities by a Query body (5.7.2, 6.23.3.1)."""
        values, form = arguments(call), shape(call)
        body, context = await read_body(call, self._contexts)
        return await self._page(call, values | from_body(body), form, context)

    async def _page(self, call: Call, values: dict[str, Any], form: Shape, context: Context) -> Answer:
        view = view_of(values, context, form)
        query = query_of(values, context)
        limit = query.limit
        # One more than asked for tells whether there is a next page, where nobody wants them counted.
        asked = query if query.count else msgspec.structs.replace(query, limit=limit + 1)
        page = await self._broker.query_entities(caller(call), asked)
        documents = [stored.document for stored in page.entities[:limit]]
        render = document.render_features if form.media is GEO else document.render_all
        answer = shown(call, render(documents, view), form, context)
        if page.total is not None:
            answer.headers.append(("NGSILD-Results-Count", str(page.total)))
            more = query.offset + len(documents) < page.total
        else:
            more = len(page.entities) > limit
        if limit:
            answer.headers += page_links(call, form.media, limit, query.offset, more)
        return answer

    # -- discovery (5.7.5 to 5.7.10)

    async def types(self, call: Call) -> Answer:
        """Available entity types (5.7.5, 5.7.6, 6.25.3.1)."""
        values, form = arguments(call), shape(call)
        context = await context_of(call, self._contexts)
        found = await self._broker.types(caller(call))
        if not values.get("details"):
            names = [context.compact(each.type) for each in found]
            return _told(call, form, context, _list_of("EntityTypeList", "typeList", names))
        return _told_all(
            call,
            form,
            context,
            [
                {
                    "id": each.type,
                    "type": "EntityType",
                    "typeName": context.compact(each.type),
                    "attributeNames": sorted(map(context.compact, each.attributes)),
                }
                for each in found
            ],
        )

    async def type(self, call: Call) -> Answer:
        """Available entity type information (5.7.7, 6.26.3.1)."""
        arguments(call)
        form = shape(call)
        context = await context_of(call, self._contexts)
        iri = context.expand(call.params["type"])
        found = next((each for each in await self._broker.types(caller(call)) if each.type == iri), None)
        if found is None:
            raise errors.ResourceNotFound(f"no entity has the type {iri}")
        details = [
            {
                "id": name,
                "type": "Attribute",
                "attributeName": context.compact(name),
                "attributeTypes": list(kinds),
            }
            for name, kinds in sorted(found.attributes.items())
        ]
        return _told(
            call,
            form,
            context,
            {
                "id": iri,
                "type": "EntityTypeInfo",
                "typeName": context.compact(iri),
                "entityCount": found.count,
                "attributeDetails": details,
            },
        )

    async def attributes(self, call: Call) -> Answer:
        """Available attributes (5.7.8, 5.7.9, 6.27.3.1)."""
        values, form = arguments(call), shape(call)
        context = await context_of(call, self._contexts)
        found = await self._by_attribute(call)
        if not values.get("details"):
            names = list(map(context.compact, found))
            return _told(call, form, context, _list_of("AttributeList", "attributeList", names))
        return _told_all(
            call,
            form,
            context,
            [
                {
                    "id": iri,
                    "type": "Attribute",
                    "attributeName": context.compact(iri),
                    "typeNames": list(map(context.compact, types)),
                }
                for iri, (types, _) in found.items()
            ],
        )

    async def attribute(self, call: Call) -> Answer:
        """Available attribute information (5.7.10, 6.28.3.1)."""
        arguments(call)
        form = shape(call)
        context = await context_of(call, self._contexts)
        iri = context.expand(call.params["attribute"])
        found = (await self._by_attribute(call)).get(iri)
        if found is None:
            raise errors.ResourceNotFound(f"no entity has the attribute {iri}")
        types, kinds = found
        return _told(
            call,
            form,
            context,
            {
                "id": iri,
                "type": "Attribute",
                "attributeName": context.compact(iri),
                "attributeTypes": sorted(kinds),
                "typeNames": list(map(context.compact, types)),
            },
        )

    async def _by_attribute(self, call: Call) -> dict[str, tuple[list[str], set[str]]]:
        """Attribute IRI to the types that have it and the kinds that it takes, ordered by IRI."""
        found: dict[str, tuple[list[str], set[str]]] = {}
        for each in await self._broker.types(caller(call)):
            for iri, kinds in each.attributes.items():
                types, all_kinds = found.setdefault(iri, ([], set()))
                types.append(each.type)
                all_kinds.update(kinds)
        return dict(sorted(found.items()))

    async def source_identity(self, call: Call) -> Answer:
        """Context source identity (5.15.1, 6.33.3.1): one alias per tenant."""
        arguments(call)
        form = shape(call)
        context = await context_of(call, self._contexts)
        tenant = caller(call).tenant
        alias = f"{self._name}-{hashlib.sha256(tenant.encode()).hexdigest()[:8]}" if tenant else self._name
        identity = {
            "id": f"urn:ngsi-ld:ContextSourceIdentity:{alias}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": alias,
            "contextSourceUptime": f"PT{int(time.monotonic() - self._since)}S",
            "contextSourceTimeAt": timestamp(self._clock()),
        }
        return _told(call, form, context, identity)

    # -- the table

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            _route("POST", "/entities", self.create, "write", accepts="Entity", answers={201: ""}),
            _route(
                "GET", "/entities", self.query, "read",
                parameters=QUERY, formats=FORMATS, options=(*FORMATS, "sysAttrs"), geojson=True,
                answers={200: "Entities"}, example="type=Zone&limit=2",
            ),
            _route(
                "DELETE", "/entities", self.purge, "write",
                parameters=(*SELECT, "geometryProperty", "attrs", "keep", "drop", "local"), answers={204: ""},
            ),
            _route(
                "GET", "/entities/{id}", self.retrieve, "read",
                parameters=(*SHOW, "type", "local"), formats=FORMATS, options=(*FORMATS, "sysAttrs"),
                geojson=True, answers={200: "Entity"},
            ),
            _route(
                "PUT", "/entities/{id}", self.replace, "write",
                parameters=("type", "local"), accepts="Entity", answers={204: ""},
            ),
            _route(
                "PATCH", "/entities/{id}", self.merge, "write",
                parameters=("type", "local", "lang", "observedAt"), formats=FORMATS, options=FORMATS,
                accepts="Fragment", answers={204: "", 207: "UpdateResult"},
            ),
            _route(
                "DELETE", "/entities/{id}", self.delete, "write",
                parameters=("type", "local"), answers={204: ""},
            ),
            _route(
                "POST", "/entities/{id}/attrs", self.append, "write",
                parameters=("type", "local"), options=("noOverwrite",), accepts="Fragment",
                answers={204: "", 207: "UpdateResult"},
            ),
            _route(
                "PATCH", "/entities/{id}/attrs", self.update, "write",
                parameters=("type", "local"), accepts="Fragment", answers={204: "", 207: "UpdateResult"},
            ),
            _route(
                "PATCH", "/entities/{id}/attrs/{attribute}", self.update_attribute, "write",
                parameters=("type", "local"), accepts="AttributeFragment", answers={204: ""},
            ),
            _route(
                "PUT", "/entities/{id}/attrs/{attribute}", self.replace_attribute, "write",
                parameters=("type", "local"), accepts="Attribute", answers={204: ""},
            ),
            _route(
                "DELETE", "/entities/{id}/attrs/{attribute}", self.delete_attribute, "write",
                parameters=("datasetId", "deleteAll", "type", "local"), answers={204: ""},
            ),
            _route(
                "POST", "/entityOperations/create", self.create_batch, "write",
                parameters=("local",), accepts="Entities", answers={201: "Ids", 207: "BatchOperationResult"},
            ),
            _route(
                "POST", "/entityOperations/upsert", self.upsert_batch, "write",
                parameters=("local",), options=("replace", "update"), accepts="Entities",
                answers={201: "Ids", 204: "", 207: "BatchOperationResult"},
            ),
            _route(
                "POST", "/entityOperations/update", self.update_batch, "write",
                parameters=("local",), options=("noOverwrite",), accepts="Entities",
                answers={204: "", 207: "BatchOperationResult"},
            ),
            _route(
                "POST", "/entityOperations/merge", self.merge_batch, "write",
                parameters=("local",), accepts="Entities", answers={204: "", 207: "BatchOperationResult"},
            ),
            _route(
                "POST", "/entityOperations/delete", self.delete_batch, "write",
                parameters=("local",), accepts="Ids", answers={204: "", 207: "BatchOperationResult"},
            ),
            _route(
                "POST", "/entityOperations/query", self.query_by_post, "read",
                parameters=(*PAGE, "local", "geometryProperty"), formats=FORMATS,
                options=(*FORMATS, "sysAttrs"), geojson=True, accepts="Query", answers={200: "Entities"},
            ),
            _route(
                "GET", "/types", self.types, "read",
                parameters=("details", "local"), answers={200: "Types"},
            ),
            _route(
                "GET", "/types/{type}", self.type, "read",
                parameters=("local",), answers={200: "TypeInfo"},
            ),
            _route(
                "GET", "/attributes", self.attributes, "read",
                parameters=("details", "local"), answers={200: "AttributeTypes"},
            ),
            _route(
                "GET", "/attributes/{attribute}", self.attribute, "read",
                parameters=("local",), answers={200: "AttributeInfo"},
            ),
            _route(
                "GET", "/info/sourceIdentity", self.source_identity, "public",
                answers={200: "SourceIdentity"},
            ),
        ]  # fmt: skip


# -- small parts


def _attribute(call: Call, context: Context, *, scope: bool = False) -> str:
    """The IRI of the attribute that the path names. Raises `BadRequestData` for what cannot be one."""
    name = call.params["attribute"]
    if scope and name == "scope":
        return name
    if not is_name(name):
        raise errors.BadRequestData(f"{name!r} is not the name of an attribute")
    return context.expand(name)


def is_name(name: str) -> bool:
    """Whether this can name an attribute (4.6.2)."""
    return bool(name) and name not in _MEMBERS and not set(name) & _FORBIDDEN


_MEMBERS = frozenset(
    ("id", "type", "scope", "@id", "@type", "@context", "createdAt", "modifiedAt", "expiresAt")
)
_FORBIDDEN = frozenset("<>\"'=;()[]{},& \t\n")


def _same_id(body: dict[str, Any], id: str) -> None:
    """A body may repeat the id of the path, not contradict it."""
    if body.get("id", id) != id:
        raise errors.BadRequestData(f"the body is about {body['id']!r}, the path about {id}")


def one_dataset(values: dict[str, Any]) -> str | None:
    """The single `datasetId` of a deletion; `@none` is the default instance."""
    datasets = values.get("datasetId", ())
    if len(datasets) > 1:
        raise errors.BadRequestData("datasetId names one dataset here")
    if datasets and values.get("deleteAll"):
        raise errors.BadRequestData("datasetId and deleteAll exclude each other")
    return datasets[0] if datasets and datasets[0] != "@none" else None


def _updated(result: Outcome) -> Answer:
    """204, or 207 with an UpdateResult (5.2.18) when something was left alone; full names only (6.3.6)."""
    if not result.not_updated:
        return done()
    body = {
        "updated": list(result.updated),
        "notUpdated": [
            {"attributeName": each.attribute, "reason": each.reason} for each in result.not_updated
        ],
    }
    return Answer(status=207, body=encode(body), media=JSON)


def _parse_each(
    items: Sequence[tuple[Any, Context | CityError]], parse: Callable[[Any, Context], Parsed]
) -> tuple[list[Parsed], list[tuple[str, CityError]]]:
    """What of a batch can be understood, and the refusal of each other element."""
    parsed: list[Parsed] = []
    refused = list[tuple[str, CityError]]()
    for item, context in items:
        try:
            if isinstance(context, CityError):
                raise context
            parsed.append(parse(item, context))
        except CityError as refusal:
            id = item.get("id") if isinstance(item, dict) else None
            refused.append((id if isinstance(id, str) else "", refusal))
    return parsed, refused


def _batch(result: BatchResult, refused: Iterable[tuple[str, CityError]]) -> Answer:
    """What became of a batch: 207 with a BatchOperationResult (5.2.16) unless all went well."""
    failed = [*refused, *result.errors]
    if failed:
        body = {
            "success": result.success,
            "errors": [{"entityId": id, "error": problems.problem(error)} for id, error in failed],
        }
        return Answer(status=207, body=encode(body), media=JSON)
    if result.created:
        return Answer(status=201, body=encode(result.created), media=JSON)
    return done()


def _told(call: Call, form: Shape, context: Context, told: dict[str, Any]) -> Answer:
    """A JSON object as an answer, its @context inside when the media type asks for it."""
    if form.embed:
        told["@context"] = context.echo
    return shown(call, encode(told), form, context)


def _told_all(call: Call, form: Shape, context: Context, told: list[dict[str, Any]]) -> Answer:
    if form.embed:
        for each in told:
            each["@context"] = context.echo
    return shown(call, encode(told), form, context)


def _list_of(kind: str, member: str, names: list[str]) -> dict[str, Any]:
    """An EntityTypeList or AttributeList (5.2.24, 5.2.27); its id is derived from what it lists."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return {"id": f"urn:ngsi-ld:{kind}:{digest}", "type": kind, member: names}


def _route(
    method: str, path: str, handle: Callable[[Call], Awaitable[Answer]], scope: Scope, **facts: Any
) -> Route:
    return route(method, path, handle, scope, "Entities", **facts)
