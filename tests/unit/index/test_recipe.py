"""A recipe is data: one word changes one choice, and what cannot be done is refused with what can."""

from __future__ import annotations

import pytest

from autocity.index import IndexFault, Recipe, step


def test_one_word_changes_one_choice() -> None:
    recipe = Recipe.of(treat={"winmax": 3})
    assert recipe.but(aggregate="geometric")["aggregate"].method == "geometric"
    assert recipe.but(**{"treat.winmax": 1})["treat"].params == {"winmax": 1}
    assert recipe.but(normalise={"method": "zscore", "mean": 10})["normalise"].method == "zscore"
    assert [s.kind for s in recipe.but(treat=None)] == ["normalise", "weight", "aggregate"]
    assert [s.kind for s in recipe.but(impute="mean")] == [
        "impute",
        "treat",
        "normalise",
        "weight",
        "aggregate",
    ]


def test_another_method_starts_from_its_defaults() -> None:
    recipe = Recipe.of(normalise={"low": 1, "high": 100})
    assert recipe.but(normalise="zscore")["normalise"].params == {}
    assert recipe.but(normalise={"high": 10})["normalise"].params == {"low": 1, "high": 10}


def test_steps_are_values() -> None:
    assert step("normalise", "minmax", low=0, high=1) == step("normalise", "minmax", high=1, low=0)
    assert len({step("screen", "missing", share=0.5), step("screen", "missing", share=0.5)}) == 1
    assert step("normalise", "minmax") != "minmax"


def test_written_and_read() -> None:
    recipe = Recipe.of(treat={"each": {"a": "none"}}, aggregate=["arithmetic", "geometric"])
    assert Recipe.from_plain(recipe.plain()) == recipe


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"aggregate": "geometrical"},
            "geometrical is not a method; allowed are arithmetic, benefit_of_doubt",
        ),
        ({"treat": {"winmx": 3}}, "winmx is not a parameter; allowed are across, combine"),
        ({"mix": "mean"}, "mix is not a kind of step; allowed are aggregate"),
        ({"impute": ["mean", "median"]}, "only aggregation takes a list"),
        ({"impute": {"each": {"a": "mean"}}}, "exceptions by element"),
        ({"treat": {"each": {"a": "gone"}}}, "each a: treat: gone is not a method"),
        ({"treat": {"each": {"a": {"winmx": 1}}}}, "each a: .*winmx is not a parameter"),
        ({"treat": {"each": {"a": 3}}}, "an exception is a method, or a mapping"),
        ({"normalise": 3}, "a change is a method, a mapping"),
    ],
)
def test_refusals(changes: dict[str, object], told: str) -> None:
    with pytest.raises(IndexFault, match=told):
        Recipe.of().but(**changes)


def test_every_fault_of_a_file_is_told() -> None:
    with pytest.raises(IndexFault) as refusal:
        Recipe.from_plain(
            [{"step": "guess"}, {"method": "x"}, {"step": "normalise", "method": "minmax", "lo": 1}]
        )
    assert [fault[:9] for fault in refusal.value.faults] == ["recipe[0]", "recipe[1]", "recipe[2]"]


def test_missing_step() -> None:
    with pytest.raises(IndexFault, match="the recipe has no step screen"):
        Recipe.of()["screen"]
