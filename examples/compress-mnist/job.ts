/** The job for one seed: train, retrain with the mixture, quantise, save small, load again, compare, test. */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import * as tfl from '@tensorflow/tfjs-layers';
import { attachRegularizer, compressed, gmmPrior, priorsOf, sizeReport } from 'tfjs-weight-sharing';
import { countOf, type DataSet } from '../common/images.js';
import type { InterruptWatch } from '../common/interrupt.js';
import type { Outcome, SeedState } from './checkpoint.js';
import { compareMethods, type Candidate } from './compare.js';
import { compile, errorPercent, kernelPositions, lenet300100, parameterCount, setWeights, weightsOf } from './lenet.js';
import { histogram, type SeedRecord } from './record.js';
import type { Settings } from './settings.js';
import { retrain, trainBaseline, type TrainingData } from './train.js';

const HISTOGRAM_BINS = 800;

export interface Job {
  data: DataSet;
  tensors: TrainingData;
  settings: Settings;
  /** Run the other methods too. */
  comparison: boolean;
  /** Where files go; each seed has a folder of its own. */
  out: string;
  watch: InterruptWatch;
  say: (line: string) => void;
}

/** A model in training: what a checkpoint has to save. */
export interface Workbench {
  model: tfl.LayersModel;
}

export function newSeed(seed: number): SeedState {
  return { seed, phase: 'baseline', baseline: [], retraining: [], outcome: null, seconds: 0 };
}

export function newModel(job: Job, seed: number): tfl.LayersModel {
  const model = lenet300100(job.data.train.width * job.data.train.height, seed);
  compile(model, job.settings.baseline.learningRate);
  return model;
}

/** Runs the phases that `state` has not finished, keeping `state` up to date. */
export async function runSeed(job: Job, state: SeedState, bench: Workbench): Promise<SeedRecord> {
  const begun = performance.now() - 1000 * state.seconds;
  const clock = () => (performance.now() - begun) / 1000;
  const files = filesOf(job, state.seed);
  mkdirSync(files.folder, { recursive: true });
  try {
    if (state.phase === 'baseline') {
      await trainBaseline(bench.model, job.tensors, { label: `seed ${state.seed}, training`, seed: state.seed, settings: job.settings.baseline, watch: job.watch }, state.baseline);
      await bench.model.save(compressed(`file://${files.baseline}`));
      state.phase = 'retraining';
    }
    const baseline = await tfl.loadLayersModel(compressed(`file://${files.baseline}`));
    if (state.phase === 'retraining') {
      state.outcome = await retrainAndSave(job, state, bench, baseline);
      state.phase = 'comparison';
    }
    return await compareAndTest(job, state, baseline, clock);
  } finally {
    state.seconds = clock();
  }
}

function filesOf(job: Job, seed: number) {
  const folder = join(job.out, `seed-${seed}`);
  return { folder, baseline: join(folder, 'baseline.tfws'), quantized: join(folder, 'model.tfws') };
}

async function retrainAndSave(job: Job, state: SeedState, { model }: Workbench, baseline: tfl.LayersModel): Promise<Outcome> {
  const { data, tensors, watch, say } = job;
  const settings = job.settings.retraining;
  const { components, tau, zeroMixing, zeroRate, othersRate, meansRate, logVariancesRate, mixingRate, biases } = settings;
  let [prior] = priorsOf(model);
  if (prior === undefined) {
    const learningRates = { means: meansRate, logVariances: logVariancesRate, mixingLogits: mixingRate };
    const hyperpriors = { zeroHyperprior: { shape: 5000, rate: zeroRate }, othersHyperprior: { shape: 250, rate: othersRate } };
    prior = gmmPrior({ trainingExamples: countOf(data.train), components, tau, zeroMixing, learningRates, ...hyperpriors });
    attachRegularizer(model, prior, { biases });
    compile(model, settings.learningRate);
  }
  const phase = { label: `seed ${state.seed}, retraining`, seed: state.seed, settings, watch };
  const { report, unquantized, mixture } = await retrain(model, prior, tensors, phase, state.retraining);
  say(
    `seed ${state.seed}: ${report.merges.length} merges, ${report.components} values remain, ` +
      `quantising moved the weights by ${(100 * report.relativeDistance).toFixed(1)} % of their norm.`,
  );

  const files = filesOf(job, state.seed);
  await model.save(compressed(`file://${files.quantized}`));
  const loaded = await tfl.loadLayersModel(compressed(`file://${files.quantized}`));
  const size = await sizeReport(loaded);
  const fileBytes = statSync(files.quantized).size;

  const kernels = kernelPositions(model);
  const before = kernels.map((i) => baseline.getWeights()[i].dataSync() as Float32Array);
  const retrained = kernels.map((i) => unquantized[i]);
  const [low, high] = rangeOf([...before, ...retrained]);
  const bins = (weights: Float32Array[]) => histogram(each(weights), low, high, HISTOGRAM_BINS);

  const quantizedError = await errorPercent(loaded, data.validation);
  const quantizedWeights = await weightsOf(loaded);
  setWeights(loaded, unquantized);
  const retrainedError = await errorPercent(loaded, data.validation);
  setWeights(loaded, quantizedWeights);
  loaded.dispose();
  return {
    histograms: { before: bins(before), retrained: bins(retrained) },
    quantizedValues: report.codebooks.flatMap(({ values, counts }) => values.map((value, k) => ({ value, count: counts[k] }))),
    mixture,
    merges: report.merges.map(({ kept, absorbed, divergence }) => ({ kept, absorbed, divergence })),
    components: { before: components, after: report.components },
    relativeDistance: report.relativeDistance,
    tensors: size.weights.map(({ name, parameters: count, distinct, totalBytes }) => ({ name, parameters: count, distinctValues: distinct, bytes: totalBytes })),
    otherBytes: size.topologyBytes,
    fileBytes,
    baselineError: await errorPercent(baseline, data.validation),
    retrainedError,
    quantizedError,
  };
}

/** The other methods; then, everything being chosen, the test images once for each model. */
async function compareAndTest(job: Job, state: SeedState, baseline: tfl.LayersModel, clock: () => number): Promise<SeedRecord> {
  const { data, settings } = job;
  const { baselineError, retrainedError, quantizedError, ...outcome } = state.outcome!;
  const files = filesOf(job, state.seed);
  const parameters = parameterCount(baseline);
  const ratio = (bytes: number) => (4 * parameters) / bytes;
  const baselineWeights = await weightsOf(baseline);
  let others: Candidate[] = [];
  // The time of the other methods is not the job's.
  const seconds = clock();
  if (job.comparison) {
    const model = newModel(job, state.seed);
    others = await compareMethods({
      model, baseline: baselineWeights, baselineValidationError: baselineError, data: job.tensors, validation: data.validation,
      settings, seed: state.seed, directory: files.folder, watch: job.watch,
    }); // prettier-ignore
    model.dispose();
  }

  const quantized = await tfl.loadLayersModel(compressed(`file://${files.quantized}`));
  const errors = {
    baseline: { validation: baselineError, test: await errorPercent(baseline, data.test) },
    retrained: { validation: retrainedError },
    quantized: { validation: quantizedError, test: await errorPercent(quantized, data.test) },
  };
  const comparison = [];
  for (const { method, chosen, weights, validationError, fileBytes } of others) {
    setWeights(baseline, weights);
    comparison.push({ method, chosen, validationError, testError: await errorPercent(baseline, data.test), fileBytes, ratio: ratio(fileBytes) });
  }
  quantized.dispose();
  baseline.dispose();
  const { seed, retraining } = state;
  return { seed, parameters, baseline: state.baseline, retraining, ...outcome, errors, ratio: ratio(outcome.fileBytes), comparison, seconds };
}

function rangeOf(arrays: readonly Float32Array[]): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const v of each(arrays)) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  return [low, high];
}

function* each(arrays: readonly Float32Array[]): Generator<number> {
  for (const array of arrays) yield* array;
}
