"""Where imported entities go inside the process: parsed in their own @context, handed to the broker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autocity.broker import Broker, Caller
from autocity.errors import CityError
from autocity.ld.context import Context
from autocity.ld.entity import parse_entity, parse_evolution
from autocity.model import Entity


class BrokerSink:
    """A sink (see `ingest.files.Sink`) that writes on behalf of `actor` into one tenant."""

    def __init__(self, broker: Broker, *, tenant: str = "", actor: str = "") -> None:
        self._broker = broker
        self._caller = Caller(tenant=tenant, actor=actor)

    async def upsert(self, entities: Sequence[dict[str, Any]]) -> list[str | None]:
        """Batch upsert with update (5.6.8): per entity None, or why it was refused."""
        outcome: list[str | None] = [None] * len(entities)
        good: list[tuple[int, Entity]] = []
        for place, body in enumerate(entities):
            try:
                good.append((place, await self._parse(body)))
            except CityError as refusal:
                outcome[place] = refusal.detail
        result = await self._broker.upsert_entities(self._caller, [entity for _, entity in good], update=True)
        refused = {id: fault.detail for id, fault in result.errors}
        for place, entity in good:
            outcome[place] = refused.get(entity.id)
        return outcome

    async def record(self, histories: Sequence[dict[str, Any]]) -> list[str | None]:
        """Create or update temporal evolution (5.6.11): per history None, or why it was refused."""
        return [await self._record(body) for body in histories]

    async def _record(self, body: dict[str, Any]) -> str | None:
        try:
            context = await self._context(body)
            entity = parse_evolution(body, context)
            await self._broker.upsert_temporal(
                self._caller, entity.id, entity.types, entity.scopes, entity.attributes
            )
        except CityError as refusal:
            return refusal.detail
        return None

    async def _parse(self, body: dict[str, Any]) -> Entity:
        return parse_entity(_bare(body), await self._context(body))

    async def _context(self, body: dict[str, Any]) -> Context:
        source = body.get("@context")
        return self._broker.contexts.known(source) or await self._broker.contexts.resolve(source)


def _bare(body: dict[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in body.items() if name != "@context"}
