import { describe } from 'vitest';
import { isReadInsideStep } from '../../src/kernels/mixture_energy/index.js';
import { gmmPrior, type GmmPrior } from '../../src/regularizers/gmm_prior.js';
import type { GmmPriorArgs } from '../../src/regularizers/gmm_prior_options.js';
import { regularizerContract } from '../contract/regularizer_contract.js';

const args: GmmPriorArgs = {
  trainingExamples: 50,
  components: 5,
  tau: 0.5,
  tauWarmup: 0,
  zeroMixing: 0.9,
  learnZeroMixing: [3, 2],
  initialStd: 0.3,
  hyperprior: 'inverseGammaVariance',
  zeroHyperprior: { shape: 40, rate: 3 },
  othersHyperprior: { shape: 30, rate: 2 },
  learningRates: { means: 1e-3, logVariances: 2e-3, mixingLogits: 3e-3 },
  preset: 'tutorial',
  includeFrozen: true,
  name: 'contract_prior',
};

/** τ/N · (−Σ log Σ_j π_j N(w | μ_j, σ_j²) + hyperpriors), from the formulas, hyperpriors once. */
function energy(weights: Float64Array[], prior: GmmPrior): number {
  const mixture = prior.mixture;
  if (mixture === null) throw new Error('the mixture has not been used yet');
  const { means, variances, mixing } = mixture;
  let total = 0;
  for (const weight of weights) {
    for (const w of weight) {
      const density = means.reduce((sum, mean, j) => sum + (mixing[j] / Math.sqrt(2 * Math.PI * variances[j])) * Math.exp(-((w - mean) ** 2) / (2 * variances[j])), 0);
      total -= Math.log(density);
    }
  }
  // Inverse Gamma on σ², Beta(3, 2) on π₀; constants dropped.
  variances.forEach((variance, j) => {
    const [shape, rate] = j === 0 ? [40, 3] : [30, 2];
    total += (shape + 1) * Math.log(variance) + rate / variance;
  });
  total -= 2 * Math.log(mixing[0]) + Math.log(1 - mixing[0]);
  return (0.5 / 50) * total;
}

describe('gmmPrior keeps the regularizer contract', () => {
  regularizerContract({
    name: 'GmmPrior',
    create: (options: GmmPriorArgs) => {
      const prior = gmmPrior(options);
      // Where weights cannot be read inside a step, somebody has to say their range.
      if (!isReadInsideStep()) prior.initialize([-1, 1]);
      return prior;
    },
    args,
    energy: (weights, prior) => energy(weights, prior as unknown as GmmPrior),
    layerUsedTwice: 'once',
  });
});
