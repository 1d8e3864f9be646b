/**
 * A 2D convolution whose kernel is drawn by a hash from a shorter stored array.
 * Chen, Wilson, Tyree, Weinberger & Chen, "Compressing Neural Networks with the Hashing Trick", ICML 2015, applied to the kernel as a matrix
 * [rows · columns · inputs, filters]; tiles after ROBE (Desai et al. 2021) and ROAST (Desai et al. 2023).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor4D } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, describe } from '../checks.js';
import {
  constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { CONVOLUTION_PLAN_OPTIONS, ConvolutionPlan, type ConvolutionPlanArgs } from './convolution_plan.js';
import { splitShapes } from './hashed_inputs.js';
import { checkHashedOptions, HASHED_OPTIONS, hashedConfig, type HashedArgs, type HashedOptions } from './hashed_options.js';
import { HashedWeights } from './hashed_weights.js';

export interface HashedConv2DArgs extends LayerArgs, HashedArgs, ConvolutionPlanArgs {
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
  ...CONVOLUTION_PLAN_OPTIONS, 'useBias', 'kernelInitializer', 'biasInitializer', 'kernelRegularizer', 'biasRegularizer', 'kernelConstraint', 'biasConstraint',
  ...HASHED_OPTIONS, ...LAYER_OPTIONS,
] as const; // prettier-ignore

/**
 * y = activation(x ∗ V + b), where the kernel V [rows, columns, inputs / groups, filters] is virtual: as a matrix
 * [rows · columns · inputs / groups, filters], V[i, j] = ξ(i, j) · w[h(i, j)], of K = its size / compression stored weights w. The stored
 * weights, the bias and, in the config, the seed are all that is saved.
 *
 * Input `[batch, height, width, inputs]` (or `[batch, inputs, height, width]`), output `[batch, height', width', filters]` (or channels
 * first) as of `tf.layers.conv2d`; or `[input, bank]` with a bank from {@link hashedBank}, whose numbers then are the stored weights.
 * A mask is not looked at, as by the host's convolution.
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

  readonly plan: ConvolutionPlan;
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
    this.plan = new ConvolutionPlan(who, args);
    this.activation = this.plan.activation;
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
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
    const inputs = this.plan.inputChannels(this.name, shape);
    const { kernelSize: [height, width], filters, groups } = this.plan;
    const depth = inputs / groups;
    this.kernel = this.#weights.build(this, {
      rows: height * width * depth, columns: filters, shape: [height, width, depth, filters],
      fanIn: height * width * depth, fanOut: height * width * filters,
      initializer: this.kernelInitializer, regularizer: this.kernelRegularizer, constraint: this.kernelConstraint,
    }, bank); // prettier-ignore
    if (this.useBias) {
      this.bias = this.addWeight('bias', [filters], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true, this.biasConstraint ?? undefined);
    }
    const ofInput = { ndim: 4, axes: { [this.plan.channelAxis]: inputs } };
    this.inputSpec = bank === undefined ? [ofInput] : [ofInput, { shape: [bank] }];
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const [input, bank] = Array.isArray(inputs) ? inputs : [inputs];
      const { kernelSize: [height, width], filters, groups, channelAxis } = this.plan;
      const filter = tfc.reshape(this.#weights.matrix(bank), [height, width, input.shape[channelAxis]! / groups, filters]) as Tensor4D;
      return this.plan.apply(this.name, input, filter, this.bias && (variableOf(this.bias) as Tensor as Tensor1D));
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const [shape] = splitShapes('HashedConv2D', this.name, inputShape);
    return this.plan.outputShape(shape);
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.#weights.dispose();
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      ...this.plan.config(),
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
