/**
 * Weights that are quantised while the others still train: set to their values and held there.
 * Zhou et al., "Incremental network quantization", ICLR 2017: a part of the weights at a time, the rest makes up for it.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LayerVariable } from '@tensorflow/tfjs-layers';
import { variableOf } from '../host.js';

/** Weights of one mixture, what quantising would make of them, and the standard deviation of the component of each. */
export interface Proposal {
  weights: readonly ArrayLike<number>[];
  quantized: readonly Float32Array[];
  deviation: (array: number, index: number) => number;
}

/**
 * Which weights to hold, as 1 and 0: those that become 0, and of the others the given share, nearest to their value first, measured
 * in standard deviations of their component. Deterministic; ties go to the earlier weight.
 */
export function chooseHeld({ weights, quantized, deviation }: Proposal, share: number): Uint8Array[] {
  const held = quantized.map((array) => Uint8Array.from(array, (value) => (value === 0 ? 1 : 0)));
  const others: { array: number; index: number; distance: number }[] = [];
  quantized.forEach((values, array) => {
    values.forEach((value, index) => {
      if (value !== 0) others.push({ array, index, distance: Math.abs(weights[array][index] - value) / deviation(array, index) });
    });
  });
  others.sort((a, b) => a.distance - b.distance || a.array - b.array || a.index - b.index);
  for (const { array, index } of others.slice(0, Math.round(share * others.length))) held[array][index] = 1;
  return held;
}

/** Holds weights at their values on whichever backend, nothing read back: w ← w · free + values. */
export class HeldWeights {
  /** Held weights. */
  readonly count: number;
  readonly #entries: { weight: LayerVariable; free: Tensor; values: Tensor }[];

  constructor(targets: readonly LayerVariable[], quantized: readonly Float32Array[], held: readonly Uint8Array[]) {
    this.count = held.reduce((sum, mask) => sum + mask.reduce((count, value) => count + value, 0), 0);
    this.#entries = targets.map((weight, i) => {
      const { shape } = variableOf(weight);
      return {
        weight,
        free: tfc.tensor(Float32Array.from(held[i], (value) => 1 - value), shape),
        values: tfc.tensor(quantized[i].map((value, k) => (held[i][k] === 1 ? value : 0)), shape),
      }; // prettier-ignore
    });
  }

  /** Not by the host's `write`, which would apply constraints. 0 · NaN is NaN: a broken weight is not hidden. */
  apply(): void {
    for (const { weight, free, values } of this.#entries) {
      const variable = variableOf(weight);
      tfc.tidy(() => variable.assign(tfc.add(tfc.mul(variable, free), values)));
    }
  }

  dispose(): void {
    for (const { free, values } of this.#entries) tfc.dispose([free, values]);
  }
}
