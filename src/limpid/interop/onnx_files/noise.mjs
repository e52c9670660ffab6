// The noise of limpid's seeds: the same as `limpid sample --seed` starts from, but for the last bit of some numbers.

import { size } from "./sampler.mjs";

const ADDRESS = "picture"; // what limpid's noise is for, which is hashed with the seed

/** Noise for a batch with one seed for each image: a function that gives the next, as of limpid's `--seed`. */
export function batchNoise(seeds, shape) {
  const n = size(shape);
  const images = seeds.map((seed) => torchNoise(seed, n));
  return () => {
    const batch = new Float32Array(seeds.length * n);
    images.forEach((next, i) => batch.set(next(), i * n));
    return batch;
  };
}

/** The noise of one image of limpid: torch's, which is MT19937 with Box and Muller's transform, 16 numbers at a time. */
export function torchNoise(seed, n) {
  const random = mersenneTwister(Number((blake2b64(`('${ADDRESS}', ${seed})`) >> 1n) & 0xffffffffn));
  const uniform = () => (random() & 0xffffff) / 2 ** 24;
  const transform = (values, start) => {
    for (let i = start; i < start + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - values[i])), angle = 2 * Math.PI * values[i + 8];
      [values[i], values[i + 8]] = [radius * Math.cos(angle), radius * Math.sin(angle)];
    }
  };
  return () => {
    const values = Float32Array.from({ length: n }, uniform);
    for (let start = 0; start + 16 <= n; start += 16) transform(values, start);
    if (n % 16) {
      for (let i = n - 16; i < n; i++) values[i] = uniform();
      transform(values, n - 16);
    }
    return values;
  };
}

/** Matsumoto and Nishimura (1998): a function that gives the next 32 bits. */
function mersenneTwister(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let next = 624;
  return () => {
    if (next === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      next = 0;
    }
    let y = state[next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}

const MASK = (1n << 64n) - 1n;
const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const ORDERS = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
  "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
].map((digits) => [...digits].map((digit) => parseInt(digit, 16)));
const MIXES = ["048c", "159d", "26ae", "37bf", "05af", "16bc", "278d", "349e"]
  .map((digits) => [...digits].map((digit) => parseInt(digit, 16)));

/** BLAKE2b (RFC 7693) of a text of at most 128 letters: its digest of 8 bytes as a little-endian number. */
export function blake2b64(text) {
  const bytes = new TextEncoder().encode(text);
  const block = new DataView(new ArrayBuffer(128));
  bytes.forEach((byte, i) => block.setUint8(i, byte));
  const words = Array.from({ length: 16 }, (_, i) => block.getBigUint64(8 * i, true));
  const state = [IV[0] ^ 0x01010008n, ...IV.slice(1)];
  const v = [...state, ...IV];
  v[12] ^= BigInt(bytes.length);
  v[14] ^= MASK;
  const turn = (value, by) => ((value >> by) | (value << (64n - by))) & MASK;
  for (let round = 0; round < 12; round++) {
    const order = ORDERS[round % 10];
    for (const [i, [a, b, c, d]] of MIXES.entries()) {
      for (const [word, first, second] of [[order[2 * i], 32n, 24n], [order[2 * i + 1], 16n, 63n]]) {
        v[a] = (v[a] + v[b] + words[word]) & MASK;
        v[d] = turn(v[d] ^ v[a], first);
        v[c] = (v[c] + v[d]) & MASK;
        v[b] = turn(v[b] ^ v[c], second);
      }
    }
  }
  return state[0] ^ v[0] ^ v[8];
}
