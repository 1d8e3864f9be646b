/** Runs a model with attention over sequences one step at a time, without computing the past again. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import { allLayers, checkSameHost, type Layer } from '../host.js';
import { Unrolled } from '../solvers/unrolled.js';
import { DecodingCache } from './decoding_cache.js';
import { decodingGraph } from './decoding_graph.js';
import { DEQLayer } from './deq_layer.js';

const WHO = 'cachedDecoding';

/** Layers that look along the sequence and keep nothing of it from one call to the next. */
const MIXING = new Set([
  'SimpleRNN', 'LSTM', 'GRU', 'RNN', 'ConvLSTM2D', 'Bidirectional', 'Conv1D', 'RecursiveConv', 'AveragePooling1D', 'MaxPooling1D', 'GlobalAveragePooling1D', 'GlobalMaxPooling1D',
  'GroupNormalization', 'ZeroPadding1D', 'Cropping1D', 'UpSampling1D',
]); // prettier-ignore
/** Layers that keep something, or count. */
const USERS = new Set(['MultiHeadAttention', 'PositionEmbedding', 'UniversalTransformer', 'SharedAttention']);
const mixes = (layer: Layer): boolean => MIXING.has(layer.getClassName()) && (layer as { kernelSize?: number[] }).kernelSize?.[0] !== 1;

/**
 * A model's attention layers with their keys and values of earlier steps kept: step by step it gives what one pass over the whole sequence gives at these
 * positions. The model is used as it is; around its attention it may hold whatever treats positions one by one (dense layers, layer and batch normalisation,
 * embeddings, `positionEmbedding`).
 *
 * ```js
 * const decoding = cachedDecoding(model);
 * let logits = decoding.step(tf.tensor2d([prompt]));      // [1, prompt length, vocabulary]
 * for (let i = 0; i < 100; i++) {
 *   const next = tf.argMax(tf.slice(logits, [0, logits.shape[1] - 1, 0], [1, 1, -1]), -1);
 *   logits = decoding.step(next);                         // [1, 1, vocabulary]
 * }
 * decoding.dispose();
 * ```
 *
 * A step costs products of one position with the weights, and attention over what there is; memory: keys and values, 2·width numbers per
 * attention layer and position (values only in layers that share maps). A memory over which attention goes is projected once, as long as the same
 * tensor is handed over at each step. An encoder may be part of the model, but what it makes of its input is then computed at each step: hand its output
 * over instead.
 *
 * Limits: attention of a sequence over itself must be causal. Layers that mix positions otherwise (convolutions over time, recurrent layers, normalisation over
 * time) would see the step alone, and are refused. Other inputs than the first grow with it where the model adds or joins them position by position; those that only attention looks at are memories. The weights must not change between steps.
 */
export class CachedDecoding {
  readonly #model: LayersModel;
  readonly #cache: DecodingCache;
  /** Sequences; null before the first step. */
  #batch: number | null = null;
  /** A step ended half-way: some layers keep its positions, others do not. */
  #torn = false;

  constructor(model: LayersModel) {
    checkSameHost(WHO, model);
    const { apart, both, looksAhead } = decodingGraph(model);
    const twice = [...both].find((layer) => USERS.has(layer.getClassName()));
    if (twice !== undefined) throw new Error(`${WHO}: the layer '${twice.name}' (${twice.getClassName()}) is applied to the sequence that grows and to what does not grow. Give each a layer of its own, or hand over what was computed of the latter.`);
    if (looksAhead !== null) throw new Error(`${WHO}: the layer '${looksAhead.name}' (MultiHeadAttention) looks at all positions of the sequence; step by step a position cannot look at later ones. Use causal: true.`);
    const layers = allLayers(model).filter((layer) => !apart.has(layer) || both.has(layer));
    const mixing = layers.find(mixes);
    if (mixing !== undefined) throw new Error(`${WHO}: the layer '${mixing.name}' (${mixing.getClassName()}) mixes positions, and step by step would see the last one alone. Decode with the whole sequence.`);
    const solved = layers.find((layer) => layer instanceof DEQLayer && !(layer.gradient instanceof Unrolled));
    if (solved !== undefined) throw new Error(`${WHO}: the equilibrium layer '${solved.name}' solves for all positions at once, and its solver cannot keep those of before. Decode with the whole sequence, or configure it with gradient: unrolled({steps}).`);
    this.#model = model;
    this.#cache = new DecodingCache(apart);
  }

  /** Positions decoded so far. */
  get position(): number {
    return this.#cache.position;
  }

  /**
   * The model's outputs for the next positions: `inputs` as the model takes them, the first of them `[batch, positions, …]`.
   * @throws Error if an attention layer on the way is not causal, there are more or fewer sequences than in the step before, or that one failed.
   */
  step(inputs: Tensor | Tensor[]): Tensor | Tensor[] {
    const first = Array.isArray(inputs) ? inputs[0] : inputs;
    if (!(first instanceof tfc.Tensor) || first.rank < 2) throw new Error(`${WHO}: expected the next positions [batch, positions, …], got ${first instanceof tfc.Tensor ? `a tensor of shape [${first.shape}]` : describe(first)}.`);
    const [batch, length] = first.shape;
    if (this.#batch !== null && batch !== this.#batch) throw new Error(`${WHO}: expected the next positions of ${this.#batch} sequences, got ${batch}. select(…) leaves some out or repeats them; dispose() begins anew.`);
    if (this.#torn) throw new Error(`${WHO}: the step before failed, and its positions are kept in part. dispose() begins anew.`);
    try {
      const outputs = this.#cache.step(length!, () => tfc.tidy(() => this.#model.apply(inputs, { training: false }) as Tensor | Tensor[]));
      this.#batch = batch;
      return outputs;
    } catch (error) {
      // Before the first step there is nothing to lose.
      if (this.#batch === null) this.dispose();
      else this.#torn = true;
      throw error;
    }
  }

  /**
   * Puts the sequences of the batch into another order; an index may come again, or be left out, as beam search needs. `indices` int32 `[batch]`. Memories and masks of
   * theirs must be handed over in the new order from then on.
   */
  select(indices: Tensor | readonly number[]): void {
    const wrong = indices instanceof tfc.Tensor ? undefined : indices.find((index) => !Number.isInteger(index) || index < 0 || index >= (this.#batch ?? 0));
    if (wrong !== undefined) throw new Error(`${WHO}: select takes indices of the ${this.#batch ?? 0} sequences, from 0, got ${describe(wrong)}.`);
    this.#batch = indices instanceof tfc.Tensor ? indices.shape[0] : indices.length;
    tfc.tidy(() => this.#cache.select(indices instanceof tfc.Tensor ? indices : tfc.tensor1d([...indices], 'int32')));
  }

  /** Forgets the sequence and frees what was kept; the next step begins a new one. */
  dispose(): void {
    this.#batch = null;
    this.#torn = false;
    this.#cache.dispose();
  }
}

/** Step by step through a model with attention. See {@link CachedDecoding}. */
export const cachedDecoding = (model: LayersModel): CachedDecoding => new CachedDecoding(model);
