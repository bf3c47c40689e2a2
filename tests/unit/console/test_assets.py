"""Static files: what lies in the folder is what is listed, served and vouched for."""

import hashlib
import re

import pytest

from autocity.console import assets, page


def test_the_files_of_others_are_the_listed_ones_byte_for_byte() -> None:
    folder = assets.FOLDER / "vendor"
    table = (folder / "VENDORED.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", table, re.MULTILINE))
    held = {file.name: file for file in folder.iterdir() if file.is_file() and file.name != "VENDORED.md"}
    assert {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in held.items()} == listed


def test_an_address_carries_the_digest_of_all_files() -> None:
    assert assets.address("css/city.css") == f"/static/{assets.version()}/css/city.css"
    with pytest.raises(KeyError):
        assets.address("css/cty.css")


def test_every_import_of_a_module_is_a_file_that_is_served() -> None:
    for name, asset in assets.assets().items():
        if name.startswith("js/"):
            code = asset.file.read_text(encoding="utf-8")
            for target in re.findall(r"""(?:from|import\(|import|URL\()\s*"(\.[^"]+)\"""", code):
                path = (asset.file.parent / target).resolve()
                assert path.is_file(), f"{name} imports {target}"


def test_the_policy_holds_in_what_is_written() -> None:
    """No inline script, style or handler in any template, and nothing from elsewhere."""
    templates = page.environment("en").loader
    assert templates is not None
    for name in templates.list_templates():
        source, *_ = templates.get_source(page.environment("en"), name)
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|hx-on", source), name
        assert not re.search(r"<script(?![^>]*(\bsrc=|type=\"application/json\"))", source), name
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", source), name
