/**
 * A 2D convolution whose kernel is a learned combination of a bank's templates. Savarese & Maire, "Learning Implicitly Recurrent CNNs
 * Through Parameter Sharing", ICLR 2019, eq. 1.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor4D } from '@tensorflow/tfjs-core';
import { layers, type Shape, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, describe } from '../checks.js';
import {
  constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { BankUse, type SymbolicInputs } from './bank_use.js';
import { combineTemplates } from './combine_templates.js';
import { CONVOLUTION_PLAN_OPTIONS, ConvolutionPlan, type ConvolutionPlanArgs } from './convolution_plan.js';
import { shapeText } from './hashed_inputs.js';
import { orthogonalRow } from './orthogonal_rows.js';
import { TemplateBank } from './template_bank.js';

export interface TemplateConv2DArgs extends LayerArgs, ConvolutionPlanArgs {
  /** Which bank upstream to use, where there are several: the layer, or `{name}`. Default null: the only one, or the one that is an input. */
  bank?: { name: string } | null;
  /** Of α, [K]. Default null: a row of a random orthogonal matrix, a different one for each layer on the bank. */
  coefficientsInitializer?: InitializerIdentifier | null;
  /** Of α. Default null: none, as the paper advises also where all else has weight decay. */
  coefficientsRegularizer?: RegularizerIdentifier | null;
  /** Default true. */
  useBias?: boolean;
  /** Default 'zeros'. */
  biasInitializer?: InitializerIdentifier;
  biasRegularizer?: RegularizerIdentifier | null;
  biasConstraint?: ConstraintIdentifier | null;
}

const OPTIONS = [
  ...CONVOLUTION_PLAN_OPTIONS, 'bank', 'coefficientsInitializer', 'coefficientsRegularizer', 'useBias', 'biasInitializer', 'biasRegularizer', 'biasConstraint', ...LAYER_OPTIONS,
] as const; // prettier-ignore

const LEAVE_OUT = 'Leave coefficientsInitializer out for orthogonal rows.';

/**
 * y = activation(x ∗ W + b), W = Σ_k α_k T_k with the K templates T of a {@link TemplateBank} and coefficients α of this layer's own.
 *
 * Input `[batch, height, width, channels]` (or channels first) as of `tf.layers.conv2d`, with the bank as `[x, bank]`; or alone, downstream of
 * a bank with `passInput`, in a Sequential too. Output as of `tf.layers.conv2d`. A mask is not looked at.
 *
 * Costs. Parameters: K + filters, beside the bank's. Time: that of a convolution and K multiplications a kernel weight.
 *
 * ```js
 * const model = tf.sequential({layers: [
 *   templateBank({templates: 2, kernelSize: 3, inputs: 16, filters: 16, passInput: true, inputShape: [32, 32, 16]}),
 *   templateConv2d({filters: 16, kernelSize: 3, padding: 'same', activation: 'relu'}),
 *   templateConv2d({filters: 16, kernelSize: 3, padding: 'same', activation: 'relu'}),
 * ]});
 * layerSimilarity(model);  // which layers have become the same
 * ```
 *
 * Weight decay belongs on the templates (`templateBank({kernelRegularizer})`), not on α.
 *
 * Deviation: with more layers than templates the published code starts from one [L, K] matrix with orthonormal columns, so that rows have norm
 * √(K/L); here each run of K layers has an orthonormal matrix of its own, so that every kernel starts with the templates' spread.
 */
export class TemplateConv2D extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'TemplateConv2D';

  readonly plan: ConvolutionPlan;
  readonly activation: Activation;
  readonly useBias: boolean;
  readonly coefficientsInitializer: Initializer | null;
  readonly coefficientsRegularizer: Regularizer | null;
  readonly biasInitializer: Initializer;
  readonly biasRegularizer: Regularizer | null;
  readonly biasConstraint: Constraint | null;
  /** α, [K]; null before the layer is built. */
  coefficients: LayerVariable | null = null;
  /** [filters] */
  bias: LayerVariable | null = null;
  readonly #use: BankUse<TemplateBank>;

  constructor(args: TemplateConv2DArgs) {
    super(args ?? {});
    const who = 'TemplateConv2D';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with filters and kernelSize, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.plan = new ConvolutionPlan(who, args);
    this.activation = this.plan.activation;
    this.useBias = checkBoolean(who, 'useBias', args.useBias ?? true);
    this.coefficientsInitializer = args.coefficientsInitializer == null ? null : initializerOf(who, 'coefficientsInitializer', args.coefficientsInitializer);
    this.coefficientsRegularizer = regularizerOf(who, 'coefficientsRegularizer', args.coefficientsRegularizer);
    this.biasInitializer = initializerOf(who, 'biasInitializer', args.biasInitializer ?? 'zeros');
    this.biasRegularizer = regularizerOf(who, 'biasRegularizer', args.biasRegularizer);
    this.biasConstraint = constraintOf(who, 'biasConstraint', args.biasConstraint);
    this.#use = new BankUse(who, this, args.bank, { className: TemplateBank.className, factory: 'templateBank' });
  }

  /** The bank; null before the layer is applied in a model, and where the templates come from outside of it. */
  get bank(): TemplateBank | null {
    return this.#use.owner;
  }

  override apply(inputs: SymbolicInputs, kwargs?: object): Tensor | Tensor[] | SymbolicTensor | SymbolicTensor[] {
    this.#use.onApply(inputs);
    return super.apply(inputs, kwargs as never);
  }

  override build(inputShape: Shape | Shape[]): void {
    const who = `TemplateConv2D: layer '${this.name}'`;
    const { input, bank } = this.#use.shapes(inputShape, 1);
    const channels = this.plan.inputChannels(this.name, input);
    const [templates] = bank;
    const expected = [...this.plan.kernelSize, channels / this.plan.groups, this.plan.filters];
    if (bank.length !== 1 || templates.length !== 5 || expected.some((length, axis) => length !== templates[axis + 1])) {
      throw new Error(`${who} needs templates of [rows, columns, inputs, filters] ${shapeText(expected)}, and the bank's are ${shapeText(templates.slice(1))}. Give layers of one shape one templateBank.`);
    }
    const [count] = templates;
    const start = () => this.bank?.startOf(this.#use.place) ?? orthogonalRow(0, count, Math.floor(Math.random() * 2 ** 31));
    const given = this.coefficientsInitializer;
    const initializer = { apply: () => (given === null ? tfc.tensor1d(start()) : this.#drawn(given, count)) } as unknown as Initializer;
    this.coefficients = this.addWeight('coefficients', [count], 'float32', initializer, this.coefficientsRegularizer ?? undefined, true);
    if (this.useBias) {
      this.bias = this.addWeight('bias', [this.plan.filters], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true, this.biasConstraint ?? undefined);
    }
    super.build(inputShape);
  }

  /** α from an initializer of one's own. */
  #drawn(initializer: Initializer, count: number): Tensor {
    let drawn: Tensor;
    try {
      drawn = initializer.apply([count], 'float32');
    } catch (error) {
      throw new Error(`${this.#mustBe(count)}, and coefficientsInitializer '${initializer.getClassName()}' makes none of it: ${(error as Error).message} ${LEAVE_OUT}`, { cause: error });
    }
    this.#checkCoefficients(drawn, count, LEAVE_OUT);
    return drawn;
  }

  #checkCoefficients({ shape }: Tensor, count: number, fix: string): void {
    if (shape.length !== 1 || shape[0] !== count) throw new Error(`${this.#mustBe(count)}, got ${shapeText([...shape])}. ${fix}`);
  }

  #mustBe(count: number): string {
    return `TemplateConv2D: layer '${this.name}': coefficients must be of shape [${count}], one for each template of ${this.bank === null ? 'the bank' : `'${this.bank.name}'`}`;
  }

  /** @throws Error if the first of them, α, is not of shape [K]. */
  override setWeights(weights: Tensor[]): void {
    if (this.coefficients !== null && weights.length > 0) this.#checkCoefficients(weights[0], this.coefficients.shape[0]!, 'Give weights of the shapes of getWeights().');
    super.setWeights(weights);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const { input, bank } = this.#use.tensors(inputs);
      const kernel = combineTemplates(bank[0], variableOf(this.coefficients!)) as Tensor4D;
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
      bank: this.#use.config(),
      coefficientsInitializer: serialized(this.coefficientsInitializer),
      coefficientsRegularizer: serialized(this.coefficientsRegularizer),
      useBias: this.useBias,
      biasInitializer: serialized(this.biasInitializer),
      biasRegularizer: serialized(this.biasRegularizer),
      biasConstraint: serialized(this.biasConstraint),
    };
  }
}

/** A convolution whose kernel combines a bank's templates. See {@link TemplateConv2D}. */
export function templateConv2d(args: TemplateConv2DArgs): TemplateConv2D {
  return new TemplateConv2D(args);
}

tfc.serialization.registerClass(TemplateConv2D);
