/**
 * One array of stored weights for several hashed layers: ROAST's global array (Desai, Zhou & Shrivastava, "Hardware-Aware Compression with Random
 * Operation Access Specific Tile (ROAST) Hashing", ICML 2023). It travels along the graph, so that one layer owns it.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, serialization, Tensor } from '@tensorflow/tfjs-core';
import { initializers, layers, type Shape } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, describe } from '../checks.js';
import { LAYER_OPTIONS, type Constraint, type Initializer, type LayerArgs, type LayerVariable, type Regularizer } from '../host.js';
import { MAX_BUCKETS } from '../kernels/hashed_weights/hash.js';
import { CountedOnce } from './bank_output.js';
import { addBankWeight, BANK_WEIGHT_OPTIONS, bankTensor, bankWeightConfig, checkBankWeight, type BankWeightArgs } from './bank_weight.js';
import { BANK_DEVIATION } from './hashed_options.js';

/** `kernelInitializer`: default uniform with standard deviation 0.05, for which the layers' default `bankScale` is meant. */
export interface HashedBankArgs extends LayerArgs, BankWeightArgs {
  /** Number of stored weights. Required. */
  buckets: number;
}

const OPTIONS = ['buckets', ...BANK_WEIGHT_OPTIONS, ...LAYER_OPTIONS] as const;

/**
 * Outputs its stored weights, `[buckets]`, whatever its input is: a hashed layer applied to `[input, bank]` draws its weights from them.
 * Hashed layers of any kind and shape may use one bank, each with a `seed` of its own and a scale (`bankScale`) that gives it the spread it wants.
 *
 * Input: any; it only gives the layer its place in the graph. Output `[buckets]`, without a batch. It ends a mask. Parameters: `buckets`.
 *
 * ```js
 * const x = tf.input({shape: [784]});
 * const bank = hashedBank({buckets: 12000}).apply(x);
 * const h = hashedDense({units: 1000, activation: 'relu', seed: 1}).apply([x, bank]);
 * const y = hashedDense({units: 10, activation: 'softmax', seed: 2}).apply([h, bank]);
 * const model = tf.model({inputs: x, outputs: y});
 * ```
 *
 * The bank is one weight of one layer: saved once, one step of the optimizer, its gradient the sum over all layers that use it. The seeds are in
 * the configs of those layers, not with the bank's numbers: numbers set into a model that was built with other seeds are not refused.
 *
 * When not to use it: with one hashed layer, whose own stored weights do the same; in a `tf.sequential`, which has no second input.
 */
export class HashedBank extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'HashedBank';

  readonly buckets: number;
  readonly kernelInitializer: Initializer;
  readonly kernelRegularizer: Regularizer | null;
  readonly kernelConstraint: Constraint | null;
  /** The stored weights, [buckets]; null before the layer is built. */
  kernel: LayerVariable | null = null;
  readonly #counted = new CountedOnce();

  constructor(args: HashedBankArgs) {
    super(args ?? {});
    const who = 'HashedBank';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with buckets, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.buckets = checkNumber(who, 'buckets', args.buckets, {
      expected: `an integer in [1, ${MAX_BUCKETS}]`, holds: (x) => Number.isInteger(x) && x >= 1 && x <= MAX_BUCKETS,
    }, 'It is the number of stored weights.'); // prettier-ignore
    const limit = BANK_DEVIATION * Math.sqrt(3);
    const weight = checkBankWeight(who, args, initializers.randomUniform({ minval: -limit, maxval: limit }));
    this.kernelInitializer = weight.kernelInitializer;
    this.kernelRegularizer = weight.kernelRegularizer;
    this.kernelConstraint = weight.kernelConstraint;
    this.supportsMasking = true;
  }

  override build(inputShape: Shape | Shape[]): void {
    this.kernel = addBankWeight(this, [this.buckets]);
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    this.invokeCallHook(inputs, kwargs);
    return bankTensor(this.kernel!);
  }

  override calculateLosses(): Scalar[] {
    return this.#counted.first() ? super.calculateLosses() : [];
  }

  override computeOutputShape(_inputShape: Shape | Shape[]): Shape {
    return [this.buckets];
  }

  override computeMask(): Tensor {
    return null as unknown as Tensor;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      buckets: this.buckets,
      ...bankWeightConfig(this),
    };
  }
}

/** A bank of stored weights for several hashed layers. See {@link HashedBank}. */
export function hashedBank(args: HashedBankArgs): HashedBank {
  return new HashedBank(args);
}

tfc.serialization.registerClass(HashedBank);
