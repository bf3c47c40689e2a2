"""What people judge: pairs and their consistency, budgets, rounds of a panel and their agreement."""

from __future__ import annotations

import numpy as np
import pytest

from autocity.index import Index, IndexFault
from autocity.index.experts import agreement, ahp, budget, delphi

# A textbook example: the principal eigenvalue is 3.0385, the ratio 0.0332.
SAATY = [[1, 1 / 3, 5], [3, 1, 7], [1 / 5, 1 / 7, 1]]


def test_pairwise_comparison() -> None:
    found = ahp(SAATY)
    np.testing.assert_allclose(found.weights, [0.2790, 0.6491, 0.0719], atol=5e-5)
    assert found.eigenvalue == pytest.approx(3.0649, abs=5e-5)
    assert found.ratio == pytest.approx(0.0559, abs=5e-4)
    assert found.consistent


def test_a_consistent_matrix_gives_its_weights_back() -> None:
    weights = np.array([0.5, 0.3, 0.2])
    found = ahp(weights[:, None] / weights)
    np.testing.assert_allclose(found.weights, weights)
    assert found.ratio == pytest.approx(0.0, abs=1e-12)


def test_a_contradiction_is_located() -> None:
    weights = np.array([0.4, 0.3, 0.2, 0.1])
    matrix = weights[:, None] / weights
    matrix[0, 3], matrix[3, 0] = 1 / 9, 9.0
    found = ahp(matrix)
    assert not found.consistent
    assert found.doubtful in ((0, 3), (3, 0))
    assert found.suggested is not None


def test_several_experts_are_joined_by_their_geometric_mean() -> None:
    one = ahp([SAATY, np.array(SAATY).T])
    np.testing.assert_allclose(one.weights, 1 / 3)


def test_wrong_matrices() -> None:
    for matrix, told in (
        ([[1, 2]], "is square"),
        ([[1, 2], [2, 1]], "not reciprocal"),
        ([[1, 0], [2, 1]], "not above zero"),
        (np.ones((16, 16)), "more than 15 items"),
    ):
        with pytest.raises(IndexFault, match=told):
            ahp(matrix)


def test_budgets() -> None:
    found = budget([[50, 30, 20], [5, 3, 2], [60, 20, 20]])
    np.testing.assert_allclose(found.weights, [0.53333333, 0.26666667, 0.2])
    assert found.agreement.w > 0.9
    with pytest.raises(IndexFault, match="expert 2: points"):
        budget([[1, 1], [0, 0]])


def test_agreement() -> None:
    same = np.tile(np.arange(8.0), (5, 1))
    assert agreement(same).w == pytest.approx(1.0)
    assert agreement(same).chance < 0.001
    assert agreement([[1, 2, 3], [3, 2, 1]]).w == pytest.approx(0.0)
    assert np.isnan(agreement([[1.0, 2.0]]).w)


def test_rounds_of_a_panel() -> None:
    first = [[9, 2, 5], [3, 2, 6], [6, 3, 1], [1, 8, 5]]
    second = [[7, 2, 5], [6, 2, 5], [6, 3, 4], [6, 3, 5]]
    found = delphi([first, second])
    assert not delphi([first]).settled
    assert found.settled
    assert found.open_items == ()
    np.testing.assert_allclose(found.weights, np.array([6, 2.5, 5]) / 13.5)
    np.testing.assert_allclose(found.rounds[1].moved, found.rounds[1].median - found.rounds[0].median)
    with pytest.raises(IndexFault, match="all need the same"):
        delphi([[[1, 2]], [[1, 2, 3]]])


def test_judgements_in_a_recipe(asem: Index) -> None:
    index = asem.but(weight={"method": "ahp", "judgements": {"Index": [[1, 3], [1 / 3, 1]]}})
    assert (index.weights["Conn"], index.weights["Sust"]) == (pytest.approx(0.75), pytest.approx(0.25))
    shared = asem.but(weight={"method": "budget", "allocations": {"Index": [[30, 70], [50, 50]]}})
    assert shared.weights["Sust"] == pytest.approx(0.6)
    with pytest.raises(IndexFault, match="has 2 children, not 3"):
        asem.but(weight={"method": "budget", "allocations": {"Index": [[1, 1, 1]]}})


def test_optimised_weights_in_a_recipe(asem: Index) -> None:
    index = asem.but(weight={"method": "optimised", "level": 3})
    assert index.weights["Conn"] == pytest.approx(0.3853, abs=1e-3)
