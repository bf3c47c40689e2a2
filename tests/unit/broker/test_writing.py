"""How writes are decided: concurrency, refusals, batches, loops."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autocity.broker import Caller
from autocity.broker.writing import MAX_DEPTH
from autocity.errors import AlreadyExists, Conflict, ResourceNotFound, StoreUnavailable
from autocity.ld import merge
from autocity.ld.context import CORE
from autocity.model import Change
from autocity.store.memory import MemoryStore
from autocity.store.port import Commit
from towns import LAMP, LateStore, Town, build, entity, fragment, now


def late_store(town: Town) -> LateStore:
    assert isinstance(town.store, LateStore)
    return town.store


def foreign(town: Town, id: str = LAMP, **values: Any) -> Any:
    """What another process would do to an entity, past this process's broker."""

    async def write() -> None:
        stored = await town.store.get("", id)
        assert stored is not None
        before = await town.entity(id)
        after = merge.update_attributes(before, fragment(**values), now()).entity
        change = Change(tenant="", id=id, at=now(), before=before, after=after, expected=stored.version)
        await MemoryStore.commit(town.store, Commit(changes=(change,)))

    return write


async def test_a_hundred_concurrent_updates_of_one_entity_all_arrive_without_a_retry(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=0))
    await asyncio.gather(
        *(late.broker.update_attributes(late.me, LAMP, fragment(**{f"a{n}": n})) for n in range(100))
    )
    assert await late.values() == {"power": 0} | {f"a{n}": n for n in range(100)}
    assert late_store(late).refused == 0


async def test_read_modify_write_by_merge_is_serial(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(state={"type": "JsonProperty", "json": {}}))
    await asyncio.gather(
        *(
            late.broker.merge_entity(
                late.me, LAMP, fragment(state={"type": "JsonProperty", "json": {str(n): n}})
            )
            for n in range(50)
        )
    )
    assert (await late.values())["state"] == {str(n): n for n in range(50)}


async def test_one_of_many_concurrent_creates_wins_and_the_others_hear_why(late: Town) -> None:
    outcomes = await asyncio.gather(
        *(late.broker.create_entity(late.me, entity(power=n)) for n in range(20)), return_exceptions=True
    )
    assert [type(each) for each in outcomes].count(type(None)) == 1
    assert [type(each) for each in outcomes].count(AlreadyExists) == 19


async def test_a_failed_commit_takes_down_all_that_was_built_upon_it_and_all_are_decided_anew(
    late: Town,
) -> None:
    await late.broker.create_entity(late.me, entity(power=0))
    late_store(late).fail_next = 1
    await asyncio.gather(
        *(late.broker.update_attributes(late.me, LAMP, fragment(**{f"a{n}": n})) for n in range(10))
    )
    assert await late.values() == {"power": 0} | {f"a{n}": n for n in range(10)}
    assert late_store(late).refused > 0


async def test_a_write_of_another_process_between_is_neither_lost_nor_overwritten(late: Town) -> None:
    # The foreign state bears the number after the one read: had this process counted so, too, its second
    # change would be taken for one upon the foreign state, and overwrite it.
    await late.broker.create_entity(late.me, entity(power=0))
    late_store(late).interfere = foreign(late, colour="red")
    await asyncio.gather(
        *(late.broker.update_attributes(late.me, LAMP, fragment(**{f"a{n}": n})) for n in range(10))
    )
    assert await late.values() == {"power": 0, "colour": "red"} | {f"a{n}": n for n in range(10)}


async def test_two_processes_on_one_store_lose_nothing(late: Town) -> None:
    other = await build(late.store, deliver=False)
    await late.broker.create_entity(late.me, entity(power=0))
    await asyncio.gather(
        *(late.broker.update_attributes(late.me, LAMP, fragment(**{f"a{n}": n})) for n in range(30)),
        *(other.broker.update_attributes(late.me, LAMP, fragment(**{f"b{n}": n})) for n in range(30)),
    )
    expected = {f"a{n}": n for n in range(30)} | {f"b{n}": n for n in range(30)}
    assert await late.values() == {"power": 0} | expected
    await other.broker.stop()


async def test_a_refusal_based_on_a_commit_that_fails_is_taken_back(late: Town) -> None:
    store = late_store(late)
    await late.broker.create_entity(late.me, entity(power=0))
    store.fail_next = 1
    deleting = asyncio.create_task(late.broker.delete_entity(late.me, LAMP))
    await asyncio.sleep(0)
    updating = asyncio.create_task(late.broker.update_attributes(late.me, LAMP, fragment(power=1)))
    done = await asyncio.gather(deleting, updating, return_exceptions=True)
    # Whichever came first on disk, the answers agree with what is there.
    assert done[0] is None
    with pytest.raises(ResourceNotFound):
        await late.entity()


async def test_a_write_that_changes_nothing_is_not_written(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=5))
    commits = len(late_store(late).commits)
    outcome = await late.broker.merge_entity(late.me, LAMP, fragment())
    assert outcome.updated == ()
    assert len(late_store(late).commits) == commits


async def test_delete_and_create_again_in_flight(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=1))
    await asyncio.gather(
        late.broker.delete_entity(late.me, LAMP),
        late.broker.create_entity(late.me, entity(power=2)),
    )
    assert await late.values() == {"power": 2}
    assert late_store(late).refused == 0


async def test_a_cancelled_write_does_not_hold_up_others(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=0))
    writing = asyncio.create_task(late.broker.update_attributes(late.me, LAMP, fragment(a=1)))
    await asyncio.sleep(0)
    writing.cancel()
    await late.broker.update_attributes(late.me, LAMP, fragment(b=2))
    assert (await late.values())["b"] == 2


async def test_a_store_that_always_refuses_ends_in_a_refusal(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=0))
    late_store(late).fail_next = 10_000
    with pytest.raises(StoreUnavailable, match="try again"):
        await late.broker.update_attributes(late.me, LAMP, fragment(power=1))


async def test_a_batch_is_one_commit_and_later_items_build_upon_earlier_ones(late: Town) -> None:
    result = await late.broker.upsert_entities(
        late.me,
        [entity(power=1), entity("urn:ngsi-ld:Lamp:2", power=2), entity(colour="red")],
        update=True,
    )
    assert result.success == [LAMP, "urn:ngsi-ld:Lamp:2"]
    assert result.created == [LAMP, "urn:ngsi-ld:Lamp:2"]
    assert result.errors == []
    assert len([each for each in late_store(late).commits if each.changes]) == 1
    assert await late.values() == {"power": 1, "colour": "red"}


async def test_a_batch_names_who_failed_and_keeps_the_others(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=1))
    result = await late.broker.create_entities(
        late.me, [entity(power=9), entity("urn:ngsi-ld:Lamp:2"), entity("urn:ngsi-ld:Lamp:2")]
    )
    assert result.success == ["urn:ngsi-ld:Lamp:2"]
    assert [(id, type(fault)) for id, fault in result.errors] == [
        (LAMP, AlreadyExists),
        ("urn:ngsi-ld:Lamp:2", AlreadyExists),
    ]


async def test_batches_and_single_writes_of_one_entity_mix(late: Town) -> None:
    await late.broker.create_entity(late.me, entity(power=0))
    await asyncio.gather(
        *(late.broker.update_attributes(late.me, LAMP, fragment(**{f"a{n}": n})) for n in range(20)),
        *(late.broker.merge_entities(late.me, [fragment(LAMP, **{f"b{n}": n})]) for n in range(20)),
    )
    expected = {f"a{n}": n for n in range(20)} | {f"b{n}": n for n in range(20)}
    assert await late.values() == {"power": 0} | expected


async def test_a_chain_of_reactions_is_cut(late: Town) -> None:
    await late.broker.create_entity(Caller(depth=MAX_DEPTH), entity(power=0))
    with pytest.raises(Conflict, match="loop"):
        await late.broker.update_attributes(Caller(depth=MAX_DEPTH + 1), LAMP, fragment(power=1))


async def test_actor_and_depth_are_in_the_log(late: Town) -> None:
    await late.broker.create_entity(Caller(actor="app:energy", depth=3), entity(power=0))
    (line,) = await late.store.log(0)
    assert (line.actor, line.depth, line.operation) == ("app:energy", 3, "create")
    assert line.attributes == (CORE.expand("power"),)
