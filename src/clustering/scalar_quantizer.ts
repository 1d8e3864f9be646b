/** A map of the line onto few values, by thresholds between them, and what it costs. Pure. */
import { distanceTo, firstAbove, type WeightedPoints } from './weighted_points.js';

/** w goes to values[j] for thresholds[j − 1] < w ≤ thresholds[j]. */
export interface ScalarQuantizer {
  /** Float32, increasing. At most 256. */
  values: Float32Array;
  /** One fewer, not decreasing. */
  thresholds: Float64Array;
}

/** Every value half-way to its neighbours: each weight goes to the nearest. `centres` in any order, doubles allowed. */
export function nearestQuantizer(centres: ArrayLike<number>): ScalarQuantizer {
  const values = Float32Array.from(new Set(Float32Array.from(centres))).sort();
  return { values, thresholds: Float64Array.from({ length: values.length - 1 }, (_, j) => (values[j] + values[j + 1]) / 2) };
}

/** The number of each weight's value. `classes`: by which of the lists of thresholds each weight goes. */
export function assignValues(weights: Float32Array, { values, thresholds }: ScalarQuantizer): Uint8Array;
export function assignValues(weights: Float32Array, quantizer: { values: Float32Array; thresholds: Float64Array[] }, classes: Uint8Array): Uint8Array;
export function assignValues(weights: Float32Array, { values, thresholds }: { values: Float32Array; thresholds: Float64Array | Float64Array[] }, classes?: Uint8Array): Uint8Array {
  if (values.length > 256) throw new Error(`assignValues: at most 256 values, got ${values.length}.`);
  return Uint8Array.from(weights, (w, i) => {
    const own = classes === undefined ? (thresholds as Float64Array) : (thresholds as Float64Array[])[classes[i]];
    let low = 0;
    let high = own.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (w > own[middle]) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}

export interface QuantizerCost {
  /** Σ (w − value)². */
  error: number;
  /** Σ h (w − value)², with what an error of each weight counts. */
  weighted: number;
  /** What an ideal order-0 code of the numbers takes. */
  bits: number;
  /** Values that some weight has. */
  used: number;
}

/** What a quantiser costs where all weights count the same; each point goes as a whole. */
export const quantizerCost = (points: WeightedPoints, { values, thresholds }: ScalarQuantizer): QuantizerCost => classesCost([{ points, importance: 1 }], { values, thresholds: [thresholds] });

/** What it costs over classes of weights, each with its own thresholds. */
export function classesCost(classes: readonly { points: WeightedPoints; importance: number }[], { values, thresholds }: { values: Float32Array; thresholds: Float64Array[] }): QuantizerCost {
  const counts = new Float64Array(values.length);
  let [error, weighted, total] = [0, 0, 0];
  classes.forEach(({ points, importance }, c) => {
    let start = 0;
    for (let j = 0; j < values.length; j++) {
      const end = j < values.length - 1 ? Math.max(start, firstAbove(points, thresholds[c][j])) : points.values.length;
      if (end > start) {
        const own = distanceTo(points, start, end, values[j]);
        error += own;
        weighted += importance * own;
        counts[j] += points.counts[end] - points.counts[start];
      }
      start = end;
    }
    total += points.counts[points.values.length];
  });
  const used = counts.filter((count) => count > 0);
  return { error, weighted, bits: used.reduce((sum, count) => sum - count * Math.log2(count / total), 0), used: used.length };
}

/**
 * A quantiser with the mean of its weights in place of each value; those without weights go. `zero` keeps a value of 0 where it is. Weight i
 * enters the mean `importance(i)` times.
 */
export function withCentroids(weights: Float32Array, indices: Uint8Array, values: Float32Array, zero: boolean, importance: (i: number) => number = () => 1): { values: Float32Array; indices: Uint8Array } {
  const sums = new Float64Array(values.length);
  const counts = new Float64Array(values.length);
  for (let i = 0; i < weights.length; i++) {
    const h = importance(i);
    sums[indices[i]] += h * weights[i];
    counts[indices[i]] += h;
  }
  const centroids = values.map((value, j) => (counts[j] === 0 || (zero && value === 0) ? value : sums[j] / counts[j]));
  const kept = Float32Array.from(new Set(centroids.filter((_, j) => counts[j] > 0))).sort();
  const places = Uint8Array.from(centroids, (value) => Math.max(0, kept.indexOf(value)));
  return { values: kept, indices: indices.map((j) => places[j]) };
}
