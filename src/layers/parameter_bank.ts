/**
 * One flat array of a fixed number of parameters for layers of any kind and shape. Plummer, Dryden, Frost, Hoefler & Saenko, "Neural
 * Parameter Allocation Search", ICLR 2022 (ShapeShifter networks).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor } from '@tensorflow/tfjs-core';
import { initializers, layers, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { LAYER_OPTIONS, variableOf, type Constraint, type Initializer, type LayerArgs, type LayerVariable, type Regularizer } from '../host.js';
import { hostSeed } from '../uniform_numbers.js';
import { bankMask, bankOutput, bankOutputShape, CountedOnce } from './bank_output.js';
import type { Bank } from './bank_use.js';
import { addBankWeight, addWeightTo, BANK_WEIGHT_OPTIONS, bankWeightConfig, checkBankWeight, type BankWeightArgs } from './bank_weight.js';
import { BANK_DEVIATION } from './hashed_options.js';
import { orthogonalMatrix, orthogonalRow } from './orthogonal_rows.js';

/** `kernelInitializer`: default normal with standard deviation 0.05, for which the layers' default `bankScale` is meant. */
export interface ParameterBankArgs extends LayerArgs, BankWeightArgs {
  /** The budget: how many numbers the bank holds, fewer or more than the layers have weights. Integer ≥ 1. Required. */
  size: number;
  /** Candidates that layers with combination 'layerEmbedding' combine; all must have so many. Default null: there are no such layers. */
  embeddingCandidates?: number | null;
  /** Length of a layer's embedding. Default 24. */
  embeddingDim?: number;
  /** Chooses the orthogonal start of the layers' coefficients. Default null: another one each time. */
  seed?: number | null;
  /** Put out the input instead of the numbers, so that layers downstream find the bank by themselves: for a Sequential. Default false. */
  passInput?: boolean;
}

const OPTIONS = ['size', 'embeddingCandidates', 'embeddingDim', 'seed', 'passInput', ...BANK_WEIGHT_OPTIONS, ...LAYER_OPTIONS] as const;

/**
 * Owns `size` numbers, from which banked layers of any kind (`bankedDense`, `bankedConv2d`, `bankedEmbedding`) make their weights.
 *
 * Input: any; it gives the layer its place in the graph. Output: the numbers `[size]`, without a batch, and with `embeddingCandidates` K also
 * the map `[embeddingDim + 1, K]` from embeddings to coefficients, for `bankedDense({…}).apply([x, ...bank])`; masks end. With `passInput`
 * the input itself, and its mask: layers downstream then find the bank, in a Sequential too, and in a model with several inputs if the bank is
 * applied to each. Parameters: size (+ (embeddingDim + 1) · K), saved, counted and updated once; a regularizer counts once a step.
 *
 * ```js
 * const bank = parameterBank({size: 20000, passInput: true});
 * const image = tf.input({shape: [28, 28, 1]});
 * const tokens = tf.input({shape: [12]});
 * let h = bankedConv2d({filters: 32, kernelSize: 3, activation: 'relu'}).apply(bank.apply(image));
 * h = tf.layers.globalAveragePooling2d({dataFormat: 'channelsLast'}).apply(h);
 * const t = bankedEmbedding({inputDim: 1000, outputDim: 32}).apply(bank.apply(tokens));
 * ```
 *
 * When not to use it: for layers that must not depend on each other, such as the first and the last of a small network.
 *
 * Deviations. Candidates are windows at equal distances around the bank, which overlap where it is small, instead of consecutive slices:
 * coefficient k then means the same part of the bank for layers of all sizes. Each layer scales its weights to the spread that its own
 * initializer means (`bankScale`), where the published code fills slices for one layer after the other.
 */
export class ParameterBank extends layers.Layer implements Bank {
  /** @nocollapse */
  static readonly className = 'ParameterBank';

  readonly size: number;
  readonly embeddingCandidates: number | null;
  readonly embeddingDim: number;
  readonly seed: number | null;
  readonly passInput: boolean;
  readonly kernelInitializer: Initializer;
  readonly kernelRegularizer: Regularizer | null;
  readonly kernelConstraint: Constraint | null;
  /** [size]; null before the layer is built. */
  kernel: LayerVariable | null = null;
  /** From layer embeddings to coefficients, the last row a bias: [embeddingDim + 1, candidates]. */
  projection: LayerVariable | null = null;
  readonly #stream: number;
  readonly #counted = new CountedOnce();
  #users = 0;

  constructor(args: ParameterBankArgs) {
    super(args ?? {});
    const who = 'ParameterBank';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with size, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.size = checkNumber(who, 'size', args.size, integerAtLeast(1), 'An empty bank can serve no layer; it is the number of parameters to share.');
    this.embeddingCandidates = args.embeddingCandidates == null ? null : checkNumber(who, 'embeddingCandidates', args.embeddingCandidates, integerAtLeast(1));
    this.embeddingDim = checkNumber(who, 'embeddingDim', args.embeddingDim ?? 24, integerAtLeast(1));
    this.seed = args.seed == null ? null : checkNumber(who, 'seed', args.seed, integerAtLeast(0));
    this.passInput = checkBoolean(who, 'passInput', args.passInput ?? false);
    const weight = checkBankWeight(who, args, initializers.randomNormal({ mean: 0, stddev: BANK_DEVIATION, ...(this.seed !== null && { seed: hostSeed(this.seed) }) }));
    this.kernelInitializer = weight.kernelInitializer;
    this.kernelRegularizer = weight.kernelRegularizer;
    this.kernelConstraint = weight.kernelConstraint;
    this.#stream = this.seed ?? Math.floor(Math.random() * 2 ** 31);
    this.supportsMasking = true;
  }

  get shared(): Tensor[] {
    return this.#weights().map(variableOf);
  }

  get sharedShapes(): number[][] {
    const { embeddingCandidates: count } = this;
    return [[this.size], ...(count === null ? [] : [[this.embeddingDim + 1, count]])];
  }

  enlist(): number {
    return this.#users++;
  }

  /** The first `count` coefficients of the layer that begins to use the bank as number `place`. */
  startOf(place: number, count: number): number[] {
    return orthogonalRow(place, count, this.#stream);
  }

  override build(inputShape: Shape | Shape[]): void {
    this.kernel = addBankWeight(this, [this.size]);
    if (this.embeddingCandidates !== null) {
      // Orthonormal columns (rows, where there are more candidates than numbers in an embedding), and no bias.
      const [rows, columns] = [this.embeddingDim, this.embeddingCandidates];
      const square = orthogonalMatrix(Math.max(rows, columns), this.#stream);
      const start = [...square.slice(0, rows).map((row) => row.slice(0, columns)), new Array<number>(columns).fill(0)];
      this.projection = addWeightTo(this, 'projection', [rows + 1, columns], 'float32', { apply: () => tfc.tensor2d(start) } as unknown as Initializer);
    }
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor | Tensor[] {
    this.invokeCallHook(inputs, kwargs);
    return bankOutput(this.passInput, inputs, this.#weights());
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape | Shape[] {
    return bankOutputShape(this.passInput, inputShape, this.sharedShapes);
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor | Tensor[] {
    return bankMask(this.passInput, mask, this.sharedShapes.length);
  }

  override calculateLosses(): Scalar[] {
    return this.#counted.first() ? super.calculateLosses() : [];
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      size: this.size,
      embeddingCandidates: this.embeddingCandidates,
      embeddingDim: this.embeddingDim,
      seed: this.seed,
      passInput: this.passInput,
      ...bankWeightConfig(this),
    };
  }

  #weights(): LayerVariable[] {
    if (this.kernel === null) throw new Error(`ParameterBank: '${this.name}' is not built yet. Apply it to an input first.`);
    return this.projection === null ? [this.kernel] : [this.kernel, this.projection];
  }
}

/** One array of parameters for layers of any kind. See {@link ParameterBank}. */
export function parameterBank(args: ParameterBankArgs): ParameterBank {
  return new ParameterBank(args);
}

tfc.serialization.registerClass(ParameterBank);
