"""Distance to a standard: thirty indicators in three tiers, against a table made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autocity.index import Element, Frame, Framework, IndexFault, Tier
from autocity.index.tiers import climb, comply, errands

TITLE = ("none", "basically meets", "meets", "held")


def standard() -> tuple[Framework, Frame]:
    """Indicator k of 28 asks for 10k, 20k, 30k; two are titles. The town has 25k for odd k, 19k for even."""
    layers = [Element(layer, layer, parent="all") for layer in ("a", "b", "c")]
    plain = [
        Element(f"i{k}", f"i{k}", parent="abc"[k % 3], tiers=(10.0 * k, 20.0 * k, 30.0 * k))
        for k in range(1, 28)
    ]
    less = Element("engel", "Engel coefficient", parent="a", direction=-1, tiers=(50.0, 40.0, 30.0))
    titles = [Element(c, c, parent="b", categories=TITLE, tiers=TITLE[1:]) for c in ("healthy", "liveable")]
    tiers = tuple(Tier(c, c) for c in ("primary", "intermediate", "advanced"))
    framework = Framework("s", "s", (Element("all", "all"), *layers, *plain, less, *titles), tiers=tiers)
    row = [25.0 * k if k % 2 else 19.0 * k for k in range(1, 28)]
    return framework, Frame(("town",), framework.indicators, np.array([[*row, 41.0, 3.0, np.nan]]))


def test_what_is_met_near_and_missing() -> None:
    framework, frame = standard()
    assert len(framework.indicators) == 30
    found = comply(framework, frame, "town", "intermediate")
    states = {rung.code: rung.state for rung in found.rungs}
    expected = {f"i{k}": "met" if k % 2 else "near" for k in range(1, 28)}
    assert states == expected | {"engel": "near", "healthy": "met", "liveable": "unknown"}
    assert found.share == pytest.approx(15 / 30)
    assert not found.holds
    assert found.of("near")[0].code == "engel"
    engel = next(r for r in found.rungs if r.code == "engel")
    assert (engel.gap, engel.reached) == (1.0, "primary")
    top = {rung.code: rung for rung in comply(framework, frame, "town").rungs}
    assert top["i1"].state == "missing"
    assert (top["i1"].gap, top["i1"].share) == (5.0, pytest.approx(1 / 6))
    assert (top["healthy"].state, top["healthy"].value, top["healthy"].threshold) == ("near", "meets", "held")


def test_the_ladder() -> None:
    framework, frame = standard()
    found = climb(framework, frame, "town")
    assert found.title is None
    assert found.shares["primary"] == {
        "a": 1.0,
        "b": pytest.approx(10 / 11),
        "c": 1.0,
        "all": pytest.approx(29 / 30),
    }
    known = frame.changed("town", {"liveable": 4.0})
    assert climb(framework, known, "town").title == "primary"


def test_places_without_a_published_threshold_are_open() -> None:
    framework, frame = standard()
    opened = framework.but({"i1": {"tiers": (None, None, None)}})
    found = comply(opened, frame, "town", "primary")
    assert [r.code for r in found.of("open")] == ["i1"]
    assert found.share == pytest.approx(28 / 29)


def test_the_cheapest_errands() -> None:
    framework, frame = standard()
    found = errands(framework, frame, "town", "intermediate", share=0.6)
    assert [e.code for e in found] == ["engel", "i2", "i4"]
    moved = frame.changed("town", {e.code: e.goal for e in found})
    assert comply(framework, moved, "town", "intermediate").share >= 0.6
    dear = errands(framework, frame, "town", "intermediate", share=0.6, prices={"engel": float("inf")})
    assert "engel" not in {e.code for e in dear}
    assert errands(framework, frame, "town", "primary", share=0.5) == []
    with pytest.raises(IndexFault, match="town cannot reach intermediate"):
        errands(framework, frame, "town", "intermediate")


def test_refusals() -> None:
    framework, frame = standard()
    with pytest.raises(IndexFault, match="golden is not a tier"):
        comply(framework, frame, "town", "golden")
    with pytest.raises(IndexFault, match="city is not a unit"):
        comply(framework, frame, "city")
    with pytest.raises(IndexFault, match="has no tiers"):
        comply(Framework("f", "f", (Element("a", "a"),)), frame, "town")
