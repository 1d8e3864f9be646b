/** Samples from files as tensors for training: inputs and targets matched with the model, classes as vectors, a part held out. */
import * as tfc from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { uniformNumbers } from '../uniform_numbers.js';
import { readArray, type NumberArray } from './arrays.js';

export interface DataFlags {
  /** Files of inputs, then of targets; or one table with `target`. */
  data: string[];
  /** Likewise, held out; without them a part of `data` is. */
  validation?: string[];
  /** The column of a table that is the target: its name, or its number from 1. */
  target?: string;
  /** Inputs are divided by this. */
  divide?: number;
  /** Share of `data` that is held out without `validation`. Default 0.2. */
  holdOut?: number;
  seed: number;
}

type Pair = [tfc.Tensor[], tfc.Tensor[]];

export interface TrainingData {
  data: Pair;
  validationData: Pair;
  /** Whether targets were class numbers, for each output. */
  classes: boolean[];
  dispose(): void;
}

/** @throws Error if files, shapes and the model do not fit together. */
export async function trainingData(model: LayersModel, flags: DataFlags): Promise<TrainingData> {
  const [inputs, targets] = await readPair(model, flags.data, flags);
  const classes = targets.map((array, o) => isClasses(array, model.outputs[o].shape));
  const tensors = (samples: [NumberArray[], NumberArray[]]): Pair => [
    samples[0].map((array, i) => inputTensor(array, model.inputs[i], flags.divide ?? 1)),
    samples[1].map((array, o) => targetTensor(array, model.outputs[o], classes[o])),
  ];
  let parts: [Pair, Pair];
  if (flags.validation !== undefined) parts = [tensors([inputs, targets]), tensors(await readPair(model, flags.validation, flags))];
  else {
    const samples = inputs[0].shape[0];
    const order = shuffled(samples, flags.seed);
    const share = flags.holdOut ?? 0.2;
    const held = Math.round(samples * share);
    if (held < 1 || held >= samples) throw new Error(`of ${samples} samples none would be left to train on, or to hold out (--hold-out ${share}). Give more, or --validation.`);
    const part = (rows: number[]): Pair => tensors([inputs.map((array) => take(array, rows)), targets.map((array) => take(array, rows))]);
    parts = [part(order.slice(held)), part(order.slice(0, held))];
  }
  return { data: parts[0], validationData: parts[1], classes, dispose: () => tfc.dispose(parts.flat(2)) };
}

async function readPair(model: LayersModel, files: string[], { target }: DataFlags): Promise<[NumberArray[], NumberArray[]]> {
  const arrays = await Promise.all(files.map(readArray));
  const [wanted, given] = [model.inputs.length + model.outputs.length, arrays.length];
  if (target !== undefined) {
    if (given !== 1 || model.inputs.length !== 1 || model.outputs.length !== 1) throw new Error(`--target names a column of one table, for a model with one input and one output; there are ${given} files. Leave it out, or give one .csv.`);
    const [inputs, targets] = splitColumn(files[0], arrays[0], target);
    return [[inputs], [targets]];
  }
  if (given !== wanted) throw new Error(`the model has ${model.inputs.length} inputs and ${model.outputs.length} outputs, so ${wanted} files are needed (inputs first), or one table with --target; got ${given}.`);
  const samples = arrays[0].shape[0];
  const other = arrays.findIndex(({ shape }) => shape[0] !== samples);
  if (other >= 0) throw new Error(`'${files[0]}' holds ${samples} samples, '${files[other]}' ${arrays[other].shape[0] ?? 'a single number'}.`);
  return [arrays.slice(0, model.inputs.length), arrays.slice(model.inputs.length)];
}

function splitColumn(file: string, { shape, values, columns }: NumberArray, target: string): [NumberArray, NumberArray] {
  const width = shape[1] ?? 1;
  const named = columns?.indexOf(target) ?? -1;
  const column = named >= 0 ? named : Number(target) - 1;
  if (shape.length !== 2 || !Number.isInteger(column) || column < 0 || column >= width) {
    throw new Error(`'${file}' has no column '${target}'. It has ${columns === undefined ? `${width} columns without names (give a number)` : columns.join(', ')}.`);
  }
  const rest = values.filter((_, i) => i % width !== column);
  return [{ shape: [shape[0], width - 1], values: rest }, { shape: [shape[0], 1], values: values.filter((_, i) => i % width === column) }];
}

/** An input or output of a model. */
interface Described {
  name: string;
  shape: (number | null)[];
}

const perSample = (shape: readonly (number | null)[]): number => shape.slice(1).reduce<number>((product, n) => product * (n ?? 1), 1);
const shown = (shape: readonly (number | null)[]): string => `[${shape.map((n) => n ?? '?').join(', ')}]`;

/** One number a sample, all of them whole and of classes that the output has. */
function isClasses({ shape, values }: NumberArray, output: readonly (number | null)[]): boolean {
  const classes = output.at(-1) ?? 1;
  return perSample(shape) === 1 && classes > 1 && perSample(output) === classes && values.every((value) => Number.isInteger(value) && value >= 0 && value < classes);
}

/** As the model takes it: the same numbers a sample in another shape are taken too (images of 28 × 28 for 784 inputs). */
function inputTensor({ shape, values }: NumberArray, { name, shape: wanted, dtype }: Described & { dtype: tfc.DataType }, divide: number): tfc.Tensor {
  const open = wanted.slice(1).includes(null);
  const fits = open ? shape.length === wanted.length && wanted.every((n, axis) => axis === 0 || n === null || n === shape[axis]) : perSample(shape) === perSample(wanted);
  if (!fits) throw new Error(`samples have the shape ${shown([null, ...shape.slice(1)])}, the input '${name}' takes ${shown(wanted)}.`);
  const full = open ? shape : [shape[0], ...(wanted.slice(1) as number[])];
  return tfc.tensor(divide === 1 ? values : values.map((value) => value / divide), full, dtype as 'float32');
}

function targetTensor({ shape, values }: NumberArray, { name, shape: wanted }: Described, classes: boolean): tfc.Tensor {
  if (classes) return tfc.tidy(() => tfc.cast(tfc.oneHot(tfc.tensor1d(Int32Array.from(values), 'int32'), wanted.at(-1)!), 'float32'));
  if (perSample(shape) !== perSample(wanted)) throw new Error(`targets have the shape ${shown([null, ...shape.slice(1)])}, the output '${name}' has ${shown(wanted)}. ${classAdvice(shape, values, wanted)}`);
  return tfc.tensor(values, [shape[0], ...(wanted.slice(1) as number[])]);
}

function classAdvice(shape: readonly number[], values: NumberArray['values'], wanted: readonly (number | null)[]): string {
  const classes = wanted.at(-1) ?? 1;
  const wrong = values.find((value) => !Number.isInteger(value) || value < 0 || value >= classes);
  if (perSample(shape) !== 1 || wrong === undefined) return 'Class numbers from 0 are taken too, one a sample.';
  return `One number a sample is taken as its class, from 0 to ${classes - 1}, and there is a ${wrong}.`;
}

function take({ shape, values }: NumberArray, rows: readonly number[]): NumberArray {
  const size = perSample(shape);
  const result = new Float32Array(rows.length * size);
  rows.forEach((row, i) => result.set(values.subarray(row * size, (row + 1) * size), i * size));
  return { shape: [rows.length, ...shape.slice(1)], values: result };
}

/** 0 … count − 1 in an order that a seed decides (Fisher–Yates). */
function shuffled(count: number, seed: number): number[] {
  const random = uniformNumbers(seed);
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
