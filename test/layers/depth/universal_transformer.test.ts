import * as tf from '@tensorflow/tfjs-core';
import { input, layers, loadLayersModel, model as functional, regularizers, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it, vi } from 'vitest';
import {
  attachRegularizer, compressModel, decodeModelArtifacts, deqLayer, encodeModelArtifacts, fixedPointIteration, gmmPrior, haltingMonitor, hashedDense, klMergeQuantization, multiHeadAttention,
  sharedAttention, tiedEmbedding, tiedProjection, universalTransformer, type UniversalTransformerArgs,
} from '../../../src/index.js'; // prettier-ignore
import { adaptiveComputation, haltingStep, ponderCost, startHalting } from '../../../src/layers/depth/adaptive_computation.js';
import { depthwiseOverTime } from '../../../src/layers/depth/transformer_step.js';
import golden from '../../fixtures/act.json' with { type: 'json' };
import { expectNear, saveAndLoad, savedArtifacts, seeded, seededIntegers } from '../../contract/fixtures.js';
import { layerContract } from '../../contract/layer_contract.js';
import { onGpu, seededUniform } from '../../helpers.js';

const values = async (tensor: tf.Tensor) => Array.from(await tensor.data());
const call = (layer: layers.Layer, x: tf.Tensor | tf.Tensor[], kwargs = {}) => layer.apply(x, kwargs) as tf.Tensor;
const small = { units: 4, numHeads: 2, hiddenUnits: 6, steps: 3 };
/** 4 + 4 projections, two normalisations, transition. */
const PARAMETERS = 4 * 20 + 2 * 8 + 30 + 28;

describe('universalTransformer keeps the contract', () => {
  describe('as an encoder with adaptive computation', () =>
    layerContract({
      create: universalTransformer,
      args: {
        ...small, causal: true, recurrence: 'act', adaptive: { combine: 'interpolated', haltingBias: -1, epsilon: 0.05, ponderWeight: 0.001 },
        positionSignal: 'learned', stepSignal: 'learned', maxLength: 5, decoder: false, dropout: 0, checkpointing: true, transition: 'dense',
        kernelRegularizer: regularizers.l2({ l2: 1e-4 }), innerRegularizers: [{ regularizer: null, slots: [{ name: 'attention', slot: 'queryRegularizer' }] }],
        name: 'contract_universal',
      } as UniversalTransformerArgs,
      inputShape: [5, 4], parameters: PARAMETERS + 5 + 20 + 12, masking: 'passes', seededMatrices: true,
    })); // prettier-ignore
  if (onGpu) return;
  describe('as a decoder with separable convolutions and a highway', () =>
    layerContract({
      create: universalTransformer,
      args: { ...small, decoder: true, recurrence: 'highway', transition: 'separableConvolution', positionSignal: 'none', stepSignal: 'sinusoidal', name: 'contract_decoder' } as UniversalTransformerArgs,
      inputShape: [[5, 4], [3, 2]], parameters: PARAMETERS + 40 + 2 * 12 + 8 + 20 + 3 * 4 + 5 * 6, masking: 'passes',
    })); // prettier-ignore
});

describe('adaptive computation', () => {
  it.each(golden.cases.map((each, i) => [i, each] as const))('has the golden outputs, updates and remainders: case %i', async (_i, { A, haltKernel, haltBias, epsilon, maxSteps, state0, ...expected }) => {
    const kernel = tf.tensor2d(haltKernel, [haltKernel.length, 1]);
    const matrix = tf.tensor2d(A);
    const start = tf.tensor3d(state0);
    const rows = (s: tf.Tensor, by: tf.Tensor2D) => tf.matMul(tf.reshape(s, [-1, A.length]) as tf.Tensor2D, by);
    for (const combine of ['accumulated', 'interpolated'] as const) {
      for (const looks of onGpu ? [false] : [false, true]) {
        const { output, halting, steps } = adaptiveComputation(start, {
          step: (s) => ({ state: tf.reshape(tf.tanh(rows(s, matrix)), s.shape), probability: tf.reshape(tf.sigmoid(tf.add(rows(s, kernel), haltBias)), s.shape.slice(0, 2)) }),
          maxSteps, epsilon, combine, looks,
        }); // prettier-ignore
        expectNear(combine, await values(output), expected[combine].flat(2), 2e-5);
        expect(await values(halting.updates)).toEqual(expected.updates.flat());
        expectNear('remainders', await values(halting.remainder), expected.remainders.flat(), 2e-5, 1);
        expect(steps).toBe(looks ? Math.max(...expected.updates.flat()) : maxSteps);
      }
    }
  });

  it('gives weights that add up to 1 for what has halted, and never runs padding', async () => {
    let halting = startHalting(1, 3, tf.tensor2d([[1, 1, 0]]));
    const total = [];
    for (const p of [0.3, 0.3, 0.3, 0.3]) {
      const step = haltingStep(halting, tf.tensor2d([[p, 2 * p, p]]), 0.01);
      ({ halting } = step);
      total.push(step.weight);
    }
    expectNear('Σ of weights', await values(tf.addN(total)), [1, 1, 0], 1e-6);
    expect(await values(halting.updates)).toEqual([4, 2, 0]);
    expectNear('remainders', await values(halting.remainder), [0.1, 0.4, 0], 1e-5);
    expect((await ponderCost(halting, tf.tensor2d([[1, 1, 0]])).data())[0]).toBeCloseTo((4.1 + 2.4) / 2, 5);
  });

  it('has the gradients of finite differences through weights, remainders and cost', async () => {
    const s0 = seeded([1, 2, 3], 1);
    const run = (scale: tf.Tensor) => {
      const { output, halting } = adaptiveComputation(s0, {
        step: (s) => ({ state: tf.tanh(tf.mul(s, 1.3)), probability: tf.sigmoid(tf.mul(scale, tf.mean(s, -1))) }),
        maxSteps: 4, epsilon: 0.01, combine: 'accumulated', looks: false,
      }); // prettier-ignore
      return tf.add(tf.sum(output), ponderCost(halting));
    };
    const slope = (await tf.grad(run)(tf.scalar(0.5)).data())[0];
    const [up, down] = await Promise.all([0.51, 0.49].map(async (scale) => (await run(tf.scalar(scale)).data())[0]));
    expect(Math.abs(slope - (up - down) / 0.02)).toBeLessThan(0.01 * Math.max(1, Math.abs(slope)));
  });
});

describe('universalTransformer', () => {
  it('convolves over time, causally or around the middle: by hand', async () => {
    const [x, kernel] = [tf.tensor3d([1, 2, 3, 4], [1, 4, 1]), tf.tensor2d([100, 10, 1], [3, 1])];
    expect(await values(depthwiseOverTime(x, kernel, true))).toEqual([1, 12, 123, 234]);
    expect(await values(depthwiseOverTime(x, kernel, false))).toEqual([12, 123, 234, 340]);
  });

  it('applies one step several times: step signals off, it is itself again on its output', async () => {
    const [x, plain] = [seeded([2, 5, 4], 1), { ...small, positionSignal: 'none', stepSignal: 'none' } as const];
    const [once, thrice] = [universalTransformer({ ...plain, steps: 1 }), universalTransformer({ ...plain, steps: 3 })];
    const expected = call(once, call(once, call(once, x)));
    call(thrice, x);
    thrice.setWeights(once.getWeights());
    expectNear('three steps', await values(call(thrice, x)), await values(expected), 1e-5);
  });

  it.each(['highway', 'skip'] as const)('keeps the old or first state where the gate of a %s recurrence is closed', async (recurrence) => {
    const x = seeded([1, 3, 4], 1);
    const layer = universalTransformer({ ...small, recurrence });
    call(layer, x);
    const gate = layer.weights.find(({ originalName }) => originalName.includes('gate') && originalName.includes('bias'))!;
    gate.write(tf.fill([4], -30));
    expectNear('closed', await values(call(layer, x)), await values(x), 1e-5);
    gate.write(tf.fill([4], 30));
    const basic = universalTransformer(small);
    call(basic, x);
    basic.setWeights(layer.getWeights().filter((_, i) => !layer.weights[i].originalName.includes('gate')));
    expectNear('open', await values(call(layer, x)), await values(call(basic, x)), 1e-4);
  });

  it('lets a causal position see no later one, also through convolutions, and no position any padding', async () => {
    const x = seeded([1, 5, 4], 1);
    const changed = tf.concat([tf.slice(x, [0, 0, 0], [1, 3, 4]), seeded([1, 2, 4], 2)], 1);
    const first = (y: tf.Tensor) => values(tf.slice(y, [0, 0, 0], [1, 3, 4]));
    for (const transition of ['dense', 'separableConvolution'] as const) {
      const causal = universalTransformer({ ...small, causal: true, transition });
      expectNear(`causal, ${transition}`, await first(call(causal, changed)), await first(call(causal, x)), 1e-6);
      const open = universalTransformer({ ...small, transition, recurrence: 'act' });
      const mask = tf.tensor2d([[1, 1, 1, 0, 0]], [1, 5], 'bool');
      expectNear(`padding, ${transition}`, await first(call(open, changed, { mask })), await first(call(open, x, { mask })), 1e-6);
      expect((await open.report()).updates[0].slice(3)).toEqual([0, 0]);
    }
  });

  it('masks the memory of a decoder', async () => {
    const layer = universalTransformer({ ...small, decoder: true });
    const [x, memory] = [seeded([1, 3, 4], 1), seeded([1, 4, 2], 2)];
    const changed = tf.concat([tf.slice(memory, [0, 0, 0], [1, 2, 2]), seeded([1, 2, 2], 3)], 1);
    const mask = tf.tensor2d([[1, 1, 0, 0]]);
    expectNear('masked', await values(call(layer, [x, changed, mask])), await values(call(layer, [x, memory, mask])), 1e-6);
    expect(await values(call(layer, [x, changed]))).not.toEqual(await values(call(layer, [x, memory])));
  });

  it('really skips the steps after all positions have halted, where values can be looked at, with equal results', async () => {
    const adaptive = { haltingBias: 1 };
    const layer = universalTransformer({ ...small, steps: 8, recurrence: 'act', adaptive });
    const x = seeded([2, 3, 4], 1);
    call(layer, x);
    const { kernels } = await tf.profile(() => call(layer, x));
    const report = await layer.report();
    const slowest = Math.max(...report.updates.flat());
    expect(report.steps).toBe(onGpu ? 8 : slowest);
    expect(slowest).toBeLessThan(8);
    expect(kernels.filter(({ name }) => name === 'Softmax').length).toBe(report.steps);
    expect(report.unhalted).toBe(0);
    expect(report.meanUpdates).toBeCloseTo(report.updates.flat().reduce((sum, n) => sum + n, 0) / 6, 5);
  });

  it('begins deep by default: no position halts before the tenth step', async () => {
    const layer = universalTransformer({ units: 8, numHeads: 2, steps: 10, recurrence: 'act' });
    call(layer, seeded([2, 3, 8], 1));
    const { updates, unhalted } = await layer.report();
    expect(Math.min(...updates.flat())).toBe(10);
    expect(unhalted).toBe(1);
  });

  it('adds the ponder cost to the training loss, and logs steps and remainders', async () => {
    const x = input({ shape: [3, 4] });
    const act = universalTransformer({ ...small, recurrence: 'act', adaptive: { haltingBias: 1, ponderWeight: 100 }, name: 'ut' });
    const net = functional({ inputs: x, outputs: act.apply(x) as SymbolicTensor });
    net.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const { history } = await net.fit(seeded([4, 3, 4], 1), tf.zeros([4, 3, 4]), { epochs: 1, batchSize: 4, verbose: 0, callbacks: [haltingMonitor()] });
    const { meanUpdates, meanRemainder } = await act.report();
    expect(history['ut_steps'][0]).toBeCloseTo(meanUpdates, 4);
    expect(history['ut_remainder'][0]).toBeCloseTo(meanRemainder, 4);
    expect(history['ut_unhalted']).toEqual([0]);
    const data = (await (net.evaluate(seeded([4, 3, 4], 1), tf.zeros([4, 3, 4])) as tf.Scalar).data())[0];
    expect((history['loss'][0] as number) - data).toBeCloseTo(100 * (meanUpdates + meanRemainder), 1);
  });

  describe('with checkpointing', () => {
    type Case = [string, Partial<UniversalTransformerArgs>, ('tokens' | 'memory')?];
    const memory = () => [seeded([4, 5, 3], 3), tf.tensor2d([1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0], [4, 5])];
    const dataOf = (kind?: 'tokens' | 'memory') =>
      kind === 'tokens' ? [tf.tensor2d([1, 2, 0, 2, 1, 1, 3, 0, 0, 1, 2, 3], [4, 3])] : [seeded([4, 3, 4], 1), ...(kind === 'memory' ? memory() : [])];
    function build(args: Partial<UniversalTransformerArgs>, kind?: 'tokens' | 'memory'): LayersModel {
      const inputs = (kind === 'tokens' ? [[3]] : kind === 'memory' ? [[3, 4], [5, 3], [5]] : [[3, 4]]).map((shape) => input({ shape })); // prettier-ignore
      const given = kind === 'tokens' ? (layers.embedding({ inputDim: 4, outputDim: 4, maskZero: true, trainable: false }).apply(inputs[0]) as SymbolicTensor) : inputs;
      return functional({ inputs, outputs: universalTransformer({ ...small, ...args }).apply(given) as SymbolicTensor });
    }

    it.each<Case>([
      ['halting', { recurrence: 'act', adaptive: { haltingBias: 0 } }],
      ['masked tokens', { recurrence: 'skip' }, 'tokens'],
      ['masked tokens and halting', { recurrence: 'act', adaptive: { haltingBias: 0 }, transition: 'separableConvolution' }, 'tokens'],
      ['a masked memory', { decoder: true }, 'memory'],
    ])('trains as without, with %s', async (_, args, kind) => {
      const x = dataOf(kind);
      const y = seeded([4, 3, 4], 2);
      const [plain, checked] = [false, true].map((checkpointing) => build({ ...args, checkpointing }, kind));
      checked.setWeights(plain.getWeights());
      for (const net of [plain, checked]) {
        net.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
        await net.trainOnBatch(x.length === 1 ? x[0] : x, y);
      }
      for (const [i, weight] of plain.getWeights().entries()) expectNear(`weight ${i}`, await values(checked.getWeights()[i]), await values(weight), 1e-5, 1e-2);
      for (const net of [plain, checked]) net.dispose();
      tf.dispose([x, y]);
    });

    it.each<Case>([
      ['dropout', { dropout: 0.4 }],
      ['dropout and masked tokens', { dropout: 0.4 }, 'tokens'],
      ['dropout and a masked memory', { dropout: 0.4, decoder: true }, 'memory'],
    ])('has the gradient of its loss, with %s', async (_, args, kind) => {
      const x = dataOf(kind);
      const net = build({ ...args, checkpointing: true }, kind);
      tf.tidy(() => net.setWeights(net.getWeights().map((weight, i) => tf.mul(seeded(weight.shape, 10 + i), 0.4))));
      const weighting = seeded([4, 3, 4], 5);
      const kernel = net.trainableWeights[0].read() as tf.Variable;
      const towards = seeded(kernel.shape, 6);
      const start = tf.clone(kernel);
      // The same draws at each evaluation.
      const evaluate = (step: number) => {
        tf.tidy(() => kernel.assign(tf.add(start, tf.mul(towards, step))));
        const random = vi.spyOn(Math, 'random').mockImplementation(seededUniform(7));
        const result = tf.variableGrads(() => tf.tidy(() => tf.sum(tf.mul(weighting, net.apply(x, { training: true }) as tf.Tensor))), [kernel]);
        random.mockRestore();
        return result;
      };
      const [at, above, below] = [0, 0.005, -0.005].map(evaluate);
      const slope = tf.tidy(() => tf.sum(tf.mul(at.grads[kernel.name], towards)));
      const [got, high, low] = await Promise.all([slope, above.value, below.value].map(async (each) => (await each.data())[0]));
      const expected = (high - low) / 0.01;
      expect(Math.abs(got - expected)).toBeLessThan(0.02 * (1 + Math.abs(expected)));
      tf.dispose([x, weighting, towards, start, slope, at, above, below] as unknown as tf.TensorContainer);
      net.dispose();
    });
  });

  it('says what is wrong', () => {
    const make = (args: object) => () => universalTransformer({ ...small, ...args });
    expect(make({ steps: 0 })).toThrow('UniversalTransformer: steps must be an integer ≥ 1, got 0.');
    expect(make({ numHeads: 3 })).toThrow('UniversalTransformer: numHeads must divide units, got 3 heads and 4 units. Use 2 heads.');
    expect(make({ recurrence: 'lstm' })).toThrow("recurrence must be one of 'basic', 'highway', 'skip', 'act', got 'lstm'");
    expect(make({ adaptive: { epsilon: 0.1 } })).toThrow("adaptive belongs to recurrence 'act', which is 'basic' here");
    expect(make({ recurrence: 'act', adaptive: { haltingbias: 1 } })).toThrow("unknown option 'haltingbias'. Did you mean 'haltingBias'?");
    expect(make({ positionSignal: 'learned' })).toThrow("positionSignal 'learned' needs maxLength");
    expect(make({ maxLength: 3 })).toThrow("maxLength belongs to positionSignal 'learned'");
    const learned = make({ positionSignal: 'learned', maxLength: 3 })();
    expect(() => call(learned, seeded([1, 4, 4], 1))).toThrow(/the sequence is 4 long, but there are 3 learned positions/);
    call(learned, seeded([1, 3, 4], 1));
    expect(() => call(learned, seeded([1, 4, 4], 1))).toThrow(/the sequence is 4 long, but there are 3 learned positions/);
    expect(() => call(make({})(), seeded([1, 4, 3], 1))).toThrow(/expected an input \[batch, time, 4\], got \[1, 4, 3\]/);
    expect(() => call(make({ decoder: true })(), seeded([1, 4, 4], 1))).toThrow(/since it is a decoder, got 1 inputs/);
    expect(() => call(make({ transition: layers.dense({ units: 3, name: 'narrow' }) })(), seeded([1, 4, 4], 1))).toThrow(/the transition makes \[1, 4, 3\]/);
    const decoder = make({ decoder: true, name: 'decoder' });
    const symbolic = [[3, 4], [4, 2], [3]].map((shape) => input({ shape }));
    expect(() => decoder().apply(symbolic)).toThrow("UniversalTransformer 'decoder': expected a mask [batch, key time]");
    const open = decoder();
    open.apply([[3, 4], [null, 2], [null]].map((shape) => input({ shape })));
    expect(() => open.apply([seeded([1, 3, 4], 1), seeded([1, 4, 2], 2), tf.ones([1, 3])])).toThrow(/UniversalTransformer 'decoder': expected a mask .*, here \[1, 4\], .* got \[1, 3\]/);
    return expect(make({})().report()).rejects.toThrow(/nothing halts with recurrence 'basic'/);
  });
});

describe('universalTransformer works with', () => {
  const trained = async (net: LayersModel, x: tf.Tensor, y: tf.Tensor) => {
    net.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' });
    const { history } = await net.fit(x, y, { epochs: 3, batchSize: 4, verbose: 0 });
    expect(history['loss'][2] as number).toBeLessThan(history['loss'][0] as number);
    const loaded = await saveAndLoad(net);
    expectNear('after loading', await values(loaded.predict(x) as tf.Tensor), await values(net.predict(x) as tf.Tensor), 1e-5);
    return net;
  };

  it('a tied embedding', async () => {
    const ids = input({ shape: [5] });
    const x = tiedEmbedding({ inputDim: 7, outputDim: 4 }).apply(ids) as SymbolicTensor;
    const y = universalTransformer({ ...small, causal: true }).apply(x) as SymbolicTensor;
    const net = functional({ inputs: ids, outputs: tiedProjection({}).apply(y) as SymbolicTensor });
    expect(net.countParams()).toBe(28 + PARAMETERS + 7);
    await trained(net, seededIntegers([4, 5], 1, 7), seeded([4, 5, 7], 2));
  });

  // Minutes where a processor draws in a GPU's stead; each of these layers has its suite there.
  const inNode = it.skipIf(onGpu);

  inNode('hashed layers as its transition', async () => {
    const x = input({ shape: [3, 4] });
    const given = input({ shape: [3, 4] });
    const inside = hashedDense({ units: 8, compression: 4, seed: 1 }).apply(given) as SymbolicTensor;
    const transition = functional({ inputs: given, outputs: hashedDense({ units: 4, compression: 4, seed: 2 }).apply(inside) as SymbolicTensor });
    const layer = universalTransformer({ ...small, transition });
    const net = functional({ inputs: x, outputs: layer.apply(x) as SymbolicTensor });
    expect(layer.countParams()).toBe(4 * 20 + 2 * 8 + 8 + 8 + 8 + 4);
    await trained(net, seeded([4, 3, 4], 1), seeded([4, 3, 4], 2));
  });

  inNode('an equilibrium layer, whose cell is made of attention', async () => {
    const [z, x] = [input({ shape: [3, 4] }), input({ shape: [3, 4] })];
    const sum = layers.add().apply([multiHeadAttention({ numHeads: 2 }).apply(z) as SymbolicTensor, x]) as SymbolicTensor;
    const cell = functional({ inputs: [z, x], outputs: layers.layerNormalization({ gammaInitializer: 'zeros' }).apply(sum) as SymbolicTensor });
    const given = input({ shape: [3, 4] });
    const hidden = universalTransformer(small).apply(given) as SymbolicTensor;
    const net = functional({ inputs: given, outputs: deqLayer({ cell, solver: fixedPointIteration({ maxIterations: 5, tolerance: 1e-3 }) }).apply(hidden) as SymbolicTensor });
    await trained(net, seeded([4, 3, 4], 1), seeded([4, 3, 4], 2));
  });

  it('a mixture prior on its kernels, and the coder of weights', async () => {
    const x = input({ shape: [3, 4] });
    const net = functional({ inputs: x, outputs: universalTransformer(small).apply(x) as SymbolicTensor });
    const prior = gmmPrior({ components: 3, trainingExamples: 100 });
    prior.initialize([-1, 1]);
    attachRegularizer(net, prior);
    const priced = net.calculateLosses();
    expect(priced.length).toBeGreaterThanOrEqual(6);
    await trained(net, seeded([4, 3, 4], 1), seeded([4, 3, 4], 2));
    const artifacts = await savedArtifacts(net);
    const decoded = decodeModelArtifacts(encodeModelArtifacts(artifacts));
    expect(decoded.weightSpecs?.map(({ name }) => name)).toEqual(artifacts.weightSpecs?.map(({ name }) => name));
    expect(new Uint8Array(decoded.weightData as ArrayBuffer)).toEqual(new Uint8Array(artifacts.weightData as ArrayBuffer));
  });

  /** Beside a stack that shares attention, which has unused projections. */
  const attentive = () => {
    const x = input({ shape: [3, 4] });
    const stack = sharedAttention({ numLayers: 2, numHeads: 2, units: 5, policy: [2] });
    const deep = universalTransformer({ ...small, recurrence: 'act' });
    return { net: functional({ inputs: x, outputs: deep.apply(stack.apply(x)) as SymbolicTensor }), deep };
  };

  inNode('quantisation by merging: every kernel takes the values of the codebook alone, at all steps, also after loading', async () => {
    const { net, deep } = attentive();
    const prior = gmmPrior({ components: 3, trainingExamples: 100 });
    attachRegularizer(net, prior);
    net.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const callback = klMergeQuantization({ prior, verbose: false, maxDistance: 10 });
    await net.fit(seeded([4, 3, 4], 1), seeded([4, 3, 4], 2), { epochs: 1, batchSize: 4, verbose: 0, callbacks: [callback] });
    const { restored, codebooks, layers: quantised } = callback.report!;
    expect(restored).toBe(false);
    const loaded = await saveAndLoad(net);
    const kernels = loaded.weights.filter(({ name }) => /kernel/.test(name));
    expect(quantised).toHaveLength(kernels.length);
    expect(deep.settings.steps).toBeGreaterThan(1);
    for (const kernel of kernels) for (const value of await values(kernel.read())) expect(codebooks[0].values).toContain(value);
    const x = seeded([2, 3, 4], 3);
    expectNear('loaded', await values(loaded.predict(x) as tf.Tensor), await values(net.predict(x) as tf.Tensor), 1e-5);
  });

  inNode('compressModel: few values in each kernel, and outputs as near as the weights', async () => {
    const { net } = attentive();
    const { artifacts, report } = await compressModel(net, { bits: 2 });
    const small = await loadLayersModel(tf.io.fromMemory(artifacts));
    expect(small.countParams()).toBe(net.countParams());
    const kernels = small.weights.filter(({ name }) => /kernel/.test(name));
    expect(kernels.length).toBeGreaterThan(10);
    for (const kernel of kernels) expect(new Set(await values(kernel.read())).size, kernel.name).toBeLessThanOrEqual(4);
    expect(report.ratio).toBeGreaterThan(1);
    const fine = await loadLayersModel(tf.io.fromMemory((await compressModel(net, { bits: 8 })).artifacts));
    const x = seeded([2, 3, 4], 3);
    const distance = async (other: LayersModel) => (await values(tf.norm(tf.sub(other.predict(x) as tf.Tensor, net.predict(x) as tf.Tensor))))[0];
    expect(await distance(fine)).toBeLessThan(0.02);
    expect(await distance(fine)).toBeLessThan(await distance(small));
  });
});
