"""Two cities that know each other: one asks, writes to, and hears from the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import quote

from story.program import Program, running, wait_until

API = "/ngsi-ld/v1"
LAMP = "urn:ngsi-ld:Lamp:1"


def lamp(id: str = LAMP, **values: Any) -> dict[str, Any]:
    return {"id": id, "type": "Lamp"} | {
        name: {"type": "Property", "value": value} for name, value in values.items()
    }


def register(at: Program, other: Program, mode: str = "inclusive", type: str = "Lamp") -> str:
    body = {
        "type": "ContextSourceRegistration",
        "information": [{"entities": [{"type": type}]}],
        "mode": mode,
        "operations": ["federationOps", "redirectionOps"],
        "endpoint": other.address,
    }
    reply = at.request("POST", f"{API}/csourceRegistrations", body)
    assert reply.status == 201, reply.body
    return str(reply.headers["Location"])


def lamps(at: Program, query: str = "", **headers: str) -> Any:
    return at.request("GET", f"{API}/entities?type=Lamp{query}", None, headers).json()


@contextmanager
def two() -> Iterator[tuple[Program, Program]]:
    with (
        running("serve", "--store", "memory", "--port", "0") as one,
        running("serve", "--store", "memory", "--port", "0") as other,
    ):
        yield one, other


@contextmanager
def hearing() -> Iterator[tuple[str, list[Any]]]:
    """A receiver of notifications."""
    heard: list[Any] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_two_cities_answer_as_one_without_going_round() -> None:
    with two() as (one, other):
        assert one.request("POST", f"{API}/entities", lamp(power=5)).status == 201
        assert other.request("POST", f"{API}/entities", lamp(color="red")).status == 201
        assert other.request("POST", f"{API}/entities", lamp("urn:ngsi-ld:Lamp:2", power=7)).status == 201
        # Each knows the other: a request comes back to where it began, and is answered from there once.
        registered = register(one, other)
        register(other, one)
        whole = [lamp(power=5, color="red"), lamp("urn:ngsi-ld:Lamp:2", power=7)]
        assert lamps(one) == whole
        assert lamps(one, "&local=true") == [lamp(power=5)]
        assert one.request("GET", f"{API}/entities/{LAMP}").json() == whole[0]
        assert one.request("GET", registered).json()["status"] == "ok"
        other.process.kill()
        other.process.wait(5)
        reply = one.request("GET", f"{API}/entities?type=Lamp")
        assert (reply.json(), reply.headers["NGSILD-Warning"][:4]) == ([lamp(power=5)], "199 ")


def test_what_is_redirected_lives_there() -> None:
    with two() as (one, other):
        register(one, other, "redirect")
        assert one.request("POST", f"{API}/entities", lamp(power=5)).status == 201
        assert lamps(one, "&local=true") == []
        assert lamps(other) == lamps(one) == [lamp(power=5)]
        change = {"type": "Lamp", "power": {"type": "Property", "value": 6}}
        assert one.request("PATCH", f"{API}/entities/{LAMP}", change).status == 204
        assert lamps(other) == [lamp(power=6)]
        refused = one.request("POST", f"{API}/entities", lamp(power=5))
        assert (refused.status, refused.json()["type"].rpartition("/")[2]) == (409, "AlreadyExists")
        assert one.request("DELETE", f"{API}/entities/{LAMP}?type=Lamp").status == 204
        assert lamps(other) == []


def test_changes_there_are_told_here() -> None:
    with two() as (one, other), hearing() as (url, heard):
        register(one, other)
        subscription = {
            "type": "Subscription",
            "entities": [{"type": "Lamp"}],
            "notification": {"endpoint": {"uri": url, "accept": "application/json"}},
        }
        made = one.request("POST", f"{API}/subscriptions", subscription).headers["Location"]
        wait_until(lambda: other.request("GET", f"{API}/subscriptions").json())
        assert other.request("POST", f"{API}/entities", lamp(power=5)).status == 201
        wait_until(lambda: heard)
        assert heard[0]["subscriptionId"] == quote(made.rpartition("/")[2], safe=":")
        assert heard[0]["data"] == [lamp(power=5)]
        assert one.request("DELETE", made).status == 204
        wait_until(lambda: other.request("GET", f"{API}/subscriptions").json() == [])
