// Percentiles of what enters each batch normalisation layer, over steps: a small picture a layer.

import { lineChart } from "./curves.js";
import { downloads } from "./downloads.js";
import { element, tableOnDemand } from "./elements.js";
import { layerName, written } from "./quantities.js";
import { answer, number } from "./server.js";
import { layersOf, thinned } from "./heatmap.js";

const PERCENTILES = [15, 50, 85].map((percent) => `activation_statistics/input_p${percent}`);
const SMALL = { width: 290, height: 190 };

export async function distributions(page) {
  const runs = page.runsWith(PERCENTILES[1]);
  if (!runs.length) {
    const arguments_ = '(x, y), log_dir, quantities=("input_p15", "input_p50", "input_p85")';
    return [element("p", {}, `None of the chosen runs has percentiles: add keras_bn.callbacks.ActivationStatistics(${arguments_}).`)];
  }
  const found = await answer("series", { quantity: PERCENTILES, run: runs });
  const [lower, middle, upper] = PERCENTILES.map((name) => found[name]);
  const { layers, names } = layersOf(runs.map((run) => middle[run]));
  const charts = layers.map((layer, of) => {
    const series = runs.flatMap((run) => {
      const place = middle[run].layers.indexOf(layer);
      if (place < 0) return [];
      const numbers = (tables) => (tables[run]?.values[tables[run].layers.indexOf(layer)] ?? []).map(number);
      const values = numbers(middle);
      const points = middle[run].steps.map((step, column) => [step, values[column]]);
      return [{ name: run, colour: page.colour(run), points, lower: numbers(lower), upper: numbers(upper) }];
    });
    return lineChart({ ...SMALL, series, x: { label: "step" }, y: { label: "", isLogarithmic: false }, title: layerName(layer, names[of]) });
  });
  const rows = () => [
    ["run", "layer", "step", "p15", "p50", "p85"],
    ...runs.flatMap((run) =>
      middle[run].layers.flatMap((layer, place) =>
        middle[run].steps.map((step, column) => [run, layer, step, ...[lower, middle, upper].map((tables) => number(tables[run]?.values[place]?.[column] ?? null))]),
      ),
    ),
  ];
  const columns = Math.max(1, Math.floor(page.width() / SMALL.width));
  return [
    element("h2", { class: "title" }, "Inputs of each batch normalisation: 50th percentile as a line, 15th to 85th as a band [activation]"),
    element("p", { class: "hint" }, [...new Set(Object.values(middle).map(thinned))].filter(Boolean).join(" ")),
    element("div", { class: "charts small" }, ...charts),
    downloads("distributions", rows, () => charts.map((chart) => chart.querySelector("canvas")), columns),
    tableOnDemand(() => rows().map((row, line) => (line ? [...row.slice(0, 2), String(row[2]), ...row.slice(3).map(written)] : row))),
  ];
}
