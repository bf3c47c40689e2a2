"""The ways to bring a notification to its receiver, chosen by the scheme of the endpoint's URI. The client
libraries are loaded when somebody is called for the first time."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from autocity.broker import mqtt
from autocity.broker.matching import Watch, embeds
from autocity.broker.outbound import Outbound
from autocity.broker.shadow import parted
from autocity.errors import BadRequestData
from autocity.ld.context import CORE_URL
from autocity.model import Delivery

if TYPE_CHECKING:
    import aiohttp
    import aiomqtt

TIMEOUT_SECONDS = 45.0
"""How long an answer may take when the subscription does not say (5.2.15)."""

CONNECT_SECONDS = 5.0
MAX_ANSWER = 2**16
LONGEST_REST = 300.0
"""The longest that a failing receiver is left alone, in seconds."""

MQTT_SECONDS = 10.0
"""How long an MQTT server may take to connect or to acknowledge."""


class Undelivered(Exception):
    """A notification did not arrive. `refused`: the receiver took it and found it wrong; `rest`: how long
    the receiver wants to be left alone, in seconds."""

    def __init__(self, reason: str, *, refused: bool = False, rest: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        self.rest = rest


class Sender(Protocol):
    """A way to bring notifications to a receiver, chosen by the scheme of its URI."""

    async def send(self, watch: Watch, delivery: Delivery) -> None:
        """Bring one notification. Raises Undelivered."""

    async def close(self) -> None:
        """Let go of connections."""


class HttpSender:
    """The HTTP binding (6.3.8)."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._session: aiohttp.ClientSession | None = None

    async def send(self, watch: Watch, delivery: Delivery) -> None:
        """POST one notification; any 2xx says that it arrived."""
        import aiohttp

        endpoint = watch.subscription.notification.endpoint
        if self._session is None:
            self._session = self._outbound.session(total=TIMEOUT_SECONDS, connect=CONNECT_SECONDS)
        timeout = self._session.timeout
        if endpoint.timeout is not None:
            timeout = aiohttp.ClientTimeout(total=endpoint.timeout / 1000, sock_connect=CONNECT_SECONDS)
        try:
            # The policy may have become stricter since the subscription was made.
            self._outbound.check(endpoint.uri)
            async with self._session.post(
                endpoint.uri,
                data=delivery.body,
                headers=headers_of(watch),
                allow_redirects=False,
                timeout=timeout,
            ) as answer:
                # A connection can be used again when what came on it has been read.
                await answer.content.read(MAX_ANSWER)
                if answer.status // 100 != 2:
                    raise Undelivered(
                        f"{answer.status} {answer.reason or ''}".strip(),
                        refused=answer.status // 100 == 4 and answer.status not in (408, 425, 429),
                        rest=seconds(answer.headers.get("Retry-After", "")),
                    )
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            raise Undelivered(str(fault) or type(fault).__name__) from None
        except BadRequestData as fault:
            raise Undelivered(fault.detail, refused=True) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def message(headers: dict[str, str], body: bytes) -> bytes:
    """The JSON object that takes the place of headers and body (table 7.2-2)."""
    metadata = {name: value for name, value in headers.items() if name != "User-Agent"}
    return b'{"metadata":%b,"body":%b}' % (msgspec.json.encode(metadata), body)


class MqttSender:
    """Brings notifications to MQTT servers, one connection a target."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._clients: dict[mqtt.Target, _Client] = {}

    async def send(self, watch: Watch, delivery: Delivery) -> None:
        """Publish one notification; the quality of service says when it has arrived. Raises Undelivered."""
        import aiomqtt

        endpoint = watch.subscription.notification.endpoint
        try:
            self._outbound.check(endpoint.uri, schemes=mqtt.SCHEMES)
            target, topic, qos = mqtt.target_of(endpoint.uri, endpoint.notifier_info)
        except BadRequestData as fault:
            raise Undelivered(fault.detail, refused=True) from None
        client = self._client(target)
        try:
            await client.publish(topic, message(headers_of(watch), delivery.body), qos)
        except (aiomqtt.MqttError, TimeoutError, OSError) as fault:
            self._clients.pop(target, None)
            await client.close()
            raise Undelivered(str(fault) or type(fault).__name__) from None

    def _client(self, target: mqtt.Target) -> _Client:
        client = self._clients.get(target)
        if client is None:
            client = self._clients[target] = _Client(target)
        return client

    async def close(self) -> None:
        """Take leave of every server."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()


class _Client:
    """One connection, made when it is needed."""

    def __init__(self, target: mqtt.Target) -> None:
        self._target = target
        self._lock = asyncio.Lock()
        self._client: aiomqtt.Client | None = None
        self._stack = AsyncExitStack()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        client = await self._connected()
        await client.publish(topic, payload, qos=qos, timeout=MQTT_SECONDS)

    async def _connected(self) -> aiomqtt.Client:
        import aiomqtt

        async with self._lock:
            if self._client is None:
                target = self._target
                options: dict[str, Any] = {"tls_context": ssl.create_default_context()} if target.tls else {}
                client = aiomqtt.Client(
                    target.host,
                    port=target.port,
                    username=target.user,
                    password=target.password,
                    protocol=aiomqtt.ProtocolVersion(mqtt.VERSIONS[target.version]),
                    timeout=MQTT_SECONDS,
                    **options,
                )
                self._client = await self._stack.enter_async_context(client)
            return self._client

    async def close(self) -> None:
        import aiomqtt

        self._client = None
        with suppress(aiomqtt.MqttError, OSError):
            await self._stack.aclose()


def headers_of(watch: Watch) -> dict[str, str]:
    """The headers of a subscription's notifications (6.3.8), worked out once."""
    if watch.headers is None:
        subscription = watch.subscription
        endpoint = subscription.notification.endpoint
        found = {"Content-Type": endpoint.media, "User-Agent": "autocity"}
        if not embeds(subscription):
            link = watch.context.link or subscription.jsonld_context or CORE_URL
            found["Link"] = (
                f'<{link}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'
            )
        tenant, snapshot = parted(watch.tenant)
        if tenant:
            found["NGSILD-Tenant"] = tenant
        if snapshot:
            found["NGSILD-Snapshot"] = snapshot
        watch.headers = {**found, **dict(endpoint.receiver_info)}
    return watch.headers


def seconds(retry_after: str) -> float:
    """A `Retry-After` in seconds, within reason; 0 when it is none."""
    return min(float(retry_after), LONGEST_REST) if retry_after.isdecimal() and len(retry_after) < 6 else 0.0
