import { describe, expect, it } from 'vitest';
import { kMeans } from '../../src/clustering/k_means.js';
import { seededNormal, seededUniform } from '../helpers.js';

describe('kMeans', () => {
  it('finds clusters that lie apart, numbered by first appearance, with their means', () => {
    const normal = seededNormal(3);
    const truth = [2, 0, 1, 1, 0, 2, 2, 0, 1];
    const rows = truth.map((c) => [10 * c + 0.1 * normal(), -5 * c + 0.1 * normal()]);
    for (const seed of [0, 1, 2]) {
      const { labels, centres } = kMeans(rows, 3, seed);
      expect(labels).toEqual([0, 1, 2, 2, 1, 0, 0, 1, 2]);
      centres.forEach((centre, c) => {
        const own = rows.filter((_, r) => labels[r] === c);
        centre.forEach((value, j) => expect(value).toBeCloseTo(own.reduce((sum, row) => sum + row[j], 0) / own.length, 12));
      });
    }
  });

  it('is as good as the best of all partitions of a few rows', () => {
    const uniform = seededUniform(7);
    const rows = Array.from({ length: 8 }, () => [uniform(), uniform(), uniform()]);
    const inertiaOf = (labels: number[]) =>
      [0, 1, 2].reduce((sum, c) => {
        const own = rows.filter((_, r) => labels[r] === c);
        const mean = [0, 1, 2].map((j) => own.reduce((total, row) => total + row[j], 0) / own.length);
        return sum + own.reduce((total, row) => total + row.reduce((s, value, j) => s + (value - mean[j]) ** 2, 0), 0);
      }, 0);
    let best = Infinity;
    for (let code = 0; code < 3 ** 8; code++) best = Math.min(best, inertiaOf(rows.map((_, r) => Math.floor(code / 3 ** r) % 3)));
    const found = kMeans(rows, 3, 1);
    expect(found.inertia).toBeCloseTo(best, 10);
    expect(found.inertia).toBeCloseTo(inertiaOf(found.labels), 10);
    expect(kMeans(rows, 3, 1)).toEqual(found);
  });

  it('leaves no cluster empty, with as many clusters as different rows and with rows that are equal', () => {
    expect(kMeans([[1], [1], [2], [5]], 3, 0)).toEqual({ labels: [0, 0, 1, 2], centres: [[1], [2], [5]], inertia: 0 });
    expect(kMeans([[1, 2], [3, 4]], 1, 0)).toEqual({ labels: [0, 0], centres: [[2, 3]], inertia: 4 });
    expect(() => kMeans([[1], [1], [2]], 3, 0)).toThrow('3 clusters of 2 different rows');
  });
});
