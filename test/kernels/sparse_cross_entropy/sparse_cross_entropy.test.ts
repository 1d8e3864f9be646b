import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { crossEntropyFromSoftmax, crossEntropyInto, scaleRowsInto } from '../../../src/kernels/sparse_cross_entropy/host.js';
import { CROSS_ENTROPY, crossEntropyWithGradient, rowLosses, softmaxHessianTimes } from '../../../src/kernels/sparse_cross_entropy/index.js';
import { alive, expectNear, seeded } from '../../contract/fixtures.js';

const ROWS = 5;
const CLASSES = 7;
const TARGETS = [0, 6, 3, 3, 1];

/** In float64: losses, softmax − one-hot. */
function reference(logits: ArrayLike<number>): { losses: number[]; gradient: number[] } {
  const losses: number[] = [];
  const gradient: number[] = [];
  for (let row = 0; row < ROWS; row++) {
    const z = Array.from({ length: CLASSES }, (_, c) => logits[row * CLASSES + c]);
    const largest = Math.max(...z);
    const sum = z.reduce((total, value) => total + Math.exp(value - largest), 0);
    losses.push(Math.log(sum) + largest - z[TARGETS[row]]);
    gradient.push(...z.map((value, c) => Math.exp(value - largest) / sum - Number(c === TARGETS[row])));
  }
  return { losses, gradient };
}

const logits = (scale = 5) => tf.mul(seeded([ROWS, CLASSES], 1), scale) as tf.Tensor2D;
const targets = () => tf.tensor1d(TARGETS, 'int32');

describe('the loops over typed arrays', () => {
  it('give losses and gradients, from logits and from their softmax', async () => {
    const z = (await logits().data()) as Float32Array;
    const expected = reference(z);
    const [losses, gradient] = [new Float32Array(ROWS), new Float32Array(ROWS * CLASSES).fill(NaN)];
    crossEntropyInto(losses, gradient, z, Int32Array.from(TARGETS));
    expectNear('losses', losses, expected.losses, 1e-6);
    expectNear('gradient', gradient, expected.gradient, 1e-6);

    const softmax = Float32Array.from(expected.gradient, (g, i) => g + Number(i % CLASSES === TARGETS[Math.floor(i / CLASSES)]));
    crossEntropyFromSoftmax(losses, softmax, z, Int32Array.from(TARGETS));
    expectNear('losses from the softmax', losses, expected.losses, 1e-6);
    expectNear('gradient from the softmax', softmax, expected.gradient, 1e-6);
  });

  it('take rows by their factors', () => {
    const out = new Float32Array(4).fill(NaN);
    scaleRowsInto(out, Float32Array.of(1, 2, 3, 4), Float32Array.of(2, -1));
    expect(Array.from(out)).toEqual([2, 4, -3, -4]);
  });
});

describe('crossEntropyWithGradient', () => {
  it('gives both in one pass on the active backend', async () => {
    const z = logits();
    const expected = reference(await z.data());
    const [losses, gradient] = crossEntropyWithGradient(z, targets());
    expect([losses.shape, gradient.shape]).toEqual([[ROWS], [ROWS, CLASSES]]);
    expectNear('losses', await losses.data(), expected.losses, 1e-5);
    expectNear('gradient', await gradient.data(), expected.gradient, 1e-5);
  });

  it('is right where a probability underflows: the loss is the distance of the logits', async () => {
    const z = tf.tensor2d([[0, 500, -500]]);
    for (const [target, loss] of [[0, 500], [1, 0], [2, 1000]] as const) {
      const [losses, gradient] = crossEntropyWithGradient(z, tf.tensor1d([target], 'int32'));
      expectNear(`loss of class ${target}`, await losses.data(), [loss], 1e-6, 1);
      expectNear(`gradient of class ${target}`, await gradient.data(), [0, 1, 0].map((p, c) => p - Number(c === target)), 1e-6, 1);
    }
  });

  it('shows a NaN in its row only', async () => {
    const z = tf.tensor2d([[0, NaN], [1, 1]]);
    const [losses] = crossEntropyWithGradient(z, tf.tensor1d([0, 0], 'int32'));
    const [first, second] = await losses.data();
    expect(first).toBeNaN();
    expect(second).toBeCloseTo(Math.log(2), 5);
  });

  it('leaves nothing behind but its results', () => {
    const [z, t] = [logits(), targets()];
    const before = alive();
    const results = crossEntropyWithGradient(z, t);
    expect(alive().tensors).toBe(before.tensors + 2);
    tf.dispose(results);
    expect(alive()).toEqual(before);
  });
});

describe('rowLosses', () => {
  const weights = () => tf.tensor1d([1, -2, 0.5, 3, 1]);
  const weightedSum = (z: tf.Tensor) => tf.sum(tf.mul(rowLosses(z as tf.Tensor2D, targets(), CROSS_ENTROPY), weights())) as tf.Scalar;

  it('has the gradient of the reference, row by row', async () => {
    const z = logits();
    const expected = reference(await z.data()).gradient;
    const factors = await weights().data();
    expectNear('gradient', await tf.grad(weightedSum)(z).data(), expected.map((g, i) => g * factors[Math.floor(i / CLASSES)]), 1e-5);
  });

  it('has the gradient of its gradient: the Hessian of the softmax, and the gradient in the direction of what came in', async () => {
    const z = logits(2);
    const v = seeded([ROWS, CLASSES], 3) as tf.Tensor2D;
    const along = (of: tf.Tensor) => tf.sum(tf.mul(tf.grad(weightedSum)(of), v)) as tf.Scalar;
    const step = 1e-2;
    const shifted = (sign: number) => tf.grad(weightedSum)(tf.add(z, tf.mul(v, sign * step)));
    const differences = await tf.div(tf.sub(shifted(1), shifted(-1)), 2 * step).data();
    expectNear('Hessian times v', await tf.grad(along)(z).data(), differences, 2e-3);
    expectNear('the same directly', await tf.mul(softmaxHessianTimes(z, v), tf.expandDims(weights(), 1)).data(), differences, 2e-3);
    // d/ds of the gradient of s · loss is the gradient of the loss.
    const scaled = (s: tf.Tensor) => tf.sum(tf.mul(tf.grad((of: tf.Tensor) => tf.mul(weightedSum(of), s) as tf.Scalar)(z), v)) as tf.Scalar;
    expectNear('gradient along the weight', await tf.grad(scaled)(tf.scalar(2)).data(), await along(z).data(), 1e-4);
  });

  it('keeps one matrix of the size of the logits for the gradient, and none where nobody records', () => {
    const z = logits();
    const t = targets();
    const before = tf.memory().numTensors;
    const outside = rowLosses(z, t, CROSS_ENTROPY);
    expect(tf.memory().numTensors).toBe(before + 1);
    outside.dispose();
  });
});
