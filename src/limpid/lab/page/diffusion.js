// The forward process in the page. Tested to be bit for bit what limpid.diffusion.level.add_noise gives.

/** x = alpha x0 + sigma eps in float32, into `out`: each product and the sum are rounded as float32 rounds them. */
export function addNoise(x0, eps, alpha, sigma, out) {
  const [a, s] = [Math.fround(alpha), Math.fround(sigma)];
  for (let i = 0; i < x0.length; i++) out[i] = Math.fround(a * x0[i]) + Math.fround(s * eps[i]);
  return out;
}

/** Numbers in [-1, 1], divided by `norm`, as the nearest pixels 0..255. */
export function toPixels(x, norm, out) {
  const scale = 127.5 / norm;
  for (let i = 0; i < x.length; i++) out[i] = x[i] * scale + 127.5; // out is clamped, and rounds
  return out;
}

/** How many of the values, divided by `norm`, are in each of `counts.length` intervals of [-limit, limit]. */
export function histogram(x, norm, limit, counts) {
  counts.fill(0);
  const scale = counts.length / (2 * limit);
  for (let i = 0; i < x.length; i++) {
    const bin = Math.floor((x[i] / norm + limit) * scale);
    if (bin >= 0 && bin < counts.length) counts[bin]++;
  }
  return counts;
}

/** The index of the value nearest to `wanted` in a rising list. */
export function nearest(values, wanted) {
  let [low, high] = [0, values.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted - 1e-9) low = middle + 1;
    else high = middle;
  }
  return low > 0 && wanted - values[low - 1] < values[low] - wanted ? low - 1 : low;
}
