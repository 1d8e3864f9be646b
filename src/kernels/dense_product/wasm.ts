/**
 * A matrix product for the wasm backend whose transposed operands are transposed first where that is faster (transposed_products/plan.ts), under
 * a name of our own: our layers train fast whether or not `registerMissingKernels()` was called.
 */
import { getKernel, registerKernel, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { batchPays, planProduct } from '../transposed_products/plan.js';
import { DENSE_PRODUCT, productSize, type DenseProductAttrs, type ProductSize } from './names.js';

const BACKEND = 'wasm';

/** What is used of `BackendWasm`. */
interface HeapBackend {
  disposeData(dataId: object): boolean;
  makeOutput(shape: number[], dtype: 'float32'): TensorInfo;
  typedArrayFromHeap(tensor: TensorInfo): Float32Array;
}

const denseProduct: KernelFunc = ({ inputs, backend, attrs }) => {
  const { a, b } = inputs as { a: TensorInfo; b: TensorInfo };
  const options = attrs as unknown as DenseProductAttrs;
  const heap = backend as HeapBackend;
  const own: TensorInfo[] = [];
  const kept = (x: TensorInfo) => (own.push(x), x);
  const run = (kernelName: string, given: Record<string, TensorInfo>, settings: object): TensorInfo => {
    const kernel = getKernel(kernelName, BACKEND);
    if (kernel == null) throw new Error(`DenseProduct: the wasm backend has no kernel '${kernelName}'. Import the whole of @tensorflow/tfjs-backend-wasm.`);
    return kernel.kernelFunc({ inputs: given, backend, attrs: settings as never }) as TensorInfo;
  };
  const transposed = (x: TensorInfo) => run('Transpose', { x }, { perm: x.shape.length === 3 ? [0, 2, 1] : [1, 0] });
  const turned = (x: TensorInfo, turn: boolean) => (turn ? kept(transposed(x)) : x);
  const plain = (left: TensorInfo, right: TensorInfo) => run('BatchMatMul', { a: left, b: right }, { transposeA: false, transposeB: false });

  const { transposeA, transposeB } = options;
  const size = productSize(a.shape, b.shape, options);
  const { m, k, n } = size;
  try {
    if (a.shape.length === 3) {
      if (!batchPays(m, k, n, transposeA, transposeB)) return run('BatchMatMul', { a, b }, { transposeA, transposeB });
      return oneByOne(heap, turned(a, transposeA), turned(b, transposeB), size, plain);
    }
    const plan = planProduct(m, k, n, transposeA, transposeB);
    if (plan === 'stock') return run('BatchMatMul', { a, b }, { transposeA, transposeB });
    if (plan === 'direct') return plain(turned(a, transposeA), turned(b, transposeB));
    return transposed(kept(plain(turned(b, !transposeB), turned(a, !transposeA))));
  } finally {
    for (const x of own) heap.disposeData(x.dataId);
  }
};

/** Products of the matrices in `a` [count, m, k] and `b` [count, k, n], each through the backend's fast product, which takes single ones only. */
function oneByOne(heap: HeapBackend, a: TensorInfo, b: TensorInfo, { count, m, k, n, shape }: ProductSize, plain: (a: TensorInfo, b: TensorInfo) => TensorInfo): TensorInfo {
  const out = heap.makeOutput(shape, 'float32');
  const left = heap.makeOutput([m, k], 'float32');
  for (let i = 0; i < count; i++) {
    // A new one each time: the backend keeps what it makes of a right operand.
    const right = heap.makeOutput([k, n], 'float32');
    // Views are taken anew after anything is made: a growing heap takes them away.
    const copy = (from: TensorInfo, start: number, to: TensorInfo, at: number, length: number) =>
      heap.typedArrayFromHeap(to).set(heap.typedArrayFromHeap(from).subarray(start, start + length), at);
    copy(a, i * m * k, left, 0, m * k);
    copy(b, i * k * n, right, 0, k * n);
    const product = plain(left, right);
    copy(product, 0, out, i * m * n, m * n);
    heap.disposeData(product.dataId);
    heap.disposeData(right.dataId);
  }
  heap.disposeData(left.dataId);
  return out;
}

// Another copy of this package in the same page may have been here.
if (getKernel(DENSE_PRODUCT, BACKEND) == null) registerKernel({ kernelName: DENSE_PRODUCT, backendName: BACKEND, kernelFunc: denseProduct });
