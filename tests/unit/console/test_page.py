"""Who reads, and what every page carries."""

import re

import msgspec
import pytest

from autocity.console import page

PAGES = [
    "/", "/entities", "/entities/urn%3Angsi-ld%3AZone%3A1", "/industry", "/connect", "/system", "/account",
    "/signin", "/setup?token=x", "/nothing",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_carries_policy_language_and_frame(visit, path: str) -> None:
    found = await visit(path, accept_language="zh-CN")
    assert found.headers["Content-Security-Policy"] == page.POLICY
    assert found.headers["Content-Language"] == "zh-Hans"
    assert found.headers["Cache-Control"] == "no-store"
    assert '<html lang="zh-Hans" data-theme="auto"' in found.text
    assert 'class="skip" href="#main"' in found.text
    assert len(re.findall(r"<h1", found.text)) == 1
    assert "您是访客" in found.text or path == "/nothing"


async def test_cookies_choose_language_and_light(visit) -> None:
    found = await visit("/signin", cookie="autocity_theme=dark; autocity_language=zh-Hans")
    assert '<html lang="zh-Hans" data-theme="dark"' in found.text
    assert 'content="dark"' in found.text


@pytest.mark.parametrize("cookie", ['autocity_theme="></html>', "autocity_theme=pink", "\x00=;;;=", "a b c"])
async def test_odd_cookies_change_nothing(visit, cookie: str) -> None:
    found = await visit("/signin", cookie=cookie)
    assert '<html lang="en" data-theme="auto"' in found.text


async def test_the_way_back_is_in_the_links_of_the_frame(visit) -> None:
    found = await visit("/entities?type=Zone&q=a%26b")
    assert "next=/entities%3Ftype%3DZone%26q%3Da%2526b" in found.text


def test_embedded_data_cannot_end_its_element() -> None:
    told = page.embed({"name": "</script><!-- & -->"})
    assert "<" not in told
    assert msgspec.json.decode(str(told)) == {"name": "</script><!-- & -->"}
