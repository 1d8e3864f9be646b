/**
 * Takes out of model artefacts what only training needs, so that the model is smaller and loads on a stock page:
 * regularizers (of ours or of anyone), constraints, initializers of built-in layers, training configuration, optimizer.
 */
import type { io } from '@tensorflow/tfjs-core';
import { joinBuffers } from './container.js';
import { tensorLayout } from './container_reader.js';

/** Built-in classes whose constructors have defaults for every initializer. */
const DEFAULT_INITIALIZERS = new Set([
  'BatchNormalization', 'Conv1D', 'Conv2D', 'Conv2DTranspose', 'Conv3D', 'Conv3DTranspose', 'ConvLSTM2D', 'ConvLSTM2DCell',
  'Dense', 'DepthwiseConv2D', 'Embedding', 'GRU', 'GRUCell', 'LSTM', 'LSTMCell', 'LayerNormalization', 'PReLU',
  'SeparableConv2D', 'SimpleRNN', 'SimpleRNNCell',
]); // prettier-ignore

const ZEROS = { class_name: 'Zeros', config: {} };

/** A copy of a topology without regularizers, constraints, needless initializers and what Keras writes of training. */
export function stripTopology<T>(topology: T): T {
  const stripped = strip(topology, null);
  if (typeof stripped === 'object' && stripped !== null && !Array.isArray(stripped)) delete (stripped as Record<string, unknown>)['training_config'];
  return stripped as T;
}

/** @param owner class that the config is of, '' further inside of one, as where a layer holds options of its parts; null outside of configs */
function strip(value: unknown, owner: string | null): unknown {
  const inside = owner === null ? null : '';
  if (Array.isArray(value)) return value.map((item) => strip(item, inside));
  if (typeof value !== 'object' || value === null) return value;
  const node = value as Record<string, unknown>;
  const className = typeof node['class_name'] === 'string' ? node['class_name'] : '';
  const result: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(node)) {
    if (/(_regularizers?|_constraint)$/.test(key) && owner !== null) result[key] = null;
    // The default of recurrent kernels factorises a matrix, which takes seconds, and fails where tensors have no methods.
    else if (key === 'recurrent_initializer' && DEFAULT_INITIALIZERS.has(owner ?? '')) result[key] = ZEROS;
    else if (/_initializer$/.test(key) && DEFAULT_INITIALIZERS.has(owner ?? '')) continue;
    else result[key] = strip(item, key === 'config' ? className : inside);
  }
  return result;
}

/** A copy of `artifacts` fit for deployment: topology stripped, no training configuration, no optimizer weights. */
export function stripTraining(artifacts: io.ModelArtifacts): io.ModelArtifacts {
  const { weightSpecs, weightData, ...rest } = artifacts;
  delete rest.trainingConfig;
  const stripped: io.ModelArtifacts = { ...rest, modelTopology: stripTopology(artifacts.modelTopology) };
  if (weightSpecs === undefined) return stripped;
  if (!weightSpecs.some(({ group }) => group === 'optimizer')) return { ...stripped, weightSpecs, weightData };
  const data = joinBuffers(weightData);
  const kept: Uint8Array[] = [];
  let offset = 0;
  for (const spec of weightSpecs) {
    const start = offset;
    const { count, width } = tensorLayout(spec, 0);
    offset += count * width;
    if (spec.group !== 'optimizer') kept.push(data.slice(start, offset));
  }
  return {
    ...stripped,
    weightSpecs: weightSpecs.filter(({ group }) => group !== 'optimizer'),
    weightData: joinBuffers(kept.map((bytes) => bytes.buffer as ArrayBuffer)).buffer as ArrayBuffer,
  };
}
