/**
 * What of a bank a layer takes, and how it is stretched where the bank has fewer numbers than the layer has weights (pure).
 * Plummer, Dryden, Frost, Hoefler & Saenko, "Neural Parameter Allocation Search", ICLR 2022, §3.1.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { denseProduct } from '../kernels/dense_product/index.js';

/** How a bank that is too small serves a layer: bilinear `interpolation`, `repetition`, or repetition times learned 3×3 windows (`mask`). */
export type Upsampling = 'interpolation' | 'repetition' | 'mask';
export const UPSAMPLINGS: readonly Upsampling[] = ['interpolation', 'repetition', 'mask'];

/** Weights of a layer: [inputs, taps, outputs]; taps are the pixels of a kernel, else 1. */
export interface WeightShape {
  inputs: number;
  taps: number;
  outputs: number;
}

export const sizeOf = ({ inputs, taps, outputs }: WeightShape): number => inputs * taps * outputs;

/** Numbers of the window of multipliers that each repetition has: 3 × 3. */
export const MASK_WINDOW = 9;

/** Shares of inputs and outputs that are tried for interpolation, as in the published code: 0.95, 0.9 … 0.05. */
const SHARES = Array.from({ length: 19 }, (_, i) => (95 - 5 * i) / 100);

/** The largest shape with taps as they are and equal shares of inputs and outputs that `available` numbers fill; null where 1/20 of each is too much. */
export function shrunkShape({ inputs, taps, outputs }: WeightShape, available: number): WeightShape | null {
  for (const share of SHARES) {
    const shape = { inputs: Math.max(1, Math.round(inputs * share)), taps, outputs: Math.max(1, Math.round(outputs * share)) };
    if (sizeOf(shape) <= available) return shape;
  }
  return null;
}

/** Row i says which of `from` numbers number i of `to` is made of: linear interpolation between pixel centres, edges held. [to, from] */
export function interpolationMatrix(from: number, to: number): Float32Array {
  const matrix = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const at = Math.min(from - 1, Math.max(0, ((i + 0.5) * from) / to - 0.5));
    const below = Math.floor(at);
    const above = Math.min(from - 1, below + 1);
    matrix[i * from + below] += 1 - (at - below);
    matrix[i * from + above] += at - below;
  }
  return matrix;
}

/** Mean over the numbers that an interpolation makes of the variance they have where those that they are made of have 1. */
export function interpolationVariance(from: number, to: number): number {
  return interpolationMatrix(from, to).reduce((sum, w) => sum + w * w, 0) / to;
}

/** rows [inputs, from inputs] · x [from inputs, taps, from outputs] · columnsᵀ, columns [outputs, from outputs] → [inputs, taps, outputs]. */
export function interpolated(x: Tensor1D, from: WeightShape, to: WeightShape, rows: Tensor2D, columns: Tensor2D): Tensor1D {
  const wide = denseProduct(tfc.reshape(x, [from.inputs * from.taps, from.outputs]) as Tensor2D, columns, false, true);
  return tfc.reshape(denseProduct(rows, tfc.reshape(wide, [from.inputs, to.taps * to.outputs]) as Tensor2D), [sizeOf(to)]) as Tensor1D;
}

/** x [length] over and over, `size` numbers; from the second time on times a window of `masks` [times − 1, 9], number i by entry i mod 9. */
export function repeated(x: Tensor1D, size: number, masks: Tensor2D | null): Tensor1D {
  const [length] = x.shape;
  const times = Math.ceil(size / length);
  const row = tfc.reshape(x, [1, length]) as Tensor2D;
  if (masks === null) return tfc.slice(tfc.reshape(tfc.mul(row, tfc.ones([times, 1])), [times * length]) as Tensor1D, 0, size) as Tensor1D;
  const windows = Math.ceil(length / MASK_WINDOW);
  const filled = tfc.reshape(tfc.concat([x, tfc.zeros([windows * MASK_WINDOW - length])]), [1, windows, MASK_WINDOW]);
  const copies = tfc.reshape(tfc.mul(filled, tfc.reshape(masks, [times - 1, 1, MASK_WINDOW])), [times - 1, windows * MASK_WINDOW]);
  const all = tfc.concat([row, tfc.slice(copies, [0, 0], [times - 1, length])], 0);
  return tfc.slice(tfc.reshape(all, [times * length]), 0, size) as Tensor1D;
}

/** `count` windows of `length` numbers of the bank, [count, length], the k-th from `offset` + k · bank / count on, around its end. */
export function windowsOf(bank: Tensor1D, count: number, length: number, offset: number): Tensor2D {
  const [size] = bank.shape;
  const starts = windowStarts(size, count, offset);
  const end = Math.max(...starts) + length;
  // Windows are no longer than the bank, so that once around is enough.
  const ring = end > size ? (tfc.concat([bank, tfc.slice(bank, 0, end - size)]) as Tensor) : bank;
  return tfc.stack(starts.map((start) => tfc.slice(ring, start, length))) as Tensor2D;
}

export const windowStarts = (size: number, count: number, offset: number): number[] =>
  Array.from({ length: count }, (_, k) => (offset + Math.floor((k * size) / count)) % size);
