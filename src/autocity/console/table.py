"""The pages of the console, their addresses and who may see them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo

from autocity.api.asgi import Route
from autocity.console.client import Api
from autocity.console.show import CITY_CLOCK


def routes(api: Callable[[], Api], *, clock: tzinfo = CITY_CLOCK, secure: bool = False) -> list[Route]:
    """Every route of the console. `api` gives the application that also serves the NGSI-LD API; it is
    called with the first request, when that application (made from these very routes) exists.

    `clock` is the time zone in which people read times; `secure` sends preference cookies over TLS only.
    """
