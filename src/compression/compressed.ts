/** `compressed(target)`: the IOHandler that makes `model.save` write one small file and `tf.loadLayersModel` read it. */
import { io } from '@tensorflow/tfjs-core';
import { checkKeys, describe, warnOnce } from '../checks.js';
import { wrapCarrier } from './carrier.js';
import { compressedSource, filePath, sourceName, type CompressedSourceArgs } from './compressed_source.js';
import { encodeDetailed, type EncodedWeight } from './container.js';
import { writeFileSafely } from './file_target.js';
import { stripTraining } from './strip_training.js';
import { INDICES, ROWS } from './tensor_codec.js';
import { mendDepthwise } from './depthwise_constraint.js';
import { checkTopology, constrainedWeights } from './topology_check.js';

export interface CompressedArgs extends CompressedSourceArgs {
  /**
   * Keep what only training needs: regularizers, constraints, initializers, training configuration and, with
   * `model.save(…, {includeOptimizer: true})`, the optimizer's weights. Loading such a file needs the classes that it
   * names. Default: false, a deployment save that loads on a page without any class of this package's regularizers.
   *
   * The host applies a constraint to its weight whenever it sets it, so also when it loads: equal values of a layer with a
   * constraint may come back unequal (a warning says so when such a layer is saved). A deployment save has no constraints.
   *
   * The host saves no losses and metrics that are functions. A model that was compiled with some goes on with the optimizer that was loaded:
   * `model.compile({optimizer: model.optimizer, loss, metrics})`. With several such losses in a list or a dictionary it refuses to save its training
   * configuration: save without `includeOptimizer`, and the optimizer begins anew.
   */
  resumable?: boolean;
}

/**
 * Saves and loads models in one compressed file, lossless: topology, weights and metadata.
 *
 * ```ts
 * await model.save(compressed('file://out/model.tfws'));
 * const again = await tf.loadLayersModel(compressed('file://out/model.tfws'));
 * ```
 *
 * Targets:
 * - `file://path` or a plain path (Node, no tfjs-node needed): a path that does not end in `.tfws` is a directory and
 *   gets `model.tfws`. The file is replaced atomically and durably: a failed or killed save leaves the old one.
 * - `http(s)://`, or a relative URL in a browser: loads the file, or `model.tfws` in that directory, by `fetchFunc` where that is given; cannot save.
 * - any other URL that tfjs has a handler for (`indexeddb://`, `localstorage://`, `downloads://`) and any IOHandler: the
 *   file travels as the weight data of a stock artefact. How safe a save is, that handler decides; a download is a
 *   `model.json` and a `.bin`, to be loaded with `compressed(tf.io.browserFiles([json, bin]))`.
 *
 * Cost: coding takes about 0.5 µs a weight, decoding 15–30 ns where weights share a codebook, and up to 1 µs in tensors of
 * at most 65536 weights that do not. Decoding needs 2 bytes a weight of the tensor at hand beside the result.
 *
 * When NOT to use it: for weights that are neither shared nor quantised it saves little (some 15 % of small tensors).
 */
export function compressed(target: string | io.IOHandler, args: CompressedArgs = {}): io.IOHandler & Required<Pick<io.IOHandler, 'save' | 'load'>> {
  if ((typeof target !== 'string' || target === '') && (typeof target !== 'object' || target === null)) {
    throw new Error(`compressed: the target must be a path, a URL or an IOHandler, got ${describe(target)}.`);
  }
  checkKeys('compressed', args, ['resumable', 'fetchFunc']);
  const { resumable = false, ...reading } = args;
  if (typeof resumable !== 'boolean') throw new Error(`compressed: resumable must be true or false, got ${describe(resumable)}.`);
  if (!['undefined', 'function'].includes(typeof args.fetchFunc)) throw new Error(`compressed: fetchFunc must be a function, got ${describe(args.fetchFunc)}.`);
  return {
    load: async () => {
      const artifacts = await compressedSource(target, reading).load();
      checkTopology(artifacts, sourceName(target));
      return { ...artifacts, modelTopology: mendDepthwise(artifacts.modelTopology) };
    },
    save: async (artifacts) => {
      checkTopology(artifacts, 'the model to be saved');
      const packed = resumable ? { ...loadable(artifacts), modelTopology: mendDepthwise(artifacts.modelTopology) } : stripTraining(artifacts);
      const { bytes, weights } = encodeDetailed(packed);
      warnOfConstraints(packed, weights, sourceName(target));
      const path = typeof target === 'string' ? filePath(target) : null;
      if (path === null) return await saveHandler(target).save!(wrapCarrier(bytes));
      await writeFileSafely(path, bytes);
      return {
        modelArtifactsInfo: {
          dateSaved: new Date(),
          modelTopologyType: 'JSON',
          modelTopologyBytes: JSON.stringify(packed.modelTopology ?? null).length,
          weightSpecsBytes: JSON.stringify(packed.weightSpecs ?? []).length,
          weightDataBytes: bytes.length,
        },
      };
    },
  };
}

/** Metrics that tfjs-layers 4.22 finds by name, as it writes them. */
const HOST_METRICS = new Set([
  'accuracy', 'acc', 'crossentropy', 'ce', 'binaryAccuracy', 'categoricalAccuracy', 'precision', 'mse', 'mae', 'mape', 'cosine', 'meanSquaredError', 'meanAbsoluteError',
  'meanAbsolutePercentageError', 'meanSquaredLogarithmicError', 'squaredHinge', 'hinge', 'categoricalHinge', 'logcosh', 'categoricalCrossentropy',
  'sparseCategoricalCrossentropy', 'binaryCrossentropy', 'kullbackLeiblerDivergence', 'poisson', 'cosineProximity',
]); // prettier-ignore

/** Without metrics that are functions: the host writes their names, which it does not know when it loads. */
function loadable(artifacts: io.ModelArtifacts): io.ModelArtifacts {
  const { trainingConfig } = artifacts;
  if (trainingConfig?.metrics === undefined) return artifacts;
  const known = (metric: unknown): boolean => typeof metric === 'string' && HOST_METRICS.has(metric.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()));
  const all = [trainingConfig.metrics].flat() as unknown[];
  const kept = Array.isArray(trainingConfig.metrics) ? all.filter(known) : trainingConfig.metrics;
  const lost = Array.isArray(trainingConfig.metrics) ? all.filter((metric) => !known(metric)) : [];
  if (lost.length > 0) warnOnce(`metrics ${lost.join()}`, `compressed: metrics that are functions cannot be saved, left out: ${lost.join(', ')}. After loading, compile again with them and the optimizer of the loaded model: model.compile({optimizer: model.optimizer, loss, metrics}).`);
  return { ...artifacts, trainingConfig: { ...trainingConfig, metrics: kept as typeof trainingConfig.metrics } };
}

/** Shared values under a constraint do not survive the host's loading; `compressed` reads them as they were. */
function warnOfConstraints(artifacts: io.ModelArtifacts, weights: EncodedWeight[], name: string): void {
  const shared = weights.filter(({ plan, tensor }) => plan?.kind === ROWS || (plan?.kind === INDICES && plan.codebook!.bytes.length > tensor.width));
  const constrained = constrainedWeights(artifacts).filter((weight) => shared.some(({ spec }) => spec.name === weight));
  if (constrained.length === 0) return;
  const list = constrained.map((weight) => `'${weight}'`).join(', ');
  warnOnce(
    `constraints ${list}`,
    `compressed: ${name} holds shared values of ${list} together with a constraint, which the host applies again when it loads them: ` +
      'they may come back changed and no longer shared. Save without resumable, or make the model without that constraint.',
  );
}

function saveHandler(target: string | io.IOHandler): io.IOHandler {
  if (typeof target === 'string' && (/^https?:/.test(target) || !target.includes('://'))) {
    throw new Error(
      `compressed: cannot save to '${target}'. Save to 'file://…' (Node), 'indexeddb://…', 'localstorage://…' or ` +
        "'downloads://…', or send it to a server of yours with compressed(tf.io.http(url)).",
    );
  }
  const handler = typeof target === 'string' ? io.getSaveHandlers(target)[0] : target;
  if (handler?.save === undefined) throw new Error(`compressed: cannot save to ${sourceName(target)}: no handler with a save method.`);
  return handler;
}
