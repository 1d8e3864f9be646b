/** Convolutions on templates with what goes with each, as a recursion could compute it: which stand one behind the other, and what keeps two apart. */
import type { SymbolicTensor } from '@tensorflow/tfjs-layers';
import type * as tfl from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import type { Layer, LayerVariable } from '../host.js';
import type { TemplateConv2D } from '../layers/template_conv2d.js';

/** A convolution, then what alone reads it: batch normalisation, an activation, the addition of the stage's input, an activation after that. */
export interface Stage {
  conv: TemplateConv2D;
  norm: BatchNormalization | null;
  /** All of its layers, in order. */
  layers: Layer[];
  input: SymbolicTensor;
  output: SymbolicTensor;
  /** Who reads the input inside of the stage. */
  entries: Layer[];
  form: StageForm;
  /** Why it can be no recursion of any kind. */
  barred: string | null;
}

/** What recursions have in common. */
export interface StageForm {
  bank: string | null;
  kernelSize: readonly number[];
  dilationRate: readonly number[];
  groups: number;
  filters: number;
  activation: string;
  /** Of batch normalisation; null without it. */
  momentum: number | null;
  epsilon: number | null;
  residual: boolean;
  stateActivation: string;
}

/** What is read of the host's layer. */
export interface BatchNormalization extends Layer {
  readonly gamma: LayerVariable | null;
  readonly beta: LayerVariable | null;
  readonly movingMean: LayerVariable;
  readonly movingVariance: LayerVariable;
}

/** Tensor → the layers that read it; null stands for an output of the model. */
export type Readers = Map<SymbolicTensor, (Layer | null)[]>;

export function readersOf(model: tfl.LayersModel): Readers {
  const readers: Readers = new Map();
  const note = (tensor: SymbolicTensor, reader: Layer | null) => readers.set(tensor, [...(readers.get(tensor) ?? []), reader]);
  for (const layer of model.layers) for (const { inputTensors } of layer.inboundNodes) for (const tensor of inputTensors) note(tensor, layer);
  for (const output of model.outputs) note(output, null);
  return readers;
}

export const isTemplateConv = (layer: Layer): layer is TemplateConv2D => layer.getClassName() === 'TemplateConv2D';

const outputOf = (layer: Layer): SymbolicTensor => layer.inboundNodes[0].outputTensors[0];

/** The stage that begins with a convolution which is called once. */
export function stageOf(conv: TemplateConv2D, readers: Readers): Stage {
  const [input] = conv.inboundNodes[0].inputTensors;
  const layers: Layer[] = [conv];
  const entries: Layer[] = [conv];
  /** The only reader of what there is so far, if `fits`. */
  const next = (fits: (layer: Layer) => boolean): Layer | null => {
    const [reader, ...others] = readers.get(outputOf(layers[layers.length - 1])) ?? [];
    if (reader == null || others.length > 0 || reader.inboundNodes.length !== 1 || !fits(reader)) return null;
    layers.push(reader);
    return reader;
  };
  const activate = (name: string): string => {
    const layer = name === 'linear' ? next((each) => activationName(each) !== null) : null;
    return layer === null ? name : activationName(layer)!;
  };
  const own = conv.activation.getClassName();
  const norm = own === 'linear' ? (next(isChannelNorm) as BatchNormalization | null) : null;
  const activation = activate(own);
  const add = next((layer) => layer.getClassName() === 'Add' && layer.inboundNodes[0].inputTensors.length === 2 && layer.inboundNodes[0].inputTensors.includes(input));
  if (add !== null) entries.push(add);
  const { momentum, epsilon } = (norm?.getConfig() ?? {}) as { momentum?: number; epsilon?: number };
  const { kernelSize, dilationRate, groups, filters } = conv.plan;
  const form = {
    bank: conv.bank?.name ?? null, kernelSize, dilationRate, groups, filters, activation,
    momentum: momentum ?? null, epsilon: epsilon ?? null, residual: add !== null, stateActivation: add === null ? 'linear' : activate('linear'),
  }; // prettier-ignore
  return { conv, norm, layers, input, entries, form, output: outputOf(layers[layers.length - 1]), barred: whyBarred(conv, input) };
}

function whyBarred({ plan, bank }: TemplateConv2D, input: SymbolicTensor): string | null {
  if (bank === null) return 'draws from a bank outside of the model';
  if (plan.dataFormat === 'channelsFirst') return 'has channels first';
  if (plan.strides.some((stride) => stride !== 1)) return `has strides ${describe(plan.strides)}, and a recursion keeps the size of its state`;
  if (plan.padding !== 'same') return `has padding '${plan.padding}', and a recursion keeps the size of its state`;
  const inputs = input.shape[input.shape.length - 1];
  return inputs === plan.filters ? null : `makes ${plan.filters} channels of ${inputs}, and the next recursion takes what this one makes`;
}

function isChannelNorm(layer: Layer): boolean {
  if (layer.getClassName() !== 'BatchNormalization') return false;
  const axis = layer.getConfig()['axis'];
  return axis === -1 || axis === 3;
}

/** The activation that a layer is, and nothing else; null for other layers. */
function activationName(layer: Layer): string | null {
  const config = layer.getConfig();
  if (layer.getClassName() === 'Activation') return config['activation'] as string;
  return layer.getClassName() === 'ReLU' && config['maxValue'] == null ? 'relu' : null;
}

/** Why `second` cannot be the recursion after `first`; null if it can. Their similarity is not looked at. */
export function whyApart(first: Stage, second: Stage, readers: Readers): string | null {
  const [a, b] = [`'${first.conv.name}'`, `'${second.conv.name}'`];
  for (const { conv, barred } of [first, second]) if (barred !== null) return `'${conv.name}' ${barred}`;
  if (second.input !== first.output) return `the input of ${b} is not what ${a} makes, but comes from '${second.input.sourceLayer.name}'`;
  const odd = (Object.keys(first.form) as (keyof StageForm)[]).find((key) => JSON.stringify(first.form[key]) !== JSON.stringify(second.form[key]));
  if (odd !== undefined) return `they differ in ${WORDS[odd] ?? odd}: ${describe(first.form[odd])} and ${describe(second.form[odd])}`;
  const other = (readers.get(first.output) ?? []).find((reader) => reader === null || !second.entries.includes(reader));
  return other === undefined ? null : `what ${a} makes is also read by ${other === null ? 'the model’s outputs' : `'${other.name}'`}`;
}

const WORDS: Partial<Record<keyof StageForm, string>> = {
  momentum: 'batch normalisation (momentum)', epsilon: 'batch normalisation (epsilon)', residual: 'whether the input is added', stateActivation: 'the activation after the addition',
}; // prettier-ignore
