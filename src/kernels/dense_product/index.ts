/** The product of two matrices, or of as many pairs of them, with a gradient that is fast on every backend, also where the stock one is not (cpu, wasm). */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import './cpu.js';
import { DENSE_PRODUCT, type DenseProductAttrs } from './names.js';
import './wasm.js';

/**
 * op(a) · op(b) for float32 matrices, or for the pairs of them in `a` [count, …, …] and `b` [count, …, …], op(x) = xᵀ where asked for: `tf.matMul`,
 * which serves every backend without a `DenseProduct` kernel. Differentiable any number of times.
 */
export function denseProduct<T extends Tensor2D | Tensor3D>(a: T, b: T, transposeA = false, transposeB = false): T {
  const [inner, other] = [a.shape.at(transposeA ? -2 : -1), b.shape.at(transposeB ? -1 : -2)];
  if (inner !== other || a.rank !== b.rank || (a.rank === 3 && a.shape[0] !== b.shape[0])) {
    throw new Error(`denseProduct: inner lengths and counts must agree, got [${a.shape}] and [${b.shape}] with transposeA ${transposeA}, transposeB ${transposeB}.`);
  }
  if (tfc.getKernel(DENSE_PRODUCT, tfc.getBackend()) == null) return tfc.matMul(a, b, transposeA, transposeB);
  return tfc.engine().runKernel<T>(DENSE_PRODUCT, { a, b }, { transposeA, transposeB } as unknown as NamedAttrMap);
}

tfc.registerGradient({
  kernelName: DENSE_PRODUCT,
  inputsToSave: ['a', 'b'],
  gradFunc: (dy, saved, attrs) => {
    const [a, b] = saved as Tensor2D[];
    const g = dy as Tensor2D;
    const { transposeA, transposeB } = attrs as unknown as DenseProductAttrs;
    return {
      a: () => (transposeA ? denseProduct(b, g, transposeB, true) : denseProduct(g, b, false, !transposeB)),
      b: () => (transposeB ? denseProduct(g, a, true, transposeA) : denseProduct(a, g, !transposeA, false)),
    };
  },
});
