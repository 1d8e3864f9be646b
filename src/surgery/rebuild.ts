/** A model like another, with some layers' configs and weights replaced. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import type { Tensor } from '@tensorflow/tfjs-core';
import { stripTopology } from '../compression/strip_training.js';
import { isModel, variableOf } from '../host.js';

type Node = Record<string, unknown>;
/** A layer as a saved topology holds it; keys of configs in snake case. */
export interface LayerNode {
  class_name: string;
  config: Node;
  name?: string;
  inbound_nodes?: unknown[];
}

/** Name of a layer, number of its call, number of the tensor, and what the host keeps beside. */
export type Edge = [layer: string, call: number, tensor: number, ...rest: unknown[]];

export interface ModelConfig {
  layers: LayerNode[];
  /** Of a functional model. */
  output_layers?: Edge[];
}

/**
 * Builds the topology of `model` after `edit` has changed its layers in place, without regularizers and constraints, and gives
 * every layer the weights that `weightsOf` has for it (disposed of here), else those of the layer of that name in `model`.
 */
export async function rebuild(model: tfl.LayersModel, edit: (config: ModelConfig) => void, weightsOf: (name: string) => Tensor[] | null): Promise<tfl.LayersModel> {
  const topology = stripTopology(model.toJSON(null, false)) as unknown as { config: ModelConfig };
  edit(topology.config);
  const result = await tfl.models.modelFromJSON(topology as unknown as Parameters<typeof tfl.models.modelFromJSON>[0]);
  for (const layer of result.layers) {
    const own = weightsOf(layer.name);
    if (own !== null) {
      layer.setWeights(own);
      tfc.dispose(own);
    } else if (layer.weights.length > 0) copyWeights(model.getLayer(layer.name), layer);
  }
  return result;
}

/** By names, as the host's loader does it: the order depends on what is frozen inside, which the config of a nested model does not tell. */
function copyWeights(from: tfl.layers.Layer, to: tfl.layers.Layer): void {
  const values = new Map(from.weights.map((weight) => [weight.originalName, variableOf(weight)]));
  const found = to.weights.map(({ originalName }) => values.get(originalName));
  to.setWeights(found.every((value) => value !== undefined) ? found : from.getWeights());
  if (!from.trainable && isModel(to)) to.trainable = false;
}
