/** The geometry of a 2-D convolution whose kernel comes from elsewhere: options, checks, shapes, and the operation itself. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor4D } from '@tensorflow/tfjs-core';
import type { Shape } from '@tensorflow/tfjs-layers';
import { activeTape } from '../autodiff/tape.js';
import { checkChoice, checkNumber, describe, integerAtLeast } from '../checks.js';
import { activationOf, type Activation, type ActivationIdentifier } from '../host.js';
import { groupedConvolve } from '../kernels/convolution/index.js';
import { asFloats, shapeText } from './hashed_inputs.js';

export interface ConvolutionPlanArgs {
  /** Number of output channels. Required. */
  filters: number;
  /** Height and width of the kernel, or one number for both. Required. */
  kernelSize: number | [number, number];
  /** Down and across. Default 1. */
  strides?: number | [number, number];
  /** Default 'valid'. */
  padding?: 'valid' | 'same';
  /** Default 'channelsLast'. */
  dataFormat?: 'channelsFirst' | 'channelsLast';
  /** Distance of the kernel's taps, down and across; above 1 only with strides 1, as in the host. Default 1. */
  dilationRate?: number | [number, number];
  /**
   * Groups of channels: output channels of group g see the input channels of group g only. It divides both numbers of channels. The host's
   * convolution knows no groups: each is one of its own, so a few are meant, not one a channel. Default 1.
   */
  groups?: number;
  /** Default: none. */
  activation?: ActivationIdentifier;
}

export const CONVOLUTION_PLAN_OPTIONS = ['filters', 'kernelSize', 'strides', 'padding', 'dataFormat', 'dilationRate', 'groups', 'activation'] as const;

/** Activations that the host's convolution computes in the same pass where no gradient is recorded. */
const FUSED = ['linear', 'relu', 'elu'] as const;
type FusedActivation = (typeof FUSED)[number];

type Pair = [number, number];

export function checkPair(who: string, option: string, value: unknown): Pair {
  const pair = typeof value === 'number' ? [value, value] : value;
  if (!Array.isArray(pair) || pair.length !== 2) throw new Error(`${who}: ${option} must be a number or two, [down, across], got ${describe(value)}.`);
  return pair.map((length) => checkNumber(who, option, length, integerAtLeast(1))) as Pair;
}

export class ConvolutionPlan {
  readonly #who: string;
  readonly filters: number;
  readonly kernelSize: Pair;
  readonly strides: Pair;
  readonly padding: 'valid' | 'same';
  readonly dataFormat: 'channelsFirst' | 'channelsLast';
  readonly dilationRate: Pair;
  readonly groups: number;
  readonly activation: Activation;

  constructor(who: string, args: ConvolutionPlanArgs) {
    this.#who = who;
    this.filters = checkNumber(who, 'filters', args.filters, integerAtLeast(1), 'It is the number of output channels.');
    this.kernelSize = checkPair(who, 'kernelSize', args.kernelSize);
    this.strides = checkPair(who, 'strides', args.strides ?? 1);
    this.padding = checkChoice(who, 'padding', args.padding ?? 'valid', ['valid', 'same']);
    this.dataFormat = checkChoice(who, 'dataFormat', args.dataFormat ?? 'channelsLast', ['channelsFirst', 'channelsLast']);
    this.dilationRate = checkPair(who, 'dilationRate', args.dilationRate ?? 1);
    if (Math.max(...this.strides) > 1 && Math.max(...this.dilationRate) > 1) {
      throw new Error(`${who}: strides or dilationRate must be 1, got strides ${describe(this.strides)} and dilationRate ${describe(this.dilationRate)}.`);
    }
    this.groups = checkNumber(who, 'groups', args.groups ?? 1, integerAtLeast(1));
    if (this.filters % this.groups !== 0) throw new Error(`${who}: groups must divide filters, got groups ${this.groups} and filters ${this.filters}.`);
    this.activation = activationOf(who, 'activation', args.activation);
  }

  get channelAxis(): 1 | 3 {
    return this.dataFormat === 'channelsFirst' ? 1 : 3;
  }

  /** The number of input channels of images of `shape`; `layer` names the layer in errors. */
  inputChannels(layer: string, shape: Shape): number {
    const inputs = shape[this.channelAxis];
    if (shape.length !== 4 || inputs == null) {
      throw new Error(`${this.#who}: layer '${layer}' expects images ${this.channelAxis === 1 ? '[batch, channels, height, width]' : '[batch, height, width, channels]'} with a known number of channels, got ${shapeText(shape)}.`);
    }
    if (inputs % this.groups !== 0) {
      throw new Error(`${this.#who}: layer '${layer}': groups must divide the number of input channels, got groups ${this.groups} and ${inputs} channels.`);
    }
    return inputs;
  }

  /** activation(x ∗ filter + bias), filter [rows, columns, inputs / groups, filters]; `layer` names the layer in errors. */
  apply(layer: string, input: Tensor, filter: Tensor4D, bias: Tensor1D | null): Tensor {
    const numbers = asFloats(`${this.#who}: layer '${layer}'`, input as Tensor4D);
    const first = this.channelAxis === 1;
    const x = first ? tfc.transpose(numbers, [0, 2, 3, 1]) : numbers;
    const y = this.#channelsLast(x, filter, bias);
    return first ? tfc.transpose(y, [0, 3, 1, 2]) : y;
  }

  #channelsLast(x: Tensor4D, filter: Tensor4D, bias: Tensor1D | null): Tensor {
    const name = this.activation.getClassName() as FusedActivation;
    const differentiable = activeTape() !== null;
    const { strides, padding: pad, dilationRate: dilations, groups } = this;
    // Where strides are larger than the kernel the host's convolution is wrong on wasm for some sizes; ours is not.
    const ordinary = groups === 1 && strides.every((stride, axis) => stride <= this.kernelSize[axis]);
    if (!differentiable && ordinary && FUSED.includes(name)) {
      return tfc.fused.conv2d({ x, filter, strides, pad, dilations, dataFormat: 'NHWC', bias: bias ?? undefined, activation: name });
    }
    const y = groupedConvolve(x, filter, groups, { strides, pad, dilations, differentiable });
    return this.activation.apply(bias === null ? y : tfc.add(y, bias));
  }

  outputShape(shape: Shape): Shape {
    const first = this.channelAxis === 1;
    const space = (first ? shape.slice(2) : shape.slice(1, 3)).map((length, axis) => {
      if (length === null) return null;
      const reach = this.padding === 'same' ? 0 : (this.kernelSize[axis] - 1) * this.dilationRate[axis];
      return Math.floor((length - reach + this.strides[axis] - 1) / this.strides[axis]);
    });
    return first ? [shape[0], this.filters, ...space] : [shape[0], ...space, this.filters];
  }

  config(): serialization.ConfigDict {
    return {
      filters: this.filters,
      kernelSize: this.kernelSize,
      strides: this.strides,
      padding: this.padding,
      dataFormat: this.dataFormat,
      dilationRate: this.dilationRate,
      groups: this.groups,
      activation: this.activation.getClassName(),
    };
  }
}
