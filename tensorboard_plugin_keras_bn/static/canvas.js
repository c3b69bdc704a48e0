// What all pictures share: sharp canvases, axes, a cursor for mouse and keyboard, and the text that says what is under it.

import { element } from "./elements.js";
import { written } from "./quantities.js";

export const FONT = "12px Roboto, Arial, sans-serif";

/** A canvas of that size in CSS pixels, and its context, sharp on fine screens. */
export function sharp(width, height, label) {
  const canvas = element("canvas", { role: "img", "aria-label": label });
  const fine = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * fine);
  canvas.height = Math.round(height * fine);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = canvas.getContext("2d");
  context.scale(fine, fine);
  context.font = FONT;
  context.fillStyle = colourOf("--background");
  context.fillRect(0, 0, width, height);
  return { canvas, context };
}

/** A colour of the style sheet. */
export function colourOf(name) {
  return getComputedStyle(document.body).getPropertyValue(name).trim();
}

/** The text, cut so that it fits. */
export function cut(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let [short, long] = [0, text.length];
  while (short < long) {
    const half = Math.ceil((short + long) / 2);
    if (context.measureText(`${text.slice(0, half)}…`).width <= width) short = half;
    else long = half - 1;
  }
  return `${text.slice(0, short)}…`;
}

/** Round numbers between two, some `number` of them, and two at least. */
export function ticks(lowest, highest, number, isLogarithmic = false) {
  if (isLogarithmic) {
    const powers = [];
    for (let power = Math.floor(Math.log10(lowest)); 10 ** power <= highest; power += 1) powers.push(10 ** power);
    const isInside = (one) => one >= lowest * (1 - 1e-9) && one <= highest * (1 + 1e-9);
    for (const multiples of [[1, 2, 5], [1, 3], [1]]) {
      const found = powers.flatMap((power) => multiples.map((one) => one * power)).filter(isInside);
      if (found.length >= 2 && found.length <= 1.5 * number) return found;
    }
    const whole = powers.filter(isInside);
    if (whole.length >= 2) return whole.filter((_, place) => place % Math.ceil(whole.length / number) === 0);
  }
  const raw = (highest - lowest) / Math.max(number, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= raw) ?? 10);
  const found = [];
  for (let one = Math.ceil(lowest / step); one * step <= highest + step * 1e-9; one += 1) found.push(one * step);
  return found.length < 2 && number < 16 ? ticks(lowest, highest, 2 * number) : found;
}

/**
 * A picture that says what is under the mouse, or under the cursor that the arrow keys move.
 *
 * at: function of (x, y) in CSS pixels to a place, or null. moved: function of (place or null, key) to the next place. said: function of a place to {text, x, y}.
 * chosen: function of a place, on a click or Enter.
 */
export function explorable(canvas, { at, moved, said, chosen }) {
  const tip = element("div", { class: "tip", hidden: true });
  const aloud = element("div", { class: "aloud", "aria-live": "polite" });
  const holder = element("div", { class: "picture", tabindex: "0", role: "group", "aria-label": canvas.getAttribute("aria-label") }, canvas, tip, aloud);
  let place = null;
  const show = (next, isSpoken) => {
    place = next;
    tip.hidden = place === null;
    if (place === null) return;
    const { text, x, y } = said(place);
    if (tip.textContent !== text) tip.textContent = text;
    const width = canvas.clientWidth;
    tip.style.left = x > width / 2 ? "" : `${x + 14}px`;
    tip.style.right = x > width / 2 ? `${width - x + 14}px` : "";
    tip.style.top = `${y + 10}px`;
    if (isSpoken) aloud.textContent = text.replaceAll("\n", ", ");
  };
  canvas.addEventListener("mousemove", (event) => show(at(event.offsetX, event.offsetY), false));
  canvas.addEventListener("mouseleave", () => show(null, false));
  canvas.addEventListener("click", (event) => {
    const under = at(event.offsetX, event.offsetY);
    if (under !== null) chosen?.(under);
  });
  holder.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && place !== null) chosen?.(place);
    else if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") show(moved(place, event.key), true);
    else if (event.key === "Escape") show(null, false);
    else return;
    event.preventDefault();
  });
  holder.addEventListener("blur", () => show(null, false));
  return holder;
}

/** Axes with grid, ticks and labels around a plot {left, top, width, height}. x and y: {label, ticks: list of [position in CSS pixels, text]}. */
export function axes(context, plot, x, y) {
  context.strokeStyle = colourOf("--line");
  context.fillStyle = colourOf("--text");
  context.lineWidth = 1;
  context.textAlign = "center";
  context.textBaseline = "top";
  let end = -Infinity;
  for (const [position, text] of x.ticks) {
    stroke(context, position, plot.top + plot.height, position, plot.top + plot.height + 4);
    const half = context.measureText(text).width / 2;
    if (position - half < end + 8) continue;
    context.fillText(text, position, plot.top + plot.height + 6);
    end = position + half;
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const [position, text] of y.ticks) {
    stroke(context, plot.left, position, plot.left + plot.width, position);
    context.fillText(text, plot.left - 6, position);
  }
  context.textAlign = "center";
  context.textBaseline = "bottom";
  if (x.label) context.fillText(cut(context, x.label, plot.width), plot.left + plot.width / 2, plot.top + plot.height + 38);
  if (y.label) {
    context.save();
    context.translate(14, plot.top + plot.height / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(cut(context, y.label, plot.height + 30), 0, 0);
    context.restore();
  }
}

export function stroke(context, fromX, fromY, toX, toY) {
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.lineTo(toX, toY);
  context.stroke();
}

/** Ticks of an axis as `axes` takes them. at: function of a value to its position. */
export function placed(values, at) {
  return values.map((value) => [at(value), written(value)]);
}
