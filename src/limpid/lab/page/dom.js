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
