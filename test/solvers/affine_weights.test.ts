import { describe, expect, it } from 'vitest';
import { affineWeights } from '../../src/solvers/affine_weights.js';

/** Weights for residuals given as vectors. */
function weightsFor(residuals: number[][], ridge = 0, usable = residuals.map((_, j) => j)): { weights: number[]; solved: boolean } {
  const n = residuals.length;
  const gram = new Float64Array(n * n);
  residuals.forEach((a, i) => residuals.forEach((b, j) => (gram[i * n + j] = a.reduce((sum, value, k) => sum + value * b[k], 0))));
  const weights = new Float64Array(n);
  const solved = affineWeights(gram, n, usable, n - 1, ridge, weights);
  return { weights: Array.from(weights), solved };
}

describe('affineWeights', () => {
  it('finds the point of a line that is nearest to zero', () => {
    // (1, 1) and (3, -1): the line x + y = 2 is nearest at (1, 1)
    expect(weightsFor([[3, -1], [1, 1]]).weights.map((x) => x + 0)).toEqual([0, 1]);
    // (0, 2) and (4, -2): at half way down the line, (1, 1) = ¾ (0, 2) + ¼ (4, −2)
    const { weights } = weightsFor([[0, 2], [4, -2]]);
    expect(weights[0]).toBeCloseTo(0.75, 12);
    expect(weights[1]).toBeCloseTo(0.25, 12);
  });

  it('cancels residuals that enclose zero', () => {
    const { weights, solved } = weightsFor([[1, 0], [0, 1], [-1, -1]]);
    expect(solved).toBe(true);
    weights.forEach((weight) => expect(weight).toBeCloseTo(1 / 3, 12));
  });

  it('adds up to 1 whatever the scale of the residuals', () => {
    for (const scale of [1e-12, 1, 1e12]) {
      const { weights } = weightsFor([[scale, 0.5 * scale], [-0.3 * scale, scale], [0.2 * scale, 0.1 * scale]], 1e-5);
      expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
      weights.forEach((weight, j) => expect(weight).toBeCloseTo(weightsFor([[1, 0.5], [-0.3, 1], [0.2, 0.1]], 1e-5).weights[j], 9));
    }
  });

  it('stays finite and small for a singular Gram matrix: duplicates, parallel residuals, more than dimensions, zeros', () => {
    const cases = [
      [[1, 2], [1, 2]],
      [[1, 2], [1, 2], [1, 2]],
      [[4, 4], [2, 2], [1, 1]],
      [[5], [-3], [2], [1], [0.5], [0.25]],
      [[1, 0], [0, 0]],
      [[0, 0], [0, 0]],
    ];
    for (const residuals of cases) {
      const { weights, solved } = weightsFor(residuals, 1e-5);
      expect(solved).toBe(true);
      expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
      expect(Math.max(...weights.map(Math.abs))).toBeLessThan(10);
      const combined = residuals[0].map((_, k) => residuals.reduce((sum, row, j) => sum + weights[j] * row[k], 0));
      expect(Math.hypot(...combined)).toBeLessThanOrEqual(Math.hypot(...residuals.at(-1)!) + 1e-9);
    }
  });

  it('gives weight to usable residuals only', () => {
    expect(weightsFor([[1, 0], [0, 2], [0, -1]], 0, [1, 2]).weights[0]).toBe(0);
    expect(weightsFor([[1, 0], [0, 2], [0, -1]], 0, [2]).weights).toEqual([0, 0, 1]);
  });

  it('puts the weight on the newest, and says so, where there is no solution', () => {
    expect(weightsFor([[NaN, 1], [1, 1]])).toEqual({ weights: [0, 1], solved: true });
    // Two differences that are the same up to rounding, no ridge.
    const { weights, solved } = weightsFor([[1, 1e-3], [1, -1e-3 * (1 + 1e-16)], [0, 0], [1, 1]]);
    expect(solved).toBe(false);
    expect(weights).toEqual([0, 0, 0, 1]);
  });
});
