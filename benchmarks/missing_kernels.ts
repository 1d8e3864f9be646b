/**
 * Stock training before and after `registerMissingKernels()`: whole steps (loss, gradients, optimizer) through the host's own training loop,
 * and what a step costs beside a forward pass. Where the host has no kernel there is no "before": null.
 */

import { registerMissingKernels } from '../src/kernels/missing_kernels.js';
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers, sequential } from '@tensorflow/tfjs-layers';
import type { layers as hostLayers } from '@tensorflow/tfjs-layers';
import { interleaved, significant, type Variant } from './interleaved.js';
import type { BenchOptions } from './run.js';

export const backends = ['wasm', 'cpu', 'tensorflow'];

interface Model {
  step: Variant;
  forward: Variant;
}

const seeded = (seed: number) => ({ kernelInitializer: initializers.glorotUniform({ seed }) });

function model(stack: hostLayers.Layer[], x: tf.Tensor, optimizer: string): Model {
  const net = sequential({ layers: stack });
  net.compile({ optimizer, loss: 'meanSquaredError' });
  const y = tf.randomUniform([x.shape[0], ...(net.outputShape.slice(1) as number[])], -1, 1, 'float32', 12);
  return {
    step: async () => void (await net.trainOnBatch(x, y)),
    forward: async () => {
      const out = net.predictOnBatch(x) as tf.Tensor;
      await out.data();
      out.dispose();
    },
  };
}

const images = (batch: number) => tf.randomUniform([batch, 28, 28, 1], 0, 1, 'float32', 11);

const dense = (width: number, batch: number) =>
  model([layers.dense({ units: width, inputShape: [width], ...seeded(1) })], tf.randomUniform([batch, width], -1, 1, 'float32', 11), 'sgd');

/** `batch` texts of `length` tokens, the mean of their vectors to two classes. */
function embedding(vocabulary: number, width: number, batch: number, length: number) {
  const tokens = tf.cast(tf.randomUniform([batch, length], 0, vocabulary, 'float32', 11), 'int32');
  const table = layers.embedding({ inputDim: vocabulary, outputDim: width, inputLength: length, embeddingsInitializer: initializers.randomUniform({ seed: 1 }) });
  return model([table, layers.globalAveragePooling1d({}), layers.dense({ units: 2, ...seeded(2) })], tokens, 'sgd');
}

const conv2d = (batch: number) =>
  model([
    layers.conv2d({ filters: 32, kernelSize: 3, activation: 'relu', inputShape: [28, 28, 1], ...seeded(1) }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.conv2d({ filters: 64, kernelSize: 3, activation: 'relu', ...seeded(2) }),
    layers.maxPooling2d({ poolSize: 2 }),
    layers.flatten(),
    layers.dense({ units: 10, ...seeded(3) }),
  ], images(batch), 'adam');

const separableConv2d = (batch: number) =>
  model([
    layers.conv2d({ filters: 32, kernelSize: 3, strides: 2, activation: 'relu', inputShape: [28, 28, 1], ...seeded(1) }),
    layers.separableConv2d({ filters: 64, kernelSize: 3, activation: 'relu', depthwiseInitializer: initializers.glorotUniform({ seed: 2 }) }),
    layers.separableConv2d({ filters: 64, kernelSize: 3, activation: 'relu', depthwiseInitializer: initializers.glorotUniform({ seed: 3 }) }),
    layers.globalAveragePooling2d({}),
    layers.dense({ units: 10, ...seeded(4) }),
  ], images(batch), 'adam');

/** Residual networks and the like are mostly this. */
const convolutions = (batch: number) =>
  model([
    layers.conv2d({ filters: 32, kernelSize: 3, padding: 'same', inputShape: [32, 32, 32], ...seeded(1) }),
    layers.activation({ activation: 'relu' }),
    layers.conv2d({ filters: 32, kernelSize: 3, padding: 'same', ...seeded(2) }),
    layers.activation({ activation: 'relu' }),
    layers.conv2d({ filters: 32, kernelSize: 3, padding: 'same', ...seeded(3) }),
    layers.activation({ activation: 'relu' }),
  ], tf.randomUniform([batch, 32, 32, 32], -1, 1, 'float32', 11), 'sgd');

const WASM = {
  dense: { make: () => dense(1024, 128), rounds: 9 },
  embedding: { make: () => embedding(10_000, 128, 32, 100), rounds: 15 },
  conv2d: { make: () => conv2d(32), rounds: 15 },
  separableConv2d: { make: () => separableConv2d(32), rounds: 15 },
};
const CPU = {
  embedding: { make: () => embedding(1000, 32, 32, 32), rounds: 3 },
};
const TENSORFLOW = {
  convolutions: { make: () => convolutions(16), rounds: 15 },
};

/** Replaces or removes the kernels of a backend until they are these. */
function put(kernels: Map<string, tf.KernelConfig>, backend: string) {
  for (const { kernelName } of tf.getKernelsForBackend(backend)) if (!kernels.has(kernelName)) tf.unregisterKernel(kernelName, backend);
  for (const [kernelName, kernel] of kernels) {
    const there = tf.getKernel(kernelName, backend);
    if (there === kernel) continue;
    if (there != null) tf.unregisterKernel(kernelName, backend);
    tf.registerKernel(kernel);
  }
}

const kernelsOf = (backend: string) => new Map(tf.getKernelsForBackend(backend).map((kernel) => [kernel.kernelName, kernel]));

/** Whether the step runs at all with the stock kernels. */
async function trains(step: Variant): Promise<boolean> {
  try {
    await step();
    return true;
  } catch (error) {
    if (/not registered for backend/.test((error as Error).message)) return false;
    throw error;
  }
}

export async function run({ backend = 'wasm', print }: BenchOptions): Promise<Record<string, unknown>> {
  const stock = kernelsOf(backend);
  registerMissingKernels();
  const mended = kernelsOf(backend);
  const result: Record<string, unknown> = {};
  print(`training step, ${backend}   before ms   after ms   before / after   forward ms   step / forward`);
  for (const [name, { make, rounds }] of Object.entries(backend === 'wasm' ? WASM : backend === 'cpu' ? CPU : TENSORFLOW)) {
    const { step, forward } = make();
    put(stock, backend);
    const before = await trains(step);
    const timing = await interleaved(
      {
        before: async () => {
          if (!before) return;
          put(stock, backend);
          await step();
        },
        after: async () => (put(mended, backend), await step()),
        forward: async () => (put(mended, backend), await forward()),
      },
      { rounds, warmup: backend === 'wasm' ? 3 : 1 },
    );
    const { before: stockMs, after, forward: forwardMs } = timing.milliseconds;
    const ratios = { beforeVsAfter: before ? significant(timing.ratio('before', 'after')) : null, stepVsForward: significant(timing.ratio('after', 'forward')) };
    result[name] = { ...ratios, after: significant(after) };
    const column = (text: string, width: number) => text.padStart(width);
    print(
      name.padEnd(19) + column(before ? stockMs.toFixed(2) : 'throws', 12) + column(after.toFixed(2), 11) +
      column(String(ratios.beforeVsAfter ?? '—'), 17) + column(forwardMs.toFixed(2), 13) + column(String(ratios.stepVsForward), 17),
    );
  }
  return result;
}
