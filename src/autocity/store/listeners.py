"""Who wants to hear of committed changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from autocity.model import Logged

Hear = Callable[[Sequence[Logged]], None]


class Listeners:
    """The watchers of a store. One that fails does not keep the others from hearing."""

    def __init__(self) -> None:
        self._all: dict[object, Hear] = {}

    def add(self, hear: Hear) -> Callable[[], None]:
        """Begin to tell `hear`; returns the function that ends it."""
        token = object()
        self._all[token] = hear
        return lambda: self._all.pop(token, None) and None

    def tell(self, logged: Sequence[Logged]) -> None:
        """Tell everyone, in the order in which they began to listen."""
        if not logged:
            return
        for hear in tuple(self._all.values()):
            try:
                hear(logged)
            except Exception as fault:  # noqa: BLE001 - the change is committed, whoever cannot bear it
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a listener to committed changes failed", "exception": fault}
                )
