/**
 * Integer targets for losses over many classes: their check, and the way into `model.fit`, which otherwise insists on one number per class.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { NumberRange } from '../checks.js';
import { checkSameHost, compiledOutputs, expectTargetShape } from '../host.js';
import { rowLosses, type RowLoss } from '../kernels/sparse_cross_entropy/index.js';
import { areTokensChecked, tokenIds } from '../kernels/token_ids/index.js';

/** A loss or metric for `model.compile`: targets and predictions → one number per example or position. */
export type Loss = (targets: Tensor, predictions: Tensor) => Tensor;

/** What a loss wants of targets where the host would want one number per class. */
interface TargetForm {
  /** Numbers in the last axis; null where the loss itself says. */
  width: number | null;
  /** What to use in the place of the metric 'accuracy', which would misread them. */
  accuracy: string;
}

const forms = new WeakMap<object, TargetForm>();

/** The function by that name, whatever a bundler calls it. */
export const named = <T extends Loss>(name: string, loss: T): T => Object.defineProperty(loss, 'name', { value: name });

/** Marks a loss as one with targets of its own form, for {@link acceptSparseTargets}. As a metric it stands in the history by `name`. */
export function withTargetForm<T extends Loss>(name: string, form: TargetForm, loss: T): T {
  forms.set(loss, form);
  return named(name, loss);
}

/** Marks a loss as one that takes integer targets, for {@link acceptSparseTargets}. */
export const withSparseTargets = <T extends Loss>(name: string, loss: T): T => withTargetForm(name, { width: 1, accuracy: 'tf.metrics.sparseCategoricalAccuracy' }, loss);

export const INTEGER: NumberRange = { expected: 'an integer', holds: Number.isInteger };

/** Predictions and targets of a loss over classes, flattened. */
export interface SparseProblem {
  /** [rows, classes] */
  logits: Tensor2D;
  /** [rows], int32, each in [0, classes) */
  targets: Tensor1D;
  /** What each row counts: null where all count 1. [rows] */
  weights: Tensor1D | null;
  /** The shape of the result: that of the logits without the classes. */
  shape: number[];
}

/**
 * Flattens logits [batch, …, classes] and integer targets [batch, …] or [batch, …, 1]. Rows whose target is `ignore` weigh 0, and the
 * others so much more that the mean over all rows is the mean over those that count. Where the predictions are not logits, `classes` says
 * how many there are.
 * @throws Error if the shapes do not fit, or (on cpu, wasm and tensorflow; elsewhere such rows weigh 0) a target is no class.
 */
export function sparseProblem(who: string, targets: Tensor, predictions: Tensor, { ignore, classes, paddable = true }: { ignore?: number; classes?: number; paddable?: boolean } = {}): SparseProblem {
  const shape = predictions.shape.slice(0, -1);
  const width = predictions.shape.at(-1) ?? 0;
  const count = classes ?? width;
  const fits = [shape, [...shape, 1]].some((expected) => expected.length === targets.shape.length && expected.every((length, axis) => length === targets.shape[axis]));
  if (shape.length === 0 || !fits) {
    const hint = tfc.util.arraysEqual(targets.shape, predictions.shape) ? ' These look like one-hot rows: give their tf.argMax(targets, -1) instead.' : '';
    throw new Error(`${who}: for predictions [${predictions.shape.join(', ')}] targets must be integers of shape [${[...shape, 1].join(', ')}], got [${targets.shape.join(', ')}].${hint}`);
  }
  const rows = shape.reduce((product, length) => product * length, 1);
  const attrs = { count, who: `${who}: targets`, fix: `There are ${count} classes${paddable ? '; for padding give ignore: the number that marks it' : ', numbered from 0'}.` };
  const ids = tokenIds(tfc.reshape(targets, [rows]), ignore === undefined ? attrs : { ...attrs, ignore }) as Tensor1D;
  const logits = tfc.reshape(predictions, [rows, width]) as Tensor2D;
  if (ignore === undefined && areTokensChecked()) return { logits, targets: ids, weights: null, shape };
  const counts = tfc.cast(tfc.greaterEqual(ids, tfc.scalar(0, 'int32')), 'float32') as Tensor1D;
  const weights = ignore === undefined ? counts : (tfc.div(tfc.mul(counts, rows), tfc.maximum(tfc.sum(counts), 1)) as Tensor1D);
  return { logits, targets: tfc.maximum(ids, tfc.scalar(0, 'int32')), weights, shape };
}

/** The losses of a problem by position, weighted, so that their mean is what is to be minimised. */
export function meanable({ logits, targets, weights, shape }: SparseProblem, loss: RowLoss): Tensor {
  const losses = rowLosses(logits, targets, loss);
  return tfc.reshape(weights === null ? losses : weighed(losses, weights), shape);
}

/** losses · weights, with 0 where the weight is, be the loss infinite. */
export const weighed = (losses: Tensor, weights: Tensor): Tensor => tfc.mul(tfc.where(tfc.greater(weights, 0), losses, tfc.zerosLike(losses)), weights);

/** Metrics that the host would compute from such targets as if they were one-hot rows. */
const MISLEADING = ['accuracy', 'acc', 'crossentropy', 'ce'];

/** Whether an output of the compiled model has a loss with targets of its own form. */
export const takesSparseTargets = (model: LayersModel): boolean => (compiledOutputs(model) ?? []).some(({ loss }) => typeof loss === 'function' && forms.has(loss));

/**
 * Lets `fit`, `evaluate` and `trainOnBatch` take integer targets [batch, …, 1] for every output whose loss is {@link sparseCrossEntropy},
 * {@link augmentedLoss} or {@link projectedCrossEntropy}, and the targets of a {@link distillation} where that is the loss. Without it they want one number per class (`expected a batch of elements where
 * each example has shape [length, classes]`); the host excepts only its own `sparseCategoricalCrossentropy`. Call it after each `compile`. `fitDataset` needs none
 * of it, unless its `validationData` are tensors.
 *
 * ```js
 * model.compile({optimizer: tf.train.adam(), loss: sparseCrossEntropy()});
 * acceptSparseTargets(model);
 * await model.fit(tokens, nextTokens); // nextTokens: integers, [batch, length, 1]
 * ```
 *
 * @returns the model.
 * @throws Error if the model is not compiled, no output has such a loss, or a metric would misread integer targets ('accuracy': give
 * `tf.metrics.sparseCategoricalAccuracy` instead, which counts padding too, whatever a loss ignores).
 */
export function acceptSparseTargets(model: LayersModel): LayersModel {
  const who = 'acceptSparseTargets';
  checkSameHost(who, model);
  const outputs = compiledOutputs(model);
  if (outputs === null) throw new Error(`${who}: the model is not compiled. Call model.compile({optimizer, loss: sparseCrossEntropy()}) first.`);
  const own = outputs.flatMap((output) => {
    const form = typeof output.loss === 'function' ? forms.get(output.loss) : undefined;
    return form === undefined ? [] : [{ ...output, form }];
  });
  if (own.length === 0) {
    throw new Error(`${who}: no output of the model has a loss with integer targets. Compile it with loss: sparseCrossEntropy(), augmentedLoss(…), projectedCrossEntropy(…) or that of distillation(…).`);
  }
  for (const { name, metrics, form } of own) {
    const misleading = metrics.find((metric) => typeof metric === 'string' && MISLEADING.includes(metric));
    if (misleading !== undefined) {
      throw new Error(`${who}: the metric '${misleading as string}' of output '${name}' takes the targets for one-hot rows. Use metrics: [${form.accuracy}].`);
    }
  }
  for (const { index, shape, form } of own) expectTargetShape(model, index, [...shape.slice(0, -1), form.width]);
  return model;
}
