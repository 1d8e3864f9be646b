/** One network with one seed: train it, test it once, and measure what a step of it takes. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { compile, errorPercent, toTensors, type ImageTensors } from '../common/compression/models.js';
import { withSeededShuffling } from '../common/compression/train.js';
import { memoryByDepth, residualsOf, stepOf } from '../common/deq_measure.js';
import { countOf, selectImages, type DataSet } from '../common/images.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { withProgress } from '../common/progress.js';
import { deqMonitor } from './library.js';
import { network, type Network } from './network.js';
import type { EpochRecord, Run } from './record.js';
import type { Settings, VariantName } from './settings.js';

export interface Job {
  data: DataSet;
  settings: Settings;
  watch: InterruptWatch;
}

const SHAPE = [28, 28, 1];

export async function runVariant(job: Job, variant: VariantName, seed: number): Promise<Run> {
  const { data, settings } = job;
  const net = network(settings, variant, seed);
  const { model, deq } = net;
  compile(model, settings.training.learningRate);
  const begun = performance.now();
  const epochs = await trained(job, net, `${variant}, seed ${seed}`, seed);
  const seconds = (performance.now() - begun) / 1000;
  const testError = await errorPercent(model, data.test);
  const batch = toTensors(selectImages(data.validation, Array.from({ length: Math.min(settings.training.batchSize, countOf(data.validation)) }, (_, i) => i)), SHAPE);
  const step = () => oneStep(model, batch);
  try {
    return {
      seed, variant, parameters: model.countParams(), epochs, testError, seconds,
      ...(await stepOf(step)),
      residuals: deq === null || variant !== 'equilibrium' ? [] : await residualsOf(deq, () => tfc.dispose(model.predictOnBatch(batch.xs)), settings.figures.iterations),
      memory: deq === null ? [] : await memoryByDepth(deq, step, settings.figures.depths),
    }; // prettier-ignore
  } finally {
    const { optimizer } = model;
    tfc.dispose([batch.xs, batch.ys]);
    model.dispose();
    optimizer.dispose();
  }
}

async function trained({ data, settings: { training }, watch }: Job, { model, deq }: Network, label: string, seed: number): Promise<EpochRecord[]> {
  const { epochs, batchSize, learningRate } = training;
  const [train, validation] = [toTensors(data.train, SHAPE), toTensors(data.validation, SHAPE)];
  const batches = Math.ceil(countOf(data.train) / batchSize);
  const records: EpochRecord[] = [];
  try {
    await withProgress(label, epochs * batches, 0, async (progress) => {
      const observer = new tfl.CustomCallback({
        onEpochBegin: async (epoch) => {
          // Public in JavaScript, protected in the types; there is no setter.
          (model.optimizer as unknown as { learningRate: number }).learningRate = learningRate * 0.5 * (1 + Math.cos((Math.PI * epoch) / epochs));
        },
        onBatchEnd: async (batch) => {
          progress.update(records.length * batches + batch + 1);
          await watch.check();
        },
        onEpochEnd: async (epoch, logs) => {
          const { loss, val_acc: accuracy, equilibrium_iterations: forward, equilibrium_backwardIterations: backward } = logs as Record<string, number>;
          records.push({ epoch: epoch + 1, loss, validation: 100 * (1 - accuracy), iterations: forward ?? null, backwardIterations: backward ?? null });
        },
      });
      // The monitor first: it writes into the logs that the observer reads.
      const callbacks = deq === null ? [observer] : [deqMonitor(), observer];
      await withSeededShuffling(seed, () => model.fit(train.xs, train.ys, { epochs, batchSize, verbose: 0, validationData: [validation.xs, validation.ys], callbacks }));
      progress.finish(`held-out error ${records.at(-1)?.validation.toFixed(2)} %`);
    });
  } finally {
    tfc.dispose([train.xs, train.ys, validation.xs, validation.ys]);
  }
  return records;
}

/** Loss and gradients of all weights on one batch, discarded. */
function oneStep(model: tfl.LayersModel, { xs, ys }: ImageTensors): void {
  const { value, grads } = tfc.variableGrads(() => {
    const probabilities = model.apply(xs, { training: true }) as tfc.Tensor;
    return tfc.neg(tfc.mean(tfc.sum(tfc.mul(ys, tfc.log(tfc.add(probabilities, 1e-7))), -1))) as tfc.Scalar;
  });
  value.dataSync();
  tfc.dispose(grads);
  value.dispose();
}
