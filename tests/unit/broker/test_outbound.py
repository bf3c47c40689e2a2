"""Where the platform may call on a client's word."""

from __future__ import annotations

import socket

import aiohttp
import pytest

from autocity.broker.outbound import Outbound, origin
from autocity.errors import BadRequestData

PUBLIC = [
    "http://example.org/x",
    "https://example.org:8443",
    "http://93.184.216.34/",
    "http://[2606:2800::1]/",
]
PRIVATE = [
    "http://10.1.2.3/", "http://192.168.0.1", "http://172.16.5.5:80/x", "http://169.254.169.254/latest",
    "http://100.64.0.1/", "http://[fd00::1]/", "http://[fe80::1]/", "http://[::ffff:10.0.0.1]/",
]  # fmt: skip
LOOPBACK = [
    "http://127.0.0.1/", "http://localhost:1026/", "http://LOCALHOST/", "http://a.localhost/", "http://[::1]/",
    "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://[::ffff:127.0.0.1]/",
]  # fmt: skip
NEVER = [
    "http://0.0.0.0/", "http://224.0.0.1/", "http://[::]/", "file:///etc/passwd", "gopher://example.org/", "http://",
    "example.org", "http://[::1", "http://example.org:port/", "mqtt://example.org",
]  # fmt: skip


def allowed(policy: Outbound, url: str) -> bool:
    try:
        policy.check(url)
    except BadRequestData:
        return False
    return True


@pytest.mark.parametrize("url", PUBLIC)
def test_public_addresses_are_allowed(url: str) -> None:
    assert allowed(Outbound(), url)


@pytest.mark.parametrize("url", PRIVATE)
def test_private_addresses_need_the_setting(url: str) -> None:
    assert not allowed(Outbound(), url)
    assert not allowed(Outbound(allow_loopback=True), url)
    assert allowed(Outbound(allow_private=True), url)


@pytest.mark.parametrize("url", LOOPBACK)
def test_loopback_in_any_spelling_needs_a_setting(url: str) -> None:
    assert not allowed(Outbound(), url)
    assert allowed(Outbound(allow_loopback=True), url)
    assert allowed(Outbound(allow_private=True), url)


@pytest.mark.parametrize("url", NEVER)
def test_some_are_never_allowed(url: str) -> None:
    assert not allowed(Outbound(allow_private=True, allow_loopback=True), url)


async def test_a_name_that_resolves_to_a_private_address_is_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def resolve(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET,
                 "proto": 0, "flags": 0}]  # fmt: skip

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with Outbound().session(total=1) as session:
        with pytest.raises(aiohttp.ClientConnectorError, match="allow_private"):
            await session.get("http://rebound.example/")


def test_origin_shows_no_secret() -> None:
    assert origin("https://user:secret@example.org:8443/path?token=x") == "https://example.org:8443"
