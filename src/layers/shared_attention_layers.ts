/** The layers inside of a {@link SharedAttention} stack. */
import type { Tensor } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import type { Activation, Layer, LayerVariable, Regularizer } from '../host.js';
import { projected } from './attention_projection.js';
import type { InnerRegularizers } from './inner_regularizers.js';
import { multiHeadAttention, type MultiHeadAttention } from './multi_head_attention.js';
import { builtFor } from './outer_layer.js';
import { quickLayerNormalization } from './quick_layer_normalization.js';

/** One layer of the stack. */
export interface StackLayer {
  attention: MultiHeadAttention;
  /** Null without a memory, and where another layer's output is used for good. */
  memoryAttention: MultiHeadAttention | null;
  /** Goes with it. */
  memoryNorm: Layer | null;
  /** What goes into the attention, [batch, time, width]. */
  normalized(x: Tensor): Tensor;
  normalizedForMemory(x: Tensor): Tensor;
  /** dense(f(dense(LN(x)))) */
  dense(x: Tensor): Tensor;
  all: Layer[];
}

export interface StackOptions {
  numLayers: number;
  numHeads: number;
  units: number | null;
  causal: boolean;
  dropout: number;
  activation: Activation;
  kernelRegularizer: Regularizer | null;
}

/** Makes them, gives them `regularizers` and builds them; `uses` tells of which layers the attention's own weights are needed. */
export function stackLayers(
  options: StackOptions, x: Shape, memory: Shape | null, uses: (layer: number) => { self: boolean; memory: boolean }, regularizers: InnerRegularizers,
): { stack: StackLayer[]; final: Layer } { // prettier-ignore
  const made: [Layer, Shape[]][] = [];
  const takes = <L extends Layer>(layer: L, ...shapes: Shape[]): L => {
    made.push([layer, shapes]);
    return layer;
  };
  const width = x[2] as number;
  const sequence: Shape = [null, null, width];
  const kernelRegularizer = options.kernelRegularizer as never;
  const { numHeads, dropout, causal } = options;
  const norm = (name: string) => takes(quickLayerNormalization({ name }), sequence);
  const stack = Array.from({ length: options.numLayers }, (_, i): StackLayer => {
    const { self, memory: looks } = uses(i);
    const before = norm(`layer_${i}_norm`);
    const attention = self
      ? takes(multiHeadAttention({ name: `layer_${i}_attention`, numHeads, dropout, causal, kernelRegularizer }), sequence)
      : takes(multiHeadAttention({ name: `layer_${i}_attention`, numHeads, dropout, mapsInput: true, kernelRegularizer }), sequence, [null, numHeads, null, null]);
    const hasMemory = memory !== null && looks;
    const beforeMemory = hasMemory ? norm(`layer_${i}_memory_norm`) : null;
    const memoryAttention = hasMemory ? takes(multiHeadAttention({ name: `layer_${i}_memory_attention`, numHeads, dropout, kernelRegularizer }), sequence, [null, null, memory[2]]) : null;
    const beforeDense = norm(`layer_${i}_dense_norm`);
    const dense = (part: string, units: number, inputs: number) => takes(layers.dense({ name: `layer_${i}_${part}`, units, kernelRegularizer }), [null, null, inputs]);
    const units = options.units ?? 4 * width;
    const [inner, outer] = [dense('inner', units, width), dense('outer', width, units)];
    return {
      attention,
      memoryAttention,
      memoryNorm: beforeMemory,
      normalized: (from) => before.apply(from) as Tensor,
      normalizedForMemory: (from) => beforeMemory!.apply(from) as Tensor,
      dense: (from) => through(outer, options.activation.apply(through(inner, beforeDense.apply(from) as Tensor))),
      all: [before, attention, beforeMemory, memoryAttention, beforeDense, inner, outer].filter((layer) => layer !== null),
    };
  });
  const final = norm('final_norm');
  regularizers.give(made.map(([layer]) => layer));
  for (const [layer, shapes] of made) builtFor('SharedAttention', layer, shapes);
  return { stack, final };
}

/** The host's dense layer holds the weights; its own product is slow in training on wasm. */
function through(dense: Layer, x: Tensor): Tensor {
  const { kernel, bias } = dense as unknown as { kernel: LayerVariable; bias: LayerVariable };
  return projected(x, kernel, bias);
}
