"""What a change leaves in history: recorded instances and their names, the same for every store."""

from __future__ import annotations

from autocity.model import Attribute, Change

SCOPE = "https://uri.etsi.org/ngsi-ld/scope"
"""The IRI under which changes of scope are recorded (4.5.6)."""


def points(change: Change) -> list[tuple[str, Attribute]]:
    """The instances that a change records, by attribute IRI: those not the same as before, a deletion
    marker for those that are gone (4.5.7), and the scope when it changed (4.5.6)."""
    raise NotImplementedError
