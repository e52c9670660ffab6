// The shell of the page: which view is open, its navigation, light and dark, the keys, the connection.

import { follow } from "./api.js";
import { el, state } from "./dom.js";

// A view is a module with `mount(main) -> unmount` and `keys`, a list of [key, what it does].
const VIEWS = { noise: "Noise", learn: "Learn", sample: "Sample", edit: "Edit", compare: "Compare" };
const KEYS = [
  ["1 … 9", "open a view"],
  ["d", "light or dark"],
  ["Esc", "leave a field, so that letters are keys again"],
  ["?", "these keys"],
];

// Elements in which a key is typed, or has a meaning of its own.
const TYPED = "input:not([type=checkbox], [type=range]), select, textarea, dialog";

const main = document.querySelector("main");
let unmount = () => {};
let keys = [];

async function open() {
  const name = location.hash.slice(1).split("?")[0];
  if (!(name in VIEWS)) {
    location.replace(`#${Object.keys(VIEWS)[0]}`);
    return;
  }
  for (const link of document.querySelectorAll("nav a")) {
    link.toggleAttribute("aria-current", link.hash === `#${name}`);
    if (link.hasAttribute("aria-current")) link.setAttribute("aria-current", "page");
  }
  document.title = `${VIEWS[name]} · limpid lab`;
  unmount();
  unmount = () => {};
  main.replaceChildren(el("p", { class: "state" }, "Loading …"));
  const view = await import(`./${name}.js`).catch((error) => ({ mount: () => fail(error), keys: [] }));
  if (location.hash.slice(1).split("?")[0] !== name) return; // another one was opened meanwhile
  main.replaceChildren();
  main.className = name;
  keys = view.keys;
  unmount = view.mount(main) ?? unmount;
}

function fail(error) {
  const again = el("button", { onclick: () => location.reload() }, "Load the page again");
  main.replaceChildren(state("failed", `This view could not be loaded: ${error.message}`, again));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("limpid-theme", theme);
  document.dispatchEvent(new Event("theme")); // canvases are painted in its colours
}

function switchTheme() {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
}

function showKeys() {
  const rows = [...keys, ...KEYS].map(([key, act]) => el("tr", {}, el("th", {}, el("kbd", {}, key)), el("td", {}, act)));
  const help = document.querySelector("#help");
  const close = el("button", { onclick: () => help.close() }, "Close");
  help.replaceChildren(el("h2", {}, "Keys"), el("table", {}, ...rows), close);
  help.showModal();
}

function onKey(event) {
  if (event.key === "Escape" && event.target.matches(TYPED)) main.focus();
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest(TYPED)) return;
  const link = document.querySelectorAll("nav a")[Number(event.key) - 1];
  if (link) link.click();
  else if (event.key === "d") switchTheme();
  else if (event.key === "?") showKeys();
}

const dark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme =
  localStorage.getItem("limpid-theme") ?? (dark.matches ? "dark" : "light");
dark.addEventListener("change", () => {
  if (!localStorage.getItem("limpid-theme")) document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
  document.dispatchEvent(new Event("theme"));
});

document
  .querySelector("nav")
  .append(...Object.entries(VIEWS).map(([name, title], i) => el("a", { href: `#${name}`, title: `${i + 1}` }, title)));
document.querySelector("#theme-button").onclick = switchTheme;
document.querySelector("#help-button").onclick = showKeys;
document.addEventListener("keydown", onKey);
addEventListener("hashchange", open);
follow((connected, message) => {
  document.querySelector("#status").textContent = connected ? "" : message;
});
open();
