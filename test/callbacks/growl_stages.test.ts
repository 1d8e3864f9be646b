/** Both stages of GrOWL after each other, on the kinds of models there are: loaded, functional with a shared layer, with a tied table, resumed. */
import * as tf from '@tensorflow/tfjs-core';
import { Callback, initializers, input, layers, model as functionalModel, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { growlProximal } from '../../src/callbacks/growl_proximal.js';
import { equalRows } from '../../src/callbacks/row_clusters.js';
import { rowTying } from '../../src/callbacks/row_tying.js';
import { tiedEmbedding } from '../../src/layers/tied_embedding.js';
import { tiedProjection } from '../../src/layers/tied_projection.js';
import { attachRegularizer, detachRegularizer } from '../../src/regularizers/attach.js';
import { growl } from '../../src/regularizers/growl.js';
import { saveAndLoad, seeded, seededIntegers } from '../contract/fixtures.js';
import { relativeError } from '../helpers.js';
import { missingKernelsForThisTest } from '../stock_kernels.js';

const ROWS = 8;
const glorot = (seed: number) => initializers.glorotUniform({ seed });
const valuesOf = async (model: LayersModel, layer: string) => (await model.getLayer(layer).getWeights()[0].data()) as Float32Array;
const fit = (model: LayersModel, x: tf.Tensor | tf.Tensor[], y: tf.Tensor, callbacks: Callback[], epochs: number) => model.fit(x, y, { epochs, batchSize: 16, shuffle: false, verbose: 0, callbacks });
const alternately = (_: Float32Array, rows: Float32Array[]) => rows.map((__, i) => i % 2);

/** Two inputs through one layer → their sum → two outputs. */
function siamese(): LayersModel {
  const [a, b] = [input({ shape: [ROWS] }), input({ shape: [ROWS] })];
  const shared = layers.dense({ units: 4, activation: 'tanh', name: 'shared', kernelInitializer: glorot(1) });
  const sum = layers.add().apply([a, b].map((x) => shared.apply(x) as SymbolicTensor)) as SymbolicTensor;
  return functionalModel({ inputs: [a, b], outputs: layers.dense({ units: 2, name: 'last', kernelInitializer: glorot(2) }).apply(sum) as SymbolicTensor });
}

describe('both stages of GrOWL', () => {
  it('work on a loaded functional model with a layer that is called twice, beside callbacks of others', async () => {
    const model = await saveAndLoad(siamese());
    const [a, b, y] = [seeded([16, ROWS], 3), seeded([16, ROWS], 4), seeded([16, 2], 5)];
    const penalty = growl({ lambda1: 1.5, lambda2: 0.2 });
    attachRegularizer(model, penalty, { layers: ['shared'] });
    model.compile({ optimizer: tf.train.momentum(0.05, 0.9), loss: 'meanSquaredError' });
    let epochs = 0;
    class Count extends Callback {
      override async onEpochEnd() {
        epochs++;
      }
    }
    await fit(model, [a, b], y, [new Count(), growlProximal({ minLiveRows: 1 }), new Count()], 6);
    expect(epochs).toBe(12);
    const dead = Array.from(equalRows(await valuesOf(model, 'shared'), ROWS), (label) => label < 0);
    const live = dead.filter((is) => !is).length;
    expect(live).toBeGreaterThan(2);
    expect(live).toBeLessThan(ROWS);

    detachRegularizer(model, penalty);
    model.compile({ optimizer: tf.train.momentum(0.05, 0.9), loss: 'meanSquaredError' });
    const tying = rowTying({ layers: ['shared'], cluster: alternately });
    const { history } = await fit(model, [a, b], y, [new Count(), tying], 6);
    const after = equalRows(await valuesOf(model, 'shared'), ROWS);
    expect(Array.from(after, (label) => label < 0)).toEqual(dead);
    expect(new Set(after.filter((label) => label >= 0)).size).toBe(2);
    expect(tying.report).toMatchObject([{ layer: 'shared', dead: ROWS - live, clusters: 2 }]);
    expect(history['loss'].at(-1)).toBeLessThan(history['loss'][0] as number);
  });

  it('are two fits: in one, in either order, it is an error before a weight has moved; alone each works afterwards', async () => {
    const model = sequential({ layers: [layers.dense({ units: 5, inputShape: [ROWS], name: 'first', kernelInitializer: glorot(6), kernelRegularizer: growl({ lambda1: 0.01 }) })] });
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const [x, y] = [seeded([16, ROWS], 8), seeded([16, 5], 9)];
    const before = await valuesOf(model, 'first');
    const [shrink, tie] = [growlProximal(), rowTying({ cluster: alternately })];
    const both = /growlProximal and rowTying are in one fit.* Use two fits, one after the other: the first with callbacks: \[growlProximal\(\)\], the second with callbacks: \[rowTying\(\)\]\./;
    await expect(fit(model, x, y, [shrink, tie], 1)).rejects.toThrow(both);
    await expect(fit(model, x, y, [tie, shrink], 1)).rejects.toThrow(both);
    for (const second of [growlProximal(), shrink]) await expect(fit(model, x, y, [shrink, second], 1)).rejects.toThrow('growlProximal: this fit has growlProximal 2 times, and each step would be taken as often. Leave one in');
    expect(Array.from(await valuesOf(model, 'first'))).toEqual(Array.from(before));
    // Nothing of those fits is left, nor of ones that succeeded.
    await fit(model, x, y, [shrink], 1);
    await fit(model, x, y, [shrink], 1);
    await fit(model, x, y, [tie], 1);
    expect(new Set(equalRows(await valuesOf(model, 'first'), ROWS)).size).toBe(2);
    await fit(model, x, y, [tie], 1);
  });

  it('resume after a save and a load as if there had been no stop', async () => {
    const made = () => {
      const model = sequential({
        layers: [layers.dense({ units: 5, activation: 'tanh', inputShape: [ROWS], name: 'first', kernelInitializer: glorot(6), kernelRegularizer: growl({ lambda1: 0.4, lambda2: 0.1 }) }), layers.dense({ units: 2, kernelInitializer: glorot(7) })],
      });
      const [kernel, ...others] = model.getWeights();
      // The last two rows are short, and end.
      model.setWeights([tf.mul(kernel, tf.tensor2d([1, 1, 1, 1, 1, 1, 0.2, 0.2], [ROWS, 1])), ...others]);
      return model;
    };
    const compiled = (model: LayersModel) => (model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' }), model);
    const [x, y] = [seeded([16, ROWS], 8), seeded([16, 2], 9)];
    const [sparsify, tie] = [() => growlProximal({ minLiveRows: 1, weightDecay: 0.01 }), () => rowTying({ cluster: alternately })];
    const straight = compiled(made());
    await fit(straight, x, y, [sparsify()], 8);
    await fit(straight, x, y, [tie()], 4);

    let stopped = compiled(made());
    await fit(stopped, x, y, [sparsify()], 5);
    stopped = compiled(await saveAndLoad(stopped));
    await fit(stopped, x, y, [sparsify()], 3);
    await fit(stopped, x, y, [tie()], 1);
    stopped = compiled(await saveAndLoad(stopped));
    await fit(stopped, x, y, [rowTying({ cluster: 'equalRows' })], 3);
    const [whole, parts] = await Promise.all([straight, stopped].map((model) => valuesOf(model, 'first')));
    expect(Array.from(equalRows(parts, ROWS))).toEqual(Array.from(equalRows(whole, ROWS)));
    expect(Array.from(equalRows(whole, ROWS))).toContain(-1);
    expect(relativeError(parts, whole)).toBeLessThan(1e-4);
  });

  it('shrink and tie the words of a table that is embedding and projection', async () => {
    missingKernelsForThisTest();
    const [words, time, width] = [6, 3, 4];
    const model = sequential({
      layers: [tiedEmbedding({ inputDim: words, outputDim: width, inputShape: [time], name: 'words' }), layers.dense({ units: width, activation: 'tanh', name: 'body', kernelInitializer: glorot(10) }), tiedProjection({ name: 'scores', useBias: false })],
    });
    const table = model.getLayer('words');
    // Two short rows, which the penalty ends.
    table.setWeights([tf.mul(seeded([words, width], 11), tf.tensor2d([1, 1, 1, 1, 0.01, 0.01], [words, 1]))]);
    const penalty = growl({ lambda1: 1, lambda2: 0.1 });
    attachRegularizer(model, penalty, { layers: ['words'] });
    model.compile({ optimizer: tf.train.sgd(0.1), loss: 'meanSquaredError' });
    // Words 4 and 5 do not occur, and their scores are to be 0.
    const x = seededIntegers([8, time], 12, 4);
    const y = tf.mul(seeded([8, time, words], 13), tf.tensor1d([1, 1, 1, 1, 0, 0]));
    await fit(model, x, y, [growlProximal({ minLiveRows: 1 })], 2);
    expect(Array.from(equalRows(await valuesOf(model, 'words'), words), (label) => label < 0)).toEqual([false, false, false, false, true, true]);
    await fit(model, x, y, [rowTying({ cluster: alternately })], 2);
    const tied = await valuesOf(model, 'words');
    expect(Array.from(equalRows(tied, words))).toEqual([0, 1, 0, 1, -1, -1]);
    const scores = (await (model.predict(x) as tf.Tensor).data()) as Float32Array;
    for (let i = 0; i < scores.length; i += words) {
      expect(scores[i]).toBe(scores[i + 2]);
      expect(scores[i + 4]).toBe(0);
    }
  });
});
