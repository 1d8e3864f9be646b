import * as tf from '@tensorflow/tfjs-core';
import { input, layers, sequential } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { tiedEmbedding, type TiedEmbedding, type TiedEmbeddingArgs } from '../../src/layers/tied_embedding.js';
import { tiedProjection } from '../../src/layers/tied_projection.js';
import { augmentedLoss, type AugmentedLossArgs } from '../../src/losses/augmented_loss.js';
import { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
import { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
import { alive, expectNear, seeded, seededIntegers } from '../contract/fixtures.js';
// Float64 reference values from NumPy and PyTorch; what the numbers mean stands in `about`.
import golden from '../fixtures/augmented_loss.json';

const values = async (x: tf.Tensor) => Array.from(await x.data());

function embeddingOf(weights: tf.Tensor[], args: Partial<TiedEmbeddingArgs> = {}): TiedEmbedding {
  const embedding = tiedEmbedding({ inputDim: weights[0].shape[0], outputDim: weights.at(-1)!.shape[1] as number, ...args });
  embedding.apply(input({ shape: [1] }));
  embedding.setWeights(weights);
  return embedding;
}

/** A small case: 6 tokens, width 3, 4 rows. */
const embedding = () => embeddingOf([seeded([6, 3], 1)]);
const logits = () => tf.mul(seeded([4, 6], 2), 3);
const targets = () => tf.tensor2d([[0], [5], [2], [2]]);

describe('augmentedLoss', () => {
  it.each(golden.cases.map((_, i) => i))('equals the reference, gradients included: case %i', async (i) => {
    const { embedding: table, hidden, targets: ids, temperature, gamma, total, dEmbedding, dHidden } = golden.cases[i];
    const loss = augmentedLoss({ embedding: embeddingOf([tf.tensor2d(table)]), temperature, gamma });
    const mean = (h: tf.Tensor, e: tf.Tensor) => tf.mean(loss(tf.tensor2d(ids, [ids.length, 1]), tf.matMul(h as tf.Tensor2D, tf.transpose(e) as tf.Tensor2D))) as tf.Scalar;
    const { value, grads } = tf.valueAndGrads(mean as never)([tf.tensor2d(hidden), tf.tensor2d(table)]);
    expectNear('loss', await values(value), [total], 2e-6);
    expectNear('gradient of the hidden state', await values(grads[0]), dHidden.flat(), 2e-6);
    expectNear('gradient of the table', await values(grads[1]), dEmbedding.flat(), 2e-6);
  });

  it('learns nothing through the soft targets: the table gets its gradient from the logits alone', async () => {
    const tied = embedding();
    const loss = augmentedLoss({ embedding: tied });
    const constant = logits();
    const x = tf.variable(tf.scalar(1));
    const { grads } = tf.variableGrads(() => tf.mean(loss(targets(), tf.mul(constant, x))) as tf.Scalar);
    expect(Object.keys(grads)).toEqual([x.name]);
  });

  it('is the cross-entropy for γ = 0, and adds γτ times the divergence', async () => {
    const tied = embedding();
    const plain = await values(sparseCrossEntropy()(targets(), logits()));
    const at = (args: Partial<AugmentedLossArgs>) => values(augmentedLoss({ embedding: tied, ...args })(targets(), logits()));
    expectNear('γ = 0', await at({ gamma: 0 }), plain, 1e-6);
    const [half, whole] = [await at({ gamma: 0.5, temperature: 4 }), await at({ gamma: 1, temperature: 4 })];
    expectNear('twice the γ', whole.map((loss, i) => loss - plain[i]), half.map((loss, i) => 2 * (loss - plain[i])), 1e-4);
    for (const [i, loss] of half.entries()) expect(loss).toBeGreaterThan(plain[i]);
  });

  it('compares whole vectors where the table is factorised', async () => {
    const [table, kernel] = [seeded([6, 2], 1), seeded([2, 3], 2)];
    const whole = embeddingOf([tf.matMul(table as tf.Tensor2D, kernel as tf.Tensor2D)]);
    const factors = embeddingOf([table, kernel], { factorDim: 2 });
    const at = (tied: TiedEmbedding) => values(augmentedLoss({ embedding: tied, temperature: 2 })(targets(), logits()));
    expectNear('losses', await at(factors), await at(whole), 1e-5);
  });

  it('has the gradient of its gradient', async () => {
    const loss = augmentedLoss({ embedding: embedding(), temperature: 3 });
    const v = seeded([4, 6], 5);
    const sum = (z: tf.Tensor) => tf.sum(loss(targets(), z)) as tf.Scalar;
    const along = (z: tf.Tensor) => tf.sum(tf.mul(tf.grad(sum)(z), v)) as tf.Scalar;
    const step = 1e-2;
    const shifted = (sign: number) => tf.grad(sum)(tf.add(logits(), tf.mul(v, sign * step)));
    expectNear('Hessian times v', await values(tf.grad(along)(logits())), await values(tf.div(tf.sub(shifted(1), shifted(-1)), 2 * step)), 2e-3);
    const scaled = (s: tf.Tensor) => tf.sum(tf.mul(tf.grad((z: tf.Tensor) => tf.mul(sum(z), s) as tf.Scalar)(logits()), v)) as tf.Scalar;
    expectNear('gradient along a weight', await values(tf.grad(scaled)(tf.scalar(2))), await values(along(logits())), 1e-4);
  });

  it('leaves out positions with the target to ignore', async () => {
    const tied = embedding();
    const plain = await values(augmentedLoss({ embedding: tied })(targets(), logits()));
    const losses = await values(augmentedLoss({ embedding: tied, ignore: 2 })(targets(), logits()));
    expectNear('losses', losses, [2 * plain[0], 2 * plain[1], 0, 0], 1e-5);
  });

  it('trains a tied model in fit, and leaves nothing behind', async () => {
    const tied = tiedEmbedding({ inputDim: 6, outputDim: 3, inputShape: [4], embeddingsInitializer: 'glorotNormal' });
    const model = sequential({ layers: [tied, layers.dense({ units: 3, activation: 'tanh' }), tiedProjection()] });
    model.compile({ optimizer: tf.train.adam(0.05), loss: augmentedLoss({ embedding: tied }), metrics: [sparseCrossEntropy()] });
    acceptSparseTargets(model);
    const [x, y] = [seededIntegers([8, 4], 1, 6), tf.reshape(seededIntegers([8, 4], 1, 6), [8, 4, 1])];
    const { history } = await model.fit(x, y, { epochs: 5, batchSize: 4, verbose: 0 });
    expect(history.loss[4]).toBeLessThan(history.loss[0] as number);
    expect(history.loss[4]).toBeGreaterThan(history.sparseCrossEntropy[4] as number);
    await model.trainOnBatch(x, y);
    const before = alive();
    for (let i = 0; i < 5; i++) await model.trainOnBatch(x, y);
    expect(alive()).toEqual(before);
  });

  it('says what is wrong with its options and its logits', () => {
    const make = (args: object) => () => augmentedLoss({ embedding: embedding(), ...args });
    expect(() => augmentedLoss(undefined as never)).toThrow('augmentedLoss: expected options with embedding, got undefined.');
    expect(make({ embedding: layers.embedding({ inputDim: 6, outputDim: 3 }) })).toThrow('augmentedLoss: embedding must be a tiedEmbedding layer, got Embedding. In a loaded model: model.getLayer(its name).');
    expect(make({ temperature: 0 })).toThrow('augmentedLoss: temperature must be a finite number > 0, got 0.');
    expect(make({ gamma: -1 })).toThrow('augmentedLoss: gamma must be a finite number ≥ 0, got -1. Use sparseCrossEntropy() for none of it.');
    expect(make({ tau: 1 })).toThrow("augmentedLoss: unknown option 'tau'.");
    expect(() => augmentedLoss({ embedding: embeddingOf([tf.zeros([6, 3])], { name: 'words' }) })(targets(), tf.zeros([4, 5]))).toThrow(
      "augmentedLoss: the predictions have 5 classes, 'words' has 6 tokens. The logits must be scores of those tokens.",
    );
  });
});
