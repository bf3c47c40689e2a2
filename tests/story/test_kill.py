"""What was acknowledged survives `kill -9`: entities, history, records and deliveries, all or nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from autocity.ld import document
from autocity.ld.temporal import Window
from autocity.model import Attribute, Change, Delivery, Entity
from autocity.store.port import Commit, RecordWrite
from autocity.store.sqlite import SQLiteStore

ROUNDS = 20
WRITERS = 12
ACKNOWLEDGED = 150
"""A round ends when so many writes have been acknowledged, in the middle of others."""

SPEED = "https://example.org/speed"
IDS = [f"urn:ngsi-ld:Car:{number}" for number in range(WRITERS)]


class Acknowledged(NamedTuple):
    """A car wrote its speed, and the store said that it is done."""

    car: int
    version: int
    speed: int


def commit(car: int, before: Entity | None, version: int, speed: int) -> tuple[Entity, Commit]:
    """The next state of a car, and the commit that leads to it."""
    attribute = Attribute(kind="Property", value=speed, created_at=speed, modified_at=speed)
    after = Entity(id=IDS[car], types=("https://example.org/Car",), attributes={SPEED: (attribute,)})
    change = Change(tenant="", id=IDS[car], at=speed, before=before, after=after, expected=version)
    record = RecordWrite(tenant="", kind="user", id=IDS[car], body=b"%d" % speed)
    delivery = Delivery(id=f"n:{car}:{speed}", tenant="", subscription="s", created_at=speed, body=b"{}")
    return after, Commit(changes=(change,), records=(record,), deliveries=(delivery,))


async def drive(store: SQLiteStore, car: int, speed: int) -> None:
    """Write one car again and again, and say so on standard output each time it is done."""
    stored = await store.get("", IDS[car])
    before = document.load(stored.document) if stored else None
    version = stored.version if stored else 0
    while True:
        speed += 1
        before, write = commit(car, before, version, speed)
        await store.commit(write)
        version += 1
        os.write(1, b"%d %d %d\n" % (car, version, speed))


async def drive_all(path: Path, speed: int) -> None:
    store = SQLiteStore(path)
    await store.open()
    await asyncio.gather(*(drive(store, car, speed) for car in range(WRITERS)))


def killed(path: Path, speed: int) -> list[Acknowledged]:
    """What a process acknowledged before it was killed."""
    arguments = [sys.executable, __file__, str(path), str(speed)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(ACKNOWLEDGED)]
        process.kill()
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [Acknowledged(*map(int, line.split())) for line in lines if line.endswith(b"\n")]


async def look(path: Path, acknowledged: list[Acknowledged]) -> None:
    """Everything acknowledged is there, nothing is there by halves, and the file is sound."""
    store = SQLiteStore(path)
    await store.open()
    try:
        assert await store.check() == []
        versions = {one.id: one.version for one in await store.get_many("", IDS)}
        histories = await store.history("", IDS, Window(), [SPEED])
        speeds = {one.id: {instance.value for instance in one.attributes[SPEED]} for one in histories}
        records = {one.id: int(one.body) for one in await store.records("", "user")}
        waiting = {one.id for one in await store.outbox(limit=1 << 30)}
        for car, version, speed in acknowledged:
            assert versions[IDS[car]] >= version
            assert speed in speeds[IDS[car]]
            assert speed <= records[IDS[car]] == max(speeds[IDS[car]])
            assert f"n:{car}:{speed}" in waiting
        changes = await store.last_seq()
        assert changes == sum(versions.values()) == sum(map(len, speeds.values())) == len(waiting)
    finally:
        await store.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
@pytest.mark.timeout(180)
def test_what_was_acknowledged_survives(tmp_path: Path) -> None:
    acknowledged: list[Acknowledged] = []
    for number in range(ROUNDS):
        acknowledged += killed(tmp_path / "city.db", number * 1_000_000)
        asyncio.run(look(tmp_path / "city.db", acknowledged))
    assert len(acknowledged) >= ROUNDS * ACKNOWLEDGED


if __name__ == "__main__":
    asyncio.run(drive_all(Path(sys.argv[1]), int(sys.argv[2])))
