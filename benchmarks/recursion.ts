/**
 * A training step of sixteen recursions h ← relu(conv(h) + b) + x, 32 channels, 3×3, batch 4 of 32 × 32, Adam, by `recursiveConv` and written by hand
 * with stock layers, the convolution called sixteen times.
 *
 * - `stepVsHandwritten`: time of ours over that by hand, median over rounds in turns; `checkpointStepVsHandwritten` the same with checkpoints.
 * - `checkpointMemoryVsPlain`: peak bytes of tensors in the gradient with checkpoints, over those of the network by hand; `plainMemoryVsHandwritten`
 *   without checkpoints.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { registerMissingKernels } from '../src/kernels/missing_kernels.js';
import { recursiveConv } from '../src/layers/recursion/recursive_conv.js';
import { interleaved, significant } from './interleaved.js';
import type { BenchOptions } from './run.js';

export const backends = ['tensorflow', 'wasm'];

const [RECURSIONS, CHANNELS, SIDE, BATCH] = [16, 32, 32, 4];
const SHAPE = [SIDE, SIDE, CHANNELS];

function byHand(): LayersModel {
  const x = input({ shape: SHAPE });
  const convolution = layers.conv2d({ filters: CHANNELS, kernelSize: 3, padding: 'same', activation: 'relu' });
  let h = x;
  for (let d = 0; d < RECURSIONS; d++) h = layers.add().apply([convolution.apply(h) as SymbolicTensor, x]) as SymbolicTensor;
  return functionalModel({ inputs: x, outputs: h });
}

function ours(checkpoint: boolean): LayersModel {
  const x = input({ shape: SHAPE });
  const recursion = recursiveConv({ kernelSize: 3, activation: 'relu', recursions: RECURSIONS, connection: 'inputSkip', checkpoint });
  return functionalModel({ inputs: x, outputs: recursion.apply(x) as SymbolicTensor });
}

/** Most bytes that tensors take at once in the gradient, above what is there before. */
async function peakBytes(model: LayersModel, x: tf.Tensor, y: tf.Tensor): Promise<number> {
  const variables = model.trainableWeights.map((weight) => weight.read() as tf.Variable);
  const before = tf.memory().numBytes;
  const { peakBytes: most } = await tf.profile(() => {
    const { value, grads } = tf.variableGrads(() => tf.mean(tf.square(tf.sub(model.apply(x, { training: true }) as tf.Tensor, y))) as tf.Scalar, variables);
    tf.dispose([value, grads]);
    return tf.scalar(0);
  });
  return most - before;
}

export async function run({ backend, print }: BenchOptions): Promise<Record<string, unknown>> {
  registerMissingKernels(); // what stands beside could not be trained on wasm
  const [hand, plain, kept] = [byHand(), ours(false), ours(true)];
  const [x, y] = [1, 2].map((seed) => tf.randomNormal([BATCH, ...SHAPE], 0, 0.1, 'float32', seed));
  // Weights small enough that sixteen recursions neither vanish nor explode.
  const weights = tf.tidy(() => hand.getWeights().map((weight) => tf.keep(tf.randomNormal(weight.shape, 0, 0.03, 'float32', 3))));
  for (const model of [hand, plain, kept]) {
    model.setWeights(weights);
    model.compile({ optimizer: tf.train.adam(1e-5), loss: 'meanSquaredError' });
  }
  const [handBytes, plainBytes, keptBytes] = [await peakBytes(hand, x, y), await peakBytes(plain, x, y), await peakBytes(kept, x, y)];
  const step = (model: LayersModel) => async () => void (await model.trainOnBatch(x, y));
  const timing = await interleaved({ hand: step(hand), plain: step(plain), kept: step(kept) }, { rounds: 41, warmup: 5 });
  const result = {
    stepVsHandwritten: significant(timing.ratio('plain', 'hand')),
    checkpointStepVsHandwritten: significant(timing.ratio('kept', 'hand')),
    checkpointMemoryVsPlain: significant(keptBytes / handBytes),
    plainMemoryVsHandwritten: significant(plainBytes / handBytes),
  };
  const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const { hand: handMs, plain: plainMs, kept: keptMs } = timing.milliseconds;
  print(`${backend}: step by hand ${handMs.toFixed(1)} ms, recursiveConv ${plainMs.toFixed(1)} ms (${result.stepVsHandwritten}), with checkpoints ${keptMs.toFixed(1)} ms (${result.checkpointStepVsHandwritten})`);
  print(`${backend}: peak by hand ${megabytes(handBytes)}, recursiveConv ${megabytes(plainBytes)} (${result.plainMemoryVsHandwritten}), with checkpoints ${megabytes(keptBytes)} (${result.checkpointMemoryVsPlain})`);
  tf.dispose([x, y, weights]);
  return result;
}
