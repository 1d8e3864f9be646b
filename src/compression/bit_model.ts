/**
 * Adaptive probabilities of single bits and their logistic mixing (Mahoney's PAQ family). Only +, −, ×, / on doubles,
 * which IEEE 754 rounds alike everywhere: no `Math.exp` or `Math.log`, whose last bits differ between engines.
 */
import type { Coder } from './range_coder.js';

/** 65536 / (1 + e^−x) at x = (i − 2048) / 128, within what the coder takes. */
const SQUASH = /* @__PURE__ */ (() => {
  let odds = 8886110.520507872; // e^16
  return Uint16Array.from({ length: 4096 }, () => {
    const p = 65536 / (1 + odds);
    odds *= 0.9922179382602435; // e^(−1/128)
    return Math.min(Math.max(p, 1), 65535);
  });
})();

/** Its inverse: 256 · ln(p / (1 − p)) of p = (i + ½) / 16384. */
export const STRETCH = /* @__PURE__ */ (() => {
  let at = 0;
  return Int16Array.from({ length: 16384 }, (_, i) => {
    while (SQUASH[at] < 4 * i + 2) at++;
    return 2 * at - 4096;
  });
})();

/** The probability (of 65536) whose logit is `x` / 128. */
export const squash = (x: number): number => SQUASH[x < -2048 ? 0 : x > 2047 ? 4095 : x + 2048];

/** Step of a counter after n visits, and how far its prediction counts. */
const RATE = /* @__PURE__ */ Float64Array.from({ length: 1024 }, (_, n) => 1 / (n + 1.6));
const CONFIDENCE = /* @__PURE__ */ RATE.map((_, n) => n / (n + 0.4) / 256);

/** The highest bit of a probability is kept inverted: blank memory then means ½, and costs nothing before its use. */
const HALF = 1 << 31;

/** Logistic mixture of adaptive bit counters. */
export interface BitMixer {
  /** The contexts of the next bit: one index into each predictor's table. */
  context: Int32Array;
  /** Codes one bit in the current contexts with weight set `set` (default 0), and learns from it. */
  code(coder: Coder, bit: number, set?: number): number;
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
  // 22 bits of probability and 10 bits of visits in one word: a context is one visit to memory.
  const counters = new Int32Array(total);
  const weights = new Float64Array(count * sets).fill(weight);
  const steps = new Float64Array(sets).fill(1);
  const inputs = new Float64Array(count);
  const context = new Int32Array(count);
  const code = (coder: Coder, bit: number, set = 0): number => {
    const base = set * count;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const counter = counters[offsets[i] + context[i]];
      // A context never seen says nothing; one seen once says less than it seems to.
      const x = STRETCH[(counter ^ HALF) >>> 18] * CONFIDENCE[counter & 1023];
      inputs[i] = x;
      sum += weights[base + i] * x;
    }
    const p = squash((sum * 128) | 0);
    bit = coder.bit(p, bit);
    const step = (bit - p / 65536) * rate * (1 + 8 / steps[set]);
    steps[set] += 0.02;
    for (let i = 0; i < count; i++) {
      weights[base + i] += step * inputs[i];
      const at = offsets[i] + context[i];
      const counter = counters[at];
      const n = counter & 1023;
      const error = (bit << 22) - ((counter ^ HALF) >>> 10);
      counters[at] = counter + ((error * RATE[n]) << 10) + (n < limit ? 1 : 0);
    }
    return bit;
  };
  return { context, code };
}
