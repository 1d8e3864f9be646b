/**
 * Jacobian regularisation (Bai, Koltun & Kolter, Stabilizing Equilibrium Models by Jacobian Regularization, ICML 2021), by Hutchinson's estimator
 * of the Frobenius norm.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { linearize } from '../autodiff/linearize.js';
import { explaining, isRecording } from '../autodiff/tape.js';
import { checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import { checkImage, layoutOf, total, type StateMap } from './space.js';

export interface JacobianPenaltyArgs {
  /** Random vectors v per evaluation. Integer ≥ 1. Default 1. */
  samples?: number;
  /** Seed of the vectors; without one they are fresh in each evaluation. */
  seed?: number;
}

const untwice = (who: string, kernelName: string): string =>
  `${who}: the penalty is a gradient, and the operation ${kernelName} in it has none itself. Do without what it comes from (pooling: take convolutions with strides), or without the penalty.`;

/**
 * An estimate of ‖∂f/∂z‖²_F / numel(z) at `z`: the mean of ‖vᵀ ∂f/∂z‖² / numel(z) over `samples` v ~ N(0, I). It bounds the square of the spectral
 * radius up to the width, and, added to the loss, keeps plain and accelerated iterations convergent.
 *
 * Differentiable where a gradient evaluation records, with respect to whatever `f` closes over: the backward passes of f's operations must have
 * gradients themselves (pooling has none: the error says which). Not with respect to `z` as a solution of anything. Costs an evaluation of f and
 * `samples` vector–Jacobian products, and about twice that in the backward pass. Errors name `who`.
 *
 * ```js
 * const penalty = () => tf.mul(0.5, jacobianPenalty(f, [z]));
 * ```
 */
export function jacobianPenalty(f: StateMap, z: readonly Tensor[], args: JacobianPenaltyArgs = {}, who = 'jacobianPenalty'): Scalar {
  checkKeys(who, args, ['samples', 'seed']);
  const samples = checkNumber(who, 'samples', args.samples ?? 1, integerAtLeast(1));
  const seed = args.seed === undefined ? undefined : checkNumber(who, 'seed', args.seed, integerAtLeast(0));
  const layout = layoutOf(who, z);
  return tfc.tidy(() => {
    const tangent = linearize((...parts) => {
      const image: unknown = f(parts);
      checkImage(who, image, layout);
      return image;
    }, z);
    const squares: Tensor[] = [];
    for (let sample = 0; sample < samples; sample++) {
      const v = z.map(({ shape }, i) => tfc.randomNormal(shape, 0, 1, 'float32', seed === undefined ? undefined : 1 + seed + sample * z.length + i));
      for (const product of isRecording() ? explaining(() => tangent.vjp(v), (kernelName) => untwice(who, kernelName)) : tangent.vjp(v)) squares.push(tfc.sum(tfc.square(product)));
    }
    const penalty = tfc.div(total(squares), samples * layout.batch * layout.width) as Scalar;
    tangent.dispose();
    return penalty;
  });
}
