"""What there is to ask for: types and attributes in use (CIM 009, 6.25 to 6.28), and who answers (6.33)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from autocity import errors
from autocity.api.asgi import Answer, Call, Route
from autocity.api.negotiate import Desk, arguments, caller, route, shape
from autocity.broker import Broker
from autocity.ld.instants import timestamp
from autocity.ld.query import Query
from autocity.model import Instant

TAG = "Discovery"


class Discovery:
    """The handlers of discovery."""

    def __init__(self, broker: Broker, *, clock: Callable[[], Instant]) -> None:
        self._broker = broker
        self._desk = Desk(broker.contexts)
        self._clock = clock
        self._since = time.monotonic()

    async def types(self, call: Call) -> Answer:
        """Available entity types (5.7.5, 5.7.6, 6.25.3.1)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        found = await self._broker.types(caller(call))
        if not values.get("details"):
            names = [context.compact(each.type) for each in found]
            return await self._desk.told(call, _list("EntityTypeList", "typeList", names), form, context)
        details = [
            {
                "id": each.type,
                "type": "EntityType",
                "typeName": context.compact(each.type),
                "attributeNames": list(map(context.compact, each.attributes)),
            }
            for each in found
        ]
        return await self._desk.told(call, details, form, context)

    async def type(self, call: Call) -> Answer:
        """Available entity type information (5.7.7, 6.26.3.1)."""
        arguments(call)
        form = shape(call)
        context = await self._desk.context(call)
        iri = context.expand(call.params["type"])
        found = next((each for each in await self._broker.types(caller(call)) if each.type == iri), None)
        if found is None:
            raise errors.ResourceNotFound(f"no entity has the type {iri}")
        info = {
            "id": iri,
            "type": "EntityTypeInfo",
            "typeName": context.compact(iri),
            "entityCount": found.count,
            "attributeDetails": [
                {
                    "id": name,
                    "type": "Attribute",
                    "attributeName": context.compact(name),
                    "attributeTypes": list(kinds),
                }
                for name, kinds in found.attributes.items()
            ],
        }
        return await self._desk.told(call, info, form, context)

    async def attributes(self, call: Call) -> Answer:
        """Available attributes (5.7.8, 5.7.9, 6.27.3.1)."""
        values, form = arguments(call), shape(call)
        context = await self._desk.context(call)
        found = await self._by_attribute(call)
        if not values.get("details"):
            names = list(map(context.compact, found))
            return await self._desk.told(call, _list("AttributeList", "attributeList", names), form, context)
        details = [
            {
                "id": iri,
                "type": "Attribute",
                "attributeName": context.compact(iri),
                "typeNames": list(map(context.compact, types)),
            }
            for iri, (types, _) in found.items()
        ]
        return await self._desk.told(call, details, form, context)

    async def attribute(self, call: Call) -> Answer:
        """Available attribute information (5.7.10, 6.28.3.1)."""
        arguments(call)
        form = shape(call)
        context = await self._desk.context(call)
        iri = context.expand(call.params["attribute"])
        found = (await self._by_attribute(call)).get(iri)
        if found is None:
            raise errors.ResourceNotFound(f"no entity has the attribute {iri}")
        types, kinds = found
        everyone = Query(attributes=(iri,), limit=0, count=True)
        info = {
            "id": iri,
            "type": "Attribute",
            "attributeName": context.compact(iri),
            "attributeCount": (await self._broker.query_entities(caller(call), everyone)).total,
            "attributeTypes": sorted(kinds),
            "typeNames": list(map(context.compact, types)),
        }
        return await self._desk.told(call, info, form, context)

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
        """Context source identity (5.15.1, 6.33.3.1)."""
        arguments(call)
        form = shape(call)
        context = await self._desk.context(call)
        alias = self._broker.sources.alias(caller(call).tenant)
        identity = {
            "id": f"urn:ngsi-ld:ContextSourceIdentity:{alias}",
            "type": "ContextSourceIdentity",
            "contextSourceAlias": alias,
            "contextSourceUptime": f"PT{int(time.monotonic() - self._since)}S",
            "contextSourceTimeAt": timestamp(self._clock()),
        }
        return await self._desk.told(call, identity, form, context)

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            route(
                "GET", "/types", self.types, "read", TAG,
                parameters=("details", "local"), answers={200: "Types"},
            ),
            route(
                "GET", "/types/{type}", self.type, "read", TAG,
                parameters=("local",), answers={200: "TypeInfo"},
            ),
            route(
                "GET", "/attributes", self.attributes, "read", TAG,
                parameters=("details", "local"), answers={200: "AttributeTypes"},
            ),
            route(
                "GET", "/attributes/{attribute}", self.attribute, "read", TAG,
                parameters=("local",), answers={200: "AttributeInfo"},
            ),
            route(
                "GET", "/info/sourceIdentity", self.source_identity, "public", TAG,
                answers={200: "SourceIdentity"},
            ),
        ]  # fmt: skip


def _list(kind: str, member: str, names: list[str]) -> dict[str, Any]:
    """An EntityTypeList or AttributeList (5.2.24, 5.2.27); its id is made from what it lists."""
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return {"id": f"urn:ngsi-ld:{kind}:{digest}", "type": kind, member: names}
