"""The documentation tells of what is there: generated pages are up to date, links lead somewhere."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
)


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["settings.md", "commands.md", "routes.md", "refusals.md", "types.md"])
def test_a_generated_page_is_up_to_date(page: str) -> None:
    made = generator()
    written = (made.TARGET / page).read_text(encoding="utf-8")
    assert written == made.NOTE + made.PAGES[page](), "run scripts/reference"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_documentation_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_every_room_is_on_the_architecture_page() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    package = ROOT / "src" / "autocity"
    rooms = {path.stem for path in package.iterdir() if not path.name.startswith(("_", ".", "py.typed"))}
    for room in rooms:
        assert f"`{room}`" in page or f"{room}" in page, f"{room} is not on the architecture page"


def test_the_layer_rule_in_the_documentation_is_the_one_that_is_checked() -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    checked = [layer.replace("(", "").replace(")", "") for layer in contract["layers"] if layer != "__main__"]
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith("`cli > serving"))
    told = [part.strip() for part in line.strip("`").split(">")]
    names = [[name.strip() for name in layer.split("|")] for layer in told]
    package = ROOT / "src" / "autocity"
    there = {path.stem for path in package.iterdir()}
    wanted = [[name.strip() for name in layer.split("|") if name.strip() in there] for layer in checked]
    assert names == [layer for layer in wanted if layer]
