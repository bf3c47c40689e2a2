"""The API's description of itself, made from its own routes: OpenAPI 3.1, and a page for people."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any
from urllib.parse import quote

import msgspec

from autocity import __version__
from autocity.api import auth
from autocity.api.asgi import Answer, Call, Operation, Route
from autocity.api.errors import phrase
from autocity.api.negotiate import GEO, JSON, LD, MERGE_PATCH, PARAMETERS
from autocity.api.schemas import EXAMPLES, MEDIA, SCHEMAS, SEGMENTS, Schema, ref

STANDARD = "/ngsi-ld/"
TAGS = (
    "Entities", "Batches", "Discovery", "History", "Subscriptions", "Context sources", "Entity maps",
    "Snapshots", "Contexts", "Identity", "Operations",
)  # fmt: skip
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 description of the routes that state an operation."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.operation is not None:
            template = route.path.replace("*}", "}")
            paths.setdefault(template, {})[route.method.lower()] = _operation(route, route.operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "autocity",
            "version": __version__,
            "summary": "The platform that an automobile city runs on.",
            "description": "NGSI-LD (ETSI CIM 009 v1.9.1) under /ngsi-ld/v1, and the routes that operate it.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in TAGS],
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": SCHEMAS | auth.SCHEMAS,
            "parameters": _shared_parameters(),
            "responses": {"Problem": _problem()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": auth.COOKIE},
            },
        },
        "security": [{"token": []}, {"session": []}, {}],
    }


def _operation(route: Route, operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*_segments(route), *_query(operation), *_headers(route)],
        "responses": _answers(operation),
        "x-permission": route.scope,
    }
    if operation.clause:
        described["description"] = f"ETSI CIM 009 v1.9.1, {operation.clause}."
    if operation.accepts:
        described["requestBody"] = {"required": True, "content": _bodies(route, operation.accepts)}
    if route.scope == "public":
        described["security"] = []
    return described


def _segments(route: Route) -> list[dict[str, Any]]:
    found = []
    for name in re.findall(r"\{(\w+)\*?\}", route.path):
        schema, example = SEGMENTS.get(name, ({"type": "string"}, ""))
        # Ids of users, tokens and stored contexts are no URIs.
        plain = name == "id" and not route.path.startswith(
            (STANDARD + "v1/e", STANDARD + "v1/t", STANDARD + "v1/s")
        )
        found.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1} if plain else schema,
                **({"example": example} if example and not plain else {}),
            }
        )
    return found


def _query(operation: Operation) -> list[dict[str, Any]]:
    found = [_parameter(name) for name in operation.parameters]
    if operation.formats:
        schema: Schema = {"type": "string", "enum": list(operation.formats)}
        found.append({"name": "format", "in": "query", "schema": schema, "description": "Representation."})
    if operation.options:
        schema = {
            "type": "array",
            "items": {"type": "string", "enum": list(operation.options)},
            "minItems": 1,
        }
        found.append(
            {"name": "options", "in": "query", "schema": schema, "style": "form", "explode": False}
            | {"description": "Keywords, comma-separated (6.3.7, 6.3.11, 6.3.12)."}
        )
    return found


def _parameter(name: str) -> dict[str, Any]:
    known = PARAMETERS[name]
    listed = {"style": "form", "explode": False} if known.schema.get("type") == "array" else {}
    return {"name": name, "in": "query", "schema": dict(known.schema), "description": known.about, **listed}


def _headers(route: Route) -> list[dict[str, Any]]:
    if not route.path.startswith(STANDARD):
        return []
    names = ["Tenant"] if route.method in ("POST", "PATCH", "PUT") else ["Tenant", "ContextLink"]
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _shared_parameters() -> dict[str, Any]:
    return {
        "Tenant": {
            "name": "NGSILD-Tenant",
            "in": "header",
            "schema": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[A-Za-z0-9_]+$"},
            "description": "The tenant addressed (6.3.14); none is the default one.",
        },
        "ContextLink": {
            "name": "Link",
            "in": "header",
            "schema": {"type": "string"},
            "description": "The @context of names in the request and the answer (6.3.5).",
        },
    }


def _bodies(route: Route, name: str) -> dict[str, Any]:
    schema = ref(name)
    content: dict[str, Any] = {JSON: {"schema": schema}}
    if name in EXAMPLES:
        content[JSON]["example"] = EXAMPLES[name]
    if route.path.startswith(STANDARD):
        content[LD] = {"schema": schema}
        if route.method == "PATCH":
            content[MERGE_PATCH] = {"schema": schema}
    return content


def _answers(operation: Operation) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(status): _answer(status, name, operation) for status, name in sorted(operation.answers.items())
    }
    if operation.accepts:
        # These two go without a body (6.3.4).
        answers |= {str(status): {"description": phrase(status)} for status in (411, 415)}
    answers["default"] = {"$ref": "#/components/responses/Problem"}
    return answers


def _answer(status: int, name: str, operation: Operation) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": phrase(status)}
    if status == 201:
        answer["headers"] = {"Location": {"schema": {"type": "string"}, "description": "The path of it."}}
    if name:
        if name in MEDIA:
            types: Sequence[str] = (MEDIA[name],)
        elif operation.clause and status < 207:
            types = (JSON, LD, GEO) if operation.geojson else (JSON, LD)
        else:
            types = (JSON,)
        answer["content"] = {media: {"schema": {} if media == GEO else ref(name)} for media in types}
    return answer


def _problem() -> dict[str, Any]:
    return {
        "description": "A refusal (6.3.2, 6.3.3).",
        "content": {JSON: {"schema": ref("ProblemDetails")}},
    }


# -- handlers


async def description(call: Call) -> Answer:
    """The OpenAPI description."""
    body = msgspec.json.encode(describe(call.application.routes))
    return Answer(body=body, media=JSON, headers=[("Access-Control-Allow-Origin", "*")])


async def page(call: Call) -> Answer:
    """The API's documentation as a page."""
    root = f"{call.scope.get('scheme', 'http')}://{call.header('host') or 'localhost'}"
    html = "".join(_page(call.application.routes, root))
    return Answer(
        body=html.encode(),
        media="text/html; charset=utf-8",
        headers=[("Content-Security-Policy", PAGE_POLICY)],
    )


async def style(call: Call) -> Answer:
    """The style of the documentation page."""
    body = files("autocity.api").joinpath("docs.css").read_bytes()
    return Answer(body=body, media="text/css; charset=utf-8")


def routes() -> list[Route]:
    """Every route of this module."""
    return [
        _route("/openapi.json", description, "Description"),
        _route("/docs", page, "Page"),
        _route("/docs/style.css", style, ""),
    ]


def _route(path: str, handle: Callable[[Call], Awaitable[Answer]], id: str) -> Route:
    if not id:
        return Route(method="GET", path=path, handle=handle)
    summary = (handle.__doc__ or "").rstrip(".")
    media = "Html" if id == "Page" else "Object"
    operation = Operation(id=id, summary=summary, tag="Operations", answers={200: media})
    return Route(method="GET", path=path, handle=handle, operation=operation)


# -- the page


def _page(routes: Sequence[Route], root: str) -> Iterable[str]:
    stated = [(route, route.operation) for route in routes if route.operation is not None]
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>autocity API</title>"
        '<link rel="stylesheet" href="/docs/style.css"></head><body>'
        f"<header><h1>autocity API <small>{escape(__version__)}</small></h1>"
        "<p>NGSI-LD, ETSI CIM 009 v1.9.1, and the routes that operate the platform. "
        'The same for machines: <a href="/openapi.json">openapi.json</a>.</p>'
        '<nav aria-label="Groups"><ul>'
    )
    for tag in TAGS:
        yield f'<li><a href="#{tag.lower()}">{tag}</a></li>'
    yield "</ul></nav></header><main>"
    for tag in TAGS:
        yield f'<section id="{tag.lower()}"><h2>{tag}</h2>'
        for route, operation in stated:
            if operation.tag == tag:
                yield from _entry(route, operation, root)
        yield "</section>"
    yield "</main></body></html>"


def _entry(route: Route, operation: Operation, root: str) -> Iterable[str]:
    clause = f"<p class=clause>CIM 009 {escape(operation.clause)}</p>" if operation.clause else ""
    yield (
        f'<article id="{operation.id}"><h3><span class="method {route.method.lower()}">{route.method}</span> '
        f"<code>{escape(route.path.replace('*}', '}'))}</code></h3>"
        f"<p>{escape(operation.summary)}. Needs the permission <em>{route.scope}</em>.</p>{clause}"
        f"<pre tabindex=0><code>{escape(curl(route, operation, root))}</code></pre>"
    )
    rows = [
        (each["name"], each.get("description", ""), each["schema"].get("enum") or each["schema"]["type"])
        for each in _query(operation)
    ]
    if rows:
        yield "<details><summary>Parameters</summary><table><thead><tr><th scope=col>Name<th scope=col>"
        yield "What it says<th scope=col>Values</thead><tbody>"
        for name, about, values in rows:
            shown = ", ".join(values) if isinstance(values, list) else values
            yield f"<tr><th scope=row><code>{name}</code><td>{escape(about)}<td>{escape(shown)}"
        yield "</tbody></table></details>"
    yield "</article>"


def curl(route: Route, operation: Operation, root: str) -> str:
    """A command that tries the operation."""
    path = re.sub(
        r"\{(\w+)\*?\}", lambda found: quote(SEGMENTS.get(found[1], ({}, "ID"))[1], safe=":"), route.path
    )
    parts = ["curl"] if route.method == "GET" else ["curl", "-X", route.method]
    if route.path.endswith("/events"):
        parts.append("-N")
    query = f"?{operation.example}" if operation.example else ""
    parts.append(f"'{root}{path}{query}'")
    if operation.accepts:
        body = EXAMPLES.get(operation.accepts) or _sample(operation.accepts)
        parts.append("\\\n  -H 'Content-Type: application/json'")
        parts.append(f"\\\n  -d '{msgspec.json.encode(body).decode()}'")
    return " ".join(parts)


def _sample(name: str) -> dict[str, Any]:
    """A body with the required members of a schema, their kinds in place of values."""
    schema = (SCHEMAS | auth.SCHEMAS).get(name, {})
    return dict.fromkeys(schema.get("required", ()), "...")
