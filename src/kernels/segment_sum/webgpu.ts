/**
 * `GatherRows` and `RowScatterAdd` as WebGPU shaders: rows are added where their number says, atomically. The order of additions, and so
 * the last digit of a sum, may change from call to call.
 */
import { getKernel } from '@tensorflow/tfjs-core';
import type { DataType, KernelBackend, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { registerOwnKernel } from '../mending.js';
import { GATHER_ROWS, ROW_SCATTER_ADD, type GatherRowsInputs, type RowScatterAddAttrs, type RowScatterAddInputs } from './names.js';

interface Program {
  variableNames: string[];
  outputShape: number[];
  shaderKey: string;
  dispatchLayout: { x: number[] };
  dispatch: [number, number, number];
  workgroupSize: [number, number, number];
  uniforms: string;
  /** The result is an array of atomic integers. */
  atomic?: boolean;
  getUserCode(): string;
}

/** What is used of `WebGPUBackend`. */
interface WebGPUBackend extends KernelBackend {
  runWebGPUProgram(program: Program, inputs: TensorInfo[], dtype: DataType, uniforms: Array<{ type: 'int32'; data: number[] }>, output?: TensorInfo): TensorInfo;
}

const BACKEND = 'webgpu';
const WORKGROUP = 64;

/** One invocation for each of `count` numbers, in rows of `width`: `body` is given `index`, `row` and `column`. */
function program(key: string, variableNames: string[], outputShape: number[], count: number, body: string, atomic = false): Program {
  return {
    variableNames,
    outputShape,
    // Programs of one key share a pipeline.
    shaderKey: `tfws_${key}`,
    dispatchLayout: { x: [0, 1] },
    dispatch: [Math.ceil(count / WORKGROUP), 1, 1],
    workgroupSize: [WORKGROUP, 1, 1],
    uniforms: 'count : i32, width : i32, rows : i32,',
    ...(atomic ? { atomic } : {}),
    getUserCode: () => `
      fn main(index : i32) {
        if (index >= uniforms.count) { return; }
        let row = index / uniforms.width;
        let column = index % uniforms.width;
        ${body}
      }`,
  };
}

const uniforms = (count: number, width: number, rows: number) => [count, width, rows].map((value) => ({ type: 'int32' as const, data: [value] }));

const gatherProgram = (n: number, width: number): Program =>
  program('gather_rows', ['table', 'ids'], [n, width], n * width, `
    let id = i32(getIds(row));
    var value = 0.0;
    if (id >= 0 && id < uniforms.rows) { value = getTable(id, column); }
    setOutputAtIndex(index, value);`);

/** There is no atomic addition of floats: the sum is exchanged for the new one until no other invocation came between. */
const ADD: Record<string, string> = {
  float32: `
    var old = atomicLoad(&result[to]);
    loop {
      let exchange = atomicCompareExchangeWeak(&result[to], old, bitcast<i32>(bitcast<f32>(old) + value));
      if (exchange.exchanged) { break; }
      old = exchange.old_value;
    }`,
  int32: 'atomicAdd(&result[to], i32(value));',
};

const scatterProgram = (n: number, width: number, rows: number, dtype: DataType): Program =>
  program(`row_scatter_add_${dtype}`, ['values', 'ids'], [rows, width], n * width, `
    let id = i32(getIds(row));
    if (id < 0 || id >= uniforms.rows) { return; }
    let to = id * uniforms.width + column;
    let value = getValues(row, column);
    ${ADD[dtype]}`, true);

function zeros(backend: KernelBackend, shape: number[], dtype: DataType): TensorInfo {
  const fill = getKernel('Fill', BACKEND);
  if (fill == null) throw new Error("gatherRows: the webgpu backend has no kernel 'Fill'. Import the whole of @tensorflow/tfjs-backend-webgpu.");
  return fill.kernelFunc({ inputs: {}, backend, attrs: { shape, value: 0, dtype } }) as TensorInfo;
}

const gather: KernelFunc = (args) => {
  const { table, ids } = args.inputs as unknown as GatherRowsInputs;
  const [[rows, width], n] = [table.shape, ids.shape[0]];
  if (rows * width * n === 0) return zeros(args.backend as KernelBackend, [n, width], table.dtype);
  return (args.backend as WebGPUBackend).runWebGPUProgram(gatherProgram(n, width), [table, ids], table.dtype, uniforms(n * width, width, rows));
};

const scatter: KernelFunc = (args) => {
  const { values, ids } = args.inputs as unknown as RowScatterAddInputs;
  const { rows } = args.attrs as unknown as RowScatterAddAttrs;
  const backend = args.backend as WebGPUBackend;
  const [n, width] = values.shape;
  const sums = zeros(backend, [rows, width], values.dtype);
  if (rows * width * n === 0) return sums;
  return backend.runWebGPUProgram(scatterProgram(n, width, rows, values.dtype), [values, ids], values.dtype, uniforms(n * width, width, rows), sums);
};

registerOwnKernel(GATHER_ROWS, BACKEND, gather);
registerOwnKernel(ROW_SCATTER_ADD, BACKEND, scatter);
