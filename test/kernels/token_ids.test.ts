import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { areTokensChecked, tokenIds } from '../../src/kernels/token_ids/index.js';
import { alive } from '../contract/fixtures.js';

const attrs = { count: 5, who: 'words: token ids', fix: 'Mend it.' };

describe('tokenIds', () => {
  it.each(['int32', 'float32'] as const)('gives %s tokens as int32, and −1 for the one to ignore', async (dtype) => {
    const ids = tf.tensor2d([[4, 0], [2, -7]], [2, 2], dtype);
    const before = alive().tensors;
    const result = tokenIds(ids, { ...attrs, ignore: -7 });
    expect(alive().tensors).toBe(before + 1);
    expect([result.dtype, result.shape]).toEqual(['int32', [2, 2]]);
    expect(Array.from(await result.data())).toEqual([4, 0, 2, -1]);
  });

  it.each([[5, '5'], [-1, '-1'], [1.5, '1.5'], [NaN, 'NaN'], [3e9, '3000000000']])('refuses %s, or makes it −1 where it cannot look', async (wrong, shown) => {
    const ids = tf.tensor1d([1, wrong]);
    const before = alive();
    if (areTokensChecked()) {
      expect(() => tokenIds(ids, attrs)).toThrow(`words: token ids must be integers from 0 to 4, got ${shown} at position 1 of the batch. Mend it.`);
      expect(alive()).toEqual(before);
    } else {
      expect(Array.from(await tokenIds(ids, attrs).data())).toEqual([1, -1]);
    }
  });

  it('says which dtypes it takes', () => {
    expect(() => tokenIds(tf.tensor1d(['a']), attrs)).toThrow("words: token ids must be of dtype int32 or float32, got string. Use tf.cast(ids, 'int32').");
    expect(() => tokenIds(tf.tensor1d([1]), { ...attrs, count: 2 ** 25 })).toThrow('words: token ids: float32 does not tell integers beyond 2²⁴ = 16777216 apart, and there are 33554432.');
  });

  it('has the gradient zero', async () => {
    const gradient = tf.grad((x) => tf.cast(tokenIds(x, attrs), 'float32'))(tf.tensor1d([1, 2]));
    expect(Array.from(await gradient.data())).toEqual([0, 0]);
  });
});
