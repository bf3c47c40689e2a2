"""Commits taken apart: forms, boxes, index entries, and that a digest survives a socket."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from autocity.errors import BadRequestData
from autocity.ld import document
from autocity.ld.query import Path, Temporal
from autocity.model import Attribute, Entity
from autocity.store.digest import (
    BOOLEAN,
    BOXES,
    DATE_TIME,
    FACTS,
    MANY,
    NUMBER,
    PART,
    STRING,
    TEXT,
    Digest,
    Indexed,
    Looked,
    Paths,
    digest,
    form,
    keys,
    parse_form,
    scalar,
    summarize,
)
from autocity.store.port import Commit
from autocity.store.testing import (
    BUS,
    CAR,
    LOCATION,
    NAME,
    NOW,
    SPEED,
    attribute,
    change,
    creation,
    entity,
    point,
)


def row(before: Entity | None, after: Entity | None, paths: Paths | None = None) -> Any:
    (found,) = digest(Commit(changes=(change(before, after, 1 if before else 0),)), paths or Paths()).rows
    return found


def test_a_creation() -> None:
    one = replace(entity(1, speed=1), scopes=("/a",), expires_at="2026-11-22T08:30:00Z")
    found = row(None, one)
    assert document.load(found.document) == one
    assert (found.operation, found.version, found.types, found.scopes) == ("create", 1, (CAR,), ("/a",))
    assert (found.types_before, found.scopes_before, found.form_before) == ((), (), "")
    assert found.expires == 1795336200000000
    assert found.attributes == (SPEED,)


def test_a_deletion() -> None:
    found = row(entity(1, speed=1), None)
    assert (found.operation, found.version, found.document, found.types) == ("delete", 0, b"", ())
    assert found.types_before == (CAR,)


def test_nothing_to_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing"):
        digest(Commit(changes=(replace(change(None, entity(1), 0), after=None),)), Paths())


def test_what_cannot_be_kept_is_refused_before_it_reaches_the_writer() -> None:
    bad = replace(entity(1), attributes={SPEED: (attribute(1, observed_at="yesterday"),)})
    with pytest.raises(BadRequestData):
        digest(creation(bad), Paths())


def test_a_form_changes_only_with_names_kinds_and_types() -> None:
    one = entity(1, speed=1, name="a")
    two = replace(one, attributes={**one.attributes, SPEED: (attribute(2, NOW + 1),)})
    assert row(one, two).form == row(one, two).form_before
    for other in (
        replace(one, types=(CAR, BUS)),
        replace(one, attributes={SPEED: one.attributes[SPEED]}),
        replace(one, attributes={**one.attributes, NAME: (attribute("urn:x", kind="Relationship"),)}),
    ):
        assert row(one, other).form != row(one, other).form_before == row(None, one).form


def test_a_form_tells_what_it_stands_for() -> None:
    text = form((CAR, BUS), ((SPEED, ("Property",)), (NAME, ("Property", "Relationship"))))
    assert text == form((CAR, BUS), ((NAME, ("Property", "Relationship")), (SPEED, ("Property",))))
    assert parse_form(text) == ((CAR, BUS), {SPEED: ("Property",), NAME: ("Property", "Relationship")})


def test_summaries_add_up_forms() -> None:
    forms = [((CAR,), {SPEED: ("Property",)}, 2), ((CAR, BUS), {SPEED: ("Relationship",)}, 3)]
    bus, car = summarize(forms)
    assert (bus.type, bus.count, bus.attributes) == (BUS, 3, {SPEED: ("Relationship",)})
    assert (car.type, car.count, car.attributes) == (CAR, 5, {SPEED: ("Property", "Relationship")})


def test_boxes_move_only_with_geometry() -> None:
    here = replace(entity(1, speed=1), attributes={LOCATION: (point(125.3, 43.9),)})
    assert row(None, here).boxes == ((LOCATION, 125.3, 125.3, 43.9, 43.9),)
    there = replace(here, attributes={**here.attributes, SPEED: (attribute(2),)})
    assert row(here, there).boxes is None
    assert (row(there, None).boxes, row(there, None).boxes_before) == ((), 1)


def test_one_box_stands_for_more_geometries_than_there_are_boxes() -> None:
    many = tuple(replace(point(n / 10, n / 20), dataset_id=f"urn:d:{n}") for n in range(BOXES + 50))
    boxes = row(None, replace(entity(1), attributes={LOCATION: many})).boxes
    assert len(boxes) == BOXES
    assert boxes[-1] == ("", (BOXES - 1) / 10, (BOXES + 49) / 10, (BOXES - 1) / 20, (BOXES + 49) / 20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, {(NUMBER, 1)}),
        (True, {(BOOLEAN, 1)}),
        (2**63, {(NUMBER, 2.0**63)}),
        (10**400, {(NUMBER, float("inf"))}),
        ("a" * 300, {(STRING, "a" * TEXT)}),
        ("2026-11-22T08:30:00Z", {(STRING, "2026-11-22T08:30:00Z"), (DATE_TIME, 1795336200000000)}),
        ([1, "a"], {(NUMBER + PART, 1), (STRING + PART, "a")}),
        ({"a": 1}, set()),
        (list(range(FACTS + 1)), {(MANY, 0)}),
    ],
)
def test_index_entries(value: Any, expected: set[Any]) -> None:
    assert set(keys(Path((SPEED,)), entity(1, speed=value))) == expected


def test_index_entries_of_nobody() -> None:
    assert keys(Path((SPEED,)), None) == ()


def test_times_have_a_data_type_of_their_own() -> None:
    assert scalar(Temporal("DateTime", 5)) == (DATE_TIME, 5) != scalar(5)


def test_only_paths_that_a_change_touches_are_looked_at() -> None:
    of = {"": (Indexed(1, Path((SPEED,)), True, False), Indexed(2, Path((NAME,)), True, False))}
    one = entity(1, speed=1, name="a")
    two = replace(one, attributes={**one.attributes, SPEED: (attribute(2, NOW + 1),)})
    assert row(one, two, Paths(7, of)).looked == (Looked(1, ((NUMBER, 1),), ((NUMBER, 2),)),)
    assert digest(Commit(), Paths(7, of)).paths == 7


def test_a_digest_survives_a_socket() -> None:
    rich = replace(
        entity(1, speed=1.5, name=[1, None]),
        attributes={
            LOCATION: (point(1.0, 2.0),),
            SPEED: (attribute(2**40, unit_code="KMH", sub={NAME: (attribute("a"),)}),),
        },
    )
    whole = digest(creation(rich), Paths(1, {"": (Indexed(1, Path((SPEED,)), True, False),)}))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(whole), type=Digest) == whole


def test_deletion_markers_are_recorded_with_the_kind_that_is_gone() -> None:
    link = Attribute(kind="Relationship", value="urn:x")
    (gone,) = row(replace(entity(1), attributes={NAME: (link,)}), None).points
    assert (gone.series.kind, gone.series.coding) == ("Relationship", "d")
