/** The job for one seed: train, retrain with the mixture, quantise, save small, load again, compare, test. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import * as tfl from '@tensorflow/tfjs-layers';
import { compressed } from 'tfjs-weight-sharing';
import type { DataSet } from '../images.js';
import type { InterruptWatch } from '../interrupt.js';
import type { SeedState } from './checkpoint.js';
import { compareMethods, type Candidate } from './compare.js';
import { compress } from './compress.js';
import type { CompressionExample } from './example.js';
import { compile, errorPercent, parameterCount, setWeights, weightsOf } from './models.js';
import type { SeedRecord } from './record.js';
import type { Settings } from './settings.js';
import { trainBaseline, type TrainingData } from './train.js';

export interface Job {
  example: CompressionExample;
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
  const { width, height } = job.data.train;
  const model = job.example.build(job.example.inputShape(width, height), seed);
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
      state.outcome = await compress({
        model: bench.model, baseline, tensors: job.tensors, validation: job.data.validation, settings: job.settings.retraining,
        seed: state.seed, epochs: state.retraining, path: files.quantized, watch: job.watch, say: job.say,
      }); // prettier-ignore
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
