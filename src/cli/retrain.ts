/** `compress --data`: retraining with data, as `compressModel` of this package does it. */
import * as tfc from '@tensorflow/tfjs-core';
import type { io } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { CompressedSource } from '../compress_model/compress_source.js';
import type { CompressionOptions } from '../compress_model/options.js';
import type { RetrainingReport } from '../compress_model/retrain.js';
import type { RetrainingArgs } from '../compress_model/retraining_options.js';
import { memorySource } from '../compress_model/weight_source.js';
import type * as Package from '../index.js';
import { startBackend } from './backend.js';
import type { OpenedModel } from './open_model.js';
import type { Output } from './output.js';
import { loadModel } from './run_model.js';
import { formatNumber } from './table.js';
import { trainingData, type DataFlags } from './training_data.js';

/** This package as a user imports it: loading it registers its layers and kernels, once. */
export type LoadPackage = () => Promise<Pick<typeof Package, 'compressModel' | 'registerMissingKernels'>>;

export interface RetrainFlags extends Partial<DataFlags> {
  seed: number;
  retrain?: 'softSharing' | 'clusters';
  loss?: string;
  metric?: string;
  epochs?: number;
  patience?: number;
  batchSize?: number;
  learningRate?: number;
  aggregation?: 'average' | 'sum';
  straightThrough?: boolean;
  tau?: number;
  backend?: string;
}

/** What has a say only with data. */
const WITH_DATA = ['validation', 'target', 'divide', 'retrain', 'loss', 'metric', 'epochs', 'patience', 'batchSize', 'learningRate', 'aggregation', 'straightThrough', 'tau', 'holdOut'] as const;

/** @throws Error if an option that only retraining has is given without data. */
export function checkWithoutData(flags: RetrainFlags): void {
  const stray = WITH_DATA.find((option) => flags[option] !== undefined);
  if (stray !== undefined) throw new Error(`--${stray.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} has a say only in retraining. Give --data, or leave it out.`);
}

/** Of the training inputs, so many are what outputs are measured on. */
const MEASURED = 512;

/** Retrains a copy; what comes out is packed as compression without data gives it. */
export async function retrain(opened: OpenedModel, options: CompressionOptions, flags: RetrainFlags & { data: string[] }, loadPackage: LoadPackage, output: Output): Promise<CompressedSource & { retraining: RetrainingReport }> {
  if (opened.format === 'graph-model') throw new Error('graph models cannot be retrained here (only their weights are compressed). Leave out --data.');
  const { compressModel, registerMissingKernels } = await loadPackage();
  const backend = await startBackend(flags.backend);
  await registerMissingKernels();
  output.text(`Backend: ${backend}`);
  const runnable = await loadModel(opened);
  const model = runnable.layers!;
  const samples = await trainingData(model, { ...flags, data: flags.data });
  const { data, validationData, classes } = samples;
  const sized = options.bits !== undefined || options.ratio !== undefined || options.maxError !== undefined;
  const method = flags.retrain ?? (sized ? 'clusters' : 'softSharing');
  if (method === 'clusters' && flags.tau !== undefined) throw new Error('--tau has a say in soft weight sharing only, not where the values of codebooks are fine-tuned. Leave it out, or leave out --bits, --ratio, --max-error and --retrain clusters.');
  const { metric, monitor } = metricOf(flags.metric ?? (classes.every(Boolean) && classes.length === 1 ? 'accuracy' : 'loss'), model);
  const given = {
    epochs: method === 'softSharing' ? flags.epochs : undefined,
    fineTuneEpochs: method === 'clusters' ? flags.epochs : undefined,
    learningRate: method === 'softSharing' ? flags.learningRate : undefined,
    fineTuneRate: method === 'clusters' ? flags.learningRate : undefined,
    patience: flags.patience, batchSize: flags.batchSize, aggregation: flags.aggregation,
    assignments: flags.straightThrough ? ('straightThrough' as const) : undefined,
    prior: flags.tau === undefined ? undefined : { tau: flags.tau },
  }; // prettier-ignore
  const retraining: RetrainingArgs = {
    data, validationData, method,
    loss: flags.loss ?? lossOf(opened.artifacts, classes),
    ...(metric === 'loss' ? {} : { metrics: [metric] }),
    monitor,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  }; // prettier-ignore
  const measured = method === 'clusters' && options.ratio !== undefined ? data[0].map((x) => first(x, MEASURED)) : null;
  try {
    const result = await compressModel(model, { ...options, ...(measured === null ? {} : { inputs: measured }), retraining });
    const { read, artifacts } = memorySource(result.artifacts);
    const packed = await Promise.all(artifacts.weightSpecs!.map(async (spec, i) => ({ spec, bytes: await read(i) })));
    const report = result.retraining!;
    output.text(`${report.monitor} on held-out data: ${formatNumber(report.before)} before, ${formatNumber(report.quantized)} quantised, ${formatNumber(report.after)} after ${report.fineTuneEpochs} epochs of fine-tuning`);
    return { artifacts: { ...artifacts, weightData: undefined }, packed, file: result.file, report: result.report, retraining: report };
  } finally {
    for (const tensor of measured ?? []) tensor.dispose();
    samples.dispose();
    runnable.dispose();
  }
}

/** What is compiled and what is looked at: with several outputs a metric is one output's, `NAME_accuracy`. */
function metricOf(given: string, { outputs: { length }, outputNames }: LayersModel): { metric: string; monitor: string } {
  if (given === 'loss') return { metric: given, monitor: given };
  const short = (metric: string): string => (metric === 'accuracy' ? 'acc' : metric);
  if (length === 1) return { metric: given, monitor: short(given) };
  const output = outputNames.find((name) => given.startsWith(`${name}_`));
  if (output === undefined) throw new Error(`--metric ${given}: the model has ${length} outputs. Say which one's, e.g. ${outputNames[0]}_accuracy, or give loss, of all of them.`);
  const metric = given.slice(output.length + 1);
  return { metric, monitor: `${output}_${short(metric)}` };
}

const first = (x: tfc.Tensor, count: number): tfc.Tensor => tfc.slice(x, 0, Math.min(count, x.shape[0]));

/** The loss that the model was saved with; cross-entropy for classes. */
function lossOf({ trainingConfig, modelTopology }: io.ModelArtifacts, classes: readonly boolean[]): string {
  const saved = (trainingConfig?.loss ?? (modelTopology as { training_config?: { loss?: unknown } } | null)?.training_config?.loss) as unknown;
  const name = typeof saved === 'string' ? saved.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()) : null;
  // Class numbers have become vectors.
  if (name !== null) return name === 'sparseCategoricalCrossentropy' ? 'categoricalCrossentropy' : name;
  if (classes.every(Boolean)) return 'categoricalCrossentropy';
  throw new Error('the loss is not known: the model was saved without one, and targets are no class numbers. Give --loss, e.g. meanSquaredError or binaryCrossentropy.');
}

