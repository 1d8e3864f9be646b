import * as tf from '@tensorflow/tfjs-core';
import { constraints, initializers, input, layers, model as functionalModel, regularizers, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { bankedConv2d, type BankedConv2DArgs } from '../../src/layers/banked_conv2d.js';
import { bankedDense, type BankedDenseArgs } from '../../src/layers/banked_dense.js';
import { bankedEmbedding, type BankedEmbeddingArgs } from '../../src/layers/banked_embedding.js';
import { COMBINATIONS } from '../../src/layers/banked_options.js';
import { layerSimilarity } from '../../src/layers/layer_similarity.js';
import { parameterBank, type ParameterBankArgs } from '../../src/layers/parameter_bank.js';
import { interpolated, interpolationMatrix, interpolationVariance, repeated, shrunkShape, UPSAMPLINGS, windowsOf, windowStarts } from '../../src/layers/stretch.js';
import { expectNear, saveAndLoad, savedArtifacts, seeded, seededIntegers } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

const values = async (tensor: tf.Tensor | tf.Tensor[]) => (await [tensor].flat()[0].data()) as Float32Array;
const sequence = (length: number) => tf.tensor1d(Array.from({ length }, (_, i) => i));

describe('parameterBank', () => {
  layerContract({
    create: (args: ParameterBankArgs) => parameterBank(args),
    args: {
      size: 30, embeddingCandidates: 3, embeddingDim: 4, seed: 5, passInput: true, kernelInitializer: initializers.randomNormal({ stddev: 0.1, seed: 1 }),
      kernelRegularizer: regularizers.l2({ l2: 0.01 }), kernelConstraint: constraints.nonNeg(), name: 'parameter_bank_contract',
    },
    inputShape: [3], parameters: 30 + 15, masking: 'passes', learningRate: 0,
  });
});

const bankBefore = (args: ParameterBankArgs) => ([x]: SymbolicTensor[]) => [x, ...[parameterBank(args).apply(x)].flat()] as SymbolicTensor[];

describe('bankedDense', () => {
  layerContract({
    create: (args: BankedDenseArgs) => bankedDense(args),
    args: {
      units: 4, activation: 'tanh', useBias: true, kernelInitializer: 'heNormal', biasInitializer: 'ones', biasRegularizer: regularizers.l2({ l2: 0.02 }),
      biasConstraint: constraints.nonNeg(), combination: 'layerEmbedding', candidates: 3, upsampling: 'mask', offset: 2, bankScale: 3, name: 'banked_dense_contract',
    },
    inputShape: [3, 5], before: bankBefore({ size: 9, embeddingCandidates: 3, embeddingDim: 2, seed: 1, name: 'bank_of_dense' }),
    parameters: 4 + 2 + 2 * 9, masking: 'passes',
  });
});

describe('bankedConv2d', () => {
  layerContract({
    create: (args: BankedConv2DArgs) => bankedConv2d(args),
    args: {
      filters: 4, kernelSize: [2, 2], strides: [1, 2], padding: 'same', dataFormat: 'channelsLast', groups: 1, activation: 'tanh', useBias: true,
      kernelInitializer: 'heNormal', biasInitializer: 'ones', biasRegularizer: regularizers.l2({ l2: 0.02 }), biasConstraint: constraints.nonNeg(),
      combination: 'softmaxWeights', candidates: 3, upsampling: 'interpolation', offset: 1, bankScale: 3, name: 'banked_conv_contract',
    },
    inputShape: [4, 4, 2], before: bankBefore({ size: 20, seed: 1, name: 'bank_of_conv' }), parameters: 4 + 3, masking: 'refuses',
  });
});

describe('bankedEmbedding', () => {
  layerContract({
    create: (args: BankedEmbeddingArgs) => bankedEmbedding(args),
    args: {
      inputDim: 7, outputDim: 3, embeddingsInitializer: 'glorotNormal', maskZero: true, combination: 'learnedWeights', candidates: 2,
      upsampling: 'repetition', offset: 3, bankScale: 5, name: 'banked_embedding_contract',
    },
    inputShape: [4], integers: 7, before: bankBefore({ size: 10, seed: 1, name: 'bank_of_embedding' }), parameters: 2, masking: (x) => tf.notEqual(x, 0),
  });
});

describe('what a layer takes of a bank', () => {
  it('are windows at equal distances, around its end', async () => {
    expect(windowStarts(10, 3, 4)).toEqual([4, 7, 0]);
    expect(Array.from(await values(windowsOf(sequence(10) as tf.Tensor1D, 3, 5, 4)))).toEqual([4, 5, 6, 7, 8, 7, 8, 9, 0, 1, 0, 1, 2, 3, 4]);
  });

  it('is interpolated between pixel centres, edges held', async () => {
    expectNear('matrix', interpolationMatrix(2, 4), [1, 0, 0.75, 0.25, 0.25, 0.75, 0, 1], 1e-6);
    expect(interpolationVariance(2, 4)).toBeCloseTo((2 + 2 * (0.5625 + 0.0625)) / 4, 6);
    const matrix = tf.tensor2d(interpolationMatrix(2, 4), [4, 2]);
    const x = tf.tensor1d([0, 4, 8, 12]);
    const y = interpolated(x, { inputs: 2, taps: 1, outputs: 2 }, { inputs: 4, taps: 1, outputs: 4 }, matrix, matrix);
    expectNear('interpolated', await values(y), [0, 1, 3, 4, 2, 3, 5, 6, 6, 7, 9, 10, 8, 9, 11, 12], 1e-6);
    expect(shrunkShape({ inputs: 10, taps: 9, outputs: 10 }, 500)).toEqual({ inputs: 7, taps: 9, outputs: 7 });
    expect(shrunkShape({ inputs: 40, taps: 9, outputs: 40 }, 35)).toBe(null);
  });

  it('is repeated, and from the second time on multiplied by a window of nine', async () => {
    const x = sequence(4) as tf.Tensor1D;
    expect(Array.from(await values(repeated(x, 10, null)))).toEqual([0, 1, 2, 3, 0, 1, 2, 3, 0, 1]);
    const masks = tf.tensor2d([1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1], [2, 9]);
    expect(Array.from(await values(repeated(x, 10, masks)))).toEqual([0, 1, 2, 3, 0, 2, 6, 12, 0, 8]);
    expect(Array.from(await values(repeated(sequence(10) as tf.Tensor1D, 20, tf.slice(masks, 0, 1) as tf.Tensor2D))).slice(10)).toEqual([0, 2, 6, 12, 20, 30, 42, 56, 72, 9]);
  });
});

describe('a banked layer', () => {
  it('with one candidate and enough numbers is a dense layer with those', async () => {
    const x = seeded([3, 4], 1);
    const bank = parameterBank({ size: 20, passInput: true, inputShape: [4], seed: 1 });
    const ours = sequential({ layers: [bank, bankedDense({ units: 3, combination: 'average', candidates: 1, offset: 2, bankScale: 2 })] });
    const kernel = tf.reshape(tf.mul(tf.slice(bank.kernel!.read(), 2, 12), 2), [4, 3]) as tf.Tensor2D;
    expectNear('outputs', await values(ours.predict(x)), await values(tf.matMul(x as tf.Tensor2D, kernel)), 1e-5);
  });

  it.each(COMBINATIONS)('combines candidates by %s', async (combination) => {
    const x = input({ shape: [2] });
    const bank = parameterBank({ size: 8, embeddingCandidates: 2, embeddingDim: 3, seed: 1 });
    const layer = bankedDense({ units: 2, combination, useBias: false, bankScale: 1 });
    const model = functionalModel({ inputs: x, outputs: layer.apply([x, ...[bank.apply(x)].flat()] as SymbolicTensor[]) as SymbolicTensor });
    const own = { average: [], learnedWeights: [[2, 3]], softmaxWeights: [[0, Math.log(3)]], layerEmbedding: [[1, 0, 2]] }[combination];
    bank.setWeights([sequence(8), tf.tensor2d([[1, 2], [5, 5], [0, 1], [1, -1]])]);
    layer.setWeights(own.map((row) => tf.tensor1d(row)));
    const alpha = { average: [0.5, 0.5], learnedWeights: [2, 3], softmaxWeights: [0.25, 0.75], layerEmbedding: [2, 3] }[combination];
    const expected = [0, 1, 2, 3].map((i) => alpha[0] * i + alpha[1] * (i + 4));
    expectNear('the kernel', await values(model.predict(tf.tensor2d([[1, 0], [0, 1]]))), expected, 1e-5);
  });

  it.each(UPSAMPLINGS)('starts with the spread that its initializer means, by %s too', async (upsampling) => {
    const bank = parameterBank({ size: 600, passInput: true, inputShape: [40], seed: 3 });
    const deviation = async (combination: 'average' | 'learnedWeights') => {
      const layer = bankedDense({ units: 40, upsampling, combination, useBias: false });
      const model = sequential({ layers: [bank, layer] });
      const weights = await values(model.predict(tf.eye(40)));
      return Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0) / weights.length);
    };
    // 600 numbers or fewer, and the mean square of some: 20 % is three of its standard deviations and more.
    for (const combination of ['average', 'learnedWeights'] as const) expectNear(combination, [await deviation(combination)], [Math.sqrt(1 / 40)], 0.2);
  });
});

describe('a bank of very few numbers', () => {
  it.each([['repetition', 2, 1], ['mask', 3, 2]] as const)('serves layers by %s', async (upsampling, units, size) => {
    const model = sequential({ layers: [parameterBank({ size, passInput: true, inputShape: [64], seed: 1 }), bankedDense({ units, upsampling, candidates: 1, useBias: false, name: `few_${upsampling}` })] });
    const weights = await values(model.predict(tf.eye(64)));
    expect(new Set(Array.from(weights, (w) => w.toFixed(5))).size).toBe(size);
    model.compile({ optimizer: tf.train.sgd(1e-4), loss: 'meanSquaredError' });
    const { history } = await model.fit(seeded([6, 64], 1), seeded([6, units], 2), { epochs: 2, verbose: 0 });
    expect(history['loss'][1]).toBeLessThan(history['loss'][0] as number);
  });
});

it('a Sequential on an unsplit bank comes back from a file, with one owner', async () => {
  const model = sequential({ layers: [parameterBank({ size: 30, passInput: true, inputShape: [5, 5, 2], seed: 1 }), bankedConv2d({ filters: 4, kernelSize: 3, activation: 'tanh', name: 'kept_conv' }), layers.globalAveragePooling2d({ dataFormat: 'channelsLast' }), bankedDense({ units: 3, name: 'kept_dense' })] });
  const loaded = await saveAndLoad(model);
  const images = seeded([4, 5, 5, 2], 1);
  expect(loaded.countParams()).toBe(30 + 4 + 2 + 3 + 2);
  expectNear('outputs', await values(loaded.predict(images)), await values(model.predict(images)), 1e-6);
  loaded.layers[0].setWeights([tf.zeros([30])]);
  loaded.layers[3].setWeights(loaded.layers[3].getWeights().map(({ shape }) => (shape[0] === 3 ? tf.tensor1d([1, 2, 3]) : tf.ones(shape))));
  expectNear('outputs of an empty bank', await values(tf.slice(loaded.predict(images) as tf.Tensor2D, 0, 1)), [1, 2, 3], 1e-6);
});

/** Images and words to ten classes each, all weights but biases and coefficients out of one bank. */
function twoModalities(size = 120): LayersModel {
  const bank = parameterBank({ size, passInput: true, seed: 2, name: 'bank' });
  const through = (x: SymbolicTensor) => bank.apply(x) as SymbolicTensor;
  const [image, words] = [input({ shape: [5, 5, 1] }), input({ shape: [4] })];
  const conv = bankedConv2d({ filters: 6, kernelSize: 3, activation: 'tanh', name: 'conv' }).apply(through(image)) as SymbolicTensor;
  const pooled = layers.globalAveragePooling2d({ dataFormat: 'channelsLast' }).apply(conv) as SymbolicTensor;
  const seen = bankedDense({ units: 3, offset: 7, name: 'seen' }).apply(pooled) as SymbolicTensor;
  const vectors = bankedEmbedding({ inputDim: 50, outputDim: 6, name: 'vectors' }).apply(through(words)) as SymbolicTensor;
  const read = bankedDense({ units: 3, offset: 11, name: 'read' }).apply(layers.globalAveragePooling1d().apply(vectors)) as SymbolicTensor;
  const model = functionalModel({ inputs: [image, words], outputs: [seen, read] });
  model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
  return model;
}

describe('one bank for images and text', () => {
  const x = () => [seeded([6, 5, 5, 1], 1), seededIntegers([6, 4], 2, 50)];
  const y = () => [seeded([6, 3], 3), seeded([6, 3], 4)];

  it('has one owner, is saved once, counted once, and trained by both', async () => {
    const model = twoModalities();
    // Biases 6 + 3 + 3, coefficients 4 × 2.
    expect(model.countParams()).toBe(120 + 12 + 8);
    expect((await savedArtifacts(model)).weightSpecs!.filter(({ shape }) => shape[0] === 120).map(({ name }) => name)).toEqual(['bank/bank']);
    const losses = async () => Promise.all((model.evaluate(x(), y()) as tf.Scalar[]).map(async (loss) => (await values(loss))[0]));
    const before = await losses();
    const bank = await values(model.getLayer('bank').getWeights()[0]);
    await model.fit(x(), y(), { epochs: 5, verbose: 0 });
    expect((await losses())[0]).toBeLessThan(before[0]);
    expect(await values(model.getLayer('bank').getWeights()[0])).not.toEqual(bank);
  });

  it('comes back from a file, and each modality works alone on the same bank', async () => {
    const model = twoModalities();
    const loaded = await saveAndLoad(model);
    const [seen, read] = model.predict(x()) as tf.Tensor[];
    const [seenAgain, readAgain] = loaded.predict(x()) as tf.Tensor[];
    expectNear('images', await values(seenAgain), await values(seen), 1e-6);
    expectNear('text', await values(readAgain), await values(read), 1e-6);
    const text = functionalModel({ inputs: loaded.inputs[1], outputs: loaded.outputs[1] });
    expectNear('text alone', await values(text.predict(x()[1])), await values(read), 1e-6);
    expect(loaded.countParams()).toBe(140);
    const [{ layers: names, matrix }] = await layerSimilarity(loaded);
    expect([...names].sort()).toEqual(['conv', 'read', 'seen', 'vectors']);
    expect(matrix.length).toBe(4);
  });

  it('counts a regularizer of the bank once, although the bank is called twice', async () => {
    const x = input({ shape: [2] });
    const other = input({ shape: [2] });
    const bank = parameterBank({ size: 4, passInput: true, seed: 1, kernelRegularizer: regularizers.l2({ l2: 1 }) });
    const layer = (name: string) => bankedDense({ units: 1, useBias: false, name });
    const model = functionalModel({ inputs: [x, other], outputs: layers.add().apply([layer('a').apply(bank.apply(x)), layer('b').apply(bank.apply(other))] as SymbolicTensor[]) as SymbolicTensor });
    model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const zeros = () => [tf.zeros([2, 2]), tf.zeros([2, 2])];
    const { history } = await model.fit(zeros(), tf.zeros([2, 1]), { epochs: 1, verbose: 0 });
    expectNear('loss', [history['loss'][0] as number], await values(tf.sum(tf.square(bank.kernel!.read()))), 1e-5);
  });
});

describe('layerSimilarity of banked layers', () => {
  it('compares what their candidates are multiplied by: with softmaxWeights not α itself', async () => {
    const [x, bank] = [input({ shape: [4] }), parameterBank({ size: 40, seed: 1, passInput: true })];
    const banked = (name: string) => bankedDense({ units: 4, candidates: 2, combination: 'softmaxWeights', name });
    const mixes = functionalModel({ inputs: x, outputs: ['one', 'two'].reduce((h, name) => banked(name).apply(h) as SymbolicTensor, bank.apply(x) as SymbolicTensor) });
    const similarity = async () => (await layerSimilarity(mixes))[0].matrix[0][1];
    expect(await similarity()).toBeCloseTo(1, 6);
    // Opposite α, so nearly disjoint mixtures.
    for (const [name, alpha] of [['one', [3, -3]], ['two', [-3, 3]]] as const) mixes.getLayer(name).setWeights([tf.tensor1d([...alpha]), ...mixes.getLayer(name).getWeights().slice(1)]);
    expect(await similarity()).toBeLessThan(0.02);
  });
});

describe('the seed of a parameterBank', () => {
  it.each(['learnedWeights', 'layerEmbedding'] as const)('decides on the start of layers with %s, another one for each', async (combination) => {
    const made = async (): Promise<number[][]> => {
      const x = input({ shape: [4] });
      const bank = parameterBank({ size: 40, seed: 5, embeddingCandidates: 2 }).apply(x) as SymbolicTensor[];
      const given = combination === 'layerEmbedding' ? bank : bank.slice(0, 1);
      const layer = () => bankedDense({ units: 4, candidates: 2, combination, useBias: false });
      const model = functionalModel({ inputs: x, outputs: layer().apply([layer().apply([x, ...given]) as SymbolicTensor, ...given]) as SymbolicTensor });
      return Promise.all(model.getWeights().map(async (weight) => Array.from(await weight.data())));
    };
    const first = await made();
    expect(await made()).toEqual(first);
    expect(first.at(-1)).not.toEqual(first.at(-2));
  });
});

describe('what banks of parameters refuse', () => {
  const on = (size: number, make: () => { apply(inputs: SymbolicTensor[]): unknown }) => () => {
    const x = input({ shape: [40] });
    make().apply([x, parameterBank({ size }).apply(x) as SymbolicTensor]);
  };

  it('an empty bank, and one that is too small to interpolate', () => {
    expect(() => parameterBank({ size: 0 })).toThrow('ParameterBank: size must be an integer ≥ 1, got 0. An empty bank can serve no layer; it is the number of parameters to share.');
    expect(on(3, () => bankedDense({ units: 40, name: 'wide' }))).toThrow(
      "BankedDense: layer 'wide' has 40 × 1 × 40 = 1600 weights, and the bank's 3 numbers are too few to interpolate: at least 4 are needed, for 1/20 of inputs and outputs. Make the bank larger, or use upsampling 'repetition' or 'mask', which take any.",
    );
    expect(on(4, () => bankedDense({ units: 40 }))).not.toThrow();
    expect(on(4, () => bankedDense({ units: 4, candidates: 5, name: 'many' }))).toThrow("BankedDense: layer 'many': candidates must be at most the bank's size 4, got 5. Use fewer, or a larger bank.");
    const x = input({ shape: [3] });
    const both = parameterBank({ size: 4, embeddingCandidates: 2 }).apply(x) as SymbolicTensor[];
    expect(() => bankedDense({ units: 2, name: 'nested' }).apply([x, both] as never)).toThrow("BankedDense: layer 'nested' takes a flat list of inputs, got a list inside of it. Where the bank has several tensors, spread it: apply([x, ...bank]).");
  });

  it('options and banks that do not fit', () => {
    expect(() => bankedDense({ units: 4, combination: 'sum' as never })).toThrow("BankedDense: combination must be one of 'average', 'learnedWeights', 'softmaxWeights', 'layerEmbedding', got 'sum'.");
    expect(() => bankedDense({ units: 4, upsampling: 'zeros' as never })).toThrow("BankedDense: upsampling must be one of 'interpolation', 'repetition', 'mask', got 'zeros'.");
    expect(on(40, () => bankedDense({ units: 4, combination: 'layerEmbedding', name: 'embedded' }))).toThrow(
      "BankedDense: layer 'embedded' takes one input, or [input, bank] with the 2 tensors of a bank from parameterBank, got inputs of shapes [null, 40] and [40].",
    );
    expect(on(40, () => bankedDense({ units: 4, kernelInitializer: 'zeros' }))).toThrow("BankedDense: the spread that the initializer 'Zeros' means is not known; give bankScale, the factor of the bank's numbers.");
    const stack = sequential({ layers: [parameterBank({ size: 9, name: 'shut', inputShape: [3] })] });
    expect(() => stack.add(bankedDense({ units: 4, name: 'after' }))).toThrow("BankedDense 'after': parameterBank 'shut' upstream of its input puts out what it shares instead of its input. Give the layer the bank as well");
    expect(() => bankedDense({ units: 4, name: 'alone' }).apply(input({ shape: [3] }))).toThrow("BankedDense 'alone': there is no parameterBank upstream of its input");
    const x = input({ shape: [3] });
    const matrix = layers.dense({ units: 3 }).apply(x) as SymbolicTensor;
    expect(() => bankedDense({ units: 4, name: 'matrix' }).apply([x, matrix])).toThrow("BankedDense: layer 'matrix' takes one input, or [input, bank] with a bank from parameterBank, got inputs of shapes [null, 3] and [null, 3].");
  });
});
