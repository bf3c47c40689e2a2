"""Subscriptions that a change concerns: the index finds exactly those that asking each would find."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.broker import Outbound
from autocity.broker.matching import (
    ATTRIBUTE_CREATED,
    ATTRIBUTE_DELETED,
    ATTRIBUTE_UPDATED,
    Index,
    Touched,
    Watch,
)
from autocity.broker.subscription import parse
from autocity.ld.context import CORE
from autocity.model import Change, Entity
from towns import LAMP, entity

NOW = 1_800_000_000_000_000
POWER, COLOUR = CORE.expand("power"), CORE.expand("colour")


def watch(**members: Any) -> Watch:
    body = {
        "id": "urn:ngsi-ld:Subscription:1",
        "type": "Subscription",
        "notification": {"endpoint": {"uri": "http://receiver.example"}},
    } | members
    if "entities" not in body and "watchedAttributes" not in body:
        body["entities"] = [{"type": "Lamp"}]
    return Watch(parse(body, CORE, NOW, Outbound()), CORE, 1)


def change(before: Entity | None, after: Entity | None) -> Touched:
    known = after or before
    assert known is not None
    return Touched(Change(tenant="", id=known.id, at=NOW, before=before, after=after, expected=0))


def hit(touched: Touched, **members: Any) -> bool:
    """Whether one subscription is found, and wants the change."""
    asked = watch(**members)
    index = Index()
    index.add(asked)
    return asked in index.candidates(touched) and asked.wants(touched, NOW)


CREATED = change(None, entity(power=5, colour="red"))
UPDATED = change(entity(power=5, colour="red"), entity(power=6, colour="red"))
SAME = change(entity(power=5), entity(power=5))
ADDED = change(entity(power=5), entity(power=5, colour="red"))
REMOVED = change(entity(power=5, colour="red"), entity(power=5))
DELETED = change(entity(power=5, colour="red"), None)


def test_what_a_change_does_to_attributes() -> None:
    assert CREATED.attributes == {POWER: ATTRIBUTE_CREATED, COLOUR: ATTRIBUTE_CREATED}
    assert UPDATED.attributes == {POWER: ATTRIBUTE_UPDATED}
    assert SAME.attributes == {}
    assert ADDED.attributes == {COLOUR: ATTRIBUTE_CREATED}
    assert REMOVED.attributes == {COLOUR: ATTRIBUTE_DELETED}
    assert DELETED.attributes == {POWER: ATTRIBUTE_DELETED, COLOUR: ATTRIBUTE_DELETED}


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ({"value": 1}, {"value": 1.0}, True),
        ({"value": 1}, {"value": 1}, False),
        ({"value": 1}, {"value": 1, "unitCode": "WTT"}, True),
        ({"value": 1}, {"value": 1, "observedAt": "2026-01-01T00:00:00Z"}, True),
        ({"value": 1, "a": {"type": "Property", "value": 1}}, {"value": 1}, True),
        (
            {"value": 1, "a": {"type": "Property", "value": 1}},
            {"value": 1, "a": {"type": "Property", "value": 2}},
            True,
        ),
        (
            {"value": 1, "a": {"type": "Property", "value": 1}},
            {"value": 1, "a": {"type": "Property", "value": 1}},
            False,
        ),
    ],
)
def test_5_8_6_an_attribute_changes_when_any_member_differs(
    before: dict[str, Any], after: dict[str, Any], changed: bool
) -> None:
    touched = change(
        entity(power={"type": "Property", **before}), entity(power={"type": "Property", **after})
    )
    assert bool(touched.attributes) is changed


def test_an_instance_that_goes_is_a_deletion_though_others_stay() -> None:
    def one(value: int, dataset: str | None = None) -> dict[str, Any]:
        return {"type": "Property", "value": value} | ({"datasetId": dataset} if dataset else {})

    touched = change(entity(power=[one(1), one(2, "urn:a:b")]), entity(power=one(1)))
    assert touched.attributes == {POWER: ATTRIBUTE_DELETED}


@pytest.mark.parametrize(
    ("touched", "triggers"),
    [
        (CREATED, {"entityCreated", "attributeCreated", "entityUpdated"}),
        (UPDATED, {"attributeUpdated", "entityUpdated"}),
        (SAME, set()),
        (ADDED, {"attributeCreated", "entityUpdated"}),
        (REMOVED, {"attributeDeleted", "entityUpdated"}),
        (DELETED, {"entityDeleted", "attributeDeleted", "entityUpdated"}),
    ],
)
def test_5_2_12_triggers(touched: Touched, triggers: set[str]) -> None:
    every = ["entityCreated", "entityUpdated", "entityDeleted"]
    every += ["attributeCreated", "attributeUpdated", "attributeDeleted"]
    assert {each for each in every if hit(touched, notificationTrigger=[each])} == triggers


def test_the_default_is_attributes_created_and_updated() -> None:
    assert [hit(each) for each in (CREATED, UPDATED, ADDED, REMOVED, DELETED)] == [True] * 3 + [False] * 2


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"watchedAttributes": ["power"]}, True),
        ({"watchedAttributes": ["colour"]}, False),
        ({"watchedAttributes": ["colour", "power"]}, True),
        ({"entities": [{"type": "Pole"}]}, False),
        ({"entities": [{"type": "Pole"}, {"type": "Lamp"}]}, True),
        ({"entities": [{"type": "Pole|Lamp"}]}, True),
        ({"entities": [{"type": "Pole;Lamp"}]}, False),
        ({"entities": [{"type": "*"}]}, True),
        ({"entities": [{"id": LAMP, "type": "Lamp"}]}, True),
        ({"entities": [{"id": LAMP, "type": "Pole"}]}, False),
        ({"entities": [{"id": "urn:a:b", "type": "Lamp"}]}, False),
        ({"entities": [{"idPattern": ":Lamp:[0-9]$", "type": "Lamp"}]}, True),
        ({"entities": [{"idPattern": "^Lamp", "type": "Lamp"}]}, False),
        ({"q": "power>5"}, True),
        ({"q": "power>6"}, False),
        ({"q": "power>=6"}, True),
        ({"q": "power<6"}, False),
        ({"q": "power<=6"}, True),
        ({"q": "power==6"}, True),
        ({"q": "power==1,6"}, True),
        ({"q": "power==5..7"}, True),
        ({"q": "power==7..9"}, False),
        ({"q": 'colour=="red"'}, True),
        ({"q": 'colour=="red";power<3'}, False),
        ({"q": 'colour=="blue"|power==6'}, True),
        ({"q": "weight"}, False),
        ({"q": "power!=6"}, False),
        ({"isActive": False}, False),
    ],
)
def test_5_8_6_conditions(members: dict[str, Any], expected: bool) -> None:
    assert hit(UPDATED, **members) is expected


def test_an_expired_or_throttled_subscription_wants_nothing() -> None:
    asked = watch(expiresAt="2027-02-01T00:00:00Z", throttling=10)
    assert asked.wants(UPDATED, NOW)
    assert not asked.wants(UPDATED, asked.expires_at)
    asked.last = NOW - 9_999_999
    assert not asked.wants(UPDATED, NOW)
    asked.last = NOW - 10_000_000
    assert asked.wants(UPDATED, NOW)


def place(longitude: float, latitude: float) -> dict[str, Any]:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [longitude, latitude]}}


def near(longitude: float, latitude: float, metres: int) -> dict[str, Any]:
    return {
        "geometry": "Point", "coordinates": [longitude, latitude], "georel": f"near;maxDistance=={metres}"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("geo", "expected"),
    [
        (near(125.3, 43.8, 1000), True),
        (near(125.3, 43.7, 1000), False),
        (near(125.3, 43.7, 20_000), True),
        (near(0, 0, 20_000_000), True),
        ({"geometry": "Point", "coordinates": [0, 0], "georel": "disjoint"}, True),
        ({"geometry": "Point", "coordinates": [125.3, 43.7], "georel": "near;minDistance==1000"}, True),
        (
            {
                "geometry": "Polygon",
                "coordinates": [[[125, 43], [126, 43], [126, 44], [125, 44], [125, 43]]],
                "georel": "within",
            },
            True,
        ),
    ],
)
def test_4_10_geo_conditions(geo: dict[str, Any], expected: bool) -> None:
    here = change(entity(power=1, location=place(125.3, 43.8)), entity(power=2, location=place(125.3, 43.8)))
    assert hit(here, geoQ=geo) is expected


NAMES = st.sampled_from(["power", "colour", "weight"])
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -1.5])
WORDS = st.sampled_from(["red", "blue"])
VALUES = NUMBERS | WORDS | st.booleans() | st.lists(NUMBERS, max_size=3)
SPOTS = st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)).map(lambda spot: place(*spot))


@st.composite
def states(draw: st.DrawFn, id: str, type: str) -> Entity:
    attributes = draw(st.dictionaries(NAMES, VALUES, max_size=3))
    if draw(st.booleans()):
        attributes["location"] = draw(SPOTS)
    return entity(id, type, **attributes)


@st.composite
def changes(draw: st.DrawFn) -> Touched:
    id, type = draw(st.sampled_from(["urn:a:1", "urn:a:2"])), draw(st.sampled_from(["Lamp", "Pole"]))
    before, after = draw(states(id, type)), draw(states(id, type))
    return draw(st.sampled_from([change(before, after), change(None, after), change(before, None)]))


TERMS = st.builds(
    lambda name, operator, value: f"{name}{operator}{value}",
    NAMES,
    st.sampled_from(["==", "!=", ">", ">=", "<", "<="]),
    NUMBERS | WORDS.map(lambda word: f'"{word}"'),
)
QUERIES = TERMS | NAMES | st.tuples(TERMS, st.sampled_from(";|"), TERMS).map("".join)
SELECTORS = st.fixed_dictionaries(
    {"type": st.sampled_from(["Lamp", "Pole", "Lamp|Pole", "Lamp;Pole", "(Lamp|Pole);Lamp"])},
    optional={"id": st.sampled_from(["urn:a:1", "urn:a:2"]), "idPattern": st.sampled_from(["1$", "a"])},
)
ASKED = st.fixed_dictionaries(
    {"entities": st.lists(SELECTORS, min_size=1, max_size=2)},
    optional={
        "watchedAttributes": st.lists(NAMES, min_size=1, max_size=2),
        "q": QUERIES,
        "geoQ": st.builds(near, st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.sampled_from([100, 20_000])),
        "notificationTrigger": st.lists(
            st.sampled_from(["entityCreated", "entityDeleted", "attributeDeleted", "attributeUpdated"]),
            min_size=1,
        ),
    },
)


@given(st.lists(ASKED, min_size=1, max_size=8), st.lists(changes(), min_size=1, max_size=5), st.data())
def test_the_index_finds_what_asking_each_finds(
    asked: list[dict[str, Any]], touched: list[Touched], data: st.DataObject
) -> None:
    watches = [watch(**each) for each in asked]
    index = Index()
    for each in watches:
        index.add(each)
    gone = data.draw(st.sets(st.sampled_from(watches)))
    for each in gone:
        index.remove(each)
    for one in touched:
        expected = {each for each in watches if each not in gone and each.wants(one, NOW)}
        found = {each for each in index.candidates(one) if each.wants(one, NOW)}
        assert found == expected


def test_a_hundred_thousand_subscriptions_do_not_make_the_search_longer() -> None:
    def search(count: int) -> tuple[float, int]:
        index = Index()
        for n in range(count):
            kind = n % 3
            extra: dict[str, Any] = {"q": f"power>{n}"}
            if kind == 1:
                extra = {"entities": [{"type": "Lamp", "id": f"urn:a:{n}"}]}
            elif kind == 2:
                extra = {"geoQ": near(-170 + n % 340, -60 + n % 120, 500)}
            index.add(watch(**extra))
        update = change(
            entity("urn:a:1", power=5, location=place(-168, -58)),
            entity("urn:a:1", power=31, location=place(-168, -58)),
        )
        best = min(_timed(index, update) for _ in range(20))
        return best, len(index.candidates(update))

    few, found_few = search(300)
    many, found_many = search(6_000)
    assert found_few >= 10
    assert found_many < found_few * 4
    assert many < few * 8, "twenty times the subscriptions cost no more than what more of them match"


def _timed(index: Index, update: Touched) -> float:
    begun = time.perf_counter()
    index.candidates(Touched(update.change))
    return time.perf_counter() - begun
