"""The demo city in a real broker: everything goes in, twice leaves the same, and it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from autocity import models
from autocity.broker import Broker, Caller, Contexts, Outbound
from autocity.errors import ConfigError, StoreUnavailable
from autocity.ingest import demo, files
from autocity.ingest.simulate import Simulation
from autocity.ingest.sink import BrokerSink
from autocity.ld import document
from autocity.ld.temporal import Window
from autocity.store.sqlite import SQLiteStore

NOW = datetime(2026, 11, 23, 0, 30, tzinfo=UTC)
CALLER = Caller()
SPEED = models.get("TrafficFlowObserved").attributes["averageVehicleSpeed"].iri
FLOW = "urn:ngsi-ld:TrafficFlowObserved:sim:dongfeng-5"
WEATHER = "urn:ngsi-ld:WeatherObserved:urbanev:central"


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    def clock() -> int:
        return int(NOW.timestamp() * 1e6)

    store = SQLiteStore(tmp_path / "city.db")
    await store.open()
    outbound = Outbound(allow_private=False, allow_loopback=False)
    contexts = Contexts(store, clock=clock, outbound=outbound, built_in=models.contexts())
    broker = Broker(store, contexts, clock=clock, outbound=outbound, deliver=False)
    await broker.start()
    yield broker
    await broker.stop()
    await contexts.close()
    await store.close()


async def test_everything_goes_in_and_a_second_time_changes_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "BACKFILL", timedelta(hours=2))
    sink = BrokerSink(broker, actor="demo")
    stages: list[str] = []
    reports = await demo.load(sink, demo.SEED, NOW, lambda stage, done, total: stages.append(stage))
    assert [(report.source, report.faults, report.stopped) for report in reports if report.faults] == []
    assert all(report.taken == report.rows for report in reports)
    assert list(dict.fromkeys(stages)) == [
        "facts",
        "simulation",
        "history",
        "urbanev-stations",
        "urbanev-weather",
    ]

    async def recorded() -> tuple[int, int]:
        flow = await broker.retrieve_temporal(CALLER, FLOW, Window())
        weather = await broker.retrieve_temporal(CALLER, WEATHER, Window())
        iri = models.get("WeatherObserved").attributes["temperature"].iri
        return len(flow.attributes[SPEED]), len(weather.attributes[iri])

    before = await recorded()
    assert before == (9, 4344)
    await demo.remember(sink, demo.SEED, NOW)
    assert await recorded() == before


async def test_a_value_that_was_corrected_replaces_the_old_one(broker: Broker) -> None:
    sink = BrokerSink(broker)

    def evolution(value: float) -> dict[str, Any]:
        instance = {"type": "Property", "value": value, "observedAt": "2026-11-22T00:00:00Z"}
        return {
            "id": FLOW,
            "type": "TrafficFlowObserved",
            "averageVehicleSpeed": [instance],
            "@context": CONTEXT,
        }

    for value in (30.0, 30.0, 31.0):
        assert await sink.record([evolution(value)]) == [None]
    history = await broker.retrieve_temporal(CALLER, FLOW, Window())
    assert [instance.value for instance in history.attributes[SPEED]] == [31.0]


CONTEXT = models.get("TrafficFlowObserved").context


async def test_the_city_moves_and_keeps_what_does_not(broker: Broker) -> None:
    sink = BrokerSink(broker)
    await demo.furnish(sink, demo.SEED, NOW)
    now = NOW

    def clock() -> datetime:
        nonlocal now
        now += timedelta(seconds=10)
        return now

    task = asyncio.create_task(demo.live(sink, demo.SEED, clock, interval=0))
    while now < NOW + timedelta(minutes=3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    entity = document.load((await broker.retrieve_entity(CALLER, FLOW)).document)
    (speed,) = entity.attributes[SPEED]
    assert speed.observed_at and speed.observed_at > "2026-11-23T00:31:00Z"
    assert "https://w3id.org/autocity/synthetic" in entity.attributes


async def test_a_store_out_of_reach_loses_no_step() -> None:
    told: list[list[str]] = []

    class Flaky:
        calls = 0

        async def upsert(self, entities: Sequence[dict[str, Any]]) -> list[str | None]:
            self.calls += 1
            if self.calls in (2, 3):
                raise StoreUnavailable("not now")
            told.append([entity["id"] for entity in entities])
            return [None] * len(entities)

        async def record(self, histories: Sequence[dict[str, Any]]) -> list[str | None]:
            return []

    ticks = iter(NOW + timedelta(seconds=10 * n) for n in range(50))
    task = asyncio.create_task(demo.live(Flaky(), demo.SEED, lambda: next(ticks), interval=0))
    while len(told) < 2:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(told[0]) == len(Simulation(demo.SEED).entities(NOW))
    # Half a minute later every road was looked at again, so the first step that went through tells of most.
    assert sum("TrafficFlowObserved" in id for id in told[1]) > 50


async def test_a_refused_fact_is_named() -> None:
    class Strict:
        async def upsert(self, entities: Sequence[dict[str, Any]]) -> list[str | None]:
            return ["no brands" if entity["type"] == "Brand" else None for entity in entities]

        async def record(self, histories: Sequence[dict[str, Any]]) -> list[str | None]:
            return [None] * len(histories)

    report = (await demo.furnish(Strict(), demo.SEED, NOW))[0]
    assert {fault.reason for fault in report.faults} == {"no brands"}
    assert report.taken == report.rows - 7


async def test_the_sink_names_each_refusal_and_takes_the_rest(broker: Broker, tmp_path: Path) -> None:
    good = {
        "id": "urn:x:1",
        "type": "Zone",
        "name": {"type": "Property", "value": "West"},
        "@context": CONTEXT,
    }
    sink = BrokerSink(broker)
    outcome = await sink.upsert([good, good | {"id": "no uri"}, good | {"name": {"type": "Nothing"}}])
    assert outcome[0] is None and outcome[1] and outcome[2]
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"id": "urn:x:2", "type": "Zone"}\n{"id": "not a uri", "type": "Zone"}\n')
    report = await files.run(lines, sink)
    assert report.taken == 1
    assert [fault.line for fault in report.faults] == [2]


def test_only_a_marked_folder_is_wiped(tmp_path: Path) -> None:
    city = tmp_path / "demo"
    demo.mark(city, 471)
    demo.mark(city, 471)
    (city / "city.db").write_bytes(b"x")
    demo.wipe(city)
    assert not city.exists()
    real = tmp_path / "real"
    real.mkdir()
    (real / "city.db").write_bytes(b"x")
    with pytest.raises(ConfigError, match="not marked"):
        demo.wipe(real)
    with pytest.raises(ConfigError, match="not the demo's"):
        demo.mark(real, 471)
    assert (real / "city.db").exists()
