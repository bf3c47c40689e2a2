"""The temporal representations of an entity (4.5.6 to 4.5.9, 4.5.19): recorded instances as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from autocity.ld.entity import View
from autocity.ld.temporal import Duration, Method, Window
from autocity.model import Attributes, Instant

Form = Literal["normalized", "concise", "temporalValues", "aggregatedValues"]


class Evolution(Protocol):
    """What was recorded of one entity: `store.port.History` and whatever looks like it."""

    @property
    def id(self) -> str: ...
    @property
    def types(self) -> tuple[str, ...]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def attributes(self) -> Attributes: ...
    @property
    def created_at(self) -> Instant: ...
    @property
    def modified_at(self) -> Instant: ...
    @property
    def deleted_at(self) -> Instant: ...


def render_history(
    history: Evolution,
    view: View,
    *,
    form: Form = "normalized",
    window: Window | None = None,
    methods: Sequence[Method] = (),
    period: Duration | None = None,
) -> dict[str, Any]:
    """The temporal representation of an entity: arrays of instances (4.5.6), pairs of value and time
    (`temporalValues`, 4.5.9) or aggregates (`aggregatedValues`, 4.5.19). `window.property` is the time
    in the pairs; `methods` and `period` belong to the aggregates."""
    raise NotImplementedError
