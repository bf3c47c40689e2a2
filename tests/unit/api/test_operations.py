"""Metrics, and which changes a listener wants."""

from __future__ import annotations

from prometheus_client import generate_latest

from autocity.api.operations import Metrics, Wanted
from autocity.model import Logged

CHANGE = Logged(
    seq=1, tenant="", id="urn:a:1", operation="update", types=("T", "U"), attributes=("speed",), at=0
)


def test_answers_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.observe("GET", "/ngsi-ld/v1/entities/{id}", 200, 0.002)
    metrics.observe("GET", "", 404, 0.001)
    text = generate_latest(metrics.registry).decode()
    line = 'autocity_requests_total{method="GET",route="/ngsi-ld/v1/entities/{id}",status="200"} 3.0'
    assert line in text
    assert 'autocity_request_seconds_count{method="GET",route="/ngsi-ld/v1/entities/{id}"} 3.0' in text


def test_invented_methods_do_not_fill_the_memory() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.observe(f"M{number}", "", 404, 0.001)
    text = generate_latest(metrics.registry).decode()
    assert 'autocity_requests_total{method="other",route="",status="404"} 100.0' in text
    assert "M99" not in text


def test_a_listener_hears_what_fits_all_it_asked_for() -> None:
    assert Wanted().fits(CHANGE)
    assert Wanted(types=frozenset("U"), ids=frozenset(("urn:a:1",))).fits(CHANGE)
    assert not Wanted(types=frozenset("V")).fits(CHANGE)
    assert not Wanted(types=frozenset("U"), attributes=frozenset(("load",))).fits(CHANGE)
    assert not Wanted(ids=frozenset(("urn:a:2",))).fits(CHANGE)
