"""The program as its users meet it: real processes, real files, real requests."""

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from story.program import data, run, running, wait_until

SENSOR = {
    "id": "urn:ngsi-ld:Sensor:1",
    "type": "Sensor",
    "temperature": {
        "type": "Property",
        "value": 21.5,
        "unitCode": "CEL",
        "observedAt": "2026-11-22T08:00:00Z",
    },
    "grid": {"type": "Property", "value": [[1, 2], [3]]},
    "location": {"type": "GeoProperty", "value": {"type": "Point", "coordinates": [125.2, 43.83]}},
}


def test_a_city_starts_answers_and_keeps_what_it_took(tmp_path: Path) -> None:
    with running("serve", *data(tmp_path / "city")) as city:
        assert city.request("GET", "/healthz").status == 200
        assert city.request("GET", "/readyz").status == 200
        assert b"# HELP" in city.request("GET", "/metrics").body
        made = city.request("POST", "/ngsi-ld/v1/entities", SENSOR)
        assert (made.status, made.headers["Location"]) == (201, "/ngsi-ld/v1/entities/urn:ngsi-ld:Sensor:1")
        city.process.send_signal(signal.SIGKILL)
        city.process.wait(5)
    with running("serve", *data(tmp_path / "city")) as city:
        kept = city.request("GET", "/ngsi-ld/v1/entities/urn:ngsi-ld:Sensor:1").json()
        assert {name: kept[name] for name in SENSOR} == SENSOR


def test_the_first_administrator_is_made_with_the_link_and_only_once(tmp_path: Path) -> None:
    who = {"username": "root", "password": "correct horse"}
    with running("serve", *data(tmp_path / "city")) as city:
        wait_until(lambda: any("setup?token=" in line for line in city.said))
        token = city.find(r"setup\?token=(\S+)")
        made = city.request("POST", "/auth/setup", who | {"token": token})
        assert made.status == 200
        cookie = made.headers["Set-Cookie"].partition(";")[0]
        assert "HttpOnly" in made.headers["Set-Cookie"]
        me = city.request("GET", "/auth/me", headers={"Cookie": cookie}).json()
        assert (me["role"], me["how"]) == ("administrator", "session")
        again = city.request("POST", "/auth/setup", who | {"token": token, "username": "other"})
        assert again.status == 403
        # A session writes only with its CSRF token, and a foreign page not at all.
        user = {"username": "wei", "password": "another horse", "role": "viewer"}
        assert city.request("POST", "/auth/users", user, {"Cookie": cookie}).status == 403
        with_token = {"Cookie": cookie, "X-CSRF-Token": me["csrf"]}
        assert city.request("POST", "/auth/users", user, with_token).status == 201
        crossing = city.request("POST", "/ngsi-ld/v1/entities", SENSOR, {"Sec-Fetch-Site": "cross-site"})
        assert crossing.status == 403


def test_a_visitor_under_another_host_name_is_refused(tmp_path: Path) -> None:
    with running("serve", *data(tmp_path / "city")) as city:
        refused = city.request("GET", "/ngsi-ld/v1/entities?type=A", headers={"Host": "evil.example"})
        assert refused.status == 403
        assert refused.json()["type"].startswith("https://uri.etsi.org/ngsi-ld/errors/")


def test_opened_to_the_network_every_request_needs_a_proof(tmp_path: Path) -> None:
    with running("serve", "--host", "0.0.0.0", *data(tmp_path / "city")) as city:
        wait_until(lambda: any("Open to the network" in line for line in city.said))
        assert city.request("GET", "/healthz").status == 200
        refused = city.request("GET", "/ngsi-ld/v1/entities?type=Sensor")
        assert (refused.status, refused.headers["Content-Type"]) == (401, "application/json")
    token = run("token", "issue", "test", "--scope", "read", "--data", str(tmp_path / "city")).stdout.strip()
    with running("serve", "--host", "0.0.0.0", *data(tmp_path / "city")) as city:
        proof = {"Authorization": f"Bearer {token}"}
        assert city.request("GET", "/ngsi-ld/v1/entities?type=Sensor", headers=proof).json() == []
        assert city.request("POST", "/ngsi-ld/v1/entities", SENSOR, proof).status == 403
        wrong = city.request("GET", "/ngsi-ld/v1/entities?type=Sensor", headers={"Authorization": "Bearer x"})
        assert wrong.status == 401


def test_a_second_server_on_the_same_folder_is_refused_with_the_mend(tmp_path: Path) -> None:
    with running("serve", *data(tmp_path / "city")) as city:
        refused = run("serve", *data(tmp_path / "city"), check=None)
        assert refused.returncode != 0
        assert str(city.process.pid) in refused.stderr


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = run("serve", "--data", str(tmp_path), "--port", str(port), check=3)
        assert f"127.0.0.1:{port}" in refused.stderr
        assert "--port" in refused.stderr


def test_what_is_imported_can_be_queried_exported_and_imported_again(tmp_path: Path) -> None:
    lines = [dict(SENSOR, id=f"urn:ngsi-ld:Sensor:{number}") for number in range(30)]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    run("import", str(source), "--data", first)
    found = json.loads(run("query", "--type", "Sensor", "--limit", "100", "--json", "--data", first).stdout)
    assert len(found) == 30
    run("export", str(tmp_path / "out.jsonl"), "--data", first)
    run("import", str(tmp_path / "out.jsonl"), "--data", second)
    again = json.loads(run("query", "urn:ngsi-ld:Sensor:7", "--json", "--data", second).stdout)
    assert {name: again[name] for name in SENSOR} == lines[7]
    table = run("export", "--format", "csv", "--data", second).stdout.splitlines()
    assert len(table) == 31
    assert table[0].startswith("id,type,")


def test_a_bad_file_names_every_bad_row_and_keeps_the_good_ones(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    good = json.dumps(SENSOR)
    source.write_text(f'{good}\n{{"id": "no uri", "type": "Sensor"}}\nnot json\n{{"type": "Sensor"}}\n')
    city = str(tmp_path / "city")
    done = run("import", str(source), "--json", "--data", city, check=4)
    report = json.loads(done.stdout)
    assert (report["rows"], report["taken"]) == (4, 1)
    assert sorted(fault["line"] for fault in report["faults"]) == [2, 3, 4]
    written = json.loads((tmp_path / "in.jsonl.report.json").read_text())
    assert written == report
    dry = run("import", str(source), "--dry-run", "--json", "--data", str(tmp_path / "none"), check=4)
    assert json.loads(dry.stdout)["rows"] == 4
    assert not (tmp_path / "none").exists()


def test_backup_while_running_and_restore(tmp_path: Path) -> None:
    city_folder, copy = tmp_path / "city", tmp_path / "copy.autocity"
    with running("serve", *data(city_folder)) as city:
        assert city.request("POST", "/ngsi-ld/v1/entities", SENSOR).status == 201
        made = json.loads(run("backup", str(copy), "--data", str(city_folder), "--json").stdout)
        assert made["entities"] == 1
    restored = tmp_path / "restored"
    run("restore", str(copy), "--data", str(restored), "--dry-run")
    assert not restored.exists()
    run("restore", str(copy), "--data", str(restored))
    found = json.loads(run("query", SENSOR["id"], "--json", "--data", str(restored)).stdout)
    assert found["temperature"] == SENSOR["temperature"]
    refused = run("restore", str(copy), "--data", str(restored), check=1)
    assert "is not empty" in refused.stderr
    damaged = tmp_path / "damaged.autocity"
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 0xFF
    damaged.write_bytes(content)
    refused = run("restore", str(damaged), "--data", str(tmp_path / "other"), check=1)
    assert "damaged" in refused.stderr or "not a backup" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_doctor_tells_what_is_well_and_what_is_not(tmp_path: Path) -> None:
    with running("serve", *data(tmp_path / "city")):
        pass
    found = json.loads(run("doctor", "--data", str(tmp_path / "city"), "--deep", "--json").stdout)
    assert {finding["state"] for finding in found} <= {"ok", "warning"}
    assert {"store", "settings", "contexts", "sqlite"} <= {finding["name"] for finding in found}
    (tmp_path / "city" / "city.db").write_bytes(b"not a database at all" * 100)
    bad = run("doctor", "--data", str(tmp_path / "city"), check=1)
    assert "store" in bad.stderr
    run("doctor", check=1, AUTOCITY_SERVER__PORT="no")


@pytest.mark.parametrize("command", ["", "demo", "serve", "import", "export", "query", "model", "doctor"])
def test_help_leads_with_examples(command: str) -> None:
    told = run(*command.split(), "--help").stdout
    assert "autocity" in told
    assert "Example" in told or "Try" in told


def test_a_typing_error_is_met_with_a_suggestion() -> None:
    assert "serve" in run("sevre", check=2).stderr


def test_the_city_stops_when_it_is_told_and_says_nothing_ugly(tmp_path: Path) -> None:
    with running("serve", *data(tmp_path / "city")) as city:
        city.process.send_signal(signal.SIGTERM)
        assert city.process.wait(15) in (0, -signal.SIGTERM)
    assert not any("Traceback" in line for line in city.said)


def test_two_workers_answer_as_one(tmp_path: Path) -> None:
    with running("serve", "--workers", "2", *data(tmp_path / "city")) as city:
        wait_until(lambda: _answers(city))
        for number in range(20):
            body = dict(SENSOR, id=f"urn:ngsi-ld:Sensor:{number}")
            assert city.request("POST", "/ngsi-ld/v1/entities", body).status == 201
            # Whichever worker answers, it reads what was acknowledged.
            assert city.request("GET", f"/ngsi-ld/v1/entities/urn:ngsi-ld:Sensor:{number}").status == 200
        assert len(city.request("GET", "/ngsi-ld/v1/entities?type=Sensor&limit=100").json()) == 20
        children = Path(f"/proc/{city.process.pid}/task/{city.process.pid}/children").read_text().split()
        assert len(children) >= 2
        os.kill(city.process.pid, signal.SIGTERM)
        city.process.wait(20)
    wait_until(lambda: not any(_alive(int(pid)) for pid in children))


def _answers(city: object) -> bool:
    try:
        return bool(city.request("GET", "/readyz").status == 200)  # type: ignore[attr-defined]
    except OSError:
        return False


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
