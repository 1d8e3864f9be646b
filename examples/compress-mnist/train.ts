/** The two trainings of the job: ordinary, and retraining with the mixture prior. Both can be stopped and continued by epoch. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { klMergeQuantization, type GmmPrior, type QuantizationReport } from 'tfjs-weight-sharing';
import type { InterruptWatch } from '../common/interrupt.js';
import { withProgress, type Progress } from '../common/progress.js';
import { seededRandom } from '../common/random.js';
import { weightsOf, type ImageTensors } from './lenet.js';
import type { EpochRecord, RetrainingEpoch } from './record.js';
import { learningRateAt, type RateSchedule, type Settings } from './settings.js';

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
  mixture: NonNullable<GmmPrior['mixture']>;
}

/**
 * Retraining with the prior attached. The weights gather on the mixture; then they are quantised, those at zero first, a part at a
 * time, and the rest makes up for it. Appends to `epochs`.
 */
export async function retrain(
  model: tfl.LayersModel,
  prior: GmmPrior,
  data: TrainingData,
  phase: Phase & { settings: Settings['retraining'] },
  epochs: RetrainingEpoch[],
): Promise<Retraining> {
  const { mergeThreshold, values, incremental, labelSmoothing } = phase.settings;
  const quantization = klMergeQuantization({ prior, threshold: mergeThreshold, values, incremental, quantizeAtEnd: false, verbose: false });
  const ys = tfc.tidy(() => tfc.add(tfc.mul(data.train.ys, 1 - labelSmoothing), labelSmoothing / data.train.ys.shape[1]) as tfc.Tensor2D);
  await fit(model, { ...data, train: { xs: data.train.xs, ys } }, { ...phase, rateFallsFrom: incremental[0]?.[0] }, epochs.length, [quantization], (record, logs) => {
    if (prior.mixture === null) throw new Error('compress-mnist: the prior has no mixture after an epoch: it governs no weight.');
    const { gmmEnergy, gmmComponents, gmmRatio } = logs;
    epochs.push({ ...record, gmmEnergy, components: gmmComponents, ratioEstimate: gmmRatio, mixture: prior.mixture });
  });
  ys.dispose();
  const unquantized = await weightsOf(model);
  return { report: await quantization.quantize(model), unquantized, mixture: prior.mixture! };
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
