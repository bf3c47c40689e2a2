// A MapLibre map in the console's colours. Its ground is plain: everything on it is an entity of the city.

import { tones, family } from "./tones.js";

const library = import("../vendor/maplibre-gl.mjs");

// A style sheet that comes late would leave the map no size to fit its frame to.
const styled = new Promise((resolve) => {
  if (document.readyState === "complete") resolve();
  else addEventListener("load", resolve, { once: true });
});

/** A map in `container`, framed on `bounds` ([[west, south], [east, north]]). */
export async function makeMap(container, bounds, label, options = {}) {
  const [maplibre] = await Promise.all([library, styled]);
  maplibre.setWorkerUrl(new URL("../vendor/maplibre-gl-worker.mjs", import.meta.url).href);
  const map = new maplibre.Map({
    container,
    bounds,
    fitBoundsOptions: { padding: 32 },
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    fadeDuration: 0,
    style: {
      version: 8,
      sources: {},
      layers: [{ id: "ground", type: "background", paint: { "background-color": tones().ground } }],
    },
    locale: { "Map.Title": label },
    ...options,
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new maplibre.NavigationControl({ showCompass: false }), "bottom-right");
  map.addControl(new maplibre.ScaleControl({ maxWidth: 120 }), "bottom-right");
  await new Promise((resolve) => map.once("style.load", resolve));
  return map;
}

const TONES = ["good", "fair", "poor", "calm", "off", "green", "heat", "energy", "lamp", "water", "bus", "plug"];

/** The colour of a feature: the resolved colour of the tone in its `tone` property. */
export const colour = (palette) => [
  "match",
  ["get", "tone"],
  ...TONES.flatMap((name) => [name, palette[name]]),
  palette.calm,
];

const IS = (...kinds) => ["in", ["geometry-type"], ["literal", kinds]];
const AREA = IS("Polygon", "MultiPolygon");
const LINE = IS("LineString", "MultiLineString");
const POINT = IS("Point", "MultiPoint");

/** Zoom-dependent size: `size` at the zoom at which a whole district is seen. */
const grows = (size) => ["interpolate", ["exponential", 1.5], ["zoom"], 10, size * 0.6, 13, size, 16, size * 2.4];

/** Style layers for one source, whatever the geometry of its features. */
export function styleLayers(key, { size, tone }, palette) {
  const paint = colour(palette);
  const source = key;
  return [
    {
      id: `${key}-area`, source, type: "fill", filter: AREA,
      paint: { "fill-color": tone === "green" ? palette.park : palette.zone, "fill-opacity": 0.85 },
    },
    {
      id: `${key}-border`, source, type: "line", filter: AREA,
      paint: {
        "line-color": palette["line-strong"], "line-width": 1, "line-dasharray": [4, 3],
        "line-opacity": tone === "green" ? 0 : 1,
      },
    },
    {
      id: `${key}-edge`, source, type: "line", filter: LINE,
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-color": tone === "water" ? palette.river : palette["road-edge"],
        "line-width": grows(tone === "water" ? 9 : size + 2),
      },
    },
    {
      id: `${key}-line`, source, type: "line", filter: LINE,
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-color": tone === "water" ? palette.river : paint,
        // A worse state is also a thicker line, so that colour is never the only sign.
        "line-width": tone === "water"
          ? grows(8)
          : ["interpolate", ["exponential", 1.5], ["zoom"],
              10, ["*", size * 0.6, ["get", "weight"]],
              13, ["*", size, ["get", "weight"]],
              16, ["*", size * 2.4, ["get", "weight"]]],
      },
    },
    {
      id: `${key}-point`, source, type: "circle", filter: POINT,
      paint: {
        "circle-color": paint, "circle-radius": grows(size),
        "circle-stroke-color": palette.card, "circle-stroke-width": size > 4 ? 1.5 : 0.5,
        "circle-opacity": ["match", ["get", "tone"], "off", 0.55, 1],
      },
    },
  ];
}

/** Names of areas, set in the reader's fonts without a glyph server. */
export const nameLayer = (key, palette) => ({
  id: `${key}-name`, source: key, type: "symbol", filter: AREA,
  layout: { "text-field": ["get", "label"], "text-font": [family()], "text-size": 12, "text-max-width": 9 },
  paint: { "text-color": palette.soft, "text-halo-color": palette.zone, "text-halo-width": 1.5 },
});

/** [[west, south], [east, north]] of features; null when they have no position. */
export function boundsOf(features) {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  const visit = (part) => {
    if (typeof part[0] === "number") {
      west = Math.min(west, part[0]); east = Math.max(east, part[0]);
      south = Math.min(south, part[1]); north = Math.max(north, part[1]);
    } else part.forEach(visit);
  };
  for (const { geometry } of features) if (geometry?.coordinates) visit(geometry.coordinates);
  return west <= east ? [[west, south], [east, north]] : null;
}

/** A position on a feature for a camera or a card. */
export function anchor(geometry) {
  const box = boundsOf([{ geometry }]);
  return box && [(box[0][0] + box[1][0]) / 2, (box[0][1] + box[1][1]) / 2];
}
