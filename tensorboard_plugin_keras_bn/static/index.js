// The page: which runs are chosen, which view is open, and when it is drawn anew.

import * as address from "./address.js";
import * as colours from "./colours.js";
import { distributions } from "./distributions.js";
import { buttons, choice, element } from "./elements.js";
import { heatmap } from "./heatmap.js";
import { overview } from "./overview.js";
import { profile } from "./profile.js";
import * as quantities from "./quantities.js";
import { answer } from "./server.js";

const VIEWS = { overview: ["Overview", overview], heatmap: ["Layers × steps", heatmap], profile: ["Profile", profile], distributions: ["Distributions", distributions] };
const MOST_RUNS = 8; // As the server.
const FIRST_RUNS = 4;
const DRAWN = "drawn"; // For the browser's tools, and benchmarks.
const SECONDS_BETWEEN_LOOKS = 5;
const NOTHING = { view: "overview", runs: null, quantity: "", a: "", b: "", mode: "a", layer: "", step: "" };

class Page {
  constructor() {
    this.state = { ...NOTHING, ...address.read() };
    if (!(this.state.view in VIEWS)) this.state.view = "overview";
    this.runs = [];
    this.filter = "";
    this.list = element("ul", { class: "runs" });
    this.tabs = element("div", {});
    this.main = element("main", { "aria-live": "off" });
    this.trouble = element("p", { class: "trouble", role: "alert", hidden: true });
    this.drawn = 0;
  }

  async begin() {
    const filter = element("input", { type: "search", placeholder: "Filter runs", "aria-label": "Filter runs", oninput: () => this.filtered(filter.value) });
    document.body.replaceChildren(
      element("nav", { "aria-label": "Runs" }, filter, this.list),
      element("div", { class: "content" }, this.tabs, this.trouble, this.main),
    );
    this.takeTheme();
    await quantities.load();
    await this.look();
    this.lookAgain();
    let width = this.main.clientWidth;
    new ResizeObserver(() => {
      if (Math.abs(this.main.clientWidth - width) > 4) {
        width = this.main.clientWidth;
        if (width > 0) this.draw();
      }
    }).observe(this.main);
  }

  /** Asks which runs there are; draws anew where something has come. */
  async look() {
    try {
      const { runs } = await answer("runs");
      const isNew = JSON.stringify(runs) !== JSON.stringify(this.runs);
      this.runs = runs;
      this.complain("");
      if (this.state.runs === null) {
        const measured = runs.filter(({ measures }) => Object.keys(measures).length);
        this.state.runs = (measured.length ? measured : runs).slice(0, FIRST_RUNS).map(({ name }) => name);
        if (!runs.length) this.state.runs = null;
      }
      if (isNew) await this.draw();
    } catch (error) {
      this.complain(error.message);
    }
  }

  /** After some seconds, or more where TensorBoard needs long for an answer. */
  lookAgain(seconds = SECONDS_BETWEEN_LOOKS) {
    setTimeout(async () => {
      const began = performance.now();
      // Behind another tab of TensorBoard the frame has no height.
      if (!document.hidden && window.innerHeight > 10) await this.look();
      this.lookAgain(Math.max(SECONDS_BETWEEN_LOOKS, (performance.now() - began) / 100));
    }, 1000 * seconds);
  }

  complain(sentence) {
    this.trouble.textContent = sentence;
    this.trouble.hidden = !sentence;
  }

  /** Changes what is shown. */
  show(change) {
    this.remember(change);
    return this.draw();
  }

  /** Changes what the address says. */
  remember(change) {
    Object.assign(this.state, change);
    address.write(this.state);
  }

  async draw() {
    const number = (this.drawn += 1);
    this.main.setAttribute("aria-busy", "true");
    address.write(this.state);
    this.drawRuns();
    const options = Object.entries(VIEWS).map(([view, [title]]) => [view, title]);
    this.tabs.replaceChildren(buttons("View", options, this.state.view, (view) => this.show({ view })));
    this.tabs.firstChild.classList.add("views");
    if (!this.runs.length) {
      this.main.replaceChildren(element("p", {}, "There are no runs in this log directory yet."));
      this.main.setAttribute("aria-busy", "false");
      return;
    }
    const chosen = this.state.runs.filter((run) => this.runs.some(({ name }) => name === run));
    const page = Object.create(this, { state: { value: { ...this.state, runs: chosen } } });
    try {
      const focused = this.focused();
      const made = await VIEWS[this.state.view][1](page);
      if (number !== this.drawn) return; // Something else was chosen meanwhile.
      const opened = this.main.querySelector("details.numbers")?.open;
      this.main.replaceChildren(...made);
      performance.mark(DRAWN);
      if (opened) this.main.querySelector("details.numbers")?.setAttribute("open", "");
      this.focus(focused);
      this.complain("");
    } catch (error) {
      if (number === this.drawn) this.complain(error.message);
    }
    if (number === this.drawn) this.main.setAttribute("aria-busy", "false");
  }

  /** Which of the controls has the focus, so that it has it in the new page, too. */
  focused() {
    return [...this.main.querySelectorAll(FOCUSABLE)].indexOf(document.activeElement);
  }

  focus(place) {
    if (place >= 0) this.main.querySelectorAll(FOCUSABLE)[place]?.focus();
  }

  drawRuns() {
    const shown = this.runs.filter(({ name }) => matches(name, this.filter));
    const items = shown.map(({ name, measures }) => {
      const isChosen = this.state.runs?.includes(name) ?? false;
      const isFull = !isChosen && (this.state.runs?.length ?? 0) >= MOST_RUNS;
      const box = element("input", { type: "checkbox", checked: isChosen, disabled: isFull, onchange: () => this.toggle(name) });
      const label = element("label", { title: name }, box, element("span", { class: "swatch", style: `background:${this.colour(name)}` }), element("span", {}, name));
      return element("li", { class: Object.keys(measures).length ? "" : "absent" }, label);
    });
    this.list.replaceChildren(...items);
  }

  toggle(run) {
    const runs = this.state.runs ?? [];
    this.show({ runs: runs.includes(run) ? runs.filter((one) => one !== run) : this.runs.map(({ name }) => name).filter((one) => one === run || runs.includes(one)) });
  }

  filtered(text) {
    this.filter = text;
    this.drawRuns();
  }

  colour(run) {
    return colours.ofRun(this.runs.findIndex(({ name }) => name === run), document.body.classList.contains("dark"));
  }

  /** Whether a run has a measure. */
  has(run, measure) {
    return measure in (this.runs.find(({ name }) => name === run)?.measures ?? {});
  }

  /** The chosen runs that have measure/quantity. */
  runsWith(name) {
    const [measure, of] = name.split("/");
    return this.state.runs.filter((run) => of in (this.runs.find((one) => one.name === run)?.measures[measure] ?? {}));
  }

  /** measure/quantity of those that the chosen runs have; null where they have none. */
  chosenQuantity(onlyByLayer = false) {
    const names = this.quantities(onlyByLayer).map(([name]) => name);
    return names.includes(this.state.quantity) ? this.state.quantity : (names[0] ?? null);
  }

  quantities(onlyByLayer) {
    return Object.entries(quantities.measures()).flatMap(([measure, { title, quantities: rows }]) =>
      Object.entries(rows)
        .filter(([of, row]) => (row.by_layer || !onlyByLayer) && this.runsWith(`${measure}/${of}`).length)
        .map(([of, row]) => [`${measure}/${of}`, row.title, title]),
    );
  }

  quantityChoice(name, onlyByLayer = false) {
    const groups = {};
    for (const [value, text, group] of this.quantities(onlyByLayer)) (groups[group] ??= []).push([value, text]);
    return choice("Quantity", groups, name, (quantity) => this.show({ quantity }));
  }

  width() {
    return Math.max(this.main.clientWidth - 24, 420);
  }

  height() {
    return Math.max(window.innerHeight - 300, 160);
  }

  /** Dark where TensorBoard is, or else where the browser asks for it. */
  takeTheme() {
    let around = null;
    try {
      around = window.parent !== window ? window.parent.document.body : null;
    } catch {
      // Of another origin, as in a notebook.
    }
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const take = () => {
      const isDark = around ? around.classList.contains("dark-mode") : dark.matches;
      if (document.body.classList.contains("dark") === isDark) return;
      document.body.classList.toggle("dark", isDark);
      if (this.runs.length) this.draw();
    };
    take();
    dark.addEventListener("change", take);
    if (around) new MutationObserver(take).observe(around, { attributes: true, attributeFilter: ["class"] });
  }
}

const FOCUSABLE = "button, select, input, summary, .picture";

/** Whether a run's name holds the text, or what it describes as a regular expression. */
function matches(name, text) {
  try {
    return new RegExp(text, "i").test(name);
  } catch {
    return name.toLowerCase().includes(text.toLowerCase());
  }
}

/** What TensorBoard calls. */
export async function render() {
  document.head.append(element("link", { rel: "stylesheet", href: "static/style.css" }), element("title", {}, "Batch Norm"));
  await new Page().begin();
}
