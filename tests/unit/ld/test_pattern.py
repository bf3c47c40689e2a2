"""Regular expressions: the same language as Python's `re` where both have it, in linear time."""

import re
from random import Random
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocity.errors import BadRequestData, CityError, TooComplexQuery
from autocity.ld.pattern import MAX_LENGTH, search

ATOMS = st.sampled_from(["a", "b", "c", ".", "[ab]", "[^a]", "[b-d]", "\\w", "\\d", "\\.", "é"])
PATTERNS = st.recursive(
    ATOMS,
    lambda part: st.one_of(
        st.lists(part, max_size=3).map("".join),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(part, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,}", "*?", "??"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        part.map(lambda inner: f"^{inner}"),
        part.map(lambda inner: f"(?:{inner})$"),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, st.lists(st.text("abcd1.é", max_size=8), min_size=1, max_size=4))
def test_finds_what_re_finds(pattern: str, texts: list[str]) -> None:
    found = search(pattern)
    for text in texts:
        assert found(text) == bool(re.search(pattern, text, re.DOTALL)), (pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (".*downtown$", "urn:ngsi-ld:OffStreetParking:downtown", True),
        (".*downtown$", "urn:ngsi-ld:OffStreetParking:downtown1", False),
        ("urn:ngsi-ld:Vehicle:*", "urn:ngsi-ld:Vehicle", True),
        ("coll4233", "urn:ngsi-ld:Vehicle:coll4233A", True),
        ("", "anything", True),
        ("^$", "", True),
        ("^$", "a", False),
        ("a$", "a\n", False),
        ("a.c", "a\nc", True),
        ("[[:digit:][:upper:]]+$", "a7Z", True),
        ("[]x]", "]", True),
        ("[^]x]", "]", False),
        ("[a-]", "-", True),
        ("[\\]\\\\]", "\\", True),
        ("\\x41\\u00e9\\t", "Aé\t", True),
        ("\\AAudi\\z", "Audi", True),
        ("\\D\\S\\W", "a.!", True),
        ("x{3}", "xx", False),
    ],
)
def test_understands_posix_and_the_common_escapes(pattern: str, text: str, found: bool) -> None:
    assert search(pattern)(text) is found


@pytest.mark.parametrize(
    ("pattern", "mend"),
    [
        ("(", "')' is missing"),
        ("a)", "has no '('"),
        ("[", "too early"),
        ("[z-a]", "backwards"),
        ("[[:nope:]]", "not known"),
        ("*a", "write '\\*'"),
        ("^*", "anchor"),
        ("a{2,1}", "backwards"),
        ("a{x}", "write '\\{'"),
        ("(?=a)", "look-around"),
        ("(a)\\1", "back-references"),
        ("\\b", "not supported"),
        ("\\q", "not a known escape"),
        ("\\xzz", "hexadecimal"),
        ("\\", "too early"),
        ("(" * 40 + ")" * 40, "nested deeper"),
        ("a" * (MAX_LENGTH + 1), "longer than"),
        ("(a{200}){200}", "too large"),
        ("((((){999}){999}){999}){999}", "too large"),
    ],
)
def test_refuses_with_the_mend(pattern: str, mend: str) -> None:
    with pytest.raises(BadRequestData) as refusal:
        search(pattern)
    assert mend in refusal.value.detail


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+c", "(a|a)*c", "(a|ab)*c", ".*.*.*.*.*.*x", "(.*)*x", "(x?){80}x{80}y", "(a|b)*a(a|b){90}c"],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    began = process_time()
    assert search(pattern)("ab" * 50_000) is False
    assert process_time() - began < 3


def test_a_search_that_keeps_making_states_is_given_up() -> None:
    # Which of the last 120 characters were 'a' is a different state for almost every prefix.
    text = "".join(Random(4).choices("ab", k=60_000))
    with pytest.raises(TooComplexQuery):
        search("(a|b)*a(a|b){120}c")(text)


@given(st.text("ab(){}[]|*+?^$\\.-,19:dwx", max_size=20))
def test_any_text_is_a_pattern_or_a_refusal(text: str) -> None:
    try:
        search(text)("ab19")
    except CityError as refusal:
        assert refusal.detail
