/** A 2D convolution whose kernel comes from a bank of parameters. Plummer et al., "Neural Parameter Allocation Search", ICLR 2022. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor4D } from '@tensorflow/tfjs-core';
import type { Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean } from '../checks.js';
import {
  constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { BankedLayer } from './banked_layer.js';
import { BANKED_OPTIONS, type BankedArgs } from './banked_options.js';
import { CONVOLUTION_PLAN_OPTIONS, ConvolutionPlan, type ConvolutionPlanArgs } from './convolution_plan.js';

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
 * bank with `passInput`. Output as of `tf.layers.conv2d`. A mask is not looked at. Parameters beside the bank's: filters for the bias; K
 * coefficients, or the embedding; with upsampling 'mask' 9 for each repetition. Time: that of a convolution, and that of making W.
 *
 * ```js
 * const x = tf.input({shape: [32, 32, 3]});
 * const bank = parameterBank({size: 9000}).apply(x);
 * let h = bankedConv2d({filters: 32, kernelSize: 3, activation: 'relu'}).apply([x, bank]);
 * h = bankedConv2d({filters: 64, kernelSize: 3, activation: 'relu'}).apply([h, bank]);
 * ```
 */
export class BankedConv2D extends BankedLayer {
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

  constructor(args: BankedConv2DArgs) {
    const who = 'BankedConv2D';
    super(who, args, OPTIONS, 'filters and kernelSize');
    this.plan = new ConvolutionPlan(who, args);
    this.activation = this.plan.activation;
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
    this.kernelInitializer = initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotNormal');
    this.biasInitializer = initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros');
    this.biasRegularizer = regularizerOf(who, 'biasRegularizer', args.biasRegularizer);
    this.biasConstraint = constraintOf(who, 'biasConstraint', args.biasConstraint);
  }

  override build(inputShape: Shape | Shape[]): void {
    const { kernelSize: [rows, columns], groups, filters } = this.plan;
    const inputs = this.plan.inputChannels(this.name, this.weightsOfBank.inputOf(inputShape)) / groups;
    const taps = rows * columns;
    this.weightsOfBank.build(inputShape, { inputs, taps, outputs: filters, fanIn: taps * inputs, fanOut: taps * filters, initializer: this.kernelInitializer });
    if (this.useBias) {
      this.bias = this.addWeight('bias', [filters], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true, this.biasConstraint ?? undefined);
    }
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const { input, bank } = this.weightsOfBank.use.tensors(inputs);
      const { kernelSize, filters, groups, channelAxis } = this.plan;
      const weights = tfc.reshape(this.weightsOfBank.tensor(bank), [input.shape[channelAxis]! / groups, ...kernelSize, filters]);
      const kernel = tfc.transpose(weights, [1, 2, 0, 3]) as Tensor4D;
      return this.plan.apply(this.name, input, kernel, this.bias && (variableOf(this.bias) as Tensor as Tensor1D));
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return this.plan.outputShape((Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as Shape);
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
    };
  }
}

/** A convolution on a bank of parameters. See {@link BankedConv2D}. */
export function bankedConv2d(args: BankedConv2DArgs): BankedConv2D {
  return new BankedConv2D(args);
}

tfc.serialization.registerClass(BankedConv2D);
