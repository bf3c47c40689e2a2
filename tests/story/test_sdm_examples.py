"""The official normalized examples of Smart Data Models: posted, read back equal, found by type.

Reads the folder that AUTOCITY_SDM_EXAMPLES names: `<subject>/context.jsonld` beside
`<subject>/<Type>/example-normalized.jsonld`, as the repositories of smart-data-models hold them.
Each example comes under its subject's own @context, from a local server: the platform needs no network.

Many examples are no NGSI-LD: misspelt kinds, relationships without object, ids that are no URI. What
is told apart here, by rules of the standard written down once more, the platform has to tell apart
in the same way: the one taken, value for value, the other refused with ProblemDetails.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pyld import jsonld

from story.program import Program, data, running

FOLDER = Path(os.environ.get("AUTOCITY_SDM_EXAMPLES", "/nonexistent"))
EXAMPLES = sorted(FOLDER.glob("*/*/example-normalized.jsonld"))
CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld"

pytestmark = pytest.mark.skipif(
    not EXAMPLES, reason="AUTOCITY_SDM_EXAMPLES names no folder of <subject>/<Type>/example-normalized.jsonld"
)

MEMBER = {
    "Property": "value",
    "GeoProperty": "value",
    "Relationship": "object",
    "LanguageProperty": "languageMap",
    "ListProperty": "valueList",
    "JsonProperty": "json",
    "VocabProperty": "vocab",
}
SYSTEM = {"createdAt", "modifiedAt"}
NESTING = {
    "Point": 0,
    "MultiPoint": 1,
    "LineString": 1,
    "MultiLineString": 2,
    "Polygon": 2,
    "MultiPolygon": 3,
}


@pytest.fixture(scope="module")
def contexts() -> Iterator[str]:
    """Address of a server of the folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(FOLDER)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running("serve", *data(tmp_path_factory.mktemp("sdm") / "city")) as city:
        yield city


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: "/".join(file.parts[-3:-1]))
def test_an_official_example_goes_in_and_comes_back(file: Path, city: Program, contexts: str) -> None:
    body = json.loads(file.read_text())
    subject = file.parts[-3]
    context = f"{contexts}/{quote(subject)}/context.jsonld"
    stated = body | {"@context": [context, CORE]}
    answer = city.request("POST", "/ngsi-ld/v1/entities", stated, {"Content-Type": "application/ld+json"})
    wrong = _not_expandable(subject) or _against_the_standard(body)
    if wrong:
        assert answer.status == 400, wrong
        assert answer.json()["type"] == "https://uri.etsi.org/ngsi-ld/errors/BadRequestData"
        return
    assert answer.status == 201, answer.body

    headers = {"Link": f'<{context}>; rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"'}
    path = "/ngsi-ld/v1/entities/" + quote(body["id"], safe="")
    kept = city.request("GET", path, headers=headers)
    wanted = {name: _normalized(member) for name, member in body.items() if name not in SYSTEM | {"@context"}}
    assert kept.json() == wanted
    found = city.request(
        "GET", f"/ngsi-ld/v1/entities?type={quote(body['type'])}&limit=1000", headers=headers
    )
    assert body["id"] in [entity["id"] for entity in found.json()]
    assert city.request("DELETE", path).status == 204


def test_most_examples_count() -> None:
    """The rules above must not explain away what the platform cannot do."""
    counted = [file for file in EXAMPLES if not _against_the_standard(json.loads(file.read_text()))]
    assert len(counted) >= 0.65 * len(EXAMPLES)


def _normalized(member: Any) -> Any:
    """A bare array of values is the concise form of a Property (4.5.1), which is told in full."""
    concise = isinstance(member, list) and not all(isinstance(one, dict) and "type" in one for one in member)
    return {"type": "Property", "value": member} if concise else member


def _not_expandable(subject: str) -> str:
    own = json.loads((FOLDER / subject / "context.jsonld").read_text())["@context"]
    try:
        jsonld.expand({"@context": own, "@id": "urn:x:1"})
    except jsonld.JsonLdError as fault:
        return f"the @context of {subject} is no JSON-LD: {fault.args[0]}"
    return ""


def _against_the_standard(body: dict[str, Any]) -> str:
    """The first rule of CIM 009 that an example breaks; empty when it keeps them all."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", str(body.get("id", ""))):
        return "id is no URI (4.5.1)"
    if not isinstance(body.get("type"), str):
        return "type is no name (4.5.1)"
    for name, member in body.items():
        if name not in {"id", "type", "@context", *SYSTEM}:
            wrong = _wrong_attribute(name, member)
            if wrong:
                return f"{name}: {wrong}"
    return ""


def _wrong_attribute(name: str, member: Any) -> str:
    if name == "observedAt":
        return "is a non-reified Property of the core @context (4.5.1)"
    if not re.fullmatch(r"[^\W\d_]\w*", name):
        return "is no name (4.6.2)"
    if isinstance(member, list):
        wrong = (_wrong_attribute(name, one) for one in member if isinstance(one, dict) and "type" in one)
        return next(filter(None, wrong), "")
    if not isinstance(member, dict) or "type" not in member:
        return ""
    kind = member["type"]
    if not isinstance(kind, str) or kind not in MEMBER:
        return f"{kind!r} is no kind of attribute (4.5)"
    value = member.get(MEMBER[kind])
    if value is None:
        return f"{MEMBER[kind]} is missing (4.5)"
    if kind == "Relationship":
        targets = value if isinstance(value, list) else [value]
        if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", str(target)) for target in targets):
            return "object is no URI (4.5.3)"
    if name == "location" and kind != "GeoProperty":
        return "is no GeoProperty (4.7)"
    if kind == "GeoProperty" and _wrong_geometry(value):
        return _wrong_geometry(value)
    moment = member.get("observedAt")
    if moment is not None and not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([.,]\d+)?Z", str(moment)):
        return "observedAt is no DateTime in UTC (4.6.3)"
    inner = (
        _wrong_attribute(n, m) for n, m in member.items() if isinstance(m, dict) and n not in MEMBER.values()
    )
    return next(filter(None, inner), "")


def _wrong_geometry(geometry: Any) -> str:
    if not isinstance(geometry, dict) or geometry.get("type") not in NESTING or "coordinates" not in geometry:
        return "value is no GeoJSON geometry (4.7)"
    level = [geometry["coordinates"]]
    for _ in range(NESTING[geometry["type"]]):
        level = [inner for outer in level for inner in outer]
    if not all(_is_position(at) for at in level):
        return "a position is no longitude and latitude (RFC 7946)"
    rings = {"Polygon": [geometry["coordinates"]], "MultiPolygon": geometry["coordinates"]}.get(
        geometry["type"], []
    )
    if any(len(ring) < 4 or ring[0] != ring[-1] for polygon in rings for ring in polygon):
        return "a ring is not closed (RFC 7946, 3.1.6)"
    return ""


def _is_position(at: Any) -> bool:
    numbers = isinstance(at, list) and len(at) >= 2 and all(isinstance(n, int | float) for n in at)
    return numbers and -180 <= at[0] <= 180 and -90 <= at[1] <= 90
