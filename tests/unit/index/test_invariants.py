"""What must not change an index does not, and what must move it one way does, whatever the data.

Set `AUTOCITY_CASES` for more cases than a quick run takes; 10,000 is the bar.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocity.index import Element, Frame, Framework, Index, Limits, Recipe, build

CASES = int(os.environ.get("AUTOCITY_CASES", "60"))
quick = settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
numbers = st.integers(-1000, 1000).map(lambda n: n / 8)
weights = st.integers(1, 40).map(float)


@st.composite
def cases(
    draw: Any, methods: tuple[str, ...] = ("minmax", "zscore"), gaps: bool = True
) -> tuple[Framework, Frame]:
    """A framework of two groups with any directions and weights, and data with some gaps."""
    units, indicators = draw(st.integers(3, 8)), draw(st.integers(2, 5))
    cell = st.one_of(numbers, numbers, numbers, st.just(np.nan)) if gaps else numbers
    values = draw(
        st.lists(st.lists(cell, min_size=indicators, max_size=indicators), min_size=units, max_size=units)
    )
    split = draw(st.integers(1, indicators))
    leaves = [
        Element(
            f"x{i}",
            f"x{i}",
            parent="one" if i < split else "two",
            direction=draw(st.sampled_from([1, -1])),
            weight=draw(weights),
            limits=Limits(-130.0, 130.0),
        )
        for i in range(indicators)
    ]
    groups = [
        Element(g, g, parent="all", weight=draw(weights))
        for g in ("one", "two")
        if g == "one" or split < indicators
    ]
    framework = Framework("f", "f", (Element("all", "all"), *groups, *leaves))
    return framework, Frame(tuple(f"u{i}" for i in range(units)), framework.indicators, np.array(values))


recipes = st.builds(
    lambda normalise, mean: Recipe.of(normalise=normalise, aggregate=mean),
    st.sampled_from([{"low": 1.0, "high": 100.0}, {"method": "minmax", "low": 10.0, "high": 20.0}]),
    st.sampled_from(["arithmetic", "geometric", "harmonic", ["geometric", "arithmetic"]]),
) | st.just(Recipe.of(normalise="zscore"))


def same(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@quick
@given(cases(), recipes, st.randoms())
def test_order_of_units_and_indicators(case: tuple[Framework, Frame], recipe: Recipe, random: Any) -> None:
    framework, frame = case
    index = build(framework, frame, recipe)
    units, elements, columns = list(frame.units), list(framework.elements), list(frame.columns)
    for order in (units, elements, columns):
        random.shuffle(order)
    shuffled = Frame(tuple(units), tuple(columns), frame.keep(units).select(columns))
    other = build(Framework("f", "f", tuple(elements)), shuffled, recipe)
    for code in framework.aggregates:
        same(other[code][0][[units.index(u) for u in frame.units]], index[code][0])


@quick
@given(cases(), recipes, st.integers(1, 64), numbers)
def test_the_unit_of_an_indicator(
    case: tuple[Framework, Frame], recipe: Recipe, factor: int, shift: float
) -> None:
    framework, frame = case
    values = frame.values.copy()
    values[..., 0] = values[..., 0] * factor / 8 + shift
    same(
        build(framework, Frame(frame.units, frame.columns, values), recipe)["all"],
        build(framework, frame, recipe)["all"],
    )


@quick
@given(cases(), recipes, st.integers(1, 640))
def test_the_scale_of_weights(case: tuple[Framework, Frame], recipe: Recipe, factor: int) -> None:
    framework, frame = case
    scaled = framework.but(
        {c: {"weight": framework[c].weight * factor / 64} for c in framework.children["one"]}
    )
    same(build(scaled, frame, recipe)["all"], build(framework, frame, recipe)["all"])


@quick
@given(
    cases(gaps=False),
    st.sampled_from(["arithmetic", "geometric", "harmonic", "minimum"]),
    st.integers(0, 400),
)
def test_more_of_what_is_good_never_harms(case: tuple[Framework, Frame], mean: str, step: int) -> None:
    framework, frame = case
    limits = {"method": "scaled", "low": "@limits.low", "high": "@limits.high"}
    recipe = Recipe.of(normalise=limits, aggregate=mean)
    values = frame.values.copy()
    values[0, 0, 0] = np.clip(values[0, 0, 0] + framework["x0"].direction * step / 64, -129.0, 129.0)
    better = build(framework, Frame(frame.units, frame.columns, values), recipe)
    before = build(framework, frame, recipe)
    assert better["all"][0, 0] >= before["all"][0, 0] - 1e-9
    same(better["all"][0, 1:], before["all"][0, 1:])
    assert better.rank()[0, 0] <= before.rank()[0, 0]


@quick
@given(cases(), recipes)
def test_a_group_of_one_is_its_only_child(case: tuple[Framework, Frame], recipe: Recipe) -> None:
    framework, frame = case
    index: Index = build(framework, frame, recipe)
    for parent, children in framework.children.items():
        if len(children) == 1:
            same(index[parent], index[children[0]])


@quick
@given(cases(), recipes)
def test_scores_lie_between_the_children(case: tuple[Framework, Frame], recipe: Recipe) -> None:
    framework, frame = case
    index = build(framework, frame, recipe)
    for parent, children in framework.children.items():
        parts = np.stack([index[child][0] for child in children], -1)
        known = ~np.isnan(parts).all(-1)
        assert (np.isnan(index[parent][0]) == ~known).all()
        parts, score = parts[known], index[parent][0][known]
        assert (score >= np.nanmin(parts, -1) - 1e-9).all()
        assert (score <= np.nanmax(parts, -1) + 1e-9).all()
