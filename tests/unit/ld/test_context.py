"""Term maps: what JSON-LD says (PyLD as oracle), the core above all, hostile contexts refused at once."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pyld import jsonld

from autocity.errors import BadRequestData, LdContextNotAvailable
from autocity.ld.context import (
    CORE,
    CORE_TERMS,
    CORE_URL,
    DEFAULT,
    MAX_REMEMBERED,
    MAX_REMOTE,
    NGSI_LD,
    Context,
    compile,
    core_document,
    is_core,
    is_name,
)

OLD_CORE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.6.jsonld"


async def nothing(url: str) -> Any:
    raise LdContextNotAvailable(f"{url} cannot be had")


def remote(documents: dict[str, Any]) -> Any:
    async def load(url: str) -> Any:
        return {"@context": documents[url]}

    return load


async def compiled(source: Any, documents: dict[str, Any] | None = None) -> Context:
    return await compile(source, remote(documents) if documents else nothing)


# The oracle

NAMES = ["a", "b", "speed", "Car", "ex", "p", "location", "value"]
IRIS = [
    "https://example.org/",
    "https://example.org/x#",
    "urn:x:",
    "https://example.org/thing",
    "urn:x:thing",
]
REFERENCES = [
    *IRIS,
    "ex:thing",
    "p:thing",
    "a:b",
    "speed",
    "a",
    "nothing",
    "ngsi-ld:thing",
    "geojson:x",
    "@type",
]

definitions = st.one_of(
    st.sampled_from(REFERENCES),
    st.none(),
    st.fixed_dictionaries(
        {},
        optional={
            "@id": st.sampled_from(REFERENCES),
            "@type": st.sampled_from(["@id", "@vocab", "https://example.org/Type", "a"]),
            "@prefix": st.booleans(),
            "@container": st.sampled_from(["@list", "@set"]),
        },
    ),
)
terms = st.dictionaries(st.sampled_from([*NAMES, "ex:a"]), definitions, max_size=5)
vocabularies = st.fixed_dictionaries({}, optional={"@vocab": st.sampled_from(IRIS)})
objects = st.builds(lambda some, vocabulary: some | vocabulary, terms, vocabularies)
sources = objects | st.lists(objects, max_size=3)


def oracle() -> dict[str, Any]:
    """The core as PyLD can process it: without the scoped context that is somewhere on the web."""
    return {name: term for name, term in core_document()["@context"].items() if name != "ngsildproof"}


BEFORE = {"ngsi-ld": NGSI_LD, "geojson": "https://purl.org/geojson/vocab#", "@vocab": DEFAULT}


def by_pyld(source: Any, name: str) -> str | None:
    """The IRI that PyLD gives a key; None when it drops the key or makes it a keyword."""
    user = source if isinstance(source, list) else [source]
    document = {"@context": [BEFORE, *user, oracle()], name: [{"@value": 1}]}
    try:
        expanded = jsonld.expand(document)
    except TypeError:  # PyLD 3.0 stumbles over a null prefix
        assume(False)
    return next(iter(expanded[0]), None) if expanded else None


@given(
    sources,
    st.sampled_from([*NAMES, "ex:a", "ex:thing", "p:thing", "urn:x:y", "https://example.org/z", "other"]),
)
async def test_names_mean_what_json_ld_says(source: Any, name: str) -> None:
    try:
        expected = by_pyld(source, name)
    except jsonld.JsonLdError:
        assume(False)
    assume(expected is not None)  # null terms go to the default vocabulary here, so that nothing is lost
    assert (await compiled(source)).expand(name) == expected


@given(sources)
async def test_what_json_ld_refuses_is_refused(source: Any) -> None:
    try:
        by_pyld(source, "other")
    except jsonld.JsonLdError as refusal:
        # A prefix of a redefined core term and the like: PyLD objects to protection, here the core wins.
        assume("protected" not in str(refusal))
        with pytest.raises(BadRequestData):
            await compiled(source)


@given(
    sources,
    st.sampled_from([*IRIS, *(DEFAULT + name for name in NAMES), "https://example.org/x#speed", "urn:x:a"]),
)
async def test_a_compacted_name_means_the_same_iri(source: Any, iri: str) -> None:
    try:
        context = await compiled(source)
    except BadRequestData:
        assume(False)
    name = context.compact(iri)
    assert name == iri or context.expand(name) == iri


# The core

CASES = {
    "location": NGSI_LD + "location",
    "title": "http://purl.org/dc/terms/title",
    "Point": "https://purl.org/geojson/vocab#Point",
    "unknown": DEFAULT + "unknown",
    "ngsi-ld:anything": NGSI_LD + "anything",
    "https://example.org/x": "https://example.org/x",
    "urn:x:y": "urn:x:y",
    "id": "@id",
}


@pytest.mark.parametrize(("name", "iri"), CASES.items())
def test_the_core_expands(name: str, iri: str) -> None:
    assert CORE.expand(name) == iri
    assert CORE.compact(iri) == name


def test_every_core_term_is_its_own_shortest_name() -> None:
    for name, term in CORE_TERMS.items():
        assert CORE.expand(CORE.compact(term.iri)) == term.iri, name


@pytest.mark.parametrize("version", ["-v1.3", "-v1.6", "-v1.8", "-v1.9", ""])
async def test_any_version_of_the_core_is_the_core(version: str) -> None:
    url = f"https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context{version}.jsonld"
    assert is_core(url)
    assert await compiled(url) is CORE
    assert await compiled([url]) is CORE


async def test_a_core_that_does_not_exist_is_asked_for_and_not_had() -> None:
    with pytest.raises(LdContextNotAvailable):
        await compiled("https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-non-existing.jsonld")


async def test_nobody_redefines_the_core() -> None:
    context = await compiled(
        [CORE_URL, {"location": "urn:x:elsewhere", "Property": "urn:x:P", "@vocab": "urn:x:"}]
    )
    assert context.expand("location") == NGSI_LD + "location"
    assert context.expand("Property") == NGSI_LD + "Property"
    assert context.expand("unknown") == DEFAULT + "unknown"


async def test_the_core_name_of_a_core_iri_is_preferred() -> None:
    context = await compiled({"loc": NGSI_LD + "location"})
    assert context.expand("loc") == NGSI_LD + "location"
    assert context.compact(NGSI_LD + "location") == "location"


def test_the_core_is_served_as_a_document() -> None:
    terms = core_document()["@context"]
    assert terms["@protected"] is True
    assert terms["observedAt"] == {"@id": "ngsi-ld:observedAt", "@type": "DateTime"}
    assert terms["@vocab"] == DEFAULT


# Compaction


async def test_the_shortest_name_wins_and_ties_go_by_alphabet() -> None:
    context = await compiled({"velocity": "urn:x:v", "vel": "urn:x:v", "vem": "urn:x:v"})
    assert context.compact("urn:x:v") == "vel"


async def test_a_name_that_means_something_else_is_never_used() -> None:
    context = await compiled({"speed": "https://example.org/speed"})
    assert context.compact(DEFAULT + "speed") == "ngsi-ld:default-context/speed"
    assert context.expand("ngsi-ld:default-context/speed") == DEFAULT + "speed"


def test_a_keyword_is_no_type() -> None:
    with pytest.raises(BadRequestData, match="'type'"):
        CORE.type("type")


async def test_a_prefix_shortens_what_no_term_names() -> None:
    # `ex:taken` has been given a meaning that it keeps when the prefix changes.
    context = await compiled([{"ex": "urn:x:", "ex:taken": {}}, {"ex": "https://example.org/"}])
    assert context.compact("https://example.org/speed") == "ex:speed"
    assert context.compact("https://example.org/a/b") == "https://example.org/a/b"
    assert context.compact("https://example.org/taken") == "https://example.org/taken"


async def test_a_key_is_the_beginning_of_a_json_member() -> None:
    context = await compiled({"größe": "urn:x:size"})
    assert context.key("urn:x:size") == ',"größe":'.encode()


# What may be an attribute


@pytest.mark.parametrize("name", ["speed", "výška_1", "车速", "x:y", "https://example.org/a%20b"])
def test_names_of_attributes(name: str) -> None:
    assert CORE.attribute(name) == CORE.expand(name)


RESERVED = [
    "id",
    "type",
    "object",
    "observedAt",
    "datasetId",
    "unitCode",
    "lang",
    NGSI_LD + "hasObject",
]
MALFORMED = [
    "",
    " ",
    "my attr",
    "9lives",
    "_x",
    "a-b",
    "a.b",
    "@id",
    "@graph",
    "x:a b",
    "x:<y>",
    "x:",
    "a" * 3_000,
]


@pytest.mark.parametrize("name", [*RESERVED, *MALFORMED])
def test_what_cannot_name_an_attribute(name: str) -> None:
    with pytest.raises(BadRequestData, match="name"):
        CORE.attribute(name)


def test_a_member_that_published_models_use_as_attribute() -> None:
    assert CORE.compact(CORE.attribute("value")) == "value"


@given(st.text(max_size=5))
def test_is_name_follows_the_grammar(name: str) -> None:
    # 4.6.2: a letter, then letters, numbers and underscores.
    expected = bool(name) and name[0].isalpha() and all(char.isalnum() or char == "_" for char in name)
    assert is_name(name) == expected


def test_types_may_be_called_like_members() -> None:
    assert CORE.type("value") == NGSI_LD + "hasValue"
    with pytest.raises(BadRequestData):
        CORE.type("9Vehicle")


def test_a_context_remembers_a_bounded_number_of_names() -> None:
    context = Context(CORE_TERMS, None)
    for number in range(2 * MAX_REMEMBERED):
        context.expand(f"n{number}")
    remembered: Any = context.expand
    assert len(remembered.__self__) == MAX_REMEMBERED + len(CORE_TERMS)
    assert context.expand("n9999") == DEFAULT + "n9999"


def test_a_context_remembers_no_long_names() -> None:
    context = Context(CORE_TERMS, None)
    context.expand("x" * 1_000_000)
    remembered: Any = context.expand
    assert len(remembered.__self__) == len(CORE_TERMS)


# Sources

ONE = "https://example.org/one.jsonld"
TWO = "https://example.org/two.jsonld"


@pytest.mark.parametrize(
    ("source", "echo", "link"),
    [
        (None, CORE_URL, CORE_URL),
        ([], CORE_URL, CORE_URL),
        (OLD_CORE, CORE_URL, CORE_URL),
        (ONE, ONE, ONE),
        ([ONE], [ONE], ONE),
        ([ONE, CORE_URL], [ONE], ONE),
        ([ONE, [TWO, CORE_URL]], [ONE, [TWO]], None),
        ({"a": "urn:x:a"}, {"a": "urn:x:a"}, None),
        ([{"a": "urn:x:a"}, OLD_CORE], [{"a": "urn:x:a"}], None),
    ],
)
async def test_an_answer_carries_what_the_user_gave_without_the_core(
    source: Any, echo: Any, link: Any
) -> None:
    context = await compiled(source, {ONE: {"a": "urn:x:1"}, TWO: {"a": "urn:x:2"}})
    assert context.echo == echo
    assert context.link == link


async def test_later_contexts_override_earlier_ones_and_null_forgets_them() -> None:
    context = await compiled([ONE, {"b": "urn:x:b"}, TWO], {ONE: {"a": "urn:x:1"}, TWO: {"a": "urn:x:2"}})
    assert [context.expand(name) for name in "ab"] == ["urn:x:2", "urn:x:b"]
    context = await compiled([ONE, None, {"b": "urn:x:b"}], {ONE: {"a": "urn:x:1"}})
    assert [context.expand(name) for name in "ab"] == [DEFAULT + "a", "urn:x:b"]


async def test_a_term_set_to_null_goes_to_the_default_vocabulary() -> None:
    context = await compiled([{"a": "urn:x:1"}, {"a": None}])
    assert context.expand("a") == DEFAULT + "a"
    assert context.compact(DEFAULT + "a") == "a"


async def test_documents_refer_to_documents_relative_to_themselves() -> None:
    documents = {
        ONE: ["sub/three.jsonld", {"b": "ex:b"}],
        "https://example.org/sub/three.jsonld": {"ex": "urn:x"},
    }
    assert (await compiled(ONE, documents)).expand("b") == "ex:b"  # without a delimiter, no prefix
    documents["https://example.org/sub/three.jsonld"] = {"ex": "https://example.org/#"}
    assert (await compiled(ONE, documents)).expand("b") == "https://example.org/#b"


async def test_an_imported_context_is_overridden_by_its_importer() -> None:
    documents = {ONE: {"a": "urn:x:1", "b": "urn:x:b"}}
    context = await compiled({"@version": 1.1, "@import": ONE, "a": "urn:x:2"}, documents)
    assert [context.expand(name) for name in "ab"] == ["urn:x:2", "urn:x:b"]


async def test_each_url_is_loaded_once() -> None:
    asked: list[str] = []

    async def load(url: str) -> Any:
        asked.append(url)
        return {"@context": {"a": "urn:x:a"}}

    await compile([ONE, [ONE, TWO], ONE], load)
    assert asked == [ONE, TWO]


async def test_terms_know_how_their_values_are_typed() -> None:
    context = await compiled({"owner": {"@id": "urn:x:owner", "@type": "@id"}, "born": {"@type": "DateTime"}})
    assert context.coercion("owner") == "@id"
    assert context.coercion("born") == NGSI_LD + "DateTime"
    assert context.coercion("unknown") is None


# Refusals


@pytest.mark.parametrize(
    "source",
    [
        1,
        True,
        [1],
        {"a": 1},
        {"a": []},
        {"a": {"@id": 1}},
        {"a": {"@type": 1, "@id": "urn:x:a"}},
        {"": "urn:x:a"},
        {"@id": "urn:x:a"},
        {"a": "@context"},
        {"a": "b", "b": "a"},
        {"a": "a:b"},
        {"@vocab": 1},
        {"@version": 2},
        {"@import": 1},
        {"Car": {"@id": "urn:x:Car", "@context": {"speed": "urn:x:hidden"}}},
        "relative.jsonld",
        "not a url",
        "//example.org/x",
    ],
)
async def test_an_invalid_context_is_refused(source: Any) -> None:
    with pytest.raises(BadRequestData, match=r"context|@"):
        await compiled(source)


@pytest.mark.parametrize("document", [[], "text", {"a": "urn:x:a"}, None])
async def test_a_document_without_context_is_refused(document: Any) -> None:
    async def load(url: str) -> Any:
        return document

    with pytest.raises(BadRequestData, match="has no @context"):
        await compile(ONE, load)


async def test_what_cannot_be_loaded_is_said_by_the_loader() -> None:
    with pytest.raises(LdContextNotAvailable, match=ONE):
        await compile(ONE, nothing)


def deep_list(depth: int) -> Any:
    source: Any = {"a": "urn:x:a"}
    for _ in range(depth):
        source = [source]
    return source


BOMBS: dict[str, Any] = {
    "endless recursion": [ONE],
    "many parts": [{}] * 100_000,
    "deep nesting": deep_list(500),
    "a long chain": {f"t{n}": f"t{n + 1}" for n in range(20_000)},
    "long IRIs": {
        "t0": "https://example.org/" + "x" * 1_500 + "#",
        **{f"t{n}": f"t{n - 1}:{'y' * 600}#" for n in (1, 2)},
    },
    "many terms": [{f"t{part}_{n}": "urn:x:a" for n in range(9_000)} for part in range(3)],
    "many URLs": [f"https://example.org/{n}" for n in range(MAX_REMOTE + 1)],
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_refused_at_once(name: str) -> None:
    async def load(url: str) -> Any:
        return {"@context": [ONE] if url == ONE else {"a": "urn:x:a"}}

    begun = time.process_time()
    with pytest.raises(BadRequestData):
        await compile(BOMBS[name], load)
    assert time.process_time() - begun < 1
