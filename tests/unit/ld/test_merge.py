"""How entities change (5.5.8, 5.5.12, 5.6)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace as with_fields

from autocity.errors import BadRequestData, ResourceNotFound
from autocity.ld import merge
from autocity.ld.context import CORE
from autocity.ld.entity import parse_attribute, parse_entity, parse_fragment
from autocity.ld.instants import instant
from autocity.ld.merge import SCOPE, Outcome
from autocity.model import NGSI_LD_NULL, Attribute, Entity, Fragment

THEN, NOW, LATER = 1_000_000, 2_000_000, 3_000_000
ID = "urn:ngsi-ld:Room:1"


def name(term: str) -> str:
    return CORE.expand(term)


def entity(now: int = THEN, **members: Any) -> Entity:
    return merge.create(parse_entity({"id": ID, "type": "Room", **members}, CORE), now)


def fragment(partial: bool = False, simplified: bool = False, **members: Any) -> Fragment:
    return parse_fragment(members, CORE, partial=partial, simplified=simplified)


def merged(before: Entity, sent: dict[str, Any], **options: Any) -> Entity:
    simplified = options.get("simplified", False)
    return merge.merge(before, fragment(partial=True, simplified=simplified, **sent), NOW, **options).entity


def default(subject: Entity, term: str) -> Attribute:
    (instance,) = [one for one in subject.attributes[name(term)] if one.dataset_id is None]
    return instance


def prop(value: Any, **members: Any) -> dict[str, Any]:
    return {"type": "Property", "value": value, **members}


ROOM = entity(
    temperature=[
        prop(25, unitCode="CEL", observedAt="2022-03-14T01:59:26.535Z", accuracy=prop(0.5)),
        prop(24, datasetId="urn:ngsi-ld:Dataset:second"),
    ],
    address=prop({"street": "Straße des 17. Juni", "city": "Berlin", "country": "Germany"}),
    says={"type": "LanguageProperty", "languageMap": {"en": "yes", "fr": "oui"}},
    keeper={"type": "Relationship", "object": "urn:ngsi-ld:Person:1"},
    location={"type": "GeoProperty", "value": {"type": "Point", "coordinates": [8, 40]}},
    data={"type": "JsonProperty", "json": {"id": 5, "list": [None, 1]}},
    kind={"type": "VocabProperty", "vocab": "meeting"},
)
SCOPED = with_fields(ROOM, scopes=("/Madrid",))


# Whole entities (5.6.1, 5.6.18)


def test_create_sets_all_times() -> None:
    assert (ROOM.created_at, ROOM.modified_at) == (THEN, THEN)
    instance = default(ROOM, "temperature")
    assert (instance.created_at, instance.modified_at) == (THEN, THEN)
    assert instance.sub[name("accuracy")][0].created_at == THEN


def test_replace_keeps_nothing_but_when_the_entity_was_created() -> None:
    after = merge.replace(ROOM, parse_entity({"id": ID, "type": "Hall", "keeper": prop(1)}, CORE), NOW)
    assert after.attributes.keys() == {name("keeper")}
    assert after.types == (name("Hall"),)
    assert (after.created_at, after.modified_at) == (THEN, NOW)
    assert default(after, "keeper").created_at == NOW


# Update attributes (5.6.2)


def test_update_replaces_instances_whole() -> None:
    """5.5.8, example 2: what is not sent is gone; `createdAt` stays."""
    outcome = merge.update_attributes(ROOM, fragment(temperature=prop(100)), NOW)
    instance = default(outcome.entity, "temperature")
    assert (instance.value, instance.unit_code, instance.observed_at, instance.sub) == (100, None, None, {})
    assert (instance.created_at, instance.modified_at) == (THEN, NOW)
    assert outcome.updated == (name("temperature"),)
    assert outcome.entity.modified_at == NOW
    assert outcome.entity.created_at == THEN


def test_update_appends_what_is_new_and_deletes_by_null() -> None:
    """5.6.2, 5.5.8 example 3; in every encoding of null."""
    outcome = merge.update_attributes(
        ROOM,
        fragment(
            humidity=prop(40),
            temperature=prop(NGSI_LD_NULL, datasetId="urn:ngsi-ld:Dataset:second"),
            address=prop(NGSI_LD_NULL),
            keeper={"type": "Relationship", "object": NGSI_LD_NULL},
            says={"type": "LanguageProperty", "languageMap": {"@none": NGSI_LD_NULL}},
            location=NGSI_LD_NULL,
            nowhere=NGSI_LD_NULL,
        ),
        NOW,
    )
    left = outcome.entity.attributes
    assert left.keys() == {name(term) for term in ("temperature", "data", "kind", "humidity")}
    assert [one.dataset_id for one in left[name("temperature")]] == [None]
    assert name("nowhere") not in outcome.updated
    assert default(outcome.entity, "humidity").created_at == NOW


def test_update_changes_the_kind_when_asked() -> None:
    after = merge.update_attributes(ROOM, fragment(keeper=prop("nobody")), NOW).entity
    assert default(after, "keeper").kind == "Property"


def test_update_replaces_scopes_only_where_there_are_some() -> None:
    assert merge.update_attributes(SCOPED, fragment(scope="/Paris"), NOW).entity.scopes == ("/Paris",)
    outcome = merge.update_attributes(ROOM, fragment(scope="/Paris"), NOW)
    assert outcome.entity is ROOM
    assert [left.attribute for left in outcome.not_updated] == [SCOPE]
    assert merge.update_attributes(SCOPED, fragment(scope=NGSI_LD_NULL), NOW).entity.scopes == ()


def test_types_are_added() -> None:
    after = merge.update_attributes(ROOM, fragment(type=["Hall", "Room"]), NOW).entity
    assert after.types == (name("Room"), name("Hall"))
    assert merge.update_attributes(ROOM, fragment(type="Room"), NOW).entity is ROOM


def test_expiry_is_set_and_taken_away() -> None:
    after = merge.update_attributes(ROOM, fragment(expiresAt="2030-01-01T00:00:00Z"), NOW).entity
    assert after.expires_at == "2030-01-01T00:00:00Z"
    assert merge.update_attributes(after, fragment(temperature=prop(1)), LATER).entity.expires_at is not None
    assert merge.update_attributes(after, fragment(expiresAt=NGSI_LD_NULL), LATER).entity.expires_at is None


# Append attributes (5.6.3)


def test_append_overwrites_or_leaves() -> None:
    sent = fragment(temperature=prop(1), humidity=prop(2))
    outcome = merge.append_attributes(ROOM, sent, NOW)
    assert outcome.updated == (name("temperature"), name("humidity"))
    assert default(outcome.entity, "temperature").created_at == THEN

    outcome = merge.append_attributes(ROOM, sent, NOW, overwrite=False)
    assert outcome.updated == (name("humidity"),)
    assert [left.attribute for left in outcome.not_updated] == [name("temperature")]
    assert outcome.entity.attributes[name("temperature")] is ROOM.attributes[name("temperature")]
    assert merge.append_attributes(ROOM, fragment(temperature=prop(1)), NOW, overwrite=False).entity is ROOM


def test_append_treats_each_dataset_by_itself() -> None:
    sent = fragment(temperature=[prop(1), prop(9, datasetId="urn:ngsi-ld:Dataset:third")])
    outcome = merge.append_attributes(ROOM, sent, NOW, overwrite=False)
    assert [(one.dataset_id, one.value) for one in outcome.entity.attributes[name("temperature")]] == [
        (None, 25),
        ("urn:ngsi-ld:Dataset:second", 24),
        ("urn:ngsi-ld:Dataset:third", 9),
    ]
    assert outcome.updated == (name("temperature"),)
    assert len(outcome.not_updated) == 1


def test_append_replaces_scopes_or_adds_to_them() -> None:
    assert merge.append_attributes(SCOPED, fragment(scope="/Paris"), NOW).entity.scopes == ("/Paris",)
    added = merge.append_attributes(SCOPED, fragment(scope=["/Paris", "/Madrid"]), NOW, overwrite=False)
    assert added.entity.scopes == ("/Madrid", "/Paris")
    assert merge.append_attributes(ROOM, fragment(scope="/Paris"), NOW).entity.scopes == ("/Paris",)


def test_append_takes_nothing_away() -> None:
    with pytest.raises(BadRequestData, match="null"):
        merge.append_attributes(ROOM, fragment(temperature=NGSI_LD_NULL), NOW)


# Partial attribute update (5.6.4)


def patched(term: str, body: Any, before: Entity = ROOM) -> Outcome:
    instances = parse_attribute(body, CORE, term, nulls=True, partial=True)
    return merge.patch_attribute(before, name(term), instances, NOW)


def test_partial_update_leaves_members_that_were_not_sent() -> None:
    """5.5.8, example 1."""
    outcome = patched("temperature", prop(100, observedAt="2022-03-14T13:00:00.000Z"))
    instance = default(outcome.entity, "temperature")
    assert (instance.value, instance.unit_code) == (100, "CEL")
    assert instance.observed_at == "2022-03-14T13:00:00.000Z"
    assert instance.sub is default(ROOM, "temperature").sub
    assert (instance.created_at, instance.modified_at) == (THEN, NOW)
    assert outcome.updated == (name("temperature"),)


def test_partial_update_without_value_or_kind() -> None:
    instance = default(
        patched("temperature", {"unitCode": "FAH", "observedAt": NGSI_LD_NULL}).entity, "temperature"
    )
    assert (instance.value, instance.unit_code, instance.observed_at) == (25, "FAH", None)


def test_partial_update_replaces_and_deletes_sub_attributes() -> None:
    body = {"accuracy": NGSI_LD_NULL, "source": prop("radio"), "missing": NGSI_LD_NULL}
    instance = default(patched("temperature", body).entity, "temperature")
    assert instance.sub.keys() == {name("source")}
    assert instance.sub[name("source")][0].created_at == NOW
    again = default(patched("temperature", {"accuracy": prop(0.1)}).entity, "temperature")
    assert again.sub[name("accuracy")][0].value == 0.1
    assert again.sub[name("accuracy")][0].created_at == THEN


def test_partial_update_of_values_is_not_deep() -> None:
    assert default(patched("address", {"value": {"city": "Bonn"}}).entity, "address").value == {
        "city": "Bonn"
    }
    after = patched("says", {"languageMap": {"de": "ja"}}).entity
    assert default(after, "says").value == {"de": "ja"}


def test_partial_update_with_a_null_value_deletes_the_instance() -> None:
    after = patched("temperature", {"value": NGSI_LD_NULL}).entity
    assert [one.dataset_id for one in after.attributes[name("temperature")]] == ["urn:ngsi-ld:Dataset:second"]
    assert name("keeper") not in patched("keeper", {"object": NGSI_LD_NULL}).entity.attributes


def test_partial_update_keeps_the_kind() -> None:
    with pytest.raises(BadRequestData, match="Relationship"):
        patched("keeper", prop(1))
    with pytest.raises(BadRequestData, match="Relationship"):
        patched("keeper", {"type": "Property", "unitCode": "CEL"})
    assert default(patched("keeper", {"type": "Relationship", "seen": prop(1)}).entity, "keeper").sub


@pytest.mark.parametrize("operation", [merge.patch_attribute, merge.replace_attribute])
def test_never_falls_back_to_another_instance(operation: Any) -> None:
    """5.6.4, 5.6.19: default instance and datasets are different things."""
    for term, dataset in (
        ("temperature", "urn:ngsi-ld:Dataset:other"),
        ("nothing", None),
        ("address", "urn:x"),
    ):
        with pytest.raises(ResourceNotFound):
            operation(ROOM, name(term), [Attribute(kind="Property", value=1, dataset_id=dataset)], NOW)
    only_dataset = with_fields(ROOM, attributes={name("a"): ROOM.attributes[name("temperature")][1:]})
    with pytest.raises(ResourceNotFound, match="without datasetId"):
        operation(only_dataset, name("a"), [Attribute(kind="Property", value=1)], NOW)


@pytest.mark.parametrize("operation", [merge.patch_attribute, merge.replace_attribute])
def test_scope_is_no_attribute(operation: Any) -> None:
    """5.6.4.4, 5.6.19.4."""
    for term in ("scope", SCOPE):
        with pytest.raises(BadRequestData, match="scope"):
            operation(SCOPED, term, [Attribute(kind="Property", value="/x")], NOW)


def test_replace_attribute_replaces_one_instance_whole() -> None:
    second = Attribute(kind="Property", value=1, dataset_id="urn:ngsi-ld:Dataset:second")
    outcome = merge.replace_attribute(ROOM, name("temperature"), [second], NOW)
    first, other = outcome.entity.attributes[name("temperature")]
    assert first is default(ROOM, "temperature")
    assert (other.value, other.created_at, other.modified_at) == (1, THEN, NOW)


# Delete attribute (5.6.5)


def test_delete_addresses_one_instance_or_all() -> None:
    def left(**options: Any) -> list[str | None]:
        after = merge.delete_attribute(ROOM, name("temperature"), NOW, **options)
        assert after.modified_at == NOW
        return [one.dataset_id for one in after.attributes.get(name("temperature"), ())]

    assert left() == ["urn:ngsi-ld:Dataset:second"]
    assert left(dataset_id="@none") == ["urn:ngsi-ld:Dataset:second"]
    assert left(dataset_id="urn:ngsi-ld:Dataset:second") == [None]
    assert left(delete_all=True) == []
    assert name("address") not in merge.delete_attribute(ROOM, name("address"), NOW).attributes


def test_delete_refuses_what_is_not_there() -> None:
    for term, dataset in (("nothing", None), ("address", "urn:x"), ("scope", None)):
        with pytest.raises(ResourceNotFound):
            merge.delete_attribute(ROOM, name(term) if term != "scope" else term, NOW, dataset_id=dataset)
    after = merge.delete_attribute(ROOM, name("temperature"), NOW)
    with pytest.raises(ResourceNotFound, match="without datasetId"):
        merge.delete_attribute(after, name("temperature"), NOW)


def test_delete_takes_scopes_away() -> None:
    for term in ("scope", SCOPE):
        after = merge.delete_attribute(SCOPED, term, NOW)
        assert after.scopes == ()
        assert after.attributes is SCOPED.attributes


# Merge entity (5.6.17)


def test_merge_leaves_members_that_were_not_sent() -> None:
    """5.5.12, example 1."""
    after = merged(ROOM, {"temperature": prop(100, observedAt="2022-03-14T13:00:00.000Z")})
    instance = default(after, "temperature")
    assert (instance.value, instance.unit_code) == (100, "CEL")
    assert instance.observed_at == "2022-03-14T13:00:00.000Z"
    assert name("accuracy") in instance.sub


def test_merge_goes_into_values() -> None:
    """5.5.12, example 2."""
    after = merged(ROOM, {"address": prop({"street": "Pariser Platz", "country": NGSI_LD_NULL})})
    assert default(after, "address").value == {"street": "Pariser Platz", "city": "Berlin"}
    assert default(ROOM, "address").value["country"] == "Germany"


def test_merge_goes_into_language_maps_json_and_sub_attributes() -> None:
    after = merged(
        ROOM,
        {
            "says": {"type": "LanguageProperty", "languageMap": {"fr": NGSI_LD_NULL, "de": "ja"}},
            "data": {"type": "JsonProperty", "json": {"list": [2], "none": None}},
            "temperature": {"accuracy": {"value": 0.1, "by": prop("x")}, "unitCode": NGSI_LD_NULL},
        },
    )
    assert default(after, "says").value == {"en": "yes", "de": "ja"}
    assert default(after, "data").value == {"id": 5, "list": [2], "none": None}
    instance = default(after, "temperature")
    assert (instance.value, instance.unit_code) == (25, None)
    accuracy = instance.sub[name("accuracy")][0]
    assert (accuracy.value, accuracy.created_at) == (0.1, THEN)
    assert name("by") in accuracy.sub


def test_merge_deletes_by_null() -> None:
    after = merged(
        ROOM,
        {
            "keeper": NGSI_LD_NULL,
            "address": prop(NGSI_LD_NULL),
            "temperature": {"type": "Property", "accuracy": NGSI_LD_NULL},
            "says": {"type": "LanguageProperty", "languageMap": {"en": NGSI_LD_NULL, "fr": NGSI_LD_NULL}},
            "nowhere": NGSI_LD_NULL,
        },
    )
    assert after.attributes.keys() == {name(term) for term in ("temperature", "location", "data", "kind")}
    assert default(after, "temperature").sub == {}


def test_merge_appends_without_nulls() -> None:
    after = merged(
        ROOM,
        {
            "new": {
                "value": {"a": 1, "b": NGSI_LD_NULL},
                "unitCode": NGSI_LD_NULL,
                "sub": NGSI_LD_NULL,
                "kept": prop(1),
            }
        },
    )
    instance = default(after, "new")
    assert (instance.value, instance.unit_code) == ({"a": 1}, None)
    assert instance.sub.keys() == {name("kept")}
    with pytest.raises(BadRequestData, match="send its value"):
        merged(ROOM, {"new": {"unitCode": "CEL"}})


def test_merge_touches_only_the_dataset_that_was_sent() -> None:
    after = merged(ROOM, {"temperature": prop(1, datasetId="urn:ngsi-ld:Dataset:second")})
    first, second = after.attributes[name("temperature")]
    assert first is default(ROOM, "temperature")
    assert second.value == 1


def test_merge_gives_the_common_time_to_what_had_one() -> None:
    """5.6.17.4: "previously contained an observedAt", "unless the fragment itself contains" one."""
    time = "2030-01-01T00:00:00Z"
    after = merged(ROOM, {"temperature": prop(1), "address": prop("x"), "new": prop(1)}, observed_at=time)
    assert default(after, "temperature").observed_at == time
    assert default(after, "address").observed_at is None
    assert default(after, "new").observed_at is None
    own = merged(ROOM, {"temperature": prop(1, observedAt="2029-01-01T00:00:00Z")}, observed_at=time)
    assert default(own, "temperature").observed_at == "2029-01-01T00:00:00Z"


def test_merge_of_bare_values_keeps_kinds() -> None:
    """5.6.17.4: "the type of any pre-existing Attribute in the target entity shall be preserved"."""
    after = merged(
        ROOM,
        {
            "keeper": "urn:ngsi-ld:Person:2",
            "says": "sí",
            "temperature": 30,
            "data": {"id": 6},
            "location": {"type": "Point", "coordinates": [9, 41]},
            "new": "text",
        },
        simplified=True,
        lang="es",
    )
    assert default(after, "keeper").kind == "Relationship"
    assert default(after, "keeper").value == "urn:ngsi-ld:Person:2"
    assert default(after, "says").value == {"en": "yes", "fr": "oui", "es": "sí"}
    assert (default(after, "temperature").value, default(after, "temperature").unit_code) == (30, "CEL")
    assert default(after, "data").kind == "JsonProperty"
    assert default(after, "data").value["id"] == 6
    assert default(after, "location").value["coordinates"] == [9, 41]
    assert default(after, "new").kind == "Property"


def test_merge_takes_a_string_in_the_common_language_without_simplified() -> None:
    assert default(merged(ROOM, {"says": prop("nein")}, lang="de"), "says").value == {
        "en": "yes", "fr": "oui", "de": "nein",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("term", "value"), [("keeper", 5), ("location", "here"), ("says", 5), ("kind", {"a": 1})]
)
def test_merge_refuses_bare_values_that_do_not_suit_the_kind(term: str, value: Any) -> None:
    with pytest.raises(BadRequestData, match=default(ROOM, term).kind):
        merged(ROOM, {term: value}, simplified=True)


def test_merge_replaces_scopes_and_adds_types() -> None:
    outcome = merge.merge(SCOPED, fragment(partial=True, scope=["/Paris"], type="Hall"), NOW)
    assert outcome.entity.scopes == ("/Paris",)
    assert outcome.entity.types == (name("Room"), name("Hall"))
    assert outcome.entity.attributes is SCOPED.attributes


# Merge patch is RFC 7396.

JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.integers(0, 3), st.sampled_from(["x", NGSI_LD_NULL])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


def rfc_7396(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value == NGSI_LD_NULL:
            target.pop(key, None)
        else:
            target[key] = rfc_7396(target.get(key), value)
    return target


@given(JSON, JSON)
def test_values_are_patched_as_by_rfc_7396(old: Any, new: Any) -> None:
    before = with_fields(ROOM, attributes={name("a"): (Attribute(kind="JsonProperty", value=old),)})
    sent = Fragment(attributes={name("a"): (Attribute(kind="JsonProperty", value=new),)})
    after = merge.merge(before, sent, NOW).entity
    if new == NGSI_LD_NULL:
        assert after.attributes == {}
    else:
        assert default(after, "a").value == rfc_7396(old, new)


# Sharing: what is left alone is the same object.

DATASETS = st.sampled_from([None, "urn:d:1", "urn:d:2"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from([name("a"), name("b"), name("c")]),
    st.lists(
        st.builds(
            Attribute,
            kind=st.just("Property"),
            value=st.one_of(st.integers(0, 2), st.just(NGSI_LD_NULL)),
            dataset_id=DATASETS,
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda one: one.dataset_id,
    ).map(tuple),
)


def without_nulls(attributes: Any) -> Any:
    left = {key: tuple(one for one in each if one.value != NGSI_LD_NULL) for key, each in attributes.items()}
    return {key: each for key, each in left.items() if each}


@settings(deadline=None)
@given(ATTRIBUTES.map(without_nulls), ATTRIBUTES, st.sampled_from(["update", "append", "keep", "merge"]))
def test_every_operation_touches_exactly_what_it_reports(stored: Any, sent: Any, operation: str) -> None:
    before = merge.create(Entity(id=ID, types=("T",), attributes=stored), THEN)
    if operation in ("append", "keep"):
        sent = without_nulls(sent)
    patch = Fragment(attributes=sent)
    if operation == "update":
        outcome = merge.update_attributes(before, patch, NOW)
    elif operation == "merge":
        outcome = merge.merge(before, patch, NOW)
    else:
        outcome = merge.append_attributes(before, patch, NOW, overwrite=operation == "append")
    after = outcome.entity
    assert set(merge.changed(before, after)) == set(outcome.updated)
    assert (after is before) == (not outcome.updated)

    old = {(key, one.dataset_id): one for key, each in before.attributes.items() for one in each}
    new = {(key, one.dataset_id): one for key, each in after.attributes.items() for one in each}
    wanted = {(key, one.dataset_id): one for key, each in sent.items() for one in each}
    for place in old.keys() | new.keys() | wanted.keys():
        if place not in wanted or (operation == "keep" and place in old):
            assert new.get(place) is old.get(place)
        elif wanted[place].value == NGSI_LD_NULL:
            assert place not in new
        else:
            assert new[place].value == wanted[place].value
            assert new[place].modified_at == NOW
            assert new[place].created_at == (THEN if place in old else NOW)


def test_changed_between_nothing_and_something() -> None:
    assert set(merge.changed(None, ROOM)) == ROOM.attributes.keys()
    assert set(merge.changed(ROOM, None)) == ROOM.attributes.keys()
    assert merge.changed(ROOM, ROOM) == merge.changed(None, None) == ()


# Transient entities and attributes (4.22)


def test_what_has_expired_is_not_alive() -> None:
    subject = entity(
        brief=prop(1, expiresAt="2026-01-01T00:00:00Z"),
        long=[prop(1), prop(2, datasetId="urn:d", expiresAt="2026-01-01T00:00:00Z")],
        expiresAt="2027-01-01T00:00:00Z",
    )
    moment = instant("2026-01-01T00:00:00Z")
    assert merge.alive(subject, moment - 1) is subject
    left = merge.alive(subject, moment)
    assert left is not None
    assert left.attributes.keys() == {name("long")}
    assert [one.dataset_id for one in left.attributes[name("long")]] == [None]
    assert left.modified_at == subject.modified_at
    assert merge.alive(subject, instant("2027-01-01T00:00:00Z")) is None
    assert merge.alive(ROOM, moment) is ROOM


def test_a_value_left_out_is_not_unset() -> None:
    """The marker for a value that was not sent never reaches an entity."""
    outcome = merge.merge(ROOM, fragment(partial=True, temperature={"unitCode": "FAH"}), NOW)
    assert all(one.value is not UNSET for each in outcome.entity.attributes.values() for one in each)
