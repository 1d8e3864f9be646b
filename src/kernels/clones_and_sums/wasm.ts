/**
 * Two kernels of the wasm backend that every training step runs dozens of times.
 *
 * - `Identity` (`tf.clone`, which the host's training loop calls for inputs, gradients and results) copies its tensor; the other backends, and
 *   wasm's own `Reshape`, share the buffer and count its users.
 * - `Sum` over leading axes, the gradient of every bias, transposes its tensor first.
 */
import { backend_util, util } from '@tensorflow/tfjs-core';
import type { KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { filledOnHost, sizeOf } from '../host_memory.js';
import { replaceKernel } from '../mending.js';

interface CountingBackend extends KernelBackend {
  incRef(dataId: object): void;
}

const sharedClone = (stock: KernelFunc): KernelFunc => (args) => {
  const { x } = args.inputs as unknown as { x: TensorInfo };
  if (x.dtype === 'string') return stock(args);
  (args.backend as CountingBackend).incRef(x.dataId);
  return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
};

/** out[j] = Σ_i x[i, j], x [rows, out.length]; the sums are carried in float64. */
export function sumRows(out: Float32Array, x: Float32Array): void {
  const width = out.length;
  const sums = new Float64Array(width);
  let i = 0;
  // Four rows at a time: a sum is loaded and stored a quarter as often.
  for (const end = x.length - 3 * width; i < end; i += 4 * width) {
    for (let j = 0, at = i; j < width; j++, at++) sums[j] += x[at] + x[at + width] + (x[at + 2 * width] + x[at + 3 * width]);
  }
  for (; i < x.length; i += width) {
    for (let j = 0; j < width; j++) sums[j] += x[i + j];
  }
  out.set(sums);
}

const sumOfRows = (stock: KernelFunc): KernelFunc => (args) => {
  const { x } = args.inputs as unknown as { x: TensorInfo };
  const { axis, keepDims } = args.attrs as unknown as { axis: number | number[]; keepDims: boolean };
  const axes = [...util.parseAxisParam(axis, x.shape)].sort((a, b) => a - b);
  const leading = axes.length < x.shape.length && axes.every((axisOf, i) => axisOf === i);
  if (!leading || x.dtype !== 'float32' || sizeOf(x) === 0) return stock(args);
  const kept = x.shape.slice(axes.length);
  const shape = keepDims ? backend_util.expandShapeToKeepDim(kept, axes) : kept;
  return filledOnHost(args.backend as KernelBackend, [x], { shape, dtype: 'float32' }, (out, values) =>
    sumRows(out as Float32Array, values as Float32Array));
};

/** Puts these in place of the wasm backend's, where it is imported, and names what it replaced. */
export function registerClonesAndSums(): string[] {
  return [...replaceKernel('Identity', 'wasm', sharedClone), ...replaceKernel('Sum', 'wasm', sumOfRows)];
}
