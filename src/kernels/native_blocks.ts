/**
 * Large matrices of the tensorflow backend, a block of rows at a time through one array that its operations read and write where it lies. Read or
 * written as a whole they would pass through new memory of their size at every step, which takes longer than the loops over them.
 *
 * tfjs-node makes tensors of the memory of typed arrays that begin at a multiple of 64 bytes, and TensorFlow's InplaceUpdate writes rows into the
 * memory of its first operand. Neither is promised: both are tried on a small matrix first, and where that fails nothing here is used.
 */
import type { KernelBackend, TensorInfo } from '@tensorflow/tfjs-core';

/** Numbers in the array: half a megabyte, which stays in a processor's cache. Smaller matrices are left alone. */
const BLOCK = 2 ** 17;
const ALIGNMENT = 64;

interface Attribute {
  name: string;
  type: number;
  value: unknown;
}

/** What is used of `NodeJSKernelBackend`. */
interface NativeBackend extends KernelBackend {
  binding: {
    createTensor(shape: number[], dtype: number, values: Float32Array | Int32Array): number;
    deleteTensor(id: number): void;
    executeOp(name: string, attributes: Attribute[], inputs: number[], outputs: number): Array<{ id: number; shape: number[]; dtype: number }>;
    isUsingGpuDevice(): boolean;
    readonly TF_FLOAT: number;
    readonly TF_INT32: number;
    readonly TF_ATTR_BOOL: number;
    readonly TF_ATTR_TYPE: number;
  };
  getInputTensorIds(tensors: TensorInfo[]): number[];
  createOutputTensor(made: { id: number; shape: number[]; dtype: number }): TensorInfo;
}

/** Rows of a matrix, one behind the other, the first of which is row `from`. */
export type Block = (rows: Float32Array, from: number) => void;

const isNative = (backend: object): backend is NativeBackend => 'binding' in backend && 'getInputTensorIds' in backend;

let found: Float32Array | null | undefined;

/** The array, or null where operations do not share it. */
function sharedArray(backend: NativeBackend): Float32Array | null {
  if (found === undefined) found = backend.binding.isUsingGpuDevice() ? null : tryAll(backend);
  return found;
}

function tryAll(backend: NativeBackend): Float32Array | null {
  const memory = new ArrayBuffer(4 * BLOCK + ALIGNMENT);
  for (let offset = 0; offset < ALIGNMENT; offset += 4) {
    const array = new Float32Array(memory, offset, BLOCK);
    if (passes(backend, array)) return array;
  }
  return null;
}

/** Whether three rows, written and read two at a time, are what they were. */
function passes(backend: NativeBackend, array: Float32Array): boolean {
  const two = array.subarray(0, 2);
  const seen: number[] = [];
  try {
    const id = write(backend, two, [3, 1], (rows, from) => rows.forEach((_, r) => (rows[r] = 1 + from + r)));
    try {
      two.fill(0);
      read(backend, two, id, [3, 1], (rows) => seen.push(...rows));
    } finally {
      backend.binding.deleteTensor(id);
    }
  } catch {
    return false; // a TensorFlow without one of the operations
  }
  return seen.join() === '1,2,3';
}

type MakesTensor = (shape: number[], values: Float32Array | Int32Array) => number;
/** The id of the one output; a number is a type, false a boolean. */
type RunsOperation = (name: string, attributes: Record<string, number | false>, inputs: number[]) => number;

/** Calls `run` with what makes tensors and runs operations, and frees all that they made but what it keeps. */
function withTensors<T>({ binding }: NativeBackend, run: (tensor: MakesTensor, operation: RunsOperation, keep: (id: number) => number) => T): T {
  const own = new Set<number>();
  const added = (id: number) => (own.add(id), id);
  const attribute = ([name, value]: [string, number | false]): Attribute => ({ name, type: value === false ? binding.TF_ATTR_BOOL : binding.TF_ATTR_TYPE, value });
  try {
    return run(
      (shape, values) => added(binding.createTensor(shape, values instanceof Float32Array ? binding.TF_FLOAT : binding.TF_INT32, values)),
      (name, attributes, inputs) => added(binding.executeOp(name, Object.entries(attributes).map(attribute), inputs, 1)[0].id),
      (id) => (own.delete(id), id),
    );
  } finally {
    own.forEach((id) => binding.deleteTensor(id));
  }
}

const upTo = (count: number, from = 0): Int32Array => Int32Array.from({ length: count }, (_, i) => from + i);

/** The id of a tensor whose rows `fill` wrote. */
function write(backend: NativeBackend, array: Float32Array, [rows, columns]: number[], fill: Block): number {
  const { TF_FLOAT } = backend.binding;
  const height = Math.floor(array.length / columns);
  return withTensors(backend, (tensor, operation, keep) => {
    const whole = operation('Empty', { dtype: TF_FLOAT, init: false }, [tensor([2], Int32Array.of(rows, columns))]);
    for (let from = 0; from < rows; from += height) {
      const count = Math.min(height, rows - from);
      const block = array.subarray(0, count * columns);
      fill(block, from);
      operation('InplaceUpdate', { T: TF_FLOAT }, [whole, tensor([count], upTo(count, from)), tensor([count, columns], block)]);
    }
    return keep(whole);
  });
}

function read(backend: NativeBackend, array: Float32Array, id: number, [rows, columns]: number[], visit: Block): void {
  const { TF_FLOAT, TF_INT32 } = backend.binding;
  const height = Math.floor(array.length / columns);
  withTensors(backend, (tensor, operation) => {
    for (let from = 0; from < rows; from += height) {
      const count = Math.min(height, rows - from);
      const block = array.subarray(0, count * columns);
      const part = operation('Slice', { T: TF_FLOAT, Index: TF_INT32 }, [id, tensor([2], Int32Array.of(from, 0)), tensor([2], Int32Array.of(count, columns))]);
      operation('InplaceUpdate', { T: TF_FLOAT }, [tensor([count, columns], block), tensor([count], upTo(count)), part]);
      visit(block, from);
    }
  });
}

/** The array for a matrix of this shape, or null where it is better done as a whole. */
function arrayFor(backend: KernelBackend, [rows, columns]: number[]): Float32Array | null {
  return rows * columns > BLOCK && columns <= BLOCK && isNative(backend) ? sharedArray(backend) : null;
}

/** A tensor of `shape` whose rows `fill` writes, block by block; null where it is better made as a whole. */
export function writtenInBlocks(backend: KernelBackend, shape: number[], fill: Block): TensorInfo | null {
  const array = arrayFor(backend, shape);
  if (array === null) return null;
  const native = backend as NativeBackend;
  return native.createOutputTensor({ id: write(native, array, shape, fill), shape, dtype: native.binding.TF_FLOAT });
}

/** Calls `visit` with the rows of a matrix, block by block; false where it is better read as a whole. */
export function readInBlocks(backend: KernelBackend, matrix: TensorInfo, visit: Block): boolean {
  const array = arrayFor(backend, matrix.shape);
  if (array === null) return false;
  const native = backend as NativeBackend;
  read(native, array, native.getInputTensorIds([matrix])[0], matrix.shape, visit);
  return true;
}
