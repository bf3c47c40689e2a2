"""Nonsense in, refusals out: requests made from the OpenAPI description, and bodies made to hurt.

`AUTOCITY_FUZZ=N` asks for N examples an operation and for the coverage of every boundary of the description:
30,000 requests and more, some minutes.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from story.program import Program, data, run, running

EXAMPLES = os.environ.get("AUTOCITY_FUZZ", "6")
PHASES = "examples,coverage,fuzzing" if "AUTOCITY_FUZZ" in os.environ else "examples,fuzzing"
KEPT = 25
ELSEWHERE = {"NGSILD-Tenant": "kept"}


def kept(number: int) -> dict[str, object]:
    return {
        "id": f"urn:ngsi-ld:Kept:{number}",
        "type": "Kept",
        "reading": {"type": "Property", "value": [number, {"deep": [None, 1.5, "文"]}]},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "city"


@pytest.fixture(scope="module")
def city(folder: Path) -> Iterator[Program]:
    with running("serve", *data(folder)) as city:
        for number in range(KEPT):
            assert city.request("POST", "/ngsi-ld/v1/entities", kept(number), ELSEWHERE).status == 201
        yield city


def assert_nothing_is_lost(city: Program) -> None:
    found = city.request("GET", "/ngsi-ld/v1/entities?type=Kept&limit=100", headers=ELSEWHERE).json()
    assert found == [kept(number) for number in range(KEPT)]


@pytest.mark.timeout(3600)
def test_requests_made_from_the_description(city: Program, tmp_path: Path) -> None:
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{city.address}openapi.json"),
        *("--checks", "not_a_server_error", "--phases", PHASES),
        *("--max-examples", EXAMPLES, "--no-shrink", "--generation-database", "none", "--seed", "471"),
        # How hard a description is to draw examples from says nothing about the answers.
        *("--suppress-health-check", "all"),
        # A stream of events never ends.
        *("--exclude-path", "/events", "--request-timeout", "20"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=3500)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.findall(r"(\d[\d,]*) generated", done.stdout)[-1].replace(",", "")) > 300, done.stdout[
        -2000:
    ]
    assert_nothing_is_lost(city)
    assert not any("Traceback" in line or '"level": "error"' in line for line in city.said)


HOSTILE = {
    "empty": b"",
    "no JSON": b"{",
    "a word": b"null",
    "a number": b"1",
    "an array": b"[]",
    "not UTF-8": b'{"id": "\xff\xfe"}',
    "a lone surrogate": b'{"id": "urn:a:1", "type": "A", "b": "\\ud800"}',
    "huge numbers": b'{"id": "urn:a:1", "type": "A", "b": 1e308, "c": -1e400}',
    "long digits": b'{"id": "urn:a:1", "type": "A", "b": ' + b"9" * 5000 + b"}",
    "deep": b'{"id": "urn:a:1", "type": "A", "b": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"id":"urn:a:1","type":"A","b":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "a huge id": json.dumps({"id": "urn:a:" + "x" * 100_000, "type": "A"}).encode(),
    "a context bomb": json.dumps(
        {"@context": {f"t{n}": f"t{n + 1}:x" for n in range(5000)}, "id": "urn:a:1", "type": "A"}
    ).encode(),
    "a context inside": b'{"@context": "http://127.0.0.1:9/none", "id": "urn:a:1", "type": "A"}',
    "hostile members": b'{"id": "urn:a:1", "type": "A", "__proto__": 1, "a b": 2, "": 3, "a;b": 4}',
    "odd geometry": b'{"id":"urn:a:1","type":"A","location":{"type":"GeoProperty","value":'
    b'{"type":"Polygon","coordinates":[[[0,0],[1e308,0],[0,1]]]}}}',
}

PLACES = (
    ("POST", "/ngsi-ld/v1/entities"),
    ("PUT", "/ngsi-ld/v1/entities/urn:a:1"),
    ("PATCH", "/ngsi-ld/v1/entities/urn:a:1"),
    ("POST", "/ngsi-ld/v1/entities/urn:a:1/attrs"),
    ("PATCH", "/ngsi-ld/v1/entities/urn:a:1/attrs/b"),
    ("POST", "/ngsi-ld/v1/entityOperations/upsert"),
    ("POST", "/ngsi-ld/v1/entityOperations/query"),
    ("POST", "/ngsi-ld/v1/temporal/entities"),
    ("POST", "/ngsi-ld/v1/subscriptions"),
    ("POST", "/ngsi-ld/v1/jsonldContexts"),
    ("POST", "/auth/signin"),
)


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_bodies_made_to_hurt(city: Program, body: bytes) -> None:
    for media in ("application/json", "application/ld+json"):
        for method, path in PLACES:
            answer = city.request(method, path, body, {"Content-Type": media})
            assert answer.status < 500 or answer.status == 504, (method, path, answer.body[:300])
            assert b"Traceback" not in answer.body
            if answer.status >= 400 and answer.body:
                problem = answer.json()
                assert {"type", "title"} <= problem.keys(), problem
    assert_nothing_is_lost(city)


@pytest.mark.parametrize(
    "query",
    [
        "q=" + "(" * 500,
        "q=a" + "%3Bb" * 5000,
        "q=a~%3D(a%2B)%2B%24",
        "idPattern=(a*)*b",
        "idPattern=" + "(" * 300,
        "georel=within&geometry=Polygon&coordinates=[[[0,0],[1e308,0],[0,1]]]",
        "georel=near%3BmaxDistance%3D%3D1e400&geometry=Point&coordinates=[0,0]",
        "limit=99999999999999999999",
        "offset=-1",
        "attrs=" + ",".join(["a"] * 5000),
        "type=" + "(A;B)|" * 2000,
        "q=%00",
        "scopeQ=" + "/a" * 5000,
    ],
    ids=lambda query: query[:24],
)
def test_queries_made_to_hurt(city: Program, query: str) -> None:
    target = query if query.startswith("type=") else f"type=Kept&{query}"
    answer = city.request("GET", f"/ngsi-ld/v1/entities?{target}", headers=ELSEWHERE)
    assert answer.status < 500, answer.body[:300]
    assert b"Traceback" not in answer.body


def test_the_store_is_sound_afterwards(city: Program, folder: Path) -> None:
    found = json.loads(run("doctor", "--data", str(folder), "--deep", "--json").stdout)
    assert next(finding for finding in found if finding["name"] == "store")["state"] == "ok"
    assert_nothing_is_lost(city)
