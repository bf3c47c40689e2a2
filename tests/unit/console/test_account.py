"""Doors: forms that post to /auth, and preferences that never lead elsewhere."""

import pytest


async def test_the_sign_in_form_posts_to_auth_and_comes_back(visit) -> None:
    found = await visit("/signin?next=/entities&error=wrong%20<b>")
    assert 'method="post" action="/auth/signin"' in found.text
    assert 'name="next" value="/entities"' in found.text
    assert "wrong &lt;b&gt;" in found.text


@pytest.mark.parametrize(
    "next", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:1"]
)
async def test_no_door_leads_elsewhere(visit, next: str) -> None:
    assert 'name="next" value="/"' in (await visit(f"/signin?next={next}")).text
    assert (await visit(f"/preferences?theme=dark&next={next}")).headers["Location"] == "/"


async def test_preferences_are_kept_in_cookies(visit) -> None:
    found = await visit("/preferences?theme=dark&language=zh-Hans&next=/entities%3Ftype%3DZone")
    assert found.status == 303
    assert found.headers["Location"] == "/entities?type=Zone"
    assert [cookie.partition(";")[0] for cookie in found.cookies] == [
        "autocity_language=zh-Hans",
        "autocity_theme=dark",
    ]
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in found.cookies)


async def test_only_known_preferences_are_kept(visit) -> None:
    assert (await visit("/preferences?theme=pink&language=tlh")).cookies == []


async def test_set_up_needs_the_whole_link(visit) -> None:
    assert "The link is incomplete" in (await visit("/setup")).text
    assert 'name="token" value="abc"' in (await visit("/setup?token=abc")).text


async def test_a_guest_is_told_what_they_may(visit) -> None:
    found = await visit("/account")
    assert "operate, read, subscribe, write" in found.text
    assert "/auth/signout" not in found.text
