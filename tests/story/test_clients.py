"""Clients that nobody here wrote work against the platform: `ngsildclient`, and MapLibre on a plain page."""

import json
import shutil
import subprocess
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from story.program import data, running

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
VENDOR = ROOT / "src" / "autocity" / "console" / "static" / "vendor"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(not PYTHON.exists(), reason="scripts/test makes .venv-clients with ngsildclient in it")
def test_ngsildclient_creates_queries_patches_and_deletes(tmp_path: Path) -> None:
    with running("serve", *data(tmp_path / "city")) as city:
        address = urlsplit(city.address)
        script = Path(__file__).with_name("client_ngsild.py")
        done = subprocess.run(
            [str(PYTHON), str(script), str(address.hostname), str(address.port)],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (f"urn:ngsi-ld:AirQualityObserved:Client:{number}" for number in (1, 2))
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "connected": True,
        "created 1": True,
        "created 2": True,
        "query": [second],
        "get": [first, 30, [125.201, 43.83]],
        "updated": True,
        "query after update": [first, second],
        "deleted": True,
        "exists": [True, False],
    }


PAGE = """<!doctype html><meta charset="utf-8"><title>A page of somebody else</title>
<link rel="stylesheet" href="/maplibre-gl.css"><style>#map { height: 400px }</style><div id="map"></div>
<script type="module">
  import * as maplibregl from "/maplibre-gl.mjs";
  const map = new maplibregl.Map({ container: "map", center: [125.2, 43.83], zoom: 13,
    style: { version: 8, sources: {}, layers: [] } });
  map.on("load", async () => {
    const answer = await fetch("CITY/ngsi-ld/v1/entities?type=Lamp&options=keyValues",
      { headers: { Accept: "application/geo+json" } });
    map.addSource("city", { type: "geojson", data: await answer.json() });
    map.addLayer({ id: "city", type: "circle", source: "city", paint: { "circle-radius": 6 } });
    map.once("idle", () => {
      window.found = map.queryRenderedFeatures({ layers: ["city"] }).map((one) => one.properties);
    });
  });
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
def test_a_plain_page_draws_the_city_with_maplibre(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    site = tmp_path / "site"
    site.mkdir()
    for file in VENDOR.glob("maplibre-gl*"):
        shutil.copy(file, site / file.name)
    handler = partial(_Quiet, directory=str(site))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    with running("serve", *data(tmp_path / "city"), AUTOCITY_SERVER__CORS_ORIGINS=origin) as city:
        for number in range(3):
            place = {"type": "Point", "coordinates": [125.2 + number / 500, 43.83]}
            lamp = {
                "id": f"urn:ngsi-ld:Lamp:{number}",
                "type": "Lamp",
                "power": {"type": "Property", "value": 60 + number},
                "location": {"type": "GeoProperty", "value": place},
            }
            assert city.request("POST", "/ngsi-ld/v1/entities", lamp).status == 201
        (site / "index.html").write_text(PAGE.replace("CITY", city.address.rstrip("/")))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM)
            page = browser.new_page()
            page.goto(f"{origin}/index.html")
            page.wait_for_function("() => window.found", timeout=60_000)
            found = page.evaluate("() => window.found")
            browser.close()
    server.shutdown()
    server.server_close()
    assert sorted(lamp["power"] for lamp in found) == [60, 61, 62]


class _Quiet(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, *_: object) -> None:
        return
