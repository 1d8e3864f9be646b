/**
 * A training step of a small word-level language model (10 000 words of width 256, batch 32 × 35, one hidden layer, Adam): stock `embedding`,
 * untied `dense` and the host's sparse cross-entropy; against it the tied table with the same loss, and with `sparseCrossEntropy` from
 * logits. Interleaved in one process.
 *
 * `stockVsTied`, `stockVsTiedFused`: stock time over ours; `gatherGradient`: that of the gradient of a look-up alone. Stock wasm has none:
 * there all models run with the missing kernels registered.
 *
 * A stock step on cpu takes minutes, nearly all of it in that gradient: one is run, on an eighth of the batch. Every cost grows with the
 * tokens but Adam's and that of the gradient's zeros, which are as large as the table: with fewer tokens the ratios are smaller, not
 * greater. `TFWS_BENCH_FULL=1` runs the whole batch. Processor time is taken there: one thread works for minutes, and what else the
 * machine does meanwhile must not count.
 */

import * as tf from '@tensorflow/tfjs-core';
import { layers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { registerMissingKernels } from '../src/kernels/missing_kernels.js';
import { gatherRows } from '../src/kernels/segment_sum/index.js';
import { tiedEmbedding } from '../src/layers/tied_embedding.js';
import { tiedProjection } from '../src/layers/tied_projection.js';
import { sparseCrossEntropy } from '../src/losses/sparse_cross_entropy.js';
import { acceptSparseTargets } from '../src/losses/sparse_targets.js';
import { interleaved, significant, type Variant } from './interleaved.js';
import type { BenchOptions } from './run.js';

export const backends = ['tensorflow', 'wasm', 'cpu'];

const VOCABULARY = 10_000;
const WIDTH = 256;
const BATCH = 32;
const CPU_BATCH = process.env['TFWS_BENCH_FULL'] === '1' ? BATCH : 4;
const LENGTH = 35;

type Body = 'dense' | 'lstm';
const hidden = (body: Body) =>
  body === 'dense'
    ? layers.dense({ units: WIDTH, activation: 'tanh' })
    : // The default initializer of the recurrent kernel is orthogonal, which takes the host minutes for this size on cpu.
      layers.lstm({ units: WIDTH, returnSequences: true, recurrentInitializer: 'glorotNormal' });

function stock(body: Body): LayersModel {
  const embedding = layers.embedding({ inputDim: VOCABULARY, outputDim: WIDTH, inputLength: LENGTH });
  const model = sequential({ layers: [embedding, hidden(body), layers.dense({ units: VOCABULARY, activation: 'softmax' })] });
  model.compile({ optimizer: tf.train.adam(), loss: 'sparseCategoricalCrossentropy' });
  return model;
}

function tied(body: Body, fused: boolean): LayersModel {
  const embedding = tiedEmbedding({ inputDim: VOCABULARY, outputDim: WIDTH, inputShape: [LENGTH] });
  const model = sequential({ layers: [embedding, hidden(body), tiedProjection({ activation: fused ? 'linear' : 'softmax' })] });
  model.compile({ optimizer: tf.train.adam(), loss: fused ? sparseCrossEntropy() : 'sparseCategoricalCrossentropy' });
  return fused ? acceptSparseTargets(model) : model;
}

function data(batch: number): [tf.Tensor, tf.Tensor] {
  const tokens = (seed: number) => tf.tidy(() => tf.floor(tf.randomUniform([batch, LENGTH], 0, VOCABULARY, 'float32', seed)));
  return [tokens(1), tf.tidy(() => tf.expandDims(tokens(2), 2))];
}

/** A training step; it waits for the loss. */
const step = (model: LayersModel, [x, y]: [tf.Tensor, tf.Tensor]): Variant => async () => void (await model.trainOnBatch(x, y));

const LINE = ['milliseconds a step', 'stock', 'tied', 'fused', 'stock / tied', 'stock / fused'];
const line = (cells: (string | number)[]) => cells.map((cell, i) => (i === 0 ? String(cell).padEnd(24) : String(typeof cell === 'number' ? significant(cell) : cell).padStart(14))).join('');

/** Milliseconds of processor time of one run, the mean of `repeats` after one that is not counted where there are several. */
async function processorTime(variant: Variant, repeats: number): Promise<number> {
  if (repeats > 1) await variant();
  const before = process.cpuUsage();
  for (let i = 0; i < repeats; i++) await variant();
  return process.cpuUsage(before).user / 1000 / repeats;
}

/** Steps of the three models: milliseconds each. */
async function steps(body: Body, { backend, print }: BenchOptions, rounds: number): Promise<Record<string, number>> {
  const given = data(backend === 'cpu' ? CPU_BATCH : BATCH);
  const models = { stock: stock(body), tied: tied(body, false), tiedFused: tied(body, true) };
  const variants = { stock: step(models.stock, given), tied: step(models.tied, given), tiedFused: step(models.tiedFused, given) };
  let times: Record<keyof typeof variants, number>;
  let ratio: (ours: 'tied' | 'tiedFused') => number;
  if (backend === 'cpu') {
    times = { tied: await processorTime(variants.tied, 3), tiedFused: await processorTime(variants.tiedFused, 3), stock: await processorTime(variants.stock, 1) };
    ratio = (ours) => times.stock / times[ours];
  } else {
    const timing = await interleaved(variants, { rounds, warmup: 2 });
    times = timing.milliseconds;
    ratio = (ours) => timing.ratio('stock', ours);
  }
  const ratios = { stockVsTied: significant(ratio('tied')), stockVsTiedFused: significant(ratio('tiedFused')) };
  print(line([`${backend}, ${body}`, times.stock, times.tied, times.tiedFused, ratios.stockVsTied, ratios.stockVsTiedFused]));
  Object.values(models).forEach((model) => model.dispose());
  tf.dispose(given);
  return ratios;
}

/** The gradient of a look-up, by the host and by ours. */
async function gatherGradient({ print }: BenchOptions): Promise<number> {
  const table = tf.randomUniform([VOCABULARY, WIDTH], -1, 1, 'float32', 3) as tf.Tensor2D;
  const ids = tf.tidy(() => tf.cast(tf.reshape(data(CPU_BATCH)[0], [-1]), 'int32')) as tf.Tensor1D;
  const dy = tf.randomUniform([ids.size, WIDTH], -1, 1, 'float32', 4);
  const gradient = (look: (of: tf.Tensor) => tf.Tensor): Variant => () => {
    const result = tf.grad(look)(table, dy);
    result.dataSync();
    result.dispose();
  };
  const ours = await processorTime(gradient((of) => gatherRows(of, ids)), 9);
  const stockTime = await processorTime(gradient((of) => tf.gather(of, ids)), 1);
  print(line(['cpu, gradient of gather', stockTime, ours, '', stockTime / ours]));
  tf.dispose([table, ids, dy]);
  return significant(stockTime / ours);
}

export async function run(options: BenchOptions): Promise<Record<string, unknown>> {
  options.print(line(LINE));
  if (options.backend === 'cpu') return { ...(await steps('dense', options, 1)), gatherGradient: await gatherGradient(options) };
  if (options.backend === 'wasm') registerMissingKernels();
  const dense = await steps('dense', options, options.backend === 'wasm' ? 3 : 11);
  return { ...dense, lstm: await steps('lstm', options, options.backend === 'wasm' ? 3 : 5) };
}
