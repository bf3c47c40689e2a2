"""What an MQTT endpoint says: server, topic, quality of service (CIM 009, 7.2)."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from autocity.errors import BadRequestData

if TYPE_CHECKING:
    pass

SCHEMES = ("mqtt", "mqtts")
VERSIONS = {"mqtt3.1.1": 4, "mqtt5.0": 5}
QOS = ("0", "1", "2")
TIMEOUT_SECONDS = 10.0


class Target(Struct, frozen=True):
    """A server and how to talk to it; deliveries to one target share a connection."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: bool
    version: str


def target_of(uri: str, notifier_info: tuple[tuple[str, str], ...]) -> tuple[Target, str, int]:
    """The server, the topic and the quality of service of an endpoint (table 7.2-1).

    Raises BadRequestData that names the fault.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as fault:
        raise BadRequestData(f"{uri!r:.200} is not a URL: {fault}") from None
    topic = unquote(parts.path.lstrip("/"))
    if not host or not topic or "#" in uri or any(sign in topic for sign in "+\0"):
        raise BadRequestData(
            "an MQTT endpoint is mqtt[s]://[user[:password]@]host[:port]/topic without + and #"
        )
    options = dict(notifier_info)
    version, qos = options.get("MQTT-Version", "mqtt5.0"), options.get("MQTT-QoS", "0")
    if version not in VERSIONS:
        raise BadRequestData(f"MQTT-Version must be one of {', '.join(VERSIONS)}")
    if qos not in QOS:
        raise BadRequestData("MQTT-QoS must be 0, 1 or 2")
    tls = parts.scheme.lower() == "mqtts"
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return Target(host, port or (8883 if tls else 1883), user, password, tls, version), topic, int(qos)


def check(uri: str, notifier_info: tuple[tuple[str, str], ...]) -> None:
    """Refuse an endpoint that could never be reached from here. Raises BadRequestData."""
    target_of(uri, notifier_info)
    if importlib.util.find_spec("aiomqtt") is None:
        raise BadRequestData("MQTT endpoints need the extra: pip install 'autocity[mqtt]'")
