"""The system page: readiness, receivers, and what waits."""

from autocity.errors import Forbidden

SUBSCRIPTION = {
    "id": "urn:ngsi-ld:Subscription:1",
    "type": "Subscription",
    "description": "slow roads",
    "status": "active",
    "notification": {
        "endpoint": {"uri": "http://127.0.0.1:9000/notify"},
        "timesSent": 1041,
        "timesFailed": 2,
        "lastFailure": "2026-11-22T12:00:00Z",
    },
}


async def test_receivers_are_shown_with_what_became_of_their_notifications(visit, city) -> None:
    city.documents["/ngsi-ld/v1/subscriptions"] = [SUBSCRIPTION]
    city.documents["/deliveries"] = [{"id": "urn:n:1"}, {"id": "urn:n:2"}]
    found = await visit("/system")
    for shown in (
        "slow roads",
        "http://127.0.0.1:9000/notify",
        "1,041",
        'datetime="2026-11-22T12:00:00+00:00"',
    ):
        assert shown in found.text, shown
    assert '<p class="kpi-value">2</p>' in found.text


async def test_reasons_of_a_city_that_is_not_ready_are_named(visit, city) -> None:
    city.documents["/readyz"] = {"status": "unready", "reasons": ["the disk is full"]}
    found = await visit("/system")
    assert found.status == 200
    assert "not ready" in found.text
    assert "the disk is full" in found.text


async def test_who_may_not_see_subscriptions_is_told_so(visit, city) -> None:
    city.refused["/ngsi-ld/v1/subscriptions"] = Forbidden("no")
    assert "Your role may not see the subscriptions." in (await visit("/system")).text
