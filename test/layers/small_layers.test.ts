import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { pixelShuffle } from '../../src/layers/pixel_shuffle.js';
import { weightedFusion } from '../../src/layers/weighted_fusion.js';
import { expectNear, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

describe('weightedFusion', () => {
  it('is Σ w x / Σ w, at first the mean', async () => {
    const layer = weightedFusion();
    const inputs = [tf.tensor2d([[1, 2]]), tf.tensor2d([[3, 6]])];
    expectNear('mean', await (layer.apply(inputs) as tf.Tensor).data(), [2, 4], 1e-6);
    layer.setWeights([tf.tensor1d([3, 1])]);
    expectNear('weighted', await (layer.apply(inputs) as tf.Tensor).data(), [1.5, 3], 1e-6);
    expect(() => weightedFusion({ name: 'w' }).build([[1, 2], [1, 3]])).toThrow("WeightedFusion: layer 'w' expects two or more inputs of one shape, got [[1,2],[1,3]]."); // prettier-ignore
  });
});

describe('weightedFusion keeps the layer contract', () =>
  layerContract({ create: weightedFusion, args: { name: 'fusion_contract' }, inputShape: [[3, 2], [3, 2]], parameters: 2, masking: 'refuses', learningRate: 0.5 })); // prettier-ignore

describe('pixelShuffle', () => {
  it('is the host’s depthToSpace, and has a gradient', async () => {
    const x = seeded([2, 3, 2, 12], 1) as tf.Tensor4D;
    const shuffle = (each: tf.Tensor) => pixelShuffle({ scale: 2 }).apply(each) as tf.Tensor;
    expectNear('y', await shuffle(x).data(), await tf.depthToSpace(x, 2, 'NHWC').data(), 0);
    const direction = seeded([2, 6, 4, 3], 2);
    const gradient = tf.grad((each: tf.Tensor) => tf.sum(tf.mul(shuffle(each), direction)))(x);
    expectNear('gradient', await shuffle(gradient).data(), await direction.data(), 0);
  });

  it('says what is wrong', () => {
    expect(() => pixelShuffle({ scale: 0 })).toThrow('PixelShuffle: scale must be an integer ≥ 1, got 0.');
    expect(() => pixelShuffle({ scale: 2, name: 'p' }).computeOutputShape([1, 2, 2, 6])).toThrow("PixelShuffle: layer 'p' expects [batch, height, width, channels] with channels a multiple of 4, got [1, 2, 2, 6].");
  });
});

describe('pixelShuffle keeps the layer contract', () =>
  layerContract({ create: pixelShuffle, args: { name: 'shuffle_contract', scale: 2 }, inputShape: [2, 3, 8], parameters: 0, masking: 'refuses', learningRate: 0 }));
