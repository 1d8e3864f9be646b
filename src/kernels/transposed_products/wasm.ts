/**
 * `BatchMatMul` and `_FusedMatMul` for the wasm backend, over the stock kernels of tfjs 4.22.
 *
 * What is wrong with the stock ones (tfjs-backend-wasm `batch_mat_mul_impl.cc`; measured):
 * - a product with `transposeA` or `transposeB` runs in a scalar loop, up to 45 times slower than transposing first; the gradient of
 *   every dense layer is such a product;
 * - that loop, which also serves batches, adds the bias to the first row only and applies the activation once per block of 48:
 *   fused products with a transposition or a batch are wrong;
 * - the packed right operand is kept by buffer without its shape: the same numbers used as a right operand in two shapes
 *   (`tf.reshape` shares its buffer) give a wrong second product.
 */

import { getKernel } from '@tensorflow/tfjs-core';
import type { DataType, KernelFunc, TensorInfo } from '@tensorflow/tfjs-core';
import { replaceKernel } from '../mending.js';
import { planProduct } from './plan.js';

/** What these kernels use of `BackendWasm`. */
interface WasmBackend {
  disposeData(dataId: object): boolean;
  makeOutput(shape: number[], dtype: DataType): TensorInfo;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array;
}

interface ProductAttrs {
  transposeA?: boolean;
  transposeB?: boolean;
  activation?: string;
  leakyreluAlpha?: number;
}

type Inputs = Partial<Record<'a' | 'b' | 'x' | 'alpha' | 'bias' | 'preluActivationWeights', TensorInfo>>;

/** A stock kernel bound to the backend: inputs and attributes in, one tensor out. */
type Run = (inputs: Inputs, attrs?: object) => TensorInfo;

const BACKEND = 'wasm';
const ACTIVATIONS: Record<string, string> = {
  relu: 'Relu', relu6: 'Relu6', elu: 'Elu', sigmoid: 'Sigmoid', leakyrelu: 'LeakyRelu', prelu: 'Prelu',
};

const size = (shape: number[]) => shape.reduce((product, length) => product * length, 1);
const reshaped = ({ dataId, dtype }: TensorInfo, shape: number[]): TensorInfo => ({ dataId, dtype, shape });
const isMatrix = ({ shape }: TensorInfo) => size(shape.slice(0, -2)) === 1;
const asMatrix = (x: TensorInfo) => reshaped(x, x.shape.slice(-2));

/** The shape in which each buffer was first packed as a right operand. */
const packedShapes = new WeakMap<object, string>();

/** Kernel calls that free their intermediate results; `result` is what leaves the scope. */
function inScope(backend: WasmBackend, body: (own: (x: TensorInfo) => TensorInfo) => TensorInfo): TensorInfo {
  const owned: TensorInfo[] = [];
  let result: TensorInfo | undefined;
  try {
    result = body((x) => (owned.push(x), x));
    return result;
  } finally {
    for (const x of owned) if (x !== result) backend.disposeData(x.dataId);
  }
}

function runner(kernelName: string, kernel: KernelFunc | undefined, backend: WasmBackend): Run {
  if (kernel == null) throw new Error(`registerMissingKernels: the wasm backend has no kernel '${kernelName}', which a mended product needs.`);
  return (inputs, attrs = {}) => kernel({ inputs, backend, attrs: attrs as never }) as TensorInfo;
}

const stockRunner = (kernelName: string, backend: WasmBackend) => runner(kernelName, getKernel(kernelName, BACKEND)?.kernelFunc, backend);

function transpose(x: TensorInfo, backend: WasmBackend): TensorInfo {
  const outer = x.shape.length - 2;
  const perm = x.shape.map((_, axis) => (axis < outer ? axis : axis === outer ? outer + 1 : outer));
  return stockRunner('Transpose', backend)({ x }, { perm });
}

/** `b`, or a copy of it where its buffer has already been packed in another shape. */
function rightOperand(b: TensorInfo, backend: WasmBackend, own: (x: TensorInfo) => TensorInfo): TensorInfo {
  const shape = b.shape.slice(-2).join();
  const packed = packedShapes.get(b.dataId);
  if (packed === undefined) packedShapes.set(b.dataId, shape);
  if (packed === undefined || packed === shape) return b;
  const copy = own(backend.makeOutput(b.shape, b.dtype));
  backend.typedArrayFromHeap(copy).set(backend.typedArrayFromHeap(b));
  return copy;
}

/** op(a)·op(b) of two tensors of any (broadcastable) outer dimensions. */
function product(a: TensorInfo, b: TensorInfo, transposeA: boolean, transposeB: boolean, stock: Run, backend: WasmBackend): TensorInfo {
  const untouched = () => stock({ a, b }, { transposeA, transposeB });
  // Explicit transposition does not help batches: the stock kernel has no fast product for them either way.
  if (a.dtype !== 'float32' || b.dtype !== 'float32' || !isMatrix(a) || !isMatrix(b)) return untouched();
  const [a2, b2] = [asMatrix(a), asMatrix(b)];
  const [m, k] = transposeA ? [a2.shape[1], a2.shape[0]] : a2.shape;
  const n = b2.shape[transposeB ? 0 : 1];
  // A product that does not fit, or an empty one, is the stock kernel's to refuse or to answer.
  if (b2.shape[transposeB ? 1 : 0] !== k || m * k * n === 0) return untouched();
  const plan = planProduct(m, k, n, transposeA, transposeB);
  if (plan === 'stock' && (transposeA || transposeB)) return untouched();
  const out = inScope(backend, (own) => {
    const turned = (x: TensorInfo, turn: boolean) => (turn ? own(transpose(x, backend)) : x);
    const fast = (left: TensorInfo, right: TensorInfo) =>
      stock({ a: left, b: rightOperand(right, backend, own) }, { transposeA: false, transposeB: false });
    if (plan !== 'swapped') return fast(turned(a2, transposeA), turned(b2, transposeB));
    return transpose(own(fast(turned(b2, !transposeB), turned(a2, !transposeA))), backend);
  });
  const outer = a.shape.length >= b.shape.length ? a.shape.slice(0, -2) : b.shape.slice(0, -2);
  out.shape = [...outer, m, n];
  return out;
}

function mendedProduct(stockKernel: KernelFunc): KernelFunc {
  return ({ inputs, backend, attrs }) => {
    const { transposeA = false, transposeB = false } = attrs as ProductAttrs;
    const wasm = backend as WasmBackend;
    const { a, b } = inputs as { a: TensorInfo; b: TensorInfo };
    return product(a, b, transposeA, transposeB, runner('BatchMatMul', stockKernel, wasm), wasm);
  };
}

function mendedFusedProduct(stockKernel: KernelFunc): KernelFunc {
  return (args) => {
    const { a, b, bias, preluActivationWeights: alpha } = args.inputs as Inputs & { a: TensorInfo; b: TensorInfo };
    const attrs = args.attrs as ProductAttrs;
    const { transposeA = false, transposeB = false, activation = 'linear' } = attrs;
    const backend = args.backend as WasmBackend;
    if (a.dtype !== 'float32' || b.dtype !== 'float32') return stockKernel(args);
    const matrixProduct = isMatrix(a) && isMatrix(b);
    const plain = bias == null && activation === 'linear';
    if (matrixProduct && !(plain && (transposeA || transposeB))) {
      return inScope(backend, (own) => {
        const left = transposeA ? own(transpose(a, backend)) : a;
        const right = rightOperand(transposeB ? own(transpose(b, backend)) : b, backend, own);
        return runner('_FusedMatMul', stockKernel, backend)({ ...args.inputs, a: left, b: right }, { ...attrs, transposeA: false, transposeB: false });
      });
    }
    if (activation !== 'linear' && !(activation in ACTIVATIONS)) return stockKernel(args);
    return inScope(backend, (own) => {
      const unfused = stockRunner('BatchMatMul', backend)({ a, b }, { transposeA, transposeB });
      if (plain) return unfused;
      const shifted = bias == null ? own(unfused) : own(stockRunner('Add', backend)({ a: own(unfused), b: bias }));
      if (activation === 'linear') return shifted;
      const activate = stockRunner(ACTIVATIONS[activation], backend);
      return activate({ x: shifted, ...(activation === 'prelu' ? { alpha } : {}) }, { alpha: attrs.leakyreluAlpha });
    });
  };
}

/** Puts the mended products in place of the wasm backend's and names those it replaced; nothing where that backend is not imported. */
export function registerTransposedProducts(): string[] {
  return [
    ...replaceKernel('BatchMatMul', BACKEND, mendedProduct),
    ...replaceKernel('_FusedMatMul', BACKEND, mendedFusedProduct),
  ];
}
