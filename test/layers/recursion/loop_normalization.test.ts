import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { batchNormalized, maskedMoments } from '../../../src/layers/recursion/loop_normalization.js';
import { relativeError, seededNormal } from '../../helpers.js';

const EPSILON = 1e-3;
type Triple = [tf.Tensor, tf.Tensor1D, tf.Tensor1D];

const ours = (...[x, gamma, beta]: Triple): tf.Tensor => batchNormalized(x, gamma, beta, maskedMoments(x, null), EPSILON);

/** The definition, differentiated by the host. */
function definition(...[x, gamma, beta]: Triple): tf.Tensor {
  const axes = x.shape.slice(0, -1).map((_, axis) => axis);
  const centred = tf.sub(x, tf.mean(x, axes));
  return tf.add(tf.mul(tf.div(centred, tf.sqrt(tf.add(tf.mean(tf.mul(centred, centred), axes), EPSILON))), gamma), beta);
}

describe.each([[[6, 5, 4, 3]], [[7, 3]]])('batchNormalized of %j', (shape) => {
  const normal = seededNormal(3);
  const drawn = (size: number, mean: number) => Float32Array.from({ length: size }, () => mean + normal());
  const triple = (): Triple => [tf.tensor(drawn(shape.reduce((a, b) => a * b), 2), shape), tf.tensor1d(drawn(3, 1)), tf.tensor1d(drawn(3, 0))];
  const read = async (tensors: tf.Tensor[]) => Promise.all(tensors.map(async (tensor) => Array.from(await tensor.data())));

  it('has the value and the gradients of its definition', async () => {
    const args = triple();
    const weights = tf.tensor(drawn(args[0].size, 0), shape);
    const [found, expected] = await Promise.all([ours, definition].map((f) => read([f(...args), ...tf.grads(f as never)(args, weights)])));
    found.forEach((values, i) => expect(relativeError(values, expected[i])).toBeLessThan(2e-5));
  });

  it('has its second derivatives', async () => {
    const args = triple();
    const weights = tf.tensor(drawn(args[0].size, 0), shape);
    // The square of every gradient, differentiated.
    const second = (f: typeof ours) =>
      tf.grads(((x: tf.Tensor, gamma: tf.Tensor1D) => tf.grads(f as never)([x, gamma, args[2]], weights).map((g) => tf.sum(tf.square(g))).reduce((a, b) => tf.add(a, b))) as never)(args.slice(0, 2)); // prettier-ignore
    const [found, expected] = await Promise.all([ours, definition].map((f) => read(second(f))));
    found.forEach((values, i) => expect(relativeError(values, expected[i])).toBeLessThan(1e-4));
  });
});
