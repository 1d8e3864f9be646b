import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerClonesAndSums, sumRows } from '../../../src/kernels/clones_and_sums/wasm.js';
import { relativeError, seededUniform } from '../../helpers.js';

it('sums rows of every count and width, and keeps its digits over a million of them', () => {
  const uniform = seededUniform(3);
  for (const [rows, width] of [[1, 1], [3, 5], [4, 2], [9, 7], [100, 1]]) {
    const x = Float32Array.from({ length: rows * width }, () => 2 * uniform() - 1);
    const out = new Float32Array(width).fill(NaN);
    sumRows(out, x);
    const expected = Array.from({ length: width }, (_, j) => x.reduce((sum, value, i) => (i % width === j ? sum + value : sum), 0));
    expect(relativeError(out, expected)).toBeLessThan(1e-6);
  }
  const out = new Float32Array(1);
  sumRows(out, new Float32Array(1e6).fill(0.1));
  expect(out[0]).toBeCloseTo(Math.fround(0.1) * 1e6, 1);
});

if (process.env.TFWS_BACKEND === 'wasm') describe('clones and sums on wasm', () => {
  const NAMES = ['Identity', 'Sum'];
  const stock = NAMES.map((name) => tf.getKernel(name, 'wasm'));
  const values = async (x: tf.Tensor) => Array.from(await x.data());
  beforeAll(() => void registerClonesAndSums());
  afterAll(() => stock.forEach((kernel) => {
    tf.unregisterKernel(kernel.kernelName, 'wasm');
    tf.registerKernel(kernel);
  }));

  it('sums over leading, other, negative and all axes, with and without keeping them', async () => {
    const x = tf.tensor3d([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [2, 3, 2]);
    expect(await values(tf.sum(x, 0))).toEqual([8, 10, 12, 14, 16, 18]);
    expect(await values(tf.sum(x, [0, 1]))).toEqual([36, 42]);
    expect(await values(tf.sum(x, [1, 0]))).toEqual([36, 42]);
    expect(await values(tf.sum(x, [-3, 1]))).toEqual([36, 42]);
    expect(await values(tf.sum(x, 1))).toEqual([9, 12, 27, 30]);
    expect(await values(tf.sum(x, -1))).toEqual([3, 7, 11, 15, 19, 23]);
    expect(await values(tf.sum(x))).toEqual([78]);
    expect(tf.sum(x, [0, 1], true).shape).toEqual([1, 1, 2]);
    expect(tf.sum(tf.zeros([0, 2]), 0).shape).toEqual([2]);
    const whole = tf.sum(tf.tensor2d([[1, 2], [3, 4]], [2, 2], 'int32'), 0);
    expect([whole.dtype, await values(whole)]).toEqual(['int32', [4, 6]]);
  });

  it('keeps a clone when its original goes, and the original when its clone goes', async () => {
    const backend = tf.backend() as unknown as { numDataIds(): number };
    const before = [tf.memory().numTensors, backend.numDataIds()];
    const original = tf.tensor1d([1, 2, 3]);
    const clone = tf.clone(original);
    const other = tf.clone(original);
    other.dispose();
    expect(await values(original)).toEqual([1, 2, 3]);
    original.dispose();
    expect(await values(clone)).toEqual([1, 2, 3]);
    clone.dispose();
    expect([tf.memory().numTensors, backend.numDataIds()]).toEqual(before);
  });

  it('does not change a clone when a variable is assigned anew', async () => {
    const variable = tf.variable(tf.tensor1d([1, 2]));
    const clone = tf.clone(variable);
    variable.assign(tf.tensor1d([3, 4]));
    expect(await values(clone)).toEqual([1, 2]);
    variable.dispose();
  });

  it('clones strings as before', async () => {
    expect(await values(tf.clone(tf.tensor1d(['a', 'ß'])))).toEqual(['a', 'ß']);
  });
});
