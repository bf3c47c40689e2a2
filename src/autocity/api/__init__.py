"""The city over HTTP: the NGSI-LD API (CIM 009, clause 6) and the routes that operate it."""

from __future__ import annotations

import time
from collections.abc import Callable

from autocity.api import openapi
from autocity.api.asgi import Route
from autocity.api.batches import Batches
from autocity.api.contexts import Hosting
from autocity.api.discovery import Discovery
from autocity.api.entitymaps import Maps
from autocity.api.federation import Dividing
from autocity.api.ngsild import Entities
from autocity.api.operations import Metrics, Operations
from autocity.api.registrations import Registering
from autocity.api.snapshots import Freezing
from autocity.api.subscriptions import Subscribing
from autocity.api.temporal import Evolution
from autocity.broker import Broker, Feed
from autocity.model import Instant

HISTORY_PAGE = 30
"""Attribute instances in one answer before it is partial (6.3.10), unless `lastN` asks for more."""


def routes(
    broker: Broker,
    feed: Feed,
    *,
    metrics: Metrics | None = None,
    clock: Callable[[], Instant] = lambda: time.time_ns() // 1000,
    history_page: int = HISTORY_PAGE,
) -> list[Route]:
    """Every route of the API but those of identity (see `auth`).

    `metrics` is what the application should observe with.
    """
    return [
        *Dividing(broker).routes(
            [
                *Entities(broker).routes(),
                *Batches(broker).routes(),
                *Evolution(broker, page_size=history_page).routes(),
            ]
        ),
        *Discovery(broker, clock=clock).routes(),
        *Subscribing(broker).routes(),
        *Registering(broker).routes(),
        *Maps(broker).routes(),
        *Freezing(broker).routes(),
        *Hosting(broker.contexts).routes(),
        *Operations(broker, feed, metrics or Metrics()).routes(),
        *openapi.routes(),
    ]


__all__ = ["Metrics", "routes"]
