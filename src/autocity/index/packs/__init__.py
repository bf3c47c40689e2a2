"""Framework files that ship: what each owner has published, with source and confidence."""

from __future__ import annotations

from importlib import resources

from autocity.index.faults import IndexFault, choices
from autocity.index.framework import Framework


def names() -> tuple[str, ...]:
    """Codes of the frameworks that ship."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


def load(name: str) -> Framework:
    """A framework that ships. Raises `IndexFault` with the names there are."""
    if name not in names():
        raise IndexFault(f"{name} does not ship with this engine; there are {choices(names())}")
    return Framework.loads(resources.files(__name__).joinpath(f"{name}.json").read_text("utf-8"))
