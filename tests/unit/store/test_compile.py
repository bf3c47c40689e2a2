"""Plans: which rows a query reads by which index (SQLite's own account), and what needs no matching."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from msgspec.structs import replace

from autocity.ld.query import (
    And,
    AnyOf,
    Comparison,
    Exists,
    Geo,
    Not,
    Or,
    Path,
    Query,
    ScopeIs,
    Selector,
    TypeIs,
)
from autocity.store import compile as compiling
from autocity.store.compile import Form, Plan, attributes_of, id_test, judge, judge_types, wanted
from autocity.store.reader import Reader
from autocity.store.sqlite import SQLiteStore
from autocity.store.testing import (
    BUS,
    CAR,
    LOCATION,
    MAKER,
    NAME,
    NOW,
    SPEED,
    attribute,
    car,
    creation,
    entity,
    point,
)


def speed(operator: Any, *values: Any) -> Comparison:
    return Comparison(Path((SPEED,)), operator, values)


def name(operator: Any, *values: Any) -> Comparison:
    return Comparison(Path((NAME,)), operator, values)


@pytest.fixture
async def store(tmp_path: FilePath) -> AsyncIterator[SQLiteStore]:
    """Two hundred cars and ten buses; speed and name are indexed."""
    store = SQLiteStore(tmp_path / "city.db")
    await store.open()
    cars = [
        replace(
            entity(n, speed=n, name=f"n{n % 10}"),
            attributes={
                SPEED: (attribute(n),),
                NAME: (attribute(f"n{n % 10}"),),
                LOCATION: (point(n / 1000, 0.0),),
            },
            scopes=(f"/city/{n % 4}",),
        )
        for n in range(200)
    ]
    await store.commit(creation(*cars))
    await store.commit(creation(*(entity(n, type=BUS, speed=n) for n in range(1000, 1010))))
    await store.commit(creation(*(entity(n, speed=n) for n in range(5)), tenant="faw"))
    for path in (Path((SPEED,)), Path((NAME,))):
        await store.index("", path)
    while not all(one.ready for one in store.paths.of[""]):
        await asyncio.sleep(0.001)
    yield store
    await store.close()


def plan(store: SQLiteStore, query: Query, tenant: str = "") -> tuple[Plan, list[str]]:
    """The plan of a query and how SQLite goes about it."""
    reader = store._reader
    assert reader is not None
    found = reader.plan(tenant, query, store.paths, NOW)
    return found, reader.explain(found)


READS_ALL = ("SCAN e", "SCAN t", "SCAN lookup", "SCAN entity")


@pytest.mark.parametrize(
    ("query", "uses", "exact"),
    [
        (car(), "SEARCH t USING PRIMARY KEY (tenant=? AND type=?)", True),
        (car(q=speed(">", 150)), "SEARCH lookup USING PRIMARY KEY (path=? AND kind=? AND value>?)", True),
        (car(q=speed("==", 150)), "SEARCH lookup USING PRIMARY KEY (path=? AND kind=? AND value=?)", True),
        (
            car(q=Or((speed("==", 150), name("==", "n3")))),
            "SEARCH lookup USING PRIMARY KEY (path=? AND kind=? AND value=?)",
            True,
        ),
        (car(q=And((speed(">", 150), name("!=", "n")))), "SEARCH e USING INTEGER PRIMARY KEY", False),
        (Query(selectors=(Selector(ids=("urn:ngsi-ld:Car:7",)),)), "(tenant=? AND id=?)", True),
        (car(attributes=(SPEED, MAKER)), "SEARCH t USING PRIMARY KEY (tenant=? AND type=?)", True),
        (car(q=Exists(Path((NAME,)))), "SEARCH t USING PRIMARY KEY (tenant=? AND type=?)", True),
        (car(scopes=ScopeIs(("city", "3"))), "USING PRIMARY KEY (tenant=? AND scope=?)", True),
        (car(scopes=ScopeIs(("city", "#"))), "USING PRIMARY KEY (tenant=? AND scope>? AND scope<?)", True),
        (car(scopes=ScopeIs(("city", "+"))), "USING PRIMARY KEY (tenant=? AND scope>? AND scope<?)", False),
        (
            car(geo=Geo("near", {"type": "Point", "coordinates": [0, 0]}, max_distance=500.0)),
            "SCAN box VIRTUAL TABLE INDEX 2:",
            False,
        ),
        (Query(selectors=(Selector(types=AnyOf((TypeIs(CAR), TypeIs(BUS)))),)), "", True),
    ],
)  # fmt: skip
async def test_queries_go_by_an_index(store: SQLiteStore, query: Query, uses: str, exact: bool) -> None:
    found, steps = plan(store, query)
    assert found.exact == exact
    assert any(uses in step for step in steps), steps
    if uses:
        assert not any(step.startswith(READS_ALL) and "VIRTUAL" not in step for step in steps), steps
    assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps if "lookup" not in step)


async def test_a_large_set_is_not_gathered_but_looked_up_entity_by_entity(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "SMALL", 10)
    found, steps = plan(store, car(q=speed(">", 5)))
    assert found.exact
    assert "SEARCH lookup EXISTS USING COVERING INDEX lookup_rid (path=? AND rid=?)" in steps
    assert steps[0] == "SEARCH t USING PRIMARY KEY (tenant=? AND type=?)"
    counted, steps = plan(store, car(q=speed(">", 5), count=True))
    assert counted.exact
    assert "SEARCH lookup USING PRIMARY KEY (path=? AND kind=? AND value>?)" in steps


async def test_the_smaller_set_leads(store: SQLiteStore) -> None:
    found, _ = plan(store, car(q=And((name("==", "n3"), speed(">", 190)))))
    assert found.rows.values[:1] == (190,)
    assert found.exact


async def test_other_tenants_are_not_gone_through(store: SQLiteStore) -> None:
    _, steps = plan(store, Query(), "faw")
    assert steps[0] == "SEARCH t USING PRIMARY KEY (tenant=? AND type=?)"


async def test_what_no_form_can_satisfy_reads_nothing(store: SQLiteStore) -> None:
    for query in (
        car(q=Exists(Path((MAKER,)))),
        car(attributes=(MAKER,)),
        Query(selectors=(Selector(types=TypeIs("urn:none")),)),
        Query(selectors=(Selector(types=TypeIs(BUS)),), q=name("!=", "x")),
    ):
        assert plan(store, query)[0].empty
    assert plan(store, Query(), "nobody")[0].empty


async def test_counts_by_form_read_no_entity(store: SQLiteStore) -> None:
    found, _ = plan(store, car(count=True))
    assert found.forms is not None
    assert (await store.query("", car(count=True, limit=0), now=NOW)).total == 200


async def test_plans_name_the_indexes_they_miss(store: SQLiteStore) -> None:
    missing = Path((SPEED,), ("unit",))
    found, _ = plan(store, car(q=And((speed(">", 5), Comparison(missing, "==", ("a",))))))
    assert found.wanted == (missing,)


def test_forms_judge() -> None:
    form = Form(1, (CAR,), {SPEED: ("Property",), LOCATION: ("GeoProperty",)})
    there, missing = Exists(Path((SPEED,))), Exists(Path((NAME,)))
    for node, verdict in (
        (there, True),
        (missing, False),
        (Not(missing), True),
        (Exists(Path((SPEED, NAME))), None),
        (Exists(Path((SPEED,), ("k",))), None),
        (Exists(Path(("createdAt",))), None),
        (speed(">", 1), None),
        (name("!=", "a"), False),
        (And((there, missing)), False),
        (And((there, speed(">", 1))), None),
        (Or((there, speed(">", 1))), True),
        (Or((missing, speed(">", 1))), None),
        (Not(speed(">", 1)), None),
    ):
        assert judge(node, form) is verdict, node
    assert judge_types(AnyOf((TypeIs(BUS), TypeIs(CAR))), form) is True


def test_wanted_paths_are_those_an_index_can_serve() -> None:
    serve = [speed(">", 1), name("==", "a", "b"), Comparison(Path((MAKER,)), "==", range=(1, 2))]
    cannot = [
        Comparison(Path((LOCATION,)), "!=", (1,)),
        Comparison(Path((LOCATION,)), "~=", ("a",)),
        Comparison(Path((LOCATION,)), ">", (True,)),
        Comparison(Path((LOCATION,), through=Path((SPEED,))), "==", (1,)),
    ]
    assert wanted(Query(q=And((*serve, *cannot)))) == (Path((SPEED,)), Path((NAME,)), Path((MAKER,)))
    assert wanted(Query(q=Not(speed(">", 1)))) == ()


def test_attributes_that_a_query_looks_at() -> None:
    query = Query(
        q=Not(And((speed(">", 1), Comparison(Path((MAKER,), through=Path((NAME,))), "==", ("a",))))),
        geo=Geo("within", {"type": "Point", "coordinates": [0, 0]}),
    )
    assert attributes_of(query) == {SPEED, MAKER, LOCATION}


def test_ids_are_tested_before_entities_are_decoded() -> None:
    fits = id_test(Query(selectors=(Selector(id_pattern=":7$"),)))
    assert fits is not None
    assert [fits("urn:x:7"), fits("urn:x:8")] == [True, False]
    assert id_test(Query(selectors=(Selector(ids=("urn:x:8",), id_pattern=":7$"),))) is None
    assert id_test(Query(selectors=(Selector(id_pattern=":7$"), Selector(types=TypeIs(CAR))))) is None


async def test_reader_tells_how_much_it_decoded(store: SQLiteStore) -> None:
    reader = Reader(store.path)
    try:
        _, _, decoded = reader.query("", car(q=speed(">", 100)), store.paths, NOW)
        assert decoded == 0
        _, _, decoded = reader.query("", car(q=speed("!=", 0), limit=3), store.paths, NOW)
        assert decoded == 4
    finally:
        reader.close()
