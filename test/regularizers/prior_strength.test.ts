import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers, models, regularizers, sequential, type LayersModel, type Logs } from '@tensorflow/tfjs-layers';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { outputsOf } from '../../src/callbacks/data_loss.js';
import { klMergeQuantization } from '../../src/callbacks/kl_merge_quantization.js';
import { priorsOf } from '../../src/regularizers/attach.js';
import { gmmPrior, type GmmPrior } from '../../src/regularizers/gmm_prior.js';
import type { GmmPriorArgs } from '../../src/regularizers/gmm_prior_options.js';
import { AUTO_SHARE, CALIBRATION_STEPS, interpolate, PriorStrength } from '../../src/regularizers/prior_strength.js';
import { seeded } from '../contract/fixtures.js';

const N = 64;
afterEach(() => vi.restoreAllMocks());

function network(prior: GmmPrior, units = 2): LayersModel {
  const model = sequential({ layers: [layers.dense({ units, inputShape: [3], kernelRegularizer: prior, kernelInitializer: initializers.glorotUniform({ seed: 1 }) })] });
  model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
  return model;
}

/** The logs of each batch beside what the prior says then; losses without its energy. */
async function watched(model: LayersModel, prior: GmmPrior, epochs: number, initialEpoch = 0) {
  const [x, y] = [seeded([N, 3], 1), seeded([N, model.outputs[0].shape[1]!], 2)];
  const steps: { dataLoss: number; energy: number; tau: number; noise: number }[] = [];
  const quantization = klMergeQuantization({ quantizeAtEnd: false });
  const onBatchEnd = quantization.onBatchEnd;
  quantization.onBatchEnd = async (batch: number, logs?: Logs) => {
    const tau = prior.currentTau;
    await onBatchEnd(batch, logs);
    const loss = (logs as unknown as { loss: tf.Tensor | number }).loss;
    const total = typeof loss === 'number' ? loss : (await loss.data())[0];
    steps.push({ dataLoss: total - prior.lastEnergy, energy: prior.lastEnergy, tau, noise: prior.dataNoise });
  };
  const { history } = await model.fit(x, y, { epochs, initialEpoch, batchSize: N / 4, shuffle: false, verbose: 0, callbacks: [quantization] });
  tf.dispose([x, y]);
  return { steps, history };
}

describe('a schedule of τ', () => {
  it('is straight between its points and stays outside of them', () => {
    const points: [number, number][] = [[2, 1], [4, 3], [8, 0]]; // prettier-ignore
    expect([0, 2, 3, 4, 5, 8, 100].map((step) => interpolate(points, step))).toEqual([1, 1, 2, 3, 2.25, 0, 0]);
  });

  it('is what the energy in the loss is weighted with, and stands in the history', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3, tau: [[0, 0], [4, 0.4], [8, 0.1]] }); // prettier-ignore
    const model = network(prior);
    const { steps, history } = await watched(model, prior, 3);
    expect(steps.map(({ tau }) => Number(tau.toFixed(6)))).toEqual([0, 0.1, 0.2, 0.3, 0.4, 0.325, 0.25, 0.175, 0.1, 0.1, 0.1, 0.1]);
    expect(steps[0].energy).toBeCloseTo(0, 12);
    expect(history.gmmTau).toEqual([0.4, 0.1, 0.1].map((tau) => expect.closeTo(tau as number, 12)));
    expect([prior.tau, history.gmmNoise]).toEqual([0.4, undefined]);
    model.dispose();
  });

  it('refuses points that are none, that do not rise, and zeros alone', () => {
    const wrong: [unknown, string][] = [
      [[], 'got no point. Leave the regularizer away to train without a prior.'],
      [[[0, 1], [0, 2]], 'got step 0 after 0.'],
      [[[0, 1], 7], 'got 7 as its point 1.'],
      [[[0, 0]], 'got zeros only.'],
      [[[0.5, 1]], "gmmPrior: step of tau's point 0 must be an integer ≥ 0, got 0.5. It counts mixture steps (batches)."],
      [[[0, -1]], "gmmPrior: tau's point 0 must be a finite number ≥ 0, got -1."],
      ['fast', "gmmPrior: tau must be a finite number > 0, 'auto', { share } or points [step, tau], got 'fast'."],
      [{ share: 0 }, 'gmmPrior: tau.share must be a finite number > 0, got 0.'],
      [{ part: 0.1 }, "gmmPrior: tau: unknown option 'part'."],
      [0, 'gmmPrior: tau must be a finite number > 0, got 0. Leave the regularizer away to train without a prior.'],
    ]; // prettier-ignore
    for (const [tau, text] of wrong) expect(() => gmmPrior({ trainingExamples: N, tau: tau as GmmPriorArgs['tau'] })).toThrow(text);
  });
});

describe("tau: 'auto'", () => {
  it.each([['auto', AUTO_SHARE], [{ share: 0.3 }, 0.3]] as const)('%j holds the prior back, then gives it that share of the data loss for good', async (tau, share) => {
    const prior = gmmPrior({ trainingExamples: N, components: 3, tau });
    const model = network(prior);
    expect(prior.tau).toBeNaN();
    const { steps, history } = await watched(model, prior, 6);
    expect(steps.slice(0, CALIBRATION_STEPS).every(({ energy: e, tau: t }) => e === 0 && t === 0)).toBe(true);
    const meanLoss = steps.slice(0, CALIBRATION_STEPS).reduce((sum, { dataLoss }) => sum + dataLoss, 0) / CALIBRATION_STEPS;
    // Six weights of a nat each.
    expect((prior.tau / N) * 6).toBeCloseTo(share * meanLoss, 5);
    expect(steps.slice(CALIBRATION_STEPS).every(({ tau: t, energy: e }) => t === prior.tau && e !== 0)).toBe(true);
    expect(history.gmmTau).toEqual([0, 0, 0, 0, prior.tau, prior.tau]);
    model.dispose();
  });

  it('depends neither on how wide the mixture starts, through densities of 1, nor on hyperpriors', async () => {
    const found: number[] = [];
    for (const args of [{}, { hyperprior: 'none' }, { initialStd: 0.395 }, { initialStd: 0.5, hyperprior: 'none' }, { initialStd: 0.1 }] as const) {
      const prior = gmmPrior({ trainingExamples: N, components: 3, tau: 'auto', ...args });
      const model = network(prior);
      await watched(model, prior, 5);
      found.push(prior.tau);
      model.dispose();
    }
    for (const tau of found) expect(tau).toBeCloseTo(found[0], 6);
  });

  it('warns of a strength beyond the posterior, as an untrained network’s loss gives', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    for (const [dataLoss, warned] of [[0.1, 0], [95, 1]] as const) {
      const strength = new PriorStrength('gmmPrior', { trainingExamples: 100, tau: 'auto', tauWarmup: 0, dataNoise: undefined });
      for (let k = 0; k < CALIBRATION_STEPS; k++) strength.observe({ dataLoss, weights: 10, outputs: 1 });
      expect(strength.tau).toBeCloseTo(AUTO_SHARE * 10 * dataLoss, 6);
      expect(warn.mock.calls.flat().filter((text) => String(text).includes("tau 'auto' found"))).toHaveLength(warned);
    }
  });

  it('is no prior to quantise with before it is found', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3, tau: 'auto', name: 'hasty' });
    const model = network(prior);
    const [x, y] = [seeded([N, 3], 1), seeded([N, 2], 2)];
    const before = Array.from(await model.getWeights()[0].data());
    const fit = model.fit(x, y, { epochs: 1, batchSize: N / 4, verbose: 0, callbacks: [klMergeQuantization({ verbose: false })] });
    await expect(fit).rejects.toThrow("klMergeQuantization: training ended before gmmPrior 'hasty' had found its tau, so that the weights have not gathered. Train longer (it takes 20 batches), or give tau as a number.");
    // They were trained, not quantised.
    expect(new Set(await model.getWeights()[0].data()).size).toBe(before.length);
    tf.dispose([x, y]);
    model.dispose();
  });

  it('survives saving half-way', async () => {
    const build = (tau: GmmPriorArgs['tau']) => gmmPrior({ trainingExamples: N, components: 3, tau, name: 'half_way' });
    const prior = build('auto');
    const model = network(prior);
    await watched(model, prior, 3);
    const loaded = await models.modelFromJSON(model.toJSON(null, false) as Parameters<typeof models.modelFromJSON>[0]);
    loaded.setWeights(model.getWeights());
    loaded.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const [again] = priorsOf(loaded);
    expect([again.tau, again.observes]).toEqual([NaN, true]);
    await watched(model, prior, 5, 3);
    await watched(loaded, again, 5, 3);
    expect(prior.observes).toBe(false);
    expect(again.tau).toBeCloseTo(prior.tau, 6);
    for (const each of [model, loaded]) each.dispose();
  });

  it('says when nobody tells it the loss', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const prior = gmmPrior({ trainingExamples: N, components: 3, tau: 'auto', name: 'untold' });
    prior.initialize([-1, 1]);
    const model = network(prior);
    const [x, y] = [seeded([N, 3], 1), seeded([N, 2], 2)];
    for (let k = 0; k < 3; k++) {
      await model.trainOnBatch(x, y);
      await prior.step();
    }
    expect(warn.mock.calls.flat().join()).toContain("gmmPrior 'untold': nobody tells it the data loss that tau: 'auto' and dataNoise go by.");
    tf.dispose([x, y]);
    model.dispose();
  });
});

describe('dataNoise', () => {
  it('weighs the prior by 2σ²/K, so that the loss has the minimum of K/(2σ²)·MSE + τ/N·C', () => {
    const strength = new PriorStrength('gmmPrior', { trainingExamples: N, tau: 1, tauWarmup: 0, dataNoise: 0.5 });
    // Until the number of outputs is known it waits.
    expect([strength.observes, strength.scaleAt(0)]).toEqual([true, 0]);
    strength.observe({ dataLoss: 7, weights: 1, outputs: 3 });
    expect([strength.observes, strength.noise]).toEqual([false, 0.5]);
    expect(strength.scaleAt(0)).toBeCloseTo((2 * 0.25) / 3 / N, 15);
  });

  it('is learned as the root of the mean squared error, by an average without a start at zero', () => {
    const strength = new PriorStrength('gmmPrior', { trainingExamples: N, tau: 1, tauWarmup: 0, dataNoise: 'learned' });
    expect(strength.noise).toBeNaN();
    strength.observe({ dataLoss: 4, weights: 1, outputs: 1 });
    expect(strength.noise).toBeCloseTo(2, 12);
    for (let k = 0; k < 400; k++) strength.observe({ dataLoss: 0.09, weights: 1, outputs: 1 });
    expect(strength.noise).toBeCloseTo(0.3, 6);
    // A loss that is no number says nothing.
    strength.observe({ dataLoss: NaN, weights: 1, outputs: 1 });
    expect(strength.noise).toBeCloseTo(0.3, 6);
  });

  it('follows the training error, stands in the history, and is what the prior counts by', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3, tau: 1, dataNoise: 'learned' });
    const model = network(prior);
    const { steps, history } = await watched(model, prior, 2);
    expect(steps[0].energy).toBeCloseTo(0, 12);
    expect(steps[0].noise).toBeCloseTo(Math.sqrt(steps[0].dataLoss), 4);
    let [sum, weight] = [0, 0];
    for (const { dataLoss, noise } of steps) {
      [sum, weight] = [0.95 * sum + 0.05 * dataLoss, 0.95 * weight + 0.05];
      expect(noise).toBeCloseTo(Math.sqrt(sum / weight), 4);
    }
    expect(history.gmmNoise).toEqual([steps[3].noise, steps[7].noise]);
    model.dispose();
  });

  it('leaves targets of pure noise unfitted where the plain loss fits them', async () => {
    // 12 examples, 8 weights, targets of standard deviation 1 that have nothing to do with the inputs: what is there to know is 0.
    const [x, y] = [seeded([12, 8], 3), seeded([12, 1], 4)];
    const sizes: number[] = [];
    for (const dataNoise of [0.01, 'learned'] as const) {
      const prior = gmmPrior({ trainingExamples: 12, components: 2, tau: 1, dataNoise });
      const model = sequential({ layers: [layers.dense({ units: 1, useBias: false, inputShape: [8], kernelRegularizer: prior, kernelInitializer: initializers.glorotUniform({ seed: 1 }) })] });
      model.compile({ optimizer: tf.train.adam(0.05), loss: 'meanSquaredError' });
      await model.fit(x, y, { epochs: 150, batchSize: 12, verbose: 0, callbacks: [klMergeQuantization({ quantizeAtEnd: false })] });
      sizes.push((await tf.sum(tf.abs(model.getWeights()[0])).data())[0]);
      model.dispose();
    }
    expect(sizes[1]).toBeLessThan(0.5 * sizes[0]);
    tf.dispose([x, y]);
  });

  it('refuses what it cannot serve', async () => {
    expect(() => gmmPrior({ trainingExamples: N, dataNoise: 0 })).toThrow("gmmPrior: dataNoise must be a finite number > 0, got 0. It is the targets' standard deviation; 'learned' estimates it.");
    expect(() => gmmPrior({ trainingExamples: N, dataNoise: 'guessed' as 'learned' })).toThrow("gmmPrior: dataNoise must be a finite number > 0, got 'guessed'.");
    expect(() => gmmPrior({ trainingExamples: N, dataNoise: 'learned', tau: 'auto' })).toThrow('gmmPrior: dataNoise sets the balance with the data loss by itself.');
    const strength = new PriorStrength('gmmPrior', { trainingExamples: N, tau: 1, tauWarmup: 0, dataNoise: 'learned' });
    expect(() => strength.observe({ dataLoss: 1, weights: 1, outputs: null })).toThrow("gmmPrior: dataNoise needs a model with one output of fixed shape, compiled with loss 'meanSquaredError'.");
    expect(() => strength.observe({ dataLoss: -1, weights: 1, outputs: 1 })).toThrow('gmmPrior: dataNoise needs the mean squared error as loss, and got a loss of -1.00');
    const model = sequential({ layers: [layers.dense({ units: 2, inputShape: [3] })] });
    for (const loss of ['binaryCrossentropy', ['binaryCrossentropy']]) {
      model.compile({ optimizer: 'sgd', loss });
      expect(outputsOf(model)).toBeNull();
    }
    for (const loss of ['meanSquaredError', (y: tf.Tensor, p: tf.Tensor) => tf.losses.meanSquaredError(y, p)]) {
      model.compile({ optimizer: 'sgd', loss });
      expect(outputsOf(model)).toBe(2);
    }
    model.dispose();
  });

  it('means the posterior, τ = 1, where no τ is given', () => {
    expect(gmmPrior({ trainingExamples: N, dataNoise: 'learned' }).tau).toBe(1);
    expect(gmmPrior({ trainingExamples: N, dataNoise: 'learned', tau: 0.2 }).tau).toBe(0.2);
    expect(gmmPrior({ trainingExamples: N }).tau).toBe(5e-3);
  });

  it('counts the energies of other regularizers as data loss', async () => {
    const prior = gmmPrior({ trainingExamples: N, components: 3, tau: 1, dataNoise: 'learned' });
    const model = sequential({
      layers: [layers.dense({ units: 3, inputShape: [3], kernelRegularizer: regularizers.l2({ l2: 0.1 }) }), layers.dense({ units: 2, kernelRegularizer: prior })],
    });
    model.compile({ optimizer: tf.train.sgd(0.01), loss: 'meanSquaredError' });
    const { steps } = await watched(model, prior, 1);
    expect(steps[0].noise).toBeCloseTo(Math.sqrt(steps[0].dataLoss), 4);
    model.dispose();
  });
});
