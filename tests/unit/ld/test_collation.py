"""Orders of text (4.23.3, RFC 6067)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocity.errors import BadRequestData
from autocity.ld.collation import collation


@pytest.mark.parametrize(
    ("tag", "ordered"),
    [
        ("und", ["A", "á", "b"]),
        ("und", ["cote", "Cote", "coté", "côte", "z"]),
        ("und-u-kf-upper", ["Cote", "cote"]),
        ("en-u-kn", ["bus 2", "bus 10", "bus x"]),
        ("en-u-kn-true", ["7", "007x", "12"]),
        ("de-u-co-phonebk", ["Ada", "Ärzte", "Afrika"]),
        ("de", ["Afrika", "Arno", "Ärzte"]),
    ],
)
def test_orders_like_the_root_with_what_the_tag_asks(tag: str, ordered: list[str]) -> None:
    backwards = ordered[::-1]
    assert sorted(backwards, key=collation(tag)) == ordered


def test_strength_says_what_counts() -> None:
    first, second, third = (collation(f"und-u-ks-level{level}") for level in (1, 2, 3))
    assert first("é") == first("E")
    assert second("é") == second("É") != second("e")
    assert third("é") != third("É")


@pytest.mark.parametrize(
    "tag", ["", "!!nope", "e", "english1", "und-u", "en_US", "de--AT", "und-u-", "x" * 200]
)
def test_refuses_what_is_no_language_tag(tag: str) -> None:
    with pytest.raises(BadRequestData, match="und"):
        collation(tag)


@pytest.mark.parametrize(
    "tag", ["zh-Hans-CN", "und-u-ks-identic", "de-1996", "es-419", "en-u-co-standard-x-own"]
)
def test_takes_every_well_formed_tag(tag: str) -> None:
    assert collation(tag)("a") < collation(tag)("b")


@given(
    st.lists(st.text(), max_size=6), st.sampled_from(["und", "de-u-co-phonebk", "en-u-kn", "und-u-kf-upper"])
)
def test_different_texts_have_an_order(texts: list[str], tag: str) -> None:
    key = collation(tag)
    backwards = texts[::-1]
    assert sorted(texts, key=key) == sorted(backwards, key=key)
