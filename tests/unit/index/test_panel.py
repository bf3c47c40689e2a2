"""Change over time, and whose it was."""

from __future__ import annotations

import numpy as np
import pytest

from autocity.index import Element, Frame, Framework, IndexFault, Limits, Recipe, build
from autocity.index.panel import growth, percent_change, rank_change, trends

FRAMEWORK = Framework(
    "f", "f", (Element("all", "all"), Element("x", "x", parent="all", limits=Limits(0.0, 100.0)))
)
RECIPE = Recipe.of(normalise={"method": "scaled", "low": "@limits.low", "high": "@limits.high"})


def frame(*rows: list[float]) -> Frame:
    values = np.array(rows)[:, :, None]
    periods = tuple(str(2020 + i) for i in range(len(rows)))
    return Frame(tuple("abcd"[: values.shape[1]]), ("x",), values, periods)


def test_own_effort_and_the_others() -> None:
    index = build(FRAMEWORK, frame([10, 20, 30, 40], [35, 20, 30, 40]), RECIPE)
    found = {change.unit: change for change in rank_change(index, "2020", "2021")}
    assert (found["a"].before, found["a"].after, found["a"].own, found["a"].others) == (4, 2, -2, 0)
    assert (found["b"].own, found["b"].others) == (0, 1)
    assert (found["d"].own, found["d"].others) == (0, 0)


def test_parts_add_up() -> None:
    random = np.random.default_rng(2)
    index = build(FRAMEWORK, frame(*random.uniform(0, 100, (2, 4)).tolist()), RECIPE.but(normalise="minmax"))
    for change in rank_change(index, "2020", "2021"):
        assert change.own + change.others == pytest.approx(change.after - change.before)


def test_growth_and_change() -> None:
    times = np.array([2000.0, 2001.0, 2003.0])
    y = np.array([[100.0, np.nan, 5.0], [110.0, 3.0, 5.0], [800.0, np.nan, 5.0]])
    np.testing.assert_allclose(growth(y, times), [1.0, np.nan, 0.0])
    assert percent_change(y, times)[2] == 0.0
    assert np.isnan(percent_change(y, times)[1])


def test_trends_need_years() -> None:
    values = np.ones((2, 1, 1))
    with pytest.raises(IndexFault, match="periods that are numbers"):
        trends(Frame(("a",), ("x",), values, ("spring", "summer")))


def test_global_and_local_limits_differ() -> None:
    data = frame([10, 20, 30, 40], [50, 60, 70, 80])
    across = build(FRAMEWORK, data, Recipe.of())
    within = across.but(normalise={"across": "period"})
    assert across["all"][1].min() > across["all"][0].max()
    np.testing.assert_allclose(within["all"][0], within["all"][1])
    with pytest.raises(IndexFault, match="across is panel or period"):
        across.but(normalise={"across": "galaxy"})
