/** One compression: a trained model is retrained with the mixture prior, quantised, saved small and loaded again. */
import { statSync } from 'node:fs';
import * as tfl from '@tensorflow/tfjs-layers';
import { attachRegularizer, compressed, gmmPrior, priorsOf, sizeReport, type GmmPrior, type Tau } from 'tfjs-weight-sharing';
import type { LabelledImages } from '../images.js';
import type { InterruptWatch } from '../interrupt.js';
import type { Outcome } from './checkpoint.js';
import { compile, errorPercent, kernelPositions, layersWithWeights, setWeights, weightsOf } from './models.js';
import { each, histogram, rangeOf, type RetrainingEpoch } from './record.js';
import type { Settings } from './settings.js';
import { retrain, type TrainingData } from './train.js';

const HISTOGRAM_BINS = 800;

export interface Compression {
  /** The trained model; its weights are overwritten. It may come from a checkpoint, with its priors in place. */
  model: tfl.LayersModel;
  /** The same as it was before. */
  baseline: tfl.LayersModel;
  tensors: TrainingData;
  validation: LabelledImages;
  settings: Settings['retraining'];
  seed: number;
  /** Epochs of retraining that are done; more are appended. */
  epochs: RetrainingEpoch[];
  /** The file to write. */
  path: string;
  watch: InterruptWatch;
  say: (line: string) => void;
}

export async function compress({ model, baseline, tensors, validation, settings, seed, epochs, path, watch, say }: Compression): Promise<Outcome> {
  if (priorsOf(model).length === 0) {
    attachPriors(model, settings, tensors.train.xs.shape[0]);
    compile(model, settings.learningRate);
  }
  const phase = { label: `seed ${seed}, retraining`, seed, settings, watch };
  const { report, unquantized, mixture } = await retrain(model, priorsOf(model), tensors, phase, epochs);
  say(
    `seed ${seed}: ${report.merges.length} merges, ${report.components} values remain, ` +
      `quantising moved the weights by ${(100 * report.relativeDistance).toFixed(1)} % of their norm.`,
  );

  await model.save(compressed(`file://${path}`));
  const loaded = await tfl.loadLayersModel(compressed(`file://${path}`));
  const size = await sizeReport(loaded);

  const kernels = kernelPositions(model);
  const before = kernels.map((i) => baseline.getWeights()[i].dataSync() as Float32Array);
  const retrained = kernels.map((i) => unquantized[i]);
  const [low, high] = rangeOf([...before, ...retrained]);
  const bins = (weights: Float32Array[]) => histogram(each(weights), low, high, HISTOGRAM_BINS);

  const quantizedError = await errorPercent(loaded, validation);
  const quantizedWeights = await weightsOf(loaded);
  setWeights(loaded, unquantized);
  const retrainedError = await errorPercent(loaded, validation);
  setWeights(loaded, quantizedWeights);
  loaded.dispose();
  return {
    histograms: { before: bins(before), retrained: bins(retrained) },
    quantizedValues: report.codebooks.flatMap(({ values, counts }) => values.map((value, k) => ({ value, count: counts[k] }))),
    mixture,
    merges: report.merges.map(({ kept, absorbed, divergence }) => ({ kept, absorbed, divergence })),
    components: { before: mixture.means.length, after: report.components },
    relativeDistance: report.relativeDistance,
    nonZeroPercent: (100 * report.layers.reduce((sum, { nonZero }) => sum + nonZero, 0)) / report.layers.reduce((sum, { weights }) => sum + weights, 0),
    tensors: size.weights.map(({ name, parameters: count, distinct, totalBytes }) => ({ name, parameters: count, distinctValues: distinct, bytes: totalBytes })),
    otherBytes: size.topologyBytes,
    fileBytes: statSync(path).size,
    baselineError: await errorPercent(baseline, validation),
    retrainedError,
    quantizedError,
  };
}

/** One mixture over all weights, or one for each layer that has weights. */
function attachPriors(model: tfl.LayersModel, settings: Settings['retraining'], trainingExamples: number): void {
  const { components, zeroMixing, learnZeroMixing, zeroRate, othersRate, meansRate, logVariancesRate, mixingRate, biases, mixtures } = settings;
  const learningRates = { means: meansRate, logVariances: logVariancesRate, mixingLogits: mixingRate };
  const hyperpriors = { zeroHyperprior: { shape: 5000, rate: zeroRate }, othersHyperprior: { shape: 250, rate: othersRate } };
  const newPrior = (): GmmPrior => gmmPrior({ trainingExamples, components, tau: tauOf(settings, trainingExamples), zeroMixing, learnZeroMixing, learningRates, ...hyperpriors });
  const layers = layersWithWeights(model).map(({ name }) => name);
  for (const group of mixtures === 'one' ? [layers] : layers.map((name) => [name])) attachRegularizer(model, newPrior(), { layers: group, biases });
}

/** τ over the steps of retraining: it falls in the epoch in which weights beside the zeros are first held. */
function tauOf({ tau, finalTauShare, incremental, batchSize }: Settings['retraining'], trainingExamples: number): Tau {
  if (finalTauShare === 1 || incremental.length < 2) return tau;
  const begin = incremental[1][0] * Math.ceil(trainingExamples / batchSize);
  return [[begin, tau], [begin + Math.ceil(trainingExamples / batchSize), finalTauShare * tau]]; // prettier-ignore
}
