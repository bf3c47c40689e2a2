"""Where imported entities go inside the process: parsed in their own @context, handed to the broker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from autocity.broker import Broker, Caller
from autocity.errors import CityError, ResourceNotFound, StoreUnavailable
from autocity.ld.context import Context
from autocity.ld.entity import parse_entity, parse_evolution
from autocity.ld.instants import instant
from autocity.ld.temporal import Window
from autocity.model import Attribute, Attributes, Entity


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
        """Create or update temporal evolution (5.6.11): per history None, or why it was refused.

        A file may be imported twice: an instance recorded already is left alone, or replaced when its
        value is another now.
        """
        # All at once, so that the store's writer makes one commit of many.
        return list(await asyncio.gather(*map(self._record, histories)))

    async def _record(self, body: dict[str, Any]) -> str | None:
        try:
            entity = parse_evolution(body, await self._context(body))
            attributes = await self._unrecorded(entity)
            if attributes:
                await self._broker.upsert_temporal(
                    self._caller, entity.id, entity.types, entity.scopes, attributes
                )
        except StoreUnavailable:
            raise
        except CityError as refusal:
            return refusal.detail
        return None

    async def _unrecorded(self, entity: Entity) -> Attributes:
        """The instances that history does not hold yet; one with another value bears the id of the old."""
        try:
            history = await self._broker.retrieve_temporal(
                self._caller, entity.id, _span(entity), tuple(entity.attributes)
            )
        except ResourceNotFound:
            return entity.attributes
        fresh: Attributes = {}
        for name, instances in entity.attributes.items():
            old = {(one.observed_at, one.dataset_id): one for one in history.attributes.get(name, ())}
            told = [(one, old.get((one.observed_at, one.dataset_id))) for one in instances]
            kept = tuple(
                _renewed(one, known) for one, known in told if known is None or known.value != one.value
            )
            if kept:
                fresh[name] = kept
        return fresh

    async def _parse(self, body: dict[str, Any]) -> Entity:
        return parse_entity(_bare(body), await self._context(body))

    async def _context(self, body: dict[str, Any]) -> Context:
        source = body.get("@context")
        return self._broker.contexts.known(source) or await self._broker.contexts.resolve(source)


def _bare(body: dict[str, Any]) -> dict[str, Any]:
    return {name: member for name, member in body.items() if name != "@context"}


def _span(entity: Entity) -> Window:
    """The time that the instances of a history cover."""
    instants = [
        instant(one.observed_at) for many in entity.attributes.values() for one in many if one.observed_at
    ]
    return Window("between", min(instants), max(instants) + 1) if instants else Window()


def _renewed(fresh: Attribute, known: Attribute | None) -> Attribute:
    return fresh if known is None else replace(fresh, instance_id=known.instance_id)
