"""Answers in the terms of earlier versions (4.3.6.8)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from autocity.api.versions import CURRENT, conform, parse


def told(entity: Any, version: tuple[int, int]) -> Any:
    return msgspec.json.decode(conform(msgspec.json.encode(entity), version))


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("1.5", (1, 5)),
        ("1.9", CURRENT),
        ("2.0", CURRENT),
        ("1", None),
        ("1.x", None),
        ("", None),
        ("1.5.1", None),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, int] | None) -> None:
    assert parse(text) == version


def test_members_that_came_later_are_left_out() -> None:
    entity = {"id": "urn:a:1", "type": "A", "scope": "/x", "expiresAt": "2030-01-01T00:00:00Z"}
    assert told(entity, (1, 3)) == {"id": "urn:a:1", "type": "A"}
    assert told(entity, (1, 8)) == {"id": "urn:a:1", "type": "A", "scope": "/x"}


def test_kinds_that_came_later_become_what_they_were_before() -> None:
    entity = {
        "a": {"type": "JsonProperty", "json": {"vocab": 1, "observedAt": "x"}},
        "b": {"type": "ListRelationship", "objectList": ["urn:x:1"]},
        "c": {"vocab": "red"},
        "d": {"type": "Property", "value": 1, "sub": {"type": "ListProperty", "valueList": [1]}},
    }
    assert told(entity, (1, 7)) == {
        "a": {"type": "Property", "value": {"vocab": 1, "observedAt": "x"}},
        "b": {"type": "Relationship", "object": ["urn:x:1"]},
        "c": {"value": "red"},
        "d": {"type": "Property", "value": 1, "sub": {"type": "Property", "value": [1]}},
    }


def test_the_first_version_knows_one_of_each() -> None:
    entity = {
        "type": ["A", "B"],
        "a": [{"type": "Property", "value": 1, "datasetId": "urn:d:1"}, {"type": "Property", "value": 2}],
    }
    assert told(entity, (1, 0)) == {"type": "A", "a": {"type": "Property", "value": 2}}
    assert told(entity, (1, 3)) == entity


def test_what_conforms_stays_the_same_bytes() -> None:
    body = b'[ {"id":"urn:a:1", "type":"A","a":{"type":"Property","value":{"json":[1.50]}}} ]'
    assert conform(body, (1, 0)) is body
