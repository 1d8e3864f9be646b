import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { registerSegmentSums } from '../../../src/kernels/segment_sum/stock.js';
import { relativeError, seededUniform } from '../../helpers.js';

/** The same expectations hold of the backends whose own kernels are left alone. */
const mended = ['cpu', 'wasm'].includes(process.env.TFWS_BACKEND ?? 'cpu');
const values = async (x: tf.Tensor) => Array.from(await x.data());
const ints = (numbers: number[], shape: number[] = [numbers.length]) => tf.tensor<tf.Rank>(numbers, shape, 'int32') as tf.Tensor1D;
const random = (shape: number[], seed: number) => tf.randomUniform(shape, -1, 1, 'float32', seed);

const NAMES = ['GatherV2', 'UnsortedSegmentSum'];
const before = () => ['cpu', 'wasm'].flatMap((backend) => NAMES.map((name) => [backend, name, tf.getKernel(name, backend)] as const));
let stock: ReturnType<typeof before> = [];
beforeAll(() => {
  stock = before();
  registerSegmentSums();
});
afterAll(() => {
  for (const [backend, name, kernel] of stock) {
    if (tf.getKernel(name, backend) != null) tf.unregisterKernel(name, backend);
    if (kernel != null) tf.registerKernel(kernel);
  }
});

describe('tf.unsortedSegmentSum', () => {
  it('sums the slices of each segment, and gives zeros to segments without any', async () => {
    const sums = tf.unsortedSegmentSum(tf.tensor2d([[1, 2], [3, 4], [5, 6], [7, 8]]), ints([2, 0, 2, 0]), 4);
    expect(sums.shape).toEqual([4, 2]);
    expect(await values(sums)).toEqual([10, 12, 0, 0, 6, 8, 0, 0]);
  });

  it('drops slices with a negative number', async () => {
    expect(await values(tf.unsortedSegmentSum(tf.tensor1d([1, 2, 4, 8]), ints([1, -1, 1, -7]), 2))).toEqual([0, 5]);
  });

  it('keeps ranks, and the sums of whole numbers exact', async () => {
    const x = random([50, 3, 2, 2], 4);
    const ids = Array.from({ length: 50 }, (_, i) => (i * 7) % 9);
    const sums = tf.unsortedSegmentSum(x, ints(ids), 9);
    expect(sums.shape).toEqual([9, 3, 2, 2]);
    const expected = new Array<number>(9 * 12).fill(0);
    (await values(x)).forEach((value, i) => (expected[ids[Math.floor(i / 12)] * 12 + (i % 12)] += value));
    expect(relativeError(await values(sums), expected)).toBeLessThan(1e-6);
    expect(await values(tf.unsortedSegmentSum(tf.tensor1d([2 ** 23, 1, 3]), ints([0, 0, 1]), 2))).toEqual([2 ** 23 + 1, 3]);
  });

  if (mended) {
    it('drops numbers beyond the last segment', async () => {
      expect(await values(tf.unsortedSegmentSum(tf.tensor1d([1, 2, 4]), ints([1, 2, 99]), 2))).toEqual([0, 1]);
    });

    it('keeps the type of its input, and takes segment numbers of higher rank, as TensorFlow does', async () => {
      const sums = tf.unsortedSegmentSum(ints([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]), ints([0, 1, 1, 0], [2, 2]), 2);
      expect(sums.dtype).toBe('int32');
      expect(sums.shape).toEqual([2, 2]);
      expect(await values(sums)).toEqual([8, 10, 8, 10]);
    });

    it('answers for no slices and for no segments', async () => {
      expect(await values(tf.unsortedSegmentSum(tf.zeros([0, 2]), ints([]), 2))).toEqual([0, 0, 0, 0]);
      expect(tf.unsortedSegmentSum(tf.ones([3, 2]), ints([0, 0, 0]), 0).shape).toEqual([0, 2]);
    });

    it('says which shapes and types do not fit', () => {
      expect(() => tf.unsortedSegmentSum(tf.ones([3, 2]), ints([0, 1]), 2))
        .toThrow('unsortedSegmentSum: the shape of segmentIds, [2], must be the beginning of that of x, [3,2].');
      expect(() => tf.unsortedSegmentSum(tf.ones([2], 'bool'), ints([0, 1]), 2)).toThrow('unsortedSegmentSum: x must be of type float32 or int32, got bool.');
      expect(() => tf.unsortedSegmentSum(tf.ones([2]), ints([0, 1]), -1)).toThrow('unsortedSegmentSum: numSegments must be an integer ≥ 0, got -1.');
    });
  }
});

describe('tf.gather', () => {
  it('takes slices along every axis', async () => {
    const shape = [3, 4, 5, 3];
    const x = random(shape, 1);
    const all = await values(x);
    const indices = [2, 0, 2];
    for (const axis of mended ? [0, 1, 2, 3, -1] : [0, 1, 2, 3]) {
      const along = (axis + 4) % 4;
      const inner = shape.slice(along + 1).reduce((size, length) => size * length, 1);
      const expected: number[] = [];
      for (let outer = 0; outer < all.length / (inner * shape[along]); outer++) {
        for (const index of indices) expected.push(...all.slice((outer * shape[along] + index) * inner, (outer * shape[along] + index + 1) * inner));
      }
      const got = tf.gather(x, ints(indices), axis);
      expect(got.shape).toEqual(shape.map((size, i) => (i === along ? 3 : size)));
      expect(await values(got)).toEqual(expected);
    }
  });

  it('takes slices by batch', async () => {
    const got = tf.gather(tf.tensor3d([[[1], [2]], [[3], [4]], [[5], [6]]]), ints([1, 0, 0, 0, 1, 1], [3, 2]), 1, 1);
    expect(got.shape).toEqual([3, 2, 1]);
    expect(await values(got)).toEqual([2, 1, 3, 3, 6, 6]);
  });

  it('has the gradient of its definition along every axis', async () => {
    for (const [axis, shape] of [[0, [4, 3, 2]], [1, [3, 4, 2]], [2, [3, 2, 4]]] as Array<[number, number[]]>) {
      const x = random(shape, 2);
      const indices = [3, 1, 3];
      const weight = random(shape.map((length, i) => (i === axis ? 3 : length)), 3);
      const gradient = tf.grad((t: tf.Tensor) => tf.sum(tf.mul(weight, tf.gather(t, ints(indices), axis))))(x);
      const oneHot = tf.oneHot(ints(indices), 4);
      // The gather as a product with a one-hot matrix, whose gradient is another product.
      const perm = [0, 1, 2].filter((i) => i !== axis);
      const moved = tf.reshape(tf.transpose(weight, [axis, ...perm]), [3, 6]);
      const expected = tf.transpose(tf.reshape(tf.matMul(tf.transpose(oneHot) as tf.Tensor2D, moved as tf.Tensor2D), [4, ...perm.map((i) => shape[i])]), [axis, ...perm].map((_, i) => [axis, ...perm].indexOf(i)));
      expect(relativeError(await values(gradient), await values(expected))).toBeLessThan(1e-6);
    }
  });

  if (mended) {
    it('refuses numbers that name no slice, in the words of the stock kernel', () => {
      expect(() => tf.gather(tf.ones([3, 2]), ints([0, 3]))).toThrow('GatherV2: the index value 3 is not in [0, 2]');
      expect(() => tf.gather(tf.ones([3, 2]), ints([-1]))).toThrow('GatherV2: the index value -1 is not in [0, 2]');
    });
  }

  it('gathers what is not a number of four bytes as before', async () => {
    expect(await values(tf.gather(tf.tensor1d([true, false, true], 'bool'), ints([1, 2])))).toEqual([0, 1]);
  });
});

it('registers once', () => expect(registerSegmentSums()).toEqual([]));

if (mended) it('sums a quarter of a million numbers into 16 384 segments', async () => {
  // The stock kernel of the cpu backend, with a mask per segment, took 20 GB and did not end.
  const uniform = seededUniform(1);
  const ids = Int32Array.from({ length: 262_144 }, () => Math.floor(uniform() * 16_384));
  const sums = await values(tf.unsortedSegmentSum(tf.ones([262_144]), tf.tensor1d(ids), 16_384));
  expect(sums.reduce((total, sum) => total + sum, 0)).toBe(262_144);
});
