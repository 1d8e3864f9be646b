/** `compressModel`: a trained model, or its artefacts, made several times smaller in one call. */
import type * as tfc from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import { loadLayersModel, type LayersModel } from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import { joinBuffers } from '../compression/container.js';
import { fewValues } from '../compression/distinct_values.js';
import { isModel, modelArtifacts } from '../compression/model_artifacts.js';
import { compressSource, cureFor, type CompressedSource, type OutputSensitivity } from './compress_source.js';
import { fall } from './best_epoch.js';
import { measureOutputs } from './measure_outputs.js';
import { mergeIfRounded } from './merge_statistics.js';
import { checkSkipped, resolveOptions, SKIPPED, WHO, type CompressionOptions, type ResolvedOptions } from './options.js';
import { tensorBytes } from './packed_tensor.js';
import type { CompressionReport } from './report.js';
import { disposeOptimizer, evaluateBefore, fineTune, shareSoftly, type RetrainingReport } from './retrain.js';
import { resolveRetraining, type ResolvedRetraining, type RetrainingArgs } from './retraining_options.js';
import { tensorValues } from './tensor_values.js';
import { isMatrix } from './weight_kind.js';
import { deploymentSource, memorySource, type WeightSource } from './weight_source.js';

export interface CompressModelArgs extends CompressionOptions {
  /**
   * Inputs of the model (of layers), hundreds if there are, on which what an error of each tensor counts is measured, with method `entropyConstrained` of each
   * single weight too. No targets are needed, a backend is. Default: a proxy, the relative error of the tensor.
   */
  inputs?: tfc.Tensor | tfc.Tensor[];
  /** Retrain with data. Needs a backend and a model of layers. Default: nothing is trained. */
  retraining?: RetrainingArgs;
}

export interface CompressedModel {
  /**
   * The compressed model as artefacts: `tf.loadLayersModel(tf.io.fromMemory(artifacts))`. Weights are float32 values of which few are distinct, or with
   * format `stock` quantised as any tfjs decodes them.
   */
  artifacts: io.ModelArtifacts;
  /** The bytes of the `.tfws` file, to be written or served and loaded with `compressed(…)`; null with format `stock`. */
  file: Uint8Array | null;
  report: CompressionReport;
  /** With `retraining`: the monitored value on the way. Otherwise null. */
  retraining: RetrainingReport | null;
}

/**
 * Compresses a trained model without retraining: each weight tensor gets a codebook of few values, found by exact k-means in one dimension, by
 * entropy-constrained quantisation or by a mixture, and as many of them as `bits`, `ratio` or `maxError` allow; vectors are rounded. What only
 * training needs (optimizer, regularizers, constraints) is left out. Works on artefacts of any model, graph models converted from TensorFlow
 * included, needs no backend for them, and runs in a worker.
 *
 * With `ratio`, tensors share the bytes so that Σ s · ‖w − q‖² is least, where s is 1/‖w‖² of each tensor (a proxy: a layer's relative error). With `inputs`
 * s is measured, and ‖w − q‖² becomes Σ √h (w − q)², where h is the diagonal of the Gauss–Newton matrix of the outputs (Choi, El-Khamy & Lee 2017, with
 * the root for h: of many weights that count little the errors are not independent). Statistics of batch normalisation are merged into scale and offset.
 *
 * ```js
 * const {file, report} = await compressModel(model, {ratio: 10});
 * console.log(report.ratio, report.relativeError);
 * const {artifacts} = await compressModel(model, {bits: 4, format: 'stock'}); // loads without this package
 * ```
 *
 * With `retraining` a copy of the model is trained: by soft weight sharing, which then decides on the size, or on the codebooks of the options above.
 *
 * ```js
 * const retraining: RetrainingArgs = {data: [x, y], validationData: [xVal, yVal], loss: 'categoricalCrossentropy', metrics: ['acc'], monitor: 'acc'};
 * await compressModel(model, {retraining});                                    // usually the smallest
 * await compressModel(model, {bits: 3, retraining: {...retraining, method: 'clusters'}});
 * ```
 *
 * The model is not changed. When NOT to use it: at 2 bits or beyond 12× most networks lose several points without data.
 *
 * @throws Error if options are wrong, weights and specifications do not fit, or `ratio` cannot be reached (the best is said).
 */
export async function compressModel(model: Pick<LayersModel, 'save'> | io.ModelArtifacts, args: CompressModelArgs = {}): Promise<CompressedModel> {
  const options = resolveOptions(args, ['inputs', 'retraining']);
  const artifacts = isModel(model) ? await modelArtifacts(model) : checkArtifacts(model);
  checkSkipped(options, artifacts.weightSpecs ?? []);
  if (args.retraining !== undefined) return compressWithData(artifacts, args, resolveRetraining(args.retraining), options);
  return finish(await compressMeasured(artifacts, args, options), null);
}

/** Without data; what errors count is measured where there are inputs. `trained`: further, so that statistics are needed. */
async function compressMeasured(artifacts: io.ModelArtifacts, { inputs }: CompressModelArgs, options: ResolvedOptions, trained = false): Promise<CompressedSource> {
  const source = deploymentSource(memorySource(artifacts));
  const ready = trained ? source : await mergeIfRounded(source, options);
  const compress = (outputs: OutputSensitivity | null): Promise<CompressedSource> => compressSource(ready, options, outputs);
  if (inputs === undefined) return compress(null);
  const copy = await loadCopy(await collect(ready), 'inputs');
  try {
    const outputs = await measureOutputs(copy, inputs);
    try {
      return await compress(outputs);
    } finally {
      outputs.dispose();
    }
  } finally {
    copy.dispose();
  }
}

function finish({ artifacts: rest, packed, file, report }: CompressedSource, retraining: RetrainingReport | null): CompressedModel {
  const weightData = joinBuffers(packed.map((tensor) => tensorBytes(tensor).slice().buffer)).buffer as ArrayBuffer;
  return { artifacts: { ...rest, weightData }, file, report, retraining };
}

/** Trains a copy, then codes it with the values that it has: errors in `report` are those of coding (rounded vectors), not of training. */
async function compressWithData(artifacts: io.ModelArtifacts, args: CompressModelArgs, training: ResolvedRetraining, options: ResolvedOptions): Promise<CompressedModel> {
  const { method } = training;
  const sized = (['bits', 'ratio', 'maxError'] as const).find((option) => args[option] !== undefined);
  if (method === 'softSharing' && sized !== undefined) {
    throw new Error(`${WHO}: ${sized} has no say in retraining by soft weight sharing, whose prior decides on the size (prior: {tau}). Leave it out, or use method: 'clusters'.`);
  }
  const idle = method === 'softSharing' ? (['method', 'initialization', 'perChannel', 'inputs'] as const).find((option) => args[option] !== undefined && args[option] !== false) : undefined;
  if (idle !== undefined) throw new Error(`${WHO}: ${idle} has no say in retraining by soft weight sharing, whose mixture finds the values. Leave it out, or use method: 'clusters'.`);
  const original = deploymentSource(memorySource(artifacts));
  const clusters = method === 'clusters' ? await compressMeasured(artifacts, args, { ...options, format: 'tfws', onProgress: () => undefined }, true) : null;
  const copy = await loadCopy(clusters === null ? await collect(original) : finish(clusters, null).artifacts, 'retraining');
  try {
    const before = clusters === null ? await evaluateBefore(copy, training) : await evaluatedApart(original, training);
    const warnings = clusters === null ? await shareSoftly(copy, training, options) : [];
    const tuned = await fineTune(copy, training, options);
    const fallen = fall(training.monitor, before, tuned.after);
    if (fallen !== null) warnings.push(`${fallen}. ${method === 'clusters' ? 'Give more bits, a smaller ratio, or more epochs of fine-tuning.' : "Give more epochs, or the prior a smaller tau; or take method: 'clusters'."}`);
    const source = await mergeIfRounded(deploymentSource(memorySource(await modelArtifacts(copy))), options);
    // Shared values are taken as they are; what has too many is no codebook.
    const shared = await sharedNames(source);
    const planned = new Map(clusters?.report.weights.map(({ name, treatment, reason }) => [name, treatment === 'kept' ? { kept: reason! } : treatment]));
    const without: ResolvedOptions['without'] = (name) => {
      if (options.skip(name)) return { kept: SKIPPED };
      const plan = planned.get(name);
      if (plan !== 'rounded' && shared.has(name)) return null;
      if (plan === 'codebook' && options.perChannel) return { kept: 'each channel has its own values' };
      if (plan === undefined || plan === 'codebook') warnings.push(`'${name}' shares no values after retraining (it is frozen, or no kernel of its layer): it was rounded only.`);
      return typeof plan === 'object' ? plan : 'rounded';
    };
    const packed = await compressSource(source, { ...options, bits: 8, ratio: null, maxError: null, method: 'kMeans', perChannel: false, initialization: 'optimal', without });
    packed.report.method = clusters === null ? 'mixture' : options.method;
    packed.report.warnings.unshift(...warnings);
    return finish(packed, { method, monitor: training.monitor, before, ...tuned });
  } catch (error) {
    const cure = cureFor(error as Error);
    throw cure === '' ? error : new Error(`${WHO}: retraining: ${(error as Error).message}${cure}`, { cause: error });
  } finally {
    free(copy);
  }
}

async function evaluatedApart(source: WeightSource, training: ResolvedRetraining): Promise<number> {
  const copy = await loadCopy(await collect(source), 'retraining');
  try {
    return await evaluateBefore(copy, training);
  } finally {
    free(copy);
  }
}

function free(model: LayersModel): void {
  disposeOptimizer(model);
  model.dispose();
}

/** Names of the matrices with at most 256 values, and of all vectors. */
async function sharedNames({ artifacts: { weightSpecs = [] }, read }: WeightSource): Promise<Set<string>> {
  const names = new Set<string>();
  for (const [i, spec] of weightSpecs.entries()) {
    const found = tensorValues(spec, await read(i));
    if (!isMatrix(spec) || ('values' in found && fewValues(found.values, 256))) names.add(spec.name);
  }
  return names;
}

async function collect({ artifacts, read }: WeightSource): Promise<io.ModelArtifacts> {
  const parts = await Promise.all(artifacts.weightSpecs!.map((_, i) => read(i)));
  return { ...artifacts, weightData: joinBuffers(parts.map((bytes) => bytes.slice().buffer)).buffer as ArrayBuffer };
}

/** A model of its own to run and to train. */
async function loadCopy(artifacts: io.ModelArtifacts, option: string): Promise<LayersModel> {
  if (Array.isArray((artifacts.modelTopology as { node?: unknown } | null)?.node)) {
    throw new Error(`${WHO}: ${option} needs a model of layers; of a graph model only the weights are compressed. Leave ${option} out.`);
  }
  return loadLayersModel(io.fromMemory(artifacts));
}

function checkArtifacts(model: unknown): io.ModelArtifacts {
  const artifacts = model as io.ModelArtifacts | null;
  if (typeof artifacts !== 'object' || artifacts === null || !Array.isArray(artifacts.weightSpecs) || artifacts.weightData === undefined) {
    throw new Error(`${WHO}: expected a model, or its artefacts with weightSpecs and weightData, got ${describe(model)}.`);
  }
  return artifacts;
}
