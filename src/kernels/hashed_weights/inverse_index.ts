/**
 * Which tiles begin at each stored number: what a gradient needs where nothing can be added to a place in memory (fragment shaders), so that
 * each stored number has to collect its terms.
 */
import { bucketOf, hashInRow, hashRow } from './hash.js';
import type { HashedMatrix } from './matrix.js';

export interface InverseIndex {
  /** Row · tiles in a row + column of each tile, in the order of the stored numbers that they begin at, [tiles]. */
  tiles: Float32Array;
  /** `tiles` from first[k] to first[k + 1] begin at stored number k, [buckets + 1]. */
  first: Float32Array;
}

/** Whole numbers that float32, in which a texture holds them, tells apart. */
export const MOST_TILES = 2 ** 24;

export function inverseIndex({ rows, columns, tile, seed }: HashedMatrix, buckets: number): InverseIndex {
  const [down, across] = [Math.ceil(rows / tile[0]), Math.ceil(columns / tile[1])];
  const bucket = new Int32Array(down * across);
  const first = new Float32Array(buckets + 1);
  for (let i = 0, t = 0; i < down; i++) {
    const rowHash = hashRow(i, seed);
    for (let j = 0; j < across; j++, t++) first[(bucket[t] = bucketOf(hashInRow(rowHash, j), buckets)) + 1]++;
  }
  for (let k = 0; k < buckets; k++) first[k + 1] += first[k];
  const next = Int32Array.from(first);
  const tiles = new Float32Array(bucket.length);
  for (let t = 0; t < bucket.length; t++) tiles[next[bucket[t]]++] = t;
  return { tiles, first };
}
