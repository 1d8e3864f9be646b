/**
 * Soft weight sharing: a Gaussian-mixture prior over weights whose components are learned along with them.
 * Nowlan & Hinton, Neural Computation 4 (1992); Ullrich, Meeds & Welling, ICLR 2017.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Variable, serialization } from '@tensorflow/tfjs-core';
import { activeScope, activeTape } from '../autodiff/tape.js';
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, OPEN_UNIT, POSITIVE, warnOnce } from '../checks.js';
import { RegularizerBase } from '../host.js';
import { isReadInsideStep, MixtureEnergy } from '../kernels/mixture_energy/index.js';
import type { Mixture, MixtureStatistics } from '../kernels/mixture_energy/mixture.js';
import { maximize } from './expectation_maximization.js';
import type { GammaShapeRate, VarianceHyperprior } from './hyperpriors.js';
import {
  adamStep,
  hyperpriorEnergy,
  initialAdamState,
  initialParameters,
  parameterGradients,
  toMixture,
  type AdamState,
  type Hyperpriors,
  type MixtureParameters,
} from './mixture_parameters.js';

export interface MixtureLearningRates {
  means: number;
  logVariances: number;
  mixingLogits: number;
}

export interface GmmPriorArgs {
  /** Number of training examples N: the energy is weighted by τ/N, as the data loss is a mean over examples. Required. */
  trainingExamples: number;
  /** Number of Gaussians, the zero component included. Integer ≥ 2. Default 17. */
  components?: number;
  /** Strength τ > 0 of the prior. Default 5e-3 (`paper`), 3e-3 (`tutorial`). */
  tau?: number;
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
  /** Let weights with `trainable: false` take part too. Default false. */
  includeFrozen?: boolean;
  /** Identity of the mixture: regularizers of one saved model with the same name are one mixture again after loading. */
  name?: string;
}

/** What a resumable save holds beside the arguments. */
export interface GmmPriorState {
  parameters: MixtureParameters;
  adam: AdamState;
}

const OPTIONS = [
  'trainingExamples', 'components', 'tau', 'tauWarmup', 'zeroMixing', 'learnZeroMixing', 'initialStd', 'hyperprior',
  'zeroHyperprior', 'othersHyperprior', 'learning', 'learningRates', 'preset', 'includeFrozen', 'name',
] as const; // prettier-ignore

const PRESETS = {
  paper: { tau: 5e-3, learningRates: { means: 5e-4, logVariances: 5e-4, mixingLogits: 5e-4 } },
  tutorial: { tau: 3e-3, learningRates: { means: 1e-4, logVariances: 3e-3, mixingLogits: 3e-3 } },
};

const ZERO_HYPERPRIOR: GammaShapeRate = { shape: 5e3, rate: 2 };
const OTHERS_HYPERPRIOR: GammaShapeRate = { shape: 250, rate: 0.1 };

let created = 0;

/**
 * Adds τ/N · (C + hyperpriors) to the training loss, C = −Σ_i log Σ_j π_j N(w_i | μ_j, σ_j²), in nats. One instance given to
 * several layers is one mixture over all their weights. A weight used by several calls of its layer counts once, hyperpriors
 * count once. The mixture itself is trained by the callback `klMergeQuantization`.
 *
 * Cost of a step: O(weights) table look-ups; no weights × components tensor.
 *
 * ```js
 * const prior = gmmPrior({trainingExamples: 60000});
 * model.add(tf.layers.dense({units: 300, activation: 'relu', kernelRegularizer: prior, inputShape: [784]}));
 * model.add(tf.layers.dense({units: 10, activation: 'softmax', kernelRegularizer: prior}));
 * await model.fit(x, y, {epochs: 60, callbacks: [klMergeQuantization({prior})]});
 * ```
 *
 * Limits: the paper's use is retraining a network that is already trained (`attachRegularizer`); from scratch the prior
 * prunes before anything is learned, unless `tauWarmup` holds it back. `val_loss` and `evaluate()` leave the energy out
 * (the host leaves all regularizers out). On recurrent layers the host forgets regularizers; the callback and
 * `attachRegularizer` see to it that this one counts. A model saved with it needs this package to load, unless saved by
 * `compressed(…)`.
 *
 * Deviations from the papers: means start over the range of the actual weights with none on zero; steps use Adam.
 */
export class GmmPrior extends RegularizerBase {
  /** @nocollapse */
  static readonly className = 'GmmPrior';

  readonly name: string;
  readonly trainingExamples: number;
  readonly components: number;
  readonly tau: number;
  readonly includeFrozen: boolean;
  readonly #args: GmmPriorArgs;
  readonly #tauWarmup: number;
  readonly #zeroMixing: number;
  readonly #initialStd: number;
  readonly #learnZeroMixing: boolean;
  readonly #hyperpriors: Hyperpriors;
  readonly #learning: 'gradient' | 'em' | 'emPerEpoch';
  readonly #learningRates: MixtureLearningRates;
  /** Evaluates training steps, whose sums the mixture learns from; and everything else. */
  readonly #training = new MixtureEnergy();
  readonly #looking = new MixtureEnergy({ keepsSums: false });

  #parameters: MixtureParameters | null = null;
  #adam: AdamState;
  #initialized = false;
  /** The evaluation that is under way and the weights it has met. */
  #round: { evaluation: object; met: Set<Tensor>; energy: MixtureEnergy } | null = null;
  #roundsSinceStep = 0;
  /** Sums over the weights that the mixture has not learned from yet. */
  #statistics: MixtureStatistics | null = null;
  #detached = new WeakSet<Tensor>();
  #lastEnergy = NaN;
  #savesNow = 0;

  constructor(args: GmmPriorArgs) {
    super();
    const who = 'gmmPrior';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with trainingExamples, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.#args = args;
    const preset = PRESETS[checkChoice(who, 'preset', args.preset ?? 'paper', ['paper', 'tutorial'])];
    this.trainingExamples = checkNumber(who, 'trainingExamples', args.trainingExamples, POSITIVE,
      'Give the number of examples in the training set: the energy is weighted by tau / trainingExamples.'); // prettier-ignore
    this.components = checkNumber(who, 'components', args.components ?? 17, integerAtLeast(2), 'One is the zero component; at least one more is needed.');
    this.tau = checkNumber(who, 'tau', args.tau ?? preset.tau, POSITIVE, 'Leave the regularizer away to train without a prior.');
    this.#tauWarmup = checkNumber(who, 'tauWarmup', args.tauWarmup ?? 0, integerAtLeast(0), 'It counts mixture steps (batches).');
    this.#zeroMixing = checkNumber(who, 'zeroMixing', args.zeroMixing ?? 0.99, OPEN_UNIT);
    this.#initialStd = checkNumber(who, 'initialStd', args.initialStd ?? 0.25, POSITIVE);
    this.includeFrozen = checkBoolean(who, 'includeFrozen', args.includeFrozen ?? false);
    const learn = args.learnZeroMixing ?? false;
    if (typeof learn !== 'boolean' && !(Array.isArray(learn) && learn.length === 2)) {
      throw new Error(`${who}: learnZeroMixing must be true, false, or the two parameters [a, b] of a Beta density, got ${describe(learn)}.`);
    }
    if (args.name !== undefined && (typeof args.name !== 'string' || args.name === '')) throw new Error(`${who}: name must be a string that is not empty, got ${describe(args.name)}.`);
    this.#learnZeroMixing = learn !== false;
    this.#hyperpriors = {
      kind: checkChoice(who, 'hyperprior', args.hyperprior ?? 'gammaPrecision', ['gammaPrecision', 'inverseGammaVariance', 'none']),
      zero: checkShapeRate(who, 'zeroHyperprior', args.zeroHyperprior ?? ZERO_HYPERPRIOR),
      others: checkShapeRate(who, 'othersHyperprior', args.othersHyperprior ?? OTHERS_HYPERPRIOR),
      beta: Array.isArray(learn) ? [checkNumber(who, 'learnZeroMixing[0]', learn[0], POSITIVE), checkNumber(who, 'learnZeroMixing[1]', learn[1], POSITIVE)] : [1, 1],
    };
    this.#learning = checkChoice(who, 'learning', args.learning ?? 'gradient', ['gradient', 'em', 'emPerEpoch']);
    checkKeys(`${who}: learningRates`, args.learningRates ?? {}, ['means', 'logVariances', 'mixingLogits']);
    this.#learningRates = { ...preset.learningRates, ...args.learningRates };
    for (const [group, rate] of Object.entries(this.#learningRates)) checkNumber(who, `learningRates.${group}`, rate, NON_NEGATIVE);
    this.name = args.name ?? `gmmPrior${++created}`;
    // A loaded one must not share its name with the next that gets one by itself.
    created = Math.max(created, Number(/^gmmPrior(\d+)$/.exec(this.name)?.[1] ?? 0));
    this.#adam = initialAdamState(this.components);
  }

  /** A copy of the mixture as it stands; before its first use, null. Component 0 is the zero component. */
  get mixture(): { means: number[]; variances: number[]; mixing: number[] } | null {
    if (this.#parameters === null) return null;
    const { means, variances, mixing } = toMixture(this.#parameters);
    return { means: Array.from(means), variances: Array.from(variances), mixing: Array.from(mixing) };
  }

  /** τ/N · (C + hyperpriors) of the last training step, in nats; NaN before the first. */
  get lastEnergy(): number {
    return this.#lastEnergy;
  }

  /** Mixture steps taken so far. */
  get steps(): number {
    return this.#adam.steps;
  }

  /** τ at this step, warm-up included. */
  get currentTau(): number {
    return this.#tauWarmup > 0 ? this.tau * Math.min(1, this.#adam.steps / this.#tauWarmup) : this.tau;
  }

  /**
   * The energy of `weight` for the loss: τ/N · C(weight), plus the hyperpriors at the first weight of an evaluation; 0 for a
   * weight that this evaluation has met already, that is frozen, or that was detached. An evaluation is one recording of
   * gradients (a training step) or, outside of those, one `tf.tidy` (in which a model adds up its losses).
   */
  override apply(weight: Tensor): Scalar {
    const tape = activeTape();
    const evaluation = tape ?? activeScope() ?? {};
    return tfc.tidy(() => {
      if (!this.governs(weight)) return tfc.scalar(0);
      if (this.#parameters === null) this.#initializeFromFirst(weight);
      if (this.#round?.evaluation !== evaluation) this.#beginRound(evaluation, tape !== null);
      const { met, energy } = this.#round!;
      if (met.has(weight)) return tfc.scalar(0);
      const scale = this.currentTau / this.trainingExamples;
      const value = energy.of(weight, scale);
      met.add(weight);
      return met.size === 1 ? tfc.add(value, scale * this.hyperpriorEnergy) : value;
    });
  }

  /** The energy of the hyperpriors, in nats, not weighted. */
  get hyperpriorEnergy(): number {
    return this.#parameters === null ? 0 : hyperpriorEnergy(this.#parameters, this.#hyperpriors, this.#learnZeroMixing);
  }

  /** Whether `weight` takes part: it was not detached, and it is trainable (or frozen ones are asked for). */
  governs(weight: Tensor): boolean {
    if (this.#detached.has(weight)) return false;
    return this.includeFrozen || (weight as Variable).trainable !== false;
  }

  /** Stops governing a weight whose layer the host still binds to this regularizer; `attach` takes that back. */
  detach(weight: Tensor): void {
    this.#detached.add(weight);
  }

  attach(weight: Tensor): void {
    this.#detached.delete(weight);
  }

  isDetached(weight: Tensor): boolean {
    return this.#detached.has(weight);
  }

  /** Whether the mixture stands where {@link initialize}, training or a load has put it. */
  get initialized(): boolean {
    return this.#initialized;
  }

  /** Starts the mixture afresh with its means spread over weights in [least, greatest]. */
  initialize(range: readonly [number, number]): void {
    if (!range.every(Number.isFinite)) throw new Error(`gmmPrior '${this.name}': the weights it governs are not finite, range ${describe(range)}.`);
    this.#parameters = initialParameters(this.components, range, this.#initialStd, this.#zeroMixing);
    this.#adam = initialAdamState(this.components);
    this.#initialized = true;
  }

  /**
   * Moves the mixture by what the last training step has seen of the weights. Called after each batch; `epochEnds` says that it
   * was an epoch's last, for `learning: 'emPerEpoch'`.
   * @returns whether every weight that the step met was finite; if not, the mixture is left as it is.
   */
  async step({ epochEnds = false }: { epochEnds?: boolean } = {}): Promise<boolean> {
    if (this.#parameters === null) return true;
    if (this.#roundsSinceStep > 0) {
      const statistics = await this.#training.statistics();
      this.#roundsSinceStep = 0;
      if (statistics.nonFinite) return false;
      const scale = this.currentTau / this.trainingExamples;
      this.#lastEnergy = scale * (statistics.energy + this.hyperpriorEnergy);
      this.#statistics = statistics;
      // Adam counts its own.
      if (this.#learning !== 'gradient') this.#adam.steps++;
    }
    if (this.#statistics === null || (this.#learning === 'emPerEpoch' && !epochEnds)) return true;
    this.#learn(this.#statistics);
    this.#statistics = null;
    this.#initialized = true;
    return true;
  }

  #learn(statistics: MixtureStatistics): void {
    const parameters = this.#parameters!;
    if (this.#learning !== 'gradient') {
      this.#parameters = maximize(parameters, statistics, this.#hyperpriors, this.#learnZeroMixing);
      return;
    }
    const gradients = parameterGradients(parameters, statistics, this.#hyperpriors, this.#learnZeroMixing);
    // Adam's ε is meant for gradients of the loss, which are τ/N times these.
    const epsilon = (1e-8 * this.trainingExamples) / this.tau;
    adamStep(parameters, gradients, this.#adam, this.#learningRates, { epsilon });
  }

  /** Frees what the last step keeps on a GPU. */
  dispose(): void {
    this.#training.dispose();
    this.#round = null;
  }

  override getConfig(): serialization.ConfigDict {
    const state = this.#parameters === null ? {} : { state: { parameters: copy(this.#parameters), adam: copy(this.#adam) } };
    // Tells the regularizers of one save apart, see fromConfig; counts within one synchronous save.
    if (this.#savesNow === 0) queueMicrotask(() => (this.#savesNow = 0));
    const config = { ...(copy(this.#args) as object), name: this.name, ...state, occurrence: this.#savesNow++ } as unknown as serialization.ConfigDict;
    configured.set(config, this);
    return config;
  }

  /**
   * Reunites the regularizers that one saved model names alike: the host makes an instance per layer. A config that was not
   * through a file comes from cloning a layer (Bidirectional does): the clone gets the same instance.
   */
  static fromConfig<T extends serialization.Serializable>(_cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict): T {
    const original = configured.get(config);
    if (original) return original as unknown as T;
    const { state, occurrence, ...args } = config as unknown as GmmPriorArgs & {
      state?: GmmPriorState;
      occurrence?: number;
    };
    const known = loading.get(args.name ?? '');
    // The same occurrence twice means that another model is being loaded.
    if (known && occurrence !== undefined && !known.occurrences.has(occurrence)) {
      known.occurrences.add(occurrence);
      return known.prior as unknown as T;
    }
    // The host adds a key of its own.
    delete (args as Record<string, unknown>)['customObjects'];
    const prior = new GmmPrior(args);
    if (state) prior.#restore(state);
    if (loading.size === 0) queueMicrotask(() => loading.clear());
    loading.set(prior.name, { prior, occurrences: new Set(occurrence === undefined ? [] : [occurrence]) });
    return prior as unknown as T;
  }

  /** Without a callback nobody has seen all weights: the first one met gives the range, until somebody initializes. */
  #initializeFromFirst(weight: Tensor): void {
    if (!isReadInsideStep()) {
      throw new Error(
        `gmmPrior '${this.name}': the mixture is not initialized, and on backend '${tfc.getBackend()}' weights cannot be read inside a training step. ` +
          'Add klMergeQuantization({prior}) to the callbacks of model.fit, or call prior.initialize([least, greatest]) before.',
      );
    }
    this.initialize([tfc.min(weight).dataSync()[0], tfc.max(weight).dataSync()[0]]);
    this.#initialized = false;
  }

  #restore({ parameters, adam }: GmmPriorState): void {
    const groups = [parameters, adam.first, adam.second].flatMap((group) => [group.means, group.logVariances, group.mixingLogits]);
    if (groups.some((group) => group.length !== this.components || !group.every(Number.isFinite))) {
      throw new Error(`gmmPrior '${this.name}': the saved state does not hold ${this.components} finite components. The file is damaged or was edited.`);
    }
    this.#parameters = copy(parameters);
    this.#adam = copy(adam);
    this.#initialized = true;
  }

  #beginRound(evaluation: object, training: boolean): void {
    const energy = training ? this.#training : this.#looking;
    this.#round = { evaluation, met: new Set(), energy };
    energy.begin(toMixture(this.#parameters!));
    if (!training || ++this.#roundsSinceStep !== 3) return;
    warnOnce(`gmmPrior:${this.name}`,
      `gmmPrior '${this.name}': nobody trains its mixture. Add klMergeQuantization({prior}) to the callbacks of model.fit.`); // prettier-ignore
  }
}

/** Configs that were never written → whose they are. */
const configured = new WeakMap<object, GmmPrior>();

const loading = new Map<string, { prior: GmmPrior; occurrences: Set<number> }>();

function checkShapeRate(who: string, option: string, value: GammaShapeRate): GammaShapeRate {
  if (typeof value !== 'object' || value === null) throw new Error(`${who}: ${option} must be {shape, rate}, got ${describe(value)}.`);
  checkKeys(`${who}: ${option}`, value, ['shape', 'rate']);
  return { shape: checkNumber(who, `${option}.shape`, value.shape, POSITIVE), rate: checkNumber(who, `${option}.rate`, value.rate, POSITIVE) };
}

function copy<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** A Gaussian-mixture prior for `kernelRegularizer`, `biasRegularizer`, … or {@link attachRegularizer}. See {@link GmmPrior}. */
export function gmmPrior(args: GmmPriorArgs): GmmPrior {
  return new GmmPrior(args);
}

export type { Mixture };
tfc.serialization.registerClass(GmmPrior);
