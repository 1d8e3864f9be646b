/** Training and testing of models that predict the next token, whatever is inside of them. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
import type { InterruptWatch } from './interrupt.js';
import { withProgress } from './progress.js';
import { seededRandom } from './random.js';
import { firstRows, shuffled, type Windows } from './text.js';

export interface EpochRecord {
  epoch: number;
  /** What was minimised, per token. */
  loss: number;
  /** Perplexity of the held-out text. */
  validation: number;
}

export interface TrainingSettings {
  /** Most epochs; the one that predicts held-out text best is kept. */
  epochs: number;
  /** Epochs without a better one after which training ends. */
  patience: number;
  batchSize: number;
  /** Adam. */
  learningRate: number;
}

export interface WindowTensors {
  xs: tfc.Tensor2D;
  /** [rows, length, 1] */
  ys: tfc.Tensor3D;
}

export const toTensors = ({ inputs, targets, rows, inputLength, length }: Windows): WindowTensors => ({
  xs: tfc.tensor2d(inputs, [rows, inputLength], 'int32'),
  ys: tfc.tensor3d(targets, [rows, length, 1], 'int32'),
});

/** exp of the mean cross-entropy per token; the model's own loss may be another. */
export async function perplexity(model: tfl.LayersModel, { xs, ys }: WindowTensors, batchSize: number): Promise<number> {
  const crossEntropy = sparseCrossEntropy();
  let total = 0;
  for (let row = 0; row < xs.shape[0]; row += batchSize) {
    const rows = Math.min(batchSize, xs.shape[0] - row);
    const sum = tfc.tidy(() => {
      const logits = model.predictOnBatch(tfc.slice(xs, row, rows)) as tfc.Tensor;
      return tfc.sum(crossEntropy(tfc.slice(ys, row, rows), logits));
    });
    total += (await sum.data())[0];
    sum.dispose();
  }
  return Math.exp(total / ys.size);
}

/** A copy of the weights, to go back to. */
export async function weightsOf(model: tfl.LayersModel): Promise<Float32Array[]> {
  return Promise.all(model.getWeights().map(async (weight) => Float32Array.from(await weight.data())));
}

export function setWeights(model: tfl.LayersModel, values: readonly Float32Array[]): void {
  const tensors = model.getWeights().map((weight, i) => tfc.tensor(values[i], weight.shape));
  model.setWeights(tensors);
  tfc.dispose(tensors);
}

export interface TextTraining {
  model: tfl.LayersModel;
  windows: Windows;
  validation: WindowTensors;
  settings: Pick<TrainingSettings, 'epochs' | 'patience' | 'batchSize'>;
  /** What stands before the progress. */
  label: string;
  seed: number;
  watch: InterruptWatch;
  /** Called after each epoch; where it returns true, earlier epochs are no longer candidates. */
  onEpoch?: (epoch: EpochRecord) => Promise<boolean>;
  /** For the `fit` of each epoch, counted from 1: it trains for that one alone. */
  callbacksOf?: (epoch: number) => (tfl.Callback | tfl.CustomCallback)[];
  /** Rows that an epoch sees, drawn anew for each; default: all. */
  rowsPerEpoch?: number;
}

/** Trains epoch by epoch, and gives back the weights of the epoch that predicts held-out text best. */
export async function trainText({ model, windows, validation, settings, label, seed, watch, onEpoch, callbacksOf = () => [], rowsPerEpoch = windows.rows }: TextTraining): Promise<{ epochs: EpochRecord[]; best: Float32Array[] }> {
  const { epochs, patience, batchSize } = settings;
  const done: EpochRecord[] = [];
  let best: { validation: number; epoch: number; weights: Float32Array[] } | null = null;
  const rows = Math.min(rowsPerEpoch, windows.rows);
  const batches = Math.ceil(rows / batchSize);
  const random = seededRandom(seed);
  await withProgress(label, epochs * batches, 0, async (progress) => {
    for (let epoch = 1; epoch <= epochs; epoch++) {
      // The host shuffles by Math.random, which takes no seed.
      const { xs, ys } = toTensors(firstRows(shuffled(windows, random), rows));
      const onBatchEnd = async (batch: number) => {
        progress.update((epoch - 1) * batches + batch + 1);
        await watch.check();
      };
      const observer = new tfl.CustomCallback({ onBatchEnd });
      const { history } = await model.fit(xs, ys, { batchSize, shuffle: false, verbose: 0, callbacks: [observer, ...callbacksOf(epoch)] }).finally(() => tfc.dispose([xs, ys]));
      const record = { epoch, loss: history.loss[0] as number, validation: await perplexity(model, validation, batchSize) };
      done.push(record);
      if ((await onEpoch?.(record)) === true) best = null;
      if (best === null || record.validation < best.validation) best = { validation: record.validation, epoch, weights: await weightsOf(model) };
      progress.update(epoch * batches, `held-out perplexity ${record.validation.toFixed(2)}`);
      if (epoch - best.epoch >= patience) break;
    }
    progress.finish(`held-out perplexity ${best?.validation.toFixed(2)} after epoch ${best?.epoch}`);
  });
  if (best === null) throw new Error('training: no epoch was run: training.epochs must be at least 1.');
  return { epochs: done, best: (best as { weights: Float32Array[] }).weights };
}
