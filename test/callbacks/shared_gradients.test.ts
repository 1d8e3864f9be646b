/** Training of shared values, and of shared rows, against the same optimizer on the values themselves. */
import * as tf from '@tensorflow/tfjs-core';
import { CustomCallback, initializers, layers, sequential, type Callback, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { rowTying } from '../../src/callbacks/row_tying.js';
import { sharedValues } from '../../src/callbacks/shared_values.js';
import { seeded } from '../contract/fixtures.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

const OPTIMIZERS: Record<string, () => tf.Optimizer> = {
  sgd: () => tf.train.sgd(0.05),
  momentum: () => tf.train.momentum(0.05, 0.9),
  adam: () => tf.train.adam(0.05),
  rmsprop: () => tf.train.rmsprop(0.02),
};
const CASES = Object.keys(OPTIMIZERS).flatMap((name) => (['average', 'sum'] as const).map((aggregation) => [name, aggregation] as const));
const STEPS = 6;

interface Problem {
  model: LayersModel;
  kernel: number[];
  x: tf.Tensor;
  y: tf.Tensor;
  forward: (kernel: tf.Tensor) => tf.Tensor;
}

/** A dense layer of 6 inputs whose weights take four values, zero among them. */
function ofValues(): Problem {
  const kernel = Array.from({ length: 18 }, (_, i) => [0.5, -0.25, 0, 1][(i * 7) % 4]);
  const model = sequential({ layers: [layers.dense({ units: 3, useBias: false, inputShape: [6] })] });
  const [x, y] = [seeded([8, 6], 1), seeded([8, 3], 2)];
  return { model, kernel, x, y, forward: (w) => tf.matMul(x as tf.Tensor2D, tf.reshape(w, [6, 3])) };
}

/** A convolution of 4 channels, of which 0 and 2 are tied, 1 and 3, at all places. */
function ofRows(): Problem {
  const model = sequential({ layers: [layers.conv1d({ filters: 2, kernelSize: 2, useBias: false, inputShape: [5, 4], name: 'tied' }), layers.flatten()] });
  const rows = [[1, 2, 3, 4], [-1, 0, 2, 1]]; // prettier-ignore
  const kernel = Array.from({ length: 16 }, (_, i) => rows[(i >> 1) % 2][(i >> 3) * 2 + (i & 1)] / 4);
  const [x, y] = [seeded([8, 5, 4], 3), seeded([8, 8], 4)];
  return { model, kernel, x, y, forward: (w) => tf.reshape(tf.conv1d(x as tf.Tensor3D, tf.reshape(w, [2, 4, 2]), 1, 'valid'), [8, 8]) };
}

/** The kernel after steps of the optimizer on `values`, whose gradients are those of the kernel's elements added up or averaged. */
async function onValues({ kernel, y, forward }: Problem, groups: readonly number[], optimizer: tf.Optimizer, aggregation: 'average' | 'sum'): Promise<number[]> {
  const count = Math.max(...groups) + 1;
  const start = Array.from({ length: count }, (_, g) => kernel[groups.indexOf(g)]);
  const values = tf.variable(tf.tensor1d(start));
  const counts = start.map((_, g) => groups.filter((group) => group === g).length);
  const spread = (of: ArrayLike<number>): number[] => groups.map((g) => (g < 0 ? 0 : of[g]));
  for (let step = 0; step < STEPS; step++) {
    const w = tf.tensor1d(spread(await values.data()));
    const gradient = tf.tidy(() => tf.grad((v) => tf.losses.meanSquaredError(y, forward(v)))(w));
    const own = new Array<number>(count).fill(0);
    (await gradient.data()).forEach((slope, i) => groups[i] >= 0 && (own[groups[i]] += slope / (aggregation === 'sum' ? 1 : counts[groups[i]])));
    const aggregated = tf.tensor1d(own);
    optimizer.applyGradients({ [values.name]: aggregated });
    tf.dispose([w, gradient, aggregated]);
  }
  const result = spread(await values.data());
  values.dispose();
  optimizer.dispose();
  return result;
}

async function byCallback({ model, kernel, x, y }: Problem, optimizer: tf.Optimizer, callback: Callback): Promise<number[]> {
  const weights = tf.tensor(kernel, model.getWeights()[0].shape);
  model.setWeights([weights]);
  model.compile({ optimizer, loss: 'meanSquaredError' });
  const applies = optimizer.applyGradients;
  await model.fit(x, y, { epochs: STEPS, batchSize: 8, shuffle: false, verbose: 0, callbacks: [callback] });
  // The optimizer is as it was.
  expect(optimizer.applyGradients).toBe(applies);
  expect(Object.hasOwn(optimizer, 'applyGradients')).toBe(false);
  const result = Array.from(await model.getWeights()[0].data());
  weights.dispose();
  return result;
}

describe('the gradients of', () => {
  it.each(CASES)('equal weights train their value by %s, %s', async (name, aggregation) => {
    const problem = ofValues();
    const values = [...new Set(problem.kernel)].filter((value) => value !== 0);
    const expected = await onValues(problem, problem.kernel.map((w) => values.indexOf(w)), OPTIMIZERS[name](), aggregation); // prettier-ignore
    const got = await byCallback(problem, OPTIMIZERS[name](), sharedValues({ aggregation }));
    got.forEach((w, i) => expect(w).toBeCloseTo(expected[i], 4));
    expect(expected.some((w, i) => Math.abs(w - problem.kernel[i]) > 0.01)).toBe(true);
    tf.dispose([problem.x, problem.y]);
    problem.model.dispose();
  });

  it.each(CASES)('tied rows train their shared row by %s, %s', async (name, aggregation) => {
    missingKernelsForThisTest();
    const problem = ofRows();
    // Element (place, channel, filter) belongs to (channel's cluster, place, filter).
    const groups = problem.kernel.map((_, i) => ((i >> 1) % 2) * 4 + (i >> 3) * 2 + (i & 1));
    const expected = await onValues(problem, groups, OPTIMIZERS[name](), aggregation);
    const got = await byCallback(problem, OPTIMIZERS[name](), rowTying({ layers: ['tied'], cluster: 'equalRows', aggregation }));
    got.forEach((w, i) => expect(w).toBeCloseTo(expected[i], 4));
    tf.dispose([problem.x, problem.y]);
    problem.model.dispose();
  });
});

describe('an optimizer', () => {
  it('gets its own gradients again where a fit has failed, also in the next fit', async () => {
    const { model, kernel, x, y } = ofValues();
    const put = () => {
      const weights = tf.tensor(kernel, [6, 3]);
      model.setWeights([weights]);
      weights.dispose();
    };
    put();
    model.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' });
    const fails = new CustomCallback({ onBatchEnd: () => Promise.reject(new Error('stopped')) }) as unknown as Callback;
    const fit = (...callbacks: Callback[]) => model.fit(x, y, { epochs: 1, batchSize: 8, shuffle: false, verbose: 0, callbacks });
    await fit();
    const plain = Array.from(await model.getWeights()[0].data());
    // The host keeps the logs of a step that has failed.
    const left: number[] = [];
    for (const callbacks of [[fails], [sharedValues(), fails]]) {
      const before = tf.memory().numTensors;
      put();
      await expect(fit(...callbacks)).rejects.toThrow('stopped');
      put();
      await fit();
      expect(Array.from(await model.getWeights()[0].data())).toEqual(plain);
      left.push(tf.memory().numTensors - before);
    }
    expect(left[1]).toBe(left[0]);
    expect(Object.hasOwn(model.optimizer, 'applyGradients')).toBe(false);
    tf.dispose([x, y]);
    model.dispose();
  });

  it('leaves nothing behind of a fit that has failed, where the model is compiled anew', async () => {
    const { model, kernel, x, y } = ofValues();
    const weights = tf.tensor(kernel, [6, 3]);
    const fails = new CustomCallback({ onBatchEnd: () => Promise.reject(new Error('stopped')) }) as unknown as Callback;
    const fit = (...callbacks: Callback[]) => {
      model.setWeights([weights]);
      return model.fit(x, y, { epochs: 1, batchSize: 8, shuffle: false, verbose: 0, callbacks });
    };
    const left: number[] = [];
    for (const callbacks of [[fails], [sharedValues(), fails]]) {
      const before = tf.memory().numTensors;
      const optimizer = tf.train.sgd(0.05);
      model.compile({ optimizer, loss: 'meanSquaredError' });
      await expect(fit(...callbacks)).rejects.toThrow('stopped');
      model.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' });
      await fit(sharedValues());
      expect(Object.hasOwn(optimizer, 'applyGradients')).toBe(false);
      left.push(tf.memory().numTensors - before);
    }
    // What the host keeps of a step that has failed, and of an optimizer.
    expect(left[1]).toBe(left[0]);
    tf.dispose([x, y, weights]);
    model.dispose();
  });

  it('changes for two callbacks at once, and is as before when both have ended', async () => {
    const model = sequential({ layers: [0, 1].map((i) => layers.dense({ units: 4, useBias: false, name: `shared_${i}`, ...(i === 0 ? { inputShape: [4] } : {}), kernelInitializer: initializers.zeros() })) });
    const weights = [0, 1].map(() => tf.tensor2d(Array.from({ length: 16 }, (_, i) => [0.5, -0.5][i % 2]), [4, 4]));
    model.setWeights(weights);
    const optimizer = tf.train.adam(0.02);
    model.compile({ optimizer, loss: 'meanSquaredError' });
    const [x, y] = [seeded([8, 4], 5), seeded([8, 4], 6)];
    await model.fit(x, y, { epochs: 3, batchSize: 8, verbose: 0, callbacks: [sharedValues({ layers: ['shared_0'] }), rowTying({ layers: ['shared_1'], cluster: 'equalRows' })] });
    const [first, second] = await Promise.all(model.getWeights().map((weight) => weight.data()));
    expect(new Set(first).size).toBe(2);
    for (let i = 4; i < 16; i++) expect(second[i]).toBe(second[i % 4]);
    expect(new Set(second).size).toBe(4);
    expect(Object.hasOwn(optimizer, 'applyGradients')).toBe(false);
    tf.dispose([x, y, ...weights]);
    model.dispose();
  });
});
