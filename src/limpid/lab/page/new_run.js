// The form of a new run: a recipe, its fields, and the button that starts it.

import { ask } from "./api.js";
import { el } from "./dom.js";
import { form } from "./form.js";
import { onEnter } from "./keyboard.js";

/** What the form holds, stored for a reload. */
export const NEW_RUN = { recipe: "demo", name: "", value: null };

export class NewRun {
  /** `chosen` holds the form's values, `taken(name)` is whether a run has a name, `onStart(run)` is called after a start. */
  constructor({ recipes, schema, images }, chosen, taken, onStart) {
    Object.assign(this, { recipes, schema, images, chosen, taken, onStart });
    this.recipe = el("select", { "aria-label": "Recipe", onchange: () => this.open(this.recipe.value) },
      ...recipes.map(({ name }) => el("option", {}, name)));
    this.about = el("p", { class: "hint" });
    this.cost = el("p", { class: "hint" });
    this.name = el("input", { type: "text", autocomplete: "off", spellcheck: "false", "aria-label": "Name of the run", oninput: () => (chosen.name = this.name.value) });
    this.fields = el("div", {});
    this.hint = el("p", { class: "hint doc" });
    this.error = el("p", { class: "error", role: "alert", hidden: true });
    this.button = el("button", { class: "primary", onclick: () => this.start() }, "Start training");
    for (const event of ["focusin", "mouseover"]) this.fields.addEventListener(event, this.onHint);
    this.nodes = [
      el("section", {}, el("h2", {}, "New run"), this.recipe, this.about, this.cost,
        el("label", { class: "field" }, el("span", {}, "Name"), this.name), this.fields),
      el("div", { class: "act" }, this.hint, this.error, this.button),
    ];
    onEnter(this.name, () => this.start());
    this.open(chosen.recipe, chosen.value);
  }

  /** The documentation of the field under the mouse or the focus and of its group, where it moves no field. */
  onHint = ({ target }) => {
    const field = target.closest("[title]:not([title=''])");
    const group = field?.parentElement.closest("details[title]:not([title=''])");
    if (field) this.hint.textContent = [field.title, group?.title.split("\n\n")[0]].filter(Boolean).join(" – ");
  };

  /** Show the form of a recipe, with other values if there are some. */
  open(name, value = null) {
    const found = this.recipes.find((recipe) => recipe.name === name) ?? this.recipes[0];
    const { chosen } = this;
    if (!value || found.name !== chosen.recipe) {
      value = structuredClone(found.recipe);
      if (value.data.kind === "Folder" && this.images.length) value.data.root = this.images[0];
      chosen.name = this.freeName(found.name);
    }
    Object.assign(chosen, { recipe: found.name, value });
    [this.recipe.value, this.name.value] = [found.name, chosen.name];
    const [about, cost = ""] = found.doc.split("\n\n");
    [this.about.textContent, this.cost.textContent] = [about.replaceAll("\n", " "), cost.replaceAll("\n", " ")];
    this.form = form(this.schema, value, (next) => {
      chosen.value = next;
      this.showError("");
    }, "", { folded: true });
    this.fields.replaceChildren(this.form.node);
  }

  /** A name for a run that no run has. */
  freeName(recipe) {
    let name = recipe;
    for (let i = 2; this.taken(name); i++) name = `${recipe}-${i}`;
    return name;
  }

  /** Offer another name once a run has the one that is offered, unless it is being typed. */
  renameIfTaken() {
    if (document.activeElement === this.name || !this.taken(this.chosen.name)) return;
    this.name.value = this.chosen.name = this.freeName(this.chosen.recipe);
  }

  showError(message) {
    const inForm = message.startsWith("request.recipe");
    this.form.show(inForm ? message : "");
    this.error.hidden = !message || inForm;
    this.error.textContent = message.replace("request.", "");
  }

  async start() {
    this.button.disabled = true;
    try {
      const { run } = await ask("training/start", { name: this.chosen.name, recipe: this.chosen.value });
      this.showError("");
      this.onStart(run);
    } catch (error) {
      this.showError(error.message);
    } finally {
      this.button.disabled = false;
    }
  }
}
