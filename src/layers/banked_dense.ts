/** A dense layer whose weights come from a bank of parameters. Plummer et al., "Neural Parameter Allocation Search", ICLR 2022. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import type { Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkNumber, integerAtLeast } from '../checks.js';
import {
  activationOf, constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type ActivationIdentifier, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { denseProduct } from '../kernels/dense_product/index.js';
import { BankedLayer } from './banked_layer.js';
import { BANKED_OPTIONS, type BankedArgs } from './banked_options.js';
import { asFloats, shapeText } from './hashed_inputs.js';

export interface BankedDenseArgs extends LayerArgs, BankedArgs {
  /** Number of outputs. Required. */
  units: number;
  /** Default: none. */
  activation?: ActivationIdentifier;
  /** Default true. */
  useBias?: boolean;
  /** Whose spread the weights start with. Default 'glorotNormal'. */
  kernelInitializer?: InitializerIdentifier;
  /** Default 'zeros'. */
  biasInitializer?: InitializerIdentifier;
  biasRegularizer?: RegularizerIdentifier | null;
  biasConstraint?: ConstraintIdentifier | null;
}

const OPTIONS = ['units', 'activation', 'useBias', 'kernelInitializer', 'biasInitializer', 'biasRegularizer', 'biasConstraint', ...BANKED_OPTIONS, ...LAYER_OPTIONS] as const;

/**
 * y = activation(x · W + b), where W [inputs, units] is made of K windows of a {@link ParameterBank}'s numbers (see {@link Combination}),
 * stretched where the bank is smaller than W.
 *
 * Input `[batch, …, inputs]`, with the bank as `[x, bank]`, or alone downstream of a bank with `passInput`. Output `[batch, …, units]`. A mask
 * passes. Parameters beside the bank's: units for the bias; K coefficients, or the embedding; with upsampling 'mask' 9 for each repetition.
 * Time: that of a dense layer, and that of making W: K operations a weight.
 *
 * ```js
 * const model = tf.sequential({layers: [
 *   parameterBank({size: 5000, passInput: true, inputShape: [784]}),
 *   bankedDense({units: 100, activation: 'relu'}),
 *   bankedDense({units: 100, activation: 'relu'}),
 *   tf.layers.dense({units: 10, activation: 'softmax'}),
 * ]}); // 78 400 + 10 000 weights out of 5 000 numbers
 * ```
 *
 * When not to use it: with one layer on the bank; see `hashedDense`.
 */
export class BankedDense extends BankedLayer {
  /** @nocollapse */
  static readonly className = 'BankedDense';

  readonly units: number;
  readonly activation: Activation;
  readonly useBias: boolean;
  readonly kernelInitializer: Initializer;
  readonly biasInitializer: Initializer;
  readonly biasRegularizer: Regularizer | null;
  readonly biasConstraint: Constraint | null;
  /** [units] */
  bias: LayerVariable | null = null;

  constructor(args: BankedDenseArgs) {
    const who = 'BankedDense';
    super(who, args, OPTIONS, 'units');
    this.units = checkNumber(who, 'units', args.units, integerAtLeast(1), 'It is the number of outputs.');
    this.activation = activationOf(who, 'activation', args.activation);
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
    this.kernelInitializer = initializerOf(who, 'kernelInitializer', args.kernelInitializer ?? 'glorotNormal');
    this.biasInitializer = initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros');
    this.biasRegularizer = regularizerOf(who, 'biasRegularizer', args.biasRegularizer);
    this.biasConstraint = constraintOf(who, 'biasConstraint', args.biasConstraint);
    this.supportsMasking = true;
  }

  override build(inputShape: Shape | Shape[]): void {
    const shape = this.weightsOfBank.inputOf(inputShape);
    const inputs = shape.at(-1);
    if (shape.length < 2 || inputs == null) throw new Error(`BankedDense: layer '${this.name}' expects [batch, …, inputs] with a known number of inputs, got ${shapeText(shape)}.`);
    this.weightsOfBank.build(inputShape, { inputs, taps: 1, outputs: this.units, fanIn: inputs, fanOut: this.units, initializer: this.kernelInitializer });
    if (this.useBias) {
      this.bias = this.addWeight('bias', [this.units], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true, this.biasConstraint ?? undefined);
    }
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const { input, bank } = this.weightsOfBank.use.tensors(inputs);
      const x = asFloats(`BankedDense: layer '${this.name}'`, input);
      const width = input.shape[input.rank - 1];
      const kernel = tfc.reshape(this.weightsOfBank.tensor(bank), [width, this.units]) as Tensor2D;
      const y = denseProduct(tfc.reshape(x, [-1, width]) as Tensor2D, kernel);
      return tfc.reshape(this.activation.apply(this.bias === null ? y : tfc.add(y, variableOf(this.bias))), [...input.shape.slice(0, -1), this.units]);
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const shape = (Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as Shape;
    return [...shape.slice(0, -1), this.units];
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor {
    return ([mask].flat()[0] ?? null) as Tensor;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      units: this.units,
      activation: this.activation.getClassName(),
      useBias: this.useBias,
      kernelInitializer: serialized(this.kernelInitializer),
      biasInitializer: serialized(this.biasInitializer),
      biasRegularizer: serialized(this.biasRegularizer),
      biasConstraint: serialized(this.biasConstraint),
    };
  }
}

/** A dense layer on a bank of parameters. See {@link BankedDense}. */
export function bankedDense(args: BankedDenseArgs): BankedDense {
  return new BankedDense(args);
}

tfc.serialization.registerClass(BankedDense);
