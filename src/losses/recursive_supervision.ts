/** Supervision of every recursion (Kim, Lee & Lee, Deeply-Recursive Convolutional Network, CVPR 2016, eq. 8–10). */
import * as tfc from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { checkKeys, checkNumber, describe, integerAtLeast, type NumberRange } from '../checks.js';

export interface RecursiveSupervisionArgs {
  /** Outputs of the recursions, which stand in the model behind its main output. Integer ≥ 1. Required. */
  steps: number;
  /** Weight α of the recursions' outputs at the start, in [0, 1]. Default 1. */
  alpha?: number;
  /** Loss of one output, any shape, of which the mean is taken. Default: the squared error. */
  loss?: (yTrue: Tensor, yPred: Tensor) => Tensor;
}

export interface RecursiveSupervision {
  /** α, which may be set at any time; `supervisionDecay` does. @throws Error outside of [0, 1]. */
  alpha: number;
  readonly steps: number;
  /** For `compile({loss})`: of the main output and of each recursion's. */
  readonly losses: ((yTrue: Tensor, yPred: Tensor) => Scalar)[];
  /** For `fit`: the target of each output, all of them the same tensor. */
  targets(y: Tensor): Tensor[];
}

export const SHARE: NumberRange = { expected: 'a number in [0, 1]', holds: (x) => x >= 0 && x <= 1 };

/**
 * L = α · mean_d L(ŷ_d) + (1 − α) · L(ŷ): the main output ŷ and the outputs ŷ_d of D recursions, as `recursiveConv({everyStep: true})` gives
 * them, are compared with the same target. α near 1 at first trains every recursion; it is taken to 0 by `supervisionDecay`. The host ignores
 * `lossWeights`: the weights are inside of the functions.
 *
 * Do not stop or choose by `val_loss`: of a model with several outputs the host reports the first one's loss alone there, (1 − α)·L(ŷ), which rises as α
 * falls. Give the main output a metric, and monitor that.
 *
 * ```js
 * const supervision = recursiveSupervision({steps: 16});
 * const model = drcn({recursions: 16}); // outputs ŷ, ŷ_1 … ŷ_16
 * model.compile({optimizer: 'adam', loss: supervision.losses});
 * await model.fit(x, supervision.targets(y), {epochs: 40, callbacks: [supervisionDecay({supervision, epochs: 25})]});
 * ```
 */
export function recursiveSupervision(args: RecursiveSupervisionArgs): RecursiveSupervision {
  const who = 'recursiveSupervision';
  checkKeys(who, args, ['steps', 'alpha', 'loss']);
  const steps = checkNumber(who, 'steps', args.steps, integerAtLeast(1));
  const loss = args.loss ?? ((yTrue, yPred) => tfc.square(tfc.sub(yPred, yTrue)));
  if (typeof loss !== 'function') throw new Error(`${who}: loss must be a function of targets and predictions, got ${describe(loss)}.`);
  let alpha = checkNumber(who, 'alpha', args.alpha ?? 1, SHARE);
  const weighted = (weight: () => number) => (yTrue: Tensor, yPred: Tensor): Scalar => tfc.mul(weight(), tfc.mean(loss(yTrue, yPred)));
  return {
    steps,
    get alpha() {
      return alpha;
    },
    set alpha(value) {
      alpha = checkNumber(who, 'alpha', value, SHARE);
    },
    losses: [weighted(() => 1 - alpha), ...Array.from({ length: steps }, () => weighted(() => alpha / steps))],
    targets: (y) => Array.from({ length: steps + 1 }, () => y),
  };
}
