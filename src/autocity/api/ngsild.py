"""Entities and their attributes over HTTP (CIM 009, 6.4 to 6.7, 6.23)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from autocity import errors
from autocity.api.asgi import Answer, Call, Route
from autocity.api.federation import Sharing
from autocity.api.negotiate import (
    API,
    GEO,
    JSON,
    Desk,
    Shape,
    arguments,
    caller,
    created,
    done,
    is_attribute_name,
    page_links,
    route,
    shape,
    uri,
)
from autocity.api.queries import Linked, form_of, from_body, linked_of, query_of, types_of, view_of
from autocity.broker import Broker, links
from autocity.ld import document
from autocity.ld.context import Context
from autocity.ld.entity import (
    View,
    parse_attribute,
    parse_entity,
    parse_fragment,
    render,
    render_feature,
    render_features,
    without_context,
)
from autocity.ld.instants import instant
from autocity.ld.merge import Outcome

NOTHING = b"{}"

encode = msgspec.json.encode

TAG = "Entities"
FORMATS = ("normalized", "concise", "simplified", "keyValues")
SHOW = (
    "attrs", "pick", "omit", "datasetId", "lang", "geometryProperty", "join", "joinLevel", "containedBy",
    "entityMap", "entityMapLifetime",
)  # fmt: skip
SELECT = (
    "id", "idPattern", "type", "q", "csf", "scopeQ", "georel", "geometry", "coordinates", "geoproperty",
)  # fmt: skip
ORDER = ("orderBy", "collation", "orderFrom", "orderGeometry")
PAGE = ("limit", "offset", "count")
QUERY = (*SELECT, *SHOW, *ORDER, *PAGE, "expandValues", "jsonKeys", "splitEntities", "local")


class Entities:
    """The handlers of everything about present entities."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)
        self._sharing = Sharing(broker)

    # -- provision (5.6)

    async def create(self, call: Call) -> Answer:
        """Create entity (5.6.1, 6.4.3.1)."""
        arguments(call)
        body, context = await self._desk.body(call)
        entity = parse_entity(body, context)
        await self._broker.create_entity(caller(call), entity)
        return created("/entities", entity.id)

    async def replace(self, call: Call) -> Answer:
        """Replace entity (5.6.18, 6.5.3.3)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await self._desk.body(call)
        _same_id(body, id)
        entity = parse_entity(body | {"id": id}, context)
        await self._broker.replace_entity(caller(call), entity, types_of(values, context))
        return done()

    async def no_id(self, call: Call) -> Answer:
        """Replace or merge without saying which entity (5.6.17, 5.6.18)."""
        raise errors.BadRequestData(f"{call.method} needs the id of an entity in the path")

    async def merge(self, call: Call) -> Answer:
        """Merge entity (5.6.17, 6.5.3.4)."""
        values, id = arguments(call), uri(call, "id")
        if "observedAt" in values:
            instant(values["observedAt"])
        body, context = await self._desk.body(call)
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
        types = types_of(values, await self._desk.context(call))
        await self._broker.delete_entity(caller(call), id, types)
        return done()

    async def purge(self, call: Call) -> Answer:
        """Purge entities (5.6.21, 6.4.3.3)."""
        values = arguments(call)
        context = await self._desk.context(call)
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
        body, context = await self._desk.body(call)
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
        body, context = await self._desk.body(call)
        _same_id(body, id)
        fragment = parse_fragment(body, context)
        types = types_of(values, context)
        return _updated(await self._broker.update_attributes(caller(call), id, fragment, types))

    async def update_attribute(self, call: Call) -> Answer:
        """Partial attribute update (5.6.4, 6.7.3.1)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await self._desk.body(call)
        name = attribute_of(call, context)
        instances = parse_attribute(body, context, call.params["attribute"], nulls=True, partial=True)
        types = types_of(values, context)
        await self._broker.update_attribute(caller(call), id, name, instances, types)
        return done()

    async def replace_attribute(self, call: Call) -> Answer:
        """Replace attribute (5.6.19, 6.7.3.3)."""
        values, id = arguments(call), uri(call, "id")
        body, context = await self._desk.body(call)
        name = attribute_of(call, context)
        instances = parse_attribute(body, context, call.params["attribute"])
        types = types_of(values, context)
        await self._broker.replace_attribute(caller(call), id, name, instances, types)
        return done()

    async def delete_attribute(self, call: Call) -> Answer:
        """Delete attribute (5.6.5, 6.7.3.2)."""
        values, id = arguments(call), uri(call, "id")
        context = await self._desk.context(call)
        await self._broker.delete_attribute(
            caller(call),
            id,
            attribute_of(call, context, scope=True),
            dataset_id=one_dataset(values),
            delete_all=values.get("deleteAll", False),
            types=types_of(values, context),
        )
        return done()

    # -- consumption (5.7.1, 5.7.2)

    async def retrieve(self, call: Call) -> Answer:
        """Retrieve entity (5.7.1, 6.5.3.1)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        view = view_of(values, context, form)
        id, types = uri(call, "id"), types_of(values, context)
        shared = await self._sharing.of(call, values, context)
        if shared is None:
            stored = await self._broker.retrieve_entity(caller(call), id, types)
        else:
            stored = await shared.retrieve(id, types, view.wanted)
        if view.attributes and not view.attributes & document.load(stored.document).attributes.keys():
            raise errors.ResourceNotFound(f"entity {stored.id} has none of the attributes asked for")
        linked = linked_of(values)
        if linked.how != "@none":
            body = await self._with_linked(call, [stored.document], view, linked, single=True)
        else:
            splice = document.render_feature if form.media is GEO else document.render
            body = splice(stored.document, view)
        if body == NOTHING:
            raise errors.ResourceNotFound(f"entity {stored.id} has none of the members asked for")
        return await self._desk.entities(call, body, form, context)

    async def query(self, call: Call) -> Answer:
        """Query entities (5.7.2, 6.4.3.2)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        return await self._page(call, values, form, context)

    async def query_by_post(self, call: Call) -> Answer:
        """Query entities by a Query body (5.7.2, 6.23.3.1)."""
        values, form = arguments(call), shape(call)
        body, context = await self._desk.body(call)
        return await self._page(call, values | from_body(body), form, context)

    async def _page(self, call: Call, values: dict[str, Any], form: Shape, context: Context) -> Answer:
        view = view_of(values, context, form)
        query = query_of(values, context)
        limit = query.limit
        # One more than asked for tells whether there is a next page, where nobody wants them counted.
        shared = await self._sharing.of(call, values, context)
        if shared is None:
            asked = query if query.count else msgspec.structs.replace(query, limit=limit + 1)
            found = await self._broker.query_entities(caller(call), asked)
            documents = [stored.document for stored in found.entities[:limit]]
            total, more = found.total, len(found.entities) > limit
        else:
            page = await shared.query(query)
            documents, total, more = page.documents, page.total, page.more
        linked = linked_of(values)
        if linked.how != "@none":
            body = await self._with_linked(call, documents, view, linked)
        elif form.media is GEO:
            body = document.render_features(documents, view)
        elif view.pick or view.omit:
            # An entity of which the projection leaves nothing is not in the answer (4.21).
            shown = (document.render(each, view) for each in documents)
            body = b"[%b]" % b",".join(each for each in shown if each != NOTHING)
        else:
            body = document.render_all(documents, view)
        answer = await self._desk.entities(call, body, form, context)
        if shared is not None and shared.status == 201:
            answer.status = 201
        if total is not None:
            answer.headers.append(("NGSILD-Results-Count", str(total)))
            more = query.offset + len(documents) < total
        if limit:
            answer.headers += page_links(call, form.media, limit, query.offset, more)
        return answer

    async def _with_linked(
        self, call: Call, documents: Sequence[bytes], view: View, linked: Linked, *, single: bool = False
    ) -> bytes:
        """The entities with those that they lead to, inside or beside (4.5.23)."""
        entities = [document.load(each) for each in documents]
        found = await self._broker.linked_entities(caller(call), entities, linked.level)
        found = {id: each for id, each in found.items() if id not in linked.contained_by}
        if linked.how == "flat":
            shown = links.beside(entities, found, linked.level, view)
        else:
            shown = [(links.inline(each, found, linked.level), view) for each in entities]
        geojson = shape(call).media is GEO
        # A flat answer about one entity is an array only when something stands beside it (suite, 018_14).
        if single and len(shown) == 1:
            return encode(render_feature(*shown[0]) if geojson else render(*shown[0]))
        if not geojson:
            return encode([render(*each) for each in shown])
        collection = render_features([], view)
        collection["features"] = [render_feature(each, without_context(how)) for each, how in shown]
        return encode(collection)

    # -- the table

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            *(Route(method=m, path=f"{API}/entities", handle=self.no_id) for m in ("PUT", "PATCH")),
            route(
                "POST", "/entities", self.create, "write", TAG,
                parameters=("local",), accepts="Entity", answers={201: "", 207: "BatchOperationResult"},
            ),
            route(
                "GET", "/entities", self.query, "read", TAG,
                parameters=QUERY, formats=FORMATS, options=(*FORMATS, "sysAttrs"), geojson=True,
                answers={200: "EntityList"}, example="type=Zone&limit=2",
            ),
            route(
                "DELETE", "/entities", self.purge, "write", TAG,
                parameters=(*SELECT, "geometryProperty", "attrs", "keep", "drop", "local"), answers={204: ""},
            ),
            route(
                "GET", "/entities/{id}", self.retrieve, "read", TAG,
                parameters=(*SHOW, "type", "local"), formats=FORMATS, options=(*FORMATS, "sysAttrs"),
                geojson=True, answers={200: "Object"},
            ),
            route(
                "PUT", "/entities/{id}", self.replace, "write", TAG,
                parameters=("type", "local"), accepts="Entity", answers={204: ""},
            ),
            route(
                "PATCH", "/entities/{id}", self.merge, "write", TAG,
                parameters=("type", "local", "lang", "observedAt"), formats=FORMATS, options=FORMATS,
                accepts="Fragment", answers={204: "", 207: "UpdateResult"},
            ),
            route(
                "DELETE", "/entities/{id}", self.delete, "write", TAG,
                parameters=("type", "local"), answers={204: ""},
            ),
            route(
                "POST", "/entities/{id}/attrs", self.append, "write", TAG,
                parameters=("type", "local"), options=("noOverwrite",), accepts="Fragment",
                answers={204: "", 207: "UpdateResult"},
            ),
            route(
                "PATCH", "/entities/{id}/attrs", self.update, "write", TAG,
                parameters=("type", "local"), accepts="Fragment", answers={204: "", 207: "UpdateResult"},
            ),
            route(
                "PATCH", "/entities/{id}/attrs/{attribute}", self.update_attribute, "write", TAG,
                parameters=("type", "local"), accepts="AttributeFragment", answers={204: ""},
            ),
            route(
                "PUT", "/entities/{id}/attrs/{attribute}", self.replace_attribute, "write", TAG,
                parameters=("type", "local"), accepts="Attribute", answers={204: ""},
            ),
            route(
                "DELETE", "/entities/{id}/attrs/{attribute}", self.delete_attribute, "write", TAG,
                parameters=("datasetId", "deleteAll", "type", "local"), answers={204: ""},
            ),
            route(
                "POST", "/entityOperations/query", self.query_by_post, "read", TAG,
                parameters=(*PAGE, "local", "geometryProperty", "entityMap", "entityMapLifetime"),
                formats=FORMATS, options=(*FORMATS, "sysAttrs"), geojson=True, accepts="Query",
                answers={200: "EntityList"},
            ),
        ]  # fmt: skip


# -- small parts


def attribute_of(call: Call, context: Context, *, scope: bool = False) -> str:
    """The IRI of the attribute that the path names. Raises `BadRequestData` for what cannot be one."""
    name = call.params["attribute"]
    if scope and name == "scope":
        return name
    if not is_attribute_name(name):
        raise errors.BadRequestData(f"{name!r} is not the name of an attribute")
    return context.expand(name)


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
