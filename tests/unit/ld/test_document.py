"""The stored form loses nothing, and splicing gives what rendering gives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.ld import document
from autocity.ld import entity as language
from autocity.ld.context import CORE, CORE_TERMS, DEFAULT, NGSI_LD, Context, Term
from autocity.ld.entity import Projection, View
from autocity.model import NGSI_LD_NULL, Attribute, Entity
from strategies import NOW, dataset_ids, entities, instances

OWN = Context(
    CORE_TERMS | {"ex": Term("https://example.org/", prefix=True), "tempo": Term(DEFAULT + "speed")},
    ["https://example.org/context.jsonld"],
)

SPEED = DEFAULT + "speed"


def projections() -> st.SearchStrategy[Projection | None]:
    names = st.sampled_from(["id", "type", "scope", "createdAt", SPEED, "https://example.org/name"])
    return st.none() | st.dictionaries(names, st.none(), min_size=1, max_size=3).map(Projection)


views = st.builds(
    View,
    context=st.sampled_from([CORE, OWN]),
    form=st.sampled_from(["normalized", "normalized", "concise", "simplified"]),
    sys_attrs=st.booleans(),
    attributes=st.sampled_from([frozenset(), frozenset(), frozenset([SPEED])]),
    pick=projections(),
    omit=projections(),
    dataset_ids=st.frozensets(dataset_ids.map(lambda id: id or "@none"), max_size=2),
    lang=st.sampled_from([None, None, "en", "fr;q=0.5,zh"]),
    geometry_property=st.sampled_from([NGSI_LD + "location", SPEED]),
    embed=st.booleans(),
    at=st.sampled_from([None, NOW]),
)


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)


@given(entities())
def test_loading_gives_back_what_was_dumped(entity: Entity) -> None:
    assert document.load(document.dump(entity)) == entity


@given(entities(), views)
def test_rendering_a_document_is_rendering_its_entity(entity: Entity, view: View) -> None:
    assert document.render(document.dump(entity), view) == encode(language.render(entity, view))


@given(st.lists(entities(), max_size=3), views)
def test_rendering_many_is_rendering_each(many: list[Entity], view: View) -> None:
    documents = [document.dump(entity) for entity in many]
    assert document.render_all(documents, view) == encode([language.render(each, view) for each in many])


@given(st.lists(entities(), min_size=1, max_size=2), views)
def test_features_of_documents_are_features_of_entities(many: list[Entity], view: View) -> None:
    documents = [document.dump(entity) for entity in many]
    assert document.render_feature(documents[0], view) == encode(language.render_feature(many[0], view))
    assert document.render_features(documents, view) == encode(language.render_features(many, view))


@given(instances(depth=0))
def test_a_plain_attribute_is_stored_as_its_public_object(attribute: tuple[Attribute, ...]) -> None:
    entity = Entity(id="urn:x:1", types=(DEFAULT + "T",), attributes={SPEED: attribute})
    stored = msgspec.json.decode(document.dump(entity))
    if isinstance(stored["attrs"][SPEED], dict):
        assert stored["attrs"][SPEED] == language.render_attribute(attribute, View())
        assert "odd" not in stored
    else:
        assert stored["odd"] == [SPEED]


def test_the_simplest_entity_is_stored_as_it_is_sent() -> None:
    speed = Attribute(kind="Property", value=5, unit_code="KMH", created_at=1, modified_at=1)
    entity = Entity(
        id="urn:x:1", types=(DEFAULT + "Car",), attributes={SPEED: (speed,)}, created_at=1, modified_at=2
    )
    assert msgspec.json.decode(document.dump(entity)) == {
        "id": "urn:x:1",
        "type": [DEFAULT + "Car"],
        "created": 1,
        "modified": 2,
        "attrs": {SPEED: {"type": "Property", "value": 5, "unitCode": "KMH"}},
        "times": {SPEED: [1, 1]},
    }


@pytest.mark.parametrize("kind", ["Property", "LanguageProperty", "ListProperty", "ListRelationship"])
def test_a_null_that_stands_for_a_deletion_survives_storage(kind: Any) -> None:
    entity = Entity(
        id="urn:x:1", types=("urn:x:T",), attributes={SPEED: (Attribute(kind=kind, value=NGSI_LD_NULL),)}
    )
    assert document.load(document.dump(entity)) == entity


def test_nothing_left_by_a_projection_is_an_empty_object() -> None:
    stored = document.dump(Entity(id="urn:x:1", types=("urn:x:T",)))
    assert document.render(stored, View(pick=Projection({SPEED: None}), embed=True)) == b"{}"


def test_an_expired_instance_is_not_shown() -> None:
    soon = Attribute(kind="Property", value=1, extra={"expiresAt": "2026-11-22T08:30:00Z"})
    later = Attribute(
        kind="Property", value=2, dataset_id="urn:x:d", extra={"expiresAt": "2099-01-01T00:00:00Z"}
    )
    stored = document.dump(Entity(id="urn:x:1", types=("urn:x:T",), attributes={SPEED: (soon, later)}))
    shown = msgspec.json.decode(document.render(stored, View(at=1_800_000_000_000_000)))
    assert shown["speed"] == {"type": "Property", "value": 2, "datasetId": "urn:x:d"}
