import { describe, expect, it } from 'vitest';
import { classQuantizer, classQuantizers } from '../../src/clustering/entropy_constrained.js';
import { optimalPartitions } from '../../src/clustering/optimal_clusters.js';
import { assignValues, classesCost, nearestQuantizer, quantizerCost, withCentroids, type ScalarQuantizer } from '../../src/clustering/scalar_quantizer.js';
import { meanOf, weightedPoints, type WeightedPoints } from '../../src/clustering/weighted_points.js';
import { seededNormal } from '../helpers.js';

describe('a scalar quantiser', () => {
  it('sends each weight to the nearest value, the lower one at a tie', () => {
    const quantizer = nearestQuantizer([1, -1, 0]);
    expect([...quantizer.values]).toEqual([-1, 0, 1]);
    expect([...assignValues(Float32Array.of(-9, -0.5, -0.4, 0.5, 0.6, 9), quantizer)]).toEqual([0, 0, 1, 1, 2, 2]);
  });

  it('has the error and the entropy of what it does', () => {
    const weights = Float32Array.of(0, 0, 0, 1, 1.5, 2);
    const quantizer = nearestQuantizer([0, 1.5]);
    const { error, bits, used } = quantizerCost(weightedPoints(weights), quantizer);
    expect(error).toBeCloseTo(0.5, 12);
    expect(bits).toBeCloseTo(6, 12);
    expect(used).toBe(2);
  });

  it('takes the means of its weights, leaves out values without, and keeps zero', () => {
    const weights = Float32Array.of(-0.1, 0.2, 1, 2);
    const indices = Uint8Array.of(1, 1, 2, 2);
    expect([...withCentroids(weights, indices, Float32Array.of(-1, 0, 1), true).values]).toEqual([0, 1.5]);
    const free = withCentroids(weights, indices, Float32Array.of(-1, 0, 1), false);
    expect(free.values[0]).toBeCloseTo(0.05, 6);
    expect([...free.indices]).toEqual([0, 0, 1, 1]);
  });
});

/** The quantiser of weights that all count the same. */
function entropyConstrained(points: WeightedPoints, slope: number, zero = false): ScalarQuantizer {
  const { values, thresholds } = classQuantizer([{ points, importance: 1 }], slope, zero);
  return { values, thresholds: thresholds[0] };
}

describe('an entropy-constrained quantiser', () => {
  const weights = Float32Array.from({ length: 50_000 }, seededNormal(11));
  const points = weightedPoints(weights);

  it('takes fewer bits than k-means at equal error', () => {
    const partitions = optimalPartitions(points, 16);
    for (const k of [4, 8, 16]) {
      const ends = partitions.ends(k);
      const kMeans = quantizerCost(points, nearestQuantizer(ends.map((end, j) => meanOf(points, j === 0 ? 0 : ends[j - 1], end))));
      // The slope that gives the same error, by halves.
      let [low, high] = [1e-6, 10];
      for (let i = 0; i < 40; i++) {
        const middle = Math.sqrt(low * high);
        if (quantizerCost(points, entropyConstrained(points, middle)).error > kMeans.error) high = middle;
        else low = middle;
      }
      const found = quantizerCost(points, entropyConstrained(points, low));
      expect(found.error).toBeLessThanOrEqual(kMeans.error);
      expect(found.bits).toBeLessThan(0.99 * kMeans.bits);
    }
  });

  it('comes within a quarter of a bit and a bit of the rate-distortion bound of the normal density, ½ log₂ σ²/D', () => {
    const variance = points.second[points.values.length] / weights.length;
    for (const slope of [0.3, 0.03, 0.003]) {
      const { error, bits } = quantizerCost(points, entropyConstrained(points, slope));
      const excess = bits / weights.length - 0.5 * Math.log2((variance * weights.length) / error);
      expect(excess).toBeGreaterThan(0);
      expect(excess).toBeLessThan(0.26);
    }
  });

  it('keeps zeros, and only with a value of exactly 0', () => {
    const sparse = weights.map((w, i) => (i % 3 === 0 ? 0 : w));
    for (const slope of [2, 0.1, 0.001]) {
      const quantizer = entropyConstrained(weightedPoints(sparse), slope, true);
      const indices = assignValues(sparse, quantizer);
      expect(sparse.every((w, i) => w !== 0 || quantizer.values[indices[i]] === 0)).toBe(true);
    }
  });

  it('makes one value of a constant', () => {
    expect([...entropyConstrained(weightedPoints(Float32Array.of(2, 2)), 0.1).values]).toEqual([2]);
  });

  it('comes in small steps from few bits to many, none beaten by another, and no slope\'s own descent costs less', () => {
    // A sum of normals of two widths, as trained weights are; and weights of which a quarter counts more.
    const wide = weights.map((w, i) => (i % 3 === 0 ? 3 * w : w));
    const part = (rest: number[]) => weightedPoints(wide.filter((_, i) => rest.includes(i % 4)));
    const slopes = Array.from({ length: 60 }, (_, j) => 2 ** (1 - 0.1 * j));
    for (const classes of [[{ points: weightedPoints(wide), importance: 1 }], [{ points: part([0]), importance: 2 }, { points: part([1, 2, 3]), importance: 0.7 }]]) {
      const found = classQuantizers(classes, slopes);
      for (const slope of slopes) {
        const own = classesCost(classes, classQuantizer(classes, slope));
        expect(Math.min(...found.map(({ weighted, bits }) => weighted + slope * bits))).toBeLessThanOrEqual(own.weighted + slope * own.bits);
      }
      const pairs = found.slice(1).map((each, i) => ({ bits: (each.bits - found[i].bits) / wide.length, weighted: each.weighted - found[i].weighted }));
      expect(pairs.every(({ bits, weighted }) => bits > 0 && weighted < 0)).toBe(true);
      expect(Math.max(...pairs.map(({ bits }) => bits))).toBeLessThan(0.1);
      expect(found.at(-1)!.bits).toBeGreaterThan(found[0].bits + 2 * wide.length);
    }
  });
});
