// Sampling with denoiser.onnx and sampler.json, as draw.py does it. Works in a browser and in node.
//
// A sampler is rows of numbers: x' = keep x + sum_i predictions[i] x0_i + sum_j noises[j] eps_j, with x0_0 the newest
// prediction of the network and eps_j new noise. The x of the last row is the image.

/** The images of a sampler, in [-1, 1]: yields { x0, evaluation, evaluations } at each evaluation, then { x }. */
export async function* sample(rows, predict, noise) {
  const memory = Math.max(...rows.map((row) => row.predictions.length));
  let x = null, fraction = null, predictions = [];
  for (const [index, row] of rows.entries()) {
    const eps = row.noises.map(() => noise());
    const next = new Float32Array((x ?? eps[0]).length);
    for (let i = 0; i < next.length; i++) {
      let value = x ? row.keep * x[i] : 0;
      for (let k = 0; k < row.predictions.length; k++) value += row.predictions[k] * predictions[k][i];
      const ratio = row.variance_ratio === undefined ? 1 : row.variance_ratio ** fraction[i];
      for (let k = 0; k < row.noises.length; k++) value += row.noises[k] * ratio * eps[k][i];
      next[i] = value;
    }
    x = next;
    if (index === rows.length - 1) break;
    let x0;
    [x0, fraction] = await predict(x, row);
    predictions = [x0, ...predictions].slice(0, memory);
    yield { x0, evaluation: index + 1, evaluations: rows.length - 1 };
  }
  yield { x };
}

/**
 * E[x0 | x] at the level of a row, guided and clipped, and the fraction of the large variance or null.
 *
 * `run(x, row, labels, weaker)` evaluates the network, or the weaker one that guides it. `labels` is an array of class
 * numbers, or null.
 */
export function predictor(spec, labels, run) {
  const { guidance } = spec, length = size(spec.image_shape);
  const weakerLabels = (n) => {
    if (guidance.null_label === null) return null;
    return guidance.model && labels ? labels : Array(n).fill(guidance.null_label);
  };
  return async (x, row) => {
    let [x0, fraction] = await run(x, row, labels, false);
    if (row.guided) {
      const [weaker] = await run(x, row, weakerLabels(x.length / length), Boolean(guidance.model));
      x0 = applyGuidance(x0, weaker, guidance, length);
    }
    return [spec.clip ? x0.map((value) => Math.min(1, Math.max(-1, value))) : x0, fraction ?? null];
  };
}

/** Evaluates the sessions of onnxruntime: the `run` of `predictor`. */
export function onnxRun(ort, spec, main, guide) {
  return async (x, row, labels, weaker) => {
    const n = x.length / size(spec.image_shape);
    const number = (value) => new ort.Tensor("float64", new Float64Array(n).fill(value), [n]);
    const inputs = { alpha: number(row.alpha), sigma: number(row.sigma) };
    inputs.x = new ort.Tensor("float32", x.slice(), [n, ...spec.image_shape]); // a worker takes what it is given away
    if (labels) inputs.labels = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [n]);
    const { x0, variance_fraction } = await (weaker ? guide : main).run(inputs);
    return [x0.data, variance_fraction?.data];
  };
}

/** x0 pushed away from a weaker prediction, and brought back to its standard deviation by the share `rescale`. */
function applyGuidance(x0, weaker, { scale, rescale }, length) {
  const away = x0.map((value, i) => weaker[i] + scale * (value - weaker[i]));
  if (!rescale) return away;
  for (let start = 0; start < away.length; start += length) {
    const ratio = deviation(x0.subarray(start, start + length)) / deviation(away.subarray(start, start + length));
    for (let i = start; i < start + length; i++) away[i] *= 1 + rescale * (ratio - 1);
  }
  return away;
}

function deviation(values) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
}

export const size = (shape) => shape.reduce((product, side) => product * side, 1);
