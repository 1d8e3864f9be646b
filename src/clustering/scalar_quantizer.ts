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

/** The number of each weight's value. */
export function assignValues(weights: Float32Array, { values, thresholds }: ScalarQuantizer): Uint8Array {
  if (values.length > 256) throw new Error(`assignValues: at most 256 values, got ${values.length}.`);
  const last = thresholds.length;
  return Uint8Array.from(weights, (w) => {
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (w > thresholds[middle]) low = middle + 1;
      else high = middle;
    }
    return low;
  });
}

/** Σ (w − value)², and what an ideal order-0 code of the numbers takes, in bits; each point goes as a whole. */
export function quantizerCost(points: WeightedPoints, { values, thresholds }: ScalarQuantizer): { error: number; bits: number; used: number } {
  const total = points.counts[points.counts.length - 1];
  let error = 0;
  let bits = 0;
  let used = 0;
  let start = 0;
  for (let j = 0; j < values.length; j++) {
    const end = j < thresholds.length ? Math.max(start, firstAbove(points, thresholds[j])) : points.values.length;
    const count = points.counts[end] - points.counts[start];
    if (count > 0) {
      error += distanceTo(points, start, end, values[j]);
      bits -= count * Math.log2(count / total);
      used++;
    }
    start = end;
  }
  return { error, bits, used };
}

/** A quantiser with the mean of its weights in place of each value; those without weights go. `zero` keeps a value of 0 where it is. */
export function withCentroids(weights: Float32Array, indices: Uint8Array, values: Float32Array, zero: boolean): { values: Float32Array; indices: Uint8Array } {
  const sums = new Float64Array(values.length);
  const counts = new Float64Array(values.length);
  for (let i = 0; i < weights.length; i++) {
    sums[indices[i]] += weights[i];
    counts[indices[i]]++;
  }
  const centroids = values.map((value, j) => (counts[j] === 0 || (zero && value === 0) ? value : sums[j] / counts[j]));
  const kept = Float32Array.from(new Set(centroids.filter((_, j) => counts[j] > 0))).sort();
  const places = Uint8Array.from(centroids, (value) => Math.max(0, kept.indexOf(value)));
  return { values: kept, indices: indices.map((j) => places[j]) };
}
