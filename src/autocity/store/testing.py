"""The promises of `port.Store` as tests: a new store is done when these pass.

`StoreContract` is a pytest class: inherit from it and give it a fixture `make`. `Twins` is a Hypothesis
state machine that plays random operations on a store and on the memory store and compares all they say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from autocity.ld import document
from autocity.ld.instants import timestamp
from autocity.ld.query import (
    AllOf,
    And,
    AnyOf,
    Compare,
    Comparison,
    Exists,
    Geo,
    Not,
    Or,
    Order,
    Path,
    Query,
    Scalar,
    ScopeIs,
    Selector,
    Temporal,
    TypeIs,
)
from autocity.ld.temporal import Window
from autocity.model import NGSI_LD_NULL, Attribute, Change, Delivery, Entity, Instant, Kind, Logged
from autocity.store.history import SCOPE
from autocity.store.memory import MemoryStore
from autocity.store.port import Commit, PointWrite, RecordWrite, StaleCommit, Store

NOW: Instant = 1_795_000_000_000_000
CAR, BUS = "https://example.org/Car", "https://example.org/Bus"
SPEED, NAME, MAKER = "https://example.org/speed", "https://example.org/name", "https://example.org/maker"
LOCATION = "https://uri.etsi.org/ngsi-ld/location"
EVERYTHING = Query(limit=1000, count=True)

Answer = TypeVar("Answer")


# -- small things to write


def attribute(value: Any, at: Instant = NOW, kind: Kind = "Property", **members: Any) -> Attribute:
    """An instance as the merge rules would make it at a time."""
    return Attribute(kind=kind, value=value, created_at=at, modified_at=at, **members)


def point(x: float, y: float, at: Instant = NOW) -> Attribute:
    """A position."""
    return attribute({"type": "Point", "coordinates": [x, y]}, at, "GeoProperty")


def entity(number: int, at: Instant = NOW, type: str = CAR, **attributes: Any) -> Entity:
    """An entity with a number; keyword arguments are values of properties by short name."""
    return Entity(
        id=f"urn:ngsi-ld:Car:{number}",
        types=(type,),
        created_at=at,
        modified_at=at,
        attributes={
            f"https://example.org/{name}": (attribute(value, at),) for name, value in attributes.items()
        },
    )


def change(
    before: Entity | None, after: Entity | None, expected: int, tenant: str = "", **members: Any
) -> Change:
    """The change from one state to another."""
    present = after or before
    assert present is not None
    at = members.pop("at", present.modified_at)
    return Change(
        tenant=tenant, id=present.id, at=at, before=before, after=after, expected=expected, **members
    )


def creation(*entities: Entity, tenant: str = "") -> Commit:
    """A commit that creates entities."""
    return Commit(changes=tuple(change(None, one, 0, tenant) for one in entities))


def car(**members: Any) -> Query:
    """A query for cars."""
    return Query(selectors=(Selector(types=TypeIs(CAR)),), **members)


class StoreContract:
    """What every store promises. A subclass gives the fixture `make`, a function that makes a store on the
    same place each time it is called, and says whether what is there outlives the store object."""

    durable = True

    @pytest.fixture
    async def store(self, make: Callable[[], Store]) -> AsyncIterator[Store]:
        """The store under test, open."""
        store = make()
        await store.open()
        yield store
        await store.close()

    # -- state

    async def test_an_entity_reads_back_as_it_was_written(self, store: Store) -> None:
        one = entity(1, speed=50.0, name="Hongqi", maker=[1, None, {"a": [2]}])
        assert await store.commit(creation(one)) == [1]
        stored = await store.get("", one.id)
        assert stored is not None
        assert (stored.id, stored.version) == (one.id, 1)
        assert document.load(stored.document) == one

    async def test_what_is_not_there_is_none(self, store: Store) -> None:
        assert await store.get("", "urn:ngsi-ld:Car:1") is None
        assert await store.get("nobody", "urn:ngsi-ld:Car:1") is None
        assert await store.get_many("nobody", ["urn:ngsi-ld:Car:1"]) == []

    async def test_many_come_in_the_order_asked_each_once(self, store: Store) -> None:
        await store.commit(creation(*(entity(n) for n in range(5))))
        ids = [f"urn:ngsi-ld:Car:{n}" for n in (3, 9, 1, 3)]
        assert [one.id for one in await store.get_many("", ids)] == [ids[0], ids[2]]

    async def test_versions_count_or_are_the_ones_given(self, store: Store) -> None:
        one, two = entity(1, speed=1), entity(1, NOW + 1, speed=2)
        await store.commit(creation(one))
        await store.commit(Commit(changes=(change(one, two, 1),)))
        assert await version(store, one.id) == 2
        await store.commit(Commit(changes=(change(two, one, 2, version=77),)))
        assert await version(store, one.id) == 77

    async def test_deletion_leaves_nothing(self, store: Store) -> None:
        one = entity(1, speed=1)
        await store.commit(creation(one))
        await store.commit(Commit(changes=(change(one, None, 1),)))
        assert await store.get("", one.id) is None
        assert await store.count() == 0
        assert (await store.query("", EVERYTHING, now=NOW)).entities == []
        assert await store.summary("") == []

    # -- staleness and atomicity

    async def test_a_stale_version_refuses_the_whole_commit(self, store: Store) -> None:
        one, two = entity(1), entity(2)
        await store.commit(creation(one))
        commit = Commit(
            changes=(change(None, two, 0), change(one, None, 2)),
            records=(RecordWrite(tenant="", kind="user", id="ann", body=b"{}"),),
            deliveries=(delivery(1),),
            points=(provision(3, attribute(1)),),
        )
        with pytest.raises(StaleCommit) as refusal:
            await store.commit(commit)
        assert refusal.value.stale == (("", one.id),)
        assert await store.get("", two.id) is None
        assert await store.record("", "user", "ann") is None
        assert await store.outbox() == []
        assert await store.recorded("", Query()) == [one.id]
        assert await store.last_seq() == 1

    async def test_creating_what_is_there_and_changing_what_is_not_are_stale(self, store: Store) -> None:
        one = entity(1)
        await store.commit(creation(one))
        for stale in (change(None, one, 0), change(entity(2), None, 1)):
            with pytest.raises(StaleCommit) as refusal:
                await store.commit(Commit(changes=(stale,)))
            assert refusal.value.stale == (("", stale.id),)

    async def test_changes_of_one_entity_apply_one_upon_the_other(self, store: Store) -> None:
        one, two, three = (entity(1, NOW + n, speed=n) for n in range(3))
        commit = Commit(changes=(change(None, one, 0), change(one, two, 1), change(two, three, 2)))
        assert await store.commit(commit) == [1, 2, 3]
        assert await version(store, one.id) == 3
        again = Commit(changes=(change(three, None, 3, at=NOW + 9), change(None, one, 0)))
        await store.commit(again)
        assert await version(store, one.id) == 1
        assert await speeds(store, one.id) == [0, 0, 1, 2, NGSI_LD_NULL]

    async def test_of_two_who_decided_upon_the_same_one_is_refused(self, store: Store) -> None:
        one = entity(1, speed=0)
        await store.commit(creation(one))
        attempts = [
            store.commit(Commit(changes=(change(one, entity(1, NOW + n, speed=n), 1),))) for n in (1, 2, 3)
        ]
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        assert sorted(type(answer).__name__ for answer in answers) == ["StaleCommit", "StaleCommit", "list"]
        assert await version(store, one.id) == 2

    async def test_submission_order_is_kept(self, store: Store) -> None:
        states = [entity(1, NOW + n, speed=n) for n in range(50)]
        pairs = zip([None, *states[:-1]], states, strict=True)
        commits = [
            store.commit(Commit(changes=(change(before, after, n),)))
            for n, (before, after) in enumerate(pairs)
        ]
        assert await asyncio.gather(*commits) == [[n + 1] for n in range(50)]

    async def test_a_commit_that_cannot_be_written_leaves_the_others_alone(self, store: Store) -> None:
        bad = entity(1, name="\ud800")
        answers = await asyncio.gather(
            store.commit(creation(entity(2))),
            store.commit(creation(bad)),
            store.commit(creation(entity(3))),
            return_exceptions=True,
        )
        assert isinstance(answers[1], Exception)
        assert [await store.get("", f"urn:ngsi-ld:Car:{n}") is not None for n in (1, 2, 3)] == [
            False,
            True,
            True,
        ]
        assert await store.check() == []

    # -- queries

    async def test_queries_page_in_order_of_creation(self, store: Store) -> None:
        await store.commit(creation(*(entity(n) for n in (5, 3, 9, 1))))
        one = entity(3)
        await store.commit(Commit(changes=(change(one, None, 1),)))
        await store.commit(creation(one))
        page = await store.query("", car(limit=2, offset=1, count=True), now=NOW)
        assert (ids(page.entities), page.total) == ([9, 1], 4)
        assert (await store.query("", car(limit=2, offset=3), now=NOW)) == type(page)(
            [await found(store, one.id)], None
        )

    async def test_expired_entities_are_not_there_any_more(self, store: Store) -> None:
        mortal = replace(entity(1), expires_at=timestamp(NOW + 10))
        await store.commit(creation(mortal, entity(2), tenant=""))
        assert ids((await store.query("", car(), now=NOW + 9)).entities) == [1, 2]
        page = await store.query("", car(count=True), now=NOW + 10)
        assert (ids(page.entities), page.total) == ([2], 1)
        assert await store.expired(NOW + 9) == []
        assert await store.expired(NOW + 10) == [("", mortal.id)]

    async def test_queries_find_by_every_part(self, store: Store) -> None:
        fast = replace(entity(1, speed=90, name="Hongqi"), scopes=("/city/north",))
        slow = replace(entity(2, speed=20), scopes=("/city",))
        bus = entity(3, type=BUS, speed=50)
        bus = replace(bus, attributes={**bus.attributes, LOCATION: (point(125.3, 43.9),)})
        await store.commit(creation(fast, slow, bus))
        near = Geo("near", {"type": "Point", "coordinates": [125.3, 43.9]}, max_distance=1000.0)
        for query, expected in (
            (Query(selectors=(Selector(ids=(slow.id, bus.id)),)), [2, 3]),
            (Query(selectors=(Selector(id_pattern=":[13]$"),)), [1, 3]),
            (Query(selectors=(Selector(types=TypeIs(BUS)), Selector(ids=(fast.id,)))), [1, 3]),
            (Query(q=Comparison(Path((SPEED,)), ">", (40,))), [1, 3]),
            (Query(q=And((Exists(Path((SPEED,))), Not(Exists(Path((NAME,))))))), [2, 3]),
            (Query(scopes=ScopeIs(("city", "#"))), [1, 2]),
            (Query(scopes=ScopeIs(("city",))), [2]),
            (Query(attributes=(NAME, LOCATION)), [1, 3]),
            (Query(geo=near), [3]),
            (Query(order=(Order(Path((SPEED,)), descending=True),)), [1, 3, 2]),
        ):
            assert ids((await store.query("", query, now=NOW)).entities) == expected, query

    async def test_links_are_followed_within_the_tenant(self, store: Store) -> None:
        maker = Entity(id="urn:maker", types=(BUS,), attributes={NAME: (attribute("FAW"),)})
        link = attribute(maker.id, kind="Relationship")
        one = Entity(id="urn:ngsi-ld:Car:1", types=(CAR,), attributes={MAKER: (link,)})
        await store.commit(creation(one, maker))
        await store.commit(creation(one, tenant="other"))
        query = car(q=Comparison(Path((MAKER,), through=Path((NAME,))), "==", ("FAW",)))
        assert ids((await store.query("", query, now=NOW)).entities) == [1]
        assert (await store.query("other", query, now=NOW)).entities == []

    async def test_summary_tells_types_and_kinds(self, store: Store) -> None:
        link = replace(entity(3), attributes={NAME: (attribute("urn:x", kind="Relationship"),)})
        await store.commit(creation(entity(1, name="a"), entity(2, speed=1), link, entity(4, type=BUS)))
        bus, cars = await store.summary("")
        assert (bus.type, bus.count, bus.attributes) == (BUS, 1, {})
        assert (cars.type, cars.count) == (CAR, 3)
        assert cars.attributes == {NAME: ("Property", "Relationship"), SPEED: ("Property",)}

    # -- tenants

    async def test_tenants_do_not_see_each_other(self, store: Store) -> None:
        assert await store.tenants() == [""]
        ours, theirs = entity(1, speed=1), entity(1, speed=2)
        await store.commit(creation(ours))
        await store.commit(creation(theirs, entity(2), tenant="faw"))
        await store.commit(
            Commit(records=(RecordWrite(tenant="third", kind="user", id="ann", body=b"1", expected=0),))
        )
        assert await store.tenants() == ["", "faw", "third"]
        assert document.load((await found(store, ours.id)).document) == ours
        assert document.load((await found(store, ours.id, "faw")).document) == theirs
        assert [await store.count(tenant) for tenant in (None, "", "faw", "third")] == [3, 1, 2, 0]
        assert ids((await store.query("faw", car(), now=NOW)).entities) == [1, 2]
        assert await store.recorded("", Query()) == [ours.id]
        assert await store.record("", "user", "ann") is None
        assert [line.tenant for line in await store.log(0)] == ["", "faw", "faw"]
        assert [line.seq for line in await store.log(0, tenant="faw")] == [2, 3]

    # -- records and generation

    async def test_records_have_versions_and_an_order(self, store: Store) -> None:
        def put(id: str, body: bytes | None, expected: int | None = None, tenant: str = "") -> Commit:
            return Commit(
                records=(RecordWrite(tenant=tenant, kind="user", id=id, body=body, expected=expected),)
            )

        for commit in (put("b", b"1", 0), put("a", b"2"), put("b", b"3", 1), put("c", b"4", tenant="faw")):
            await store.commit(commit)
        assert [(one.id, one.body, one.version) for one in await store.records("", "user")] == [
            ("b", b"3", 2),
            ("a", b"2", 1),
        ]
        assert [one.id for one in await store.records(None, "user")] == ["b", "a", "c"]
        assert await store.records(None, "token") == []
        for stale in (put("b", b"5", 0), put("b", b"5", 1), put("x", None, 1)):
            with pytest.raises(StaleCommit) as refusal:
                await store.commit(stale)
            assert refusal.value.stale == (("", f"user/{stale.records[0].id}"),)
        await store.commit(put("b", None, 2))
        await store.commit(put("b", b"6", 0))
        assert [one.id for one in await store.records("", "user")] == ["a", "b"]

    async def test_generation_guards_those_who_matched_subscriptions(self, store: Store) -> None:
        before = store.generation()
        await store.commit(Commit(records=(RecordWrite(tenant="", kind="user", id="ann", body=b"1"),)))
        assert store.generation() == before
        subscribe = RecordWrite(tenant="", kind="subscription", id="s", body=b"1")
        await store.commit(Commit(records=(subscribe,), generation=before))
        assert store.generation() > before
        with pytest.raises(StaleCommit) as refusal:
            await store.commit(replace(creation(entity(1)), generation=before))
        assert refusal.value.stale == (("", "generation"),)
        await store.commit(replace(creation(entity(1)), generation=store.generation()))
        before = store.generation()
        register = RecordWrite(tenant="", kind="registration", id="r", body=b"1")
        await store.commit(Commit(records=(register,)))
        assert store.generation() > before

    async def test_a_subscription_in_flight_makes_what_follows_stale(self, store: Store) -> None:
        before = store.generation()
        subscribe = Commit(records=(RecordWrite(tenant="", kind="subscription", id="s", body=b"1"),))
        late = replace(creation(entity(1)), generation=before)
        answers = await asyncio.gather(store.commit(subscribe), store.commit(late), return_exceptions=True)
        assert answers[0] == []
        assert isinstance(answers[1], StaleCommit)

    # -- history

    async def test_history_keeps_every_state_and_every_end(self, store: Store) -> None:
        one = entity(1, speed=1, name="a")
        two = replace(
            one, attributes={**one.attributes, SPEED: (attribute(2, NOW + 1),)}, modified_at=NOW + 1
        )
        three = replace(two, attributes={SPEED: two.attributes[SPEED]}, modified_at=NOW + 2)
        for expected, (before, after) in enumerate(((None, one), (one, two), (two, three), (three, None))):
            await store.commit(Commit(changes=(change(before, after, expected, at=NOW + expected),)))
        (history,) = await store.history("", [one.id, "urn:none"], Window())
        assert [(i.value, i.created_at - NOW, i.deleted_at) for i in history.attributes[SPEED]] == [
            (1, 0, 0),
            (2, 1, 0),
            (NGSI_LD_NULL, 3, NOW + 3),
        ]
        assert [(i.value, i.deleted_at) for i in history.attributes[NAME]] == [
            ("a", 0),
            (NGSI_LD_NULL, NOW + 2),
        ]
        assert (history.types, history.deleted_at) == ((CAR,), NOW + 3)
        assert await store.recorded("", car()) == [one.id]

    async def test_instances_keep_all_they_had(self, store: Store) -> None:
        rich = attribute(
            [1, {"a": None}],
            observed_at="2026-01-01T00:00:00.500Z",
            unit_code="KMH",
            dataset_id="urn:d:1",
            sub={NAME: (attribute("gauge"),)},
            extra={"valueType": "urn:t"},
        )
        plain = [
            attribute(value, observed_at="2026-01-01T00:00:01,25Z") for value in (True, 1.0, 1, "", 10**30)
        ]
        one = replace(entity(1), attributes={SPEED: (plain[0], rich)})
        await store.commit(creation(one))
        await store.commit(Commit(points=(provision(1, *plain[1:]),)))
        (history,) = await store.history("", [one.id], Window())
        kept = [replace(instance, instance_id=None) for instance in history.attributes[SPEED]]
        assert rich in kept
        told = {(type(one.value), one.value) for one in kept if one != rich}
        assert told == {(type(one.value), one.value) for one in plain}
        assert all(one in (rich, replace(plain[0], value=one.value)) for one in kept)

    async def test_scopes_have_a_history(self, store: Store) -> None:
        states = [
            replace(entity(1, NOW + n), scopes=s) for n, s in enumerate((("/a",), ("/a",), ("/a", "/b"), ()))
        ]
        for n, (before, after) in enumerate(zip([None, *states], [*states, None], strict=True)):
            await store.commit(Commit(changes=(change(before, after, n, at=NOW + n),)))
        (history,) = await store.history("", [states[0].id], Window())
        assert [(i.value, i.observed_at) for i in history.attributes[SCOPE] if not i.deleted_at] == [
            ("/a", timestamp(NOW)),
            (["/a", "/b"], timestamp(NOW + 2)),
        ]
        assert [i.value for i in history.attributes[SCOPE] if i.deleted_at] == [NGSI_LD_NULL]

    async def test_windows_and_limits(self, store: Store) -> None:
        times = [NOW + 1_000_000 * n for n in range(10)]
        given = [attribute(n, observed_at=timestamp(at)) for n, at in enumerate(times)]
        await store.commit(Commit(points=(provision(1, *given, attribute(99)),)))
        for window, values, cut in (
            (Window("before", times[3]), [0, 1, 2], False),
            (Window("after", times[8]), [8, 9], False),
            (Window("between", times[2], times[4]), [2, 3], False),
            (Window("after", times[0], last_n=2), [8, 9], False),
            (Window("after", times[0], limit=2), [0, 1], True),
            (Window("after", times[0], last_n=5, limit=2), [8, 9], True),
            (Window(last_n=3), [7, 8, 9], False),
            (Window(limit=2), [99, 0], True),
            (Window(last_n=11, limit=11), [99, *range(10)], False),
            (Window("after", NOW, property="createdAt"), [*range(10), 99], False),
        ):
            (history,) = await store.history("", ["urn:ngsi-ld:Car:1"], window)
            assert sorted(i.value for i in history.attributes[SPEED]) == sorted(values), window
            assert history.truncated == cut, window
        assert await store.history("", ["urn:ngsi-ld:Car:1"], Window("after", times[9] + 1)) == []
        assert await store.history("", ["urn:ngsi-ld:Car:1"], Window(), [NAME]) == []

    async def test_datasets_are_told_apart(self, store: Store) -> None:
        given = [attribute(n, dataset_id=d) for n, d in enumerate((None, "urn:d:1", "urn:d:2"))]
        await store.commit(Commit(points=(provision(1, *given),)))
        for datasets, values in ((("@none",), [0]), (("urn:d:1", "urn:d:9"), [1]), ((), [0, 1, 2])):
            (history,) = await store.history("", ["urn:ngsi-ld:Car:1"], Window(dataset_ids=datasets))
            assert [i.value for i in history.attributes[SPEED]] == values
        assert await store.forget("", "urn:ngsi-ld:Car:1", SPEED, dataset_ids=["@none", "urn:d:2"])
        assert await speeds(store, "urn:ngsi-ld:Car:1") == [1]

    async def test_an_unrecorded_change_leaves_no_history(self, store: Store) -> None:
        one = entity(1, speed=1)
        await store.commit(Commit(changes=(change(None, one, 0, record=False),)))
        assert await store.history("", [one.id], Window()) == []
        assert await store.recorded("", Query()) == []
        two = entity(1, NOW + 1, speed=2)
        await store.commit(Commit(changes=(change(one, two, 1),)))
        assert await speeds(store, one.id) == [2]

    async def test_provided_history_needs_no_entity(self, store: Store) -> None:
        await store.commit(Commit(points=(provision(1, attribute(5), types=(BUS,)),)))
        await store.commit(Commit(points=(provision(1, attribute(6), types=(CAR, BUS), at=NOW + 1),)))
        (history,) = await store.history("", ["urn:ngsi-ld:Car:1"], Window())
        assert (history.types, history.created_at, history.modified_at) == ((BUS, CAR), NOW, NOW + 1)
        assert await store.get("", "urn:ngsi-ld:Car:1") is None
        assert await store.count() == 0
        assert await store.recorded("", car()) == ["urn:ngsi-ld:Car:1"]
        await store.commit(creation(entity(1, NOW + 2, speed=7)))
        assert await speeds(store, "urn:ngsi-ld:Car:1") == [5, 6, 7]

    async def test_an_instance_is_replaced_in_its_place(self, store: Store) -> None:
        await store.commit(Commit(points=(provision(1, attribute(1), attribute(2)),)))
        first, _ = await instances(store, "urn:ngsi-ld:Car:1")
        seen = attribute(3, observed_at=timestamp(NOW + 77), instance_id=first.instance_id)
        for n in (5, 6):  # the second time it stands elsewhere
            await store.commit(Commit(points=(provision(1, replace(seen, value=n), at=NOW + n),)))
            kept = {i.instance_id: i for i in await instances(store, "urn:ngsi-ld:Car:1")}
            new = kept[first.instance_id]
            assert (new.value, new.created_at, new.modified_at, len(kept)) == (n, NOW, NOW + n, 2)
        with pytest.raises(StaleCommit):
            unknown = attribute(1, instance_id="urn:ngsi-ld:instance:0000:1:0:0")
            await store.commit(Commit(points=(provision(1, unknown),)))

    async def test_forgetting(self, store: Store) -> None:
        one = entity(1, speed=1, name="a")
        await store.commit(creation(one))
        await store.commit(Commit(points=(provision(1, attribute(2)),)))
        (instance, _) = await instances(store, one.id)
        assert await store.forget("", one.id, SPEED, instance.instance_id)
        assert not await store.forget("", one.id, SPEED, instance.instance_id)
        assert len(await instances(store, one.id)) == 1
        assert await store.forget("", one.id, SPEED)
        assert not await store.forget("", one.id, SPEED)
        assert list((await store.history("", [one.id], Window()))[0].attributes) == [NAME]
        assert await store.forget("", one.id)
        assert not await store.forget("", one.id)
        assert not await store.forget("nobody", one.id)
        assert await store.recorded("", Query()) == []
        assert await store.get("", one.id) is not None

    # -- outbox, log, watch

    async def test_the_outbox_keeps_until_settled(self, store: Store) -> None:
        await store.commit(Commit(deliveries=tuple(delivery(n, due_at=NOW + n) for n in (3, 1, 2))))
        assert [one.id for one in await store.outbox()] == ["n:3", "n:1", "n:2"]
        assert [one.id for one in await store.outbox(limit=2)] == ["n:3", "n:1"]
        assert [one.id for one in await store.outbox(due_before=NOW + 2)] == ["n:1", "n:2"]
        tried = delivery(3, due_at=NOW, attempts=1, error="refused")
        await store.commit(Commit(deliveries=(tried,), settled=("n:1", "n:unknown")))
        assert await store.outbox() == [tried, delivery(2, due_at=NOW + 2)]
        dead = delivery(3, attempts=9, dead=True, subscription="urn:s:2")
        await store.commit(Commit(deliveries=(dead,)))
        assert await store.outbox(dead=True) == [dead]
        assert await store.outbox(dead=True, subscription="urn:s:1") == []
        assert [one.id for one in await store.outbox(subscription="urn:s:1")] == ["n:2"]

    async def test_a_sender_alone_has_all_that_waits(self, store: Store) -> None:
        await store.commit(Commit(deliveries=tuple(delivery(n) for n in (3, 1))))
        assert [one.id for one in await store.claim()] == ["n:3", "n:1"]
        other = delivery(2, subscription="urn:s:2", due_at=NOW)
        await store.commit(Commit(deliveries=(other, delivery(4, dead=True)), settled=("n:1",)))
        assert await store.claim(subscription="urn:s:2") == [other]
        assert [one.id for one in await store.claim(subscription="urn:s:1")] == ["n:3"]
        assert await store.leads()

    async def test_the_log_tells_all_in_order(self, store: Store) -> None:
        one, two = entity(1, speed=1, name="a"), entity(1, NOW + 1, speed=2)
        await store.commit(Commit(changes=(change(None, one, 0, actor="ann"),)))
        await store.commit(Commit(changes=(change(one, two, 1, depth=2), change(two, None, 2))))
        lines = await store.log(0)
        assert [(line.seq, line.operation) for line in lines] == [(1, "create"), (2, "update"), (3, "delete")]
        assert [(line.actor, line.depth) for line in lines] == [("ann", 0), ("", 2), ("", 0)]
        assert [set(line.attributes) for line in lines] == [{SPEED, NAME}, {SPEED, NAME}, {SPEED}]
        assert {(line.tenant, line.id, line.types) for line in lines} == {("", one.id, (CAR,))}
        assert await store.log(1, limit=1) == lines[1:2]
        assert await store.log(3) == []
        assert await store.last_seq() == 3

    async def test_watchers_hear_everything_once_and_in_order(self, store: Store) -> None:
        heard: list[Logged] = []
        end = store.watch(heard.extend)
        await asyncio.gather(*(store.commit(creation(entity(n))) for n in range(30)))
        await eventually(lambda: len(heard) == 30)
        assert heard == await store.log(0)
        end()
        await store.commit(creation(entity(99)))
        assert len(heard) == 30

    async def test_a_watcher_sees_what_it_hears_of(self, store: Store) -> None:
        seen: list[int] = []
        tasks = []

        def hear(lines: Sequence[Logged]) -> None:
            tasks.append(asyncio.ensure_future(look(lines[0].id)))

        async def look(id: str) -> None:
            seen.append(await version(store, id))

        store.watch(hear)
        await store.commit(creation(entity(1)))
        await eventually(lambda: bool(tasks))
        await asyncio.gather(*tasks)
        assert seen == [1]

    # -- care

    async def test_it_is_sound(self, store: Store) -> None:
        await store.commit(creation(*(entity(n, speed=n) for n in range(20))))
        assert await store.check() == []

    async def test_everything_outlives_the_process(self, make: Callable[[], Store]) -> None:
        if not self.durable:
            pytest.skip("this store keeps nothing")
        first = make()
        await first.open()
        one = replace(entity(1, speed=1), scopes=("/a",))
        await first.commit(creation(one, tenant="faw"))
        await first.commit(
            Commit(
                records=(RecordWrite(tenant="", kind="subscription", id="s", body=b"1"),),
                deliveries=(delivery(1),),
                points=(provision(2, attribute(5)),),
            )
        )
        generation, log = first.generation(), await first.log(0)
        await first.close()
        second = make()
        await second.open()
        try:
            assert second.generation() == generation
            assert await second.log(0) == log
            assert await version(second, one.id, "faw") == 1
            assert await speeds(second, one.id, "faw") == [1]
            assert [one.id for one in await second.outbox()] == ["n:1"]
            assert await second.record("", "subscription", "s") is not None
            assert await second.recorded("", Query()) == ["urn:ngsi-ld:Car:2"]
            assert await second.commit(creation(entity(1))) == [2]
            assert await second.check() == []
        finally:
            await second.close()

    async def test_a_backup_is_a_city_of_its_own(
        self, store: Store, reopen: Callable[[FilePath], Store] | None, tmp_path: FilePath
    ) -> None:
        if reopen is None:
            pytest.skip("this store has no backup of its own")
        await store.commit(creation(*(entity(n, speed=n) for n in range(20))))
        target = tmp_path / "copy" / "city.db"
        target.parent.mkdir()
        await store.backup(str(target))
        await store.commit(creation(entity(99)))
        copy = reopen(target)
        await copy.open()
        try:
            assert await copy.count() == 20
            assert await copy.check() == []
            assert await speeds(copy, "urn:ngsi-ld:Car:3") == [3]
            await copy.commit(creation(entity(100)))
        finally:
            await copy.close()


# -- looking


async def found(store: Store, id: str, tenant: str = "") -> Any:
    """The entity, which must be there."""
    stored = await store.get(tenant, id)
    assert stored is not None
    return stored


async def version(store: Store, id: str, tenant: str = "") -> int:
    """The version of an entity that must be there."""
    return int((await found(store, id, tenant)).version)


async def instances(store: Store, id: str, tenant: str = "") -> tuple[Attribute, ...]:
    """What is recorded of an entity's speed."""
    (history,) = await store.history(tenant, [id], Window())
    return history.attributes[SPEED]


async def speeds(store: Store, id: str, tenant: str = "") -> list[Any]:
    """The values that are recorded of an entity's speed."""
    return [instance.value for instance in await instances(store, id, tenant)]


def ids(entities: Sequence[Any]) -> list[int]:
    """The numbers of entities."""
    return [int(one.id.rpartition(":")[2]) for one in entities]


def delivery(number: int, **members: Any) -> Delivery:
    """A notification on its way."""
    usual: dict[str, Any] = {"subscription": "urn:s:1", "tenant": "", "created_at": NOW, "body": b"{}"}
    return Delivery(id=f"n:{number}", **usual | members)


def provision(
    number: int, *given: Attribute, types: tuple[str, ...] = (CAR,), at: Instant = NOW, **members: Any
) -> PointWrite:
    """Instances of the speed of an entity, for its history alone."""
    usual: dict[str, Any] = {"tenant": "", "scopes": (), "attributes": {SPEED: given}}
    return PointWrite(id=f"urn:ngsi-ld:Car:{number}", types=types, at=at, **usual | members)


async def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something holds that another process or thread is about to make true."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


# -- random operations on two stores

TENANTS = st.sampled_from(["", "", "", "faw"])
NUMBERS = st.integers(0, 5)
TYPES = st.lists(st.sampled_from([CAR, BUS, "urn:type:T"]), min_size=1, max_size=2, unique=True).map(tuple)
SCOPES = st.lists(
    st.sampled_from(["/city", "/city/north", "city/north/1", "/citadel", "/x"]), max_size=2, unique=True
).map(tuple)
NAMES = st.sampled_from([SPEED, NAME, MAKER])
TIMES = st.integers(0, 8).map(lambda n: NOW + n * 500_000)
STRINGS = st.sampled_from(
    ["a", "b", "", "2026-11-22T08:30:00Z", "2026-11-22", "x" * 250, "x" * 250 + "y", "é", "\x00"]
)
NUMERALS = st.sampled_from([0, 1, 1.0, 2.5, -3, 10**18, 2**53 + 1, 2.0**53, 10**25, 1e25, -0.0])
SCALARS: st.SearchStrategy[Any] = STRINGS | NUMERALS | st.booleans()
VALUES: st.SearchStrategy[Any] = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.just([float(n) for n in range(150)])
    | st.dictionaries(st.sampled_from(["k", "l"]), SCALARS, max_size=2)
)
POINTS = st.tuples(
    st.sampled_from([-180.0, 0.0, 0.01, 179.99]), st.sampled_from([-89.0, 0.0, 0.01, 43.9])
).map(lambda at: {"type": "Point", "coordinates": list(at)})
KINDS: st.SearchStrategy[Kind] = st.sampled_from(
    ("Property", "Property", "Property", "Relationship", "LanguageProperty")
)
DATASETS = st.sampled_from([None, None, "urn:d:1", "urn:d:2"])


@st.composite
def attribute_instances(draw: st.DrawFn, at: Instant, recorded: bool = False) -> Attribute:
    """One instance, as written at a time."""
    kind: Kind = draw(
        st.sampled_from(("Property", "Property", "Property", "Relationship", "LanguageProperty"))
    )
    value: Any = {
        "Property": VALUES,
        "Relationship": st.sampled_from(["urn:ngsi-ld:Car:0", ["urn:ngsi-ld:Car:1", "urn:x"]]),
        "LanguageProperty": st.dictionaries(st.sampled_from(["en", "zh"]), STRINGS, min_size=1),
    }[kind]
    observed = draw(st.none() | TIMES.map(timestamp) | st.just("2026-11-18T20:53:20.500Z"))
    return attribute(
        draw(value),
        at,
        kind,
        observed_at=observed,
        dataset_id=draw(DATASETS),
        unit_code=draw(st.sampled_from([None, "KMH"])) if kind == "Property" else None,
        sub={NAME: (attribute(draw(SCALARS), at),)} if draw(st.booleans()) else {},
    )


@st.composite
def attribute_maps(draw: st.DrawFn, at: Instant) -> dict[str, tuple[Attribute, ...]]:
    """Attributes of an entity: some of the few names there are, each dataset once, perhaps a place."""
    chosen: dict[str, tuple[Attribute, ...]] = {}
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        some = draw(
            st.lists(attribute_instances(at), min_size=1, max_size=2, unique_by=lambda i: i.dataset_id)
        )
        chosen[name] = tuple(
            replace(one, kind=some[0].kind, value=one.value) for one in some if one.kind == some[0].kind
        )
    if draw(st.booleans()):
        chosen[LOCATION] = (attribute(draw(POINTS), at, "GeoProperty"),)
    return chosen


PATHS = st.sampled_from(
    [
        Path((SPEED,)),
        Path((NAME,)),
        Path((MAKER,)),
        Path((SPEED, NAME)),
        Path((SPEED,), ("k",)),
        Path((NAME,), ("en",)),
        Path((SPEED, "observedAt")),
        Path(("createdAt",)),
        Path(("type",)),
        Path((MAKER,), through=Path((SPEED,))),
    ]
)
TEMPORALS: st.SearchStrategy[Scalar] = st.sampled_from(
    [Temporal("DateTime", NOW), Temporal("DateTime", NOW + 1_000_000), Temporal("Date", 20779)]
)
CONSTANTS = SCALARS | TEMPORALS


OPERATORS: st.SearchStrategy[Compare] = st.sampled_from(("==", "==", "!=", ">", ">=", "<", "<=", "~=", "!~="))


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    """A comparison that a query can hold."""
    path, operator = draw(PATHS), draw(OPERATORS)
    if operator in ("~=", "!~="):
        return Comparison(path, operator, (draw(st.sampled_from(["a", "^x+$", "[0-9]"])),))
    if operator in ("==", "!=") and draw(st.booleans()):
        if draw(st.booleans()):
            return Comparison(path, operator, range=(draw(NUMERALS), draw(NUMERALS | STRINGS)))
        return Comparison(path, operator, tuple(draw(st.lists(CONSTANTS, min_size=1, max_size=3))))
    ordered = STRINGS | NUMERALS | TEMPORALS if operator in (">", ">=", "<", "<=") else CONSTANTS
    return Comparison(path, operator, (draw(ordered),))


def _joined(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(parts, min_size=1, max_size=3).map(tuple)
    return lists.map(And) | lists.map(Or) | parts.map(Not)


NODES = st.recursive(comparisons() | PATHS.map(Exists), _joined, max_leaves=4)
SELECTED_TYPES = st.recursive(
    st.sampled_from([CAR, BUS, "urn:type:T", "urn:type:none"]).map(TypeIs),
    lambda parts: (
        st.lists(parts, min_size=1, max_size=2).map(tuple).map(AllOf)
        | st.lists(parts, min_size=1, max_size=2).map(tuple).map(AnyOf)
    ),
    max_leaves=3,
)
SELECTED_SCOPES = st.sampled_from(
    [
        ScopeIs(("city",)),
        ScopeIs(("city", "#")),
        ScopeIs(("#",)),
        ScopeIs(("+", "north")),
        ScopeIs(("city", "+")),
        AllOf((ScopeIs(("x",)), ScopeIs(("city", "#")))),
        AnyOf((ScopeIs(("x",)), ScopeIs(("citadel",)))),
    ]
)
SELECTORS = st.builds(
    Selector,
    ids=st.lists(NUMBERS.map(lambda n: f"urn:ngsi-ld:Car:{n}"), max_size=2).map(tuple),
    id_pattern=st.sampled_from([None, None, "[024]$", "Car"]),
    types=st.none() | SELECTED_TYPES,
)
GEOS = st.builds(
    Geo,
    st.sampled_from(["near", "within", "intersects", "equals", "disjoint"]),
    POINTS | st.just({"type": "Polygon", "coordinates": [[[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]]}),
    st.just(LOCATION),
).map(lambda geo: replace(geo, max_distance=5000.0) if geo.relation == "near" else geo)
QUERIES = st.builds(
    Query,
    selectors=st.lists(SELECTORS, max_size=2).map(tuple),
    q=st.none() | NODES,
    scopes=st.none() | st.none() | SELECTED_SCOPES,
    geo=st.none() | st.none() | GEOS,
    attributes=st.lists(NAMES, max_size=2).map(tuple),
    dataset_ids=st.sampled_from([(), (), ("@none",), ("urn:d:1",)]),
    order=st.lists(st.builds(Order, PATHS, st.booleans()), max_size=2).map(tuple),
    limit=st.sampled_from([2, 20]),
    offset=st.sampled_from([0, 0, 1, 5]),
    count=st.booleans(),
)
WINDOWS = st.builds(
    Window,
    st.sampled_from([None, "before", "after", "between"]),
    TIMES,
    TIMES,
    st.sampled_from(["observedAt", "observedAt", "createdAt", "modifiedAt", "deletedAt"]),
    st.sampled_from([None, 1, 2, 5]),
    st.sampled_from([(), (), ("@none",), ("urn:d:1", "urn:d:2")]),
    st.sampled_from([None, 1, 3]),
)


class Twins(RuleBasedStateMachine):
    """Plays on a store and on the reference, which must say the same of everything."""

    def make(self) -> tuple[Store, Callable[[], None]]:
        """A new, empty store, and what to do when it is no longer needed."""
        raise LookupError("a subclass says which store")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.reference: Store = MemoryStore()
        self.store, self.discard = self.make()
        self.at = NOW
        self.wait(self.reference.open())
        self.wait(self.store.open())

    def teardown(self) -> None:
        self.wait(self.store.close())
        self.runner.close()
        self.discard()

    def wait(self, doing: Coroutine[Any, Any, Answer]) -> Answer:
        return self.runner.run(doing)

    def both(self, ask: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        """What both answer, or refuse."""
        expected, got = (self.wait(self.answer(ask(store))) for store in (self.reference, self.store))
        assert got == expected, f"the store says {got}, the reference {expected}"
        return got

    async def answer(self, doing: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await doing
        except StaleCommit as stale:
            return set(stale.stale)

    def held(self, tenant: str, id: str) -> tuple[Entity | None, int]:
        stored = self.wait(self.reference.get(tenant, id))
        return (document.load(stored.document), stored.version) if stored else (None, 0)

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        """Start with something to ask about."""
        self.create_or_change(data)

    @rule(data=st.data())
    def create_or_change(self, data: st.DataObject) -> None:
        """One commit of some changes, now and then a stale one."""
        self.at += data.draw(st.sampled_from([0, 1, 500_000]))
        heads: dict[tuple[str, str], tuple[Entity | None, int]] = {}
        changes = []
        for _ in range(data.draw(st.integers(1, 4))):
            tenant, id = data.draw(TENANTS), f"urn:ngsi-ld:Car:{data.draw(NUMBERS)}"
            before, expected = heads.get((tenant, id)) or self.held(tenant, id)
            after = self.next_state(data, id, before)
            if before is None and after is None:
                continue
            stale = data.draw(st.integers(0, 19)) == 0
            given = data.draw(st.sampled_from([0, 0, expected + 7]))
            changes.append(
                change(
                    before,
                    after,
                    expected + 1 if stale else expected,
                    tenant,
                    at=self.at,
                    version=given,
                    record=data.draw(st.integers(0, 9)) > 0,
                )
            )
            heads[tenant, id] = after, (0 if after is None else given or changes[-1].expected + 1)
        self.both(lambda store: store.commit(Commit(changes=tuple(changes))))

    def next_state(self, data: st.DataObject, id: str, before: Entity | None) -> Entity | None:
        if data.draw(st.integers(0, 4)) == 0:
            return None
        fresh = data.draw(attribute_maps(self.at))
        if before and data.draw(st.booleans()):
            return replace(before, attributes={**before.attributes, **fresh}, modified_at=self.at)
        return Entity(
            id=id,
            types=data.draw(TYPES),
            scopes=data.draw(SCOPES),
            attributes=fresh,
            created_at=before.created_at if before else self.at,
            modified_at=self.at,
            expires_at=data.draw(st.none() | st.none() | TIMES.map(timestamp)),
        )

    @rule(tenant=TENANTS, query=QUERIES, now=TIMES)
    def query(self, tenant: str, query: Query, now: Instant) -> None:
        self.both(lambda store: store.query(tenant, query, now=now))
        self.both(lambda store: store.recorded(tenant, query))

    @rule(tenant=TENANTS, path=PATHS)
    def index(self, tenant: str, path: Path) -> None:
        """Where a store has attribute indexes, make one and wait until it answers queries."""
        make: Any = getattr(self.store, "index", None)
        if make is not None and path.through is None:
            self.wait(make(tenant, path))
            self.wait(self.filled())

    async def filled(self) -> None:
        store: Any = self.store
        while not all(one.ready for some in store.paths.of.values() for one in some):
            await asyncio.sleep(0.001)

    @rule(data=st.data())
    def provide(self, data: st.DataObject) -> None:
        """Temporal provision: new instances, and one in the place of another."""
        self.at += data.draw(st.sampled_from([0, 1, 500_000]))
        tenant, number = data.draw(TENANTS), data.draw(NUMBERS)
        id = f"urn:ngsi-ld:Car:{number}"
        name = data.draw(NAMES)
        given = data.draw(st.lists(attribute_instances(self.at), min_size=1, max_size=3))
        known = self.wait(self.reference.history(tenant, [id], Window(), [name]))
        replacing = data.draw(st.booleans())
        if known and replacing:
            old: Attribute = data.draw(st.sampled_from(known[0].attributes[name]))
            given[0] = replace(given[0], instance_id=old.instance_id)
        write = provision(
            number,
            types=data.draw(TYPES),
            at=self.at,
            tenant=tenant,
            scopes=data.draw(SCOPES),
            attributes={name: tuple(given)},
        )
        self.both(lambda store: store.commit(Commit(points=(write,))))

    @rule(
        tenant=TENANTS, number=NUMBERS, name=st.none() | NAMES, datasets=st.sampled_from([(), (), ("@none",)])
    )
    def forget(self, tenant: str, number: int, name: str | None, datasets: tuple[str, ...]) -> None:
        id = f"urn:ngsi-ld:Car:{number}"
        self.both(lambda store: store.forget(tenant, id, name, dataset_ids=datasets))

    @rule(tenant=TENANTS, data=st.data())
    def forget_instance(self, tenant: str, data: st.DataObject) -> None:
        id = f"urn:ngsi-ld:Car:{data.draw(NUMBERS)}"
        known = self.wait(self.reference.history(tenant, [id], Window()))
        if known:
            name = data.draw(st.sampled_from(sorted(known[0].attributes)))
            instance = data.draw(st.sampled_from(known[0].attributes[name]))
            self.both(lambda store: store.forget(tenant, id, name, instance.instance_id))

    @rule(tenant=TENANTS, window=WINDOWS, names=st.lists(NAMES, max_size=2))
    def history(self, tenant: str, window: Window, names: list[str]) -> None:
        every = [f"urn:ngsi-ld:Car:{n}" for n in range(6)]
        self.both(lambda store: store.history(tenant, every, window, names))

    @rule(
        tenant=TENANTS,
        kind=st.sampled_from(["subscription", "user"]),
        id=st.sampled_from("ab"),
        body=st.sampled_from([b"1", b"2", None]),
        expected=st.sampled_from([None, 0, 1, 2]),
        generation=st.booleans(),
    )
    def write_record(
        self, tenant: str, kind: str, id: str, body: bytes | None, expected: int | None, generation: bool
    ) -> None:
        write = RecordWrite(tenant=tenant, kind=kind, id=id, body=body, expected=expected)
        known = self.reference.generation() if generation else None
        self.both(lambda store: store.commit(Commit(records=(write,), generation=known)))
        self.both(lambda store: store.records(None, kind))

    @rule(
        numbers=st.lists(NUMBERS, max_size=3),
        settled=st.lists(NUMBERS, max_size=2),
        dead=st.booleans(),
        at=TIMES,
    )
    def deliver(self, numbers: list[int], settled: list[int], dead: bool, at: Instant) -> None:
        commit = Commit(
            deliveries=tuple(delivery(n, due_at=at, dead=dead, attempts=n) for n in numbers),
            settled=tuple(f"n:{n}" for n in settled),
        )
        self.both(lambda store: store.commit(commit))
        self.both(lambda store: store.outbox(due_before=at, dead=dead))

    @invariant()
    def agree(self) -> None:
        """What is quick to ask is asked after every step."""
        self.both(lambda store: store.last_seq())
        self.both(lambda store: store.count())
        self.both(lambda store: store.query("", EVERYTHING, now=NOW))
        assert self.store.generation() == self.reference.generation()

    @rule()
    def agree_on_everything(self) -> None:
        """The slower questions."""
        self.both(lambda store: store.tenants())
        self.both(lambda store: store.log(0))
        self.both(lambda store: store.expired(NOW + 2_000_000))
        for tenant in self.wait(self.reference.tenants()):
            self.both(lambda store, tenant=tenant: store.summary(tenant))  # type: ignore[misc]
        assert self.wait(self.store.check()) == []


def discarding(folder: contextlib.AbstractContextManager[str]) -> tuple[FilePath, Callable[[], None]]:
    """A folder for one run of the machine, and how to do away with it."""
    stack = contextlib.ExitStack()
    return FilePath(stack.enter_context(folder)), stack.close
