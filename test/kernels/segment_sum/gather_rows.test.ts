import * as tf from '@tensorflow/tfjs-core';
import { afterEach, describe, expect, it } from 'vitest';
import { gatherRows, scatterAddRows } from '../../../src/kernels/segment_sum/index.js';
import { relativeError, seededUniform } from '../../helpers.js';

const values = async (x: tf.Tensor) => Array.from(await x.data());
const ints = (numbers: number[], shape: number[] = [numbers.length]) => tf.tensor(numbers, shape, 'int32');
const random = (count: number, seed: number) => {
  const uniform = seededUniform(seed);
  return Array.from({ length: count }, () => 2 * uniform() - 1);
};

/** Rows and their sums in float64; numbers outside of the table name nothing. */
function gatherReference(table: number[], ids: number[], width: number): number[] {
  return ids.flatMap((id) => Array.from({ length: width }, (_, j) => (id >= 0 && id * width < table.length ? table[id * width + j] : 0)));
}
function scatterReference(rowsOf: number[], ids: number[], width: number, rows: number): number[] {
  const out = new Array<number>(rows * width).fill(0);
  ids.forEach((id, i) => {
    if (id >= 0 && id < rows) for (let j = 0; j < width; j++) out[id * width + j] += rowsOf[i * width + j];
  });
  return out;
}

const KERNELS = ['GatherRows', 'RowScatterAdd'];

for (const route of ['the kernels of this backend', 'stock operations, where a backend has no kernel of ours']) {
  const composed = route.startsWith('stock');
  describe(`rows by number, by ${route}`, () => {
    const kernels = () => KERNELS.map((name) => tf.getKernel(name, tf.getBackend())).filter((kernel) => kernel != null);
    let removed: tf.KernelConfig[] = [];
    const remove = () => {
      if (composed) removed = kernels().map((kernel) => (tf.unregisterKernel(kernel.kernelName, kernel.backendName), kernel));
    };
    afterEach(() => removed.splice(0).forEach((kernel) => tf.registerKernel(kernel)));

    it('gathers rows of every width, and zeros for numbers that name none', async () => {
      remove();
      for (const [rows, width, n] of [[3, 2, 5], [7, 1, 40], [5, 33, 9], [1, 4, 3], [300, 64, 50]]) {
        const table = random(rows * width, rows);
        const ids = random(n, n).map((u) => Math.floor(((u + 1) / 2) * (rows + 4)) - 2);
        const got = gatherRows(tf.tensor2d(table, [rows, width]), ints(ids));
        expect(got.shape).toEqual([n, width]);
        expect(await values(got)).toEqual(gatherReference(table.map(Math.fround), ids, width));
      }
    });

    // Sums cannot be composed on wasm, which has no stock kernel for them.
    if (composed && process.env.TFWS_BACKEND === 'wasm') return;

    it('sums rows by number, and drops those that name none', async () => {
      remove();
      for (const [rows, width, n] of [[3, 2, 5], [7, 1, 40], [5, 33, 9], [1, 4, 3], [300, 64, 50], [4, 3, 600], [900, 2, 333]]) {
        const added = random(n * width, rows);
        const ids = random(n, n).map((u) => Math.floor(((u + 1) / 2) * (rows + 4)) - 2);
        const got = scatterAddRows(tf.tensor2d(added, [n, width]), ints(ids), rows);
        expect(got.shape).toEqual([rows, width]);
        const reference = scatterReference(added, ids, width, rows);
        expect(relativeError(await values(got), reference)).toBeLessThan(1e-6);
      }
    });

    it('differentiates a gather by hand-computed numbers: a row that is taken twice gets both gradients', async () => {
      remove();
      const gradient = tf.grad((table: tf.Tensor) => tf.sum(tf.mul(gatherRows(table, ints([1, 3, 1, -1, 2])), tf.tensor2d([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]))));
      expect(await values(gradient(tf.zeros([3, 2])))).toEqual([0, 0, 6, 8, 9, 10]);
    });

    it('has right second-order gradients', async () => {
      remove();
      // f = Σ (t_1³ + t_1³ + t_0³ + 0³): f″ along v is 6·count·t·v.
      const f = (table: tf.Tensor) => tf.sum(tf.pow(gatherRows(table, ints([1, 1, 0, 9])), tf.scalar(3)));
      const slope = (table: tf.Tensor) => tf.sum(tf.grad(f)(table));
      // The power of a GPU is not exact.
      expect(relativeError(await values(tf.grad(slope)(tf.tensor2d([[1, 2], [3, 4]]))), [6, 12, 36, 48])).toBeLessThan(1e-6);
      // g = Σ (s_0² + s_1²) with s the sums of rows 0 and 1: dg/dx = 2 s of its row; d²g/dx² along ones: 2 · rows in that sum.
      const g = (x: tf.Tensor) => tf.sum(tf.square(scatterAddRows(x, ints([1, 0, 1, 5]), 2)));
      const x = tf.tensor2d([[1], [2], [3], [4]]);
      expect(await values(tf.grad(g)(x))).toEqual([8, 4, 8, 0]);
      expect(await values(tf.grad((y: tf.Tensor) => tf.sum(tf.grad(g)(y)))(x))).toEqual([4, 2, 4, 0]);
    });
  });
}

it('keeps the shapes of numbers and of rows', async () => {
  const table = tf.tensor(random(24, 3), [4, 2, 3]);
  const ids = ints([3, 0, 1, 1, 2, 3], [3, 2]);
  const rows = gatherRows(table, ids);
  expect(rows.shape).toEqual([3, 2, 2, 3]);
  expect(await values(rows)).toEqual(await values(tf.gather(table, ids)));
  expect(scatterAddRows(rows, ids, 5).shape).toEqual([5, 2, 3]);
  expect(await values(gatherRows(tf.tensor1d([5, 6, 7]), ints([2, 0])))).toEqual([7, 5]);
  expect(gatherRows(table, tf.scalar(1, 'int32')).shape).toEqual([2, 3]);
});

it('answers for nothing asked, and for a table without rows', async () => {
  expect(gatherRows(tf.ones([3, 2]), ints([])).shape).toEqual([0, 2]);
  expect(await values(scatterAddRows(tf.ones([0, 2]), ints([]), 2))).toEqual([0, 0, 0, 0]);
  expect(await values(gatherRows(tf.ones([0, 2]), ints([0, 1])))).toEqual([0, 0, 0, 0]);
});

it('keeps the type of whole numbers', async () => {
  const rows = gatherRows(ints([1, 2, 3, 4], [2, 2]), ints([1, 1]));
  expect(rows.dtype).toBe('int32');
  expect(await values(rows)).toEqual([3, 4, 3, 4]);
  const wide = tf.reshape(tf.range(0, 60, 1, 'int32'), [3, 20]);
  const taken = gatherRows(wide, ints([2, 0, 2]));
  expect([taken.dtype, (await values(taken)).slice(0, 2)]).toEqual(['int32', [40, 41]]);
  const sums = scatterAddRows(taken, ints([1, 1, 0]), 2);
  expect([sums.dtype, (await values(sums)).slice(18, 22)]).toEqual(['int32', [58, 59, 40, 42]]);
});

it('gives zero where a gradient with respect to the numbers themselves is asked for', async () => {
  const table = tf.tensor2d([[1], [2]]);
  const gradient = tf.grad((x: tf.Tensor) => tf.sum(gatherRows(table, tf.cast(x, 'int32'))));
  expect(await values(gradient(tf.tensor1d([0, 1])))).toEqual([0, 0]);
});

it('leaves nothing behind but its result', async () => {
  const held = () => [tf.memory().numTensors, tf.engine().backend.numDataIds()];
  for (const width of [3, 40]) {
    const [table, ids, far] = [tf.ones([70, width]), ints(Array.from({ length: 100 }, (_, i) => i % 70)), ints([1, 99])];
    const gradient = () => tf.grad((x: tf.Tensor) => tf.add(tf.sum(gatherRows(x, ids)), tf.sum(gatherRows(x, far))))(table);
    const first = gradient();
    await first.data(); // whatever is made once is made
    first.dispose();
    const before = held();
    for (let i = 0; i < 3; i++) gradient().dispose();
    expect(held()).toEqual(before);
    tf.dispose([table, ids, far]);
  }
});

it('says what is wrong with numbers, tables and shapes', () => {
  expect(() => gatherRows(tf.ones([2, 2]), tf.tensor1d([0, 1]))).toThrow("gatherRows: ids must be of type int32, got float32. Use tf.cast(ids, 'int32').");
  expect(() => gatherRows(tf.scalar(1), ints([0]))).toThrow('gatherRows: table must have rows: rank ≥ 1, got a scalar.');
  expect(() => gatherRows(tf.ones([2, 2], 'bool'), ints([0]))).toThrow('gatherRows: table must be of type float32 or int32, got bool.');
  expect(() => scatterAddRows(tf.ones([2, 2]), ints([0]), 3)).toThrow('scatterAddRows: values must have the shape of ids, [1], and then that of a row; got [2,2].');
  expect(() => scatterAddRows(tf.ones([1, 2]), ints([0]), 1.5)).toThrow('scatterAddRows: rows must be an integer ≥ 0, got 1.5.');
});
