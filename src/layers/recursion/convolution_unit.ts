/** One convolution of a recursion's block, with the activation and normalisation around it. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { isRecording } from '../../autodiff/tape.js';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../../checks.js';
import {
  activationOf, constraintOf, initializerOf, initializerOfNth, regularizerOf, variableOf,
  type Activation, type ActivationIdentifier, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerVariable, type RegularizedWeight, type Regularizer, type RegularizerIdentifier,
} from '../../host.js'; // prettier-ignore
import { convolve, depthwiseConvolve, groupedConvolve } from '../../kernels/convolution/index.js';
import { identityKernel } from './identity_kernel.js';
import type { LoopContext, WeightOwner } from './loop_context.js';
import { checkNormalization, LoopNormalization, type NormalizationChoice } from './loop_normalization.js';

export interface ConvolutionArgs {
  /** Length of the kernel, or height and width. Default: no convolution, only normalisation and activation. */
  kernelSize?: number | [number, number];
  /** Channels out. Default: those that come in, times `depthMultiplier`. */
  filters?: number;
  /** A depthwise convolution: each channel by itself, to so many. Integer ≥ 1. Default null: not depthwise. */
  depthMultiplier?: number | null;
  /** Groups of channels that are convolved each by itself. They divide both numbers of channels. Default 1. */
  groups?: number;
  /** Distance of the kernel's taps. Default 1. */
  dilationRate?: number | [number, number];
  /** Must be 1: a recursion keeps the size of its state. */
  strides?: number | [number, number];
  /** Must be 'same', for the same reason. */
  padding?: 'same';
  /** Default: none. */
  activation?: ActivationIdentifier;
  /** Normalisation, activation, convolution, in that order (He et al. 2016), instead of convolution, normalisation, activation. Default false. */
  preActivation?: boolean;
  /** Batch normalisation: `none`, with weights `perRecursion`, or `shared`. Default 'none'. */
  normalization?: NormalizationChoice;
  /** Default true. */
  useBias?: boolean;
  /** `'identity'`: the middle tap from each channel to itself, so that the convolution changes nothing at first. Default 'glorotNormal'. */
  kernelInitializer?: InitializerIdentifier;
  /** Default 'zeros'. */
  biasInitializer?: InitializerIdentifier;
  /** Of the kernel, counted once, however many recursions. */
  kernelRegularizer?: RegularizerIdentifier;
  biasRegularizer?: RegularizerIdentifier;
  kernelConstraint?: ConstraintIdentifier;
  biasConstraint?: ConstraintIdentifier;
}

export const CONVOLUTION_OPTIONS = [
  'kernelSize', 'filters', 'depthMultiplier', 'groups', 'dilationRate', 'strides', 'padding', 'activation', 'preActivation', 'normalization', 'useBias',
  'kernelInitializer', 'biasInitializer', 'kernelRegularizer', 'biasRegularizer', 'kernelConstraint', 'biasConstraint',
] as const; // prettier-ignore

type Pair = [number, number];
const pairOf = (who: string, option: string, value: number | Pair): Pair => {
  const pair = typeof value === 'number' ? [value, value] : value;
  if (!Array.isArray(pair) || pair.length !== 2) throw new Error(`${who}: ${option} must be a number or two, [down, across], got ${describe(value)}.`);
  return pair.map((length) => checkNumber(who, option, length, integerAtLeast(1))) as Pair;
};

/** How the unit's weights relate to the recursions. */
export interface UnitPlan {
  /** Channels that come in at each recursion, from 0. */
  inputs: readonly number[];
  /** One kernel for all recursions, or one for each. */
  tied: boolean;
  /** Axes of space: 1 or 2. */
  axes: number;
  /** Appended to the names of weights. */
  suffix: string;
}

export class ConvolutionUnit {
  readonly #who: string;
  readonly #kernelSize: Pair | null;
  readonly #filters: number | null;
  readonly #depthMultiplier: number | null;
  readonly #groups: number;
  readonly #dilationRate: Pair;
  readonly #activation: Activation;
  readonly #preActivation: boolean;
  readonly #useBias: boolean;
  readonly #normalization: LoopNormalization | null;
  readonly #initializers: { kernel: Initializer; bias: Initializer };
  readonly #constraints: { kernel: Constraint | null; bias: Constraint | null };
  readonly regularizers: { kernel: Regularizer | null; bias: Regularizer | null };
  /** Where the regularizers of kernels and biases stand, if not as they were given. */
  #places: { kernels: RegularizedWeight[]; biases: RegularizedWeight[] } = { kernels: [], biases: [] };
  kernels: LayerVariable[] = [];
  biases: LayerVariable[] = [];

  /** @throws Error for options that are unknown or out of range, and for strides. */
  constructor(who: string, args: ConvolutionArgs) {
    checkKeys(who, args, CONVOLUTION_OPTIONS);
    this.#who = who;
    this.#kernelSize = args.kernelSize === undefined ? null : pairOf(who, 'kernelSize', args.kernelSize);
    this.#filters = args.filters === undefined ? null : checkNumber(who, 'filters', args.filters, integerAtLeast(1));
    this.#depthMultiplier = args.depthMultiplier == null ? null : checkNumber(who, 'depthMultiplier', args.depthMultiplier, integerAtLeast(1));
    this.#groups = checkNumber(who, 'groups', args.groups ?? 1, integerAtLeast(1));
    this.#dilationRate = pairOf(who, 'dilationRate', args.dilationRate ?? 1);
    if (pairOf(who, 'strides', args.strides ?? 1).some((stride) => stride !== 1)) {
      throw new Error(`${who}: strides must be 1, got ${describe(args.strides)}: a recursion keeps the size of its state. Pool or stride in a layer before or after it.`);
    }
    if (args.padding !== undefined && args.padding !== 'same') throw new Error(`${who}: padding must be 'same', got ${describe(args.padding)}: a recursion keeps the size of its state. Crop in a layer before or after it.`);
    if (this.#depthMultiplier !== null && (this.#filters !== null || this.#groups !== 1)) throw new Error(`${who}: a depthwise convolution has no filters and no groups: depthMultiplier alone says how many channels come out.`);
    if (this.#kernelSize === null && (this.#filters ?? this.#depthMultiplier) !== null) throw new Error(`${who}: kernelSize must be given with filters or depthMultiplier.`);
    this.#activation = activationOf(who, 'activation', args.activation);
    this.#preActivation = checkBoolean(who, 'preActivation', args.preActivation ?? false);
    const normalization = checkNormalization(who, args.normalization ?? 'none');
    this.#normalization = normalization && new LoopNormalization(normalization);
    this.#useBias = checkBoolean(who, 'useBias', args.useBias ?? true) && this.#kernelSize !== null;
    this.#initializers = { kernel: initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotNormal'), bias: initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros') };
    this.#constraints = { kernel: constraintOf(who, 'kernelConstraint', args.kernelConstraint), bias: constraintOf(who, 'biasConstraint', args.biasConstraint) };
    this.regularizers = { kernel: regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer), bias: regularizerOf(who, 'biasRegularizer', args.biasRegularizer) };
  }

  get kind(): 'none' | 'depthwise' | 'plain' {
    if (this.#kernelSize === null) return 'none';
    return this.#depthMultiplier === null ? 'plain' : 'depthwise';
  }

  /** Channels out for so many in. */
  channels(inputs: number): number {
    if (this.#kernelSize === null) return inputs;
    return this.#depthMultiplier === null ? (this.#filters ?? inputs) : inputs * this.#depthMultiplier;
  }

  /** A place for the regularizer of each kernel and bias that will be made, by slot: of `copies`, or of one for all recursions where that is null. */
  regularizedWeights(copies: number | null, suffix: string): Record<string, RegularizedWeight> {
    if (this.#kernelSize === null) return {};
    const places = (regularizer: Regularizer | null) => Array.from({ length: copies ?? 1 }, (): RegularizedWeight => ({ weight: null, regularizer }));
    this.#places = { kernels: places(this.regularizers.kernel), biases: this.#useBias ? places(this.regularizers.bias) : [] };
    // The host's conversion of configs changes values, too: names with underscores, and capitals behind digits, would not come back.
    const camel = (name: string) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
    const slots = (name: string, all: RegularizedWeight[]) => all.map((place, copy) => [camel(`${name}_regularizer${suffix}${copies === null ? '' : `_copy${copy}`}`), place]);
    return Object.fromEntries([...slots(this.#kernelName, this.#places.kernels), ...slots('bias', this.#places.biases)]) as Record<string, RegularizedWeight>;
  }

  get #kernelName(): string {
    return this.#depthMultiplier === null ? 'kernel' : 'depthwise_kernel';
  }

  /** @throws Error if groups do not divide the channels, or if one kernel cannot serve the channels of all recursions. */
  build(owner: WeightOwner, { inputs, tied, axes, suffix }: UnitPlan): void {
    const most = Math.max(...inputs);
    const outputs = this.channels(most);
    const grows = inputs.some((count) => count !== most);
    if (most % this.#groups !== 0 || outputs % this.#groups !== 0) throw new Error(`${this.#who}: groups must divide the channels in and out, got groups ${this.#groups}, ${most} in and ${outputs} out.`);
    if (grows && (this.#depthMultiplier !== null || this.#groups !== 1 || this.#filters === null)) {
      throw new Error(`${this.#who}: with connection 'dense' the first convolution of the block sees ever more channels: give it filters, without groups and depthMultiplier.`);
    }
    if (this.#kernelSize !== null) {
      const counts = tied ? [most] : inputs;
      const named = (name: string, copy: number) => `${name}${suffix}${tied ? '' : `_${copy}`}`;
      const placed = (place: RegularizedWeight | undefined, given: Regularizer | null, add: (regularizer: Regularizer | null) => LayerVariable): LayerVariable => {
        const weight = add(place === undefined ? given : place.regularizer);
        if (place !== undefined) place.weight = weight;
        return weight;
      };
      this.kernels = counts.map((count, copy) => placed(this.#places.kernels[copy], this.regularizers.kernel, (regularizer) => this.#addKernel(owner, named(this.#kernelName, copy), count, axes, copy, regularizer)));
      if (this.#useBias) this.biases = counts.map((_, copy) => placed(this.#places.biases[copy], this.regularizers.bias, (regularizer) => owner.add(named('bias', copy), [outputs], this.#initializers.bias, { regularizer, constraint: this.#constraints.bias })));
    }
    this.#normalization?.build(owner, suffix, this.#preActivation ? most : outputs, inputs.length);
  }

  #addKernel(owner: WeightOwner, name: string, inputs: number, axes: number, copy: number, regularizer: Regularizer | null): LayerVariable {
    const space = this.#kernelSize!.slice(0, axes);
    const shape = this.#depthMultiplier === null ? [...space, inputs / this.#groups, this.channels(inputs)] : [...space, inputs, this.#depthMultiplier];
    const options = { regularizer, constraint: this.#constraints.kernel };
    if (this.#initializers.kernel.getClassName() !== 'Identity') return owner.add(name, shape, initializerOfNth(this.#initializers.kernel, copy), options);
    // The host's identity makes square matrices only.
    const gain = this.#initializers.kernel.getConfig()['gain'] as number;
    const apply = () => identityKernel(this.#who, shape, { groups: this.#groups, depthwise: this.#depthMultiplier !== null, gain });
    return owner.add(name, shape, { apply } as unknown as Initializer, options);
  }

  apply(x: Tensor, context: LoopContext): Tensor {
    const around = (y: Tensor) => this.#activation.apply(this.#normalization?.apply(y, context) ?? y);
    return this.#preActivation ? this.#convolve(around(x), context) : around(this.#convolve(x, context));
  }

  #convolve(x: Tensor, { recursion }: LoopContext): Tensor {
    if (this.#kernelSize === null) return x;
    const of = (weights: LayerVariable[]): Tensor => variableOf(weights[weights.length === 1 ? 0 : recursion]);
    const kernel = narrowed(of(this.kernels), this.#depthMultiplier === null ? x.shape[x.rank - 1] / this.#groups : null);
    const y = convolved(x, kernel, { depthwise: this.#depthMultiplier !== null, groups: this.#groups, dilations: this.#dilationRate });
    return this.#useBias ? tfc.add(y, of(this.biases)) : y;
  }
}

/** The first `inputs` input channels of a kernel [...space, in, out]. */
function narrowed(kernel: Tensor, inputs: number | null): Tensor {
  const axis = kernel.rank - 2;
  if (inputs === null || kernel.shape[axis] === inputs) return kernel;
  return tfc.slice(kernel, kernel.shape.map(() => 0), kernel.shape.map((length, i) => (i === axis ? inputs : length))); // prettier-ignore
}

/** A convolution of the same size, x [batch, …space, in] over one or two axes of space. */
function convolved(x: Tensor, kernel: Tensor, { depthwise, groups, dilations }: { depthwise: boolean; groups: number; dilations: Pair }): Tensor {
  if (x.rank === 3) {
    const [batch, length, channels] = x.shape;
    const [taps, ...rest] = kernel.shape;
    const y = convolved(tfc.reshape(x, [batch, length, 1, channels]), tfc.reshape(kernel, [taps, 1, ...rest]), { depthwise, groups, dilations: [dilations[0], 1] });
    return tfc.squeeze(y, [2]);
  }
  const args = { strides: [1, 1] as Pair, pad: 'same' as const, dilations, differentiable: isRecording() };
  const [image, filter] = [x as Tensor4D, kernel as Tensor4D];
  if (depthwise) return depthwiseConvolve(image, filter, args);
  return groups === 1 ? convolve(image, filter, args) : groupedConvolve(image, filter, groups, args);
}
