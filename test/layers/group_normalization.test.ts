import * as tf from '@tensorflow/tfjs-core';
import { input } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { groupNormalization, normalizedGroups } from '../../src/layers/group_normalization.js';
import { seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';
import { relativeError } from '../helpers.js';

describe('groupNormalization keeps the layer contract', () =>
  layerContract({
    create: groupNormalization,
    args: { groups: 2, epsilon: 0.01, gammaInitializer: 'randomUniform', betaInitializer: 'ones', name: 'contract_group_normalization' },
    inputShape: [3, 2, 4], parameters: 8, masking: 'refuses',
  })); // prettier-ignore

describe('groupNormalization', () => {
  it('normalises a sample over its positions and the channels of each group', async () => {
    // Two positions, two groups of two channels: 1 2 3 4 and 0 0 0 8.
    const x = tf.tensor3d([[[1, 2, 0, 0], [3, 4, 0, 8]]]);
    const [a, b] = [1.25, 12].map((variance) => 1 / Math.sqrt(variance + 1e-3));
    const expected = [-1.5 * a, -0.5 * a, -2 * b, -2 * b, 0.5 * a, 1.5 * a, -2 * b, 6 * b];
    expect(relativeError(await normalizedGroups(x, 2, 1e-3).data(), expected)).toBeLessThan(1e-5);
  });

  it('is layer normalisation over the sample with one group, instance normalisation with a group for each channel', async () => {
    const x = seeded([2, 3, 3, 4], 1);
    const by = (axes: number[]) => tf.tidy(() => {
      const { mean, variance } = tf.moments(x, axes, true);
      return tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-3)));
    }); // prettier-ignore
    expect(relativeError(await normalizedGroups(x, 1, 1e-3).data(), await by([1, 2, 3]).data())).toBeLessThan(1e-5);
    expect(relativeError(await normalizedGroups(x, 4, 1e-3).data(), await by([1, 2]).data())).toBeLessThan(1e-5);
  });

  it('does not let samples of a batch see each other, and takes images of any size', async () => {
    const layer = groupNormalization({ groups: 1 });
    layer.apply(input({ shape: [null, null, 2] }));
    const x = seeded([3, 4, 5, 2], 2);
    const [all, alone] = [layer.apply(x), layer.apply(tf.slice(x, 1, 1))] as tf.Tensor[];
    expect(relativeError(await alone.data(), await tf.slice(all, 1, 1).data())).toBeLessThan(1e-6);
  });

  it('says what is wrong', () => {
    expect(() => groupNormalization({ groups: 0 })).toThrow('GroupNormalization: groups must be an integer ≥ 1, got 0.');
    expect(() => groupNormalization({ epsilon: 0 })).toThrow('GroupNormalization: epsilon must be a finite number > 0, got 0.');
    expect(() => groupNormalization({ group: 1 } as never)).toThrow("GroupNormalization: unknown option 'group'. Did you mean 'groups'?");
    expect(() => groupNormalization({ groups: 4, name: 'gn' }).apply(input({ shape: [2, 6] }))).toThrow("GroupNormalization 'gn': groups must divide the 6 channels of the input, got 4. Use groups: 1 to normalise over all of them.");
  });

  // Other backends have no empty tensors to compute with.
  it.skipIf(!['cpu', 'tensorflow'].includes(process.env.TFWS_BACKEND ?? ''))('takes an empty batch', () => {
    for (const groups of [1, 2]) expect((groupNormalization({ groups }).apply(tf.zeros([0, 3, 3, 4])) as tf.Tensor).shape).toEqual([0, 3, 3, 4]);
  });
});
