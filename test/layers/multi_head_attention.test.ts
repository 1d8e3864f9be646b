import * as tf from '@tensorflow/tfjs-core';
import { initializers, input, layers, model as functionalModel, regularizers, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { multiHeadAttention, type MultiHeadAttentionArgs } from '../../src/layers/multi_head_attention.js';
import { joinHeads } from '../../src/layers/attention.js';
import { tiedEmbedding } from '../../src/layers/tied_embedding.js';
import { alive, expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';
import { onGpu } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';
import golden from '../fixtures/attention.json' with { type: 'json' };

const every: MultiHeadAttentionArgs = {
  numHeads: 2, keyDim: 3, valueDim: 2, outputDim: 5, dropout: 0.1, causal: true, maskInput: false, mapsInput: false, outputMaps: false, useBias: true,
  kernelInitializer: 'glorotNormal', biasInitializer: 'ones', kernelRegularizer: regularizers.l2({ l2: 1e-3 }), name: 'contract_attention',
}; // prettier-ignore

describe('the layer contract holds for self-attention', () =>
  layerContract({ create: multiHeadAttention, args: every, inputShape: [4, 6], parameters: 2 * (6 * 6 + 6) + 6 * 4 + 4 + 4 * 5 + 5, masking: 'passes', learningRate: 0.2 }));

// Once is enough where every step is slow.
if (!onGpu) {
  describe('the layer contract holds for attention over a memory, with a mask', () =>
    layerContract({
      create: multiHeadAttention, args: { numHeads: 2, maskInput: true, useBias: false, name: 'contract_cross_attention' },
      inputShape: [[3, 4], [5, 6], [5, 7], [3, 5]], parameters: 4 * 4 + 6 * 4 + 7 * 4 + 4 * 4, masking: 'passes',
      learningRate: 0.2,
    })); // prettier-ignore

  describe('the layer contract holds for attention with given maps', () =>
    layerContract({ create: multiHeadAttention, args: { numHeads: 2, mapsInput: true, name: 'contract_given_maps' }, inputShape: [[4, 6], [2, 3, 4]], parameters: 2 * (6 * 6 + 6), masking: 'passes', learningRate: 0.2 }));
}

const made = (args: MultiHeadAttentionArgs, shapes: number[][], also: SymbolicTensor[] = []): { layer: ReturnType<typeof multiHeadAttention>; model: LayersModel } => {
  const layer = multiHeadAttention(args);
  const inputs = [...shapes.map((shape) => input({ shape })), ...also];
  return { layer, model: functionalModel({ inputs, outputs: layer.apply(inputs.length === 1 ? inputs[0] : inputs) as SymbolicTensor }) };
};
const one = (model: LayersModel, ...x: tf.Tensor[]): tf.Tensor => [model.predict(x.length === 1 ? x[0] : x)].flat()[0];

describe('multiHeadAttention', () => {
  it('is one head of softmax(Q·Kᵀ/√d)·V with identity kernels', async () => {
    const { layer, model } = made({ numHeads: 1, useBias: false }, [[2, 2]]);
    layer.setWeights(layer.getWeights().map(() => tf.eye(2)));
    // Scores of [1, 0] and [0, 2]: 1/√2 and 0; 0 and 4/√2.
    const p = 1 / (1 + Math.exp(-1 / Math.SQRT2));
    const q = 1 / (1 + Math.exp(-4 / Math.SQRT2));
    expectNear('output', await one(model, tf.tensor3d([[[1, 0], [0, 2]]])).data(), [p, 2 * (1 - p), 1 - q, 2 * q], 1e-6);
  });

  // The reference's heads joined, through identity kernels.
  describe.each(golden.cases.attention.map((known, i) => ({ i, known })))('gives the outputs and weights of the reference for its heads (case $i)', ({ known }) => {
    const four = (values: unknown) => tf.tensor4d(values as number[][][][]);
    const [batch, heads, time, depth] = [known.query.length, known.query[0].length, known.query[0][0].length, known.query[0][0][0].length];
    const width = heads * depth;
    const run = (args: Partial<MultiHeadAttentionArgs>, ...also: tf.Tensor[]): tf.Tensor[] => {
      const shapes = [...Array<number[]>(3).fill([time, width]), ...also.map(({ shape }) => shape.slice(1))];
      const { layer, model } = made({ numHeads: heads, useBias: false, ...args }, shapes);
      layer.setWeights(layer.getWeights().map(() => tf.eye(width)));
      return [model.predict([...[known.query, known.key, known.value].map((each) => joinHeads(four(each))), ...also])].flat();
    };
    const expectOutput = async (got: tf.Tensor, output: unknown) => expectNear('output', await got.data(), await joinHeads(four(output)).data(), 1e-5);
    const expectMaps = async (got: tf.Tensor, weights: unknown) => expectNear('weights', await got.data(), await four(weights).data(), 1e-5);

    it('whole', async () => {
      expect(heads).toBeGreaterThan(1);
      await expectOutput(run({})[0], known.output);
      const [output, maps] = run({ outputMaps: true });
      await expectOutput(output, known.output);
      await expectMaps(maps, known.weights);
    });

    it('masked and causal', async () => {
      const mask = tf.tensor2d((known.paddingMask as unknown as boolean[][]).flat().map(Number), [batch, time]);
      await expectOutput(run({ causal: true, maskInput: true }, mask)[0], known.causalPaddedOutput);
      const [output, maps] = run({ causal: true, maskInput: true, outputMaps: true }, mask);
      await expectOutput(output, known.causalPaddedOutput);
      await expectMaps(maps, known.causalPaddedWeights);
    });
  });

  it('hides the padding that the host’s mask tells of, and hands the mask on', async () => {
    const ids = input({ shape: [4] });
    const layer = multiHeadAttention({ numHeads: 2, outputMaps: true });
    const outputs = layer.apply(tiedEmbedding({ inputDim: 5, outputDim: 4, maskZero: true }).apply(ids)) as SymbolicTensor[];
    const maps = functionalModel({ inputs: ids, outputs: outputs[1] });
    const padded = await tf.sum(maps.predict(tf.tensor2d([[1, 2, 3, 0], [4, 0, 0, 0]])) as tf.Tensor, [1, 2]).data();
    expect(padded[3]).toBe(0);
    expect(Array.from(padded.slice(5))).toEqual([0, 0, 0]);
    expect(padded[4]).toBeCloseTo(2 * 4, 4);
  });

  it('hides what a mask given as an input hides: token ids, pairs, and pairs by head', async () => {
    const [x, memory] = [seeded([2, 3, 4], 1), seeded([2, 2, 4], 2)];
    const masks: [number[], tf.Tensor][] = [
      [[2], tf.tensor2d([[7, 0], [3, 2]])],
      [[3, 2], tf.tensor3d([[[1, 0], [1, 0], [1, 0]], [[1, 1], [1, 1], [1, 1]]])],
      [[1, 1, 2], tf.tensor4d([1, 0, 1, 1], [2, 1, 1, 2])],
    ];
    const { layer, model } = made({ numHeads: 2 }, [[3, 4], [2, 4]]);
    const known = await one(model, tf.slice(x, 0, 1), tf.mul(tf.slice(memory, 0, 1), tf.tensor3d([[[1], [1]]]))).data();
    const alone = await one(made2(layer, 1), tf.slice(x, 0, 1), tf.slice(memory, [0, 0, 0], [1, 1, 4])).data();
    expect(known).not.toEqual(alone);
    for (const [shape, mask] of masks) {
      const with_ = made({ numHeads: 2, maskInput: true }, [[3, 4], [2, 4], shape]);
      with_.layer.setWeights(layer.getWeights());
      const y = one(with_.model, x, memory, mask);
      expectNear(`masked by [${shape.join()}]`, await tf.slice(y, 0, 1).data(), alone, 1e-5);
      expectNear(`not masked by [${shape.join()}]`, await tf.slice(y, 1, 1).data(), await tf.slice(one(model, x, memory), 1, 1).data(), 1e-5);
    }
  });

  /** The same weights over a memory of another length. */
  function made2(layer: ReturnType<typeof multiHeadAttention>, length: number): LayersModel {
    const other = made({ numHeads: 2 }, [[3, 4], [length, 4]]);
    other.layer.setWeights(layer.getWeights());
    return other.model;
  }

  it('lets causal positions see no later one', async () => {
    const { model } = made({ numHeads: 2, causal: true, kernelInitializer: initializers.glorotUniform({ seed: 1 }) }, [[4, 6]]);
    const x = seeded([1, 4, 6], 1);
    const moved = tf.add(x, tf.tensor3d([0, 0, 1, 0], [1, 4, 1]));
    const [before, after] = [await one(model, x).data(), await one(model, moved).data()];
    expectNear('the first two', after.slice(0, 12), before.slice(0, 12), 1e-6);
    for (const at of [12, 18]) expect(Math.abs(after[at] - before[at])).toBeGreaterThan(1e-3);
  });

  it('drops attention weights in training only, and keeps their mean', async () => {
    const { layer } = made({ numHeads: 1, dropout: 0.5, useBias: false }, [[40, 2]]);
    layer.setWeights(layer.getWeights().map(() => tf.eye(2)));
    const x = tf.ones([8, 40, 2]);
    const values = async (training: boolean) => (layer.apply(x, { training }) as tf.Tensor).data();
    expectNear('inference', await values(false), Array(640).fill(1), 1e-5);
    const dropped = (await values(true)) as Float32Array;
    expect(new Set(dropped).size).toBeGreaterThan(5);
    expect(dropped.reduce((sum, each) => sum + each, 0) / 640).toBeCloseTo(1, 1);
  });

  it('gives what another layer’s maps give, with half of the weights', async () => {
    const x = input({ shape: [3, 4] });
    const first = multiHeadAttention({ numHeads: 2, outputMaps: true, name: 'maps_owner' });
    const second = multiHeadAttention({ numHeads: 2, mapsInput: true, name: 'maps_user' });
    const [y, maps] = first.apply(x) as SymbolicTensor[];
    const model = functionalModel({ inputs: x, outputs: [y, second.apply([y, maps]) as SymbolicTensor, maps] });
    expect(second.countParams()).toBe(first.countParams() / 2);
    const given = seeded([2, 3, 4], 3);
    const [output, shared, weights] = model.predict(given) as tf.Tensor[];
    const [valueKernel, valueBias, outputKernel, outputBias] = second.getWeights() as tf.Tensor2D[];
    const v = tf.reshape(tf.add(tf.matMul(tf.reshape(output, [6, 4]) as tf.Tensor2D, valueKernel), valueBias), [2, 3, 2, 2]);
    const mixed = tf.transpose(tf.matMul(weights, tf.transpose(v, [0, 2, 1, 3])), [0, 2, 1, 3]);
    expectNear('shared', await shared.data(), await tf.add(tf.matMul(tf.reshape(mixed, [6, 4]) as tf.Tensor2D, outputKernel), outputBias).data(), 1e-5);
    const loaded = await saveAndLoad(model);
    expectNear('loaded', await (loaded.predict(given) as tf.Tensor[])[1].data(), await shared.data(), 1e-6);
  });

  const EPOCHS = onGpu ? 4 : 25;

  it('computes its maps once for both outputs, in prediction as in training', async () => {
    const x = input({ shape: [3, 4] });
    const [y, maps] = multiHeadAttention({ numHeads: 2, dropout: 0.5, outputMaps: true, name: 'maps_once' }).apply(x) as SymbolicTensor[];
    const z = multiHeadAttention({ numHeads: 2, mapsInput: true }).apply([y, maps]) as SymbolicTensor;
    const [alone, both] = [functionalModel({ inputs: x, outputs: y }), functionalModel({ inputs: x, outputs: [y, maps] })];
    const given = seeded([2, 3, 4], 1);
    const kernels = async (run: () => tf.Tensor | tf.Tensor[]) => (await tf.profile(async () => tf.dispose(run()))).kernels.map(({ name }) => name).sort();
    const softmaxes = (names: string[]) => names.filter((name) => name === 'Softmax').length;
    const products = (names: string[]) => names.filter((name) => /MatMul/.test(name)).length;
    const once = await kernels(() => alone.predict(given));
    const twice = await kernels(() => both.predict(given));
    expect([softmaxes(twice), products(twice)]).toEqual([1, products(once)]);
    const shared = functionalModel({ inputs: x, outputs: z });
    expect(softmaxes(await kernels(() => shared.predict(given)))).toBe(1);
    expect(softmaxes(await kernels(() => tf.tidy(() => shared.apply(given, { training: true }) as tf.Tensor)))).toBe(1);
    shared.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    await shared.trainOnBatch(given, given);
    const before = alive();
    await shared.trainOnBatch(given, given);
    expect(alive()).toEqual(before);
  });

  it('learns which position to copy from', async () => {
    missingKernelsForThisTest();
    const x = input({ shape: [3, 6] });
    const outputs = layers.dense({ units: 3 }).apply(multiHeadAttention({ numHeads: 2 }).apply(x) as SymbolicTensor) as SymbolicTensor;
    const model = functionalModel({ inputs: x, outputs });
    const content = seeded([16, 3, 3], 4);
    const places = tf.tile(tf.reshape(tf.eye(3), [1, 3, 3]), [16, 1, 1]);
    // Each position says what the next one holds.
    const y = tf.concat([tf.slice(content, [0, 1, 0], [16, 2, 3]), tf.slice(content, [0, 0, 0], [16, 1, 3])], 1);
    model.compile({ optimizer: tf.train.adam(0.05, undefined, undefined, 1e-7), loss: 'meanSquaredError' });
    const { history } = await model.fit(tf.concat([content, places], 2), y, { epochs: EPOCHS, batchSize: 16, verbose: 0 });
    expect(history['loss'][EPOCHS - 1] as number).toBeLessThan((onGpu ? 1 : 0.6) * (history['loss'][0] as number));
  });

  it('draws numbers of its own for each kernel, also from a seed', async () => {
    const [layer, again] = [0, 1].map(() => made({ numHeads: 1, useBias: false, kernelInitializer: initializers.glorotNormal({ seed: 5 }) }, [[2, 2]]).layer);
    const [kernels, repeated] = await Promise.all([layer, again].map((each) => Promise.all(each.getWeights().map(async (weight) => (await weight.data()).join()))));
    expect(new Set(kernels).size).toBe(4);
    expect(repeated).toEqual(kernels);
    expect(layer.getConfig()).toMatchObject({ kernelInitializer: { config: { seed: 5 } } });
  });

  it('keeps a regularizer of each kernel, one where it is one', async () => {
    const ridge = regularizers.l2({ l2: 0.5 });
    expect(multiHeadAttention({ numHeads: 1, kernelRegularizer: ridge }).getConfig()).not.toHaveProperty('queryRegularizer');
    const { layer, model } = made({ numHeads: 1, kernelRegularizer: ridge, keyRegularizer: null, useBias: false }, [[2, 2]]);
    layer.setWeights(layer.getWeights().map(() => tf.ones([2, 2])));
    const losses = await Promise.all(model.calculateLosses().map(async (loss) => (await loss.data())[0]));
    expect(losses).toEqual([2, 2, 2]);
    expect(layer.getConfig()).toMatchObject({ keyRegularizer: null, outputRegularizer: { config: { l2: 0.5 } } });
  });

  it('says what is wrong', () => {
    const attention = (args: object) => () => multiHeadAttention(args as MultiHeadAttentionArgs);
    expect(attention({ numHeads: 0 })).toThrow('MultiHeadAttention: numHeads must be an integer ≥ 1, got 0.');
    expect(attention({ numHeads: 2, dropout: 1 })).toThrow('MultiHeadAttention: dropout must be a number in [0, 1), got 1.');
    expect(attention({ numHeads: 2, head: 1 })).toThrow("MultiHeadAttention: unknown option 'head'.");
    expect(attention({ numHeads: 2, mapsInput: true, causal: true })).toThrow('causal belongs to the layer that makes them');
    const built = (args: object, ...shapes: number[][]) => () => made({ name: 'a', ...args } as MultiHeadAttentionArgs, shapes);
    expect(built({ numHeads: 4 }, [3, 6])).toThrow("MultiHeadAttention 'a': numHeads must divide the width, got 4 heads and width 6. Use 3 heads, or say the length of a head with keyDim.");
    expect(built({ numHeads: 2 }, [6])).toThrow("'a': expected a query [batch, time, width] with a known width, got [null, 6].");
    expect(built({ numHeads: 2 }, [3, 4], [5, 4], [6, 4])).toThrow('there must be a value for each key, got 5 keys and 6 values.');
    expect(built({ numHeads: 2, causal: true }, [3, 4], [5, 4])).toThrow('got 3 queries and 5 keys');
    expect(built({ numHeads: 2, maskInput: true }, [3, 4])).toThrow('expected x, [query, memory] or [query, key, value], and the mask last, got 1 input.');
    expect(built({ numHeads: 2, maskInput: true }, [3, 4], [2])).toThrow(
      "'a': expected a mask [batch, key time], [batch, query time, key time] or [batch, heads or 1, query time or 1, key time], here [null, 3], [null, 3, 3] or [null, 2, 3, 3], got [null, 2].",
    );
    expect(built({ numHeads: 2, maskInput: true }, [3, 4], [1, 3])).toThrow('got [null, 1, 3].');
    expect(built({ numHeads: 2, mapsInput: true }, [3, 4], [4, 3, 3])).toThrow('expected maps [batch, 2, query time, 3] for 2 heads, got [null, 4, 3, 3]. Only layers with equally many heads over the same positions can share maps');
    expect(built({ numHeads: 2, mapsInput: true }, [3, 4], [2, 3, 5])).toThrow('got [null, 2, 3, 5].');
    expect(built({ numHeads: 2, mapsInput: true }, [3, 4])).toThrow('with mapsInput expected [value, maps], got 1 input.');
  });

  it('checks lengths that are known in a call only', () => {
    const [a, b, c] = ['a', 'b', 'c'].map(() => input({ shape: [null, 4] }));
    const causal = functionalModel({ inputs: [a, b], outputs: multiHeadAttention({ numHeads: 1, causal: true, name: 'causal' }).apply([a, b]) as SymbolicTensor });
    expect(() => causal.apply([tf.zeros([1, 5, 4]), tf.zeros([1, 3, 4])])).toThrow("MultiHeadAttention 'causal': causal attention is that of a sequence over itself, got 5 queries and 3 keys.");
    const three = functionalModel({ inputs: [a, b, c], outputs: multiHeadAttention({ numHeads: 1, name: 'three' }).apply([a, b, c]) as SymbolicTensor });
    expect(() => three.apply([tf.zeros([1, 5, 4]), tf.zeros([1, 6, 4]), tf.zeros([1, 7, 4])])).toThrow("MultiHeadAttention 'three': there must be a value for each key, got 6 keys and 7 values.");
    expect(() => three.apply([tf.zeros([2, 5, 4]), tf.zeros([3, 6, 4]), tf.zeros([3, 6, 4])])).toThrow("MultiHeadAttention 'three': query, key and value must be of equally many sequences, got 2, 3 and 3.");
  });
});
