import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../examples/common/random.js';
import { affineUint8, kMeans, kMeansCentres, kMeansOfNonZero, nearestCentres, pruningMasks } from '../../examples/common/compression/quantizers.js';

const squares = (a: Float32Array, b: Float32Array) => a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0);

describe('affine uint8', () => {
  it('keeps the ends, uses 256 levels and is off by at most half a step', () => {
    const random = seededRandom(1);
    const values = Float32Array.from({ length: 5000 }, () => random.normal());
    const result = affineUint8(values);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    expect(new Set(result).size).toBeLessThanOrEqual(256);
    expect(Math.min(...result)).toBe(low);
    expect(Math.max(...result)).toBeCloseTo(high, 5);
    const worst = Math.max(...result.map((v, i) => Math.abs(v - values[i])));
    expect(worst).toBeLessThanOrEqual(((high - low) / 510) * 1.001);
  });

  it('leaves equal values as they are', () => {
    expect(affineUint8(Float32Array.of(2, 2))).toEqual(Float32Array.of(2, 2));
  });
});

describe('k-means in one dimension', () => {
  it('finds well separated groups exactly', () => {
    expect([...kMeansCentres(Float32Array.of(5, 1, 9, 1.5, 5.5, 9.5, 0.5), 3)]).toEqual([1, 5.25, 9.25]);
    expect(kMeans(Float32Array.of(5, 1, 9, 1.5), 3)).toEqual(Float32Array.of(5, 1.25, 9, 1.25));
  });

  it('leaves out centres that lose all values', () => {
    expect([...kMeansCentres(Float32Array.of(0, 0, 10), 5)]).toEqual([0, 10]);
    expect([...kMeansCentres(Float32Array.of(3, 3), 1)]).toEqual([3]);
  });

  it('ends where each value is at its nearest centre and each centre is the mean of its values', () => {
    const random = seededRandom(2);
    const values = Float32Array.from({ length: 2000 }, () => random.normal());
    const centres = kMeansCentres(values, 8);
    const nearest = values.map((v) => [...centres].reduce((best, c) => (Math.abs(c - v) < Math.abs(best - v) ? c : best)));
    expect(nearestCentres(values, centres)).toEqual(nearest);
    for (const c of centres) {
      const own = values.filter((_, i) => nearest[i] === Math.fround(c));
      expect(own.reduce((sum, v) => sum + v, 0) / own.length).toBeCloseTo(c, 5);
    }
    expect(squares(values, kMeans(values, 16))).toBeLessThan(squares(values, kMeans(values, 8)));
  });

  it('keeps zeros exactly zero where only the others are clustered', () => {
    expect(kMeansOfNonZero(Float32Array.of(0, 1, 0, 1.5, -2), 2)).toEqual(Float32Array.of(0, 1.25, 0, 1.25, -2));
    expect(kMeansOfNonZero(new Float32Array(3), 2)).toEqual(new Float32Array(3));
  });

  it('refuses a bad k and empty input', () => {
    expect(() => kMeansCentres(Float32Array.of(1), 0)).toThrow('kMeansCentres: k must be an integer ≥ 1, got 0.');
    expect(() => kMeansCentres(new Float32Array(), 2)).toThrow('kMeansCentres: no values.');
  });
});

describe('magnitude pruning', () => {
  it('removes the smallest magnitudes over all layers together', () => {
    const masks = pruningMasks([Float32Array.of(0.1, -5, 0.3), Float32Array.of(-0.2, 4, 0.05)], 0.5);
    expect(masks).toEqual([Float32Array.of(0, 1, 1), Float32Array.of(0, 1, 0)]);
    expect(pruningMasks([Float32Array.of(0, 1)], 0)).toEqual([Float32Array.of(1, 1)]);
    expect(() => pruningMasks([], 1)).toThrow('pruningMasks: sparsity must be in [0, 1), got 1.');
  });
});
