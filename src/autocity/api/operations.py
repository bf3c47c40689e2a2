"""The routes that operate the platform: health, metrics, the live stream of changes, deliveries."""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from autocity import __version__, errors
from autocity.api.asgi import Answer, Call, Operation, Route, Scope
from autocity.api.negotiate import JSON, Desk, arguments, caller, uri
from autocity.api.queries import form_of
from autocity.broker import Broker, Caller, Feed, Resync
from autocity.errors import CityError, ResourceNotFound
from autocity.ld import document
from autocity.ld.context import Context
from autocity.ld.entity import View
from autocity.ld.instants import timestamp
from autocity.model import Delivery, Logged

TAG = "Operations"
HEARTBEAT_SECONDS = 15.0
READY_SECONDS = 2.0
FORMATS = ("normalized", "concise", "simplified", "keyValues")


class Metrics:
    """What this process counts, in Prometheus' terms. `observe` is the application's ear."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        Gauge("autocity_info", "The running version.", ["version"], registry=self.registry).labels(
            __version__
        ).set(1)
        self.streams = Gauge(
            "autocity_event_streams", "Clients that listen to the event stream now.", registry=self.registry
        )
        # Plain numbers while answering; the client's families are made when someone comes to read.
        self._answers: dict[tuple[str, str, int], int] = {}
        self._times: dict[tuple[str, str], Times] = {}
        self.registry.register(self)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note one answer."""
        if method not in _METHODS:
            method = "other"
        key = method, route, status
        self._answers[key] = self._answers.get(key, 0) + 1
        times = self._times.get((method, route))
        if times is None:
            times = self._times[method, route] = Times()
        times.counts[bisect_left(BUCKETS, seconds)] += 1
        times.total += seconds

    def collect(self) -> Iterator[Metric]:
        """The counts as Prometheus' families (its collector protocol)."""
        answers = CounterMetricFamily(
            "autocity_requests", "Requests answered.", labels=["method", "route", "status"]
        )
        for (method, route, status), count in self._answers.items():
            answers.add_metric([method, route, str(status)], count)
        yield answers
        spans = HistogramMetricFamily(
            "autocity_request_seconds", "Time from request to answer.", labels=["method", "route"]
        )
        for (method, route), times in self._times.items():
            bounds = zip((*map(str, BUCKETS), "+Inf"), accumulate(times.counts), strict=True)
            spans.add_metric([method, route], list(bounds), times.total)
        yield spans


class Times:
    """How long the answers of one route took: how many fell into each bucket, and the sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0


BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Operations:
    """The handlers of everything that is not the standard's."""

    def __init__(self, broker: Broker, feed: Feed, metrics: Metrics) -> None:
        self._broker = broker
        self._feed = feed
        self._metrics = metrics
        self._desk = Desk(broker.contexts)
        self._since = time.monotonic()

    async def health(self, call: Call) -> Answer:
        """Whether the process lives."""
        return _json({"status": "alive", "version": __version__, "pid": os.getpid()})

    async def ready(self, call: Call) -> Answer:
        """Whether requests can be answered, and why not."""
        reasons = []
        begun = time.perf_counter()
        try:
            tenants = await asyncio.wait_for(self._broker.tenants(), READY_SECONDS)
        except TimeoutError:
            reasons.append(f"the store did not answer within {READY_SECONDS:.0f} s")
        except CityError as refusal:
            reasons.append(refusal.detail)
        told: dict[str, Any] = {
            "status": "unready" if reasons else "ready",
            "reasons": reasons,
            "version": __version__,
            "uptimeSeconds": round(time.monotonic() - self._since),
        }
        if not reasons:
            told["storeMilliseconds"] = round((time.perf_counter() - begun) * 1000, 3)
            told["tenants"] = len(tenants)
        return _json(told, 503 if reasons else 200)

    async def metrics(self, call: Call) -> Answer:
        """Metrics in the text format of Prometheus."""
        return Answer(body=generate_latest(self._metrics.registry), media=CONTENT_TYPE_LATEST)

    async def events(self, call: Call) -> Answer:
        """Changes as they happen, as server-sent events."""
        values = arguments(call)
        source = values.get("context")
        context = await self._desk.named(source, call.tenant) if source else await self._desk.context(call)
        wanted = Wanted(
            types=frozenset(
                map(context.expand, values.get("type", "").split(",") if "type" in values else ())
            ),
            attributes=frozenset(map(context.expand, values.get("attrs", ()))),
            ids=frozenset(values.get("id", ())),
            view=View(context=context, form=form_of(values)) if "format" in values else None,
        )
        return Answer(
            media="text/event-stream",
            headers=[("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")],
            stream=self._stream(caller(call), context, wanted, _cursor(call, values)),
        )

    async def _stream(
        self, who: Caller, context: Context, wanted: Wanted, after: int | None
    ) -> AsyncIterator[bytes]:
        self._metrics.streams.inc()
        changes = self._feed.listen(after=after, tenant=who.tenant)
        # Listening begins before the client is told that it is connected.
        step: asyncio.Future[list[Logged] | Resync] | None = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        seq = after
        try:
            yield b"retry: 2000\n: connected\n\n"
            while True:
                step = step or asyncio.ensure_future(anext(changes))
                done, _ = await asyncio.wait((step,), timeout=HEARTBEAT_SECONDS)
                if not done:
                    # An event without data moves the browser's cursor along and keeps proxies awake.
                    yield b": still here\n\n" if seq is None else b"id: %d\n: still here\n\n" % seq
                    continue
                try:
                    lump = step.result()
                except StopAsyncIteration:
                    return
                step = None
                if isinstance(lump, Resync):
                    seq = lump.seq
                    yield b"id: %d\nevent: resync\ndata: {}\n\n" % seq
                    continue
                seq = lump[-1].seq
                parts = [await self._event(who, context, wanted, each) for each in lump if wanted.fits(each)]
                if parts:
                    yield b"".join(parts)
        finally:
            self._metrics.streams.dec()
            if step is not None:
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
            close = getattr(changes, "aclose", None)
            if close is not None:
                await close()

    async def _event(self, who: Caller, context: Context, wanted: Wanted, change: Logged) -> bytes:
        told: dict[str, Any] = {
            "seq": change.seq,
            "id": change.id,
            "operation": change.operation,
            "types": list(map(context.compact, change.types)),
            "attributes": list(map(context.compact, change.attributes)),
            "at": timestamp(change.at),
            "actor": change.actor,
        }
        if wanted.view is not None and change.operation != "delete":
            view = msgspec.structs.replace(wanted.view, attributes=frozenset(change.attributes))
            try:
                stored = await self._broker.retrieve_entity(who, change.id)
                told["entity"] = msgspec.Raw(document.render(stored.document, view))
            except ResourceNotFound:
                pass  # deleted since; the event that says so follows
        return b"id: %d\nevent: change\ndata: %b\n\n" % (change.seq, msgspec.json.encode(told))

    # -- deliveries

    async def deliveries(self, call: Call) -> Answer:
        """Notifications of the tenant's subscriptions that wait, or with `dead=true` were given up."""
        values, who = arguments(call), caller(call)
        if "id" in values:
            ids = [(await self._broker.retrieve_subscription(who, id)).id for id in values["id"]]
        else:
            found, _ = await self._broker.query_subscriptions(who, limit=1000)
            ids = [each.id for each in found]
        told: list[dict[str, Any]] = []
        for id in ids:
            waiting = await self._broker.notifier.waiting(who.tenant, id, dead=values.get("dead", False))
            told += map(_delivery, waiting)
        return _json(told)

    async def resend(self, call: Call) -> Answer:
        """Try the notifications of a subscription that were given up once more."""
        arguments(call)
        who, id = caller(call), uri(call, "id")
        await self._broker.retrieve_subscription(who, id)
        return _json({"resent": await self._broker.notifier.resend(who.tenant, id)})

    def routes(self) -> list[Route]:
        """Every route of this module."""
        return [
            _route("GET", "/healthz", self.health, "public", answers={200: "Health"}),
            _route("GET", "/readyz", self.ready, "public", answers={200: "Readiness", 503: "Readiness"}),
            _route("GET", "/metrics", self.metrics, "public", answers={200: "Text"}),
            _route(
                "GET", "/events", self.events, "read",
                parameters=("type", "attrs", "id", "context", "after"), formats=FORMATS,
                answers={200: "EventStream"},
            ),
            _route(
                "GET", "/deliveries", self.deliveries, "operate",
                parameters=("id", "dead"), answers={200: "Deliveries"},
            ),
            _route("POST", "/deliveries/{id}/resend", self.resend, "operate", answers={200: "Resent"}),
        ]  # fmt: skip


class Wanted(Struct, frozen=True):
    """Which changes a listener wants to hear of, and how it wants the entity shown with them."""

    types: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    view: View | None = None

    def fits(self, change: Logged) -> bool:
        """Whether the listener wants to hear of this change."""
        return (
            (not self.ids or change.id in self.ids)
            and (not self.types or not self.types.isdisjoint(change.types))
            and (not self.attributes or not self.attributes.isdisjoint(change.attributes))
        )


def _cursor(call: Call, values: dict[str, Any]) -> int | None:
    """The change after which the stream begins; the browser's own cursor is the newer one."""
    given = call.headers.get("last-event-id", "").strip()
    if not given:
        return values.get("after")
    if not (given.isascii() and given.isdecimal() and len(given) < 19):
        raise errors.InvalidRequest("Last-Event-ID must be the number of an event")
    return int(given)


def _delivery(delivery: Delivery) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": delivery.id,
        "subscription": delivery.subscription,
        "createdAt": timestamp(delivery.created_at),
        "attempts": delivery.attempts,
        "dead": delivery.dead,
    }
    if delivery.due_at:
        told["dueAt"] = timestamp(delivery.due_at)
    if delivery.error:
        told["error"] = delivery.error
    return told


def _json(told: Any, status: int = 200) -> Answer:
    return Answer(
        status=status, body=msgspec.json.encode(told), media=JSON, headers=[("Cache-Control", "no-store")]
    )


def _route(
    method: str, path: str, handle: Callable[[Call], Awaitable[Answer]], scope: Scope, **facts: Any
) -> Route:
    summary = (handle.__doc__ or "").strip().splitlines()[0].rstrip(".")
    operation = Operation(id=f"{TAG}{handle.__name__.title()}", summary=summary, tag=TAG, **facts)
    return Route(method=method, path=path, handle=handle, scope=scope, operation=operation)
