/** Which layers of a plain feed-forward model feed which: what it takes to see which units nobody reads. */
import * as tfl from '@tensorflow/tfjs-layers';
import { placedLayers, variableOf, type Layer } from '../host.js';

/** Layers with a kernel `[…, inputs, outputs]` whose last axis are their outputs. */
const KERNEL_LAYERS = ['Dense', 'Conv1D', 'Conv2D'];
/** Layers that treat every unit or channel (last axis) by itself, without weights. */
const UNITWISE = [
  'Activation', 'ReLU', 'LeakyReLU', 'ELU', 'ThresholdedReLU', 'Dropout', 'AlphaDropout', 'GaussianNoise', 'GaussianDropout', 'SpatialDropout1D',
  'MaxPooling1D', 'MaxPooling2D', 'AveragePooling1D', 'AveragePooling2D', 'GlobalAveragePooling1D', 'GlobalAveragePooling2D',
  'GlobalMaxPooling1D', 'GlobalMaxPooling2D', 'ZeroPadding2D', 'UpSampling2D', 'Rescaling',
]; // prettier-ignore

type Open = Record<string, unknown>;
const open = (layer: Layer): Open => layer as unknown as Open;

const isKernelLayer = (layer: Layer): boolean => KERNEL_LAYERS.includes(layer.getClassName()) && channelsLast(layer);
const channelsLast = (layer: Layer): boolean => open(layer)['dataFormat'] !== 'channelsFirst';

/** A softmax mixes units: removing one changes the others. */
function mixesUnits(layer: Layer): boolean {
  const activation = layer.getConfig()['activation'];
  return activation === 'softmax' || activation === 'logSoftmax';
}

/** A layer that reads units, and the way back to the layer that makes them. */
export interface UnitLink {
  /** Dense or convolution whose kernel rows read the units. */
  reader: Layer;
  /** From the reader back, unit by unit, nearest first: normalisations and layers without weights. */
  between: Layer[];
  /** Dense, convolution or input layer that makes the units; null where the way is barred. */
  maker: Layer | null;
  /** Rows of the reader's kernel per unit: positions that a Flatten put side by side. Row p · units + u belongs to unit u. */
  positions: number;
  /** Why `maker` is null. */
  barred: string | null;
}

/** Kernel as `[outer, rows, columns]`. */
export interface Kernel {
  values: Float32Array;
  outer: number;
  rows: number;
  columns: number;
}

export async function kernelOf(layer: Layer): Promise<Kernel> {
  const kernel = variableOf(open(layer)['kernel'] as tfl.LayerVariable);
  const [rows, columns] = kernel.shape.slice(-2);
  return { values: (await kernel.data()) as Float32Array, outer: kernel.size / (rows * columns), rows, columns };
}

/** A link for every dense and convolution layer of `model`, readers in the order from the output back. */
export function unitLinks(model: tfl.LayersModel): UnitLink[] {
  const outputs = new Set(model.outputs.map(({ sourceLayer }) => sourceLayer));
  return model.layers.filter(isKernelLayer).reverse().map((reader) => follow(reader, outputs));
}

/** Dense and convolution layers inside of models and wrappers, and what is around each: no unit of theirs can be followed. */
export const nestedReaders = (model: tfl.LayersModel): { reader: Layer; around: Layer }[] =>
  placedLayers(model).filter(({ layer, path }) => path.length > 1 && isKernelLayer(layer)).map(({ layer, path }) => ({ reader: layer, around: path[0] })); // prettier-ignore

function follow(reader: Layer, outputs: Set<Layer>): UnitLink {
  const between: Layer[] = [];
  let positions = 1;
  const bar = (layer: Layer, why: string): UnitLink => ({ reader, between, positions, maker: null, barred: `${layer.getClassName()} '${layer.name}' ${why}` });
  for (let layer = reader; ; ) {
    if (layer.inboundNodes.length !== 1) return bar(layer, 'is called more than once');
    const { inboundLayers } = layer.inboundNodes[0];
    if (inboundLayers.length !== 1) return bar(layer, 'has several inputs');
    const before = inboundLayers[0];
    if (before.outboundNodes.length !== 1 || outputs.has(before)) return bar(before, 'is read elsewhere too');
    if (before.getClassName() === 'InputLayer') return { reader, between, positions, maker: before, barred: null };
    if (mixesUnits(before)) return bar(before, 'has a softmax, which mixes units');
    if (isKernelLayer(before)) {
      return before.inboundNodes.length === 1 ? { reader, between, positions, maker: before, barred: null } : bar(before, 'is called more than once');
    }
    if (before.getClassName() === 'Flatten' && channelsLast(before)) {
      const shape = before.inboundNodes[0].inputShapes[0] as (number | null)[];
      positions *= shape.slice(1, -1).reduce<number>((product, size) => product * (size ?? NaN), 1);
      if (Number.isNaN(positions)) return bar(before, 'has no fixed size');
    } else if (before.getClassName() === 'BatchNormalization') {
      const { axis } = before.getConfig();
      const rank = (before.inboundNodes[0].inputShapes[0] as tfl.Shape).length;
      if ((axis !== -1 && axis !== rank - 1) || positions > 1) return bar(before, 'does not normalise unit by unit');
      between.push(before);
    } else if (UNITWISE.includes(before.getClassName()) && channelsLast(before)) between.push(before);
    else return bar(before, 'is of a kind that removal does not see through');
    layer = before;
  }
}
