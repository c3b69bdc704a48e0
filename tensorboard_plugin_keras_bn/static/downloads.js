// What is shown, as a file.

import { element } from "./elements.js";

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** rows: lists of texts or numbers. */
export function saveCsv(rows, name) {
  const cell = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  save(new Blob([rows.map((row) => row.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" }), `${name}.csv`);
}

/** Canvases, one below the other or in columns, as one picture. */
export function savePng(canvases, name, columns = 1) {
  const width = Math.max(...canvases.map((one) => one.width));
  const height = Math.max(...canvases.map((one) => one.height));
  const whole = element("canvas");
  whole.width = width * Math.min(columns, canvases.length);
  whole.height = canvases.length === 1 ? height : height * Math.ceil(canvases.length / columns);
  const context = whole.getContext("2d");
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(0, 0, whole.width, whole.height);
  canvases.forEach((one, place) => context.drawImage(one, (place % columns) * width, Math.floor(place / columns) * height));
  whole.toBlob((blob) => save(blob, `${name}.png`));
}

/** Buttons for both. csv: function that returns rows; canvases: function that returns canvases. */
export function downloads(name, csv, canvases, columns = 1) {
  return element(
    "div",
    { class: "downloads" },
    element("button", { type: "button", onclick: () => saveCsv(csv(), name) }, "CSV"),
    element("button", { type: "button", onclick: () => savePng(canvases(), name, columns) }, "PNG"),
  );
}
