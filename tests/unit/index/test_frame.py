"""Tables become frames; each wrong cell is named by row, column and what is allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autocity.index import Element, Frame, Framework, IndexFault

FRAMEWORK = Framework(
    "f",
    "f",
    (
        Element("all", "all"),
        Element("air", "air", parent="all", direction=-1),
        Element("trade", "trade", parent="all", denominator="people"),
        Element("title", "title", parent="all", categories=("none", "meets", "held")),
    ),
    group="country",
)
TABLE = """unit,name,year,country,people,air,trade,title,area
cc,Changchun,2021,CN,9,40,,meets,1
cc,Changchun,2022,CN,9,38,70,held,1
wob,Wolfsburg,2022,DE,0.1,NA,12,none,2
"""


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "cities.csv"
    path.write_text(TABLE, "utf-8")
    frame = Frame.read(path, FRAMEWORK, name="name", period="year")
    assert frame.units == ("cc", "wob")
    assert frame.periods == ("2021", "2022")
    assert frame.names["cc"] == "Changchun"
    assert dict(frame.groups) == {"country": ("CN", "DE")}
    assert frame.sources["air"] == "cities.csv"
    np.testing.assert_array_equal(frame.column("title"), [[2, np.nan], [3, 1]])
    np.testing.assert_array_equal(frame.select(["air", "trade"])[1], [[38, 70], [np.nan, 12]])
    assert frame.at("2021").values.shape == (1, 2, 4)
    assert frame.keep(["wob"]).groups["country"] == ("DE",)


def test_faults_are_told_with_row_and_column() -> None:
    bad = TABLE.replace("40,", "forty,").replace("held", "won") + "wob,Wolfsburg,2022,DE,1,1,1,none,2\n"
    with pytest.raises(IndexFault) as refusal:
        Frame.loads(bad, FRAMEWORK, period="year")
    assert refusal.value.faults == (
        "row 2, column air: 'forty' is not a number; leave it empty if none is known",
        "row 3, column title: 'won' is not one of none, meets, held",
        "row 5: unit wob stands here twice in 2022",
    )


def test_wrong_headers() -> None:
    with pytest.raises(IndexFault, match="the table has no column city"):
        Frame.loads(TABLE, FRAMEWORK, unit="city")
    with pytest.raises(IndexFault, match="no column is an indicator of f: air, title, trade"):
        Frame.loads("unit,x\na,1\n", FRAMEWORK)


def test_infinity_is_not_a_number() -> None:
    with pytest.raises(IndexFault, match="'inf' is not a number"):
        Frame.loads("unit,air\na,inf\n", FRAMEWORK)
    with pytest.raises(IndexFault, match="finite or missing"):
        Frame(("a",), ("air",), np.array([[np.inf]]))


def test_shapes() -> None:
    with pytest.raises(IndexFault, match="not \\(1, 2, 1\\)"):
        Frame(("a", "b"), ("air",), np.ones((1, 1)))
    with pytest.raises(IndexFault, match="unit a stands twice"):
        Frame(("a", "a"), ("air",), np.ones((2, 1)))
    with pytest.raises(IndexFault, match="group g has 1 labels for 2 units"):
        Frame(("a", "b"), ("air",), np.ones((2, 1)), groups={"g": ("x",)})


def test_changed() -> None:
    frame = Frame.loads(TABLE, FRAMEWORK, period="year")
    other = frame.changed("wob", {"air": 5.0})
    assert other.column("air")[1, 1] == 5.0
    assert np.isnan(frame.column("air")[1, 1])
    for wrong in (
        lambda: frame.column("x"),
        lambda: frame.select(["x"]),
        lambda: frame.at("1999"),
        lambda: frame.keep(["x"]),
    ):
        with pytest.raises(IndexFault, match="the data has no"):
            wrong()
