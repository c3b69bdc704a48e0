// Layers by steps: one run, two, or what they differ by.

import { colourOf, cut, explorable, FONT, placed, sharp, stroke, ticks } from "./canvas.js";
import { css, INFINITE, NOT_A_NUMBER, scaleOf } from "./colours.js";
import { lineChart, stepped } from "./curves.js";
import { downloads } from "./downloads.js";
import { buttons, choice, element, tableOnDemand } from "./elements.js";
import { labelled, layerName, meaning, quantity, shortName, titled, written } from "./quantities.js";
import { answer, number } from "./server.js";

const MODES = { a: "A", b: "B", difference: "A − B", ratio: "A / B" };
const GUTTER = 190; // For the names of layers.
const BAR = 88; // For the bar of colours.

export async function heatmap(page) {
  const { state } = page;
  const name = page.chosenQuantity();
  if (name === null) return [element("p", {}, "None of the chosen runs has measures; the overview says what to add.")];
  const runs = page.runsWith(name);
  const a = runs.includes(state.a) ? state.a : runs[0];
  const b = runs.includes(state.b) && state.b !== a ? state.b : "";
  const mode = b ? (state.mode in MODES ? state.mode : "a") : "a";
  const width = page.width();
  const found = (await answer("series", { quantity: name, run: runs, steps: Math.max(50, width - GUTTER - BAR) }))[name];
  const shown = combined(found[a], b ? found[b] : null, mode);
  const row = shownRow(quantity(name), mode);
  const all = mode === "difference" || mode === "ratio" ? shown.values.flat() : [found[a], b ? found[b] : null].flatMap((table) => (table ? table.values.flat().map(number) : []));
  const runOptions = runs.map((run) => [run, run]);
  const controls = element(
    "div",
    { class: "controls" },
    page.quantityChoice(name),
    choice("A", { "": runOptions }, a, (run) => page.show({ a: run })),
    choice("B", { "": [["", "none"], ...runOptions.filter(([run]) => run !== a)] }, b, (run) => page.show({ b: run, mode: run ? state.mode : "a" })),
    buttons("Show", Object.entries(MODES).map(([value, text]) => [value, text, value === "a" || b !== ""]), mode, (value) => page.show({ mode: value })),
  );
  const what = { a, b, difference: `${a} minus ${b}`, ratio: `${a} divided by ${b}` }[mode];
  const picture = draw(page, shown, scaleOf(row, all), { name, width, what, found, a, b });
  const rows = () => [["layer", ...shown.steps.map((step) => `step ${step}`)], ...shown.layers.map((layer, place) => [layerName(layer, shown.names[place]), ...shown.values[place].map(written)])];
  const csv = () => [
    ["quantity", "run", "layer", "name", "step", "value"],
    ...shown.layers.flatMap((layer, place) => shown.steps.map((step, column) => [name, what, layer, shown.names[place] ?? "", step, shown.values[place][column]])),
  ];
  const canvases = () => [picture.querySelector("canvas")];
  return [
    controls,
    element("h2", { class: "title" }, `${titled(name)}, ${what}`),
    element("p", { class: "hint" }, [meaning(name), thinned(found[a]), "Click a layer, a step or a field for curves and profile."].filter(Boolean).join(" ")),
    picture,
    downloads("layers_by_steps", csv, canvases),
    ...details(page, name, found, shown),
    tableOnDemand(rows),
  ];
}

/** A sentence where steps were left out. */
export function thinned(table) {
  return table.is_thinned ? `Shown are ${table.steps.length} steps; there are more (TensorBoard keeps 1,000 a chart unless --samples_per_plugin=scalars=0).` : "";
}

function shownRow(row, mode) {
  if (mode === "difference") return { scale: "linear", neutral: 0, range: [null, null] };
  if (mode === "ratio") return { scale: "logarithmic", neutral: 1, range: [null, null] };
  return row;
}

/** The layers of some tables by their numbers, each once, and their own names. */
export function layersOf(tables) {
  const names = new Map();
  for (const table of tables) table.layers.forEach((layer, place) => names.has(layer) || names.set(layer, table.names[place]));
  const numbered = [...names].sort(([one], [other]) => (parseInt(one, 10) || 0) - (parseInt(other, 10) || 0));
  return { layers: numbered.map(([layer]) => layer), names: numbered.map(([, name]) => name) };
}

/** One table of two: numbers of the layers and steps that either has. */
function combined(a, b, mode) {
  const { layers, names } = layersOf(b ? [a, b] : [a]);
  const steps = [...new Set([...a.steps, ...(b?.steps ?? [])])].sort((one, other) => one - other);
  const [ofA, ofB] = [a, b].map((table) => (table ? byLayer(table) : () => null));
  const by = {
    a: (one) => one,
    b: (_, other) => other,
    difference: (one, other) => (one === null || other === null ? null : one - other),
    ratio: (one, other) => (one === null || other === null || (one === 0 && other === 0) ? null : one / other), // 0 by 0 says nothing.
  }[mode];
  return { layers, names, steps, values: layers.map((layer) => steps.map((step) => by(ofA(layer, step), ofB(layer, step)))) };
}

function byLayer(table) {
  const places = new Map(table.layers.map((layer, place) => [layer, place]));
  const columns = new Map(table.steps.map((step, column) => [step, column]));
  return (layer, step) => {
    const [place, column] = [places.get(layer), columns.get(step)];
    return place === undefined || column === undefined ? null : number(table.values[place][column]);
  };
}

function draw(page, shown, scale, { name, width, what, found, a, b }) {
  const rowHeight = Math.max(4, Math.min(22, Math.floor(page.height() / Math.max(shown.layers.length, 1))));
  const plot = { left: GUTTER, top: 6, width: width - GUTTER - BAR, height: rowHeight * shown.layers.length };
  const height = plot.top + plot.height + 44;
  const { canvas, context } = sharp(width, Math.max(height, 150), `${titled(name)}, ${what}: ${shown.layers.length} layers by ${shown.steps.length} steps`);
  const columnWidth = plot.width / shown.steps.length;
  const missing = hatched(context);
  shown.values.forEach((values, place) => {
    values.forEach((value, column) => {
      const [x, y] = [plot.left + column * columnWidth, plot.top + place * rowHeight];
      context.fillStyle = fieldColour(value, scale, missing);
      context.fillRect(x, y, Math.ceil(x + columnWidth) - x, rowHeight);
    });
  });
  context.fillStyle = colourOf("--text");
  context.font = FONT;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const every = Math.ceil(13 / rowHeight);
  shown.layers.forEach((layer, place) => {
    if (place % every) return;
    context.font = layer === page.state.layer ? `bold ${FONT}` : FONT;
    context.fillText(cut(context, shortName(layer, shown.names[place]), GUTTER - 12), plot.left - 6, plot.top + (place + 0.5) * rowHeight);
  });
  context.font = FONT;
  context.textAlign = "center";
  context.textBaseline = "top";
  context.strokeStyle = colourOf("--text");
  let end = -Infinity;
  shown.steps.forEach((step, column) => {
    const x = plot.left + (column + 0.5) * columnWidth;
    const half = context.measureText(String(step)).width / 2;
    if (x - half < end + 10) return;
    stroke(context, x, plot.top + plot.height, x, plot.top + plot.height + 4);
    context.fillText(String(step), x, plot.top + plot.height + 6);
    end = x + half;
  });
  context.fillText("step (one column a measurement)", plot.left + plot.width / 2, plot.top + plot.height + 24);
  drawBar(context, scale, { left: plot.left + plot.width + 14, top: plot.top, width: 14, height: Math.max(plot.height, 100) });
  const mark = { layer: shown.layers.indexOf(page.state.layer), column: shown.steps.indexOf(Number(page.state.step)) };
  context.lineWidth = 1.5;
  if (mark.layer >= 0) context.strokeRect(plot.left, plot.top + mark.layer * rowHeight, plot.width, rowHeight);
  if (mark.column >= 0 && page.state.step !== "") context.strokeRect(plot.left + mark.column * columnWidth, plot.top, Math.max(columnWidth, 2), plot.height);
  const [ofA, ofB] = [byLayer(found[a]), b ? byLayer(found[b]) : null];
  return explorable(canvas, {
    at: (x, y) => {
      const [place, column] = [Math.floor((y - plot.top) / rowHeight), Math.floor((x - plot.left) / columnWidth)];
      const [isRow, isColumn] = [place >= 0 && place < shown.layers.length, column >= 0 && column < shown.steps.length];
      return (isRow && x < plot.left + plot.width) || (isColumn && y >= 0) ? [isRow ? place : null, isColumn ? column : null] : null;
    },
    moved: (at, key) => {
      const [place, column] = at ?? [0, 0];
      const isVertical = key === "ArrowUp" || key === "ArrowDown";
      if (at === null) return [0, shown.steps.length - 1];
      if (isVertical) return [stepped([...shown.layers.keys()], place, key), column ?? 0];
      return [place ?? 0, stepped([...shown.steps.keys()], column, key)];
    },
    said: ([place, column]) => {
      const lines = [];
      if (place !== null) lines.push(layerName(shown.layers[place], shown.names[place]));
      if (column !== null) lines.push(`step ${shown.steps[column]}`);
      if (place !== null && column !== null) {
        const at = [shown.layers[place], shown.steps[column]];
        if (b) lines.push(`A: ${written(ofA(...at))}`, `B: ${written(ofB(...at))}`);
        if (!b || MODES[page.state.mode]?.length > 1) lines.push(b ? `${MODES[page.state.mode]}: ${written(shown.values[place][column])}` : written(shown.values[place][column]));
      }
      return { text: lines.join("\n"), x: plot.left + ((column ?? 0) + 0.5) * columnWidth, y: plot.top + ((place ?? shown.layers.length) + 0.5) * rowHeight };
    },
    chosen: ([place, column]) => page.show({ ...(place === null ? {} : { layer: shown.layers[place] }), ...(column === null ? {} : { step: shown.steps[column] }) }),
  });
}

function fieldColour(value, scale, missing) {
  if (value === null) return missing;
  if (Number.isNaN(value)) return NOT_A_NUMBER;
  if (!Number.isFinite(value)) return INFINITE;
  if (scale.isLogarithmic && value < 0) return NOT_A_NUMBER;
  return css(scale.colour(value));
}

/** Missing numbers are hatched, which no number is. */
function hatched(context) {
  const tile = element("canvas", { width: 6, height: 6 });
  const inner = tile.getContext("2d");
  inner.fillStyle = colourOf("--background");
  inner.fillRect(0, 0, 6, 6);
  inner.strokeStyle = colourOf("--line");
  stroke(inner, 0, 6, 6, 0);
  return context.createPattern(tile, "repeat");
}

function drawBar(context, scale, bar) {
  for (let line = 0; line < bar.height; line += 1) {
    context.fillStyle = css(scale.colour(scale.at(1 - line / (bar.height - 1))));
    context.fillRect(bar.left, bar.top + line, bar.width, 1.5);
  }
  context.fillStyle = colourOf("--text");
  context.textAlign = "left";
  context.textBaseline = "middle";
  const at = (value) => bar.top + (1 - scale.share(value)) * bar.height;
  let marks = placed(ticks(scale.lowest, scale.highest, 4, scale.isLogarithmic), at);
  if (marks.length < 2) marks = placed([scale.lowest, scale.highest], at);
  for (const [y, text] of marks) context.fillText(text, bar.left + bar.width + 5, Math.min(Math.max(y, bar.top + 6), bar.top + bar.height - 6));
}

function details(page, name, found, shown) {
  const { layer, step } = page.state;
  const made = [];
  const width = Math.floor(page.width() / 2) - 8;
  const y = { label: labelled(name), isLogarithmic: quantity(name).scale === "logarithmic" };
  if (shown.layers.includes(layer)) {
    const series = Object.entries(found).flatMap(([run, table]) => {
      const place = table.layers.indexOf(layer);
      return place < 0 ? [] : [{ name: run, colour: page.colour(run), points: table.steps.map((one, column) => [one, number(table.values[place][column])]) }];
    });
    const onChosen = (one) => page.show({ step: one });
    const title = `${layerName(layer, shown.names[shown.layers.indexOf(layer)])} over steps, all chosen runs`;
    made.push(lineChart({ width, height: 240, series, x: { label: "step" }, y, mark: step === "" ? null : Number(step), onChosen, title }));
  }
  if (step !== "" && shown.layers.length > 1) made.push(profileChart(page, name, found, Number(step), { width, height: 240 }));
  return made.length ? [element("div", { class: "charts" }, ...made)] : [];
}

/** Numbers over depth at a step, a line a run, each at its newest measurement up to there. */
export function profileChart(page, name, found, step, size) {
  const joined = layersOf(Object.values(found));
  const texts = Object.fromEntries(joined.layers.map((layer, place) => [place, layerName(layer, joined.names[place])]));
  const short = Object.fromEntries(joined.layers.map((layer, place) => [place, layer.match(/^\d*/)[0] || layer]));
  const series = Object.entries(found).map(([run, table]) => {
    const column = table.steps.findLastIndex((one) => one <= step);
    const points = table.layers.map((layer, place) => [joined.layers.indexOf(layer), column < 0 ? null : number(table.values[place][column])]);
    const at = column < 0 ? "not measured yet" : table.steps[column] === step ? "" : ` (step ${table.steps[column]})`;
    return { name: `${run}${at}`, colour: page.colour(run), points };
  });
  const y = { label: labelled(name), isLogarithmic: quantity(name).scale === "logarithmic" };
  const onChosen = (place) => page.show({ layer: joined.layers[place] });
  return lineChart({ ...size, series, x: { label: "number of the layer", texts, short }, y, onChosen, title: `over depth at step ${step}` });
}
