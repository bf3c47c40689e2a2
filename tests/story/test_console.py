"""The console in a real browser over the real demo city: a visit, every page in every dress, and the rules
of access that hold on all of them.

`AUTOCITY_SCREENS=docs/screens` keeps the pictures that the documentation shows.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from story.program import Program, data, running, wait_until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path (apt install chromium)"),
    pytest.mark.timeout(240),
]

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
BUS = "urn:ngsi-ld:Vehicle:sim:line-1-1"
AIR = "/entities/urn%3Angsi-ld%3AAirQualityObserved%3Asim%3A3"
PAGES = {
    "overview": "/",
    "entities": "/entities?type=TrafficFlowObserved",
    "entity": AIR,
    "industry": "/industry",
    "connect": "/connect",
    "system": "/system",
    "account": "/account",
    "signin": "/signin",
    "setup": "/setup?token=example",
    "not-found": "/nowhere",
}
SCREENS = os.environ.get("AUTOCITY_SCREENS")
DRESSES = [("light", "en"), ("dark", "zh")] + ([("dark", "en"), ("light", "zh")] if SCREENS else [])
LOCALES = {"en": "en-GB", "zh": "zh-CN"}
TALLEST = 1700
"""Pictures of long pages are cut here."""

expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running(
        "demo", *data(tmp_path_factory.mktemp("demo") / "city"), "--no-open", timeout=100
    ) as program:
        yield program


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained about on the pages of a test."""
    return []


def dressed(
    browser: Browser,
    city: Program,
    faults: list[str],
    theme: Any = "light",
    language: str = "en",
    **options: Any,
) -> BrowserContext:
    """A reader with a light and a language, whose browser's complaints are collected."""
    context = browser.new_context(
        base_url=city.address,
        color_scheme=theme,
        locale=LOCALES[language],
        **{"viewport": {"width": 1360, "height": 850}} | options,
    )
    context.add_init_script(
        "document.addEventListener('securitypolicyviolation', (event) =>"
        " console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
    )

    def hear(message: ConsoleMessage) -> None:
        # The browser reports each 404 page of its own accord; the driver remarks on slow software drawing.
        if message.type == "error" and "404" not in message.text:
            faults.append(message.text)

    context.on("console", hear)
    context.on("weberror", lambda fault: faults.append(str(fault.error)))
    context.set_default_timeout(60_000)
    return context


def visit(page: Page, name: str) -> None:
    """Open a page and wait until its islands have drawn."""
    page.goto(PAGES[name])
    settle(page, name)


def settle(page: Page, name: str) -> None:
    if name in ("overview", "entity"):
        page.wait_for_function("() => document.documentElement.dataset.ready")
    if name in ("entity", "industry"):
        page.wait_for_function("() => document.documentElement.dataset.charts")


def drawn(page: Page) -> set[str]:
    """The layers that have something on the visible part of the map."""
    return set(page.evaluate("() => window.city.map.queryRenderedFeatures().map((one) => one.source)"))


def keep(page: Page, name: str) -> None:
    """Keep a picture when the documentation's pictures are renewed."""
    if SCREENS is None:
        return
    if name.startswith("overview"):
        page.wait_for_timeout(7000)  # the list of what changed fills
    width, height = page.evaluate("() => [innerWidth, document.documentElement.scrollHeight]")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, TALLEST), "scale": 1}
    picture = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot",
        {"format": "webp", "quality": 75, "clip": clip, "captureBeyondViewport": True},
    )
    (Path(SCREENS) / f"{name}.webp").write_bytes(base64.b64decode(picture["data"]))


def test_a_visit(browser: Browser, city: Program, faults: list[str]) -> None:
    """Open the city, find a bus on the map, see it move, read its history, and change the language."""
    context = dressed(browser, city, faults)
    page = context.new_page()
    visit(page, "overview")
    assert {"zones", "traffic", "buses", "lights"} <= drawn(page)

    page.get_by_label("Find on the map").fill("Bus line 1, bus 1")
    page.get_by_label("Find on the map").press("Enter")
    card = page.get_by_role("complementary", name="Chosen on the map")
    expect(card.get_by_role("heading")).to_have_text("Bus line 1, bus 1")
    expect(card.get_by_text("Synthetic")).to_be_visible()

    place = f"JSON.stringify(window.city.feature('buses', '{BUS}').geometry)"
    before = page.evaluate(f"() => {place}")
    page.wait_for_function(f"(before) => {place} !== before", arg=before)
    expect(page.locator("#changes .change").first).to_be_visible()
    expect(page.locator("#live")).to_have_text("Live")

    card.get_by_role("link", name="Details and history").click()
    settle(page, "entity")
    expect(page.get_by_role("heading", level=1)).to_have_text("Bus line 1, bus 1")
    expect(page.locator(".chart canvas")).to_be_visible()
    speed = page.locator('[data-value="speed"]')
    shown = speed.text_content()
    expect(speed).not_to_have_text(shown or "", timeout=60_000)

    page.get_by_text("6 h", exact=True).click()
    expect(page.get_by_role("radio", name="6 h")).to_be_checked()
    page.get_by_text("The same as a table").click()
    rows = page.get_by_role("region", name="History as a table").get_by_role("row")
    assert rows.count() > 10

    page.get_by_role("link", name="中文").click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-Hans")
    expect(page.get_by_role("heading", level=1)).to_have_text("公交1路1号车")
    assert page.url.endswith("/entities/urn%3Angsi-ld%3AVehicle%3Asim%3Aline-1-1")
    assert faults == []


@pytest.mark.parametrize(("theme", "language"), DRESSES)
def test_every_page_keeps_the_policy_and_fits(
    browser: Browser, city: Program, faults: list[str], theme: str, language: str
) -> None:
    page = dressed(browser, city, faults, theme, language).new_page()
    for name in PAGES:
        visit(page, name)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), (
            f"{name} is too wide"
        )
        paper = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(14, 16, 19)") == (theme == "dark"), name
        assert page.locator("html").get_attribute("lang") == {"en": "en", "zh": "zh-Hans"}[language]
        assert name != "overview" or {"zones", "traffic", "buses"} <= drawn(page)
        keep(page, f"{name}-{theme}-{language}")
    assert faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_fault(browser: Browser, city: Program, faults: list[str], theme: str) -> None:
    page = dressed(browser, city, faults, theme, bypass_csp=True).new_page()
    found = []
    for name in PAGES:
        visit(page, name)
        found += violations(page, name)
        if name == "overview":
            page.evaluate(f"() => window.city.choose('buses', '{BUS}')")
            found += violations(page, "overview with a card")
            page.get_by_role("button", name="Table").click()
            found += violations(page, "overview as a table")
    assert found == []


def violations(page: Page, name: str) -> list[str]:
    page.add_script_tag(path=AXE)
    told = page.evaluate("() => axe.run()")
    return [
        f"{name}: {one['impact']} {one['id']} {one['nodes'][0]['html'][:120]}" for one in told["violations"]
    ]


def test_the_keyboard_goes_everywhere(browser: Browser, city: Program, faults: list[str]) -> None:
    page = dressed(browser, city, faults).new_page()
    visit(page, "overview")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()

    signals = page.get_by_role("checkbox", name=re.compile("Traffic signals"))
    signals.focus()
    page.keyboard.press("Space")
    visible = "() => window.city.map.getLayoutProperty('signals-point', 'visibility') !== 'none'"
    assert page.evaluate(visible)

    page.get_by_role("button", name="Table").focus()
    page.keyboard.press("Enter")
    table = page.get_by_role("region", name="The map as a table")
    expect(table).to_be_visible()
    features = page.evaluate(
        "() => window.city.layers.filter(({ on }) => on).reduce((sum, one) => sum + one.features.size, 0)"
    )
    assert table.locator("tbody tr").count() == features > 200

    pause = page.get_by_role("button", name="Pause")
    pause.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#live")).to_have_text("Paused")
    assert faults == []


def test_light_and_language_are_chosen_and_kept(browser: Browser, city: Program, faults: list[str]) -> None:
    page = dressed(browser, city, faults).new_page()
    visit(page, "industry")
    page.get_by_role("link", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    wait_until(lambda: any(one["name"] == "autocity_theme" for one in page.context.cookies()))
    page.get_by_role("link", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("汽车产业")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert faults == []


def test_the_explorer_searches_as_one_types(browser: Browser, city: Program, faults: list[str]) -> None:
    page = dressed(browser, city, faults).new_page()
    visit(page, "entities")
    page.get_by_label("Identifier contains").fill("dongfeng")
    expect(page.locator("#results tbody tr").first).to_contain_text("Dongfeng")
    expect(page).to_have_url(re.compile("text=dongfeng"))
    page.get_by_label("Expression").fill("averageVehicleSpeed<")
    expect(page.get_by_role("alert")).to_contain_text("The expression is not understood.")
    page.get_by_label("Expression").fill("averageVehicleSpeed<0")
    expect(page.locator("#results")).to_contain_text("No entity fits")
    page.evaluate("() => history.go(-2)")
    expect(page.locator("#results tbody tr").first).to_contain_text("Dongfeng")
    expect(page.get_by_role("heading", level=1)).to_have_text("Entities")
    assert faults == []


def test_everything_can_be_read_without_scripts(browser: Browser, city: Program, faults: list[str]) -> None:
    page = dressed(browser, city, faults, java_script_enabled=False).new_page()
    page.goto("/")
    expect(page.get_by_text("Mean road speed")).to_be_visible()
    page.get_by_role("link", name="The entities are listed here.").click()
    page.goto("/entities?type=AirQualityObserved")
    page.get_by_role("link", name="Air station Centre").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Air station Centre")
    page.get_by_text("The same as a table").click()
    assert page.get_by_role("region", name="History as a table").get_by_role("row").count() > 10


@pytest.mark.parametrize("language", LOCALES)
def test_a_telephone_shows_every_page_whole(
    browser: Browser, city: Program, faults: list[str], language: str
) -> None:
    page = dressed(
        browser, city, faults, "light", language, viewport={"width": 390, "height": 844}
    ).new_page()
    for name in PAGES:
        visit(page, name)
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), (
            f"{name} is too wide"
        )
        if name in ("overview", "entity"):
            keep(page, f"{name}-phone-{language}")
    assert faults == []


def test_the_first_administrator_makes_and_ends_a_token(
    browser: Browser, faults: list[str], tmp_path: Path
) -> None:
    with running("serve", *data(tmp_path / "city")) as own:
        wait_until(lambda: any("setup?token=" in line for line in own.said))
        page = dressed(browser, own, faults).new_page()
        link = own.find(r"(/setup\?token=\S+)")
        page.goto(link)
        page.get_by_label("Username").fill("root")
        page.get_by_label("Your name").fill("Wei")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Make the administrator").click()
        page.get_by_role("link", name="Wei").click()

        page.get_by_label("What is it for?").fill("a sensor")
        page.get_by_role("button", name="Make a token").click()
        token = page.locator("#issued code")
        expect(token).to_have_text(re.compile("^act_"))
        bearer = {"Authorization": f"Bearer {token.text_content()}"}
        assert own.request("GET", "/ngsi-ld/v1/types", headers=bearer).status == 200

        page.reload()
        page.get_by_role("button", name="Revoke a sensor").click()
        expect(page.get_by_role("button", name="Revoke a sensor")).to_have_count(0)
        assert own.request("GET", "/ngsi-ld/v1/types", headers=bearer).status == 401

        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        page.goto("/signin")
        page.get_by_label("Username").fill("root")
        page.get_by_label("Password").fill("wrong horse battery")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("the username or the password is wrong")
    assert faults == []
