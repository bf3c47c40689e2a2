"""Which addresses the platform may call on a client's word (remote @contexts, notification endpoints)."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from autocity.errors import BadRequestData

if TYPE_CHECKING:
    import aiohttp

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Outbound(Struct, frozen=True):
    """The policy against server-side request forgery. Public addresses may always be called.

    A URL is checked twice: its literal host when a client names it, and every address that its name
    resolves to when the connection is made, so that a name cannot change its meaning in between.
    """

    allow_private: bool = False
    allow_loopback: bool = False

    def check(self, url: str, *, schemes: tuple[str, ...] = ("http", "https")) -> None:
        """Refuse a URL that may not be called. Raises BadRequestData naming the setting that allows it."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as fault:
            raise BadRequestData(f"{url!r} is not a URL: {fault}") from None
        if parts.scheme.lower() not in schemes or not host:
            raise BadRequestData(f"{url!r} must be a URL with a host and one of {', '.join(schemes)}")
        if not self.permits(host):
            raise BadRequestData(
                f"{url!r} is a private address; a public one is needed, or network.allow_private = true"
            )

    def permits(self, host: str) -> bool:
        """Whether a literal host may be called; other names are judged when they are resolved."""
        if host == "localhost" or host.endswith(".localhost"):
            return self.allow_loopback or self.allow_private
        address = literal(host)
        return address is None or self._permits(address)

    def _permits(self, address: Address) -> bool:
        mapped = getattr(address, "ipv4_mapped", None)
        if mapped is not None:
            address = mapped
        if address.is_unspecified or address.is_multicast:
            return False
        if address.is_loopback:
            return self.allow_loopback or self.allow_private
        return address.is_global or self.allow_private

    def session(self, *, total: float | None = None, connect: float | None = None) -> aiohttp.ClientSession:
        """An HTTP client that connects nowhere else. Times in seconds; it follows no redirect unasked,
        reads no proxy setting, keeps no cookie, and limits neither hosts nor connections."""
        # The client is a third of the program's weight, and many a city never calls anyone.
        import aiohttp

        from autocity.broker.resolver import Resolver

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=Resolver(self), limit=0, ttl_dns_cache=30),
            timeout=aiohttp.ClientTimeout(total=total, sock_connect=connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )


def literal(host: str) -> Address | None:
    """The address that a host spells out, also in the odd forms that a C library accepts (`0x7f.1`)."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        pass
    if not host or not host.replace(".", "").replace("x", "").isalnum() or not host[-1:].isalnum():
        return None
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def origin(url: str) -> str:
    """Scheme, host and port of a URL, for messages and metrics that must not show secrets."""
    parts: Any = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
