/** The kernels of hashed matrices for backends whose tensors live in this process's memory: loops over typed arrays. */
import { getKernel, registerKernel, type DataType, type KernelBackend, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { expandLoop, scatterLoop } from './host_loops.js';
import { EXPAND, EXPAND_ROWS, SCATTER, SCATTER_ROWS, type HashedAttrs } from './names.js';

type Values = Float32Array | Int32Array;

/** How a backend's numbers are read and written here. */
interface HostMemory {
  /** An output and its numbers, which are zeros or undefined; {@link HostMemory.finish} ends writing. */
  allocate(backend: KernelBackend, shape: number[]): { info: TensorInfo; values: Float32Array };
  read(backend: KernelBackend, x: TensorInfo): Values;
}

const size = (shape: number[]) => shape.reduce((product, length) => product * length, 1);

const written: HostMemory = {
  allocate: (backend, shape) => {
    const values = new Float32Array(size(shape));
    return { info: { dataId: backend.write(values, shape, 'float32'), shape, dtype: 'float32' }, values };
  },
  read: (backend, x) => backend.readSync(x.dataId) as Values,
};

/** What the kernels use of `BackendWasm`. */
interface WasmBackend {
  makeOutput(shape: number[], dtype: DataType): TensorInfo;
  typedArrayFromHeap(x: TensorInfo): Values;
}

/** The heap is worked on in place. An allocation may move it: views are made after the last one. */
const inHeap: HostMemory = {
  allocate: (backend, shape) => {
    const wasm = backend as unknown as WasmBackend;
    const info = wasm.makeOutput(shape, 'float32');
    return { info, values: wasm.typedArrayFromHeap(info) as Float32Array };
  },
  read: (backend, x) => (backend as unknown as WasmBackend).typedArrayFromHeap(x),
};

function kernels(memory: HostMemory): Record<string, KernelFunc> {
  const expand = (backend: KernelBackend, { matrix }: HashedAttrs, stored: TensorInfo, rows?: TensorInfo) => {
    const { info, values } = memory.allocate(backend, [rows === undefined ? matrix.rows : size(rows.shape), matrix.columns]);
    expandLoop(memory.read(backend, stored) as Float32Array, values, matrix, rows && (memory.read(backend, rows) as Int32Array));
    return info;
  };
  const scatter = (backend: KernelBackend, { matrix, buckets }: HashedAttrs, gradient: TensorInfo, rows?: TensorInfo) => {
    const { info, values } = memory.allocate(backend, [buckets]);
    values.fill(0);
    scatterLoop(memory.read(backend, gradient) as Float32Array, values, matrix, rows && (memory.read(backend, rows) as Int32Array));
    return info;
  };
  const attrsOf = (attrs: unknown) => attrs as HashedAttrs;
  return {
    [EXPAND]: ({ inputs, backend, attrs }) => expand(backend as KernelBackend, attrsOf(attrs), inputs['stored'] as TensorInfo),
    [EXPAND_ROWS]: ({ inputs, backend, attrs }) => expand(backend as KernelBackend, attrsOf(attrs), inputs['stored'] as TensorInfo, inputs['rows'] as TensorInfo),
    [SCATTER]: ({ inputs, backend, attrs }) => scatter(backend as KernelBackend, attrsOf(attrs), inputs['gradient'] as TensorInfo),
    [SCATTER_ROWS]: ({ inputs, backend, attrs }) => scatter(backend as KernelBackend, attrsOf(attrs), inputs['gradient'] as TensorInfo, inputs['rows'] as TensorInfo),
  };
}

for (const [backendName, memory] of Object.entries({ cpu: written, tensorflow: written, wasm: inHeap })) {
  for (const [kernelName, kernelFunc] of Object.entries(kernels(memory))) {
    // Another copy of this package in the same page may have been here.
    if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
  }
}
