/** The kernels of hashed matrices for backends whose tensors live in this process's memory: loops over typed arrays. */
import { getKernel, registerKernel, type KernelBackend, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { eachBlock, filledByRows, filledOnHost, HOST_BACKENDS, sizeOf } from '../host_memory.js';
import type { Block } from '../native_blocks.js';
import { expandLoop, scatterLoop } from './host_loops.js';
import type { HashedMatrix } from './matrix.js';
import { EXPAND, EXPAND_ROWS, SCATTER, SCATTER_ROWS, type HashedAttrs } from './names.js';
import { expandSimd, scatterSimd } from './simd_loops.js';

/** What writes rows of the matrix, or those that `ids` names. The scale goes onto the stored numbers, which are fewer. */
function expander(stored: Float32Array, matrix: HashedMatrix, ids?: Int32Array): Block {
  const numbers = (matrix.scale ?? 1) === 1 ? stored : scaled(new Float32Array(stored), matrix);
  return expandSimd(numbers, matrix, ids) ?? expandLoop(numbers, matrix, ids);
}

/** Writes to `sums` what a gradient adds up to, whose blocks `visitAll` brings. */
function scatterInto(sums: Float32Array, matrix: HashedMatrix, ids: Int32Array | undefined, visitAll: (add: Block) => void): void {
  const simd = scatterSimd(sums, matrix, ids);
  visitAll(simd?.add ?? scatterLoop(sums, matrix, ids));
  simd?.finish();
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
  const shape: [number, number] = [rows === undefined ? matrix.rows : sizeOf(rows), matrix.columns];
  return filledByRows(backend as KernelBackend, rows === undefined ? [stored] : [stored, rows], shape, (numbers, ids) =>
    expander(numbers as Float32Array, matrix, ids as Int32Array | undefined));
};

const scatter: KernelFunc = ({ inputs, backend, attrs }) => {
  const { gradient, rows } = inputs as { gradient: TensorInfo; rows?: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  return filledOnHost(backend as KernelBackend, rows === undefined ? [] : [rows], { shape: [buckets], dtype: 'float32' }, (out, ids) =>
    scatterInto(out as Float32Array, matrix, ids as Int32Array | undefined, (add) => eachBlock(backend as KernelBackend, gradient, add)));
};

for (const backendName of HOST_BACKENDS) {
  for (const [kernelName, kernelFunc] of Object.entries({ [EXPAND]: expand, [EXPAND_ROWS]: expand, [SCATTER]: scatter, [SCATTER_ROWS]: scatter })) {
    // Another copy of this package in the same page may have been here.
    if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
  }
}
