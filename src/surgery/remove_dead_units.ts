/**
 * Structural removal of what nobody reads: units and channels whose outgoing weights are all zero, as GrOWL, the group lasso and other
 * structured pruning leave them. A plain smaller model with equal outputs comes out.
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import type { Tensor } from '@tensorflow/tfjs-core';
import { checkBoolean, checkKeys } from '../checks.js';
import { checkSameHost } from '../host.js';
import { rebuild } from './rebuild.js';
import { kernelOf, nestedReaders, unitLinks, type Kernel, type UnitLink } from './unit_graph.js';

export interface RemoveDeadUnitsArgs {
  /**
   * Also drop the model's input features (rank 2) or channels that nobody reads: the result takes fewer, `keptInputs` says which.
   * Default false.
   */
  inputs?: boolean;
}

/** What was removed from one layer, or why nothing could be although its reader has dead rows. */
export interface RemovedUnits {
  /** The layer that makes the units. Where `why` is not null, the one that reads them. */
  layer: string;
  units: number;
  removed: number;
  why: string | null;
}

export interface SmallerModel {
  model: tfl.LayersModel;
  removed: RemovedUnits[];
  /** Which features (last axis) of the given model's inputs the result takes, by name of the input layer that changed. */
  keptInputs: Record<string, number[]>;
  parametersBefore: number;
  parametersAfter: number;
}

const WHO = 'removeDeadUnits';

/**
 * Removes units of dense layers and channels of 1-D and 2-D convolutions that only rows of zeros read, with their biases and their
 * entries in batch normalisations on the way; then what those alone had read, and so on back. Sees through activations, dropout,
 * pooling, padding, upsampling and Flatten. Does not touch units that several layers read, model outputs, units before a softmax, or
 * what stands behind layers of other kinds, or is inside of a nested model or wrapper: the report says why. At least one unit stays in a layer.
 *
 * ```js
 * const {model: small, keptInputs} = await removeDeadUnits(model, {inputs: true});
 * const input = tf.gather(x, tf.tensor1d(keptInputs[small.inputNames[0]], 'int32'), -1);
 * small.predict(input);   // = model.predict(x), up to the order of float32 sums
 * ```
 *
 * The result is a new, uncompiled model without regularizers and constraints; the given one is left as it is. Its class is that of
 * the given one (Sequential, functional). Columns of zeros (units that are constant) stay: their activation may not be zero.
 *
 * @throws Error if `model` is not a model of this copy of the host.
 */
export async function removeDeadUnits(model: tfl.LayersModel, args: RemoveDeadUnitsArgs = {}): Promise<SmallerModel> {
  checkSameHost(WHO, model);
  checkKeys(WHO, args, ['inputs']);
  const inputs = checkBoolean(WHO, 'inputs', args.inputs ?? false);
  const removed: RemovedUnits[] = [];
  const keptInputs: Record<string, number[]> = {};
  /** Layer → the rows of its kernel, or columns (units) that stay. */
  const rows = new Map<string, number[]>();
  const columns = new Map<string, number[]>();
  for (const link of unitLinks(model)) {
    const { reader, between, maker, positions } = link;
    const kernel = await kernelOf(reader);
    const units = kernel.rows / positions;
    const live = unitsRead(kernel, positions, columns.get(reader.name) ?? null);
    if (live.length === units) continue;
    const why = link.barred ?? whyNot(link, inputs);
    if (why !== null) {
      removed.push({ layer: reader.name, units, removed: 0, why });
      continue;
    }
    const kept = live.length > 0 ? live : [0];
    if (kept.length === units) continue;
    removed.push({ layer: maker!.name, units, removed: units - kept.length, why: null });
    rows.set(reader.name, Array.from({ length: positions }, (_, p) => kept.map((unit) => p * units + unit)).flat());
    for (const layer of between) columns.set(layer.name, kept);
    if (maker!.getClassName() === 'InputLayer') keptInputs[maker!.name] = kept;
    else columns.set(maker!.name, kept);
  }
  for (const { reader, around } of nestedReaders(model)) {
    const kernel = await kernelOf(reader);
    const dead = kernel.rows - unitsRead(kernel, 1, null).length;
    const why = `it is inside of ${around.getClassName()} '${around.name}'; only layers of the model itself are made smaller`;
    if (dead > 0) removed.push({ layer: reader.name, units: kernel.rows, removed: 0, why });
  }
  const smaller = await rebuild(
    model,
    ({ layers }) => {
      for (const { class_name: kind, config } of layers) {
        const name = config['name'] as string;
        const kept = columns.get(name);
        if (kept !== undefined && 'units' in config) config['units'] = kept.length;
        if (kept !== undefined && 'filters' in config) config['filters'] = kept.length;
        const shape = config['batch_input_shape'] as (number | null)[] | undefined;
        const given = keptInputs[kind === 'InputLayer' ? name : (Object.keys(keptInputs).find((input) => rows.has(name) && input === inputOf(model, name)) ?? '')];
        if (shape !== undefined && given !== undefined) config['batch_input_shape'] = [...shape.slice(0, -1), given.length];
      }
    },
    (name) => slicedWeights(model.getLayer(name), rows.get(name) ?? null, columns.get(name) ?? null),
  );
  return { model: smaller, removed, keptInputs, parametersBefore: model.countParams(), parametersAfter: smaller.countParams() };
}

/** The input layer that feeds a layer directly; a Sequential's first layer holds its shape as well. */
const inputOf = (model: tfl.LayersModel, name: string): string | undefined => model.getLayer(name).inboundNodes[0]?.inboundLayers[0]?.name;

function whyNot({ maker, positions }: UnitLink, inputs: boolean): string | null {
  if (maker!.getClassName() !== 'InputLayer') return null;
  if (!inputs) return `the units are inputs of the model (inputs: true drops them)`;
  return positions > 1 ? `the inputs pass a Flatten` : null;
}

/** Units of which some row has a weight that is not zero, in the columns that stay. */
function unitsRead({ values, outer, rows, columns }: Kernel, positions: number, stay: number[] | null): number[] {
  const units = rows / positions;
  const among = stay ?? Array.from({ length: columns }, (_, c) => c);
  const isRead = (unit: number): boolean => {
    for (let o = 0; o < outer; o++) {
      for (let p = 0; p < positions; p++) {
        const row = (o * rows + p * units + unit) * columns;
        if (among.some((column) => values[row + column] !== 0)) return true;
      }
    }
    return false;
  };
  return Array.from({ length: units }, (_, unit) => unit).filter(isRead);
}

/** Weights of a layer without the rows (last axis but one of a kernel) and columns (last axis of all) that go. */
function slicedWeights(layer: tfl.layers.Layer, rows: number[] | null, columns: number[] | null): Tensor[] | null {
  if (rows === null && columns === null) return null;
  const take = (weight: Tensor, kept: number[] | null, axis: number): Tensor => (kept === null ? weight : tfc.gather(weight, tfc.tensor1d(kept, 'int32'), axis));
  return layer.getWeights().map((weight) =>
    tfc.tidy(() => {
      const fewer = weight.rank > 1 ? take(weight, rows, weight.rank - 2) : weight;
      return tfc.clone(take(fewer, columns, weight.rank - 1));
    }),
  );
}
