"""The industry page: what documents state about the automobile industry, each figure with its source."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from autocity.api.asgi import Answer, Call
from autocity.console import page, show
from autocity.console.client import City, Document
from autocity.console.page import Reader, speech
from autocity.models import CITY_CONTEXT

TYPES = (
    "ProductionRecord", "OutputRecord", "ProjectPortfolio", "IndustrialProject", "CorePart",
    "AutomobileService", "IndustrySegment", "Brand", "Town", "TownPart", "Plate", "SourceDocument",
)  # fmt: skip


class Origin(Struct, frozen=True, kw_only=True):
    """Where a figure comes from, when it was stated and how sure it is."""

    source: str
    document: str
    date: str
    confidence: str


class Fact(Struct, frozen=True, kw_only=True):
    """A number that a document states, with its change on the year before in percent."""

    id: str
    label: str
    value: str
    unit: str
    change: float | None
    origin: Origin


class Item(Struct, frozen=True, kw_only=True):
    """A named thing that a document lists."""

    id: str
    name: str
    note: str
    origin: Origin


class Production(Struct, frozen=True, kw_only=True):
    """Vehicles made and sold in a period, and the growth of both in percent."""

    id: str
    name: str
    brand: str
    produced: int | None
    production_growth: float | None
    sold: int | None
    sales_growth: float | None
    origin: Origin


class Stated(Struct, frozen=True):
    """The industry's entities in key-values form, by type, as one reader reads them."""

    found: dict[str, list[Document]]
    who: Reader

    def items(self, type: str, **wanted: str) -> list[Item]:
        """The entities of a type whose attributes have the wanted values, in the city's order."""
        return [
            Item(
                id=one["id"],
                name=self.name(one),
                note=self.phrase(one.get("description") or one.get("statement") or ""),
                origin=self.origin(one),
            )
            for one in self.found[type]
            if all(one.get(attribute) == value for attribute, value in wanted.items())
        ]

    def facts(self) -> Iterator[Fact]:
        """The headline figures, those that are there."""
        say = speech(self.who)
        for one in self.found["ProductionRecord"]:
            # Records of one brand are in the table below; those of the whole group are headlines.
            if "refBrand" not in one:
                for label, attribute, growth in (
                    (say("Vehicles produced"), "unitsProduced", "productionGrowth"),
                    (say("Vehicles sold"), "unitsSold", "salesGrowth"),
                ):
                    yield from self.fact(one, label, attribute, say("vehicles"), growth)
        for one in self.found["OutputRecord"]:
            label, unit = say("Industrial output of the zone"), say("billion yuan")
            yield from self.fact(one, label, "outputValue", unit, "outputGrowth", money=True)
        for one in self.found["Plate"]:
            yield from self.fact(one, say("Area of the automobile city"), "surfaceArea", "km²")

    def fact(
        self, one: Document, label: str, attribute: str, unit: str, growth: str = "", *, money: bool = False
    ) -> Iterator[Fact]:
        """One headline figure, when its entity has the attribute."""
        if attribute in one:
            write = yuan if money else show.number
            yield Fact(
                id=one["id"],
                label=label,
                value=write(one[attribute], self.who.language),
                unit=unit,
                change=one.get(growth),
                origin=self.origin(one),
            )

    def production(self) -> list[Production]:
        """What was made and sold, the largest first."""
        brands = {one["id"]: self.name(one) for one in self.found["Brand"]}
        records = sorted(self.found["ProductionRecord"], key=lambda one: -one.get("unitsProduced", 0))
        return [
            Production(
                id=one["id"],
                name=self.name(one),
                brand=brands.get(one.get("refBrand", ""), ""),
                produced=one.get("unitsProduced"),
                production_growth=one.get("productionGrowth"),
                sold=one.get("unitsSold"),
                sales_growth=one.get("salesGrowth"),
                origin=self.origin(one),
            )
            for one in records
        ]

    def origin(self, one: Document) -> Origin:
        """Where an entity's figures come from."""
        say = speech(self.who)
        cited = one.get("statedIn", "")
        document = next((each for each in self.found["SourceDocument"] if each["id"] == cited), None)
        sure = {"high": say("high"), "medium": say("medium"), "low": say("low")}
        confidence = str(one.get("confidence", ""))
        return Origin(
            source=self.name(document) if document else str(one.get("source", "")),
            document=cited if document else "",
            date=str(one.get("statedOn", "")),
            confidence=sure.get(confidence, confidence),
        )

    def name(self, one: Document) -> str:
        return self.phrase(one.get("name", one["id"]))

    def phrase(self, value: Any) -> str:
        return show.phrase(
            value.get("languageMap", value) if isinstance(value, dict) else value, self.who.language
        )


async def industry(city: City, who: Reader, call: Call) -> Answer:
    """Production and sales, output, projects, the chain with its weak links, brands, and Hongqi Town."""
    answers = await asyncio.gather(
        *(city.entities(context=CITY_CONTEXT, type=type, options="keyValues") for type in TYPES)
    )
    stated = Stated(dict(zip(TYPES, answers, strict=True)), who)
    production = stated.production()
    return page.render(
        who,
        "industry.html",
        facts=list(stated.facts()),
        production=production,
        charts=charts(production, who),
        portfolio=next(iter(stated.found["ProjectPortfolio"]), None),
        projects=stated.items("IndustrialProject"),
        segments=stated.items("IndustrySegment"),
        core=stated.items("CorePart", chainRole="core"),
        weak=stated.items("CorePart", chainRole="weak"),
        services=stated.items("AutomobileService"),
        brands=stated.items("Brand"),
        town=next(iter(stated.items("Town")), None),
        town_parts={
            kind: stated.items("TownPart", townPartKind=kind) for kind in ("district", "street", "centre")
        },
        town_places={
            part["id"]: stated.items("TownPart", townPartKind="place", partOf=part["id"])
            for part in stated.found["TownPart"]
        },
    )


def yuan(amount: float, language: str) -> str:
    """An amount of yuan in the step that the words "billion yuan" stand for in the reader's language: a
    milliard in English, 亿 (a tenth of it) in Chinese."""
    if language.startswith("zh"):
        return show.number(amount / 1e8, language, 1)
    return show.number(amount / 1e9, language, 2)


def charts(production: list[Production], who: Reader) -> dict[str, Any]:
    """Two bar charts: vehicles by brand, and growth by brand beside that of the whole group."""
    say = speech(who)
    brands = [one for one in production if one.brand]
    grown = [*brands, *(one for one in production if not one.brand)]
    return {
        "vehicles": {
            "unit": say("vehicles"),
            "rows": [one.brand for one in brands],
            "series": [
                {"name": say("Produced"), "values": [one.produced for one in brands]},
                {"name": say("Sold"), "values": [one.sold for one in brands]},
            ],
        },
        "growth": {
            "unit": "%",
            "rows": [one.brand or say("FAW Group, all") for one in grown],
            "series": [
                {"name": say("Produced"), "values": [one.production_growth for one in grown]},
                {"name": say("Sold"), "values": [one.sales_growth for one in grown]},
            ],
        },
    }
