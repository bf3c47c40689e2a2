"""The industry page: each figure as the document states it, with source, date and confidence."""

import re

import msgspec


async def test_figures_bear_change_source_date_and_confidence(visit) -> None:
    found = await visit("/industry")
    assert "69,759" in found.text
    assert "+89.5\u202f%" in found.text
    assert re.search(r"252\.11.*?billion yuan.*?\+10\.2", found.text, re.DOTALL)
    assert "City and group join hands</a>, 30 Jul 2020" in found.text
    assert "confidence high" in found.text
    assert "6 of 7 automobile projects have started." in found.text


async def test_amounts_are_counted_as_the_reader_counts(visit) -> None:
    found = await visit("/industry", accept_language="zh")
    assert "2,521.1" in found.text
    assert "亿元" in found.text


async def test_charts_hold_what_the_table_holds(visit) -> None:
    found = await visit("/industry")
    vehicles, growth = map(msgspec.json.decode, re.findall(r"data-chart-data>(.*?)</script>", found.text))
    assert vehicles["rows"] == ["FAW-Hongqi"]
    assert [series["values"] for series in vehicles["series"]] == [[69759], [70045]]
    assert [series["values"] for series in growth["series"]] == [[89.5], [110.7]]


async def test_weak_links_are_named_in_words(visit) -> None:
    found = await visit("/industry")
    assert re.search(r"Software</a><br><span[^>]*>weak link", found.text)


async def test_a_city_without_facts_says_how_to_get_some(visit, city) -> None:
    city.entities.clear()
    found = await visit("/industry")
    assert found.status == 200
    assert "No industry facts yet" in found.text
