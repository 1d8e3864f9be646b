/** A 2D convolution whose kernel comes from a bank of parameters. Plummer et al., "Neural Parameter Allocation Search", ICLR 2022. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor4D } from '@tensorflow/tfjs-core';
import { layers, type Shape, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, describe } from '../checks.js';
import {
  constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import type { SymbolicInputs } from './bank_use.js';
import { BANKED_OPTIONS, bankedConfig, type BankedArgs } from './banked_options.js';
import { BankedWeights } from './banked_weights.js';
import { CONVOLUTION_PLAN_OPTIONS, ConvolutionPlan, type ConvolutionPlanArgs } from './convolution_plan.js';
import type { ParameterBank } from './parameter_bank.js';

export interface BankedConv2DArgs extends LayerArgs, ConvolutionPlanArgs, BankedArgs {
  /** Default true. */
  useBias?: boolean;
  /** Whose spread the weights start with. Default 'glorotNormal'. */
  kernelInitializer?: InitializerIdentifier;
  /** Default 'zeros'. */
  biasInitializer?: InitializerIdentifier;
  biasRegularizer?: RegularizerIdentifier | null;
  biasConstraint?: ConstraintIdentifier | null;
}

const OPTIONS = [
  ...CONVOLUTION_PLAN_OPTIONS, 'useBias', 'kernelInitializer', 'biasInitializer', 'biasRegularizer', 'biasConstraint', ...BANKED_OPTIONS, ...LAYER_OPTIONS,
] as const; // prettier-ignore

/**
 * y = activation(x ∗ W + b), where W [rows, columns, inputs / groups, filters] is made of K windows of a {@link ParameterBank}'s numbers (see
 * {@link Combination}), in the order [inputs, rows, columns, filters], stretched along inputs and filters where the bank is smaller than W.
 *
 * Input `[batch, height, width, channels]` (or channels first) as of `tf.layers.conv2d`, with the bank as `[x, bank]`, or alone downstream of a
 * bank with `passInput`. Output as of `tf.layers.conv2d`. A mask is refused. Parameters beside the bank's: filters for the bias; K
 * coefficients, or the embedding; with upsampling 'mask' 9 for each repetition. Time: that of a convolution, and that of making W.
 *
 * ```js
 * const x = tf.input({shape: [32, 32, 3]});
 * const bank = parameterBank({size: 9000}).apply(x);
 * let h = bankedConv2d({filters: 32, kernelSize: 3, activation: 'relu'}).apply([x, bank]);
 * h = bankedConv2d({filters: 64, kernelSize: 3, activation: 'relu'}).apply([h, bank]);
 * ```
 */
export class BankedConv2D extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'BankedConv2D';

  readonly plan: ConvolutionPlan;
  readonly activation: Activation;
  readonly useBias: boolean;
  readonly kernelInitializer: Initializer;
  readonly biasInitializer: Initializer;
  readonly biasRegularizer: Regularizer | null;
  readonly biasConstraint: Constraint | null;
  /** [filters] */
  bias: LayerVariable | null = null;
  readonly #weights: BankedWeights;

  constructor(args: BankedConv2DArgs) {
    super(args ?? {});
    const who = 'BankedConv2D';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with filters and kernelSize, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.plan = new ConvolutionPlan(who, args);
    this.activation = this.plan.activation;
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
    this.kernelInitializer = initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotNormal');
    this.biasInitializer = initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros');
    this.biasRegularizer = regularizerOf(who, 'biasRegularizer', args.biasRegularizer);
    this.biasConstraint = constraintOf(who, 'biasConstraint', args.biasConstraint);
    this.#weights = new BankedWeights(who, this, args);
  }

  /** α, [candidates], with learned weights; null before the layer is built and otherwise. */
  get coefficients(): LayerVariable | null {
    return this.#weights.coefficients;
  }

  /** The bank; null before the layer is applied in a model, and where the numbers come from outside of it. */
  get bank(): ParameterBank | null {
    return this.#weights.use.owner;
  }

  /** How many weights the layer makes of the bank's numbers; 0 before it is built. */
  get bankedWeights(): number {
    return this.#weights.count;
  }

  override apply(inputs: SymbolicInputs, kwargs?: object): Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[] {
    this.#weights.use.onApply(inputs);
    return super.apply(inputs, kwargs as never);
  }

  override build(inputShape: Shape | Shape[]): void {
    const { kernelSize: [rows, columns], groups, filters } = this.plan;
    const inputs = this.plan.inputChannels(this.name, this.#weights.inputOf(inputShape)) / groups;
    const taps = rows * columns;
    this.#weights.build(inputShape, { inputs, taps, outputs: filters, fanIn: taps * inputs, fanOut: taps * filters, initializer: this.kernelInitializer });
    if (this.useBias) {
      this.bias = this.addWeight('bias', [filters], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true, this.biasConstraint ?? undefined);
    }
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const { input, bank } = this.#weights.use.tensors(inputs);
      const { kernelSize, filters, groups, channelAxis } = this.plan;
      const weights = tfc.reshape(this.#weights.tensor(bank), [input.shape[channelAxis]! / groups, ...kernelSize, filters]);
      const kernel = tfc.transpose(weights, [1, 2, 0, 3]) as Tensor4D;
      return this.plan.apply(this.name, input, kernel, this.bias && (variableOf(this.bias) as Tensor as Tensor1D));
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return this.plan.outputShape((Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as Shape);
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
      biasRegularizer: serialized(this.biasRegularizer),
      biasConstraint: serialized(this.biasConstraint),
      bank: this.#weights.use.config(),
      ...bankedConfig(this.#weights.options),
    };
  }
}

/** A convolution on a bank of parameters. See {@link BankedConv2D}. */
export function bankedConv2d(args: BankedConv2DArgs): BankedConv2D {
  return new BankedConv2D(args);
}

tfc.serialization.registerClass(BankedConv2D);
