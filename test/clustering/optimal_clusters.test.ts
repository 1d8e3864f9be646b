import { describe, expect, it } from 'vitest';
import { initialCentroids, INITIALIZATIONS, lloyd } from '../../src/clustering/lloyd.js';
import { optimalPartitions } from '../../src/clustering/optimal_clusters.js';
import { pointCount, spread, weightedPoints } from '../../src/clustering/weighted_points.js';
import { optimalClusters } from '../../src/index.js';
import { relativeError, seededNormal, seededUniform } from '../helpers.js';

/** The least Σ (w − centre)² over all ways to cut the sorted values into k runs. */
function bruteForce(values: readonly number[], k: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const cost = (start: number, end: number): number => {
    const run = sorted.slice(start, end);
    const mean = run.reduce((sum, w) => sum + w, 0) / run.length;
    return run.reduce((sum, w) => sum + (w - mean) ** 2, 0);
  };
  const best = (start: number, left: number): number => {
    if (left === 1) return cost(start, sorted.length);
    let least = Infinity;
    for (let end = start + 1; end <= sorted.length - left + 1; end++) least = Math.min(least, cost(start, end) + best(end, left - 1));
    return least;
  };
  return best(0, k);
}

/** Σ of the squared distances to the nearest centre, taken from the values themselves. */
const distance = (values: Float32Array, centres: ArrayLike<number>): number =>
  values.reduce((sum, w) => sum + Math.min(...Array.from(centres, (c) => (w - c) ** 2)), 0);

describe('optimalClusters', () => {
  it('takes arrays of floats, and says so of others, which would be sorted as text', () => {
    expect(Array.from(optimalClusters(Float32Array.of(1, 2, 10, 11, 12), 2).centres)).toEqual([1.5, 11]);
    expect(() => optimalClusters([1, 2, 10, 11, 12] as never, 2)).toThrow('optimalClusters: expected a Float32Array of values, got [1, 2, 10, 11, 12]. Use Float32Array.from(values).');
  });

  it('finds by hand what is plain', () => {
    const { centres, counts, error } = optimalClusters(Float32Array.of(11, 1, 10, 2, 12), 2);
    expect([...centres]).toEqual([1.5, 11]);
    expect([...counts]).toEqual([2, 3]);
    expect(error).toBeCloseTo(2.5, 12);
  });

  it('is as good as the best of all partitions, for every k, with repeated values too', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const uniform = seededUniform(seed);
      const values = Float32Array.from({ length: 10 }, () => (seed % 2 ? uniform() : Math.floor(uniform() * 6)));
      for (let k = 1; k <= 5; k++) {
        const best = bruteForce([...values], Math.min(k, new Set(values).size));
        const found = optimalClusters(values, k);
        expect(found.error).toBeCloseTo(best, 6);
        expect(distance(values, found.centres)).toBeCloseTo(best, 6);
      }
    }
  });

  it('is never worse than Lloyd from any initialisation, and better than some', () => {
    const normal = seededNormal(3);
    const points = weightedPoints(Float32Array.from({ length: 3000 }, normal));
    const { errors } = optimalPartitions(points, 16);
    let better = 0;
    for (const initialization of INITIALIZATIONS) {
      for (const k of [4, 16]) {
        const centres = lloyd(points, initialCentroids(points, k, initialization, seededUniform(k)));
        expect(centres.length).toBeLessThanOrEqual(k);
        const error = distance(Float32Array.from(points.values), centres);
        expect(error).toBeGreaterThanOrEqual(errors[k] * (1 - 1e-6));
        if (error > errors[k] * 1.001) better++;
      }
    }
    expect(better).toBeGreaterThan(0);
  });

  it('reaches the error that Lloyd and Max give for the normal density', () => {
    // Max 1960, "Quantizing for minimum distortion", table I: 0.3634, 0.1175, 0.03454, 0.009497 for 2, 4, 8, 16 values.
    const values = Float32Array.from({ length: 200_000 }, seededNormal(5));
    const variance = spread(weightedPoints(values), 0, pointCount(weightedPoints(values))) / values.length;
    const found = [2, 4, 8, 16].map((k) => optimalClusters(values, k).error / values.length / variance);
    expect(relativeError(found, [0.3634, 0.1175, 0.03454, 0.009497])).toBeLessThan(0.01);
  });

  it('joins values only where there are too many, and stays within a thousandth of the exact error', () => {
    const values = Float32Array.from({ length: 20_000 }, seededNormal(7));
    values[0] = 50;
    const joined = weightedPoints(values);
    const exact = weightedPoints(values, values.length);
    expect(joined.exact).toBe(false);
    expect(exact.exact).toBe(true);
    expect(pointCount(joined)).toBeLessThanOrEqual(8193);
    const k = 16;
    expect(optimalPartitions(joined, k).errors[k] / optimalPartitions(exact, k).errors[k]).toBeLessThan(1.001);
  });

  it('gives fewer centres than asked for where there are fewer values', () => {
    expect([...optimalClusters(Float32Array.of(2, 2, 2), 4).centres]).toEqual([2]);
    expect(optimalClusters(Float32Array.of(-0, 0, 1), 8).error).toBe(0);
  });

  it('says what it cannot cluster', () => {
    expect(() => optimalClusters(Float32Array.of(), 2)).toThrow('optimalClusters: expected at least one value, got none.');
    expect(() => optimalClusters(Float32Array.of(1, NaN), 2)).toThrow('optimalClusters: values[1] is NaN. Only finite values can be clustered.');
    expect(() => optimalClusters(Float32Array.of(1), 0.5)).toThrow('optimalClusters: k must be an integer ≥ 1, got 0.5.');
  });
});
