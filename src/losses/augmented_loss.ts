/**
 * Cross-entropy with soft targets from the embedding beside the hard ones.
 * Inan, Khosravi & Socher, "Tying word vectors and word classifiers", ICLR 2017 (arXiv 1611.01462), section 3.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { checkKeys, checkNumber, describe, NON_NEGATIVE, POSITIVE } from '../checks.js';
import { CROSS_ENTROPY, softmaxHessianTimes, type RowLoss } from '../kernels/sparse_cross_entropy/index.js';
import { TiedEmbedding, tiedLookup, tiedScores } from '../layers/tied_embedding.js';
import { INTEGER, meanable, sparseProblem, withSparseTargets, type Loss } from './sparse_targets.js';

export interface AugmentedLossArgs {
  /** The embedding whose vectors say which tokens are alike. Required. */
  embedding: TiedEmbedding;
  /** τ > 0: the higher, the softer the targets. Default 20. */
  temperature?: number;
  /** γ ≥ 0: the weight of the soft targets is γ·τ. Default 0.65. */
  gamma?: number;
  /** A target that marks positions to leave out, as in `sparseCrossEntropy`. Default: none. */
  ignore?: number;
}

/**
 * CE(target, softmax(z)) + γτ · KL(softmax(s / τ) ‖ softmax(z / τ)) per row of logits z, with the similarities s [rows, classes] of each
 * target to all classes, which count as constants. Gradient: softmax(z) − one-hot + γ (softmax(z / τ) − softmax(s / τ)).
 */
export function augmentedCrossEntropy(similarities: (targets: Tensor1D) => Tensor2D, temperature: number, gamma: number): RowLoss {
  const tempered = (scores: Tensor2D) => tfc.logSoftmax(tfc.div(scores, temperature)) as Tensor2D;
  return {
    evaluate: (logits, targets) => tfc.tidy(() => {
      const [crossEntropy, gradient] = CROSS_ENTROPY.evaluate(logits, targets);
      const [logSoft, logPredicted] = [tempered(similarities(targets)), tempered(logits)];
      const soft = tfc.exp(logSoft);
      const divergence = tfc.sum(tfc.mul(soft, tfc.sub(logSoft, logPredicted)), 1);
      const pull = tfc.sub(tfc.exp(logPredicted), soft);
      return [tfc.add(crossEntropy, tfc.mul(divergence, gamma * temperature)), tfc.add(gradient, tfc.mul(pull, gamma))] as [Tensor1D, Tensor2D];
    }),
    gradient: (logits, targets) => {
      const soft = unrecorded(() => tfc.softmax(tfc.div(similarities(targets), temperature)));
      return tfc.add(CROSS_ENTROPY.gradient(logits, targets), tfc.mul(tfc.sub(tfc.softmax(tfc.div(logits, temperature)), soft), gamma));
    },
    hessianTimes: (logits, v) => tfc.add(CROSS_ENTROPY.hessianTimes(logits, v), tfc.mul(softmaxHessianTimes(logits, v, temperature), gamma)),
  };
}

/** What `make` returns, as a constant of gradients. */
const unrecorded = (make: () => Tensor): Tensor =>
  tfc.customGrad((zero) => ({ value: make(), gradFunc: () => tfc.zerosLike(zero as Tensor) }))(tfc.scalar(0));

/**
 * CE(target, ŷ) + γτ · KL(ỹ ‖ softmax(logits / τ)) at each position, ỹ = softmax(E·e_target / τ): beside the target itself, tokens with
 * similar vectors e are targets too. Nothing is learned through ỹ. As τ → ∞ the second term alone asks the output weights to span what the
 * table spans, which is the paper's argument for tying them.
 *
 * A loss for `model.compile`, as {@link sparseCrossEntropy}: logits `[batch, …, classes]`, integer targets `[batch, …, 1]` or
 * `[batch, …]`; in `fit` with {@link acceptSparseTargets}. Its value is no cross-entropy: for perplexities add `metrics: [sparseCrossEntropy()]`.
 *
 * Cost: one more product [positions, width]·[width, classes] and some ten more passes over the logits than `sparseCrossEntropy`.
 *
 * ```js
 * model.compile({optimizer: tf.train.adam(), loss: augmentedLoss({embedding: model.getLayer('tied_embedding_TiedEmbedding1')})});
 * acceptSparseTargets(model);
 * ```
 *
 * With a factorised table e = E[id]·K. When not to use it: it regularises; with much data per parameter its gain goes towards nothing.
 *
 * Deviation: the public code that follows the paper compares ỹ with the prediction at temperature 1; this compares at τ, as the paper does.
 *
 * @throws Error for an unknown option, a temperature or weight out of range, or an embedding that is no `tiedEmbedding` layer.
 */
export function augmentedLoss(args: AugmentedLossArgs): Loss {
  const who = 'augmentedLoss';
  if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected options with embedding, got ${describe(args)}.`);
  checkKeys(who, args, ['embedding', 'temperature', 'gamma', 'ignore']);
  const { embedding } = args;
  // By name of the class: another copy of this package in the same page has another class.
  if ((embedding as TiedEmbedding | undefined)?.getClassName?.() !== TiedEmbedding.className) {
    throw new Error(`${who}: embedding must be a tiedEmbedding layer, got ${describe(embedding)}. In a loaded model: model.getLayer(its name).`);
  }
  const temperature = checkNumber(who, 'temperature', args.temperature ?? 20, POSITIVE);
  const gamma = checkNumber(who, 'gamma', args.gamma ?? 0.65, NON_NEGATIVE, 'Use sparseCrossEntropy() for none of it.');
  const ignore = args.ignore === undefined ? undefined : checkNumber(who, 'ignore', args.ignore, INTEGER);
  const similarities = (ids: Tensor1D) => tiedScores(embedding.tie, tiedLookup(embedding.tie, ids));
  const rows = augmentedCrossEntropy(similarities, temperature, gamma);
  return withSparseTargets(who, (targets, predictions) => {
    return tfc.tidy(() => {
      if (predictions.shape.at(-1) !== embedding.inputDim) {
        throw new Error(`${who}: the predictions have ${predictions.shape.at(-1)} classes, '${embedding.name}' has ${embedding.inputDim} tokens. The logits must be scores of those tokens.`);
      }
      return meanable(sparseProblem(who, targets, predictions, { ignore }), rows);
    });
  });
}
