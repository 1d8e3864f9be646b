/**
 * A virtual matrix whose numbers are drawn from a shorter stored array, tile by tile.
 *
 * - Element hashing (tile [1, 1]): HashedNets, Chen et al., ICML 2015, eq. 3: V[i, j] = ξ(i, j) · w[h(i, j)].
 * - Tiles: contiguous windows of the stored array, one hash each: ROBE (Desai et al. 2021), ROAST (Desai et al. 2023).
 */
import { checkBoolean, checkNumber, describe, integerAtLeast } from '../../checks.js';
import { bucketOf, hashPair, MAX_BUCKETS, signOf } from './hash.js';

/** How the stored array becomes a matrix: with (p, q) = (i mod tile[0], j mod tile[1]) and h = xxHash32(⌊i/tile[0]⌋, ⌊j/tile[1]⌋),
 * V[i, j] = scale · sign(h) · stored[(bucket(h) + p · tile[1] + q) mod buckets]. Tiles may stick out of the matrix. */
export interface HashedMatrix {
  readonly rows: number;
  readonly columns: number;
  /** [rows, columns] of a tile; rows · columns of it are at most the length of the stored array. */
  readonly tile: readonly [number, number];
  /** 32 bits. */
  readonly seed: number;
  /** Whether tiles have signs; without, sign(h) is 1. */
  readonly signed: boolean;
  /** Default 1. A layer's share of a bank that several use (ROAST's λ). */
  readonly scale?: number;
}

const AT_LEAST_1 = integerAtLeast(1);

/** @throws Error if `matrix` is not one, or cannot be drawn from `buckets` stored numbers. */
export function checkMatrix(who: string, matrix: HashedMatrix, buckets: number): void {
  const { rows, columns, tile, seed, signed, scale = 1 } = matrix;
  checkNumber(who, 'rows', rows, AT_LEAST_1);
  checkNumber(who, 'columns', columns, AT_LEAST_1);
  if (!Array.isArray(tile) || tile.length !== 2) throw new Error(`${who}: tile must be [rows, columns], got ${describe(tile)}.`);
  tile.forEach((size, axis) => checkNumber(who, `tile[${axis}]`, size, AT_LEAST_1));
  checkSeed(who, seed);
  checkBoolean(who, 'signed', signed);
  checkNumber(who, 'scale', scale, { expected: 'a finite number', holds: () => true });
  checkNumber(who, 'the number of buckets', buckets, { expected: `an integer in [1, ${MAX_BUCKETS}]`, holds: (x) => Number.isInteger(x) && x >= 1 && x <= MAX_BUCKETS });
  if (tile[0] * tile[1] > buckets) {
    throw new Error(`${who}: a tile of ${tile[0]} × ${tile[1]} takes ${tile[0] * tile[1]} stored numbers, and there are ${buckets}. Make the tile smaller, or store more.`);
  }
}

/** Returns `seed` if it is an integer in [0, 2³²). */
export function checkSeed(who: string, seed: unknown): number {
  return checkNumber(who, 'seed', seed, { expected: 'an integer in [0, 4294967295]', holds: (x) => Number.isInteger(x) && x >= 0 && x <= 0xffffffff });
}

/** Where V[row, column] stands in a stored array of length `buckets`, and its factor. The definition; kernels are faster. */
export function locate(matrix: HashedMatrix, buckets: number, row: number, column: number): { index: number; factor: number } {
  const [height, width] = matrix.tile;
  const hash = hashPair(Math.floor(row / height), Math.floor(column / width), matrix.seed);
  const inTile = (row % height) * width + (column % width);
  return { index: (bucketOf(hash, buckets) + inTile) % buckets, factor: Math.fround(matrix.scale ?? 1) * (matrix.signed ? signOf(hash) : 1) };
}
