"""The simulated living layer of the demo city: a pure function of seed and instant, marked synthetic throughout."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

Entity = dict[str, Any]
"""Normalized NGSI-LD JSON with the `@context` of its subject."""


class Simulation:
    """One synthetic city. Two simulations with one seed say the same about every instant."""

    def __init__(self, seed: int = 471) -> None:
        self.seed = seed

    def entities(self, at: datetime) -> list[Entity]:
        """Every simulated entity as it is at an instant."""
        raise LookupError(at)

    def updates(self, previous_at: datetime, at: datetime) -> list[tuple[str, Entity]]:
        """What changed after `previous_at` up to `at`: entity id and fragment (changed attributes, `@context`)."""
        raise LookupError(at)

    def history(self, start: datetime, end: datetime, step: timedelta) -> Iterator[Entity]:
        """One EntityTemporal (5.6.11) per moving entity: instances from `start` to before `end`, every `step`."""
        raise LookupError(start)
