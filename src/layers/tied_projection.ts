/**
 * Scores of all tokens by the table of a {@link TiedEmbedding}: the output side of a tied embedding.
 * Inan, Khosravi & Socher, ICLR 2017 (arXiv 1611.01462); Press & Wolf, EACL 2017 (arXiv 1608.05859).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { layers, SymbolicTensor, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, shownShape } from '../checks.js';
import {
  activationOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type ActivationIdentifier, type Initializer, type InitializerIdentifier, type LayerArgs, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { denseProduct } from '../kernels/dense_product/index.js';
import { asFloats } from './hashed_inputs.js';
import { refuseCallArguments, TiedEmbedding, tiedScores, type Tie } from './tied_embedding.js';
import { checkOwnerOption, findOwner, type OwnerKind } from './upstream_owner.js';

export interface TiedProjectionArgs extends LayerArgs {
  /** Which embedding upstream to tie to, where there are several: the layer, or `{name}`. Default null: the only one. */
  embedding?: { name: string } | null;
  /** Insert a matrix P [hidden width, outputDim of the embedding] before the table: logits = (h·P)·Eᵀ + b. Required where the widths differ. Default false. */
  projection?: boolean;
  /** Add a number per token. Default true. */
  useBias?: boolean;
  /** On the logits. Default 'linear'; 'softmax' only for losses of the host that want probabilities. */
  activation?: ActivationIdentifier | null;
  /** Start of P. Default 'glorotNormal'. */
  kernelInitializer?: InitializerIdentifier;
  /** Projection regularisation of Press & Wolf, λ‖P‖²: `tf.regularizers.l2({l2: 0.15})`. */
  kernelRegularizer?: RegularizerIdentifier | null;
  /** Start of the bias. Default 'zeros'. */
  biasInitializer?: InitializerIdentifier;
  biasRegularizer?: RegularizerIdentifier | null;
}

const OPTIONS = [
  'embedding', 'projection', 'useBias', 'activation', 'kernelInitializer', 'kernelRegularizer', 'biasInitializer', 'biasRegularizer',
  ...LAYER_OPTIONS,
] as const; // prettier-ignore

/**
 * logits = h·Eᵀ + b, with the table E of the {@link TiedEmbedding} upstream; with `projection`, (h·P)·Eᵀ + b; where the embedding has
 * factors, (h·Kᵀ)·Eᵀ + b.
 *
 * It finds the embedding by itself when it is applied, among the layers that its input is computed from, models nested there included:
 * in a Sequential, a functional model, and again whenever the model is loaded or cloned. It refers to it and does not own it: the table is
 * trained, saved, counted and frozen with the embedding alone.
 *
 * Input: `[batch, …, hidden]`. Output: `[batch, …, inputDim of the embedding]`. A mask passes.
 *
 * Where it stands in a model of its own, with the embedding outside, nothing is upstream: then the table comes in as an input,
 * `apply([hidden, table])` (or `[hidden, table, kernel]`), from `tiedEmbedding({outputTable: true})`.
 *
 * ```js
 * const ids = tf.input({shape: [35]});
 * const vectors = tiedEmbedding({inputDim: 10000, outputDim: 256}).apply(ids);
 * const hidden = tf.layers.lstm({units: 320, returnSequences: true}).apply(vectors);
 * const logits = tiedProjection({projection: true, kernelRegularizer: tf.regularizers.l2({l2: 0.15})}).apply(hidden);
 * const model = tf.model({inputs: ids, outputs: logits});
 * ```
 *
 * Cost: a product [tokens, width]·[width, vocabulary], as a dense layer of that many units; parameters: `bias` [vocabulary], and with
 * `projection` `kernel` [hidden, outputDim]. A wrapper (`timeDistributed`) is not needed and not possible: it takes any rank.
 *
 * Deviation from the papers: P is followed by no non-linearity, as in Press & Wolf; Inan et al. have none of it.
 */
export class TiedProjection extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'TiedProjection';

  readonly projection: boolean;
  readonly useBias: boolean;
  readonly activation: Activation;
  readonly kernelInitializer: Initializer;
  readonly kernelRegularizer: Regularizer | null;
  readonly biasInitializer: Initializer;
  readonly biasRegularizer: Regularizer | null;
  /** P [hidden, outputDim of the embedding] */
  kernel: LayerVariable | null = null;
  /** [vocabulary] */
  bias: LayerVariable | null = null;
  readonly #wanted: { name: string } | null;
  /** Whose table it uses; null where the table is an input. */
  #owner: TiedEmbedding | null = null;

  constructor(args: TiedProjectionArgs = {}) {
    super(args);
    const who = 'TiedProjection';
    checkKeys(who, args, OPTIONS);
    this.#wanted = checkOwnerOption(who, 'embedding', 'tiedEmbedding', args.embedding);
    this.projection = checkBoolean(who, 'projection', args.projection ?? false);
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
    this.activation = activationOf(who, 'activation', args.activation);
    this.kernelInitializer = initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotNormal');
    this.kernelRegularizer = regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer);
    this.biasInitializer = initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros');
    this.biasRegularizer = regularizerOf(who, 'biasRegularizer', args.biasRegularizer);
    this.supportsMasking = true;
  }

  /** The embedding whose table it uses; null before it is applied, and where the table is an input. */
  get embedding(): TiedEmbedding | null {
    return this.#owner;
  }

  override apply(inputs: Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[], kwargs?: object): Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[] {
    refuseCallArguments(this, inputs, kwargs);
    const list = [inputs].flat();
    if (list[0] instanceof SymbolicTensor) {
      if (list.length === 1) this.#tieTo(findOwner<TiedEmbedding>(this.name, list[0], this.#wanted, EMBEDDING));
      else if (this.#wanted !== null) throw new Error(`${this.name}: got both embedding: {name: '${this.#wanted.name}'} and a table as input. Leave one of them out.`);
    }
    return super.apply(inputs, kwargs as never);
  }

  override build(inputShape: Shape | Shape[]): void {
    const { hidden, vocabulary, width } = this.#sizes(inputShape);
    if (this.projection) {
      this.kernel = this.addWeight('kernel', [hidden, width], 'float32', this.kernelInitializer, this.kernelRegularizer ?? undefined, true);
    }
    if (this.useBias) {
      this.bias = this.addWeight('bias', [vocabulary], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true);
    }
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[]): Tensor {
    return tfc.tidy(() => {
      const [hidden, table = null, kernel = null] = [inputs].flat();
      const tie: Tie = table === null ? this.#owningEmbedding().tie : { table: table as Tensor2D, kernel: kernel as Tensor2D | null };
      const flat = tfc.reshape(asFloats(this.name, hidden), [-1, hidden.shape.at(-1) as number]) as Tensor2D;
      const logits = tiedScores(tie, this.kernel === null ? flat : denseProduct(flat, variableOf(this.kernel) as Tensor2D));
      const shifted = this.bias === null ? logits : tfc.add(logits, variableOf(this.bias));
      return tfc.reshape(this.activation.apply(shifted), [...hidden.shape.slice(0, -1), tie.table.shape[0]]);
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const { leading, vocabulary } = this.#sizes(inputShape);
    return [...leading, vocabulary];
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor {
    return (Array.isArray(mask) ? mask[0] : mask) as Tensor;
  }

  override getConfig(): serialization.ConfigDict {
    // Under the key `name`, whose value alone the host leaves as it is; and as the embedding is called now.
    const name = this.#wanted === null ? null : (this.#owner ?? this.#wanted).name;
    return {
      ...super.getConfig(),
      embedding: name === null ? null : { name },
      projection: this.projection,
      useBias: this.useBias,
      activation: this.activation.getClassName(),
      kernelInitializer: serialized(this.kernelInitializer),
      kernelRegularizer: serialized(this.kernelRegularizer),
      biasInitializer: serialized(this.biasInitializer),
      biasRegularizer: serialized(this.biasRegularizer),
    };
  }

  #tieTo(embedding: TiedEmbedding): void {
    if (this.#owner !== null && this.#owner !== embedding) {
      throw new Error(`${this.name}: is tied to '${this.#owner.name}' and cannot be applied to what comes from '${embedding.name}'. Make another tiedProjection() for that.`);
    }
    this.#owner = embedding;
  }

  #owningEmbedding(): TiedEmbedding {
    if (this.#owner === null) {
      throw new Error(`${this.name}: is not tied to an embedding. Apply it in a model, to what is computed from a tiedEmbedding's vectors, or to [hidden, table].`);
    }
    return this.#owner;
  }

  /** The sizes that the inputs imply, after a look whether they fit. */
  #sizes(inputShape: Shape | Shape[]): { leading: Shape; hidden: number; vocabulary: number; width: number } {
    const [input, ...tie] = (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as Shape[];
    const hidden = input.at(-1) ?? null;
    if (hidden === null || input.length < 2) {
      throw new Error(`${this.name}: expected an input [batch, …, hidden] with a known last dimension, got ${shownShape(input)}.`);
    }
    const { inputDim: vocabulary, outputDim: width } = tie.length === 0 ? this.#owningEmbedding() : tieSizes(this.name, tie);
    if (!this.projection && hidden !== width) {
      throw new Error(`${this.name}: the input has width ${hidden}, the embedding's vectors have ${width}. Give projection: true for a matrix between them, or make the widths equal.`);
    }
    return { leading: input.slice(0, -1), hidden, vocabulary, width };
  }
}


/** What a table and perhaps a kernel, handed over as inputs, say about their embedding. */
function tieSizes(who: string, tie: Shape[]): { inputDim: number; outputDim: number } {
  const [table, kernel = null] = tie;
  const known = tie.every((shape) => shape.length === 2 && !shape.includes(null));
  if (!known || tie.length > 2 || (kernel !== null && kernel[0] !== table[1])) {
    throw new Error(
      `${who}: beside the input expected a table [vocabulary, width], or [vocabulary, factorDim] and a kernel [factorDim, width], without a batch dimension, ` +
        `got ${tie.map(shownShape).join(' and ')}. For an input of a model use tf.input({batchShape: [vocabulary, width]}).`,
    );
  }
  return { inputDim: table[0] as number, outputDim: (kernel ?? table)[1] as number };
}

const EMBEDDING: OwnerKind = {
  className: TiedEmbedding.className,
  factory: 'tiedEmbedding',
  say: (name) => `tiedProjection({embedding: {name: '${name}'}})`,
  fix: 'Apply it to what is computed from a tiedEmbedding\'s vectors; where the embedding is in another model, hand its table over: tiedEmbedding({outputTable: true}), tiedProjection().apply([hidden, table]).',
};

/** The output side of a {@link tiedEmbedding}. See {@link TiedProjection}. */
export function tiedProjection(args: TiedProjectionArgs = {}): TiedProjection {
  return new TiedProjection(args);
}

tfc.serialization.registerClass(TiedProjection);
