// Elements of the page in one expression.

/** An element with attributes, handlers (`onclick`) and children; false and undefined attributes are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node[name] = value;
    else if (value !== false && value !== undefined) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== false));
  return node;
}

/** The state of a view that shows nothing yet: loading, empty or failed, and what can be done. */
export function state(kind, text, ...actions) {
  return el("div", { class: `state ${kind}`, role: kind === "failed" ? "alert" : "status" }, el("p", {}, text), ...actions);
}

/** Let the user save a Blob as a file of this name. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A labelled field for a whole number; anything else is passed on as it was typed, since the server explains the error. */
export function numberField(label, value, set) {
  const input = el("input", { type: "text", inputmode: "numeric", autocomplete: "off", "aria-label": label,
    oninput: () => set(/^-?\d+$/.test(input.value.trim()) ? Number(input.value) : input.value) });
  input.value = value;
  el("label", { class: "field" }, el("span", {}, label), input);
  return input;
}

/** A field beside a button that changes it. */
export function withDice(input, label, act) {
  return el("div", { class: "pair" }, input.parentNode, el("button", { title: label, "aria-label": label.replace(/ \(.\)$/, ""), onclick: act }, "⚄"));
}

/** Lines of code with a button that copies them. */
export function code(text) {
  const copy = el("button", { onclick: () => navigator.clipboard.writeText(text).then(() => (copy.textContent = "Copied")) }, "Copy");
  return el("div", { class: "code" }, el("pre", {}, text), copy);
}
