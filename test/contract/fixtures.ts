/** What the contracts share: seeded data, saving to memory and loading back, a minimal dataset, and counting what is left behind. */

import * as tf from '@tensorflow/tfjs-core';
import { loadLayersModel, type LayersModel } from '@tensorflow/tfjs-layers';
import { expect, it } from 'vitest';

/** A contract: what must hold, by its title. `describe` blocks run it with `check`; a test of the contract runs single entries. */
export type Checks = Record<string, () => void | Promise<void>>;

export type ContractKind = 'layer' | 'regularizer' | 'callback';

/**
 * The checks of a contract as tests. Each carries the name of the class that was made in it, of which test/backend_table.mjs makes the
 * README's table.
 */
export function contractTests<Made extends object, Args extends unknown[]>(kind: ContractKind, create: (...args: Args) => Made, checksOf: (create: (...args: Args) => Made) => Checks): void {
  let name = '';
  const named = (...args: Args): Made => {
    const made = create(...args);
    name = made.constructor.name;
    return made;
  };
  for (const [title, check] of Object.entries(checksOf(named))) {
    it(title, async ({ task }) => {
      try {
        await check();
      } finally {
        (task.meta as { contract?: object }).contract = { kind, name };
      }
    });
  }
}

/** Values in [-1, 1), the same for the same seed on every backend. */
export function seeded(shape: number[], seed: number): tf.Tensor {
  let state = (seed * 2654435761 + 12345) >>> 0;
  const values = Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 23 - 1;
  });
  return tf.tensor(values, shape);
}

/** Integers in [0, below) as float32, which is what the host's embedding takes. */
export const seededIntegers = (shape: number[], seed: number, below: number): tf.Tensor =>
  tf.tidy(() => tf.floor(tf.mul(tf.add(seeded(shape, seed), 1), below / 2)));

/** What `model.save` hands to a handler. */
export async function savedArtifacts(model: LayersModel): Promise<tf.io.ModelArtifacts> {
  let saved: tf.io.ModelArtifacts | undefined;
  await model.save(tf.io.withSaveHandler(async (artifacts) => {
    saved = artifacts;
    return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
  }));
  if (saved === undefined) throw new Error('model.save called no handler');
  return saved;
}

/** The model as it comes back from a file: topology through JSON text, weights through bytes. */
export async function saveAndLoad(model: LayersModel): Promise<LayersModel> {
  const artifacts = await savedArtifacts(model);
  return loadLayersModel(tf.io.fromMemory({ ...artifacts, modelTopology: JSON.parse(JSON.stringify(artifacts.modelTopology)) as object }));
}

export type Dataset = Parameters<LayersModel['fitDataset']>[0];

/** The least that `fitDataset` needs: fresh tensors at each pass (the host disposes of each batch), then `done`. */
export function datasetOf(x: tf.Tensor, y: tf.Tensor, batchSize: number): Dataset {
  const batches = Math.ceil(x.shape[0] / batchSize);
  const slice = (all: tf.Tensor, batch: number) => {
    const start = batch * batchSize;
    return tf.slice(all, start, Math.min(batchSize, all.shape[0] - start));
  };
  const dataset = {
    size: batches,
    iterator: async () => {
      let batch = 0;
      return {
        next: async () => {
          if (batch === batches) return { value: null, done: true };
          const value = { xs: slice(x, batch), ys: slice(y, batch) };
          batch++;
          return { value, done: false };
        },
      };
    },
  };
  return dataset as unknown as Dataset;
}

/** Tensors and buffers that live now. */
export function alive(): { tensors: number; buffers: number } {
  const { numTensors, numDataBuffers } = tf.memory();
  return { tensors: numTensors, buffers: numDataBuffers };
}

/** Most bytes of tensors at once while `run` is at work, above what is there before; copies that share their data count twice. */
export async function peakBytes(run: () => void): Promise<number> {
  const before = tf.memory().numBytes;
  const { peakBytes: most } = await tf.profile(() => tf.tidy(run) as unknown as tf.TensorContainer);
  return most - before;
}

/** Asserts |actual − expected| ≤ tolerance · max(|expected|, least) for each pair; the message names `what`. */
export function expectNear(what: string, actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number, least = 1e-30): void {
  expect(actual.length, `${what}: number of values`).toBe(expected.length);
  let scale = least;
  let worst = { error: 0, at: 0 };
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]));
    const difference = Math.abs(actual[i] - expected[i]);
    const error = Number.isNaN(difference) ? Infinity : difference;
    if (error > worst.error) worst = { error, at: i };
  }
  // Which side is wrong, and whether it was read as zeros, is what tells a race from a wrong result.
  const shown = `value ${worst.at} is ${actual[worst.at]}, expected ${expected[worst.at]}`;
  expect(worst.error / scale, `${what}: largest error over largest value (${shown})`).toBeLessThanOrEqual(tolerance);
}
