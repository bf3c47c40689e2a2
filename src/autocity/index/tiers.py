"""Distance to a standard with tiers: what a unit meets, nearly meets, misses, and what closes the gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autocity.index.engine import tier_values
from autocity.index.faults import IndexFault, choices
from autocity.index.frame import Frame
from autocity.index.framework import Element, Framework

State = Literal["met", "near", "missing", "unknown", "open"]
"""met: reached; near: short by little; missing: short by more; unknown: no data; open: no threshold is
published."""


@dataclass(frozen=True)
class Rung:
    """An indicator of a unit against the thresholds of a standard.

    `reached` is the highest tier it meets (None for none). `gap` is what is lacking to the asked tier, in the
    unit of the indicator (steps, for categories), 0 when met; `share` the same as part of the threshold.
    """

    code: str
    name: str
    value: float | str | None
    unit: str | None
    threshold: float | str | None
    reached: str | None
    state: State
    gap: float
    share: float


@dataclass(frozen=True)
class Compliance:
    """A unit against one tier of a standard, indicator by indicator."""

    unit: str
    period: str
    tier: str
    rungs: tuple[Rung, ...]

    def of(self, state: State) -> tuple[Rung, ...]:
        """The indicators in one state, nearest first."""
        return tuple(sorted((r for r in self.rungs if r.state == state), key=lambda r: r.share))

    @property
    def share(self) -> float:
        """Share of the indicators with a published threshold that are met; unknown ones are not met."""
        counted = [rung for rung in self.rungs if rung.state != "open"]
        return sum(rung.state == "met" for rung in counted) / len(counted) if counted else float("nan")

    @property
    def holds(self) -> bool:
        """Whether every indicator with a published threshold is met (and there is one)."""
        counted = [rung for rung in self.rungs if rung.state != "open"]
        return bool(counted) and all(rung.state == "met" for rung in counted)


@dataclass(frozen=True)
class Ladder:
    """A unit against every tier of a standard; `title` is the highest tier that holds with all below it."""

    unit: str
    tiers: Mapping[str, Compliance]
    title: str | None
    shares: Mapping[str, Mapping[str, float]]
    """Share met per tier and aggregate."""


def comply(
    framework: Framework,
    frame: Frame,
    unit: str,
    tier: str | None = None,
    *,
    period: str | None = None,
    near: float = 0.1,
) -> Compliance:
    """A unit against one tier (the highest unless told), in a period (the latest unless told).

    `near` is the largest gap, as a share of the threshold, that counts as nearly met; for categories, one
    step.
    """
    position = _tier(framework, tier)
    period = period or frame.periods[-1]
    here = frame.at(period)
    if unit not in here.units:
        raise IndexFault(f"{unit} is not a unit of the data")
    row = here.units.index(unit)
    values = {c: float(here.values[0, row, i]) for i, c in enumerate(here.columns)}
    rungs = tuple(_rung(framework, c, values.get(c, np.nan), position, near) for c in framework.indicators)
    return Compliance(unit, period, framework.tiers[position].code, rungs)


def climb(
    framework: Framework, frame: Frame, unit: str, *, period: str | None = None, near: float = 0.1
) -> Ladder:
    """A unit against all tiers of a standard."""
    tiers = {
        tier.code: comply(framework, frame, unit, tier.code, period=period, near=near)
        for tier in framework.tiers
    }
    title = None
    for code, compliance in tiers.items():
        if not compliance.holds:
            break
        title = code
    shares = {code: _shares(framework, compliance) for code, compliance in tiers.items()}
    return Ladder(unit, tiers, title, shares)


@dataclass(frozen=True)
class Errand:
    """One indicator to bring from its value to a threshold, and its price."""

    code: str
    start: float
    goal: float
    effort: float


def errands(
    framework: Framework,
    frame: Frame,
    unit: str,
    tier: str,
    *,
    share: float = 1.0,
    prices: Mapping[str, float] | None = None,
    period: str | None = None,
) -> list[Errand]:
    """The cheapest indicators to improve until a share of them meets a tier; empty if it does already.

    Effort is the gap as a share of the threshold (steps, for categories) times the price of the indicator (1
    unless told; infinite for one that cannot be moved). Indicators are independent, so the cheapest first is
    the least. Raises `IndexFault` if too few can be moved or are known.
    """
    compliance = comply(framework, frame, unit, tier, period=period)
    counted = [rung for rung in compliance.rungs if rung.state != "open"]
    needed = int(np.ceil(share * len(counted) - 1e-9)) - sum(rung.state == "met" for rung in counted)
    position = _tier(framework, tier)
    possible = sorted(
        (
            _errand(framework, frame, unit, compliance.period, rung, position, prices or {})
            for rung in counted
            if _short(rung)
        ),
        key=lambda errand: errand.effort,
    )
    possible = [errand for errand in possible if np.isfinite(errand.effort)]
    if needed > len(possible):
        raise IndexFault(
            f"{unit} cannot reach {tier}: {needed} indicators are lacking, {len(possible)} can be moved"
        )
    return possible[: max(needed, 0)]


def _tier(framework: Framework, tier: str | None) -> int:
    codes = [t.code for t in framework.tiers]
    if not codes:
        raise IndexFault(f"{framework.code} has no tiers")
    if tier is not None and tier not in codes:
        raise IndexFault(f"{tier} is not a tier of {framework.code}; it has {choices(codes)}")
    return len(codes) - 1 if tier is None else codes.index(tier)


def _short(rung: Rung) -> bool:
    return rung.state in ("near", "missing")


def _rung(framework: Framework, code: str, value: float, position: int, near: float) -> Rung:
    element, rungs = framework[code], tier_values(framework, code)
    threshold = rungs[position]
    met = [bool(element.direction * value >= element.direction * r) for r in rungs]
    reached = [tier.code for tier, fine in zip(framework.tiers, met, strict=True) if fine]
    gap = max(0.0, element.direction * (threshold - value)) if not np.isnan(value + threshold) else np.nan
    share = _share(element, gap, threshold)
    limit = 1.0 if element.categories else near
    return Rung(
        code,
        element.label(),
        _shown(element, value),
        element.unit,
        _shown(element, threshold),
        reached[-1] if reached else None,
        _state(value, threshold, gap, share, limit),
        gap,
        share,
    )


def _state(value: float, threshold: float, gap: float, share: float, limit: float) -> State:
    if np.isnan(threshold):
        return "open"
    if np.isnan(value):
        return "unknown"
    if gap == 0:
        return "met"
    return "near" if share <= limit + 1e-12 else "missing"


def _share(element: Element, gap: float, threshold: float) -> float:
    if element.categories or gap == 0:
        return gap
    return gap / abs(threshold) if threshold else np.inf


def _shown(element: Element, value: float) -> float | str | None:
    if np.isnan(value):
        return None
    return element.categories[int(value) - 1] if element.categories else value


def _errand(
    framework: Framework,
    frame: Frame,
    unit: str,
    period: str,
    rung: Rung,
    position: int,
    prices: Mapping[str, float],
) -> Errand:
    start = float(frame.at(period).column(rung.code)[0, frame.units.index(unit)])
    goal = tier_values(framework, rung.code)[position]
    return Errand(rung.code, start, goal, rung.share * prices.get(rung.code, 1.0))


def _shares(framework: Framework, compliance: Compliance) -> dict[str, float]:
    states = {rung.code: rung.state for rung in compliance.rungs}
    shares = {}
    for aggregate in framework.aggregates:
        counted = [states[c] for c in framework.indicators_of(aggregate) if states[c] != "open"]
        shares[aggregate] = sum(s == "met" for s in counted) / len(counted) if counted else float("nan")
    return shares
