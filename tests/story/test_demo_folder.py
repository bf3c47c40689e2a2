"""The demo keeps to its own folder: it never mixes with real data and never deletes it."""

from pathlib import Path

from story.program import run, running


def test_the_demo_refuses_a_folder_with_other_data(tmp_path: Path) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    (folder / "city.db").write_bytes(b"precious")
    started = run("demo", "--no-open", "--port", "0", "--data", str(folder), check=None)
    assert started.returncode != 0
    assert "not the demo's" in started.stderr
    assert run("demo", "--data", str(folder), "reset", "--yes", check=None).returncode != 0
    assert (folder / "city.db").read_bytes() == b"precious"


def test_the_demo_s_own_folder_can_be_reset(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with running("demo", "--no-open", "--port", "0", "--data", str(folder), timeout=100) as city:
        found = city.request("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:Brand:hongqi")
        assert found.status == 200
    assert (folder / "autocity-demo.json").exists()
    run("demo", "--data", str(folder), "reset", "--yes")
    assert not folder.exists()
