import { describe, expect, it } from 'vitest';
import { betaEnergy, betaEnergySlope, varianceEnergy, varianceEnergySlope, type VarianceHyperprior } from '../../src/regularizers/hyperpriors.js';
import golden from '../fixtures/gmm_prior.json';

const slope = (f: (x: number) => number, x: number) => (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;

describe('hyperpriors of the mixture', () => {
  it.each(golden.cases.map((c, index) => ({ index, c })))('on precisions equals the reference in golden case $index', ({ c }) => {
    const { shape, rate } = c.gammaHyperprior;
    const logVariances = c.variance.map(Math.log);
    const energy = logVariances.reduce((sum, v, j) => sum + varianceEnergy('gammaPrecision', v, { shape: shape[j], rate: rate[j] }), 0);
    expect(energy / c.gammaHyperprior.energy).toBeCloseTo(1, 12);
    logVariances.forEach((v, j) => {
      const expected = c.gammaHyperprior.dEnergy_dlogVariance[j];
      expect(Math.abs(varianceEnergySlope('gammaPrecision', v, { shape: shape[j], rate: rate[j] }) - expected)).toBeLessThan(1e-9 * Math.abs(expected) + 1e-9);
    });
  });

  it.each<[VarianceHyperprior, number]>([
    ['gammaPrecision', 0.1 / 249],
    ['inverseGammaVariance', 0.1 / 251],
  ])('%s has its mode where its density says (variance %f)', (kind, mode) => {
    const prior = { shape: 250, rate: 0.1 };
    expect(varianceEnergySlope(kind, Math.log(mode), prior)).toBeCloseTo(0, 9);
    expect(varianceEnergySlope(kind, Math.log(mode) + 0.1, prior)).toBeGreaterThan(0);
  });

  it('give slopes that agree with finite differences', () => {
    for (const kind of ['gammaPrecision', 'inverseGammaVariance'] as const) {
      expect(varianceEnergySlope(kind, -6, { shape: 250, rate: 0.1 })).toBeCloseTo(slope((x) => varianceEnergy(kind, x, { shape: 250, rate: 0.1 }), -6), 4);
    }
    const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
    expect(betaEnergySlope(sigmoid(1.3), 40, 3)).toBeCloseTo(slope((x) => betaEnergy(sigmoid(x), 40, 3), 1.3), 5);
  });
});
