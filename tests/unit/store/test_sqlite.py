"""The file: its lock, its migrations, what reads it beside the writer, and who reads where."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import apsw
import pytest
from msgspec.structs import replace

from autocity.errors import StoreUnavailable
from autocity.ld.query import And, Comparison, Path, Query
from autocity.ld.temporal import Window
from autocity.store import reader, sqlite, writer
from autocity.store.digest import digest
from autocity.store.port import Commit, RecordWrite
from autocity.store.sqlite import SQLiteStore, migrations
from autocity.store.testing import (
    NAME,
    NOW,
    SPEED,
    attribute,
    car,
    change,
    creation,
    entity,
    ids,
    provision,
    speeds,
)


@pytest.fixture
async def store(tmp_path: FilePath) -> AsyncIterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "data" / "city.db")
    await store.open()
    yield store
    await store.close()


async def test_one_process_writes(store: SQLiteStore) -> None:
    with pytest.raises(StoreUnavailable, match=f"in use by process {os.getpid()}; stop that process"):
        await SQLiteStore(store.path).open()
    await store.close()
    other = SQLiteStore(store.path)
    await other.open()
    await other.close()
    await store.open()


async def test_many_read_beside_the_writer(store: SQLiteStore) -> None:
    await store.commit(creation(entity(1, speed=1)))
    beside = SQLiteStore(store.path, readonly=True)
    await beside.open()
    await store.commit(creation(entity(2)))
    assert ids((await beside.query("", car(), now=NOW)).entities) == [1, 2]
    assert await speeds(beside, "urn:ngsi-ld:Car:1") == [1]
    with pytest.raises(StoreUnavailable, match="reading only"):
        await beside.commit(creation(entity(3)))
    await beside.close()


async def test_reading_beside_needs_a_file(tmp_path: FilePath) -> None:
    with pytest.raises(StoreUnavailable, match="no city"):
        await SQLiteStore(tmp_path / "city.db", readonly=True).open()


async def test_a_closed_store_says_so(tmp_path: FilePath) -> None:
    store = SQLiteStore(tmp_path / "city.db")
    for ask in (store.get("", "urn:x"), store.commit(Commit()), store.check()):
        with pytest.raises(StoreUnavailable, match="closed"):
            await ask


async def test_a_newer_file_is_refused(store: SQLiteStore) -> None:
    await store.close()
    with_newer_schema = apsw.Connection(str(store.path))
    with_newer_schema.pragma("user_version", 999)
    with_newer_schema.close()
    for again in (SQLiteStore(store.path), SQLiteStore(store.path, readonly=True)):
        with pytest.raises(StoreUnavailable, match=r"newer release \(schema 999"):
            await again.open()
    # What was refused holds no lock.
    with pytest.raises(StoreUnavailable, match="newer"):
        await SQLiteStore(store.path).open()


async def test_the_file_of_another_program_is_refused(tmp_path: FilePath) -> None:
    other = apsw.Connection(str(tmp_path / "city.db"))
    other.pragma("application_id", 1)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(StoreUnavailable, match="another program"):
        await SQLiteStore(tmp_path / "city.db").open()


async def test_a_failed_migration_leaves_the_file_as_it_was(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit(creation(entity(1)))
    await store.close()
    steps = [*migrations(), (900, "CREATE TABLE new (x); SELECT * FROM nowhere;")]
    monkeypatch.setattr(sqlite, "migrations", lambda: steps)
    with pytest.raises(apsw.SQLError):
        await store.open()
    monkeypatch.undo()
    await store.open()
    assert await store.count() == 1


def test_migrations_are_numbered_without_gaps() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


async def test_a_long_query_leaves_the_loop(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "CHUNK", 50)
    await store.commit(creation(*(entity(n, speed=n) for n in range(400))))
    query = car(q=Comparison(Path((SPEED,)), "==", (399,)))
    with pytest.raises(reader.TooLong):
        store._here().query("", query, store.paths, NOW)
    assert ids((await store.query("", query, now=NOW)).entities) == [399]
    await store.get("", "urn:ngsi-ld:Car:1")  # no longer bound


async def test_sqlite_itself_is_interrupted_when_it_takes_long(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit(creation(*(entity(n, speed=n) for n in range(5000))))
    assert store._here()._budget is not None
    monkeypatch.setattr(store._here()._budget, "_limits", (0, 10**9))
    query = car(q=Comparison(Path((SPEED,)), "==", (-1,)), count=True)
    with pytest.raises(reader.TooLong):
        store._here().query("", query, store.paths, NOW)
    assert (await store.query("", query, now=NOW)).total == 0


async def test_an_index_is_made_when_queries_keep_missing_it(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY", 1000)
    monkeypatch.setattr(writer, "CHUNK", 50)
    await store.commit(creation(*(entity(n, speed=n) for n in range(250))))
    query = car(q=Comparison(Path((SPEED,)), ">", (240,)))
    for _ in range(4):
        assert ids((await store.query("", query, now=NOW)).entities) == list(range(241, 250))
    assert store.paths.of == {}
    await store.query("", query, now=NOW)
    # While the index is filled, what is written meanwhile is kept in it too.
    before = entity(0, speed=0)
    await store.commit(Commit(changes=(change(before, entity(0, NOW + 1, speed=999), 1),)))
    await store.commit(creation(entity(500, speed=500)))
    async with asyncio.timeout(10):
        while not all(one.ready for one in store.paths.of.get("", ())) or not store.paths.of:
            await asyncio.sleep(0.001)
    page, _, decoded = store._here().query("", query, store.paths, NOW)
    assert (ids(page.entities), decoded) == ([0, *range(241, 250), 500], 0)
    assert await store.check() == []


async def test_an_index_that_was_being_filled_is_filled_after_a_restart(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.commit(creation(*(entity(n, speed=n) for n in range(20))))
    monkeypatch.setattr(writer.Writer, "fill", lambda self, tenant, path: None)
    assert await store.index("", Path((SPEED,)))
    assert not await store.index("", Path((SPEED,)))
    await store.close()
    monkeypatch.undo()
    await store.open()
    async with asyncio.timeout(10):
        while not store.paths.of[""][0].ready:
            await asyncio.sleep(0.001)
    _, _, decoded = store._here().query("", car(q=Comparison(Path((SPEED,)), "==", (7,))), store.paths, NOW)
    assert decoded == 0


async def test_indexes_have_a_limit(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_PATHS", 1)
    await store.commit(creation(entity(1)))
    assert not await store.index("nobody", Path((SPEED,)))
    assert await store.index("", Path((SPEED,)))
    assert not await store.index("", Path((NAME,)))


async def test_more_scalars_than_an_index_keeps(store: SQLiteStore) -> None:
    await store.commit(creation(entity(1, speed=1), entity(2, speed=list(range(500))), entity(3, speed=[7])))
    await store.index("", Path((SPEED,)))
    await store.commit(creation(entity(4, speed=list(range(400, 900)))))
    query = car(q=Comparison(Path((SPEED,)), "==", (450,)))
    assert ids((await store.query("", query, now=NOW)).entities) == [2, 4]
    assert store.paths.of[""][0].overflow


async def test_a_commit_prepared_for_other_indexes_is_prepared_again(store: SQLiteStore) -> None:
    one, two = entity(1, speed=1), entity(1, NOW + 1, speed=2)
    again = (change(two, None, 2), change(None, two, 0))
    early = [
        digest(commit, store.paths)
        for commit in (creation(one), Commit(changes=(change(one, two, 1),)), Commit(changes=again))
    ]
    await store.commit(creation(entity(9)))
    await store.index("", Path((SPEED,)))
    for rows in early:
        await store.commit_digest(rows)
    for speed, expected in ((1, []), (2, [1])):
        query = Query(q=And((Comparison(Path((SPEED,)), "==", (speed,)),)))
        assert ids((await store.query("", query, now=NOW)).entities) == expected
    assert await store.check() == []


async def test_every_connection_completes_the_file_durably(store: SQLiteStore) -> None:
    for db in (store._db, store._here()._db):
        assert db is not None
        assert (db.pragma("journal_mode"), db.pragma("synchronous")) == ("wal", 2)


async def test_one_commit_that_cannot_be_written_fails_alone(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = writer.Writer._apply

    def fail(self: writer.Writer, row: writer.Row) -> None:
        apply(self, row)
        if row.id.endswith(":2"):
            raise OverflowError("as if SQLite could not bind it")

    monkeypatch.setattr(writer.Writer, "_apply", fail)
    answers = await asyncio.gather(
        *(store.commit(creation(entity(n, speed=n))) for n in range(5)), return_exceptions=True
    )
    assert [type(answer).__name__ for answer in answers] == ["list", "list", "OverflowError", "list", "list"]
    assert [answers[n] for n in (0, 1, 3, 4)] == [[1], [2], [3], [4]]
    assert ids((await store.query("", car(), now=NOW)).entities) == [0, 1, 3, 4]
    assert await store.check() == []


async def test_no_group_grows_without_bound(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "GROUP_ROWS", 10)
    groups: list[int] = []
    together = writer.Writer._together

    def count(self: writer.Writer, jobs: list[writer.Job]) -> writer.Announcement:
        groups.append(sum(len(job.about) for job in jobs))
        return together(self, jobs)

    monkeypatch.setattr(writer.Writer, "_together", count)
    await asyncio.gather(*(store.commit(creation(*(entity(8 * n + i) for i in range(8)))) for n in range(10)))
    assert sum(groups) == 80
    assert max(groups) <= 16


async def test_made_up_instance_ids_are_not_found(store: SQLiteStore) -> None:
    await store.commit(creation(entity(1, speed=1)))
    for text in ("urn:x", "urn:ngsi-ld:instance:0:0:0:0", f"urn:ngsi-ld:instance:0:{'f' * 40}:0:0"):
        assert not await store.forget("", "urn:ngsi-ld:Car:1", SPEED, text)
    assert await speeds(store, "urn:ngsi-ld:Car:1") == [1]


async def test_what_is_rolled_back_is_not_announced(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = writer.Writer._flush

    def fail(self: writer.Writer) -> None:
        flush(self)
        raise OSError("as if the disk were gone")

    monkeypatch.setattr(writer.Writer, "_flush", fail)
    subscribe = Commit(records=(RecordWrite(tenant="new", kind="subscription", id="s", body=b"1"),))
    generation = store.generation()
    with pytest.raises(OSError, match="gone"):
        await store.commit(subscribe)
    assert store.generation() == generation
    monkeypatch.undo()
    assert await store.tenants() == [""]
    await store.commit(replace(subscribe, generation=generation))
    assert store.generation() == generation + 1
    assert await store.check() == []


async def test_a_full_disk_is_told_and_survived(store: SQLiteStore) -> None:
    assert store._db is not None
    pages = store._db.pragma("page_count")
    store._db.pragma("max_page_count", pages)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await store.commit(creation(entity(1, name="x" * 1_000_000)))
    store._db.pragma("max_page_count", 1 << 30)
    await store.commit(creation(entity(2)))
    assert await store.count() == 1
    assert await store.check() == []


async def test_the_oldest_lines_of_the_log_are_let_go(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LOG_LINES", 50)
    monkeypatch.setattr(writer, "LOG_SLACK", 20)
    for n in range(6):
        await store.commit(creation(*(entity(n * 20 + i) for i in range(20))))
    lines = await store.log(0)
    assert [lines[0].seq, lines[-1].seq] == [71, 120]
    assert await store.check() == []


async def test_instances_at_the_same_place_get_numbers(store: SQLiteStore) -> None:
    same = attribute(1, observed_at="2026-11-22T08:30:00Z")
    await store.commit(Commit(points=(provision(1, same, same, replace(same, value=2)),)))
    await store.commit(Commit(points=(provision(1, same),)))
    (history,) = await store.history("", ["urn:ngsi-ld:Car:1"], Window())
    kept = history.attributes[SPEED]
    assert [instance.value for instance in kept] == [1, 1, 2, 1]
    assert len({instance.instance_id for instance in kept}) == 4


async def test_nobody_who_left_is_answered(store: SQLiteStore) -> None:
    going = asyncio.ensure_future(store.commit(creation(entity(1))))
    await asyncio.sleep(0)
    going.cancel()
    await store.commit(creation(entity(2)))
    assert await store.count() == 2


async def test_check_names_what_is_broken(store: SQLiteStore) -> None:
    await store.commit(creation(entity(1, speed=1)))
    assert store._db is not None
    store._db.execute("DELETE FROM entity_type")
    faults = await store.check()
    assert any("entities have a type" in fault for fault in faults)
    assert any("forms count their entities" in fault for fault in faults)
    # The query language of the console must not be able to write through a reader.
    with pytest.raises(apsw.Error):
        store._here()._db.execute("DELETE FROM entity")
