/**
 * Templates of kernels that several convolutions combine. Savarese & Maire, "Learning Implicitly Recurrent CNNs Through Parameter Sharing",
 * ICLR 2019.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { LAYER_OPTIONS, variableOf, type Constraint, type Initializer, type LayerArgs, type LayerVariable, type Regularizer } from '../host.js';
import { bankMask, bankOutput, bankOutputShape, CountedOnce } from './bank_output.js';
import { addBankWeight, BANK_WEIGHT_OPTIONS, bankWeightConfig, checkBankWeight, type BankWeightArgs } from './bank_weight.js';
import type { Bank } from './bank_use.js';
import { checkPair } from './convolution_plan.js';
import { orthogonalRow } from './orthogonal_rows.js';
import { virtualInitializer } from './virtual_fan.js';

/** `kernelInitializer`: of each template, default 'heNormal'. */
export interface TemplateBankArgs extends LayerArgs, BankWeightArgs {
  /** How many templates, K. Integer ≥ 1. 1 is one kernel for all layers, up to a factor each. Required. */
  templates: number;
  /** Height and width of the kernels, or one number for both. Required. */
  kernelSize: number | [number, number];
  /** Input channels of the kernels: those of the layers, divided by their groups. Required. */
  inputs: number;
  /** Output channels of the kernels. Required. */
  filters: number;
  /** Chooses the orthogonal start of the layers' coefficients. Default null: another one each time. */
  seed?: number | null;
  /** Put out the input instead of the templates, so that layers downstream find the bank by themselves: for a Sequential. Default false. */
  passInput?: boolean;
}

const OPTIONS = ['templates', 'kernelSize', 'inputs', 'filters', 'seed', 'passInput', ...BANK_WEIGHT_OPTIONS, ...LAYER_OPTIONS] as const;

/**
 * Owns K templates `[K, rows, columns, inputs, filters]`, from which each {@link TemplateConv2D} that uses the bank makes its kernel.
 *
 * Input: any; it gives the layer its place in the graph. Output: the templates, without a batch, for `templateConv2d({…}).apply([x, bank])`; a
 * mask ends. With `passInput` the input itself, and its mask: convolutions downstream then find the bank. Parameters: K · rows · columns ·
 * inputs · filters, saved, counted and updated once; a regularizer of theirs counts once a step.
 *
 * ```js
 * const x = tf.input({shape: [32, 32, 16]});
 * const bank = templateBank({templates: 2, kernelSize: 3, inputs: 16, filters: 16}).apply(x);
 * let h = x;
 * for (let l = 0; l < 6; l++) h = templateConv2d({filters: 16, kernelSize: 3, padding: 'same', activation: 'relu'}).apply([h, bank]);
 * const model = tf.model({inputs: x, outputs: h}); // 2 kernels and 6 × 2 coefficients instead of 6 kernels
 * ```
 *
 * The paper has one bank for the layers of each stage, all of one shape, and leaves the first block of a stage, which widens, unshared.
 *
 * When not to use it: for layers of several shapes (see `parameterBank`), or with as many templates as layers.
 */
export class TemplateBank extends layers.Layer implements Bank {
  /** @nocollapse */
  static readonly className = 'TemplateBank';

  readonly templates: number;
  readonly kernelSize: [number, number];
  readonly inputs: number;
  readonly filters: number;
  readonly seed: number | null;
  readonly passInput: boolean;
  readonly kernelInitializer: Initializer;
  readonly kernelRegularizer: Regularizer | null;
  readonly kernelConstraint: Constraint | null;
  /** [K, rows, columns, inputs, filters]; null before the layer is built. */
  kernel: LayerVariable | null = null;
  readonly #stream: number;
  readonly #counted = new CountedOnce();
  #users = 0;

  constructor(args: TemplateBankArgs) {
    super(args ?? {});
    const who = 'TemplateBank';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with templates, kernelSize, inputs and filters, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.templates = checkNumber(who, 'templates', args.templates, integerAtLeast(1), 'A bank needs at least one template.');
    this.kernelSize = checkPair(who, 'kernelSize', args.kernelSize);
    this.inputs = checkNumber(who, 'inputs', args.inputs, integerAtLeast(1), 'It is the number of input channels of the kernels.');
    this.filters = checkNumber(who, 'filters', args.filters, integerAtLeast(1), 'It is the number of output channels of the kernels.');
    this.seed = args.seed == null ? null : checkNumber(who, 'seed', args.seed, integerAtLeast(0));
    this.passInput = checkBoolean(who, 'passInput', args.passInput ?? false);
    const weight = checkBankWeight(who, args, 'heNormal');
    this.kernelInitializer = weight.kernelInitializer;
    this.kernelRegularizer = weight.kernelRegularizer;
    this.kernelConstraint = weight.kernelConstraint;
    this.#stream = this.seed ?? Math.floor(Math.random() * 2 ** 31);
    this.supportsMasking = true;
  }

  get shared(): Tensor[] {
    if (this.kernel === null) throw new Error(`TemplateBank: '${this.name}' is not built yet. Apply it to an input first.`);
    return [variableOf(this.kernel)];
  }

  get sharedShapes(): number[][] {
    return [[this.templates, ...this.kernelSize, this.inputs, this.filters]];
  }

  enlist(): number {
    return this.#users++;
  }

  /** The first coefficients of the layer that begins to use the bank as number `place`. */
  startOf(place: number): number[] {
    return orthogonalRow(place, this.templates, this.#stream);
  }

  override build(inputShape: Shape | Shape[]): void {
    const taps = this.kernelSize[0] * this.kernelSize[1];
    const fans = { fanIn: taps * this.inputs, fanOut: taps * this.filters };
    this.kernel = addBankWeight(this, this.sharedShapes[0], virtualInitializer('TemplateBank', this.kernelInitializer, fans));
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor | Tensor[] {
    this.invokeCallHook(inputs, kwargs);
    return bankOutput(this.passInput, inputs, [this.kernel!]);
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape | Shape[] {
    return bankOutputShape(this.passInput, inputShape, this.sharedShapes);
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor | Tensor[] {
    return bankMask(this.passInput, mask, 1);
  }

  override calculateLosses(): Scalar[] {
    return this.#counted.first() ? super.calculateLosses() : [];
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      templates: this.templates,
      kernelSize: this.kernelSize,
      inputs: this.inputs,
      filters: this.filters,
      seed: this.seed,
      passInput: this.passInput,
      ...bankWeightConfig(this),
    };
  }
}

/** Templates of kernels for several convolutions. See {@link TemplateBank}. */
export function templateBank(args: TemplateBankArgs): TemplateBank {
  return new TemplateBank(args);
}

tfc.serialization.registerClass(TemplateBank);
