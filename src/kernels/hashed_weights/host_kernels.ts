/** The kernels of hashed matrices for backends whose tensors live in this process's memory: loops over typed arrays. */
import { getKernel, registerKernel, type KernelBackend, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { filledOnHost, HOST_BACKENDS, sizeOf } from '../host_memory.js';
import { expandLoop, scatterLoop } from './host_loops.js';
import { EXPAND, EXPAND_ROWS, SCATTER, SCATTER_ROWS, type HashedAttrs } from './names.js';

const expand: KernelFunc = ({ inputs, backend, attrs }) => {
  const { stored, rows } = inputs as { stored: TensorInfo; rows?: TensorInfo };
  const { matrix } = attrs as unknown as HashedAttrs;
  const shape = [rows === undefined ? matrix.rows : sizeOf(rows), matrix.columns];
  return filledOnHost(backend as KernelBackend, rows === undefined ? [stored] : [stored, rows], { shape, dtype: 'float32' }, (out, numbers, ids) =>
    expandLoop(numbers as Float32Array, out as Float32Array, matrix, ids as Int32Array | undefined));
};

const scatter: KernelFunc = ({ inputs, backend, attrs }) => {
  const { gradient, rows } = inputs as { gradient: TensorInfo; rows?: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  return filledOnHost(backend as KernelBackend, rows === undefined ? [gradient] : [gradient, rows], { shape: [buckets], dtype: 'float32' }, (out, numbers, ids) =>
    scatterLoop(numbers as Float32Array, out as Float32Array, matrix, ids as Int32Array | undefined));
};

for (const backendName of HOST_BACKENDS) {
  for (const [kernelName, kernelFunc] of Object.entries({ [EXPAND]: expand, [EXPAND_ROWS]: expand, [SCATTER]: scatter, [SCATTER_ROWS]: scatter })) {
    // Another copy of this package in the same page may have been here.
    if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
  }
}
