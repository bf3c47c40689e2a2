"""From names to addresses that the outbound policy permits, at the moment of connecting."""

from __future__ import annotations

import socket
from errno import EACCES
from typing import TYPE_CHECKING

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from autocity.broker.outbound import Outbound


class Resolver(AbstractResolver):
    """Names to addresses that the policy permits."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Addresses of a name. Raises OSError when none of them may be called."""
        found = await self._resolver.resolve(host, port, family)
        permitted = [each for each in found if self._outbound.permits(each["host"])]
        if not permitted:
            raise PermissionError(EACCES, f"{host} is a private address, which network.allow_private allows")
        return permitted

    async def close(self) -> None:
        """Let go of the resolver beneath."""
        await self._resolver.close()
