/**
 * Scaled dot-product attention on tensors: what attention layers have in common, without weights.
 * Vaswani et al., Attention Is All You Need, NeurIPS 2017 (arXiv 1706.03762), §3.2.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { isRecording, withoutTape } from '../autodiff/tape.js';
import { denseProduct } from '../kernels/dense_product/index.js';

export interface AttentionOptions {
  /** Which keys a query may look at, numbers ≠ 0: [batch or 1, heads or 1, query time or 1, key time]. Default null: all. */
  mask?: Tensor | null;
  /** Whether a query looks at no later key; where there are fewer queries than keys, the queries are the last ones. Default false. */
  causal?: boolean;
  /** Factor of the scores. Default 1/√depth. */
  scale?: number;
}

/** [batch, time, heads · depth] → [batch, heads, time, depth] */
export function splitHeads(x: Tensor, heads: number): Tensor4D {
  const [batch, time, width] = x.shape;
  return tfc.transpose(tfc.reshape(x, [batch, time, heads, width / heads]), [0, 2, 1, 3]) as Tensor4D;
}

/** [batch, heads, time, depth] → [batch, time, heads · depth] */
export function joinHeads(x: Tensor4D): Tensor3D {
  const [batch, heads, time, depth] = x.shape;
  return tfc.reshape(tfc.transpose(x, [0, 2, 1, 3]), [batch, time, heads * depth]);
}

/** Every head by itself: [batch · heads, …, …]. The host's product of such has a gradient, that of tensors of rank 4 and its einsum do not train everywhere. */
const flat = (x: Tensor4D): Tensor3D => tfc.reshape(x, [x.shape[0] * x.shape[1], x.shape[2], x.shape[3]]);

/** [1, 1, queries, keys], 1 where a query may look at a key: not behind itself, with the last query at the last key. */
export function causalMask(queries: number, keys: number): Tensor4D {
  const at = tfc.reshape(tfc.range(keys - queries, keys, 1, 'float32'), [1, 1, queries, 1]);
  const seen = tfc.reshape(tfc.range(0, keys, 1, 'float32'), [1, 1, 1, keys]);
  return tfc.cast(tfc.greaterEqual(at, seen), 'float32') as Tensor4D;
}

/** 1 where a mask of any type is not 0; a constant to gradients, which comparisons have none of. */
export const seenOf = (mask: Tensor): Tensor => withoutTape(() => tfc.cast(tfc.notEqual(mask, 0), 'float32'));

/**
 * softmax(scale · Q·Kᵀ) over the keys that each query may look at: [batch, heads, query time, key time] from `query`
 * [batch, heads, query time, depth] and `key` [batch, heads, key time, depth]. A row in which every key is masked is all zeros.
 */
export function attentionWeights(query: Tensor4D, key: Tensor4D, { mask = null, causal = false, scale }: AttentionOptions = {}): Tensor4D {
  return tfc.tidy(() => {
    const [batch, heads, queries, depth] = query.shape;
    const keys = key.shape[2];
    const scaled = tfc.mul(query, scale ?? 1 / Math.sqrt(depth)) as Tensor4D;
    const scores = tfc.reshape(denseProduct(flat(scaled), flat(key), false, true), [batch, heads, queries, keys]);
    const seen = mask === null ? null : seenOf(mask);
    // One query behind all keys sees all of them; with keys for each query no row is empty.
    const past = causal && queries > 1 ? causalMask(queries, keys) : null;
    if (seen === null && (past === null || queries <= keys)) return tfc.softmax(past === null ? scores : tfc.add(scores, tfc.mul(tfc.sub(past, 1), MASKED))) as Tensor4D;
    const visible = seen === null ? past! : past === null ? seen : tfc.mul(seen, past);
    // In a row without any visible key nothing is subtracted: its softmax is made of finite numbers, and multiplied by 0.
    const any = tfc.max(visible, -1, true);
    return tfc.mul(tfc.softmax(tfc.add(scores, tfc.mul(tfc.sub(visible, any), MASKED))), any) as Tensor4D;
  });
}

/** Subtracted from scores of masked keys: exp of it is 0 beside any score that is to be seen, also where half precision makes it infinite. */
const MASKED = 1e9;

/** Σ_k weights[q, k] · value[k] for each head: [batch, heads, query time, depth] from [batch, heads, query time, key time] and [batch, heads, key time, depth]. */
export function weightedValues(weights: Tensor4D, value: Tensor4D): Tensor4D {
  const [batch, heads, queries] = weights.shape;
  return tfc.reshape(denseProduct(flat(weights), flat(value)), [batch, heads, queries, value.shape[3]]);
}

/**
 * {@link weightedValues} of {@link attentionWeights}, where the weights are wanted for nothing else. Its gradient goes by
 * ∂L/∂score = weight · (∂L/∂weight − Σ ∂L/∂output · output) (Dao et al., FlashAttention, NeurIPS 2022, appendix B), so that fewer arrays of the size of the maps are made, and
 * those that are made are freed at once: they are most of the time. Differentiable any number of times.
 */
export function attention(query: Tensor4D, key: Tensor4D, value: Tensor4D, options: AttentionOptions = {}): Tensor4D {
  const scale = options.scale ?? 1 / Math.sqrt(query.shape[3]);
  return tfc.customGrad((...args: unknown[]) => {
    const [q, k, v, save] = args as [Tensor4D, Tensor4D, Tensor4D, (tensors: Tensor[]) => void];
    // The mask that was given may be gone in the backward pass.
    const seen = options.mask == null ? [] : [seenOf(options.mask)];
    const weights = attentionWeights(q, k, { ...options, mask: seen[0] });
    const output = weightedValues(weights, v);
    save([q, k, v, weights, output, ...seen]);
    const gradFunc = (dy: Tensor, saved: Tensor[]): Tensor[] => {
      const shapes = saved.map(({ shape }) => shape);
      // For a derivative of this one the weights must be seen to depend on query and key.
      const [ofQuery, ofKey, ofValue] = saved as Tensor4D[];
      const again = isRecording() ? attentionWeights(ofQuery, ofKey, { ...options, mask: saved[5] }) : null;
      const made = again === null ? saved.slice(3, 5) : [again, weightedValues(again, ofValue)];
      const [g, q3, k3, v3, p3, y3] = [dy, ...saved.slice(0, 3), ...made].map((tensor) => flat(tensor as Tensor4D));
      const dv = denseProduct(p3, g, true);
      const toWeights = denseProduct(g, v3, false, true);
      const centred = tfc.sub(toWeights, tfc.sum(tfc.mul(g, y3), -1, true));
      toWeights.dispose();
      const toScores = tfc.mul(p3, centred) as Tensor3D;
      centred.dispose();
      const parts = [tfc.mul(denseProduct(toScores, k3), scale), tfc.mul(denseProduct(toScores, q3, true), scale), dv];
      toScores.dispose();
      return parts.map((part, i) => tfc.reshape(part, shapes[i]));
    };
    return { value: output, gradFunc };
  })(query, key, value) as Tensor4D;
}

/**
 * softmax(Q·Kᵀ/√depth)·V for each head, and those weights: `query` [batch, heads, query time, depth], `key` [batch, heads, key time, depth],
 * `value` [batch, heads, key time, value depth] → output [batch, heads, query time, value depth], weights [batch, heads, query time, key time].
 *
 * A query that may look at nothing gets zeros. `dropout` in [0, 1) leaves out that share of the weights (not in those that are returned).
 * Differentiable on every backend; twice only by {@link attention}, or on a tape of `linearize`: nested `tf.grads` of the host miss a term of its softmax.
 */
export function scaledDotProductAttention(
  query: Tensor4D, key: Tensor4D, value: Tensor4D, { dropout = 0, ...options }: AttentionOptions & { dropout?: number } = {},
): { output: Tensor4D; weights: Tensor4D } {
  return tfc.tidy(() => {
    const weights = attentionWeights(query, key, options);
    return { output: weightedValues(dropout > 0 ? (tfc.dropout(weights, dropout) as Tensor4D) : weights, value), weights };
  });
} // prettier-ignore
