import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { denseProduct } from '../../src/kernels/dense_product/index.js';
import { alive, expectNear, seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

/** [m, k, n]: a vector, small ones that are left to the stock kernel, some beyond it that are transposed first, and one of many terms. */
const SIZES: [number, number, number][] = [[1, 40, 30], [3, 4, 5], [64, 100, 48], [130, 7, 90], [5, 600, 6]];
const FLAGS = [[false, false], [false, true], [true, false], [true, true]];

async function naive(a: tf.Tensor2D, b: tf.Tensor2D, transposeA: boolean, transposeB: boolean): Promise<Float64Array> {
  const [x, y] = [await a.data(), await b.data()];
  const [m, k] = transposeA ? [a.shape[1], a.shape[0]] : a.shape;
  const n = b.shape[transposeB ? 0 : 1];
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let l = 0; l < k; l++) out[i * n + j] += x[transposeA ? l * m + i : i * k + l] * y[transposeB ? j * k + l : l * n + j];
    }
  }
  return out;
}

describe('the product of our dense layers', () => {
  for (const [m, k, n] of SIZES) {
    for (const [transposeA, transposeB] of FLAGS) {
      it(`is the product of [${m}, ${k}] and [${k}, ${n}], stored ${transposeA ? 'transposed' : 'as it is'} and ${transposeB ? 'transposed' : 'as it is'}, with its gradients`, async () => {
        const a = seeded(transposeA ? [k, m] : [m, k], 1) as tf.Tensor2D;
        const b = seeded(transposeB ? [n, k] : [k, n], 2) as tf.Tensor2D;
        const c = denseProduct(a, b, transposeA, transposeB);
        expect(c.shape).toEqual([m, n]);
        expectNear('product', await c.data(), await naive(a, b, transposeA, transposeB), 2e-6);
        // d Σ w·(AB) / dA = w Bᵀ, d/dB = Aᵀ w.
        const w = seeded([m, n], 3) as tf.Tensor2D;
        const [da, db] = tf.grads((x, y) => tf.sum(tf.mul(w, denseProduct(x as tf.Tensor2D, y as tf.Tensor2D, transposeA, transposeB))))([a, b]) as tf.Tensor2D[];
        expectNear('gradient of a', await da.data(), await (transposeA ? naive(b, w, transposeB, true) : naive(w, b, false, !transposeB)), 2e-6);
        expectNear('gradient of b', await db.data(), await (transposeB ? naive(w, a, true, transposeA) : naive(a, w, !transposeA, false)), 2e-6);
      });
    }
  }

  // The first stays in the stock kernel's loop on wasm, the second goes through its fast product.
  for (const [m, k, n] of onGpu ? [[3, 4, 5]] : [[3, 4, 5], [70, 40, 50]]) {
    for (const [transposeA, transposeB] of FLAGS) {
      it(`is that of three pairs of [${m}, ${k}] and [${k}, ${n}], stored ${transposeA ? 'transposed' : 'as it is'} and ${transposeB ? 'transposed' : 'as it is'}, with its gradients`, async () => {
        const a = seeded([3, ...(transposeA ? [k, m] : [m, k])], 1) as tf.Tensor3D;
        const b = seeded([3, ...(transposeB ? [n, k] : [k, n])], 2) as tf.Tensor3D;
        const w = seeded([3, m, n], 3) as tf.Tensor3D;
        const one = (x: tf.Tensor3D, i: number): tf.Tensor2D => tf.reshape<tf.Rank.R2>(tf.slice(x, i, 1), [x.shape[1], x.shape[2]]);
        const each = async (f: (i: number) => Promise<Float64Array>) => Float64Array.from((await Promise.all([0, 1, 2].map(f))).flatMap((values) => [...values]));
        const c = denseProduct(a, b, transposeA, transposeB);
        expect(c.shape).toEqual([3, m, n]);
        expectNear('products', await c.data(), await each((i) => naive(one(a, i), one(b, i), transposeA, transposeB)), 2e-6);
        const [da, db] = tf.grads((x, y) => tf.sum(tf.mul(w, denseProduct(x as tf.Tensor3D, y as tf.Tensor3D, transposeA, transposeB))))([a, b]);
        expectNear('gradient of a', await da.data(), await each((i) => (transposeA ? naive(one(b, i), one(w, i), transposeB, true) : naive(one(w, i), one(b, i), false, !transposeB))), 2e-6);
        expectNear('gradient of b', await db.data(), await each((i) => (transposeB ? naive(one(w, i), one(a, i), true, transposeA) : naive(one(a, i), one(w, i), !transposeA, false))), 2e-6);
      });
    }
  }

  it('is differentiable twice', async () => {
    const [a, b] = [seeded([6, 5], 1) as tf.Tensor2D, seeded([5, 4], 2) as tf.Tensor2D];
    const energy = (product: (x: tf.Tensor2D, y: tf.Tensor2D) => tf.Tensor2D) => (x: tf.Tensor) => tf.sum(tf.pow(product(x as tf.Tensor2D, b), 3)) as tf.Scalar;
    const second = (product: (x: tf.Tensor2D, y: tf.Tensor2D) => tf.Tensor2D) => tf.grad((x) => tf.sum(tf.square(tf.grad(energy(product))(x))))(a);
    expectNear('second derivative', await second(denseProduct).data(), await second(tf.matMul).data(), 1e-5);
  });

  it('leaves nothing behind but its result', () => {
    const [a, b] = [seeded([100, 64], 1) as tf.Tensor2D, seeded([48, 100], 2) as tf.Tensor2D];
    const [many, more] = [seeded([2, 40, 70], 3) as tf.Tensor3D, seeded([2, 60, 40], 4) as tf.Tensor3D];
    tf.dispose(denseProduct(a, b, true, true));
    const [before, held] = [alive(), tf.backend().numDataIds()];
    tf.dispose([denseProduct(a, b, true, true) as tf.Tensor, denseProduct(many, more, true, true)]);
    expect(alive()).toEqual(before);
    expect(tf.backend().numDataIds()).toBe(held);
  });

  it('refuses factors that do not fit', () => {
    expect(() => denseProduct(tf.zeros<tf.Rank.R2>([2, 3]), tf.zeros<tf.Rank.R2>([4, 5]))).toThrow('denseProduct: inner lengths and counts must agree, got [2,3] and [4,5] with transposeA false, transposeB false.');
    expect(() => denseProduct(tf.zeros<tf.Rank.R3>([2, 3, 4]), tf.zeros<tf.Rank.R3>([1, 4, 5]))).toThrow('counts must agree, got [2,3,4] and [1,4,5]');
  });
});
