/** Trains one of the networks. */
import * as tfl from '@tensorflow/tfjs-layers';
import { countOf, type DataSet } from '../common/images.js';
import type { InterruptWatch } from '../common/interrupt.js';
import { withProgress } from '../common/progress.js';
import { compile, errorPercent, toTensors, type ImageTensors } from '../common/compression/models.js';
import { withSeededShuffling } from '../common/compression/train.js';
import { network } from './network.js';
import type { Result } from './record.js';
import { learningRateAt, type Settings } from './settings.js';
import type { Variant } from './sizes.js';

export interface Bench {
  data: DataSet;
  train: ImageTensors;
  validation: ImageTensors;
}

export function newBench(data: DataSet): Bench {
  return { data, train: toTensors(data.train), validation: toTensors(data.validation) };
}

/** Trains, validating after each epoch; reads the test images once, after the last. */
export async function runVariant(bench: Bench, settings: Settings, variant: Variant, watch: InterruptWatch): Promise<Result> {
  const { data, train, validation } = bench;
  const begun = performance.now();
  const model = network(data.train.width * data.train.height, settings, variant);
  compile(model, settings.learningRate);
  const { epochs, batchSize } = settings;
  const batches = Math.ceil(countOf(data.train) / batchSize);
  const validationErrors: number[] = [];
  const { method, compression, seed } = variant;
  try {
    await withProgress(`seed ${seed}, 1/${compression} ${method}`, epochs * batches, 0, async (progress) => {
      let epoch = 0;
      const observer = new tfl.CustomCallback({
        onEpochBegin: async (index) => {
          epoch = index;
          // Public in JavaScript, protected in the types; there is no setter.
          (model.optimizer as unknown as { learningRate: number }).learningRate = learningRateAt(index, settings);
        },
        onBatchEnd: async (batch) => {
          progress.update(epoch * batches + batch + 1);
          await watch.check();
        },
        onEpochEnd: async (_index, logs) => void validationErrors.push(Number((100 * (1 - (logs as { val_acc: number }).val_acc)).toFixed(4))),
        onTrainEnd: async () => progress.finish(`validation error ${validationErrors.at(-1)?.toFixed(2)} %`),
      });
      await withSeededShuffling(seed, () =>
        model.fit(train.xs, train.ys, { epochs, batchSize, verbose: 0, validationData: [validation.xs, validation.ys], callbacks: [observer] }));
    });
    return {
      ...variant,
      parameters: model.countParams(),
      validationErrors,
      testError: await errorPercent(model, data.test),
      seconds: Number(((performance.now() - begun) / 1000).toFixed(1)),
    };
  } finally {
    const { optimizer } = model;
    model.dispose();
    optimizer.dispose();
  }
}
