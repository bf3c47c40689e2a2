"""Requests to the API on behalf of a reader, and refusals that keep their kind."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity import errors
from autocity.api.asgi import Answer
from autocity.console import client
from autocity.console.client import City


def call(tenant: str = "") -> Any:
    return SimpleNamespace(tenant=tenant, identity=None)


async def test_tenant_and_context_go_with_every_request(city) -> None:
    there = City(city, call("zone"))
    assert await there.count(type="Zone", context="https://example.org/c.jsonld") == 1
    path, headers = city.asked[-1]
    assert path == "/ngsi-ld/v1/entities?type=Zone&limit=0&count=true"
    assert headers["NGSILD-Tenant"] == "zone"
    assert headers["Link"].startswith("<https://example.org/c.jsonld>; rel=")


async def test_a_refusal_comes_back_as_it_was_raised(city) -> None:
    with pytest.raises(errors.ResourceNotFound, match="entity urn:x:y does not exist"):
        await City(city, call()).entity("urn:x:y")


def test_an_answer_that_says_nothing_is_a_store_in_trouble() -> None:
    for body in (b"", b"<html>", b"[]", b"{}"):
        assert isinstance(client.refusal(Answer(status=502, body=body)), errors.StoreUnavailable)


def test_an_unknown_kind_of_problem_stays_a_refusal() -> None:
    body = msgspec.json.encode({"type": "about:blank", "title": "odd"})
    found = client.refusal(Answer(status=500, body=body))
    assert (type(found), found.detail) == (errors.CityError, "odd")


@given(st.text(min_size=1))
def test_an_id_is_one_segment_whatever_it_holds(id: str) -> None:
    path = client.entity_path(id.encode("utf-8", "replace").decode())
    assert path.startswith("/ngsi-ld/v1/entities/")
    assert path.count("/") == 4
    assert "?" not in path
