// The overview's island: layers on the map, their table twin, the card of what is chosen, and live changes.

import { age } from "./desk.js";
import { embedded, features, listen, number, phrase, title } from "./city.js";
import { anchor, boundsOf, makeMap, nameLayer, styleLayers } from "./map.js";
import { tones } from "./tones.js";

const { frame, layers, words } = embedded("desk");
const byType = new Map(layers.map((layer) => [layer.type, layer]));
const $ = (id) => document.getElementById(id);
const look = (part) => document.querySelector(`[data-look="${part}"]`);
const CITY = [[125.05, 43.72], [125.42, 43.94]];
const REFRESH = 2500;
const FIGURES = 6000;
const narrow = matchMedia("(max-width: 48rem)").matches;

let map = null;
let chosen = null;
let paused = false;
const dirty = new Set();
const heardAt = [];

// What a value means

const step = (layer, value) => layer.steps.find(({ below }) => below === null || value < below);

function tone(layer, properties) {
  const value = properties[layer.measure];
  if (typeof value === "number" && layer.steps.length) return step(layer, value).tone;
  return layer.states[value] ?? layer.tone;
}

const WEIGHT = { fair: 1.3, poor: 1.7 };

function dress(layer, feature) {
  const { properties, id } = feature;
  const painted = tone(layer, properties);
  const weight = WEIGHT[painted] ?? 1;
  return { ...feature, properties: { id, tone: painted, weight, label: title(properties, id) } };
}

const collection = (layer) => ({
  type: "FeatureCollection",
  features: [...layer.features.values()].map((feature) => dress(layer, feature)),
});

function written(layer, name, value) {
  const unit = layer.attributes[name]?.unit ?? "";
  return phrase(value, words) + (unit && typeof value === "number" ? ` ${unit}` : "");
}

const label = (layer, name) => layer.attributes[name]?.label ?? name;

// Data

async function load(layer) {
  const before = layer.features;
  const found = await features(layer.type, layer.context, frame);
  layer.features = new Map(found.map((feature) => [feature.id, feature]));
  const count = document.querySelector(`[data-count="${layer.key}"]`);
  count.textContent = number(found.length);
  map?.getSource(layer.key)?.setData(collection(layer));
  return before.size ? differences(layer, before) : [];
}

function differences(layer, before) {
  const found = [];
  for (const [id, { properties }] of layer.features) {
    const old = before.get(id)?.properties;
    for (const name of layer.look) {
      const value = properties[name];
      if (old && typeof value !== "object" && value !== undefined && old[name] !== value) {
        found.push({ layer, id, name, value, size: difference(old[name], value) });
        break;
      }
    }
  }
  return found;
}

const difference = (old, value) =>
  typeof value === "number" && typeof old === "number" ? Math.abs(value - old) / (Math.abs(old) + 1) : 1;

async function refresh() {
  if (paused || document.hidden || !dirty.size) return;
  const due = [...dirty].filter((layer) => layer.on);
  dirty.clear();
  const outcomes = await Promise.allSettled(due.map(load));
  tell(outcomes.flatMap(({ value }) => value ?? []));
  if (chosen) showChosen();
  if (!$("twin").hidden) drawTable();
}

function refreshFigures() {
  if (!paused && !document.hidden && heardAt.length) $("figures").dispatchEvent(new CustomEvent("refresh"));
}

// The list of what changed: a few telling lines at a time, never a flood.

const LINES = 14;
const LINES_AT_ONCE = 3;

/** The largest change of each layer, the largest first. */
function telling(changes) {
  const largest = new Map();
  for (const each of changes) {
    if (each.size > (largest.get(each.layer)?.size ?? -1)) largest.set(each.layer, each);
  }
  return [...largest.values()].sort((one, other) => other.size - one.size);
}

function tell(changes) {
  if (!changes.length) return;
  const list = $("changes");
  list.querySelector("[data-none]")?.remove();
  const now = new Date().toISOString();
  for (const { layer, id, name, value } of telling(changes).slice(0, LINES_AT_ONCE)) {
    const line = document.createElement("div");
    line.className = "change fresh";
    const link = document.createElement("a");
    link.href = `/entities/${encodeURIComponent(id)}`;
    const { properties } = layer.features.get(id);
    link.textContent = title(properties, id);
    const figure = document.createElement("span");
    figure.className = "value";
    figure.textContent = written(layer, name, value);
    const what = document.createElement("span");
    what.className = "what";
    what.textContent = `${label(layer, name)} `;
    if (properties.synthetic) what.append($("made").content.cloneNode(true));
    const time = document.createElement("time");
    time.dateTime = now;
    time.dataset.age = "";
    time.textContent = age(now);
    line.append(link, figure, what, time);
    list.prepend(line);
  }
  while (list.children.length > LINES) list.lastElementChild.remove();
}

function change(event) {
  heardAt.push(Date.now());
  for (const type of event.types) {
    const layer = byType.get(type.split(/[/#]/).at(-1));
    if (layer) dirty.add(layer);
  }
}

const resync = () => layers.forEach((layer) => dirty.add(layer));

function state(name) {
  const live = $("live");
  const text = paused ? words.paused : name === "on" ? words.live : words.lost;
  live.className = `live ${paused ? "" : name}`;
  if (live.textContent !== text) live.textContent = text;
}

function rate() {
  const since = Date.now() - 60_000;
  while (heardAt.length && heardAt[0] < since) heardAt.shift();
  $("rate").textContent = number(heardAt.length);
}

// The card

function choose(layer, id, focus = false) {
  chosen = { layer, id };
  showChosen();
  if (focus) look("title").focus();
}

function showChosen() {
  const { layer, id } = chosen;
  const feature = layer.features.get(id);
  if (!feature) return;
  const { properties } = feature;
  $("look").hidden = false;
  look("type").textContent = layer.label;
  look("title").textContent = title(properties, id);
  look("link").href = `/entities/${encodeURIComponent(id)}`;
  look("synthetic").hidden = !properties.synthetic;
  const list = look("values");
  for (const name of layer.look) {
    if (!(name in properties)) continue;
    let value = list.querySelector(`[data-name="${name}"]`);
    if (!value || list.dataset.id !== id) {
      if (list.dataset.id !== id) list.replaceChildren();
      list.dataset.id = id;
      const term = document.createElement("dt");
      term.textContent = label(layer, name);
      value = document.createElement("dd");
      value.dataset.name = name;
      list.append(term, value);
    }
    const text = written(layer, name, properties[name]);
    if (value.textContent !== text) {
      if (value.textContent) {
        value.classList.remove("fresh");
        void value.offsetWidth;
        value.classList.add("fresh");
      }
      value.textContent = text;
    }
  }
  if (list.dataset.id !== id) list.replaceChildren();
  map?.getSource("chosen")?.setData({ type: "FeatureCollection", features: [dress(layer, feature)] });
}

function closeCard() {
  chosen = null;
  $("look").hidden = true;
  map?.getSource("chosen")?.setData({ type: "FeatureCollection", features: [] });
}

// The table twin

const rows = new Map();

/** The table row of a feature, kept over time so that a reader's place in the table is not lost. */
function row(layer, id, properties) {
  const key = `${layer.key} ${id}`;
  let found = rows.get(key);
  if (!found) {
    found = document.createElement("tr");
    const [kind, name, values, origin] = ["td", "th", "td", "td"].map((tag) => document.createElement(tag));
    kind.textContent = layer.label;
    name.scope = "row";
    const link = document.createElement("a");
    link.href = `/entities/${encodeURIComponent(id)}`;
    link.textContent = title(properties, id);
    name.append(link);
    if (properties.synthetic) origin.append(look("synthetic").firstElementChild.cloneNode(true));
    found.append(kind, name, values, origin);
    rows.set(key, found);
  }
  const text = layer.look
    .filter((name) => name in properties)
    .slice(0, 4)
    .map((name) => `${label(layer, name)} ${written(layer, name, properties[name])}`)
    .join(" · ");
  if (found.cells[2].textContent !== text) found.cells[2].textContent = text;
  return found;
}

function drawTable() {
  const wanted = [...layers]
    .reverse()
    .filter(({ on }) => on)
    .flatMap((layer) => [...layer.features].map(([id, { properties }]) => row(layer, id, properties)));
  const body = document.querySelector("#twin tbody");
  const same = wanted.length === body.rows.length && wanted.every((one, index) => one === body.rows[index]);
  if (same) return;
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  body.replaceChildren(...wanted);
  focused?.focus();
}

function showAs(table) {
  $("stage").classList.toggle("as-table", table);
  $("twin").hidden = !table;
  $("as-table").setAttribute("aria-pressed", table);
  $("as-map").setAttribute("aria-pressed", !table);
  if (table) drawTable();
}

// Finding by name

function fillFinder() {
  const options = layers.flatMap((layer) =>
    [...layer.features].map(([id, { properties }]) => {
      const option = document.createElement("option");
      option.value = title(properties, id);
      option.label = layer.label;
      return option;
    }),
  );
  $("found").replaceChildren(...options);
}

function find(text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return;
  let best = null;
  for (const layer of layers) {
    for (const [id, { properties, geometry }] of layer.features) {
      const name = title(properties, id).toLowerCase();
      const exact = name === wanted || id.toLowerCase() === wanted;
      if (exact || (!best && (name.includes(wanted) || id.toLowerCase().includes(wanted)))) {
        best = { layer, id, geometry };
        if (exact) break;
      }
    }
  }
  if (!best) return;
  show(best.layer, true);
  choose(best.layer, best.id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  map?.easeTo({ center: anchor(best.geometry), zoom: Math.max(map.getZoom(), 13.5), duration: calm ? 0 : 600 });
}

// The map

function show(layer, on) {
  layer.on = on;
  document.querySelector(`[data-layer="${layer.key}"]`).checked = on;
  for (const { id, source } of map?.getStyle().layers ?? []) {
    if (source === layer.key) map.setLayoutProperty(id, "visibility", on ? "visible" : "none");
  }
  if (on) dirty.add(layer);
  if (!$("twin").hidden) drawTable();
}

function paint() {
  const palette = tones();
  map.setPaintProperty("ground", "background-color", palette.ground);
  for (const { id, source } of map.getStyle().layers) if (source) map.removeLayer(id);
  for (const layer of layers) {
    if (!map.getSource(layer.key)) map.addSource(layer.key, { type: "geojson", data: collection(layer) });
    for (const style of styleLayers(layer.key, layer, palette)) map.addLayer(style);
  }
  const areas = layers.find(({ shape }) => shape === "area");
  if (areas) map.addLayer(nameLayer(areas.key, palette));
  if (!map.getSource("chosen")) {
    map.addSource("chosen", { type: "geojson", data: { type: "FeatureCollection", features: [] } });
  }
  map.addLayer({
    id: "chosen-ring", source: "chosen", type: "circle", filter: ["==", ["geometry-type"], "Point"],
    paint: {
      "circle-radius": 14, "circle-color": "rgba(0,0,0,0)",
      "circle-stroke-color": palette.accent, "circle-stroke-width": 3,
    },
  });
  map.addLayer({
    id: "chosen-line", source: "chosen", type: "line", filter: ["!=", ["geometry-type"], "Point"],
    // On both sides of the line, which keeps the colour that tells its state.
    paint: { "line-color": palette.accent, "line-width": 2.5, "line-gap-width": 9 },
  });
  for (const layer of layers) if (!layer.on) show(layer, false);
}

const shown = (layer) => map.getStyle().layers.filter(({ source }) => source === layer.key).map(({ id }) => id);

function under(point) {
  const box = [[point.x - 5, point.y - 5], [point.x + 5, point.y + 5]];
  for (const layer of [...layers].reverse()) {
    if (!layer.on) continue;
    const [hit] = map.queryRenderedFeatures(box, { layers: shown(layer) });
    if (hit) return { layer, id: hit.properties.id };
  }
  return null;
}

async function start() {
  for (const layer of layers) {
    layer.on = layer.shown;
    layer.features = new Map();
  }
  await Promise.allSettled(layers.map(load));
  fillFinder();
  $("marked").hidden = !layers.some((layer) => [...layer.features.values()].some((one) => one.properties.synthetic));
  const all = layers.filter(({ on }) => on).flatMap((layer) => [...layer.features.values()]);
  try {
    map = await makeMap($("map"), boundsOf(all) ?? CITY, words.map, {
      fitBoundsOptions: { padding: narrow ? 24 : { top: 32, bottom: 32, left: 312, right: 48 } },
    });
    paint();
    map.on("click", ({ point }) => {
      const hit = under(point);
      if (hit) choose(hit.layer, hit.id);
      else closeCard();
    });
    map.on("mousemove", ({ point }) => (map.getCanvas().style.cursor = under(point) ? "pointer" : ""));
    document.addEventListener("city:theme", paint);
    await new Promise((resolve) => map.once("idle", resolve));
  } catch (fault) {
    console.warn(fault);
    showAs(true);
    $("twin").querySelector("caption").textContent = words.noMap;
  }
  // Tests and curious people find the map and its layers here.
  const named = (key) => layers.find((layer) => layer.key === key);
  window.city = {
    map,
    layers,
    feature: (key, id) => named(key).features.get(id),
    choose: (key, id) => choose(named(key), id),
  };
  document.documentElement.dataset.ready = "true";
}

document.querySelectorAll("[data-layer]").forEach((box) =>
  box.addEventListener("change", () => show(layers.find(({ key }) => key === box.dataset.layer), box.checked)),
);
look("close").addEventListener("click", closeCard);
document.addEventListener("keydown", ({ key }) => key === "Escape" && chosen && closeCard());
$("as-map").addEventListener("click", () => showAs(false));
$("as-table").addEventListener("click", () => showAs(true));
$("find").addEventListener("change", ({ target }) => find(target.value));
$("pause").addEventListener("click", ({ currentTarget: button }) => {
  paused = !paused;
  button.setAttribute("aria-pressed", paused);
  button.querySelector("span").textContent = paused ? words.resume : words.pause;
  state("on");
});
if (narrow) $("legend").open = false;

await start();
listen({ change, resync, state });
setInterval(refresh, REFRESH);
setInterval(rate, 2000);
setInterval(refreshFigures, FIGURES);
