"""The overview: key figures from what is there, and what the map island is told."""

import re

import msgspec

from autocity.console import overview
from autocity.errors import StoreUnavailable
from autocity.models import get


def test_every_layer_shows_attributes_that_its_type_has() -> None:
    for layer in overview.LAYERS:
        attributes = get(layer.type).attributes
        assert set(layer.look) <= set(attributes), layer.type
        assert not layer.measure or layer.measure in attributes, layer.type


def test_every_figure_is_of_a_type_of_the_city() -> None:
    assert all(get(type) for type in overview.FIGURES)


async def test_figures_are_made_of_what_is_there(visit) -> None:
    found = await visit("/figures")
    assert found.status == 200
    assert re.search(r"Air quality index.*?84.*?polluted · highest 120", found.text, re.DOTALL)
    assert 'class="made"' in found.text, "a figure of simulated values says so"
    assert "Free charging places" not in found.text
    assert "<html" not in found.text


async def test_the_island_is_told_layers_labels_and_units(visit) -> None:
    found = await visit("/", accept_language="zh-CN")
    told = re.search(r'id="desk">(.*?)</script>', found.text, re.DOTALL)
    assert told
    desk = msgspec.json.decode(told.group(1))
    traffic = next(layer for layer in desk["layers"] if layer["type"] == "TrafficFlowObserved")
    assert traffic["label"] == "交通流"
    assert traffic["attributes"]["averageVehicleSpeed"]["unit"] == "km/h"
    assert [step["below"] for step in traffic["steps"]] == [20, 35, None]


async def test_a_type_that_cannot_be_read_leaves_a_gap_not_a_broken_page(visit, city) -> None:
    city.refused["/ngsi-ld/v1/entities"] = StoreUnavailable("busy")
    city.refused["/readyz"] = StoreUnavailable("busy")
    found = await visit("/")
    assert found.status == 200
    assert "not ready" in found.text
