import * as tf from '@tensorflow/tfjs-core';
import { constraints, initializers, layers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { clustersOf, equalRows, liveRows, spreadRows, stepRows } from '../../src/callbacks/row_clusters.js';
import { rowTying, type RowTying, type RowTyingArgs } from '../../src/callbacks/row_tying.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { growl } from '../../src/regularizers/growl.js';
import { callbackContract, smallNetwork } from '../contract/callback_contract.js';
import { saveAndLoad, seeded } from '../contract/fixtures.js';
import { relativeError, seededNormal } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

const TRUTH = [0, 1, 0, -1, 1, 2, 0, 2];

/** Noisy copies of three rows, and a dead one. */
function noisyRows(width = 6): Float32Array {
  const normal = seededNormal(8);
  return Float32Array.from(TRUTH.flatMap((g) => Array.from({ length: width }, (_, i) => (g < 0 ? 0 : (i % 3 === g ? 0.8 : 0.1) + 0.05 * normal()))));
}

function setUp(optimizer: tf.Optimizer = tf.train.sgd(0.05)) {
  const model = sequential({
    layers: [
      layers.dense({ units: 6, inputShape: [8], activation: 'tanh', name: 'first', kernelInitializer: initializers.glorotUniform({ seed: 1 }) }),
      layers.dense({ units: 2, name: 'last', kernelInitializer: initializers.glorotUniform({ seed: 2 }) }),
    ],
  });
  const kernel = tf.tensor2d(noisyRows(), [8, 6]);
  model.setWeights([kernel, ...model.getWeights().slice(1)]);
  kernel.dispose();
  model.compile({ optimizer, loss: 'meanSquaredError' });
  return { model, x: seeded([24, 8], 3), y: seeded([24, 2], 4) };
}
const fit = (model: LayersModel, x: tf.Tensor, y: tf.Tensor, callbacks: RowTying[], epochs = 3) => model.fit(x, y, { epochs, batchSize: 8, shuffle: false, verbose: 0, callbacks });
const kernelOf = async (model: LayersModel, index = 0) => (await model.getWeights()[index].data()) as Float32Array;
const first = (args: RowTyingArgs = {}) => rowTying({ layers: ['first'], ...args });

afterEach(() => vi.restoreAllMocks());

describe('rowTying, where rows are tied already', () => {
  it('keeps the ties that there are, however few', async () => {
    const { model, x, y } = setUp();
    const values = Float32Array.from({ length: 48 }, seededNormal(3));
    values.set(values.subarray(0, 6), 6);
    model.setWeights([tf.tensor2d(values, [8, 6]), ...model.getWeights().slice(1)]);
    const tying = first({ cluster: 'equalRows', maxClusterRatio: 0.5 });
    await fit(model, x, y, [tying]);
    expect(tying.report![0]).toMatchObject({ clusters: 7, tied: true });
    const after = await kernelOf(model);
    expect(Array.from(after.subarray(0, 6))).toEqual(Array.from(after.subarray(6, 12)));
  });

  it('leaves a constraint aside, as the host’s training does', async () => {
    const model = sequential({ layers: [layers.dense({ units: 6, inputShape: [8], useBias: false, name: 'first', kernelConstraint: constraints.maxNorm({ maxValue: 0.5, axis: 0 }) })] });
    (model.layers[0] as unknown as { kernel: { val: tf.Variable } }).kernel.val.assign(tf.tensor2d(noisyRows(), [8, 6]));
    model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    const seen: number[][] = [];
    const [x, y] = [tf.zeros([8, 8]), tf.zeros([8, 6])];
    for (let i = 0; i < 3; i++) {
      await fit(model, x, y, [first({ every: 'epoch', aggregation: 'sum', ...(i > 0 && { cluster: 'equalRows' as const }) })], 1);
      seen.push(Array.from(await kernelOf(model)));
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });
});

describe('the clusters of rows', () => {
  it('are found by equality, with rows of zeros apart', () => {
    const matrix = Float32Array.of(1, 2, 0, -0, 1, 2, 3, 0);
    expect(liveRows(matrix, 4)).toEqual([0, 2, 3]);
    expect(Array.from(equalRows(matrix, 4))).toEqual([0, -1, 0, 1]);
  });

  it('start at the mean of their rows and move by the average or the sum of the steps', () => {
    const shared = clustersOf('test', Float32Array.of(1, 2, 0, 0, 3, 4, 5, 6), 4, [0, 2, 3], [7, 7, 3]);
    expect(Array.from(shared.labels)).toEqual([0, -1, 0, 1]);
    expect(Array.from(shared.values)).toEqual([2, 3, 5, 6]);
    const stepped = Float32Array.of(3, 3, 9, 9, 2, 4, 5, 7);
    expect(Array.from(stepRows(shared, stepped, 'average'))).toEqual([2.5, 3.5, 5, 7]);
    expect(Array.from(stepRows(shared, stepped, 'sum'))).toEqual([3, 4, 5, 7]);
    expect(Array.from(spreadRows(shared, 2))).toEqual([2, 3, 0, 0, 2, 3, 5, 6]);
  });

  it('need an integer for each row', () => {
    expect(() => clustersOf('rowTying: cluster', new Float32Array(4), 2, [0, 1], [1])).toThrow('rowTying: cluster must return one label for each of 2 rows, got 1.');
    expect(() => clustersOf('rowTying: cluster', new Float32Array(4), 2, [0, 1], [1, 0.5])).toThrow('rowTying: cluster must return integers, got 0.5 for row 1.');
  });
});

describe('rowTying', () => {
  callbackContract({
    create: (model) => {
      const layer = model.layers.find((each) => each.getWeights().length > 0)!;
      // Both rows of the first kernel alike.
      const [kernel, bias] = layer.getWeights();
      const tied = tf.tidy(() => tf.tile(tf.slice(kernel, [0, 0], [1, 4]), [2, 1]));
      layer.setWeights([tied, bias]);
      tied.dispose();
      return rowTying({ layers: [layer.name], cluster: 'equalRows' });
    },
    model: smallNetwork,
    historyKeys: ['tiedRows'],
    secondFit: 'works',
  });

  it.each<[string, () => tf.Optimizer]>([
    ['sgd', () => tf.train.sgd(0.05)],
    ['momentum', () => tf.train.momentum(0.05, 0.9)],
    ['adam', () => tf.train.adam(0.01)],
    ['rmsprop', () => tf.train.rmsprop(0.01)],
  ])('keeps tied rows equal bit for bit through %s, zeros zero, while values move and the loss falls', async (_, optimizer) => {
    const { model, x, y } = setUp(optimizer());
    const before = await kernelOf(model);
    const tying = first();
    const { history } = await fit(model, x, y, [tying], 8);
    const after = await kernelOf(model);
    expect(Array.from(equalRows(after, 8))).toEqual(TRUTH);
    expect(tying.report).toMatchObject([{ layer: 'first', rows: 8, dead: 1, clusters: 3, tied: true, converged: true, damping: 0.5, labels: TRUTH }]);
    expect(relativeError(after, before)).toBeGreaterThan(0.05);
    expect(history['loss'].at(-1)).toBeLessThan(history['loss'][0] as number);
    expect(history['tiedRows']).toEqual(Array(8).fill(3));
  });

  it('is gradient descent on the shared rows, with averaged or summed gradients', async () => {
    for (const aggregation of ['average', 'sum'] as const) {
      const { model, x, y } = setUp(tf.train.sgd(0.05));
      // Ties without a step.
      await model.fit(tf.zeros([8, 8]), model.predict(tf.zeros([8, 8])) as tf.Tensor, { epochs: 1, verbose: 0, callbacks: [first()] });
      const [kernel, bias, out, outBias] = model.getWeights().map((w) => tf.clone(w));
      const shared = tf.tensor2d([0, 1, 5].flatMap((r) => Array.from((kernel.dataSync() as Float32Array).slice(6 * r, 6 * r + 6))), [3, 6]);
      const membership = tf.tensor2d(TRUTH.map((g) => [0, 1, 2].map((k) => (g === k ? 1 : 0))));
      const gradient = tf.grad((c) => {
        const hidden = tf.tanh(tf.add(tf.matMul(x as tf.Tensor2D, tf.matMul(membership, c as tf.Tensor2D)), bias));
        return tf.mean(tf.square(tf.sub(tf.add(tf.matMul(hidden as tf.Tensor2D, out as tf.Tensor2D), outBias), y)));
      })(shared);
      const counts = tf.tensor2d([[3], [2], [2]]);
      const expected = tf.matMul(membership, tf.sub(shared, tf.mul(0.05, aggregation === 'sum' ? gradient : tf.div(gradient, counts))) as tf.Tensor2D);
      await model.fit(x, y, { epochs: 1, batchSize: 24, verbose: 0, callbacks: [first({ aggregation, cluster: 'equalRows' })] });
      expect(relativeError(await kernelOf(model), await expected.data())).toBeLessThan(1e-5);
    }
  });

  it('ties input channels of a convolution', async () => {
    missingKernelsForThisTest();
    const model = sequential({ layers: [layers.conv2d({ filters: 3, kernelSize: 2, inputShape: [4, 4, 4], name: 'conv' }), layers.flatten(), layers.dense({ units: 1 })] });
    model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    await fit(model, seeded([16, 4, 4, 4], 1), seeded([16, 1], 2), [rowTying({ layers: ['conv'], cluster: () => [0, 1, 0, 1] })]);
    const kernel = await kernelOf(model);
    const channel = (c: number) => Array.from(kernel).filter((_, i) => Math.floor(i / 3) % 4 === c);
    expect(channel(2)).toEqual(channel(0));
    expect(channel(3)).toEqual(channel(1));
    expect(channel(1)).not.toEqual(channel(0));
  });

  it('ties where a growl penalty is, after its grouping, on a loaded model too', async () => {
    const { model, x, y } = setUp();
    attachRegularizer(model, growl({ lambda1: 1e-4, rows: 'outputs' }), { layers: ['first'] });
    const loaded = await saveAndLoad(model);
    loaded.compile({ optimizer: tf.train.sgd(0.05), loss: 'meanSquaredError' });
    await fit(loaded, x, y, [rowTying({ cluster: (_, rows) => rows.map((__, i) => i % 2) })]);
    const kernel = await kernelOf(loaded);
    for (let i = 0; i < 8; i++) for (let u = 2; u < 6; u++) expect(kernel[6 * i + u]).toBe(kernel[6 * i + u - 2]);
  });

  it('leaves growl penalties out of the loss while it is at work, and only then', async () => {
    const { model, x, y } = setUp(tf.train.sgd(0));
    const lossOf = async (callbacks: RowTying[]) => (await fit(model, x, y, callbacks, 1)).history['loss'][0] as number;
    const ofData = await lossOf([]);
    const penalty = growl({ lambda1: 2 });
    attachRegularizer(model, penalty, { layers: ['first'] });
    await fit(model, x, y, [rowTying()], 1);
    const tied = await lossOf([rowTying({ cluster: 'equalRows' })]);
    const [norms] = await tf.sum(tf.norm(model.getWeights()[0], 2, 1)).data();
    expect(tied).toBeLessThan(ofData + 0.1);
    expect(await lossOf([])).toBeCloseTo(tied + 2 * norms, 4);
  });

  it('keeps the ties of a model that was saved and loaded, and refuses to tie it a second time', async () => {
    const { model, x, y } = setUp();
    await fit(model, x, y, [first()]);
    const loaded = await saveAndLoad(model);
    loaded.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    await expect(fit(loaded, x, y, [first()])).rejects.toThrow("rowTying: rows of layer 'first' are tied already (3 distinct of 7). Use cluster: 'equalRows' to train on with these ties, or leave the layer out.");
    await fit(loaded, x, y, [first({ cluster: 'equalRows' })]);
    expect(Array.from(equalRows(await kernelOf(loaded), 8))).toEqual(TRUTH);
  });

  it('makes rows equal once an epoch where asked', async () => {
    const { model, x, y } = setUp();
    await fit(model, x, y, [first({ every: 'epoch' })]);
    expect(Array.from(equalRows(await kernelOf(model), 8))).toEqual(TRUTH);
  });

  it('leaves a kernel untied that has hardly fewer clusters than rows, and says so', async () => {
    const { model, x, y } = setUp();
    const tying = first({ cluster: (_, rows) => rows.map((__, i) => i) });
    await fit(model, x, y, [tying]);
    expect(tying.report).toMatchObject([{ tied: false, clusters: 7, dead: 1 }]);
    expect(Array.from(equalRows(await kernelOf(model), 8))).toEqual([0, 1, 2, -1, 3, 4, 5, 6]);
  });

  it('reports clustering that does not converge, and goes on the same way each time', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const run = async () => {
      const normal = seededNormal(12);
      const model = sequential({ layers: [layers.dense({ units: 2, inputShape: [40], name: 'unconverged' })] });
      model.setWeights([tf.tensor2d(Array.from({ length: 80 }, normal), [40, 2]), tf.zeros([2])]);
      model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
      const tying = rowTying({ layers: ['unconverged'], maxIterations: 3 });
      await model.fit(seeded([8, 40], 1), seeded([8, 2], 2), { epochs: 1, verbose: 0, callbacks: [tying] });
      return tying.report![0];
    };
    const report = await run();
    expect(await run()).toEqual(report);
    expect(report.converged).toBe(false);
    expect(report.damping).toBe(0.9);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0][0]).toMatch(/^rowTying: affinity propagation did not converge for layer 'unconverged' with damping 0.5; the clusters of its last iteration are used\./);
  });

  it('puts the shared rows back where a step breaks them', async () => {
    const { model, x } = setUp();
    await expect(fit(model, x, tf.fill([24, 2], NaN), [first()])).rejects.toThrow("rowTying: a shared row of layer 'first' is not finite after a step. The shared rows were put back.");
    expect(Array.from(equalRows(await kernelOf(model), 8))).toEqual(TRUTH);
  });

  it('says what is missing or wrong', async () => {
    const { model, x, y } = setUp();
    const rejected = (...callbacks: RowTying[]) => expect(fit(model, x, y, callbacks)).rejects;
    await rejected(rowTying()).toThrow("rowTying: no layer of the model has a growl penalty. Name the layers to tie: rowTying({layers: ['…']}).");
    await rejected(rowTying({ layers: ['middle'] })).toThrow(/^rowTying: the model has no layer 'middle'. Layers: .*first, last\.$/);
    await rejected(rowTying({ layers: ['last'], cluster: 'equalRows' })).toThrow("rowTying: no layer has rows that are equal (last). Leave out cluster: 'equalRows' to tie similar ones.");
    await rejected(first(), first({ cluster: 'equalRows' })).toThrow("rowTying: two callbacks tie the rows of layer 'first'. Give each its own layers.");
    // The other of the two was not told that its fit has failed: what it holds goes with the next step.
    await fit(model, x, y, []);
    const plain = sequential({ layers: [layers.dense({ units: 2, inputShape: [8], name: 'dense' }), layers.activation({ activation: 'tanh', name: 'act' })] });
    plain.compile({ optimizer: 'sgd', loss: 'meanSquaredError' });
    await expect(fit(plain, x, y, [rowTying({ layers: ['act'] })])).rejects.toThrow("rowTying: layer 'act' has no kernel with rows to tie.");
    const bad = setUp();
    const weights = noisyRows();
    weights[13] = NaN;
    bad.model.setWeights([tf.tensor2d(weights, [8, 6]), ...bad.model.getWeights().slice(1)]);
    await expect(fit(bad.model, x, y, [first()])).rejects.toThrow("rowTying: row 2 of layer 'first' is not finite.");
    bad.model.setWeights([tf.zeros([8, 6]), ...bad.model.getWeights().slice(1)]);
    await expect(fit(bad.model, x, y, [first()])).rejects.toThrow("rowTying: every row of layer 'first' is zero; there is nothing to tie.");
    bad.model.getLayer('first').trainable = false;
    await expect(fit(bad.model, x, y, [first()])).rejects.toThrow("rowTying: layer 'first' is frozen.");
    expect(() => rowTying({ layers: ['first', 'first'] })).toThrow("rowTying: layers names 'first' twice. A layer can be tied once.");
    expect(() => rowTying({ preference: 2 })).toThrow('rowTying: preference must be a finite number ≤ 1, got 2.');
    expect(() => rowTying({ damping: 0.3 })).toThrow('rowTying: damping must be a number from 0.5 to less than 1, got 0.3.');
    expect(() => rowTying({ damping: 0.6, cluster: 'equalRows' })).toThrow('rowTying: damping has no effect without affinity propagation. Leave it out.');
    expect(() => rowTying({ clusters: 3 } as RowTyingArgs)).toThrow("rowTying: unknown option 'clusters'. Did you mean 'cluster'?");
  });
});
