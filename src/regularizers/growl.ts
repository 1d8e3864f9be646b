/**
 * GrOWL, the group ordered weighted ℓ1 penalty, which makes rows of a kernel zero or equal in norm and pulls correlated rows together.
 * Zhang, Wang, Figueiredo & Balzano, "Learning to share: simultaneous parameter tying and sparsification in deep learning", ICLR 2018.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor1D, Variable, serialization } from '@tensorflow/tfjs-core';
import { activeScope, activeTape } from '../autodiff/tape.js';
import { checkChoice, checkKeys, describe } from '../checks.js';
import { RegularizerBase } from '../host.js';
import { hasRows, rowLayout, type RowGrouping, type RowLayout } from './growl_rows.js';
import { lambdasFor, resolveLambdas, type GrowlSchedule, type Lambdas } from './growl_schedule.js';

export interface GrOWLArgs {
  /** How λ falls with the rank of a row, see {@link GrowlSchedule}; or the λ themselves, which must not increase. Default `oscar`. */
  schedule?: GrowlSchedule | number[];
  /** Λ1 ≥ 0: sparsity. Required without `preset` or a list of λ. */
  lambda1?: number;
  /** Λ2 ≥ 0: tying. Default 0. */
  lambda2?: number;
  /** Share of the rows over which `pld` and `pldSteep` fall to Λ1, 0 … 1. Default 0.5. */
  transition?: number;
  /**
   * The authors' constants as defaults: `mnist` (`pldSteep`, Λ1 12, Λ2 0.215, transition 0.5) or `vgg` (`pld`, 11, 0.1, 0.1; the
   * authors use Λ1 4.5, 11, 11, 11, 10, 9, 7.5, 7, 6.5, 5.5, 5.5, 3.5, 3.5 for the layers 2 to 14). For one step an epoch.
   */
  preset?: 'mnist' | 'vgg';
  /** What is a row: the outgoing weights of an input unit or channel, or the incoming ones of an output. Default `inputs`. */
  rows?: RowGrouping;
}

const WHO = 'growl';

/** Norms of the rows of a kernel, `[rows]`, by operations. */
export function rowNormsOf(weight: Tensor, { outer, rows, inner }: RowLayout): Tensor1D {
  return tfc.tidy(() => tfc.sqrt(tfc.sum(tfc.square(tfc.reshape(weight, [outer, rows, inner])), [0, 2])) as Tensor1D);
}

/** Σ λ_i ‖w_[i]‖₂ of one kernel. Its gradient is λ_rank · w / ‖w‖ in a row, and 0 in a row that is zero. */
export function growlPenalty(weight: Tensor, lambda: Float64Array, layout: RowLayout): Scalar {
  const { outer, rows, inner } = layout;
  const flat = lambda.every((value) => value === lambda[0]);
  const penalty = tfc.customGrad((w, save) => {
    const norms = rowNormsOf(w as Tensor, layout);
    // λ of each row. Where all are equal nothing has to be sorted.
    let each: Tensor1D = tfc.tensor1d(Float32Array.from(lambda));
    if (!flat) {
      const { indices } = tfc.topk(norms, rows, true);
      each = tfc.scatterND(tfc.reshape(indices, [rows, 1]), each, [rows]) as Tensor1D;
    }
    (save as (tensors: Tensor[]) => void)([w as Tensor, norms, each]);
    return {
      value: tfc.sum(tfc.mul(each, norms)),
      gradFunc: (dy: Tensor, saved: Tensor[]) => {
        const [kernel, lengths, lambdas] = saved;
        const zero = tfc.cast(tfc.equal(lengths, 0), 'float32');
        const factors = tfc.div(tfc.mul(lambdas, tfc.sub(1, zero)), tfc.add(lengths, zero));
        const seen = tfc.mul(tfc.reshape(kernel, [outer, rows, inner]), tfc.reshape(factors, [1, rows, 1]));
        return tfc.reshape(tfc.mul(dy, seen), kernel.shape);
      },
    };
  });
  return penalty(weight) as Scalar;
}

/**
 * Ω(W) = Σ_i λ_i ‖w_[i]‖₂ for every kernel that it is given to: rows sorted by decreasing norm, λ_1 ≥ λ_2 ≥ … ≥ 0.
 *
 * **Use it with the callback `growlProximal`.** Alone, as a plain regularizer, it adds Ω to the loss with the exact value and a
 * finite gradient, and rows become small, but neither exactly zero nor exactly tied: only the proximal step does that. While the
 * callback is at work in `fit`, the regularizer adds 0 to the loss (the step accounts for Ω, which stands in the history as
 * `growlPenalty`), and λ is per epoch: the objective is loss + Ω / batches per epoch. While `rowTying` is at work there is no penalty.
 *
 * Kernels: dense `[inputs, units]`, convolutions `[…, inChannels, filters]` (a row is all that one input channel feeds),
 * embeddings. For transposed convolutions, whose kernel is `[…, filters, inChannels]`, input channels are `rows: 'outputs'`. λ must
 * grow with the learning rate's inverse and suits a number of rows: take it from a preset and adjust on held-out data.
 *
 * ```js
 * model.add(tf.layers.dense({units: 300, activation: 'relu', inputShape: [784], kernelRegularizer: growl({preset: 'mnist'})}));
 * await model.fit(x, y, {epochs: 300, callbacks: [growlProximal()]});   // sparse, similar rows
 * model.compile({optimizer: 'adam', loss});                             // its moments are of rows that were apart
 * await model.fit(x, y, {epochs: 100, callbacks: [rowTying()]});        // tied rows, retrained
 * ```
 *
 * Cost of a plain training step: one sort of the row norms and two passes over the kernel. Not for kernels whose rows mean nothing
 * by themselves (a last layer of few inputs), nor in place of quantisation: values inside a row stay distinct.
 *
 * A layer that is called twice counts once. `val_loss` and `evaluate()` leave it out (the host leaves all regularizers out). On a
 * model that exists: `attachRegularizer(model, growl({…}), {layers: ['…']})`.
 */
export class GrOWL extends RegularizerBase {
  /** @nocollapse */
  static readonly className = 'GrOWL';
  readonly rows: RowGrouping;
  readonly #args: GrOWLArgs;
  readonly #lambdas: Lambdas;
  readonly #known = new Map<number, Float64Array>();
  /** The evaluation that is under way and the weights it has met. */
  #round: { evaluation: object; met: Set<Tensor> } | null = null;
  #detached = new WeakSet<Tensor>();
  #heldBy: (() => boolean) | null = null;

  constructor(args: GrOWLArgs) {
    super();
    if (typeof args !== 'object' || args === null) throw new Error(`${WHO}: expected an options object with lambda1 or preset, got ${describe(args)}.`);
    checkKeys(WHO, args, ['schedule', 'lambda1', 'lambda2', 'transition', 'preset', 'rows']);
    this.#args = args;
    this.#lambdas = resolveLambdas(WHO, args);
    this.rows = checkChoice(WHO, 'rows', args.rows ?? 'inputs', ['inputs', 'outputs']);
  }

  /** Frozen weights take no part. */
  get includeFrozen(): boolean {
    return false;
  }

  /** λ_1 … λ_n for a kernel of `rows` rows. */
  lambdas(rows: number, where?: string): Float64Array {
    const known = this.#known.get(rows) ?? lambdasFor(this.#lambdas, rows, where);
    this.#known.set(rows, known);
    return known;
  }

  /** The rows of a kernel of this shape. */
  layoutOf(shape: readonly number[]): RowLayout {
    if (!hasRows(shape)) throw new Error(`${WHO}: a weight of shape [${shape.join(', ')}] has no rows. Give it to kernels (dense, convolution, embedding) only.`);
    return rowLayout(shape, this.rows);
  }

  /**
   * Ω(weight) for the loss; 0 for a weight that this evaluation has met already, that is frozen or detached, or whose proximal
   * step a callback takes.
   */
  override apply(weight: Tensor): Scalar {
    const evaluation = activeTape() ?? activeScope() ?? {};
    const layout = this.layoutOf(weight.shape);
    const lambda = this.lambdas(layout.rows);
    if (this.#round?.evaluation !== evaluation) this.#round = { evaluation, met: new Set() };
    const { met } = this.#round;
    if (met.has(weight) || !this.governs(weight) || this.#heldBy?.() === true) return tfc.scalar(0);
    met.add(weight);
    return growlPenalty(weight, lambda, layout);
  }

  /** While `holds()`, somebody else accounts for the penalty and it is left out of the loss; null ends that. */
  hold(holds: (() => boolean) | null): void {
    this.#heldBy = holds;
  }

  /** Whether `weight` takes part: trainable, and not detached. */
  governs(weight: Tensor): boolean {
    return !this.#detached.has(weight) && (weight as Variable).trainable !== false;
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

  override getConfig(): serialization.ConfigDict {
    return JSON.parse(JSON.stringify(this.#args)) as serialization.ConfigDict;
  }

  static fromConfig<T extends serialization.Serializable>(_cls: serialization.SerializableConstructor<T>, config: serialization.ConfigDict): T {
    const args = { ...config };
    // The host adds a key of its own.
    delete args['customObjects'];
    return new GrOWL(args as GrOWLArgs) as unknown as T;
  }
}

/** A GrOWL penalty for `kernelRegularizer` or `attachRegularizer`. See {@link GrOWL}. */
export function growl(args: GrOWLArgs): GrOWL {
  return new GrOWL(args);
}

export type { GrowlSchedule, RowGrouping };
tfc.serialization.registerClass(GrOWL);
