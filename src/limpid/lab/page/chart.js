// A small line chart as SVG, cheap enough to be changed in every frame: curves, ticks, and a mark that moves.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [240, 154, 52, 24, 34, 10];
const LETTER = 7.8; // about the width of one

function svg(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Ticks at round numbers, at most `count` + 1 of them from `low` to `high`. */
function ticks(low, high, count, integers = false) {
  const raw = (high - low || 1) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = integers ? Math.ceil(raw) : [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= raw);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, i) => (first + i) * step);
}

/**
 * Ticks on a logarithmic axis: 1, 2 and 5 of each power of ten, the powers alone where those are too many, and round
 * numbers where they are too few.
 */
function logTicks(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const powers = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const inside = (factors) => powers.flatMap((power) => factors.map((factor) => factor * 10 ** power)).filter((y) => y >= low * 0.999 && y <= high * 1.001);
  const all = inside([1, 2, 5]);
  return all.length > 5 ? inside([1]) : all.length < 2 ? ticks(low, high, 3) : all;
}

const superscript = (n) => `${n}`.replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

/** A number in few letters. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(2).replace(/\.?0+e/, "e") : `${Number(value.toPrecision(4))}`;
  return text.replace("-", "−").replace(/e([+−-]?)(\d+)$/, (_, sign, n) => `·10${superscript(`${sign === "−" ? "-" : ""}${n}`)}`);
}

/**
 * A chart with `draw(curves, bounds)`, where a curve has `x`, `y` (null where there is none) and a class, and
 * `mark(x, values)`, which moves the mark and its dots. With `powers` the ticks are powers of ten, with `log` the y axis is logarithmic;
 * `format` writes the numbers of the x axis.
 */
export function chart(title, { powers = false, log = false, axis = "u", format = short } = {}) {
  const node = svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  const frame = svg("g", { class: "frame" });
  const lines = svg("g", {});
  const mark = svg("path", { class: "mark", d: "" });
  const dots = svg("g", {});
  const value = svg("text", { class: "value", x: WIDTH - RIGHT, y: 18, "text-anchor": "end" });
  node.append(svg("text", { class: "title", x: 6, y: 18 }, title), value, frame, lines, mark, dots);
  let toX = (x) => x;
  let toY = (y) => y;

  function draw(curves, { x: [x0, x1], y: [y0, y1] }) {
    toX = (x) => LEFT + ((x - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT);
    const scale = log ? Math.log : (y) => y;
    toY = (y) => HEIGHT - BOTTOM - ((scale(y) - scale(y0)) / (scale(y1) - scale(y0) || 1)) * (HEIGHT - BOTTOM - TOP);
    frame.replaceChildren(
      ...(log ? logTicks(y0, y1) : ticks(y0, y1, powers ? 4 : 3, powers)).flatMap((y) => [
        svg("path", { d: `M${LEFT} ${toY(y)}H${WIDTH - RIGHT}` }),
        svg("text", { x: LEFT - 5, y: toY(y) + 4, "text-anchor": "end" }, powers ? `10${superscript(y)}` : short(y)),
      ]),
      ...ticks(x0, x1, 4).map((x) => svg("text", { x: toX(x), y: HEIGHT - 7, "text-anchor": "middle" }, format(x))),
      svg("text", { class: "axis", x: LEFT - 16, y: HEIGHT - 7, "text-anchor": "end" }, axis),
    );
    lines.replaceChildren(...curves.map(({ kind }) => svg("path", { class: `curve ${kind}`, d: "" })));
    dots.replaceChildren(...curves.map(({ kind }) => svg("circle", { class: `dot ${kind}`, r: 4.5, visibility: "hidden" })));
    curves.forEach((curve, i) => redraw(i, curve.x, curve.y));
  }

  /** Other points for one curve, in the same bounds. */
  function redraw(i, x, y) {
    let d = "";
    for (let j = 0, pen = "M"; j < x.length; j++) {
      if (y[j] === null) pen = "M";
      else {
        d += `${pen}${toX(x[j]).toFixed(1)} ${toY(y[j]).toFixed(1)}`;
        pen = "L";
      }
    }
    lines.children[i].setAttribute("d", d);
  }

  /** The mark at x, a dot for each curve at its value, and the values in words. */
  function moveMark(x, values, text) {
    mark.setAttribute("d", `M${toX(x)} ${TOP}V${HEIGHT - BOTTOM}`);
    values.forEach((y, i) => {
      dots.children[i].setAttribute("visibility", y === null || y === undefined ? "hidden" : "visible");
      dots.children[i].setAttribute("cx", toX(x));
      if (y !== null && y !== undefined) dots.children[i].setAttribute("cy", toY(y));
    });
    say(text);
  }

  /** Values in words beside the title, where there is room for them. */
  function say(text) {
    value.textContent = LETTER * (title.length + text.length) < WIDTH - RIGHT ? text : "";
  }

  return { node, draw, redraw, mark: moveMark, say };
}
