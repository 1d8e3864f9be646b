/**
 * Compression with data, on a model that is overwritten: soft weight sharing, or the codebooks that it has already; then fine-tuning of the
 * shared values, the best epoch by held-out data.
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { klMergeQuantization } from '../callbacks/kl_merge_quantization.js';
import { sharedValues } from '../callbacks/shared_values.js';
import { allLayers, regularizerSlots } from '../host.js';
import { attachRegularizer, detachRegularizer } from '../regularizers/attach.js';
import { gmmPrior } from '../regularizers/gmm_prior.js';
import { BestEpoch } from './best_epoch.js';
import { WHO, type ResolvedOptions } from './options.js';
import type { ResolvedRetraining } from './retraining_options.js';

/** The monitored value on the held-out data on the way. */
export interface RetrainingReport {
  method: 'softSharing' | 'clusters';
  monitor: string;
  before: number;
  /** Quantised, before the values were fine-tuned. */
  quantized: number;
  after: number;
  /** Epochs of fine-tuning that were run. */
  fineTuneEpochs: number;
}

function compile(model: tfl.LayersModel, { loss, metrics }: ResolvedRetraining, rate: number): void {
  disposeOptimizer(model);
  model.compile({ optimizer: tfc.train.adam(rate), loss, metrics });
}

/** The host frees only optimizers that were given to it by name. */
export function disposeOptimizer(model: tfl.LayersModel): void {
  (model.optimizer as tfc.Optimizer | undefined)?.dispose();
}

/** What `monitor` is on the held-out data. @throws Error if the model has no such value. */
async function evaluate(model: tfl.LayersModel, { validationData: [x, y], monitor, batchSize }: ResolvedRetraining): Promise<number> {
  const results = [model.evaluate(x, y, { batchSize })].flat();
  const values = await Promise.all(results.map(async (result) => (await result.data())[0]));
  tfc.dispose(results);
  const index = model.metricsNames.indexOf(monitor);
  if (index < 0) throw new Error(`${WHO}: retraining: monitor '${monitor}' is none of ${model.metricsNames.join(', ')}. Name it in metrics, or choose one of these.`);
  return values[index];
}

/** Loss of `model` on the held-out data, before anything is changed. */
export async function evaluateBefore(model: tfl.LayersModel, args: ResolvedRetraining): Promise<number> {
  compile(model, args, args.fineTuneRate);
  return evaluate(model, args);
}

/** Retrains with a mixture prior on every kernel that is not skipped, and quantises. Returns what to warn of. */
export async function shareSoftly(model: tfl.LayersModel, args: ResolvedRetraining, { skip, onProgress }: ResolvedOptions): Promise<string[]> {
  const [x, y] = args.data;
  const layers = allLayers(model).filter((layer) => regularizerSlots(layer).some(({ layer: owner }) => owner === layer) && !skip(layer.name)).map(({ name }) => name);
  const prior = gmmPrior({ trainingExamples: [x].flat()[0].shape[0], tau: 2e-2, ...args.prior });
  attachRegularizer(model, prior, { layers });
  compile(model, args, args.learningRate);
  const quantization = klMergeQuantization({ prior, verbose: false });
  await model.fit(x, y, { epochs: args.epochs, batchSize: args.batchSize, verbose: 0, callbacks: [quantization, progress(onProgress, 0.1, 0.5, args.epochs)] });
  detachRegularizer(model, prior);
  const { converged, relativeDistance } = quantization.report!;
  if (converged) return [];
  return [`soft weight sharing moved the weights by ${(100 * relativeDistance).toFixed(0)} % of their norm when they took their values: the mixture had not converged. Give more epochs, or a larger tau of the prior where weights did not gather, a smaller one where all became 0.`];
}

/** Trains the shared values, and what is not shared, keeping the best epoch. The model is quantised already. */
export async function fineTune(model: tfl.LayersModel, args: ResolvedRetraining, { onProgress, perChannel, preserveSparsity }: ResolvedOptions): Promise<Pick<RetrainingReport, 'quantized' | 'after' | 'fineTuneEpochs'>> {
  compile(model, args, args.fineTuneRate);
  const quantized = await evaluate(model, args);
  if (args.fineTuneEpochs === 0) return { quantized, after: quantized, fineTuneEpochs: 0 };
  const best = new BestEpoch(model, args.monitor, args.patience, quantized, () => evaluate(model, args));
  const sharing = sharedValues({ aggregation: args.aggregation, maxValues: perChannel ? 65535 : 256, ...(args.assignments === 'fixed' ? {} : { assignments: args.assignments, preserveSparsity }) });
  try {
    const [x, y] = args.data;
    await model.fit(x, y, { epochs: args.fineTuneEpochs, batchSize: args.batchSize, verbose: 0, callbacks: [sharing, best, progress(onProgress, 0.5, 0.7, args.fineTuneEpochs)] });
  } finally {
    best.restore();
  }
  return { quantized, after: best.best, fineTuneEpochs: best.epochs };
}

/** A callback that tells the epoch. */
function progress(onProgress: ResolvedOptions['onProgress'], from: number, to: number, epochs: number): tfl.CustomCallback {
  return new tfl.CustomCallback({ onEpochBegin: async (epoch) => onProgress(from + ((to - from) * epoch) / epochs, `trains, epoch ${epoch + 1} of ${epochs}`) });
}
