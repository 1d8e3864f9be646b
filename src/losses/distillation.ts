/**
 * A student that learns from a teacher's logits beside the labels. Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network",
 * 2015 (arXiv 1503.02531), §2.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { checkKeys, checkNumber, describe, POSITIVE, shownShape, type NumberRange } from '../checks.js';
import { CROSS_ENTROPY } from '../kernels/sparse_cross_entropy/index.js';
import { meanable, named, sparseProblem, withTargetForm, type Loss } from './sparse_targets.js';

export interface DistillationArgs {
  /** Weight α of the labels, in [0, 1]; the teacher has 1 − α. Default 0.1. */
  alpha?: number;
  /** T > 0: the higher, the more the teacher's small probabilities count. Default 4. */
  temperature?: number;
}

/** What {@link distillation} makes: for `compile`, and the targets for `fit`. */
export interface Distillation {
  readonly alpha: number;
  readonly temperature: number;
  /** For `compile({loss})`: targets and the student's logits → one number per example or position. */
  readonly loss: Loss;
  /** For `compile({metrics})`: 1 where the student's largest logit is at the label, else 0. */
  readonly accuracy: Loss;
  /** For `compile({metrics})`: −log softmax(logits)[label], in nats, without the teacher. */
  readonly crossEntropy: Loss;
  /**
   * Labels and the teacher's logits [batch, …, classes] side by side: what `loss` takes as targets. Integer labels [batch, …] or
   * [batch, …, 1] give [batch, …, 1 + classes], one-hot rows (soft ones too) [batch, …, classes] give [batch, …, 2 · classes].
   * @throws Error if the shapes do not fit.
   */
  targets(labels: Tensor, teacherLogits: Tensor): Tensor;
}

const WHO = 'distillation';
const UNIT: NumberRange = { expected: 'a number in [0, 1]', holds: (x) => x >= 0 && x <= 1 };

/** T² · KL(softmax(teacher / T) ‖ softmax(student / T)) of each row, for logits [batch, …, classes]: [batch, …]. */
export function temperedDivergence(teacher: Tensor, student: Tensor, temperature: number): Tensor {
  return tfc.tidy(() => {
    const [logTaught, logLearned] = [teacher, student].map((logits) => tfc.logSoftmax(tfc.div(logits, temperature)));
    const divergence = tfc.sum(tfc.mul(tfc.exp(logTaught), tfc.sub(logTaught, logLearned)), -1);
    return tfc.mul(divergence, temperature ** 2);
  });
}

interface Parts {
  labels: Tensor;
  teacher: Tensor;
  areIntegers: boolean;
}

/** Targets as {@link Distillation.targets} joined them, for predictions [batch, …, classes]. */
function parted(targets: Tensor, predictions: Tensor): Parts {
  const [classes, width] = [predictions.shape.at(-1) ?? 0, targets.shape.at(-1) ?? 0];
  const fits = classes > 1 && tfc.util.arraysEqual(targets.shape.slice(0, -1), predictions.shape.slice(0, -1)) && [1 + classes, 2 * classes].includes(width);
  if (!fits) {
    const [integers, rows] = [1, classes].map((labels) => shownShape([...predictions.shape.slice(0, -1), labels + classes]));
    const wanted = classes > 1 ? `targets must be of shape ${integers} (integer labels, then the teacher's logits) or ${rows} (one-hot labels)` : 'there must be at least two classes';
    throw new Error(`${WHO}: for predictions ${shownShape(predictions.shape)} ${wanted}, got targets ${shownShape(targets.shape)}. Make them with distillation(…).targets(labels, teacherLogits).`);
  }
  const [labels, teacher] = tfc.split(targets, [width - classes, classes], -1);
  return { labels, teacher, areIntegers: width === 1 + classes };
}

function labelCrossEntropy({ labels, areIntegers }: Parts, logits: Tensor): Tensor {
  if (areIntegers) return meanable(sparseProblem(`${WHO}: labels`, labels, logits, { paddable: false }), CROSS_ENTROPY);
  return tfc.neg(tfc.sum(tfc.mul(labels, tfc.logSoftmax(logits)), -1));
}

/**
 * α · CE(label, softmax(z)) + (1 − α) · T² · KL(softmax(v / T) ‖ softmax(z / T)) for the student's logits z and the teacher's v. T² keeps the
 * size of the teacher's gradients, T · (softmax(z / T) − softmax(v / T)), about the same at any temperature.
 *
 * The student ends with logits `[batch, …, classes]`, no softmax; `targets` puts labels and the teacher's logits side by side. A teacher that
 * ends with a softmax: give the logarithm of what it says, `tf.log(tf.maximum(p, 1e-7))`; logits count up to a constant for each row.
 *
 * ```js
 * const {loss, accuracy, targets} = distillation({temperature: 4, alpha: 0.1});
 * student.compile({optimizer: tf.train.adam(), loss, metrics: [accuracy]});
 * acceptSparseTargets(student);   // fit otherwise wants one number per class
 * await student.fit(x, targets(labels, teacher.predict(x)), {epochs: 10});
 * // or, with what was augmented seen by both:
 * await student.fitDataset(batches.map(({xs, ys}) => ({xs, ys: targets(ys, teacher.predict(xs))})), {epochs: 10});
 * ```
 *
 * Validation data take such targets too; watch `accuracy` and `crossEntropy`, which leave the teacher out. The metric 'accuracy' would take the
 * whole targets for one-hot rows. Costs: some ten passes over the logits more than a cross-entropy, and `targets` are 1 + classes or
 * 2 · classes numbers an example. Logits must be finite. A label that is no class: as in `sparseCrossEntropy`.
 *
 * Deviation: the paper writes the second term as a cross-entropy with the teacher's probabilities; the divergence differs by the teacher's
 * entropy, which has no gradient, and is 0 where the student says the same.
 *
 * @throws Error for an unknown option, a temperature or weight out of range.
 */
export function distillation(args: DistillationArgs = {}): Distillation {
  if (typeof args !== 'object' || args === null) throw new Error(`${WHO}: expected options, {alpha, temperature}, got ${describe(args)}.`);
  checkKeys(WHO, args, ['alpha', 'temperature']);
  const alpha = checkNumber(WHO, 'alpha', args.alpha ?? 0.1, UNIT, 'It is the weight of the labels; 1 is none of the teacher.');
  const temperature = checkNumber(WHO, 'temperature', args.temperature ?? 4, POSITIVE);
  return {
    alpha,
    temperature,
    loss: withTargetForm(WHO, { width: null, accuracy: 'the accuracy that distillation made' }, (targets, predictions) => {
      return tfc.tidy(() => {
        const parts = parted(targets, predictions);
        const ofLabels = tfc.mul(labelCrossEntropy(parts, predictions), alpha);
        return tfc.add(ofLabels, tfc.mul(temperedDivergence(parts.teacher, predictions, temperature), 1 - alpha));
      });
    }),
    accuracy: named('accuracy', (targets, predictions) => {
      return tfc.tidy(() => {
        const { labels, areIntegers } = parted(targets, predictions);
        const classOf = areIntegers ? tfc.cast(tfc.squeeze(labels, [-1]), 'int32') : tfc.argMax(labels, -1);
        return tfc.cast(tfc.equal(classOf, tfc.argMax(predictions, -1)), 'float32');
      });
    }),
    crossEntropy: named('crossEntropy', (targets, predictions) => tfc.tidy(() => labelCrossEntropy(parted(targets, predictions), predictions))),
    targets: joinedTargets,
  };
}

function joinedTargets(labels: Tensor, teacherLogits: Tensor): Tensor {
  const { shape } = teacherLogits;
  const classes = shape.at(-1) ?? 0;
  const positions = shape.slice(0, -1);
  const fits = [positions, [...positions, 1], shape].some((each) => tfc.util.arraysEqual(each, labels.shape));
  if (classes < 2 || shape.length < 2 || !fits) {
    const wanted = `integers ${shownShape(positions)} or ${shownShape([...positions, 1])}, or one-hot rows ${shownShape(shape)}`;
    throw new Error(`${WHO}: for the teacher's logits ${shownShape(shape)}, of at least two classes, labels must be ${wanted}, got ${shownShape(labels.shape)}.`);
  }
  return tfc.tidy(() => {
    const columns = labels.rank < shape.length ? tfc.expandDims(labels, -1) : labels;
    return tfc.concat([columns, teacherLogits].map((part) => tfc.cast(part, 'float32')), -1);
  });
}
