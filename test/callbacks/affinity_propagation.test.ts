import { describe, expect, it } from 'vitest';
import { affinityPropagation, rowSimilarity } from '../../src/callbacks/affinity_propagation.js';
// Origin: partitions by scikit-learn's AffinityPropagation (affinity 'precomputed').
import golden from '../fixtures/affinity_propagation.json';
import { relativeError, seededNormal } from '../helpers.js';

/** Labels renamed in order of appearance. */
function canonical(labels: ArrayLike<number>): number[] {
  const names = new Map<number, number>();
  return Array.from(labels, (label) => {
    if (!names.has(label)) names.set(label, names.size);
    return names.get(label)!;
  });
}

function noisyGroups(groups: number, copies: number, width: number, noise: number) {
  const normal = seededNormal(3);
  const centres = Array.from({ length: groups }, () => Array.from({ length: width }, normal));
  const truth = Array.from({ length: groups * copies }, (_, i) => i % groups);
  return { truth, rows: truth.flatMap((g) => centres[g].map((x) => x + noise * normal())) };
}

describe('rowSimilarity', () => {
  it('equals the reference, and is 1 for equal rows and rows of zeros, ½ for a row and its double', () => {
    for (const { rows, similarity } of golden.cases) expect(relativeError(rowSimilarity(rows.flat(), rows.length), similarity.flat())).toBeLessThan(1e-6);
    expect(Array.from(rowSimilarity([1, 2, 3, 1, 2, 3], 2))).toEqual([1, 1, 1, 1]);
    expect(Array.from(rowSimilarity([1, 0, 2, 0], 2))).toEqual([1, 0.5, 0.5, 1]);
    expect(Array.from(rowSimilarity([0, 0, 0, 0], 2))).toEqual([1, 1, 1, 1]);
  });
});

describe('affinityPropagation', () => {
  it('finds the partitions of scikit-learn', () => {
    for (const { rows, preference, labels, clusters } of golden.cases) {
      const found = affinityPropagation(rowSimilarity(rows.flat(), rows.length), rows.length, { preference });
      expect(canonical(found.labels)).toEqual(canonical(labels));
      expect(found.exemplars).toHaveLength(clusters);
      expect(found.converged).toBe(true);
      found.exemplars.forEach((item, c) => expect(found.labels[item]).toBe(c));
    }
  });

  it('finds noisy copies of many rows, the same at every call', () => {
    const { rows, truth } = noisyGroups(20, 10, 30, 0.1);
    const similarity = rowSimilarity(rows, truth.length);
    const before = similarity.slice();
    const found = affinityPropagation(similarity, truth.length, { preference: 0.6 });
    expect(canonical(found.labels)).toEqual(canonical(truth));
    expect(affinityPropagation(similarity, truth.length, { preference: 0.6 })).toEqual(found);
    expect(similarity.every((value, i) => value === before[i])).toBe(true);
  });

  it('clusters rows that are exact copies, whose messages tie', () => {
    const { rows, truth } = noisyGroups(3, 8, 12, 0);
    const found = affinityPropagation(rowSimilarity(rows, truth.length), truth.length, { preference: 0.6 });
    expect(canonical(found.labels)).toEqual(canonical(truth));
  });

  it('makes more clusters at a higher preference, whose default is the median similarity', () => {
    const { rows, truth } = noisyGroups(6, 5, 8, 0.4);
    const similarity = rowSimilarity(rows, truth.length);
    const count = (preference?: number) => affinityPropagation(similarity, truth.length, { preference }).exemplars.length;
    expect(count(0.99)).toBeGreaterThan(count(0.3));
    expect(count()).toBeGreaterThanOrEqual(1);
  });

  it('answers without messages where all similarities are equal, and for no or one item', () => {
    const equal = Float32Array.from({ length: 9 }, () => 0.5);
    expect(Array.from(affinityPropagation(equal, 3, { preference: 0.9 }).labels)).toEqual([0, 1, 2]);
    expect(Array.from(affinityPropagation(equal, 3, { preference: 0.1 }).labels)).toEqual([0, 0, 0]);
    expect(Array.from(affinityPropagation(new Float32Array([1]), 1).labels)).toEqual([0]);
    expect(Array.from(affinityPropagation(new Float32Array(), 0).labels)).toEqual([]);
  });

  it('says that it did not converge, and still gives a partition', () => {
    const { rows, truth } = noisyGroups(6, 5, 8, 0.4);
    const found = affinityPropagation(rowSimilarity(rows, truth.length), truth.length, { preference: 0.6, maxIterations: 2 });
    expect(found).toMatchObject({ converged: false, iterations: 2 });
    expect(found.labels).toHaveLength(truth.length);
    expect(Math.max(...found.labels)).toBe(found.exemplars.length - 1);
  });

  it('improves on messages that settle badly, as they do for pairs, and leaves a good partition alone', () => {
    // Five pairs, similarity 0.9 inside and 0.1 between.
    const n = 10;
    const pairs = Float32Array.from({ length: n * n }, (_, at) => (Math.floor(at / n) >> 1 === (at % n) >> 1 ? 0.9 : 0.1));
    for (const damping of [0.5, 0.9]) {
      const found = affinityPropagation(pairs, n, { preference: 0.6, damping, improve: true });
      expect(canonical(found.labels)).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    }
    expect(affinityPropagation(pairs, n, { preference: 0.6, maxIterations: 1, improve: true }).exemplars).toHaveLength(5);
    for (const { rows, preference } of golden.cases) {
      const similarity = rowSimilarity(rows.flat(), rows.length);
      const [plain, better] = [false, true].map((improve) => affinityPropagation(similarity, rows.length, { preference, improve }));
      expect(better).toEqual(plain);
    }
  });

  it('refuses more items than it has memory for', () => {
    expect(() => affinityPropagation(new Float32Array(), 10000)).toThrow('affinityPropagation: at most 8192 items, got 10000. Cluster them another way.');
  });
});
