"""The data of an index: periods × units × columns, with names and groups, read from tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autocity.index.faults import IndexFault, choices, refuse
from autocity.index.framework import Framework

Floats = npt.NDArray[np.float64]
ABSENT = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "null", "-", ".."})
"""What stands for a missing value in a table."""


@dataclass(frozen=True, eq=False)
class Frame:
    """Numbers by period, unit and column; NaN where none is known.

    `values` has the shape (periods, units, columns). `groups` holds for each grouping one label per unit.
    `sources` tells where a column comes from. Categories are numbers here: their position, from 1 for the
    worst.
    """

    units: tuple[str, ...]
    columns: tuple[str, ...]
    values: Floats
    periods: tuple[str, ...] = ("",)
    names: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float64)
        if values.ndim == 2:
            values = values[None]
        object.__setattr__(self, "values", values)
        refuse(_faults(self))

    def column(self, code: str) -> Floats:
        """The values of one column, shape (periods, units)."""
        return self.values[:, :, self._position(code)]

    def select(self, codes: Sequence[str]) -> Floats:
        """The values of some columns, shape (periods, units, codes)."""
        refuse([f"the data has no column {code}" for code in codes if code not in self.columns])
        return self.values[:, :, [self._position(code) for code in codes]]

    def keep(self, units: Sequence[str]) -> Frame:
        """The same data for some units, in the given order."""
        refuse([f"the data has no unit {unit}" for unit in units if unit not in self.units])
        rows = [self.units.index(unit) for unit in units]
        groups = {name: tuple(labels[row] for row in rows) for name, labels in self.groups.items()}
        return Frame(
            tuple(units), self.columns, self.values[:, rows], self.periods, self.names, groups, self.sources
        )

    def at(self, period: str) -> Frame:
        """The data of one period."""
        if period not in self.periods:
            raise IndexFault(f"the data has no period {period}; it has {', '.join(self.periods)}")
        values = self.values[[self.periods.index(period)]]
        return Frame(self.units, self.columns, values, (period,), self.names, self.groups, self.sources)

    def changed(self, unit: str, values: Mapping[str, float], period: str | None = None) -> Frame:
        """The same data with some values of one unit replaced (in the last period unless told)."""
        row = self.units.index(unit)
        layer = -1 if period is None else self.periods.index(period)
        altered = self.values.copy()
        for code, value in values.items():
            altered[layer, row, self._position(code)] = value
        return Frame(self.units, self.columns, altered, self.periods, self.names, self.groups, self.sources)

    def _position(self, code: str) -> int:
        try:
            return self.columns.index(code)
        except ValueError:
            raise IndexFault(f"the data has no column {code}") from None

    @classmethod
    def from_rows(
        cls,
        rows: Iterable[Mapping[str, Any]],
        framework: Framework,
        *,
        unit: str = "unit",
        name: str | None = None,
        period: str | None = None,
        source: str = "",
    ) -> Frame:
        """Data from rows, one per unit (and period).

        Columns named like indicators or denominators of the framework are numbers or categories; the column
        of its comparison group and every other column of texts become groupings. Raises `IndexFault` that
        names each wrong cell by row, column and what is allowed.
        """
        return _Reader(framework, unit, name, period, source).read(list(rows))

    @classmethod
    def read(cls, path: str | Path, framework: Framework, **options: Any) -> Frame:
        """Data from a CSV file with a header; options as for `from_rows`."""
        path = Path(path)
        return cls.loads(path.read_text("utf-8-sig"), framework, **{"source": path.name, **options})

    @classmethod
    def loads(cls, text: str, framework: Framework, **options: Any) -> Frame:
        """Data from a CSV text with a header; options as for `from_rows`."""
        return cls.from_rows(csv.DictReader(io.StringIO(text)), framework, **options)


class _Reader:
    """Reads rows into a frame and collects every fault on the way."""

    def __init__(
        self, framework: Framework, unit: str, name: str | None, period: str | None, source: str
    ) -> None:
        self.framework, self.unit, self.name, self.period, self.source = framework, unit, name, period, source
        denominators = (element.denominator for element in framework.elements)
        self.numeric = tuple(dict.fromkeys([*framework.indicators, *filter(None, denominators)]))
        self.faults: list[str] = []

    def read(self, rows: Sequence[Mapping[str, Any]]) -> Frame:
        header = list(rows[0]) if rows else []
        self._check_header(header)
        refuse(self.faults)
        units = tuple(dict.fromkeys(str(row[self.unit]) for row in rows))
        periods = tuple(sorted({self._period(row) for row in rows}))
        columns = tuple(code for code in self.numeric if code in header)
        values = np.full((len(periods), len(units), len(columns)), np.nan)
        place = {unit: i for i, unit in enumerate(units)}
        seen: set[tuple[str, str]] = set()
        for line, row in enumerate(rows, start=2):
            key = (self._period(row), str(row[self.unit]))
            if key in seen:
                self.faults.append(
                    f"row {line}: unit {key[1]} stands here twice{f' in {key[0]}' if key[0] else ''}"
                )
            seen.add(key)
            values[periods.index(key[0]), place[key[1]]] = [
                self._cell(line, code, row[code]) for code in columns
            ]
        refuse(self.faults)
        names = {str(row[self.unit]): str(row[self.name]) for row in rows} if self.name else {}
        sources = dict.fromkeys(columns, self.source) if self.source else {}
        return Frame(units, columns, values, periods, names, self._groups(rows, header, units), sources)

    def _check_header(self, header: Sequence[str]) -> None:
        wanted = [self.unit, *filter(None, [self.name, self.period])]
        self.faults += [
            f"the table has no column {column}; it has {', '.join(map(str, header))}"
            for column in wanted
            if column not in header
        ]
        if not any(code in header for code in self.framework.indicators):
            self.faults.append(
                f"no column is an indicator of {self.framework.code}: {choices(self.framework.indicators)}"
            )

    def _period(self, row: Mapping[str, Any]) -> str:
        return str(row[self.period]) if self.period else ""

    def _cell(self, line: int, code: str, cell: Any) -> float:
        if cell is None or (isinstance(cell, str) and cell.strip() in ABSENT):
            return np.nan
        categories = self.framework[code].categories if code in self.framework else ()
        if categories:
            if str(cell).strip() in categories:
                return float(categories.index(str(cell).strip()) + 1)
            self.faults.append(f"row {line}, column {code}: {cell!r} is not one of {', '.join(categories)}")
            return np.nan
        return self._number(line, code, cell)

    def _number(self, line: int, code: str, cell: Any) -> float:
        try:
            number = float(cell)
        except (TypeError, ValueError):
            number = np.inf
        if np.isinf(number):
            self.faults.append(
                f"row {line}, column {code}: {cell!r} is not a number; leave it empty if none is known"
            )
            return np.nan
        return number

    def _groups(
        self, rows: Sequence[Mapping[str, Any]], header: Sequence[str], units: Sequence[str]
    ) -> dict[str, tuple[str | None, ...]]:
        used = {self.unit, self.name, self.period, *self.numeric}
        groups = {}
        for column in (c for c in header if c not in used):
            labels = {
                str(row[self.unit]): str(row[column]).strip() for row in rows if row[column] is not None
            }
            if column == self.framework.group or not all(map(_is_number, labels.values())):
                groups[column] = tuple(None if labels.get(u, "") in ABSENT else labels[u] for u in units)
        return groups


def _is_number(text: str) -> bool:
    if text in ABSENT:
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _faults(frame: Frame) -> list[str]:
    shape = (len(frame.periods), len(frame.units), len(frame.columns))
    faults = (
        [] if frame.values.shape == shape else [f"values have the shape {frame.values.shape}, not {shape}"]
    )
    for what, keys in (("unit", frame.units), ("column", frame.columns), ("period", frame.periods)):
        faults += [f"{what} {key} stands twice" for key in sorted({k for k in keys if keys.count(k) > 1})]
    faults += [
        f"group {name} has {len(labels)} labels for {len(frame.units)} units"
        for name, labels in frame.groups.items()
        if len(labels) != len(frame.units)
    ]
    return faults + (["values are finite or missing (NaN)"] if np.isinf(frame.values).any() else [])
