import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { expandLoop, scatterLoop } from '../../../src/kernels/hashed_weights/host_loops.js';
import { expandSimd, scatterSimd } from '../../../src/kernels/hashed_weights/simd_loops.js';
import { expandHashed, scatterHashed, type HashedMatrix } from '../../../src/kernels/hashed_weights/index.js';
import { locate } from '../../../src/kernels/hashed_weights/matrix.js';
import { alive, expectNear, seeded } from '../../contract/fixtures.js';

/** The definition, number by number, in float64. */
function expandByDefinition(stored: ArrayLike<number>, matrix: HashedMatrix, rows?: number[]): Float32Array {
  const out: number[] = [];
  for (const row of rows ?? Array.from({ length: matrix.rows }, (_, i) => i)) {
    for (let column = 0; column < matrix.columns; column++) {
      const inside = row >= 0 && row < matrix.rows;
      const { index, factor } = locate(matrix, stored.length, inside ? row : 0, column);
      out.push(inside ? factor * stored[index] : 0);
    }
  }
  return Float32Array.from(out);
}

function scatterByDefinition(gradient: ArrayLike<number>, matrix: HashedMatrix, buckets: number, rows?: number[]): Float64Array {
  const sums = new Float64Array(buckets);
  (rows ?? Array.from({ length: matrix.rows }, (_, i) => i)).forEach((row, r) => {
    for (let column = 0; column < matrix.columns && row >= 0 && row < matrix.rows; column++) {
      const { index, factor } = locate(matrix, buckets, row, column);
      sums[index] += factor * gradient[r * matrix.columns + column];
    }
  });
  return sums;
}

const CASES: Array<[string, HashedMatrix, number]> = [
  ['elements', { rows: 23, columns: 37, tile: [1, 1], seed: 3, signed: true }, 101],
  ['elements without signs', { rows: 23, columns: 37, tile: [1, 1], seed: 3, signed: false }, 101],
  ['elements of one bucket', { rows: 5, columns: 4, tile: [1, 1], seed: 0, signed: true }, 1],
  ['tiles that stick out on both sides', { rows: 23, columns: 37, tile: [4, 8], seed: 9, signed: true }, 77],
  ['tiles as long as the stored array, which wrap around', { rows: 9, columns: 21, tile: [2, 5], seed: 0xffffffff, signed: true }, 10],
  ['runs of a row, scaled', { rows: 16, columns: 40, tile: [1, 16], seed: 12, signed: true, scale: 0.3 }, 50],
  ['columns of a tile', { rows: 30, columns: 7, tile: [6, 1], seed: 8, signed: true, scale: -2 }, 64],
  ['one tile larger than the matrix', { rows: 3, columns: 4, tile: [5, 6], seed: 8, signed: true }, 31],
  ['elements of more than 2²¹ buckets', { rows: 5, columns: 7, tile: [1, 1], seed: 8, signed: true }, 2 ** 21 + 77],
];
const ROWS = [4, 0, 4, -1, 2, 1_000_000, 1];

describe('a hashed matrix', () => {
  for (const [name, matrix, buckets] of CASES) {
    it(`is drawn from the stored array bit by bit as defined: ${name}`, async () => {
      const stored = seeded([buckets], 1) as tf.Tensor1D;
      const out = expandHashed(stored, matrix);
      expect(out.shape).toEqual([matrix.rows, matrix.columns]);
      expect(await out.data()).toEqual(expandByDefinition(await stored.data(), matrix));
    });

    it(`adds a gradient up as defined: ${name}`, async () => {
      const gradient = seeded([matrix.rows, matrix.columns], 2) as tf.Tensor2D;
      const sums = scatterHashed(gradient, matrix, buckets);
      expect(sums.shape).toEqual([buckets]);
      expectNear('sums', await sums.data(), scatterByDefinition(await gradient.data(), matrix, buckets), 2e-6);
    });

    it(`gives and takes the rows that are asked for, zeros for those outside: ${name}`, async () => {
      const stored = seeded([buckets], 3) as tf.Tensor1D;
      const rows = tf.tensor1d(ROWS, 'int32');
      const out = expandHashed(stored, matrix, rows);
      expect(out.shape).toEqual([ROWS.length, matrix.columns]);
      expect(await out.data()).toEqual(expandByDefinition(await stored.data(), matrix, ROWS));
      const gradient = seeded([ROWS.length, matrix.columns], 4) as tf.Tensor2D;
      const sums = await scatterHashed(gradient, matrix, buckets, rows).data();
      expectNear('sums', sums, scatterByDefinition(await gradient.data(), matrix, buckets, ROWS), 2e-6);
    });
  }

  it('is drawn by WebAssembly as by JavaScript, bit by bit, and added up as closely', async () => {
    for (const [name, matrix, buckets] of CASES) {
      for (const ids of [undefined, Int32Array.from(ROWS)]) {
        const count = ids?.length ?? matrix.rows;
        const stored = (await seeded([buckets], 8).data()) as Float32Array;
        const gradient = (await seeded([count, matrix.columns], 9).data()) as Float32Array;
        const [byLoop, bySimd] = [new Float32Array(gradient.length).fill(NaN), new Float32Array(gradient.length).fill(NaN)];
        const [sumsByLoop, sumsBySimd] = [new Float32Array(buckets).fill(NaN), new Float32Array(buckets).fill(NaN)];
        expandLoop(stored, matrix, ids)(byLoop, 0);
        const expanding = expandSimd(stored, matrix, ids);
        expect(expanding, `${name}: there is WebAssembly with vectors`).not.toBeNull();
        expanding!(bySimd, 0);
        // In two blocks, as the tensorflow backend brings a large gradient.
        const cut = Math.floor(count / 2);
        const addBlocks = (add: (rows: Float32Array, from: number) => void) => {
          add(gradient.subarray(0, cut * matrix.columns), 0);
          add(gradient.subarray(cut * matrix.columns), cut);
        };
        addBlocks(scatterLoop(sumsByLoop, matrix, ids));
        const adding = scatterSimd(sumsBySimd, matrix, ids)!;
        addBlocks(adding.add);
        adding.finish();
        expect(bySimd, name).toEqual(byLoop);
        expectNear(name, sumsBySimd, sumsByLoop, 1e-6);
      }
    }
    const large = { rows: 2, columns: 3, tile: [1, 1], seed: 1, signed: true } as const;
    expect(expandSimd(new Float32Array(2 ** 22), large), 'a stored array beyond its memory is left to JavaScript').toBeNull();
  });

  it('is the same where it is so large that the native backend passes it through in blocks, the last one shorter', async () => {
    const large: HashedMatrix = { rows: 389, columns: 347, tile: [8, 4], seed: 2, signed: true };
    const stored = seeded([500], 10) as tf.Tensor1D;
    const out = expandHashed(stored, large);
    // The kernel's loop in one block; the loop itself is held to the definition above.
    const whole = new Float32Array(389 * 347);
    expandLoop((await stored.data()) as Float32Array, large)(whole, 0);
    expect(await out.data()).toEqual(whole);
    const gradient = seeded([389, 347], 11) as tf.Tensor2D;
    const sums = new Float32Array(500);
    scatterLoop(sums, large)((await gradient.data()) as Float32Array, 0);
    const before = alive();
    for (const given of [gradient, tf.add(gradient, 0) as tf.Tensor2D]) expectNear('sums', await scatterHashed(given, large, 500).data(), sums, 5e-6); // added up in another order
    expect(alive().tensors - before.tensors, 'two results and the second gradient').toBe(3);
    const rows = tf.reverse(tf.range(0, 389, 1, 'int32')) as tf.Tensor1D;
    expect(await expandHashed(stored, large, rows).data()).toEqual(Float32Array.from({ length: whole.length }, (_, i) => whole[(388 - Math.floor(i / 347)) * 347 + (i % 347)]));
  });

  const [, matrix, buckets] = CASES[3];

  it('has its transpose as gradient, which has it as its own, with rows and without', async () => {
    const stored = seeded([buckets], 5) as tf.Tensor1D;
    for (const rows of [undefined, tf.tensor1d([3, 3, 7], 'int32')]) {
      const count = rows?.size ?? matrix.rows;
      const weight = seeded([count, matrix.columns], 6) as tf.Tensor2D;
      // f = Σ weight · V³ / 3: df = Eᵀ(weight · V²), and along u: d(u · df) = Eᵀ(2 weight · V · E u).
      const f = (s: tf.Tensor) => tf.sum(tf.div(tf.mul(weight, tf.pow(expandHashed(s as tf.Tensor1D, matrix, rows), 3)), 3)) as tf.Scalar;
      const along = seeded([buckets], 7) as tf.Tensor1D;
      const first = tf.grad(f)(stored);
      const second = tf.grad((s) => tf.sum(tf.mul(along, tf.grad(f)(s))))(stored);
      const virtual = expandHashed(stored, matrix, rows);
      const expectedFirst = scatterHashed(tf.mul(weight, tf.square(virtual)), matrix, buckets, rows);
      const product = tf.mul(tf.mul(weight, 2), tf.mul(virtual, expandHashed(along, matrix, rows))) as tf.Tensor2D;
      expectNear('gradient', await first.data(), await expectedFirst.data(), 1e-5);
      expectNear('second derivative', await second.data(), await scatterHashed(product, matrix, buckets, rows).data(), 1e-5);
    }
  });

  it('leaves nothing behind but its output', () => {
    const stored = seeded([buckets], 5) as tf.Tensor1D;
    tf.tidy(() => tf.grad((s) => tf.sum(expandHashed(s as tf.Tensor1D, matrix)))(stored));
    const before = alive();
    for (let i = 0; i < 3; i++) tf.dispose(tf.grad((s) => tf.sum(expandHashed(s as tf.Tensor1D, matrix)))(stored));
    expect(alive()).toEqual(before);
  });

  it('says what is wrong with its description or its tensors', () => {
    const stored = seeded([8], 1) as tf.Tensor1D;
    const plain: HashedMatrix = { rows: 2, columns: 2, tile: [1, 1], seed: 1, signed: true };
    expect(() => expandHashed(stored, { ...plain, tile: [3, 3] })).toThrow('expandHashed: a tile of 3 × 3 takes 9 stored numbers, and there are 8.');
    expect(() => expandHashed(stored, { ...plain, tile: [0, 1] })).toThrow('expandHashed: tile[0] must be an integer ≥ 1, got 0.');
    expect(() => expandHashed(stored, { ...plain, seed: -1 })).toThrow('expandHashed: seed must be an integer in [0, 4294967295], got -1.');
    expect(() => expandHashed(stored, { ...plain, scale: NaN })).toThrow('expandHashed: scale must be a finite number, got NaN.');
    expect(() => expandHashed(tf.cast(stored, 'int32'), plain)).toThrow('expandHashed: stored must be a float32 tensor of rank 1, got int32 of rank 1.');
    expect(() => expandHashed(stored, plain, tf.tensor1d([1]))).toThrow('expandHashed: rows must be an int32 tensor of rank 1, got float32 of rank 1.');
    expect(() => scatterHashed(tf.zeros([3, 2]), plain, 8)).toThrow('scatterHashed: gradient must have the shape [2, 2], got [3, 2].');
  });
});
