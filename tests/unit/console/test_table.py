"""The table of routes: every page, every file, and what they need."""

from autocity import console
from autocity.console import assets
from autocity.console.table import PAGES


def test_doors_are_open_and_everything_else_needs_reading() -> None:
    assert {path for path, _, scope in PAGES if scope == "public"} == {"/signin", "/setup"}


def test_every_file_has_a_route_of_its_own(city) -> None:
    paths = {route.path for route in console.routes(lambda: city)}
    assert {assets.address(name) for name in assets.assets()} <= paths


async def test_files_are_kept_for_ever(visit) -> None:
    found = await visit(assets.address("css/city.css"))
    assert found.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert ":root" in found.text


async def test_no_address_leaves_the_folder(visit) -> None:
    base = f"/static/{assets.version()}"
    for path in (
        f"{base}/../words.py",
        f"{base}/%2e%2e/words.py",
        f"{base}/js/..%2f..%2fwords.py",
        f"{base}/",
    ):
        assert (await visit(path)).status == 404
