"""The program on PostgreSQL: equal workers, each notification once, nothing lost when one is killed."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autocity.errors import StoreUnavailable
from autocity.store.postgres import PostgresStore
from autocity.store.testing import creation, entity
from clusters import Cluster
from story.program import Program, run, running, wait_until

LAMPS = 8
PATCHES = 25


class Receiver:
    """Notifications as they came: id, and the powers of lamps that it tells."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, int]] = []
        self.url = ""


@contextmanager
def receiving() -> Iterator[Receiver]:
    """An HTTP server that takes every notification."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for lamp in body["data"]:
                receiver.got.append((body["id"], lamp["id"], lamp["power"]["value"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield receiver
    server.shutdown()
    server.server_close()
    thread.join(5)


def subscribe(city: Program, url: str, **members: Any) -> None:
    notification = {"endpoint": {"uri": url, "accept": "application/json"}}
    body = {"type": "Subscription", "entities": [{"type": "Lamp"}], "notification": notification}
    assert city.request("POST", "/ngsi-ld/v1/subscriptions", body | members).status == 201


class Writer(threading.Thread):
    """Sets the power of one lamp again and again, and notes what was acknowledged."""

    def __init__(self, city: Program, number: int) -> None:
        super().__init__(daemon=True)
        self.city = city
        self.id = f"urn:ngsi-ld:Lamp:{number}"
        self.done: list[int] = []

    def run(self) -> None:
        lamp = {"id": self.id, "type": "Lamp", "power": {"type": "Property", "value": 0}}
        if not self._told("POST", "/ngsi-ld/v1/entities", lamp):
            return
        for power in range(1, PATCHES):
            change = {"power": {"type": "Property", "value": power}}
            if self._told("PATCH", f"/ngsi-ld/v1/entities/{self.id}/attrs", change):
                self.done.append(power)

    def _told(self, method: str, path: str, body: Any) -> bool:
        try:
            return self.city.request(method, path, body).status in (201, 204)
        except OSError:
            return False  # the worker that should have answered is no more


def workers(city: Program) -> list[int]:
    """The processes that answer HTTP."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == city.process.pid and b"spawn_main" in command:
            found.append(int(folder.name))
    return found


def write_all(city: Program) -> list[Writer]:
    writers = [Writer(city, number) for number in range(LAMPS)]
    for writer in writers:
        writer.start()
    return writers


@contextmanager
def serving(database: str, receiver: Receiver, **members: Any) -> Iterator[Program]:
    """A city with two workers in which a subscription is known to both."""
    with running("serve", "--store", database, "--workers", "2", "--port", "0") as city:
        wait_until(lambda: len(workers(city)) == 2)
        subscribe(city, receiver.url, **members)
        yield city


def test_each_notification_of_equal_workers_is_sent_once(database: str) -> None:
    with receiving() as receiver, serving(database, receiver) as city:
        assert city.find(r"Data +(postgresql://\S+)") == database
        writers = write_all(city)
        for writer in writers:
            writer.join(60)
        assert [writer.done for writer in writers] == [list(range(1, PATCHES))] * LAMPS
        wait_until(lambda: len(receiver.got) >= LAMPS * PATCHES)
        time.sleep(1)
        assert len(receiver.got) == LAMPS * PATCHES
        assert set(Counter(id for id, _, _ in receiver.got).values()) == {1}


def test_what_a_killed_worker_had_to_send_arrives(database: str) -> None:
    with receiving() as receiver, serving(database, receiver) as city:
        writers = write_all(city)
        wait_until(lambda: sum(len(writer.done) for writer in writers) > LAMPS * 3)
        os.kill(workers(city)[0], signal.SIGKILL)
        for writer in writers:
            writer.join(60)
        acknowledged = {(writer.id, power) for writer in writers for power in writer.done}
        assert len(acknowledged) > LAMPS * PATCHES / 2
        wait_until(lambda: acknowledged <= {(lamp, power) for _, lamp, power in receiver.got}, 20)
        by_id = {id: (lamp, power) for id, lamp, power in receiver.got}
        assert all(by_id[id] == (lamp, power) for id, lamp, power in receiver.got)
        wait_until(lambda: len(workers(city)) == 2)


def test_periodic_notifications_come_from_one_worker(database: str) -> None:
    with receiving() as receiver, serving(database, receiver, timeInterval=1) as city:
        lamp = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": {"type": "Property", "value": 5}}
        assert city.request("POST", "/ngsi-ld/v1/entities", lamp).status == 201
        wait_until(lambda: bool(receiver.got))
        begun = len(receiver.got)
        time.sleep(4)
        assert 3 <= len(receiver.got) - begun <= 5


def test_backup_and_restore_and_doctor(postgres: Cluster, database: str, tmp_path: Path) -> None:
    settings = {"PATH": f"{postgres.programs}:{os.environ['PATH']}"}
    lamp = {"id": "urn:ngsi-ld:Lamp:1", "type": "Lamp", "power": {"type": "Property", "value": 5}}
    target = tmp_path / "city.dump"
    with running("serve", "--store", database, "--port", "0") as city:
        assert city.request("POST", "/ngsi-ld/v1/entities", lamp).status == 201
        made = json.loads(run("backup", str(target), "--store", database, "--json", **settings).stdout)
        assert made == {"target": str(target), "size": target.stat().st_size}
    assert "exists already" in run("backup", str(target), "--store", database, check=1, **settings).stderr
    other = postgres.create()
    try:
        run("restore", str(target), "--store", other, "--dry-run", **settings)
        told = json.loads(run("restore", str(target), "--store", other, "--json", **settings).stdout)
        assert told["entities"] == 1
        with running("serve", "--store", other, "--port", "0") as city:
            assert city.request("GET", f"/ngsi-ld/v1/entities/{lamp['id']}").json()["power"]["value"] == 5
        assert "already exists" in run("restore", str(target), "--store", other, check=1, **settings).stderr
        found = json.loads(run("doctor", "--json", AUTOCITY_STORE__URL=other).stdout)
        (finding,) = (one for one in found if one["name"] == "store")
        assert finding["state"] == "ok"
        assert "1 entities" in finding["detail"]
    finally:
        postgres.drop(other)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(target.read_bytes()[:100])
    assert "pg_restore failed" in run("restore", str(damaged), "--store", other, check=1, **settings).stderr
    assert "--data" in run("restore", str(target), check=2, **settings).stderr


@pytest.mark.timeout(120)
async def test_what_was_acknowledged_survives_a_crash_of_the_server(postgres: Cluster, database: str) -> None:
    acknowledged: list[int] = []
    numbers = itertools.count()

    async def write(store: PostgresStore) -> None:
        while True:
            number = next(numbers)
            try:
                await store.commit(creation(entity(number, speed=number)))
            except StoreUnavailable:
                return
            acknowledged.append(number)

    for round in range(3):
        store = PostgresStore(database)
        await store.open()
        wanted = {entity(number).id for number in acknowledged}
        assert wanted <= {stored.id for stored in await store.get_many("", list(wanted))}
        assert await store.check() == []
        writers = [asyncio.create_task(write(store)) for _ in range(12)]
        while len(acknowledged) < 100 * (round + 1):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(postgres.crash)
        await asyncio.gather(*writers)
        await store.close()
