/**
 * A 2D convolution whose kernel is drawn by a hash from a shorter stored array.
 * Chen, Wilson, Tyree, Weinberger & Chen, "Compressing Neural Networks with the Hashing Trick", ICML 2015, applied to the kernel as a matrix
 * [rows · columns · inputs, filters]; tiles after ROBE (Desai et al. 2021) and ROAST (Desai et al. 2023).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor4D } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import { activeTape } from '../autodiff/tape.js';
import { checkBoolean, checkChoice, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import {
  activationOf, constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type ActivationIdentifier, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { groupedConvolve } from '../kernels/convolution/index.js';
import { asFloats, shapeText, splitShapes } from './hashed_inputs.js';
import { checkHashedOptions, HASHED_OPTIONS, hashedConfig, type HashedArgs, type HashedOptions } from './hashed_options.js';
import { HashedWeights } from './hashed_weights.js';

export interface HashedConv2DArgs extends LayerArgs, HashedArgs {
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
  /** Default true. */
  useBias?: boolean;
  /** Of the virtual kernel: the stored weights get the spread that it means for that shape. Default 'glorotNormal'. */
  kernelInitializer?: InitializerIdentifier;
  /** Default 'zeros'. */
  biasInitializer?: InitializerIdentifier;
  /** Of the stored weights, each once. */
  kernelRegularizer?: RegularizerIdentifier;
  biasRegularizer?: RegularizerIdentifier;
  /** Of the stored weights. */
  kernelConstraint?: ConstraintIdentifier;
  biasConstraint?: ConstraintIdentifier;
}

const OPTIONS = [
  'filters', 'kernelSize', 'strides', 'padding', 'dataFormat', 'dilationRate', 'groups', 'activation', 'useBias', 'kernelInitializer', 'biasInitializer',
  'kernelRegularizer', 'biasRegularizer', 'kernelConstraint', 'biasConstraint', ...HASHED_OPTIONS, ...LAYER_OPTIONS,
] as const; // prettier-ignore

/** Activations that the host's convolution computes in the same pass where no gradient is recorded. */
const FUSED = ['linear', 'relu', 'elu'] as const;
type FusedActivation = (typeof FUSED)[number];

type Pair = [number, number];

function checkPair(who: string, option: string, value: unknown): Pair {
  const pair = typeof value === 'number' ? [value, value] : value;
  if (!Array.isArray(pair) || pair.length !== 2) throw new Error(`${who}: ${option} must be a number or two, [down, across], got ${describe(value)}.`);
  return pair.map((length) => checkNumber(who, option, length, integerAtLeast(1))) as Pair;
}

/**
 * y = activation(x ∗ V + b), where the kernel V [rows, columns, inputs / groups, filters] is virtual: as a matrix
 * [rows · columns · inputs / groups, filters], V[i, j] = ξ(i, j) · w[h(i, j)], of K = its size / compression stored weights w. The stored
 * weights, the bias and, in the config, the seed are all that is saved.
 *
 * Input `[batch, height, width, inputs]` (or `[batch, inputs, height, width]`), output `[batch, height', width', filters]` (or channels
 * first) as of `tf.layers.conv2d`; or `[input, bank]` with a bank from {@link hashedBank}, whose numbers then are the stored weights.
 * A mask is refused, as by the host's convolution.
 *
 * Costs. Parameters: K + filters. Time: that of a convolution and that of expanding V, which is small beside it. `predict` keeps V until the
 * weights change and the layer is used again, or is disposed of; training keeps nothing.
 *
 * ```js
 * const model = tf.sequential();
 * model.add(hashedConv2d({filters: 32, kernelSize: 3, compression: 8, activation: 'relu', inputShape: [28, 28, 1]}));
 * model.add(tf.layers.flatten());
 * model.add(hashedDense({units: 10, compression: 8, activation: 'softmax'}));
 * ```
 *
 * With a dilation the host's convolution cannot be trained; this one can.
 *
 * When not to use it: for the first convolution of a network, with few weights to save, or a depthwise one.
 *
 * Deviations from the paper, which hashes dense layers: see {@link HashedDense}.
 */
export class HashedConv2D extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'HashedConv2D';

  readonly filters: number;
  readonly kernelSize: Pair;
  readonly strides: Pair;
  readonly padding: 'valid' | 'same';
  readonly dataFormat: 'channelsFirst' | 'channelsLast';
  readonly dilationRate: Pair;
  readonly groups: number;
  readonly useBias: boolean;
  readonly activation: Activation;
  readonly kernelInitializer: Initializer;
  readonly biasInitializer: Initializer;
  readonly kernelRegularizer: Regularizer | null;
  readonly biasRegularizer: Regularizer | null;
  readonly kernelConstraint: Constraint | null;
  readonly biasConstraint: Constraint | null;
  /** The stored weights, [buckets]; null before the layer is built, and where a bank holds them. */
  kernel: LayerVariable | null = null;
  /** [filters] */
  bias: LayerVariable | null = null;
  readonly #hashing: HashedOptions;
  readonly #weights: HashedWeights;

  constructor(args: HashedConv2DArgs) {
    super(args ?? {});
    const who = 'HashedConv2D';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with filters, kernelSize and compression, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
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
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
    this.activation = activationOf(who, 'activation', args.activation);
    this.kernelInitializer = initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotNormal');
    this.biasInitializer = initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros');
    this.kernelRegularizer = regularizerOf(who, 'kernelRegularizer', args.kernelRegularizer);
    this.biasRegularizer = regularizerOf(who, 'biasRegularizer', args.biasRegularizer);
    this.kernelConstraint = constraintOf(who, 'kernelConstraint', args.kernelConstraint);
    this.biasConstraint = constraintOf(who, 'biasConstraint', args.biasConstraint);
    this.#hashing = checkHashedOptions(who, args);
    this.#weights = new HashedWeights(who, this.#hashing);
  }

  override build(inputShape: Shape | Shape[]): void {
    const [shape, bank] = splitShapes('HashedConv2D', this.name, inputShape);
    const channelAxis = this.dataFormat === 'channelsFirst' ? 1 : 3;
    const inputs = shape[channelAxis];
    if (shape.length !== 4 || inputs == null) {
      throw new Error(`HashedConv2D: layer '${this.name}' expects images ${this.dataFormat === 'channelsFirst' ? '[batch, channels, height, width]' : '[batch, height, width, channels]'} with a known number of channels, got ${shapeText(shape)}.`);
    }
    if (inputs % this.groups !== 0) {
      throw new Error(`HashedConv2D: layer '${this.name}': groups must divide the number of input channels, got groups ${this.groups} and ${inputs} channels.`);
    }
    const [height, width] = this.kernelSize;
    const depth = inputs / this.groups;
    this.kernel = this.#weights.build(this, {
      rows: height * width * depth, columns: this.filters, shape: [height, width, depth, this.filters],
      fanIn: height * width * depth, fanOut: height * width * this.filters,
      initializer: this.kernelInitializer, regularizer: this.kernelRegularizer, constraint: this.kernelConstraint,
    }, bank); // prettier-ignore
    if (this.useBias) {
      this.bias = this.addWeight('bias', [this.filters], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true, this.biasConstraint ?? undefined);
    }
    const ofInput = { ndim: 4, axes: { [channelAxis]: inputs } };
    this.inputSpec = bank === undefined ? [ofInput] : [ofInput, { shape: [bank] }];
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const [input, bank] = Array.isArray(inputs) ? inputs : [inputs];
      const numbers = asFloats(`HashedConv2D: layer '${this.name}'`, input as Tensor4D);
      const first = this.dataFormat === 'channelsFirst';
      const x = first ? tfc.transpose(numbers, [0, 2, 3, 1]) : numbers;
      const [height, width] = this.kernelSize;
      const filter = tfc.reshape(this.#weights.matrix(bank), [height, width, x.shape[3] / this.groups, this.filters]) as Tensor4D;
      const y = this.#convolution(x, filter);
      return first ? tfc.transpose(y, [0, 3, 1, 2]) : y;
    });
  }

  #convolution(x: Tensor4D, filter: Tensor4D): Tensor {
    const bias = this.bias && (variableOf(this.bias) as Tensor as tfc.Tensor1D);
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

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const [shape] = splitShapes('HashedConv2D', this.name, inputShape);
    const first = this.dataFormat === 'channelsFirst';
    const space = (first ? shape.slice(2) : shape.slice(1, 3)).map((length, axis) => {
      if (length === null) return null;
      const reach = this.padding === 'same' ? 0 : (this.kernelSize[axis] - 1) * this.dilationRate[axis];
      return Math.floor((length - reach + this.strides[axis] - 1) / this.strides[axis]);
    });
    return first ? [shape[0], this.filters, ...space] : [shape[0], ...space, this.filters];
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.#weights.dispose();
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      filters: this.filters,
      kernelSize: this.kernelSize,
      strides: this.strides,
      padding: this.padding,
      dataFormat: this.dataFormat,
      dilationRate: this.dilationRate,
      groups: this.groups,
      activation: this.activation.getClassName(),
      useBias: this.useBias,
      kernelInitializer: serialized(this.kernelInitializer),
      biasInitializer: serialized(this.biasInitializer),
      kernelRegularizer: serialized(this.kernelRegularizer),
      biasRegularizer: serialized(this.biasRegularizer),
      kernelConstraint: serialized(this.kernelConstraint),
      biasConstraint: serialized(this.biasConstraint),
      ...hashedConfig(this.#hashing),
    };
  }
}

/** A convolution with hashed weights. See {@link HashedConv2D}. */
export function hashedConv2d(args: HashedConv2DArgs): HashedConv2D {
  return new HashedConv2D(args);
}

tfc.serialization.registerClass(HashedConv2D);
