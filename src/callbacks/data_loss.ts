/** The data loss of a training step from what the host logs, for priors that go by it. */
import type { Tensor } from '@tensorflow/tfjs-core';
import type * as tfl from '@tensorflow/tfjs-layers';
import type { GmmPrior } from '../regularizers/gmm_prior.js';

/**
 * Tells the priors that ask for it the loss of the last batch without the energies of `priors` (other regularizers' stay in it).
 * Nothing is read where none asks.
 */
export async function tellDataLoss(model: tfl.LayersModel, priors: readonly GmmPrior[], logs: tfl.Logs | undefined): Promise<void> {
  const asking = priors.filter(({ observes }) => observes);
  if (asking.length === 0) return;
  const total = await numberOf((logs as Record<string, number | Tensor> | undefined)?.['loss']);
  const dataLoss = total - priors.reduce((sum, { lastEnergy }) => sum + lastEnergy, 0);
  for (const prior of asking) prior.observe(dataLoss, outputsOf(model));
}

/** Numbers that the model predicts per example; null for several outputs or open dimensions, or if its loss is a stock one other than the mean squared error. */
export function outputsOf(model: tfl.LayersModel): number | null {
  if (model.outputs.length !== 1) return null;
  // A string, or an array or record of them and of functions.
  const losses: unknown[] = typeof model.loss === 'string' ? [model.loss] : Object.values(model.loss ?? {});
  if (losses.some((loss) => typeof loss === 'string' && loss !== 'meanSquaredError')) return null;
  const shape = model.outputs[0].shape.slice(1);
  return shape.some((size) => size === null) ? null : (shape as number[]).reduce((product, size) => product * size, 1);
}

/** The host logs a scalar tensor where nobody before has made it a number. */
async function numberOf(value: number | Tensor | undefined): Promise<number> {
  return typeof value === 'object' ? (await value.data())[0] : (value ?? NaN);
}
