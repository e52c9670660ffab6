// A mask that is painted on an image, by mouse, pen or finger, pixel by pixel.

import { el } from "./dom.js";
import { arrowKeys } from "./keyboard.js";

const TINT = [255, 60, 60, 150]; // of what is painted, red, green, blue and how dense
const PARTS = {
  left: (y, x, h, w) => x < w / 2,
  right: (y, x, h, w) => x >= w / 2,
  top: (y, x, h) => y < h / 2,
  bottom: (y, x, h) => y >= h / 2,
  centre: (y, x, h, w) => y >= h >> 2 && y < h - (h >> 2) && x >= w >> 2 && x < w - (w >> 2),
};

export class Mask {
  /** `onChange()` is called after each change of `area`, which has a byte for each pixel: 1 where it is painted. */
  constructor(onChange) {
    this.onChange = onChange;
    this.canvas = el("canvas", { class: "pixels mask", role: "img", "aria-label": "The mask" });
    this.erase = el("button", { "aria-pressed": "false", title: "Erase (e)", onclick: () => this.setErasing() }, "Erase");
    this.brush = el("input", { type: "range", min: 1, max: 10, "aria-label": "Size of the brush" });
    this.brush.value = 4;
    const part = (name) => el("button", { onclick: () => this.fill(PARTS[name]) }, name);
    this.tools = el("div", { class: "tools" },
      el("label", { class: "field" }, el("span", {}, "Brush"), this.brush),
      arrowKeys(el("div", { class: "chips", role: "group", "aria-label": "Mask" }, this.erase,
        el("button", { onclick: () => this.fill(() => false) }, "clear"),
        el("button", { onclick: () => this.invert() }, "invert"), ...Object.keys(PARTS).map(part))));
    this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
    this.canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => (this.last = null));
  }

  /** Begin a mask of this size, with an area that was painted before if it has that size. */
  open(height, width, area) {
    [this.height, this.width] = [this.canvas.height, this.canvas.width] = [height, width];
    this.area = area?.length === height * width ? area : new Uint8Array(height * width);
    this.brush.max = Math.max(2, Math.round(height / 3));
    this.paint();
  }

  setErasing(on = this.erase.getAttribute("aria-pressed") !== "true") {
    this.erase.setAttribute("aria-pressed", `${on}`);
  }

  fill(inside) {
    for (let i = 0; i < this.area.length; i++) this.area[i] = inside(Math.floor(i / this.width), i % this.width, this.height, this.width) ? 1 : 0;
    this.changed();
  }

  invert() {
    for (let i = 0; i < this.area.length; i++) this.area[i] ^= 1;
    this.changed();
  }

  begin(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.last = this.position(event);
    this.stroke(this.last, this.last);
  }

  go(event) {
    if (!this.last) return;
    const here = this.position(event);
    this.stroke(this.last, here);
    this.last = here;
  }

  position(event) {
    const box = this.canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * this.width, ((event.clientY - box.top) / box.height) * this.height];
  }

  /** Paint every pixel whose centre is within the brush along a line. */
  stroke([x0, y0], [x1, y1]) {
    const radius = this.brush.value / 2;
    const value = this.erase.getAttribute("aria-pressed") === "true" ? 0 : 1;
    const steps = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0)));
    for (let step = 0; step <= steps; step++) {
      const [x, y] = [x0 + ((x1 - x0) * step) / steps, y0 + ((y1 - y0) * step) / steps];
      for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(this.height - 1, y + radius); row++) {
        for (let column = Math.max(0, Math.floor(x - radius)); column <= Math.min(this.width - 1, x + radius); column++) {
          const near = Math.hypot(column + 0.5 - x, row + 0.5 - y) <= radius || (row === Math.floor(y) && column === Math.floor(x));
          if (near) this.area[row * this.width + column] = value;
        }
      }
    }
    this.changed();
  }

  changed() {
    this.paint();
    this.onChange();
  }

  paint() {
    const data = new ImageData(this.width, this.height);
    this.area.forEach((on, i) => on && data.data.set(TINT, 4 * i));
    this.canvas.getContext("2d").putImageData(data, 0, 0);
  }
}
