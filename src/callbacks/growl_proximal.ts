/**
 * The proximal step of GrOWL between the batches or epochs of an ordinary `model.fit`: what makes rows exactly zero and equal in norm.
 * Zhang, Wang, Figueiredo & Balzano, ICLR 2018, algorithm 1, with the choices of the authors' programs as defaults.
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { checkChoice, checkKeys, checkNumber, describe, integerAtLeast, NON_NEGATIVE, POSITIVE } from '../checks.js';
import { checkSameHost, learningRateOf, variableOf } from '../host.js';
import { growlWeights, takesPart, type GovernedWeight } from '../regularizers/attach.js';
import { owlPenalty, rowFactors } from '../regularizers/growl_prox.js';
import type { RowLayout } from '../regularizers/growl_rows.js';
import { rowNormsOf, type GrOWL } from '../regularizers/growl.js';
import { heldByFit, type FitResource } from './fit_resources.js';
import { checkStages, joinFit, type FitParams } from './growl_stages.js';
import { WeightGuard } from './weight_guard.js';

export interface GrOWLProximalArgs {
  /** When: once at the end of an epoch, or after each batch with the step divided by the batches of an epoch. Default `epoch`. */
  every?: 'epoch' | 'batch';
  /** Step size η > 0. Default: the learning rate of the model's optimizer as it stands at that moment. */
  stepSize?: number;
  /** Decoupled weight decay ≥ 0 of the same kernels, after each batch: w ← w / (1 + η · weightDecay) ("GrOWL + ℓ2"). Default 0. */
  weightDecay?: number;
  /** Rows of at most this norm are dead: set to 0 and kept there. Default 1e-7. */
  epsilon?: number;
  /** Training stops with an error before a layer has fewer live rows. Integer ≥ 1. Default: 4, at most half of the rows. */
  minLiveRows?: number;
  /** Batches of an epoch, for `every: 'batch'` where `fitDataset` does not say. */
  batchesPerEpoch?: number;
}

/** A kernel whose rows the callback shrinks. */
interface Target {
  entry: GovernedWeight<GrOWL>;
  layout: RowLayout;
  lambda: Float64Array;
  /** 1 for live rows, 0 for dead ones. */
  live: Float32Array;
  least: number;
}

const WHO = 'growlProximal';

/**
 * Takes, for every kernel with a `growl` penalty, the step w_i ← w_i · v̂_i / v_i, where v are the norms of its rows and v̂ is the
 * proximal point of η Ω at v: rows come out exactly zero, or pooled to exactly equal norms (up to float32). Dead rows stay dead.
 *
 * ```js
 * model.add(tf.layers.dense({units: 300, activation: 'relu', inputShape: [784], kernelRegularizer: growl({preset: 'mnist'})}));
 * model.compile({optimizer: tf.train.momentum(1e-3, 0.9), loss: 'categoricalCrossentropy'});
 * await model.fit(x, y, {epochs: 300, batchSize: 128, callbacks: [growlProximal()]});
 * ```
 *
 * η is the optimizer's learning rate, read each time, so that schedules count. λ is per epoch: with `every: 'batch'` each step takes
 * η / batches. The objective is loss + Ω / batches + weightDecay/2 ‖w‖².
 *
 * Optimizers: with plain gradient descent this is proximal gradient descent. With momentum, the gradient step is the heavy-ball step
 * and the proximal map acts on its result; the momentum of a dead row goes on, but moves nothing. With Adam and RMSProp the metric of
 * the proximal step stays Euclidean with the nominal η, not the optimizer's own diagonal one: the fixed points then belong to another
 * λ for each row; momentum or plain descent is what the method was made for.
 *
 * The history gets `growlPenalty` (Σ Ω after the step, not in the loss) and `growlLive` (share of the rows that are not zero).
 * A step that would leave a layer too few rows is not taken: `fit` rejects, naming the layer, with the weights of before the step.
 * Weights that are not finite are put back as they were at the end of the last good epoch.
 *
 * One in a fit, and without `rowTying`, which has a fit of its own afterwards.
 *
 * What was pruned is told from the weights alone (rows of zeros), so that a model saved and loaded goes on where it was. Cost per
 * epoch: reads n norms per kernel, O(n log n), one pass over the kernel; per batch, once rows are dead, one more pass.
 */
export class GrOWLProximal extends tfl.Callback {
  readonly #every: 'epoch' | 'batch';
  readonly #args: GrOWLProximalArgs;
  readonly #weightDecay: number;
  readonly #epsilon: number;
  #targets: Target[] = [];
  #guard: WeightGuard | null = null;
  #fit: FitResource | null = null;

  constructor(args: GrOWLProximalArgs = {}) {
    super();
    if (typeof args !== 'object' || args === null) throw new Error(`${WHO}: expected an options object, got ${describe(args)}. The penalty itself goes onto the layers: kernelRegularizer: growl({…}).`);
    checkKeys(WHO, args, ['every', 'stepSize', 'weightDecay', 'epsilon', 'minLiveRows', 'batchesPerEpoch']);
    this.#args = args;
    this.#every = checkChoice(WHO, 'every', args.every ?? 'epoch', ['epoch', 'batch']);
    if (args.stepSize !== undefined) checkNumber(WHO, 'stepSize', args.stepSize, POSITIVE, "Leave it out for the optimizer's learning rate.");
    this.#weightDecay = checkNumber(WHO, 'weightDecay', args.weightDecay ?? 0, NON_NEGATIVE);
    this.#epsilon = checkNumber(WHO, 'epsilon', args.epsilon ?? 1e-7, NON_NEGATIVE);
    if (args.minLiveRows !== undefined) checkNumber(WHO, 'minLiveRows', args.minLiveRows, integerAtLeast(1));
    if (args.batchesPerEpoch !== undefined) {
      checkNumber(WHO, 'batchesPerEpoch', args.batchesPerEpoch, integerAtLeast(1));
      if (this.#every === 'epoch') throw new Error(`${WHO}: batchesPerEpoch has no effect with every: 'epoch'. Leave it out.`);
    }
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onEpochEnd = this.onEpochEnd.bind(this);
    this.onTrainEnd = this.onTrainEnd.bind(this);
  }

  override setParams(params: FitParams): void {
    super.setParams(params);
    joinFit(params, WHO);
  }

  override async onTrainBegin(): Promise<void> {
    const model = this.model as tfl.LayersModel | undefined;
    checkSameHost(WHO, model);
    checkStages(WHO, this.params);
    const carried = growlWeights(model);
    if (carried.length === 0) {
      throw new Error(`${WHO}: no layer of the model has a growl penalty. Give it as kernelRegularizer of a layer, or call attachRegularizer(model, growl({…}), {layers: […]}).`);
    }
    const governed = carried.filter(takesPart);
    if (governed.length === 0) throw new Error(`${WHO}: every weight with a growl penalty is frozen: ${carried.map(({ layer }) => layer.name).join(', ')}. Make one trainable, or leave the callback out.`);
    const doubled = governed.find(({ weight }, i) => governed.findIndex((other) => other.weight === weight) < i);
    if (doubled) throw new Error(`${WHO}: the kernel of layer '${doubled.layer.name}' has two growl penalties. Take one off with detachRegularizer(model, penalty).`);
    this.#stepSize(model);
    if (this.#every === 'batch') this.#batches();
    this.#targets = governed.map((entry) => {
      const layout = entry.prior.layoutOf(variableOf(entry.weight).shape);
      const least = this.#args.minLiveRows ?? Math.min(4, Math.ceil(layout.rows / 2));
      if (least > layout.rows) throw new Error(`${WHO}: minLiveRows is ${least}, but layer '${entry.layer.name}' has only ${layout.rows} rows.`);
      return { entry, layout, lambda: entry.prior.lambdas(layout.rows, `layer '${entry.layer.name}'`), live: new Float32Array(layout.rows), least };
    });
    const norms = await this.#norms();
    for (const [t, target] of this.#targets.entries()) {
      const row = norms[t].findIndex((norm) => !Number.isFinite(norm));
      if (row >= 0) throw new Error(`${WHO}: row ${row} of layer '${target.entry.layer.name}' is not finite. Train it again, or put good weights back, before shrinking rows.`);
      target.live = Float32Array.from(norms[t], (norm) => (norm <= this.#epsilon ? 0 : 1));
      this.#checkAlive(target, target.live, 'has', 'Start from weights that are not zero.');
    }
    this.#fit?.end();
    const guard = new WeightGuard(WHO, model);
    this.#guard = guard;
    // Only while this fit runs, also where it fails.
    this.#fit = heldByFit(model, () => guard.dispose());
    for (const { entry } of this.#targets) entry.prior.hold(this.#fit.lasts);
  }

  override async onBatchEnd(): Promise<void> {
    if (this.#every === 'batch') await this.#step(this.#batches());
    const decay = 1 / (1 + (this.#weightDecay > 0 ? this.#stepSize(this.model as tfl.LayersModel) * this.#weightDecay : 0));
    for (const target of this.#targets) {
      if (decay < 1 || target.live.includes(0)) scaleRows(target, decay < 1 ? target.live.map((mask) => mask * decay) : target.live);
    }
  }

  override async onEpochEnd(epoch: number, logs?: tfl.Logs): Promise<void> {
    const guard = this.#guard!;
    if (!(await guard.isFinite())) await this.#fail(await guard.putBack(`at the end of epoch ${epoch}`));
    if (this.#every === 'epoch') await this.#step(1);
    // Twice: both younger generations become the weights of now.
    guard.advance();
    guard.advance();
    if (!logs) return;
    const norms = await this.#norms();
    logs['growlPenalty'] = this.#targets.reduce((sum, { lambda }, t) => sum + owlPenalty(norms[t], lambda), 0);
    const rows = this.#targets.reduce((sum, { live }) => sum + live.length, 0);
    logs['growlLive'] = this.#targets.reduce((sum, { live }) => sum + count(live), 0) / rows;
  }

  override async onTrainEnd(): Promise<void> {
    this.#release();
  }

  /** The proximal step of all kernels, `parts` of which make up an epoch's. */
  async #step(parts: number): Promise<void> {
    const step = this.#stepSize(this.model as tfl.LayersModel) / parts;
    const norms = await this.#norms();
    const factors: Float32Array[] = [];
    for (const [t, target] of this.#targets.entries()) {
      const row = norms[t].findIndex((norm) => !Number.isFinite(norm));
      if (row >= 0) {
        const error = await this.#guard!.putBack(`at a proximal step (row ${row} of layer '${target.entry.layer.name}')`);
        await this.#fail(error);
      }
      const proposed = Float32Array.from(rowFactors(norms[t], target.lambda, step, this.#epsilon));
      try {
        this.#checkAlive(target, proposed, 'would be left with', 'The step was not taken and the weights are those of before. Lower lambda1 and lambda2, or the learning rate.');
      } catch (error) {
        await this.#fail(error as Error);
      }
      factors.push(proposed);
    }
    this.#targets.forEach((target, t) => {
      scaleRows(target, factors[t]);
      target.live = factors[t].map((factor, r) => (factor === 0 ? 0 : target.live[r]));
    });
  }

  #norms(): Promise<Float32Array[]> {
    return Promise.all(
      this.#targets.map(async ({ entry, layout }) => {
        const norms = rowNormsOf(variableOf(entry.weight), layout);
        const values = (await norms.data()) as Float32Array;
        norms.dispose();
        return values;
      }),
    );
  }

  #checkAlive({ entry, least, lambda }: Target, factors: Float32Array, what: string, advice: string): void {
    if (count(factors) >= least) return;
    throw new Error(`${WHO}: layer '${entry.layer.name}' ${what} ${count(factors)} live rows of ${lambda.length}; at least ${least} are wanted (minLiveRows). ${advice}`);
  }

  #stepSize(model: tfl.LayersModel): number {
    const step = this.#args.stepSize ?? learningRateOf(model);
    if (step === null) throw new Error(`${WHO}: the model's optimizer has no numeric learningRate. Give stepSize.`);
    return checkNumber(WHO, "the optimizer's learning rate", step, NON_NEGATIVE, 'Mend the schedule, or give stepSize.');
  }

  #batches(): number {
    const { steps, samples, batchSize } = this.params as Record<string, number | null | undefined>;
    const known = this.#args.batchesPerEpoch ?? steps ?? (samples && batchSize ? Math.ceil(samples / batchSize) : null);
    if (known) return known;
    throw new Error(`${WHO}: every: 'batch' divides the step by the batches of an epoch, which fitDataset does not tell. Give batchesPerEpoch.`);
  }

  async #fail(error: Error): Promise<never> {
    this.#release();
    throw error;
  }

  #release(): void {
    this.#fit?.end();
    this.#guard = null;
    for (const { entry } of this.#targets) entry.prior.hold(null);
  }
}

const count = (values: Float32Array): number => values.reduce((sum, value) => sum + (value === 0 ? 0 : 1), 0);

function scaleRows({ entry, layout: { outer, rows, inner } }: Target, factors: Float32Array): void {
  const variable = variableOf(entry.weight);
  tfc.tidy(() => variable.assign(tfc.reshape(tfc.mul(tfc.reshape(variable, [outer, rows, inner]), tfc.tensor3d(factors, [1, rows, 1])), variable.shape)));
}

/** A callback that takes the proximal steps of `growl` penalties. See {@link GrOWLProximal}. */
export function growlProximal(args: GrOWLProximalArgs = {}): GrOWLProximal {
  return new GrOWLProximal(args);
}
