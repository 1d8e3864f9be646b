/**
 * Expanding a hashed matrix and adding a gradient up to its stored array, as loops over typed arrays, all but the scale. The hash is computed
 * again each time: nothing of the size of the matrix is kept.
 */
import type { Block } from '../native_blocks.js';
import { hashInRow, hashRow } from './hash.js';
import type { HashedMatrix } from './matrix.js';

/** 2^53 / 2^32: up to here hash · buckets is exact as a double. */
const EXACT_BUCKETS = 2 ** 21;

/**
 * What writes rows of the matrix, [rows or ids.length, columns], to blocks: all of them, or those that `ids` names. An id that names no
 * row writes zeros.
 */
export function expandLoop(stored: Float32Array, matrix: HashedMatrix, ids?: Int32Array): Block {
  const { columns, seed, signed } = matrix;
  const [height, width] = matrix.tile;
  const buckets = stored.length;
  const numbers = bits(stored);
  const signMask = signed ? 1 : 0;
  return (block, from) => {
    const result = bits(block);
    for (let r = from, o = 0; o < block.length; r++, o += columns) {
      const row = ids === undefined ? r : ids[r];
      if (row < 0 || row >= matrix.rows) {
        result.fill(0, o, o + columns);
        continue;
      }
      const tileRow = Math.floor(row / height);
      const rowHash = hashRow(tileRow, seed);
      if (height * width === 1) expandElements(numbers, result, o, columns, rowHash, signMask);
      else expandRuns(numbers, result, o, columns, rowHash, signMask, (row - tileRow * height) * width, width, buckets);
    }
  };
}

/** Copies bits, with the sign flipped by ⊕: no conversion between integers and floats in the loop. */
function expandElements(stored: Int32Array, out: Int32Array, o: number, columns: number, rowHash: number, signMask: number): void {
  const buckets = stored.length;
  if (buckets <= EXACT_BUCKETS) {
    const share = buckets / 2 ** 32;
    for (let j = 0; j < columns; j++) {
      const h = hashInRow(rowHash, j);
      out[o + j] = stored[((h >>> 0) * share) | 0] ^ ((h & signMask) << 31);
    }
    return;
  }
  for (let j = 0; j < columns; j++) {
    const h = hashInRow(rowHash, j);
    out[o + j] = stored[bucket(h, buckets)] ^ ((h & signMask) << 31);
  }
}

function expandRuns(
  stored: Int32Array, out: Int32Array, o: number, columns: number, rowHash: number, signMask: number, inTile: number, width: number, buckets: number,
): void { // prettier-ignore
  for (let j = 0, tile = 0; j < columns; tile++) {
    const h = hashInRow(rowHash, tile);
    const flip = (h & signMask) << 31;
    const end = Math.min(columns, j + width);
    let s = bucket(h, buckets) + inTile;
    if (s >= buckets) s -= buckets;
    // The run up to the end of the stored array, then what wraps around.
    for (let stop = Math.min(end, j + buckets - s); j < stop; j++) out[o + j] = stored[s++] ^ flip;
    for (s = 0; j < end; j++) out[o + j] = stored[s++] ^ flip;
  }
}

/**
 * The transpose of {@link expandLoop}: what adds each number of a gradient's blocks, with its factor, to the stored number that it came
 * from, in `sums`, which begin at 0.
 */
export function scatterLoop(sums: Float32Array, matrix: HashedMatrix, ids?: Int32Array): Block {
  const { columns, seed, signed } = matrix;
  const [height, width] = matrix.tile;
  const signMask = signed ? 1 : 0;
  sums.fill(0);
  return (block, from) => {
    for (let r = from, o = 0; o < block.length; r++, o += columns) {
      const row = ids === undefined ? r : ids[r];
      if (row < 0 || row >= matrix.rows) continue;
      const tileRow = Math.floor(row / height);
      const rowHash = hashRow(tileRow, seed);
      if (height * width === 1) scatterElements(block, o, columns, sums, rowHash, signMask);
      else scatterRuns(block, o, columns, sums, rowHash, signMask, (row - tileRow * height) * width, width);
    }
  };
}

/** The sign is a factor, not a branch that would be taken at random. */
function scatterElements(gradient: Float32Array, o: number, columns: number, sums: Float32Array, rowHash: number, signMask: number): void {
  const buckets = sums.length;
  if (buckets <= EXACT_BUCKETS) {
    const share = buckets / 2 ** 32;
    for (let j = 0; j < columns; j++) {
      const h = hashInRow(rowHash, j);
      sums[((h >>> 0) * share) | 0] += gradient[o + j] * (1 - ((h & signMask) << 1));
    }
    return;
  }
  for (let j = 0; j < columns; j++) {
    const h = hashInRow(rowHash, j);
    sums[bucket(h, buckets)] += gradient[o + j] * (1 - ((h & signMask) << 1));
  }
}

function scatterRuns(
  gradient: Float32Array, o: number, columns: number, sums: Float32Array, rowHash: number, signMask: number, inTile: number, width: number,
): void { // prettier-ignore
  const buckets = sums.length;
  for (let j = 0, tile = 0; j < columns; tile++) {
    const h = hashInRow(rowHash, tile);
    const sign = 1 - ((h & signMask) << 1);
    const end = Math.min(columns, j + width);
    let s = bucket(h, buckets) + inTile;
    if (s >= buckets) s -= buckets;
    for (let stop = Math.min(end, j + buckets - s); j < stop; j++) sums[s++] += sign * gradient[o + j];
    for (s = 0; j < end; j++) sums[s++] += sign * gradient[o + j];
  }
}

/** `bucketOf` of hash.ts, written so that engines inline it. */
function bucket(h: number, buckets: number): number {
  return (((h >>> 16) * buckets + Math.floor(((h & 0xffff) * buckets) / 65536)) / 65536) | 0;
}

const bits = (values: Float32Array): Int32Array => new Int32Array(values.buffer, values.byteOffset, values.length);
