/** What one recursion computes: convolutions with what is around them, and layers of the host, one after the other. */
import type { Tensor } from '@tensorflow/tfjs-core';
import { layers, type LayersModel, type Shape } from '@tensorflow/tfjs-layers';
import { describe } from '../../checks.js';
import { allLayers, type Layer, type RegularizedWeight } from '../../host.js';
import { applied, builtFor } from '../outer_layer.js';
import { ConvolutionUnit, type ConvolutionArgs } from './convolution_unit.js';
import type { LoopContext, WeightOwner } from './loop_context.js';

/** A convolution's options, or a layer. */
export type BlockPart = ConvolutionArgs | Layer;

export const isLayerPart = (part: unknown): part is Layer => part instanceof layers.Layer;

export class Block {
  readonly #who: string;
  readonly #parts: readonly (ConvolutionUnit | Layer)[];

  constructor(who: string, parts: readonly BlockPart[]) {
    this.#who = who;
    this.#parts = parts.map((part, i) => {
      if (isLayerPart(part)) return checkedLayer(who, part);
      if (typeof part !== 'object' || part === null || Array.isArray(part)) throw new Error(`${who}: expected a list of layers and of options of convolutions, {kernelSize, …}, got ${describe(part)}.`);
      return new ConvolutionUnit(parts.length === 1 ? who : `${who}: part ${i}`, part);
    });
  }

  get units(): ConvolutionUnit[] {
    return this.#parts.filter((part) => part instanceof ConvolutionUnit);
  }

  /** Channels out for so many in. */
  channels(inputs: number, space: Shape): number {
    return this.#parts.reduce((channels, part) => (part instanceof ConvolutionUnit ? part.channels(channels) : layerChannels(this.#who, part, [...space, channels])), inputs);
  }

  /** What would have it make so many channels, for an error. */
  advice(channels: number): string {
    const last = [...this.#parts].reverse().find((part) => !(part instanceof ConvolutionUnit) || part.kind !== 'none');
    const single = this.#parts.length === 1;
    if (!(last instanceof ConvolutionUnit)) return `end the block with a convolution {kernelSize: 1, filters: ${channels}}`;
    if (last.kind === 'plain') return `set filters${single ? '' : ' of its last convolution'} to ${channels}`;
    return `${single ? 'set depthMultiplier to 1, or ' : ''}end the block with a convolution {kernelSize: 1, filters: ${channels}} behind the depthwise one`;
  }

  /** Places of the regularizers of its convolutions, by slot; `copies` of each, or one for all recursions. Before it is built. */
  regularizedWeights(copies: number | null, prefix: string): Record<string, RegularizedWeight> {
    return Object.assign({}, ...this.#parts.map((part, i) => (part instanceof ConvolutionUnit ? part.regularizedWeights(copies, this.#suffix(prefix, i)) : {}))) as Record<string, RegularizedWeight>;
  }

  #suffix(prefix: string, part: number): string {
    return this.#parts.length === 1 ? prefix : `${prefix}_part${part}`;
  }

  /** @param inputs channels that come in at each recursion. @param space the shape before the channels, batch included. */
  build(owner: WeightOwner, inputs: readonly number[], space: Shape, { tied, prefix }: { tied: boolean; prefix: string }): void {
    let counts = [...inputs];
    this.#parts.forEach((part, i) => {
      if (part instanceof ConvolutionUnit) {
        part.build(owner, { inputs: counts, tied, axes: space.length - 1, suffix: this.#suffix(prefix, i) });
        counts = counts.map((count) => part.channels(count));
      } else {
        if (counts.some((count) => count !== counts[0])) throw new Error(`${this.#who}: with connection 'dense' the block must begin with a convolution {kernelSize, filters, …}, not with the layer '${part.name}'.`);
        if (!tied) throw new Error(`${this.#who}: tied false is for convolutions given by their options: the layer '${part.name}' has one set of weights.`);
        builtFor(this.#who, part, [[...space, counts[0]]]);
        counts = counts.map((count) => layerChannels(this.#who, part, [...space, count]));
      }
    });
  }

  apply(x: Tensor, context: LoopContext): Tensor {
    return this.#parts.reduce((h, part) => (part instanceof ConvolutionUnit ? part.apply(h, context) : applied(part, [h], { training: context.training })[0]), x);
  }
}

/** @throws Error for layers with running statistics, which all recursions would share. */
function checkedLayer(who: string, part: Layer): Layer {
  const statistics = allLayers({ layers: [part] } as unknown as LayersModel).find((layer) => 'movingMean' in layer || layer.getClassName() === 'BatchNormalization');
  if (statistics === undefined) return part;
  throw new Error(`${who}: the layer '${statistics.name}' (${statistics.getClassName()}) would share its running statistics between recursions, which breaks training. Use a part {normalization: 'perRecursion'} in its place.`);
}

function layerChannels(who: string, layer: Layer, shape: Shape): number {
  const after = layer.computeOutputShape(shape) as Shape;
  const fits = after.length === shape.length && after.slice(0, -1).every((length, axis) => length === shape[axis]);
  if (!fits) throw new Error(`${who}: the layer '${layer.name}' of the block makes [${after.map(describe).join(', ')}] of [${shape.map(describe).join(', ')}]: a recursion keeps the size of its state. Use padding 'same' and strides 1.`);
  return after[after.length - 1]!;
}
