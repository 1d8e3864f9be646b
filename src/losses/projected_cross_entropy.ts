/** Cross-entropy straight from hidden states and a tied table: the matrix of all logits is never there as a whole. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { activeTape } from '../autodiff/tape.js';
import { checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { denseProduct } from '../kernels/dense_product/index.js';
import { crossEntropyWithGradient, scaleRows } from '../kernels/sparse_cross_entropy/index.js';
import { TiedEmbedding } from '../layers/tied_embedding.js';
import { INTEGER, sparseProblem, weighed, withSparseTargets, type Loss } from './sparse_targets.js';

export interface ProjectedCrossEntropyArgs {
  /** The embedding whose table scores the tokens. Required. */
  embedding: TiedEmbedding;
  /** Positions whose logits are there at a time. Integer ≥ 1. Default 128. */
  rows?: number;
  /** A target that marks positions to leave out, as in `sparseCrossEntropy`. Default: none. */
  ignore?: number;
}

/**
 * Σ_r weights[r] · −log softmax(x·tableᵀ)[r, targets[r]], a scalar. x [n, width], table [classes, width], targets [n] int32, weights [n].
 * The gradients are made on the way forward, `rows` rows of logits at a time, and are all that is kept. Once differentiable.
 */
export function projectedLoss(x: Tensor2D, table: Tensor2D, targets: Tensor1D, weights: Tensor1D, rows: number): Tensor {
  const value = tfc.customGrad((...args: Array<Tensor | object>) => {
    const [states, words, save] = args as [Tensor2D, Tensor2D, (tensors: Tensor[]) => void];
    const wanted = activeTape() !== null;
    let loss: Tensor = tfc.scalar(0);
    let dTable: Tensor | null = null;
    const dStates: Tensor2D[] = [];
    for (let start = 0; start < states.shape[0]; start += rows) {
      const count = Math.min(rows, states.shape[0] - start);
      const parts = tfc.tidy(() => {
        const [h, t, w] = [tfc.slice(states, start, count) as Tensor2D, tfc.slice(targets, start, count) as Tensor1D, tfc.slice(weights, start, count) as Tensor1D];
        const [losses, unweighted] = crossEntropyWithGradient(denseProduct(h, words, false, true), t);
        const total = tfc.add(loss, tfc.sum(weighed(losses, w)));
        if (!wanted) return [total];
        // The weights go to the smaller factors: dh = w·(g·E), dE = gᵀ·(w·h).
        const grown = denseProduct(unweighted, scaleRows(h, w), true, false);
        return [total, scaleRows(denseProduct(unweighted, words), w), dTable === null ? grown : tfc.add(dTable, grown)];
      });
      tfc.dispose([loss, ...(wanted && dTable !== null ? [dTable as Tensor] : [])]);
      loss = parts[0];
      if (wanted) [dStates[dStates.length], dTable] = [parts[1] as Tensor2D, parts[2]];
    }
    if (wanted) save([dStates.length === 1 ? dStates[0] : tfc.concat(dStates, 0), dTable as unknown as Tensor]);
    return { value: loss as tfc.Scalar, gradFunc: (dy: Tensor, saved: Tensor[]) => gradients(dy, saved) };
  });
  return value(x, table);
}

function gradients(dy: Tensor, saved: Tensor[]): Tensor[] {
  if (activeTape() !== null) throw new Error('projectedCrossEntropy: it keeps no gradients of gradients. Use sparseCrossEntropy() on logits for those.');
  return saved.map((gradient) => tfc.mul(gradient, dy));
}

/**
 * The mean of −log softmax(h·Eᵀ)[target] over positions, with h the prediction of the model and E the table of `embedding`: what
 * {@link sparseCrossEntropy} is on the logits of `tiedProjection({useBias: false})`, without a matrix [positions, vocabulary] in memory.
 *
 * A loss for a model that ends with the hidden state, `[batch, …, outputDim]`; integer targets `[batch, …, 1]` or `[batch, …]`; a scalar. In
 * `fit` with {@link acceptSparseTargets}. For predictions make a second model of the same layers that ends with the projection:
 *
 * ```js
 * const hidden = body.apply(embedding.apply(ids));
 * const trainer = tf.model({inputs: ids, outputs: hidden});
 * const predictor = tf.model({inputs: ids, outputs: tiedProjection({useBias: false}).apply(hidden)});
 * trainer.compile({optimizer: tf.train.adam(), loss: projectedCrossEntropy({embedding})});
 * acceptSparseTargets(trainer);
 * ```
 *
 * Cost: the same products as by logits. Memory: `rows` × vocabulary numbers three times, where logits and their gradients are
 * positions × vocabulary; the gradients of table and hidden states.
 *
 * When not to use it: with an output bias or `projection` (their layer would not be in the model that is trained); where memory is no
 * concern. It is differentiable once.
 *
 * @throws Error for an unknown option, or an embedding that is no `tiedEmbedding` layer.
 */
export function projectedCrossEntropy(args: ProjectedCrossEntropyArgs): Loss {
  const who = 'projectedCrossEntropy';
  if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected options with embedding, got ${describe(args)}.`);
  checkKeys(who, args, ['embedding', 'rows', 'ignore']);
  const { embedding } = args;
  // By name of the class: another copy of this package in the same page has another class.
  if ((embedding as TiedEmbedding | undefined)?.getClassName?.() !== TiedEmbedding.className) {
    throw new Error(`${who}: embedding must be a tiedEmbedding layer, got ${describe(embedding)}. In a loaded model: model.getLayer(its name).`);
  }
  const rows = checkNumber(who, 'rows', args.rows ?? 128, integerAtLeast(1));
  const ignore = args.ignore === undefined ? undefined : checkNumber(who, 'ignore', args.ignore, INTEGER);
  return withSparseTargets(who, (targets, predictions) => {
    return tfc.tidy(() => {
      if (predictions.shape.at(-1) !== embedding.outputDim) {
        throw new Error(`${who}: the predictions have width ${predictions.shape.at(-1)}, the vectors of '${embedding.name}' have ${embedding.outputDim}. The model must end with the hidden state, before the projection.`);
      }
      const { table, kernel } = embedding.tie;
      const { logits: hidden, targets: ids, weights } = sparseProblem(who, targets, predictions, { classes: embedding.inputDim, ignore });
      const each = tfc.div(weights ?? tfc.ones([ids.size]), ids.size) as Tensor1D;
      return projectedLoss(kernel === null ? hidden : denseProduct(hidden, kernel, false, true), table, ids, each, rows);
    });
  });
}
