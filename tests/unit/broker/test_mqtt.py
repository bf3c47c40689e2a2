"""MQTT endpoints (7.2): addresses and parameters, and real deliveries through a server when there is one."""

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocity.broker import Caller
from autocity.broker.mqtt import Target, target_of
from autocity.errors import BadRequestData
from autocity.ld.context import CORE
from autocity.ld.entity import parse_entity
from autocity.store.memory import MemoryStore
from towns import build, tear_down

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


def test_defaults_of_an_endpoint() -> None:
    target, topic, qos = target_of("mqtt://server/a/b", ())
    assert (target, topic, qos) == (Target("server", 1883, None, None, False, "mqtt5.0"), "a/b", 0)


def test_everything_that_an_endpoint_can_say() -> None:
    info = (("MQTT-Version", "mqtt3.1.1"), ("MQTT-QoS", "2"))
    target, topic, qos = target_of("mqtts://us%40er:p%3A@server:9/t%20x", info)
    assert (target, topic, qos) == (Target("server", 9, "us@er", "p:", True, "mqtt3.1.1"), "t x", 2)


@pytest.mark.parametrize(
    ("uri", "info"),
    [
        ("mqtt://server", ()),
        ("mqtt://server/a/#", ()),
        ("mqtt:///topic", ()),
        ("mqtt://server:port/topic", ()),
        ("mqtt://server/topic", (("MQTT-QoS", "3"),)),
        ("mqtt://server/topic", (("MQTT-Version", "mqtt4"),)),
    ],
)
def test_what_cannot_be_reached_is_refused(uri: str, info: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(BadRequestData):
        target_of(uri, info)


@contextlib.contextmanager
def server(folder: Path) -> Iterator[int]:
    """A Mosquitto on a free loopback port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen([str(MOSQUITTO), "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.skipif(MOSQUITTO is None, reason="Mosquitto is not installed")
@pytest.mark.parametrize("qos", ["0", "1", "2"])
@pytest.mark.parametrize("version", ["mqtt3.1.1", "mqtt5.0"])
async def test_a_notification_arrives_as_metadata_and_body(tmp_path: Path, qos: str, version: str) -> None:
    import aiomqtt

    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(port: int, ready: asyncio.Event) -> None:
        async with aiomqtt.Client("127.0.0.1", port=port) as client:
            await client.subscribe("city/alarm", qos=2)
            ready.set()
            async for message in client.messages:
                heard.put_nowait(bytes(message.payload))

    with server(tmp_path) as port:
        town = await build(MemoryStore())
        ready = asyncio.Event()
        listener = asyncio.create_task(listen(port, ready))
        await asyncio.wait_for(ready.wait(), 10)
        endpoint = {
            "uri": f"mqtt://127.0.0.1:{port}/city/alarm",
            "receiverInfo": [{"key": "Authorization", "value": "Bearer x"}],
            "notifierInfo": [{"key": "MQTT-QoS", "value": qos}, {"key": "MQTT-Version", "value": version}],
        }
        subscription = {
            "type": "Subscription",
            "entities": [{"type": "Lamp"}],
            "notification": {"endpoint": endpoint},
        }
        await town.broker.create_subscription(Caller(), subscription, CORE)
        lamp = parse_entity({"id": "urn:a:1", "type": "Lamp", "power": 5}, CORE)
        await town.broker.create_entity(Caller(), lamp)
        message = json.loads(await asyncio.wait_for(heard.get(), 10))
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await tear_down(town)
    assert message["metadata"]["Content-Type"] == "application/json"
    assert message["metadata"]["Authorization"] == "Bearer x"
    assert message["body"]["type"] == "Notification"
    assert message["body"]["data"][0]["id"] == "urn:a:1"
