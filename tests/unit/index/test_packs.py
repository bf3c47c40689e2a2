"""Every framework that ships: valid, with a source or a plain word for each entry, and nothing invented."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from autocity.index import Frame, Framework, IndexFault, build, packs

CONFIRMED = {
    "City GDP",
    "FDI share of local investment",
    "Global-500 firms",
    "Foreign financial institutions",
    "Offices of regional international organisations",
    "Engel coefficient",
    "Museums and art venues",
    "Smart-city degree",
    "International healthy city",
    "International liveable city",
}


@pytest.mark.parametrize("name", packs.names())
def test_every_pack(name: str) -> None:
    framework = packs.load(name)
    assert framework.code == name
    assert Framework.loads(framework.dumps()) == framework
    jsonschema.validate(json.loads(framework.dumps()), Framework.schema())
    for element in framework.elements:
        assert element.source in framework.sources or element.confidence == "unpublished"
        assert element.published or element.note
        assert element.label("zh")
    framework.default_recipe()


def test_what_ships() -> None:
    assert set(packs.names()) >= {
        "changchun-2018",
        "undp-hdi",
        "undp-hdi-female",
        "undp-hdi-male",
        "sdg-index",
        "u4ssc",
        "iso37120",
        "city-prosperity",
        "gpci",
        "kearney-gci",
    }
    with pytest.raises(IndexFault, match="does not ship"):
        packs.load("nothing")


def test_changchun() -> None:
    framework = packs.load("changchun-2018")
    assert len(framework.indicators) == 30
    assert [len(framework.children[layer]) for layer in framework.children["package"]] == [10, 10, 10]
    named = {framework[c].label("en") for c in framework.indicators if framework[c].published}
    assert named == CONFIRMED
    assert sum(not framework[c].published for c in framework.indicators) == 20
    numeric = [framework[c] for c in framework.indicators if not framework[c].categories]
    assert all(threshold is None for element in numeric for threshold in element.tiers)
    assert [t.code for t in framework.tiers] == ["primary", "intermediate", "advanced"]
    assert not framework.scored


def test_owners_totals() -> None:
    """Perfect scores give each owner's published total, their weights each owner's published shares."""
    for name, total in (("gpci", 2600.0), ("sdg-index", 100.0)):
        framework = packs.load(name)
        full = np.full((2, len(framework.indicators)), 100.0)
        frame = Frame(("a", "b"), framework.indicators, full, groups={"region": ("x", "x")})
        assert build(framework, frame)[framework.root][0, 0] == pytest.approx(total)
    kearney = packs.load("kearney-gci")
    shares = kearney.effective_weights()
    found = [round(shares[code], 12) for code in kearney.children["gci"]]
    assert found == [0.3, 0.3, 0.15, 0.15, 0.1]
    assert [len(kearney.children[c]) for c in kearney.children["gci"]] == [7, 6, 5, 6, 5]
