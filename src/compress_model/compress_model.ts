/** `compressModel`: a trained model, or its artefacts, made several times smaller in one call. */
import type { io } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import { joinBuffers } from '../compression/container.js';
import { isModel, modelArtifacts } from '../compression/model_artifacts.js';
import { compressSource } from './compress_source.js';
import { resolveOptions, WHO, type CompressionOptions } from './options.js';
import { tensorBytes } from './packed_tensor.js';
import type { CompressionReport } from './report.js';
import { deploymentSource, memorySource } from './weight_source.js';

export type CompressModelArgs = CompressionOptions;

export interface CompressedModel {
  /**
   * The compressed model as artefacts: `tf.loadLayersModel(tf.io.fromMemory(artifacts))`. Weights are float32 values of which few are distinct, or with
   * format `stock` quantised as any tfjs decodes them.
   */
  artifacts: io.ModelArtifacts;
  /** The bytes of the `.tfws` file, to be written or served and loaded with `compressed(…)`; null with format `stock`. */
  file: Uint8Array | null;
  report: CompressionReport;
}

/**
 * Compresses a trained model without retraining: each weight tensor gets a codebook of few values, found by exact k-means in one dimension, by
 * entropy-constrained quantisation or by a mixture, and as many of them as `bits`, `ratio` or `maxError` allow; vectors are rounded. What only
 * training needs (optimizer, regularizers, constraints) is left out. Works on artefacts of any model, graph models converted from TensorFlow
 * included, needs no backend for them, and runs in a worker.
 *
 * With `ratio`, tensors share the bytes so that Σ s · ‖w − q‖² is least, where s is 1/‖w‖² of each tensor (a proxy: a layer's relative error).
 *
 * ```js
 * const {file, report} = await compressModel(model, {ratio: 10});
 * console.log(report.ratio, report.relativeError);
 * const {artifacts} = await compressModel(model, {bits: 4, format: 'stock'}); // loads without this package
 * ```
 *
 * The model is not changed. When NOT to use it: at 2 bits or beyond 12× most networks lose several points without data.
 *
 * @throws Error if options are wrong, weights and specifications do not fit, or `ratio` cannot be reached (the best is said).
 */
export async function compressModel(model: Pick<LayersModel, 'save'> | io.ModelArtifacts, args: CompressModelArgs = {}): Promise<CompressedModel> {
  const options = resolveOptions(args);
  const artifacts = isModel(model) ? await modelArtifacts(model) : checkArtifacts(model);
  const { artifacts: rest, packed, file, report } = await compressSource(deploymentSource(memorySource(artifacts)), options);
  const weightData = joinBuffers(packed.map((tensor) => tensorBytes(tensor).slice().buffer)).buffer as ArrayBuffer;
  return { artifacts: { ...rest, weightData }, file, report };
}

function checkArtifacts(model: unknown): io.ModelArtifacts {
  const artifacts = model as io.ModelArtifacts | null;
  if (typeof artifacts !== 'object' || artifacts === null || !Array.isArray(artifacts.weightSpecs) || artifacts.weightData === undefined) {
    throw new Error(`${WHO}: expected a model, or its artefacts with weightSpecs and weightData, got ${describe(model)}.`);
  }
  return artifacts;
}
