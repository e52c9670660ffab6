// A form made of a schema of the server: one field for each field of a frozen dataclass, in any depth.

import { el } from "./dom.js";

/** A new value of a type: the default of the field if it has one. */
function initial(type) {
  if (type.default !== undefined) return structuredClone(type.default);
  if (type.type === "struct") {
    return { kind: type.kind, ...Object.fromEntries(type.fields.map((field) => [field.name, initial(field)])) };
  }
  if (type.type === "union") return initial(Object.values(type.members)[0]);
  return { bool: false, int: 0, float: 0, text: "", list: [], choice: type.choices?.[0] }[type.type];
}

/** What was typed, as a number where one is expected: the server says what is wrong with anything else. */
function parse(type, text) {
  if (type.type === "list") {
    const parts = text.split(/[\s,]+/).filter(Boolean).map((part) => parse(type.item, part));
    return parts.length === 1 && typeof type.default === "number" ? parts[0] : parts; // one for all, or a list
  }
  const number = Number(text);
  return ["int", "float"].includes(type.type) && text.trim() !== "" && Number.isFinite(number) ? number : text;
}

/**
 * A form for `value` of the type `schema`. `onChange(value)` is called after each change.
 * `show(message)` puts a line of the server beside the field that it names, or below the form; "" takes it away.
 * With `folded` every field that has fields of its own can be opened, and is closed at first.
 */
export function form(schema, value, onChange, label = "", { folded = false } = {}) {
  const node = el("div", { class: "form" });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  let current = structuredClone(value);
  const set = (next) => {
    current = next;
    onChange(current);
  };
  node.append(field(schema, current, set, "", label, folded), error);
  return { node, show: (message) => showError(node, error, message), value: () => current };
}

function field(type, value, set, path, label, folded = false) {
  if (type.type === "union") return union(type, value, set, path, label);
  if (type.type === "struct") return struct(type, value, set, path, folded);
  return labelled(type, path, label, input(type, value, set));
}

function labelled(type, path, label, control) {
  control.setAttribute("aria-label", words(label));
  return el("label", { class: "field", title: type.doc, "data-path": path }, el("span", {}, words(label)), control);
}

function struct(type, value, set, path, folded = false) {
  const node = el("div", { class: "struct" });
  const current = { ...value, kind: type.kind };
  for (const part of type.fields) {
    const change = (next) => {
      current[part.name] = next;
      set({ ...current });
    };
    const made = field(part, current[part.name] ?? initial(part), change, `${path}.${part.name}`, part.name);
    node.append(folded && ["struct", "union"].includes(part.type) ? fold(part, made) : made);
  }
  return node;
}

/** A field that is opened by its name. */
function fold(part, node) {
  return el("details", { title: part.doc }, el("summary", {}, words(part.name)), node);
}

function union(type, value, set, path, label) {
  const fields = el("div", { class: "members" });
  const hint = el("p", { class: "hint" });
  const kind = typeof value === "string" ? value : value.kind;
  const choices = Object.keys(type.members).map((name) => el("option", { selected: name === kind }, name));
  const show = (name, chosen) => {
    const member = type.members[name];
    hint.textContent = member.doc.split("\n\n")[0].replaceAll("\n", " ");
    hint.hidden = !member.doc || !member.fields.length;
    fields.replaceChildren(struct(member, chosen, set, path));
  };
  const select = el("select", {
    onchange: () => {
      const chosen = initial(type.members[select.value]);
      show(select.value, chosen);
      set(chosen);
    },
  }, ...choices);
  show(kind in type.members ? kind : Object.keys(type.members)[0], typeof value === "string" ? {} : value);
  return el("div", { class: "union" }, labelled(type, path, label, select), hint, fields);
}

function input(type, value, set) {
  if (type.type === "bool") {
    const box = el("input", { type: "checkbox", onchange: () => set(box.checked) });
    box.checked = value;
    return box;
  }
  if (type.type === "choice") {
    const choices = type.choices.map((choice) => el("option", { selected: choice === value }, `${choice}`));
    const select = el("select", { onchange: () => set(type.choices[select.selectedIndex]) }, ...choices);
    return select;
  }
  const text = el("input", {
    type: "text",
    inputmode: ["int", "float"].includes(type.type) ? "decimal" : "text",
    autocomplete: "off",
    spellcheck: "false",
    oninput: () => set(parse(type, text.value)),
  });
  text.value = Array.isArray(value) ? value.join(", ") : `${value}`;
  return text;
}

/** The name of a field as words: beta_start is read as beta start. */
function words(name) {
  return name.replaceAll("_", " ");
}

function showError(node, error, message) {
  node.querySelectorAll("[aria-invalid]").forEach((one) => one.removeAttribute("aria-invalid"));
  error.hidden = !message;
  error.textContent = message.replace(/^request\.\w+\.?/, "");
  if (!message) return;
  const named = [...node.querySelectorAll("[data-path]")].filter(
    ({ dataset }) => dataset.path && message.match(new RegExp(`${dataset.path.replaceAll(".", "\\.")}\\b`)),
  );
  const found = named.sort((a, b) => b.dataset.path.length - a.dataset.path.length)[0];
  for (let fold = found?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  found?.querySelector("input, select").setAttribute("aria-invalid", "true");
  (found ?? node.lastElementChild).after(error);
}
