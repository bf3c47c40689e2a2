"""A city of a dozen entities that answers like the API, and a reader who visits the console over it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import pytest

from autocity import console
from autocity.api.asgi import Answer, Application, Call, Identity, Route
from autocity.api.errors import PROBLEM, encode, status
from autocity.broker.identity import NOBODY, guest
from autocity.errors import CityError, ResourceNotFound

Document = dict[str, Any]
NOW = "2026-11-22T12:00:00Z"


def number(value: float, unit: str | None = None, observed: str | None = NOW) -> Document:
    found: Document = {"type": "Property", "value": value, "unitCode": unit, "observedAt": observed}
    return {name: member for name, member in found.items() if member is not None}


def text(value: Any) -> Document:
    return {"type": "Property", "value": value}


def words(en: str, zh: str) -> Document:
    return {"type": "LanguageProperty", "languageMap": {"en": en, "zh": zh}}


def point(lon: float, lat: float) -> Document:
    return {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [lon, lat]}}


ENTITIES: tuple[Document, ...] = (
    {
        "id": "urn:ngsi-ld:AirQualityObserved:1",
        "type": "AirQualityObserved",
        "name": words("Air station Centre", "中心空气站"),
        "airQualityIndex": number(47),
        "pm25": number(32.84, "GQ"),
        "location": point(125.2, 43.83),
        "refPointOfInterest": {"type": "Relationship", "object": "urn:ngsi-ld:Zone:1"},
        "synthetic": text(True),
        "source": text("Simulated for a test"),
    },
    {
        "id": "urn:ngsi-ld:AirQualityObserved:2",
        "type": "AirQualityObserved",
        "name": text("<script>alert('x')</script>"),
        "airQualityIndex": number(120),
        "synthetic": text(True),
    },
    {
        "id": "urn:ngsi-ld:Zone:1",
        "type": "Zone",
        "name": words("Zone one", "一区"),
        "confidence": text("high"),
    },
    {
        "id": "urn:ngsi-ld:SourceDocument:join",
        "type": "SourceDocument",
        "name": words("City and group join hands", "携手建设"),
    },
    {
        "id": "urn:ngsi-ld:Brand:hongqi",
        "type": "Brand",
        "name": words("FAW-Hongqi", "一汽红旗"),
        "statedIn": {"type": "Relationship", "object": "urn:ngsi-ld:SourceDocument:join"},
        "statedOn": text("2020-07-30"),
        "confidence": text("high"),
    },
    {
        "id": "urn:ngsi-ld:ProductionRecord:hongqi",
        "type": "ProductionRecord",
        "name": words("Hongqi, first half of 2020", "红旗2020年上半年"),
        "refBrand": {"type": "Relationship", "object": "urn:ngsi-ld:Brand:hongqi"},
        "unitsProduced": number(69759),
        "productionGrowth": number(89.5, "P1"),
        "unitsSold": number(70045),
        "salesGrowth": number(110.7, "P1"),
        "statedIn": {"type": "Relationship", "object": "urn:ngsi-ld:SourceDocument:join"},
        "statedOn": text("2020-07-30"),
        "confidence": text("high"),
    },
    {
        "id": "urn:ngsi-ld:OutputRecord:zone",
        "type": "OutputRecord",
        "name": words("Zone", "园区"),
        "outputValue": number(252_110_000_000, "CNY"),
        "outputGrowth": number(10.2, "P1"),
        "statedIn": {"type": "Relationship", "object": "urn:ngsi-ld:SourceDocument:join"},
        "confidence": text("high"),
    },
    {
        "id": "urn:ngsi-ld:ProjectPortfolio:auto",
        "type": "ProjectPortfolio",
        "projectsTotal": number(7),
        "projectsStarted": number(6),
    },
    {
        "id": "urn:ngsi-ld:CorePart:software",
        "type": "CorePart",
        "name": words("Software", "软件"),
        "chainRole": text("weak"),
    },
)

MEMBERS = ("value", "object", "languageMap")


def simplified(entity: Document) -> Document:
    """The key-values form of a stand-in entity, language maps as the standard writes them (4.5.4)."""

    def value(attribute: Any) -> Any:
        if not isinstance(attribute, dict):
            return attribute
        if "languageMap" in attribute:
            return {"languageMap": attribute["languageMap"]}
        return next(attribute[member] for member in MEMBERS if member in attribute)

    return {name: value(attribute) for name, attribute in entity.items()}


class StandIn:
    """Answers the requests that the console makes; `refused` maps a path to the refusal it meets."""

    def __init__(self, entities: Iterable[Document] = ENTITIES) -> None:
        self.entities = {entity["id"]: entity for entity in entities}
        self.refused: dict[str, CityError] = {}
        self.documents: dict[str, Any] = {
            "/readyz": {"status": "ready", "reasons": []},
            "/deliveries": [],
            "/auth/tokens": [],
            "/ngsi-ld/v1/subscriptions": [],
        }
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def local(
        self,
        method: str,
        path: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        identity: Identity | None = None,
    ) -> Answer:
        self.asked.append((path, dict(headers)))
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if parts.path in self.refused:
                raise self.refused[parts.path]
            return self._answer(parts.path, query)
        except CityError as fault:
            return Answer(status=status(fault), body=encode(fault), media=PROBLEM)

    def _answer(self, path: str, query: dict[str, str]) -> Answer:
        if path in self.documents:
            return reply(self.documents[path])
        if path == "/ngsi-ld/v1/types":
            return reply({"typeList": sorted({entity["type"] for entity in self.entities.values()})})
        if path == "/ngsi-ld/v1/entities":
            return self._query(query)
        id = unquote(path.rsplit("/", 1)[-1])
        if id not in self.entities:
            raise ResourceNotFound(f"entity {id} does not exist")
        if path.startswith("/ngsi-ld/v1/temporal/"):
            value = self.entities[id][query["attrs"]]["value"]
            pairs = [[value + 1, "2026-11-22T12:00:00Z"], [value, "2026-11-22T11:00:00Z"]]
            return reply({"id": id, query["attrs"]: {"type": "Property", "values": pairs}})
        return reply(self.entities[id] | {"modifiedAt": NOW})

    def _query(self, query: dict[str, str]) -> Answer:
        found = [
            entity for entity in self.entities.values() if query.get("type", entity["type"]) == entity["type"]
        ]
        first = int(query.get("offset", 0))
        shown = found[first : first + int(query.get("limit", 20))]
        if "keyValues" in query.get("options", ""):
            shown = [simplified(entity) | {"modifiedAt": NOW} for entity in shown]
        return reply(shown, ("NGSILD-Results-Count", str(len(found))))


def reply(body: Any, *headers: tuple[str, str]) -> Answer:
    return Answer(body=msgspec.json.encode(body), media="application/json", headers=list(headers))


class Visit(msgspec.Struct):
    """What a reader got."""

    status: int
    text: str
    headers: dict[str, str]
    cookies: list[str]


Visiting = Callable[..., Awaitable[Visit]]


@pytest.fixture
def city() -> StandIn:
    return StandIn()


@pytest.fixture
def visit(city: StandIn) -> Visiting:
    """Visits a console address: `await visit("/entities", accept_language="zh-CN")`."""

    async def broken(call: Call) -> Answer:
        raise RuntimeError("something inside")

    async def who(call: Call) -> Identity:
        return guest("editor") if call.header("x-nobody") is None else NOBODY

    application = Application(
        [*console.routes(lambda: city), Route(method="GET", path="/broken", handle=broken)],
        authenticate=who,
        refuse=console.refuse,
    )

    async def visiting(path: str, **headers: str) -> Visit:
        sent = {"accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await application.local("GET", path, sent.items())
        return Visit(
            status=answer.status,
            text=answer.body.decode(),
            headers=dict(answer.headers),
            cookies=[value for name, value in answer.headers if name == "Set-Cookie"],
        )

    return visiting
