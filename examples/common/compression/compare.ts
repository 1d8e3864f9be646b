/** The other methods on the same baseline, through the same file format; every choice is made on validation images. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { compressed } from 'tfjs-weight-sharing';
import type { LabelledImages } from '../images.js';
import type { InterruptWatch } from '../interrupt.js';
import { withProgress, type Progress } from '../progress.js';
import { compile, errorPercent, kernelPositions, setWeights, weightsOf } from './models.js';
import { affineUint8, kMeans, kMeansOfNonZero, pruningMasks } from './quantizers.js';
import type { Settings } from './settings.js';
import { withSeededShuffling, type TrainingData } from './train.js';

export interface Candidate {
  method: string;
  chosen: string;
  weights: Float32Array[];
  validationError: number;
  fileBytes: number;
}

export interface ComparisonArgs {
  /** A model of the right shape; its weights are overwritten. */
  model: tfl.LayersModel;
  baseline: readonly Float32Array[];
  baselineValidationError: number;
  data: TrainingData;
  validation: LabelledImages;
  settings: Settings;
  seed: number;
  directory: string;
  watch: InterruptWatch;
}

/** The best candidate of each method: the smallest file whose validation error stays within the tolerance. */
export async function compareMethods(args: ComparisonArgs): Promise<Candidate[]> {
  const { clusters, sparsities } = args.settings.comparison;
  const tries = sparsities.length * (1 + clusters.length) + clusters.length + 1;
  return withProgress('other methods', tries, 0, (progress) => tryMethods(args, progress));
}

async function tryMethods(args: ComparisonArgs, progress: Progress): Promise<Candidate[]> {
  const { clusters, sparsities } = args.settings.comparison;
  let done = 0;
  const attempt = async (method: string, chosen: string, weights: Float32Array[]): Promise<Candidate> => {
    await args.watch.check();
    const result = { method, chosen, weights, ...(await measure(args, weights, method)) };
    progress.update(++done, `${method}, ${chosen}: ${result.validationError.toFixed(2)} %, ${result.fileBytes} bytes`);
    return result;
  };

  const pruned: Candidate[] = [];
  for (const sparsity of sparsities) {
    const weights = await pruneAndRetrain(args, sparsity);
    progress.update(++done);
    for (const k of clusters) {
      pruned.push(await attempt('pruning + k-means', `${Math.round(100 * sparsity)} % pruned, ${k} values`, onKernels(args, weights, (w) => kMeansOfNonZero(w, k))));
    }
  }
  const shared: Candidate[] = [];
  for (const k of clusters) shared.push(await attempt('k-means', `${k} values a layer`, onKernels(args, args.baseline, (w) => kMeans(w, k))));
  const affine = [await attempt('affine uint8', '256 levels a layer', onKernels(args, args.baseline, affineUint8))];
  progress.finish();

  const limit = args.baselineValidationError + args.settings.comparison.tolerance;
  return [pruned, shared, affine].filter((c) => c.length > 0).map((candidates) => smallestWithin(candidates, limit));
}

/** The smallest candidate within the limit; where none is, the one with the least error. */
export function smallestWithin<T extends { validationError: number; fileBytes: number }>(candidates: readonly T[], limit: number): T {
  const within = candidates.filter((c) => c.validationError <= limit + 1e-9);
  if (within.length > 0) return within.reduce((best, c) => (c.fileBytes < best.fileBytes ? c : best));
  return candidates.reduce((best, c) => (c.validationError < best.validationError ? c : best));
}

async function measure({ model, validation, directory }: ComparisonArgs, weights: Float32Array[], method: string) {
  setWeights(model, weights);
  const path = join(directory, `${method.replace(/[^a-z0-9]+/g, '-')}.tfws`);
  await model.save(compressed(`file://${path}`));
  return { validationError: await errorPercent(model, validation), fileBytes: statSync(path).size };
}

function onKernels({ model }: ComparisonArgs, weights: readonly Float32Array[], change: (kernel: Float32Array) => Float32Array): Float32Array[] {
  const kernels = kernelPositions(model);
  return weights.map((w, i) => (kernels.includes(i) ? change(w) : w));
}

/** Removes the smallest weights, then trains those that are left; the removed ones are put back to zero after every batch. */
async function pruneAndRetrain(args: ComparisonArgs, sparsity: number): Promise<Float32Array[]> {
  const { model, baseline, data, settings, seed, watch } = args;
  const positions = kernelPositions(model);
  const values = pruningMasks(positions.map((i) => baseline[i]), sparsity);
  setWeights(model, baseline.map((w, i) => (positions.includes(i) ? w.map((v, k) => v * values[positions.indexOf(i)][k]) : w))); // prettier-ignore
  compile(model, settings.retraining.learningRate);
  // Layers in order hold kernel, bias, kernel, bias, …, as `getWeights` does.
  const variables = positions.map((i) => model.weights[i]);
  const masks = variables.map((variable, j) => tfc.tensor(values[j], variable.shape as number[]));
  const keepPruned = new tfl.CustomCallback({
    onBatchEnd: async () => {
      tfc.tidy(() => variables.forEach((variable, j) => variable.write(tfc.mul(variable.read(), masks[j]))));
      await watch.check();
    },
  });
  await withSeededShuffling(1000 * seed + 500, () =>
    model.fit(data.train.xs, data.train.ys, {
      epochs: settings.comparison.retrainEpochs,
      batchSize: settings.retraining.batchSize,
      verbose: 0,
      callbacks: [keepPruned],
    }),
  );
  masks.forEach((mask) => mask.dispose());
  return weightsOf(model);
}
