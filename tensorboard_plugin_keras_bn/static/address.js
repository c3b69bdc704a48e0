// What is shown, in the address: a link restores it.
// In TensorBoard the page is an iframe, and the address that a person copies is that of the window around it.

const PREFIX = "p.keras_bn.";
const PLUGIN = "keras_bn";
const LISTS = ["runs"];

function frame() {
  try {
    if (window.parent !== window && window.parent.location.pathname !== undefined) return window.parent;
  } catch {
    // The window around is of another origin, as in a notebook.
  }
  return window;
}

/** Object of what the address says; lists are lists. */
export function read() {
  const state = {};
  for (const part of frame().location.hash.replace(/^#/, "").split("&")) {
    const [name, value = ""] = part.split("=");
    if (!name.startsWith(PREFIX)) continue;
    const key = name.slice(PREFIX.length);
    try {
      const text = decodeURIComponent(value);
      state[key] = LISTS.includes(key) ? JSON.parse(text) : text;
    } catch {
      // A link that was cut short: the rest of it counts.
    }
  }
  if (!Array.isArray(state.runs) || state.runs.some((run) => typeof run !== "string")) delete state.runs;
  return state;
}

/** Writes it into the address, without an entry in the history. */
export function write(state) {
  const around = frame();
  if (around !== window && !around.location.hash.startsWith(`#${PLUGIN}`)) return; // Another tab is open.
  const parts = Object.entries(state)
    .filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([key, value]) => `${PREFIX}${key}=${encodeURIComponent(LISTS.includes(key) ? JSON.stringify(value) : value)}`);
  around.history.replaceState(around.history.state, "", `#${[PLUGIN, ...parts].join("&")}`);
}
