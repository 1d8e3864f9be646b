import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, regularizers, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { bankedConv2d } from '../../src/layers/banked_conv2d.js';
import { bankedDense, type BankedDense, type BankedDenseArgs } from '../../src/layers/banked_dense.js';
import { bankedEmbedding } from '../../src/layers/banked_embedding.js';
import { parameterBank, type ParameterBankArgs } from '../../src/layers/parameter_bank.js';
import { learnGrouping } from '../../src/surgery/learn_grouping.js';
import { splitBank } from '../../src/surgery/split_bank.js';
import { expectNear, saveAndLoad, savedArtifacts, seeded, seededIntegers } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

const values = async (tensor: tf.Tensor) => Array.from(await tensor.data());
/** Weights that no chance decides. */
function fixed(model: LayersModel): LayersModel {
  model.layers.forEach((layer, i) => layer.setWeights(layer.getWeights().map(({ shape }, j) => tf.mul(seeded(shape, 10 * i + j + 1), 0.2))));
  return model;
}
type Kind = 'functional' | 'sequential';

/** Five dense layers of several sizes on one bank: 8·6 + 6·6 + 6·6 + 6·4 + 4·6 = 168 weights. */
function probe(kind: Kind, args: Partial<BankedDenseArgs> = {}, bankArgs: Partial<ParameterBankArgs> = {}): LayersModel {
  const units = { a: 6, b: 6, c: 6, d: 4, e: 6 };
  const bank = parameterBank({ size: 60, seed: 4, name: 'bank', kernelRegularizer: regularizers.l2({ l2: 0.01 }), ...bankArgs, ...(kind === 'sequential' && { passInput: true, inputShape: [8] }) });
  const each = Object.entries(units).map(([name, n]) => bankedDense({ units: n, name, combination: 'softmaxWeights', candidates: 3, activation: 'tanh', ...args }));
  if (kind === 'sequential') return sequential({ layers: [bank, ...each, layers.dense({ units: 2, name: 'head' })] });
  const x = input({ shape: [8] });
  const shared = [bank.apply(x)].flat() as SymbolicTensor[];
  const h = each.reduce((hidden, layer) => layer.apply([hidden, ...shared]) as SymbolicTensor, x);
  return functionalModel({ inputs: x, outputs: layers.dense({ units: 2, name: 'head' }).apply(h) as SymbolicTensor });
}

/** Coefficients by hand: a and d alike, b and e alike, c by itself. */
function useAlike(model: LayersModel): LayersModel {
  const rows: Record<string, number[]> = { a: [3, 0, 0.1], b: [0, 3, 0.2], c: [0, 0.1, 3], d: [2.9, 0, 0], e: [0.1, 3.1, 0] };
  for (const [name, row] of Object.entries(rows)) {
    const layer = model.getLayer(name) as BankedDense;
    layer.setWeights(layer.getWeights().map((weight) => (weight.shape[0] === 3 ? tf.tensor1d(row) : weight)));
  }
  return model;
}
const ALIKE = [['a', 'd'], ['b', 'e'], ['c']];
const x = () => seeded([10, 8], 1);
const y = () => seeded([10, 2], 2);

describe('learnGrouping', () => {
  it.each(['functional', 'sequential'] as const)('puts layers together that use the bank alike: %s', async (kind) => {
    const { groups, coefficients, layers: names, inertia } = await learnGrouping(useAlike(probe(kind)), { groups: 3 });
    expect(groups).toEqual(ALIKE);
    expect(names).toEqual(['a', 'b', 'c', 'd', 'e']);
    const total = Math.exp(3) + 1 + Math.exp(0.1);
    expectNear('softmax', coefficients[0], [Math.exp(3), 1, Math.exp(0.1)].map((each) => each / total), 1e-6);
    expect(inertia).toBeGreaterThan(0);
    expect(inertia).toBeLessThan(0.01);
  });

  it('takes coefficients as they are where no softmax is taken of them', async () => {
    const { coefficients } = await learnGrouping(useAlike(probe('functional', { combination: 'learnedWeights' })), { groups: 2 });
    expectNear('α', coefficients[1], [0, 3, 0.2], 1e-6);
  });

  it('groups after a short training, and the grouped network trains', async () => {
    const model = fixed(probe('sequential'));
    model.compile({ optimizer: tf.train.adam(0.05), loss: 'meanSquaredError' });
    await model.fit(x(), y(), { epochs: 2, verbose: 0 });
    const { groups } = await learnGrouping(model, { groups: 2, seed: 1 });
    expect(groups.flat().sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
    const { model: grouped } = await splitBank(model, { groups, combination: 'learnedWeights', candidates: 2 });
    fixed(grouped).compile({ optimizer: tf.train.sgd(0.02), loss: 'meanSquaredError' });
    const { history } = await grouped.fit(x(), y(), { epochs: 2, verbose: 0 });
    expect(history['loss'][1]).toBeLessThan(history['loss'][0] as number);
  });

  it('says what is wrong', async () => {
    const model = useAlike(probe('functional'));
    await expect(learnGrouping(probe('functional'), { groups: 2 })).rejects.toThrow(
      "learnGrouping: the coefficients of 5 layers are 1 different rows, too few for 2 groups. Train the model for a while first, or ask for fewer groups.",
    );
    await expect(learnGrouping(model, { groups: 6 })).rejects.toThrow('learnGrouping: groups must be an integer from 1 to the number of layers, 5, got 6.');
    await expect(learnGrouping(model, { groups: 2, k: 3 } as never)).rejects.toThrow("learnGrouping: unknown option 'k'.");
    await expect(learnGrouping(model, undefined as never)).rejects.toThrow('learnGrouping: expected options with groups, got undefined.');
    await expect(learnGrouping(probe('functional', { combination: 'average' }), { groups: 2 })).rejects.toThrow(
      "learnGrouping: layer 'a' has no coefficients with combination 'average'. Group layers with combination: 'softmaxWeights'.",
    );
    await expect(learnGrouping(sequential({ layers: [layers.dense({ units: 1, inputShape: [1] })] }), { groups: 1 })).rejects.toThrow('learnGrouping: the model has no layer on a parameterBank.');
    const given = input({ shape: [4] });
    const on = (hidden: SymbolicTensor, name: string, candidates: number, bank: SymbolicTensor) => bankedDense({ units: 4, name, candidates }).apply([hidden, bank]) as SymbolicTensor;
    const bank = parameterBank({ size: 20, name: 'one' }).apply(given) as SymbolicTensor;
    const odd = functionalModel({ inputs: given, outputs: on(on(given, 'two', 2, bank), 'three', 3, bank) });
    await expect(learnGrouping(odd, { groups: 2 })).rejects.toThrow("learnGrouping: all layers must combine as many candidates, got 2 in 'two' and 3 in 'three'.");
    const other = parameterBank({ size: 20, name: 'other' }).apply(given) as SymbolicTensor;
    const several = functionalModel({ inputs: given, outputs: on(on(given, 'first', 2, bank), 'second', 2, other) });
    await expect(learnGrouping(several, { groups: 2 })).rejects.toThrow("learnGrouping: all banked layers must draw from one bank in the model, got 'one', 'other'.");
  });
});

describe('splitBank', () => {
  it.each(['functional', 'sequential'] as const)('gives each group a bank of its own, with one owner, through saving and loading: %s', async (kind) => {
    const original = useAlike(probe(kind));
    const before = await values(original.predict(x()) as tf.Tensor);
    const { model, banks } = await splitBank(original, { groups: ALIKE, combination: 'learnedWeights', candidates: 2 });
    // In proportion to 72, 60 and 36 of 168 weights; a number each first.
    expect(banks).toEqual([
      { name: 'bank_group0', size: 26, layers: ['a', 'd'], weights: 72 },
      { name: 'bank_group1', size: 21, layers: ['b', 'e'], weights: 60 },
      { name: 'bank_group2', size: 13, layers: ['c'], weights: 36 },
    ]);
    expect(model.constructor).toBe(original.constructor);
    expect(['a', 'b', 'c', 'd', 'e'].map((name) => (model.getLayer(name) as BankedDense).bank!.name)).toEqual(['bank_group0', 'bank_group1', 'bank_group2', 'bank_group0', 'bank_group1']);
    expect((model.getLayer('a') as BankedDense).coefficients!.shape).toEqual([2]);
    // 60 in banks, biases 28, coefficients 5 × 2, head 14: as many variables, and as many in a file.
    expect(model.countParams()).toBe(60 + 28 + 10 + 14);
    const specs = (await savedArtifacts(model)).weightSpecs!;
    expect(specs.reduce((sum, { shape }) => sum + tf.util.sizeFromShape(shape), 0)).toBe(112);
    expect(specs.filter(({ name }) => name.startsWith('bank')).length).toBe(3);
    const loaded = await saveAndLoad(model);
    expectNear('outputs', await values(loaded.predict(x()) as tf.Tensor), await values(model.predict(x()) as tf.Tensor), 1e-6);
    loaded.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    const bank = () => values(loaded.getLayer('bank_group2').getWeights()[0]);
    const untrained = await bank();
    const { history } = await loaded.fit(x(), y(), { epochs: onGpu ? 1 : 3, verbose: 0 });
    expect(await bank()).not.toEqual(untrained);
    // The regularizer of the bank is still there.
    const penalty = (await Promise.all(banks.map(({ name }) => values(tf.sum(tf.square(loaded.getLayer(name).getWeights()[0])))))).flat();
    const [[loss], total] = [await values(loaded.evaluate(x(), y()) as tf.Scalar), (await loaded.fit(x(), y(), { epochs: 1, batchSize: 10, verbose: 0 })).history['loss'][0] as number];
    expectNear('loss with the penalty', [total], [loss + 0.01 * penalty.reduce((a, b) => a + b)], 1e-4);
    expect(history['loss'].length).toBeGreaterThan(0);
    expectNear('the given model', await values(original.predict(x()) as tf.Tensor), before, 1e-7);
    // Only its own group hears of a bank.
    const kernelOf = async (name: string) => values((loaded.getLayer(name) as BankedDense).bank!.kernel!.read());
    loaded.getLayer('bank_group1').setWeights([tf.zeros([21])]);
    expect((await kernelOf('e')).every((w) => w === 0)).toBe(true);
    expect((await kernelOf('d')).some((w) => w !== 0)).toBe(true);
  });

  it('makes layer embeddings of coefficients, with a map in each bank', async () => {
    const { model, banks } = await splitBank(probe('functional'), { groups: ALIKE, size: 90, combination: 'layerEmbedding' });
    expect(banks.reduce((sum, { size }) => sum + size, 0)).toBe(90);
    expect(model.getLayer('bank_group1').getWeights().map(({ shape }) => shape)).toEqual([[banks[1].size], [25, 3]]);
    fixed(model).compile({ optimizer: tf.train.sgd(0.02), loss: 'meanSquaredError' });
    const { history } = await model.fit(x(), y(), { epochs: 2, verbose: 0 });
    expect(history['loss'][1]).toBeLessThan(history['loss'][0] as number);
    await expect(splitBank(model, { groups: ALIKE })).rejects.toThrow("splitBank: all banked layers must draw from one bank in the model, got 'bank_group0', 'bank_group1', 'bank_group2'.");
  });

  it('splits the bank of a model of two modalities, which passes each input on', async () => {
    const bank = parameterBank({ size: 100, passInput: true, name: 'shared' });
    const through = (given: SymbolicTensor) => bank.apply(given) as SymbolicTensor;
    const [image, words] = [input({ shape: [4, 4, 1] }), input({ shape: [3] })];
    const pixels = bankedConv2d({ filters: 4, kernelSize: 3, name: 'conv' }).apply(through(image)) as SymbolicTensor;
    const seen = bankedDense({ units: 3, name: 'seen' }).apply(layers.globalAveragePooling2d({ dataFormat: 'channelsLast' }).apply(pixels) as SymbolicTensor) as SymbolicTensor;
    const vectors = bankedEmbedding({ inputDim: 10, outputDim: 4, name: 'vectors' }).apply(through(words)) as SymbolicTensor;
    const read = bankedDense({ units: 3, name: 'read' }).apply(layers.globalAveragePooling1d().apply(vectors) as SymbolicTensor) as SymbolicTensor;
    const both = functionalModel({ inputs: [image, words], outputs: [seen, read] });
    const { model } = await splitBank(both, { groups: [['conv', 'vectors'], ['seen', 'read']] });
    expect(model.layers.filter((layer) => layer.getClassName() === 'ParameterBank').map((layer) => [layer.name, layer.inboundNodes.length])).toEqual([['shared_group0', 2], ['shared_group1', 2]]);
    expect((model.getLayer('vectors') as BankedDense).bank!.name).toBe('shared_group0');
    expect(model.countParams()).toBe(both.countParams());
    fixed(model).compile({ optimizer: tf.train.sgd(0.02), loss: 'meanSquaredError' });
    const { history } = await model.fit([seeded([4, 4, 4, 1], 1), seededIntegers([4, 3], 2, 10)], [seeded([4, 3], 3), seeded([4, 3], 4)], { epochs: 2, verbose: 0 });
    expect(history['loss'][1]).toBeLessThan(history['loss'][0] as number);
  });

  it('says what is wrong', async () => {
    const model = probe('functional');
    const refused = (args: object, message: string) => expect(splitBank(model, args as never)).rejects.toThrow(message);
    await refused({ groups: [['a', 'b', 'c', 'd']] }, "splitBank: each layer on the bank must be in one group; 'e' is in none.");
    await refused({ groups: [['a', 'b', 'c', 'd', 'e'], ['a']] }, "splitBank: each layer on the bank must be in one group; 'a' is in two.");
    await refused({ groups: [['a', 'head']] }, "splitBank: there is no layer 'head' on the bank. Layers: a, b, c, d, e.");
    await refused({ groups: [[]] }, 'splitBank: groups must be lists of names of layers, none empty, got [[]].');
    await refused({ groups: ['a'] }, "splitBank: groups must be lists of names of layers, none empty, got ['a'].");
    await refused({ groups: ALIKE, size: 2 }, 'splitBank: size must be an integer ≥ 3, got 2. Each bank needs a number at least.');
    await refused({ groups: ALIKE, combination: 'sum' }, "splitBank: combination must be one of 'average'");
    await refused({ groups: ALIKE, candidates: 30 }, "splitBank: the group of 'a', 'd' would get 26 numbers, and 'a' needs 30 at least. With size: 139 all groups have enough.");
    await refused({ groups: ALIKE, size: 5 }, "splitBank: the group of 'a', 'd' would get 2 numbers, and 'a' needs 3 at least. With size: 13 all groups have enough.");
    expect((await splitBank(probe('functional'), { groups: ALIKE, candidates: 30, size: 139 })).banks.every(({ size }) => size >= 30)).toBe(true);
    await refused({}, 'splitBank: groups must be lists of names of layers, none empty, got undefined.');
    // A bank that also feeds a layer of another kind.
    const given = input({ shape: [4] });
    const bank = parameterBank({ size: 20, name: 'read_twice' }).apply(given) as SymbolicTensor;
    const read = functionalModel({ inputs: given, outputs: [bankedDense({ units: 4, name: 'only' }).apply([given, bank]) as SymbolicTensor, bank] });
    await expect(splitBank(read, { groups: [['only']] })).rejects.toThrow("splitBank: the numbers of 'read_twice' are also read by an output of the model, which belongs to no group.");
    const outer = sequential({ layers: [probe('sequential')] });
    await expect(splitBank(outer, { groups: ALIKE })).rejects.toThrow("splitBank: 'bank' stands inside of another model or layer. Split the bank of that one.");
  });
});
