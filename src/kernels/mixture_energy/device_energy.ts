/**
 * The mixture energy as composed operations, one pass per component, for backends whose memory is elsewhere (webgl,
 * webgpu): nothing is read back inside a step and no weights × components tensor is made.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor1D } from '@tensorflow/tfjs-core';
import type { Mixture } from './mixture.js';

export interface DeviceEnergy {
  /** −Σ log p(w), a scalar. */
  energy: Scalar;
  /** d energy / dw, the shape of the weight. */
  gradient: Tensor;
  /** [Σ r_0 … Σ r_{J−1}, Σ r_j (w − μ_j) …, Σ r_j (w − μ_j)² …, energy], length 3·J + 1. */
  sums: Tensor1D;
}

export function deviceEnergy(weight: Tensor, { means, variances, mixing }: Mixture): DeviceEnergy {
  return tfc.tidy(() => {
    const components = means.length;
    const exponent = (j: number): Tensor => {
      const logScale = Math.log(mixing[j]) - 0.5 * Math.log(2 * Math.PI * variances[j]);
      return tfc.sub(logScale, tfc.mul(0.5 / variances[j], tfc.square(tfc.sub(weight, means[j]))));
    };
    let largest = exponent(0);
    for (let j = 1; j < components; j++) largest = tfc.maximum(largest, exponent(j));
    let total = tfc.zerosLike(weight);
    let force = tfc.zerosLike(weight);
    for (let j = 0; j < components; j++) {
      const term = tfc.exp(tfc.sub(exponent(j), largest));
      total = tfc.add(total, term);
      force = tfc.add(force, tfc.mul(term, tfc.mul(1 / variances[j], tfc.sub(weight, means[j]))));
    }
    const responsibility: Scalar[] = [];
    const first: Scalar[] = [];
    const second: Scalar[] = [];
    for (let j = 0; j < components; j++) {
      const r = tfc.div(tfc.exp(tfc.sub(exponent(j), largest)), total);
      const d = tfc.sub(weight, means[j]);
      responsibility.push(tfc.sum(r));
      first.push(tfc.sum(tfc.mul(r, d)));
      second.push(tfc.sum(tfc.mul(r, tfc.square(d))));
    }
    const energy = tfc.neg(tfc.sum(tfc.add(largest, tfc.log(total)))) as Scalar;
    return {
      energy,
      gradient: tfc.div(force, total),
      sums: tfc.stack([...responsibility, ...first, ...second, energy]) as Tensor1D,
    };
  });
}
