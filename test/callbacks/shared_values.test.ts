import * as tf from '@tensorflow/tfjs-core';
import { constraints, initializers, layers, loadLayersModel, sequential, type Callback, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { groupByValue, reassign, sharedValues, stepValues, type SharedValuesArgs } from '../../src/callbacks/shared_values.js';
import { encodeModelArtifacts } from '../../src/compression/container.js';
import { decodeContainer } from '../../src/compression/container_reader.js';
import { callbackContract, smallNetwork } from '../contract/callback_contract.js';
import { savedArtifacts, seeded } from '../contract/fixtures.js';

/** −0 as 0. */
const valuesOf = async (model: LayersModel, index: number) => Array.from(await model.getWeights()[index].data(), (value) => value + 0);
const distinct = (values: number[]) => [...new Set(values)].sort((a, b) => a - b);

/** Rounds every kernel of the model to multiples of a half: shared, with zeros. */
function share(model: LayersModel): LayersModel {
  const weights = model.getWeights();
  const rounded = weights.map((weight) => (weight.shape.length > 1 ? tf.tidy(() => tf.div(tf.round(tf.mul(weight, 2)), 2)) : tf.clone(weight)));
  model.setWeights(rounded);
  tf.dispose(rounded);
  return model;
}

function setUp(optimizer: tf.Optimizer) {
  const dense = (units: number, seed: number, inputShape?: number[]) => layers.dense({ units, inputShape, kernelInitializer: initializers.randomUniform({ minval: -1.2, maxval: 1.2, seed }) });
  const model = share(sequential({ layers: [dense(5, 1, [4]), dense(2, 2)] }));
  model.compile({ optimizer, loss: 'meanSquaredError' });
  return { model, x: seeded([12, 4], 3), y: seeded([12, 2], 4) };
}
const fit = (model: LayersModel, x: tf.Tensor, y: tf.Tensor, callback: Callback, epochs = 3) => model.fit(x, y, { epochs, batchSize: 6, shuffle: false, verbose: 0, callbacks: [callback] });

describe('sharedValues', () => {
  callbackContract({
    create: (model) => {
      share(model);
      return sharedValues();
    },
    model: (kind) => share(smallNetwork(kind)),
  });

  it('groups over tensors by value and refuses too many', () => {
    const { values, groups } = groupByValue([[0.5, 0, -0, 0.5], [1, 0.5]], 3)!;
    expect(Array.from(values)).toEqual([0.5, 0, 1]);
    expect(groups.map((group) => Array.from(group))).toEqual([[0, 1, 1, 0], [2, 0]]);
    expect(groupByValue([[1, 2, 3]], 2)).toBeNull();
  });

  it('tells more than 65 536 values apart', () => {
    const { values, groups } = groupByValue([Float32Array.from({ length: 40000 }, (_, i) => i), Float32Array.from({ length: 40000 }, (_, i) => -1 - i)], 80000)!;
    expect(groups.flatMap((group) => [values[group[0]], values[group[39999]]])).toEqual([0, 39999, -1, -40000]);
  });

  it('keeps equal weights equal whatever constraint a layer has', async () => {
    const model = sequential({ layers: [layers.dense({ units: 3, inputShape: [4], kernelConstraint: constraints.maxNorm({ maxValue: 0.5, axis: 0 }), useBias: false })] });
    const kernel = tf.tensor2d([[1, 2, 1], [2, 2, 1], [1, 1, 1], [1, 2, 1]]); // prettier-ignore
    (model.layers[0] as unknown as { kernel: { val: tf.Variable } }).kernel.val.assign(kernel);
    model.compile({ optimizer: tf.train.sgd(1e-3), loss: 'meanSquaredError' });
    const [x, y] = [seeded([6, 4], 1), seeded([6, 3], 2)];
    await fit(model, x, y, sharedValues(), 2);
    expect(distinct(await valuesOf(model, 0))).toHaveLength(2);
    tf.dispose([x, y, kernel]);
  });

  it.each([[{ layers: 'dense' }, "sharedValues: layers must be"], [{ biases: 'no' }, 'sharedValues: biases must be true or false']])('refuses %j', (args, text) => {
    expect(() => sharedValues(args as never)).toThrow(text);
  });

  it('moves a value by the average or the sum of the steps of its weights, and leaves zero', () => {
    const shared = groupByValue([[1, 1, 0], [2]], 9)!;
    const stepped = [[1.5, 1, 0.25], [1]];
    expect(Array.from(stepValues(shared, stepped, 'average'))).toEqual([1.25, 0, 1]);
    expect(Array.from(stepValues(shared, stepped, 'sum'))).toEqual([1.5, 0, 1]);
  });

  it.each<[string, () => tf.Optimizer]>([
    ['sgd', () => tf.train.sgd(0.05)],
    ['momentum', () => tf.train.momentum(0.05, 0.9)],
    ['adam', () => tf.train.adam(0.01)],
    ['rmsprop', () => tf.train.rmsprop(0.01)],
  ])('keeps who shares with whom through %s, while values and biases move', async (_, optimizer) => {
    const { model, x, y } = setUp(optimizer());
    const before = await Promise.all([0, 2].map((i) => valuesOf(model, i)));
    const loss = (await fit(model, x, y, sharedValues(), 8)).history['loss'] as number[];
    expect(loss.at(-1)).toBeLessThan(loss[0]);
    const after = await Promise.all([0, 2].map((i) => valuesOf(model, i)));
    const pairs = before.flatMap((kernel, k) => kernel.map((value, i) => [value, after[k][i]]));
    const moved = new Map<number, number>();
    for (const [was, is] of pairs) {
      if (moved.has(was)) expect(is).toBe(moved.get(was));
      moved.set(was, is);
      if (was === 0) expect(is).toBe(0);
    }
    expect([...moved].filter(([was, is]) => was !== is).length).toBeGreaterThan(2);
    expect(distinct(await valuesOf(model, 1)).length).toBe(5);
    tf.dispose([x, y]);
  });

  it.each<['average' | 'sum', number]>([
    ['sum', 1],
    ['average', 0],
  ])('with stochastic gradient descent is descent on the values with %s gradients', async (aggregation, power) => {
    const { model, x, y } = setUp(tf.train.sgd(0.1));
    const kernel = await valuesOf(model, 0);
    const other = await valuesOf(model, 2);
    const value = kernel.find((w) => w !== 0)!;
    const members = [...kernel, ...other].filter((w) => w === value).length;
    // Loss as a function of that one value, both kernels, by finite differences.
    const lossAt = async (v: number) => {
      const put = (weights: number[], shape: number[]) => tf.tensor(weights.map((w) => (w === value ? v : w)), shape); // prettier-ignore
      const [k, o] = [put(kernel, [4, 5]), put(other, [5, 2])];
      const loss = tf.tidy(() => tf.losses.meanSquaredError(y, tf.matMul(tf.matMul(x as tf.Tensor2D, k as tf.Tensor2D), o as tf.Tensor2D)));
      return (await loss.data())[0];
    };
    const slope = ((await lossAt(value + 0.01)) - (await lossAt(value - 0.01))) / 0.02;
    await model.fit(x, y, { epochs: 1, batchSize: 12, shuffle: false, verbose: 0, callbacks: [sharedValues({ aggregation })] });
    const now = (await valuesOf(model, 0))[kernel.indexOf(value)];
    expect(now).toBeCloseTo(value - (0.1 * slope) / (power === 1 ? 1 : members), 3);
    tf.dispose([x, y]);
  });

  it('gives a weight another value of its tensor once its steps have added up to that, with zeros staying or not', () => {
    // Values −1, 0, 1 and one of another tensor, 0.3; weights −1, 0, 1, 1.
    const values = Float32Array.of(-1, 0, 1, 0.3);
    const places = Float32Array.of(-1, 0, 1, 1);
    const group = Uint32Array.of(0, 1, 2, 2);
    reassign(places, group, Float32Array.of(0.4, 0.8, -0.3, 0), values, [0, 1, 2], true);
    expect([...group]).toEqual([0, 1, 2, 2]);
    reassign(places, group, Float32Array.of(0.4, 0.8, -0.3, 0), values, [0, 1, 2], true);
    expect([...group]).toEqual([1, 1, 1, 2]);
    expect(places[1]).toBe(0);
    const free = Float32Array.of(0);
    const zeros = Uint32Array.of(1);
    reassign(free, zeros, Float32Array.of(0.6), values, [0, 1, 2], false);
    expect([...zeros]).toEqual([2]);
    expect(Array.from(stepValues({ values, groups: [zeros] }, [[1.5]], 'average'))).toEqual([-1, 0, 1.5, values[3]]);
  });

  it('trains straight through: weights change sides, values stay as few, zeros stay', async () => {
    const { model, x, y } = setUp(tf.train.adam(0.03));
    const before = await valuesOf(model, 0);
    const loss = (await fit(model, x, y, sharedValues({ assignments: 'straightThrough' }), 10)).history['loss'] as number[];
    expect(loss.at(-1)).toBeLessThan(loss[0]);
    const after = await valuesOf(model, 0);
    expect(distinct(after).length).toBeLessThanOrEqual(distinct(before).length);
    expect(before.some((w) => w === 0)).toBe(true);
    before.forEach((w, i) => w === 0 && expect(after[i]).toBe(0));
    const partition = (values: number[]): number[] => values.map((w) => values.indexOf(w));
    expect(partition(after)).not.toEqual(partition(before));
    tf.dispose([x, y]);
  });

  it('puts the shared weights back and says so when a value is not finite', async () => {
    const { model, x, y } = setUp(tf.train.sgd(0.1));
    const before = await valuesOf(model, 0);
    const bad = tf.mul(y, NaN);
    await expect(fit(model, x, bad, sharedValues())).rejects.toThrow(/^sharedValues: a shared value \(.*\) became NaN in a step\. The shared weights were put back\./);
    expect(await valuesOf(model, 0)).toEqual(before);
    tf.dispose([x, y, bad]);
  });

  it.each<[SharedValuesArgs | object, RegExp]>([
    [{ layers: ['nowhere'] }, /^Error: sharedValues: the model has no layer 'nowhere'\. Layers: /],
    [{ maxValues: 2 }, /^Error: sharedValues: no weight of the model shares values \(at most 2 distinct ones a layer\)\. Quantise it first/],
  ])('refuses %j on a model where that does not fit', async (args, message) => {
    const { model, x, y } = setUp(tf.train.sgd(0.1));
    await expect(fit(model, x, y, sharedValues(args)).catch((error: Error) => String(error))).resolves.toMatch(message);
    tf.dispose([x, y]);
  });

  it.each<[object, string]>([
    [{ layer: [] }, "sharedValues: unknown option 'layer'. Did you mean 'layers'?"],
    [{ aggregation: 'mean' }, "sharedValues: aggregation must be one of 'average', 'sum', got 'mean'."],
    [{ assignments: 'free' }, "sharedValues: assignments must be one of 'fixed', 'straightThrough', got 'free'."],
    [{ preserveSparsity: false }, "sharedValues: preserveSparsity belongs to assignments: 'straightThrough'"],
    [{ maxValues: 0 }, 'sharedValues: maxValues must be an integer from 1 to 65535, got 0.'],
  ])('refuses %j', (args, message) => {
    expect(() => sharedValues(args as SharedValuesArgs)).toThrow(message);
  });

  it('refuses sums of steps that do not add up, and leaves frozen layers alone', async () => {
    const { model, x, y } = setUp(tf.train.adam(0.03));
    await expect(fit(model, x, y, sharedValues({ assignments: 'straightThrough', aggregation: 'sum' }))).rejects.toThrow("sharedValues: aggregation: 'sum' with assignments: 'straightThrough' adds up the optimizer's steps, and those of Adam are as long");
    model.layers[1].trainable = false;
    model.compile({ optimizer: tf.train.adam(0.03), loss: 'meanSquaredError' });
    await expect(fit(model, x, y, sharedValues({ layers: [model.layers[1].name] }))).rejects.toThrow(`sharedValues: layer '${model.layers[1].name}' is frozen. Make it trainable`);
    const [first, frozen] = await Promise.all([0, 2].map((i) => valuesOf(model, i)));
    await fit(model, x, y, sharedValues());
    expect(await valuesOf(model, 2)).toEqual(frozen);
    expect(await valuesOf(model, 0)).not.toEqual(first);
    tf.dispose([x, y]);
    model.dispose();
  });

  it('leaves a model that is saved as small as before, with the values that it has now', async () => {
    const { model, x, y } = setUp(tf.train.adam(0.03));
    const before = encodeModelArtifacts(await savedArtifacts(model)).length;
    await fit(model, x, y, sharedValues(), 5);
    const bytes = encodeModelArtifacts(await savedArtifacts(model));
    expect(Math.abs(bytes.length - before)).toBeLessThan(24);
    const loaded = await loadLayersModel(tf.io.fromMemory(decodeContainer(bytes)));
    for (const [i, weight] of loaded.getWeights().entries()) expect(Array.from(await weight.data())).toEqual(Array.from(await model.getWeights()[i].data()));
    expect(distinct(await valuesOf(loaded, 0))).toEqual(distinct(await valuesOf(model, 0)));
    tf.dispose([x, y]);
    for (const each of [model, loaded]) each.dispose();
  });
});
