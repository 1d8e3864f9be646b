/**
 * Expectation maximisation for the mixture prior: the maximum of its posterior given responsibilities, in closed form, instead of
 * a gradient step. Dempster, Laird & Rubin 1977; for soft weight sharing, Nowlan & Hinton 1992, §4 use gradients, and
 * mention this alternative. Pure functions, float64.
 */
import type { MixtureStatistics } from '../kernels/mixture_energy/mixture.js';
import { TabulatedEnergy } from '../kernels/mixture_energy/tabulated_energy.js';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, OPEN_UNIT, POSITIVE } from '../checks.js';
import type { GammaShapeRate } from './hyperpriors.js';
import { checkComponents, initialParameters, logit, toMixture, type Hyperpriors, type MixtureParameters } from './mixture_parameters.js';

/** Below this sum of responsibilities a component explains no weight, and its mean stays where it is. */
const NO_WEIGHT = 1e-12;
/** Smallest variance that a component may take where no hyperprior keeps it from 0 (repeated weights), as a share of the largest squared mean. */
const LEAST_VARIANCE = 1e-10;
/** The same where all means are 0. */
const LEAST_OF_ALL = 1e-60;

/**
 * One M-step from the sums of an E-step over the weights, in place of {@link MixtureParameters}:
 * μ_j = Σ r w / Σ r (μ₀ stays 0); σ_j² = (½ Σ r (w − μ_j)² + b) / (½ Σ r + a − 1) under Gamma(a, b) on the precision, a + 1 under the
 * inverse Gamma on the variance; π_j ∝ Σ r over the components that are not zero, π₀ fixed, or
 * (Σ r₀ + a − 1)/(N + a + b − 2) under Beta(a, b).
 */
export function maximize(parameters: MixtureParameters, statistics: MixtureStatistics, { kind, zero, others, beta }: Hyperpriors, learnZeroMixing: boolean): MixtureParameters {
  const { responsibility, first, second, count } = statistics;
  const means = parameters.means.map((mean, j) => (j === 0 || responsibility[j] < NO_WEIGHT ? mean : mean + first[j] / responsibility[j]));
  const least = Math.max(LEAST_OF_ALL, LEAST_VARIANCE * Math.max(...means.map((mean) => mean * mean)));
  const logVariances = parameters.logVariances.map((value, j) => {
    const r = responsibility[j];
    const shift = means[j] - parameters.means[j];
    // About the new mean; rounding must not make it negative.
    const squares = Math.max(0, second[j] - 2 * shift * first[j] + shift * shift * r);
    const { shape, rate } = j === 0 ? zero : others;
    const pseudo = kind === 'none' ? 0 : kind === 'gammaPrecision' ? shape - 1 : shape + 1;
    const weight = 0.5 * r + pseudo;
    if (weight < NO_WEIGHT) return value;
    return Math.log(Math.max(least, (0.5 * squares + (kind === 'none' ? 0 : rate)) / weight));
  });
  const [a, b] = beta;
  // Strictly inside (0, 1), where logit is finite.
  const zeroMixing = Math.min(1 - 1e-12, Math.max(1e-12, (responsibility[0] + a - 1) / (count + a + b - 2)));
  const mixingLogits = parameters.mixingLogits.map((value, j) => (j > 0 ? Math.log(Math.max(NO_WEIGHT, responsibility[j])) : learnZeroMixing ? logit(zeroMixing) : value));
  return { means, logVariances, mixingLogits };
}

export interface FitMixtureArgs {
  /** Number of Gaussians, the zero component included. Integer from 2 to 65 535. Default 17. */
  components?: number;
  /** π₀, fixed; or its start, where learned. In (0, 1). Default 0.9. */
  zeroMixing?: number;
  /** Estimate π₀ from the weights. Default true. */
  learnZeroMixing?: boolean;
  /** σ that every component starts with, > 0. Default: the spacing of the means. */
  initialStd?: number;
  /** Gamma density on the precision of each component, or `none` (maximum likelihood). Default `none`. */
  precisionHyperprior?: GammaShapeRate | 'none';
  /** Most steps. Integer ≥ 1. Default 100. */
  iterations?: number;
  /** Ends when a step lowers the energy per weight by less (nats). ≥ 0. Default 1e-6. */
  tolerance?: number;
}

export interface FittedMixture {
  /** Component 0 is the zero component. */
  mixture: { means: number[]; variances: number[]; mixing: number[] };
  /** −Σ log p(w) in nats before each step, and of the result. */
  energies: number[];
  /** Steps taken. */
  iterations: number;
  /** Whether the tolerance was met. */
  converged: boolean;
}

const WHO = 'fitMixture';

/**
 * Fits a Gaussian mixture with a component fixed at zero to weights that stay as they are, by expectation maximisation on binned
 * weights: O(weights + nodes · components) a step. What a model needs no retraining for: how far its weights are from sharing
 * values, or a mixture to quantise them with.
 *
 * ```js
 * const {mixture} = fitMixture([await kernel.data()], {components: 9});
 * ```
 *
 * @throws Error if there are no weights, or weights are not finite.
 */
export function fitMixture(weights: readonly Float32Array[], args: FitMixtureArgs = {}): FittedMixture {
  checkKeys(WHO, args, ['components', 'zeroMixing', 'learnZeroMixing', 'initialStd', 'precisionHyperprior', 'iterations', 'tolerance']);
  const components = checkComponents(WHO, args.components ?? 17);
  const zeroMixing = checkNumber(WHO, 'zeroMixing', args.zeroMixing ?? 0.9, OPEN_UNIT);
  const learnZeroMixing = checkBoolean(WHO, 'learnZeroMixing', args.learnZeroMixing ?? true);
  const iterations = checkNumber(WHO, 'iterations', args.iterations ?? 100, integerAtLeast(1));
  const tolerance = checkNumber(WHO, 'tolerance', args.tolerance ?? 1e-6, NON_NEGATIVE);
  const hyperpriors = hyperpriorsOf(args.precisionHyperprior ?? 'none');
  if (!Array.isArray(weights) || !weights.every((array) => array instanceof Float32Array)) {
    throw new Error(`${WHO}: weights must be an array of Float32Array, got ${describe(weights)}. Write fitMixture([await kernel.data()]).`);
  }
  const range = finiteRange(weights);
  const initialStd = checkNumber(WHO, 'initialStd', args.initialStd ?? ((range[1] - range[0]) / components || 1e-3), POSITIVE);

  let parameters = initialParameters(components, range, initialStd, zeroMixing);
  const table = new TabulatedEnergy();
  const gradients = weights.map(({ length }) => new Float32Array(length));
  const count = weights.reduce((sum, { length }) => sum + length, 0);
  const energies: number[] = [];
  const expect = () => {
    table.reset(toMixture(parameters));
    weights.forEach((array, i) => table.accumulate(array, gradients[i], 0));
    const statistics = table.statistics();
    energies.push(statistics.energy);
    return statistics;
  };
  let statistics = expect();
  let converged = false;
  let steps = 0;
  while (steps < iterations && !converged) {
    parameters = maximize(parameters, statistics, hyperpriors, learnZeroMixing);
    steps++;
    statistics = expect();
    // Beside the least variance a step may raise it.
    converged = Math.abs(energies[steps - 1] - energies[steps]) < tolerance * count;
  }
  const { means, variances, mixing } = toMixture(parameters);
  return { mixture: { means: Array.from(means), variances: Array.from(variances), mixing: Array.from(mixing) }, energies, iterations: steps, converged };
}

function hyperpriorsOf(precision: GammaShapeRate | 'none'): Hyperpriors {
  if (precision === 'none') return { kind: 'none', zero: { shape: 1, rate: 0 }, others: { shape: 1, rate: 0 }, beta: [1, 1] };
  checkKeys(`${WHO}: precisionHyperprior`, precision, ['shape', 'rate']);
  for (const key of ['shape', 'rate'] as const) checkNumber(WHO, `precisionHyperprior.${key}`, precision[key], POSITIVE);
  return { kind: 'gammaPrecision', zero: precision, others: precision, beta: [1, 1] };
}

function finiteRange(weights: readonly Float32Array[]): [number, number] {
  let least = Infinity;
  let greatest = -Infinity;
  for (const [a, array] of weights.entries()) {
    for (let i = 0; i < array.length; i++) {
      if (!Number.isFinite(array[i])) throw new Error(`${WHO}: weights[${a}][${i}] is ${array[i]}. Only finite weights can be fitted.`);
      least = Math.min(least, array[i]);
      greatest = Math.max(greatest, array[i]);
    }
  }
  if (least > greatest) throw new Error(`${WHO}: expected at least one weight, got none.`);
  return [least, greatest];
}
