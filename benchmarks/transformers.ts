/**
 * Transformers with shared weights against the same written with separate layers, and attention alone, on the native backend (wasm where that is not installed).
 *
 * `stepVsSeparate`: time of a training step (Adam, batch 16, time 64, width 128, 4 heads) of six layers in depth with one set of weights, by `recurrentDepth`
 * and by `universalTransformer`, and of `sharedAttention` in pairs, over that of six separate layers of the same kind; `decodingStepVsSeparate`: of one cached step of
 * decoding after 64 positions. `checkpointMemoryVsPlain`: most bytes of tensors in the gradient of twelve steps of a Transformer block with checkpoints, over those
 * without; `checkpointStepVsPlain`: time of that step.
 *
 * Attention: forward and backward (gradients of query, key and value of Σy²) of
 * the attention of our layers for batch 16, time 256, width 256, 4 heads, not masked and causal; the same composed of the host's operations; and with TORCH_PYTHON, the name of a Python
 * that has torch, of its `scaled_dot_product_attention`, in turns with ours. `ratio` = ours / theirs, round by round; `leastRatio` of the fastest rounds, which other work on
 * the machine disturbs least.
 */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { attention } from '../src/layers/attention.js';
import { median, significant } from './interleaved.js';
import { startNative } from './native_backend.js';
import { startPython } from './python_peer.js';
import type { BenchOptions } from './run.js';
import { sharedVsSeparate } from './transformer_steps.js';

const [BATCH, HEADS, TIME, DEPTH] = [16, 4, 256, 64];
const ROUNDS = 21;

type Attention = (q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D, causal: boolean) => tf.Tensor;

const ours: Attention = (q, k, v, causal) => attention(q, k, v, { causal });

/** What one would write with the host's operations. */
const composed: Attention = (q, k, v, causal) => {
  const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(DEPTH));
  const hidden = causal ? tf.mul(tf.sub(tf.linalg.bandPart(tf.ones([TIME, TIME]), -1, 0), 1), 1e9) : tf.scalar(0);
  return tf.matMul(tf.softmax(tf.add(scores, hidden)), v);
};

export async function run({ print }: BenchOptions): Promise<Record<string, unknown>> {
  const backend = await startNative(print);
  const peer = startPython('TORCH_PYTHON', 'torch_attention.py', 'torch');
  const parts = [1, 2, 3].map((seed) => tf.randomNormal<tf.Rank.R4>([BATCH, HEADS, TIME, DEPTH], 0, 1, 'float32', seed));
  const timed = (variant: Attention, causal: boolean) => {
    const start = performance.now();
    const gradients = tf.grads((q, k, v) => tf.sum(tf.square(variant(q as tf.Tensor4D, k as tf.Tensor4D, v as tf.Tensor4D, causal))))(parts);
    // The native backend computes at once; one number of each is read all the same.
    for (const gradient of gradients) tf.tidy(() => tf.slice(gradient, [0, 0, 0, 0], [1, 1, 1, 1]).dataSync());
    const elapsed = performance.now() - start;
    tf.dispose(gradients);
    return elapsed;
  };
  const results: Record<string, object> = {};
  print(`attention      ours, ms  composed, ms  composed / ours${peer ? '  PyTorch, ms  ours / PyTorch  least' : ''}`);
  for (const causal of [false, true]) {
    const times: Record<'ours' | 'composed' | 'torch', number[]> = { ours: [], composed: [], torch: [] };
    for (let round = -3; round < ROUNDS; round++) {
      const one = { ours: timed(ours, causal), composed: timed(composed, causal), torch: (await peer?.ask(`${BATCH} ${HEADS} ${TIME} ${DEPTH} ${Number(causal)}`))?.[0] ?? NaN };
      if (round >= 0) for (const name of ['ours', 'composed', 'torch'] as const) times[name].push(one[name]);
    }
    const ratio = (a: number[], b: number[]) => significant(median(a.map((time, i) => time / b[i])));
    const least = (values: number[]) => Math.min(...values);
    const composedRatio = ratio(times.composed, times.ours);
    const torch = { ms: significant(median(times.torch)), leastMs: significant(least(times.torch)), ratio: ratio(times.ours, times.torch), leastRatio: significant(least(times.ours) / least(times.torch)) };
    results[causal ? 'causal' : 'plain'] = { attentionMs: significant(median(times.ours)), leastMs: significant(least(times.ours)), composedVsOurs: composedRatio, ...(peer ? { torch } : {}) };
    print(`${(causal ? 'causal' : 'plain').padEnd(13)} ${median(times.ours).toFixed(1).padStart(9)}  ${median(times.composed).toFixed(1).padStart(12)}  ${composedRatio.toFixed(2).padStart(15)}${peer ? `  ${torch.ms.toFixed(1).padStart(11)}  ${torch.ratio.toFixed(2).padStart(14)}  ${torch.leastRatio.toFixed(2).padStart(5)}` : ''}`);
  }
  peer?.stop();
  tf.dispose(parts);
  const { attentionMs } = results['plain'] as { attentionMs: number };
  return { backend, ...(await sharedVsSeparate(print)), attentionMs, attention: results };
}
