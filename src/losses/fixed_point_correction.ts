/** Supervision of an equilibrium layer's trajectory: fixed-point correction (Bai et al., Deep Equilibrium Optical Flow Estimation, CVPR 2022). */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';

export interface FixedPointCorrectionArgs {
  /** Loss of one output. Required. */
  loss: (yTrue: Tensor, yPred: Tensor) => Tensor;
  /** How many states of the trajectory are outputs of the model, beside the fixed point. Integer ≥ 1. Required. */
  states: number;
  /** Factor γ from one state to the one before, in (0, 1]. Default 0.8. */
  gamma?: number;
}

/**
 * Losses for `compile({loss})` of a model whose outputs are made of the fixed point and then of the `trajectory` of a `deqLayer`, in that order:
 * L(z*) + Σ_k γ^(n+1−k) L(z_k) over the n states k = 1 … n, so that the fixed point has weight 1 and each state γ times that of the next (the
 * exponential weights of TorchDEQ). The host ignores `lossWeights`: the weights are inside of the functions. Its `val_loss` of a model with several outputs
 * is the first one's loss alone, here L(z*).
 *
 * ```js
 * const [z, early, late] = deqLayer({cell, trajectory: [4, 8]}).apply(x);
 * const model = tf.model({inputs: x, outputs: [z, early, late].map((state) => head.apply(state))}); // one head, applied to each
 * model.compile({optimizer: 'adam', loss: fixedPointCorrection({loss: tf.metrics.meanSquaredError, states: 2})});
 * await model.fit(x, [y, y, y]);
 * ```
 */
export function fixedPointCorrection(args: FixedPointCorrectionArgs): ((yTrue: Tensor, yPred: Tensor) => Scalar)[] {
  const who = 'fixedPointCorrection';
  checkKeys(who, args, ['loss', 'states', 'gamma']);
  const { loss, gamma = 0.8 } = args;
  if (typeof loss !== 'function') throw new Error(`${who}: loss must be a function of targets and predictions, got ${describe(loss)}.`);
  const states = checkNumber(who, 'states', args.states, integerAtLeast(1));
  checkNumber(who, 'gamma', gamma, { expected: 'a number > 0 and ≤ 1', holds: (x) => x > 0 && x <= 1 });
  const weights = [1, ...Array.from({ length: states }, (_, k) => gamma ** (states - k))];
  return weights.map((weight) => (yTrue, yPred) => tfc.mul(weight, tfc.mean(loss(yTrue, yPred))));
}
