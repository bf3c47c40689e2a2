"""Media types, links, preferences, parameters, as pure functions."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocity import errors
from autocity.api.negotiate import (
    PARAMETERS,
    accepted,
    is_attribute_name,
    is_uri,
    linked_context,
    preferred,
)

CONTEXT = 'rel="http://www.w3.org/ns/json-ld#context"'


@pytest.mark.parametrize(
    ("header", "url"),
    [
        (None, None),
        ("", None),
        (f"<https://a.example/c>; {CONTEXT}", "https://a.example/c"),
        (f'<https://a.example/c>;{CONTEXT};type="application/ld+json"', "https://a.example/c"),
        (f'<https://a.example/c>; type="application/ld+json"; {CONTEXT}', "https://a.example/c"),
        ("<https://a.example/c>; rel=http://www.w3.org/ns/json-ld#context", "https://a.example/c"),
        (f'<https://a.example/c,d;e>; title="a, b; <c>"; {CONTEXT}', "https://a.example/c,d;e"),
        (f"<https://b.example/>; rel=next, <https://a.example/c>; {CONTEXT}", "https://a.example/c"),
        ("<https://b.example/>; rel=next", None),
        (f"</ngsi-ld/v1/jsonldContexts/1>; {CONTEXT}", "http://localhost/ngsi-ld/v1/jsonldContexts/1"),
    ],
)
def test_the_context_is_found_among_links(header: str | None, url: str | None) -> None:
    assert linked_context(header) == url


@given(st.text(max_size=200))
def test_any_link_header_is_read_or_refused(header: str) -> None:
    with suppress(errors.BadRequestData):
        linked_context(header)


@given(st.text(max_size=200), st.booleans())
def test_any_accept_header_selects_or_is_refused(header: str, geojson: bool) -> None:
    try:
        assert accepted(header, geojson).startswith("application/")
    except errors.NotAcceptable as refusal:
        assert refusal.members["availableRepresentations"]


@given(st.text(max_size=100))
def test_any_preference_is_read(header: str) -> None:
    preferred(header)


@pytest.mark.parametrize(
    "text", ["urn:a:b", "https://a.example/x?y#z", "urn:ngsi-ld:红旗:1", "a+b-c.d:e", "mailto:x@y"]
)
def test_what_is_a_uri(text: str) -> None:
    assert is_uri(text)


@pytest.mark.parametrize("text", ["", "a", "a:", ":a", "1a:b", "urn:a b", "urn:<a>", "urn:a\n", "urn:{a}"])
def test_what_is_no_uri(text: str) -> None:
    assert not is_uri(text)


@pytest.mark.parametrize("text", ["speed", "车速", "a_1", "city:speed", "https://a.example/speed", "urn:a:b"])
def test_what_names_an_attribute(text: str) -> None:
    assert is_attribute_name(text)


@pytest.mark.parametrize(
    "text", ["", "id", "type", "scope", "@context", "1a", "a-b", "a b", "..", "a(b", "a:"]
)
def test_what_names_no_attribute(text: str) -> None:
    assert not is_attribute_name(text)


@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=40))
def test_any_text_is_a_value_or_a_fault(name: str, text: str) -> None:
    try:
        PARAMETERS[name].read(text)
    except ValueError as fault:
        assert str(fault).startswith("must")


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_says_what_it_is(name: str) -> None:
    assert PARAMETERS[name].about.endswith(".")
    assert PARAMETERS[name].schema["type"] in ("string", "integer", "boolean", "array")
