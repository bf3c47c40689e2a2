"""One entity from several versions of it, and bodies in other words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from autocity.errors import BadRequestData
from autocity.ld.assembly import (
    assemble,
    interleave,
    narrowed,
    received,
    received_evolution,
    reworded,
    supplement,
)
from autocity.ld.context import CORE, Context, compile
from autocity.ld.instants import read
from autocity.model import Entity

NOON, ONE, TWO = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z", "2026-11-22T14:00:00Z"
NOW = read(TWO) or 0


def told(context: Context = CORE, **attributes: Any) -> Entity:
    return received({"id": "urn:x:1", "type": "Vehicle", **attributes}, context)


def value(entity: Entity, name: str) -> Any:
    return [each.value for each in entity.attributes[CORE.expand(name)]]


def speed(value: int, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


def test_a_source_tells_its_times() -> None:
    found = told(createdAt=NOON, modifiedAt=ONE, speed=speed(1, createdAt=NOON, modifiedAt=ONE))
    assert (found.created_at, found.modified_at) == (read(NOON), read(ONE))
    instance = found.attributes[CORE.expand("speed")][0]
    assert (instance.created_at, instance.modified_at) == (read(NOON), read(ONE))


@pytest.mark.parametrize("body", [[], "x", {}, {"id": "urn:x:1"}, {"id": "no uri", "type": "A"}])
def test_what_is_no_entity_is_refused(body: Any) -> None:
    with pytest.raises(BadRequestData):
        received(body, CORE)


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        ({"observedAt": NOON}, {"observedAt": ONE}, 2),
        ({"observedAt": ONE}, {"observedAt": NOON}, 1),
        ({"modifiedAt": NOON}, {"modifiedAt": ONE}, 2),
        ({"modifiedAt": ONE}, {"modifiedAt": NOON}, 1),
        ({"modifiedAt": ONE}, {"observedAt": NOON}, 2),
        ({"observedAt": ONE, "expiresAt": ONE}, {"observedAt": NOON}, 2),
        ({}, {}, 1),
    ],
)
def test_of_instances_that_contradict_each_other_the_newest_holds(one: Any, other: Any, holds: int) -> None:
    both = assemble([told(speed=speed(1, **one)), told(speed=speed(2, **other))], NOW)
    assert value(both, "speed") == [holds]


def test_what_does_not_contradict_is_all_there() -> None:
    one = told(speed=speed(1), scope="/a")
    other = received(
        {
            "id": "urn:x:1",
            "type": ["Vehicle", "Bus"],
            "scope": ["/a", "/b"],
            "speed": speed(2, datasetId="urn:d:1"),
            "brand": speed(3),
        },
        CORE,
    )
    both = assemble([one, other], NOW)
    assert [CORE.compact(type) for type in both.types] == ["Vehicle", "Bus"]
    assert both.scopes == ("/a", "/b")
    assert value(both, "speed") == [1, 2]
    assert value(both, "brand") == [3]


def test_an_expiry_that_not_all_have_becomes_one_of_attributes() -> None:
    both = assemble([told(speed=speed(1), expiresAt=TWO), told(brand=speed(2))], NOW)
    assert both.expires_at is None
    assert both.attributes[CORE.expand("speed")][0].extra == {"expiresAt": TWO}
    assert both.attributes[CORE.expand("brand")][0].extra == {}
    same = assemble([told(speed=speed(1), expiresAt=TWO), told(brand=speed(2), expiresAt=TWO)], NOW)
    assert same.expires_at == TWO


def test_auxiliary_attributes_only_fill_gaps() -> None:
    whole = supplement(told(speed=speed(1)), [told(speed=speed(2), brand=speed(3)), told(brand=speed(4))])
    assert (value(whole, "speed"), value(whole, "brand")) == ([1], [3])


def recorded(*instances: dict[str, Any]) -> Entity:
    return received_evolution({"id": "urn:x:1", "type": "Vehicle", "speed": list(instances)}, CORE)


def test_a_time_that_several_tell_of_is_told_once() -> None:
    one = recorded(speed(1, observedAt=NOON, modifiedAt=NOON), speed(2, observedAt=ONE, modifiedAt=ONE))
    other = recorded(speed(3, observedAt=NOON, modifiedAt=ONE), speed(4, observedAt=TWO, modifiedAt=TWO))
    assert value(interleave([one, other]), "speed") == [3, 2, 4]


def test_auxiliary_sources_tell_of_times_that_nobody_else_tells_of() -> None:
    one = recorded(speed(1, observedAt=NOON, modifiedAt=NOON))
    other = recorded(speed(3, observedAt=NOON, modifiedAt=ONE), speed(4, observedAt=TWO))
    assert value(interleave([one], [other]), "speed") == [1, 4]


def test_instances_of_one_source_at_one_time_stay_together() -> None:
    one = recorded(speed(1, observedAt=NOON), speed(2, observedAt=NOON))
    assert value(interleave([one, recorded(speed(3, observedAt=ONE))]), "speed") == [1, 2, 3]
    other = recorded(speed(3, observedAt=NOON, datasetId="urn:d:1"))
    assert value(interleave([one, other]), "speed") == [1, 2, 3]


def test_instances_without_a_time_are_told_apart_by_id() -> None:
    one = recorded(speed(1, instanceId="urn:i:1"))
    other = recorded(speed(1, instanceId="urn:i:1"), speed(2, instanceId="urn:i:2"))
    assert value(interleave([one, other]), "speed") == [1, 2]


def words(**terms: str) -> Context:
    async def load(url: str) -> Any:
        raise AssertionError(url)

    return asyncio.run(compile(terms, load))


HERE = words(Bus="https://x/Bus", speed="https://x/speed", unit="https://x/unit")
THERE = words(Autobus="https://x/Bus", velocity="https://x/speed")


def test_a_body_is_put_in_other_words() -> None:
    body = {
        "id": "urn:x:1",
        "type": "Bus",
        "speed": [{"type": "Property", "value": {"speed": 1}, "unit": {"type": "Property", "value": "k"}}],
        "kind": {"type": "VocabProperty", "vocab": "Bus"},
        "scope": "/a",
    }
    assert reworded(body, HERE, THERE) == {
        "id": "urn:x:1",
        "type": "Autobus",
        "velocity": [
            {"type": "Property", "value": {"speed": 1}, "https://x/unit": {"type": "Property", "value": "k"}}
        ],
        "kind": {"type": "VocabProperty", "vocab": "Autobus"},
        "scope": "/a",
    }
    assert reworded(body, HERE, HERE) is body
    assert reworded({"speed": {"speed": 1}}, HERE, THERE, simplified=True) == {"velocity": {"speed": 1}}


def test_a_body_is_narrowed_to_some_attributes() -> None:
    body = {"id": "urn:x:1", "type": "Bus", "speed": 1, "kind": 2}
    narrow = narrowed(body, HERE, frozenset(["https://x/speed"]))
    assert narrow == {"id": "urn:x:1", "type": "Bus", "speed": 1}
