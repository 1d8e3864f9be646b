/**
 * A dense layer whose weights are drawn by a hash from a shorter stored array.
 * Chen, Wilson, Tyree, Weinberger & Chen, "Compressing Neural Networks with the Hashing Trick", ICML 2015, eqs. 3–8; tiles after ROBE
 * (Desai et al. 2021) and ROAST (Desai et al. 2023).
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import { activeTape } from '../autodiff/tape.js';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import {
  activationOf, constraintOf, initializerOf, LAYER_OPTIONS, regularizerOf, serialized, variableOf,
  type Activation, type ActivationIdentifier, type Constraint, type ConstraintIdentifier, type Initializer, type InitializerIdentifier,
  type LayerArgs, type LayerVariable, type Regularizer, type RegularizerIdentifier,
} from '../host.js'; // prettier-ignore
import { denseProduct } from '../kernels/dense_product/index.js';
import { asFloats, shapeText, splitShapes } from './hashed_inputs.js';
import { checkHashedOptions, HASHED_OPTIONS, hashedConfig, type HashedArgs, type HashedOptions } from './hashed_options.js';
import { HashedWeights } from './hashed_weights.js';

export interface HashedDenseArgs extends LayerArgs, HashedArgs {
  /** Length of the output. Required. */
  units: number;
  /** Default: none. */
  activation?: ActivationIdentifier;
  /** Default true. */
  useBias?: boolean;
  /** Of the virtual matrix [inputs, units]: the stored weights get the spread that it means for that shape. Default 'glorotNormal'. */
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
  'units', 'activation', 'useBias', 'kernelInitializer', 'biasInitializer', 'kernelRegularizer', 'biasRegularizer', 'kernelConstraint', 'biasConstraint',
  ...HASHED_OPTIONS, ...LAYER_OPTIONS,
] as const; // prettier-ignore

/** Activations that the host's product computes in the same pass where no gradient is recorded. */
const FUSED = ['linear', 'relu', 'elu'] as const;
type FusedActivation = (typeof FUSED)[number];

/**
 * y = activation(x · V + b), where V [inputs, units] is virtual: V[i, j] = ξ(i, j) · w[h(i, j)], of K = inputs · units / compression
 * stored weights w, with a hash h and a sign ξ of position and seed. The stored weights, the bias and, in the config, the seed are all that is saved.
 *
 * Input `[batch, …, inputs]`, output `[batch, …, units]`; or `[input, bank]` with a bank from {@link hashedBank}, whose numbers then are the
 * stored weights. A mask is passed on.
 *
 * Costs. Parameters: K + units. Time: that of a dense layer and that of expanding V, with its transpose for the gradient (see the benchmark
 * `hashing`). Memory: V while a step runs. `predict` keeps V (inputs · units float32, one tensor in `tf.memory()`) until the weights change
 * and the layer is used again, or is disposed of. Training keeps nothing; on webgl, which cannot add to a place, an index of
 * tiles + buckets numbers. No backend keeps an index of the virtual weights for expanding them: hashes are computed again. All layers of a process
 * share the working memory of the loops on cpu, wasm and tensorflow: the longest stored array so far (16 MiB at most) and a row, and on tensorflow
 * half a megabyte through which large matrices pass.
 *
 * ```js
 * const model = tf.sequential();
 * model.add(hashedDense({units: 1000, compression: 8, activation: 'relu', inputShape: [784]}));
 * model.add(hashedDense({units: 10, compression: 8, activation: 'softmax'}));
 * ```
 *
 * The gradient of a stored weight is the sum over the weights that share it: with plain SGD take a smaller learning rate, or `gradientScaling`.
 * Weights of a layer with another seed, tile or sign are refused: by the host's loader by their name, in which these stand, and by
 * `setWeights(other.getWeights())`. Tensors without that name are taken as they are.
 *
 * When not to use it: hashing saves stored numbers, not time or memory at run time; where a narrower dense layer of the same number of
 * parameters is accurate enough, that is faster.
 *
 * Deviations from the paper: one hash gives bucket and sign (see hash.ts); the number of stored weights leaves the bias aside.
 */
export class HashedDense extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'HashedDense';

  readonly units: number;
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
  /** [units] */
  bias: LayerVariable | null = null;
  readonly #hashing: HashedOptions;
  readonly #weights: HashedWeights;

  constructor(args: HashedDenseArgs) {
    super(args ?? {});
    const who = 'HashedDense';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with units and compression, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.units = checkNumber(who, 'units', args.units, integerAtLeast(1), 'It is the length of the output.');
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
    this.supportsMasking = true;
  }

  override build(inputShape: Shape | Shape[]): void {
    const [shape, bank] = splitShapes('HashedDense', this.name, inputShape);
    const inputs = shape.at(-1);
    if (shape.length < 2 || inputs == null) {
      throw new Error(`HashedDense: layer '${this.name}' expects [batch, …, inputs] with a known last length, got ${shapeText(shape)}.${shape.length === 1 ? ' A bank goes beside the input: apply([x, bank]), which a Sequential cannot do.' : ''}`);
    }
    this.kernel = this.#weights.build(this, {
      rows: inputs, columns: this.units, fanIn: inputs, fanOut: this.units,
      initializer: this.kernelInitializer, regularizer: this.kernelRegularizer, constraint: this.kernelConstraint,
    }, bank); // prettier-ignore
    if (this.useBias) {
      this.bias = this.addWeight('bias', [this.units], 'float32', this.biasInitializer, this.biasRegularizer ?? undefined, true, this.biasConstraint ?? undefined);
    }
    const ofInput = { minNDim: 2, axes: { [-1]: inputs } };
    this.inputSpec = bank === undefined ? [ofInput] : [ofInput, { shape: [bank] }];
    super.build(inputShape);
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const [input, bank] = Array.isArray(inputs) ? inputs : [inputs];
      const numbers = asFloats(`HashedDense: layer '${this.name}'`, input);
      const x = (input.rank === 2 ? numbers : tfc.reshape(numbers, [-1, input.shape[input.rank - 1]])) as Tensor2D;
      const y = this.#product(x, this.#weights.matrix(bank), this.bias && (variableOf(this.bias) as Tensor as Tensor1D));
      return input.rank === 2 ? y : tfc.reshape(y, [...input.shape.slice(0, -1), this.units]);
    });
  }

  #product(x: Tensor2D, matrix: Tensor2D, bias: Tensor1D | null): Tensor {
    const name = this.activation.getClassName() as FusedActivation;
    if (activeTape() === null) {
      const fused = FUSED.includes(name);
      const y = tfc.fused.matMul({ a: x, b: matrix, bias: bias ?? undefined, activation: fused ? name : 'linear' });
      return fused ? y : this.activation.apply(y);
    }
    const y = denseProduct(x, matrix);
    return this.activation.apply(bias === null ? y : tfc.add(y, bias));
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const [shape] = splitShapes('HashedDense', this.name, inputShape);
    return [...shape.slice(0, -1), this.units];
  }

  override computeMask(_inputs: Tensor | Tensor[], mask?: Tensor | Tensor[]): Tensor {
    return (Array.isArray(mask) ? mask[0] : mask) ?? (null as unknown as Tensor);
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.#weights.dispose();
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      units: this.units,
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

/** A dense layer with hashed weights. See {@link HashedDense}. */
export function hashedDense(args: HashedDenseArgs): HashedDense {
  return new HashedDense(args);
}

tfc.serialization.registerClass(HashedDense);
