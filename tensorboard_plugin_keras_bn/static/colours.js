// Colours of runs and of numbers, which the colour-blind can tell apart.

const RUNS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#7f7f7f"], // Okabe and Ito, and two more.
  dark: ["#56b4e9", "#e69f00", "#2bc799", "#e3a1c6", "#f0e442", "#7f9fff", "#c9a36a", "#b0b0b0"],
};
const SEQUENTIAL = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"]; // viridis
const DIVERGING = ["#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b"]; // RdBu, reversed
export const NOT_A_NUMBER = "#ff00ff";
export const INFINITE = "#000000";

export function ofRun(place, isDark) {
  const colours = RUNS[isDark ? "dark" : "light"];
  return colours[place % colours.length];
}

function channels(hex) {
  return [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
}

function mixed(map, share) {
  const place = Math.min(Math.max(share, 0), 1) * (map.length - 1);
  const below = Math.min(Math.floor(place), map.length - 2);
  const [from, to] = [channels(map[below]), channels(map[below + 1])];
  return from.map((one, index) => Math.round(one + (to[index] - one) * (place - below)));
}

/**
 * The colours of numbers: around the neutral value from blue to red, equally far to both sides; else from dark to light.
 *
 * row: of quantities.json (scale, neutral, range). values: all that are to be shown, so that two runs have one scale.
 * Returns {colour: function of a finite number to [r, g, b], lowest, highest, share: function, at: inverse of share, isLogarithmic}.
 */
export function scaleOf(row, values) {
  const isLogarithmic = row.scale === "logarithmic";
  let lowest = Infinity;
  let highest = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value) || (isLogarithmic && value <= 0)) continue;
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  if (lowest > highest) [lowest, highest] = isLogarithmic ? [1, 10] : [0, 1];
  const [from, to] = row.range ?? [null, null];
  lowest = from ?? lowest;
  highest = to ?? highest;
  const on = isLogarithmic ? Math.log : (value) => value;
  const back = isLogarithmic ? Math.exp : (value) => value;
  const isDiverging = row.neutral !== null && row.neutral !== undefined;
  if (isDiverging) {
    const most = Math.max(Math.abs(on(highest) - on(row.neutral)), Math.abs(on(lowest) - on(row.neutral)), isLogarithmic ? Math.log(1.1) : 1e-12);
    [lowest, highest] = [back(on(row.neutral) - most), back(on(row.neutral) + most)];
  } else if (isLogarithmic) {
    highest = Math.max(highest, 2 * lowest); // Or all colours would show what is hardly a difference.
  } else if (highest <= lowest) {
    highest = lowest + 1;
  }
  const share = (value) => (isLogarithmic && value <= 0 ? 0 : (on(value) - on(lowest)) / (on(highest) - on(lowest)));
  const at = (part) => back(on(lowest) + part * (on(highest) - on(lowest)));
  const map = isDiverging ? DIVERGING : SEQUENTIAL;
  return { colour: (value) => mixed(map, share(value)), lowest, highest, share, at, isLogarithmic };
}

export function css([red, green, blue]) {
  return `rgb(${red},${green},${blue})`;
}
