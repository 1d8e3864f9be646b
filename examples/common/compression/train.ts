/** The two trainings of the job: ordinary, and retraining with the mixture prior. Both can be stopped and continued by epoch. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { klMergeQuantization, type GmmPrior, type QuantizationReport } from 'tfjs-weight-sharing';
import type { InterruptWatch } from '../interrupt.js';
import { withProgress, type Progress } from '../progress.js';
import { seededRandom } from '../random.js';
import { kernelPositions, layersWithWeights, weightsOf, type ImageTensors } from './models.js';
import { each, histogram, rangeOf, type EpochRecord, type Mixture, type RetrainingEpoch } from './record.js';
import { learningRateAt, type RateSchedule, type Settings } from './settings.js';

/** Bins of the histograms by epoch. */
const EPOCH_BINS = 240;

export interface TrainingData {
  train: ImageTensors;
  validation: ImageTensors;
}

export interface Phase {
  label: string;
  seed: number;
  settings: RateSchedule & { batchSize: number };
  /** Epoch from which the rate falls; default: half-way. */
  rateFallsFrom?: number;
  watch: InterruptWatch;
}

/** Ordinary training of a compiled model; appends to `epochs`, which says where to begin. */
export async function trainBaseline(model: tfl.LayersModel, data: TrainingData, phase: Phase, epochs: EpochRecord[]): Promise<void> {
  await fit(model, data, phase, epochs.length, [], (record) => epochs.push(record));
}

export interface Retraining {
  report: QuantizationReport;
  /** The weights before the last of them were quantised. */
  unquantized: Float32Array[];
  mixture: Mixture;
}

/**
 * Retraining with the prior attached. The weights gather on the mixture; then they are quantised, those at zero first, a part at a
 * time, and the rest makes up for it. Appends to `epochs`.
 */
export async function retrain(
  model: tfl.LayersModel,
  priors: GmmPrior[],
  data: TrainingData,
  phase: Phase & { settings: Settings['retraining'] },
  epochs: RetrainingEpoch[],
): Promise<Retraining> {
  const { mergeThreshold, values, incremental, labelSmoothing } = phase.settings;
  const quantization = klMergeQuantization({ prior: priors, threshold: mergeThreshold, values, incremental, quantizeAtEnd: false, verbose: false });
  const ys = tfc.tidy(() => tfc.add(tfc.mul(data.train.ys, 1 - labelSmoothing), labelSmoothing / data.train.ys.shape[1]) as tfc.Tensor2D);
  const [low, high] = binsFor(model, epochs);
  const shares = sharesOf(model, priors);
  await fit(model, { ...data, train: { xs: data.train.xs, ys } }, { ...phase, rateFallsFrom: incremental[0]?.[0] }, epochs.length, [quantization], (record, logs) => {
    const { gmmEnergy, gmmComponents, gmmRatio } = logs;
    const epochHistogram = histogram(each(kernelsOf(model)), low, high, EPOCH_BINS);
    epochs.push({ ...record, gmmEnergy, components: gmmComponents, ratioEstimate: gmmRatio, mixture: unionOf(priors, shares), histogram: epochHistogram });
  });
  ys.dispose();
  const unquantized = await weightsOf(model);
  return { report: await quantization.quantize(model), unquantized, mixture: unionOf(priors, shares) };
}

/** Which share of the weights each prior governs: one has all, several have a layer each. */
function sharesOf(model: tfl.LayersModel, priors: readonly GmmPrior[]): number[] {
  const sizes = priors.length === 1 ? [1] : layersWithWeights(model).map((layer) => layer.countParams());
  const total = sizes.reduce((sum, size) => sum + size, 0);
  return sizes.map((size) => size / total);
}

/** Several mixtures, each over a share of the weights, as the one that all weights together are drawn from. */
export function unionOf(priors: readonly Pick<GmmPrior, 'mixture'>[], shares: readonly number[]): Mixture {
  const parts = priors.map(({ mixture }) => {
    if (mixture === null) throw new Error('retrain: a prior has no mixture after training: it governs no weight.');
    return mixture;
  });
  return {
    means: parts.flatMap(({ means }) => means),
    variances: parts.flatMap(({ variances }) => variances),
    mixing: parts.flatMap(({ mixing }, i) => mixing.map((proportion) => proportion * shares[i])),
  };
}

/** Bins for every epoch, from those of the first: what leaves them later counts in the outermost. */
function binsFor(model: tfl.LayersModel, epochs: readonly RetrainingEpoch[]): [low: number, high: number] {
  if (epochs.length === 0) return rangeOf(kernelsOf(model));
  const { start, binWidth, counts } = epochs[0].histogram;
  return [start, start + binWidth * counts.length];
}

function kernelsOf(model: tfl.LayersModel): Float32Array[] {
  return kernelPositions(model).map((i) => model.getWeights()[i].dataSync() as Float32Array);
}

type EpochLogs = Record<string, number>;

async function fit(
  model: tfl.LayersModel,
  data: TrainingData,
  phase: Phase,
  initialEpoch: number,
  callbacks: (tfl.Callback | tfl.CustomCallback)[],
  onEpoch: (record: EpochRecord, logs: EpochLogs) => void,
): Promise<void> {
  const { label, seed, settings } = phase;
  const { epochs, batchSize } = settings;
  const { train, validation } = data;
  const batches = Math.ceil(train.xs.shape[0] / batchSize);
  await withProgress(label, epochs * batches, initialEpoch * batches, async (progress) => {
    const [first, last] = observers(model, phase, batches, progress, onEpoch);
    await withSeededShuffling(1000 * seed + initialEpoch, () =>
      model.fit(train.xs, train.ys, {
        epochs,
        initialEpoch,
        batchSize,
        verbose: 0,
        validationData: [validation.xs, validation.ys],
        callbacks: [first, ...callbacks, last],
      }),
    );
  });
}

/** The callbacks that stand before and after those of the job. */
function observers(model: tfl.LayersModel, { settings, rateFallsFrom, watch }: Phase, batches: number, progress: Progress, onEpoch: (record: EpochRecord, logs: EpochLogs) => void) {
  let epoch = 0;
  let note = '';
  const first = new tfl.CustomCallback({
    onEpochBegin: async (index) => {
      epoch = index;
      setLearningRate(model, learningRateAt(index, settings, rateFallsFrom));
    },
    onBatchEnd: async (batch) => {
      progress.update(epoch * batches + batch + 1);
      await watch.check();
    },
  });
  const last = new tfl.CustomCallback({
    onEpochEnd: async (index, logs) => {
      const values = (logs ?? {}) as EpochLogs;
      const validationError = 100 * (1 - values.val_acc);
      onEpoch({ epoch: index + 1, loss: values.loss, validationError }, values);
      note = `validation error ${validationError.toFixed(2)} %${values.gmmComponents === undefined ? '' : `, ${values.gmmComponents} components, ratio ≈ ${values.gmmRatio.toFixed(0)}`}`;
      progress.update((index + 1) * batches, note);
    },
    onTrainEnd: async () => progress.finish(note),
  });
  return [first, last];
}

/** The host shuffles with `Math.random`, which cannot be seeded: a seeded one stands in for it meanwhile. */
export async function withSeededShuffling<T>(seed: number, run: () => Promise<T>): Promise<T> {
  const original = Math.random;
  Math.random = seededRandom(seed).uniform;
  try {
    return await run();
  } finally {
    Math.random = original;
  }
}

function setLearningRate(model: tfl.LayersModel, rate: number): void {
  // Public in JavaScript, protected in the types; there is no setter.
  (model.optimizer as unknown as { learningRate: number }).learningRate = rate;
}
