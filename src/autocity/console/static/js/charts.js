// Charts drawn from the JSON that stands beside them. Each has a table twin in the page.

import { number } from "./city.js";
import { tones, family } from "./tones.js";

const drawn = new Map();

const { lang, dataset } = document.documentElement;
const clock = new Intl.DateTimeFormat(lang, {
  timeZone: dataset.clock, month: "short", day: "numeric", hour: "2-digit", minute: "2-digit",
});
const parts = new Intl.DateTimeFormat("en-GB", {
  timeZone: dataset.clock, hourCycle: "h23",
  year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric",
});

/** An instant moved so that UTC shows what the city's clock shows: the axis then ticks at the city's hours. */
function onCityClock(instant) {
  const { year, month, day, hour, minute, second } = Object.fromEntries(
    parts.formatToParts(instant).map(({ type, value }) => [type, Number(value)]),
  );
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

const axis = (palette) => ({
  axisLine: { lineStyle: { color: palette["line-strong"] } },
  axisTick: { show: false },
  axisLabel: { color: palette.soft, fontSize: 11 },
  splitLine: { lineStyle: { color: palette.line } },
  nameTextStyle: { color: palette.soft, fontSize: 11, align: "left" },
});

// The library's HTML tooltip writes inline styles, which the policy forbids; the drawn one does not.
const tip = (palette) => ({
  renderMode: "richText", confine: true, backgroundColor: palette.ink, borderWidth: 0, padding: [6, 9],
  textStyle: { color: palette.card, fontSize: 12 },
});

function history({ label, unit, points }, palette) {
  return {
    useUTC: true,
    grid: { left: 8, right: 16, top: 30, bottom: 8, containLabel: true },
    tooltip: {
      ...tip(palette), trigger: "axis",
      axisPointer: { lineStyle: { color: palette["line-strong"] } },
      formatter: ([{ value }]) => `${number(value[1])} ${unit}\n${clock.format(new Date(value[2]))}`,
    },
    xAxis: {
      type: "time", ...axis(palette), splitLine: { show: false },
      axisLabel: { color: palette.soft, fontSize: 11, hideOverlap: true },
    },
    yAxis: { type: "value", scale: true, name: unit, splitNumber: 4, ...axis(palette), axisLine: { show: false } },
    series: [{
      type: "line", name: label, showSymbol: points.length < 40, symbolSize: 5, sampling: "lttb",
      lineStyle: { width: 1.75, color: palette.calm }, itemStyle: { color: palette.calm },
      areaStyle: { color: palette.calm, opacity: 0.08 },
      data: points.map(([at, value]) => [onCityClock(new Date(at)), value, at]),
    }],
  };
}

function bars({ rows, series, unit }, palette) {
  const colours = [palette.accent, palette.calm];
  return {
    grid: { left: 4, right: 64, top: series.length > 1 ? 34 : 8, bottom: 4, containLabel: true },
    legend: series.length > 1
      ? { top: 0, left: 0, itemWidth: 12, itemHeight: 12, textStyle: { color: palette.soft, fontSize: 12 } }
      : undefined,
    tooltip: {
      ...tip(palette), trigger: "item",
      formatter: ({ seriesName, name, value }) => `${name}\n${seriesName}: ${number(value)} ${unit}`,
    },
    xAxis: { type: "value", ...axis(palette), axisLabel: { show: false }, splitLine: { show: false } },
    yAxis: {
      type: "category", inverse: true, data: rows, ...axis(palette), axisLine: { show: false },
      axisLabel: { color: palette.ink, fontSize: 12.5, width: 150, overflow: "break" },
    },
    series: series.map(({ name, values }, index) => ({
      name, type: "bar", data: values, barMaxWidth: 20, barGap: "15%",
      itemStyle: {
        color: colours[index], borderRadius: [0, 2, 2, 0],
        // The second series is also hatched: colour is never the only sign.
        decal: index === 1 ? { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: -0.7, color: palette.card } : undefined,
      },
      label: { show: true, position: "right", color: palette.ink, fontSize: 12, formatter: ({ value }) => number(value) },
    })),
  };
}

const KINDS = { history, bars };

async function draw(place) {
  const echarts = await import("../vendor/echarts.esm.min.mjs");
  const data = JSON.parse(place.parentElement.querySelector("[data-chart-data]").textContent);
  const palette = tones();
  drawn.get(place)?.dispose();
  const chart = echarts.init(place, null, { renderer: "canvas" });
  chart.setOption({
    animation: false, backgroundColor: "transparent", textStyle: { fontFamily: family() },
    ...KINDS[place.dataset.chart](data, palette),
  });
  drawn.set(place, chart);
  place.dataset.drawn = "true";
}

/** Draws every chart in the page that is not drawn yet; `again` draws all anew. */
export async function drawCharts(again = false) {
  for (const [place, chart] of drawn) {
    if (!place.isConnected) {
      chart.dispose();
      drawn.delete(place);
    }
  }
  const places = [...document.querySelectorAll("[data-chart]")];
  await Promise.all(places.filter((place) => again || !place.dataset.drawn).map(draw));
}

addEventListener("resize", () => drawn.forEach((chart) => chart.resize()));
document.addEventListener("city:theme", () => drawCharts(true));
// A swapped part of the page may bring a chart with it.
document.addEventListener("htmx:after:swap", () => drawCharts());
drawCharts().then(() => (document.documentElement.dataset.charts = "true"));
