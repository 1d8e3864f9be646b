import { describe, expect, it } from 'vitest';
import { assignComponents, klDivergence, mergeComponents, mergePair, snapNearestToZero, symmetricDivergence, toComponents, type Component } from '../../src/callbacks/merge_components.js';
import { mergeMixture, quantizeWeights, type QuantizationOptions } from '../../src/callbacks/quantize_weights.js';
import golden from '../fixtures/kl_merge.json';
import { relativeError } from '../helpers.js';

const component = (mean: number, variance: number, mixing: number, zero = false, index = 0): Component => ({ mean, variance, mixing, zero, members: [index] });
const OPTIONS: QuantizationOptions = { threshold: 0.5, variance: 'average', mergeZero: false, deadMixing: 0, useMixing: true, values: 'means' };

describe('merging components', () => {
  it('measures KL(N(0,1) ‖ N(1,4)) = ½ (log 4 + 2/4 − 1), and symmetrically half the sum of both directions', () => {
    const [a, b] = [component(0, 1, 0.5), component(1, 4, 0.5)];
    expect(klDivergence(a, b)).toBeCloseTo(0.5 * (Math.log(4) + 0.5 - 1), 14);
    expect(klDivergence(b, a)).toBeCloseTo(0.5 * (Math.log(1 / 4) + 5 - 1), 14);
    expect(symmetricDivergence(a, b)).toBeCloseTo(0.5 * (klDivergence(a, b) + klDivergence(b, a)), 14);
  });

  it.each(golden.cases.map((c, index) => ({ index, c })))('equals the reference in golden case $index, assignment included', ({ c }) => {
    const { components, merges } = mergeComponents(toComponents({ means: c.mu, variances: c.variance, mixing: c.pi }), { threshold: c.threshold, variance: 'average', mergeZero: true });
    expect(merges).toHaveLength(c.merges);
    expect(relativeError(components.map(({ mean }) => mean), c.merged.mu)).toBeLessThan(1e-12); // prettier-ignore
    expect(relativeError(components.map(({ variance }) => variance), c.merged.variance)).toBeLessThan(1e-12); // prettier-ignore
    expect(relativeError(components.map(({ mixing }) => mixing), c.merged.pi)).toBeLessThan(1e-12); // prettier-ignore
    const snapped = snapNearestToZero(components);
    expect(relativeError(snapped.map(({ mean }) => mean), c.zeroSnappedMu)).toBeLessThan(1e-12); // prettier-ignore
    const assigned = Array.from(assignComponents(c.w, snapped), (j) => snapped[j].mean);
    expect(relativeError(assigned, c.quantized)).toBeLessThan(1e-12);
  });

  it('merges nothing at the published threshold, and the nearest pair first at a larger one', () => {
    const parts = [component(0, 1e-4, 0.9, true, 0), component(0.3, 4e-4, 0.03, false, 1), component(0.31, 4e-4, 0.04, false, 2), component(0.33, 4e-4, 0.03, false, 3)];
    expect(mergeComponents(parts, { ...OPTIONS, threshold: 1e-10 }).merges).toEqual([]);
    const { components, merges } = mergeComponents(parts, { ...OPTIONS, threshold: 5 });
    expect(merges[0]).toEqual({ kept: [1], absorbed: [2], divergence: expect.closeTo((0.5 * 1e-4) / 4e-4, 10) });
    expect(components.map(({ members }) => members)).toEqual([[0], [1, 2, 3]]);
  });

  it('averages variances with π, or takes the exact moments of the pair', () => {
    const [a, b] = [component(0.2, 0.01, 0.3), component(0.6, 0.04, 0.1)];
    expect(mergePair(a, b, 'average')).toMatchObject({ mixing: 0.4, mean: expect.closeTo(0.3, 12), variance: expect.closeTo(0.0175, 12) });
    expect(mergePair(a, b, 'moments').variance).toBeCloseTo(0.0175 + 0.75 * 0.1 ** 2 + 0.25 * 0.3 ** 2, 12);
  });

  it('keeps the zero component apart unless it may take part', () => {
    const parts = [component(0, 1e-4, 0.9, true, 0), component(0.001, 1e-4, 0.1, false, 1)];
    expect(mergeComponents(parts, OPTIONS).components).toHaveLength(2);
    expect(mergeComponents(parts, { ...OPTIONS, mergeZero: true }).components).toEqual([expect.objectContaining({ zero: true, members: [0, 1] })]);
  });

  it('drops dead components, never the zero one', () => {
    const merged = mergeMixture({ means: [0, 0.5, 1], variances: [1e-4, 1e-4, 1e-4], mixing: [1e-9, 1e-8, 1] }, { ...OPTIONS, deadMixing: 1e-6 });
    expect(merged.dropped).toEqual([1]);
    expect(merged.components.map(({ mean }) => mean)).toEqual([0, 1]);
  });
});

describe('quantizing weights', () => {
  // Equal variances: the border between 0 and 0.4 is at 0.2 without proportions, beyond it with π₀ = 0.99.
  const parts = [component(0, 0.01, 0.99, true), component(0.4, 0.01, 0.01)];

  it('judges by π N or by N alone', () => {
    const border = 0.2 + (0.01 / 0.4) * Math.log(99);
    const weights = [0.19, 0.21, border - 0.001, border + 0.001];
    expect(Array.from(assignComponents(weights, parts))).toEqual([0, 0, 0, 1]);
    expect(Array.from(assignComponents(weights, parts, false))).toEqual([0, 1, 1, 1]);
  });

  it('gives values, counts, distances and the entropy of the indices', () => {
    const { codebook, counts, weights, relativeDistances, relativeDistance, entropyBits } = quantizeWeights([[0.1, 0.5, 0, 0.3], [0, 0]], parts, { ...OPTIONS, useMixing: false });
    expect(Array.from(codebook)).toEqual([0, Math.fround(0.4)]);
    expect(counts).toEqual([4, 2]);
    expect(weights.map((w) => Array.from(w))).toEqual([[0, Math.fround(0.4), 0, Math.fround(0.4)], [0, 0]]);
    expect(relativeDistances).toEqual([expect.closeTo(Math.sqrt(0.03 / 0.35), 6), 0]);
    expect(relativeDistance).toBeCloseTo(Math.sqrt(0.03 / 0.35), 6);
    expect(entropyBits).toBeCloseTo(-4 * Math.log2(4 / 6) - 2 * Math.log2(2 / 6), 12);
  });

  it('takes the mean of the assigned weights as value when asked, the zero stays zero', () => {
    const { codebook } = quantizeWeights([[0.1, 0.5, 0.05, 0.34]], parts, { ...OPTIONS, useMixing: false, values: 'centroids' });
    expect(Array.from(codebook)).toEqual([0, Math.fround(0.42)]);
  });
});
