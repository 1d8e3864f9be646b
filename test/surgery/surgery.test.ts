import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { sizeReport } from '../../src/compression/size_report.js';
import { growl } from '../../src/regularizers/growl.js';
import { factorTiedRows } from '../../src/surgery/factor_tied_rows.js';
import { removeDeadUnits } from '../../src/surgery/remove_dead_units.js';
import { saveAndLoad, seeded } from '../contract/fixtures.js';
import { relativeError } from '../helpers.js';

/** Random weights everywhere, biases and normalisations too (variances positive). */
function randomise(model: LayersModel): LayersModel {
  model.layers.forEach((layer, l) => {
    const own = layer.getWeights().map((weight, i) => tf.tidy(() => tf.add(seeded(weight.shape, 10 * l + i), weight.shape.length === 1 ? 1.5 : 0)));
    if (own.length > 0) layer.setWeights(own);
  });
  return model;
}

/** Rewrites the rows (last axis but one) of a layer's kernel: `from(row)` is the row to copy, or null for zeros. */
function setRows(model: LayersModel, name: string, from: (row: number) => number | null): void {
  const layer = model.getLayer(name);
  const [kernel, ...rest] = layer.getWeights();
  const rows = kernel.shape[kernel.shape.length - 2];
  const sources = Array.from({ length: rows }, (_, r) => from(r));
  const index = tf.tensor1d(sources.map((s) => s ?? 0), 'int32');
  const mask = tf.reshape(tf.tensor1d(sources.map((s) => (s === null ? 0 : 1))), [rows, 1]);
  layer.setWeights([tf.mul(tf.gather(kernel, index, kernel.rank - 2), mask), ...rest]);
}
const predicted = async (model: LayersModel, x: tf.Tensor) => (model.predict(x) as tf.Tensor).data();
const dense = (units: number, name: string, rest: object = {}) => layers.dense({ units, name, activation: 'tanh', ...rest });

describe('removeDeadUnits', () => {
  it('leaves a frozen network inside as it is, normalisations too', async () => {
    const base = sequential({ layers: [dense(6, 'base_a', { inputShape: [5] }), layers.batchNormalization({ name: 'base_norm' }), dense(4, 'base_b')] });
    randomise(base);
    base.trainable = false;
    const model = sequential({ layers: [base, dense(6, 'head'), dense(2, 'last')] });
    for (const name of ['head', 'last']) model.getLayer(name).setWeights(model.getLayer(name).getWeights().map((weight, i) => seeded(weight.shape, i + 3)));
    setRows(model, 'last', (r) => (r === 2 ? null : r));
    const x = seeded([9, 5], 3);
    const { model: small, removed } = await removeDeadUnits(model);
    expect(Object.values(removed).flat().length).toBeGreaterThan(0);
    expect(relativeError(await predicted(small, x), await predicted(model, x))).toBeLessThan(1e-6);
    expect(small.layers[0].trainable).toBe(false);
    expect(small.trainableWeights).toHaveLength(4);
  });

  it('removes units with their biases and normalisation, cascades back, and leaves the outputs equal', async () => {
    const model = randomise(
      sequential({
        layers: [dense(6, 'a', { inputShape: [5] }), layers.batchNormalization({ name: 'norm' }), dense(7, 'b', { kernelRegularizer: growl({ lambda1: 1 }) }), layers.dropout({ rate: 0.5 }), dense(2, 'c', { activation: 'softmax' })],
      }),
    );
    setRows(model, 'c', (r) => ([1, 4].includes(r) ? null : r));
    // Unit 5 of a is read by units 1 and 4 of b only, which go.
    const [kernel, bias] = model.getLayer('b').getWeights();
    const values = (await kernel.data()) as Float32Array;
    for (let u = 0; u < 7; u++) {
      values[2 * 7 + u] = 0;
      if (![1, 4].includes(u)) values[5 * 7 + u] = 0;
    }
    model.getLayer('b').setWeights([tf.tensor2d(values, [6, 7]), bias]);
    const x = seeded([9, 5], 3);
    const result = await removeDeadUnits(model);
    expect(result.removed).toEqual([
      { layer: 'b', units: 7, removed: 2, why: null },
      { layer: 'a', units: 6, removed: 2, why: null },
    ]);
    expect(result.model.layers.map((layer) => layer.getWeights().map(({ shape }) => shape))).toEqual([
      [[5, 4], [4]],
      [[4], [4], [4], [4]],
      [[4, 5], [5]],
      [],
      [[5, 2], [2]],
    ]);
    expect([result.parametersBefore, result.parametersAfter]).toEqual([36 + 24 + 49 + 16, 24 + 16 + 25 + 12]);
    expect(relativeError(await predicted(result.model, x), await predicted(model, x))).toBeLessThan(1e-5);
    // Plain: nothing of ours is named in it.
    expect(JSON.stringify(result.model.toJSON(null, false))).not.toContain('GrOWL');
    const loaded = await saveAndLoad(result.model);
    expect(relativeError(await predicted(loaded, x), await predicted(model, x))).toBeLessThan(1e-5);
  });

  it('removes channels of convolutions through normalisation, pooling and Flatten, in a functional model', async () => {
    const x = input({ shape: [8, 8, 2] });
    let y = layers.conv2d({ filters: 5, kernelSize: 3, name: 'c1' }).apply(x);
    y = layers.maxPooling2d({ poolSize: 2 }).apply(layers.reLU({}).apply(layers.batchNormalization({ name: 'norm' }).apply(y)));
    y = layers.flatten().apply(layers.conv2d({ filters: 4, kernelSize: 2, activation: 'relu', name: 'c2' }).apply(y));
    const model = randomise(functionalModel({ inputs: x, outputs: layers.dense({ units: 3, name: 'out' }).apply(y) as typeof x }));
    setRows(model, 'out', (r) => (r % 4 === 2 ? null : r));
    setRows(model, 'c2', (r) => (r === 0 || r === 3 ? null : r));
    const data = seeded([4, 8, 8, 2], 5);
    const { model: small, removed } = await removeDeadUnits(model);
    expect(removed).toEqual([
      { layer: 'c2', units: 4, removed: 1, why: null },
      { layer: 'c1', units: 5, removed: 2, why: null },
    ]);
    expect(small.getLayer('c2').getWeights()[0].shape).toEqual([2, 2, 3, 3]);
    expect(relativeError(await predicted(small, data), await predicted(model, data))).toBeLessThan(1e-5);
  });

  it('drops inputs of the model only where asked, and says which it takes', async () => {
    for (const kind of ['sequential', 'functional']) {
      const first = dense(3, 'first', kind === 'sequential' ? { inputShape: [6] } : {});
      const x = input({ shape: [6] });
      const model = randomise(kind === 'sequential' ? sequential({ layers: [first] }) : functionalModel({ inputs: x, outputs: first.apply(x) as typeof x }));
      setRows(model, 'first', (r) => (r < 2 ? null : r));
      const kept = await removeDeadUnits(model);
      expect(kept.removed).toEqual([{ layer: 'first', units: 6, removed: 0, why: 'the units are inputs of the model (inputs: true drops them)' }]);
      const { model: small, keptInputs } = await removeDeadUnits(model, { inputs: true });
      expect(Object.values(keptInputs)).toEqual([[2, 3, 4, 5]]);
      expect(small.inputs[0].shape).toEqual([null, 4]);
      const data = seeded([7, 6], 2);
      expect(relativeError(await predicted(small, tf.slice(data, [0, 2], [7, 4])), await predicted(model, data))).toBeLessThan(1e-5);
    }
  });

  it('leaves what several layers read, or a softmax makes, and says why; keeps one unit of all dead', async () => {
    const x = input({ shape: [3] });
    const shared = dense(4, 'shared').apply(x);
    const soft = dense(4, 'soft', { activation: 'softmax' }).apply(shared) as typeof x;
    const other = dense(2, 'other').apply(shared) as typeof x;
    const model = randomise(functionalModel({ inputs: x, outputs: [dense(2, 'reader').apply(dense(3, 'middle').apply(soft)) as typeof x, other] }));
    for (const name of ['other', 'middle']) setRows(model, name, (r) => (r === 1 ? null : r));
    setRows(model, 'reader', () => null);
    const { removed } = await removeDeadUnits(model);
    expect(removed).toContainEqual({ layer: 'middle', units: 3, removed: 2, why: null });
    expect(removed).toContainEqual({ layer: 'middle', units: 4, removed: 0, why: "Dense 'soft' has a softmax, which mixes units" });
    expect(removed).toContainEqual({ layer: 'other', units: 4, removed: 0, why: "Dense 'shared' is read elsewhere too" });
  });

  it('leaves nested models and wrapped layers as they are, and says why', async () => {
    const inner = randomise(sequential({ name: 'nested', layers: [dense(4, 'first', { inputShape: [3] }), dense(2, 'second')] }));
    setRows(inner, 'second', (r) => (r === 1 ? null : r));
    const within = layers.dense({ units: 2, name: 'within' });
    const model = sequential({ layers: [inner, layers.repeatVector({ n: 2 }), layers.timeDistributed({ layer: within, name: 'around' })] });
    within.setWeights([tf.tensor2d([1, 2, 0, 0], [2, 2]), ...within.getWeights().slice(1)]);
    const { removed, parametersAfter, parametersBefore, model: small } = await removeDeadUnits(model);
    expect(removed).toEqual([
      { layer: 'second', units: 4, removed: 0, why: "it is inside of Sequential 'nested'; only layers of the model itself are made smaller" },
      { layer: 'within', units: 2, removed: 0, why: "it is inside of TimeDistributed 'around'; only layers of the model itself are made smaller" },
    ]);
    expect(parametersAfter).toBe(parametersBefore);
    const x = seeded([5, 3], 1);
    expect(relativeError(await predicted(small, x), await predicted(model, x))).toBeLessThan(1e-6);
  });

  it('refuses options that it does not know', async () => {
    await expect(removeDeadUnits(sequential({ layers: [dense(1, 'one', { inputShape: [1] })] }), { input: true } as object)).rejects.toThrow("removeDeadUnits: unknown option 'input'. Did you mean 'inputs'?");
    await expect(removeDeadUnits({} as LayersModel)).rejects.toThrow('removeDeadUnits: expected a tf.LayersModel, got object.');
  });
});

describe('factorTiedRows', () => {
  it('makes a plain model with equal outputs and fewer weights, whose file is hardly larger than with rows saved once', async () => {
    for (const kind of ['sequential', 'functional']) {
      const first = dense(30, 'first', kind === 'sequential' ? { inputShape: [60] } : {});
      const last = dense(2, 'last');
      const x = input({ shape: [60] });
      const model = randomise(kind === 'sequential' ? sequential({ layers: [first, last] }) : functionalModel({ inputs: x, outputs: last.apply(first.apply(x)) as typeof x }));
      setRows(model, 'first', (r) => (r < 20 ? null : r % 7));
      const { model: small, factored } = await factorTiedRows(model);
      expect(factored).toEqual([{ layer: 'first', membership: 'first_membership', rows: 60, distinct: 7 }]);
      expect(small.getLayer('first').getWeights()[0].shape).toEqual([7, 30]);
      expect(small.getLayer('first_membership').trainableWeights).toEqual([]);
      const data = seeded([5, 60], 8);
      const loaded = await saveAndLoad(small);
      for (const each of [small, loaded]) expect(relativeError(await predicted(each, data), await predicted(model, data))).toBeLessThan(1e-5);
      expect(small.countParams()).toBeLessThan(0.4 * model.countParams());
      expect((await sizeReport(small)).fileBytes).toBeLessThan(1.05 * (await sizeReport(model)).fileBytes);
    }
  });

  it('factors convolutions, padding and strides included', async () => {
    for (const padding of ['same', 'valid'] as const) {
      const model = randomise(sequential({ layers: [layers.conv2d({ filters: 3, kernelSize: 3, strides: 2, padding, inputShape: [7, 7, 6], name: 'conv' })] }));
      setRows(model, 'conv', (r) => r % 2);
      const { model: small, factored } = await factorTiedRows(model, { layers: ['conv'] });
      expect(factored[0]).toMatchObject({ rows: 6, distinct: 2 });
      const data = seeded([2, 7, 7, 6], 4);
      expect(relativeError(await predicted(small, data), await predicted(model, data))).toBeLessThan(1e-5);
    }
  });

  it('says what cannot be factored', async () => {
    const model = sequential({ layers: [dense(3, 'first', { inputShape: [4] }), layers.activation({ activation: 'relu', name: 'act' })] });
    await expect(factorTiedRows(model, { layers: ['first'] })).rejects.toThrow("factorTiedRows: layer 'first' has no two equal rows. Tie them first, with rowTying.");
    await expect(factorTiedRows(model, { layers: ['act'] })).rejects.toThrow("factorTiedRows: layer 'act' is neither dense nor a 2-D convolution.");
    await expect(factorTiedRows(model, { layers: ['none'] })).rejects.toThrow("factorTiedRows: the model has no layer 'none'. Layers: first, act.");
    expect((await factorTiedRows(model)).factored).toEqual([]);
  });
});
