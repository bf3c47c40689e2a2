"""Where @contexts come from: built in, hosted, fetched; what happens when they cannot be had (5.13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web

from autocity.broker import Contexts, Outbound
from autocity.broker import contexts as module
from autocity.broker.contexts import age_of
from autocity.errors import (
    BadRequestData,
    LdContextNotAvailable,
    OperationNotSupported,
    ResourceNotFound,
)
from autocity.ld.context import CORE, CORE_URL
from autocity.ld.instants import SECOND
from autocity.store.memory import MemoryStore

TERMS = {"@context": {"lamp": "https://example.org/lamp"}}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000_000_000

    def __call__(self) -> int:
        return self.now


class Web:
    """A server of contexts: `documents` by path, or a function that answers."""

    def __init__(self) -> None:
        self.url = ""
        self.documents: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, dict(request.headers)))
        answer = self.documents.get(request.path)
        if callable(answer):
            return await answer(request)
        if answer is None:
            return web.Response(status=404)
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        return web.Response(body=msgspec.json.encode(answer), headers={"ETag": '"1"'})


@pytest.fixture
async def site() -> AsyncIterator[Web]:
    built = Web()
    application = web.Application()
    application.router.add_get("/{tail:.*}", built.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    built.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield built
    await runner.cleanup()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store() -> MemoryStore:
    built = MemoryStore()
    await built.open()
    return built


async def open_contexts(store: MemoryStore, clock: Clock, **options: Any) -> Contexts:
    outbound = options.pop("outbound", Outbound(allow_loopback=True))
    built = Contexts(store, clock=clock, outbound=outbound, **options)
    await built.open()
    return built


@pytest.fixture
async def contexts(store: MemoryStore, clock: Clock) -> AsyncIterator[Contexts]:
    built = await open_contexts(store, clock)
    yield built
    await built.close()


async def test_5_5_5_without_context_the_core_holds_and_is_never_fetched(contexts: Contexts) -> None:
    assert await contexts.resolve(None) is CORE
    assert await contexts.resolve(CORE_URL) is CORE
    assert await contexts.resolve([CORE_URL]) is CORE
    assert contexts.known(None) is CORE


async def test_what_is_built_in_needs_no_network(store: MemoryStore, clock: Clock) -> None:
    contexts = await open_contexts(store, clock, built_in={"https://city.example/c": TERMS})
    context = await contexts.resolve("https://city.example/c")
    assert context.expand("lamp") == "https://example.org/lamp"
    assert msgspec.json.decode(await contexts.serve("https://city.example/c")) == TERMS
    with pytest.raises(BadRequestData, match="built in"):
        await contexts.delete("https://city.example/c")
    await contexts.close()


async def test_a_context_is_fetched_once_and_remembered(contexts: Contexts, site: Web) -> None:
    site.documents["/c"] = TERMS
    url = site.url + "/c"
    assert contexts.known(url) is None
    first = await contexts.resolve(url)
    assert first.expand("lamp") == "https://example.org/lamp"
    assert contexts.known(url) is first
    assert await contexts.resolve([url, {"pole": "https://example.org/pole"}]) is not first
    assert len(site.asked) == 1
    assert "identity" in site.asked[0][1]["Accept-Encoding"]


async def test_many_who_want_the_same_wait_for_one_fetch(contexts: Contexts, site: Web) -> None:
    async def slowly(request: web.Request) -> web.Response:
        await asyncio.sleep(0.05)
        return web.json_response(TERMS)

    site.documents["/c"] = slowly
    await asyncio.gather(*(contexts.resolve([site.url + "/c", {"a": f"urn:a:{n}"}]) for n in range(20)))
    assert len(site.asked) == 1


async def test_what_was_fetched_survives_a_restart_without_network(
    store: MemoryStore, clock: Clock, site: Web
) -> None:
    site.documents["/c"] = TERMS
    contexts = await open_contexts(store, clock)
    await contexts.resolve(site.url + "/c")
    await contexts.close()
    del site.documents["/c"]
    clock.now += 30 * module.DAY
    contexts = await open_contexts(store, clock)
    context = await contexts.resolve(site.url + "/c")
    assert context.expand("lamp") == "https://example.org/lamp"
    await contexts.close()


async def test_when_its_time_is_up_it_is_renewed_behind_the_scenes(
    contexts: Contexts, clock: Clock, site: Web
) -> None:
    site.documents["/c"] = TERMS
    url = site.url + "/c"
    await contexts.resolve(url)
    site.documents["/c"] = {"@context": {"lamp": "https://example.org/new"}}
    clock.now += 2 * module.DAY
    assert (await contexts.resolve(url)).expand("lamp") == "https://example.org/lamp"
    async with asyncio.timeout(2):
        while (await contexts.resolve(url)).expand("lamp") != "https://example.org/new":
            await asyncio.sleep(0.01)
    assert len(site.asked) == 2
    assert site.asked[1][1]["If-None-Match"] == '"1"'


async def test_not_modified_keeps_what_is_there(contexts: Contexts, clock: Clock, site: Web) -> None:
    async def unchanged(request: web.Request) -> web.Response:
        return web.Response(status=304)

    site.documents["/c"] = TERMS
    url = site.url + "/c"
    await contexts.resolve(url)
    site.documents["/c"] = unchanged
    await contexts.delete(url, reload=True)
    assert (await contexts.resolve(url)).expand("lamp") == "https://example.org/lamp"


async def test_5_5_6_a_failure_that_took_long_is_not_waited_for_again_at_once(
    contexts: Contexts, clock: Clock, site: Web
) -> None:
    async def slowly(request: web.Request) -> web.Response:
        clock.now += 2 * SECOND
        return web.Response(status=503)

    site.documents["/c"] = slowly
    for _ in range(3):
        with pytest.raises(LdContextNotAvailable, match="503"):
            await contexts.resolve(site.url + "/c")
    assert len(site.asked) == 1
    site.documents["/c"] = TERMS
    clock.now += module.RETRY_AFTER + 1
    assert (await contexts.resolve(site.url + "/c")).expand("lamp") == "https://example.org/lamp"


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ({"terms": {}}, "no @context"),
        (b'{"@context": {"a": "' + b"x" * 2**20 + b'"}}', "more than"),
        ({"@context": {"a": 5}}, "a"),
    ],
)
async def test_5_5_6_what_is_no_context_is_refused(
    contexts: Contexts, site: Web, document: Any, fault: str
) -> None:
    site.documents["/c"] = document
    with pytest.raises(BadRequestData, match=fault):
        await contexts.resolve(site.url + "/c")


async def test_a_compressed_answer_is_not_unpacked(contexts: Contexts, site: Web) -> None:
    async def bomb(request: web.Request) -> web.Response:
        return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})

    site.documents["/c"] = bomb
    with pytest.raises(LdContextNotAvailable, match="compressed"):
        await contexts.resolve(site.url + "/c")


async def test_redirects_are_followed_three_times_and_each_is_checked(contexts: Contexts, site: Web) -> None:
    async def onwards(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/r{int(request.path[2:]) - 1}" if request.path != "/r1" else "/c")

    site.documents |= {"/c": TERMS} | {f"/r{n}": onwards for n in range(1, 6)}
    assert (await contexts.resolve(site.url + "/r3")).expand("lamp") == "https://example.org/lamp"
    with pytest.raises(LdContextNotAvailable, match="redirects"):
        await contexts.resolve(site.url + "/r4")

    async def inwards(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://10.0.0.1/secret")

    site.documents["/r1"] = inwards
    with pytest.raises(BadRequestData, match="private"):
        await contexts.resolve(site.url + "/r1")


async def test_a_server_that_does_not_answer_costs_seconds(
    contexts: Contexts, site: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.json_response(TERMS)

    monkeypatch.setattr(module, "TOTAL_SECONDS", 0.1)
    site.documents["/c"] = never
    async with asyncio.timeout(0.4):
        with pytest.raises(LdContextNotAvailable):
            await contexts.resolve(site.url + "/c")


async def test_private_addresses_are_refused(store: MemoryStore, clock: Clock, site: Web) -> None:
    contexts = await open_contexts(store, clock, outbound=Outbound())
    with pytest.raises(BadRequestData, match="allow_private"):
        await contexts.resolve(site.url + "/c")
    assert site.asked == []
    await contexts.close()


async def test_5_13_2_to_5_13_5_hosting(contexts: Contexts) -> None:
    id = await contexts.add(TERMS | {"more": "is let go"})
    (served,) = await contexts.list("Hosted")
    assert (served.id, served.kind) == (id, "Hosted")
    assert msgspec.json.decode(await contexts.serve(id)) == TERMS
    assert msgspec.json.decode(await contexts.serve(served.url)) == TERMS
    context = await contexts.resolve(f"http://any.host:1026/ngsi-ld/v1/jsonldContexts/{id}")
    assert context.expand("lamp") == "https://example.org/lamp"
    with pytest.raises(BadRequestData):
        await contexts.delete(id, reload=True)
    await contexts.delete(id)
    for operation in (contexts.serve(id), contexts.details(id), contexts.delete(id)):
        with pytest.raises(ResourceNotFound):
            await operation


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {},
        {"@context": 5},
        {"@context": ["http://127.0.0.1:9/never-asked", 5]},
        {"@context": {"a": {"@context": {}}}},
    ],
)
async def test_5_13_2_what_is_no_context_is_not_hosted(contexts: Contexts, document: Any) -> None:
    with pytest.raises(BadRequestData):
        await contexts.add(document)
    assert await contexts.list() == []


async def test_5_13_3_5_how_often_it_was_found(contexts: Contexts, site: Web) -> None:
    site.documents["/c"] = TERMS
    url = site.url + "/c"
    await contexts.resolve(url)
    details = await contexts.details(url)
    assert details.keys() == {
        "URL", "localId", "kind", "createdAt", "expiresAt", "lastUsage", "numberOfHits"
    }  # fmt: skip
    assert (details["URL"], details["kind"], details["numberOfHits"]) == (url, "Cached", 1)
    contexts.known(url)
    assert (await contexts.details(details["localId"]))["numberOfHits"] == 3


async def test_5_13_4_what_was_fetched_is_not_served(contexts: Contexts, site: Web) -> None:
    site.documents["/c"] = TERMS
    await contexts.resolve(site.url + "/c")
    for id in (site.url + "/c", CORE_URL):
        with pytest.raises(OperationNotSupported):
            await contexts.serve(id)
        assert (await contexts.details(id))["kind"] == "Cached"


async def test_5_13_5_reload(contexts: Contexts, site: Web) -> None:
    site.documents["/c"] = TERMS
    url = site.url + "/c"
    await contexts.resolve(url)
    site.documents["/c"] = {"@context": {"lamp": "https://example.org/new"}}
    await contexts.delete(url, reload=True)
    assert (await contexts.resolve(url)).expand("lamp") == "https://example.org/new"
    for broken in (b"<html>", None):
        site.documents["/c"] = broken
        with pytest.raises(LdContextNotAvailable):
            await contexts.delete(url, reload=True)
        assert (await contexts.resolve(url)).expand("lamp") == "https://example.org/new"
    await contexts.delete(url)
    assert await contexts.list() == []


async def test_5_13_5_refusals(contexts: Contexts) -> None:
    with pytest.raises(BadRequestData):
        await contexts.delete("")
    with pytest.raises(BadRequestData):
        await contexts.delete(CORE_URL)
    with pytest.raises(BadRequestData):
        await contexts.delete("unknown", reload=True)
    with pytest.raises(BadRequestData, match="kind"):
        await contexts.list("other")


async def test_5_5_10_hosted_contexts_belong_to_their_tenant(contexts: Contexts, site: Web) -> None:
    id = await contexts.add(TERMS, tenant="a")
    url = f"{site.url}/ngsi-ld/v1/jsonldContexts/{id}"
    assert await contexts.list(tenant="b") == []
    with pytest.raises(ResourceNotFound):
        await contexts.serve(id, tenant="b")
    with pytest.raises(ResourceNotFound):
        await contexts.delete(id, tenant="b")
    with pytest.raises(LdContextNotAvailable):
        await contexts.resolve(url, tenant="b")
    assert (await contexts.resolve(url, tenant="a")).expand("lamp") == "https://example.org/lamp"
    await contexts.delete(id, tenant="a")


async def test_a_context_hosted_by_another_process_is_found(store: MemoryStore, clock: Clock) -> None:
    one, other = await open_contexts(store, clock), await open_contexts(store, clock)
    id = await one.add(TERMS)
    assert msgspec.json.decode(await other.serve(id)) == TERMS
    await one.close()
    await other.close()


async def test_the_oldest_fetched_ones_are_let_go(
    contexts: Contexts, site: Web, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 3)
    for n in range(5):
        clock.now += SECOND
        site.documents[f"/{n}"] = TERMS
        await contexts.resolve(f"{site.url}/{n}")
    assert [entry.url[-2:] for entry in await contexts.list("Cached")] == ["/2", "/3", "/4"]


@pytest.mark.parametrize(
    ("header", "age"),
    [("", module.USUAL_AGE), ("max-age=3600", 3600 * SECOND), ("no-cache, max-age=0", module.LEAST_AGE),
     ("public, max-age=999999999", module.MOST_AGE), ("max-age=x", module.USUAL_AGE)],
)  # fmt: skip
def test_how_long_an_answer_is_kept(header: str, age: int) -> None:
    assert age_of(header) == age
