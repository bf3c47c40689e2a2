"""Refusals: pages for people, ProblemDetails for programs."""

import msgspec


async def test_a_lost_reader_is_led_back(visit) -> None:
    found = await visit("/nowhere", accept_language="zh")
    assert found.status == 404
    assert "地图上没有这个地方" in found.text
    assert 'href="/entities"' in found.text


async def test_a_program_gets_problem_details(visit) -> None:
    found = await visit("/nowhere", accept="application/json")
    assert msgspec.json.decode(found.text)["status"] == 404
    api = await visit("/ngsi-ld/v1/nothing")
    assert msgspec.json.decode(api.text)["type"].endswith("ResourceNotFound")


async def test_a_fault_inside_shows_its_number_and_no_traceback(visit) -> None:
    found = await visit("/broken")
    assert found.status == 500
    assert "something inside" not in found.text
    assert "RuntimeError" not in found.text
    assert "ask the operator about request" in found.text


async def test_who_is_not_known_is_sent_to_the_door_and_back(visit) -> None:
    found = await visit("/entities?type=Zone", x_nobody="1")
    assert found.status == 303
    assert found.headers["Location"] == "/signin?next=%2Fentities%3Ftype%3DZone"
    assert (await visit("/signin", x_nobody="1")).status == 200
