import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { convolve, depthwiseConvolve } from '../../src/kernels/convolution/index.js';
import { expectNear, seeded } from '../contract/fixtures.js';

type Pair = [number, number];
const CASES: Array<[string, { strides?: Pair; pad?: 'valid' | 'same'; dilations?: Pair }]> = [
  ['plain', {}],
  ['strides, padding', { strides: [2, 3], pad: 'same' }],
  ['dilation', { dilations: [2, 3] }],
  ['dilation, padding', { dilations: [3, 2], pad: 'same' }],
];

describe('convolve', () => {
  const x = () => seeded([2, 8, 9, 3], 1) as tf.Tensor4D;
  const filter = () => seeded([3, 2, 3, 5], 2) as tf.Tensor4D;
  const full = (args: (typeof CASES)[number][1]) => ({ strides: [1, 1] as Pair, pad: 'valid' as const, dilations: [1, 1] as Pair, differentiable: true, ...args });

  it.each(CASES)('equals the host’s convolution: %s', async (_, args) => {
    const { strides, pad, dilations } = full(args);
    // Where strides are larger than the filter, the host's own is wrong on wasm: padded by hand (by 0 and 1 row), it is right.
    const byHand = pad === 'same' && strides[1] > filter().shape[1];
    const expected = byHand
      ? tf.conv2d(tf.pad(x(), [[0, 0], [0, 1], [0, 0], [0, 0]]) as tf.Tensor4D, filter(), strides, 'valid')
      : tf.conv2d(x(), filter(), strides, pad, 'NHWC', dilations);
    const y = convolve(x(), filter(), full(args));
    expect(y.shape).toEqual(expected.shape);
    expectNear('y', await y.data(), await expected.data(), 1e-5);
  });

  it.each(CASES)('has the gradients of a map that is linear in each input: %s', async (_, args) => {
    const conv = (a: tf.Tensor, b: tf.Tensor) => convolve(a as tf.Tensor4D, b as tf.Tensor4D, full(args));
    const direction = seeded(conv(x(), filter()).shape, 3);
    const along = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b));
    const [dx, dfilter] = tf.grads((a: tf.Tensor, b: tf.Tensor) => along(direction, conv(a, b)))([x(), filter()]);
    const [u, v] = [seeded(x().shape, 4), seeded(filter().shape, 5)];
    expectNear('d/dx', await along(dx, u).data(), await along(direction, conv(u, filter())).data(), 1e-4, 1);
    expectNear('d/dfilter', await along(dfilter, v).data(), await along(direction, conv(x(), v)).data(), 1e-4, 1);
  });

  it.each(CASES)('has second-order gradients where it is a kernel of ours: %s', async (_, args) => {
    // The host's own gradient with respect to a filter has none.
    if (tf.getKernel('Convolution', tf.getBackend()) == null) return;
    const conv = (a: tf.Tensor, b: tf.Tensor) => convolve(a as tf.Tensor4D, b as tf.Tensor4D, full(args));
    const direction = seeded(conv(x(), filter()).shape, 3);
    const [u, v] = [seeded(x().shape, 4), seeded(filter().shape, 5)];
    const along = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b));
    const expected = await along(direction, conv(u, v)).data();
    // ⟨u, d⟨direction, x ∗ w⟩/dx⟩ = ⟨direction, u ∗ w⟩, and the same with the roles of x and w exchanged.
    const byFilter = tf.grad((w: tf.Tensor) => along(u, tf.grad((a: tf.Tensor) => along(direction, conv(a, w)))(x())))(filter());
    const byInput = tf.grad((a: tf.Tensor) => along(v, tf.grad((w: tf.Tensor) => along(direction, conv(a, w)))(filter())))(x());
    expectNear('d²/dx dfilter', await along(byFilter, v).data(), expected, 1e-4, 1);
    expectNear('d²/dfilter dx', await along(byInput, u).data(), expected, 1e-4, 1);
  });
});

describe('depthwiseConvolve', () => {
  const x = () => seeded([2, 6, 7, 3], 1) as tf.Tensor4D;
  const filter = () => seeded([3, 2, 3, 2], 2) as tf.Tensor4D;
  const args = (dilations: Pair) => ({ strides: [1, 1] as Pair, pad: 'same' as const, dilations, differentiable: true });

  it.each<[string, Pair]>([['plain', [1, 1]], ['dilated', [2, 3]]])('equals the host’s convolution and has the gradients of a map that is linear in each input: %s', async (_, dilations) => {
    const conv = (a: tf.Tensor, b: tf.Tensor) => depthwiseConvolve(a as tf.Tensor4D, b as tf.Tensor4D, args(dilations));
    const y = conv(x(), filter());
    expectNear('y', await y.data(), await tf.depthwiseConv2d(x(), filter(), 1, 'same', 'NHWC', dilations).data(), 1e-5);
    const direction = seeded(y.shape, 3);
    const along = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b));
    const [dx, dfilter] = tf.grads((a: tf.Tensor, b: tf.Tensor) => along(direction, conv(a, b)))([x(), filter()]);
    const [u, v] = [seeded(x().shape, 4), seeded(filter().shape, 5)];
    expectNear('d/dx', await along(dx, u).data(), await along(direction, conv(u, filter())).data(), 1e-4, 1);
    expectNear('d/dfilter', await along(dfilter, v).data(), await along(direction, conv(x(), v)).data(), 1e-4, 1);
  });
});
