/** What {@link GmmPrior} can be told, checked and with its defaults. */
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, OPEN_UNIT, POSITIVE } from '../checks.js';
import type { GammaShapeRate, VarianceHyperprior } from './hyperpriors.js';
import type { Hyperpriors } from './mixture_parameters.js';
import { checkComponents } from './mixture_parameters.js';
import { checkTau, type DataNoise, type PriorStrengthArgs, type Tau } from './prior_strength.js';

export interface MixtureLearningRates {
  means: number;
  logVariances: number;
  mixingLogits: number;
}

export interface GmmPriorArgs {
  /** Number of training examples N: the energy is weighted by τ/N, as the data loss is a mean over examples. Required. */
  trainingExamples: number;
  /** Number of Gaussians, the zero component included. Integer from 2 to 65 535. Default 17. */
  components?: number;
  /**
   * Strength τ of the prior: a number > 0; points [step, τ] of a schedule, straight in between; or `auto`, which fixes τ after the
   * first batches so that one nat for each weight counts as much as a tenth of the data loss (`{ share }`: as that share of it): for networks that are
   * trained already, as the loss of an untrained one makes it far too strong, and with smoothed labels, as the loss on hard ones that are all learnt is next
   * to nothing. Default 5e-3 (`paper`), 3e-3 (`tutorial`); with `dataNoise` 1, the posterior.
   */
  tau?: Tau;
  /** Mixture steps over which τ rises linearly from 0. Integer ≥ 0. Default 0. */
  tauWarmup?: number;
  /** Proportion π₀ of the zero component, in (0, 1): its fixed value, or its start where it is learned. Default 0.99. */
  zeroMixing?: number;
  /** Learn π₀ under a Beta hyperprior: `true` for Beta(1, 1), or its two parameters. Default false: π₀ is fixed. */
  learnZeroMixing?: boolean | [number, number];
  /** σ that every component starts with. Default 0.25. */
  initialStd?: number;
  /** Density that keeps the σ from collapsing or spreading; see {@link VarianceHyperprior}. Default `gammaPrecision`. */
  hyperprior?: VarianceHyperprior | 'none';
  /** Shape and rate for the zero component. Default { shape: 5000, rate: 2 }, i.e. σ ≈ 0.02. */
  zeroHyperprior?: GammaShapeRate;
  /** Shape and rate for the other components. Default { shape: 250, rate: 0.1 }, i.e. σ ≈ 0.02. */
  othersHyperprior?: GammaShapeRate;
  /**
   * How the mixture follows the weights: Adam steps along its gradients (`gradient`), or expectation maximisation, a closed-form
   * M-step on the sums of a batch, after every batch (`em`) or every epoch (`emPerEpoch`). Default `gradient`.
   */
  learning?: 'gradient' | 'em' | 'emPerEpoch';
  /** Adam learning rates of the mixture's parameters, for `gradient`. Defaults by preset. */
  learningRates?: Partial<MixtureLearningRates>;
  /**
   * `paper`: τ 5e-3, all mixture rates 5e-4. `tutorial` (the first author's notebook): τ 3e-3, rates 1e-4, 3e-3, 3e-3, meant
   * for weights trained by Adam at 5e-4.
   */
  preset?: 'paper' | 'tutorial';
  /**
   * For regression on the mean squared error: standard deviation σ_y of the targets' noise, or `learned` from the training error.
   * The loss then has the minimum of K/(2σ_y²) · MSE + τ/N · C for K outputs. Learned, it falls with the error, and the prior's
   * weight with it: a network that can fit its targets exactly needs a number. Default: τ/N · C beside the loss as it is.
   */
  dataNoise?: DataNoise;
  /** Let weights with `trainable: false` take part too. Default false. */
  includeFrozen?: boolean;
  /** Identity of the mixture: regularizers of one saved model with the same name are one mixture again after loading. */
  name?: string;
}

/** Every option with its value. */
export interface GmmPriorOptions extends PriorStrengthArgs {
  components: number;
  /** τ of the preset, for what needs one before τ is known. */
  presetTau: number;
  zeroMixing: number;
  initialStd: number;
  includeFrozen: boolean;
  learnZeroMixing: boolean;
  hyperpriors: Hyperpriors;
  learning: 'gradient' | 'em' | 'emPerEpoch';
  learningRates: MixtureLearningRates;
}

const OPTIONS = [
  'trainingExamples', 'components', 'tau', 'tauWarmup', 'zeroMixing', 'learnZeroMixing', 'initialStd', 'hyperprior',
  'zeroHyperprior', 'othersHyperprior', 'learning', 'learningRates', 'preset', 'dataNoise', 'includeFrozen', 'name',
] as const; // prettier-ignore

const PRESETS = {
  paper: { tau: 5e-3, learningRates: { means: 5e-4, logVariances: 5e-4, mixingLogits: 5e-4 } },
  tutorial: { tau: 3e-3, learningRates: { means: 1e-4, logVariances: 3e-3, mixingLogits: 3e-3 } },
};

const ZERO_HYPERPRIOR: GammaShapeRate = { shape: 5e3, rate: 2 };
const OTHERS_HYPERPRIOR: GammaShapeRate = { shape: 250, rate: 0.1 };

/** @throws Error that names the option, what was expected and what came. */
export function resolveOptions(args: GmmPriorArgs): GmmPriorOptions {
  const who = 'gmmPrior';
  if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with trainingExamples, got ${describe(args)}.`);
  checkKeys(who, args, OPTIONS);
  const { tau, learningRates } = PRESETS[checkChoice(who, 'preset', args.preset ?? 'paper', ['paper', 'tutorial'])];
  const learn = args.learnZeroMixing ?? false;
  if (typeof learn !== 'boolean' && !(Array.isArray(learn) && learn.length === 2)) {
    throw new Error(`${who}: learnZeroMixing must be true, false, or the two parameters [a, b] of a Beta density, got ${describe(learn)}.`);
  }
  if (args.name !== undefined && (typeof args.name !== 'string' || args.name === '')) throw new Error(`${who}: name must be a string that is not empty, got ${describe(args.name)}.`);
  checkKeys(`${who}: learningRates`, args.learningRates ?? {}, ['means', 'logVariances', 'mixingLogits']);
  const learning = checkChoice(who, 'learning', args.learning ?? 'gradient', ['gradient', 'em', 'emPerEpoch']);
  if (args.learningRates !== undefined && learning !== 'gradient') throw new Error(`${who}: learningRates are of gradient steps and change nothing with learning '${learning}'. Leave one of them out.`);
  const rates = { ...learningRates, ...args.learningRates };
  for (const [group, rate] of Object.entries(rates)) checkNumber(who, `learningRates.${group}`, rate, NON_NEGATIVE);
  return {
    trainingExamples: checkNumber(who, 'trainingExamples', args.trainingExamples, POSITIVE,
      'Give the number of examples in the training set: the energy is weighted by tau / trainingExamples.'), // prettier-ignore
    components: checkComponents(who, args.components ?? 17),
    tau: checkTau(who, args.tau ?? (args.dataNoise === undefined ? tau : 1)),
    tauWarmup: checkNumber(who, 'tauWarmup', args.tauWarmup ?? 0, integerAtLeast(0), 'It counts mixture steps (batches).'),
    presetTau: tau,
    zeroMixing: checkNumber(who, 'zeroMixing', args.zeroMixing ?? 0.99, OPEN_UNIT),
    initialStd: checkNumber(who, 'initialStd', args.initialStd ?? 0.25, POSITIVE),
    includeFrozen: checkBoolean(who, 'includeFrozen', args.includeFrozen ?? false),
    learnZeroMixing: learn !== false,
    hyperpriors: {
      kind: checkChoice(who, 'hyperprior', args.hyperprior ?? 'gammaPrecision', ['gammaPrecision', 'inverseGammaVariance', 'none']),
      zero: checkShapeRate(who, 'zeroHyperprior', args.zeroHyperprior ?? ZERO_HYPERPRIOR),
      others: checkShapeRate(who, 'othersHyperprior', args.othersHyperprior ?? OTHERS_HYPERPRIOR),
      beta: Array.isArray(learn) ? [checkNumber(who, 'learnZeroMixing[0]', learn[0], POSITIVE), checkNumber(who, 'learnZeroMixing[1]', learn[1], POSITIVE)] : [1, 1],
    },
    learning,
    learningRates: rates,
    dataNoise: args.dataNoise,
  };
}

function checkShapeRate(who: string, option: string, value: GammaShapeRate): GammaShapeRate {
  if (typeof value !== 'object' || value === null) throw new Error(`${who}: ${option} must be {shape, rate}, got ${describe(value)}.`);
  checkKeys(`${who}: ${option}`, value, ['shape', 'rate']);
  return { shape: checkNumber(who, `${option}.shape`, value.shape, POSITIVE), rate: checkNumber(who, `${option}.rate`, value.rate, POSITIVE) };
}
