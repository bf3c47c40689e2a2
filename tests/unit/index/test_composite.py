"""Every number of an index can be asked where it comes from, and the answer adds up."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from autocity.index import Element, Frame, Framework, Index, IndexFault, Recipe, build
from autocity.index.composite import tables
from autocity.index.explain import contributions, results, strengths
from autocity.index.steps.aggregate import arithmetic, average


def test_the_worked_example(asem: Index) -> None:
    """The scores that ship with the tests, so that parity is checked where the reference is not at hand."""
    path = Path(__file__).parents[2] / "data/index/asem_aggregated.csv"
    with path.open(newline="") as file:
        rows = {row["uCode"]: row for row in csv.DictReader(file)}
    for code in asem.codes:
        expected = [
            float(rows[u][code]) if rows[u][code] not in ("", "NA") else np.nan
            for u in asem.units
            if u in rows
        ]
        found = [asem[code][0, i] for i, u in enumerate(asem.units) if u in rows]
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_every_cell_is_traceable(asem: Index) -> None:
    for row, unit in enumerate(asem.units):
        for code in asem.codes:
            trace = asem.trace(unit, code)
            value = asem[code][0, row]
            np.testing.assert_equal(trace.value, value)
            if code in asem.framework.children:
                assert sum(part.contribution for part in trace.parts) == pytest.approx(value, rel=1e-12)
            else:
                assert trace.source == "asem_iData.csv"
                assert [m.stage for m in trace.marks] == [s.name for s in asem.stages]
                assert trace.marks[-1].value == value
                assert all(m.method for m in trace.marks)


def test_units_that_were_screened_out_say_so(asem: Index) -> None:
    strict = asem.but(impute=None)
    gone = strict.stage("screen").record["removed"]
    assert gone == ["BGD", "BRN", "KHM", "LAO", "MMR"]
    assert strict.trace("LAO", "LPI").marks[-1].note == "unit screened out"
    assert np.isnan(strict.trace("LAO").value)


def test_a_trace_tells_what_was_done(asem: Index) -> None:
    marks = {m.stage: m for m in asem.trace("MNG", "Bord").marks}
    assert marks["normalise"].parameters["low"] == 0.0
    assert marks["normalise"].parameters["column known"] == 51
    notes = {m.note for unit in asem.units for m in asem.trace(unit, "Bord").marks}
    assert "winsorised from above" in notes
    filled = np.argwhere(asem.stage("impute").record["missing"][0])
    unit, code = asem.units[filled[0, 0]], asem.framework.indicators[filled[0, 1]]
    assert "was missing" in {m.note for m in asem.trace(unit, code).marks}


def test_exceptions_and_periods_are_told(asem_framework: Framework, asem_frame: Frame) -> None:
    both = Frame(
        asem_frame.units,
        asem_frame.columns,
        np.concatenate([asem_frame.values, asem_frame.values]),
        ("2018", "2019"),
        groups=asem_frame.groups,
    )
    recipe = Recipe.of(
        denominate={"by": {"LPI": "GDP"}},
        treat={"across": "period", "each": {"Gas": {"winmax": 0}, "Bord": "none"}},
        normalise={"each": {"LPI": {"high": 10.0}, "CO2": "zscore"}},
    )
    index = build(asem_framework, both, recipe)
    assert index.trace("AUT", "LPI").marks[-1].parameters["high"] == 10.0
    assert index.trace("AUT", "CO2", "2018").marks[-1].method == "zscore"
    notes = {
        code: {m.note for u in index.units for m in index.trace(u, code).marks} for code in ("Gas", "Bord")
    }
    assert notes == {"Gas": {"", "column transformed"}, "Bord": {""}}


def test_unknown_names(asem: Index) -> None:
    for call in (
        lambda: asem.trace("XXX"),
        lambda: asem.trace("CHN", "XXX"),
        lambda: asem.trace("CHN", period="1999"),
        lambda: asem.stage("guess"),
        lambda: asem["XXX"],
        lambda: asem.group_ranks("XXX"),
        lambda: contributions(asem, "CHN", "LPI"),
        lambda: contributions(asem, "CHN", against="XXX"),
    ):
        with pytest.raises(IndexFault):
            call()


def test_contributions_explain_the_difference(asem: Index) -> None:
    found = contributions(asem, "CHE", against="CHN")
    gap = asem["Index"][0, asem.units.index("CHE")] - asem["Index"][0, asem.units.index("CHN")]
    assert sum(c.effect for c in found) == pytest.approx(gap)
    geometric = contributions(asem.but(normalise={"low": 1}, aggregate="geometric"), "CHE")
    assert all(np.isfinite(c.effect) for c in geometric)


def test_results_and_strengths(asem: Index) -> None:
    table = results(asem)
    assert table.units[0] == "CHE"
    assert list(table.ranks[:5, 0]) == [1, 2, 3, 4, 5]
    best, worst = strengths(asem, "CHN"), strengths(asem, "CHN", weakest=True)
    assert best[0].rank <= best[-1].rank < worst[0].rank
    assert len(tables(asem)["rows"]) == 51


def test_recipes_are_checked_as_a_whole(asem_framework: Framework, asem_frame: Frame) -> None:
    for recipe, told in (
        (Recipe(()), "ends with the step aggregate"),
        (Recipe((*Recipe.of().steps, *Recipe.of().steps)), "has one step"),
        (
            Recipe((Recipe.of().steps[1], Recipe.of().steps[0], Recipe.of().steps[2])),
            "stands just before aggregate",
        ),
    ):
        with pytest.raises(IndexFault, match=told):
            build(asem_framework, asem_frame, recipe)


def test_parameters_from_the_framework(asem: Index) -> None:
    with pytest.raises(IndexFault, match=r"limits\.low is not set for LPI"):
        asem.but(normalise={"method": "goalposts", "low": "@limits.low"})
    with pytest.raises(IndexFault, match="low is not given for"):
        asem.but(normalise={"low": {"LPI": 1}})
    found = asem.but(normalise={"low": {"LPI": 50, "default": 0}})
    assert np.nanmin(found["LPI"][0]) == 50


def test_reading_the_framework_against_the_data() -> None:
    framework = Framework(
        "f", "f", (Element("i", "i"), Element("a", "Air", parent="i"), Element("b", "b", parent="i"))
    )
    with pytest.raises(IndexFault, match=r"the data has no column a \(Air\)"):
        build(framework, Frame(("x", "y"), ("b",), np.ones((2, 1))))


def test_screening_everything_away(asem: Index) -> None:
    with pytest.raises(IndexFault, match="leaves no unit"):
        asem.but(impute=None, screen={"method": "zeros", "share": 1.1})


def test_average_alone() -> None:
    assert average(arithmetic(), np.array([[1.0, np.nan, 3.0]]), np.array([1.0, 5.0, 1.0])) == 2.0


def test_import_is_quick() -> None:
    code = "import time; t = time.process_time(); import autocity.index; print(time.process_time() - t)"
    took = float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
    assert took < 0.3
