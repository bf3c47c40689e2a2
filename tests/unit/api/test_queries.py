"""Parameters and Query bodies as queries and views."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity import errors
from autocity.api.negotiate import JSON, LD, Shape
from autocity.api.queries import from_body, linked_of, query_of, view_of
from autocity.ld.context import CORE
from autocity.ld.query import Selector, TypeIs

DEFAULT = "https://uri.etsi.org/ngsi-ld/default-context/"
PLAIN = Shape(JSON, False)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "type",
        "entities",
        "q",
        "geoQ",
        "temporalQ",
        "aggrParams",
        "attrs",
        "pick",
        "joinLevel",
        "ordering",
        "lang",
    ]
)


def test_nothing_asked_is_everything_shown() -> None:
    assert view_of({}, CORE, Shape(LD, True)).embed
    assert not view_of({}, CORE, PLAIN).embed


def test_a_body_means_what_the_parameters_mean() -> None:
    body = {
        "type": "Query",
        "entities": [{"type": "A", "id": "urn:a:1"}],
        "attrs": ["x", "y"],
        "q": "x>1",
        "expandValues": "x, y",
        "temporalQ": {"timerel": "before", "timeAt": "2026-01-01T00:00:00Z", "lastN": 3},
        "ordering": {"orderBy": ["x", "id;desc"], "coordinates": [1, 2]},
    }
    values = from_body(body)
    assert values["attrs"] == ("x", "y")
    assert values["expandValues"] == ("x", "y")
    assert (values["timerel"], values["lastN"]) == ("before", 3)
    assert (values["orderBy"], values["orderFrom"]) == ("x,id;desc", [1, 2])
    query = query_of(values | {"orderBy": "x"} | {"orderFrom": "[1,2]"}, CORE)
    assert query.selectors == (Selector(ids=("urn:a:1",), types=TypeIs(f"{DEFAULT}A")),)
    assert query.attributes == (f"{DEFAULT}x", f"{DEFAULT}y")


def test_an_id_takes_precedence_over_a_pattern() -> None:
    values = {"entities": [{"type": "A", "id": "urn:a:1", "idPattern": ".*"}]}
    assert query_of(values, CORE).selectors[0].id_pattern is None


@given(st.dictionaries(MEMBERS, JSON_VALUES, max_size=4))
def test_any_body_is_understood_or_refused(body: dict[str, Any]) -> None:
    try:
        values = from_body({"type": "Query"} | body)
        query_of(values, CORE)
        view_of(values, CORE, PLAIN)
    except (errors.BadRequestData, errors.TooComplexQuery):
        pass


@pytest.mark.parametrize(
    "entities",
    [["A"], [{"id": "urn:a:1"}], [{"type": 5}], [{"type": "A", "id": "no uri"}], [{"type": "A", "x": 1}],
     [{"type": "A", "idPattern": 5}], [{"type": "A", "id": [None]}]],
)  # fmt: skip
def test_broken_selectors_are_refused(entities: list[Any]) -> None:
    with pytest.raises(errors.BadRequestData, match="entities: "):
        query_of({"entities": entities}, CORE)


def test_a_level_needs_a_join() -> None:
    with pytest.raises(errors.BadRequestData):
        linked_of({"joinLevel": 2})
    assert linked_of({"join": "flat"}).level == 1
