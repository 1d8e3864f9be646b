/**
 * Adaptive probabilities of single bits and their logistic mixing (Mahoney's PAQ family). Only +, −, ×, / on doubles,
 * which IEEE 754 rounds alike everywhere: no `Math.exp` or `Math.log`, whose last bits differ between engines.
 */
import { type BitCoder, P_MIN } from './range_coder.js';

const STRETCH_SIZE = 16384;
const SQUASH_SIZE = 4096;

/** Natural logarithm by range reduction and the series of artanh: the same bits on every machine. */
function ln(x: number): number {
  let k = 0;
  for (; x > 1.5; k++) x /= 2;
  for (; x < 0.75; k--) x *= 2;
  const y = (x - 1) / (x + 1);
  const z = y * y;
  return k * 0.6931471805599453 + 2 * y * (1 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z / 11)))));
}

/** `STRETCH[⌊p·16384⌋]` = ln(p / (1 − p)) at the middle of the bin. */
export const STRETCH = /* @__PURE__ */ (() =>
  Float32Array.from({ length: STRETCH_SIZE + 1 }, (_, i) => {
    const p = Math.min(i + 0.5, STRETCH_SIZE - 0.5) / STRETCH_SIZE;
    return ln(p / (1 - p));
  }))();

/** 1 / (1 + e^−x) on a grid over ±12, clamped to what the coder takes. */
const SQUASH = /* @__PURE__ */ (() => {
  let odds = 162754.79141900392; // e^12
  return Float64Array.from({ length: SQUASH_SIZE + 1 }, () => {
    const p = 1 / (1 + odds);
    odds *= 0.9941577576591378; // e^(−24/4096)
    return Math.min(Math.max(p, P_MIN), 1 - P_MIN);
  });
})();

export function squash(x: number): number {
  const at = x * (SQUASH_SIZE / 24) + (SQUASH_SIZE / 2 + 0.5);
  return SQUASH[at < 0 ? 0 : at > SQUASH_SIZE ? SQUASH_SIZE : at | 0];
}

/** Step of a counter after n visits, and how far its prediction counts. */
export const RATE = /* @__PURE__ */ Float64Array.from({ length: 1024 }, (_, n) => 1 / (n + 1.6));
const CONFIDENCE = /* @__PURE__ */ RATE.map((_, n) => n / (n + 0.4));

/** Logistic mixture of adaptive bit counters. */
export interface BitMixer {
  /** The contexts of the next bit: one index into each predictor's table. */
  context: Int32Array;
  /** Codes one bit in the current contexts with weight set `set` (default 0), and learns from it. */
  code(coder: BitCoder, bit: number, set?: number): number;
}

/**
 * Makes a mixture of one predictor per entry of `sizes`, which holds its number of contexts. All weights begin as
 * `weight` and move by `rate`, at first nine times as fast; a counter's step is 1 / (visits + 1.6), visits counted up to
 * `limit` (< 1024). There are `sets` of weights to choose from.
 */
export function bitMixer(sizes: readonly number[], weight: number, rate: number, limit: number, sets = 1): BitMixer {
  const count = sizes.length;
  let total = 0;
  const offsets = Int32Array.from(sizes, (size) => (total += size) - size);
  const probability = new Float64Array(total).fill(0.5);
  const visits = new Uint16Array(total);
  const weights = new Float64Array(count * sets).fill(weight);
  const steps = new Float64Array(sets).fill(1);
  const inputs = new Float64Array(count);
  const context = new Int32Array(count);
  const code = (coder: BitCoder, bit: number, set = 0): number => {
    const base = set * count;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const at = offsets[i] + context[i];
      // A context never seen says nothing; one seen once says less than it seems to.
      const n = visits[at];
      const x = STRETCH[(probability[at] * STRETCH_SIZE) | 0] * CONFIDENCE[n];
      inputs[i] = x;
      sum += weights[base + i] * x;
    }
    const p = squash(sum);
    bit = coder.bit(p, bit);
    const step = (bit - p) * rate * (1 + 8 / steps[set]);
    steps[set] += 0.02;
    for (let i = 0; i < count; i++) {
      weights[base + i] += step * inputs[i];
      const at = offsets[i] + context[i];
      const n = visits[at];
      probability[at] += (bit - probability[at]) * RATE[n];
      if (n < limit) visits[at] = n + 1;
    }
    return bit;
  };
  return { context, code };
}
