"""A framework file: what it holds, that it comes back bit-equal, that every fault in it is told at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocity.index import Element, Framework, IndexFault, Limits, Recipe, Source, Tier, build, packs
from autocity.index.framework import FORMAT

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.one_of(
    st.text(max_size=8), st.dictionaries(st.sampled_from(["en", "zh", "de"]), st.text(max_size=5), min_size=1)
)


@st.composite
def frameworks(draw: Any) -> Framework:
    """Any framework of two levels with every kind of entry."""
    codes = draw(st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=5, unique=True))
    root = Element("ROOT", draw(texts), availability=draw(st.none() | st.floats(0, 1)))
    elements = [
        Element(
            code,
            draw(texts),
            parent="ROOT",
            direction=draw(st.sampled_from([1, -1])),
            unit=draw(st.none() | st.text(max_size=4)),
            weight=draw(st.floats(0, 1e9)),
            limits=draw(
                st.none() | st.builds(Limits, st.just(0.1), st.floats(0.2, 1e6), st.booleans(), st.booleans())
            ),
            target=draw(st.none() | finite),
            tiers=draw(st.sampled_from([(), (None, None)])),
            denominator=draw(st.none() | st.just("people")),
            source=draw(st.none() | st.just("s")),
            confidence=draw(st.sampled_from(["primary", "unpublished"])),
            parameters=draw(
                st.dictionaries(st.text("xyz", min_size=1), finite | st.booleans() | st.none(), max_size=2)
            ),
        )
        for code in codes
    ]
    tiers = (Tier("low", "low"), Tier("high", "high"))
    return Framework("f", draw(texts), (root, *elements), tiers=tiers, sources={"s": Source("a book")})


@settings(max_examples=200, deadline=None)
@given(frameworks(), st.sampled_from(["json", "yaml"]))
def test_load_save_load_is_bit_equal(framework: Framework, form: Any) -> None:
    text = framework.dumps(form)
    again = Framework.loads(text, form)
    assert again == framework
    assert again.dumps(form) == text


@settings(max_examples=50, deadline=None)
@given(frameworks())
def test_files_obey_the_schema(framework: Framework) -> None:
    jsonschema.validate(json.loads(framework.dumps()), Framework.schema())


def test_files_on_disk(tmp_path: Path) -> None:
    framework = packs.load("undp-hdi")
    for name in ("f.json", "f.yaml", "f.yml"):
        framework.save(tmp_path / name)
        assert Framework.load(tmp_path / name) == framework


def test_every_fault_is_told_with_its_place() -> None:
    text = json.dumps(
        {
            "format": FORMAT,
            "code": 7,
            "name": "x",
            "colour": "red",
            "elements": [{"code": "a", "name": "a", "direction": 2, "weight": "much"}, {"code": "b"}],
        }
    )
    with pytest.raises(IndexFault) as refusal:
        Framework.loads(text)
    told = "\n".join(refusal.value.faults)
    for fault in (
        "framework.code is not a text",
        "framework.colour is not known",
        "framework.elements[0].direction is not one of -1, 1",
        "framework.elements[0].weight is not a finite number",
        "framework.elements[1].name is missing",
    ):
        assert fault in told


def test_contradictions_are_told_together() -> None:
    with pytest.raises(IndexFault) as refusal:
        Framework(
            "f",
            "f",
            (
                Element("a", "a", parent="nobody", weight=-1, limits=Limits(5, 1)),
                Element("a", "a", source="unknown", limits=Limits(-1, 1, log=True)),
                Element("c", "c", direction=-1, tiers=(1.0, 2.0), categories=()),
            ),
            tiers=(Tier("one", "one"), Tier("two", "two")),
        )
    assert refusal.value.faults == (
        "a is the code of 2 elements",
        "a: parent nobody is not an element",
        "a: weight -1 is below zero",
        "a: the low limit 5 is not below the high limit 1",
        "a: source unknown is not among the sources of the framework",
        "a: limits on a log scale are above zero",
        "c: a higher tier asks for less than a lower one",
    )


@pytest.mark.parametrize(
    ("text", "form", "told"),
    [
        ("{", "json", "not valid JSON"),
        ("a: [", "yaml", "not valid YAML"),
        ("[]", "json", "framework is not a mapping"),
        ('{"code": "f", "name": "f", "elements": []}', "json", "has no element"),
        (
            '{"code": "f", "name": "f", "elements": [], "format": "other"}',
            "json",
            "format other is not known",
        ),
    ],
)
def test_wrong_files(text: str, form: Any, told: str) -> None:
    with pytest.raises(IndexFault, match=told):
        Framework.loads(text, form)


def test_an_element_is_not_its_own_ancestor() -> None:
    with pytest.raises(IndexFault, match="its own ancestor"):
        Framework("f", "f", (Element("a", "a", parent="b"), Element("b", "b", parent="a")))


def test_hierarchy(asem_framework: Framework) -> None:
    assert asem_framework.height == 4
    assert asem_framework.root == "Index"
    assert asem_framework.at(3) == ("Conn", "Sust")
    assert asem_framework.lineage("LPI") == ("LPI", "Physical", "Conn", "Index")
    assert len(asem_framework.indicators_of("Sust")) == 19
    assert asem_framework.indicators_of("LPI") == ("LPI",)
    assert asem_framework["LPI"].label("zh") == "Logistics Performance Index"
    with pytest.raises(IndexFault, match="nowhere is not an element"):
        asem_framework["nowhere"]


def test_without(asem_framework: Framework) -> None:
    smaller = asem_framework.without(["Environ", "LPI"])
    assert "Renew" not in smaller
    assert len(smaller.indicators) == 43
    with pytest.raises(IndexFault, match="at least one indicator"):
        asem_framework.without(["Index"])
    with pytest.raises(IndexFault, match="nowhere is not an element"):
        asem_framework.without(["nowhere"])


def test_but(asem_framework: Framework) -> None:
    heavier = asem_framework.but({"LPI": {"weight": 3.0}})
    assert heavier["LPI"].weight == 3.0
    assert heavier.effective_weights()["LPI"] == pytest.approx(3 / 10 / 5 / 2)
    with pytest.raises(IndexFault, match="nowhere is not an element"):
        asem_framework.but({"nowhere": {}})


def test_recipe_of_the_framework() -> None:
    assert packs.load("undp-hdi").default_recipe()["aggregate"].method == ("arithmetic", "geometric")
    assert Framework("f", "f", (Element("a", "a"),)).default_recipe() == Recipe.of()
    assert callable(build)
