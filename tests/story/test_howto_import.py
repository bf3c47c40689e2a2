"""The how-to on importing is run as it stands."""

import json
import re
from pathlib import Path

from story.program import run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "import-a-file.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found.group(1)


def test_the_how_to_does_what_it_says(tmp_path: Path) -> None:
    table, mapping, city = tmp_path / "stations.csv", tmp_path / "stations.toml", str(tmp_path / "city")
    table.write_text(block("csv"), encoding="utf-8")
    mapping.write_text(block("toml"), encoding="utf-8")
    arguments = ("import", str(table), "--mapping", str(mapping))
    looked = run(*arguments, "--dry-run", check=4)
    assert "2 of 3 rows would be taken, 1 faults" in looked.stderr
    assert "line 3, places: 'twelve'" in looked.stderr
    run(*arguments, "--data", city, check=4)
    report = json.loads((tmp_path / "stations.csv.report.json").read_text())
    assert [fault["line"] for fault in report["faults"]] == [3]
    context = "https://w3id.org/autocity/contexts/transportation.jsonld"
    query = ("query", "--type", "EVChargingStation", "--context", context, "--json", "--data", city)
    found = {entity["id"].rsplit(":", 1)[-1]: entity for entity in json.loads(run(*query).stdout)}
    assert set(found) == {"S1", "S3"}
    assert found["S1"]["name"]["value"] == "东风大街"
    assert found["S1"]["capacity"]["value"] == 24
    assert found["S1"]["capacity"]["observedAt"] == "2026-11-22T00:00:00Z"
    # The datum of Chinese map services lies a few hundred metres off WGS 84 here.
    longitude, latitude = found["S1"]["location"]["value"]["coordinates"]
    assert 0.003 < 125.2001 - longitude < 0.01
    assert 0.001 < 43.8312 - latitude < 0.004
    mended = block("csv").replace("twelve", "12")
    table.write_text(mended, encoding="utf-8")
    run(*arguments, "--data", city, check=0)
    assert len(json.loads(run(*query).stdout)) == 3
