// The formula of x with its numbers filled in.

import { short } from "./chart.js";
import { el } from "./dom.js";

/** Where a level is: t of T where the schedules count steps, and u. */
export function inWords(u, paths) {
  const steps = paths.map(({ levels, i }) => levels.T && `t = ${Math.ceil(levels.u[i] * levels.T - 1e-9)} of ${levels.T}`);
  return [...new Set(steps.filter(Boolean)), `u = ${u.toFixed(3)}`].join("  ·  ");
}

/** The formula at the level `i` of a schedule, and what follows from that level. */
export function formula({ kind, levels, i }) {
  const [alpha, sigma, logsnr] = [levels.alpha[i], levels.sigma[i], levels.logsnr[i]];
  const snr = sigma === 0 ? Infinity : logsnr === null ? 0 : Math.exp(logsnr);
  const facts = [`ᾱ = ${fixed(levels.alpha_bar[i])}`, `SNR = ${short(snr)}`, `σ/α = ${short(alpha === 0 ? Infinity : sigma / alpha)}`];
  return el("p", { class: kind },
    el("span", { class: "symbols" }, "x = α x₀ + σ ε"),
    el("span", { class: "numbers" }, " = ", el("b", {}, fixed(alpha)), " x₀ + ", el("b", {}, fixed(sigma)), " ε"),
    el("span", { class: "facts" }, ...facts.map((text) => el("span", {}, text))));
}

const fixed = (value) => (value !== 0 && value < 0.001 ? short(value) : value.toFixed(value < 10 ? 3 : 1));
