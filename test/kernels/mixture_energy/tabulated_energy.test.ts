import { describe, expect, it } from 'vitest';
import { directStatistics, type Mixture } from '../../../src/kernels/mixture_energy/mixture.js';
import { TabulatedEnergy } from '../../../src/kernels/mixture_energy/tabulated_energy.js';
import { relativeError, seededNormal } from '../../helpers.js';
import { BOUND, cases, gradientsOf } from './cases.js';

describe('the direct sum', () => {
  it.each(cases)('equals the float64 reference in golden case $index', ({ c, mixture }) => {
    const gradient = new Float64Array(c.w.length);
    const sums = directStatistics(c.w, mixture, gradient);
    expect(Math.abs(sums.energy / c.nll - 1)).toBeLessThan(1e-12);
    expect(relativeError(gradient, c.dNll_dw)).toBeLessThan(1e-12);
    const { mu, logVariance, mixingLogits } = gradientsOf(sums, mixture);
    expect(relativeError(mu, c.dNll_dmu)).toBeLessThan(1e-12);
    expect(relativeError(logVariance, c.dNll_dlogVariance)).toBeLessThan(1e-12);
    expect(relativeError(mixingLogits, c.dNll_dmixingLogits)).toBeLessThan(1e-12);
  });
});

/** Every array that the table gives against the direct sum over the same float32 weights. */
function worstError(table: TabulatedEnergy, weights: Float32Array, mixture: Mixture): number {
  table.reset(mixture);
  const gradient = new Float32Array(weights.length);
  const energy = table.accumulate(weights, gradient, 1);
  const reference = new Float64Array(weights.length);
  const direct = directStatistics(weights, mixture, reference);
  const expected = gradientsOf(direct, mixture);
  const sums = table.statistics();
  const got = gradientsOf(sums, mixture);
  expect(sums.count).toBe(weights.length);
  return Math.max(
    Math.abs(energy - direct.energy) / Math.abs(direct.energy),
    Math.abs(sums.energy - direct.energy) / Math.abs(direct.energy),
    relativeError(gradient, reference),
    relativeError(got.mu, expected.mu),
    relativeError(got.logVariance, expected.logVariance),
    relativeError(got.mixingLogits, expected.mixingLogits),
    relativeError(sums.responsibility, direct.responsibility),
  );
}

describe('TabulatedEnergy', () => {
  it.each(cases)('keeps the error bound in golden case $index, on the first grid and on one laid where the weights are', ({ c, mixture }) => {
    const weights = Float32Array.from(c.w);
    const table = new TabulatedEnergy();
    expect(worstError(table, weights, mixture)).toBeLessThan(BOUND);
    const moved = { ...mixture, variances: mixture.variances.map((v) => v * 1.3) };
    expect(worstError(table, weights, moved)).toBeLessThan(BOUND);
    expect(table.layings).toBe(2);
    expect(worstError(table, weights, mixture)).toBeLessThan(BOUND);
  });

  const random = seededNormal(3);
  const means = [0, ...Array.from({ length: 16 }, (_, j) => -0.6 + 0.075 * (j + (j >= 8 ? 1 : 0)))];
  const mixing = [0.99, ...new Array<number>(16).fill(0.01 / 16)];
  const weights = Float32Array.from({ length: 20_000 }, (_, i) => (i % 20 ? 0.02 * random() : means[1 + (i % 16)] + 0.02 * random()));
  weights[7] = 8;
  weights[8] = -5;

  it.each([0.25, 0.05, 0.02, 0.005, 0.001])('keeps the bound for 17 components of σ = %f with outliers at 8 and −5', (sigma) => {
    const table = new TabulatedEnergy();
    const mixture = { means, variances: means.map(() => sigma * sigma), mixing };
    expect(worstError(table, weights, mixture)).toBeLessThan(BOUND);
  });

  it.each([0.1, 0.05, 0.02, 0.01, 0.001])('keeps the bound on a grid laid many steps ago, while the mixture drifts from σ = %f', (sigma) => {
    const table = new TabulatedEnergy();
    const mixture = { means: [...means], variances: means.map(() => sigma * sigma), mixing: [...mixing] };
    let worst = 0;
    let old = 0;
    for (let step = 0; step < 60; step++) {
      const before = table.layings;
      worst = Math.max(worst, worstError(table, weights, mixture));
      if (table.layings === before) old++;
      for (let j = 1; j < means.length; j++) mixture.means[j] += 0.002 * sigma * Math.sign(random());
      for (let j = 0; j < means.length; j++) mixture.variances[j] *= Math.exp(0.002 * random());
    }
    expect(worst).toBeLessThan(BOUND);
    expect(old).toBeGreaterThan(30);
  });

  it('lays the grid again when a component has moved by a twentieth of its σ, not before', () => {
    const table = new TabulatedEnergy();
    const at = (mean: number) => ({ means: [0, mean], variances: [4e-4, 4e-4], mixing: [0.9, 0.1] });
    const few = weights.subarray(100, 2100);
    worstError(table, few, at(0.3));
    worstError(table, few, at(0.3));
    const laid = table.layings;
    worstError(table, few, at(0.3009));
    expect(table.layings).toBe(laid);
    worstError(table, few, at(0.3011));
    expect(table.layings).toBe(laid + 1);
  });

  it('stops laying grids when weights and mixture stand still', () => {
    const table = new TabulatedEnergy();
    const mixture = { means, variances: means.map(() => 4e-4), mixing };
    for (let step = 0; step < 5; step++) worstError(table, weights, mixture);
    const laid = table.layings;
    for (let step = 0; step < 5; step++) worstError(table, weights, mixture);
    expect(table.layings).toBe(laid);
  });

  it('forgets a weight that was far out once', () => {
    const at = (sigma: number) => ({ means, variances: means.map(() => sigma * sigma), mixing });
    const few = weights.slice(100);
    const [table, fresh] = [new TabulatedEnergy(), new TabulatedEnergy()];
    few[0] = 1e9;
    worstError(table, few, at(0.01));
    few[0] = 0.1;
    for (const each of [table, fresh]) for (const sigma of [0.01, 0.0105]) expect(worstError(each, few, at(sigma))).toBeLessThan(BOUND);
    expect(table.cells).toBeGreaterThan(0.9 * fresh.cells);
    expect(fresh.cells).toBeGreaterThan(1100);
  });

  it('adds up over tensors as over one', () => {
    const table = new TabulatedEnergy();
    const mixture = { means, variances: means.map(() => 4e-4), mixing };
    const direct = directStatistics(weights, mixture);
    table.reset(mixture);
    let energy = 0;
    for (const [from, to] of [[0, 10], [10, 5000], [5000, 20_000]]) energy += table.accumulate(weights.subarray(from, to), new Float32Array(to - from), 1); // prettier-ignore
    expect(Math.abs(energy / direct.energy - 1)).toBeLessThan(BOUND);
    expect(relativeError(table.statistics().second, direct.second)).toBeLessThan(BOUND);
  });

  it('marks weights that are not finite and leaves the others right', () => {
    const table = new TabulatedEnergy();
    const mixture = { means: [0, 0.5], variances: [0.01, 0.01], mixing: [0.5, 0.5] };
    table.reset(mixture);
    const gradient = new Float32Array(4);
    expect(table.accumulate(Float32Array.of(0.25, NaN, Infinity, 0.1), gradient, 1)).toBeNaN();
    expect(table.nonFinite).toBe(true);
    expect(gradient[1]).toBeNaN();
    expect(gradient[2]).toBeNaN();
    expect(gradient[0]).toBeCloseTo(0, 4);
    table.reset(mixture);
    expect(table.nonFinite).toBe(false);
  });
});
