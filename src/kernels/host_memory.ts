/**
 * Kernels written as loops over typed arrays, for the backends whose tensors live in this process: cpu, wasm and tensorflow. On cpu and
 * wasm nothing is copied; the tensorflow backend copies what it reads, and uploads what was written when an operation first needs it, or passes
 * large matrices through native_blocks.ts.
 */
import type { DataType, KernelBackend, TensorInfo } from '@tensorflow/tfjs-core';
import { readInBlocks, writtenInBlocks, type Block } from './native_blocks.js';

/** What a loop reads and writes. */
export type Values = Float32Array | Int32Array;

/** What is used of `BackendWasm`, whose tensors lie in one heap. */
interface HeapBackend {
  makeOutput(shape: number[], dtype: DataType): TensorInfo;
  typedArrayFromHeap(tensor: TensorInfo): Values;
}

export const HOST_BACKENDS = ['cpu', 'wasm', 'tensorflow'] as const;

const hasHeap = (backend: object): backend is HeapBackend => 'typedArrayFromHeap' in backend;

export const sizeOf = ({ shape }: { shape: number[] }): number => shape.reduce((product, length) => product * length, 1);

/** The values of a tensor, to read only, until the next tensor is made (a growing wasm heap takes its arrays away). */
export function hostValues(backend: KernelBackend, tensor: TensorInfo): Values {
  // A tensor of another backend is moved when it is asked for; the native backend's `readSync` does not ask.
  (backend as { tensorMap?: { get(id: object): unknown } }).tensorMap?.get(tensor.dataId);
  return hasHeap(backend) ? backend.typedArrayFromHeap(tensor) : (backend.readSync(tensor.dataId) as Values);
}

/**
 * Makes a tensor and lets `fill` write its values from those of `inputs`. `out` holds arbitrary numbers at first: `fill` must write all of
 * them, and must make no tensor.
 */
export function filledOnHost(
  backend: KernelBackend,
  inputs: TensorInfo[],
  { shape, dtype }: { shape: number[]; dtype: 'float32' | 'int32' },
  fill: (out: Values, ...inputs: Values[]) => void,
): TensorInfo {
  if (hasHeap(backend)) {
    const made = backend.makeOutput(shape, dtype);
    fill(backend.typedArrayFromHeap(made), ...inputs.map((input) => backend.typedArrayFromHeap(input)));
    return made;
  }
  const size = sizeOf({ shape });
  const out = dtype === 'int32' ? new Int32Array(size) : new Float32Array(size);
  fill(out, ...inputs.map((input) => hostValues(backend, input)));
  return { dataId: backend.write(out, shape, dtype), shape, dtype };
}

/**
 * Makes a float32 matrix of `shape`, whose rows are written by what `begin` returns, in order, in one block or several; otherwise as
 * {@link filledOnHost}.
 */
export function filledByRows(backend: KernelBackend, inputs: TensorInfo[], shape: [number, number], begin: (...inputs: Values[]) => Block): TensorInfo {
  let fill: Block | undefined;
  const inBlocks = writtenInBlocks(backend, shape, (rows, from) => (fill ??= begin(...inputs.map((input) => hostValues(backend, input))))(rows, from));
  return inBlocks ?? filledOnHost(backend, inputs, { shape, dtype: 'float32' }, (out, ...values) => begin(...values)(out as Float32Array, 0));
}

/** Calls `visit` with the rows of a float32 matrix, in order, in one block or several; it must make no tensor. */
export function eachBlock(backend: KernelBackend, matrix: TensorInfo, visit: Block): void {
  if (!readInBlocks(backend, matrix, visit)) visit(hostValues(backend, matrix) as Float32Array, 0);
}
