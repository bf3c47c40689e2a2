"""Several processes on one PostgreSQL: one order, nothing missed, nothing done twice."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from autocity.errors import BadRequestData, ConfigError, StoreUnavailable
from autocity.ld.query import AnyOf, Comparison, Exists, Geo, Or, Query, ScopeIs, Selector, TypeIs
from autocity.ld.query import Path as Way
from autocity.ld.temporal import Window
from autocity.model import Logged
from autocity.store.port import Commit, RecordWrite, StaleCommit
from autocity.store.postgres import PostgresStore, dump, plans
from autocity.store.postgres import store as shared
from autocity.store.postgres.connections import migrations, named, without_password
from autocity.store.postgres.reads import SERIES
from autocity.store.testing import (
    BUS,
    CAR,
    LOCATION,
    NAME,
    NOW,
    SPEED,
    attribute,
    car,
    change,
    creation,
    delivery,
    entity,
    eventually,
    ids,
    point,
    provision,
    version,
)
from clusters import Cluster


@pytest.fixture
async def several(database: str) -> AsyncIterator[Callable[[], Any]]:
    """Makes another open store on the same database, as another process would."""
    stores: list[PostgresStore] = []

    async def another() -> PostgresStore:
        store = PostgresStore(database)
        stores.append(store)
        await store.open()
        return store

    yield another
    for store in stores:
        await store.close()


def subscribe(id: str = "s") -> Commit:
    return Commit(records=(RecordWrite(tenant="", kind="subscription", id=id, body=b"1"),))


async def indexed(store: PostgresStore, *ways: Way) -> None:
    for way in ways:
        await store.index("", way)
    async with asyncio.timeout(10):
        while not all(one.ready for one in store.paths.of.get("", ())):
            await asyncio.sleep(0.01)


# -- one order


async def test_all_hear_of_everything_in_one_order_without_gaps(several: Any) -> None:
    stores = [await several() for _ in range(3)]
    heard: list[list[Logged]] = [[] for _ in stores]
    for store, lines in zip(stores, heard, strict=True):
        store.watch(lines.extend)
    read: list[int] = []

    async def follow() -> None:
        """Whoever reads on from a cursor while others write misses nothing."""
        while len(read) < 120:
            read.extend(line.seq for line in await stores[0].log(read[-1] if read else 0))

    following = asyncio.create_task(follow())
    writes = [
        store.commit(creation(entity(1000 * which + n, speed=n)))
        for n in range(40)
        for which, store in enumerate(stores)
    ]
    numbers = await asyncio.gather(*writes)
    await asyncio.wait_for(following, 20)
    assert read == list(range(1, 121))
    assert sorted(number for (number,) in numbers) == read
    await eventually(lambda: all(len(lines) == 120 for lines in heard))
    assert heard[0] == heard[1] == heard[2] == await stores[0].log(0)
    assert await stores[0].check() == []


async def test_of_many_who_create_the_same_one_succeeds(several: Any) -> None:
    stores = [await several() for _ in range(3)]
    for round in range(5):
        answers = await asyncio.gather(
            *(store.commit(creation(entity(round), entity(100 + round))) for store in stores),
            return_exceptions=True,
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["StaleCommit", "StaleCommit", "list"]
        (refused, _) = (answer for answer in answers if isinstance(answer, StaleCommit))
        assert set(refused.stale) == {("", entity(round).id), ("", entity(100 + round).id)}
    assert await stores[0].last_seq() == 10


async def test_updates_through_several_lose_nothing(several: Any) -> None:
    stores = [await several() for _ in range(2)]
    one = entity(1, speed=0)
    await stores[0].commit(creation(one))

    async def raise_it(store: PostgresStore, times: int) -> None:
        while times:
            before = await version(store, one.id)
            update = change(one, entity(1, NOW + before, speed=before), before)
            try:
                await store.commit(Commit(changes=(update,)))
            except StaleCommit:
                continue
            times -= 1

    await asyncio.gather(*(raise_it(store, 10) for store in stores for _ in range(2)))
    assert await version(stores[0], one.id) == 41
    assert [line.seq for line in await stores[1].log(0)] == list(range(1, 42))


async def test_entities_changed_in_opposite_orders_do_not_block_each_other(several: Any) -> None:
    stores = [await several() for _ in range(2)]
    cars = [entity(n) for n in range(6)]
    await stores[0].commit(creation(*cars))

    async def touch(store: PostgresStore, order: list[Any]) -> int:
        done = 0
        for _ in range(15):
            versions = {
                stored.id: stored.version for stored in await store.get_many("", [c.id for c in cars])
            }
            commit = Commit(changes=tuple(change(one, one, versions[one.id]) for one in order))
            try:
                await store.commit(commit)
                done += 1
            except StaleCommit:
                pass
        return done

    done = await asyncio.gather(touch(stores[0], cars), touch(stores[1], cars[::-1]))
    assert sum(done) >= 15
    assert await version(stores[0], cars[0].id) == 1 + sum(done)


# -- what all must know


async def test_a_subscription_made_elsewhere_makes_a_commit_stale_at_once(several: Any) -> None:
    one, other = await several(), await several()
    known = other.generation()
    await one.commit(subscribe())
    with pytest.raises(StaleCommit) as refusal:
        await other.commit(replace(creation(entity(1)), generation=known))
    assert refusal.value.stale == (("", "generation"),)
    # Whoever was refused knows now.
    assert other.generation() == one.generation()
    await other.commit(replace(creation(entity(1)), generation=other.generation()))
    await one.commit(subscribe("t"))
    await eventually(lambda: other.generation() == one.generation())


async def test_subscribing_and_matching_at_once_never_miss_each_other(several: Any) -> None:
    one, other = await several(), await several()
    for n in range(20):
        known = other.generation()
        made, told = await asyncio.gather(
            one.commit(subscribe(f"s{n}")),
            other.commit(replace(creation(entity(n)), generation=known)),
            return_exceptions=True,
        )
        assert made == []
        if isinstance(told, list):
            # It came first: its line was there before the subscription.
            assert await other.last_seq() == told[0]
        else:
            assert isinstance(told, StaleCommit)
            await other.commit(creation(entity(n)))
        await eventually(lambda: other.generation() == one.generation())


async def test_a_new_kind_of_entity_is_found_at_once_by_all(several: Any) -> None:
    one, other = await several(), await several()
    assert (await other.query("", Query(), now=NOW)).entities == []
    for n in range(10):
        type = f"https://example.org/Type{n}"
        await one.commit(creation(entity(n, type=type, speed=n)))
        by_type = Query(selectors=(Selector(types=TypeIs(type)),), count=True)
        page = await other.query("", by_type, now=NOW)
        assert (ids(page.entities), page.total) == ([n], 1)
        assert (await other.query("", Query(q=Comparison(Way((SPEED,)), "==", (n,))), now=NOW)).entities
    await one.commit(creation(entity(1), tenant="new"))
    assert ids((await other.query("new", Query(), now=NOW)).entities) == [1]


async def test_an_index_begun_elsewhere_holds_what_is_written_here(several: Any) -> None:
    one, other = await several(), await several()
    await one.commit(creation(*(entity(n, speed=n) for n in range(20))))

    async def write() -> None:
        for n in range(20, 60):
            await other.commit(creation(entity(n, speed=n)))
            await other.commit(
                Commit(changes=(change(entity(n - 20, speed=n - 20), entity(n - 20, speed=-n), 1),))
            )

    await asyncio.gather(write(), indexed(one, Way((SPEED,))))
    await eventually(lambda: all(some.ready for some in other.paths.of.get("", ())) and bool(other.paths.of))
    for store in (one, other):
        query = car(q=Comparison(Way((SPEED,)), ">", (39,)), count=True, limit=100)
        found = await store.query("", query, now=NOW)
        assert (ids(found.entities), found.total) == (list(range(40, 60)), 20)
        query = car(q=Comparison(Way((SPEED,)), "<", (-19,)), count=True, limit=100)
        assert (await store.query("", query, now=NOW)).total == 40
    assert await one.check() == []


async def test_history_of_one_entity_written_through_several(several: Any) -> None:
    stores = [await several() for _ in range(3)]
    await asyncio.gather(
        *(
            store.commit(Commit(points=(provision(1, attribute(10 * which + n)),)))
            for which, store in enumerate(stores)
            for n in range(5)
        )
    )
    (history,) = await stores[0].history("", [entity(1).id], Window())
    assert sorted(one.value for one in history.attributes[SPEED]) == [
        10 * which + n for which in range(3) for n in range(5)
    ]
    assert len({one.instance_id for one in history.attributes[SPEED]}) == 15


# -- what only one shall do


async def test_each_delivery_is_one_process_s_to_send(several: Any) -> None:
    one, other, silent = [await several() for _ in range(3)]
    assert await one.claim() == await other.claim() == []
    await one.commit(Commit(deliveries=(delivery(1), delivery(2))))
    await other.commit(Commit(deliveries=(delivery(3),)))
    # It never asked for anything to send, so what it writes is for the others.
    await silent.commit(Commit(deliveries=tuple(delivery(n) for n in range(10, 30))))
    taken = await asyncio.gather(one.claim(limit=5), other.claim(limit=50), one.claim(limit=50))
    free = [each.id for some in taken for each in some if int(each.id[2:]) >= 10]
    assert sorted(free) == sorted(f"n:{n}" for n in range(10, 30))
    mine = {each.id for each in await one.claim(subscription="urn:s:1")}
    theirs = {each.id for each in await other.claim(subscription="urn:s:1")}
    assert mine >= {"n:1", "n:2"}
    assert theirs >= {"n:3"}
    assert not mine & theirs
    assert len(mine | theirs) == 23
    assert len(await silent.outbox()) == 23


async def test_what_an_ended_process_had_goes_to_another(several: Any) -> None:
    one, other = await several(), await several()
    await one.claim()
    await other.claim()
    await one.commit(Commit(deliveries=tuple(delivery(n) for n in (3, 1, 2))))
    assert await other.claim() == []
    await one.close()
    assert [each.id for each in await other.claim()] == ["n:3", "n:1", "n:2"]
    await other.commit(Commit(settled=("n:1",)))
    assert [each.id for each in await other.claim(subscription="urn:s:1")] == ["n:3", "n:2"]


async def test_a_process_is_told_again_of_what_it_has(several: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await several()
    await store.claim()
    await store.commit(Commit(deliveries=(delivery(1),)))
    assert await store.claim() == []
    monkeypatch.setattr(shared, "REMIND_SECONDS", 0.0)
    assert [each.id for each in await store.claim()] == ["n:1"]


async def test_one_process_leads_until_it_ends(several: Any) -> None:
    one, other = await several(), await several()
    assert await one.leads()
    assert await one.leads()
    assert not await other.leads()
    await one.close()
    async with asyncio.timeout(5):
        while not await other.leads():
            await asyncio.sleep(0.02)


# -- the server goes away and comes back


async def test_work_goes_on_after_connections_were_cut(
    several: Any, postgres: Cluster, database: str
) -> None:
    store, other = await several(), await several()
    heard: list[Logged] = []
    store.watch(heard.extend)
    await store.commit(creation(entity(1)))
    name = database.rpartition("?")[0].rpartition("/")[2]
    await postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    for target, number in ((store, 2), (other, 3)):
        async with asyncio.timeout(10):
            while True:
                try:
                    await target.commit(creation(entity(number)))
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0.05)
                except StaleCommit:
                    break  # the answer was lost, the commit was not
    assert await version(store, entity(3).id) == 1
    await eventually(lambda: len(heard) == 3, 10)
    assert heard == await store.log(0)


async def test_a_commit_is_on_disk_whatever_the_server_s_default_is(
    several: Any, postgres: Cluster, database: str
) -> None:
    name = database.rpartition("?")[0].rpartition("/")[2]
    await postgres.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = await several()
    assert await store._value("SHOW synchronous_commit") == "off"
    assert await store._writer().run(lambda db: db.fetchval("SHOW synchronous_commit")) == "on"


async def test_a_closed_store_says_so(several: Any) -> None:
    store = await several()
    await store.close()
    for asking in (store.get("", "urn:x"), store.query("", Query(), now=NOW), store.commit(subscribe())):
        with pytest.raises(StoreUnavailable, match="closed"):
            await asking


# -- opening


async def test_many_may_open_an_empty_database_at_once(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    assert await stores[3].count() == 0
    await asyncio.gather(*(store.close() for store in stores))


async def test_a_database_of_a_newer_release_is_refused(several: Any, database: str) -> None:
    store = await several()
    newer = migrations()[-1][0] + 1
    await store._db().execute("INSERT INTO autocity.schema VALUES ($1)", newer)
    with pytest.raises(StoreUnavailable, match=f"newer release .schema {newer}"):
        await PostgresStore(database).open()


async def test_a_database_that_cannot_hold_every_text_is_refused(postgres: Cluster) -> None:
    await postgres.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="encoded in LATIN1"):
        await PostgresStore(postgres.url("latin")).open()
    await postgres.run("DROP DATABASE latin WITH (FORCE)")


async def test_no_server_is_said_without_the_password(tmp_path: Path) -> None:
    store = PostgresStore(f"postgresql://ann:secret@/city?host={tmp_path}")
    with pytest.raises(StoreUnavailable, match=r"no connection to postgresql://ann@/city") as refusal:
        await store.open()
    assert "secret" not in str(refusal.value)
    assert without_password("postgresql://ann:a%40b@host:5/x") == ("postgresql://ann@host:5/x", "a@b")
    assert named("postgresql://host/x") == "postgresql://host/x"


async def test_a_missing_driver_is_said_with_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigError, match=r"pip install 'autocity\[postgres\]'"):
        await PostgresStore("postgresql://host/x").open()


async def test_what_no_database_can_hold_is_bad_data(several: Any) -> None:
    store = await several()
    too_long = replace(entity(1), id="urn:" + "".join(chr(97 + n * 7 % 26) + str(n) for n in range(5000)))
    nul = replace(entity(2), id="urn:\x00")
    answers = await asyncio.gather(
        store.commit(creation(too_long)),
        store.commit(creation(nul)),
        store.commit(creation(entity(3))),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers] == [BadRequestData, BadRequestData, list]


# -- how queries are answered


@pytest.fixture
async def town(several: Any) -> PostgresStore:
    """Some thousand cars and a few buses; speed and name are indexed."""
    store: PostgresStore = await several()
    cars = [
        replace(
            entity(n),
            attributes={
                SPEED: (attribute(n),),
                NAME: (attribute(f"n{n % 10}"),),
                LOCATION: (point(n / 1000, 0.0),),
            },
            scopes=(f"/city/{n % 4}",),
        )
        for n in range(3000)
    ]
    await store.commit(creation(*cars))
    await store.commit(creation(*(entity(n, type=BUS, speed=n) for n in range(5000, 5010))))
    await indexed(store, Way((SPEED,)), Way((NAME,)))
    return store


def speed(operator: Any, *values: Any) -> Comparison:
    return Comparison(Way((SPEED,)), operator, values)


async def steps(store: PostgresStore, query: Query) -> str:
    """PostgreSQL's own account of how it finds a page of a query."""
    from autocity.store.compile import draft

    plan = await store.plan(draft(query, store._schema("", 0)), query, NOW)
    text, values = plans.page(plan, "e.id", query.limit)
    return "\n".join(row[0] for row in await store._fetch(f"EXPLAIN {text}", *values))


@pytest.mark.parametrize(
    ("query", "uses"),
    [
        (car(), "entity_form_rid"),
        (car(q=Exists(Way((NAME,)))), "entity_form_rid"),
        (car(q=speed("==", 150)), "lookup_pkey"),
        (car(q=speed(">", 2900)), "lookup_pkey"),
        (car(q=Or((speed("==", 150), Comparison(Way((NAME,)), "==", ("n3",))))), "lookup_pkey"),
        (Query(selectors=(Selector(ids=(entity(7).id,)),)), "entity_pkey"),
        (car(scopes=ScopeIs(("city", "3"))), "entity_scopes"),
        (car(geo=Geo("near", {"type": "Point", "coordinates": [0, 0]}, max_distance=500.0)), "entity_bounds"),
        (Query(selectors=(Selector(types=AnyOf((TypeIs(CAR), TypeIs(BUS)))),)), "entity_form_rid"),
    ],
)
async def test_queries_go_by_an_index(town: PostgresStore, query: Query, uses: str) -> None:
    said = await steps(town, query)
    assert uses in said, said
    assert "Seq Scan on entity" not in said, said
    assert "Seq Scan on lookup" not in said, said


async def test_a_large_set_is_not_gathered_but_looked_up_entity_by_entity(
    town: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autocity.store import compile

    monkeypatch.setattr(compile, "SMALL", 100)
    said = await steps(town, car(q=speed(">", 5)))
    assert "lookup_rid" in said
    assert "entity_form_rid" in said
    assert ids((await town.query("", car(q=speed(">", 5), limit=3), now=NOW)).entities) == [6, 7, 8]


async def test_history_is_found_by_its_key(town: PostgresStore) -> None:
    said = "\n".join(row[0] for row in await town._fetch(f"EXPLAIN {SERIES}", [1]))
    assert "Seq Scan on point" not in said
    text = (
        "EXPLAIN SELECT * FROM point WHERE entity = 1 AND series = 1"
        " ORDER BY at DESC, lag DESC, n DESC LIMIT 9"
    )
    said = "\n".join(row[0] for row in await town._fetch(text))
    assert "Index Scan Backward using point_pkey" in said
    assert "Sort" not in said


async def test_a_query_that_keeps_missing_an_index_gets_one(several: Any) -> None:
    store = await several()
    await store.commit(creation(*(entity(n, speed=n) for n in range(700))))
    query = car(q=speed(">", 690))
    assert len((await store.query("", query, now=NOW)).entities) == 9
    await eventually(lambda: any(one.ready for one in store.paths.of.get("", ())))
    assert len((await store.query("", query, now=NOW)).entities) == 9


# -- care


async def test_a_dump_is_a_city_of_its_own(
    several: Any, postgres: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(postgres.programs), prepend=":")
    store = await several()
    await store.commit(creation(*(entity(n, speed=n) for n in range(20)), tenant="faw"))
    await store.commit(subscribe())
    target = tmp_path / "city.dump"
    await store.backup(str(target))
    await store.commit(creation(entity(99)))
    await postgres.run("CREATE DATABASE restored")
    await dump.restore(target, postgres.url("restored"))
    copy = PostgresStore(postgres.url("restored"))
    await copy.open()
    try:
        assert (await copy.count(), await copy.check(), copy.generation()) == (20, [], 1)
        assert await copy.commit(creation(entity(100))) == [21]
    finally:
        await copy.close()
    with pytest.raises(StoreUnavailable, match="already exists"):
        await dump.restore(target, postgres.url("restored"))
    await postgres.run("DROP DATABASE restored")


async def test_without_pg_dump_the_command_is_told(several: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store = await several()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StoreUnavailable, match=r"pg_dump --format=custom --schema=autocity .*--file=/x.part"):
        await store.backup("/x")


async def test_geographic_programs_see_the_places(postgres: Cluster, several: Any, database: str) -> None:
    store = await several()
    if not await store._value("SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgis')"):
        pytest.skip("PostGIS is not installed")
    await store._db().execute("CREATE EXTENSION postgis SCHEMA public")
    await store.close()
    again = PostgresStore(database)
    await again.open()
    try:
        two = {LOCATION: (point(125.3, 43.9), replace(point(1, 2), dataset_id="urn:d:1"))}
        await again.commit(creation(replace(entity(1), attributes={LOCATION: (point(125.3, 43.9),)})))
        await again.commit(creation(replace(entity(2), attributes=two)))
        rows = await again._fetch(
            "SELECT id, attribute, types ->> 0, st_x(geometry), st_y(geometry), st_srid(geometry)"
            " FROM place ORDER BY id, 4 DESC"
        )
        assert [tuple(row) for row in rows] == [
            (entity(1).id, LOCATION, CAR, 125.3, 43.9, 4326),
            (entity(2).id, LOCATION, CAR, 125.3, 43.9, 4326),
            (entity(2).id, LOCATION, CAR, 1.0, 2.0, 4326),
        ]
    finally:
        await again.close()
