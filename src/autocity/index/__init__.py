"""Composite indices: frameworks, recipes, scores and what they rest on; a library of its own.

An index is data: a `Framework` says what is measured, a `Recipe` how, a `Frame` holds the numbers; `build`
makes an `Index` that keeps every stage. Nothing here knows a server, a clock or the rest of the platform.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocity.index.composite import Index, Stage, Trace, build
    from autocity.index.faults import IndexFault
    from autocity.index.frame import Frame
    from autocity.index.framework import Element, Framework, Limits, Source, Tier
    from autocity.index.recipe import Recipe, Step, step

_HOMES = {
    "composite": ("Index", "Stage", "Trace", "build"),
    "faults": ("IndexFault",),
    "frame": ("Frame",),
    "framework": ("Element", "Framework", "Limits", "Source", "Tier"),
    "recipe": ("Recipe", "Step", "step"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Element",
    "Frame",
    "Framework",
    "Index",
    "IndexFault",
    "Limits",
    "Recipe",
    "Source",
    "Stage",
    "Step",
    "Tier",
    "Trace",
    "build",
    "step",
]


def __getattr__(name: str) -> Any:
    # numpy alone takes longer to import than this package may: nothing is loaded before it is asked for.
    if name in _HOME:
        return getattr(importlib.import_module(f"autocity.index.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
