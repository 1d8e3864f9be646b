import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { attention, attentionWeights, causalMask, joinHeads, scaledDotProductAttention, splitHeads, type AttentionOptions } from '../../src/layers/attention.js';
import { expectNear, seeded } from '../contract/fixtures.js';
import golden from '../fixtures/attention.json' with { type: 'json' };

const four = (values: unknown) => tf.tensor4d(values as number[][][][]);
const flat = (values: unknown) => (values as number[][][][]).flat(3);

describe('scaledDotProductAttention', () => {
  for (const [i, known] of golden.cases.attention.entries()) {
    it(`gives the reference's weights and outputs (case ${i})`, async () => {
      const [query, key, value] = [four(known.query), four(known.key), four(known.value)];
      const plain = scaledDotProductAttention(query, key, value);
      expectNear('weights', await plain.weights.data(), flat(known.weights), 1e-5);
      expectNear('output', await plain.output.data(), flat(known.output), 1e-5);
      const mask = tf.reshape(tf.tensor2d(known.paddingMask as unknown as number[][], undefined, 'bool'), [query.shape[0], 1, 1, -1]);
      const masked = scaledDotProductAttention(query, key, value, { mask, causal: true });
      expectNear('masked weights', await masked.weights.data(), flat(known.causalPaddedWeights), 1e-5);
      expectNear('masked output', await masked.output.data(), flat(known.causalPaddedOutput), 1e-5);
    });
  }

  let [query, key, value]: tf.Tensor4D[] = [];
  beforeAll(() => void ([query, key, value] = [1, 2, 3].map((seed) => seeded([2, 2, 3, 4], seed) as tf.Tensor4D)));

  it('gives zeros, and finite gradients, to a query that may look at nothing', async () => {
    const mask = tf.tensor4d([1, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0], [2, 1, 3, 3]);
    const { output, weights } = scaledDotProductAttention(query, key, value, { mask });
    const rows = await tf.sum(weights, -1).data();
    expectNear('sums of the rows', rows, [1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1], 1e-6);
    const empty = await tf.slice(output, [0, 0, 1, 0], [1, 2, 1, 4]).data();
    expect(Array.from(empty)).toEqual(Array(8).fill(0));
    const gradients = tf.grads((q, k, v) => tf.sum(tf.square(scaledDotProductAttention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, { mask }).output)))([query, key, value]);
    for (const gradient of gradients) expect((await gradient.data()).every(Number.isFinite)).toBe(true);
    const ofEmpty = await tf.slice(gradients[0], [0, 0, 1, 0], [1, 2, 1, 4]).data();
    expect(Math.max(...ofEmpty.map(Math.abs))).toBe(0);
  });

  it('gives masked keys exactly nothing, whatever their scores', async () => {
    const loud = tf.mul(key, tf.tensor4d([1, 1, 1e5], [1, 1, 3, 1])) as tf.Tensor4D;
    const mask = tf.tensor4d([1, 1, 0], [1, 1, 1, 3]);
    const last = await tf.slice(attentionWeights(query, loud, { mask }), [0, 0, 0, 2], [2, 2, 3, 1]).data();
    expect(Math.max(...last)).toBe(0);
  });

  it('has the gradient of finite differences', async () => {
    const w = seeded([2, 2, 3, 4], 9);
    const loss = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.sum(tf.mul(w, scaledDotProductAttention(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, { causal: true }).output)) as tf.Scalar;
    const parts = [query, key, value];
    const gradients = tf.grads(loss)(parts);
    const h = 0.02;
    for (const [i, gradient] of gradients.entries()) {
      const direction = seeded([2, 2, 3, 4], 20 + i);
      const at = async (step: number) => (await loss(...(parts.map((part, j) => (i === j ? tf.add(part, tf.mul(step, direction)) : part)) as [tf.Tensor, tf.Tensor, tf.Tensor])).data())[0];
      const slope = (8 * ((await at(h)) - (await at(-h))) - ((await at(2 * h)) - (await at(-2 * h)))) / (12 * h);
      expect((await tf.sum(tf.mul(gradient, direction)).data())[0]).toBeCloseTo(slope, 3);
    }
  });

  describe('where the weights are not wanted', () => {
    const energyOf = (f: typeof attention, options: AttentionOptions) => (...x: tf.Tensor[]) => tf.sum(tf.pow(f(...(x as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D]), options), 3)) as tf.Scalar;
    const inParts: typeof attention = (q, k, v, options) => scaledDotProductAttention(q, k, v, options).output;
    const parts = () => [query, key, value];

    it('is the same, with the same gradients', async () => {
      const mask = tf.tensor4d([1, 1, 0, 0, 0, 0], [2, 1, 1, 3]);
      for (const options of [{}, { causal: true }, { mask, scale: 0.7 }]) {
        const [direct, reference] = [attention, inParts].map((f) => [f(query, key, value, options), ...tf.grads(energyOf(f, options))(parts())]);
        for (const [i, tensor] of direct.entries()) expectNear(`${i}`, await tensor.data(), await reference[i].data(), 1e-5);
      }
    });

    it('has second derivatives where the mask is gone', async () => {
      const seconds = (f: typeof attention, mask: () => tf.Tensor) => {
        const energy = (...x: tf.Tensor[]) => tf.tidy(() => energyOf(f, { mask: mask() })(...x));
        return tf.grads((...x: tf.Tensor[]) => tf.addN(tf.grads(energy)(x).map((gradient) => tf.sum(tf.square(gradient)))) as tf.Scalar)(parts());
      };
      const kept = tf.tensor4d([1, 1, 0, 1, 0, 1], [2, 1, 1, 3]);
      const [fresh, whole] = [seconds(attention, () => tf.add(kept, 0)), seconds(attention, () => kept)];
      for (const [i, tensor] of fresh.entries()) expectNear(`${i}`, await tensor.data(), await whole[i].data(), 1e-6);
    });

    it.each<[string, () => AttentionOptions]>([
      ['causal', () => ({ causal: true })],
      ['with a mask', () => ({ mask: tf.tensor4d([1, 1, 0, 1, 0, 1], [2, 1, 1, 3]) })],
    ])('has second derivatives, those of finite differences: %s', async (_, options) => {
      const gradients = tf.grads(energyOf(attention, options()));
      const norm = (...x: tf.Tensor[]) => tf.addN(gradients(x).map((gradient) => tf.sum(tf.square(gradient)))) as tf.Scalar;
      const h = 0.02;
      for (const [i, second] of tf.grads(norm)(parts()).entries()) {
        const direction = seeded([2, 2, 3, 4], 30 + i);
        const at = async (step: number) => (await norm(...parts().map((part, j) => (i === j ? tf.add(part, tf.mul(step, direction)) : part))).data())[0];
        const slope = (8 * ((await at(h)) - (await at(-h))) - ((await at(2 * h)) - (await at(-2 * h)))) / (12 * h);
        expect(Math.abs((await tf.sum(tf.mul(second, direction)).data())[0] - slope)).toBeLessThan(2e-3 * Math.max(1, Math.abs(slope)));
      }
    });
  });

  it('takes queries that are the last ones of a causal sequence', async () => {
    const whole = attentionWeights(query, key, { causal: true });
    const last = attentionWeights(tf.slice(query, [0, 0, 1, 0], [2, 2, 2, 4]), key, { causal: true });
    expectNear('rows of the last two', await last.data(), await tf.slice(whole, [0, 0, 1, 0], [2, 2, 2, 3]).data(), 1e-6);
    expect(Array.from(await causalMask(2, 3).data())).toEqual([1, 1, 0, 1, 1, 1]);
  });

  it('splits heads and joins them again', async () => {
    const x = seeded([2, 3, 8], 5);
    const heads = splitHeads(x, 2);
    expect(heads.shape).toEqual([2, 2, 3, 4]);
    expectNear('second head of the first position', await tf.slice(heads, [0, 1, 0, 0], [1, 1, 1, 4]).data(), await tf.slice(x, [0, 0, 4], [1, 1, 4]).data(), 1e-9);
    expectNear('joined', await joinHeads(heads).data(), await x.data(), 1e-9);
  });
});
