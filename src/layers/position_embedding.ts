/** Where in the sequence a vector stands. Vaswani et al., NeurIPS 2017 (arXiv 1706.03762), §3.5; learned: Gehring et al., ICML 2017. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { layers, type LayerVariable, type Shape } from '@tensorflow/tfjs-layers';
import { checkChoice, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf, type Initializer, type InitializerIdentifier, type LayerArgs, type Regularizer, type RegularizerIdentifier } from '../host.js';
import { activeCache } from './decoding_cache.js';

export interface PositionEmbeddingArgs extends LayerArgs {
  /** Fixed waves, or a table that is learned. Default 'sinusoidal'. */
  kind?: 'sinusoidal' | 'learned';
  /** Number of learned positions. Integer ≥ 1. Required with 'learned', and not taken else. */
  maxLength?: number | null;
  /** Start of the table. Default 'randomUniform'. */
  embeddingsInitializer?: InitializerIdentifier;
  /** Of the table. Only with 'learned'. */
  embeddingsRegularizer?: RegularizerIdentifier;
}

const KINDS = ['sinusoidal', 'learned'] as const;

/** [count, width]: sin(p/10000^(2i/width)) in the first half, cos in the second, of positions p = from … from + count − 1. */
export function sinusoids(from: number, count: number, width: number): Tensor2D {
  const half = Math.ceil(width / 2);
  const values = new Float32Array(count * width);
  for (let p = 0; p < count; p++) {
    for (let i = 0; i < half; i++) {
      const angle = (from + p) * Math.pow(10000, (-2 * i) / width);
      values[p * width + i] = Math.sin(angle);
      if (half + i < width) values[p * width + half + i] = Math.cos(angle);
    }
  }
  return tfc.tensor2d(values, [count, width]);
}

/**
 * y_t = x_t + P_t: adds to each position a vector of its own, waves of falling frequency or rows of a table.
 *
 * `[batch, time, width]` to the same shape; a mask passes. Parameters: none, or `embeddings` `[maxLength, width]`. In `cachedDecoding` it goes on
 * counting where the last step ended.
 *
 * ```js
 * const x = positionEmbedding({kind: 'learned', maxLength: 256}).apply(embedded);
 * ```
 *
 * Deviation from the paper: sines in the first half and cosines in the second, as in its own code, not in turn.
 */
export class PositionEmbedding extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'PositionEmbedding';
  readonly kind: (typeof KINDS)[number];
  readonly maxLength: number | null;
  readonly embeddingsInitializer: Initializer;
  readonly embeddingsRegularizer: Regularizer | null;
  embeddings: LayerVariable | null = null;

  constructor(args: PositionEmbeddingArgs = {}) {
    super(args);
    const who = 'PositionEmbedding';
    checkKeys(who, args, ['kind', 'maxLength', 'embeddingsInitializer', 'embeddingsRegularizer', ...LAYER_OPTIONS]);
    this.kind = checkChoice(who, 'kind', args.kind ?? 'sinusoidal', KINDS);
    if (this.kind === 'sinusoidal' && args.maxLength != null) throw new Error(`${who}: maxLength is the size of a learned table, got ${describe(args.maxLength)} with kind 'sinusoidal', which has no end. Leave it out, or use kind: 'learned'.`);
    this.maxLength = this.kind === 'sinusoidal' ? null : checkNumber(who, 'maxLength', args.maxLength, integerAtLeast(1), 'It is the number of learned positions.');
    this.embeddingsInitializer = initializerOf(who, 'embeddingsInitializer', args.embeddingsInitializer ?? 'randomUniform');
    this.embeddingsRegularizer = regularizerOf(who, 'embeddingsRegularizer', args.embeddingsRegularizer);
    if (this.kind === 'sinusoidal' && this.embeddingsRegularizer !== null) throw new Error(`${who}: embeddingsRegularizer is for a learned table; kind 'sinusoidal' has none. Leave it out, or use kind: 'learned'.`);
    this.supportsMasking = true;
  }

  override build(inputShape: Shape | Shape[]): void {
    const shape = (Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as Shape;
    if (shape.length !== 3 || shape[2] == null) throw new Error(`PositionEmbedding '${this.name}': expected [batch, time, width] with a known width, got [${shape.map((length) => length ?? 'null').join(', ')}].`);
    if (shape[1] != null) this.#checkEnd(shape[1]);
    if (this.maxLength !== null) this.embeddings = this.addWeight('embeddings', [this.maxLength, shape[2]], 'float32', this.embeddingsInitializer, this.embeddingsRegularizer ?? undefined);
    super.build(inputShape);
  }

  #checkEnd(end: number): void {
    if (this.maxLength === null || end <= this.maxLength) return;
    throw new Error(`PositionEmbedding '${this.name}': has ${this.maxLength} learned positions, got a sequence up to position ${end}. Raise maxLength, shorten the sequences, or use kind: 'sinusoidal'.`);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      const [, time, width] = x.shape as [number, number, number];
      const from = activeCache(this)?.position ?? 0;
      this.#checkEnd(from + time);
      const rows = this.embeddings === null ? sinusoids(from, time, width) : tfc.slice(variableOf(this.embeddings) as Tensor as Tensor2D, [from, 0], [time, width]);
      return tfc.add(x, tfc.reshape(rows, [1, time, width]));
    });
  }

  override getConfig(): serialization.ConfigDict {
    return { ...super.getConfig(), kind: this.kind, maxLength: this.maxLength, embeddingsInitializer: serialized(this.embeddingsInitializer), embeddingsRegularizer: serialized(this.embeddingsRegularizer) };
  }
}

/** Adds to each position of a sequence a vector of its own. See {@link PositionEmbedding}. */
export const positionEmbedding = (args: PositionEmbeddingArgs = {}): PositionEmbedding => new PositionEmbedding(args);

tfc.serialization.registerClass(PositionEmbedding);
