import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, regularizers, sequential, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it, vi } from 'vitest';
import { recursiveConv, type RecursiveConv } from '../../../src/layers/recursion/recursive_conv.js';
import type { RecursiveConvArgs } from '../../../src/layers/recursion/recursion_options.js';
import { attachRegularizer } from '../../../src/regularizers/attach.js';
import { gmmPrior } from '../../../src/regularizers/gmm_prior.js';
import { expectNear, peakBytes, seeded } from '../../contract/fixtures.js';
import { layerContract } from '../../contract/layer_contract.js';
import golden from '../../fixtures/convolution.json';

const flat = (values: unknown): number[] => (values as unknown[]).flat(Infinity) as number[];
const { x: X, ...reference } = golden.cases as unknown as Record<string, number[][][][]>;
const x = () => tf.tensor4d(X);

/** The output of the layer for the golden input, with these weights in the order of the layer's own. */
function outputOf(args: RecursiveConvArgs, weights: string[], inputs: tf.Tensor[] = [x()]): tf.Tensor {
  const layer = recursiveConv(args);
  layer.build(inputs.length === 1 ? inputs[0].shape : inputs.map(({ shape }) => shape));
  layer.setWeights(weights.map((name) => tf.tensor(flat(reference[name]), shapeOf(reference[name]))));
  return layer.apply(inputs.length === 1 ? inputs[0] : inputs) as tf.Tensor;
}

function shapeOf(values: unknown): number[] {
  return Array.isArray(values) ? [values.length, ...shapeOf(values[0])] : [];
}

describe('recursiveConv equals the reference', () => {
  const relu = 'relu' as const;
  const residualUnit = [{ kernelSize: 3, preActivation: true, activation: relu, useBias: false }, { kernelSize: 3, preActivation: true, activation: relu, useBias: false }];

  it('plainly: h ← relu(conv(h) + b)', async () => {
    expectNear('plain', await outputOf({ kernelSize: 3, activation: relu, recursions: 3 }, ['kernel', 'bias']).data(), flat(reference.plain), 1e-5);
  });

  it('with the input skipped to each recursion', async () => {
    const y = outputOf({ kernelSize: 3, activation: relu, recursions: 3, connection: 'inputSkip' }, ['kernel', 'bias']);
    expectNear('inputSkip', await y.data(), flat(reference.inputSkip), 1e-5);
  });

  it('with the residual unit of DRRN', async () => {
    expectNear('drrn', await outputOf({ block: residualUnit, recursions: 3, connection: 'inputSkip' }, ['kernel', 'kernel2']).data(), flat(reference.drrn), 1e-5);
  });

  it('with the dense block of RDN, which shares nothing', async () => {
    const y = outputOf({ block: { kernelSize: 3, filters: 3, activation: relu, useBias: false }, recursions: 2, tied: false, connection: 'dense', readout: 'fusion', fusion: { useBias: false } }, ['g1', 'g2', 'fuse']);
    expectNear('denseBlock', await tf.add(y, x()).data(), flat(reference.denseBlock), 1e-5);
  });

  it('with the memory block of MemNet', async () => {
    const y = outputOf({ block: residualUnit, recursions: 3, connection: 'residual', readout: 'memory', fusion: { useBias: false } }, ['kernel', 'kernel2', 'gate']);
    expectNear('memoryBlock', await y.data(), flat(reference.memoryBlock), 1e-5);
  });

  it('in the shuffle of channels', async () => {
    const y = outputOf({ block: { activation: 'linear' }, recursions: 2, shuffle: 2 }, []);
    expectNear('shuffle', await y.data(), flat(reference.shuffle), 1e-6);
  });
});

let made = 0;
const named = () => ({ name: `recursive_contract_${++made}` });

describe('recursiveConv keeps the layer contract: one convolution', () =>
  layerContract({
    create: recursiveConv,
    args: {
      ...named(), kernelSize: [3, 2] as [number, number], filters: 4, groups: 2, dilationRate: 2, activation: 'tanh' as const, normalization: 'perRecursion' as const, useBias: true, recursions: 3,
      connection: 'residual' as const, stateActivation: 'relu' as const, shuffle: 2, readout: 'weighted' as const, tied: true,
      kernelInitializer: initializers.glorotUniform({ seed: 1 }), kernelRegularizer: regularizers.l2({ l2: 0.01 }),
    },
    inputShape: [4, 5, 4], parameters: 3 * 2 * 2 * 4 + 4 + 4 * 3 * 4 + 3, masking: 'refuses', learningRate: 0.1,
  })); // prettier-ignore

describe('recursiveConv keeps the layer contract: a block over sequences, with more than one output', () =>
  layerContract({
    create: recursiveConv,
    args: {
      ...named(), block: [{ kernelSize: 3, depthMultiplier: 2, normalization: 'shared' as const }, { kernelSize: 1, filters: 4, groups: 2, preActivation: true, activation: 'relu' as const, useBias: false }],
      recursions: 2, connection: 'inputSkip' as const, head: { kernelSize: 1, filters: 2 }, readout: 'sum' as const, everyStep: true, tied: false,
    },
    inputShape: [6, 4], parameters: 2 * (3 * 4 * 2 + 8 + 4 * 4) + 4 * 8 + 4 * 2 + 2, masking: 'refuses',
  })); // prettier-ignore

describe('recursiveConv keeps the layer contract: layers as a block, with checkpoints', () =>
  layerContract({
    create: recursiveConv,
    args: { ...named(), block: layers.dense({ units: 3, activation: 'tanh', name: 'inner_dense' }), recursions: 3, connection: 'residual' as const, checkpoint: true },
    inputShape: [2, 3, 3], parameters: 12, masking: 'refuses', learningRate: 0.02,
  })); // prettier-ignore

describe('recursiveConv keeps the layer contract: a gate over memories, shared normalisation', () =>
  layerContract({
    create: recursiveConv,
    args: {
      ...named(), kernelSize: 2, preActivation: true, activation: 'relu' as const, normalization: 'shared' as const, recursions: 2, connection: 'residual' as const, readout: 'memory' as const,
      fusion: { kernelSize: 1, filters: 3, preActivation: true, activation: 'relu' as const, normalization: 'shared' as const },
    },
    inputShape: [[3, 3, 2], [3, 3, 1]], parameters: 4 * 4 + 2 + 8 + 7 * 3 + 3 + 4 * 7, masking: 'refuses', learningRate: 0.02,
  })); // prettier-ignore

function trained(layer: RecursiveConv | layers.Layer, data: tf.Tensor) {
  const given = input({ shape: data.shape.slice(1) });
  return functionalModel({ inputs: given, outputs: layer.apply(given) as SymbolicTensor });
}

describe('recursiveConv', () => {
  it('draws untied kernels apart, also from a seed', async () => {
    const layer = recursiveConv({ filters: 2, kernelSize: 3, recursions: 3, tied: false, useBias: false, kernelInitializer: initializers.heNormal({ seed: 3 }) });
    trained(layer, tf.zeros([1, 4, 4, 2]));
    const kernels = await Promise.all(layer.getWeights().map(async (weight) => (await weight.data()).join()));
    expect(new Set(kernels).size).toBe(3);
  });

  it('is a stock convolution where there is one recursion', async () => {
    const stock = layers.conv2d({ filters: 3, kernelSize: 3, padding: 'same', dilationRate: 2, activation: 'relu', kernelInitializer: initializers.glorotNormal({ seed: 3 }), biasInitializer: 'ones' });
    const ours = recursiveConv({ filters: 3, kernelSize: 3, dilationRate: 2, activation: 'relu', recursions: 1 });
    const [a, b] = [trained(stock, x()), trained(ours, x())];
    b.setWeights(a.getWeights());
    expectNear('y', await (b.predict(x()) as tf.Tensor).data(), await (a.predict(x()) as tf.Tensor).data(), 1e-5);
  });

  it.each([
    ['1D', { kernelSize: 3, filters: 4 }, [2, 7, 4], [3, 4, 4], (h: tf.Tensor, k: tf.Tensor) => tf.conv1d(h as tf.Tensor3D, k as tf.Tensor3D, 1, 'same')],
    ['1D with dilation', { kernelSize: 3, filters: 4, dilationRate: 2 }, [2, 7, 4], [3, 4, 4], (h: tf.Tensor, k: tf.Tensor) => tf.conv1d(h as tf.Tensor3D, k as tf.Tensor3D, 1, 'same', 'NWC', 2)],
    ['depthwise', { kernelSize: 3, depthMultiplier: 1 }, [2, 5, 5, 4], [3, 3, 4, 1], (h: tf.Tensor, k: tf.Tensor) => tf.depthwiseConv2d(h as tf.Tensor4D, k as tf.Tensor4D, 1, 'same')],
    ['grouped', { kernelSize: 3, groups: 2 }, [2, 5, 5, 4], [3, 3, 2, 4], (h: tf.Tensor, k: tf.Tensor) => {
      const [parts, kernels] = [tf.split(h, 2, 3), tf.split(k, 2, 3)];
      return tf.concat(parts.map((part, g) => tf.conv2d(part as tf.Tensor4D, kernels[g] as tf.Tensor4D, 1, 'same')), 3);
    }],
  ] as [string, Partial<RecursiveConvArgs>, number[], number[], (h: tf.Tensor, k: tf.Tensor) => tf.Tensor][])('is stock convolutions one after the other, %s', async (_, args, shape, kernelShape, convolve) => {
    const layer = recursiveConv({ ...args, activation: 'relu', recursions: 3 });
    layer.build(shape);
    const [kernel, bias, given] = [seeded(kernelShape, 1), seeded([4], 2), seeded(shape, 3)];
    layer.setWeights([kernel, bias]);
    const expected = [0, 1, 2].reduce((h) => tf.relu(tf.add(convolve(h, kernel), bias)), given);
    expectNear('y', await (layer.apply(given) as tf.Tensor).data(), await expected.data(), 1e-5);
  }); // prettier-ignore

  it('shares the first channels of one kernel where a dense connection gives ever more', async () => {
    const layer = recursiveConv({ kernelSize: 3, filters: 2, recursions: 3, connection: 'dense', readout: 'fusion', fusion: { useBias: false }, useBias: false });
    layer.build(x().shape);
    const [kernel, fusion] = [seeded([3, 3, 8, 2], 1) as tf.Tensor4D, seeded([1, 1, 10, 4], 2) as tf.Tensor4D];
    layer.setWeights([kernel, fusion]);
    const all = [0, 1, 2].reduce<tf.Tensor4D>((seen) => tf.concat([seen, tf.conv2d(seen, tf.slice(kernel, 0, [3, 3, seen.shape[3], 2]), 1, 'same')], 3), x());
    expectNear('y', await (layer.apply(x()) as tf.Tensor).data(), await tf.conv2d(all, fusion, 1, 'same').data(), 1e-5);
  });

  it('has the weights of one recursion, or of all when untied, and each once', () => {
    const count = (args: Partial<RecursiveConvArgs>) => trained(recursiveConv({ kernelSize: 3, recursions: 5, ...args }), x()).countParams();
    expect(count({})).toBe(9 * 16 + 4);
    expect(count({ tied: false })).toBe(5 * (9 * 16 + 4));
    expect(count({ normalization: 'shared' })).toBe(9 * 16 + 4 + 16);
    expect(count({ normalization: 'perRecursion' })).toBe(9 * 16 + 4 + 5 * 16);
    expect(count({ connection: 'dense', filters: 2, readout: 'fusion' })).toBe(9 * (4 + 4 * 2) * 2 + 2 + (4 + 5 * 2) * 4 + 4);
  });

  it('counts the loss of a regularizer once, however many recursions', async () => {
    const layer = recursiveConv({ kernelSize: 1, recursions: 7, kernelInitializer: 'ones', kernelRegularizer: regularizers.l2({ l2: 0.5 }) });
    trained(layer, x());
    expect(layer.calculateLosses()).toHaveLength(1);
    expectNear('loss', await layer.calculateLosses()[0].data(), [0.5 * 16], 1e-6);
  });

  it('takes a prior that is attached later, of one convolution', () => {
    const layer = recursiveConv({ kernelSize: 3, recursions: 3 });
    const prior = gmmPrior({ trainingExamples: 10, tau: 0.1 });
    attachRegularizer(trained(layer, x()), prior);
    expect(layer.losses).toHaveLength(1);
    expect(layer.getConfig()['kernelRegularizer']).toMatchObject({ className: 'GmmPrior' });
  });

  it('changes nothing at first with the identity as initializer', async () => {
    for (const args of [{}, { groups: 2 }, { depthMultiplier: 1 }]) {
      const layer = recursiveConv({ kernelSize: 3, recursions: 16, kernelInitializer: 'identity', ...args });
      expectNear('y', await (layer.apply(x()) as tf.Tensor).data(), flat(X), 1e-6);
    }
    expect(() => recursiveConv({ kernelSize: 3, filters: 2, recursions: 1, kernelInitializer: 'identity' }).build([null, 4, 4, 4])).toThrow("RecursiveConv: kernelInitializer 'identity' needs as many channels out as in, got 4 in and 2 out.");
  });

  it('gives every state after the readout, and the sum and the weighted mean of them', async () => {
    const args = { kernelSize: 3, recursions: 3, kernelInitializer: initializers.glorotNormal({ seed: 5 }), everyStep: true };
    const [last, ...states] = recursiveConv(args).apply(x()) as tf.Tensor[];
    expect(states).toHaveLength(3);
    expectNear('last', await last.data(), await states[2].data(), 0);
    const [sum] = recursiveConv({ ...args, readout: 'sum' }).apply(x()) as tf.Tensor[];
    expectNear('sum', await sum.data(), await tf.addN(states).data(), 1e-6);
    const layer = recursiveConv({ ...args, readout: 'weighted' });
    layer.build(x().shape);
    layer.setWeights([...layer.getWeights().slice(0, 2), tf.tensor1d([1, 2, 5])]);
    const [mean] = layer.apply(x()) as tf.Tensor[];
    const expected = tf.div(tf.addN([states[0], tf.mul(2, states[1]), tf.mul(5, states[2])]), 8);
    expectNear('weighted', await mean.data(), await expected.data(), 1e-5);
  });

  it('is computed once by a model however many outputs it has, and again after its weights changed', async () => {
    const layer = recursiveConv({ kernelSize: 1, recursions: 3, everyStep: true, normalization: { scope: 'perRecursion', momentum: 0.5 } });
    const given = input({ shape: [6, 6, 4] });
    const model = functionalModel({ inputs: given, outputs: layer.apply(given) as SymbolicTensor[] });
    const calls = vi.spyOn(layer as unknown as { invokeCallHook(): void }, 'invokeCallHook');
    const data = x();
    const outputs = model.predict(data) as tf.Tensor[];
    expect(calls).toHaveBeenCalledTimes(1);
    expectNear('last step', await outputs[3].data(), await outputs[0].data(), 0);
    tf.tidy(() => {
      layer.apply(data);
      layer.setWeights(layer.getWeights().map((weight) => tf.mul(weight, 2)));
      layer.apply(data);
    });
    expect(calls).toHaveBeenCalledTimes(3);
    // So that one step of training moves running statistics once.
    const [mean] = layer.nonTrainableWeights;
    const before = await mean.read().data();
    model.compile({ optimizer: tf.train.sgd(0.01), loss: Array(4).fill('meanSquaredError') as string[] });
    calls.mockClear();
    await model.trainOnBatch(data, [data, data, data, data]);
    expect(calls).toHaveBeenCalledTimes(1);
    expect(Array.from(await mean.read().data())).not.toEqual(Array.from(before));
    vi.restoreAllMocks();
  });

  it('scales and shifts each recursion by itself where normalisation is without statistics, in training as in inference', async () => {
    const layer = recursiveConv({ kernelSize: 1, useBias: false, kernelInitializer: 'identity', recursions: 2, normalization: { scope: 'perRecursion', statistics: false }, inputShape: [6, 6, 4] });
    const model = sequential({ layers: [layer] });
    const [gamma, beta] = [seeded([2, 4], 3), seeded([2, 4], 4)];
    layer.setWeights([layer.getWeights()[0], gamma, beta]);
    const rows = (of: tf.Tensor) => tf.unstack(of);
    const expected = rows(gamma).reduce((h, scale, d) => tf.add(tf.mul(h, scale), rows(beta)[d]), x());
    expectNear('inference', await (model.predict(x()) as tf.Tensor).data(), await expected.data(), 1e-5);
    expectNear('training', await (model.apply(x(), { training: true }) as tf.Tensor).data(), await expected.data(), 1e-5);
  });

  it('normalises each recursion by statistics of its own, which inference uses', async () => {
    const args = { kernelSize: 1, useBias: false, kernelInitializer: initializers.constant({ value: 2 }), recursions: 2, normalization: { scope: 'perRecursion' as const, momentum: 0.5, epsilon: 1e-3 } };
    const layer = recursiveConv(args);
    const model = trained(layer, x());
    const [, gamma, beta, mean, variance] = layer.weights;
    expect([gamma, beta, mean, variance].map(({ shape }) => shape)).toEqual([[2, 4], [2, 4], [2, 4], [2, 4]]);
    const stock = sequential({ layers: [0, 1].flatMap(() => [
      layers.conv2d({ filters: 4, kernelSize: 1, useBias: false, kernelInitializer: initializers.constant({ value: 2 }), inputShape: [6, 6, 4] }),
      layers.batchNormalization({ momentum: 0.5 }),
    ]) }); // prettier-ignore
    const trainedOutput = (each: typeof model | typeof stock) => each.apply(x(), { training: true }) as tf.Tensor;
    expectNear('in training', await trainedOutput(model).data(), await trainedOutput(stock).data(), 1e-4);
    const stockRows = (w: number) => tf.stack([stock.layers[1].getWeights()[w], stock.layers[3].getWeights()[w]]);
    expectNear('moving mean', await mean.read().data(), await stockRows(2).data(), 1e-4, 1);
    expectNear('moving variance', await variance.read().data(), await stockRows(3).data(), 1e-4);
    expectNear('in inference', await (model.predict(x()) as tf.Tensor).data(), await (stock.predict(x()) as tf.Tensor).data(), 1e-4);
  });

  it('hands earlier memories on to the gate', () => {
    const layer = recursiveConv({ kernelSize: 3, recursions: 2, readout: 'memory' });
    const y = layer.apply([x(), seeded([2, 6, 6, 3], 1)]) as tf.Tensor;
    expect(y.shape).toEqual([2, 6, 6, 4]);
    expect(layer.countParams()).toBe(9 * 16 + 4 + (4 + 4 + 3 + 4) * 4 + 4);
  });

  const before = { kernelSize: 3, preActivation: true, activation: 'relu', kernelInitializer: initializers.heNormal({ seed: 2 }) } as const;
  it.each([
    ['inputSkip', { block: [before], connection: 'inputSkip' }],
    ['residual, normalised', { block: [{ ...before, useBias: false, normalization: 'perRecursion' }], connection: 'residual' }],
    ['dense', { block: [{ ...before, filters: 1, kernelInitializer: initializers.randomNormal({ stddev: 0.1, seed: 2 }) }], connection: 'dense', readout: 'fusion' }],
    ['memory', { block: [before], connection: 'inputSkip', readout: 'memory' }],
    ['a gate', { block: [before], connection: 'inputSkip', gate: { cost: 0.1 } }],
  ] as [string, Partial<RecursiveConvArgs>][])('has finite gradients through 25 recursions: %s', async (_, args) => {
    const layer = recursiveConv({ ...args, recursions: 25 });
    layer.build(x().shape);
    const loss = () => tf.addN([tf.mean(tf.square(layer.apply(x(), { training: true }) as tf.Tensor)), ...layer.calculateLosses()]) as tf.Scalar;
    const { grads } = tf.variableGrads(loss, layer.trainableWeights.map((weight) => weight.read() as tf.Variable));
    for (const gradient of Object.values(grads)) {
      const values = await gradient.data();
      expect(values.every(Number.isFinite)).toBe(true);
      expect(values.some((value) => value !== 0)).toBe(true);
    }
  });

  it('repeats layers of the host as a block, whose weights and losses count once', async () => {
    const conv = () => layers.conv2d({ filters: 4, kernelSize: 3, padding: 'same', activation: 'tanh', kernelInitializer: initializers.glorotNormal({ seed: 7 }), kernelRegularizer: regularizers.l2({ l2: 0.1 }), name: `inner_${++made}` });
    const inner = conv();
    const layer = recursiveConv({ block: [inner, layers.dropout({ rate: 0.5, name: `drop_${++made}` })], recursions: 3, connection: 'residual' });
    const model = trained(layer, x());
    expect(model.countParams()).toBe(9 * 16 + 4);
    expect(layer.calculateLosses()).toHaveLength(1);
    const step = (h: tf.Tensor) => tf.add(inner.apply(h) as tf.Tensor, h);
    const expected = step(step(step(x())));
    expectNear('y', await (model.predict(x()) as tf.Tensor).data(), await expected.data(), 1e-5);
  });

  it('has the same gradients with checkpoints, and updates running statistics once', async () => {
    // No bias: behind it normalisation leaves a gradient of zero and rounding.
    const args: RecursiveConvArgs = { kernelSize: 3, recursions: 5, connection: 'residual', activation: 'tanh', normalization: 'perRecursion', useBias: false, readout: 'weighted', kernelInitializer: initializers.glorotNormal({ seed: 9 }) };
    const head = [{ kernelSize: 1, activation: 'tanh' as const }, { kernelSize: 1, filters: 2, normalization: 'shared' as const }];
    const variants: Partial<RecursiveConvArgs>[] = [
      {}, { gate: { cost: 0.1 } }, { everyStep: true }, { head, everyStep: true }, { head, readout: 'sum', gate: {} }, { head, readout: 'last' }, { readout: 'fusion' }, { head, readout: 'memory', gate: {} },
      { connection: 'dense', filters: 3 }, { connection: 'dense', filters: 3, readout: 'fusion' }, { connection: 'dense', filters: 3, head, everyStep: true },
    ]; // prettier-ignore
    for (const variant of variants) {
      const [plain, kept] = [false, true].map((checkpoint) => recursiveConv({ ...args, ...variant, checkpoint }));
      for (const layer of [plain, kept]) {
        layer.build(x().shape);
        layer.watchesGradients = true;
      }
      kept.setWeights(plain.getWeights());
      const gradients = (layer: RecursiveConv) =>
        tf.variableGrads(() => {
          const outputs = [layer.apply(x(), { training: true }) as tf.Tensor].flat();
          return tf.addN([...outputs.map((y) => tf.sum(tf.square(y))), ...layer.calculateLosses()]) as tf.Scalar;
        }, layer.trainableWeights.map((weight) => weight.read() as tf.Variable)); // prettier-ignore
      const [a, b] = [gradients(plain), gradients(kept)];
      expectNear('loss', await b.value.data(), await a.value.data(), 1e-5);
      for (const [i, weight] of plain.trainableWeights.entries()) {
        const name = (kept.trainableWeights[i].read() as tf.Variable).name;
        expectNear(weight.name, await b.grads[name].data(), await a.grads[(weight.read() as tf.Variable).name].data(), 1e-4, 1e-3);
      }
      expectNear('gradient norms', await kept.gradientNorms(), await plain.gradientNorms(), 1e-4);
      for (const [i, weight] of plain.nonTrainableWeights.entries()) expectNear(weight.name, await kept.nonTrainableWeights[i].read().data(), await weight.read().data(), 1e-5);
    }
  });

  it('takes with checkpoints less than 40 % of the memory, also where states are summed', async () => {
    const head = [{ kernelSize: 3, activation: 'relu' as const }, { kernelSize: 3, filters: 1 }];
    const peak = async (args: Partial<RecursiveConvArgs>) => {
      const layer = recursiveConv({ kernelSize: 3, activation: 'relu', recursions: 16, connection: 'inputSkip', ...args });
      layer.build(x().shape);
      const variables = layer.trainableWeights.map((weight) => weight.read() as tf.Variable);
      return peakBytes(() => void tf.variableGrads(() => tf.addN([layer.apply(x(), { training: true }) as tf.Tensor].flat().map((y) => tf.mean(y))) as tf.Scalar, variables));
    };
    for (const args of [{}, { readout: 'sum' as const }, { readout: 'weighted' as const }, { readout: 'weighted' as const, head }, { readout: 'weighted' as const, head, everyStep: true }]) {
      const share = (await peak({ ...args, checkpoint: true })) / (await peak(args));
      expect(share, `share of memory with ${JSON.stringify(args)}`).toBeLessThan(0.4);
    }
  });

  it('says what is wrong', () => {
    const made = (args: Partial<RecursiveConvArgs>) => recursiveConv({ kernelSize: 3, recursions: 2, ...args });
    const built = (args: Partial<RecursiveConvArgs>, shape: number[] | number[][] = [1, 5, 5, 6]) => () => made({ name: 'wrong', ...args }).build(shape);
    expect(() => made({ recursions: 0 })).toThrow('RecursiveConv: recursions must be an integer ≥ 1, got 0.');
    expect(() => made({ recursions: 1.5 })).toThrow('recursions must be an integer ≥ 1, got 1.5.');
    expect(() => made({ padding: 'same' })).not.toThrow();
    expect(() => made({ padding: 'valid' as never })).toThrow("RecursiveConv: padding must be 'same', got 'valid': a recursion keeps the size of its state.");
    expect(() => made({ strides: 2 })).toThrow('RecursiveConv: strides must be 1, got 2: a recursion keeps the size of its state. Pool or stride in a layer before or after it.');
    expect(() => made({ connection: 'skip' as never })).toThrow("connection must be one of 'none', 'residual', 'inputSkip', 'dense', got 'skip'.");
    expect(() => made({ shuffle: 'two' as never })).toThrow("shuffle must be a number of groups or {groups, swapHalves}, got 'two'.");
    expect(() => made({ block: { kernelSize: 3 } })).toThrow('with a block, what its convolutions are belongs into the block: move kernelSize there.');
    expect(() => recursiveConv({ recursions: 2 })).toThrow('expected kernelSize, for one convolution, or a block.');
    expect(() => recursiveConv({ recursions: 2, block: [] })).toThrow('block must not be empty');
    expect(() => recursiveConv({ recursions: 2, block: [3 as never] })).toThrow('expected a list of layers and of options of convolutions, {kernelSize, …}, got 3.');
    expect(() => made({ fusion: { kernelSize: 1 } })).toThrow("fusion is for readout 'fusion' or 'memory', got readout 'last'.");
    expect(() => made({ depthMultiplier: 2, filters: 4 })).toThrow('a depthwise convolution has no filters and no groups');
    expect(() => made({ normalization: { scope: 'each' as never } })).toThrow("normalization: scope must be one of 'perRecursion', 'shared', got 'each'.");
    expect(() => made({ normalization: { scope: 'shared', statistics: false, epsilon: 0.1 } })).toThrow('normalization: momentum and epsilon are for statistics, and there are none with statistics: false. Leave them out.');
    const block = (...parts: layers.Layer[]) => () => recursiveConv({ block: parts, recursions: 2 }).build([1, 5, 5, 6]);
    expect(block(layers.batchNormalization({ name: 'norm' }))).toThrow("RecursiveConv: block: the layer 'norm' (BatchNormalization) would share its running statistics between recursions, which breaks training. Use a part {normalization: 'perRecursion'} in its place.");
    expect(block(layers.conv2d({ filters: 6, kernelSize: 3, name: 'shrinks' }))).toThrow("the layer 'shrinks' of the block makes [1, 3, 3, 6] of [1, 5, 5, 6]: a recursion keeps the size of its state. Use padding 'same' and strides 1.");
    expect(() => recursiveConv({ block: layers.activation({ activation: 'relu', name: 'act' }), recursions: 2, tied: false }).build([1, 5, 5, 6])).toThrow("tied false is for convolutions given by their options: the layer 'act' has one set of weights.");
    expect(built({ filters: 8, connection: 'residual' })).toThrow("RecursiveConv 'wrong': the block makes 8 channels of 6, and they must be as many: connection 'residual' adds them. Change the channels in a layer before it, or set filters to 6.");
    const advised: [RecursiveConvArgs['block'], string][] = [
      [{ kernelSize: 3, depthMultiplier: 2 }, 'set depthMultiplier to 1, or end the block with a convolution {kernelSize: 1, filters: 6} behind the depthwise one.'],
      [[{ kernelSize: 1, filters: 4 }, { kernelSize: 3, depthMultiplier: 2 }], 'or end the block with a convolution {kernelSize: 1, filters: 6} behind the depthwise one.'],
      [[{ kernelSize: 1, filters: 4 }, { activation: 'relu' }], 'or set filters of its last convolution to 6.'],
      [layers.dense({ units: 4 }), 'or end the block with a convolution {kernelSize: 1, filters: 6}.'],
    ]; // prettier-ignore
    for (const [block, message] of advised) expect(() => recursiveConv({ block, recursions: 2, connection: 'residual' }).build([1, 5, 5, 6])).toThrow(message);
    for (const [memory, shown] of [[[1, 4, 4, 6], '[1, 4, 4, 6]'], [[1, 5, 6], '[1, 5, 6]'], [[1, 5, 5, null], '[1, 5, 5, null]']] as [number[], string][]) {
      expect(built({ readout: 'memory' }, [[1, 5, 5, 6], [1, 5, 5, 2], memory])).toThrow(`RecursiveConv 'wrong': memories must be as the input [1, 5, 5, 6] but for their channels, a known number; memory 1 is ${shown}. Resize it, or give its channels, in a layer before.`);
    }
    expect(built({ readout: 'memory' }, [[null, null, 5, 6], [1, 4, null, 2]] as number[][])).not.toThrow();
    expect(built({ filters: 8 })).toThrow('the next recursion takes what this one makes');
    expect(built({ shuffle: 4 })).toThrow('shuffle: groups must divide the channels of the state, got 4 groups and 6 channels. Use 1, 2, 3 or 6.');
    expect(built({ shuffle: { groups: 5, swapHalves: true } }, [1, 5, 5, 5])).toThrow('shuffle: swapHalves needs an even number of channels, got 5.');
    expect(built({ groups: 4 })).toThrow('groups must divide the channels in and out, got groups 4, 6 in and 6 out.');
    expect(built({ connection: 'dense' })).toThrow("with connection 'dense' the first convolution of the block sees ever more channels: give it filters, without groups and depthMultiplier.");
    expect(built({}, [1, 6])).toThrow('expects [batch, length, channels] or [batch, height, width, channels] with a known number of channels, got [1, 6].');
    expect(built({}, [[1, 5, 5, 6], [1, 5, 5, 6]])).toThrow("takes one input; further ones, memories, are for readout 'memory'."); // prettier-ignore
  });
});
