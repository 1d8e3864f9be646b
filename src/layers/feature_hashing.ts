/**
 * Feature hashing: bags of tokens as vectors of a fixed length, without a vocabulary.
 * Weinberger, Dasgupta, Langford, Smola & Attenberg, ICML 2009 (signed); Shi, Petterson, Dror, Langford, Smola & Vishwanathan, JMLR 10 (2009).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, describe } from '../checks.js';
import { LAYER_OPTIONS, type LayerArgs } from '../host.js';
import { codeOfBytes, codeOfInteger, LARGEST_TOKEN, MOST_BUCKETS, type TokenHash } from '../kernels/token_hash/code.js';
import { bucketSum, tokenCodes } from '../kernels/token_hash/index.js';

/** How tokens are hashed: the same in {@link FeatureHashing} and in {@link hashTokens}. */
export interface HashTokensArgs {
  /** Number of buckets, the length of a hashed vector. Integer from 1 to 2²⁴ − 1. Required. */
  outputDim: number;
  /** Chooses the hash. Integer from 0 to 2³² − 1. Default 0. */
  seed?: number;
  /** Give each token a sign by a second hash, so that collisions cancel on average. Default true. */
  signHash?: boolean;
}

export interface FeatureHashingArgs extends LayerArgs, HashTokensArgs {
  /** An integer token that fills up rows and is not counted; null for none. The empty string never counts. Default null. */
  paddingValue?: number | null;
}

/** Where tokens go: token i adds `signs[i]` (times its weight) to component `indices[i]`. */
export interface HashedTokens {
  indices: Int32Array;
  /** +1 or −1. */
  signs: Int8Array;
}

const HASH_OPTIONS = ['outputDim', 'seed', 'signHash'];
const MOST_SEED = 2 ** 32 - 1;

function checkHash(who: string, { outputDim, seed = 0, signHash = true }: HashTokensArgs): TokenHash {
  return {
    outputDim: checkNumber(who, 'outputDim', outputDim, { expected: `an integer from 1 to ${MOST_BUCKETS}`, holds: (x) => Number.isInteger(x) && x >= 1 && x <= MOST_BUCKETS }, 'It is the length of a hashed vector, e.g. outputDim: 1024.'),
    seed: checkNumber(who, 'seed', seed, { expected: `an integer from 0 to ${MOST_SEED}`, holds: (x) => Number.isInteger(x) && x >= 0 && x <= MOST_SEED }),
    signHash: checkBoolean(who, 'signHash', signHash),
  };
}

/**
 * Hashes tokens outside of a model, in a data pipeline: the same buckets and signs that {@link FeatureHashing} finds for them.
 *
 * Strings are hashed as UTF-8; integers may be any of 32 bits (the layer itself takes those within ±(2²⁴ − 1)). An integer and the string
 * of its digits are different tokens.
 *
 * ```js
 * const {indices, signs} = hashTokens('the cat sat on the mat'.split(' '), {outputDim: 16});
 * const vector = new Float32Array(16);
 * indices.forEach((bucket, i) => (vector[bucket] += signs[i]));
 * ```
 *
 * @throws Error for a token that is neither a string nor an integer of 32 bits, naming its position.
 */
export function hashTokens(tokens: ArrayLike<number> | ArrayLike<string>, args: HashTokensArgs): HashedTokens {
  const who = 'hashTokens';
  if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected options with outputDim, got ${describe(args)}.`);
  checkKeys(who, args, HASH_OPTIONS);
  if (typeof tokens === 'string') throw new Error(`${who}: expected a list of tokens, got the text ${JSON.stringify((tokens as string).slice(0, 20))}. Split it first: text.split(' ').`);
  const hash = checkHash(who, args);
  const utf8 = new TextEncoder();
  const indices = new Int32Array(tokens.length);
  const signs = new Int8Array(tokens.length);
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    // `| 0` keeps what two's complement of 32 bits holds.
    const isInteger = typeof token === 'number' && (token | 0) === token;
    if (!isInteger && typeof token !== 'string') {
      throw new Error(`${who}: tokens must be strings or integers from −2³¹ to 2³¹ − 1, got ${describe(token)} at position ${i}.`);
    }
    const code = isInteger ? codeOfInteger(token, hash) : codeOfBytes(utf8.encode(token as string), hash);
    indices[i] = Math.abs(code) - 1;
    signs[i] = Math.sign(code);
  }
  return { indices, signs };
}

/**
 * Turns rows of tokens into vectors of `outputDim` numbers: φ_i = Σ_{j: h(t_j) = i} ξ(t_j) w_j, with a bucket h and a sign ξ = ±1 of each
 * token from its xxHash32 (of four bytes for an integer, of UTF-8 for a string). Weights w are 1 (counts) or a second input.
 *
 * Inner products are kept on average over seeds, E⟨φ(x), φ(y)⟩ = ⟨x, y⟩, with variance
 * (Σ_{i≠j} x_i² y_j² + x_i y_i x_j y_j) / outputDim (Weinberger 2009, Lemma 2); without signs collisions add
 * Σ_{i≠j} x_i y_j / outputDim to the average.
 *
 * Input: tokens `[batch, …, length]` of dtype int32, float32 (integers) or string; optionally, as second input, weights of the same shape.
 * Output: `[batch, …, outputDim]`. No weights of its own; differentiable in the weights input, as often as wanted.
 *
 * Cost: O(batch · length) on cpu, wasm and tensorflow, plus the output; O(batch · length · outputDim) comparisons on webgl and webgpu.
 * Strings are hashed in JavaScript on every backend.
 *
 * ```js
 * const tokens = tf.input({shape: [40], dtype: 'int32'});
 * const bag = featureHashing({outputDim: 1024, paddingValue: 0}).apply(tokens);
 * const model = tf.model({inputs: tokens, outputs: tf.layers.dense({units: 2}).apply(bag)});
 * ```
 *
 * Integer tokens must lie within ±(2²⁴ − 1). On cpu, wasm and tensorflow any other number is an error; on webgl and webgpu, which cannot
 * look without a stall, it is not counted. The host's `fit`, `evaluate` and `predict` cut batches by operations that refuse strings: use
 * `fitDataset`, `trainOnBatch` and `model.apply(strings)`, or hash strings beforehand by {@link hashTokens}. A mask is not looked at: the output
 * has no positions.
 *
 * When not to use it: with a small known vocabulary, an embedding or a one-hot encoding has no collisions.
 */
export class FeatureHashing extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'FeatureHashing';

  readonly #hash: TokenHash;
  readonly #paddingValue: number | null;

  constructor(args: FeatureHashingArgs) {
    super(args ?? {});
    const who = 'FeatureHashing';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected options with outputDim, got ${describe(args)}.`);
    checkKeys(who, args, [...HASH_OPTIONS, 'paddingValue', ...LAYER_OPTIONS]);
    this.#hash = checkHash(who, args);
    const padding = args.paddingValue ?? null;
    this.#paddingValue = padding === null ? null : checkNumber(who, 'paddingValue', padding,
      { expected: `an integer within ±${LARGEST_TOKEN}, or null`, holds: (x) => Number.isInteger(x) && Math.abs(x) <= LARGEST_TOKEN }); // prettier-ignore
  }

  override build(inputShape: Shape | Shape[]): void {
    this.#tokensShape(inputShape);
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[]): Tensor {
    return tfc.tidy(() => {
      const [tokens, weights = null] = [inputs].flat();
      const shape = this.#tokensShape([inputs].flat().map((input) => input.shape));
      if (!['int32', 'float32', 'string'].includes(tokens.dtype)) {
        throw new Error(`${this.name}: tokens must be of dtype int32, float32 or string, got ${tokens.dtype}. Use tf.cast(tokens, 'int32').`);
      }
      if (weights !== null && weights.dtype !== 'float32' && weights.dtype !== 'int32') {
        throw new Error(`${this.name}: weights must be of dtype float32 or int32, got ${weights.dtype}.`);
      }
      const length = shape.at(-1) as number;
      const rows = shape.slice(0, -1).reduce<number>((product, size) => product * (size as number), 1);
      const flat = (x: Tensor) => tfc.reshape(x, [rows, length]);
      const coded = (x: Tensor) => tokenCodes(x, { ...this.#hash, paddingValue: this.#paddingValue, who: this.name });
      // On tensorflow a reshaped tensor of strings frees, when it goes, the characters of the one that it was made of.
      const codes = tokens.dtype === 'string' ? flat(coded(tokens)) : coded(flat(tokens));
      const sums = bucketSum(codes, weights === null ? null : flat(tfc.cast(weights, 'float32')), this.#hash.outputDim);
      return tfc.reshape(sums, [...(shape.slice(0, -1) as number[]), this.#hash.outputDim]);
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return [...this.#tokensShape(inputShape).slice(0, -1), this.#hash.outputDim];
  }

  override getConfig(): serialization.ConfigDict {
    return { ...super.getConfig(), ...this.#hash, paddingValue: this.#paddingValue };
  }

  /** The shape of the tokens, after a look at that of the weights. */
  #tokensShape(inputShape: Shape | Shape[]): Shape {
    const shapes = (Array.isArray(inputShape[0]) ? inputShape : [inputShape]) as Shape[];
    const [tokens, weights = tokens] = shapes;
    const fits = weights.length === tokens.length && weights.every((length, axis) => length === tokens[axis] || length === null || tokens[axis] === null);
    if (shapes.length > 2 || tokens.length < 2 || !fits) {
      const got = shapes.map((shape) => `[${shape.map((length) => length ?? 'null').join(', ')}]`).join(' and ');
      throw new Error(`${this.name}: expected tokens [batch, …, length], and perhaps weights of the same shape as second input, got ${got}.`);
    }
    return tokens;
  }
}

/** A layer that hashes tokens into vectors of a fixed length. See {@link FeatureHashing}. */
export function featureHashing(args: FeatureHashingArgs): FeatureHashing {
  return new FeatureHashing(args);
}

tfc.serialization.registerClass(FeatureHashing);
