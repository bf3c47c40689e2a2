"""Which addresses the platform may call on a client's word (remote @contexts, notification endpoints)."""

from __future__ import annotations

from msgspec import Struct


class Outbound(Struct, frozen=True):
    """The policy against server-side request forgery. Public addresses are always allowed."""

    allow_private: bool = False
    allow_loopback: bool = False

    def check(self, url: str, *, schemes: tuple[str, ...] = ("http", "https")) -> None:
        """Refuse a URL that may not be called. Raises BadRequestData naming the setting that allows it."""
