/** Cross-entropy from logits with integer targets, in one pass over the logits. */
import * as tfc from '@tensorflow/tfjs-core';
import { checkKeys, checkNumber } from '../checks.js';
import { CROSS_ENTROPY } from '../kernels/sparse_cross_entropy/index.js';
import { INTEGER, meanable, sparseProblem, withSparseTargets, type Loss } from './sparse_targets.js';

export interface SparseCrossEntropyArgs {
  /** A target that marks positions to leave out: padding, e.g. 0 with `maskZero`, or −1. Default: none. */
  ignore?: number;
}

/**
 * −log softmax(logits)[target] at each position, in nats; `compile` takes its mean, whose exponential is the perplexity.
 *
 * A loss for `model.compile`: logits `[batch, …, classes]` (no softmax before it), integer targets `[batch, …, 1]` or `[batch, …]`, result
 * `[batch, …]`. For targets in `fit` see {@link acceptSparseTargets}.
 *
 * Cost: one pass over the logits and one more matrix of their size, the gradient; the host's `sparseCategoricalCrossentropy` makes about
 * twenty, among them a one-hot matrix, and clips probabilities at 1e-7, so that it neither sees nor learns from what it gets very wrong.
 * The loss is exact for any logits, and differentiable any number of times.
 *
 * `ignore` weighs positions with that target 0 and the others so that the mean is over those that count: the host leaves masks out of
 * losses, so that `maskZero` alone does not keep padding out of the loss.
 *
 * ```js
 * model.compile({optimizer: tf.train.adam(), loss: sparseCrossEntropy({ignore: 0})});
 * acceptSparseTargets(model);
 * await model.fit(tokens, nextTokens);
 * ```
 *
 * A target that is no class is an error on cpu, wasm and tensorflow; on webgl and webgpu, which cannot look without a stall, its position
 * weighs 0. When not to use it: with soft (one-hot, smoothed) targets, use the host's `categoricalCrossentropy`.
 *
 * @throws Error for an unknown option, or an `ignore` that is no integer.
 */
export function sparseCrossEntropy(args: SparseCrossEntropyArgs = {}): Loss {
  const who = 'sparseCrossEntropy';
  checkKeys(who, args, ['ignore']);
  const ignore = args.ignore === undefined ? undefined : checkNumber(who, 'ignore', args.ignore, INTEGER);
  const loss: Loss = (targets, predictions) => tfc.tidy(() => meanable(sparseProblem(who, targets, predictions, { ignore }), CROSS_ENTROPY));
  return withSparseTargets(who, loss);
}
