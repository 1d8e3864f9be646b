/** The gradient of max pooling, [batch, height, width, channels]: each window's cotangent goes to its first largest number. */
import { backend_util } from '@tensorflow/tfjs-core';
import type { KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { filledOnHost } from '../host_memory.js';
import type { ConvShape } from './gradients.js';

/** Writes all of `dx`. Windows reach into padding, which is never the largest. */
export function maxPoolGradient(s: ConvShape, x: Float32Array, dy: Float32Array, dx: Float32Array): void {
  dx.fill(0);
  const channels = s.inChannels;
  const [largest, place] = [new Float32Array(channels), new Int32Array(channels)];
  for (let n = 0, from = 0; n < s.batchSize; n++) {
    for (let row = 0; row < s.outHeight; row++) {
      for (let column = 0; column < s.outWidth; column++, from += channels) {
        largest.fill(-Infinity);
        place.fill(-1);
        for (let i = 0; i < s.filterHeight; i++) {
          const inRow = row * s.strideHeight + i * s.dilationHeight - s.padInfo.top;
          if (inRow < 0 || inRow >= s.inHeight) continue;
          for (let j = 0; j < s.filterWidth; j++) {
            const inColumn = column * s.strideWidth + j * s.dilationWidth - s.padInfo.left;
            if (inColumn < 0 || inColumn >= s.inWidth) continue;
            const at = ((n * s.inHeight + inRow) * s.inWidth + inColumn) * channels;
            for (let c = 0; c < channels; c++) {
              if (x[at + c] > largest[c]) {
                largest[c] = x[at + c];
                place[c] = at + c;
              }
            }
          }
        }
        for (let c = 0; c < channels; c++) if (place[c] >= 0) dx[place[c]] += dy[from + c];
      }
    }
  }
}

interface MaxPoolGradAttrs {
  filterSize: number | [number, number];
  strides: number | [number, number];
  pad: 'valid' | 'same' | number | backend_util.ExplicitPadding;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

/** The stock kernel takes the width of a window for its height where they differ: those it is not asked for. */
export const mendedMaxPoolGrad = (stock: KernelFunc): KernelFunc => (args) => {
  const { dy, input } = args.inputs as unknown as { dy: TensorInfo; input: TensorInfo };
  const { filterSize, strides, pad, dimRoundingMode } = args.attrs as unknown as MaxPoolGradAttrs;
  const info = backend_util.computePool2DInfo(input.shape as [number, number, number, number], filterSize, strides, 1, pad, dimRoundingMode);
  if (info.filterHeight === info.filterWidth || input.dtype !== 'float32' || dy.dtype !== 'float32') return stock(args);
  return filledOnHost(args.backend as KernelBackend, [input, dy], { shape: input.shape, dtype: 'float32' }, (out, x, cotangent) =>
    maxPoolGradient(info, x as Float32Array, cotangent as Float32Array, out as Float32Array));
};
