/**
 * Trains the mixture of {@link GmmPrior} during `model.fit`, then merges its components and quantises the weights.
 * Ullrich, Meeds & Welling, ICLR 2017, §4.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { checkBoolean, checkChoice, checkKeys, checkNames, checkNumber, describe, NON_NEGATIVE, POSITIVE } from '../checks.js';
import { variableOf } from '../host.js';
import { addForgottenLosses } from '../regularizers/attach.js';
import { GmmPrior } from '../regularizers/gmm_prior.js';
import { tellDataLoss } from './data_loss.js';
import { heldByFit, type FitResource } from './fit_resources.js';
import { chooseHeld, HeldWeights } from './held_weights.js';
import { checkNotQuantized, checkSchedule, checkTrained, warnOfLateParts } from './quantization_checks.js';
import { tellReport, type QuantizationReport } from './quantization_report.js';
import { governedBy, quantizationTargets, type QuantizationTargets } from './quantization_targets.js';
import { mergeMixture, quantizeWeights, type MergedMixture, type QuantizationOptions, type QuantizedWeights } from './quantize_weights.js';
import { WeightGuard } from './weight_guard.js';

type Tensors = Tensor | Tensor[];

export interface KLMergeQuantizationArgs {
  /** The prior, or priors, to train and to quantise with. Default: all that the model carries. */
  prior?: GmmPrior | GmmPrior[];
  /** Pairs of components below this symmetric KL divergence (nats) are merged. ≥ 0. Default 0.5; the published 1e-10 merges nothing. */
  threshold?: number;
  /** Variance of a merged pair: `average` (π-weighted, the paper) or `moments` (exact). Default `average`. */
  variance?: 'average' | 'moments';
  /** Whether the zero component may be merged with a neighbour. Default false. */
  mergeZero?: boolean;
  /** Components with a proportion below this are dropped first. Default 1e-6. */
  deadMixing?: number;
  /** Assign weights by π_j N(w | j) (`posterior`) or by N(w | j) (`likelihood`). Default `posterior`. */
  assignment?: 'posterior' | 'likelihood';
  /** Value of a component: its `means`, or the `centroids` of the weights assigned to it. Default `means`. */
  values?: 'means' | 'centroids';
  /** Names of layers whose weights stay as they are, each with all that is inside it (a wrapper, a nested model). */
  skip?: string[];
  /** Quantise biases: those that carry a prior (default), all of the layers with a prior (`true`), or none (`false`). */
  biases?: boolean;
  /** Inputs and targets on which the model is evaluated before and after quantising; the results stand in the report. */
  evaluationData?: [Tensors, Tensors];
  /** Relative distance ‖w − q‖/‖w‖ above which the mixture counts as not converged. Default 0.25. */
  maxDistance?: number;
  /** What to do then: `warn`, or `restore` the unquantised weights (and warn). Default `warn`. */
  whenUnconverged?: 'warn' | 'restore';
  /**
   * Quantise in parts before training ends: pairs [epoch, share], both increasing. From that epoch (counted from 0) on, weights of
   * the zero component are 0 and that share (in [0, 1)) of the others have their values, while the rest trains. Default: none.
   */
  incremental?: [epoch: number, share: number][];
  /** Quantise when training ends. Default true; otherwise call {@link KLMergeQuantization.quantize}. */
  quantizeAtEnd?: boolean;
  /** Print merges and distances when quantising. Default true. */
  verbose?: boolean;
}

const OPTIONS = [
  'prior', 'threshold', 'variance', 'mergeZero', 'deadMixing', 'assignment', 'values', 'skip', 'biases', 'evaluationData',
  'maxDistance', 'whenUnconverged', 'incremental', 'quantizeAtEnd', 'verbose',
] as const; // prettier-ignore

const WHO = 'klMergeQuantization';

/**
 * Between batches it steps the mixture (means, variances, proportions) with the prior's own learning rates; at the end of
 * training, or when {@link quantize} is called, it merges components and gives every weight the value of its component.
 *
 * Per epoch it adds to the logs, and so to `history`: `gmmComponents` (left if merged now), `gmmEnergy` (τ/N·(C + hyperpriors) of
 * the last batch; `val_loss` leaves it out), `gmmTau` (τ now), `gmmNoise` (σ_y, where a prior has `dataNoise`) and `gmmRatio` (estimate: 4 bytes × all parameters over an ideal order-0 code of the
 * indices, the codebook and the other weights; `sizeReport` measures).
 *
 * Many small weights that are harmless to zero one by one are not so together. With `incremental` they become 0 some epochs before
 * the end and stay so, then more and more of the other weights take their values, and those that still train make up for it
 * (Zhou et al., ICLR 2017). On LeNet-300-100 at 112× that brought the held-out error after quantising from 2.3 % to 1.7 %. A part is
 * put off from epoch to epoch while it would move the weights of its mixture by more than `maxDistance`. It adds `gmmHeld` to the logs: the share
 * of the weights that are held.
 *
 * A weight that is not finite stops training with an error that names its layer, after the last good weights are put
 * back; for that it holds up to three older copies of the model's weights.
 *
 * ```js
 * const quantization = klMergeQuantization({prior, evaluationData: [xVal, yVal]});
 * await model.fit(x, y, {epochs: 60, callbacks: [quantization]});
 * console.log(quantization.report.components, quantization.report.relativeDistance);
 * await model.save(compressed('file://model.tfws'));
 * ```
 *
 * Give it as an instance (`callbacks: [quantization]`), before callbacks such as `EarlyStopping` that monitor what it logs.
 */
export class KLMergeQuantization extends tfl.Callback {
  /** What the last quantisation did; null before. */
  report: QuantizationReport | null = null;

  readonly #args: KLMergeQuantizationArgs;
  readonly #options: QuantizationOptions;
  readonly #maxDistance: number;
  #guard: WeightGuard | null = null;
  /** Guard, held weights and what priors keep, while a fit goes on. */
  #fit: FitResource | null = null;
  #priors: GmmPrior[] = [];
  #unquantized: { weight: tfl.LayerVariable; values: Float32Array }[] = [];
  #epoch = 0;
  /** Since weights were last quantised by this callback: parts that `incremental` holds may have left few values then. */
  #trained = false;
  /** Of each mixture, how many entries of `incremental` are done, and the weights that they hold. */
  readonly #held = new Map<GmmPrior, { parts: number; weights: HeldWeights }>();

  constructor(args: KLMergeQuantizationArgs = {}) {
    super();
    if (args instanceof GmmPrior) throw new Error(`${WHO}: expected options, got a gmmPrior. Write klMergeQuantization({prior}).`);
    checkKeys(WHO, args, OPTIONS);
    const priors = args.prior === undefined ? [] : [args.prior].flat();
    const foreign = priors.find((prior) => !(prior instanceof GmmPrior));
    if (foreign !== undefined) throw new Error(`${WHO}: prior must be made by gmmPrior(…), got ${describe(foreign)}.`);
    this.#args = args;
    this.#options = {
      threshold: checkNumber(WHO, 'threshold', args.threshold ?? 0.5, NON_NEGATIVE, 'Use 0 to merge nothing.'),
      variance: checkChoice(WHO, 'variance', args.variance ?? 'average', ['average', 'moments']),
      mergeZero: checkBoolean(WHO, 'mergeZero', args.mergeZero ?? false),
      deadMixing: checkNumber(WHO, 'deadMixing', args.deadMixing ?? 1e-6, NON_NEGATIVE),
      useMixing: checkChoice(WHO, 'assignment', args.assignment ?? 'posterior', ['posterior', 'likelihood']) === 'posterior',
      values: checkChoice(WHO, 'values', args.values ?? 'means', ['means', 'centroids']),
    };
    this.#maxDistance = checkNumber(WHO, 'maxDistance', args.maxDistance ?? 0.25, POSITIVE);
    checkChoice(WHO, 'whenUnconverged', args.whenUnconverged ?? 'warn', ['warn', 'restore']);
    checkNames(WHO, 'skip', args.skip ?? []);
    checkSchedule(WHO, args.incremental ?? []);
    for (const option of ['biases', 'quantizeAtEnd', 'verbose'] as const) checkBoolean(WHO, option, args[option] ?? false);
    if (args.evaluationData !== undefined && !(Array.isArray(args.evaluationData) && args.evaluationData.length === 2)) {
      throw new Error(`${WHO}: evaluationData must be [inputs, targets], got ${describe(args.evaluationData)}.`);
    }
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onEpochBegin = this.onEpochBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onEpochEnd = this.onEpochEnd.bind(this);
    this.onTrainEnd = this.onTrainEnd.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    const model = this.model as tfl.LayersModel | undefined;
    if (!model) {
      throw new Error(
        `${WHO}: the host did not hand over the model. Pass callbacks as instances only, \`callbacks: [${WHO}({…}), …]\`; ` +
          'if they are, two copies of @tensorflow/tfjs-layers are loaded (see `npm ls @tensorflow/tfjs-layers`).',
      );
    }
    const governed = governedBy(WHO, model, this.#args.prior);
    quantizationTargets(WHO, model, this.#args);
    addForgottenLosses(model);
    this.#priors = [...new Set(governed.map(({ prior }) => prior))];
    for (const prior of this.#priors) {
      if (prior.initialized) continue;
      const mine = governed.filter((entry) => entry.prior === prior);
      prior.initialize(await rangeOf(mine.map(({ weight }) => variableOf(weight))));
    }
    this.#fit?.end();
    const guard = new WeightGuard(WHO, model);
    this.#guard = guard;
    this.#fit = heldByFit(model, () => {
      guard.dispose();
      this.#letGo();
      for (const prior of this.#priors) prior.dispose();
    });
    this.#unquantized = [];
  }

  override async onEpochBegin(epoch: number): Promise<void> {
    this.#epoch = epoch;
    const due = (this.#args.incremental ?? []).filter(([from]) => from <= epoch);
    if (this.#priors.some((prior) => this.#partsOf(prior) < due.length)) await this.#hold(due.length, due[due.length - 1][1]);
  }

  override async onBatchEnd(batch: number, logs?: tfl.Logs): Promise<void> {
    let finite = true;
    for (const prior of this.#priors) finite = (await prior.step()) && finite;
    if (finite) await tellDataLoss(this.model as tfl.LayersModel, this.#priors, logs);
    for (const { weights } of this.#held.values()) weights.apply();
    this.#trained = true;
    if (finite) this.#guard!.advance();
    else await this.#stop(`after batch ${batch} of epoch ${this.#epoch}`);
  }

  override async onEpochEnd(epoch: number, logs?: tfl.Logs): Promise<void> {
    if (!(await this.#guard!.isFinite())) await this.#stop(`at the end of epoch ${epoch}`);
    for (const prior of this.#priors) await prior.step({ epochEnds: true });
    if (!logs) return;
    const model = this.model as tfl.LayersModel;
    let components = 0;
    let bits = 0;
    let indexed = 0;
    for (const { arrays, merged, quantized } of await this.#propose(model)) {
      components += merged.components.length;
      bits += quantized.entropyBits + 32 * quantized.codebook.length;
      indexed += arrays.reduce((sum, { length }) => sum + length, 0);
    }
    const parameters = model.countParams();
    logs['gmmComponents'] = components;
    logs['gmmEnergy'] = this.#priors.reduce((sum, prior) => sum + prior.lastEnergy, 0);
    logs['gmmTau'] = Math.max(...this.#priors.map(({ currentTau }) => currentTau));
    const noise = this.#priors.map(({ dataNoise }) => dataNoise).find(Number.isFinite);
    if (noise !== undefined) logs['gmmNoise'] = noise;
    logs['gmmRatio'] = (32 * parameters) / (bits + 32 * (parameters - indexed));
    if (this.#args.incremental) logs['gmmHeld'] = [...this.#held.values()].reduce((sum, { weights }) => sum + weights.count, 0) / indexed;
  }

  override async onTrainEnd(): Promise<void> {
    const guard = this.#guard!;
    try {
      if (!(await guard.isFinite())) await this.#stop('at the end of training');
      if (this.#args.quantizeAtEnd ?? true) {
        const done = Math.min(...this.#priors.map((prior) => this.#partsOf(prior)));
        this.tellLate((this.#args.incremental ?? []).slice(done), this.#epoch);
        await this.quantize();
      }
    } finally {
      this.#guard = null;
      this.#fit!.end();
    }
  }

  /**
   * Merges, quantises `model` (default: the model of the last fit) in place and returns the report. {@link restore} takes it back.
   * @throws Error if the model carries no prior, a mixture has not been trained, or the weights are quantised already.
   */
  async quantize(model: tfl.LayersModel | undefined = this.model as tfl.LayersModel | undefined): Promise<QuantizationReport> {
    if (!model) throw new Error(`${WHO}: quantize() needs a model: give one, or pass this callback to model.fit first.`);
    const report: QuantizationReport = {
      components: 0, codebooks: [], merges: [], layers: [], relativeDistance: 0, converged: true, restored: false, before: null, after: null,
    }; // prettier-ignore
    const plans = await this.#propose(model);
    for (const { prior, targets, arrays } of plans) {
      checkTrained(WHO, prior);
      const broken = arrays.findIndex((array) => !array.every(Number.isFinite));
      if (broken >= 0) throw new Error(`${WHO}: the weights of layer '${targets[broken].layer.name}' (${targets[broken].weight.originalName}) are not finite. Train them again, or put good ones back, before quantising.`);
      if (!this.#trained) checkNotQuantized(WHO, prior, arrays);
    }
    report.before = await this.#evaluate(model);
    this.#trained = false;
    this.#unquantized = [];
    for (const { prior, targets, arrays, merged, quantized } of plans) {
      targets.forEach(({ layer, weight }, i) => {
        this.#unquantized.push({ weight, values: arrays[i] });
        writeValues(weight, quantized.weights[i]);
        report.layers.push({
          layer: layer.name, weight: weight.originalName, prior: prior.name, weights: arrays[i].length,
          nonZero: quantized.weights[i].reduce((count, value) => count + (value === 0 ? 0 : 1), 0), relativeDistance: quantized.relativeDistances[i],
        }); // prettier-ignore
      });
      report.components += quantized.codebook.length;
      report.codebooks.push({ prior: prior.name, values: Array.from(quantized.codebook), counts: quantized.counts, dropped: merged.dropped });
      report.merges.push(...merged.merges.map((merge) => ({ prior: prior.name, ...merge })));
      report.relativeDistance = Math.max(report.relativeDistance, quantized.relativeDistance);
    }
    report.after = await this.#evaluate(model);
    report.converged = report.relativeDistance <= this.#maxDistance;
    if (!report.converged && this.#args.whenUnconverged === 'restore') {
      this.restore();
      report.restored = true;
    }
    this.report = report;
    this.tell(report);
    return report;
  }

  /** Prints what the report says. */
  protected tell(report: QuantizationReport): void {
    tellReport(WHO, report, this.#maxDistance, this.#args.verbose ?? true);
  }

  /** Warns of entries of `incremental` that training ended before. */
  protected tellLate(left: [epoch: number, share: number][], epoch: number): void {
    warnOfLateParts(WHO, left, epoch);
  }

  /**
   * Puts back the weights as they were before the last quantisation.
   * @throws Error if nothing was quantised.
   */
  restore(): void {
    if (this.#unquantized.length === 0) throw new Error(`${WHO}: nothing to restore: the weights were not quantised by this callback, or are restored already.`);
    for (const { weight, values } of this.#unquantized) writeValues(weight, values);
    this.#unquantized = [];
  }

  /** What quantising would make of the weights as they stand. */
  async #propose(model: tfl.LayersModel): Promise<(QuantizationTargets & { arrays: Float32Array[]; merged: MergedMixture; quantized: QuantizedWeights })[]> {
    const proposals = [];
    for (const { prior, targets } of quantizationTargets(WHO, model, this.#args)) {
      if (prior.mixture === null) throw new Error(`${WHO}: the mixture of gmmPrior '${prior.name}' was never trained. Run model.fit with this callback before quantize().`);
      const arrays = await Promise.all(targets.map(({ weight }) => variableOf(weight).data() as Promise<Float32Array>));
      const merged = mergeMixture(prior.mixture, this.#options);
      proposals.push({ prior, targets, arrays, merged, quantized: quantizeWeights(arrays, merged.components, this.#options) });
    }
    return proposals;
  }

  #partsOf(prior: GmmPrior): number {
    return this.#held.get(prior)?.parts ?? 0;
  }

  /** Sets a share of the weights to their values and holds them; those of a mixture that has not converged so far are left for later. */
  async #hold(parts: number, share: number): Promise<void> {
    for (const { prior, targets, arrays, merged, quantized } of await this.#propose(this.model as tfl.LayersModel)) {
      if (this.#partsOf(prior) >= parts || prior.steps === 0 || quantized.relativeDistance > this.#maxDistance) continue;
      this.#held.get(prior)?.weights.dispose();
      const deviation = (array: number, index: number) => Math.sqrt(merged.components[quantized.assignments[array][index]].variance);
      const held = chooseHeld({ weights: arrays, quantized: quantized.weights, deviation }, share);
      const weights = new HeldWeights(targets.map(({ weight }) => weight), quantized.weights, held); // prettier-ignore
      weights.apply();
      this.#held.set(prior, { parts, weights });
    }
  }

  #letGo(): void {
    for (const { weights } of this.#held.values()) weights.dispose();
    this.#held.clear();
  }

  async #evaluate(model: tfl.LayersModel): Promise<number[] | null> {
    if (!this.#args.evaluationData) return null;
    const [x, y] = this.#args.evaluationData;
    const results = [model.evaluate(x, y)].flat();
    const values = await Promise.all(results.map(async (result) => (await result.data())[0]));
    tfc.dispose(results);
    return values;
  }

  async #stop(when: string): Promise<never> {
    const model = this.model as tfl.LayersModel;
    model.stopTraining = true;
    const guard = this.#guard!;
    this.#guard = null;
    const error = await guard.putBack(when);
    this.#fit!.end();
    throw error;
  }
}

async function rangeOf(weights: Tensor[]): Promise<[number, number]> {
  let least = Infinity;
  let greatest = -Infinity;
  for (const weight of weights) {
    for (const value of await weight.data()) {
      if (value < least) least = value;
      if (value > greatest) greatest = value;
      if (Number.isNaN(value)) return [NaN, NaN];
    }
  }
  return [least, greatest];
}

/** Not by the host's `write`: that applies the weight's constraint, and values that were shared would be no longer. */
function writeValues(weight: tfl.LayerVariable, values: Float32Array): void {
  const tensor = tfc.tensor(values, variableOf(weight).shape, 'float32');
  variableOf(weight).assign(tensor);
  tensor.dispose();
}

/** The callback that trains and applies the mixture of {@link GmmPrior}. See {@link KLMergeQuantization}. */
export function klMergeQuantization(args: KLMergeQuantizationArgs = {}): KLMergeQuantization {
  return new KLMergeQuantization(args);
}
