/** Cross-entropy of logits with integer targets, row by row, and the softmax calculus that losses like it share. No one-hot matrix is made. */
import * as tfc from '@tensorflow/tfjs-core';
import type { NamedTensorMap, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import './host.js';
import { SCALE_ROWS, SPARSE_CROSS_ENTROPY } from './names.js';

const hasKernel = (name: string) => tfc.getKernel(name, tfc.getBackend()) != null;

/**
 * −log softmax(logits)[target] per row, and its gradient softmax(logits) − one-hot(target) in the same pass, as numbers: not differentiable.
 * `logits` [rows, classes], `targets` [rows] int32 in [0, classes).
 */
export function crossEntropyWithGradient(logits: Tensor2D, targets: Tensor1D): [losses: Tensor1D, gradient: Tensor2D] {
  if (hasKernel(SPARSE_CROSS_ENTROPY)) {
    return tfc.engine().runKernel<Tensor[]>(SPARSE_CROSS_ENTROPY, { logits, targets } as unknown as NamedTensorMap) as [Tensor1D, Tensor2D];
  }
  return tfc.tidy(() => {
    const [rows, classes] = logits.shape;
    // A comparison that broadcasts: one operation on a GPU, where one-hot, its product and their sums would be four.
    const isTarget = tfc.equal(tfc.reshape(targets, [rows, 1]), tfc.range(0, classes, 1, 'int32'));
    const gradient = tfc.sub(tfc.softmax(logits), tfc.cast(isTarget, 'float32'));
    const ofTarget = tfc.sum(tfc.where(isTarget, logits, tfc.zerosLike(logits)), 1);
    return [tfc.sub(tfc.logSumExp(logits, 1), ofTarget), gradient] as [Tensor1D, Tensor2D];
  });
}

/** x[r, c] · scale[r]; differentiable by the host. `x` [rows, columns], `scale` [rows]. */
export const scaleRows = (x: Tensor2D, scale: Tensor1D): Tensor2D => tfc.mul(x, tfc.expandDims(scale, 1));

/** {@link scaleRows} as numbers: not differentiable, faster where the host broadcasts slowly. */
const scaledNumbers = (x: Tensor2D, scale: Tensor1D): Tensor2D =>
  hasKernel(SCALE_ROWS) ? tfc.engine().runKernel(SCALE_ROWS, { x, scale } as unknown as NamedTensorMap) : scaleRows(x, scale);

/** What a loss per row is made of; `targets` [rows] int32, each a class. */
export interface RowLoss {
  /** Losses [rows] and their gradients [rows, classes], as numbers: not differentiable. */
  evaluate(logits: Tensor2D, targets: Tensor1D): [losses: Tensor1D, gradient: Tensor2D];
  /** The gradients by differentiable operations, for gradients of gradients. */
  gradient(logits: Tensor2D, targets: Tensor1D): Tensor2D;
  /** Row by row, Hessian times v, by differentiable operations: [rows, classes]. */
  hessianTimes(logits: Tensor2D, v: Tensor2D): Tensor2D;
}

/** Cross-entropy with integer targets. */
export const CROSS_ENTROPY: RowLoss = {
  evaluate: crossEntropyWithGradient,
  // The host's oneHot wants two classes at least.
  gradient: (logits, targets) => tfc.sub(tfc.softmax(logits), tfc.cast(tfc.equal(tfc.expandDims(targets, 1), tfc.range(0, logits.shape[1], 1, 'int32')), 'float32')),
  hessianTimes: softmaxHessianTimes,
};

/** H·v row by row, with H = diag(p) − p pᵀ and p = softmax(logits / temperature), over the temperature. */
export function softmaxHessianTimes(logits: Tensor2D, v: Tensor2D, temperature = 1): Tensor2D {
  return tfc.tidy(() => {
    const p = tfc.softmax(tfc.div(logits, temperature)) as Tensor2D;
    const weighted = tfc.mul(p, v);
    return tfc.div(tfc.sub(weighted, tfc.mul(p, tfc.sum(weighted, 1, true))), temperature) as Tensor2D;
  });
}

/** What `customGrad` hands to its function after the inputs. */
type Save = (tensors: Tensor[]) => void;

/**
 * The losses [rows] of {@link RowLoss.evaluate}, differentiable in the logits any number of times. Besides the logits one matrix of their
 * size is kept until the gradient is wanted, and nothing where it is not.
 */
export function rowLosses(logits: Tensor2D, targets: Tensor1D, loss: RowLoss): Tensor1D {
  const value = tfc.customGrad((...args: Array<Tensor | object>) => {
    const [z, save] = args as [Tensor2D, Save];
    const [losses, gradient] = loss.evaluate(z, targets);
    // All that gradients of gradients need is saved: what a nested recording made is gone when it ends.
    save([z, targets, gradient]);
    const gradFunc = (dy: Tensor, [keptLogits, keptTargets, kept]: Tensor[]) =>
      weightedGradient(keptLogits as Tensor2D, keptTargets as Tensor1D, kept as Tensor2D, dy as Tensor1D, loss);
    return { value: losses, gradFunc };
  });
  return value(logits) as Tensor1D;
}

/** dy[r] · gradient[r, c], differentiable in the logits and in dy; `gradient` are the numbers at these logits. */
function weightedGradient(logits: Tensor2D, targets: Tensor1D, gradient: Tensor2D, dy: Tensor1D, loss: RowLoss): Tensor2D {
  const value = tfc.customGrad((...args: Array<Tensor | object>) => {
    const [z, weights, save] = args as [Tensor2D, Tensor1D, Save];
    save([z, weights, targets]);
    const gradFunc = (v: Tensor, kept: Tensor[]) => {
      const [keptLogits, keptWeights, keptTargets] = kept as [Tensor2D, Tensor1D, Tensor1D];
      return [scaleRows(loss.hessianTimes(keptLogits, v as Tensor2D), keptWeights), tfc.sum(tfc.mul(v, loss.gradient(keptLogits, keptTargets)), 1)];
    };
    return { value: scaledNumbers(gradient, weights), gradFunc };
  });
  return value(logits, dy) as Tensor2D;
}
