"""The change log as a live stream: order, cursor, slow listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from autocity.broker import Caller, Feed, Resync
from autocity.model import Logged
from towns import LAMP, Town, entity, fragment

Lump = list[Logged] | Resync


async def following(stream: AsyncIterator[Lump]) -> Lump:
    async with asyncio.timeout(2):
        return await anext(stream)


async def seqs(stream: AsyncIterator[Lump], count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        lump = await following(stream)
        assert not isinstance(lump, Resync)
        found.extend(line.seq for line in lump)
    return found


async def begin(stream: AsyncIterator[Lump]) -> asyncio.Task[Lump]:
    """Let a listener take its place, waiting for the first lump."""
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.01)
    return task


async def test_a_listener_hears_what_comes_in_order(town: Town) -> None:
    await town.broker.create_entity(town.me, entity(power=0))
    stream = Feed(town.store).listen()
    first = await begin(stream)
    for n in range(5):
        await town.broker.update_attributes(town.me, LAMP, fragment(power=n + 1))
    lump = await first
    assert not isinstance(lump, Resync)
    heard = [line.seq for line in lump]
    while len(heard) < 5:
        heard += await seqs(stream, 1)
    assert heard == [2, 3, 4, 5, 6]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_cursor_takes_up_where_it_was_left_and_goes_on_live(town: Town) -> None:
    for n in range(4):
        await town.broker.create_entity(town.me, entity(f"urn:ngsi-ld:Lamp:{n}"))
    stream = Feed(town.store).listen(after=2)
    assert await seqs(stream, 2) == [3, 4]
    await town.broker.create_entity(town.me, entity("urn:ngsi-ld:Lamp:9"))
    assert await seqs(stream, 1) == [5]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_listener_hears_its_tenant_only(town: Town) -> None:
    stream = Feed(town.store).listen(after=0, tenant="b")
    await town.broker.create_entity(Caller("a"), entity())
    await town.broker.create_entity(Caller("b"), entity())
    assert await seqs(stream, 1) == [2]
    await town.broker.create_entity(Caller("a"), entity("urn:ngsi-ld:Lamp:2"))
    await town.broker.create_entity(Caller("b"), entity("urn:ngsi-ld:Lamp:2"))
    assert await seqs(stream, 1) == [4]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_listener_that_falls_behind_is_told_to_read_again_and_then_goes_on(town: Town) -> None:
    stream = Feed(town.store).listen(buffer=3)
    first = await begin(stream)
    await town.broker.create_entity(town.me, entity("urn:ngsi-ld:Lamp:0"))
    await first
    for n in range(1, 11):
        await town.broker.create_entity(town.me, entity(f"urn:ngsi-ld:Lamp:{n}"))
    told = await following(stream)
    assert isinstance(told, Resync)
    heard = [told.seq]
    await town.broker.create_entity(town.me, entity("urn:ngsi-ld:Lamp:11"))
    while heard[-1] < 12:
        lump = await following(stream)
        heard += [lump.seq] if isinstance(lump, Resync) else [line.seq for line in lump]
    assert heard == sorted(set(heard))
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_cursor_too_far_back_or_from_another_city_is_told_to_read_again(town: Town) -> None:
    for n in range(10):
        await town.broker.create_entity(town.me, entity(f"urn:ngsi-ld:Lamp:{n}"))
    for after in (0, 99):
        stream = Feed(town.store).listen(after=after, buffer=5)
        assert await following(stream) == Resync(10)
        await stream.aclose()  # type: ignore[attr-defined]


async def test_leaving_ends_the_watch(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[bool] = []
    monkeypatch.setattr(town.store, "watch", lambda hear: lambda: left.append(True))
    stream = Feed(town.store).listen(after=0)
    await town.broker.create_entity(town.me, entity())
    await following(stream)
    assert left == []
    await stream.aclose()  # type: ignore[attr-defined]
    assert left == [True]
