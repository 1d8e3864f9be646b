/**
 * The free parameters of the mixture prior and how they move. Component 0 stands at zero; its proportion π₀ is fixed or
 * learned through logit(π₀); the others share 1 − π₀ by a softmax of their mixing logits. Pure functions, float64.
 */
import { checkNumber } from '../checks.js';
import type { Mixture, MixtureStatistics } from '../kernels/mixture_energy/mixture.js';
import { betaEnergy, betaEnergySlope, varianceEnergy, varianceEnergySlope, type GammaShapeRate, type VarianceHyperprior } from './hyperpriors.js';

/** Entries 0 of `means` and `mixingLogits` belong to the zero component: 0 always, and logit(π₀). */
export interface MixtureParameters {
  means: number[];
  logVariances: number[];
  mixingLogits: number[];
}

/** Checks a number of components, which may come from a file: as many as a codebook holds values. */
export const checkComponents = (who: string, components: unknown): number =>
  checkNumber(who, 'components', components, { expected: 'an integer from 2 to 65535', holds: (x) => Number.isInteger(x) && x >= 2 && x <= 65535 }, 'One is the zero component; at least one more is needed.');

export interface Hyperpriors {
  kind: VarianceHyperprior | 'none';
  zero: GammaShapeRate;
  others: GammaShapeRate;
  /** Beta(a, b) on π₀; used only where π₀ is learned. */
  beta: [number, number];
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
export const logit = (p: number): number => Math.log(p / (1 - p));

/** π = [π₀, (1 − π₀) softmax(logits of the others)]. */
export function mixingProportions(mixingLogits: readonly number[]): number[] {
  const zero = sigmoid(mixingLogits[0]);
  const others = mixingLogits.slice(1);
  const largest = Math.max(...others);
  const terms = others.map((value) => Math.exp(value - largest));
  const total = terms.reduce((sum, term) => sum + term, 0);
  return [zero, ...terms.map((term) => ((1 - zero) * term) / total)];
}

export function toMixture({ means, logVariances, mixingLogits }: MixtureParameters): Mixture {
  return { means, variances: logVariances.map(Math.exp), mixing: mixingProportions(mixingLogits) };
}

/**
 * Start of a mixture over weights in [least, greatest]: the zero component, and the others evenly from each end towards
 * zero, never on it (a second component on zero would share the zero component's weights and stop the pruning).
 */
export function initialParameters(
  components: number,
  [least, greatest]: readonly [number, number],
  initialStd: number,
  zeroMixing: number,
): MixtureParameters {
  const others = components - 1;
  const below = Math.max(0, -least);
  const above = Math.max(0, greatest);
  const span = below + above || 1;
  let negative = Math.round((others * below) / span);
  // Both signs get one, unless one hardly occurs: that mean would stand on zero.
  if (others > 1 && Math.min(below, above) > 1e-3 * span) negative = Math.min(others - 1, Math.max(1, negative));
  const means = [0];
  for (let k = 0; k < negative; k++) means.push(-(below || span / 2) * ((negative - k) / negative));
  for (let k = 0; k < others - negative; k++) means.push((above || span / 2) * ((k + 1) / (others - negative)));
  return {
    means,
    logVariances: means.map(() => 2 * Math.log(initialStd)),
    mixingLogits: means.map((_, j) => (j === 0 ? logit(zeroMixing) : 0)),
  };
}

/** Energy of the hyperpriors, once per mixture. */
export function hyperpriorEnergy(parameters: MixtureParameters, { kind, zero, others, beta }: Hyperpriors, learnZeroMixing: boolean): number {
  let energy = 0;
  if (kind !== 'none') parameters.logVariances.forEach((value, j) => (energy += varianceEnergy(kind, value, j === 0 ? zero : others)));
  if (learnZeroMixing) energy += betaEnergy(sigmoid(parameters.mixingLogits[0]), ...beta);
  return energy;
}

/**
 * d(C + hyperpriors)/d(parameters), from the sums over the weights:
 * dC/dμ_j = −Σ r (w − μ_j)/σ_j², dC/d log σ_j² = ½ Σ r (1 − (w − μ_j)²/σ_j²), dC/d logit_j = −Σ r_j + (π_j/(1−π₀)) Σ_{k≥1} Σ r_k.
 */
export function parameterGradients(
  parameters: MixtureParameters,
  statistics: MixtureStatistics,
  { kind, zero, others, beta }: Hyperpriors,
  learnZeroMixing: boolean,
): MixtureParameters {
  const { responsibility, first, second, count } = statistics;
  const mixing = mixingProportions(parameters.mixingLogits);
  const nonZero = responsibility.reduce((sum, r, j) => (j === 0 ? sum : sum + r), 0);
  const means = parameters.means.map((_, j) => (j === 0 ? 0 : -first[j] * Math.exp(-parameters.logVariances[j])));
  const logVariances = parameters.logVariances.map((value, j) => {
    const ofWeights = 0.5 * (responsibility[j] - second[j] * Math.exp(-value));
    return kind === 'none' ? ofWeights : ofWeights + varianceEnergySlope(kind, value, j === 0 ? zero : others);
  });
  const mixingLogits = mixing.map((pi, j) => {
    if (j > 0) return -responsibility[j] + (pi / (1 - mixing[0])) * nonZero;
    return learnZeroMixing ? -responsibility[0] + pi * count + betaEnergySlope(pi, ...beta) : 0;
  });
  return { means, logVariances, mixingLogits };
}

/** Adam's two moments for every parameter, and the number of steps taken. */
export interface AdamState {
  steps: number;
  first: MixtureParameters;
  second: MixtureParameters;
}

export function initialAdamState(components: number): AdamState {
  const zeros = (): MixtureParameters => ({
    means: new Array<number>(components).fill(0),
    logVariances: new Array<number>(components).fill(0),
    mixingLogits: new Array<number>(components).fill(0),
  });
  return { steps: 0, first: zeros(), second: zeros() };
}

const GROUPS = ['means', 'logVariances', 'mixingLogits'] as const;

/** One step of Adam (Kingma & Ba 2015, algorithm 1) with a learning rate per group; changes `parameters` and `state`. */
export function adamStep(
  parameters: MixtureParameters,
  gradients: MixtureParameters,
  state: AdamState,
  learningRates: Record<(typeof GROUPS)[number], number>,
  { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8 } = {},
): void {
  state.steps++;
  for (const group of GROUPS) {
    for (let j = 0; j < parameters[group].length; j++) {
      const gradient = gradients[group][j];
      if (gradient === 0 && state.second[group][j] === 0) continue;
      const m = (state.first[group][j] = beta1 * state.first[group][j] + (1 - beta1) * gradient);
      const v = (state.second[group][j] = beta2 * state.second[group][j] + (1 - beta2) * gradient * gradient);
      const unbiased = m / (1 - beta1 ** state.steps);
      parameters[group][j] -= (learningRates[group] * unbiased) / (Math.sqrt(v / (1 - beta2 ** state.steps)) + epsilon);
    }
  }
}
