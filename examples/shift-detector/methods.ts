/** The methods that are compared on the shift detector, and the training of one network by one of them. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { gmmPrior, klMergeQuantization, type GmmPrior } from 'tfjs-weight-sharing';
import { PLACES, type Cases, type ShiftTask } from './task.js';
import type { Method, Settings } from './settings.js';

export interface Fitted {
  /** Percent of the cases that are right. */
  validation: number;
  /** Read from the weights of the best epoch on the validation cases. */
  test: number;
  /** Epochs of `fit` until then. */
  epoch: number;
  /** σ_y as learned by the end; null without it. */
  noise: number | null;
  /** Weights of the hidden layer at that epoch, [20, 10] row-major. */
  hidden: number[];
  mixture: NonNullable<GmmPrior['mixture']> | null;
}

/** Components of a method's mixture; 0: none. */
function componentsOf(method: Method): number {
  return method.startsWith('soft') ? Number(method.split(' ').pop()) : 0;
}

/** Trains one network; `strength` is the L2 penalty or τ. The best epoch is chosen on the validation cases. */
export async function trainDetector(method: Method, strength: number, task: ShiftTask, seed: number, settings: Settings): Promise<Fitted> {
  const { hidden, epochs, passes, learningRate, prior: options } = settings;
  const components = componentsOf(method);
  const prior = components > 0 ? gmmPrior({ ...options, trainingExamples: task.train.xs.shape[0], components, tau: strength, dataNoise: 'learned' }) : null;
  const regularizer = prior ?? (method === 'weight decay' ? tfl.regularizers.l2({ l2: strength }) : undefined);
  const dense = (units: number, i: number, inputShape?: number[]) =>
    tfl.layers.dense({
      units, inputShape, activation: 'tanh', kernelRegularizer: regularizer, biasRegularizer: regularizer,
      kernelInitializer: tfl.initializers.randomUniform({ minval: -0.3, maxval: 0.3, seed: 10 * seed + i }),
    }); // prettier-ignore
  const model = tfl.sequential({ layers: [dense(hidden, 1, [2 * PLACES]), dense(1, 2)] });
  const optimizer = tfc.train.adam(learningRate);
  model.compile({ optimizer, loss: 'meanSquaredError' });
  let best: Omit<Fitted, 'noise' | 'mixture'> | null = null;
  const look = new tfl.CustomCallback({
    onEpochEnd: async (epoch) => {
      const validation = percentRight(model, task.validation);
      // Later epochs win ties: the error still falls where the count of right answers cannot rise.
      if (best !== null && validation < best.validation) return;
      best = { validation, test: percentRight(model, task.test), epoch: epoch + 1, hidden: Array.from(model.getWeights()[0].dataSync()) };
    },
  });
  // The hundred cases are one batch; an epoch of `fit` passes them many times.
  const [xs, ys] = [tfc.tile(task.train.xs, [passes, 1]), tfc.tile(task.train.ys, [passes, 1])];
  const callbacks = prior === null ? [look] : [klMergeQuantization({ prior, quantizeAtEnd: false }), look];
  await model.fit(xs, ys, { epochs, batchSize: task.train.xs.shape[0], shuffle: false, verbose: 0, yieldEvery: 'never', callbacks });
  tfc.dispose([xs, ys]);
  optimizer.dispose();
  model.dispose();
  return { ...best!, noise: prior?.dataNoise ?? null, mixture: prior?.mixture ?? null };
}

function percentRight(model: tfl.LayersModel, { xs, ys }: Cases): number {
  return tfc.tidy(() => 100 * tfc.mean(tfc.cast(tfc.greater(tfc.mul(model.predict(xs) as tfc.Tensor, ys), 0), 'float32')).dataSync()[0]);
}
