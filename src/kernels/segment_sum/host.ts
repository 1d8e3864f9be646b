/**
 * `GatherRows` and `RowScatterAdd` where tensors are in this process.
 *
 * cpu and wasm: loops. tensorflow: the native kernels, whose wrappers in the host check every index by a closure (and refuse those that
 * name no row), are called without those wrappers, after one plain pass over the indices.
 */
import type { DataType, KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { filledOnHost, hostValues } from '../host_memory.js';
import { registerOwnKernel } from '../mending.js';
import { allWithin, gatherInto, scatterAddInto } from './rows.js';
import { GATHER_ROWS, ROW_SCATTER_ADD, type GatherRowsInputs, type RowScatterAddAttrs, type RowScatterAddInputs } from './names.js';

/** What is used of the native backend. */
interface NativeBackend extends KernelBackend {
  binding: { TF_ATTR_TYPE: number; TF_ATTR_INT: number };
  getDTypeInteger(dtype: DataType): number;
  executeSingleOutput(name: string, attrs: object[], inputs: TensorInfo[]): TensorInfo;
}

const floatOrInt = (dtype: DataType) => (dtype === 'int32' ? 'int32' : 'float32');

const gatherOnHost: KernelFunc = ({ inputs, backend }) => {
  const { table, ids } = inputs as unknown as GatherRowsInputs;
  const width = table.shape[1];
  return filledOnHost(backend as KernelBackend, [table, ids], { shape: [ids.shape[0], width], dtype: floatOrInt(table.dtype) }, (out, values, at) =>
    gatherInto(out, values, at, width));
};

const scatterOnHost: KernelFunc = ({ inputs, backend, attrs }) => {
  const { values, ids } = inputs as unknown as RowScatterAddInputs;
  const { rows } = attrs as unknown as RowScatterAddAttrs;
  const width = values.shape[1];
  return filledOnHost(backend as KernelBackend, [values, ids], { shape: [rows, width], dtype: floatOrInt(values.dtype) }, (out, added, at) =>
    scatterAddInto(out, added, at, width));
};

/**
 * Below this width the native kernels' cost per row exceeds that of reading the tensors into this process and looping over them, unless
 * the table, which is read as a whole, is much larger than what is taken from it.
 */
const NARROW = 8;
const MUCH_LARGER = 4;

const nativeType = (backend: NativeBackend, name: string, dtype: DataType) => ({
  name, type: backend.binding.TF_ATTR_TYPE, value: backend.getDTypeInteger(dtype),
});

function withNativeInteger(backend: NativeBackend, value: number, body: (scalar: TensorInfo) => TensorInfo): TensorInfo {
  const scalar: TensorInfo = { dataId: backend.write(Int32Array.of(value), [], 'int32'), shape: [], dtype: 'int32' };
  try {
    return body(scalar);
  } finally {
    backend.disposeData(scalar.dataId);
  }
}

const gatherNatively: KernelFunc = (args) => {
  const { table, ids } = args.inputs as unknown as GatherRowsInputs;
  const backend = args.backend as NativeBackend;
  const [rows, width] = table.shape;
  const inLoop = width < NARROW && rows <= MUCH_LARGER * ids.shape[0];
  if (inLoop || ids.shape[0] === 0 || !allWithin(hostValues(backend, ids), rows)) return gatherOnHost(args);
  const types = [
    { name: 'batch_dims', type: backend.binding.TF_ATTR_INT, value: 0 },
    nativeType(backend, 'Tparams', table.dtype), nativeType(backend, 'Tindices', 'int32'), nativeType(backend, 'Taxis', 'int32'),
  ];
  return withNativeInteger(backend, 0, (axis) => backend.executeSingleOutput('GatherV2', types, [table, ids, axis]));
};

const scatterNatively: KernelFunc = (args) => {
  const { values, ids } = args.inputs as unknown as RowScatterAddInputs;
  const { rows } = args.attrs as unknown as RowScatterAddAttrs;
  const backend = args.backend as NativeBackend;
  const width = values.shape[1];
  if (width < NARROW || ids.shape[0] === 0 || !allWithin(hostValues(backend, ids), rows)) return scatterOnHost(args);
  const types = [nativeType(backend, 'T', values.dtype), nativeType(backend, 'Tindices', 'int32'), nativeType(backend, 'Tnumsegments', 'int32')];
  return withNativeInteger(backend, rows, (count) => backend.executeSingleOutput('UnsortedSegmentSum', types, [values, ids, count]));
};

for (const backendName of ['cpu', 'wasm']) {
  registerOwnKernel(GATHER_ROWS, backendName, gatherOnHost);
  registerOwnKernel(ROW_SCATTER_ADD, backendName, scatterOnHost);
}
registerOwnKernel(GATHER_ROWS, 'tensorflow', gatherNatively);
registerOwnKernel(ROW_SCATTER_ADD, 'tensorflow', scatterNatively);
