/**
 * Adaptive probabilities of single bits and their logistic mixing (Mahoney's PAQ family). Only +, −, ×, / on doubles,
 * which IEEE 754 rounds alike everywhere: no `Math.exp` or `Math.log`, whose last bits differ between engines.
 */
import { type BitCoder, P_MIN } from './range_coder.js';

const STRETCH_SIZE = 16384;
const SQUASH_SIZE = 4096;
const SQUASH_LIMIT = 12;

/** Natural logarithm by range reduction and the series of artanh: the same bits on every machine. */
function ln(x: number): number {
  let k = 0;
  for (; x > 1.5; k++) x /= 2;
  for (; x < 0.75; k--) x *= 2;
  const y = (x - 1) / (x + 1);
  const z = y * y;
  return k * 0.6931471805599453 + 2 * y * (1 + z * (1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z / 11)))));
}

/** e^x as (1 + x/2¹² + …)^(2¹²). */
function exp(x: number): number {
  const step = x / 4096;
  let y = 1 + step + (step * step) / 2;
  for (let i = 0; i < 12; i++) y *= y;
  return y;
}

/** `STRETCH[⌊p·16384⌋]` = ln(p / (1 − p)) at the middle of the bin. */
export const STRETCH = /* @__PURE__ */ (() =>
  Float32Array.from({ length: STRETCH_SIZE + 1 }, (_, i) => {
    const p = Math.min(i + 0.5, STRETCH_SIZE - 0.5) / STRETCH_SIZE;
    return ln(p) - ln(1 - p);
  }))();

/** 1 / (1 + e^−x) on a grid over ±12, clamped to what the coder takes. */
const SQUASH = /* @__PURE__ */ (() =>
  Float64Array.from({ length: SQUASH_SIZE + 1 }, (_, i) => {
    const p = 1 / (1 + exp(-(i / (SQUASH_SIZE / 2) - 1) * SQUASH_LIMIT));
    return Math.min(Math.max(p, P_MIN), 1 - P_MIN);
  }))();

export function stretch(p: number): number {
  return STRETCH[(p * STRETCH_SIZE) | 0];
}

export function squash(x: number): number {
  if (x > 11.9) x = 11.9;
  else if (x < -11.9) x = -11.9;
  return SQUASH[(x * (SQUASH_SIZE / 2 / SQUASH_LIMIT) + (SQUASH_SIZE / 2 + 0.5)) | 0];
}

/** How far an input counts after n visits of its context. */
const CONFIDENCE = /* @__PURE__ */ Float64Array.from({ length: 32 }, (_, n) => n / (n + 0.4));

/** Step of a counter after n visits. */
export const RATE = /* @__PURE__ */ Float64Array.from({ length: 1024 }, (_, n) => 1 / (n + 1.6));

/** What a mixture of bit predictors is built from. */
export interface BitMixerArgs {
  /** One predictor per entry: its number of contexts. */
  sizes: readonly number[];
  /** Number of weight sets to choose from. Default: 1. */
  sets?: number;
  /** First weight of every predictor. */
  weight: number;
  /** Step of the weights (it starts nine times larger and decays to this). */
  rate: number;
  /** A counter's memory: its step is 1 / (visits + 1.6), visits counted up to this. */
  limit: number;
}

/** Logistic mixture of adaptive bit counters, one table of counters per kind of context. */
export class BitMixer {
  private readonly probability: Float64Array;
  private readonly visits: Uint16Array;
  private readonly offsets: Int32Array;
  private readonly weights: Float64Array;
  private readonly steps: Float64Array;
  private readonly inputs: Float64Array;
  private readonly rate: number;
  private readonly limit: number;
  /** The contexts of the next bit: one index into each predictor's table. */
  readonly context: Int32Array;

  constructor({ sizes, sets = 1, weight, rate, limit }: BitMixerArgs) {
    const count = sizes.length;
    let total = 0;
    this.offsets = Int32Array.from(sizes, (size) => (total += size) - size);
    this.probability = new Float64Array(total).fill(0.5);
    this.visits = new Uint16Array(total);
    this.weights = new Float64Array(count * sets).fill(weight);
    this.steps = new Float64Array(sets).fill(1);
    this.inputs = new Float64Array(count);
    this.context = new Int32Array(count);
    this.rate = rate;
    this.limit = limit;
  }

  /** Codes one bit in the current contexts with weight set `set`, and learns from it. */
  code(coder: BitCoder, bit: number, set = 0): number {
    const { context, inputs, offsets, probability, visits, weights, limit } = this;
    const count = inputs.length;
    const base = set * count;
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const at = offsets[i] + context[i];
      // A context never seen says nothing; one seen once says less than it seems to.
      const n = visits[at];
      const x = n === 0 ? 0 : STRETCH[(probability[at] * STRETCH_SIZE) | 0] * CONFIDENCE[n < 31 ? n : 31];
      inputs[i] = x;
      sum += weights[base + i] * x;
    }
    const p = squash(sum);
    bit = coder.bit(p, bit);
    const step = (bit - p) * this.rate * (1 + 8 / this.steps[set]);
    this.steps[set] += 0.02;
    for (let i = 0; i < count; i++) {
      weights[base + i] += step * inputs[i];
      const at = offsets[i] + context[i];
      const n = visits[at];
      probability[at] += (bit - probability[at]) * RATE[n];
      if (n < limit) visits[at] = n + 1;
    }
    return bit;
  }
}
