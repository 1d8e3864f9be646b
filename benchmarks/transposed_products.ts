/** Stock training on wasm before and after `registerMissingKernels()`: whole steps (loss, gradients, optimizer) of plain dense networks. */

import { registerMissingKernels } from '../src/kernels/missing_kernels.js';
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers, sequential } from '@tensorflow/tfjs-layers';
import { interleaved, significant } from './interleaved.js';
import type { BenchOptions } from './run.js';

export const backends = ['wasm'];

const KERNELS = ['BatchMatMul', '_FusedMatMul'];

function put(kernels: tf.KernelConfig[]) {
  for (const kernel of kernels) {
    tf.unregisterKernel(kernel.kernelName, kernel.backendName);
    tf.registerKernel(kernel);
  }
}

/** One `trainOnBatch` of a dense network, through the host's own training loop. */
function trainingStep(units: number[], batch: number, optimizer: string) {
  const model = sequential({
    layers: units.slice(1).map((width, i) =>
      layers.dense({
        units: width,
        inputShape: [units[i]],
        activation: i < units.length - 2 ? 'relu' : 'linear',
        kernelInitializer: initializers.glorotUniform({ seed: i + 1 }),
      })),
  });
  model.compile({ optimizer, loss: 'meanSquaredError' });
  const x = tf.randomUniform([batch, units[0]], -1, 1, 'float32', 11);
  const y = tf.randomUniform([batch, units.at(-1) as number], -1, 1, 'float32', 12);
  return async () => void (await model.trainOnBatch(x, y));
}

export async function run({ print }: BenchOptions): Promise<Record<string, unknown>> {
  const stock = KERNELS.map((name) => tf.getKernel(name, 'wasm'));
  registerMissingKernels();
  const mended = KERNELS.map((name) => tf.getKernel(name, 'wasm'));
  const cases = {
    dense1024: { step: trainingStep([1024, 1024], 128, 'sgd'), rounds: 9 },
    lenet300: { step: trainingStep([784, 300, 100, 10], 256, 'adam'), rounds: 15 },
    tiny: { step: trainingStep([8, 8, 1], 16, 'sgd'), rounds: 31, repeats: 20 },
  };
  const result: Record<string, unknown> = {};
  print('training step     before ms   after ms   before / after');
  for (const [name, { step, ...args }] of Object.entries(cases)) {
    const timing = await interleaved(
      {
        stock: async () => (put(stock), await step()),
        mended: async () => (put(mended), await step()),
      },
      args,
    );
    const { stock: before, mended: after } = timing.milliseconds;
    result[name] = significant(timing.ratio('stock', 'mended'));
    print(`${name.padEnd(16)} ${before.toFixed(2).padStart(10)} ${after.toFixed(2).padStart(10)} ${String(result[name]).padStart(16)}`);
  }
  return result;
}
