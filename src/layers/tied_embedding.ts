/**
 * One table for words going in and coming out: the embedding that owns it.
 * Inan, Khosravi & Socher, ICLR 2017 (arXiv 1611.01462); Press & Wolf, EACL 2017 (arXiv 1608.05859); factorised: Lan et al. (ALBERT), ICLR 2020.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { layers, SymbolicTensor, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import {
  constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized,
  type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier, type LayerArgs, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { denseProduct } from '../kernels/dense_product/index.js';
import { gatherRows } from '../kernels/segment_sum/index.js';
import { tokenIds } from '../kernels/token_ids/index.js';
import { CountedOnce } from './bank_output.js';

export interface TiedEmbeddingArgs extends LayerArgs {
  /** Number of tokens V; their ids are 0 … V − 1. Integer ≥ 1. Required. */
  inputDim: number;
  /** Length H of the vectors. Integer ≥ 1. Required. */
  outputDim: number;
  /** Store a narrower table [V, factorDim] and a kernel [factorDim, H] instead of [V, H] (ALBERT). Integer ≥ 1. Default null: no factors. */
  factorDim?: number | null;
  /** Mask positions with id 0 for the layers that follow. The host leaves masks out of losses: see `sparseCrossEntropy({ignore})`. Default false. */
  maskZero?: boolean;
  /** Also put out the table (and the kernel), to be handed to a `tiedProjection` that is not in the same model. Default false. */
  outputTable?: boolean;
  /** Start of the table. Default 'randomUniform'. */
  embeddingsInitializer?: InitializerIdentifier;
  embeddingsRegularizer?: RegularizerIdentifier | null;
  embeddingsConstraint?: ConstraintIdentifier | null;
  /** Start of the kernel, with `factorDim`. Default 'glorotNormal'. */
  kernelInitializer?: InitializerIdentifier;
  kernelRegularizer?: RegularizerIdentifier | null;
}

const OPTIONS = [
  'inputDim', 'outputDim', 'factorDim', 'maskZero', 'outputTable', 'embeddingsInitializer', 'embeddingsRegularizer', 'embeddingsConstraint',
  'kernelInitializer', 'kernelRegularizer', ...LAYER_OPTIONS,
] as const; // prettier-ignore

/** What an embedding shares: its table [V, width], and with factors the kernel [width, H] that follows. */
export interface Tie {
  table: Tensor2D;
  kernel: Tensor2D | null;
}

/** Vectors [n, H] of the tokens `ids` [n] int32; one that names no row gives zeros. */
export function tiedLookup({ table, kernel }: Tie, ids: Tensor): Tensor2D {
  const rows = gatherRows(table, ids) as Tensor2D;
  return kernel === null ? rows : denseProduct(rows, kernel);
}

/** Scores [n, V] of all tokens for `x` [n, H]: the transpose of {@link tiedLookup}, x·Eᵀ or (x·Kᵀ)·Eᵀ. */
export function tiedScores({ table, kernel }: Tie, x: Tensor2D): Tensor2D {
  return denseProduct(kernel === null ? x : denseProduct(x, kernel, false, true), table, false, true);
}

/**
 * Refuses arguments of a symbolic call that would have to reach `call`: the host saves them and then drops them when the model runs, so
 * that `apply(x, {reverse: true})` would have the right shape and the wrong numbers. When it runs it hands one object on to all layers, in which a recurrent
 * layer before may have left its `initialState`.
 */
export function refuseCallArguments(layer: layers.Layer, inputs: Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[], kwargs: object | undefined): void {
  if (!([inputs].flat()[0] instanceof SymbolicTensor)) return;
  const unknown = Object.keys(kwargs ?? {}).find((key) => key !== 'mask' && key !== 'training');
  if (unknown === undefined) return;
  throw new Error(`${layer.name}: the call argument '${unknown}' would be dropped when the model runs (tfjs-layers hands no call arguments on). For the output side of a tied table use tiedProjection().`);
}

/**
 * Looks tokens up in a table that {@link TiedProjection} uses once more, as the weights of the softmax over tokens: vector = E[id], and
 * there logits = h·Eᵀ. With `factorDim`: vector = E[id]·K, logits = (h·Kᵀ)·Eᵀ.
 *
 * Input: token ids `[batch, …]`, int32 or float32. Output: `[batch, …, outputDim]`; with `outputTable` the list of that, the table
 * `[inputDim, outputDim]` (or `[inputDim, factorDim]` and the kernel `[factorDim, outputDim]`), without a batch dimension.
 *
 * Parameters: inputDim·outputDim, or (inputDim + outputDim)·factorDim. It alone owns them: saved, counted, updated, frozen and quantised
 * once, as `embeddings` (a stock embedding's weights fit) and `kernel`. Its gradient is a fast scatter-add on every backend. A regularizer
 * counts once per step, however often the layer is called (the host counts its own layers once per call).
 *
 * ```js
 * const model = tf.sequential({layers: [
 *   tiedEmbedding({inputDim: 10000, outputDim: 256, inputShape: [35]}),
 *   tf.layers.lstm({units: 256, returnSequences: true}),
 *   tiedProjection(), // finds the embedding upstream
 * ]});
 * model.compile({optimizer: tf.train.adam(), loss: sparseCrossEntropy()});
 * ```
 *
 * Three-way tying (encoder input, decoder input, output): call one embedding on both inputs and put a projection behind the decoder.
 *
 * An id that is no integer in [0, inputDim) is an error on cpu, wasm and tensorflow; on webgl and webgpu its vector is zeros.
 *
 * When not to use it: input and output over different vocabularies, or so few tokens that the table does not matter.
 */
export class TiedEmbedding extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'TiedEmbedding';

  readonly inputDim: number;
  readonly outputDim: number;
  readonly factorDim: number | null;
  readonly maskZero: boolean;
  readonly outputTable: boolean;
  readonly embeddingsInitializer: Initializer;
  readonly embeddingsRegularizer: Regularizer | null;
  readonly embeddingsConstraint: Constraint | null;
  readonly kernelInitializer: Initializer;
  readonly kernelRegularizer: Regularizer | null;
  /** [inputDim, factorDim ?? outputDim] */
  embeddings: LayerVariable | null = null;
  /** [factorDim, outputDim], with `factorDim` */
  kernel: LayerVariable | null = null;
  readonly #counted = new CountedOnce();

  constructor(args: TiedEmbeddingArgs) {
    // The host's embedding does so too: as the first layer of a Sequential it needs no inputShape.
    super({ batchInputShape: args?.inputShape === undefined ? [args?.batchSize ?? null, null] : undefined, ...args });
    const who = 'TiedEmbedding';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected options with inputDim and outputDim, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.inputDim = checkNumber(who, 'inputDim', args.inputDim, integerAtLeast(1), 'It is the number of tokens.');
    this.outputDim = checkNumber(who, 'outputDim', args.outputDim, integerAtLeast(1), 'It is the length of the vectors.');
    this.factorDim = args.factorDim == null ? null : checkNumber(who, 'factorDim', args.factorDim, integerAtLeast(1), 'Leave it out for a table without factors.');
    this.maskZero = checkBoolean(who, 'maskZero', args.maskZero ?? false);
    this.outputTable = checkBoolean(who, 'outputTable', args.outputTable ?? false);
    this.embeddingsInitializer = initializerOf(who, 'embeddingsInitializer', args.embeddingsInitializer ?? 'randomUniform');
    this.embeddingsRegularizer = regularizerOf(who, 'embeddingsRegularizer', args.embeddingsRegularizer);
    this.embeddingsConstraint = constraintOf(who, 'embeddingsConstraint', args.embeddingsConstraint);
    this.kernelInitializer = initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotNormal');
    this.kernelRegularizer = regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer);
    this.supportsMasking = this.maskZero;
  }

  /** The shared tensors as they stand. They are the variables themselves: not to be disposed of. */
  get tie(): Tie {
    if (this.embeddings === null) throw new Error(`${this.name}: the table does not exist before the layer is built. Apply it to the token ids first.`);
    return { table: this.embeddings.read() as Tensor2D, kernel: this.kernel === null ? null : (this.kernel.read() as Tensor2D) };
  }

  override build(inputShape: Shape | Shape[]): void {
    const width = this.factorDim ?? this.outputDim;
    this.embeddings = this.addWeight('embeddings', [this.inputDim, width], 'float32', this.embeddingsInitializer, this.embeddingsRegularizer ?? undefined, true, this.embeddingsConstraint ?? undefined);
    if (this.factorDim !== null) {
      this.kernel = this.addWeight('kernel', [width, this.outputDim], 'float32', this.kernelInitializer, this.kernelRegularizer ?? undefined, true);
    }
    super.build(inputShape);
  }

  override apply(inputs: Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[], kwargs?: object): Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[] {
    refuseCallArguments(this, inputs, kwargs);
    return super.apply(inputs, kwargs as never);
  }

  override call(inputs: Tensor | Tensor[]): Tensor | Tensor[] {
    return tfc.tidy(() => {
      const tokens = oneOf(this.name, inputs);
      const ids = tokenIds(tfc.reshape(tokens, [tokens.size]), {
        count: this.inputDim, who: `${this.name}: token ids`, fix: 'Raise inputDim, or map unknown tokens to an id of their own.',
      }); // prettier-ignore
      const vectors = tfc.reshape(tiedLookup(this.tie, ids), [...tokens.shape, this.outputDim]);
      if (!this.outputTable) return vectors;
      const { table, kernel } = this.tie;
      // Copies of the handle: the host disposes of what passes along the graph, and would dispose of the variable.
      return [vectors, ...[table, kernel].filter((tensor) => tensor !== null).map((tensor) => tfc.clone(tensor))];
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape | Shape[] {
    const vectors = [...(oneOf(this.name, (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as Shape[])), this.outputDim];
    if (!this.outputTable) return vectors;
    if (this.factorDim === null) return [vectors, [this.inputDim, this.outputDim]];
    return [vectors, [this.inputDim, this.factorDim], [this.factorDim, this.outputDim]];
  }

  override computeMask(inputs: Tensor | Tensor[]): Tensor | Tensor[] {
    const mask = this.maskZero ? tfc.tidy(() => tfc.notEqual(oneOf(this.name, inputs), 0)) : null;
    // The host's types know no null here; at run time it means: no mask.
    return (this.outputTable ? [mask, null, null].slice(0, this.factorDim === null ? 2 : 3) : mask) as Tensor | Tensor[];
  }

  /** Each loss once per evaluation of the model: the host asks once for every call of the layer. */
  override calculateLosses(): Scalar[] {
    if (!this.#counted.first()) return [];
    return super.calculateLosses();
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      inputDim: this.inputDim,
      outputDim: this.outputDim,
      factorDim: this.factorDim,
      maskZero: this.maskZero,
      outputTable: this.outputTable,
      embeddingsInitializer: serialized(this.embeddingsInitializer),
      embeddingsRegularizer: serialized(this.embeddingsRegularizer),
      embeddingsConstraint: serialized(this.embeddingsConstraint),
      kernelInitializer: serialized(this.kernelInitializer),
      kernelRegularizer: serialized(this.kernelRegularizer),
    };
  }

  /** Token ids come in any rank. */
  protected override warnOnIncompatibleInputShape(): void {}
}

function oneOf<T>(who: string, inputs: T | T[]): T {
  const list = Array.isArray(inputs) ? inputs : [inputs];
  if (list.length !== 1) throw new Error(`${who}: expected one input of token ids, got ${list.length}.`);
  return list[0];
}

/** An embedding whose table a {@link tiedProjection} uses as output weights. See {@link TiedEmbedding}. */
export function tiedEmbedding(args: TiedEmbeddingArgs): TiedEmbedding {
  return new TiedEmbedding(args);
}

tfc.serialization.registerClass(TiedEmbedding);
