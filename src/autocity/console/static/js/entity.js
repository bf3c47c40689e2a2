// The entity page's island: its place on a small map, its chart, and values that move while one looks.

import "./charts.js";
import { embedded, features, listen, place } from "./city.js";
import { anchor, boundsOf, makeMap, styleLayers } from "./map.js";
import { tones } from "./tones.js";

const REFRESH = 2000;
const CHART = 20_000;

const id = document.querySelector("[data-entity]").dataset.entity;

/** Draws the entity's place; the function it returns draws it anew where the entity is by then. */
async function drawPlace() {
  const container = document.getElementById("place");
  if (!container) return async () => {};
  const { geometry, label, context } = embedded("place-data");
  const feature = (geometry, tone, weight = 1) => ({ type: "Feature", geometry, properties: { tone, weight } });
  const collection = (features) => ({ type: "FeatureCollection", features });
  const map = await makeMap(container, around(geometry), label);
  const [reaches, roads] = await Promise.all(
    ["RiverReach", "RoadSegment"].map((type) => features(type, context).catch(() => [])),
  );
  const layers = [
    { key: "reaches", size: 4, tone: "water", features: reaches.map((one) => feature(one.geometry, "water")) },
    { key: "roads", size: 2, tone: "road", features: roads.map((one) => feature(one.geometry, "road")) },
    { key: "self", size: 8, tone: "poor", features: [feature(geometry, "poor", 1.3)] },
  ];
  for (const { key, features } of layers) map.addSource(key, { type: "geojson", data: collection(features) });

  function paint() {
    const palette = tones();
    map.setPaintProperty("ground", "background-color", palette.ground);
    for (const { id, source } of map.getStyle().layers) if (source) map.removeLayer(id);
    for (const layer of layers) styleLayers(layer.key, layer, palette).forEach((style) => map.addLayer(style));
    map.setPaintProperty("roads-line", "line-color", palette.road);
  }

  paint();
  document.addEventListener("city:theme", paint);
  await new Promise((resolve) => map.once("idle", resolve));
  return async () => {
    const now = await place(id);
    map.getSource("self").setData(collection([feature(now, "poor", 1.3)]));
    const [west, south, east, north] = map.getBounds().toArray().flat();
    const [lon, lat] = anchor(now);
    if (lon < west || lon > east || lat < south || lat > north) map.panTo([lon, lat], { animate: false });
  };
}

/** Bounds that show a geometry with something of what is around it. */
function around(geometry) {
  const [[west, south], [east, north]] = boundsOf([{ geometry }]);
  const margin = Math.max(0.012, (east - west) * 0.15);
  return [[west - margin, south - margin], [east + margin, north + margin]];
}

function follow(move) {
  const live = document.getElementById("live");
  let due = false;
  let stale = false;
  const stir = () => (due = stale = true);
  const state = (name) => {
    live.className = `live ${name}`;
    live.textContent = live.dataset[name];
  };
  listen({ change: stir, resync: stir, state }, `?id=${encodeURIComponent(id)}`);
  const refresh = (part) => document.getElementById(part)?.dispatchEvent(new CustomEvent("refresh"));
  setInterval(() => {
    if (due && !document.hidden) {
      refresh("values");
      move().catch((fault) => console.warn(fault));
    }
    due = false;
  }, REFRESH);
  setInterval(() => {
    const reading = document.querySelector("#history :focus-within, #history details[open]");
    if (stale && !document.hidden && !reading) refresh("history");
    stale = false;
  }, CHART);
}

// What changed flashes once.

const values = () => [...document.querySelectorAll("[data-value]")];
let before = new Map();

document.addEventListener("htmx:before:swap", () => {
  before = new Map(values().map((cell) => [cell.dataset.value, cell.textContent]));
});

document.addEventListener("htmx:after:swap", () => {
  for (const cell of values()) {
    if ((before.get(cell.dataset.value) ?? cell.textContent) === cell.textContent) continue;
    cell.classList.remove("fresh");
    void cell.offsetWidth;
    cell.classList.add("fresh");
  }
});

const move = await drawPlace().catch((fault) => {
  console.warn(fault);
  return async () => {};
});
follow(move);
document.documentElement.dataset.ready = "true";
