/**
 * An embedding whose rows are put together from a stored array much shorter than the table.
 * Chunks at hashed places: Desai, Chou & Shrivastava, "Random Offset Block Embedding Array (ROBE)", MLSys 2022. Two tables: Shi et al., KDD 2020.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import {
  constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { tokenIds } from '../kernels/token_ids/index.js';
import { shapeText, splitShapes } from './hashed_inputs.js';
import { checkHashedOptions, HASHED_OPTIONS, hashedConfig, resolveBuckets, type HashedArgs, type HashedOptions } from './hashed_options.js';
import { HashedWeights } from './hashed_weights.js';
import { COMBINATIONS, QuotientRemainder, type Combination } from './quotient_remainder.js';

export interface HashedEmbeddingArgs extends LayerArgs, Omit<HashedArgs, 'tile'> {
  /** Number of ids: they are 0 … inputDim − 1. Required. */
  inputDim: number;
  /** Length of a row. Required. */
  outputDim: number;
  /** Numbers of a row that are taken from one place, an integer from 1 to outputDim. Default 16, or outputDim where that is less. */
  chunk?: number;
  /**
   * Two tables instead of hashed chunks, whose rows are multiplied, added or concatenated (half a row each); `compression` or `buckets`
   * then bound the numbers that both hold. Default: hashed chunks.
   */
  quotientRemainder?: Combination;
  /** Of the virtual table [inputDim, outputDim]. Default 'randomUniform'. */
  embeddingsInitializer?: InitializerIdentifier;
  /** Of the stored numbers, each once. */
  embeddingsRegularizer?: RegularizerIdentifier;
  /** Of the stored numbers. */
  embeddingsConstraint?: ConstraintIdentifier;
  /** Id 0 fills up rows: layers that follow are told to leave it out. Default false. */
  maskZero?: boolean;
  /** Length of the input, where it is constant. */
  inputLength?: number | number[];
}

const OPTIONS = [
  'inputDim', 'outputDim', 'chunk', 'quotientRemainder', 'embeddingsInitializer', 'embeddingsRegularizer', 'embeddingsConstraint', 'maskZero', 'inputLength',
  ...HASHED_OPTIONS.filter((option) => option !== 'tile'), ...LAYER_OPTIONS,
]; // prettier-ignore
/** What only hashing has. */
const CHUNKS_ONLY = ['chunk', 'seed', 'signHash', 'gradientScaling', 'bankScale'] as const;
const DEFAULT_CHUNK = 16;

/**
 * y[b, t, :] = row number x[b, t] of a virtual table [inputDim, outputDim].
 *
 * By default the row is a chain of chunks of `chunk` numbers: chunk k of row i is ξ(i, k) · w[h(i, k) … h(i, k) + chunk − 1], a window
 * of K = inputDim · outputDim / compression stored numbers w, which wraps around at their end (ROBE). With `quotientRemainder` it is
 * Q[⌊i / c⌋] ∘ R[i mod c], where ∘ multiplies, adds or concatenates, and c is the largest number of remainders that `compression` allows.
 * Only rows that are asked for are made.
 *
 * Input: ids `[batch, …]`, int32 or float32, or `[ids, bank]` with a bank from {@link hashedBank}. Output `[batch, …, outputDim]`.
 * With `maskZero` the mask is x ≠ 0.
 *
 * Cost. Parameters: K (or those of both tables). Time: one hash a chunk and one copy a row, in training also one addition a number and
 * a gradient of K numbers. Memory: the output.
 *
 * ```js
 * const model = tf.sequential();
 * model.add(hashedEmbedding({inputDim: 100000, outputDim: 64, compression: 50, inputLength: 20}));
 * model.add(tf.layers.globalAveragePooling1d());
 * model.add(tf.layers.dense({units: 1, activation: 'sigmoid'}));
 * ```
 *
 * An id that is no integer in [0, inputDim) is an error on cpu, wasm and tensorflow; on webgl and webgpu, which cannot look without a
 * stall, its row is zeros and learns nothing. webgl holds ids exactly up to 2²⁴.
 *
 * When not to use it: where the table is small against the rest of the model. Frequent tokens share numbers with rare ones; a larger
 * chunk is faster, and the fewer bits of hash a row gets.
 *
 * Deviations. ROBE: signs; xxHash32 instead of a polynomial modulo a prime. Quotient–remainder: c ≥ √inputDim (the published code has
 * it the other way round, which gives the frequent, small ids common rows), and tables whose combined rows start with the spread that
 * the initializer means.
 */
export class HashedEmbedding extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'HashedEmbedding';

  readonly inputDim: number;
  readonly outputDim: number;
  readonly maskZero: boolean;
  readonly embeddingsInitializer: Initializer;
  readonly embeddingsRegularizer: Regularizer | null;
  readonly embeddingsConstraint: Constraint | null;
  /** The stored numbers, [buckets], or both tables, [quotients + remainders, width]; null before the layer is built and where a bank holds them. */
  embeddings: LayerVariable | null = null;
  readonly #inputLength: number | number[] | null;
  readonly #hashing: HashedOptions;
  readonly #combination: Combination | null;
  readonly #weights: HashedWeights | QuotientRemainder;

  constructor(args: HashedEmbeddingArgs) {
    super(args ?? {});
    const who = 'HashedEmbedding';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with inputDim, outputDim and compression, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.inputDim = checkNumber(who, 'inputDim', args.inputDim, integerAtLeast(1), 'It is the number of ids, the largest one plus 1.');
    this.outputDim = checkNumber(who, 'outputDim', args.outputDim, integerAtLeast(1), 'It is the length of a row.');
    this.maskZero = checkBoolean(who, 'maskZero', args.maskZero ?? false);
    this.embeddingsInitializer = initializerOf(who, 'embeddingsInitializer', args.embeddingsInitializer ?? 'randomUniform');
    this.embeddingsRegularizer = regularizerOf(who, 'embeddingsRegularizer', args.embeddingsRegularizer);
    this.embeddingsConstraint = constraintOf(who, 'embeddingsConstraint', args.embeddingsConstraint);
    this.#combination = args.quotientRemainder == null ? null : checkChoice(who, 'quotientRemainder', args.quotientRemainder, COMBINATIONS);
    const unfit = this.#combination === null ? undefined : CHUNKS_ONLY.find((option) => args[option] !== undefined);
    if (unfit !== undefined) throw new Error(`${who}: ${unfit} is an option of hashed chunks; leave it out with quotientRemainder, whose tables have no hash.`);
    const chunk = checkNumber(who, 'chunk', args.chunk ?? Math.min(DEFAULT_CHUNK, this.outputDim),
      { expected: `an integer from 1 to outputDim ${this.outputDim}`, holds: (x) => Number.isInteger(x) && x >= 1 && x <= this.outputDim }); // prettier-ignore
    this.#hashing = checkHashedOptions(who, { ...args, tile: [1, chunk] });
    this.#weights = this.#combination === null ? new HashedWeights(who, this.#hashing) : new QuotientRemainder(who, this.#combination);
    this.#inputLength = args.inputLength ?? null;
    for (const length of this.#lengths()) if (length !== null) checkNumber(who, 'inputLength', length, integerAtLeast(1));
    // As the host's embedding does it: the first layer of a Sequential needs no inputShape.
    if (args.inputShape == null && args.batchInputShape == null) this.batchInputShape = [args.batchSize ?? null, ...this.#lengths()];
    this.supportsMasking = this.maskZero;
  }

  override build(inputShape: Shape | Shape[]): void {
    const [, bank] = splitShapes('HashedEmbedding', this.name, inputShape);
    const { inputDim: rows, outputDim: columns } = this;
    const weights = {
      rows, columns, fanIn: rows, fanOut: columns,
      initializer: this.embeddingsInitializer, regularizer: this.embeddingsRegularizer, constraint: this.embeddingsConstraint,
    }; // prettier-ignore
    if (this.#weights instanceof HashedWeights) {
      this.embeddings = this.#weights.build(this, weights, bank);
    } else {
      if (bank !== undefined) throw new Error(`HashedEmbedding: layer '${this.name}' has tables of its own with quotientRemainder; apply it to the ids alone, or hash chunks of the bank.`);
      const { name, shape, initializer } = this.#weights.plan(weights, resolveBuckets('HashedEmbedding', { ...this.#hashing, tile: [1, 1] }, rows, columns));
      this.embeddings = this.addWeight(name, shape, 'float32', initializer, this.embeddingsRegularizer ?? undefined, true, this.embeddingsConstraint ?? undefined);
    }
    super.build(inputShape);
  }

  /** Any rank will do. */
  protected override warnOnIncompatibleInputShape(): void {}

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const [tokens, bank] = Array.isArray(inputs) ? inputs : [inputs];
      const ids = tokenIds(tfc.reshape(tokens, [tokens.size]), {
        count: this.inputDim, who: `${this.name}: token ids`, fix: 'Raise inputDim, or give unknown tokens an id of their own.',
      }) as tfc.Tensor1D; // prettier-ignore
      const rows = this.#weights instanceof HashedWeights ? this.#weights.rows(ids, bank) : this.#weights.rows(ids, variableOf(this.embeddings!));
      return tfc.reshape(rows, this.#outputShape(tokens.shape) as number[]);
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return this.#outputShape(splitShapes('HashedEmbedding', this.name, inputShape)[0]);
  }

  override computeMask(inputs: Tensor | Tensor[]): Tensor {
    // The host's types know no "none".
    if (!this.maskZero) return null as unknown as Tensor;
    return tfc.tidy(() => {
      const tokens = Array.isArray(inputs) ? inputs[0] : inputs;
      return tfc.notEqual(tokens, tfc.zerosLike(tokens));
    });
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0 && this.#weights instanceof HashedWeights) this.#weights.dispose();
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    const { tile, ...hashing } = hashedConfig(this.#hashing);
    const { compression, buckets, hashVersion } = hashing;
    const sizes = { ...(compression !== undefined && { compression }), ...(buckets !== undefined && { buckets }), hashVersion };
    return {
      ...super.getConfig(),
      inputDim: this.inputDim,
      outputDim: this.outputDim,
      embeddingsInitializer: serialized(this.embeddingsInitializer),
      embeddingsRegularizer: serialized(this.embeddingsRegularizer),
      embeddingsConstraint: serialized(this.embeddingsConstraint),
      maskZero: this.maskZero,
      inputLength: this.#inputLength,
      ...(this.#combination === null ? { ...hashing, chunk: (tile as number[])[1] } : { ...sizes, quotientRemainder: this.#combination }),
    };
  }

  /** The constant lengths of the input's axes; null where one is open. */
  #lengths(): Array<number | null> {
    return this.#inputLength === null ? [null] : [this.#inputLength].flat();
  }

  #outputShape(tokens: Shape): Shape {
    if (this.#inputLength === null) return [...tokens, this.outputDim];
    const lengths = this.#lengths();
    if (lengths.length !== tokens.length - 1 || lengths.some((length, axis) => length !== null && tokens[axis + 1] !== null && length !== tokens[axis + 1])) {
      throw new Error(`${this.name}: inputLength ${describe(this.#inputLength)} does not fit the input's shape ${shapeText(tokens)}.`);
    }
    return [tokens[0], ...lengths.map((length, axis) => length ?? tokens[axis + 1]), this.outputDim];
  }
}

/** An embedding with a hashed or a quotient–remainder table. See {@link HashedEmbedding}. */
export function hashedEmbedding(args: HashedEmbeddingArgs): HashedEmbedding {
  return new HashedEmbedding(args);
}

tfc.serialization.registerClass(HashedEmbedding);
