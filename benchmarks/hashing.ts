/**
 * `hashedDense` against the host's dense layer of the same size, in one run: a training step (`trainOnBatch`, plain SGD) and `predict` after its
 * first call. On wasm the dense layer has its products mended by `registerMissingKernels()`. Ratios are our time over dense's; in the JSON those of
 * 1024 × 1024 and batch 128, `tileVsDense` of the slower tile.
 */

import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers, sequential, type LayersModel } from '@tensorflow/tfjs-layers';
import { registerMissingKernels } from '../src/kernels/missing_kernels.js';
import { hashedDense } from '../src/layers/hashed_dense.js';
import { interleaved, significant } from './interleaved.js';
import type { BenchOptions } from './run.js';

export const backends = ['tensorflow', 'wasm'];

const COMPRESSION = 16;
const TILES = { element: [1, 1], 'tile 1×64': [1, 64], 'tile 32×32': [32, 32] } as const;
const CASES = [
  { width: 1024, batch: 128, rounds: 25 },
  { width: 1024, batch: 1, rounds: 15 },
  { width: 2048, batch: 128, rounds: 9 },
  { width: 4096, batch: 128, rounds: 5 },
  { width: 4096, batch: 1, rounds: 5 },
];

function compiled(layer: layers.Layer): LayersModel {
  const model = sequential({ layers: [layer] });
  model.compile({ optimizer: tf.train.sgd(1e-3), loss: 'meanSquaredError' });
  return model;
}

function networks(width: number): Record<string, LayersModel> {
  const shared = { units: width, inputShape: [width], kernelInitializer: initializers.glorotUniform({ seed: 1 }) };
  const hashed = Object.entries(TILES).map(([name, tile]) => [name, compiled(hashedDense({ ...shared, compression: COMPRESSION, tile: [...tile] }))]);
  return { dense: compiled(layers.dense(shared)), ...(Object.fromEntries(hashed) as Record<string, LayersModel>) };
}

/** Times one kind of run of all networks; milliseconds, and ratios to dense. */
async function compare(models: Record<string, LayersModel>, rounds: number, run: (model: LayersModel) => Promise<void>) {
  const timing = await interleaved(Object.fromEntries(Object.entries(models).map(([name, model]) => [name, () => run(model)])), { rounds });
  const ratios = Object.fromEntries(Object.keys(models).map((name) => [name, timing.ratio(name, 'dense')]));
  return { milliseconds: timing.milliseconds, ratios };
}

export async function run({ print }: BenchOptions): Promise<Record<string, unknown>> {
  registerMissingKernels();
  const result: Record<string, number> = {};
  print(`${tf.getBackend()}, compression ${COMPRESSION}`.padEnd(34) + 'dense ms' + Object.keys(TILES).map((name) => name.padStart(13)).join(''));
  for (const { width, batch, rounds } of CASES) {
    const models = networks(width);
    const x = tf.randomUniform([batch, width], -1, 1, 'float32', 11);
    const y = tf.randomUniform([batch, width], -1, 1, 'float32', 12);
    const kinds = {
      'training step': async (model: LayersModel) => void (await model.trainOnBatch(x, y)),
      predict: async (model: LayersModel) => {
        const output = model.predict(x) as tf.Tensor;
        await output.data();
        output.dispose();
      },
    };
    for (const [kind, once] of Object.entries(kinds)) {
      const { milliseconds, ratios } = await compare(models, rounds, once);
      const cells = Object.keys(TILES).map((name) => significant(ratios[name]).toFixed(2).padStart(13));
      print(`${kind.padEnd(14)} ${width}, batch ${batch}`.padEnd(34) + milliseconds.dense.toFixed(1).padStart(8) + cells.join(''));
      if (width !== 1024 || batch !== 128) continue;
      if (kind === 'predict') result.predictVsDense = significant(ratios.element);
      else Object.assign(result, { elementVsDense: significant(ratios.element), tileVsDense: significant(Math.max(ratios['tile 1×64'], ratios['tile 32×32'])) });
    }
    tf.dispose([x, y]);
    for (const model of Object.values(models)) model.dispose();
  }
  return result;
}
