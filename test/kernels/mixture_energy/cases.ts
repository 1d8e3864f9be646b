/** What the suites of the mixture energy share: golden cases, the bound, and gradients from the sums. */
import type { Mixture, MixtureStatistics } from '../../../src/kernels/mixture_energy/mixture.js';
import golden from '../../fixtures/gmm_prior.json';

/** The bound that the table has to keep, per gradient array and for the energy: max|Δ| / max|reference|. */
export const BOUND = 1e-5;

export interface Gradients {
  mu: number[];
  logVariance: number[];
  mixingLogits: number[];
}

/** dC/d(parameters) from the sums, written out independently of the source. */
export function gradientsOf({ responsibility, first, second }: MixtureStatistics, { variances, mixing }: Mixture): Gradients {
  const nonZero = responsibility.slice(1).reduce((sum, r) => sum + r, 0);
  return {
    mu: Array.from(first, (s, j) => -s / variances[j]),
    logVariance: Array.from(responsibility, (r, j) => 0.5 * (r - second[j] / variances[j])),
    mixingLogits: Array.from(responsibility.slice(1), (r, j) => (mixing[j + 1] / (1 - mixing[0])) * nonZero - r),
  };
}

export const cases = golden.cases.map((c, index) => ({ index, c, mixture: { means: c.mu, variances: c.variance, mixing: c.pi } }));
