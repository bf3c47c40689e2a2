"""Commits that share a transaction: each upon those before it, one refusal never another's."""

from __future__ import annotations

from typing import Any

from autocity.model import Change
from autocity.store.digest import Digest, Paths, digest
from autocity.store.port import Commit, RecordWrite, StaleCommit
from autocity.store.postgres.group import Group, RecordNet, Versions, native, uncertain
from autocity.store.testing import NOW, change, delivery, entity


def taken(*changes: Change, **members: Any) -> Digest:
    return digest(Commit(changes=changes, **members), Paths())


def write(id: str, body: bytes | None, expected: int | None = None, kind: str = "user") -> RecordWrite:
    return RecordWrite(tenant="", kind=kind, id=id, body=body, expected=expected)


def group(*digests: Digest, found: Versions | None = None, generation: int = 0) -> Group:
    return Group(digests, found or Versions(), generation)


def stale(answer: int | StaleCommit) -> tuple[tuple[str, str], ...]:
    assert isinstance(answer, StaleCommit)
    return answer.stale


ONE, TWO, THREE = (entity(1, NOW + n, speed=n) for n in range(3))


def test_a_change_is_upon_the_one_before_it() -> None:
    made = group(taken(change(None, ONE, 0)), taken(change(ONE, TWO, 1)), taken(change(ONE, THREE, 1)))
    assert made.answers[:2] == [1, 1]
    assert stale(made.answers[2]) == (("", ONE.id),)
    (net,) = made.nets.values()
    assert (net.first.expected, net.last.version) == (0, 2)


def test_what_is_known_to_differ_is_refused_and_the_rest_is_not() -> None:
    digests = taken(change(ONE, TWO, 1)), taken(change(None, entity(2), 0)), taken(change(TWO, THREE, 7))
    made = group(*digests, found=Versions(entities={("", ONE.id): 7}))
    assert stale(made.answers[0]) == (("", ONE.id),)
    assert made.answers[1:] == [1, 1]


def test_a_refused_commit_leaves_nothing() -> None:
    bad = taken(
        change(None, entity(2), 0),
        change(ONE, TWO, 1),
        records=(write("ann", b"1"),),
        deliveries=(delivery(1),),
    )
    made = group(bad, found=Versions(entities={("", ONE.id): 2}))
    assert (made.nets, made.rows, made.records, made.deliveries) == ({}, [], {}, {})
    assert made.doubted == {("", entity(2).id)}


def test_an_entity_made_again_is_new() -> None:
    made = group(taken(change(ONE, None, 1, at=NOW + 5), change(None, TWO, 0)))
    (net,) = made.nets.values()
    assert net.anew
    assert not group(taken(change(None, ONE, 0), change(ONE, TWO, 1))).nets["", ONE.id].anew


def test_places_are_given_in_the_order_of_creation() -> None:
    other = entity(2)
    made = group(
        taken(change(None, ONE, 0)),
        taken(change(None, other, 0)),
        taken(change(ONE, None, 1, at=NOW + 5), change(None, TWO, 0)),
    )
    assert list(made.nets) == [("", other.id), ("", ONE.id)]


def test_a_counted_record_makes_what_follows_stale() -> None:
    subscribing = taken(records=(write("s", b"1", kind="subscription"),))
    late = taken(change(None, ONE, 0), generation=4)
    made = group(late, subscribing, taken(change(None, entity(2), 0), generation=4), generation=4)
    assert made.answers[:2] == [1, 0]
    assert stale(made.answers[2]) == (("", "generation"),)
    assert (made.relied, made.counted) == (4, 1)


def test_writes_of_a_record_become_one() -> None:
    made = group(taken(records=(write("a", b"1"), write("a", b"2"))), taken(records=(write("b", None, 3),)))
    assert made.records["user", "", "a"] == RecordNet(None, added=2, body=b"2")
    assert made.records["user", "", "b"] == RecordNet(3, anew=True, added=0, body=None)
    assert uncertain([taken(records=(write("a", b"1"), write("a", b"2", 5), write("c", b"1")))]) == {
        ("user", "", "a")
    }


def test_what_is_settled_is_not_written() -> None:
    made = group(taken(deliveries=(delivery(1), delivery(2))), taken(settled=("n:1", "n:9")))
    assert (list(made.deliveries), list(made.settled)) == (["n:2"], ["n:1", "n:9"])


def test_values_go_to_the_column_of_their_kind() -> None:
    for value, expected in (
        (5, (5, None, None)),
        (5.0, (None, 5.0, None)),
        ("a\x00", (None, None, b"a\x00")),
        ([1], (None, None, None)),
    ):
        (point,) = taken(change(None, entity(1, speed=value), 0)).rows[0].points
        assert native(point)[:3] == expected
