/** An embedding whose table comes from a bank of parameters. Plummer et al., "Neural Parameter Allocation Search", ICLR 2022. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { layers, type Shape, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { initializerOf, LAYER_OPTIONS, serialized, type Initializer, type InitializerIdentifier, type LayerArgs, type LayerVariable } from '../host.js';
import { gatherRows } from '../kernels/segment_sum/index.js';
import { tokenIds } from '../kernels/token_ids/index.js';
import type { SymbolicInputs } from './bank_use.js';
import { BANKED_OPTIONS, bankedConfig, type BankedArgs } from './banked_options.js';
import { BankedWeights } from './banked_weights.js';
import type { ParameterBank } from './parameter_bank.js';

export interface BankedEmbeddingArgs extends LayerArgs, BankedArgs {
  /** Number of ids: they are 0 … inputDim − 1. Required. */
  inputDim: number;
  /** Length of a row. Required. */
  outputDim: number;
  /** Whose spread the table starts with. Default 'randomUniform'. */
  embeddingsInitializer?: InitializerIdentifier;
  /** Id 0 fills up rows: layers that follow are told to leave it out. Default false. */
  maskZero?: boolean;
}

const OPTIONS = ['inputDim', 'outputDim', 'embeddingsInitializer', 'maskZero', ...BANKED_OPTIONS, ...LAYER_OPTIONS] as const;

/**
 * y[b, t, :] = row number x[b, t] of a table [inputDim, outputDim] that is made of K windows of a {@link ParameterBank}'s numbers (see
 * {@link Combination}), stretched along ids and columns where the bank is smaller.
 *
 * Input: ids `[batch, …]`, int32 or float32, with the bank as `[ids, bank]`, or alone downstream of a bank with `passInput`. Output `[batch, …,
 * outputDim]`. With `maskZero` the mask is x ≠ 0. Parameters beside the bank's: K coefficients, or the embedding; with upsampling 'mask' 9 for
 * each repetition. Cost: the whole table is made at every call, K operations an entry; for large ones see `hashedEmbedding`.
 *
 * ```js
 * const tokens = tf.input({shape: [12]});
 * const bank = parameterBank({size: 4000}).apply(tokens);
 * const vectors = bankedEmbedding({inputDim: 1000, outputDim: 16}).apply([tokens, bank]);
 * ```
 *
 * Interpolation makes neighbouring ids alike: number them so that this means something, or use 'repetition'. An id that is no integer in [0,
 * inputDim) is an error on cpu, wasm and tensorflow; on webgl and webgpu its row is zeros.
 */
export class BankedEmbedding extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'BankedEmbedding';

  readonly inputDim: number;
  readonly outputDim: number;
  readonly maskZero: boolean;
  readonly embeddingsInitializer: Initializer;
  readonly #weights: BankedWeights;

  constructor(args: BankedEmbeddingArgs) {
    super(args ?? {});
    const who = 'BankedEmbedding';
    if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected an options object with inputDim and outputDim, got ${describe(args)}.`);
    checkKeys(who, args, OPTIONS);
    this.inputDim = checkNumber(who, 'inputDim', args.inputDim, integerAtLeast(1), 'It is the number of ids, the largest one plus 1.');
    this.outputDim = checkNumber(who, 'outputDim', args.outputDim, integerAtLeast(1), 'It is the length of a row.');
    this.maskZero = checkBoolean(who, 'maskZero', args.maskZero ?? false);
    this.embeddingsInitializer = initializerOf(who, 'embeddingsInitializer', args.embeddingsInitializer ?? 'randomUniform');
    this.#weights = new BankedWeights(who, this, args);
    this.supportsMasking = this.maskZero;
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
    const { inputDim: inputs, outputDim: outputs } = this;
    this.#weights.build(inputShape, { inputs, taps: 1, outputs, fanIn: inputs, fanOut: outputs, initializer: this.embeddingsInitializer });
    super.build(inputShape);
  }

  /** Any rank will do. */
  protected override warnOnIncompatibleInputShape(): void {}

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const { input, bank } = this.#weights.use.tensors(inputs);
      const ids = tokenIds(tfc.reshape(input, [input.size]), {
        count: this.inputDim, who: `${this.name}: token ids`, fix: 'Raise inputDim, or give unknown tokens an id of their own.',
      }) as Tensor1D; // prettier-ignore
      const table = tfc.reshape(this.#weights.tensor(bank), [this.inputDim, this.outputDim]) as Tensor2D;
      return tfc.reshape(gatherRows(table, ids), [...input.shape, this.outputDim]);
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return [...((Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as Shape), this.outputDim];
  }

  override computeMask(inputs: Tensor | Tensor[]): Tensor {
    // The host's types know no "none".
    if (!this.maskZero) return null as unknown as Tensor;
    const [ids] = [inputs].flat();
    return tfc.tidy(() => tfc.notEqual(ids, tfc.zerosLike(ids)));
  }

  override dispose(): ReturnType<layers.Layer['dispose']> {
    const result = super.dispose();
    if (result.refCountAfterDispose === 0) this.#weights.dispose();
    return result;
  }

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      inputDim: this.inputDim,
      outputDim: this.outputDim,
      embeddingsInitializer: serialized(this.embeddingsInitializer),
      maskZero: this.maskZero,
      bank: this.#weights.use.config(),
      ...bankedConfig(this.#weights.options),
    };
  }
}

/** An embedding on a bank of parameters. See {@link BankedEmbedding}. */
export function bankedEmbedding(args: BankedEmbeddingArgs): BankedEmbedding {
  return new BankedEmbedding(args);
}

tfc.serialization.registerClass(BankedEmbedding);
