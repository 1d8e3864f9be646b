import * as tf from '@tensorflow/tfjs-core';
import { Callback, callbacks, constraints, CustomCallback, initializers, layers, models, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KLMergeQuantization, klMergeQuantization, type KLMergeQuantizationArgs } from '../../src/callbacks/kl_merge_quantization.js';
import { attachRegularizer, detachRegularizer, priorsOf } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import type { GmmPriorArgs } from '../../src/regularizers/gmm_prior_options.js';
import { callbackContract, smallNetwork } from '../contract/callback_contract.js';
import { seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

/** Enough for the mixture to settle; what a page draws its GPU with is a processor. */
const EPOCHS = onGpu ? 12 : 60;

const FAST: GmmPriorArgs = { trainingExamples: 64, components: 5, tau: 0.02, zeroMixing: 0.6, initialStd: 0.2, learningRates: { means: 0.02, logVariances: 0.1, mixingLogits: 0.05 } };

const valuesOf = async (model: LayersModel, index: number) => Array.from(await model.getWeights()[index].data());
const distinct = (values: number[]) => [...new Set(values)].sort((a, b) => a - b);

/** A regression that two dense layers can learn; weights are pulled hard, so that a few epochs converge. */
function setUp(prior = gmmPrior(FAST)) {
  const model = sequential({
    layers: [
      layers.dense({ units: 16, inputShape: [6], activation: 'tanh', kernelInitializer: initializers.glorotUniform({ seed: 1 }), name: 'first' }),
      layers.dense({ units: 3, kernelInitializer: initializers.glorotUniform({ seed: 2 }), name: 'last' }),
    ],
  });
  attachRegularizer(model, prior);
  model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
  const x = seeded([64, 6], 3);
  const y = tf.tidy(() => tf.tanh(tf.matMul(x as tf.Tensor2D, seeded([6, 3], 4) as tf.Tensor2D)));
  return { model, prior, x, y };
}
const fit = (model: LayersModel, x: tf.Tensor, y: tf.Tensor, given: Callback[], epochs = EPOCHS) => model.fit(x, y, { epochs, batchSize: 16, verbose: 0, callbacks: given });
const quiet = (args: KLMergeQuantizationArgs = {}) => klMergeQuantization({ verbose: false, ...args });

let warn: ReturnType<typeof vi.spyOn>;
beforeEach(() => {
  warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
});
afterEach(() => vi.restoreAllMocks());

describe('klMergeQuantization', () => {
  callbackContract({
    create: (model) => {
      if (priorsOf(model).length === 0) attachRegularizer(model, gmmPrior({ trainingExamples: 24, components: 3 }));
      return quiet({ quantizeAtEnd: false });
    },
    model: smallNetwork,
    historyKeys: ['gmmComponents', 'gmmEnergy', 'gmmTau', 'gmmRatio'],
  });

  it('leaves every governed weight on one of few values, biases alone, and says what it did', async () => {
    const { model, prior, x, y } = setUp();
    const callback = quiet({ evaluationData: [x, y] });
    const history = await fit(model, x, y, [callback]);
    const kernels = [...(await valuesOf(model, 0)), ...(await valuesOf(model, 2))];
    const report = callback.report!;
    expect(distinct(kernels)).toEqual(report.codebooks[0].values);
    expect(report.components).toBe(distinct(kernels).length);
    expect(report.components).toBeLessThanOrEqual(5);
    expect(report.codebooks[0].values).toContain(0);
    expect(report.layers.map(({ layer, weight, weights }) => [layer, weight, weights])).toEqual([['first', 'first/kernel', 96], ['last', 'last/kernel', 48]]); // prettier-ignore
    expect(report.layers.reduce((sum, { nonZero }) => sum + nonZero, 0)).toBe(kernels.filter((w) => w !== 0).length);
    expect(distinct(await valuesOf(model, 1)).length).toBeGreaterThan(8);
    expect(report.before).toHaveLength(1);
    expect(report.after![0]).toBeCloseTo((await (model.evaluate(x, y) as tf.Scalar).data())[0], 6);
    expect(history.history['gmmComponents'].every((n) => Number.isInteger(n) && (n as number) <= 5)).toBe(true);
    expect(prior.steps).toBe(4 * EPOCHS);
    tf.dispose([x, y]);
  });

  it('is the same training as without it: the mixture learns from the weights, the weights from the loss', async () => {
    // With every mixture rate at 0 and τ tiny, weights follow the path of a plain fit.
    const plain = setUp();
    detachRegularizer(plain.model);
    await plain.model.fit(plain.x, plain.y, { epochs: 2, batchSize: 16, shuffle: false, verbose: 0 });
    const other = setUp(gmmPrior({ ...FAST, tau: 1e-12 }));
    await other.model.fit(other.x, other.y, { epochs: 2, batchSize: 16, shuffle: false, verbose: 0, callbacks: [quiet({ quantizeAtEnd: false })] });
    const [expected, actual] = await Promise.all([valuesOf(plain.model, 0), valuesOf(other.model, 0)]);
    expected.forEach((w, i) => expect(actual[i]).toBeCloseTo(w, 5));
    tf.dispose([plain.x, plain.y, other.x, other.y]);
  });

  it('starts the means over the range of the weights of all layers', async () => {
    const { model, prior, x, y } = setUp(gmmPrior({ ...FAST, learningRates: { means: 0, logVariances: 0, mixingLogits: 0 } }));
    const weights = [...(await valuesOf(model, 0)), ...(await valuesOf(model, 2))];
    await fit(model, x, y, [quiet({ quantizeAtEnd: false })], 1);
    const { means } = prior.mixture!;
    expect(means[1]).toBeCloseTo(Math.min(...weights), 6);
    expect(means[4]).toBeCloseTo(Math.max(...weights), 6);
    tf.dispose([x, y]);
  });

  it('skips layers, and takes biases in or leaves governed ones out, as asked', async () => {
    const skipping = setUp();
    await fit(skipping.model, skipping.x, skipping.y, [quiet({ skip: ['last'] })], 3);
    expect(distinct(await valuesOf(skipping.model, 2)).length).toBe(48);
    expect(distinct(await valuesOf(skipping.model, 0)).length).toBeLessThanOrEqual(5);

    const joining = setUp();
    const callback = quiet({ biases: true });
    await fit(joining.model, joining.x, joining.y, [callback], 3);
    expect(distinct((await Promise.all([0, 1, 2, 3].map((i) => valuesOf(joining.model, i)))).flat())).toEqual(callback.report!.codebooks[0].values);

    for (const biases of [undefined, false]) {
      const { model, prior, x, y } = setUp();
      detachRegularizer(model);
      attachRegularizer(model, prior, { biases: true });
      await fit(model, x, y, [quiet({ biases })], 3);
      if (biases === false) expect(distinct(await valuesOf(model, 1)).length).toBeGreaterThan(5);
      else expect(distinct(await valuesOf(model, 1)).length).toBeLessThanOrEqual(5);
      tf.dispose([x, y]);
    }
    tf.dispose([skipping.x, skipping.y, joining.x, joining.y]);
  });

  it('works by hand, can be taken back, and keeps one mixture a layer apart from another', async () => {
    const { model, x, y } = setUp();
    detachRegularizer(model);
    for (const name of ['first', 'last']) attachRegularizer(model, gmmPrior({ ...FAST, name: `of_${name}` }), { layers: [name] });
    const callback = quiet({ quantizeAtEnd: false });
    await fit(model, x, y, [callback], 5);
    const before = await valuesOf(model, 0);
    const report = await callback.quantize();
    expect(report.codebooks.map(({ prior }) => prior)).toEqual(['of_first', 'of_last']);
    expect(distinct(await valuesOf(model, 0))).toEqual(report.codebooks[0].values);
    callback.restore();
    expect(await valuesOf(model, 0)).toEqual(before);
    expect(() => callback.restore()).toThrow('klMergeQuantization: nothing to restore');
    await klMergeQuantization({ verbose: false }).quantize(model);
    expect(distinct(await valuesOf(model, 0))).toEqual(report.codebooks[0].values);
    tf.dispose([x, y]);
  });

  it('stays quantised through save and load', async () => {
    const { model, x, y } = setUp();
    await fit(model, x, y, [quiet()], 5);
    const loaded = await models.modelFromJSON(model.toJSON(null, false) as Parameters<typeof models.modelFromJSON>[0]);
    loaded.setWeights(model.getWeights());
    expect(await valuesOf(loaded, 0)).toEqual(await valuesOf(model, 0));
    await expect(quiet().quantize(loaded)).rejects.toThrow('are quantised already');
    tf.dispose([x, y]);
  });

  it('warns when the mixture has not converged, and puts the weights back when asked', async () => {
    for (const whenUnconverged of ['warn', 'restore'] as const) {
      warn.mockClear();
      const { model, x, y } = setUp(gmmPrior({ ...FAST, zeroMixing: 0.999, learningRates: { means: 0, logVariances: 0, mixingLogits: 0 } }));
      const callback = quiet({ whenUnconverged });
      await fit(model, x, y, [callback], 1);
      expect(callback.report).toMatchObject({ converged: false, restored: whenUnconverged === 'restore' });
      expect(callback.report!.relativeDistance).toBeGreaterThan(0.25);
      expect(warn.mock.calls.flat().join()).toMatch(/quantising moved the weights by \d+\.\d % of their norm \(more than 25 %\): the mixture has not converged/);
      expect(distinct(await valuesOf(model, 0)).length > 5).toBe(whenUnconverged === 'restore');
      tf.dispose([x, y]);
    }
  });

  it('warns of a layer that it set to 0 as a whole, however little that is of all weights', async () => {
    const { model, x, y } = setUp(gmmPrior({ ...FAST, tau: 1e-9, zeroMixing: 0.9, initialStd: 0.05, learningRates: { means: 0, logVariances: 0, mixingLogits: 0 } }));
    model.compile({ optimizer: tf.train.sgd(1e-9), loss: 'meanSquaredError' });
    model.layers[1].setWeights([tf.mul(seeded([16, 3], 5), 0.02), tf.zeros([3])]);
    const callback = quiet({ maxDistance: 0.9 });
    await fit(model, x, y, [callback], 1);
    expect(callback.report!.converged).toBe(true);
    expect(warn.mock.calls.flat()).toEqual([expect.stringMatching(/^klMergeQuantization: quantising set all of last\/kernel to 0\. Unless the model works without them/)]);
    tf.dispose([x, y]);
  });

  it('prints merges with their divergence unless told to be quiet', async () => {
    const log = vi.spyOn(console, 'log').mockImplementation(() => {});
    const { model, x, y } = setUp();
    const callback = klMergeQuantization({ threshold: 1e9, mergeZero: false });
    await fit(model, x, y, [callback], 2);
    expect(callback.report!.merges).toHaveLength(3);
    expect(log.mock.calls[0][0]).toMatch(/^klMergeQuantization: merged components \{\d\} and \{\d\} at divergence [\d.e+-]+$/);
    tf.dispose([x, y]);
  });

  it('can be used beside plain objects that the host wraps, if the model reaches it, else says why not', async () => {
    const { model, x, y } = setUp();
    const plain = new CustomCallback({ onEpochEnd: async () => {} }) as unknown as Callback;
    await fit(model, x, y, [plain, quiet({ quantizeAtEnd: false })], 1);
    await expect(fit(model, x, y, [{ onEpochEnd: async () => {} } as unknown as Callback, quiet()], 1)).rejects.toThrow(
      'klMergeQuantization: the host did not hand over the model. Pass callbacks as instances only',
    );
    tf.dispose([x, y]);
  });

  it('stops at weights that are not finite, names the layer, and puts the last good weights back', async () => {
    const { model, x, y } = setUp();
    const before = await Promise.all([0, 1, 2, 3].map((i) => valuesOf(model, i)));
    const bad = tf.mul(y, NaN);
    const tensors = tf.memory().numTensors;
    await expect(fit(model, x, bad, [quiet()], 2)).rejects.toThrow(
      /^klMergeQuantization: weights are not finite (after batch 1|at the end) of epoch 0: first\/kernel, first\/bias, last\/kernel, last\/bias\. The last good weights were put back\. Lower the learning rate/,
    );
    for (const i of [0, 1, 2, 3]) expect(await valuesOf(model, i)).toEqual(before[i]);
    expect(tf.memory().numTensors - tensors).toBeLessThanOrEqual(8 + 2 + 1); // Adam holds 8 moments and 2 powers, the host a sum of losses.
    tf.dispose([x, y, bad]);
  });

  it('goes back to the batch before the one that broke the weights', async () => {
    const { model, x, y } = setUp();
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const seen: number[][] = [];
    const breaker = new (class extends Callback {
      override async onBatchEnd(batch: number) {
        if (batch < 2) seen.push(await valuesOf(model, 0));
        if (batch === 2) model.layers[1].setWeights([tf.fill([16, 3], Infinity), tf.zeros([3])]);
      }
    })();
    await expect(fit(model, x, y, [breaker, quiet()], 1)).rejects.toThrow('weights are not finite after batch 3 of epoch 0: ');
    // Batch 2 was computed with the weights that batch 1 left; what it left itself was broken before anything was computed with it.
    expect(await valuesOf(model, 0)).toEqual(seen[1]);
    expect((await valuesOf(model, 2)).every(Number.isFinite)).toBe(true);
    tf.dispose([x, y]);
  });

  it('puts good weights back also where no prior sees them break', async () => {
    const { model, prior, x, y } = setUp();
    detachRegularizer(model);
    attachRegularizer(model, prior, { layers: ['first'] });
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    let start: number[] = [];
    const breaker = new (class extends Callback {
      override async onEpochBegin() {
        start = await valuesOf(model, 2);
      }
      override async onBatchEnd(batch: number) {
        if (batch === 1 && ++this.epochs === 2) model.layers[1].setWeights([tf.fill([16, 3], Infinity), tf.zeros([3])]);
      }
      epochs = 0;
    })();
    await expect(fit(model, x, y, [breaker, quiet()], 2)).rejects.toThrow(/of epoch 1: .*The last good weights were put back\..*compile the model with a new optimizer/);
    expect(await valuesOf(model, 2)).toEqual(start);
    expect((await Promise.all([0, 1, 3].map((i) => valuesOf(model, i)))).flat().every(Number.isFinite)).toBe(true);
    tf.dispose([x, y]);
  });

  it('leaves the values shared where a constraint would move them apart', async () => {
    const model = sequential({ layers: [layers.dense({ units: 20, inputShape: [6], kernelConstraint: constraints.unitNorm({ axis: 0 }) })] });
    attachRegularizer(model, gmmPrior(FAST));
    model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });
    const [x, y] = [seeded([16, 6], 1), seeded([16, 20], 2)];
    const callback = quiet();
    await fit(model, x, y, [callback], 2);
    expect(distinct(await valuesOf(model, 0))).toEqual(callback.report!.codebooks[0].values);
    tf.dispose([x, y]);
  });

  it('refuses to quantise weights that are not finite, that nothing is left of, or that two priors claim', async () => {
    const { model, prior, x, y } = setUp();
    const callback = quiet({ quantizeAtEnd: false });
    await fit(model, x, y, [callback], 1);
    await expect(fit(model, x, y, [quiet({ skip: ['first', 'last'] })], 1)).rejects.toThrow('klMergeQuantization: skip leaves nothing to quantise: it names every layer with a prior.');
    const second = gmmPrior(FAST);
    second.initialize([-1, 1]);
    attachRegularizer(model, second, { layers: ['last'] });
    await expect(fit(model, x, y, [quiet()], 1)).rejects.toThrow("klMergeQuantization: two priors govern the kernel of layer 'last'. Say by which to quantise");
    await fit(model, x, y, [quiet({ prior, quantizeAtEnd: false })], 1);
    model.layers[0].setWeights([tf.fill([6, 16], NaN), tf.zeros([16])]);
    await expect(quiet({ prior }).quantize(model)).rejects.toThrow("klMergeQuantization: the weights of layer 'first' (first/kernel) are not finite.");
    tf.dispose([x, y]);
  });

  it('leaves no tensor behind', async () => {
    const { model, x, y } = setUp();
    await fit(model, x, y, [quiet({ quantizeAtEnd: false })], 1);
    const before = tf.memory().numTensors;
    for (let k = 0; k < 3; k++) await fit(model, x, y, [quiet({ quantizeAtEnd: false })], 2);
    await fit(model, x, y, [quiet()], 2);
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([x, y]);
  });

  it('composes with EarlyStopping that watches its logs', async () => {
    const { model, x, y } = setUp();
    const callback = quiet();
    const history = await fit(model, x, y, [callback, callbacks.earlyStopping({ monitor: 'gmmRatio', patience: 1, minDelta: 1e9 })], 20);
    expect(history.epoch.length).toBe(2);
    expect(callback.report).not.toBeNull();
    tf.dispose([x, y]);
  });

  it.each<[KLMergeQuantizationArgs | object, string]>([
    [gmmPrior({ trainingExamples: 9 }), 'klMergeQuantization: expected options, got a gmmPrior. Write klMergeQuantization({prior}).'],
    [{ treshold: 1 }, "klMergeQuantization: unknown option 'treshold'. Did you mean 'threshold'?"],
    [{ threshold: -1 }, 'klMergeQuantization: threshold must be a finite number ≥ 0, got -1. Use 0 to merge nothing.'],
    [{ variance: 'exact' }, "klMergeQuantization: variance must be one of 'average', 'moments', got 'exact'."],
    [{ prior: {} }, 'klMergeQuantization: prior must be made by gmmPrior(…), got Object.'],
    [{ skip: 'last' }, "klMergeQuantization: skip must be an array of layer names, got 'last'."],
    [{ mergeZero: 'no' }, "klMergeQuantization: mergeZero must be true or false, got 'no'."],
    [{ biases: 'all' }, "klMergeQuantization: biases must be true or false, got 'all'."],
    [{ evaluationData: 5 }, 'klMergeQuantization: evaluationData must be [inputs, targets], got 5.'],
    [{ maxDistance: 0 }, 'klMergeQuantization: maxDistance must be a finite number > 0, got 0.'],
  ])('refuses %j', (args, message) => {
    expect(() => klMergeQuantization(args as KLMergeQuantizationArgs)).toThrow(message);
  });

  it('refuses models that it cannot work on, each with what to do', async () => {
    const { model, prior, x, y } = setUp();
    const bare = smallNetwork('sequential');
    await expect(quiet().quantize(bare)).rejects.toThrow('klMergeQuantization: the model carries no prior. Give gmmPrior({trainingExamples}) as kernelRegularizer');
    await expect(quiet({ prior: gmmPrior({ trainingExamples: 5, name: 'loose' }) }).quantize(model)).rejects.toThrow(
      `klMergeQuantization: gmmPrior 'loose' is attached to no weight of this model (it carries '${prior.name}').`,
    );
    await expect(quiet().quantize()).rejects.toThrow('klMergeQuantization: quantize() needs a model');
    await expect(quiet().quantize(model)).rejects.toThrow(`the mixture of gmmPrior '${prior.name}' was never trained.`);
    const twins = smallNetwork('sequential');
    twins.layers.slice(0, 2).forEach(({ name }) => attachRegularizer(twins, gmmPrior({ trainingExamples: 5, name: 'twin' }), { layers: [name] }));
    await expect(quiet().quantize(twins)).rejects.toThrow("klMergeQuantization: two priors of this model are named 'twin', and a save could not tell them apart.");
    await expect(fit(model, x, y, [quiet({ skip: ['lst'] })], 1)).rejects.toThrow("klMergeQuantization: skip names layer 'lst', which the model does not have. Layers: first_input, first, last.");
    model.layers.forEach((layer) => (layer.trainable = false));
    await expect(quiet().quantize(model)).rejects.toThrow('klMergeQuantization: every weight with a prior is frozen.');
    expect(new KLMergeQuantization()).toBeInstanceOf(Callback);
    tf.dispose([x, y]);
  });
});
