import { describe, expect, it } from 'vitest';
import { bucketOf, hashPair, MAX_BUCKETS, signOf, xxHash32 } from '../../../src/kernels/hashed_weights/hash.js';
import golden from '../../fixtures/xxhash32.json';

/** 3.7 standard deviations above the mean of χ² with many degrees of freedom: one run in ten thousand is above. */
const chiSquareLimit = (degrees: number) => degrees + 3.72 * Math.sqrt(2 * degrees) + 5;

function chiSquare(counts: ArrayLike<number>, expected: number): number {
  let sum = 0;
  for (let i = 0; i < counts.length; i++) sum += (counts[i] - expected) ** 2 / expected;
  return sum;
}

describe('the hash of the file format', () => {
  it('is xxHash32 of bytes', () => {
    for (const [text, seed, hash] of golden.bytes as Array<[string, number, number]>) {
      expect(xxHash32(new TextEncoder().encode(text), seed), `xxHash32('${text}', ${seed})`).toBe(hash);
    }
  });

  it('is xxHash32 of a pair of words, its bucket the high word of hash × buckets, its sign the lowest bit', () => {
    expect(golden.pairs.length).toBe(32);
    for (const [row, column, seed, hash, buckets, bucket, negative] of golden.pairs) {
      const what = `(${row}, ${column}), seed ${seed}, ${buckets} buckets`;
      expect(hashPair(row, column, seed), what).toBe(hash);
      expect(bucketOf(hash, buckets), what).toBe(bucket);
      expect(bucketOf(hash | 0, buckets), `${what}, hash as int32`).toBe(bucket);
      expect(signOf(hash), what).toBe(negative === 1 ? -1 : 1);
    }
  });

  it('stays below the number of buckets at the ends of 32 bits', () => {
    for (const buckets of [1, 2, 3, 65536, 2 ** 21, 2 ** 21 + 1, MAX_BUCKETS]) {
      expect(bucketOf(0xffffffff, buckets)).toBe(buckets - 1);
      expect(bucketOf(0, buckets)).toBe(0);
      expect(bucketOf(0x80000000, buckets)).toBe(buckets >>> 1);
    }
  });

  for (const buckets of [7, 1000, 4096, 49_000]) {
    it(`spreads a matrix evenly over ${buckets} buckets, whatever the seed (χ²)`, () => {
      for (const seed of [0, 1, 0xffffffff]) {
        const counts = new Int32Array(buckets);
        for (let i = 0; i < 784; i++) for (let j = 0; j < 1000; j++) counts[bucketOf(hashPair(i, j, seed), buckets)]++;
        expect(chiSquare(counts, 784_000 / buckets)).toBeLessThan(chiSquareLimit(buckets - 1));
      }
    });
  }

  it('gives signs that are independent of the bucket (χ² over bucket × sign) and balanced along rows and columns', () => {
    const [buckets, rows, columns] = [5000, 600, 1000];
    const counts = new Int32Array(2 * buckets);
    const alongRow = new Int32Array(rows);
    const alongColumn = new Int32Array(columns);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        const hash = hashPair(i, j, 42);
        const negative = hash & 1;
        counts[2 * bucketOf(hash, buckets) + negative]++;
        alongRow[i] += signOf(hash);
        alongColumn[j] += signOf(hash);
      }
    }
    expect(chiSquare(counts, (rows * columns) / (2 * buckets))).toBeLessThan(chiSquareLimit(2 * buckets - 1));
    // Σ (row sum)² / columns is χ² with one degree of freedom a row.
    const spread = (sums: Int32Array, terms: number) => sums.reduce((total, s) => total + (s * s) / terms, 0);
    expect(spread(alongRow, columns)).toBeLessThan(chiSquareLimit(rows));
    expect(spread(alongColumn, rows)).toBeLessThan(chiSquareLimit(columns));
  });

  it('makes neighbours, and the same place under another seed, share a bucket no more often than chance', () => {
    const [size, buckets] = [700, 512];
    const shared = { right: 0, below: 0, transposed: 0, seed: 0 };
    const at = (i: number, j: number, seed = 5) => bucketOf(hashPair(i, j, seed), buckets);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const here = at(i, j);
        if (here === at(i, j + 1)) shared.right++;
        if (here === at(i + 1, j)) shared.below++;
        if (i < j && here === at(j, i)) shared.transposed++;
        if (here === at(i, j, 6)) shared.seed++;
      }
    }
    for (const [which, count] of Object.entries(shared)) {
      const pairs = which === 'transposed' ? (size * (size - 1)) / 2 : size * size;
      const expected = pairs / buckets;
      expect(Math.abs(count - expected), which).toBeLessThan(3.9 * Math.sqrt(expected));
    }
  });
});
