/**
 * A layer with tied rows as two plain ones: W = A · C, where C has each distinct row once and A says, with zeros and ones, which input goes
 * with which row. Equal outputs, fewer weights, and no code of ours needed to load it.
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import type { Tensor } from '@tensorflow/tfjs-core';
import { equalRows } from '../callbacks/row_clusters.js';
import { checkKeys, checkNames } from '../checks.js';
import { checkSameHost, type Layer } from '../host.js';
import { toRows } from '../regularizers/growl_rows.js';
import { rebuild, type LayerNode } from './rebuild.js';
import { kernelOf } from './unit_graph.js';

export interface FactorTiedRowsArgs {
  /** Names of dense and 2-D convolution layers. Default: all of those whose kernel has at least two equal rows. */
  layers?: string[];
}

export interface FactoredLayer {
  layer: string;
  /** Name of the layer put before it. */
  membership: string;
  rows: number;
  distinct: number;
}

export interface FactoredModel {
  model: tfl.LayersModel;
  factored: FactoredLayer[];
}

interface Factors {
  membership: Tensor;
  shared: Tensor;
}

const WHO = 'factorTiedRows';

/**
 * Puts before each dense layer (2-D convolution) whose kernel has equal rows (input channels) a dense layer (1 × 1 convolution) that
 * adds up tied inputs: `[inputs, distinct]`, zeros and ones, without bias, frozen. The kernel shrinks to `[distinct, units]`. Rows of
 * zeros go as well.
 *
 * ```js
 * await model.fit(x, y, {epochs: 100, callbacks: [rowTying()]});
 * const {model: small} = await factorTiedRows(model);
 * await small.save(compressed('file://small'));   // as small as with ties: a .tfws file holds equal rows once
 * ```
 *
 * Multiplies inputs · distinct + distinct · units times instead of inputs · units: where few rows are tied that is more, and the model in memory has more
 * parameters, though not the file. `layers` names those in which it pays. The result is a new, uncompiled model without
 * regularizers and constraints, equal up to the order of float32 sums. Layers that are called more than once stay as they are.
 */
export async function factorTiedRows(model: tfl.LayersModel, args: FactorTiedRowsArgs = {}): Promise<FactoredModel> {
  checkSameHost(WHO, model);
  checkKeys(WHO, args, ['layers']);
  const named = args.layers === undefined ? null : checkNames(WHO, 'layers', args.layers);
  const unknown = named?.find((name) => !model.layers.some((layer) => layer.name === name));
  if (unknown !== undefined) throw new Error(`${WHO}: the model has no layer '${unknown}'. Layers: ${model.layers.map(({ name }) => name).join(', ')}.`);
  const factored: FactoredLayer[] = [];
  const factors = new Map<string, Factors>();
  for (const layer of model.layers) {
    if (named !== null && !named.includes(layer.name)) continue;
    const why = whyNot(layer);
    if (why !== null) {
      if (named !== null) throw new Error(`${WHO}: layer '${layer.name}' ${why}.`);
      continue;
    }
    const { values, outer, rows, columns } = await kernelOf(layer);
    const matrix = toRows(values, { outer, rows, inner: columns });
    const labels = equalRows(matrix, rows);
    const distinct = Math.max(0, ...labels) + 1;
    const live = labels.filter((label) => label >= 0).length;
    if (distinct >= live) {
      if (named !== null) throw new Error(`${WHO}: layer '${layer.name}' has no two equal rows. Tie them first, with rowTying.`);
      continue;
    }
    factors.set(layer.name, factorsOf(labels, distinct, layer.getWeights()[0]));
    factored.push({ layer: layer.name, membership: `${layer.name}_membership`, rows, distinct });
  }
  const result = await rebuild(
    model,
    ({ layers }) => insertMemberships(layers, factored),
    (name) => {
      const own = factors.get(name);
      if (own !== undefined) return [own.shared, ...model.getLayer(name).getWeights().slice(1).map((weight) => tfc.clone(weight))];
      const before = factored.find(({ membership }) => membership === name);
      return before === undefined ? null : [factors.get(before.layer)!.membership];
    },
  );
  return { model: result, factored };
}

function whyNot(layer: Layer): string | null {
  const { dataFormat, padding } = layer as unknown as Record<string, unknown>;
  if (!['Dense', 'Conv2D'].includes(layer.getClassName())) return 'is neither dense nor a 2-D convolution';
  if (dataFormat === 'channelsFirst') return 'has channels first';
  if (layer.inboundNodes.length !== 1) return 'is called more than once';
  return padding === undefined || padding === 'same' || padding === 'valid' ? null : `has padding '${String(padding)}'`;
}

/** A `[(1, 1,) rows, distinct]` and the kernel with each distinct row once. */
function factorsOf(labels: Int32Array, distinct: number, kernel: Tensor): Factors {
  const ones = new Float32Array(labels.length * distinct);
  labels.forEach((label, row) => label >= 0 && (ones[row * distinct + label] = 1));
  const firsts = Array.from({ length: distinct }, (_, label) => labels.indexOf(label));
  const shared = tfc.tidy(() => tfc.gather(kernel, tfc.tensor1d(firsts, 'int32'), kernel.rank - 2));
  return { shared, membership: tfc.tensor(ones, [...kernel.shape.slice(0, -2).map(() => 1), labels.length, distinct]) };
}

/** In a Sequential the list is the graph; elsewhere nodes name what they read. */
function insertMemberships(layers: LayerNode[], factored: readonly FactoredLayer[]): void {
  for (const { layer: name, membership, distinct } of factored) {
    const at = layers.findIndex(({ config }) => config['name'] === name);
    const { class_name, config, inbound_nodes } = layers[at];
    const plain = { name: membership, trainable: false, use_bias: false, activation: 'linear', dtype: config['dtype'] ?? 'float32' };
    const node: LayerNode = {
      class_name,
      config: class_name === 'Dense' ? { ...plain, units: distinct } : { ...plain, filters: distinct, kernel_size: [1, 1], strides: [1, 1], padding: 'valid', data_format: 'channels_last' },
    };
    if (config['batch_input_shape'] !== undefined) {
      node.config['batch_input_shape'] = config['batch_input_shape'];
      delete config['batch_input_shape'];
    }
    if (inbound_nodes !== undefined) {
      node.name = membership;
      node.inbound_nodes = inbound_nodes;
      layers[at].inbound_nodes = [[[membership, 0, 0, {}]]];
    }
    layers.splice(at, 0, node);
  }
}
