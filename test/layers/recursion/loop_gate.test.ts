import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { enterProbability, hard, mixed, straightThrough } from '../../../src/layers/recursion/loop_gate.js';
import { maskedMoments } from '../../../src/layers/recursion/loop_normalization.js';
import { recursiveConv, type RecursiveConv } from '../../../src/layers/recursion/recursive_conv.js';
import type { RecursiveConvArgs } from '../../../src/layers/recursion/recursion_options.js';
import { expectNear, seeded } from '../../contract/fixtures.js';
import { layerContract } from '../../contract/layer_contract.js';
import { onGpu } from '../../helpers.js';

describe('a gate’s decision', () => {
  const logits = () => tf.tensor2d([[0, Math.log(3)], [2, 2], [1, 0]]);

  it('is the softmax of logits / T', async () => {
    expectNear('T = 1', await enterProbability(logits(), 1).data(), [0.75, 0.5, 1 / (1 + Math.E)], 1e-5);
    expectNear('T = 0.5', await enterProbability(logits(), 0.5).data(), [0.9, 0.5, 1 / (1 + Math.E ** 2)], 1e-5);
  });

  it('is 0 or 1 straight through, with the gradient of the softmax', async () => {
    const p = tf.tensor1d([0.2, 0.5, 0.9]);
    expect(Array.from(await straightThrough(p).data())).toEqual([0, 1, 1]);
    expect(Array.from(await hard(p).data())).toEqual([0, 1, 1]);
    const gradient = tf.grad((each: tf.Tensor) => tf.sum(tf.mul(straightThrough(each as tf.Tensor1D), [1, 2, 3])))(p);
    expect(Array.from(await gradient.data())).toEqual([1, 2, 3]);
  });

  it('chooses exactly where it is 0 or 1', async () => {
    const [after, before] = [tf.tensor2d([[1, 2], [3, 4], [6, 8]]), tf.tensor2d([[5, 6], [7, 8], [2, 4]])];
    expect(Array.from(await mixed(tf.tensor1d([1, 0, 0.5]), after, before).data())).toEqual([1, 2, 7, 8, 4, 6]);
  });
});

describe('statistics over the samples that entered', () => {
  it('leave the others out', async () => {
    const x = seeded([3, 2, 2, 2], 1) as tf.Tensor4D;
    const { mean, variance, count } = maskedMoments(x, tf.tensor1d([1, 0, 1]));
    const kept = tf.moments(tf.concat([tf.slice(x, 0, 1), tf.slice(x, 2, 1)]), [0, 1, 2]);
    expectNear('mean', await mean.data(), await kept.mean.data(), 1e-6);
    expectNear('variance', await variance.data(), await kept.variance.data(), 1e-5);
    expect(await count.data()).toEqual(Float32Array.of(8));
  });

  it('are finite where nobody entered, and keep the running ones', async () => {
    const { mean, variance, count } = maskedMoments(seeded([2, 3, 2], 1), tf.zeros([2]));
    expect([...(await mean.data()), ...(await variance.data()), ...(await count.data())]).toEqual([0, 0, 0, 0, 0]);
  });
});

/** h ← h + 1, one channel; the gate before each recursion goes on while mean(h) < limit. */
function counter(limit: number, args: Partial<RecursiveConvArgs> = {}): RecursiveConv {
  const layer = recursiveConv({ kernelSize: 1, kernelInitializer: 'identity', biasInitializer: 'ones', recursions: 6, gate: { lookEvery: 2 }, ...args });
  layer.build([null, 2, 2, 1]);
  const weights = layer.getWeights();
  const [gates] = weights.find(({ rank }) => rank === 3)!.shape;
  // logits [h, limit]: enter while h ≤ limit.
  const gateKernel = tf.tile(tf.tensor3d([[[1, 0]]]), [gates, 1, 1]);
  const gateBias = tf.tile(tf.tensor2d([[0, limit]]), [gates, 1]);
  layer.setWeights(weights.map((weight) => (weight.rank === 3 ? gateKernel : weight.shape.join() === `${gates},2` ? gateBias : weight)));
  return layer;
}
const starts = (...values: number[]) => tf.tile(tf.tensor4d(values, [values.length, 1, 1, 1]), [1, 2, 2, 1]);
const firstOf = async (y: tf.Tensor) => Array.from(await tf.slice(y, 0, [y.shape[0], 1, 1, 1]).data());

describe('recursiveConv with a gate', () => {
  it('lets each sample out when its gate says so, and tells how deep it went', async () => {
    const layer = counter(2.5);
    const y = layer.apply(starts(0, 1, 5)) as tf.Tensor;
    // 0 → 1 → 2 → 3; 1 → 2 → 3; 5 → 6: the first recursion is always done.
    expect(await firstOf(y)).toEqual([3, 3, 6]);
    expect(Array.from(await layer.depths())).toEqual([3, 2, 1]);
  });

  it('computes nothing after the whole batch has left, where one may look', async () => {
    const layer = counter(2.5);
    expect(await firstOf(layer.apply(starts(0)) as tf.Tensor)).toEqual([3]);
    // It leaves before the fourth; webgl looks before the third and the fifth, webgpu never.
    expect(layer.computedRecursions).toBe({ webgl: 4, webgpu: 6 }[tf.getBackend()] ?? 3);
  });

  it('computes nothing more for a batch that agrees, and all for one that does not', async () => {
    const layer = counter(2.5);
    for (const [values, ends, computed] of [[[0, 0, 0.2], [3, 3, 3.2], 3], [[0, 1, 5], [3, 3, 6], 3], [[0, 1, -3], [3, 3, 3], 6]] as const) {
      expectNear('states', await firstOf(layer.apply(starts(...values)) as tf.Tensor), ends, 1e-5);
      expect(layer.computedRecursions).toBe({ webgl: computed === 3 ? 4 : 6, webgpu: 6 }[tf.getBackend()] ?? computed);
    }
  });

  it('repeats the state of who left in the outputs of every step', async () => {
    const [last, ...steps] = counter(1.5, { everyStep: true }).apply(starts(0)) as tf.Tensor[];
    expect(await firstOf(last)).toEqual([2]);
    expect((await Promise.all(steps.map(firstOf))).flat()).toEqual([1, 2, 2, 2, 2, 2]);
  });

  it('is the same in training with decisions straight through', async () => {
    const layer = counter(2.5);
    expect(await firstOf(layer.apply(starts(0, 1, 5), { training: true }) as tf.Tensor)).toEqual([3, 3, 6]);
    expect(layer.computedRecursions).toBe(6);
    expect(Array.from(await layer.depths())).toEqual([3, 2, 1]);
  });

  it('gives gates a gradient, and their cost', async () => {
    for (const straight of [true, false]) {
      const layer = counter(2.5, { gate: { straightThrough: straight, temperature: 2, cost: 0.6 } });
      const weight = layer.weights.find(({ shape }) => shape.length === 3)!.read() as tf.Variable;
      const { value, grads } = tf.variableGrads(() => {
        layer.apply(starts(0, 5), { training: true });
        return layer.calculateLosses()[0];
      }, [weight]); // prettier-ignore
      const depths = await layer.depths();
      expectNear('0.6 · mean depth / 6', await value.data(), [(0.6 * (depths[0] + depths[1])) / 2 / 6], 1e-5);
      const gradient = Array.from(await grads[weight.name].data());
      expect(gradient.every(Number.isFinite)).toBe(true);
      // A larger logit of leaving makes the loss smaller.
      expect(gradient[0]).toBeLessThan(0);
    }
  });

  it('takes statistics over the samples that entered, and keeps those of a recursion without any', async () => {
    const layer = counter(2.5, { normalization: { scope: 'perRecursion', momentum: 0.5 }, recursions: 3 });
    layer.apply(starts(0, 9), { training: true });
    const mean = layer.weights.find(({ name }) => name.includes('moving_mean'))!;
    const rows = Array.from(await mean.read().data());
    // All enter the first: mean of 1 and 10. Afterwards its output is normalised, so that all stay below 2.5 and enter.
    expect(rows[0]).toBeCloseTo(0.5 * 5.5, 4);
    // Only the smaller one, −1 behind normalisation, enters the second: mean −1 + 1 and variance 0, where both would have mean 1 and variance 1.
    const partly = counter(0, { normalization: { scope: 'perRecursion', momentum: 0.5 }, recursions: 3 });
    partly.apply(starts(0, 9), { training: true });
    const [means, variances] = await Promise.all(['moving_mean', 'moving_variance'].map((name) => partly.weights.find((weight) => weight.name.includes(name))!.read().data()));
    expectNear('statistics of who entered', [means[1], variances[1]], [0, 0.5], 1e-3);
    const closed = counter(-9, { normalization: { scope: 'perRecursion', momentum: 0.5 }, recursions: 3 });
    closed.apply(starts(0, 9), { training: true });
    const kept = closed.weights.find(({ name }) => name.includes('moving_mean'))!;
    expect(Array.from(await kept.read().data()).slice(1)).toEqual([0, 0]);
  });

  it('says what is wrong', () => {
    const made = (args: Partial<RecursiveConvArgs>) => () => recursiveConv({ kernelSize: 3, recursions: 2, ...args });
    expect(made({ gate: { temperature: 0 } })).toThrow('RecursiveConv: gate: temperature must be a finite number > 0, got 0.');
    expect(made({ gate: { noise: 1 } as never })).toThrow("RecursiveConv: gate: unknown option 'noise'.");
    expect(made({ gate: 3 as never })).toThrow('gate must be {temperature, straightThrough, cost, lookEvery}, got 3. Use gate: {} for the defaults.');
    expect(made({ gate: {}, recursions: 1 })).toThrow('gate needs at least two recursions: the first is always done. Got recursions 1.');
    expect(made({ gate: {}, connection: 'dense', filters: 2 })).toThrow("gate does not go with connection 'dense'");
  });
});

describe('a layer with gates', () => {
  it('leaves no tensor behind when it is disposed of', () => {
    const before = tf.memory().numTensors;
    const layer = recursiveConv({ kernelSize: 3, recursions: 3, gate: {} });
    const x = tf.ones([1, 4, 4, 2]);
    tf.dispose([x, layer.apply(x) as tf.Tensor]);
    layer.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('recursiveConv keeps the layer contract: with gates', () =>
  layerContract({
    create: recursiveConv,
    args: {
      name: 'gated_contract', kernelSize: 3, connection: 'residual' as const, activation: 'tanh' as const, normalization: { scope: 'perRecursion' as const, momentum: 0.9, epsilon: 1e-4 },
      recursions: onGpu ? 2 : 3, gate: { temperature: 0.5, straightThrough: false, cost: 0.1, lookEvery: 2 },
    },
    inputShape: [3, 3, 2], parameters: 9 * 4 + 2 + (onGpu ? 2 : 3) * 8 + (onGpu ? 1 : 2) * 6, masking: 'refuses', learningRate: 0.02,
  })); // prettier-ignore

describe('the gradient norm of each recursion', () => {
  it('is that of ∂L/∂h_d', async () => {
    const layer = recursiveConv({ kernelSize: 1, useBias: false, kernelInitializer: 'identity', recursions: 3 });
    layer.build([1, 2, 2, 1]);
    layer.setWeights([tf.tensor4d([[[[0.5]]]])]);
    layer.watchesGradients = true;
    tf.variableGrads(() => tf.sum(layer.apply(starts(1)) as tf.Tensor) as tf.Scalar);
    // ∂ Σh₃ / ∂h_d = 0.5^(3 − d), four values.
    expectNear('norms', await layer.gradientNorms(), [0.5, 1, 2], 1e-5);
  });

  it('leaves no tensors but the latest ones', async () => {
    const layer = recursiveConv({ kernelSize: 3, recursions: 2 });
    layer.build([null, 3, 3, 2]);
    expect(await layer.gradientNorms()).toEqual([NaN, NaN]);
    layer.watchesGradients = true;
    const step = () => tf.tidy(() => void tf.variableGrads(() => tf.sum(layer.apply(tf.ones([1, 3, 3, 2])) as tf.Tensor) as tf.Scalar));
    step();
    const before = tf.memory().numTensors;
    step();
    expect(tf.memory().numTensors).toBe(before);
  });
});
