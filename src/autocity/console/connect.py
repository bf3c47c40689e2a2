"""How programs connect: requests to copy, a subscription to try, and the contexts that are served."""

from __future__ import annotations

from datetime import timedelta

from autocity import models
from autocity.api.asgi import Answer, Call
from autocity.console import page
from autocity.console.client import City, link
from autocity.console.page import Reader
from autocity.models import CITY_CONTEXT

EXAMPLES = ("read", "write", "python", "geojson", "history", "events", "subscribe")


async def connect(city: City, who: Reader, call: Call) -> Answer:
    """Requests with this server's own address in them, ready to copy."""
    return page.render(
        who,
        "connect.html",
        root=root(call),
        examples={name: example(name, call, who) for name in EXAMPLES},
        contexts=sorted(models.contexts(), key=lambda url: (url != CITY_CONTEXT, url)),
    )


def root(call: Call) -> str:
    """The address under which the reader reached this server."""
    return f"{call.scope.get('scheme', 'http')}://{call.header('host') or '127.0.0.1:8026'}"


def example(name: str, call: Call, who: Reader, *, context: str = CITY_CONTEXT, **values: str) -> str:
    """A request to copy, made from `templates/examples`; it works on the demo city as it stands."""
    template = page.environment(who.language).get_template(f"examples/{name}.txt")
    return template.render(
        root=root(call),
        context=context,
        link=f"Link: {link(context)}",
        yesterday=f"{who.now - timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        **values,
    )
