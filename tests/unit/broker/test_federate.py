"""Which source gets what of a write, what it is asked of a query, and how the parts come together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from autocity.broker import Asked, Caller, Found, Message, Question, Words
from autocity.broker.federate import among, messages
from autocity.errors import BadGateway, Conflict, LoopDetected, TooManyResults
from autocity.ld import document
from autocity.ld.context import CORE
from autocity.ld.query import Query, Selector, parse_q, parse_types
from autocity.ld.temporal import parse_window
from autocity.model import Entity
from elsewhere import Elsewhere, elsewhere_running, registration
from towns import Town, entity

IRI = CORE.expand
URL = "http://127.0.0.1:9"
SPEED, BRAND, LINE = (IRI(name) for name in ("speed", "brand", "line"))
ASKED = Asked(Caller())
OF_ONE = {"entities": [{"type": "Vehicle", "id": "urn:v:1"}]}


async def register(town: Town, id: str, mode: str | None = None, url: str = URL, /, **members: Any) -> None:
    await town.broker.create_registration(town.me, registration(url, mode, id=f"urn:r:{id}", **members), CORE)


# -- writes


def divided(
    town: Town, *attributes: str, asked: Asked = ASKED, operation: str = "updateEntity"
) -> tuple[dict[str, set[str]], set[str], bool]:
    sent = frozenset(map(IRI, attributes))
    found = town.broker.federation.divide(asked, (operation,), "urn:v:1", [IRI("Vehicle")], sent)
    shares = {
        each.source.id.removeprefix("urn:r:"): set(map(CORE.compact, each.attributes))
        for each in found.shares
    }
    return shares, set(map(CORE.compact, found.rest)), found.proxied


async def test_what_is_exclusive_goes_there_and_nowhere_else(town: Town) -> None:
    await register(town, "x", "exclusive", information=[OF_ONE | {"propertyNames": ["speed"]}])
    await register(town, "i", information=[OF_ONE], operations=["updateOps"])
    shares, rest, proxied = divided(town, "speed", "brand")
    assert shares == {"x": {"speed"}, "i": {"brand"}}
    assert (rest, proxied) == ({"brand"}, True)
    assert divided(town, "brand") == ({"i": {"brand"}}, {"brand"}, False)


async def test_redirects_each_get_all_and_nothing_stays(town: Town) -> None:
    await register(town, "r", "redirect", information=[OF_ONE | {"propertyNames": ["speed", "line"]}])
    await register(town, "s", "redirect", information=[OF_ONE])
    assert divided(town, "speed", "brand") == ({"r": {"speed"}, "s": {"speed", "brand"}}, set(), True)


async def test_inclusive_sources_get_it_as_well_when_they_take_it(town: Town) -> None:
    await register(town, "i", operations=["updateOps"])
    await register(town, "j", operations=["retrieveOps"])
    await register(town, "a", "auxiliary")
    assert divided(town, "speed") == ({"i": {"speed"}}, {"speed"}, False)
    assert divided(town, "speed", operation="createEntity") == ({}, {"speed"}, False)
    other = town.broker.federation.divide(ASKED, ("updateEntity",), "urn:v:1", [IRI("Bus")], frozenset())
    assert other.shares == []


async def test_a_write_about_the_whole_entity_goes_to_all(town: Town) -> None:
    await register(town, "x", "exclusive", information=[OF_ONE | {"propertyNames": ["speed"]}])
    await register(town, "i", operations=["deleteEntity"])
    assert set(divided(town, operation="deleteEntity")[0]) == {"x", "i"}


async def test_a_write_does_not_go_round(town: Town) -> None:
    await register(town, "i", operations=["updateOps"])
    await register(town, "j", operations=["updateOps"], contextSourceAlias="theirs")
    passed = Asked(Caller(), CORE, {"via": f"1.1 theirs, 1.1 {town.broker.sources.name}"})
    assert divided(town, "speed", asked=passed) == ({}, {"speed"}, False)
    by_them = Asked(Caller(), CORE, {"via": "1.1 theirs"})
    assert divided(town, "speed", asked=by_them)[0] == {"i": {"speed"}}


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async with elsewhere_running() as running:
        yield running


async def test_what_becomes_of_a_part(town: Town, elsewhere: Elsewhere) -> None:
    await register(town, "r", "redirect", elsewhere.url, operations=["deleteEntity"])
    source = town.broker.registrations.get("", "urn:r:r")
    send = town.broker.federation.send

    def make(words: Words) -> Message:
        return Message(method="DELETE", path="/entities/urn:v:1")

    assert (await send(ASKED, source, "deleteEntity", make)).error is None
    assert type((await send(ASKED, source, "createEntity", make)).error) is Conflict
    looped = Asked(Caller(), CORE, {"via": f"1.1 {town.broker.sources.name}"})
    assert type((await send(looped, source, "deleteEntity", make)).error) is LoopDetected
    elsewhere.answer("DELETE", "/entities/urn:v:1", {"success": []}, 207)
    assert (await send(ASKED, source, "deleteEntity", make)).partial == {"success": []}
    elsewhere.answer("DELETE", "/entities/urn:v:1", None, 500)
    assert type((await send(ASKED, source, "deleteEntity", make)).error) is BadGateway


# -- what a source is asked


def question(type: str = "", *ids: str, attrs: tuple[str, ...] = (), **values: Any) -> Question:
    selector = Selector(ids=ids, types=parse_types(type, IRI) if type else None)
    query = Query(
        selectors=(selector,) if type or ids else (),
        attributes=tuple(map(IRI, attrs)),
        q=parse_q(values["q"], IRI) if "q" in values else None,
    )
    return Question(query=query, values=values)


async def told(town: Town, asked: Question, *information: Any, **members: Any) -> list[dict[str, str]]:
    if information:
        members["information"] = list(information)
    await register(town, "i", None, **members)
    ((source, infos),) = town.broker.federation.matching(ASKED, asked)
    return [
        {**dict(each.params), **({"body": each.body} if each.method == "POST" else {})}
        for each in messages(source, infos, asked, CORE, Words(CORE))
    ]


SYS = {"options": "sysAttrs"}


@pytest.mark.parametrize(
    ("asked", "information", "sent"),
    [
        (question("Vehicle"), {"entities": [{"type": "Vehicle"}]}, {"type": "Vehicle"}),
        (question("Vehicle,Bus"), {"entities": [{"type": "Vehicle"}]}, {"type": "Vehicle"}),
        (question("Vehicle"), OF_ONE, {"type": "Vehicle", "id": "urn:v:1"}),
        (
            question("Vehicle", "urn:v:1", "urn:w:1"),
            {"entities": [{"type": "Vehicle", "idPattern": "urn:v:.*"}]},
            {"type": "Vehicle", "id": "urn:v:1"},
        ),
        (
            question("Vehicle"),
            {"entities": [{"type": "Vehicle", "idPattern": "urn:v:.*"}]},
            {"type": "Vehicle", "idPattern": "urn:v:.*"},
        ),
        (
            question("Vehicle", attrs=("speed", "brand")),
            {"entities": [{"type": "Vehicle"}], "propertyNames": ["speed", "line"]},
            {"type": "Vehicle", "attrs": "speed"},
        ),
        (
            question("Vehicle"),
            {"entities": [{"type": "Vehicle"}], "propertyNames": ["speed"]},
            {"type": "Vehicle", "attrs": "speed"},
        ),
        (
            question("Vehicle", q="speed>5", scopeQ="/a"),
            {"entities": [{"type": "Vehicle"}]},
            {"type": "Vehicle", "q": "speed>5", "scopeQ": "/a"},
        ),
        (
            question("(Vehicle;Bus),Tram"),
            {"entities": [{"type": ["Vehicle", "Bus"]}]},
            {"type": "(Vehicle;Bus)"},
        ),
        (question("", attrs=("speed",)), {"propertyNames": ["speed"]}, {"attrs": "speed"}),
    ],
)
async def test_a_source_is_asked_no_more_than_it_is_registered_for(
    town: Town, asked: Question, information: Any, sent: dict[str, str]
) -> None:
    assert await told(town, asked, information) == [sent | SYS]


async def test_a_query_is_put_in_the_way_that_a_source_takes(town: Town) -> None:
    (sent,) = await told(town, question("Vehicle", q="speed>5", attrs=("speed",)), operations=["queryBatch"])
    assert sent == {
        "options": "sysAttrs",
        "body": {"type": "Query", "entities": [{"type": "Vehicle"}], "attrs": ["speed"], "q": "speed>5"},
    }


async def test_many_ids_are_asked_for_in_several_queries(town: Town) -> None:
    ids = [f"urn:v:{number}" for number in range(50)]
    sent = await told(town, question("Vehicle", *ids))
    assert [each["id"].count(",") + 1 for each in sent] == [40, 10]


async def test_of_what_is_spread_over_sources_all_is_asked_for(town: Town) -> None:
    asked = question("Vehicle", q="speed>5", attrs=("speed",))
    whole = Question(query=asked.query, values=asked.values, split=True)
    assert await told(town, whole) == [{"type": "Vehicle"} | SYS]


async def test_history_is_asked_for_with_its_window(town: Town) -> None:
    asked = question("Vehicle", timerel="after", timeAt="2026-01-01T00:00:00Z")
    window = parse_window("after", "2026-01-01T00:00:00Z")
    past = Question(query=asked.query, values=asked.values, window=window)
    (sent,) = await told(town, past, operations=["queryTemporal"])
    assert sent == {"type": "Vehicle", "timerel": "after", "timeAt": "2026-01-01T00:00:00Z"} | SYS


def test_a_question_about_some_only() -> None:
    some = among(question("Vehicle", "urn:v:1", "urn:v:2"), ["urn:v:2", "urn:v:3"])
    assert [each.ids for each in some.query.selectors] == [("urn:v:2",)]
    assert among(question("Vehicle", "urn:v:1"), ["urn:v:3"]).query.selectors == ()


# -- putting together


def vehicles(*numbers: int, **values: int) -> list[dict[str, Any]]:
    return [{"id": f"urn:v:{number}", "type": "Vehicle", **values} for number in numbers]


async def found(town: Town, asked: Question, **options: Any) -> Found:
    async def local(query: Query) -> list[Entity]:
        page = await town.broker.query_entities(town.me, query)
        return [document.load(stored.document) for stored in page.entities]

    return await town.broker.federation.query(ASKED, asked, local, **options)


def ids(answer: Found) -> list[int]:
    return [int(each.id.rpartition(":")[2]) for each in answer.entities]


def paged(limit: int, offset: int = 0, *, count: bool = False, split: bool = False, q: str = "") -> Question:
    asked = question("Vehicle", **({"q": q} if q else {}))
    query = Query(selectors=asked.query.selectors, q=asked.query.q, limit=limit, offset=offset, count=count)
    return Question(query=query, values=asked.values, split=split)


async def test_pages_go_on_over_all_sources(town: Town, elsewhere: Elsewhere) -> None:
    for number in (1, 2, 3):
        await town.broker.create_entity(town.me, entity(f"urn:v:{number}", "Vehicle", speed=1))
    await register(town, "i", None, elsewhere.url)
    elsewhere.answer("GET", "/entities", vehicles(3, 4, 5, brand=2))
    first, second = await found(town, paged(2)), await found(town, paged(2, 2))
    assert (ids(first), first.more) == ([1, 2], True)
    assert (ids(second), second.more) == ([3, 4], True)
    last = await found(town, paged(2, 4, count=True))
    assert (ids(last), last.more, last.total) == ([5], False, 5)
    assert second.origins == {"urn:v:3": ["@none", "urn:r:i"], "urn:v:4": ["urn:r:i"]}
    assert set(second.entities[0].attributes) == {SPEED, BRAND}


async def test_parts_that_stand_far_back_are_fetched(town: Town, elsewhere: Elsewhere) -> None:
    await town.broker.create_entity(town.me, entity("urn:v:9", "Vehicle", speed=1))
    await register(town, "i", None, elsewhere.url)
    elsewhere.answer("GET", "/entities", vehicles(1, 2))
    await found(town, paged(1))
    first, *again = elsewhere.asked("GET", "/entities")
    assert first.params["limit"] == "2"
    assert [each.params["id"] for each in again] == ["urn:v:9"]


async def test_a_filter_on_what_is_spread_holds_for_the_whole(town: Town, elsewhere: Elsewhere) -> None:
    await town.broker.create_entity(town.me, entity("urn:v:1", "Vehicle", speed=1))
    await register(town, "i", None, elsewhere.url)
    elsewhere.answer("GET", "/entities", vehicles(1, 2, brand=2))
    assert ids(await found(town, paged(10, q="speed==1;brand==2", split=True))) == [1]
    assert ids(await found(town, paged(10, q="brand==2", split=True))) == [1, 2]


async def test_more_than_can_be_put_together_is_refused(
    town: Town, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocity.broker.federate.MAX_GATHERED", 2)
    await register(town, "i", None, elsewhere.url)
    elsewhere.answer("GET", "/entities", vehicles(1, 2, 3))
    with pytest.raises(TooManyResults):
        await found(town, paged(1), every=True)


async def test_one_that_fails_is_warned_of(town: Town, elsewhere: Elsewhere) -> None:
    await town.broker.create_entity(town.me, entity("urn:v:1", "Vehicle", speed=1))
    await register(town, "i", None, elsewhere.url)
    for content, status, code in (
        (None, 500, 299),
        (b"<html>", 200, 111),
        ([{"no": "entity"}], 200, 111),
    ):
        elsewhere.answer("GET", "/entities", content, status)
        answer = await found(town, paged(10))
        assert ids(answer) == [1]
        (warning,) = answer.warnings
        assert warning.startswith(f'{code} {town.broker.sources.name} "')
    await register(town, "gone")
    assert any(each.startswith("199 ") for each in (await found(town, paged(10))).warnings)


async def test_a_query_that_has_been_here_is_not_sent_on(town: Town, elsewhere: Elsewhere) -> None:
    await register(town, "i", None, elsewhere.url)
    passed = Asked(Caller(), CORE, {"via": f"1.1 {town.broker.sources.name}"})

    async def local(query: Query) -> list[Entity]:
        return []

    answer = await town.broker.federation.query(passed, paged(10), local)
    assert (answer.entities, len(answer.warnings), elsewhere.heard) == ([], 1, [])


async def test_what_has_expired_at_a_source_is_not_there(town: Town, elsewhere: Elsewhere) -> None:
    await register(town, "i", None, elsewhere.url)
    old, new = vehicles(1, 2)
    elsewhere.answer("GET", "/entities", [old | {"expiresAt": "2020-01-01T00:00:00Z"}, new])
    assert ids(await found(town, paged(10))) == [2]


async def test_one_entity_from_everywhere(town: Town, elsewhere: Elsewhere) -> None:
    retrieve = town.broker.federation.retrieve
    await register(town, "i", None, elsewhere.url, operations=["retrieveEntity"])
    await register(town, "q", None, elsewhere.url, operations=["queryEntity"])
    await register(town, "a", "auxiliary", elsewhere.url, operations=["retrieveEntity"])
    (_here,) = vehicles(1, line=1)
    elsewhere.answer("GET", "/entities/urn:v:1", vehicles(1, speed=2)[0])
    elsewhere.answer("GET", "/entities", vehicles(1, brand=3))
    answer = await retrieve(ASKED, "urn:v:1", entity("urn:v:1", "Vehicle", line=1))
    assert {CORE.compact(name): each[0].value for name, each in answer.entities[0].attributes.items()} == {
        "line": 1,
        "speed": 2,
        "brand": 3,
    }
    assert answer.origins == {"urn:v:1": ["@none", "urn:r:i", "urn:r:q", "urn:r:a"]}
    only = await retrieve(ASKED, "urn:v:1", None, only=frozenset(["urn:r:q"]))
    assert set(only.entities[0].attributes) == {BRAND}
    elsewhere.answers.clear()
    assert (await retrieve(ASKED, "urn:v:1", None)).entities == []
