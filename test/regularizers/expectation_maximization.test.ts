import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { klMergeQuantization } from '../../src/callbacks/kl_merge_quantization.js';
import { directStatistics, type Mixture } from '../../src/kernels/mixture_energy/mixture.js';
import { attachRegularizer } from '../../src/regularizers/attach.js';
import { fitMixture, maximize, type FitMixtureArgs } from '../../src/regularizers/expectation_maximization.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import { hyperpriorEnergy, logit, toMixture, type Hyperpriors, type MixtureParameters } from '../../src/regularizers/mixture_parameters.js';
import { callbackContract, smallNetwork } from '../contract/callback_contract.js';
import { seeded } from '../contract/fixtures.js';
import golden from '../fixtures/gmm_prior.json';
import { relativeError, seededNormal } from '../helpers.js';

const start = (means: number[], std: number, zeroMixing: number): MixtureParameters => ({
  means, logVariances: means.map(() => 2 * Math.log(std)), mixingLogits: means.map((_, j) => (j === 0 ? logit(zeroMixing) : 0)),
}); // prettier-ignore

describe('the M-step', () => {
  it.each(golden.cases.map((c, index) => ({ index, c })))('equals the reference in golden case $index', ({ c }) => {
    const parameters: MixtureParameters = { means: c.mu, logVariances: c.variance.map(Math.log), mixingLogits: [logit(c.pi[0]), ...c.mixingLogits] };
    const { shape, rate } = c.gammaHyperprior;
    const hyperpriors: Hyperpriors = { kind: 'gammaPrecision', zero: { shape: shape[0], rate: rate[0] }, others: { shape: shape[1], rate: rate[1] }, beta: [1, 1] };
    const { means, variances, mixing } = toMixture(maximize(parameters, directStatistics(c.w, toMixture(parameters)), hyperpriors, false));
    // Responsibilities below e⁻⁴⁰ are left out: 2e-10 of a mean that hardly any weight supports.
    expect(relativeError(means, c.emStep.mu)).toBeLessThan(1e-9);
    expect(relativeError(variances, c.emStep.variance)).toBeLessThan(1e-10);
    expect(relativeError(mixing, c.emStep.pi)).toBeLessThan(1e-10);
  });

  it.each<[Hyperpriors['kind']]>([['gammaPrecision'], ['inverseGammaVariance'], ['none']])('never raises energy plus hyperpriors (%s), π₀ learned under a Beta density', (kind) => {
    const random = seededNormal(3);
    const weights = Float64Array.from({ length: 400 }, (_, i) => (i % 4 === 0 ? 0.5 : 0) + 0.1 * random());
    const hyperpriors: Hyperpriors = { kind, zero: { shape: 12, rate: 0.05 }, others: { shape: 9, rate: 0.02 }, beta: [30, 4] };
    let parameters = start([0, -0.3, 0.2, 0.6], 0.25, 0.5);
    let before = Infinity;
    for (let step = 0; step < 30; step++) {
      const statistics = directStatistics(weights, toMixture(parameters));
      const energy = statistics.energy + hyperpriorEnergy(parameters, hyperpriors, true);
      expect(energy).toBeLessThanOrEqual(before + 1e-9 * Math.abs(energy));
      before = energy;
      parameters = maximize(parameters, statistics, hyperpriors, true);
    }
    // A fixed point: one more step changes nothing that matters.
    const again = maximize(parameters, directStatistics(weights, toMixture(parameters)), hyperpriors, true);
    expect(again.means[3]).toBeCloseTo(parameters.means[3], 2);
  });

  it('leaves the mean of a component that explains nothing, and keeps every number finite', () => {
    const far: MixtureParameters = { means: [0, 50], logVariances: [-4, -8], mixingLogits: [logit(0.5), 0] };
    const { means, logVariances, mixingLogits } = maximize(far, directStatistics([0.1, -0.2], toMixture(far)), { kind: 'none', zero: { shape: 1, rate: 0 }, others: { shape: 1, rate: 0 }, beta: [1, 1] }, true);
    expect(means).toEqual([0, 50]);
    expect(logVariances[1]).toBe(-8);
    expect([...logVariances, ...mixingLogits].every(Number.isFinite)).toBe(true);
  });
});

describe('fitMixture', () => {
  const sample = (count: number, { means, variances, mixing }: Mixture) => {
    const random = seededNormal(11);
    // Proportions exactly, in turn.
    return Float32Array.from({ length: count }, (_, i) => {
      let u = ((i * 7919) % count) / count;
      let j = 0;
      while (j < mixing.length - 1 && u >= mixing[j]) u -= mixing[j++];
      return means[j] + Math.sqrt(variances[j]) * random();
    });
  };

  it('finds the mixture that weights were drawn from, over several arrays', () => {
    const truth: Mixture = { means: [0, -0.5, 0.4], variances: [1e-4, 4e-4, 9e-4], mixing: [0.6, 0.15, 0.25] };
    const weights = sample(40_000, truth);
    const { mixture, energies, converged } = fitMixture([weights.subarray(0, 10_000), weights.subarray(10_000)], { components: 3 });
    expect(converged).toBe(true);
    expect(mixture.means[0]).toBe(0);
    mixture.means.forEach((mean, j) => expect(mean).toBeCloseTo(truth.means[j], 2));
    mixture.variances.forEach((variance, j) => expect(Math.sqrt(variance) / Math.sqrt(truth.variances[j])).toBeCloseTo(1, 1));
    energies.slice(1).forEach((energy, i) => expect(energy).toBeLessThanOrEqual(energies[i] + 1e-6 * Math.abs(energy)));
    // The binned energy is that of a direct float64 sum.
    const direct = directStatistics(weights, mixture).energy;
    expect(Math.abs(energies.at(-1)! - direct)).toBeLessThan(1e-5 * Math.abs(direct));
  });

  it('keeps π₀ where it is fixed, and says when it stopped early', () => {
    const weights = sample(2000, { means: [0, 0.5], variances: [1e-3, 1e-3], mixing: [0.5, 0.5] });
    const fixed = fitMixture([weights], { components: 2, zeroMixing: 0.8, learnZeroMixing: false });
    expect(fixed.mixture.mixing[0]).toBeCloseTo(0.8, 12);
    const early = fitMixture([weights], { components: 5, iterations: 1, tolerance: 0 });
    expect(early).toMatchObject({ iterations: 1, converged: false });
    expect(early.energies).toHaveLength(2);
  });

  it('stays finite on weights that repeat a few values', () => {
    const { mixture } = fitMixture([Float32Array.from({ length: 300 }, (_, i) => [0, 0.5, -0.25][i % 3])], { components: 4 });
    expect([...mixture.means, ...mixture.variances, ...mixture.mixing].every(Number.isFinite)).toBe(true);
    expect(mixture.means.some((mean) => Math.abs(mean - 0.5) < 1e-3)).toBe(true);
  });

  it('says what is wrong with its arguments', () => {
    expect(() => fitMixture([])).toThrow('fitMixture: expected at least one weight, got none.');
    expect(() => fitMixture([Float32Array.of(1, NaN)])).toThrow('fitMixture: weights[0][1] is NaN.');
    expect(() => fitMixture([Float32Array.of(1)], { components: 1 })).toThrow('fitMixture: components must be an integer from 2 to 65535, got 1.');
    expect(() => fitMixture(Float32Array.of(1) as never)).toThrow('fitMixture: weights must be an array of Float32Array, got ');
    expect(() => fitMixture(undefined as never)).toThrow('fitMixture: weights must be an array of Float32Array, got undefined. Write fitMixture([await kernel.data()]).');
    expect(() => fitMixture([Float32Array.of(1)], { precisionHyperprior: { shape: 0, rate: 1 } })).toThrow('precisionHyperprior.shape must be a finite number > 0, got 0.');
    expect(() => fitMixture([Float32Array.of(1)], { steps: 3 } as FitMixtureArgs)).toThrow('steps');
  });
});

describe.each(['em', 'emPerEpoch'] as const)("gmmPrior with learning '%s'", (learning) => {
  const options = { trainingExamples: 24, components: 3, tau: 1e-3, initialStd: 0.3, zeroMixing: 0.7, learning };
  callbackContract({
    model: (kind) => {
      const model = smallNetwork(kind);
      attachRegularizer(model, gmmPrior(options));
      return model;
    },
    create: () => klMergeQuantization({ quantizeAtEnd: false, verbose: false }),
    historyKeys: ['gmmComponents', 'gmmEnergy', 'gmmTau', 'gmmRatio'],
  });

  it('moves the mixture to its M-step on the weights of the last batch', async () => {
    const model = smallNetwork('sequential');
    const prior = gmmPrior(options);
    attachRegularizer(model, prior);
    prior.initialize([-1, 1]);
    // Weights stand still, so that the mixture converges to a fixed point of expectation maximisation on them.
    model.compile({ optimizer: tf.train.sgd(0), loss: 'meanSquaredError' });
    await model.fit(seeded([8, 2], 1), seeded([8, 1], 2), { epochs: 30, batchSize: 8, verbose: 0, callbacks: [klMergeQuantization({ prior, quantizeAtEnd: false, verbose: false })] });
    const kernels = (await Promise.all([0, 2].map(async (i) => Array.from(await model.getWeights()[i].data())))).flat();
    const { means, variances, mixing } = prior.mixture!;
    const { logVariances } = { logVariances: variances.map(Math.log) };
    const again = toMixture(
      maximize(
        { means, logVariances, mixingLogits: mixing.map((p, j) => (j === 0 ? logit(p) : Math.log(p))) },
        directStatistics(kernels, prior.mixture!),
        { kind: 'gammaPrecision', zero: { shape: 5e3, rate: 2 }, others: { shape: 250, rate: 0.1 }, beta: [1, 1] },
        false,
      ),
    );
    Array.from(again.means).forEach((mean, j) => expect(mean).toBeCloseTo(means[j], 3));
    Array.from(again.variances).forEach((variance, j) => expect(variance / variances[j]).toBeCloseTo(1, 2));
    expect(prior.steps).toBe(30);
  });
});

describe('fitMixture at any scale', () => {
  it.each([1e-12, 1e-6, 1e6])('gives the same mixture times %d', (scale) => {
    const weights = Float32Array.from({ length: 4000 }, (_, i) => Math.sin(i * i));
    const [one, other] = [weights, weights.map((w) => w * scale)].map((array) => fitMixture([array], { components: 5, iterations: 30 }));
    const largest = Math.max(...one.mixture.means.map(Math.abs));
    other.mixture.means.forEach((mean, j) => expect(Math.abs(mean / scale - one.mixture.means[j])).toBeLessThan(1e-3 * largest));
    for (const { energies } of [one, other]) expect(energies.at(-1)).toBeLessThan(energies[0]);
  });
});
