/**
 * Attention with several heads, for tfjs-layers, which exports none.
 * Vaswani et al., Attention Is All You Need, NeurIPS 2017 (arXiv 1706.03762), §3.2.2.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import {
  initializerOf, initializerOfNth, LAYER_OPTIONS, regularizerOf, serialized,
  type Initializer, type InitializerIdentifier, type LayerArgs, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { attention, attentionWeights, joinHeads, seenOf, splitHeads, weightedValues } from './attention.js';
import { checkLengths, planAttention, SHARE, splitInputs, widenedMask, type AttentionPlan } from './attention_inputs.js';
import { projected } from './attention_projection.js';
import { activeCache } from './decoding_cache.js';
import { RepeatedCalls } from './repeated_calls.js';

export interface MultiHeadAttentionArgs extends LayerArgs {
  /** Number of heads. Integer ≥ 1. Required. */
  numHeads: number;
  /** Length of a head's queries and keys. Integer ≥ 1. Default null: width of the query / numHeads, which must divide it. */
  keyDim?: number | null;
  /** Length of a head's values. Integer ≥ 1. Default null: that of its keys. */
  valueDim?: number | null;
  /** Width of the output. Integer ≥ 1. Default null: that of the first input. */
  outputDim?: number | null;
  /** Share of the attention weights left out in training, in [0, 1). Default 0. */
  dropout?: number;
  /** Whether a position looks at no later one. Default false. */
  causal?: boolean;
  /** Whether the last input is a mask: numbers ≠ 0 where a key may be looked at, so token ids with padding 0 are one. Default false. */
  maskInput?: boolean;
  /** Whether the inputs are [value, maps] with another layer's attention maps; there are no query and key weights then. Default false. */
  mapsInput?: boolean;
  /** Whether the attention maps are a second output. Default false. */
  outputMaps?: boolean;
  /** Add a vector after each of the four products. Default true. */
  useBias?: boolean;
  /** Start of the four kernels; each draws numbers of its own, where a seed is given from that and the next three. Default 'glorotUniform'. */
  kernelInitializer?: InitializerIdentifier;
  /** Start of the biases. Default 'zeros'. */
  biasInitializer?: InitializerIdentifier;
  /** Of each of the four kernels, if not said otherwise below. */
  kernelRegularizer?: RegularizerIdentifier | null;
  queryRegularizer?: RegularizerIdentifier | null;
  keyRegularizer?: RegularizerIdentifier | null;
  valueRegularizer?: RegularizerIdentifier | null;
  outputRegularizer?: RegularizerIdentifier | null;
}

const OPTIONS = [
  'numHeads', 'keyDim', 'valueDim', 'outputDim', 'dropout', 'causal', 'maskInput', 'mapsInput', 'outputMaps', 'useBias', 'kernelInitializer',
  'biasInitializer', 'kernelRegularizer', 'queryRegularizer', 'keyRegularizer', 'valueRegularizer', 'outputRegularizer', ...LAYER_OPTIONS,
] as const; // prettier-ignore

/** What a query sees: masks by key, [batch, key time], or one of any rank that {@link widenedMask} takes. */
export interface SeenKeys {
  /** From an input. */
  mask?: Tensor | null;
  /** From the host, of the keys. */
  padding?: Tensor | null;
}

/**
 * heads_h = softmax(Q·W^Q_h (K·W^K_h)ᵀ / √keyDim) · V·W^V_h; output = [heads_1 … heads_H]·W^O (with a bias after each product).
 *
 * Inputs: `x` for self-attention; `[query, memory]`, whose keys and values are the memory; `[query, key, value]`, of any widths. `[batch, time,
 * width]` each. With `maskInput` one more, the mask: `[batch, key time]`, `[batch, query time, key time]` or `[batch, heads or 1, query time or 1,
 * key time]`, numbers ≠ 0 where a key may be looked at. With `mapsInput`: `[value, maps]`, maps `[batch, heads, query time, key time]`.
 * Output `[batch, query time, outputDim]`; with `outputMaps` the list of that and the maps (before dropout).
 *
 * A mask of the host (`maskZero`) hides keys in self-attention and passes on. To attention over a memory the host does not hand the memory's
 * mask: give it as an input. The host also hands the last mask that there was to layers after which have none: one of another length is left aside.
 * A query that may look at nothing gets zero weights, and so the last bias.
 *
 * Parameters (+ biases): width·heads·keyDim for query and key, width·heads·valueDim for value, and heads·valueDim·outputDim. Kernels are
 * matrices `[width, heads · dim]`, head after head. Time and memory ∝ batch·heads·query time·key time: the maps are stored.
 *
 * ```js
 * const x = tf.input({shape: [null, 64]});
 * const y = multiHeadAttention({numHeads: 4, causal: true, dropout: 0.1}).apply(x);
 * const model = tf.model({inputs: x, outputs: tf.layers.add().apply([x, y])});
 * ```
 *
 * Several layers with one layer's maps (Xiao et al. 2019), which leaves half of the later one's weights out:
 *
 * ```js
 * const [y, maps] = multiHeadAttention({numHeads: 4, outputMaps: true}).apply(x);
 * const z = multiHeadAttention({numHeads: 4, mapsInput: true}).apply([y, maps]);
 * ```
 *
 * When not to use it: sequences of several thousand steps; the maps then are the memory. It is made of products of matrices, which train on every
 * backend, and not of the host's einsum, which does not.
 *
 * Deviations from Keras: inputs are in the order query, key, value; options that Keras takes at the call are options of the layer, since the host
 * drops call arguments; a fully masked row is zero, not uniform.
 */
export class MultiHeadAttention extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'MultiHeadAttention';

  readonly numHeads: number;
  readonly keyDim: number | null;
  readonly valueDim: number | null;
  readonly outputDim: number | null;
  readonly dropout: number;
  readonly causal: boolean;
  readonly maskInput: boolean;
  readonly mapsInput: boolean;
  readonly outputMaps: boolean;
  readonly useBias: boolean;
  readonly kernelInitializer: Initializer;
  readonly biasInitializer: Initializer;
  /** Under the names by which `attachRegularizer` finds the kernels. */
  queryRegularizer: Regularizer | null;
  keyRegularizer: Regularizer | null;
  valueRegularizer: Regularizer | null;
  outputRegularizer: Regularizer | null;
  /** [query width, numHeads · keyDim]; this and `keyKernel` are null with `mapsInput`. */
  queryKernel: LayerVariable | null = null;
  queryBias: LayerVariable | null = null;
  /** [key width, numHeads · keyDim] */
  keyKernel: LayerVariable | null = null;
  keyBias: LayerVariable | null = null;
  /** [value width, numHeads · valueDim] */
  valueKernel: LayerVariable | null = null;
  valueBias: LayerVariable | null = null;
  /** [numHeads · valueDim, outputDim] */
  outputKernel: LayerVariable | null = null;
  outputBias: LayerVariable | null = null;
  readonly #calls = new RepeatedCalls();

  constructor(args: MultiHeadAttentionArgs) {
    super(args ?? {});
    const who = 'MultiHeadAttention';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with numHeads, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    const length = (option: 'keyDim' | 'valueDim' | 'outputDim') => (args[option] == null ? null : checkNumber(who, option, args[option], integerAtLeast(1)));
    this.numHeads = checkNumber(who, 'numHeads', args.numHeads, integerAtLeast(1), 'It is the number of heads.');
    this.keyDim = length('keyDim');
    this.valueDim = length('valueDim');
    this.outputDim = length('outputDim');
    this.dropout = checkNumber(who, 'dropout', args.dropout ?? 0, SHARE, 'It is the share of the attention weights that is left out.');
    this.causal = checkBoolean(who, 'causal', args.causal ?? false);
    this.maskInput = checkBoolean(who, 'maskInput', args.maskInput ?? false);
    this.mapsInput = checkBoolean(who, 'mapsInput', args.mapsInput ?? false);
    this.outputMaps = checkBoolean(who, 'outputMaps', args.outputMaps ?? false);
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
    if (this.mapsInput && (this.maskInput || this.causal)) {
      throw new Error(`${who}: mapsInput takes the maps of another layer as they are: ${this.causal ? 'causal' : 'maskInput'} belongs to the layer that makes them.`);
    }
    this.kernelInitializer = initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotUniform');
    this.biasInitializer = initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros');
    const common = regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer);
    const own = (option: RegularizerOption) => (args[option] === undefined ? common : regularizerOf(who, option, args[option]));
    this.queryRegularizer = own('queryRegularizer');
    this.keyRegularizer = own('keyRegularizer');
    this.valueRegularizer = own('valueRegularizer');
    this.outputRegularizer = own('outputRegularizer');
    this.supportsMasking = true;
  }

  override build(inputShape: Shape | Shape[]): void {
    const plan = this.#plan(inputShape);
    const weight = (name: string, shape: number[], initializer: Initializer, regularizer: Regularizer | null = null) =>
      this.addWeight(name, shape, 'float32', initializer, regularizer ?? undefined);
    const bias = (name: string, units: number) => (this.useBias ? weight(name, [units], this.biasInitializer) : null);
    const kernel = (n: number) => initializerOfNth(this.kernelInitializer, n);
    const [keys, values] = [this.numHeads * plan.keyDim, this.numHeads * plan.valueDim];
    if (!this.mapsInput) {
      this.queryKernel = weight('query_kernel', [plan.queryWidth, keys], kernel(0), this.queryRegularizer);
      this.queryBias = bias('query_bias', keys);
      this.keyKernel = weight('key_kernel', [plan.keyWidth, keys], kernel(1), this.keyRegularizer);
      this.keyBias = bias('key_bias', keys);
    }
    this.valueKernel = weight('value_kernel', [plan.valueWidth, values], kernel(2), this.valueRegularizer);
    this.valueBias = bias('value_bias', values);
    this.outputKernel = weight('output_kernel', [values, plan.outputDim], kernel(3), this.outputRegularizer);
    this.outputBias = bias('output_bias', plan.outputDim);
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor | Tensor[] {
    this.invokeCallHook(inputs, kwargs);
    const given = [inputs].flat();
    const training = kwargs['training'] === true;
    const outputs = () => tfc.tidy(() => this.#outputs(given, kwargs['mask'], training));
    if (!this.outputMaps) return outputs()[0];
    const masks = [kwargs['mask'] as Tensor | null | undefined | (Tensor | null)[]].flat().filter((mask) => mask != null);
    return this.#calls.answer([...given, ...masks], this.weights, training, outputs);
  }

  /** The output, and with `outputMaps` the maps. */
  #outputs(inputs: Tensor[], hostMask: unknown, training: boolean): Tensor[] {
    const { query, key, value, mask, maps } = splitInputs(this, inputs);
    checkLengths(this, query.shape, key.shape, value.shape);
    const seen = { mask, padding: keyPadding(hostMask, key, query) };
    if (maps === undefined && !this.outputMaps) return [this.attended(query, key, value, seen, training)];
    const weights = (maps as Tensor4D | undefined) ?? this.maps(query, key, seen);
    const output = this.attend(weights, value, training);
    // A copy of the handle: the host disposes of what passes along the graph.
    return this.outputMaps ? [output, tfc.clone(weights)] : [output];
  }

  /** What maps are made with; none with `mapsInput`. */
  get queryAndKey(): LayerVariable[] {
    return [this.queryKernel, this.queryBias, this.keyKernel, this.keyBias].filter((weight) => weight !== null);
  }

  /**
   * The attention weights [batch, numHeads, query time, key time] of a built layer for `query` and `key` [batch, time, width]. In a step of
   * `cachedDecoding` the keys of earlier steps stand before them.
   */
  maps(query: Tensor, key: Tensor, { mask = null, padding = null }: SeenKeys = {}): Tensor4D {
    const { queries, keys, ...options } = this.#compared(query, key, { mask, padding });
    return attentionWeights(queries, keys, options);
  }

  /** What is compared with what, and what may be. */
  #compared(query: Tensor, key: Tensor, { mask = null, padding = null }: SeenKeys) {
    if (this.queryKernel === null || this.keyKernel === null) {
      throw new Error(`MultiHeadAttention '${this.name}': has no weights for query and key, ${this.mapsInput ? 'since mapsInput is true' : 'since it is not built'}.`);
    }
    const [queries, keys] = [this.#heads(query, this.queryKernel, this.queryBias), this.#keys(query, key)];
    const seen = widenedMask(this.name, mask, [query.shape[0], this.numHeads, query.shape[1]!, keys.shape[2]]);
    // An embedding that masks does so at every step.
    const slot = padding === null || (key !== query && !this.causal) ? undefined : activeCache(this)?.slot(this, 'padding');
    const known = widenedMask(this.name, slot?.extended(tfc.cast(padding!, 'float32'), 1, key) ?? padding, [key.shape[0], 1, 1, keys.shape[2]]);
    const both = seen !== null && known !== null ? tfc.mul(seenOf(seen), known) : (seen ?? known);
    return { queries, keys, mask: both, causal: this.causal };
  }

  /** `attend(maps(query, key, seen), value, training)` in less time, where nobody wants to see the maps. */
  attended(query: Tensor, key: Tensor, value: Tensor, seen: SeenKeys = {}, training = false): Tensor {
    // Dropout changes the maps.
    if (training && this.dropout > 0) return this.attend(this.maps(query, key, seen), value, training);
    const { queries, keys, ...options } = this.#compared(query, key, seen);
    return projected(joinHeads(attention(queries, keys, this.#values(keys.shape[2], value), options)), this.outputKernel!, this.outputBias);
  }

  #heads(x: Tensor, kernel: LayerVariable | null, bias: LayerVariable | null): Tensor4D {
    return splitHeads(projected(x, kernel!, bias), this.numHeads);
  }

  #keys(query: Tensor, key: Tensor): Tensor4D {
    const make = () => this.#heads(key, this.keyKernel, this.keyBias);
    const slot = activeCache(this)?.slot(this, 'key');
    if (slot === undefined) return make();
    // Causal attention is that of a sequence over itself, whatever was made of it for the keys.
    if (!this.causal && key !== query) return slot.from(key, make) as Tensor4D;
    if (!this.causal) throw new Error(`MultiHeadAttention '${this.name}': step by step a position cannot look at later ones. Use causal: true for cached decoding.`);
    return slot.extended(make(), 2, key) as Tensor4D;
  }

  /** The output [batch, query time, outputDim] of a built layer for attention weights, its own or another layer's, and `value` [batch, key time, width]. */
  attend(weights: Tensor4D, value: Tensor, training = false): Tensor {
    const values = this.#values(weights.shape[3], value);
    if (weights.shape[1] !== this.numHeads || weights.shape[3] !== values.shape[2]) {
      throw new Error(
        `MultiHeadAttention '${this.name}': maps of shape [${weights.shape}] do not fit ${this.numHeads} heads and ${values.shape[2]} values, expected ` +
          `[batch, ${this.numHeads}, query time, ${values.shape[2]}]. Only layers with equally many heads over the same positions can share maps.`,
      );
    }
    const dropped = training && this.dropout > 0 ? (tfc.dropout(weights, this.dropout) as Tensor4D) : weights;
    return projected(joinHeads(weightedValues(dropped, values)), this.outputKernel!, this.outputBias);
  }

  #values(keys: number, value: Tensor): Tensor4D {
    const make = () => this.#heads(value, this.valueKernel, this.valueBias);
    const slot = activeCache(this)?.slot(this, 'value');
    if (slot === undefined) return make();
    // Maps over all positions so far go with a sequence that grows, others with a memory.
    return (keys === slot.length(2) + value.shape[1]! ? slot.extended(make(), 2, value) : slot.from(value, make)) as Tensor4D;
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape | Shape[] {
    const { batch, queryTime, keyTime, outputDim } = this.#plan(inputShape);
    const output = [batch, queryTime, outputDim];
    return this.outputMaps ? [output, [batch, this.numHeads, queryTime, keyTime]] : output;
  }

  #plan(inputShape: Shape | Shape[]): AttentionPlan {
    return planAttention(this, (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as Shape[]);
  }

  /** The mask of the query; the maps have none. */
  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor | Tensor[] {
    const first = (Array.isArray(mask) ? mask[0] : mask) ?? null;
    // The host's types know no null here; at run time it means: no mask.
    return (this.outputMaps ? [first, null] : first) as Tensor | Tensor[];
  }

  override getConfig(): serialization.ConfigDict {
    const { queryRegularizer, keyRegularizer, valueRegularizer, outputRegularizer } = this;
    const common = keyRegularizer === queryRegularizer && valueRegularizer === queryRegularizer && outputRegularizer === queryRegularizer;
    return {
      ...super.getConfig(),
      numHeads: this.numHeads,
      keyDim: this.keyDim,
      valueDim: this.valueDim,
      outputDim: this.outputDim,
      dropout: this.dropout,
      causal: this.causal,
      maskInput: this.maskInput,
      mapsInput: this.mapsInput,
      outputMaps: this.outputMaps,
      useBias: this.useBias,
      kernelInitializer: serialized(this.kernelInitializer),
      biasInitializer: serialized(this.biasInitializer),
      // Once where it is one, which then comes back as one.
      ...(common
        ? { kernelRegularizer: serialized(queryRegularizer) }
        : {
            queryRegularizer: serialized(queryRegularizer), keyRegularizer: serialized(keyRegularizer),
            valueRegularizer: serialized(valueRegularizer), outputRegularizer: serialized(outputRegularizer),
          }), // prettier-ignore
    };
  }
}

type RegularizerOption = 'queryRegularizer' | 'keyRegularizer' | 'valueRegularizer' | 'outputRegularizer';

/** The host's mask where it is one of the keys: that of the key where masks of all inputs are known, else the query's, if the keys are the query. */
function keyPadding(given: unknown, key: Tensor, query: Tensor): Tensor | null {
  const mask = (Array.isArray(given) ? (given[1] ?? (key === query ? given[0] : null)) : key === query ? given : null) as Tensor | null | undefined;
  return mask?.rank === 2 && mask.shape[0] === key.shape[0] && mask.shape[1] === key.shape[1] ? mask : null;
}

/** Self- and cross-attention with several heads. See {@link MultiHeadAttention}. */
export function multiHeadAttention(args: MultiHeadAttentionArgs): MultiHeadAttention {
  return new MultiHeadAttention(args);
}

tfc.serialization.registerClass(MultiHeadAttention);
