"""The twelve known defects of the reference engine: here each gives the right answer or says what is
wrong."""

from __future__ import annotations

import numpy as np
import pytest

from autocity.index import Frame, Index, IndexFault, robust
from autocity.index.panel import trends
from autocity.index.steps import aggregate, normalise, treat


def test_copeland_is_an_aggregation_like_others(asem: Index) -> None:
    found = asem.but(aggregate="copeland")["Index"][0]
    assert np.nansum(found) == 0


def test_exact_ties_are_ties_whatever_the_rounding(asem: Index) -> None:
    x = asem.stage("normalise").values[0]
    exact = np.sign(
        2 * ((x[:, None] > x[None]).sum(-1) + 0.5 * (x[:, None] == x[None]).sum(-1)) - x.shape[1]
    ).sum(1)
    for weight in (1.0, 0.1, 1 / 49):
        np.testing.assert_array_equal(aggregate.copeland(x, np.full(x.shape[1], weight)), exact)
    units = asem.stage("normalise").units
    found = aggregate.copeland(x, np.ones(x.shape[1]))
    assert (found[units.index("BEL")], found[units.index("DEU")]) == (39, 26)


def test_outranking_with_gaps_does_not_depend_on_the_order_of_units() -> None:
    x = np.array([[1.0, np.nan, 3.0], [2.0, 1.0, np.nan], [np.nan, 2.0, 1.0], [1.0, 1.0, 1.0]])
    order = np.array([2, 0, 3, 1])
    matrix = aggregate.outranking(x, np.ones(3))
    np.testing.assert_array_equal(aggregate.outranking(x[order], np.ones(3)), matrix[np.ix_(order, order)])
    off = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose((matrix + matrix.T)[off], 1.0)


def test_the_innovation_index_logarithm_does_something() -> None:
    x = np.array([[1.0], [2.0], [4.0], [100.0]])
    expected = np.log(99 * (x - 1) / 99 + 1)
    np.testing.assert_allclose(treat.log_gii(x), expected)
    assert (np.diff(treat.log_gii(101.0 - x[::-1])[:, 0]) > 0).all()
    with pytest.raises(IndexFault, match="highest value is above 1"):
        treat.log_gii(-x)


def test_a_power_mean_skips_what_is_missing() -> None:
    x = np.array([[3.0, np.nan, 4.0]])
    assert aggregate.average(aggregate.generalised(p=2), x, np.ones(3))[0] == pytest.approx(np.sqrt(12.5))


def test_trends_look_at_the_years_asked_for(asem_framework: object) -> None:
    values = np.array([5.0, 4.0, 2.0, 4.0, 8.0]).reshape(5, 1, 1)
    frame = Frame(("a",), ("x",), values, ("2018", "2019", "2020", "2021", "2022"))
    assert trends(frame, periods=("2020", "2021", "2022")).growth[0, 0] == pytest.approx(1.0)
    with pytest.raises(IndexFault, match="no period 2030"):
        trends(frame, periods=("2030",))


def test_draws_pick_by_the_unit_interval_and_one_alternative_is_fine(asem: Index) -> None:
    choice = robust.Choice("treat.winmax", (1, 2, 3, 4))
    np.testing.assert_array_equal(choice.picked(np.array([0.0, 0.24, 0.26, 0.9999])), [0, 0, 1, 3])
    single = robust.uncertainty(asem, [robust.Choice("aggregate", ("arithmetic",))], 5)
    np.testing.assert_array_equal(single.mean, single.nominal)


def test_weights_have_an_effect(asem: Index) -> None:
    low, high = ({"values": {"Conn": w}} for w in (0.1, 10.0))
    found = robust.uncertainty(asem, [robust.Choice("weight", (low, high))], 20, keep=True)
    assert found.scores is not None
    assert np.nanmax(np.ptp(found.scores[:, 0], axis=0)) > 10


def test_first_order_indices_are_centred() -> None:
    random = np.random.default_rng(1)
    draws = robust.sobol_design(200, 2, seed=1)
    y = 1000.0 + draws[:, 0] + 0.1 * random.random(len(draws))
    plain = robust.sobol_indices(y, 200, ("a", "b"), centred=False)
    centred = robust.sobol_indices(y, 200, ("a", "b"))
    assert abs(plain.first[1]) > 1
    assert abs(centred.first[1]) < 0.1


def test_a_column_without_spread_is_neutral() -> None:
    x = np.array([[2.0, 1.0], [2.0, 3.0]])
    np.testing.assert_array_equal(normalise.minmax(x, 1)[:, 0], [50, 50])
    np.testing.assert_array_equal(normalise.zscore(x, 1)[:, 0], [0, 0])


def test_weights_that_are_all_zero_are_refused(asem: Index) -> None:
    with pytest.raises(IndexFault, match="the weights of all children of Index are zero"):
        asem.but(weight={"values": {"Conn": 0, "Sust": 0}})


def test_reversed_indicators() -> None:
    x = np.array([[0.0], [5.0], [10.0]])
    found = normalise.fraction_of_best(x[1:], -1)
    np.testing.assert_array_equal(found[:, 0], [1.0, 0.5])
    np.testing.assert_array_equal(normalise.goalposts(x, -1, low=0, high=10)[:, 0], [1, 0.5, 0])


def test_zero_in_a_geometric_mean(asem: Index) -> None:
    with pytest.raises(IndexFault, match="a geometric mean needs values above zero"):
        asem.but(aggregate="geometric")
    choices = [robust.Choice("aggregate", ("arithmetic", "geometric"))]
    found = robust.uncertainty(asem, choices, 100, keep=True)
    assert all("geometric mean needs values above zero" in reason for reason in found.failures)
    count = max(found.failures.values())
    assert 30 < count < 70
    assert found.counts[0, asem.units.index("CHE")].sum() == 100 - count
    with pytest.raises(IndexFault, match="geometric mean"):
        robust.sensitivity(asem, choices, 8)
