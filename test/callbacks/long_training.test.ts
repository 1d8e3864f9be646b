/** Long training with the mixture prior: nothing may pile up, in tensors or in the process. */
import * as tf from '@tensorflow/tfjs-core';
import { CustomCallback, initializers, layers, sequential } from '@tensorflow/tfjs-layers';
import { expect, describe, it } from 'vitest';
import { klMergeQuantization } from '../../src/callbacks/kl_merge_quantization.js';
import { gmmPrior, type GmmPrior } from '../../src/regularizers/gmm_prior.js';
import { seeded } from '../contract/fixtures.js';
import { onGpu } from '../helpers.js';

/** Batches of an epoch. */
const BATCHES = 50;
/** A thousand steps, but for a processor that draws in a GPU's stead, where they would take minutes. `TFWS_GPU=1` takes them all. */
const EPOCHS = onGpu && !process.env.TFWS_GPU ? 3 : 20;

/** Bytes of the process that hold live data, after collecting garbage; null in a page. */
async function liveBytes(): Promise<number | null> {
  if (typeof process === 'undefined' || process.versions?.node === undefined) return null;
  const [{ setFlagsFromString }, { runInNewContext }] = await Promise.all([import('node:v8'), import('node:vm')]);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Finalizers of native tensors run between turns of the event loop.
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Tensors and their bytes at the end of each epoch, beside those of the second, and the live bytes at the end. */
async function train(priors: GmmPrior[], epochs = EPOCHS) {
  const dense = (units: number, i: number, inputShape?: number[]) =>
    layers.dense({ units, inputShape, kernelRegularizer: priors[i], kernelInitializer: initializers.glorotUniform({ seed: i }) });
  const model = sequential({ layers: [dense(16, 0, [8]), dense(1, 1)] });
  model.compile({ optimizer: tf.train.adam(1e-3), loss: 'meanSquaredError' });
  const [x, y] = [seeded([4 * BATCHES, 8], 1), seeded([4 * BATCHES, 1], 2)];
  const tensors: number[] = [];
  const bytes: number[] = [];
  const look = new CustomCallback({
    onEpochEnd: async () => {
      const { numTensors, numBytes } = tf.memory();
      tensors.push(numTensors);
      bytes.push(numBytes);
    },
  });
  const callbacks = priors.length === 0 ? [look] : [klMergeQuantization({ quantizeAtEnd: false }), look];
  await model.fit(x, y, { epochs, batchSize: 4, verbose: 0, callbacks });
  model.dispose();
  tf.dispose([x, y]);
  // The first epoch makes what stays: the optimizer's moments, copies of good weights.
  return { tensors: tensors.slice(1).map((n) => n - tensors[1]), bytes: bytes.slice(1).map((n) => n - bytes[1]), live: await liveBytes() };
}

describe('a thousand training steps with priors', () => {
  it('leave no tensor behind that the host does not leave by itself, and the process as large as it was', async () => {
    const priors = [
      gmmPrior({ trainingExamples: 400, components: 5, tau: 'auto' }),
      gmmPrior({ trainingExamples: 400, components: 5, learning: 'em', dataNoise: 'learned' }),
    ];
    // The host's history keeps a scalar an epoch.
    const plain = await train([], 3);
    // Compiled code settles within the first thousand steps.
    const early = await train(priors);
    const late = await train(priors);
    expect(priors.map(({ steps }) => steps)).toEqual([2 * EPOCHS * BATCHES, 2 * EPOCHS * BATCHES]);
    const growth = (bytes: number[]) => bytes.map((n, epoch) => n - (bytes[epoch - 1] ?? n)).slice(1);
    for (const what of ['tensors', 'bytes'] as const) expect(new Set(growth(late[what]))).toEqual(new Set(growth(plain[what])));
    // 1000 steps lie between. What each keeps of the weights and their gradients would be 1.3 MB; compiled code alone moves it by up to 0.6.
    if (early.live !== null && late.live !== null) expect(late.live - early.live).toBeLessThan(1_000_000);
  }, 600_000);
});
