"""What was acknowledged survives `kill -9`: state and history, under concurrent writers, again and again."""

import http.client
import json
import signal
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from story.program import Program, data, run, running

ROUNDS = 20
WRITERS = 4
SECONDS = 0.35


class Writer(threading.Thread):
    """Creates entities and patches its own counter, noting only what was acknowledged."""

    def __init__(self, address: str, round_: int, number: int) -> None:
        super().__init__(daemon=True)
        self.address = urlsplit(address)
        self.counter = f"urn:ngsi-ld:Counter:{round_}-{number}"
        self.created: list[str] = []
        self.values: list[int] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=10)
        try:
            self._send(connection, "POST", "/ngsi-ld/v1/entities", self._counter(self.counter, 0))
            self.created.append(self.counter)
            self.values.append(0)
            value = 0
            while True:
                value += 1
                id = f"{self.counter}-{value}"
                self._send(connection, "POST", "/ngsi-ld/v1/entities", self._counter(id, value))
                self.created.append(id)
                body = {"reading": {"type": "Property", "value": value}}
                self._send(connection, "PATCH", f"/ngsi-ld/v1/entities/{self.counter}/attrs", body)
                self.values.append(value)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    @staticmethod
    def _counter(id: str, value: int) -> dict[str, object]:
        return {"id": id, "type": "Counter", "reading": {"type": "Property", "value": value}}

    @staticmethod
    def _send(connection: http.client.HTTPConnection, method: str, path: str, body: object) -> None:
        connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status in (201, 204), f"{method} {path}: {answer.status}"


@pytest.mark.timeout(400)
def test_twenty_kills_lose_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "city"
    before: list[Writer] = []
    total = 0
    for round_ in range(ROUNDS):
        with running("serve", *data(folder)) as city:
            check(city, before)
            writers = [Writer(city.address, round_, number) for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(SECONDS)
            city.process.send_signal(signal.SIGKILL)
            city.process.wait(5)
            for writer in writers:
                writer.join(10)
            before = writers
            total += sum(len(writer.created) + len(writer.values) for writer in writers)
    with running("serve", *data(folder)) as city:
        check(city, before)
    found = json.loads(run("doctor", "--data", str(folder), "--deep", "--json").stdout)
    store = next(finding for finding in found if finding["name"] == "store")
    assert store["state"] == "ok", store
    assert total > ROUNDS * WRITERS, "the writers hardly wrote, so this proves nothing"


def check(city: Program, writers: list[Writer]) -> None:
    """Every acknowledged create is there, no counter is behind, and its history has every value."""
    for writer in writers:
        for start in range(0, len(writer.created), 50):
            ids = writer.created[start : start + 50]
            found = city.request(
                "GET", f"/ngsi-ld/v1/entities?type=Counter&id={','.join(ids)}&limit=100&options=keyValues"
            ).json()
            assert {entity["id"] for entity in found} == set(ids)
        if not writer.values:
            continue
        now = city.request("GET", f"/ngsi-ld/v1/entities/{writer.counter}?options=keyValues").json()
        assert now["reading"] >= writer.values[-1]
        recorded: set[int] = set()
        path = (
            f"/ngsi-ld/v1/temporal/entities/{writer.counter}?options=temporalValues&timeproperty=modifiedAt"
        )
        reply = city.request("GET", f"{path}&lastN={len(writer.values) + 10}")
        assert reply.status in (200, 206)
        recorded.update(value for value, _ in reply.json()["reading"]["values"])
        if reply.status == 200:
            assert recorded >= set(writer.values)
        else:
            # One page of a long history: it holds the newest, without a gap.
            assert recorded >= {value for value in writer.values if value >= min(recorded)}
            assert max(recorded) >= writer.values[-1]
