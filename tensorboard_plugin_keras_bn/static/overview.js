// The view that opens first: a card a run, with the worst layer of each quantity, in words.

import { element } from "./elements.js";
import { layerName, measures, quantity, written } from "./quantities.js";
import { answer, number } from "./server.js";

export async function overview(page) {
  if (!page.state.runs.length) return [element("p", {}, "Choose a run at the left.")];
  const found = await answer("overview", { run: page.state.runs });
  return [element("div", { class: "cards" }, ...page.state.runs.map((run) => card(page, run, found[run])))];
}

function card(page, run, { worst, diagnoses }) {
  const parts = Object.entries(measures()).map(([measure, { title, callback, only_with_batch_normalisation: isOfNormalised }]) => {
    const of = worst.filter((one) => one.quantity.startsWith(`${measure}/`));
    const isThere = page.has(run, measure);
    const lines = of.map((one) => line(page, run, one));
    if (!lines.length) lines.push(element("li", { class: "absent" }, isThere ? "no number that has a worse side" : `not measured: ${isOfNormalised ? "if the net has batch normalisation, " : ""}add keras_bn.callbacks.${callback}`));
    return element("section", {}, element("h3", {}, title), element("ul", {}, ...lines));
  });
  return element(
    "article",
    { class: "card", "aria-label": run },
    element("h2", {}, element("span", { class: "swatch", style: `background:${page.colour(run)}` }), run),
    ...diagnoses.map(({ step, text }) =>
      element("details", { open: true }, element("summary", {}, `Diagnosis at step ${step}`), element("pre", {}, text)),
    ),
    ...parts,
  );
}

function line(page, run, one) {
  const value = number(one.value);
  const row = quantity(one.quantity);
  const means = row.says.replace("{}", written(value));
  const isNothing = value === 0 && row.worse === "larger";
  const since = one.since === one.step ? `at step ${one.step}` : `at step ${one.step}, the worst of ${one.layers} layers since step ${one.since}`;
  const text = isNothing ? `${row.title}: none, in no layer (step ${one.step})` : `: ${means} (${row.by_layer ? since : `step ${one.step}`}).`;
  if (isNothing) return element("li", {}, text);
  const show = () => page.show({ view: "heatmap", quantity: one.quantity, a: run, b: "", mode: "a", layer: one.layer, step: one.step });
  return element("li", {}, element("button", { type: "button", class: "link", onclick: show }, layerName(one.layer, one.name)), text);
}
