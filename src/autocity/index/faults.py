"""The one refusal of the index engine: every fault found in data, framework or recipe, told at once."""

from __future__ import annotations

from collections.abc import Sequence


class IndexFault(ValueError):
    """The data, the framework or the recipe cannot give an index."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def refuse(faults: Sequence[str]) -> None:
    """Raise one `IndexFault` that names every fault, if there is any."""
    if faults:
        raise IndexFault(*faults)


def choices(names: Sequence[str]) -> str:
    """A readable list of what is allowed."""
    return ", ".join(sorted(names))
