"""The how-to pages of the index are run as they stand, and every method of every step is on its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autocity.index.steps import METHODS

PAGES = Path(__file__).parents[3] / "docs/howto"
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["index-build.md", "index-framework-file.md", "index-experts.md"])
def test_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    ran = 0
    for language, file, text in BLOCK.findall((PAGES / page).read_text("utf-8")):
        if file:
            Path(file).write_text(text, "utf-8")
        elif language == "python":
            exec(compile(text, page, "exec"), names)
            ran += 1
    assert ran >= 3


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_is_on_the_page(kind: str) -> None:
    text = (PAGES / "index-steps.md").read_text("utf-8")
    section = text.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(METHODS[kind])
