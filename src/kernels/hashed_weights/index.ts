/**
 * A hashed matrix as differentiable operations: expanding the stored array, and its transpose, which adds a gradient up. Both are
 * linear, and each is the other's gradient, to any order.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedAttrMap, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import './host_kernels.js';
import './webgl_kernels.js';
import './webgpu_kernels.js';
import { forget } from './kept.js';
import { checkMatrix, type HashedMatrix } from './matrix.js';
import { EXPAND, EXPAND_ROWS, SCATTER, SCATTER_ROWS, type HashedAttrs } from './names.js';

export type { HashedMatrix };

/**
 * The virtual matrix of a stored array, [matrix.rows, matrix.columns], or of it the rows that `rows` names, [n, matrix.columns].
 *
 * Differentiable in `stored`, to any order. Cost: O(output) time, one hash a tile and row; nothing but the output is allocated.
 *
 * @param stored [buckets] float32; its length is the number of buckets.
 * @param rows [n] int32; a number that names no row gives zeros.
 * @throws Error if a tile is larger than the stored array.
 */
export function expandHashed(stored: Tensor1D, matrix: HashedMatrix, rows?: Tensor1D): Tensor2D {
  const buckets = stored.size;
  checkMatrix('expandHashed', matrix, buckets);
  checkStored(stored);
  if (rows === undefined) return run(EXPAND, { stored }, { matrix, buckets });
  checkRows('expandHashed', rows);
  return run(EXPAND_ROWS, { stored, rows }, { matrix, buckets });
}

/**
 * The transpose of {@link expandHashed}: each number of `gradient`, with its factor, added to the stored number it belongs to, [buckets].
 * On webgl, what it needs to find the terms of a bucket is kept until {@link forgetHashed}.
 *
 * @param gradient [matrix.rows, matrix.columns], or with `rows` [n, matrix.columns].
 * @param rows [n] int32; what a number that names no row stands for is left out.
 */
export function scatterHashed(gradient: Tensor2D, matrix: HashedMatrix, buckets: number, rows?: Tensor1D): Tensor1D {
  checkMatrix('scatterHashed', matrix, buckets);
  const expected = [rows === undefined ? matrix.rows : rows.size, matrix.columns];
  if (!tfc.util.arraysEqual(gradient.shape, expected)) {
    throw new Error(`scatterHashed: gradient must have the shape [${expected.join(', ')}], got [${gradient.shape.join(', ')}].`);
  }
  if (rows === undefined) return run(SCATTER, { gradient }, { matrix, buckets });
  checkRows('scatterHashed', rows);
  return run(SCATTER_ROWS, { gradient, rows }, { matrix, buckets });
}

/** Frees what kernels keep for `matrix` (webgl: where the terms of each bucket stand). It is made again when it is needed. */
export function forgetHashed(matrix: HashedMatrix): void {
  forget(matrix);
}

function run<T extends Tensor>(kernel: string, inputs: Record<string, Tensor>, attrs: HashedAttrs): T {
  return tfc.engine().runKernel<T>(kernel, inputs, attrs as unknown as NamedAttrMap);
}

function checkStored(stored: Tensor1D): void {
  if (stored.rank !== 1 || stored.dtype !== 'float32') throw new Error(`expandHashed: stored must be a float32 tensor of rank 1, got ${stored.dtype} of rank ${stored.rank}.`);
}

function checkRows(who: string, rows: Tensor1D): void {
  if (rows.rank !== 1 || rows.dtype !== 'int32') throw new Error(`${who}: rows must be an int32 tensor of rank 1, got ${rows.dtype} of rank ${rows.rank}.`);
}

const attrsOf = (attrs: unknown) => attrs as HashedAttrs;

tfc.registerGradient({
  kernelName: EXPAND,
  gradFunc: (dy, _saved, attrs) => {
    const { matrix, buckets } = attrsOf(attrs);
    return { stored: () => scatterHashed(dy as Tensor2D, matrix, buckets) };
  },
});
tfc.registerGradient({
  kernelName: SCATTER,
  gradFunc: (dy, _saved, attrs) => ({ gradient: () => expandHashed(dy as Tensor1D, attrsOf(attrs).matrix) }),
});
tfc.registerGradient({
  kernelName: EXPAND_ROWS,
  inputsToSave: ['rows'],
  gradFunc: (dy, [rows], attrs) => {
    const { matrix, buckets } = attrsOf(attrs);
    return { stored: () => scatterHashed(dy as Tensor2D, matrix, buckets, rows as Tensor1D), rows: () => tfc.zeros(rows.shape) };
  },
});
tfc.registerGradient({
  kernelName: SCATTER_ROWS,
  inputsToSave: ['rows'],
  gradFunc: (dy, [rows], attrs) => ({
    gradient: () => expandHashed(dy as Tensor1D, attrsOf(attrs).matrix, rows as Tensor1D),
    rows: () => tfc.zeros(rows.shape),
  }),
});
