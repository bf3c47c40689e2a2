"""One walk over every method of every step: shape, missing values, determinism, batches, names, side
effects."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autocity.index.steps import METHODS, SHARED, defaults
from autocity.index.steps.aggregate import MEANS, average
from autocity.index.steps.treat import Treated

BATCH, UNITS, COLUMNS = 3, 24, 5
random = np.random.default_rng(0)
FULL = random.lognormal(1.0, 1.0, (BATCH, UNITS, COLUMNS))
GAPPED = np.where(random.random(FULL.shape) < 0.1, np.nan, FULL)
GAPPED[:, 0] = FULL[:, 0]
DIRECTION = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
WEIGHTS = np.array([1.0, 2.0, 1.0, 0.5, 1.0])
NEEDS_ALL = {"benefit_of_doubt"}
OVER_TIME = {"latest", "step", "linear"}


def call(kind: str, name: str, x: Any) -> Any:
    """A method with the arguments that the engine would give it."""
    method: Callable[..., Any] = METHODS[kind][name]
    if kind == "normalise":
        ladder = (np.tile([1.0, 2.0, 4.0], (COLUMNS, 1)) * 1.0,) if name == "tiers" else ()
        ladder = (np.where(DIRECTION[:, None] > 0, ladder[0], ladder[0][:, ::-1]),) if ladder else ()
        return method(x, DIRECTION, *ladder)
    if kind == "impute":
        groups = np.arange(x.shape[-2]) % 3
        members = [np.array([0, 1, 2]), np.array([3, 4])]
        times = np.arange(float(x.shape[0]))
        extra = {"group": (groups,), "row": (DIRECTION, members), "linear": (times,)}
        return method(x, *extra.get(name.split("_")[0], ()))
    if kind == "aggregate":
        return average(MEANS[name](), x, WEIGHTS) if name in MEANS else method(x, WEIGHTS)
    if kind == "denominate":
        return method(x, np.full(x.shape, 2.0))
    result = method(x)
    return result.values if isinstance(result, Treated) else result


WALK = [
    (k, n)
    for k, methods in METHODS.items()
    for n in methods
    if (k, n) not in {("weight", w) for w in ("given", "ahp", "budget", "optimised")}
]


@pytest.mark.parametrize(("kind", "name"), WALK)
def test_every_method(kind: str, name: str) -> None:
    x = FULL if name in NEEDS_ALL else GAPPED
    before = x.copy()
    found = call(kind, name, x)
    shapes = {"screen": x.shape[:-1], "aggregate": x.shape[:-1], "weight": (BATCH, COLUMNS)}
    assert found.shape == shapes.get(kind, x.shape)
    np.testing.assert_array_equal(x, before, err_msg="changes its input")
    np.testing.assert_array_equal(call(kind, name, x), found, err_msg="is not deterministic")
    if name not in OVER_TIME:
        for i in range(BATCH):
            alone = call(kind, name, x[i])
            np.testing.assert_allclose(
                alone, found[i], rtol=1e-9, atol=1e-12, err_msg="a batch mixes its tables"
            )


@pytest.mark.parametrize("name", METHODS["normalise"])
def test_missing_stays_missing_when_normalised(name: str) -> None:
    np.testing.assert_array_equal(np.isnan(call("normalise", name, GAPPED)), np.isnan(GAPPED))


@pytest.mark.parametrize("name", METHODS["impute"])
def test_imputation_keeps_what_is_known(name: str) -> None:
    found = call("impute", name, GAPPED)
    np.testing.assert_array_equal(found[~np.isnan(GAPPED)], GAPPED[~np.isnan(GAPPED)])
    # Rows and the past may know nothing themselves.
    if name not in ("latest", "row_mean", "row_median"):
        assert not np.isnan(found).any()


@pytest.mark.parametrize("name", [n for n in METHODS["normalise"] if n not in ("raw", "none")])
def test_a_constant_column_has_no_infinity(name: str) -> None:
    x = GAPPED[0].copy()
    x[:, 1] = 3.0
    found = call("normalise", name, x)
    assert not np.isinf(found).any()
    assert np.unique(found[:, 1][~np.isnan(found[:, 1])]).size <= 1


@pytest.mark.parametrize(
    "name", [n for n in METHODS["weight"] if n not in ("given", "ahp", "budget", "optimised")]
)
def test_suggested_weights_are_shares(name: str) -> None:
    found = call("weight", name, GAPPED)
    np.testing.assert_allclose(found.sum(-1), 1.0)
    assert (found >= 0).all()


@pytest.mark.parametrize(
    "name", [n for n in METHODS["aggregate"] if n not in ("sum", "copeland", "wroclaw", "benefit_of_doubt")]
)
def test_means_lie_between_their_children(name: str) -> None:
    found = call("aggregate", name, GAPPED)
    low, high = np.nanmin(GAPPED, -1), np.nanmax(GAPPED, -1)
    if name != "mazziotta_pareto":
        assert (found >= low - 1e-12).all()
    assert (found <= high + 1e-12).all()


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in METHODS for n in METHODS[k]])
def test_names_and_words(kind: str, name: str) -> None:
    method = METHODS[kind][name]
    assert name == name.lower()
    assert inspect.getdoc(method)
    assert not SHARED[kind] & set(defaults(kind, name))
    assert all(value is not inspect.Parameter.empty for value in defaults(kind, name).values())
