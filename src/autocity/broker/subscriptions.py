"""Subscriptions (5.2.12): what they ask for, which changes they match, what their notifications say."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from autocity.ld.context import Context


class Subscription(Struct, frozen=True, kw_only=True):
    """One subscription as the platform keeps it."""

    id: str
    tenant: str = ""


class Subscriptions:
    """All subscriptions of all tenants, indexed by what they watch."""

    def render(
        self, subscription: Subscription, context: Context, *, sys_attrs: bool = False
    ) -> dict[str, Any]:
        """The subscription as an answer shows it (5.2.12, 5.2.14.2), names compacted, status included;
        without @context."""
        raise NotImplementedError
