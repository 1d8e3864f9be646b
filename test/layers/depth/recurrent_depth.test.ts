import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functional, regularizers, sequential, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { groupOfSteps } from '../../../src/layers/depth/pattern.js';
import { sinusoids } from '../../../src/layers/depth/signals.js';
import { recurrentDepth, type RecurrentDepthArgs } from '../../../src/index.js';
import { alive, expectNear, saveAndLoad, seeded } from '../../contract/fixtures.js';
import { groupNormalization } from '../../../src/layers/group_normalization.js';
import { quickLayerNormalization } from '../../../src/layers/quick_layer_normalization.js';
import { layerContract } from '../../contract/layer_contract.js';

const dense = (units = 4, name?: string, seed = 1) => layers.dense({ units, activation: 'tanh', kernelInitializer: initializers.glorotNormal({ seed }), name });
const values = async (tensor: tf.Tensor) => Array.from(await tensor.data());
const call = (layer: layers.Layer, x: tf.Tensor | tf.Tensor[], kwargs = {}) => layer.apply(x, kwargs) as tf.Tensor;

describe('recurrentDepth keeps the contract', () => {
  layerContract({
    create: (args: RecurrentDepthArgs) => recurrentDepth({ ...args, layer: dense(4, 'cell') }),
    args: { steps: 3, groups: 1, pattern: 'cycle', stepSignal: 'learned', normalization: 'shared', checkpointing: true, inferenceSteps: 3, name: 'contract_depth' },
    inputShape: [4], parameters: 20 + 12, masking: 'passes',
  });
  describe('with groups of several layers, and normalisations for each step', () => {
    layerContract({
      create: (args: RecurrentDepthArgs) => recurrentDepth({ ...args, layers: [dense(3, 'a'), layers.layerNormalization({ name: 'an' }), dense(3, 'b', 2), layers.layerNormalization({ name: 'bn' })] }),
      args: { steps: 4, groups: 2, pattern: [0, 1, 1, 0], stepSignal: 'sinusoidal', normalization: 'perStep', name: 'contract_groups' },
      inputShape: [3], parameters: 2 * 12 + 4 * 6, masking: 'passes',
    });
  }); // prettier-ignore
});

describe('recurrentDepth', () => {
  it('is one layer applied several times: by hand', async () => {
    const cell = layers.dense({ units: 2, useBias: false, kernelInitializer: initializers.constant({ value: 1 }) });
    expect(await values(call(recurrentDepth({ layer: cell, steps: 3 }), tf.tensor2d([[1, 2]])))).toEqual([12, 12]);
  });

  it('applies its groups in the order of the pattern', async () => {
    expect(groupOfSteps('blocks', 12, 3)).toEqual([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
    expect(groupOfSteps('cycle', 5, 2)).toEqual([0, 1, 0, 1, 0]);
    expect(groupOfSteps([0, 0, 1, 1, 0], 7, 2)).toEqual([0, 0, 1, 1, 0, 0, 0]);
    const x = seeded([2, 4], 1);
    for (const [pattern, order] of [['blocks', 'aabb'], ['cycle', 'abab'], [[0, 0, 1, 1, 0], 'aabba']] as const) {
      const [a, b] = [dense(4, 'a'), dense(4, 'b', 2)];
      const layer = recurrentDepth({ layers: [a, b], pattern, steps: order.length });
      const got = await values(call(layer, x));
      expectNear(order, got, await values([...order].reduce((h, name) => call(name === 'a' ? a : b, h), x)), 1e-6);
      expect(layer.countParams()).toBe(40);
    }
    const stack = ['p', 'q', 'r', 's'].map((name, i) => dense(4, name, i + 1));
    const groups = recurrentDepth({ layers: stack, groups: 2, steps: 3 });
    expectNear('inner groups', await values(call(groups, x)), await values([0, 1, 0, 1, 2, 3].reduce((h, i) => call(stack[i], h), x)), 1e-6);
  });

  it('takes models, and hands further inputs and masks to each step', async () => {
    const [z, x] = [input({ shape: [3, 4] }), input({ shape: [3, 4] })];
    const cell = functional({ inputs: [z, x], outputs: layers.add().apply([dense().apply(z) as SymbolicTensor, x]) as SymbolicTensor });
    const layer = recurrentDepth({ layer: cell, steps: 2 });
    const [state, context] = [seeded([2, 3, 4], 1), seeded([2, 3, 4], 2)];
    expectNear('model', await values(call(layer, [state, context])), await values(call(cell, [call(cell, [state, context]), context])), 1e-6);
    const masks: unknown[] = [];
    const spying = layers.activation({ activation: 'linear' });
    const original = spying.call.bind(spying);
    spying.call = (inputs, kwargs) => (masks.push(kwargs['mask']), original(inputs, kwargs));
    const mask = tf.tensor2d([[1, 1, 0]], [1, 3], 'bool');
    call(recurrentDepth({ layer: spying, steps: 3 }), seeded([1, 3, 2], 1), { mask });
    expect(masks).toEqual([mask, mask, mask]);
  });

  it('adds a signal before each step', async () => {
    const x = seeded([2, 4], 1);
    const linear = layers.activation({ activation: 'linear' });
    const sum = tf.add(x, tf.sum(sinusoids(1, 3, 4), 0));
    expectNear('sinusoidal', await values(call(recurrentDepth({ layer: linear, steps: 3, stepSignal: 'sinusoidal' }), x)), await values(sum), 1e-6);
    const learned = recurrentDepth({ layer: layers.activation({ activation: 'linear' }), steps: 3, stepSignal: 'learned' });
    const got = call(learned, x);
    expectNear('learned', await values(got), await values(tf.add(x, tf.sum(learned.getWeights()[0], 0))), 1e-6);
    expectNear('sin and cos in turn', await values(sinusoids(2, 1, 4)), [Math.sin(2), Math.cos(2), Math.sin(0.02), Math.cos(0.02)], 1e-6);
  });

  it('normalises with weights of each step, which train apart, while the rest is shared', async () => {
    const layer = recurrentDepth({ layers: [dense(4), layers.layerNormalization()], groups: 1, steps: 3, normalization: 'perStep' });
    const net = sequential({ layers: [layers.inputLayer({ inputShape: [4] }), layer] });
    net.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    expect(layer.countParams()).toBe(20 + 3 * 8);
    await net.fit(seeded([8, 4], 1), seeded([8, 4], 2), { epochs: 2, verbose: 0 });
    const gammas = await Promise.all(layer.weights.filter(({ name }) => name.includes('gamma')).map((weight) => values(weight.read())));
    expect(new Set(gammas.map(String)).size).toBe(3);
    const statistics = recurrentDepth({ layers: [dense(4, 'x'), layers.batchNormalization({ name: 'y' })], groups: 1, steps: 2, normalization: 'perStep' });
    const trained = sequential({ layers: [layers.inputLayer({ inputShape: [4] }), statistics] });
    trained.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    await trained.fit(seeded([8, 4], 1), seeded([8, 4], 2), { epochs: 1, verbose: 0 });
    const means = await Promise.all(statistics.nonTrainableWeights.filter(({ name }) => name.includes('mean')).map((weight) => values(weight.read())));
    expect([means.length, new Set(means.map(String)).size]).toEqual([2, 2]);
    const loaded = await saveAndLoad(trained);
    expectNear('after loading', await values(loaded.predict(seeded([3, 4], 3)) as tf.Tensor), await values(trained.predict(seeded([3, 4], 3)) as tf.Tensor), 1e-6);
  });

  it.each([['quick layer', () => quickLayerNormalization({ name: 'norm' })], ['group', () => groupNormalization({ groups: 2, name: 'norm' })]] as const)('takes %s normalisations as the host’s', async (_, normalization) => {
    const layer = recurrentDepth({ layers: [dense(4), layers.layerNormalization({ name: 'host' }), normalization()], groups: 1, steps: 3, normalization: 'perStep' });
    const net = sequential({ layers: [layers.inputLayer({ inputShape: [2, 4] }), layer] });
    net.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    expect(layer.countParams()).toBe(20 + 3 * 16);
    await net.fit(seeded([8, 2, 4], 1), seeded([8, 2, 4], 2), { epochs: 2, verbose: 0 });
    const gammas = await Promise.all(layer.weights.filter(({ name }) => name.includes('gamma')).map((weight) => values(weight.read())));
    expect(new Set(gammas.map(String)).size).toBe(6);
    const loaded = await saveAndLoad(net);
    expectNear('after loading', await values(loaded.predict(seeded([3, 2, 4], 3)) as tf.Tensor), await values(net.predict(seeded([3, 2, 4], 3)) as tf.Tensor), 1e-6);
  });

  it('trains as the same network written out, with checkpointing as without, and with fewer bytes', async () => {
    const [x, y] = [seeded([16, 8], 1), seeded([16, 8], 2)];
    const trained = async (checkpointing: boolean) => {
      const block = sequential({ layers: [layers.dense({ units: 24, activation: 'tanh', inputShape: [8], kernelInitializer: initializers.glorotNormal({ seed: 1 }) }), dense(8, undefined, 2)] });
      const net = sequential({ layers: [layers.inputLayer({ inputShape: [8] }), recurrentDepth({ layer: block, steps: 12, stepSignal: 'sinusoidal', checkpointing })] });
      net.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
      await net.trainOnBatch(x, y);
      const start = tf.memory().numBytes;
      const { peakBytes } = await tf.profile(() => tf.tidy(() => void tf.variableGrads(() => tf.sum(net.apply(x, { training: true }) as tf.Tensor) as tf.Scalar)));
      return { weights: await Promise.all(net.getWeights().map(values)), bytes: peakBytes - start };
    };
    const [plain, checkpointed] = [await trained(false), await trained(true)];
    expect(checkpointed.weights).toEqual(plain.weights);
    expect(checkpointed.bytes / plain.bytes).toBeLessThan(0.4);
  });

  it('counts the regularizers inside once, and freezes and thaws what is inside', async () => {
    const inner = layers.dense({ units: 4, useBias: false, kernelInitializer: 'ones', kernelRegularizer: regularizers.l2({ l2: 0.5 }) });
    const x = input({ shape: [4] });
    const net = functional({ inputs: x, outputs: recurrentDepth({ layer: inner, steps: 5 }).apply(x) as SymbolicTensor });
    const losses = net.calculateLosses();
    expect(losses.length).toBe(1);
    expect((await losses[0].data())[0]).toBeCloseTo(8, 5);
    net.layers.at(-1)!.trainable = false;
    expect([net.trainableWeights.length, net.nonTrainableWeights.length]).toEqual([0, 1]);
    net.layers.at(-1)!.trainable = true;
    expect(net.trainableWeights.length).toBe(1);
  });

  it('takes another number of steps in inference', async () => {
    const cell = dense();
    const layer = recurrentDepth({ layer: cell, steps: 2, stepSignal: 'none' });
    const x = seeded([2, 4], 1);
    layer.inferenceSteps = 5;
    const expected = Array<layers.Layer>(5).fill(cell).reduce((h, each) => call(each, h), x);
    expectNear('five steps', await values(call(layer, x)), await values(expected), 1e-6);
    expectNear('two in training', await values(call(layer, x, { training: true })), await values(call(cell, call(cell, x))), 1e-6);
  });

  it('frees the states on the way in inference', () => {
    const layer = recurrentDepth({ layer: dense(), steps: 6 });
    const x = seeded([2, 4], 1);
    call(layer, x).dispose();
    const before = alive();
    call(layer, x).dispose();
    expect(alive()).toEqual(before);
  });

  it('says what is wrong', () => {
    const one = () => dense(4, 'one');
    const two = () => [dense(4, 'one'), dense(4, 'two')];
    const cases: Array<[RecurrentDepthArgs, string | RegExp]> = [
      [{ layer: one(), steps: 0 }, 'RecurrentDepth: steps must be an integer ≥ 1, got 0.'],
      [{ layers: two(), pattern: [0, 2, 1] }, 'RecurrentDepth: pattern must list groups from 0 to 1, one for each step, got [0, 2, 1], where 2 is none.'],
      [{ layers: two(), pattern: [0, 0] }, 'RecurrentDepth: pattern [0, 0] never uses group 1. Leave its layers out.'],
      [{ layers: two(), pattern: 'circle' as never }, /pattern .* must be one of 'blocks', 'cycle', got 'circle'/],
      [{ layers: two(), pattern: [0, 1], steps: 3 }, 'RecurrentDepth: pattern lists 2 steps, but steps is 3. Leave steps out.'],
      [{ layers: two(), groups: 3 }, 'groups must divide the number of layers, got 3 groups and 2 layers'],
      [{ layers: two(), steps: 1 }, '1 steps cannot use 2 groups'],
      [{ layer: one(), layers: two() }, 'expected either layer or layers, got both'],
      [{}, 'expected either layer or layers, got neither'],
      [{ layers: [one(), one()] }, "two of its layers are named 'one'"],
      [{ layer: one(), inferenceSteps: 0 }, 'RecurrentDepth: inferenceSteps must be an integer ≥ 1, got 0.'],
      [{ layer: one(), stepSignal: 'learned', steps: 2, inferenceSteps: 3 }, 'inferenceSteps is 3, but a learned signal exists for 2 steps only'],
      [{ layer: {} as never }, 'expected layers or models, got Object'],
    ];
    for (const [args, message] of cases) expect(() => recurrentDepth(args)).toThrow(message);
    const same = one();
    expect(() => recurrentDepth({ layers: [same, same] })).toThrow("the layer 'one' is listed twice");
    expect(() => call(recurrentDepth({ layer: dense(3, 'narrow') }), seeded([2, 4], 1))).toThrow(/'narrow' makes \[2, 3\] of a state \[2, 4\]: .* dense layer of 4 units/);
    expect(() => call(recurrentDepth({ layer: one(), normalization: 'perStep' }), seeded([2, 4], 1))).toThrow(/finds no layer, batch or group normalisation/);
    const counting = sequential({ layers: [layers.inputLayer({ inputShape: [4] }), recurrentDepth({ layer: layers.batchNormalization(), steps: 2, checkpointing: true })] });
    counting.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    return expect(counting.trainOnBatch(seeded([2, 4], 1), seeded([2, 4], 2))).rejects.toThrow(/running statistics/);
  });
});
