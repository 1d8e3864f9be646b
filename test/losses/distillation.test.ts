import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { areTokensChecked } from '../../src/kernels/token_ids/index.js';
import { distillation, temperedDivergence, type DistillationArgs } from '../../src/losses/distillation.js';
import { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
import { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
import { alive, datasetOf, expectNear, seeded, seededIntegers } from '../contract/fixtures.js';

const CLASSES = 4;
const values = async (x: tf.Tensor) => Array.from(await x.data());
const student = () => tf.mul(seeded([3, CLASSES], 1), 3);
const teacher = () => tf.mul(seeded([3, CLASSES], 2), 5);
const LABELS = [3, 0, 2];
const integers = () => tf.tensor2d(LABELS, [3, 1]);
const oneHot = () => tf.oneHot(tf.tensor1d(LABELS, 'int32'), CLASSES);

const softmax = (z: number[]): number[] => {
  const top = Math.max(...z);
  const total = z.reduce((sum, each) => sum + Math.exp(each - top), 0);
  return z.map((each) => Math.exp(each - top) / total);
};

/** The loss of one row and its gradient by the paper's formula, in float64. */
function reference(z: number[], v: number[], label: number[], { alpha = 0.1, temperature = 4 }: DistillationArgs): { loss: number; gradient: number[] } {
  const tempered = (logits: number[]) => softmax(logits.map((each) => each / temperature));
  const [p, learned, taught] = [softmax(z), tempered(z), tempered(v)];
  const crossEntropy = label.reduce((sum, share, c) => sum - share * Math.log(p[c]), 0);
  const divergence = taught.reduce((sum, q, c) => sum + q * Math.log(q / learned[c]), 0);
  return {
    loss: alpha * crossEntropy + (1 - alpha) * temperature ** 2 * divergence,
    gradient: z.map((_, c) => alpha * (p[c] - label[c]) + (1 - alpha) * temperature * (learned[c] - taught[c])),
  };
}

describe('distillation', () => {
  it.each([{}, { alpha: 0.5, temperature: 1 }, { alpha: 0.9, temperature: 0.5 }, { alpha: 0, temperature: 20 }, { alpha: 1 }])('is the paper’s loss with its gradient: %j', async (args) => {
    const { loss, targets } = distillation(args);
    const rows = async (x: tf.Tensor) => (await x.array()) as number[][];
    const [z, v] = [await rows(student()), await rows(teacher())];
    const soft = [[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0, 0, 1, 0]];
    for (const [labels, shares] of [[integers(), await rows(oneHot())], [oneHot(), await rows(oneHot())], [tf.tensor2d(soft), soft], [tf.tensor1d(LABELS, 'int32'), await rows(oneHot())]] as const) {
      const expected = z.map((row, i) => reference(row, v[i], shares[i], args));
      const joined = targets(labels, teacher());
      const given = loss(joined, student());
      expect(given.shape).toEqual([3]);
      // The divergence is a difference of logarithms near 1, so that each is off by float32's rounding times T².
      const rounding = ((args.temperature ?? 4) ** 2) / 20;
      expectNear('loss', await values(given), expected.map((each) => each.loss), 1e-5, rounding);
      const gradient = tf.grad((logits: tf.Tensor) => tf.sum(loss(joined, logits)))(student());
      expectNear('gradient', await values(gradient), expected.flatMap((each) => each.gradient), 1e-5);
    }
  });

  it('is 0 with gradient 0 where the student says what the teacher does, up to a constant, and asks for nothing else', async () => {
    const { loss, targets } = distillation({ alpha: 0 });
    const joined = targets(integers(), tf.add(student(), 7));
    const gradient = tf.grad((logits: tf.Tensor) => tf.sum(loss(joined, logits)))(student());
    expectNear('loss', await values(loss(joined, student())), [0, 0, 0], 1, 1e-5);
    expectNear('gradient', await values(gradient), new Array(12).fill(0), 1, 1e-5);
  });

  it('keeps the size of the teacher’s gradient as the temperature grows: the difference of centred logits over their number', async () => {
    const gradient = await values(tf.grad((z: tf.Tensor) => tf.sum(temperedDivergence(teacher(), z, 1000)))(student()));
    const centred = (x: tf.Tensor) => tf.sub(x, tf.mean(x, 1, true));
    // Hinton et al., eq. 4, times T².
    expectNear('gradient', gradient, await values(tf.div(tf.sub(centred(student()), centred(teacher())), CLASSES)), 1e-2);
  });

  it('takes every position of a sequence by itself', async () => {
    const { loss, accuracy, targets } = distillation();
    const [z, v, labels] = [seeded([2, 3, CLASSES], 3), seeded([2, 3, CLASSES], 4), seededIntegers([2, 3, 1], 5, CLASSES)];
    const flat = (x: tf.Tensor) => tf.reshape(x, [6, -1]);
    const joined = targets(labels, v);
    expect(loss(joined, z).shape).toEqual([2, 3]);
    expectNear('losses', await values(loss(joined, z)), await values(loss(targets(flat(labels), flat(v)), flat(z))), 1e-6);
    expect(await values(accuracy(joined, z))).toEqual(await values(accuracy(targets(flat(labels), flat(v)), flat(z))));
    expect(await values(targets(tf.squeeze(labels, [2]), v))).toEqual(await values(joined));
  });

  it('has metrics that leave the teacher out', async () => {
    const { accuracy, crossEntropy, targets } = distillation({ alpha: 0 });
    const z = tf.tensor2d([[0, 1, 2, 9], [5, 1, 1, 1], [9, 0, 1, 0]]);
    for (const labels of [integers(), oneHot()]) {
      expect(await values(accuracy(targets(labels, teacher()), z))).toEqual([1, 1, 0]);
      expectNear('cross-entropy', await values(crossEntropy(targets(labels, teacher()), z)), await values(sparseCrossEntropy()(integers(), z)), 1e-5);
    }
  });

  it('leaves nothing behind', () => {
    const { loss, accuracy, targets } = distillation();
    const [z, v, y] = [student(), teacher(), integers()];
    const before = alive();
    const joined = targets(y, v);
    tf.dispose([loss(joined, z), accuracy(joined, z), tf.grad((x: tf.Tensor) => tf.sum(loss(joined, x)))(z)]);
    joined.dispose();
    expect(alive()).toEqual(before);
  });

  it('says what is wrong', async () => {
    expect(() => distillation({ alpha: 1.5 })).toThrow('distillation: alpha must be a number in [0, 1], got 1.5. It is the weight of the labels; 1 is none of the teacher.');
    expect(() => distillation({ temperature: 0 })).toThrow('distillation: temperature must be a finite number > 0, got 0.');
    expect(() => distillation({ temprature: 2 } as never)).toThrow("distillation: unknown option 'temprature'. Did you mean 'temperature'?");
    expect(() => distillation(null as never)).toThrow('distillation: expected options, {alpha, temperature}, got null.');
    const { loss, accuracy, targets } = distillation();
    const shapes = "for the teacher's logits [3, 4], of at least two classes, labels must be integers [3] or [3, 1], or one-hot rows [3, 4], got";
    expect(() => targets(tf.zeros([3, 2]), teacher())).toThrow(`distillation: ${shapes} [3, 2].`);
    expect(() => targets(tf.zeros([2]), teacher())).toThrow(`${shapes} [2].`);
    expect(() => targets(tf.zeros([3]), tf.zeros([3, 1]))).toThrow('of at least two classes');
    for (const each of [loss, accuracy]) {
      expect(() => each(integers(), student())).toThrow(
        "distillation: for predictions [3, 4] targets must be of shape [3, 5] (integer labels, then the teacher's logits) or [3, 8] (one-hot labels), got targets [3, 1]. Make them with distillation(…).targets(labels, teacherLogits).",
      );
      expect(() => each(tf.zeros([2, 5]), student())).toThrow('got targets [2, 5]');
      expect(() => each(tf.zeros([3, 2]), tf.zeros([3, 1]))).toThrow('for predictions [3, 1] there must be at least two classes');
    }
    const wrong = () => loss(targets(tf.tensor1d([0, 4, 1]), teacher()), student());
    if (areTokensChecked()) expect(wrong).toThrow('distillation: labels: targets must be integers from 0 to 3, got 4 at position 1 of the batch.');
    else expectNear('the teacher alone', [(await values(wrong()))[1]], [0.9 * (await values(temperedDivergence(teacher(), student(), 4)))[1]], 1e-5);
  });
});

describe('a student in fit', () => {
  const kinds: Record<string, () => LayersModel> = {
    sequential: () => sequential({ layers: [layers.dense({ units: CLASSES, inputShape: [3] })] }),
    functional: () => {
      const x = input({ shape: [3] });
      return functionalModel({ inputs: x, outputs: layers.dense({ units: CLASSES }).apply(x) as SymbolicTensor });
    },
  };
  const x = () => seeded([8, 3], 1);
  const labels = () => seededIntegers([8, 1], 2, CLASSES);
  const { loss, accuracy, crossEntropy, targets } = distillation({ alpha: 0.2, temperature: 2 });
  const compiled = (model: LayersModel, more: object = {}) => {
    model.compile({ optimizer: tf.train.sgd(0.3), loss, metrics: [accuracy, crossEntropy], ...more });
    return model;
  };

  it.each(Object.keys(kinds))('learns from both in fit, fitDataset and trainOnBatch, with validation: %s', async (kind) => {
    const taught = tf.mul(seeded([8, CLASSES], 3), 3);
    const model = compiled(kinds[kind]());
    await expect(model.fit(x(), targets(labels(), taught), { verbose: 0 })).rejects.toThrow('[8,5]');
    acceptSparseTargets(model);
    for (const y of [targets(labels(), taught), targets(tf.oneHot(tf.cast(tf.squeeze(labels(), [1]), 'int32'), CLASSES), taught)]) {
      const { history } = await model.fit(x(), y, { epochs: 2, batchSize: 4, shuffle: false, verbose: 0, validationData: [x(), y] });
      expect(history['loss'][1]).toBeLessThan(history['loss'][0] as number);
      expect(Object.keys(history)).toEqual(expect.arrayContaining(['accuracy', 'val_accuracy', 'crossEntropy', 'val_loss']));
      const logits = model.predict(x()) as tf.Tensor;
      expectNear('validation loss', [history['val_loss'][1] as number], await values(tf.mean(loss(y, logits))), 1e-5);
      const right = tf.equal(tf.argMax(logits, -1), tf.cast(tf.squeeze(labels(), [1]), 'int32'));
      expectNear('accuracy', [history['val_accuracy'][1] as number], await values(tf.mean(tf.cast(right, 'float32'))), 1e-6);
      await model.fitDataset(datasetOf(x(), y, 4), { epochs: 1, verbose: 0 });
      await model.trainOnBatch(x(), y);
    }
    await expect(model.fit(x(), labels(), { verbose: 0 })).rejects.toThrow('Make them with distillation(…).targets(labels, teacherLogits).');
  });

  it('ends where the teacher is, when nothing else is asked', async () => {
    const [teacherModel, model] = [kinds.sequential(), kinds.sequential()];
    const alone = distillation({ alpha: 0, temperature: 2 });
    acceptSparseTargets(compiled(model, { optimizer: tf.train.adam(0.1), loss: alone.loss, metrics: [] }));
    const y = alone.targets(labels(), teacherModel.predict(x()) as tf.Tensor);
    await model.fit(x(), y, { epochs: 60, batchSize: 8, verbose: 0 });
    const probabilities = (each: LayersModel) => values(tf.softmax(each.predict(x()) as tf.Tensor));
    expectNear('probabilities', await probabilities(model), await probabilities(teacherModel), 0.05);
  });

  it('refuses the metric that would read the teacher’s logits as labels', () => {
    expect(() => acceptSparseTargets(compiled(kinds.functional(), { metrics: ['accuracy'] }))).toThrow(
      /^acceptSparseTargets: the metric 'accuracy' of output '.+' takes the targets for one-hot rows\. Use metrics: \[the accuracy that distillation made\]\.$/,
    );
  });
});
