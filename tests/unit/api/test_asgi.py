"""The bare application: routing, limits, refusals, lifespan, streams, calls inside the process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from autocity import errors
from autocity.api.asgi import Answer, Application, Call, Everyone, Identity, Message, Nobody, Route


async def echo(call: Call) -> Answer:
    """What the handler saw, as JSON."""
    seen = {
        "route": call.route.path if call.route else None,
        "params": call.params,
        "query": call.query,
        "body": call.body.decode(),
        "tenant": call.tenant,
        "actor": call.identity.actor,
    }
    return Answer(body=json.dumps(seen).encode(), media="application/json")


async def fail(call: Call) -> Answer:
    raise ZeroDivisionError("the secret of the implementation")


def routes() -> list[Route]:
    return [
        Route(method="GET", path="/", handle=echo),
        Route(method="GET", path="/things", handle=echo),
        Route(method="POST", path="/things", handle=echo),
        Route(method="GET", path="/things/special", handle=echo),
        Route(method="GET", path="/things/{id}", handle=echo),
        Route(method="DELETE", path="/things/{id}/attrs/{attribute}", handle=echo),
        Route(method="GET", path="/files/{path*}", handle=echo),
        Route(method="GET", path="/broken", handle=fail),
        Route(method="POST", path="/secret", handle=echo, scope="write"),
    ]


class Wire:
    """A client on the other end of an ASGI application."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def send(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | list[bytes] | None = None,
        query: str = "",
        raw_path: bytes | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        parts = [] if body is None else [body] if isinstance(body, bytes) else body
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if isinstance(body, bytes):
            sent.setdefault("content-length", str(len(body)))
        incoming: list[Message] = [
            {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
            for index, part in enumerate(parts)
        ] or [{"type": "http.request", "body": b"", "more_body": False}]
        incoming.append({"type": "http.disconnect"})
        out: list[Message] = []

        async def receive() -> Message:
            return incoming.pop(0)

        async def send(message: Message) -> None:
            out.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": raw_path or path.encode(),
            "query_string": query.encode(),
            "headers": [(n.encode(), v.encode("latin-1")) for n, v in sent.items()],
        }
        await self.application(scope, receive, send)
        if not out:
            return 0, {}, b""
        assert out[0]["type"] == "http.response.start"
        found = {name.decode(): value.decode() for name, value in out[0]["headers"]}
        return out[0]["status"], found, b"".join(message["body"] for message in out[1:])


@pytest.fixture
def wire() -> Wire:
    return Wire(Application(routes()))


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        ("/", "/", {}),
        ("/things", "/things", {}),
        ("/things/", "/things", {}),
        ("/things/special", "/things/special", {}),
        ("/things/urn:a:1", "/things/{id}", {"id": "urn:a:1"}),
        ("/things/urn:a:1/", "/things/{id}", {"id": "urn:a:1"}),
        ("/things/https%3A%2F%2Fa.b%2Fc", "/things/{id}", {"id": "https://a.b/c"}),
        ("/things/%E7%BA%A2%E6%97%97", "/things/{id}", {"id": "红旗"}),
        ("/files/js/map.js", "/files/{path*}", {"path": "js/map.js"}),
    ],
)
async def test_paths_are_matched_and_decoded_by_segment(
    wire: Wire, path: str, template: str, params: dict[str, str]
) -> None:
    status, _, body = await wire.send("GET", path)
    assert status == 200
    seen = json.loads(body)
    assert (seen["route"], seen["params"]) == (template, params)


async def test_an_empty_segment_reaches_the_handler_as_an_empty_value(wire: Wire) -> None:
    status, _, body = await wire.send("DELETE", "/things//attrs/speed")
    assert status == 200
    assert json.loads(body)["params"] == {"id": "", "attribute": "speed"}


async def test_an_unknown_path_is_refused_with_problem_details(wire: Wire) -> None:
    status, headers, body = await wire.send("GET", "/nowhere/at/all")
    assert (status, headers["content-type"]) == (404, "application/json")
    problem = json.loads(body)
    assert problem["type"] == "https://uri.etsi.org/ngsi-ld/errors/ResourceNotFound"
    assert problem["status"] == 404
    assert problem["requestId"] == headers["x-request-id"]


async def test_a_wrong_method_is_told_the_right_ones(wire: Wire) -> None:
    status, headers, body = await wire.send("PATCH", "/things", body=b"{}")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    assert json.loads(body)["type"].endswith("/MethodNotAllowed")


async def test_options_tells_the_methods(wire: Wire) -> None:
    status, headers, body = await wire.send("OPTIONS", "/things/1")
    assert (status, headers["allow"], body) == (204, "GET, HEAD, OPTIONS", b"")
    assert "content-length" not in headers


async def test_head_is_get_without_the_body(wire: Wire) -> None:
    _, shown, body = await wire.send("GET", "/things")
    status, headers, nothing = await wire.send("HEAD", "/things")
    assert (status, nothing) == (200, b"")
    assert headers["content-length"] == shown["content-length"] == str(len(body))


@pytest.mark.parametrize("headers", [{"Transfer-Encoding": "chunked"}, {}])
async def test_a_body_without_a_length_is_refused_bare(wire: Wire, headers: dict[str, str]) -> None:
    status, _, body = await wire.send("POST", "/things", headers, [b"{}"])
    assert (status, body) == (411, b"")


async def test_a_nonsense_length_is_refused(wire: Wire) -> None:
    status, _, _ = await wire.send("POST", "/things", {"Content-Length": "-1"}, b"{}")
    assert status == 400


async def test_a_large_body_is_refused_before_it_is_read() -> None:
    wire = Wire(Application(routes(), max_body=10))
    status, headers, body = await wire.send("POST", "/things", {"Content-Length": "11"}, [])
    assert (status, headers["connection"]) == (413, "close")
    assert json.loads(body)["type"].endswith("/PayloadTooLarge")


async def test_an_absurd_length_is_refused(wire: Wire) -> None:
    status, _, _ = await wire.send("POST", "/things", {"Content-Length": "9" * 5000}, [])
    assert status == 413


async def test_a_body_in_parts_is_joined(wire: Wire) -> None:
    status, _, body = await wire.send("POST", "/things", {"Content-Length": "4"}, [b"ab", b"", b"cd"])
    assert (status, json.loads(body)["body"]) == (200, "abcd")


async def test_a_client_that_hangs_up_gets_no_answer(wire: Wire) -> None:
    out: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        out.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/things",
        "raw_path": b"/things",
        "query_string": b"",
        "headers": [(b"content-length", b"5")],
    }
    await wire.application(scope, receive, send)
    assert out == []


async def test_a_failure_inside_tells_nothing_but_a_number(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "autocity.api"):
        status, headers, body = await wire.send("GET", "/broken")
    assert status == 500
    assert b"secret" not in body
    assert b"Traceback" not in body
    assert headers["x-request-id"] in json.loads(body)["detail"]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].__dict__["request_id"] == headers["x-request-id"]


async def test_a_harmless_request_id_is_kept_and_others_are_not(wire: Wire) -> None:
    _, headers, _ = await wire.send("GET", "/", {"X-Request-ID": "trace-42_a"})
    assert headers["x-request-id"] == "trace-42_a"
    _, headers, _ = await wire.send("GET", "/", {"X-Request-ID": 'x"\r\nSet-Cookie: a=b'})
    assert "Set-Cookie" not in headers["x-request-id"]


async def test_every_answer_bears_the_security_headers(wire: Wire) -> None:
    for path in ("/", "/nowhere"):
        _, headers, _ = await wire.send("GET", path)
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


async def test_a_header_of_the_answer_wins() -> None:
    async def own(call: Call) -> Answer:
        return Answer(headers=[("Content-Security-Policy", "default-src 'self'"), ("Set-Cookie", "a=b")])

    wire = Wire(Application([Route(method="GET", path="/", handle=own)]))
    _, headers, _ = await wire.send("GET", "/")
    assert headers["content-security-policy"] == "default-src 'self'"
    assert headers["set-cookie"] == "a=b"


async def test_a_header_stays_on_one_line() -> None:
    async def own(call: Call) -> Answer:
        return Answer(headers=[("Link", "<a>\r\nSet-Cookie: x=y"), ("Location", "/红")])

    wire = Wire(Application([Route(method="GET", path="/", handle=own)]))
    _, headers, _ = await wire.send("GET", "/")
    assert headers["link"] == "<a>  Set-Cookie: x=y"
    assert headers["location"] == "/?"
    assert "set-cookie" not in headers


async def test_the_tenant_is_echoed_also_on_a_refusal(wire: Wire) -> None:
    for path in ("/things", "/nowhere"):
        _, headers, _ = await wire.send("GET", path, {"NGSILD-Tenant": "north"})
        assert headers["ngsild-tenant"] == "north"


@pytest.mark.parametrize(
    ("query", "pairs"),
    [
        ("", []),
        ("a=1&b=2&a=3", [["a", "1"], ["b", "2"], ["a", "3"]]),
        ("q=a%3D%3D%22x+y%22&&flag", [["q", 'a=="x y"'], ["flag", ""]]),
        ("name=%E7%BA%A2", [["name", "红"]]),
    ],
)
async def test_queries_are_decoded(wire: Wire, query: str, pairs: list[list[str]]) -> None:
    _, _, body = await wire.send("GET", "/things", query=query)
    assert json.loads(body)["query"] == pairs


@pytest.mark.parametrize("query", ["a=%ff", "&".join(f"p{n}=1" for n in range(300))])
async def test_a_query_that_cannot_be_read_is_refused(wire: Wire, query: str) -> None:
    status, _, body = await wire.send("GET", "/things", query=query)
    assert status == 400
    assert json.loads(body)["type"].endswith("/InvalidRequest")


async def test_a_path_that_is_not_utf8_is_refused(wire: Wire) -> None:
    status, _, body = await wire.send("GET", "/things/x", raw_path=b"/things/%ff%fe")
    assert status == 400
    assert json.loads(body)["type"].endswith("/InvalidRequest")


async def test_headers_of_one_name_are_joined() -> None:
    seen: list[str | None] = []

    async def note(call: Call) -> Answer:
        seen.append(call.header("link"))
        return Answer()

    application = Application([Route(method="GET", path="/", handle=note)])
    await application.local("GET", "/", [("Link", "<a>"), ("Link", "<b>")])
    assert seen == ["<a>, <b>"]


# -- who may


class Reader(Everyone, frozen=True):
    def may(self, scope: str) -> bool:
        return scope == "read"


@pytest.mark.parametrize(
    ("identity", "status"), [(Nobody(), 401), (Reader(actor="ann"), 403), (Everyone(), 200)]
)
async def test_a_route_asks_for_its_permission(identity: Identity, status: int) -> None:
    async def authenticate(call: Call) -> Identity:
        return identity

    wire = Wire(Application(routes(), authenticate=authenticate))
    found, headers, _ = await wire.send("POST", "/secret", body=b"{}")
    assert found == status
    assert ("www-authenticate" in headers) is (status == 401)


async def test_authentication_may_read_the_body_first() -> None:
    async def authenticate(call: Call) -> Identity:
        assert await call.read() == b"form"
        return Everyone(actor="ann")

    wire = Wire(Application(routes(), authenticate=authenticate))
    _, _, body = await wire.send("POST", "/things", body=b"form")
    assert json.loads(body)["body"] == "form"
    assert json.loads(body)["actor"] == "ann"


async def test_a_refusal_may_be_turned_into_a_page() -> None:
    def refuse(call: Call, error: errors.CityError) -> Answer | None:
        return Answer(status=404, body=b"<p>", media="text/html") if call.path == "/page" else None

    wire = Wire(Application(routes(), refuse=refuse))
    assert (await wire.send("GET", "/page"))[2] == b"<p>"
    assert (await wire.send("GET", "/other"))[1]["content-type"] == "application/json"


# -- inside the process


async def test_a_local_call_needs_no_network() -> None:
    application = Application(routes(), authenticate=lambda call: pytest.fail("the identity was given"))
    answer = await application.local(
        "POST", "/things?a=1", [("NGSILD-Tenant", "north")], b"hello", Everyone(actor="console")
    )
    seen = json.loads(answer.body)
    assert (answer.status, seen["body"], seen["query"]) == (200, "hello", [["a", "1"]])
    assert (seen["tenant"], seen["actor"]) == ("north", "console")


# -- streams and life


async def test_a_stream_ends_when_the_client_hangs_up() -> None:
    closed = asyncio.Event()
    hang_up = asyncio.Event()

    async def ticks() -> AsyncIterator[bytes]:
        try:
            for number in range(1000):
                yield b"%d" % number
                await asyncio.sleep(0.001)
        finally:
            closed.set()

    async def stream(call: Call) -> Answer:
        return Answer(media="text/event-stream", stream=ticks())

    application = Application([Route(method="GET", path="/", handle=stream)])
    out: list[bytes] = []

    async def receive() -> Message:
        await hang_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert b"content-length" not in dict(message["headers"])
            return
        out.append(message["body"])
        if len(out) == 3:
            hang_up.set()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
    }
    await asyncio.wait_for(application(scope, receive, send), 2)
    assert closed.is_set()
    assert 3 <= len(out) < 1000


async def test_a_stream_that_ends_is_ended() -> None:
    async def two() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    async def stream(call: Call) -> Answer:
        return Answer(stream=two())

    wire = Wire(Application([Route(method="GET", path="/", handle=stream)]))
    # The client stays: only its request has been heard so far.
    out: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(10)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        out.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [],
    }
    await asyncio.wait_for(wire.application(scope, receive, send), 2)
    assert [message.get("body") for message in out[1:]] == [b"a", b"b", b""]
    assert not out[-1].get("more_body")


async def live(application: Application) -> list[str]:
    stages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    out: list[str] = []

    async def receive() -> Message:
        return stages.pop(0)

    async def send(message: Message) -> None:
        out.append(message["type"])

    await application({"type": "lifespan"}, receive, send)
    return out


async def test_the_lifespan_calls_the_hooks() -> None:
    done: list[str] = []

    async def start() -> None:
        done.append("start")

    async def stop() -> None:
        done.append("stop")

    out = await live(Application([], on_start=start, on_stop=stop))
    assert done == ["start", "stop"]
    assert out == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_failed_start_is_told_to_the_server() -> None:
    async def start() -> None:
        raise OSError("the disk is gone")

    assert await live(Application([], on_start=start)) == ["lifespan.startup.failed"]


async def test_answers_are_observed_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    noted: list[tuple[str, str, int]] = []
    wire = Wire(
        Application(routes(), observe=lambda method, route, status, _: noted.append((method, route, status)))
    )
    with caplog.at_level(logging.INFO, "autocity.access"):
        await wire.send("GET", "/things/urn:a:1")
        await wire.send("GET", "/nowhere")
    assert noted == [("GET", "/things/{id}", 200), ("GET", "", 404)]
    assert [record.getMessage() for record in caplog.records] == ["request answered", "request refused"]
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]
    assert caplog.records[0].__dict__["path"] == "/things/urn:a:1"


def test_two_routes_in_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="two routes answer GET /things"):
        Application([*routes(), Route(method="GET", path="/things", handle=echo)])


# -- other origins


async def test_origins_may_call_when_they_are_allowed() -> None:
    wire = Wire(Application(routes(), origins=["https://map.example"]))
    _, headers, _ = await wire.send("GET", "/things", {"Origin": "https://map.example"})
    assert headers["access-control-allow-origin"] == "https://map.example"
    assert "Location" in headers["access-control-expose-headers"]
    _, headers, _ = await wire.send("GET", "/things", {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in headers


async def test_a_preflight_is_answered() -> None:
    wire = Wire(Application(routes(), origins=["*"]))
    status, headers, _ = await wire.send(
        "OPTIONS", "/things", {"Origin": "null", "Access-Control-Request-Headers": "link"}
    )
    assert (status, headers["access-control-allow-origin"]) == (204, "*")
    assert headers["access-control-allow-headers"] == "link"
