// The entity page's island: its place on a small map, its chart, and values that move while one looks.

import "./charts.js";
import { features, listen } from "./city.js";
import { boundsOf, makeMap, styleLayers } from "./map.js";
import { tones } from "./tones.js";

const REFRESH = 2000;
const CHART = 20_000;

async function drawPlace() {
  const place = document.getElementById("place");
  if (!place) return;
  const { geometry, label, context } = JSON.parse(document.getElementById("place-data").textContent);
  const self = { type: "Feature", geometry, properties: { tone: "poor", weight: 1.3, label } };
  let bounds = boundsOf([self]);
  const margin = Math.max(0.012, (bounds[1][0] - bounds[0][0]) * 0.15);
  bounds = [[bounds[0][0] - margin, bounds[0][1] - margin], [bounds[1][0] + margin, bounds[1][1] + margin]];
  const map = await makeMap(place, bounds, label);
  const [roads, reaches] = await Promise.all(
    ["RoadSegment", "RiverReach"].map((type) => features(type, context).catch(() => [])),
  );
  const plain = (found, tone) => ({
    type: "FeatureCollection",
    features: found.map(({ geometry }) => ({ type: "Feature", geometry, properties: { tone, weight: 1 } })),
  });
  const paint = () => {
    const palette = tones();
    map.setPaintProperty("ground", "background-color", palette.ground);
    for (const { id, source } of map.getStyle().layers) if (source) map.removeLayer(id);
    for (const [key, data, look] of [
      ["reaches", plain(reaches, "water"), { size: 4, tone: "water" }],
      ["roads", plain(roads, "road"), { size: 2, tone: "road" }],
      ["self", { type: "FeatureCollection", features: [self] }, { size: 8, tone: "poor" }],
    ]) {
      if (!map.getSource(key)) map.addSource(key, { type: "geojson", data });
      for (const style of styleLayers(key, look, palette)) {
        if (key === "roads" && style.id === "roads-line") style.paint["line-color"] = palette.road;
        map.addLayer(style);
      }
    }
  };
  paint();
  document.addEventListener("city:theme", paint);
  await new Promise((resolve) => map.once("idle", resolve));
}

function follow() {
  const id = document.querySelector("[data-entity]").dataset.entity;
  const live = document.getElementById("live");
  let due = false;
  let stale = false;
  listen(
    (event) => {
      if (event.id === id) due = stale = true;
    },
    (name) => {
      live.className = `live ${name}`;
      live.textContent = live.dataset[name];
    },
    `?id=${encodeURIComponent(id)}`,
  );
  const refresh = (part) => document.getElementById(part)?.dispatchEvent(new CustomEvent("refresh"));
  setInterval(() => {
    if (due && !document.hidden) refresh("values");
    due = false;
  }, REFRESH);
  setInterval(() => {
    const reading = document.querySelector("#history :focus-within, #history details[open]");
    if (stale && !document.hidden && !reading) refresh("history");
    stale = false;
  }, CHART);
}

document.addEventListener("htmx:before:swap", ({ target }) => {
  if (target.id === "values") {
    before = new Map([...document.querySelectorAll("[data-value]")].map((cell) => [cell.dataset.value, cell.textContent]));
  }
});
let before = new Map();
document.addEventListener("htmx:after:swap", () => {
  for (const cell of document.querySelectorAll("[data-value]")) {
    if (before.has(cell.dataset.value) && before.get(cell.dataset.value) !== cell.textContent) {
      cell.classList.remove("fresh");
      void cell.offsetWidth;
      cell.classList.add("fresh");
    }
  }
  before = new Map();
});

follow();
await drawPlace().catch((fault) => console.warn(fault));
document.documentElement.dataset.ready = "true";
