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

/** Whether more than the last state is needed. */
export const needsAll = (readout: Readout): boolean => readout !== 'last';

/** Σ w_d h_d / Σ w_d for tensors h_d of one shape and w [count]. */
export function weightedFusion(states: readonly Tensor[], weights: Tensor): Tensor {
  const each = tfc.split(weights, states.length);
  return tfc.div(sum(states.map((state, d) => tfc.mul(state, each[d]))), tfc.sum(weights));
}

/** Σ h_d, one after the other, as in a loop. */
export const sum = (states: readonly Tensor[]): Tensor => states.reduce((total, state) => tfc.add(total, state));

/** What the fusing convolution sees. */
export function fusionInputs(readout: 'fusion' | 'memory', states: readonly Tensor[], x: Tensor, memories: readonly Tensor[]): Tensor {
  return tfc.concat(readout === 'fusion' ? [x, ...states] : [...states, ...memories, x], x.rank - 1);
}
