// Lines, with bands around them: numbers over steps, or over layers.

import { axes, colourOf, cut, explorable, placed, sharp, ticks } from "./canvas.js";
import { written } from "./quantities.js";

const MARGIN = { left: 74, right: 12, top: 10, bottom: 44 };

/**
 * A chart of lines.
 *
 * series: list of {name, colour, points: list of [x, y], lower, upper: lists of y's, or none}; a y that is null or not finite leaves a gap.
 * x: {label, and, of places that have names, texts: object of x to its name, short: to what stands below the axis}. y: {label, isLogarithmic}. mark: an x that a vertical line shows, or null.
 * onChosen: function of an x that was clicked. title: above the plot, or none.
 */
export function lineChart({ width, height, series, x, y, mark = null, onChosen, title }) {
  const { canvas, context } = sharp(width, height, `${title ?? y.label}, a line each: ${series.map((one) => one.name).join(", ")}`);
  const plot = { left: MARGIN.left, top: MARGIN.top + (title ? 16 : 0) };
  plot.width = width - plot.left - MARGIN.right;
  plot.height = height - plot.top - MARGIN.bottom;
  const isDrawn = (value) => value !== null && Number.isFinite(value) && (!y.isLogarithmic || value > 0);
  const values = series.flatMap((one) => [...one.points.map(([, value]) => value), ...(one.lower ?? []), ...(one.upper ?? [])]).filter(isDrawn);
  const places = [...new Set(series.flatMap((one) => one.points.map(([place]) => place)))].sort((one, other) => one - other);
  if (title) {
    context.fillStyle = colourOf("--text");
    context.textBaseline = "top";
    context.textAlign = "left";
    context.fillText(cut(context, title, width - 8), 4, 4);
  }
  const on = y.isLogarithmic ? Math.log : (value) => value;
  let [lowest, highest] = [Math.min(...values), Math.max(...values)];
  if (!values.length) [lowest, highest] = y.isLogarithmic ? [0.1, 10] : [0, 1];
  if (lowest === highest) [lowest, highest] = y.isLogarithmic ? [lowest / 2, highest * 2] : [lowest - (Math.abs(lowest) / 10 || 1), highest + (Math.abs(highest) / 10 || 1)];
  const [first, last] = [places[0] ?? 0, places.at(-1) ?? 1];
  const atX = (place) => plot.left + (first === last ? 0.5 : (place - first) / (last - first)) * plot.width;
  const atY = (value) => plot.top + (1 - (on(value) - on(lowest)) / (on(highest) - on(lowest))) * plot.height;
  const marks = x.texts ? places.map((place) => [atX(place), x.short[place]]) : placed(ticks(first, Math.max(last, first + 1), Math.max(2, width / 110)), atX);
  axes(context, plot, { label: x.label, ticks: marks.filter(([position]) => position <= plot.left + plot.width + 1) }, {
    label: y.label,
    ticks: placed(ticks(lowest, highest, Math.max(2, plot.height / 45), y.isLogarithmic), atY),
  });
  for (const one of series) {
    context.strokeStyle = context.fillStyle = one.colour;
    if (one.lower) {
      context.globalAlpha = 0.22;
      const drawn = one.points.map(([place], index) => [place, one.lower[index], one.upper[index]]).filter(([, lower, upper]) => isDrawn(lower) && isDrawn(upper));
      context.beginPath();
      drawn.forEach(([place, lower]) => context.lineTo(atX(place), atY(lower)));
      drawn.reverse().forEach(([place, , upper]) => context.lineTo(atX(place), atY(upper)));
      context.fill();
      context.globalAlpha = 1;
    }
    context.lineWidth = 1.8;
    context.beginPath();
    let isBroken = true;
    for (const [place, value] of one.points) {
      if (isDrawn(value)) context[isBroken ? "moveTo" : "lineTo"](atX(place), atY(value));
      isBroken = !isDrawn(value);
    }
    context.stroke();
    if (one.points.length <= 60) {
      for (const [place, value] of one.points) {
        if (!isDrawn(value)) continue;
        context.beginPath();
        context.arc(atX(place), atY(value), 2.6, 0, 2 * Math.PI);
        context.fill();
      }
    }
  }
  if (mark !== null && mark >= first && mark <= last) {
    context.strokeStyle = colourOf("--text");
    context.setLineDash([4, 4]);
    context.beginPath();
    context.moveTo(atX(mark), plot.top);
    context.lineTo(atX(mark), plot.top + plot.height);
    context.stroke();
  }
  const nearest = (px) => places.reduce((best, place) => (best === null || Math.abs(atX(place) - px) < Math.abs(atX(best) - px) ? place : best), null);
  return explorable(canvas, {
    at: (px, py) => (px < plot.left - 8 || py > plot.top + plot.height + 20 ? null : nearest(px)),
    moved: (place, key) => stepped(places, place, key),
    said: (place) => {
      const lines = series.flatMap((one) => one.points.flatMap(([at, value], index) => (at === place ? [`${one.name}: ${said(one, index, value)}`] : [])));
      return { text: [`${x.texts ? x.texts[place] : `${x.label} ${place}`}`, ...lines].join("\n"), x: atX(place), y: plot.top };
    },
    chosen: onChosen,
  });
}

function said(one, index, value) {
  return one.lower ? `${written(value)} (${written(one.lower[index])} to ${written(one.upper[index])})` : written(value);
}

/** The next of some places in the direction of a key. */
export function stepped(places, place, key) {
  const now = places.indexOf(place);
  if (key === "Home") return places[0] ?? null;
  if (key === "End") return places.at(-1) ?? null;
  if (now < 0) return places[0] ?? null;
  return places[Math.min(Math.max(now + (key === "ArrowRight" || key === "ArrowDown" ? 1 : -1), 0), places.length - 1)];
}
