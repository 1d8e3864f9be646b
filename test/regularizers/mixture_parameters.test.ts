import { describe, expect, it } from 'vitest';
import { directStatistics } from '../../src/kernels/mixture_energy/mixture.js';
import { adamStep, hyperpriorEnergy, initialAdamState, initialParameters, logit, mixingProportions, parameterGradients, toMixture, type Hyperpriors, type MixtureParameters } from '../../src/regularizers/mixture_parameters.js';
import golden from '../fixtures/gmm_prior.json';
import { relativeError, seededNormal } from '../helpers.js';

const NO_HYPERPRIOR: Hyperpriors = { kind: 'none', zero: { shape: 1, rate: 1 }, others: { shape: 1, rate: 1 }, beta: [1, 1] };

describe('gradients of the mixture', () => {
  it.each(golden.cases.map((c, index) => ({ index, c })))('equal the reference in golden case $index', ({ c }) => {
    const parameters: MixtureParameters = { means: c.mu, logVariances: c.variance.map(Math.log), mixingLogits: [logit(c.pi[0]), ...c.mixingLogits] };
    expect(relativeError(mixingProportions(parameters.mixingLogits), c.pi)).toBeLessThan(1e-12);
    const gradients = parameterGradients(parameters, directStatistics(c.w, toMixture(parameters)), NO_HYPERPRIOR, false);
    expect(relativeError(gradients.logVariances, c.dNll_dlogVariance)).toBeLessThan(1e-10);
    expect(relativeError(gradients.means.slice(1), c.dNll_dmu.slice(1))).toBeLessThan(1e-10);
    expect(relativeError(gradients.mixingLogits.slice(1), c.dNll_dmixingLogits)).toBeLessThan(1e-10);
    expect(gradients.means[0]).toBe(0);
    expect(gradients.mixingLogits[0]).toBe(0);
  });

  it('agree with finite differences of energy and hyperpriors in every parameter, π₀ included', () => {
    const random = seededNormal(5);
    const weights = Float64Array.from({ length: 300 }, () => 0.3 * random());
    const parameters: MixtureParameters = { means: [0, -0.4, 0.3, 0.7], logVariances: [-5, -4, -3.5, -4.5], mixingLogits: [1.2, 0.1, -0.3, 0.4] };
    const hyperpriors: Hyperpriors = { kind: 'gammaPrecision', zero: { shape: 50, rate: 0.2 }, others: { shape: 20, rate: 0.1 }, beta: [60, 4] };
    const energy = () => directStatistics(weights, toMixture(parameters)).energy + hyperpriorEnergy(parameters, hyperpriors, true);
    const gradients = parameterGradients(parameters, directStatistics(weights, toMixture(parameters)), hyperpriors, true);
    for (const group of ['means', 'logVariances', 'mixingLogits'] as const) {
      for (let j = group === 'means' ? 1 : 0; j < 4; j++) {
        const at = parameters[group][j];
        parameters[group][j] = at + 1e-5;
        const above = energy();
        parameters[group][j] = at - 1e-5;
        const difference = (above - energy()) / 2e-5;
        parameters[group][j] = at;
        expect(Math.abs(gradients[group][j] - difference), `${group}[${j}]`).toBeLessThan(1e-5 * Math.max(1, Math.abs(difference)));
      }
    }
  });
});

describe('the start of the mixture', () => {
  it.each([
    [17, -0.6, 0.6],
    [16, -0.6, 0.6],
    [17, -0.31, 0.52],
    [2, -0.3, 0.8],
    [3, -0.3, 0.8],
    [9, 0.1, 0.8],
    [9, -0.8, -0.1],
    [9, -1e-9, 0.8],
    [3, -0.8, 1e-6],
    [5, 0, 0],
  ])('of %i components over [%f, %f] has its means in order, inside, and none but the first near zero', (components, least, greatest) => {
    const { means } = initialParameters(components, [least, greatest], 0.25, 0.99);
    expect(means).toHaveLength(components);
    expect(means[0]).toBe(0);
    const others = means.slice(1);
    expect([...others].sort((a, b) => a - b)).toEqual(others);
    const width = greatest - least || 1;
    for (const mean of others) expect(Math.abs(mean)).toBeGreaterThan((0.4 * width) / components);
    if (greatest > least) {
      expect(others[0]).toBeGreaterThanOrEqual(Math.min(least, 0));
      expect(others.at(-1)).toBeLessThanOrEqual(Math.max(greatest, 0));
    }
  });

  it('spreads 16 means over a symmetric range evenly on either side', () => {
    expect(initialParameters(5, [-0.4, 0.4], 0.25, 0.9).means).toEqual([0, -0.4, -0.2, 0.2, 0.4]);
  });
});

describe('adamStep', () => {
  it('moves every parameter by its learning rate at first, against the gradient, and leaves fixed ones alone', () => {
    const parameters: MixtureParameters = { means: [0, 1], logVariances: [-4, -4], mixingLogits: [3, 0] };
    const gradients: MixtureParameters = { means: [0, 10], logVariances: [-2, 5], mixingLogits: [0, -1] };
    adamStep(parameters, gradients, initialAdamState(2), { means: 0.1, logVariances: 0.01, mixingLogits: 0.2 }, { epsilon: 0 });
    expect(parameters.means[0]).toBe(0);
    expect(parameters.means[1]).toBeCloseTo(0.9, 12);
    expect(parameters.logVariances).toEqual([expect.closeTo(-3.99, 12), expect.closeTo(-4.01, 12)]);
    expect(parameters.mixingLogits).toEqual([3, expect.closeTo(0.2, 12)]);
  });
});
