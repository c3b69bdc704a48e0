// Numbers over depth, a line a run, at a step that a slider chooses.

import { downloads } from "./downloads.js";
import { element, tableOnDemand } from "./elements.js";
import { profileChart, thinned } from "./heatmap.js";
import { layerName, meaning, titled, written } from "./quantities.js";
import { answer, number } from "./server.js";

const FRAME = 250; // Milliseconds a step, when played.

export async function profile(page) {
  const name = page.chosenQuantity(true);
  if (name === null) return [element("p", {}, "None of the chosen runs has a measure of layers; the overview says what to add.")];
  const runs = page.runsWith(name);
  const found = (await answer("series", { quantity: name, run: runs }))[name];
  const steps = [...new Set(Object.values(found).flatMap((table) => table.steps))].sort((one, other) => one - other);
  const wanted = page.state.step === "" ? Infinity : Number(page.state.step);
  let place = Math.max(steps.findLastIndex((step) => step <= wanted), 0);
  const holder = element("div", {});
  const said = element("output", {});
  const slider = element("input", { type: "range", min: 0, max: steps.length - 1, value: place, "aria-label": "step", oninput: () => show(Number(slider.value)) });
  const play = element("button", { type: "button", onclick: () => (timer === null ? begin() : stop()) }, "Play");
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  };
  const begin = () => {
    if (place === steps.length - 1) show(0);
    play.textContent = "Stop";
    timer = setInterval(() => (place < steps.length - 1 && holder.isConnected ? show(place + 1) : stop()), FRAME);
  };
  const show = (next) => {
    place = next;
    slider.value = String(place);
    slider.setAttribute("aria-valuetext", `step ${steps[place]}`);
    said.textContent = `step ${steps[place]}`;
    holder.replaceChildren(profileChart(page, name, found, steps[place], { width: page.width(), height: Math.max(page.height() - 30, 260) }));
    page.remember({ step: steps[place] });
  };
  show(place);
  const rows = () => [
    ["run", "layer", "step", titled(name)],
    ...runs.flatMap((run) => {
      const column = found[run].steps.findLastIndex((step) => step <= steps[place]);
      return column < 0 ? [] : found[run].layers.map((layer, of) => [run, layerName(layer, found[run].names[of]), found[run].steps[column], number(found[run].values[of][column])]);
    }),
  ];
  return [
    element("div", { class: "controls" }, page.quantityChoice(name, true), play, slider, said),
    element("h2", { class: "title" }, titled(name)),
    element("p", { class: "hint" }, [meaning(name), ...new Set(Object.values(found).map(thinned))].filter(Boolean).join(" ")),
    holder,
    downloads("profile", rows, () => [holder.querySelector("canvas")]),
    tableOnDemand(() => rows().map((row, line) => (line ? [...row.slice(0, 2), String(row[2]), written(row[3])] : row))),
  ];
}
