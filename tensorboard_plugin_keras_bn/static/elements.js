// HTML elements whose texts are text: names of runs, tags and layers may be anything.

/** An element with attributes, listeners ("onclick": function) and children (elements, or texts). */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** A select element. groups: object, a group's name ("" for none) to a list of [value, text]. */
export function choice(label, groups, chosen, onChosen) {
  const select = element("select", { "aria-label": label, onchange: () => onChosen(select.value) });
  for (const [group, options] of Object.entries(groups)) {
    const made = options.map(([value, text]) => element("option", { value, selected: value === chosen }, text));
    select.append(...(group ? [element("optgroup", { label: group }, ...made)] : made));
  }
  return element("label", { class: "choice" }, element("span", {}, label), select);
}

/** Buttons of which one is pressed. options: list of [value, text, whether it can be chosen]. */
export function buttons(label, options, chosen, onChosen) {
  const made = options.map(([value, text, isPossible = true]) =>
    element("button", { type: "button", "aria-pressed": String(value === chosen), disabled: !isPossible, onclick: () => onChosen(value) }, text),
  );
  return element("div", { class: "buttons", role: "group", "aria-label": label }, ...made);
}

/** A table that is made when it is opened. rows: function that returns lists of texts, the first of which is the head. */
export function tableOnDemand(rows) {
  const holder = element("div", { class: "scrolled", tabindex: "0" });
  const fill = () => {
    if (!details.open || holder.firstChild) return;
    const [head, ...body] = rows();
    const cells = (name, texts) => texts.map((text, place) => element(place ? name : "th", place ? {} : { scope: name === "th" ? "col" : "row" }, text));
    const lines = body.map((texts) => element("tr", {}, ...cells("td", texts)));
    holder.append(element("table", {}, element("thead", {}, element("tr", {}, ...cells("th", head))), element("tbody", {}, ...lines)));
  };
  const details = element("details", { class: "numbers", ontoggle: fill }, element("summary", {}, "Numbers as a table"), holder);
  return details;
}
