"""What it would take: every proposal keeps its promise, and costs what brute force finds."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from autocity.index import Element, Frame, Framework, Index, IndexFault, Limits, Recipe, build, engine
from autocity.index.composite import rebuild
from autocity.index.reach import Proposal, reach

FIXED = {"method": "goalposts", "low": "@limits.low", "high": "@limits.high", "scale": 100.0}
RECIPES = {
    "fixed arithmetic": Recipe.of(normalise=FIXED),
    "fixed geometric": Recipe.of(normalise=FIXED, aggregate="geometric"),
    "minmax arithmetic": Recipe.of(),
    "minmax geometric": Recipe.of(normalise={"low": 1.0}, aggregate="geometric"),
    "zscore": Recipe.of(normalise="zscore"),
}


def towns(seed: int, recipe: Recipe) -> tuple[Index, str, dict[str, float]]:
    """Eight towns with three indicators, the last of them, and prices."""
    random = np.random.default_rng(seed)
    leaves = [
        Element(
            f"x{i}", f"x{i}", parent="all", weight=float(random.uniform(0.5, 2)), limits=Limits(0.0, 85.0)
        )
        for i in range(3)
    ]
    framework = Framework("f", "f", (Element("all", "all"), *leaves))
    frame = Frame(tuple("abcdefgh"), framework.indicators, random.uniform(5, 80, (8, 3)))
    index = build(framework, frame, recipe)
    last = index.units[int(index.rank()[0].argmax())]
    return index, last, {f"x{i}": float(random.uniform(0.5, 2)) for i in range(3)}


def brute_force(index: Index, unit: str, rank: int, prices: dict[str, float]) -> float:
    """The cheapest point of a grid over all three indicators."""
    row, raw = index.units.index(unit), index.frame.values[0]
    span = raw.max(0) - raw.min(0)
    grid = np.array(list(itertools.product(*(np.linspace(0, r, 31) for r in (85.0 - raw[row]) / span))))
    scores = engine.rescore(index.plan, index.recipe, row, raw[row] + grid * span, "all")[:, 0]
    others = -np.sort(-np.delete(scores, row, 1), 1)[:, rank - 1]
    efforts = grid @ np.array(list(prices.values()))
    return float(efforts[scores[:, row] >= others].min())


def keeps_promise(index: Index, found: Proposal) -> bool:
    frame = index.frame.changed(found.unit, {move.code: move.goal for move in found.moves})
    again = rebuild(index, frame)
    return int(again.rank()[-1, index.units.index(found.unit)]) == found.rank


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_least_effort(name: str, seed: int) -> None:
    index, unit, prices = towns(seed, RECIPES[name])
    found = reach(index, unit, rank=4, prices=prices)
    assert found.reached
    assert found.rank <= 4
    assert keeps_promise(index, found)
    assert found.effort <= brute_force(index, unit, 4, prices) * 1.01
    if "fixed" in name:
        assert found.gap is not None
        assert found.gap < 0.01
    else:
        assert found.bound is None


def test_a_score_can_be_asked_for() -> None:
    index, unit, _ = towns(2, RECIPES["fixed arithmetic"])
    found = reach(index, unit, score=60.0)
    assert found.reached
    assert found.score == pytest.approx(60.0, abs=1e-5)


def test_nothing_to_do() -> None:
    index, _, _ = towns(2, RECIPES["zscore"])
    first = index.units[int(index.rank()[0].argmin())]
    found = reach(index, first, rank=1)
    assert (found.moves, found.effort, found.reached) == ((), 0.0, True)


def test_bounds_and_prices() -> None:
    index, unit, _ = towns(3, RECIPES["fixed arithmetic"])
    found = reach(index, unit, rank=4, fixed=("x0",), bounds={"x1": (0.0, 80.0)}, prices={"x2": 1.5})
    assert "x0" not in {move.code for move in found.moves}
    assert all(move.goal <= 80.0 + 1e-9 for move in found.moves if move.code == "x1")
    closed = reach(index, unit, rank=1, fixed=("x0", "x1"), bounds={"x2": (0.0, 1.0)})
    assert not closed.reached


def test_the_worked_example(asem: Index) -> None:
    found = reach(asem.but(treat=None), "CHN", rank=40)
    assert found.reached
    assert found.rank <= 40
    assert found.rank_before > 40


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "ask for a rank or for a score"),
        ({"rank": 0}, "rank is 1 to 8"),
        ({"rank": 1, "fixed": ("y",)}, "y is not an indicator"),
        ({"rank": 1, "prices": {"x0": 0.0}}, "the price of x0 is not above zero"),
    ],
)
def test_refusals(asked: dict[str, Any], told: str) -> None:
    index, unit, _ = towns(0, RECIPES["zscore"])
    with pytest.raises(IndexFault, match=told):
        reach(index, unit, **asked)
