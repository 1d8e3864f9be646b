/** What retraining with data can be told, checked and with defaults. */
import type * as tfc from '@tensorflow/tfjs-core';
import type { ModelCompileArgs } from '@tensorflow/tfjs-layers';
import { checkChoice, checkKeys, checkNumber, describe, integerAtLeast, POSITIVE } from '../checks.js';
import type { GmmPriorArgs } from '../regularizers/gmm_prior_options.js';
import { WHO } from './options.js';

type Tensors = tfc.Tensor | tfc.Tensor[];

export interface RetrainingArgs {
  /** Inputs and targets to train on. */
  data: [Tensors, Tensors];
  /** Held-out inputs and targets: by them the best epoch of fine-tuning is chosen, and the result judged. Not a test set. */
  validationData: [Tensors, Tensors];
  /** As for `model.compile`. */
  loss: ModelCompileArgs['loss'];
  /** As for `model.compile`. */
  metrics?: ModelCompileArgs['metrics'];
  /**
   * `softSharing`: retraining with a mixture prior, merging and quantising (Ullrich et al. 2017), then fine-tuning; the size follows from the prior, usually far
   * smaller. `clusters`: the codebooks of compression without data, their values fine-tuned while who shares them stays (Han et al. 2016; TFMOT). Default `softSharing`.
   */
  method?: 'softSharing' | 'clusters';
  /** Epochs of soft weight sharing; from half of them on, weights are quantised in parts while the others train. Default 40, or as many as take 2 000 steps if that is more. */
  epochs?: number;
  /** Most epochs of fine-tuning the values. 0 for none. Default 10. */
  fineTuneEpochs?: number;
  /** Fine-tuning ends after so many epochs without an improvement. Default 3. */
  patience?: number;
  /** What is improved: `loss`, or a metric of `metrics` under the host's name (`acc`), on the held-out data. Default `loss`. */
  monitor?: string;
  batchSize?: number;
  /** Adam's rate in soft weight sharing. Default 5e-4. */
  learningRate?: number;
  /** Adam's rate in fine-tuning. Default 1e-4. */
  fineTuneRate?: number;
  /** How steps of equal weights become that of their value: `average`, or `sum` as TFMOT by default. Default `average`. */
  aggregation?: 'average' | 'sum';
  /** Who shares a value in fine-tuning: `fixed`, or `straightThrough`, where weights may take another value of their tensor. Default `fixed`. */
  assignments?: 'fixed' | 'straightThrough';
  /** Options of `gmmPrior`, over τ 2e-2 (with less than 20 000 samples 1e-6 for each), rates that bring the mixture to rest in the steps that there are, and defaults. */
  prior?: Partial<GmmPriorArgs>;
}

/** Options with defaults. */
export type ResolvedRetraining = Required<RetrainingArgs>;

const OPTIONS = [
  'data', 'validationData', 'loss', 'metrics', 'method', 'epochs', 'fineTuneEpochs', 'patience', 'monitor', 'batchSize', 'learningRate', 'fineTuneRate', 'aggregation', 'assignments', 'prior',
] as const; // prettier-ignore

/** Fewer do not bring a mixture and its weights together, however few samples there are. */
const LEAST_STEPS = 2000;

/** @throws Error that names the option, what was expected and what came. */
export function resolveRetraining(args: RetrainingArgs): ResolvedRetraining {
  const who = `${WHO}: retraining`;
  checkKeys(who, args, OPTIONS);
  for (const option of ['data', 'validationData'] as const) {
    if (!Array.isArray(args[option]) || args[option].length !== 2) throw new Error(`${who}: ${option} must be [inputs, targets], got ${describe(args[option])}.`);
  }
  if (args.loss === undefined) throw new Error(`${who}: loss is missing. Give the one that the model was trained with, as for model.compile.`);
  const idle = args.method === 'clusters' ? (['prior', 'learningRate'] as const).find((option) => args[option] !== undefined) : undefined;
  if (idle !== undefined) throw new Error(`${who}: ${idle} has a say in soft weight sharing only, got method 'clusters'. ${idle === 'learningRate' ? 'Give fineTuneRate, or leave it out' : 'Leave it out'}.`);
  const integer = (option: 'epochs' | 'fineTuneEpochs' | 'patience' | 'batchSize', value: number, least: number): number => checkNumber(who, option, args[option] ?? value, integerAtLeast(least));
  const samples = [args.data[0]].flat()[0]?.shape?.[0] ?? 0;
  const batchSize = integer('batchSize', 128, 1);
  return {
    ...args,
    metrics: args.metrics ?? [],
    method: checkChoice(who, 'method', args.method ?? 'softSharing', ['softSharing', 'clusters']),
    epochs: integer('epochs', Math.max(40, Math.ceil(LEAST_STEPS / Math.max(1, Math.ceil(samples / batchSize)))), 1),
    fineTuneEpochs: integer('fineTuneEpochs', 10, 0),
    patience: integer('patience', 3, 1),
    batchSize,
    monitor: args.monitor ?? 'loss',
    learningRate: checkNumber(who, 'learningRate', args.learningRate ?? 5e-4, POSITIVE),
    fineTuneRate: checkNumber(who, 'fineTuneRate', args.fineTuneRate ?? 1e-4, POSITIVE),
    aggregation: checkChoice(who, 'aggregation', args.aggregation ?? 'average', ['average', 'sum']),
    assignments: checkChoice(who, 'assignments', args.assignments ?? 'fixed', ['fixed', 'straightThrough']),
    prior: args.prior ?? {},
  };
}
