// What each quantity is, and how its numbers are written.

let rows = {};

export async function load() {
  rows = await (await fetch("static/quantities.json")).json();
}

/** Measures by name: title, callback, quantities. */
export function measures() {
  return rows;
}

/** The row of measure/quantity. */
export function quantity(name) {
  const [measure, of] = name.split("/");
  return rows[measure].quantities[of];
}

/** measure/quantity as words. */
export function titled(name) {
  const [measure] = name.split("/");
  return `${rows[measure].title}: ${quantity(name).title}`;
}

/** The label of an axis: title and unit. */
export function labelled(name) {
  const { title, unit } = quantity(name);
  return unit === "1" ? title : `${title} [${unit}]`;
}

/** What 0 or another value means, as a sentence. */
export function meaning(name) {
  const { zero } = quantity(name);
  return zero ? `${zero.startsWith("1:") ? zero : `0: ${zero}`}.` : "";
}

/** A number with four digits. */
export function written(value) {
  if (value === null) return "not measured";
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(2).replace(/\.?0+e/, "e") : String(Number(value.toPrecision(4)));
  return text.replaceAll("-", "−");
}

/** A layer's number and its own name, in short; its tag where it has none. */
export function shortName(layer, name) {
  const [number] = layer.match(/^\d*/);
  return number && name ? `${number} ${name}` : layer || "the whole model";
}

/** A layer's tag with its own name, where that says more. */
export function layerName(layer, name) {
  if (!layer) return "the whole model";
  return name && !layer.endsWith(name) ? `${layer} (${name})` : layer;
}
