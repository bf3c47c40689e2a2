"""Delivery of notifications from the durable outbox: in order, retried, one slow receiver never another's."""

from __future__ import annotations

from collections.abc import Sequence

from autocity.model import Delivery


class Notifier:
    """Sends what waits in the outbox."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def waiting(self, subscription: str, *, dead: bool = False) -> list[Delivery]:
        """Deliveries of a subscription that wait, or that were given up."""
        raise NotImplementedError

    async def resend(self, subscription: str, ids: Sequence[str] = ()) -> int:
        """Try dead deliveries again, all of them or those named; how many."""
        raise NotImplementedError
