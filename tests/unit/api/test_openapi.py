"""The API's description of itself: complete, consistent, offline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from autocity.api import openapi
from autocity.api.asgi import Answer, Application, Call, Operation, Route
from autocity.api.batches import Batches
from autocity.api.contexts import Hosting
from autocity.api.discovery import Discovery
from autocity.api.negotiate import PARAMETERS
from autocity.api.ngsild import Entities
from autocity.api.operations import Metrics, Operations
from autocity.api.schemas import EXAMPLES, SCHEMAS
from autocity.api.subscriptions import Subscribing
from autocity.api.temporal import Evolution


class Nowhere:
    """A broker that is only looked at."""

    contexts = None


def routes() -> list[Route]:
    broker: Any = Nowhere()
    feed: Any = None
    parts: list[Any] = [
        Entities(broker),
        Batches(broker),
        Discovery(broker, clock=lambda: 0),
        Evolution(broker, page_size=30),
        Subscribing(broker),
        Hosting(broker.contexts),
        Operations(broker, feed, Metrics()),
    ]
    return [route for part in parts for route in part.routes()] + openapi.routes()


ROUTES = routes()
STATED = [(route, route.operation) for route in ROUTES if route.operation is not None]
DESCRIPTION = openapi.describe(ROUTES)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DESCRIPTION):
        node = DESCRIPTION
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_operations_have_names_of_their_own() -> None:
    names = [operation.id for _, operation in STATED]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[A-Za-z]+", name) for name in names), names


@pytest.mark.parametrize(("route", "operation"), STATED, ids=lambda it: getattr(it, "id", ""))
def test_every_operation_is_described(route: Route, operation: Operation) -> None:
    assert operation.summary
    assert operation.answers
    assert set(operation.parameters) <= PARAMETERS.keys()
    described = DESCRIPTION["paths"][route.path.replace("*}", "}")][route.method.lower()]
    in_path = {each["name"] for each in described["parameters"] if each.get("in") == "path"}
    assert in_path == set(re.findall(r"\{(\w+)\*?\}", route.path))
    if route.path.startswith("/ngsi-ld/"):
        assert re.match(r"5\.\d+", operation.clause)
    if route.method in ("POST", "PUT", "PATCH") and "/resend" not in route.path:
        assert operation.accepts


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_fit_their_schemas(name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator(schema).validate(EXAMPLES[name])


async def test_the_page_needs_nothing_from_elsewhere() -> None:
    application = Application(ROUTES)
    page = await application.local("GET", "/docs", [("Host", "city.example")])
    html = page.body.decode()
    assert page.media.startswith("text/html")
    assert "default-src 'none'" in dict(page.headers)["Content-Security-Policy"]
    assert not re.search(r"<script|\sstyle=|\son\w+=", html)
    assert re.findall(r'(?:src|href)="(?!/|#)', html) == []
    for _, operation in STATED:
        assert f'id="{operation.id}"' in html
    style = await application.local("GET", "/docs/style.css")
    assert (style.status, style.media) == (200, "text/css; charset=utf-8")


async def test_the_description_covers_every_stated_route() -> None:
    async def extra(call: Call) -> Answer:
        return Answer()

    own = Route(
        method="GET",
        path="/own",
        handle=extra,
        operation=Operation(id="Own", summary="Own", answers={200: ""}),
    )
    answer = await Application([*ROUTES, own]).local("GET", "/openapi.json")
    assert answer.status == 200
    assert b'"/own"' in answer.body
    assert b'"/docs/style.css"' not in answer.body


def test_commands_can_be_run() -> None:
    for route, operation in STATED:
        command = openapi.curl(route, operation, "http://127.0.0.1:8026")
        assert command.startswith("curl ")
        assert "{" not in command.partition(" -d ")[0]
