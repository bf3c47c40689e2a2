"""The explorer: finding entities and reading one."""

import re

import msgspec
import pytest

from autocity.console.entities import Search
from autocity.errors import BadRequestData, ResourceNotFound, StoreUnavailable

AIR = "/entities/urn%3Angsi-ld%3AAirQualityObserved%3A1"


async def test_entities_are_listed_by_name_with_their_first_values(visit) -> None:
    found = await visit("/entities?type=AirQualityObserved")
    assert "Air station Centre" in found.text
    assert re.search(r"<b>47</b>", found.text)
    assert "32.84 µg/m³" in found.text
    assert "1–2 of 2" in found.text


async def test_types_are_counted(visit) -> None:
    found = await visit("/entities", accept_language="zh-CN")
    assert re.search(r"<span>片区</span><span class=\"count\">1</span>", found.text)


async def test_names_are_text_and_never_markup(visit) -> None:
    for path in ("/entities", "/entities/urn%3Angsi-ld%3AAirQualityObserved%3A2"):
        found = await visit(path)
        assert "<script>alert" not in found.text
        assert "&lt;script&gt;alert" in found.text


async def test_a_fault_in_the_expression_is_shown_beside_it(visit, city) -> None:
    city.refused["/ngsi-ld/v1/entities"] = BadRequestData("q: a value is missing after ==")
    found = await visit("/entities?q=a%3D%3D", hx_request_type="partial")
    assert found.status == 200
    assert "q: a value is missing after ==" in found.text
    assert "<html" not in found.text


async def test_nothing_found_says_what_to_do(visit) -> None:
    found = await visit("/entities?type=Nothing")
    assert "No entity fits" in found.text


def test_a_search_becomes_a_query_of_the_standard() -> None:
    assert Search(text="a.b").query() == {"idPattern": r".*[aA]\.[bB].*", "local": "true"}
    assert Search(type="Zone", q="a>1").query() == {"type": "Zone", "q": "a>1"}
    assert Search(type="Zone", offset=25).address(offset=0) == "/entities?type=Zone"
    assert Search(text="ü&").address(type="Zone") == "/entities?type=Zone&text=%C3%BC%26"


async def test_pages_of_results_lead_on_and_back(visit, city) -> None:
    for n in range(60):
        city.entities[f"urn:x:{n}"] = {"id": f"urn:x:{n}", "type": "Lamp"}
    found = await visit("/entities?type=Lamp&offset=25")
    assert 'rel="prev" href="/entities?type=Lamp"' in found.text
    assert 'rel="next" href="/entities?type=Lamp&amp;offset=50"' in found.text
    assert "26–50 of 60" in found.text


@pytest.mark.parametrize("offset", ["-1", "x", "", "1e9"])
async def test_an_odd_offset_is_the_beginning(visit, offset: str) -> None:
    found = await visit(f"/entities?type=Zone&offset={offset}")
    assert "1–1 of 1" in found.text


async def test_one_entity_shows_values_units_links_and_origin(visit) -> None:
    found = await visit(AIR)
    assert "<h1>Air station Centre</h1>" in found.text
    assert re.search(r'data-value="pm25">32.84</span><span class="unit">µg/m³', found.text)
    assert 'href="/entities/urn%3Angsi-ld%3AZone%3A1"' in found.text
    assert "Simulated for a test" in found.text
    assert "Synthetic" in found.text
    assert "zh: 中心空气站" in found.text


async def test_an_entity_is_read_in_the_readers_language(visit) -> None:
    found = await visit(AIR, accept_language="zh-CN")
    assert "<h1>中心空气站</h1>" in found.text


async def test_the_place_and_the_history_are_there_for_islands_and_as_text(visit) -> None:
    found = await visit(AIR)
    place = re.search(r'id="place-data">(.*?)</script>', found.text)
    assert place
    assert msgspec.json.decode(place.group(1))["geometry"]["coordinates"] == [125.2, 43.83]
    series = re.search(r"data-chart-data>(.*?)</script>", found.text)
    assert series
    assert msgspec.json.decode(series.group(1))["points"] == [
        ["2026-11-22T11:00:00Z", 47],
        ["2026-11-22T12:00:00Z", 48],
    ]
    assert "22 Nov 2026, 20:00:00" in found.text, "the table twin, on the clock of the city"


async def test_a_range_of_history_becomes_a_temporal_query(visit, city) -> None:
    found = await visit(f"{AIR}/history?attribute=pm25&span=1h")
    assert found.status == 200
    path = next(path for path, _ in city.asked if "/temporal/" in path)
    assert "attrs=pm25" in path
    assert "timerel=after&timeAt=" in path
    assert 'value="1h" checked' in found.text
    everything = await visit(f"{AIR}/history?attribute=pm25&span=all")
    assert "timerel" not in city.asked[-1][0]
    assert 'value="all" checked' in everything.text


async def test_no_history_says_so(visit, city) -> None:
    city.refused["/ngsi-ld/v1/temporal/entities/urn%3Angsi-ld%3AAirQualityObserved%3A1"] = ResourceNotFound(
        "none"
    )
    found = await visit(f"{AIR}/history?attribute=pm25&span=1h")
    assert "Nothing recorded in this range" in found.text


async def test_a_history_that_cannot_be_read_says_why(visit, city) -> None:
    path = "/ngsi-ld/v1/temporal/entities/urn%3Angsi-ld%3AAirQualityObserved%3A1"
    city.refused[path] = StoreUnavailable("the store is busy")
    found = await visit(AIR)
    assert found.status == 200
    assert "the store is busy" in found.text


async def test_the_values_alone_are_a_part_of_the_page(visit) -> None:
    found = await visit(f"{AIR}/values")
    assert "<html" not in found.text
    assert 'data-value="airQualityIndex">47' in found.text


async def test_the_jsonld_is_the_entity(visit) -> None:
    found = await visit(AIR)
    assert "&#34;languageMap&#34;" in found.text
    assert "curl &#39;http" in found.text


async def test_an_unknown_entity_is_a_page_not_found(visit) -> None:
    found = await visit("/entities/urn%3Ax%3Ay")
    assert found.status == 404
    assert "entity urn:x:y does not exist" in found.text


async def test_odd_attributes_do_not_break_the_page(visit, city) -> None:
    city.entities["urn:odd"] = {
        "id": "urn:odd",
        "type": ["Odd", "https://example.org/Other"],
        "several": [
            {"type": "Property", "value": 1, "datasetId": "urn:d:1"},
            {"type": "Property", "value": "two", "accuracy": {"type": "Property", "value": 0.5}},
        ],
        "json": {"type": "JsonProperty", "json": {"a": [None, {"b": 1}]}},
        "list": {"type": "ListProperty", "valueList": [1, 2]},
        "vocab": {"type": "VocabProperty", "vocab": ["a", "b"]},
        "links": {"type": "ListRelationship", "objectList": [{"object": "urn:x:1"}, {"object": "urn:x:2"}]},
        "dated": {"type": "Property", "value": {"@type": "DateTime", "@value": "2026-11-22T12:00:00Z"}},
        "place": {"type": "GeoProperty", "value": None},
    }
    found = await visit("/entities/urn%3Aodd")
    assert found.status == 200
    for shown in ("urn:d:1", "Accuracy: 0.5", "urn%3Ax%3A2", "22 Nov 2026, 20:00:00", "[1,2]", "Other"):
        assert shown in found.text, shown
