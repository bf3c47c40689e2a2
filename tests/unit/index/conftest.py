"""What the index tests share: the ASEM example, and the reference outputs where they are at hand."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocity.index import Element, Frame, Framework, Index, Recipe, build

HOME = Path(__file__).parents[3]
PLACES = (os.environ.get("AUTOCITY_REFERENCE", ""), HOME.parent / "shared/reference/index")


class Reference:
    """Files of expected values, and how far results are from them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text("utf-8"))

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    close = staticmethod(lambda found, expected, **tolerance: assert_close(found, expected, **tolerance))

    def values(self, name: str, units: Sequence[str], codes: Sequence[str], key: str = "uCode") -> np.ndarray:
        """Expected values (units, codes), in the order asked for."""
        rows = {row[key]: row for row in self.table(name)}
        return np.array([[number(rows[unit][code]) for code in codes] for unit in units])


def number(cell: str) -> float:
    return float(cell) if cell not in ("", "NA") else np.nan


def assert_close(found: Any, expected: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    """Within 1e-9 relative, 1e-12 near zero; missing in the same places."""
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=rtol, atol=atol)


@pytest.fixture(scope="session")
def reference() -> Reference:
    for place in PLACES:
        if place and (Path(place) / "manifest.json").exists():
            return Reference(Path(place))
    pytest.skip("the reference outputs are not here; set AUTOCITY_REFERENCE to their folder")


@pytest.fixture(scope="session")
def asem_framework() -> Framework:
    return framework_of(DATA / "asem_iMeta.csv")


DATA = HOME / "tests/data/index"


def framework_of(path: Path, aggregates: Sequence[Element] = ()) -> Framework:
    """The framework in a COINr metadata table; further columns become parameters."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Type"] in ("Indicator", "Aggregate")]
    known = list(rows[0])[:10]
    elements = [
        Element(
            row["iCode"],
            row["iName"],
            parent=row["Parent"] or None,
            direction=1 if row["Direction"] == "1" else -1,
            unit=row["Unit"],
            weight=float(row["Weight"]),
            target=float(row["Target"]) if row["Target"] else None,
            denominator=row["Denominator"] or None,
            parameters={k: _parameter(v) for k, v in row.items() if k not in known and v},
        )
        for row in rows
    ]
    return Framework("asem", "ASEM sustainable connectivity", (*elements, *aggregates))


def _parameter(cell: str) -> float | bool:
    return cell == "true" if cell in ("true", "false") else float(cell)


@pytest.fixture(scope="session")
def framework_in() -> Any:
    return framework_of


@pytest.fixture(scope="session")
def asem_frame(asem_framework: Framework) -> Frame:
    frame = Frame.read(DATA / "asem_iData.csv", asem_framework, unit="uCode", name="uName", period="Time")
    return frame.keep(sorted(frame.units))


@pytest.fixture(scope="session")
def asem_recipe() -> Recipe:
    return Recipe.of(
        denominate="ratio",
        impute={"method": "group_mean", "group": "EurAsia_group"},
        screen={"share": 0.9},
        treat={"winmax": 5},
    )


@pytest.fixture(scope="session")
def asem(asem_framework: Framework, asem_frame: Frame, asem_recipe: Recipe) -> Index:
    return build(asem_framework, asem_frame, asem_recipe)
