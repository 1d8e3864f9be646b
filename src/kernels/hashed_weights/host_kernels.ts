/** The kernels of hashed matrices for backends whose tensors live in this process's memory: loops over typed arrays. */
import { getKernel, registerKernel, type KernelBackend, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { filledOnHost, HOST_BACKENDS, sizeOf } from '../host_memory.js';
import { expandLoop, scatterLoop } from './host_loops.js';
import type { HashedMatrix } from './matrix.js';
import { EXPAND, EXPAND_ROWS, SCATTER, SCATTER_ROWS, type HashedAttrs } from './names.js';
import { expandSimd, scatterSimd } from './simd_loops.js';

/** Writes the matrix, or the rows that `ids` names, to `out`. The scale goes onto the stored numbers, which are fewer. */
export function expandInto(out: Float32Array, stored: Float32Array, matrix: HashedMatrix, ids?: Int32Array): void {
  const numbers = (matrix.scale ?? 1) === 1 ? stored : scaled(new Float32Array(stored), matrix);
  if (!expandSimd(numbers, out, matrix, ids)) expandLoop(numbers, out, matrix, ids);
}

/** Writes to `sums` what a gradient adds up to. */
export function scatterInto(sums: Float32Array, gradient: Float32Array, matrix: HashedMatrix, ids?: Int32Array): void {
  if (!scatterSimd(gradient, sums, matrix, ids)) scatterLoop(gradient, sums, matrix, ids);
  scaled(sums, matrix);
}

function scaled(numbers: Float32Array, { scale = 1 }: HashedMatrix): Float32Array {
  const factor = Math.fround(scale);
  if (factor !== 1) for (let k = 0; k < numbers.length; k++) numbers[k] *= factor;
  return numbers;
}

const expand: KernelFunc = ({ inputs, backend, attrs }) => {
  const { stored, rows } = inputs as { stored: TensorInfo; rows?: TensorInfo };
  const { matrix } = attrs as unknown as HashedAttrs;
  const shape = [rows === undefined ? matrix.rows : sizeOf(rows), matrix.columns];
  return filledOnHost(backend as KernelBackend, rows === undefined ? [stored] : [stored, rows], { shape, dtype: 'float32' }, (out, numbers, ids) =>
    expandInto(out as Float32Array, numbers as Float32Array, matrix, ids as Int32Array | undefined));
};

const scatter: KernelFunc = ({ inputs, backend, attrs }) => {
  const { gradient, rows } = inputs as { gradient: TensorInfo; rows?: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  return filledOnHost(backend as KernelBackend, rows === undefined ? [gradient] : [gradient, rows], { shape: [buckets], dtype: 'float32' }, (out, numbers, ids) =>
    scatterInto(out as Float32Array, numbers as Float32Array, matrix, ids as Int32Array | undefined));
};

for (const backendName of HOST_BACKENDS) {
  for (const [kernelName, kernelFunc] of Object.entries({ [EXPAND]: expand, [EXPAND_ROWS]: expand, [SCATTER]: scatter, [SCATTER_ROWS]: scatter })) {
    // Another copy of this package in the same page may have been here.
    if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
  }
}
