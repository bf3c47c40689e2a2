"""Distributed operations over HTTP (CIM 009, 6.3.17, 6.3.18): requests in which context sources take part.

A write is wrapped: what registered sources are to have of it goes to them, the rest to the handler that
answers when nobody is registered. A read asks `Sharing` who else has what is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from autocity.api import errors as problems
from autocity.api.asgi import Answer, Call, Route
from autocity.api.negotiate import API, JSON, Desk, arguments, caller, decode, is_attribute_name, uri
from autocity.api.queries import form_of, query_of, types_of
from autocity.broker import (
    WINDOW,
    Asked,
    Broker,
    Division,
    EntityMap,
    Found,
    History,
    Local,
    Message,
    Outcome,
    Question,
    Share,
    Source,
    Words,
    among,
    as_entity,
    segment,
)
from autocity.errors import (
    AlreadyExists,
    BadRequestData,
    CityError,
    Conflict,
    OperationNotSupported,
    ResourceNotFound,
)
from autocity.ld import document
from autocity.ld.assembly import names_of, narrowed, reworded, reworded_attribute
from autocity.ld.context import CORE, Context
from autocity.ld.entity import (
    parse_attribute,
    parse_entity,
    parse_evolution,
    parse_fragment,
    parse_instances,
)
from autocity.ld.query import Query, Select, TypeIs
from autocity.ld.temporal import Window, select
from autocity.model import Entity, Fragment, Stored

Handle = Callable[[Call], Awaitable[Answer]]
Body = dict[str, Any]

encode = msgspec.json.encode


# -- reads


class Page(Struct, frozen=True):
    """One page of entities as documents, how many there are when that was asked for, and whether more."""

    documents: list[bytes]
    total: int | None
    more: bool


class Sharing:
    """Whether, and how, context sources and entity maps take part in what is read."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def of(self, call: Call, values: Mapping[str, Any], context: Context) -> Shared | None:
        """How a read goes beyond what is held here (6.3.18); None when it does not."""
        apart = alone(call, values)
        mapped = "ngsild-entitymap" in call.headers or values.get("entityMap", False)
        if not mapped and (apart or self._broker.registrations.idle):
            return None
        await self._broker.registrations.catch_up()
        return Shared(self._broker, call, values, asked_by(call, context), nobody=apart)


class Shared:
    """One read in which context sources take part (`nobody`: none does), or an entity map."""

    def __init__(
        self, broker: Broker, call: Call, values: Mapping[str, Any], asked: Asked, *, nobody: bool = False
    ) -> None:
        self.status = 200
        self._broker = broker
        self._federation = broker.federation
        self._call = call
        self._values = values
        self._asked = asked
        self._only: frozenset[str] | None = frozenset() if nobody else None

    # -- entities (5.7.1, 5.7.2)

    async def retrieve(self, id: str, types: Select | None, attributes: frozenset[str]) -> Stored:
        """An entity as a document (5.7.1). Raises ResourceNotFound."""
        map = await self._map()
        here: Entity | None = None
        with suppress(ResourceNotFound):
            stored = await self._broker.retrieve_entity(self._asked.caller, id, types)
            here = document.load(stored.document)
        found = await self._federation.retrieve(
            self._asked,
            id,
            here,
            types=types,
            attributes=attributes,
            params=self._passed("type"),
            only=self._only if map is None else frozenset(map.entities.get(id, ())),
        )
        self._warn(found.warnings)
        if map is None and self._values.get("entityMap"):
            await self._keep(found.origins)
        if not found.entities:
            raise ResourceNotFound(f"entity {id} does not exist")
        return Stored(id, 0, document.dump(found.entities[0]))

    async def query(self, query: Query) -> Page:
        """A page of entities (5.7.2). Raises BadRequestData for an order, which no source can be held to."""
        question = self.question(query)
        if query.order and self._federation.matching(self._asked, question, self._only):
            raise BadRequestData("orderBy asks one platform only; add local=true (5.7.2.4)")
        map = await self._map()
        if map is not None:
            return _page(*await self._of_map(map, question, self.local))
        if self._values.get("entityMap"):
            found = await self.gather(question, self.local)
            await self._keep(found.origins)
            self.status = 201
            end = query.offset + query.limit
            total = len(found.entities) if query.count else None
            return _page(found.entities[query.offset : end], total, end < len(found.entities))
        found = await self._federation.query(self._asked, question, self.local, only=self._only)
        self._warn(found.warnings)
        return _page(found.entities, found.total, found.more)

    def question(self, query: Query, window: Window | None = None) -> Question:
        """The query as sources are asked it."""
        split = bool(self._values.get("splitEntities")) and self._only is None
        batch = self._call.method == "POST"
        return Question(query=query, values=self._values, split=split, batch=batch, window=window)

    async def gather(self, question: Question, local: Local) -> Found:
        """All that a query is about, from everywhere."""
        found = await self._federation.query(self._asked, question, local, only=self._only, every=True)
        self._warn(found.warnings)
        return found

    async def local(self, query: Query) -> list[Entity]:
        """What is held here."""
        page = await self._broker.query_entities(self._asked.caller, query)
        return [document.load(stored.document) for stored in page.entities]

    # -- history (5.7.3, 5.7.4)

    async def retrieve_history(self, id: str, window: Window, attributes: Sequence[str]) -> History:
        """The history of an entity (5.7.3). Raises ResourceNotFound."""
        map = await self._map()
        here: Entity | None = None
        with suppress(ResourceNotFound):
            caller = self._asked.caller
            here = as_entity(await self._broker.retrieve_temporal(caller, id, window, attributes))
        found = await self._federation.retrieve(
            self._asked,
            id,
            here,
            attributes=frozenset(attributes),
            params=self._passed(*WINDOW),
            only=self._only if map is None else frozenset(map.entities.get(id, ())),
            window=window,
        )
        self._warn(found.warnings)
        if map is None and self._values.get("entityMap"):
            await self._keep(found.origins)
        if not found.entities:
            raise ResourceNotFound(f"nothing was recorded of entity {id}")
        return as_history(found.entities[0], window)

    async def query_history(
        self, query: Query, window: Window, attributes: Sequence[str]
    ) -> tuple[list[History], int | None, bool]:
        """A page of histories (5.7.4), how many there are when that was asked for, and whether more."""
        question = self.question(query, window)

        async def local(query: Query) -> list[Entity]:
            caller = self._asked.caller
            found, _ = await self._broker.query_temporal(caller, query, window, attributes)
            return [as_entity(each) for each in found]

        map = await self._map()
        if map is not None:
            entities, total, more = await self._of_map(map, question, local)
        elif self._values.get("entityMap"):
            found = await self.gather(question, local)
            await self._keep(found.origins)
            self.status = 201
            end = query.offset + query.limit
            entities, total = found.entities[query.offset : end], len(found.entities) if query.count else None
            more = end < len(found.entities)
        else:
            found = await self._federation.query(self._asked, question, local, only=self._only)
            self._warn(found.warnings)
            entities, total, more = found.entities, found.total, found.more
        return [as_history(each, window) for each in entities], total, more

    # -- entity maps (5.5.14)

    async def _map(self) -> EntityMap | None:
        """The map that the request refers to, if it is still there; a new one is made otherwise."""
        said = self._call.headers.get("ngsild-entitymap")
        if said is None:
            return None
        id = unquote(said.rstrip("/").rpartition("/")[2])
        try:
            map = await self._broker.entity_maps.get(self._asked.caller.tenant, id)
        except ResourceNotFound:
            self._values = {**self._values, "entityMap": True}
            return None
        self._call.aside.append(("NGSILD-EntityMap", said))
        return map

    async def _of_map(
        self, map: EntityMap, question: Question, local: Local
    ) -> tuple[list[Entity], int | None, bool]:
        """A page of the entities of a map; those that do not fit any more leave it (5.5.9.3)."""
        query, ids = question.query, list(map.entities)
        entities: list[Entity] = []
        gone: list[str] = []
        at = query.offset
        while len(entities) < query.limit and at < len(ids):
            chunk = ids[at : at + query.limit - len(entities)]
            at += len(chunk)
            wanted = among(question, chunk)
            if not wanted.query.selectors:
                gone += chunk
                continue
            whole = replace(wanted, query=replace(wanted.query, offset=0, limit=len(chunk), count=False))
            only = frozenset(source for id in chunk for source in map.entities[id])
            found = await self._federation.query(self._asked, whole, local, only=only)
            self._warn(found.warnings)
            by_id = {each.id: each for each in found.entities}
            entities += [by_id[id] for id in chunk if id in by_id]
            gone += [id for id in chunk if id not in by_id]
        await self._broker.entity_maps.drop(map, gone)
        return entities, len(ids) - len(gone) if query.count else None, at < len(ids)

    async def _keep(self, origins: Mapping[str, list[str]]) -> EntityMap:
        """Keep what was found as an entity map, and tell where."""
        lifetime = self._values.get("entityMapLifetime")
        map = await self._broker.entity_maps.create(self._asked.caller.tenant, origins, lifetime)
        self._call.aside.append(("NGSILD-EntityMap", f"{API}/entityMaps/{segment(map.id)}"))
        return map

    async def map_of(self, question: Question, local: Local) -> EntityMap:
        """A new entity map of all that a query is about (5.14.4, 5.14.5)."""
        return await self._keep((await self.gather(question, local)).origins)

    def _passed(self, *names: str) -> list[tuple[str, str]]:
        return [(name, str(self._values[name])) for name in names if name in self._values]

    def _warn(self, warnings: Iterable[str]) -> None:
        self._call.aside.extend(("NGSILD-Warning", each) for each in warnings)


def _page(entities: Iterable[Entity], total: int | None, more: bool) -> Page:
    return Page([document.dump(each) for each in entities], total, more)


def as_history(entity: Entity, window: Window) -> History:
    """What was recorded of an entity by several sources, its instances in order and within the window."""
    attributes = {iri: select(instances, window)[0] for iri, instances in entity.attributes.items()}
    return History(
        id=entity.id,
        types=entity.types,
        scopes=entity.scopes,
        attributes={iri: instances for iri, instances in attributes.items() if instances},
        created_at=entity.created_at,
        modified_at=entity.modified_at,
    )


def asked_by(call: Call, context: Context) -> Asked:
    """The request for which sources are asked."""
    return Asked(caller(call), context, call.headers)


def alone(call: Call, values: Mapping[str, Any]) -> bool:
    """Whether the operation is limited to what is held here (5.5.13): it says so, it is about a snapshot,
    or it asks for entities of every type."""
    return (
        values.get("local", False)
        or "ngsild-snapshot" in call.headers
        or values.get("type") == "*"
        or any(each.get("type") == "*" for each in values.get("entities", ()) if isinstance(each, dict))
    )


# -- writes about one entity (5.6.1 to 5.6.6, 5.6.11 to 5.6.19)


class Write(Struct, frozen=True, kw_only=True):
    """How one operation is divided: its name (4.20), what its body is and how that is checked.

    `about`: the body is an `entity`, a `fragment` of one, or an `attribute`, or there is `nothing`.
    """

    operation: str
    about: str
    check: Callable[[Body, Context, Mapping[str, Any], str], Any] | None = None
    success: int = 204
    temporal: bool = False


def _entity(body: Body, context: Context, values: Mapping[str, Any], id: str) -> Any:
    return parse_entity(body | {"id": id} if id else body, context)


def _fragment(body: Body, context: Context, values: Mapping[str, Any], id: str) -> Any:
    return parse_fragment(body, context)


def _appended(body: Body, context: Context, values: Mapping[str, Any], id: str) -> Any:
    return parse_fragment(body, context, nulls=False)


def _merged(body: Body, context: Context, values: Mapping[str, Any], id: str) -> Any:
    return parse_fragment(body, context, partial=True, simplified=form_of(values) == "simplified")


def _evolution(body: Body, context: Context, values: Mapping[str, Any], id: str) -> Any:
    return parse_evolution(body, context)


def _instances(body: Body, context: Context, values: Mapping[str, Any], id: str) -> Any:
    return parse_instances(body, context)


def _patched(body: Any, context: Context, values: Mapping[str, Any], name: str) -> Any:
    return parse_attribute(body, context, name, nulls=True, partial=True)


def _replaced(body: Any, context: Context, values: Mapping[str, Any], name: str) -> Any:
    return parse_attribute(body, context, name)


ENTITY = "/entities/{id}"
ATTRIBUTES = "/entities/{id}/attrs"
ATTRIBUTE = "/entities/{id}/attrs/{attribute}"
HISTORY = "/temporal/entities"

WRITES: dict[tuple[str, str], Write] = {
    ("POST", "/entities"): Write(operation="createEntity", about="entity", check=_entity, success=201),
    ("PUT", ENTITY): Write(operation="replaceEntity", about="entity", check=_entity),
    ("PATCH", ENTITY): Write(operation="mergeEntity", about="fragment", check=_merged),
    ("DELETE", ENTITY): Write(operation="deleteEntity", about="nothing"),
    ("POST", ATTRIBUTES): Write(operation="appendAttrs", about="fragment", check=_appended),
    ("PATCH", ATTRIBUTES): Write(operation="updateEntity", about="fragment", check=_fragment),
    ("PATCH", ATTRIBUTE): Write(operation="updateAttrs", about="attribute", check=_patched),
    ("PUT", ATTRIBUTE): Write(operation="replaceAttrs", about="attribute", check=_replaced),
    ("DELETE", ATTRIBUTE): Write(operation="deleteAttrs", about="attribute"),
    ("POST", HISTORY): Write(
        operation="upsertTemporal", about="entity", check=_evolution, success=201, temporal=True
    ),
    ("POST", f"{HISTORY}/{{id}}/attrs"): Write(
        operation="appendAttrsTemporal", about="fragment", check=_instances, temporal=True
    ),
    ("DELETE", f"{HISTORY}/{{id}}"): Write(operation="deleteTemporal", about="nothing", temporal=True),
    ("DELETE", f"{HISTORY}/{{id}}/attrs/{{attribute}}"): Write(
        operation="deleteAttrsTemporal", about="attribute", temporal=True
    ),
    ("PATCH", f"{HISTORY}/{{id}}/attrs/{{attribute}}/{{instance}}"): Write(
        operation="updateAttrInstanceTemporal", about="attribute", temporal=True
    ),
    ("DELETE", f"{HISTORY}/{{id}}/attrs/{{attribute}}/{{instance}}"): Write(
        operation="deleteAttrInstanceTemporal", about="attribute", temporal=True
    ),
}

BATCHES: dict[str, tuple[str, ...]] = {
    "/entityOperations/create": ("createBatch", "createEntity"),
    "/entityOperations/upsert": ("upsertBatch", "createEntity", "replaceEntity", "updateEntity"),
    "/entityOperations/update": ("updateBatch", "updateEntity", "appendAttrs"),
    "/entityOperations/merge": ("mergeBatch", "mergeEntity"),
    "/entityOperations/delete": ("deleteBatch", "deleteEntity"),
}
"""Batch operations, then those on single entities that a source may take in their stead (5.6.7 to 5.6.10)."""

ATTRIBUTE_LEVEL = frozenset(("appendAttrs", "updateEntity", "updateAttrs", "replaceAttrs", "deleteAttrs"))
"""Operations whose partial success is told as UpdateResult (5.2.18)."""


class Part(Struct, frozen=True):
    """What became of one part of a write, here (`source` "") or at a source; `names` are the IRIs of the
    attributes that it was about."""

    source: str
    error: CityError | None
    answer: Answer | None = None
    partial: Mapping[str, Any] | None = None
    names: frozenset[str] = frozenset()


class Dividing:
    """Wraps the routes that write, so that context sources take part in them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)

    def routes(self, routes: Iterable[Route]) -> list[Route]:
        """The routes, those that write wrapped."""
        return [self._wrapped(route) for route in routes]

    def _wrapped(self, route: Route) -> Route:
        path = route.path.removeprefix(API)
        write = WRITES.get((route.method, path))
        shared: Callable[[Call, Handle, Mapping[str, Any]], Awaitable[Answer]]
        if write is not None:
            shared = partial(self._write, write)
        elif route.method == "POST" and path in BATCHES:
            shared = partial(self._batch, path)
        elif (route.method, path) == ("DELETE", "/entities"):
            shared = self._purge
        else:
            return route
        registrations, local = self._broker.registrations, route.handle

        async def handle(call: Call) -> Answer:
            if registrations.idle:
                return await local(call)
            values = arguments(call)
            if alone(call, values):
                return await local(call)
            await registrations.catch_up()
            return await shared(call, local, values)

        return replace(route, handle=handle)

    # -- one entity

    async def _write(self, write: Write, call: Call, local: Handle, values: Mapping[str, Any]) -> Answer:
        id = uri(call, "id") if "id" in call.params else ""
        body: Any = None
        if call.body and write.about != "nothing":
            body, context = await self._desk.body(call)
        else:
            context = await self._desk.context(call)
        name = context.expand(_attribute(call)) if write.about == "attribute" else ""
        parsed: Any = None
        if write.check is not None:
            # Nobody is told of what is wrong in itself.
            parsed = write.check(body, context, values, call.params.get("attribute") or id)
        id = id or parsed.id
        asked = asked_by(call, context)
        types = await self._types(asked, id, parsed, values, context)
        sent = frozenset((name,) if name else names_of(body, context).values() if body else ())
        division = self._broker.federation.divide(
            asked, (write.operation,), id, types, sent, temporal=write.temporal
        )
        if not division.shares:
            return await local(call)
        message = partial(self._message, write, call, body, context, values, id)
        sends = [
            self._broker.federation.send(asked, share.source, write.operation, partial(message, share))
            for share in division.shares
        ]
        here = _stays(write, division.rest, division.proxied, sent)
        reduced = call if body is None or name else _reduced(call, body, context, division.rest)
        outcomes, done = await asyncio.gather(
            asyncio.gather(*sends), _attempt(local, reduced) if here else _nothing()
        )
        parts = [_part(each, share.attributes) for each, share in zip(outcomes, division.shares, strict=True)]
        if done is not None and not (write.about == "nothing" and division.proxied and _missing(done)):
            parts.insert(0, replace(done, names=division.rest))
        return _combined(write, id, parts)

    async def _types(
        self, asked: Asked, id: str, parsed: Any, values: Mapping[str, Any], context: Context
    ) -> Sequence[str] | None:
        """The types of the entity that a write is about, as far as they are known."""
        told = getattr(parsed, "types", msgspec.UNSET)
        if told is not msgspec.UNSET and told:
            return tuple(told)
        select = types_of(values, context)
        if isinstance(select, TypeIs):
            return (select.type,)
        here = await self._broker.entities(asked.caller, [id])
        return here[id].types if id in here else None

    def _message(
        self,
        write: Write,
        call: Call,
        body: Any,
        context: Context,
        values: Mapping[str, Any],
        id: str,
        share: Share,
        words: Words,
    ) -> Message:
        """A part of a write in the words of its source."""
        assert call.route is not None
        path = call.route.path.removeprefix(API).replace("{id}", segment(id))
        if write.about == "attribute":
            name = words.context.compact(context.expand(call.params["attribute"]))
            path = path.replace("{attribute}", segment(name))
            path = path.replace("{instance}", segment(call.params.get("instance", "")))
            content = reworded_attribute(body, context, words.context)
        elif body is not None:
            part = body if share.whole else _only(body, context, share.attributes)
            simplified = form_of(values) == "simplified"
            content = reworded(part, context, words.context, simplified=simplified)
        else:
            content = None
        return Message(
            method=call.method,
            path=path,
            params=_passed(call, context, words),
            body=msgspec.UNSET if content is None else content,
        )

    # -- batches (5.6.7 to 5.6.10, 5.6.20)

    async def _batch(self, path: str, call: Call, local: Handle, values: Mapping[str, Any]) -> Answer:
        operations = BATCHES[path]
        items = decode(call.body)
        known = await self._readable(call, path)
        asked = asked_by(call, known[0][1] if known else CORE)
        here = await self._broker.entities(asked.caller, [_id(items[place]) for place, _, _ in known])
        plan = BatchPlan()
        for place, context, types in known:
            item, id = items[place], _id(items[place])
            sent = frozenset(names_of(item, context).values()) if isinstance(item, dict) else frozenset[str]()
            if types is None and id in here:
                types = here[id].types
            division = self._broker.federation.divide(asked, operations, id, types, sent)
            plan.add(division, items[place], context)
        if not plan.lots:
            return await local(call)
        # What could not be read is refused by the handler, along with what stays here.
        taken = {place for place, _, _ in known}
        left = plan.left + [each for place, each in enumerate(items) if place not in taken]
        results, done = await asyncio.gather(
            asyncio.gather(
                *(self._to_source(asked, path, call, operations, lot) for lot in plan.lots.values())
            ),
            _attempt(local, call.with_body(encode(left))) if left else _nothing(),
        )
        result = BatchTally()
        for each in results:
            result.merge(each)
        if done is not None:
            excused = plan.proxied if path.endswith("/delete") else frozenset[str]()
            result.add_here(done, [_id(item) for item in left], excused)
        return result.answer()

    async def _readable(self, call: Call, path: str) -> list[tuple[int, Context, Sequence[str] | None]]:
        """Those items of a batch that can be understood: place, @context, and the types named."""
        if path.endswith("/delete"):
            context = await self._desk.context(call)
            ids = decode(call.body)
            places = enumerate(ids) if isinstance(ids, list) else ()
            return [(place, context, None) for place, id in places if isinstance(id, str)]
        parse = parse_entity if path.endswith(("/create", "/upsert")) else _item
        known: list[tuple[int, Context, Sequence[str] | None]] = []
        for place, (item, own) in enumerate(await self._desk.items(call)):
            if isinstance(own, Context):
                with suppress(BadRequestData):
                    types = parse(item, own).types
                    known.append((place, own, types if isinstance(types, tuple) else None))
        return known

    async def _to_source(
        self, asked: Asked, path: str, call: Call, operations: tuple[str, ...], lot: Lot
    ) -> BatchTally:
        """Bring its part of a batch to a source: as a batch, or one by one."""
        source, tally = lot.source, BatchTally()
        batch, *singles = operations
        ids = [_id(item) for item, _, _ in lot.items]
        if batch in source.supported or source.supported.isdisjoint(singles):
            make = partial(_batch_message, call, path, lot)
            tally.add(await self._broker.federation.send(asked, source, batch, make), ids)
            return tally
        single = self._upserted if path.endswith("/upsert") else self._singly
        outcomes = await asyncio.gather(*(single(asked, path, call, source, *each) for each in lot.items))
        for id, outcome in zip(ids, outcomes, strict=True):
            tally.add(outcome, [id])
        return tally

    async def _singly(
        self, asked: Asked, path: str, call: Call, source: Source, item: Any, context: Context, share: Share
    ) -> Outcome:
        """One item of a batch brought to a source by an operation on single entities."""
        operation = BATCHES[path][1]
        if path.endswith("/update") and _option(call, "noOverwrite"):
            operation = "appendAttrs"
        make = partial(_single_message, operation, item, context, share)
        return await self._broker.federation.send(asked, source, operation, make)

    async def _upserted(
        self, asked: Asked, path: str, call: Call, source: Source, item: Any, context: Context, share: Share
    ) -> Outcome:
        """One item of an upsert: created, else replaced or updated as the request wants (5.6.8.4)."""
        send = self._broker.federation.send
        change = "updateEntity" if _option(call, "update") else "replaceEntity"
        if "createEntity" in source.supported:
            make = partial(_single_message, "createEntity", item, context, share)
            outcome = await send(asked, source, "createEntity", make)
            if not isinstance(outcome.error, AlreadyExists | Conflict):
                return outcome
            if change not in source.supported:
                return Outcome(source, OperationNotSupported(f"{source.id} does not take {change}"))
        return await send(asked, source, change, partial(_single_message, change, item, context, share))

    # -- purge (5.6.21)

    async def _purge(self, call: Call, local: Handle, values: Mapping[str, Any]) -> Answer:
        context = await self._desk.context(call)
        asked = asked_by(call, context)
        query = query_of(values, context)
        federation = self._broker.federation
        targets = federation.purging(asked, Question(query=query, values=values))
        if not targets:
            return await local(call)
        sends = [
            federation.send(asked, source, "purgeEntity", partial(_purge_message, make, call, context))
            for source, make in targets
        ]
        outcomes, done = await asyncio.gather(asyncio.gather(*sends), _attempt(local, call))
        tally = BatchTally()
        for each in outcomes:
            tally.add(each, [])
        tally.add_here(done, [], frozenset())
        return tally.answer()


# -- small parts


def _attribute(call: Call) -> str:
    name = call.params["attribute"]
    if not is_attribute_name(name):
        raise BadRequestData(f"{name!r} is not the name of an attribute")
    return name


def _option(call: Call, word: str) -> bool:
    """Whether `options` holds a word."""
    return any(name == "options" and word in value.split(",") for name, value in call.query)


def _id(item: Any) -> str:
    return item if isinstance(item, str) else str(item.get("id", "")) if isinstance(item, dict) else ""


def _item(body: Any, context: Context) -> Fragment:
    """An element of a batch of updates. Raises BadRequestData."""
    fragment = parse_fragment(body, context, partial=True)
    if fragment.id is None:
        raise BadRequestData("an element of a batch needs an id")
    return fragment


def _only(body: Body, context: Context, attributes: frozenset[str]) -> Body:
    """What a source that has some attributes gets of a body: these, and whose they are."""
    part = narrowed(body, context, attributes)
    return {name: content for name, content in part.items() if name not in ("scope", "expiresAt")}


def _stays(write: Write, rest: frozenset[str], proxied: bool, sent: frozenset[str]) -> bool:
    """Whether something of a write is to be done here, too."""
    if write.about == "nothing":
        return True  # "remove the entity locally if it exists" (5.6.6.4)
    return bool(rest) or not proxied


def _reduced(call: Call, body: Body, context: Context, rest: frozenset[str]) -> Call:
    """The call with what stays here of its body."""
    original = decode(call.body)
    kept = narrowed(body, context, rest)
    if "@context" in original:
        kept["@context"] = original["@context"]
    return call.with_body(encode(kept))


def _passed(call: Call, context: Context, words: Words) -> tuple[tuple[str, str], ...]:
    """The parameters of a write that go on to a source."""
    return tuple(
        (
            name,
            ",".join(_type(each, context, words) for each in value.split(",")) if name == "type" else value,
        )
        for name, value in call.query
        if name != "local"
    )


def _type(name: str, context: Context, words: Words) -> str:
    return words.context.compact(context.expand(name)) if name.isidentifier() else name


async def _attempt(local: Handle, call: Call) -> Part:
    """What became of the part that is done here."""
    try:
        answer = await local(call)
    except CityError as error:
        return Part("", error)
    content = msgspec.json.decode(answer.body) if answer.status == 207 else None
    return Part("", None, answer, content)


async def _nothing() -> None:
    return None


def _part(outcome: Outcome, names: frozenset[str]) -> Part:
    return Part(outcome.source.id, outcome.error, None, outcome.partial, names)


def _missing(part: Part) -> bool:
    return isinstance(part.error, ResourceNotFound)


def _combined(write: Write, id: str, parts: Sequence[Part]) -> Answer:
    """One answer from what became of all parts (6.3.17): done, refused, or 207."""
    failed = [each for each in parts if each.error is not None]
    partial = [each for each in parts if each.partial is not None]
    if len(failed) == len(parts) and (len(parts) == 1 or not parts[0].source) and failed[0].error is not None:
        # All of it failed: for one reason, or for ours.
        raise failed[0].error
    location = [("Location", f"{API}{_collection(write)}/{segment(id)}")] if write.success == 201 else []
    if not failed and not partial:
        here = next((each.answer for each in parts if each.answer is not None), None)
        if here is not None and (write.success == 204 or here.status == 201):
            return here
        return Answer(status=write.success, headers=location)
    if write.operation in ATTRIBUTE_LEVEL:
        body = _update_result(parts)
    else:
        body = _batch_result(id, parts)
    return Answer(status=207, body=encode(body), media=JSON, headers=location)


def _collection(write: Write) -> str:
    return HISTORY if write.temporal else "/entities"


def _update_result(parts: Sequence[Part]) -> Body:
    """An UpdateResult (5.2.18) from all parts."""
    lost: list[Body] = []
    done: set[str] = set()
    for each in parts:
        told = {"registrationId": each.source} if each.source else {}
        if each.partial is not None:
            failed = _objects(each.partial.get("notUpdated"))
            unknown = {"attributeName": "", "reason": "not all of it was done; the source does not say what"}
            lost += [{**item, **told} for item in failed or [unknown]]
            done.update(_strings(each.partial.get("updated")))
        elif each.error is not None:
            reason = each.error.detail
            lost += [{"attributeName": name, "reason": reason, **told} for name in sorted(each.names) or [""]]
        else:
            done |= each.names
    return {"updated": sorted(done - {each.get("attributeName") for each in lost}), "notUpdated": lost}


def _batch_result(id: str, parts: Sequence[Part]) -> Body:
    """A BatchOperationResult (5.2.16) from all parts of a write about one entity."""
    result = BatchTally()
    for each in parts:
        if each.error is not None:
            result.fail(id, each.error, each.source)
        elif each.partial is not None:
            result.take(each.partial, [id], each.source)
        else:
            result.success[id] = None
    return result.body()


def _strings(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _objects(value: Any) -> list[Body]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


# -- batches


class Lot(Struct):
    """The part of a batch that one source gets: items, each with its @context and the source's share."""

    source: Any
    items: list[tuple[Any, Context, Share]]


class BatchPlan:
    """Which source gets which items of a batch, and what is `left` for here."""

    def __init__(self) -> None:
        self.lots: dict[str, Lot] = {}
        self.proxied: set[str] = set()
        self.left: list[Any] = []

    def add(self, division: Division, item: str | Body, context: Context) -> None:
        """Take up an item, as it is divided."""
        for share in division.shares:
            lot = self.lots.setdefault(share.source.id, Lot(share.source, []))
            lot.items.append((item, context, share))
        if division.proxied:
            self.proxied.add(_id(item))
        if isinstance(item, str):
            self.left.append(item)
        elif division.rest or not division.proxied:
            self.left.append(narrowed(item, context, division.rest) if division.shares else item)


class BatchTally:
    """What became of a batch (5.2.16), here and at all sources."""

    def __init__(self) -> None:
        self.success: dict[str, None] = {}
        self.created: dict[str, None] = {}
        self.errors: list[Body] = []

    def fail(self, id: str, error: CityError, source: str = "") -> None:
        """Note a refusal."""
        told = {"registrationId": source} if source else {}
        self.errors.append({"entityId": id, "error": problems.problem(error), **told})

    def take(self, content: Mapping[str, Any], ids: Sequence[str], source: str = "") -> None:
        """Take over a BatchOperationResult; one that names no error tells of an unknown one."""
        told = {"registrationId": source} if source else {}
        errors = _objects(content.get("errors"))
        self.success.update(dict.fromkeys(_strings(content.get("success"))))
        self.errors += [{**each, **told} for each in errors]
        if not errors:
            unknown = Conflict("succeeded in part only; the source does not say which")
            for id in ids:
                self.fail(id, unknown, source)

    def add(self, outcome: Outcome, ids: Sequence[str]) -> None:
        """Note what became of the part of a source."""
        source = outcome.source.id
        if outcome.error is not None:
            for id in ids or [""]:
                self.fail(id, outcome.error, source)
        elif outcome.partial is not None:
            self.take(outcome.partial, ids, source)
        else:
            self.success.update(dict.fromkeys(ids))
            if outcome.reply is not None and outcome.reply.status == 201:
                self.created.update(dict.fromkeys(_strings(outcome.reply.content) or ids))

    def add_here(self, part: Part, ids: Sequence[str], excused: Iterable[str]) -> None:
        """Note what became of the part that was done here; those `excused` need not have been here."""
        pardoned = frozenset(excused)
        if part.error is not None:
            for id in ids or [""]:
                self.fail(id, part.error)
        elif part.answer is not None and part.answer.status == 207:
            content = part.partial or {}
            self.success.update(dict.fromkeys(_strings(content.get("success"))))
            self.errors += [
                each
                for each in _objects(content.get("errors"))
                if not (each.get("entityId") in pardoned and each.get("error", {}).get("status") == 404)
            ]
        else:
            self.success.update(dict.fromkeys(ids))
            if part.answer is not None and part.answer.status == 201:
                self.created.update(dict.fromkeys(_strings(msgspec.json.decode(part.answer.body))))

    def merge(self, other: BatchTally) -> None:
        """Add what another one noted."""
        self.success.update(other.success)
        self.created.update(other.created)
        self.errors += other.errors

    def body(self) -> Body:
        """The BatchOperationResult."""
        return {"success": list(self.success), "errors": self.errors}

    def answer(self) -> Answer:
        """201, 204, or 207 unless all went well."""
        if self.errors:
            return Answer(status=207, body=encode(self.body()), media=JSON)
        if self.created:
            return Answer(status=201, body=encode(list(self.created)), media=JSON)
        return Answer(status=204)


def _batch_message(call: Call, path: str, lot: Lot, words: Words) -> Message:
    body = [_worded(item, context, share, words) for item, context, share in lot.items]
    params = tuple((name, value) for name, value in call.query if name != "local")
    return Message(method="POST", path=path, params=params, body=body)


def _worded(item: Any, context: Context, share: Share, words: Words) -> Any:
    if isinstance(item, str):
        return item
    part = item if share.whole else _only(item, context, share.attributes)
    bare = {name: content for name, content in part.items() if name != "@context"}
    return reworded(bare, context, words.context)


def _single_message(operation: str, item: Any, context: Context, share: Share, words: Words) -> Message:
    """An item of a batch as an operation on one entity."""
    content = _worded(item, context, share, words)
    path = f"/entities/{segment(_id(item))}"
    match operation:
        case "deleteEntity":
            return Message(method="DELETE", path=path)
        case "mergeEntity":
            return Message(method="PATCH", path=path, body=content)
        case "replaceEntity":
            return Message(method="PUT", path=path, body=content)
        case "updateEntity":
            return Message(method="PATCH", path=f"{path}/attrs", body=content)
        case "appendAttrs":
            overwrite = (("options", "noOverwrite"),)
            return Message(method="POST", path=f"{path}/attrs", params=overwrite, body=content)
        case _:
            return Message(method="POST", path="/entities", body=content)


def _purge_message(
    make: Callable[[Words], tuple[tuple[str, str], ...]], call: Call, context: Context, words: Words
) -> Message:
    names = tuple(
        (name, ",".join(words.context.compact(context.expand(each)) for each in value.split(",")))
        for name, value in call.query
        if name in ("keep", "drop")
    )
    return Message(method="DELETE", path="/entities", params=make(words) + names)
