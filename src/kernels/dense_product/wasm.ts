/**
 * A matrix product for the wasm backend whose transposed operands are transposed first where that is faster (transposed_products/plan.ts), under
 * a name of our own: our layers train fast whether or not `registerMissingKernels()` was called.
 */
import { getKernel, registerKernel, type KernelFunc, type TensorInfo } from '@tensorflow/tfjs-core';
import { planProduct } from '../transposed_products/plan.js';
import { DENSE_PRODUCT, type DenseProductAttrs } from './names.js';

const BACKEND = 'wasm';

const denseProduct: KernelFunc = ({ inputs, backend, attrs }) => {
  const { a, b } = inputs as { a: TensorInfo; b: TensorInfo };
  const { transposeA, transposeB } = attrs as unknown as DenseProductAttrs;
  const own: TensorInfo[] = [];
  const run = (kernelName: string, given: Record<string, TensorInfo>, options: object): TensorInfo => {
    const kernel = getKernel(kernelName, BACKEND);
    if (kernel == null) throw new Error(`DenseProduct: the wasm backend has no kernel '${kernelName}'. Import the whole of @tensorflow/tfjs-backend-wasm.`);
    return kernel.kernelFunc({ inputs: given, backend, attrs: options as never }) as TensorInfo;
  };
  const transposed = (x: TensorInfo) => run('Transpose', { x }, { perm: [1, 0] });
  const kept = (x: TensorInfo) => (own.push(x), x);
  const turned = (x: TensorInfo, turn: boolean) => (turn ? kept(transposed(x)) : x);
  const plain = (left: TensorInfo, right: TensorInfo) => run('BatchMatMul', { a: left, b: right }, { transposeA: false, transposeB: false });

  const [m, k] = transposeA ? [a.shape[1], a.shape[0]] : a.shape;
  const plan = planProduct(m, k, b.shape[transposeB ? 0 : 1], transposeA, transposeB);
  try {
    if (plan === 'stock') return run('BatchMatMul', { a, b }, { transposeA, transposeB });
    if (plan === 'direct') return plain(turned(a, transposeA), turned(b, transposeB));
    return transposed(kept(plain(turned(b, !transposeB), turned(a, !transposeA))));
  } finally {
    for (const x of own) (backend as { disposeData(dataId: object): boolean }).disposeData(x.dataId);
  }
};

// Another copy of this package in the same page may have been here.
if (getKernel(DENSE_PRODUCT, BACKEND) == null) registerKernel({ kernelName: DENSE_PRODUCT, backendName: BACKEND, kernelFunc: denseProduct });
