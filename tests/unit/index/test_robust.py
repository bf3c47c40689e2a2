"""Uncertainty, sensitivity and removal: the estimators are right, the batches are what single builds give."""

from __future__ import annotations

import numpy as np
import pytest

from autocity.index import Element, Frame, Framework, Index, IndexFault, Limits, Recipe, build, robust


def ishigami(x: np.ndarray) -> np.ndarray:
    a, b, c = (2 * np.pi * x - np.pi).T
    return np.sin(a) + 7 * np.sin(b) ** 2 + 0.1 * c**4 * np.sin(a)


def test_sobol_indices_of_a_known_function() -> None:
    sample = 8192
    draws = robust.sobol_design(sample, 3, seed=0)
    found = robust.sobol_indices(ishigami(draws), sample, ("a", "b", "c"), bootstrap=100)
    np.testing.assert_allclose(found.first, [0.3139, 0.4424, 0.0], atol=0.01)
    np.testing.assert_allclose(found.total, [0.5576, 0.4424, 0.2437], atol=0.01)
    assert found.first_interval is not None
    assert (found.first_interval[0] <= found.first).all()
    assert (found.first <= found.first_interval[1]).all()
    with pytest.raises(IndexFault, match="outputs are not"):
        robust.sobol_indices(np.ones(7), 2, ("a",))


def test_replications_are_what_single_builds_give(asem: Index) -> None:
    """Shared stages, stacked parameters and composed means give what one build after the other gives."""
    choices = [
        robust.Choice("treat.winmax", (0, 2, 5)),
        robust.Choice(
            "normalise", ({"low": 1}, {"method": "zscore", "mean": 100, "sd": 10}, "percentile_rank")
        ),
        robust.Choice("aggregate", ("arithmetic", ["arithmetic", "arithmetic", "harmonic"], "copeland")),
        robust.Choice("screen.share", between=(0.5, 1.0)),
        robust.Choice("weight", ("given", {"values": {"Sust": 3.0}}, "entropy", "equal")),
    ]
    draws = np.random.default_rng(5).random((24, len(choices)))
    found = robust.uncertainty(asem, choices, draws=draws, keep=True)
    assert found.scores is not None
    picks = [c.picked(draws[:, i]) for i, c in enumerate(choices)]
    for i in range(len(draws)):
        recipe = asem.recipe.but(**{c.name: c.value(p[i]) for c, p in zip(choices, picks, strict=True)})
        single = build(asem.framework, asem.frame, recipe)
        np.testing.assert_allclose(found.scores[i], single["Index"], rtol=1e-9, atol=1e-9)


def test_continuous_choices_run_stacked(asem: Index) -> None:
    choices = [
        robust.Choice("normalise.low", between=(0.0, 20.0)),
        robust.Choice("treat.winmax", between=(0, 6)),
    ]
    draws = np.random.default_rng(5).random((40, 2))
    found = robust.uncertainty(asem, choices, draws=draws, keep=True)
    assert found.scores is not None
    for i in (0, 13, 39):
        changes = {"normalise.low": 20 * draws[i, 0], "treat.winmax": 6 * draws[i, 1]}
        np.testing.assert_allclose(found.scores[i], asem.but(**changes)["Index"], rtol=1e-9)


def test_imputation_can_be_a_choice(asem: Index) -> None:
    draws = [{"method": "multiple", "draw": i} for i in range(30)]
    recipe = asem.recipe.but(screen=None)
    index = build(asem.framework, asem.frame, recipe)
    found = robust.uncertainty(index, [robust.Choice("impute", tuple(draws))], 60, keep=True)
    assert found.scores is not None
    spread = np.ptp(found.scores[:, 0], axis=0)
    gaps = np.isnan(asem.stage("denominate").values[0]).sum(1)
    assert spread[gaps.argmax()] > spread[gaps == 0].max()


def test_rank_statistics_are_those_of_the_ranks(asem: Index) -> None:
    weights = robust.noisy_weights(asem, {2: 0.25, 3: 0.25}, 50, seed=1)
    found = robust.uncertainty(asem, [robust.Choice("weight", weights=weights)], 200, keep=True)
    assert found.ranks is not None
    for share in (0.05, 0.5, 0.95):
        known = ~np.isnan(found.nominal[0])
        expected = np.quantile(found.ranks[:, 0, known], share, axis=0)
        np.testing.assert_allclose(found.quantile(share)[0, known], expected)
    np.testing.assert_allclose(found.mean[0], found.ranks[:, 0].mean(0))
    np.testing.assert_array_equal(found.median, found.quantile(0.5))
    np.testing.assert_allclose(found.chance(10)[0, known], (found.ranks[:, 0, known] <= 10).mean(0))


def test_sensitivity_by_unit(asem: Index) -> None:
    choices = [robust.Choice("normalise", ({"low": 1}, "zscore")), robust.Choice("treat.winmax", (1, 5))]
    found = robust.sensitivity(asem, choices, 16, by_unit=True)
    assert found.total.shape == (2, 1, 51)


def test_removal_is_what_a_smaller_framework_gives(asem: Index) -> None:
    for level in (1, 2, 3):
        found = robust.leave_one_out(asem, level)
        for code in found.codes[::9]:
            expected = asem.without(code)["Index"]
            np.testing.assert_allclose(found.scores[found.codes.index(code)], expected, rtol=1e-9)


def test_removing_the_only_child_removes_its_parent() -> None:
    elements = (
        Element("all", "all"),
        Element("one", "one", parent="all"),
        Element("two", "two", parent="all"),
        Element("a", "a", parent="one"),
        Element("b", "b", parent="two"),
        Element("c", "c", parent="two"),
    )
    frame = Frame(tuple("xyz"), ("a", "b", "c"), np.array([[1.0, 5, 2], [2, 1, 9], [4, 3, 4]]))
    index = build(Framework("f", "f", elements), frame)
    found = robust.leave_one_out(index)
    for i, code in enumerate(found.codes):
        np.testing.assert_allclose(found.scores[i], index.without(code)["all"])


def test_removal_builds_again_where_weights_do_not_decide(asem: Index) -> None:
    index = asem.but(weight="entropy", aggregate={"method": "mean_min"})
    found = robust.leave_one_out(index, 3)
    np.testing.assert_allclose(found.scores[0], index.without("Conn")["Index"])


def test_wrong_choices(asem: Index) -> None:
    for call, told in (
        (lambda: robust.Choice("aggregate"), "give alternatives"),
        (lambda: robust.uncertainty(asem, []), "nothing to choose from"),
        (
            lambda: robust.uncertainty(asem, [robust.Choice("weight", weights=np.ones((2, 3)))]),
            "not one per node",
        ),
        (lambda: robust.uncertainty(asem, [robust.Choice("normalise.lo", (1,))]), "lo is not a parameter"),
        (lambda: robust.leave_one_out(asem, 4), "no element of level 4"),
        (lambda: robust.compare({}), "nothing to compare"),
        (lambda: robust.compare({"a": asem}, method="x"), "x is not a correlation"),
    ):
        with pytest.raises(IndexFault, match=told):
            call()


def test_missing_data_intervals_cover_the_truth() -> None:
    """Nine in ten 90% intervals of multiple imputation hold the index that the hidden values give."""
    random = np.random.default_rng(11)
    hits = tried = 0
    codes = tuple(f"x{i}" for i in range(8))
    framework = Framework(
        "f",
        "f",
        (Element("all", "all"), *(Element(c, c, parent="all", limits=Limits(0, 100)) for c in codes)),
    )
    recipe = Recipe.of(normalise={"method": "scaled", "low": "@limits.low", "high": "@limits.high"})
    for _ in range(6):
        factor = random.normal(size=(60, 1))
        full = 50 + 10 * (0.7 * factor + random.normal(size=(60, 8)))
        masked = np.where(random.random(full.shape) < 0.15, np.nan, full)
        units = tuple(f"u{i}" for i in range(60))
        truth = build(framework, Frame(units, codes, full), recipe)["all"][0]
        gapped = build(framework, Frame(units, codes, masked), recipe.but(impute={"method": "multiple"}))
        draws = robust.Choice("impute.draw", tuple(range(150)))
        every = robust.uncertainty(
            gapped, [draws], draws=(np.arange(150)[:, None] + 0.5) / 150, keep=True
        ).scores
        assert every is not None
        low, high = np.quantile(every[:, 0], (0.05, 0.95), axis=0)
        asked = np.isnan(masked).any(1)
        hits += int(((low <= truth) & (truth <= high))[asked].sum())
        tried += int(asked.sum())
    assert 0.85 <= hits / tried <= 0.95
