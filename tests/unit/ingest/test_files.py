"""Every bad row is named with its line, every good one is kept, and an import that stops can go on."""

from __future__ import annotations

import asyncio
import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.errors import ConfigError, StoreUnavailable
from autocity.ingest import files
from autocity.ingest.files import Report
from autocity.ingest.mapping import Fault, Mapping


class Basket:
    """A sink that keeps what it gets, refuses some ids, and may be out of reach for a while."""

    def __init__(self, refuse: Sequence[str] = (), failures: int = 0) -> None:
        self.entities: list[dict[str, Any]] = []
        self.histories: list[dict[str, Any]] = []
        self.refuse, self.failures = refuse, failures

    async def upsert(self, entities: Sequence[dict[str, Any]]) -> list[str | None]:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full")
        self.entities += [e for e in entities if e["id"] not in self.refuse]
        return ["refused" if e["id"] in self.refuse else None for e in entities]

    async def record(self, histories: Sequence[dict[str, Any]]) -> list[str | None]:
        self.histories += histories
        return [None] * len(histories)


def things(**more: Any) -> Mapping:
    facts = {
        "entity": {"id": "urn:x:{id}", "type": "Thing"},
        "attributes": {"size": {"column": "size", "value": "number", "required": True}},
    }
    return msgspec.convert(facts | more, Mapping)


SERIES = {"series": True, "observed_at": {"column": "time"}}


def write(folder: Path, text: str | bytes, name: str = "things.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


async def taken(file: Path, mapping: Mapping | None = None, **options: Any) -> tuple[dict[str, Any], Report]:
    basket = Basket()
    report = await files.run(file, basket, mapping, **options)
    return {e["id"]: e.get("size", {}).get("value") for e in basket.entities}, report


async def test_good_rows_are_kept_and_bad_ones_named(tmp_path: Path) -> None:
    file = write(tmp_path, "id,size\n1,10\n2,big\n3\n,5\n5,50\n")
    sizes, report = await taken(file, things())
    assert sizes == {"urn:x:1": 10, "urn:x:5": 50}
    assert (report.rows, report.taken) == (5, 2)
    assert report.faults == [
        Fault(3, "size", "big", "is not a number", "digits with a point, such as 12.5"),
        Fault(4, "", "3", "has 1 cells, the header has 2", "2 cells"),
        Fault(5, "id", "", "is missing", "it is part of the id"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "id;size\r\n1;10\r\n2;20\r\n",
        "id\tsize\n1\t10\n2\t20",
        "\ufeffid,size\n1,10\n\n2,20\n",
        '"id","size"\n"1","10"\n"2","20"\n',
        "id|size\n1|10\n2|20|\n",
        "note,id,size\n\u957f\u6625,1,10\n\u6c7d\u8f66,2,20\n".encode("gb18030"),
        "id,size\n1,10\n2,20\n".encode("utf-16"),
        gzip.compress(b"id,size\n1,10\n2,20\n"),
    ],
)
async def test_tables_come_in_many_dresses(tmp_path: Path, text: str | bytes) -> None:
    sizes, report = await taken(write(tmp_path, text), things())
    assert sizes == {"urn:x:1": 10, "urn:x:2": 20}
    assert not report.faults


async def test_a_record_may_span_lines_and_a_lost_quote_costs_one_line_only(tmp_path: Path) -> None:
    rows = ["id,size,note", '1,10,"two', 'lines"', '2,20,"lost', *(f"{n},{n}0,fine" for n in range(3, 100))]
    sizes, report = await taken(write(tmp_path, "\n".join(rows) + "\n"), things())
    assert sizes == {f"urn:x:{n}": n * 10 for n in range(1, 100) if n != 2}
    assert [(fault.line, fault.reason) for fault in report.faults] == [
        (4, "has a quote that is never closed")
    ]


async def test_two_lost_quotes_do_not_swallow_what_is_between(tmp_path: Path) -> None:
    rows = ["id,size,note", '1,10,"lost', "2,20,fine", '3,30,"lost', "4,40,fine"]
    sizes, report = await taken(write(tmp_path, "\n".join(rows)), things())
    assert sizes == {"urn:x:2": 20, "urn:x:4": 40}
    assert [fault.line for fault in report.faults] == [2, 4]


async def test_a_quote_inside_a_cell_is_no_quote(tmp_path: Path) -> None:
    sizes, report = await taken(write(tmp_path, 'id,size,note\n1,10,5" pipe\n2,20,"say ""no"""\n'), things())
    assert sizes == {"urn:x:1": 10, "urn:x:2": 20}
    assert not report.faults


async def test_bytes_that_are_no_text_fault_their_row_only(tmp_path: Path) -> None:
    mapping = things(attributes={"size": {"column": "size"}})
    sizes, report = await taken(write(tmp_path, b"id,size\n1,\xff\xfe\n2,20\n"), mapping)
    assert sizes == {"urn:x:2": "20"}
    assert [(fault.line, fault.column) for fault in report.faults] == [(2, "size")]


cell = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\ufeff", exclude_categories=["Cs"]), max_size=12
)


@given(st.lists(cell, min_size=1, max_size=8))
def test_what_python_writes_as_csv_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    file = tmp_path_factory.mktemp("csv") / "t.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(["id", "size"])
        table.writerows([n, text] for n, text in enumerate(cells))
    mapping = things(attributes={"size": {"column": "size"}}, missing=[])
    sizes, report = asyncio.run(taken(file, mapping))
    assert not report.faults
    assert sizes == {f"urn:x:{n}": text.strip() for n, text in enumerate(cells)}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("id,length\n1,2\n", "the mapping reads size, the header has id, length"),
        ("id,size,size\n1,2,3\n", "more than once"),
        ("", "is empty"),
    ],
)
async def test_a_table_that_does_not_fit_at_all_is_refused_before_anything_is_written(
    tmp_path: Path, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        await taken(write(tmp_path, text), things())
    with pytest.raises(ConfigError, match="needs a mapping"):
        await taken(write(tmp_path, text))


ENTITY = {"id": "urn:x:1", "type": "Thing", "size": {"type": "Property", "value": 10}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonld", json.dumps([ENTITY])),
        ("a.json", json.dumps(ENTITY, indent=1)),
        ("a.jsonl", json.dumps(ENTITY) + "\n\n"),
        ("a", json.dumps(ENTITY) + "\n" + json.dumps(ENTITY)),
        ("a.json", json.dumps(ENTITY) + "\n" + json.dumps(ENTITY)),
        (
            "a.geojson",
            json.dumps(
                {
                    "type": "FeatureCollection",
                    "features": [
                        {
                            "id": "urn:x:1",
                            "type": "Feature",
                            "geometry": {"type": "Point", "coordinates": [1, 2]},
                            "properties": {"type": "Thing", "size": ENTITY["size"]},
                        }
                    ],
                }
            ),
        ),
    ],
)
async def test_entities_come_in_every_json_form(tmp_path: Path, name: str, text: str) -> None:
    sizes, report = await taken(write(tmp_path, text, name))
    assert sizes == {"urn:x:1": 10}
    assert not report.faults


async def test_geojson_features_are_rows_for_a_mapping(tmp_path: Path) -> None:
    feature = {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "properties": {"id": "7", "size": 3},
    }
    mapping = things(attributes={"size": {"column": "size"}, "location": {"geometry": "geometry"}})
    basket = Basket()
    await files.run(
        write(tmp_path, json.dumps({"type": "FeatureCollection", "features": [feature]}), "a.geojson"),
        basket,
        mapping,
    )
    assert basket.entities[0]["location"]["value"] == feature["geometry"]


async def test_rows_may_lie_deep_in_json(tmp_path: Path) -> None:
    text = json.dumps({"data": {"rows": [{"id": 1, "size": 2}, 5]}})
    sizes, report = await taken(write(tmp_path, text, "a.json"), things(source={"items": "data.rows"}))
    assert sizes == {"urn:x:1": 2}
    assert [(fault.line, fault.reason) for fault in report.faults] == [(2, "is not a JSON object")]
    with pytest.raises(ConfigError, match="nothing at"):
        await taken(tmp_path / "a.json", things(source={"items": "rows"}))


async def test_broken_lines_of_json_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = '{"id": "urn:x:1", "type": "T"}\n{"id": \n[1]\n{"id": "urn:x:4"}\n{"id": "urn:x:5", "type": "T"}\n'
    sizes, report = await taken(write(tmp_path, text, "a.jsonl"))
    assert sizes.keys() == {"urn:x:1", "urn:x:5"}
    assert [(fault.line, fault.column) for fault in report.faults] == [(2, ""), (3, ""), (4, "type")]
    assert report.rows == 5


async def test_a_refusal_of_the_city_is_a_fault_of_its_row(tmp_path: Path) -> None:
    basket = Basket(refuse=["urn:x:2"])
    report = await files.run(write(tmp_path, "id,size\n1,1\n2,2\n3,3\n"), basket, things(), batch=2)
    assert report.taken == 2
    assert report.faults == [Fault(3, "", "urn:x:2", "refused")]


async def test_a_city_out_of_reach_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSES", (0.0, 0.0))
    basket = Basket(failures=2)
    report = await files.run(write(tmp_path, "id,size\n1,1\n"), basket, things())
    assert (report.taken, report.stopped) == (1, "")


async def test_an_import_that_stops_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSES", ())
    file = write(tmp_path, "id,size\n" + "".join(f"{n},{n}\n" for n in range(1, 11)))
    basket = Basket()
    answer = basket.upsert

    async def fall_over(entities: Sequence[dict[str, Any]]) -> list[str | None]:
        if len(basket.entities) >= 4:
            raise StoreUnavailable("the disk is full")
        return await answer(entities)

    basket.upsert = fall_over  # type: ignore[method-assign]
    first = await files.run(file, basket, things(), batch=2)
    assert "the disk is full" in first.stopped
    assert (first.taken, first.next_line) == (4, 6)
    basket.upsert = answer  # type: ignore[method-assign]
    second = await files.run(file, basket, things(), batch=2, first_line=first.next_line or 0)
    assert second.taken == 6
    assert [e["id"] for e in basket.entities] == [f"urn:x:{n}" for n in range(1, 11)]


async def test_an_interrupted_import_leaves_its_report(tmp_path: Path) -> None:
    file = write(tmp_path, "id,size\n" + "".join(f"{n},{n}\n" for n in range(1, 9)))
    basket = Basket()
    answer = basket.upsert

    async def hang(entities: Sequence[dict[str, Any]]) -> list[str | None]:
        return await (answer(entities) if not basket.entities else asyncio.sleep(60, []))

    basket.upsert = hang  # type: ignore[method-assign]
    report = Report(source="")
    task = asyncio.create_task(files.run(file, basket, things(), batch=3, report=report))
    while report.rows < 6:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (report.stopped, report.taken, report.next_line) == ("interrupted", 3, 5)


async def test_a_series_is_history_in_order_and_its_newest_row_is_the_present(tmp_path: Path) -> None:
    text = (
        "id,size,time\n1,3,2026-01-03T00:00:00Z\n1,1,2026-01-01T00:00:00Z\n"
        "2,9,2026-01-01T00:00:00Z\n1,2,2026-01-02T00:00:00Z\n"
    )
    basket = Basket()
    mapping = things(**SERIES, entity={"id": "urn:x:{id}", "type": "Thing", "scope": "/A"})
    report = await files.run(write(tmp_path, text), basket, mapping)
    assert {e["id"]: e["size"]["value"] for e in basket.entities} == {"urn:x:1": 3, "urn:x:2": 9}
    (history,) = basket.histories
    assert history["id"] == "urn:x:1" and history["type"] == "Thing"
    assert [(i["value"], i["observedAt"]) for i in history["size"]] == [
        (1, "2026-01-01T00:00:00Z"),
        (2, "2026-01-02T00:00:00Z"),
    ]
    assert report.taken == 4


async def test_an_older_chunk_of_a_series_never_becomes_the_present(tmp_path: Path) -> None:
    times = [f"2026-01-{day:02d}T00:00:00Z" for day in range(28, 0, -1)]
    basket = Basket()
    text = "id,size,time\n" + "".join(f"1,{n},{time}\n" for n, time in enumerate(times))
    await files.run(write(tmp_path, text), basket, things(**SERIES), batch=1)
    assert [e["size"]["observedAt"] for e in basket.entities] == ["2026-01-28T00:00:00Z"]
    assert len(basket.histories) == 27
    assert {i["observedAt"] for h in basket.histories for i in h["size"]} == set(times) - {times[0]}


async def test_a_series_that_stops_goes_on_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSES", ())
    text = "id,size,time\n" + "".join(f"1,{n},2026-01-{n:02d}T00:00:00Z\n" for n in range(1, 29))
    file, basket = write(tmp_path, text), Basket(failures=1)
    first = await files.run(file, basket, things(**SERIES), batch=1)
    assert first.stopped and first.next_line == 29
    again = await files.run(file, basket, things(**SERIES), batch=1, first_line=first.next_line)
    assert not again.stopped
    recorded = {i["value"] for h in basket.histories for i in h["size"]}
    assert recorded | {e["size"]["value"] for e in basket.entities} == set(range(1, 29))


async def test_a_dry_run_writes_nothing_and_shows_a_sample(tmp_path: Path) -> None:
    basket = Basket()
    file = write(tmp_path, "id,size\n" + "".join(f"{n},{n}\n" for n in range(1, 9)) + "9,x\n")
    report = await files.run(file, basket, things(), dry_run=True)
    assert not basket.entities
    assert (report.taken, len(report.faults), len(report.sample)) == (8, 1, 3)


async def test_progress_ends_at_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    file = write(tmp_path, "id,size\n" + "".join(f"{n},{n}\n" for n in range(1, 2000)))
    await files.run(
        file, Basket(), things(), batch=100, progress=lambda done, total: seen.append((done, total))
    )
    size = file.stat().st_size
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


async def test_the_report_can_be_kept_as_json_and_as_a_table(tmp_path: Path) -> None:
    _, report = await taken(write(tmp_path, "id,size\n1,x\n"), things())
    report.write(tmp_path / "r.json")
    assert msgspec.json.decode((tmp_path / "r.json").read_bytes(), type=Report) == report
    report.write(tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as table:
        (row,) = csv.DictReader(table)
    assert (row["line"], row["column"], row["reason"]) == ("2", "size", "is not a number")
