"""The system page: is the platform ready, are subscriptions delivered, what waits."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from autocity.api.asgi import Answer, Call
from autocity.console import page, show
from autocity.console.client import ROOT, City
from autocity.console.overview import health
from autocity.console.page import Reader
from autocity.errors import CityError


class Receiver(Struct, frozen=True, kw_only=True):
    """One subscription and how its deliveries fare (5.2.14)."""

    id: str
    name: str
    endpoint: str
    status: str
    sent: int
    failed: int
    last_success: datetime | None
    last_failure: datetime | None


async def system(city: City, who: Reader, call: Call) -> Answer:
    """Readiness with its reasons, subscriptions with their deliveries, and what waits in the outbox."""
    state, receivers, outbox = await asyncio.gather(
        health(city), _receivers(city), _optional(city, "/deliveries")
    )
    return page.render(who, "system.html", health=state, receivers=receivers, outbox=_waiting(outbox))


async def _receivers(city: City) -> list[Receiver] | None:
    """Subscriptions by last failure; None when the reader may not see them."""
    listed = await _optional(city, f"{ROOT}/subscriptions?limit=1000")
    return None if listed is None else [_receiver(one) for one in listed]


def _receiver(one: dict[str, Any]) -> Receiver:
    notification = one.get("notification", {})
    return Receiver(
        id=one["id"],
        name=str(one.get("subscriptionName") or one.get("description") or one["id"]),
        endpoint=str(notification.get("endpoint", {}).get("uri", "")),
        status=str(one.get("status", "active")),
        sent=int(notification.get("timesSent", 0)),
        failed=int(notification.get("timesFailed", 0)),
        last_success=show.moment(notification.get("lastSuccess")),
        last_failure=show.moment(notification.get("lastFailure")),
    )


def _waiting(outbox: Any) -> list[dict[str, Any]]:
    return list(outbox) if isinstance(outbox, list) else list((outbox or {}).get("deliveries", []))


async def _optional(city: City, path: str) -> Any:
    """The JSON at a path, None when it is not there or not for this reader."""
    try:
        return msgspec.json.decode((await city.get(path)).body)
    except CityError:
        return None
