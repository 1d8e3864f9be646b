/** The dense maps before and after attention. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { activeTape } from '../autodiff/tape.js';
import { variableOf, type LayerVariable } from '../host.js';
import { denseProduct } from '../kernels/dense_product/index.js';

/** x · kernel + bias over the last axis: [batch, time, inputs] → [batch, time, units]. */
export function projected(x: Tensor, kernel: LayerVariable, bias: LayerVariable | null): Tensor {
  const matrix = variableOf(kernel) as Tensor as Tensor2D;
  const shift = bias === null ? undefined : (variableOf(bias) as Tensor as Tensor1D);
  const rows = tfc.reshape(x, [-1, x.shape.at(-1) as number]) as Tensor2D;
  return tfc.reshape(product(rows, matrix, shift), [...x.shape.slice(0, -1), matrix.shape[1]]);
}

function product(rows: Tensor2D, matrix: Tensor2D, shift: Tensor1D | undefined): Tensor {
  if (activeTape() === null) return tfc.fused.matMul({ a: rows, b: matrix, bias: shift });
  const y = denseProduct(rows, matrix);
  return shift === undefined ? y : tfc.add(y, shift);
}
