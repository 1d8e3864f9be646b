/** Runs a model on given or random inputs, to compare outputs. Needs a backend. */
import * as tfc from '@tensorflow/tfjs-core';
import { io } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { uniformNumbers } from '../uniform_numbers.js';
import { importInstalled } from './backend.js';
import type { NumberArray } from './arrays.js';
import type { OpenedModel } from './open_model.js';

export interface RunnableModel {
  inputs: { name: string; shape: (number | null)[]; dtype: string; /** Exclusive bound of integers, for embeddings. */ limit: number | null }[];
  outputs: string[];
  run(inputs: tfc.Tensor[]): Promise<{ values: Float32Array; shape: number[] }[]>;
  /** The model of layers; null for a graph. */
  layers: tfl.LayersModel | null;
  dispose(): void;
}

/** All of a model in memory, as the host runs it. */
export async function loadModel(opened: OpenedModel): Promise<RunnableModel> {
  const specs = opened.artifacts.weightSpecs ?? [];
  const parts = await Promise.all(specs.map((_, i) => opened.read(i)));
  const weightData = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (weightData.set(part, at), at + part.length), 0);
  const handler = io.fromMemory({ ...opened.artifacts, weightData: weightData.buffer });
  return opened.format === 'graph-model' || Array.isArray((opened.artifacts.modelTopology as { node?: unknown }).node) ? loadGraph(handler) : loadLayers(opened.name, handler);
}

async function loadLayers(name: string, handler: io.IOHandler): Promise<RunnableModel> {
  let model: tfl.LayersModel;
  try {
    model = await tfl.loadLayersModel(handler);
  } catch (error) {
    throw new Error(`'${name}' does not load: ${(error as Error).message.split('\n')[0]} Layers of your own must be registered: run it from your code instead.`, { cause: error });
  }
  const embeddings = model.layers.filter((layer) => /Embedding$/.test(layer.getClassName()));
  return {
    inputs: model.inputs.map((input) => {
      const reader = embeddings.find(({ inboundNodes }) => inboundNodes.some(({ inputTensors }) => inputTensors.includes(input)));
      return { name: input.name, shape: input.shape, dtype: input.dtype, limit: reader === undefined ? null : Number((reader.getConfig() as { inputDim: number }).inputDim) };
    }),
    outputs: model.outputs.map(({ name }) => name),
    run: (inputs) => read(tfc.tidy(() => model.predict(inputs.length === 1 ? inputs[0] : inputs))),
    layers: model,
    dispose: () => model.dispose(),
  };
}

interface GraphModel {
  inputs: { name: string; shape?: number[]; dtype: string }[];
  outputs: { name: string }[];
  execute(inputs: Record<string, tfc.Tensor>): tfc.Tensor | tfc.Tensor[];
  executeAsync(inputs: Record<string, tfc.Tensor>): Promise<tfc.Tensor | tfc.Tensor[]>;
  dispose(): void;
}

async function loadGraph(handler: io.IOHandler): Promise<RunnableModel> {
  let converter: { loadGraphModel(handler: io.IOHandler): Promise<GraphModel> };
  try {
    converter = await importInstalled('@tensorflow/tfjs-converter');
  } catch (error) {
    throw new Error(`graph models are run by @tensorflow/tfjs-converter, which could not be loaded (npm install @tensorflow/tfjs-converter): ${(error as Error).message.split('\n')[0]}.`, { cause: error });
  }
  const model = await converter.loadGraphModel(handler);
  return {
    inputs: model.inputs.map(({ name, shape = [], dtype }) => ({ name, shape: shape.map((n) => (n < 0 ? null : n)), dtype, limit: null })),
    outputs: model.outputs.map(({ name }) => name),
    run: async (inputs) => {
      const named = Object.fromEntries(inputs.map((tensor, i) => [model.inputs[i].name, tensor]));
      try {
        return await read(model.execute(named));
      } catch (error) {
        // Graphs with loops, branches or outputs of unknown shape say that they want to be asked so.
        if (!/executeAsync/.test((error as Error).message)) throw error;
        return read(await model.executeAsync(named));
      }
    },
    layers: null,
    dispose: () => model.dispose(),
  };
}

async function read(outputs: tfc.Tensor | tfc.Tensor[]): ReturnType<RunnableModel['run']> {
  const tensors = [outputs].flat();
  const values = await Promise.all(tensors.map(async (tensor) => ({ values: Float32Array.from(await tensor.data()), shape: tensor.shape })));
  tfc.dispose(tensors);
  return values;
}

/** Inputs for `samples` samples: uniform in [0, 1), integers below an embedding's size; open dimensions are 8. The same for a seed. */
export function randomInputs(model: RunnableModel, samples: number, seed: number): tfc.Tensor[] {
  const uniform = uniformNumbers(seed);
  return model.inputs.map(({ shape, dtype, limit }) => {
    const full = shape.map((n, axis) => n ?? (axis === 0 ? samples : 8));
    const bound = limit ?? (dtype === 'int32' ? 2 : null);
    const values = Float32Array.from({ length: full.reduce((a, b) => a * b, 1) }, () => (bound === null ? uniform() : Math.floor(bound * uniform())));
    return tfc.tensor(values, full, dtype as 'float32');
  });
}

/** Inputs from files, one for each input of the model. @throws Error where numbers or shapes do not fit. */
export function givenInputs(model: RunnableModel, arrays: readonly NumberArray[]): tfc.Tensor[] {
  const expected = model.inputs.map(({ name, shape }) => `${name} [${shape.map((n) => n ?? '?').join(', ')}]`).join(', ');
  if (arrays.length !== model.inputs.length) throw new Error(`the model has ${model.inputs.length} inputs (${expected}), but ${arrays.length} were given.`);
  return arrays.map(({ shape, values }, i) => {
    const want = model.inputs[i].shape;
    if (shape.length !== want.length || want.some((n, axis) => n !== null && n !== shape[axis])) {
      throw new Error(`input ${i + 1} has the shape [${shape.join(', ')}], the model expects ${expected}.`);
    }
    return tfc.tensor(values, shape, model.inputs[i].dtype as 'float32');
  });
}

export interface OutputDeviation {
  name: string;
  values: number;
  maxDeviation: number;
  meanDeviation: number;
  /** ‖a − b‖ / ‖a‖. */
  relativeError: number;
  /** Share of rows (last axis) with the same largest entry; null for outputs of one value a row. */
  agreement: number | null;
}

/** How far outputs `b` are from `a`; `lastAxis` is the length of a row. */
export function compareOutputs(name: string, a: Float32Array, b: Float32Array, lastAxis: number): OutputDeviation {
  if (a.length !== b.length) throw new Error(`the output '${name}' has ${a.length} values in one model and ${b.length} in the other: these are different models.`);
  let [max, sum, squares, norm] = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    // Equal is NaN beside NaN, and ∞ beside ∞; anything else about them must not pass as small.
    if (Object.is(a[i], b[i])) {
      if (Number.isFinite(a[i])) norm += a[i] * a[i];
      continue;
    }
    const difference = Math.abs(a[i] - b[i]);
    const d = Number.isFinite(difference) ? difference : Infinity;
    max = Math.max(max, d);
    sum += d;
    squares += d * d;
    norm += a[i] * a[i];
  }
  const rows = lastAxis > 1 ? a.length / lastAxis : 0;
  let equal = 0;
  const largest = (values: Float32Array, row: number): number => {
    const part = values.subarray(row * lastAxis, (row + 1) * lastAxis);
    return part.indexOf(part.reduce((most, w) => Math.max(most, w), -Infinity));
  };
  for (let row = 0; row < rows; row++) if (largest(a, row) === largest(b, row)) equal++;
  return { name, values: a.length, maxDeviation: max, meanDeviation: a.length > 0 ? sum / a.length : 0, relativeError: squares === 0 ? 0 : max === Infinity || norm === 0 ? Infinity : Math.sqrt(squares / norm), agreement: rows > 0 ? equal / rows : null };
}
