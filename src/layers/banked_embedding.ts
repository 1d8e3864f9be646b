/** An embedding whose table comes from a bank of parameters. Plummer et al., "Neural Parameter Allocation Search", ICLR 2022. */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import type { Shape } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkNumber, integerAtLeast } from '../checks.js';
import { initializerOf, LAYER_OPTIONS, serialized, type Initializer, type InitializerIdentifier, type LayerArgs } from '../host.js';
import { gatherRows } from '../kernels/segment_sum/index.js';
import { tokenIds } from '../kernels/token_ids/index.js';
import { BankedLayer } from './banked_layer.js';
import { BANKED_OPTIONS, type BankedArgs } from './banked_options.js';

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
export class BankedEmbedding extends BankedLayer {
  /** @nocollapse */
  static readonly className = 'BankedEmbedding';

  readonly inputDim: number;
  readonly outputDim: number;
  readonly maskZero: boolean;
  readonly embeddingsInitializer: Initializer;

  constructor(args: BankedEmbeddingArgs) {
    const who = 'BankedEmbedding';
    super(who, args, OPTIONS, 'inputDim and outputDim');
    this.inputDim = checkNumber(who, 'inputDim', args.inputDim, integerAtLeast(1), 'It is the number of ids, the largest one plus 1.');
    this.outputDim = checkNumber(who, 'outputDim', args.outputDim, integerAtLeast(1), 'It is the length of a row.');
    this.maskZero = checkBoolean(who, 'maskZero', args.maskZero ?? false);
    this.embeddingsInitializer = initializerOf(who, 'embeddingsInitializer', args.embeddingsInitializer ?? 'randomUniform');
    this.supportsMasking = this.maskZero;
  }

  override build(inputShape: Shape | Shape[]): void {
    const { inputDim: inputs, outputDim: outputs } = this;
    this.weightsOfBank.build(inputShape, { inputs, taps: 1, outputs, fanIn: inputs, fanOut: outputs, initializer: this.embeddingsInitializer });
    super.build(inputShape);
  }

  /** Any rank will do. */
  protected override warnOnIncompatibleInputShape(): void {}

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const { input, bank } = this.weightsOfBank.use.tensors(inputs);
      const ids = tokenIds(tfc.reshape(input, [input.size]), {
        count: this.inputDim, who: `${this.name}: token ids`, fix: 'Raise inputDim, or give unknown tokens an id of their own.',
      }) as Tensor1D; // prettier-ignore
      const table = tfc.reshape(this.weightsOfBank.tensor(bank), [this.inputDim, this.outputDim]) as Tensor2D;
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

  override getConfig(): serialization.ConfigDict {
    return {
      ...super.getConfig(),
      inputDim: this.inputDim,
      outputDim: this.outputDim,
      embeddingsInitializer: serialized(this.embeddingsInitializer),
      maskZero: this.maskZero,
    };
  }
}

/** An embedding on a bank of parameters. See {@link BankedEmbedding}. */
export function bankedEmbedding(args: BankedEmbeddingArgs): BankedEmbedding {
  return new BankedEmbedding(args);
}

tfc.serialization.registerClass(BankedEmbedding);
