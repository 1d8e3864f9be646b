/** Vectors that tell a layer where, and at which step in depth, it is (pure). Vaswani et al. 2017, §3.5; Dehghani et al. 2019, equations 6 and 7. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';

export type Signal = 'none' | 'sinusoidal' | 'learned';
export const SIGNALS: readonly Signal[] = ['none', 'sinusoidal', 'learned'];

/** [count, width]: row i holds sin(p·ω_j) at 2j and cos(p·ω_j) at 2j + 1, with p = start + i and ω_j = 10000^(−2j/width). */
export function sinusoids(start: number, count: number, width: number): Tensor2D {
  const values = new Float32Array(count * width);
  for (let i = 0; i < count; i++) {
    for (let d = 0; d < width; d++) {
      const angle = (start + i) * 10000 ** (-(d - (d % 2)) / width);
      values[i * width + d] = d % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return tfc.tensor2d(values, [count, width]);
}

/** Row `index` of a learned table [rows, width], as [width]. */
export const learnedRow = (table: Tensor, index: number): Tensor => tfc.reshape(tfc.slice(table, [index, 0], [1, table.shape[1]!]), [table.shape[1]!]);
