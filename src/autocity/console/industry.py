"""The industry page: what the city's documents state about its automobile industry, each figure with its source."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Struct

from autocity.api.asgi import Answer, Call
from autocity.console import page, show
from autocity.console.client import City, Document
from autocity.console.page import Reader, speech
from autocity.models import CITY_CONTEXT

TYPES = (
    "ProductionRecord", "OutputRecord", "ProjectPortfolio", "IndustrialProject", "CorePart", "AutomobileService",
    "IndustrySegment", "Brand", "Town", "TownPart", "Plate", "SourceDocument",
)  # fmt: skip


class Origin(Struct, frozen=True, kw_only=True):
    """Where a figure comes from, when it was stated and how sure it is."""

    source: str
    document: str
    date: str
    confidence: str


class Fact(Struct, frozen=True, kw_only=True):
    """A number that a document states, with its change on the year before."""

    id: str
    label: str
    value: str
    unit: str = ""
    change: float | None = None
    origin: Origin


class Item(Struct, frozen=True, kw_only=True):
    """A named thing that a document lists."""

    id: str
    name: str
    note: str
    origin: Origin


async def industry(city: City, who: Reader, call: Call) -> Answer:
    """Production and sales, output, projects, the chain with its weak links, brands, and Hongqi Town."""
    answers = await asyncio.gather(
        *(city.entities(context=CITY_CONTEXT, type=type, options="keyValues") for type in TYPES)
    )
    found = dict(zip(TYPES, answers, strict=True))
    documents = {one["id"]: one for one in found["SourceDocument"]}

    def items(type: str, **wanted: str) -> list[Item]:
        return [
            _item(one, documents, who)
            for one in found[type]
            if all(one.get(attribute) == value for attribute, value in wanted.items())
        ]

    records = sorted(found["ProductionRecord"], key=lambda one: -one.get("unitsProduced", 0))
    return page.render(
        who,
        "industry.html",
        facts=_facts(found, documents, who),
        records=[_record(one, documents, who) for one in records],
        charts=_charts(records, found["Brand"], who),
        portfolio=next(iter(found["ProjectPortfolio"]), None),
        projects=items("IndustrialProject"),
        segments=items("IndustrySegment"),
        core=items("CorePart", chainRole="core"),
        weak=items("CorePart", chainRole="weak"),
        services=items("AutomobileService"),
        brands=items("Brand"),
        town=next(iter(items("Town")), None),
        town_parts={kind: items("TownPart", townPartKind=kind) for kind in ("district", "street", "centre")},
        town_places={
            part["id"]: items("TownPart", townPartKind="place", partOf=part["id"]) for part in found["TownPart"]
        },
    )


def _facts(found: dict[str, list[Document]], documents: dict[str, Document], who: Reader) -> list[Fact]:
    """The headline figures, those that are there."""
    say = speech(who)
    facts = []
    for one in found["ProductionRecord"]:
        if "refBrand" not in one:
            for attribute, growth, label in (
                ("unitsProduced", "productionGrowth", say("Vehicles produced")),
                ("unitsSold", "salesGrowth", say("Vehicles sold")),
            ):
                if attribute in one:
                    facts.append(_fact(one, label, one[attribute], say("vehicles"), one.get(growth), documents, who))
    for one in found["OutputRecord"]:
        value, unit = money(one.get("outputValue", 0), who)
        facts.append(_fact(one, say("Industrial output of the zone"), value, unit, one.get("outputGrowth"), documents, who))
    for one in found["Plate"]:
        if "surfaceArea" in one:
            facts.append(_fact(one, say("Area of the automobile city"), one["surfaceArea"], "km²", None, documents, who))
    return facts


def _fact(
    one: Document, label: str, value: Any, unit: str, change: float | None, documents: dict[str, Document], who: Reader
) -> Fact:
    text = value if isinstance(value, str) else show.number(value, who.language)
    return Fact(id=one["id"], label=label, value=text, unit=unit, change=change, origin=_origin(one, documents, who))


def money(yuan: float, who: Reader) -> tuple[str, str]:
    """An amount in the steps that readers of each language count in: billions, or 亿."""
    say = speech(who)
    if who.language.startswith("zh"):
        return show.number(yuan / 1e8, who.language, 1), say("billion yuan")
    return show.number(yuan / 1e9, who.language, 2), say("billion yuan")


def _record(one: Document, documents: dict[str, Document], who: Reader) -> dict[str, Any]:
    return {
        "id": one["id"],
        "name": _name(one, who),
        "produced": one.get("unitsProduced"),
        "production_growth": one.get("productionGrowth"),
        "sold": one.get("unitsSold"),
        "sales_growth": one.get("salesGrowth"),
        "origin": _origin(one, documents, who),
    }


def _charts(records: list[Document], brands: list[Document], who: Reader) -> dict[str, Any]:
    """Two bar charts of the brands that have figures: vehicles, and growth."""
    say = speech(who)
    named = {one["id"]: _name(one, who) for one in brands}
    own = [one for one in records if one.get("refBrand") in named]
    rows = [named[one["refBrand"]] for one in own]
    grown = [*own, *(one for one in records if "refBrand" not in one)]

    def series(chosen: list[Document], produced: str, sold: str) -> list[dict[str, Any]]:
        return [
            {"name": say("Produced"), "values": [one.get(produced) for one in chosen]},
            {"name": say("Sold"), "values": [one.get(sold) for one in chosen]},
        ]

    return {
        "vehicles": {"rows": rows, "series": series(own, "unitsProduced", "unitsSold"), "unit": say("vehicles")},
        "growth": {
            "rows": [*rows, *(say("FAW Group, all") for _ in grown[len(own) :])],
            "series": series(grown, "productionGrowth", "salesGrowth"),
            "unit": "%",
        },
    }


def _item(one: Document, documents: dict[str, Document], who: Reader) -> Item:
    note = one.get("description") or one.get("statement") or ""
    return Item(
        id=one["id"], name=_name(one, who), note=_phrase(note, who), origin=_origin(one, documents, who)
    )


def _origin(one: Document, documents: dict[str, Document], who: Reader) -> Origin:
    say = speech(who)
    document = documents.get(str(one.get("statedIn", "")), {})
    sure = {"high": say("high"), "medium": say("medium"), "low": say("low")}
    return Origin(
        source=_name(document, who) if document else str(one.get("source", "")),
        document=str(document.get("id", "")),
        date=str(one.get("statedOn", "")),
        confidence=sure.get(str(one.get("confidence", "")), str(one.get("confidence", ""))),
    )


def _name(one: Document, who: Reader) -> str:
    return _phrase(one.get("name", one["id"]), who)


def _phrase(value: Any, who: Reader) -> str:
    return show.phrase(value.get("languageMap", value) if isinstance(value, dict) else value, who.language)
