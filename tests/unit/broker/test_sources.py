"""How a context source is spoken to, and what happens when it does not answer as it should."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from autocity.broker import Asked, Caller, Message, Source, Words
from autocity.broker.sources import (
    INVALID,
    REFUSED,
    SILENT,
    Reply,
    Unanswered,
    address,
    refusal,
)
from autocity.errors import AlreadyExists, BadGateway, Conflict, GatewayTimeout, ResourceNotFound
from autocity.ld.context import CORE
from autocity.store.memory import MemoryStore
from elsewhere import Elsewhere, elsewhere_running, registration
from towns import Town, build, tear_down

CITY = "https://example.org/city.jsonld"
GET = Message(method="GET", path="/entities/urn:v:1", params=(("attrs", "speed"),))
POST = Message(method="POST", path="/entities", body={"id": "urn:v:1"})


@pytest.fixture
async def elsewhere() -> AsyncIterator[Elsewhere]:
    async with elsewhere_running() as running:
        running.answer("GET", "/entities/urn:v:1", {"id": "urn:v:1"})
        yield running


async def registered(town: Town, url: str, **members: Any) -> Source:
    body = registration(url, None, **members)
    id = await town.broker.create_registration(town.me, body, CORE)
    return town.broker.registrations.get("", id)


async def ask(town: Town, source: Source, message: Message = GET, /, **headers: str) -> Reply:
    asked = Asked(
        Caller(source.tenant), CORE, {name.replace("_", "-"): text for name, text in headers.items()}
    )
    sources = town.broker.sources
    return await sources.ask(source, message, await sources.words(source, asked), asked)


async def fault_of(town: Town, source: Source) -> Unanswered:
    with pytest.raises(Unanswered) as caught:
        await ask(town, source)
    return caught.value


async def test_a_source_is_asked(town: Town, elsewhere: Elsewhere) -> None:
    elsewhere.answer("GET", "/entities/urn:v:1", {"id": "urn:v:1"}, NGSILD_Warning='110 x "old"')
    reply = await ask(town, await registered(town, elsewhere.url))
    assert (reply.status, reply.content) == (200, {"id": "urn:v:1"})
    assert reply.warnings == ('110 x "old"',)
    (heard,) = elsewhere.heard
    assert heard.params == {"attrs": "speed"}
    assert heard.headers["Via"] == f"1.1 {town.broker.sources.name}"
    assert "Link" not in heard.headers
    assert "NGSILD-Tenant" not in heard.headers


async def test_the_way_goes_on(town: Town, elsewhere: Elsewhere) -> None:
    source = await registered(town, elsewhere.url)
    await ask(town, source, via="1.1 first, 1.1 second")
    assert elsewhere.heard[0].headers["Via"] == f"1.1 first, 1.1 second, 1.1 {town.broker.sources.name}"


@pytest.mark.parametrize("ending", ["", "/", "/ngsi-ld/v1", "/ngsi-ld/v1/"])
async def test_an_endpoint_may_name_the_root_of_the_api(town: Town, ending: str) -> None:
    source = await registered(town, "http://127.0.0.1:9" + ending)
    assert address(source.registration, GET) == ("http://127.0.0.1:9/ngsi-ld/v1/entities/urn:v:1?attrs=speed")


async def test_values_of_parameters_are_encoded(town: Town) -> None:
    source = await registered(town, "http://127.0.0.1:9", management={"localOnly": True})
    message = Message(method="GET", path="/entities", params=(("q", 'a=="1&2";b<é+#'),))
    assert address(source.registration, message).endswith(
        "/entities?q=a%3D%3D%221%262%22%3Bb%3C%C3%A9%2B%23&local=true"
    )


async def test_a_source_is_told_what_its_registration_says(town: Town, elsewhere: Elsewhere) -> None:
    info = {
        "Authorization": "urn:ngsi-ld:request",
        "X-Other": "urn:ngsi-ld:request",
        "X-Own": "1",
        "Via": "forged",
        "Host": "forged.example",
        "accept": "application/ld+json",
        "contentType": "application/ld+json",
        "ngsildConformance": "1.5",
    }
    pairs = [{"key": key, "value": value} for key, value in info.items()]
    source = await registered(town, elsewhere.url, contextSourceInfo=pairs, tenant="theirs")
    await ask(town, source, POST, authorization="Bearer x", x_unasked="2")
    (heard,) = elsewhere.heard
    sent = heard.headers
    assert (sent["Authorization"], sent["X-Own"], sent["NGSILD-Tenant"]) == ("Bearer x", "1", "theirs")
    assert (sent["Accept"], sent["Prefer"]) == ("application/ld+json", "ngsi-ld=1.5")
    assert sent["Via"] == f"1.1 {town.broker.sources.name}"
    assert sent["Host"].startswith("127.0.0.1")
    assert not {"X-Other", "X-Unasked", "contentType", "Link"} & set(sent)
    assert sent["Content-Type"] == "application/ld+json"
    assert heard.body["@context"].endswith(".jsonld")


async def test_what_was_not_asked_for_is_not_passed_on(town: Town, elsewhere: Elsewhere) -> None:
    await ask(town, await registered(town, elsewhere.url), authorization="Bearer x", cookie="secret")
    assert not {"Authorization", "Cookie"} & set(elsewhere.heard[0].headers)


async def test_words_of_a_request_that_others_can_find_are_kept(town: Town) -> None:
    source = await registered(town, "http://127.0.0.1:9")
    words = town.broker.sources.words
    assert await words(source, Asked(Caller())) == Words(CORE)
    context = await town.contexts.resolve([{"speed": "https://example.org/speed"}], "")
    assert (await words(source, Asked(Caller(), context))).context is CORE


async def test_tenants_are_sources_of_their_own(town: Town) -> None:
    alias = town.broker.sources.alias
    assert len({alias(""), alias("faw"), alias("other")}) == 3
    assert town.broker.sources.looped(Asked(Caller("faw"), CORE, {"via": f"1.1 {alias('faw')}"}))
    assert not town.broker.sources.looped(Asked(Caller("faw"), CORE, {"via": f"1.1 {alias('')}"}))


async def test_a_city_keeps_its_pseudonym() -> None:
    store = MemoryStore()
    names = []
    for _ in range(2):
        town = await build(store, deliver=False)
        names.append(town.broker.sources.name)
        await town.broker.stop()
    assert names[0] == names[1]
    other = await build(MemoryStore())
    assert other.broker.sources.name not in names
    await tear_down(other)


# -- what goes wrong


async def test_a_source_that_is_late_is_silent(town: Town, elsewhere: Elsewhere) -> None:
    elsewhere.delay = 1
    source = await registered(town, elsewhere.url, management={"timeout": 50})
    fault = await fault_of(town, source)
    assert (fault.code, type(fault.error)) == (SILENT, GatewayTimeout)


async def test_a_source_that_is_not_there_is_silent(town: Town) -> None:
    fault = await fault_of(town, await registered(town, "http://127.0.0.1:9"))
    assert (fault.code, type(fault.error)) == (SILENT, GatewayTimeout)


async def test_an_answer_that_is_no_json_is_invalid(town: Town, elsewhere: Elsewhere) -> None:
    elsewhere.answer("GET", "/entities/urn:v:1", b"<html>")
    fault = await fault_of(town, await registered(town, elsewhere.url))
    assert (fault.code, type(fault.error)) == (INVALID, BadGateway)


async def test_an_answer_that_is_too_long_is_invalid(
    town: Town, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocity.broker.sources.MAX_ANSWER", 1000)
    elsewhere.answer("GET", "/entities/urn:v:1", b"[" + b" " * 2000 + b"]")
    assert (await fault_of(town, await registered(town, elsewhere.url))).code == INVALID


async def test_an_address_that_may_not_be_called_any_more_is_refused(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await registered(town, "http://127.0.0.1:9")
    strict = type(town.broker.sources._outbound)()
    monkeypatch.setattr(town.broker.sources, "_outbound", strict)
    assert (await fault_of(town, source)).code == REFUSED


async def test_after_a_failure_a_source_has_its_cooldown(town: Town, elsewhere: Elsewhere) -> None:
    elsewhere.answer("GET", "/entities/urn:v:1", {"title": "broken"}, 500)
    source = await registered(town, elsewhere.url, management={"cooldown": 60_000})
    assert (await ask(town, source)).status == 500
    assert (await fault_of(town, source)).code == SILENT
    assert len(elsewhere.heard) == 1
    shown = town.broker.registrations.render(source.registration, CORE)
    assert (shown["timesSent"], shown["timesFailed"]) == (1, 1)


async def test_one_that_is_late_again_and_again_is_left_alone(
    town: Town, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere.delay = 0.2
    source = await registered(town, elsewhere.url, management={"timeout": 20})
    for _ in range(5):
        await fault_of(town, source)
    assert len(elsewhere.heard) == 3
    clock = town.broker.sources._rests["", source.id].until
    monkeypatch.setattr("autocity.broker.sources.time.monotonic", lambda: clock + 1)
    elsewhere.delay = 0
    assert (await ask(town, source)).status == 200
    assert town.broker.sources._rests == {}


async def test_not_to_have_something_is_no_failure(town: Town, elsewhere: Elsewhere) -> None:
    source = await registered(town, elsewhere.url, management={"cooldown": 60_000})
    elsewhere.answers.clear()
    for _ in range(2):
        assert (await ask(town, source)).status == 404
    assert town.broker.registrations.render(source.registration, CORE)["timesFailed"] == 0


async def test_what_a_refusal_means(town: Town) -> None:
    source = await registered(town, "http://127.0.0.1:9")

    def meant(status: int, content: Any = None) -> Any:
        return refusal(source, Reply(status, content, {}))

    assert type(meant(404)) is ResourceNotFound
    assert type(meant(409)) is Conflict
    exists = {"type": "https://uri.etsi.org/ngsi-ld/errors/AlreadyExists", "detail": "there"}
    assert type(meant(409, exists)) is AlreadyExists
    assert meant(409, exists).detail.endswith("there")
    assert type(meant(500)) is BadGateway
