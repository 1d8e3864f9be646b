/** Convolutions on templates with what goes with them, as a recursion could compute it: which stand one behind the other, and what keeps two apart. */
import type { SymbolicTensor } from '@tensorflow/tfjs-layers';
import type * as tfl from '@tensorflow/tfjs-layers';
import { describe } from '../checks.js';
import type { Layer, LayerVariable } from '../host.js';
import type { TemplateConv2D } from '../layers/template_conv2d.js';

/** A convolution and what alone reads it: batch normalisation, then an activation. */
export interface Unit {
  conv: TemplateConv2D;
  norm: BatchNormalization | null;
  form: UnitForm;
}

/** Batch normalisation, an activation or both between a block's input and its first convolution, as in pre-activation networks. */
export interface Lead {
  norm: BatchNormalization | null;
  activation: string;
  momentum: number | null;
  epsilon: number | null;
}

/** One unit; or a residual block, of one unit or several: then the block's input is added, and an activation may follow. */
export interface TemplateBlock {
  /** Null where the first convolution reads the block's input. */
  lead: Lead | null;
  units: Unit[];
  /** All of its layers, in order. */
  layers: Layer[];
  input: SymbolicTensor;
  output: SymbolicTensor;
  /** Who reads the input inside of the block. */
  entries: Layer[];
  residual: boolean;
  /** After the addition. */
  stateActivation: string;
  /** Why it can be no recursion of any kind. */
  barred: string | null;
}

/** What the recursions of a unit have in common. */
export interface UnitForm {
  bank: string | null;
  kernelSize: readonly number[];
  dilationRate: readonly number[];
  groups: number;
  filters: number;
  activation: string;
  /** Of batch normalisation; null without it. */
  momentum: number | null;
  epsilon: number | null;
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

/**
 * The blocks that convolutions, each called once, are part of: each convolution is in one. What an input is added to after several convolutions is one
 * block where another such block follows it or comes before it, and else, as with a skip around a whole chain, a unit each.
 */
export function blocksOf(convolutions: readonly TemplateConv2D[], readers: Readers): TemplateBlock[] {
  const longest = convolutions.map((conv) => blockFrom(conv, readers, Infinity));
  const hasNeighbour = (block: TemplateBlock) => longest.some((other) => other !== block && [whyApart(block, other, readers), whyApart(other, block, readers)].includes(null));
  const kept = longest.filter((block) => block.units.length > 1 && hasNeighbour(block));
  const inside = new Set(kept.flatMap(({ units }) => units.slice(1).map(({ conv }) => conv)));
  return convolutions.filter((conv) => !inside.has(conv)).map((conv) => kept.find(({ units }) => units[0].conv === conv) ?? blockFrom(conv, readers, 1));
}

/** The block that begins with a convolution: up to the addition of its input after `most` units, or one unit where there is none. */
function blockFrom(first: TemplateConv2D, readers: Readers, most: number): TemplateBlock {
  const [input] = first.inboundNodes[0].inputTensors;
  const entrances = [{ input, lead: null, layers: [] }, leadTo(first, readers)].filter((entrance) => entrance !== null);
  const unit = unitFrom(first, readers);
  const [units, layers] = [[unit], [...unit.layers]];
  for (;;) {
    const end = layers[layers.length - 1];
    const add = onlyReader(end, readers, (layer) => layer.getClassName() === 'Add' && layer.inboundNodes[0].inputTensors.length === 2);
    const entrance = add && entrances.find((each) => add.inboundNodes[0].inputTensors.includes(each.input));
    if (add !== null && entrance != null) {
      const after = onlyReader(add, readers, (layer) => activationName(layer) !== null && entrance.lead === null);
      const all = [...entrance.layers, ...layers, add, ...(after === null ? [] : [after])];
      return {
        lead: entrance.lead, units, layers: all, input: entrance.input, output: outputOf(all[all.length - 1]), entries: [all[0], add], residual: true,
        stateActivation: after === null ? 'linear' : activationName(after)!, barred: whyBarred(units, entrance.input),
      }; // prettier-ignore
    }
    const conv = units.length < most ? (onlyReader(end, readers, isTemplateConv) as TemplateConv2D | null) : null;
    if (conv === null) break;
    const next = unitFrom(conv, readers);
    units.push(next);
    layers.push(...next.layers);
  }
  return { lead: null, units: [unit], layers: unit.layers, input, output: outputOf(unit.layers[unit.layers.length - 1]), entries: [first], residual: false, stateActivation: 'linear', barred: whyBarred([unit], input) };
}

/** What comes before `conv` alone, and what that reads; null where nothing does. */
function leadTo(conv: TemplateConv2D, readers: Readers): { input: SymbolicTensor; lead: Lead; layers: Layer[] } | null {
  const before = (layer: Layer, fits: (source: Layer) => boolean): Layer | null => {
    const source = layer.inboundNodes[0].inputTensors[0].sourceLayer as Layer;
    return fits(source) && source.inboundNodes.length === 1 && onlyReader(source, readers, (reader) => reader === layer) !== null ? source : null;
  };
  const activation = before(conv, (layer) => activationName(layer) !== null);
  const norm = before(activation ?? conv, isChannelNorm) as BatchNormalization | null;
  const layers = [norm, activation].filter((each) => each !== null);
  if (layers.length === 0) return null;
  return { input: layers[0].inboundNodes[0].inputTensors[0], layers, lead: { norm, activation: activation === null ? 'linear' : activationName(activation)!, ...normForm(norm) } };
}

const normForm = (norm: BatchNormalization | null): Pick<Lead, 'momentum' | 'epsilon'> => {
  const { momentum, epsilon } = (norm?.getConfig() ?? {}) as { momentum?: number; epsilon?: number };
  return { momentum: momentum ?? null, epsilon: epsilon ?? null };
};

function unitFrom(conv: TemplateConv2D, readers: Readers): Unit & { layers: Layer[] } {
  const own = conv.activation.getClassName();
  const norm = own === 'linear' ? (onlyReader(conv, readers, isChannelNorm) as BatchNormalization | null) : null;
  const layer = own === 'linear' ? onlyReader(norm ?? conv, readers, (each) => activationName(each) !== null) : null;
  const { kernelSize, dilationRate, groups, filters } = conv.plan;
  const activation = layer === null ? own : activationName(layer)!;
  return {
    conv, norm, layers: [conv, norm, layer].filter((each) => each !== null),
    form: { bank: conv.bank?.name ?? null, kernelSize, dilationRate, groups, filters, activation, ...normForm(norm) },
  }; // prettier-ignore
}

/** Who alone reads what `layer` makes, is called once and fits. */
function onlyReader(layer: Layer, readers: Readers, fits: (reader: Layer) => boolean): Layer | null {
  const [reader, ...others] = readers.get(outputOf(layer)) ?? [];
  return reader != null && others.length === 0 && reader.inboundNodes.length === 1 && fits(reader) ? reader : null;
}

function whyBarred(units: readonly Unit[], input: SymbolicTensor): string | null {
  for (const { conv } of units) {
    const { plan, bank, name } = conv;
    if (bank === null) return `'${name}' draws from a bank outside of the model`;
    if (plan.dataFormat === 'channelsFirst') return `'${name}' has channels first`;
    if (plan.strides.some((stride) => stride !== 1)) return `'${name}' has strides ${describe(plan.strides)}, and a recursion keeps the size of its state`;
    if (plan.padding !== 'same') return `'${name}' has padding '${plan.padding}', and a recursion keeps the size of its state`;
  }
  const { name, plan } = units[units.length - 1].conv;
  const inputs = input.shape[input.shape.length - 1];
  return inputs === plan.filters ? null : `'${name}' makes ${plan.filters} channels of ${inputs}, and the next recursion takes what this one makes`;
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
export function whyApart(first: TemplateBlock, second: TemplateBlock, readers: Readers): string | null {
  const [a, b] = [first, second].map(({ units }) => `'${units[0].conv.name}'`);
  const barred = first.barred ?? second.barred;
  if (barred !== null) return barred;
  if (second.input !== first.output) return `the input of ${b} is not what ${a}${first.layers.length > 1 ? `, up to '${first.layers.at(-1)!.name}',` : ''} makes, but comes from '${second.input.sourceLayer.name}'`;
  const differ = (what: string, of: (block: TemplateBlock) => unknown) => (JSON.stringify(of(first)) === JSON.stringify(of(second)) ? null : `they differ in ${what}: ${describe(of(first))} and ${describe(of(second))}`);
  const odd = differ('whether their input is added', ({ residual }) => residual)
    ?? differ('what comes before the first convolution', ({ lead }) => lead && { ...lead, norm: lead.norm !== null })
    ?? differ('the number of convolutions before their input is added', ({ units }) => units.length)
    ?? differ('the activation after the addition', ({ stateActivation }) => stateActivation)
    ?? first.units.map((unit, u) => (Object.keys(unit.form) as (keyof UnitForm)[]).map((key) => differ(WORDS[key] ?? key, ({ units }) => units[u].form[key])).find((why) => why !== null)).find((why) => why !== undefined); // prettier-ignore
  if (odd != null) return odd;
  const other = (readers.get(first.output) ?? []).find((reader) => reader === null || !second.entries.includes(reader));
  return other === undefined ? null : `what ${a} makes is also read by ${other === null ? 'the model’s outputs' : `'${other.name}'`}`;
}

const WORDS: Partial<Record<keyof UnitForm, string>> = { momentum: 'batch normalisation (momentum)', epsilon: 'batch normalisation (epsilon)' };
