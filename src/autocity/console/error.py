"""Refusals as pages."""

from __future__ import annotations

from urllib.parse import quote

from autocity.api.asgi import Answer, Call, refusal
from autocity.api.errors import status
from autocity.console import page
from autocity.errors import CityError, Unauthorized

PROGRAMS = ("/ngsi-ld/", "/auth/", "/static/", "/events", "/metrics", "/healthz", "/readyz", "/openapi.json")
"""Addresses whose callers are programs, whatever they say they accept."""


def refuse(call: Call, error: CityError) -> Answer:
    """What answers a refusal: a page that says what went wrong and what to do for a reader with a browser,
    ProblemDetails for a program. A visitor whom a page does not know is sent to sign in."""
    if not _is_reader(call):
        return refusal(call, error)
    who = page.reader(call)
    code = status(error)
    if isinstance(error, Unauthorized) and call.method == "GET" and not call.path.startswith("/signin"):
        return Answer(status=303, headers=[("Location", f"/signin?next={quote(who.path, safe='')}")])
    return page.render(
        who, "error.html", status=code, code=code, detail=error.detail, request=call.request_id
    )


def _is_reader(call: Call) -> bool:
    accept = call.header("accept") or ""
    return "text/html" in accept and not call.path.startswith(PROGRAMS)
