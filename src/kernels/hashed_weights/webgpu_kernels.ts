/**
 * The kernels as WebGPU shaders: the hash is computed there and nothing is kept. A gradient is added up atomically (compare and exchange), in
 * whatever order its numbers come: its last bits differ from run to run.
 */
import { getKernel, registerKernel, type DataType, type KernelBackend, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import type { HashedMatrix } from './matrix.js';
import { EXPAND, EXPAND_ROWS, SCATTER, SCATTER_ROWS, type HashedAttrs } from './names.js';

interface Program {
  variableNames: string[];
  outputShape: number[];
  shaderKey: string;
  dispatchLayout: { x: number[] };
  dispatch: [number, number, number];
  workgroupSize: [number, number, number];
  /** The output is of atomic integers, which hold the bits of its floats. */
  atomic?: true;
  uniforms: string;
  getUserCode(): string;
}

type Uniform = { type: 'int32' | 'float32'; data: number[] };

/** What is used of `WebGPUBackend`. */
interface WebGPUBackend extends KernelBackend {
  runWebGPUProgram(program: Program, inputs: TensorInfo[], dtype: DataType, uniforms: Uniform[], output?: TensorInfo): TensorInfo;
}

const backendName = 'webgpu';
const WORKGROUP = 64;

/** `locate` of matrix.ts: `hashOf` a tile, and the stored number of one of its numbers. */
const HASH = `
  fn takeWord(before : u32, word : u32) -> u32 {
    let h = before + word * 0xc2b2ae3du;
    return ((h << 17u) | (h >> 15u)) * 0x27d4eb2fu;
  }
  fn hashOf(row : i32, column : i32) -> u32 {
    var h = takeWord(takeWord(bitcast<u32>(uniforms.seed) + 0x165667b1u + 8u, u32(row)), u32(column));
    h = (h ^ (h >> 15u)) * 0x85ebca77u;
    h = (h ^ (h >> 13u)) * 0xc2b2ae3du;
    return h ^ (h >> 16u);
  }
  fn bucketOf(h : u32) -> i32 {
    let k = u32(uniforms.buckets);
    let low = h & 0xffffu;
    let high = h >> 16u;
    let middle = high * (k & 0xffffu) + ((low * (k & 0xffffu)) >> 16u);
    let other = low * (k >> 16u) + (middle & 0xffffu);
    return i32(high * (k >> 16u) + (middle >> 16u) + (other >> 16u));
  }
  fn indexOf(h : u32, row : i32, column : i32) -> i32 {
    let index = bucketOf(h) + (row % uniforms.tileRows) * uniforms.tileColumns + column % uniforms.tileColumns;
    return select(index, index - uniforms.buckets, index >= uniforms.buckets);
  }
  fn factorOf(h : u32) -> f32 {
    return select(uniforms.scale, -uniforms.scale, (h & uniforms.signMask) == 1u);
  }`;

/** The last two are the columns of the matrix and how many numbers there are to work on. */
const UNIFORMS =
  'seed : i32, buckets : i32, tileRows : i32, tileColumns : i32, rows : i32, signMask : u32, scale : f32, columns : i32, total : i32,';

function uniformsOf({ seed, tile, rows, columns, signed, scale = 1 }: HashedMatrix, buckets: number, total: number): Uniform[] {
  const integers = (...values: number[]) => values.map((value): Uniform => ({ type: 'int32', data: [value] }));
  return [...integers(seed | 0, buckets, tile[0], tile[1], rows, signed ? 1 : 0), { type: 'float32', data: [scale] }, ...integers(columns, total)];
}

/** One invocation for each number of the (chosen rows of the) matrix, at `row` and `column`. */
function program(kind: string, variableNames: string[], outputShape: number[], total: number, body: string): Program {
  const byNumber = variableNames.length > 1;
  return {
    variableNames,
    outputShape,
    // Programs of one key share a pipeline: shapes, tiles and seeds are uniforms.
    shaderKey: `tfws_hashed_${kind}_${byNumber}`,
    dispatchLayout: { x: [0] },
    dispatch: [Math.ceil(total / WORKGROUP), 1, 1],
    workgroupSize: [WORKGROUP, 1, 1],
    uniforms: UNIFORMS,
    getUserCode: () => `${HASH}
      fn main(index : i32) {
        if (index >= uniforms.total) { return; }
        let column = index % uniforms.columns;
        let row = ${byNumber ? 'i32(getRows(index / uniforms.columns))' : 'index / uniforms.columns'};
        let inside = row >= 0 && row < uniforms.rows;
        let h = hashOf(row / uniforms.tileRows, column / uniforms.tileColumns);
        ${body}
      }`,
  };
}

const expand: KernelFunc = ({ inputs, backend, attrs }) => {
  const { stored, rows } = inputs as { stored: TensorInfo; rows?: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  const shape = [rows === undefined ? matrix.rows : rows.shape[0], matrix.columns];
  const total = shape[0] * shape[1];
  const [names, given] = rows === undefined ? [['stored'], [stored]] : [['stored', 'rows'], [stored, rows]];
  const expanding = program('expand', names, shape, total, `
    var value = 0.0;
    if (inside) { value = factorOf(h) * getStored(indexOf(h, row, column)); }
    setOutputAtIndex(index, value);`); // prettier-ignore
  return (backend as WebGPUBackend).runWebGPUProgram(expanding, given, 'float32', uniformsOf(matrix, buckets, total));
};

const scatter: KernelFunc = ({ inputs, backend, attrs }) => {
  const { gradient, rows } = inputs as { gradient: TensorInfo; rows?: TensorInfo };
  const { matrix, buckets } = attrs as unknown as HashedAttrs;
  const total = gradient.shape[0] * gradient.shape[1];
  const [names, given] = rows === undefined ? [['gradient'], [gradient]] : [['gradient', 'rows'], [gradient, rows]];
  const adding: Program = {
    ...program('scatter', names, [buckets], total, `
      if (!inside) { return; }
      let term = factorOf(h) * getGradient(index / uniforms.columns, column);
      let place = indexOf(h, row, column);
      var before = atomicLoad(&result[place]);
      loop {
        let exchange = atomicCompareExchangeWeak(&result[place], before, bitcast<i32>(bitcast<f32>(before) + term));
        if (exchange.exchanged) { break; }
        before = exchange.old_value;
      }`),
    atomic: true,
  }; // prettier-ignore
  const fill = getKernel('Fill', backendName)!.kernelFunc;
  const zeros = fill({ inputs: {}, backend, attrs: { shape: [buckets], value: 0, dtype: 'float32' } }) as TensorInfo;
  return (backend as WebGPUBackend).runWebGPUProgram(adding, given, 'float32', uniformsOf(matrix, buckets, total), zeros);
};

for (const [kernelName, kernelFunc] of Object.entries({ [EXPAND]: expand, [EXPAND_ROWS]: expand, [SCATTER]: scatter, [SCATTER_ROWS]: scatter })) {
  // Another copy of this package in the same page may have been here.
  if (getKernel(kernelName, backendName) == null) registerKernel({ kernelName, backendName, kernelFunc });
}
