"""Refusals as pages."""

from __future__ import annotations

from autocity.api.asgi import Answer, Call
from autocity.errors import CityError


def refuse(call: Call, refusal: CityError) -> Answer | None:
    """A page that says what went wrong and what to do, for a reader with a browser on a console address.

    None when the caller is a program or the address belongs to the API: then ProblemDetails are right.
    A visitor whom the page does not know is sent to sign in.
    """
