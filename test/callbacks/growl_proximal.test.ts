import * as tf from '@tensorflow/tfjs-core';
import { Callback, initializers, layers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { growlProximal, type GrOWLProximalArgs } from '../../src/callbacks/growl_proximal.js';
import { attachRegularizer, growlWeights } from '../../src/regularizers/attach.js';
import { growl, type GrOWLArgs } from '../../src/regularizers/growl.js';
import { rowFactors } from '../../src/regularizers/growl_prox.js';
import { rowNorms } from '../../src/regularizers/growl_rows.js';
import { callbackContract } from '../contract/callback_contract.js';
import { datasetOf, saveAndLoad, seeded, type Dataset } from '../contract/fixtures.js';
// Origin: an independent implementation in Python.
import golden from '../fixtures/growl.json';
import { relativeError } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

function setUp(args: GrOWLArgs, optimizer: tf.Optimizer, inputs = 8) {
  const model = sequential({
    layers: [
      layers.dense({ units: 6, inputShape: [inputs], activation: 'tanh', name: 'first', kernelRegularizer: growl(args), kernelInitializer: initializers.glorotUniform({ seed: 1 }) }),
      layers.dense({ units: 2, name: 'last', kernelInitializer: initializers.glorotUniform({ seed: 2 }) }),
    ],
  });
  model.compile({ optimizer, loss: 'meanSquaredError' });
  const x = seeded([24, inputs], 3);
  // Only the first three inputs matter, all three alike.
  const y = tf.tidy(() => tf.tanh(tf.matMul(tf.sum(tf.slice(x, [0, 0], [24, 3]), 1, true), tf.tensor2d([[1.5, -1]]))));
  return { model, x, y };
}
const fit = (model: LayersModel, x: tf.Tensor, y: tf.Tensor, callbacks: Callback[], epochs = 1) => model.fit(x, y, { epochs, batchSize: 8, shuffle: false, verbose: 0, callbacks });
const kernel = async (model: LayersModel, index = 0) => (await model.getWeights()[index].data()) as Float32Array;
const normsOf = async (model: LayersModel, rows = 8) => rowNorms(await kernel(model), rows);

describe('growlProximal', () => {
  callbackContract({
    create: (model) => {
      if (growlWeights(model).length === 0) attachRegularizer(model, growl({ lambda1: 0.1, lambda2: 0.05 }));
      return growlProximal({ weightDecay: 0.01 });
    },
    historyKeys: ['growlPenalty', 'growlLive'],
  });

  it('takes the step of the reference once an epoch, with the learning rate of the optimizer', async () => {
    const { W, lambda_, prox } = golden.cases.matrices[0];
    const model = sequential({ layers: [layers.dense({ units: 3, inputShape: [5], useBias: false, kernelRegularizer: growl({ schedule: lambda_.map((value) => value / 0.25) }) })] });
    // No gradient: the targets are what the model says.
    const x = tf.zeros([8, 5]);
    const y = tf.zeros([8, 3]);
    model.setWeights([tf.tensor2d(W)]);
    model.compile({ optimizer: tf.train.sgd(0.25), loss: 'meanSquaredError' });
    await fit(model, x, y, [growlProximal()]);
    expect(relativeError(await kernel(model), prox.flat())).toBeLessThan(1e-6);
  });

  it('follows a schedule of the learning rate, and a step size of its own', async () => {
    const { model } = setUp({ schedule: 'groupLasso', lambda1: 1 }, tf.train.sgd(0.1));
    class Halve extends Callback {
      override async onEpochBegin(epoch: number) {
        (model.optimizer as unknown as { learningRate: number }).learningRate = 0.1 * 0.5 ** epoch;
      }
    }
    const [x, y] = [tf.zeros([8, 8]), tf.zeros([8, 2])];
    const before = await normsOf(model);
    await fit(model, x, y, [new Halve(), growlProximal()], 2);
    expect(relativeError(await normsOf(model), before.map((norm) => norm - 0.15))).toBeLessThan(1e-5);
    await fit(model, x, y, [growlProximal({ stepSize: 0.2 })], 1);
    expect(relativeError(await normsOf(model), before.map((norm) => norm - 0.35))).toBeLessThan(1e-5);
  });

  it('takes a part of the step after each batch, which sums to that of an epoch where nothing dies or pools', async () => {
    const run = async (args: GrOWLProximalArgs) => {
      const { model } = setUp({ schedule: 'groupLasso', lambda1: 1 }, tf.train.sgd(0.1));
      await fit(model, tf.zeros([24, 8]), tf.zeros([24, 2]), [growlProximal(args)]);
      return normsOf(model);
    };
    expect(relativeError(await run({ every: 'batch' }), await run({}))).toBeLessThan(1e-5);
  });

  it('reads the batches of an epoch from a data set, and asks for them where that does not know', async () => {
    const made = () => setUp({ lambda1: 0.3, lambda2: 0.01 }, tf.train.sgd(0.1));
    const stepped = async (size: number | null, args: GrOWLProximalArgs) => {
      const { model, x, y } = made();
      const dataset = Object.assign(datasetOf(tf.zerosLike(x), tf.zerosLike(y), 8), { size });
      await model.fitDataset(dataset as Dataset, { epochs: 1, verbose: 0, callbacks: [growlProximal({ every: 'batch', ...args })] });
      return kernel(model);
    };
    const { model, x, y } = made();
    await fit(model, tf.zerosLike(x), tf.zerosLike(y), [growlProximal({ every: 'batch' })]);
    expect(relativeError(await stepped(3, {}), await kernel(model))).toBeLessThan(1e-6);
    expect(relativeError(await stepped(null, { batchesPerEpoch: 3 }), await kernel(model))).toBeLessThan(1e-6);
    await expect(stepped(null, {})).rejects.toThrow("growlProximal: every: 'batch' divides the step by the batches of an epoch, which fitDataset does not tell. Give batchesPerEpoch.");
  });

  it('decays weights after each batch by 1 / (1 + η · weightDecay)', async () => {
    const { model } = setUp({ schedule: 'groupLasso', lambda1: 0 }, tf.train.sgd(0.1));
    const before = await kernel(model);
    await fit(model, tf.zeros([24, 8]), tf.zeros([24, 2]), [growlProximal({ weightDecay: 0.5 })]);
    expect(relativeError(await kernel(model), before.map((w) => w / 1.05 ** 3))).toBeLessThan(1e-5);
  });

  it.each<[string, () => tf.Optimizer, number, number]>([
    ['sgd', () => tf.train.sgd(0.1), 0.2, 0.02],
    ['momentum', () => tf.train.momentum(0.02, 0.9), 1, 0.2],
    ['adam', () => tf.train.adam(0.02), 1.2, 0.48],
  ])('makes rows exactly zero and keeps them so through %s, and leaves the other layers alone', async (_, optimizer, lambda1, lambda2) => {
    const { model, x, y } = setUp({ schedule: 'oscar', lambda1, lambda2 }, optimizer());
    const died: number[][] = [];
    class Watch extends Callback {
      override async onBatchEnd() {
        const norms = await normsOf(model);
        died.push(Array.from(norms.keys()).filter((r) => norms[r] === 0));
      }
    }
    const { history } = await fit(model, x, y, [growlProximal({ minLiveRows: 1 }), new Watch()], 40);
    died.forEach((dead, b) => b > 0 && expect(died[b - 1].every((row) => dead.includes(row)), 'a dead row comes back').toBe(true));
    const norms = Array.from(await normsOf(model));
    expect(norms.map((norm) => norm === 0)).toEqual([false, false, false, true, true, true, true, true]);
    expect(history['growlLive'].at(-1)).toBeCloseTo(3 / 8, 6);
    expect((await kernel(model, 2)).every((w) => w !== 0)).toBe(true);
  });

  it('ties the norms of rows that matter alike', async () => {
    const { model, x, y } = setUp({ lambda1: 0.1, lambda2: 0.04 }, tf.train.sgd(0.1));
    await fit(model, x, y, [growlProximal()], 40);
    const norms = Array.from(await normsOf(model)).sort((a, b) => a - b);
    expect(Math.max(...norms.slice(1, 5)) / norms[1] - 1).toBeLessThan(1e-5);
    expect(norms[5]).toBeGreaterThan(2 * norms[4]);
  });

  it('shrinks the input channels of a convolution', async () => {
    missingKernelsForThisTest();
    const model = sequential({
      layers: [layers.conv2d({ filters: 2, kernelSize: 3, inputShape: [5, 5, 4], kernelRegularizer: growl({ lambda1: 1, lambda2: 0.2 }), kernelInitializer: initializers.glorotUniform({ seed: 3 }) }), layers.flatten(), layers.dense({ units: 1 })],
    });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    const before = await kernel(model);
    const channel = (values: Float32Array, c: number) => Array.from(values).filter((_, i) => Math.floor(i / 2) % 4 === c);
    const norms = [0, 1, 2, 3].map((c) => Math.hypot(...channel(before, c)));
    const factors = rowFactors(norms, [1.6, 1.4, 1.2, 1], 0.1);
    await fit(model, tf.zeros([8, 5, 5, 4]), tf.zeros([8, 1]), [growlProximal()]);
    const after = await kernel(model);
    for (let c = 0; c < 4; c++) expect(relativeError(channel(after, c), channel(before, c).map((w) => w * factors[c]))).toBeLessThan(1e-5);
  });

  it('takes the penalty out of the loss while it works, and leaves it in where it does not', async () => {
    const { model, x, y } = setUp({ lambda1: 1 }, tf.train.sgd(0));
    const [ofData] = await (model.evaluate(x, y) as tf.Scalar).data();
    const penalty = (await normsOf(model)).reduce((a, b) => a + b, 0);
    const proximal = await fit(model, x, y, [growlProximal({ stepSize: 1e-9 })]);
    expect(proximal.history['loss'][0]).toBeCloseTo(ofData, 5);
    expect(proximal.history['growlPenalty'][0]).toBeCloseTo(penalty, 4);
    expect((await fit(model, x, y, [])).history['loss'][0]).toBeCloseTo(ofData + penalty, 4);
  });

  it('leaves the penalty in the fit after one that another callback broke off', async () => {
    const { model, x, y } = setUp({ lambda1: 1 }, tf.train.sgd(0));
    class Break extends Callback {
      override async onBatchEnd() {
        throw new Error('broken off');
      }
    }
    const [ofData] = await (model.evaluate(x, y) as tf.Scalar).data();
    const penalty = (await normsOf(model)).reduce((a, b) => a + b, 0);
    await expect(fit(model, x, y, [growlProximal(), new Break()])).rejects.toThrow('broken off');
    expect((await fit(model, x, y, [])).history['loss'][0]).toBeCloseTo(ofData + penalty, 4);
  });

  it('names the layer and row of a weight that is not finite, before it begins', async () => {
    for (const bad of [NaN, Infinity]) {
      const { model, x, y } = setUp({ lambda1: 1 }, tf.train.sgd(0.1));
      const weights = await kernel(model);
      weights[2 * 6 + 1] = bad;
      model.setWeights([tf.tensor2d(weights, [8, 6]), ...model.getWeights().slice(1)]);
      await expect(fit(model, x, y, [growlProximal()])).rejects.toThrow("growlProximal: row 2 of layer 'first' is not finite. Train it again, or put good weights back, before shrinking rows.");
    }
  });

  it('goes on after a save and a load: dead rows stay dead', async () => {
    const { model, x, y } = setUp({ lambda1: 0.2, lambda2: 0.04 }, tf.train.sgd(0.1));
    await fit(model, x, y, [growlProximal({ minLiveRows: 1 })], 40);
    const dead = Array.from(await normsOf(model), (norm) => norm === 0);
    expect(dead).toContain(true);
    const loaded = await saveAndLoad(model);
    loaded.compile({ optimizer: tf.train.momentum(0.05, 0.9), loss: 'meanSquaredError' });
    await fit(loaded, x, y, [growlProximal({ minLiveRows: 1, stepSize: 1e-6 })], 2);
    expect(Array.from(await normsOf(loaded), (norm) => norm === 0)).toEqual(dead);
  });

  it('stops before a layer dies, names it and leaves the weights of before the step', async () => {
    const { model } = setUp({ lambda1: 100 }, tf.train.sgd(0.1));
    const before = await kernel(model);
    const message = "growlProximal: layer 'first' would be left with 0 live rows of 8; at least 4 are wanted (minLiveRows). The step was not taken and the weights are those of before. Lower lambda1 and lambda2, or the learning rate.";
    await expect(fit(model, tf.zeros([8, 8]), tf.zeros([8, 2]), [growlProximal()])).rejects.toThrow(message);
    expect(Array.from(await kernel(model))).toEqual(Array.from(before));
  });

  it('puts the last good weights back where some are not finite, and leaves no tensor behind', async () => {
    for (const every of ['epoch', 'batch'] as const) {
      const { model, x, y } = setUp({ lambda1: 0.01 }, tf.train.sgd(0.01));
      await fit(model, x, y, [growlProximal({ every })]);
      const before = await kernel(model);
      const bad = tf.fill([24, 2], NaN);
      const tensors = tf.memory().numTensors;
      await expect(fit(model, x, bad, [growlProximal({ every })])).rejects.toThrow(/growlProximal: weights are not finite at .*The last good weights were put back/);
      expect(Array.from(await kernel(model))).toEqual(Array.from(before));
      // What the failed fit itself keeps is the host's.
      expect(tf.memory().numTensors - tensors).toBeLessThan(20);
    }
  });

  it('says what is missing or wrong', async () => {
    const { model, x, y } = setUp({ lambda1: 1 }, tf.train.sgd(0.1));
    const plain = sequential({ layers: [layers.dense({ units: 2, inputShape: [8] })] });
    plain.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    await expect(fit(plain, x, y, [growlProximal()])).rejects.toThrow('growlProximal: no layer of the model has a growl penalty. Give it as kernelRegularizer of a layer, or call attachRegularizer');
    await expect(fit(model, x, y, [growlProximal({ minLiveRows: 9 })])).rejects.toThrow("growlProximal: minLiveRows is 9, but layer 'first' has only 8 rows.");
    (model.optimizer as unknown as { learningRate: unknown }).learningRate = undefined;
    await expect(fit(model, x, y, [growlProximal()])).rejects.toThrow("growlProximal: the model's optimizer has no numeric learningRate. Give stepSize.");
    model.layers[0].trainable = false;
    await expect(fit(model, x, y, [growlProximal({ stepSize: 1 })])).rejects.toThrow('growlProximal: every weight with a growl penalty is frozen: first.');
    expect(() => growlProximal({ every: 'step' as 'batch' })).toThrow("growlProximal: every must be one of 'epoch', 'batch', got 'step'.");
    expect(() => growlProximal({ batchesPerEpoch: 3 })).toThrow("growlProximal: batchesPerEpoch has no effect with every: 'epoch'. Leave it out.");
    expect(() => growlProximal({ weightDecay: -1 })).toThrow('growlProximal: weightDecay must be a finite number ≥ 0, got -1.');
    expect(() => growlProximal({ lambda1: 1 } as GrOWLProximalArgs)).toThrow("growlProximal: unknown option 'lambda1'.");
  });
});
