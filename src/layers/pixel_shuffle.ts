/** Channels into pixels (Shi et al., Real-Time Single Image Super-Resolution with an Efficient Sub-Pixel Network, CVPR 2016). */
import * as tfc from '@tensorflow/tfjs-core';
import type { serialization, Tensor } from '@tensorflow/tfjs-core';
import { layers, type Shape } from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { LAYER_OPTIONS, type LayerArgs } from '../host.js';

export interface PixelShuffleArgs extends LayerArgs {
  /** Factor s of height and width. Integer ≥ 1. Required. */
  scale: number;
}

/**
 * `[batch, h, w, s²·c]` to `[batch, s·h, s·w, c]`: channel (i·s + j)·c + k of a pixel becomes channel k of the pixel i down and j across in its square.
 * Without parameters; a mask is not looked at. The host's `tf.depthToSpace` has no gradient, this layer has.
 *
 * ```js
 * const y = pixelShuffle({scale: 2}).apply(features);
 * ```
 */
export class PixelShuffle extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'PixelShuffle';
  readonly scale: number;

  constructor(args: PixelShuffleArgs) {
    super(args ?? {});
    checkKeys('PixelShuffle', args ?? {}, ['scale', ...LAYER_OPTIONS]);
    this.scale = checkNumber('PixelShuffle', 'scale', args?.scale, integerAtLeast(1));
  }

  override call(inputs: Tensor | Tensor[], kwargs: Record<string, unknown>): Tensor {
    return tfc.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      const [batch, height, width, channels] = x.shape;
      const { scale } = this;
      const depth = channels / scale ** 2;
      // Rows of a square apart, the pixels of such a row with their channels in one axis: rank 4 is enough.
      const parts = tfc.reshape(x, [batch * height, width, scale, scale * depth]);
      return tfc.reshape(tfc.transpose(parts, [0, 2, 1, 3]), [batch, height * scale, width * scale, depth]);
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const shape = inputShape as Shape;
    const channels = shape[3];
    if (shape.length !== 4 || channels == null || channels % this.scale ** 2 !== 0) {
      throw new Error(`PixelShuffle: layer '${this.name}' expects [batch, height, width, channels] with channels a multiple of ${this.scale ** 2}, got [${shape.map((length) => length ?? 'null').join(', ')}].`);
    }
    const times = (length: number | null) => (length === null ? null : length * this.scale);
    return [shape[0], times(shape[1]), times(shape[2]), channels / this.scale ** 2];
  }

  override getConfig(): serialization.ConfigDict {
    return { ...super.getConfig(), scale: this.scale };
  }
}

/** Channels into pixels. See {@link PixelShuffle}. */
export const pixelShuffle = (args: PixelShuffleArgs): PixelShuffle => new PixelShuffle(args);

tfc.serialization.registerClass(PixelShuffle);
