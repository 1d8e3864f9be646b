/** The product of two matrices with a gradient that is fast on every backend, also where the stock one is not (cpu, wasm). */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import './cpu.js';
import { DENSE_PRODUCT, type DenseProductAttrs } from './names.js';
import './wasm.js';

/**
 * op(a) · op(b) for float32 matrices, op(x) = xᵀ where asked for: `tf.matMul`, which serves every backend without a `DenseProduct` kernel.
 * Differentiable any number of times.
 */
export function denseProduct(a: Tensor2D, b: Tensor2D, transposeA = false, transposeB = false): Tensor2D {
  const [inner, other] = [a.shape[transposeA ? 0 : 1], b.shape[transposeB ? 1 : 0]];
  if (inner !== other) throw new Error(`denseProduct: inner lengths must agree, got [${a.shape}] and [${b.shape}] with transposeA ${transposeA}, transposeB ${transposeB}.`);
  if (tfc.getKernel(DENSE_PRODUCT, tfc.getBackend()) == null) return tfc.matMul(a, b, transposeA, transposeB);
  return tfc.engine().runKernel<Tensor2D>(DENSE_PRODUCT, { a, b }, { transposeA, transposeB } as unknown as NamedAttrMap);
}

tfc.registerGradient({
  kernelName: DENSE_PRODUCT,
  inputsToSave: ['a', 'b'],
  gradFunc: (dy, saved, attrs) => {
    const [a, b] = saved as Tensor2D[];
    const g = dy as Tensor as Tensor2D;
    const { transposeA, transposeB } = attrs as unknown as DenseProductAttrs;
    return {
      a: () => (transposeA ? denseProduct(b, g, transposeB, true) : denseProduct(g, b, false, !transposeB)),
      b: () => (transposeB ? denseProduct(g, a, true, transposeA) : denseProduct(a, g, !transposeA, false)),
    };
  },
});
