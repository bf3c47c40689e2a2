"""The pages of the console: their addresses, who may see them, and its static files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import tzinfo

from autocity.api.asgi import Answer, Call, Route, Scope
from autocity.console import account, assets, connect, entities, industry, overview, page, system
from autocity.console.client import Api, City
from autocity.console.page import Reader
from autocity.console.show import CITY_CLOCK

Page = Callable[[City, Reader, Call], Awaitable[Answer]]

PAGES: tuple[tuple[str, Page, Scope], ...] = (
    ("/", overview.overview, "read"),
    ("/figures", overview.figures_part, "read"),
    ("/entities", entities.explorer, "read"),
    ("/entities/{id}", entities.entity, "read"),
    ("/entities/{id}/values", entities.values_part, "read"),
    ("/entities/{id}/history", entities.history_part, "read"),
    ("/industry", industry.industry, "read"),
    ("/connect", connect.connect, "read"),
    ("/system", system.system, "read"),
    ("/account", account.account, "read"),
    ("/signin", account.sign_in, "public"),
    ("/setup", account.set_up, "public"),
)


def routes(api: Callable[[], Api], *, clock: tzinfo = CITY_CLOCK, secure: bool = False) -> list[Route]:
    """Every route of the console. `api` gives the application that also serves the NGSI-LD API; it is
    called with each request, when that application (made from these very routes) exists.

    `clock` is the time zone in which people read times; `secure` sends preference cookies over TLS only.
    """

    def route(path: str, make: Page, scope: Scope) -> Route:
        async def answer(call: Call) -> Answer:
            return await make(City(api(), call), page.reader(call, clock), call)

        return Route(method="GET", path=path, handle=answer, scope=scope)

    async def keep(call: Call) -> Answer:
        return await account.preferences(call, secure=secure)

    return [
        *(route(*entry) for entry in PAGES),
        Route(method="GET", path="/preferences", handle=keep),
        *(_file(name) for name in assets.assets()),
    ]


def _file(name: str) -> Route:
    asset = assets.assets()[name]

    async def answer(call: Call) -> Answer:
        return Answer(
            body=assets.content(name),
            media=asset.media,
            headers=[("Cache-Control", "public, max-age=31536000, immutable")],
        )

    return Route(method="GET", path=assets.address(name), handle=answer)
