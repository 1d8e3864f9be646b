/**
 * Compression with data, on a model that is overwritten: soft weight sharing, or the codebooks that it has already; then fine-tuning of the
 * shared values, the best epoch by held-out data.
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { KLMergeQuantization } from '../callbacks/kl_merge_quantization.js';
import { sharedValues } from '../callbacks/shared_values.js';
import { HeldWeights } from '../callbacks/held_weights.js';
import { fewValues } from '../compression/distinct_values.js';
import { acceptSparseTargets, takesSparseTargets } from '../losses/sparse_targets.js';
import { isBiasSlot, placedLayers, regularizerSlots, variableOf } from '../host.js';
import { attachTo, detachRegularizer, type PlacedSlot } from '../regularizers/attach.js';
import { gmmPrior } from '../regularizers/gmm_prior.js';
import type { MixtureLearningRates } from '../regularizers/gmm_prior_options.js';
import { BestEpoch } from './best_epoch.js';
import { WHO, type ResolvedOptions } from './options.js';
import type { ResolvedRetraining } from './retraining_options.js';
import { isMatrix } from './weight_kind.js';

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
  if (takesSparseTargets(model)) acceptSparseTargets(model);
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
  const kernels = kernelsOf(model).filter(({ weight, path }) => !skip(weight.originalName) && !path.some(({ name }) => skip(name)));
  if (kernels.length === 0) throw new Error(`${WHO}: retraining: no kernel of the model takes part in soft weight sharing: all are frozen or skipped. Skip fewer, or make layers trainable.`);
  const samples = [x].flat()[0].shape[0];
  const parts = partsOf(args.epochs);
  // Until the first part is quantised.
  const steps = (parts[0]?.[0] ?? args.epochs) * Math.ceil(samples / args.batchSize);
  const prior = gmmPrior({ trainingExamples: samples, tau: tauFor(samples), ...(hasOwnPace(args.prior) ? {} : { learningRates: ratesFor(steps) }), ...args.prior });
  attachTo(kernels, prior);
  compile(model, args, args.learningRate);
  const quantization = new QuietQuantization({ prior, verbose: false, incremental: parts });
  await model.fit(x, y, { epochs: args.epochs, batchSize: args.batchSize, verbose: 0, callbacks: [quantization, progress(onProgress, 0.1, 0.5, args.epochs)] });
  detachRegularizer(model, prior);
  const { converged, relativeDistance } = quantization.report!;
  const emptied = quantization.report!.layers.filter(({ nonZero, relativeDistance: moved }) => nonZero === 0 && moved > 0).map(({ weight }) => `'${weight}'`);
  const warnings = emptied.length === 0 ? [] : [`soft weight sharing set all of ${emptied.join(', ')} to 0. Unless the model works without them, skip them, or give the prior a smaller tau or zeroMixing.`];
  if (converged) return warnings;
  return [...warnings, `soft weight sharing moved the weights by ${(100 * relativeDistance).toFixed(0)} % of their norm when they took their values: the mixture had not converged. Give more epochs, or a larger tau of the prior where weights did not gather, a smaller one where all became 0.`];
}

/** Its force on a weight is τ / N: with few samples, those of Ullrich et al. would crush weights that the data hold but loosely. */
const tauFor = (samples: number): number => Math.min(2e-2, 1e-6 * samples);

/** Whether the user has decided how fast the mixture moves. */
const hasOwnPace = ({ learning = 'gradient', learningRates, preset }: ResolvedRetraining['prior']): boolean => learning !== 'gradient' || learningRates !== undefined || preset !== undefined;

/** Rates by which the mixture gets from its start (σ = 0.25) to where weights have gathered (σ ≈ 0.02) in so many steps of Adam, each of about its rate. */
const ratesFor = (steps: number): MixtureLearningRates => ({ means: Math.max(5e-4, 0.5 / steps), logVariances: Math.max(5e-4, 15 / steps), mixingLogits: Math.max(5e-4, 10 / steps) });

/** When weights are quantised in parts, from half of the epochs on, while the others make up for it: pairs [epoch, share] for `klMergeQuantization`. */
function partsOf(epochs: number): [epoch: number, share: number][] {
  const wanted = [[0.5, 0], [0.6, 0.5], [0.7, 0.75], [0.8, 0.9], [0.9, 0.97]].map(([at, share]): [number, number] => [Math.round(at * epochs), share]); // prettier-ignore
  return wanted.filter(([epoch], i) => epoch > (wanted[i - 1]?.[0] ?? 0) && epoch < epochs);
}

/** What it would tell, the report of compression does. */
class QuietQuantization extends KLMergeQuantization {
  protected override tell(): void {}
  protected override tellLate(): void {}
}

/** Weights with a regularizer slot, biases aside, that train. */
const kernelsOf = (model: tfl.LayersModel): PlacedSlot[] =>
  placedLayers(model)
    .flatMap((placed) => regularizerSlots(placed.layer).map((slot) => ({ ...placed, ...slot })))
    .filter(({ slot, weight, carrier }) => !isBiasSlot(slot) && carrier.trainableWeights.includes(weight)); // prettier-ignore

/** Matrices of few values that `sharedValues` does not know of, such as the slopes of a PReLU: they keep their values; and whether there are others. */
async function codebooksOf(model: tfl.LayersModel, maxValues: number, skip: ResolvedOptions['skip']): Promise<{ alone: tfl.LayerVariable[]; shared: boolean }> {
  const kernels = new Set(kernelsOf(model).map(({ weight }) => weight));
  const alone: tfl.LayerVariable[] = [];
  let shared = false;
  for (const weight of model.trainableWeights) {
    const { shape, size } = variableOf(weight);
    if (!isMatrix({ name: weight.originalName, shape }) || !fewValues((await variableOf(weight).data()) as Float32Array, Math.min(maxValues, size - 1))) continue;
    if (kernels.has(weight)) shared = true;
    else if (!skip(weight.originalName)) alone.push(weight);
  }
  return { alone, shared };
}

/** Puts weights back to what they are now after each batch. */
async function heldAsTheyAre(weights: readonly tfl.LayerVariable[]): Promise<HeldWeights> {
  const values = await Promise.all(weights.map((weight) => variableOf(weight).data() as Promise<Float32Array>));
  return new HeldWeights(weights, values.map((array) => array.slice()), values.map((array) => new Uint8Array(array.length).fill(1)));
}

/** Trains the shared values, and what is not shared, keeping the best epoch. The model is quantised already. */
export async function fineTune(model: tfl.LayersModel, args: ResolvedRetraining, { onProgress, perChannel, preserveSparsity, skip }: ResolvedOptions): Promise<Pick<RetrainingReport, 'quantized' | 'after' | 'fineTuneEpochs'>> {
  compile(model, args, args.fineTuneRate);
  const quantized = await evaluate(model, args);
  if (args.fineTuneEpochs === 0) return { quantized, after: quantized, fineTuneEpochs: 0 };
  const best = new BestEpoch(model, args.monitor, args.patience, quantized, () => evaluate(model, args));
  const maxValues = perChannel ? 65535 : 256;
  const { alone, shared } = await codebooksOf(model, maxValues, skip);
  const held = await heldAsTheyAre(alone);
  const holding = new tfl.CustomCallback({ onBatchEnd: async () => held.apply() });
  const sharing = shared ? [sharedValues({ aggregation: args.aggregation, maxValues, ...(args.assignments === 'fixed' ? {} : { assignments: args.assignments, preserveSparsity }) })] : [];
  try {
    const [x, y] = args.data;
    await model.fit(x, y, { epochs: args.fineTuneEpochs, batchSize: args.batchSize, verbose: 0, callbacks: [...sharing, holding, best, progress(onProgress, 0.5, 0.7, args.fineTuneEpochs)] });
  } finally {
    best.restore();
    held.dispose();
  }
  return { quantized, after: best.best, fineTuneEpochs: best.epochs };
}

/** A callback that tells the epoch. */
function progress(onProgress: ResolvedOptions['onProgress'], from: number, to: number, epochs: number): tfl.CustomCallback {
  return new tfl.CustomCallback({ onEpochBegin: async (epoch) => onProgress(from + ((to - from) * epoch) / epochs, `trains, epoch ${epoch + 1} of ${epochs}`) });
}
