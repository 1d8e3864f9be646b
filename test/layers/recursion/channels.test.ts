import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { channelShuffle } from '../../../src/layers/recursion/channels.js';

describe('channelShuffle', () => {
  it.each([
    [2, false, [0, 4, 1, 5, 2, 6, 3, 7]],
    [4, false, [0, 2, 4, 6, 1, 3, 5, 7]],
    // 4 5 6 7 0 1 2 3 in groups.
    [2, true, [4, 0, 5, 1, 6, 2, 7, 3]],
    [4, true, [4, 6, 0, 2, 5, 7, 1, 3]],
    [1, true, [4, 5, 6, 7, 0, 1, 2, 3]],
  ])('of eight channels in %s groups, halves swapped first: %s', async (groups, swapHalves, expected) => {
    const x = tf.add(tf.range(0, 8), tf.tensor4d([0, 10], [2, 1, 1, 1]));
    const y = channelShuffle(x, { groups, swapHalves });
    expect(Array.from(await y.data())).toEqual([...expected, ...expected.map((channel) => channel + 10)]);
  });
});
