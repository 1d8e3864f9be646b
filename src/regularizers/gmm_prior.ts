/**
 * Soft weight sharing: a Gaussian-mixture prior over weights whose components are learned along with them.
 * Nowlan & Hinton, Neural Computation 4 (1992); Ullrich, Meeds & Welling, ICLR 2017.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Variable, serialization } from '@tensorflow/tfjs-core';
import { activeScope, activeTape } from '../autodiff/tape.js';
import { describe, warnOnce } from '../checks.js';
import { RegularizerBase } from '../host.js';
import { isReadInsideStep, MixtureEnergy } from '../kernels/mixture_energy/index.js';
import type { Mixture, MixtureStatistics } from '../kernels/mixture_energy/mixture.js';
import { maximize } from './expectation_maximization.js';
import { resolveOptions, type GmmPriorArgs, type GmmPriorOptions } from './gmm_prior_options.js';
import {
  adamStep,
  hyperpriorEnergy,
  initialAdamState,
  initialParameters,
  parameterGradients,
  toMixture,
  type AdamState,
  type MixtureParameters,
} from './mixture_parameters.js';
import { PriorStrength, type PriorStrengthState } from './prior_strength.js';

/** What a resumable save holds beside the arguments. */
export interface GmmPriorState {
  parameters: MixtureParameters;
  adam: AdamState;
  strength: PriorStrengthState;
}

let created = 0;

/**
 * Adds τ/N · (C + hyperpriors) to the training loss (with `dataNoise`, 2σ_y²/K times that), C = −Σ_i log Σ_j π_j N(w_i | μ_j, σ_j²), in
 * nats. One instance given to several layers is one mixture over all their weights. A weight used by several calls of its layer
 * counts once, hyperpriors count once. The mixture itself is trained by the callback `klMergeQuantization`.
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
  readonly includeFrozen: boolean;
  readonly #args: GmmPriorArgs;
  readonly #options: GmmPriorOptions;
  readonly #strength: PriorStrength;
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
  /** Weights that the last training step met. */
  #count = 0;
  #stepsUntold = 0;
  #savesNow = 0;

  constructor(args: GmmPriorArgs) {
    super();
    const options = resolveOptions(args);
    this.#args = args;
    this.#options = options;
    this.#strength = new PriorStrength('gmmPrior', options);
    this.trainingExamples = options.trainingExamples;
    this.components = options.components;
    this.includeFrozen = options.includeFrozen;
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

  /** τ as given, of a schedule the greatest; where it is found, NaN until it is. */
  get tau(): number {
    return this.#strength.tau;
  }

  /** τ at this step, schedule and warm-up included; 0 while it is being found. */
  get currentTau(): number {
    return this.#strength.tauAt(this.#adam.steps);
  }

  /** Standard deviation σ_y of the targets' noise, given or learned so far; NaN where there is none. */
  get dataNoise(): number {
    return this.#strength.noise;
  }

  /** Whether {@link observe} has to be told data losses at the moment. */
  get observes(): boolean {
    return this.#strength.observes;
  }

  /**
   * Tells the data loss of the last training step, and how many numbers the model predicts per example (null: no fixed number):
   * `tau: 'auto'` and `dataNoise` go by them. `klMergeQuantization` does it.
   */
  observe(dataLoss: number, outputs: number | null): void {
    this.#stepsUntold = 0;
    this.#strength.observe({ dataLoss, weights: this.#count, outputs });
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
      const scale = this.#strength.scaleAt(this.#adam.steps);
      const value = energy.of(weight, scale);
      met.add(weight);
      return met.size === 1 ? tfc.add(value, scale * this.hyperpriorEnergy) : value;
    });
  }

  /** The energy of the hyperpriors, in nats, not weighted. */
  get hyperpriorEnergy(): number {
    return this.#parameters === null ? 0 : hyperpriorEnergy(this.#parameters, this.#options.hyperpriors, this.#options.learnZeroMixing);
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
    this.#parameters = initialParameters(this.components, range, this.#options.initialStd, this.#options.zeroMixing);
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
      this.#count = statistics.count;
      this.#lastEnergy = this.#strength.scaleAt(this.#adam.steps) * (statistics.energy + this.hyperpriorEnergy);
      this.#statistics = statistics;
      if (this.observes && ++this.#stepsUntold === 3) {
        warnOnce(`gmmPrior:${this.name}:untold`,
          `gmmPrior '${this.name}': nobody tells it the data loss that tau: 'auto' and dataNoise go by. Add klMergeQuantization({prior}) to the callbacks of model.fit, or call prior.observe(loss, outputs).`); // prettier-ignore
      }
      // Adam counts its own.
      if (this.#options.learning !== 'gradient') this.#adam.steps++;
    }
    if (this.#statistics === null || (this.#options.learning === 'emPerEpoch' && !epochEnds)) return true;
    this.#learn(this.#statistics);
    this.#statistics = null;
    this.#initialized = true;
    return true;
  }

  #learn(statistics: MixtureStatistics): void {
    const parameters = this.#parameters!;
    const { learning, hyperpriors, learnZeroMixing, learningRates, presetTau } = this.#options;
    if (learning !== 'gradient') {
      this.#parameters = maximize(parameters, statistics, hyperpriors, learnZeroMixing);
      return;
    }
    const gradients = parameterGradients(parameters, statistics, hyperpriors, learnZeroMixing);
    // Adam's ε is meant for gradients of the loss, which are τ/N times these.
    const epsilon = (1e-8 * this.trainingExamples) / (this.tau || presetTau);
    adamStep(parameters, gradients, this.#adam, learningRates, { epsilon });
  }

  /** Frees what the last step keeps on a GPU. */
  dispose(): void {
    this.#training.dispose();
    this.#round = null;
  }

  override getConfig(): serialization.ConfigDict {
    const state = this.#parameters === null ? {} : { state: { parameters: copy(this.#parameters), adam: copy(this.#adam), strength: this.#strength.state } };
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

  #restore({ parameters, adam, strength }: GmmPriorState): void {
    const groups = [parameters, adam.first, adam.second].flatMap((group) => [group.means, group.logVariances, group.mixingLogits]);
    if (groups.some((group) => group.length !== this.components || !group.every(Number.isFinite))) {
      throw new Error(`gmmPrior '${this.name}': the saved state does not hold ${this.components} finite components. The file is damaged or was edited.`);
    }
    this.#parameters = copy(parameters);
    this.#adam = copy(adam);
    this.#strength.restore(strength);
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

function copy<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

/** A Gaussian-mixture prior for `kernelRegularizer`, `biasRegularizer`, … or {@link attachRegularizer}. See {@link GmmPrior}. */
export function gmmPrior(args: GmmPriorArgs): GmmPrior {
  return new GmmPrior(args);
}

export type { Mixture };
tfc.serialization.registerClass(GmmPrior);
