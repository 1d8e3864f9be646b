/** What comes out of a recursion (pure, but for the fusing convolution that is handed in). */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/**
 * From the states h_1 … h_D, or what `head` makes of each: `last` h_D; `sum` Σ_d h_d; `weighted` Σ_d w_d h_d / Σ_d w_d with learned w
 * (DRCN, eq. 7); `fusion` a 1×1 convolution of [x, h_1 … h_D] (RDN); `memory` one of [h_1 … h_D, B …, x], behind a ReLU, where the B are earlier
 * memories that the layer is given as further inputs (MemNet's gate unit).
 */
export type Readout = 'last' | 'sum' | 'weighted' | 'fusion' | 'memory';
export const READOUTS: readonly Readout[] = ['last', 'sum', 'weighted', 'fusion', 'memory'];

/** A readout Σ_d term(h_d, d), d from 0, and what `end` makes of the sum: it needs no state but the one at hand. */
export interface SummedReadout {
  term: (state: Tensor, d: number) => Tensor;
  end: (total: Tensor) => Tensor;
}

/** `sum`. */
export const plainSum: SummedReadout = { term: (state) => state, end: (total) => total };

/** `weighted`, with weights [count]. */
export const weightedMean = (weights: Tensor): SummedReadout => ({
  term: (state, d) => tfc.mul(state, tfc.slice(weights, [d], [1])),
  end: (total) => tfc.div(total, tfc.sum(weights)),
});

/** Σ w_d h_d / Σ w_d for tensors h_d of one shape and w [count]. */
export function weightedFusion(states: readonly Tensor[], weights: Tensor): Tensor {
  const { term, end } = weightedMean(weights);
  return end(states.map(term).reduce((total, each) => tfc.add(total, each)));
}

/** Whether the readout sees all states at once. */
export const isFusing = (readout: Readout): readout is 'fusion' | 'memory' => readout === 'fusion' || readout === 'memory';

/** What the fusing convolution sees. */
export function fusionInputs(readout: 'fusion' | 'memory', states: readonly Tensor[], x: Tensor, memories: readonly Tensor[]): Tensor {
  return tfc.concat(readout === 'fusion' ? [x, ...states] : [...states, ...memories, x], x.rank - 1);
}
