import * as tf from '@tensorflow/tfjs-core';
import { input, layers, metrics, model as functionalModel, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { areTokensChecked } from '../../src/kernels/token_ids/index.js';
import { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
import { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
import { alive, datasetOf, expectNear, seeded, seededIntegers } from '../contract/fixtures.js';

const CLASSES = 5;
const values = async (x: tf.Tensor) => Array.from(await x.data());
const logits = () => tf.mul(seeded([2, 3, CLASSES], 1), 4);
const targets = () => tf.tensor3d([0, 4, 2, 1, 1, 3], [2, 3, 1]);

describe('sparseCrossEntropy at the edges', () => {
  it('is finite where padding is forbidden by a logit of −∞, and its name is known whatever bundlers do', async () => {
    const logits = tf.tensor2d([[-Infinity, 1, 2], [-Infinity, 1, 2]]); // prettier-ignore
    const loss = sparseCrossEntropy({ ignore: 0 });
    const value = tf.mean(loss(tf.tensor1d([0, 1], 'int32'), logits));
    expect((await value.data())[0]).toBeCloseTo(Math.log(1 + Math.E), 5);
    expect(loss.name).toBe('sparseCrossEntropy');
  });

  it('has a second derivative with one class, too', async () => {
    const once = (q: tf.Tensor) => tf.sum(sparseCrossEntropy()(tf.zeros([2], 'int32'), q));
    expect(Array.from(await tf.grad((q) => tf.sum(tf.grad(once)(q)))(tf.ones([2, 1])).data())).toEqual([0, 0]);
  });
});

describe('sparseCrossEntropy', () => {
  it('is the mean of −log softmax(logits)[target], for targets with and without a last axis', async () => {
    const expected = await values(tf.neg(tf.sum(tf.mul(tf.oneHot(tf.cast(tf.squeeze(targets(), [2]), 'int32'), CLASSES), tf.logSoftmax(logits())), -1)));
    for (const given of [targets(), tf.squeeze(targets(), [2]), tf.cast(targets(), 'int32')]) {
      const losses = sparseCrossEntropy()(given, logits());
      expect(losses.shape).toEqual([2, 3]);
      expectNear('losses', await values(losses), expected, 1e-5);
    }
  });

  it('is what the host computes from probabilities, gradient included, and goes on where the host clips', async () => {
    const host = (z: tf.Tensor) => {
      const p = tf.softmax(z);
      return tf.mean(tf.neg(tf.log(tf.sum(tf.mul(tf.oneHot(tf.cast(tf.squeeze(targets(), [2]), 'int32'), CLASSES), p), -1))));
    };
    const ours = (z: tf.Tensor) => tf.mean(sparseCrossEntropy()(targets(), z));
    expectNear('gradient', await values(tf.grad(ours)(logits())), await values(tf.grad(host)(logits())), 1e-4);
    const wrong = tf.tensor2d([[40, 0, 0, 0, 0]]);
    const gradient = tf.grad((z: tf.Tensor) => tf.mean(sparseCrossEntropy()(tf.tensor2d([[1]]), z)))(wrong);
    expectNear('loss of a confident error', await values(sparseCrossEntropy()(tf.tensor2d([[1]]), wrong)), [40], 1e-5);
    expectNear('its gradient', await values(gradient), [1, -1, 0, 0, 0], 1e-5);
  });

  it('leaves out positions with the target to ignore, and means over the others', async () => {
    const padded = tf.tensor3d([0, 4, 0, 1, 0, 3], [2, 3, 1]);
    const plain = await values(sparseCrossEntropy()(padded, logits()));
    const losses = await values(sparseCrossEntropy({ ignore: 0 })(padded, logits()));
    const counted = [1, 3, 5];
    expectNear('losses', losses, plain.map((loss, i) => (counted.includes(i) ? loss * 2 : 0)), 1e-5);
    const mean = losses.reduce((sum, loss) => sum + loss) / 6;
    expect(mean).toBeCloseTo(counted.reduce((sum, i) => sum + plain[i], 0) / 3, 5);
    const gradient = await values(tf.grad((z: tf.Tensor) => tf.mean(sparseCrossEntropy({ ignore: 0 })(padded, z)))(logits()));
    expect(gradient.slice(0, CLASSES).map(Math.abs)).toEqual(new Array(CLASSES).fill(0));
    expect((await values(sparseCrossEntropy({ ignore: -1 })(tf.fill([2, 3, 1], -1), logits()))).map(Math.abs), 'nothing counts').toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('refuses targets that are no classes where it can look for nothing, and leaves them out elsewhere', async () => {
    const loss = () => sparseCrossEntropy()(tf.tensor3d([0, 4, 5, 1, 1, 3], [2, 3, 1]), logits());
    if (areTokensChecked()) {
      expect(loss).toThrow('sparseCrossEntropy: targets must be integers from 0 to 4, got 5 at position 2 of the batch. There are 5 classes; for padding give ignore: the number that marks it.');
    } else {
      expect((await values(loss()))[2]).toBe(0);
    }
  });

  it('says what is wrong with shapes and options', () => {
    expect(() => sparseCrossEntropy()(tf.zeros([2, 4, 1]), logits())).toThrow('sparseCrossEntropy: for predictions [2, 3, 5] targets must be integers of shape [2, 3, 1], got [2, 4, 1].');
    expect(() => sparseCrossEntropy()(tf.zeros([2, 3, CLASSES]), logits())).toThrow('got [2, 3, 5]. These look like one-hot rows: give their tf.argMax(targets, -1) instead.');
    expect(() => sparseCrossEntropy({ ignore: 0.5 })).toThrow('sparseCrossEntropy: ignore must be an integer, got 0.5.');
    expect(() => sparseCrossEntropy({ mask: 0 } as never)).toThrow("sparseCrossEntropy: unknown option 'mask'.");
  });

  it('leaves nothing behind', () => {
    const [y, z] = [targets(), logits()];
    const before = alive();
    tf.dispose(sparseCrossEntropy({ ignore: 1 })(y, z));
    tf.dispose(tf.grad((x: tf.Tensor) => tf.mean(sparseCrossEntropy()(y, x)))(z));
    expect(alive()).toEqual(before);
  });
});

describe('integer targets in fit', () => {
  const body = () => layers.dense({ units: CLASSES, inputShape: [3, 2] });
  const kinds: Record<string, () => LayersModel> = {
    sequential: () => sequential({ layers: [body()] }),
    functional: () => {
      const x = input({ shape: [3, 2] });
      return functionalModel({ inputs: x, outputs: body().apply(x) as SymbolicTensor });
    },
  };
  const x = () => seeded([8, 3, 2], 1);
  const y = () => seededIntegers([8, 3, 1], 2, CLASSES);
  const compile = (model: LayersModel, more: object = {}) => {
    model.compile({ optimizer: tf.train.sgd(0.5), loss: sparseCrossEntropy(), ...more });
    return model;
  };

  it.each(Object.keys(kinds))('the host refuses them for any loss but its own; acceptSparseTargets lets them in: %s', async (kind) => {
    const model = compile(kinds[kind](), { metrics: [metrics.sparseCategoricalAccuracy, sparseCrossEntropy()] });
    await expect(model.fit(x(), y(), { verbose: 0 })).rejects.toThrow('target expected a batch of elements where each example has shape [3,5]');
    expect(acceptSparseTargets(model)).toBe(model);
    const { history } = await model.fit(x(), y(), { epochs: 3, batchSize: 4, verbose: 0, validationData: [x(), y()] });
    expect(history.loss[2]).toBeLessThan(history.loss[0] as number);
    expect(Object.keys(history)).toEqual(expect.arrayContaining(['loss', 'sparseCategoricalAccuracy', 'sparseCrossEntropy', 'val_loss', 'val_sparseCrossEntropy']));
    expect(history.val_sparseCrossEntropy[2]).toBeCloseTo(history.val_loss[2] as number, 5);
    const [loss, accuracy] = [model.evaluate(x(), y())].flat();
    expect((await loss.data())[0]).toBeCloseTo(history.val_loss[2] as number, 5);
    const guessed = tf.squeeze(tf.cast(tf.equal(tf.expandDims(tf.argMax(model.predict(x()) as tf.Tensor, -1), -1), tf.cast(y(), 'int32')), 'float32'));
    expect((await accuracy.data())[0]).toBeCloseTo((await tf.mean(guessed).data())[0], 5);
    await model.trainOnBatch(x(), y());
    await expect(model.fit(x(), tf.zeros([8, 3, CLASSES]), { verbose: 0 }), 'no longer one number per class').rejects.toThrow('[3,1]');
  });

  it('is to be called again after each compile', async () => {
    const model = acceptSparseTargets(compile(kinds.functional()));
    compile(model);
    await expect(model.fit(x(), y(), { verbose: 0 })).rejects.toThrow('target expected');
  });

  it('leaves other outputs of the model as they are', async () => {
    const given = input({ shape: [3, 2] });
    const outputs = [layers.dense({ units: CLASSES, name: 'classes' }), layers.dense({ units: 2, name: 'numbers' })].map((layer) => layer.apply(given) as SymbolicTensor);
    const model = compile(functionalModel({ inputs: given, outputs }), { loss: [sparseCrossEntropy(), 'meanSquaredError'], metrics: { numbers: 'mse', classes: metrics.sparseCategoricalAccuracy } });
    acceptSparseTargets(model);
    const { history } = await model.fit(x(), [y(), seeded([8, 3, 2], 3)], { epochs: 1, verbose: 0 });
    expect(Object.keys(history)).toContain('classes_loss');
    await expect(model.fit(x(), [y(), seeded([8, 3, 1], 3)], { verbose: 0 })).rejects.toThrow('[3,2]');
  });

  it('fitDataset takes them as they are', async () => {
    const model = compile(kinds.sequential());
    const { history } = await model.fitDataset(datasetOf(x(), y(), 4), { epochs: 3, verbose: 0 });
    expect(history.loss[2]).toBeLessThan(history.loss[0] as number);
  });

  it('acceptSparseTargets says what it needs', () => {
    const model = kinds.functional();
    expect(() => acceptSparseTargets({} as never)).toThrow('acceptSparseTargets: expected a tf.LayersModel, got object.');
    expect(() => acceptSparseTargets(model)).toThrow('acceptSparseTargets: the model is not compiled. Call model.compile({optimizer, loss: sparseCrossEntropy()}) first.');
    expect(() => acceptSparseTargets(compile(model, { loss: 'meanSquaredError' }))).toThrow('acceptSparseTargets: no output of the model has a loss with integer targets. Compile it with loss: sparseCrossEntropy(), augmentedLoss(…), projectedCrossEntropy(…) or that of distillation(…).');
    for (const metric of ['accuracy', ['acc'], { [model.outputNames[0]]: 'ce' }]) {
      expect(() => acceptSparseTargets(compile(model, { metrics: metric }))).toThrow(
        /^acceptSparseTargets: the metric '(accuracy|acc|ce)' of output '.+' takes the targets for one-hot rows\. Use metrics: \[tf\.metrics\.sparseCategoricalAccuracy\]\.$/,
      );
    }
  });
});
