import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { tiedEmbedding, type TiedEmbedding, type TiedEmbeddingArgs } from '../../src/layers/tied_embedding.js';
import { tiedProjection } from '../../src/layers/tied_projection.js';
import { projectedCrossEntropy } from '../../src/losses/projected_cross_entropy.js';
import { sparseCrossEntropy } from '../../src/losses/sparse_cross_entropy.js';
import { acceptSparseTargets } from '../../src/losses/sparse_targets.js';
import { alive, expectNear, seeded, seededIntegers } from '../contract/fixtures.js';

const V = 11;
const WIDTH = 3;
const values = async (x: tf.Tensor) => Array.from(await x.data());
const hidden = () => seeded([2, 5, WIDTH], 1);
const targets = () => seededIntegers([2, 5, 1], 2, V);

function embeddingOf(weights: tf.Tensor[], args: Partial<TiedEmbeddingArgs> = {}): TiedEmbedding {
  const embedding = tiedEmbedding({ inputDim: V, outputDim: WIDTH, ...args });
  embedding.apply(input({ shape: [1] }));
  embedding.setWeights(weights);
  return embedding;
}

/** Value and gradients, of the hidden state and the weights, by logits. */
async function byLogits(weights: tf.Tensor[], ignore?: number) {
  const loss = (h: tf.Tensor, table: tf.Tensor, kernel?: tf.Tensor) => {
    const flat = tf.reshape(h, [-1, WIDTH]) as tf.Tensor2D;
    const x = kernel === undefined ? flat : tf.matMul(flat, tf.transpose(kernel) as tf.Tensor2D);
    const logits = tf.reshape(tf.matMul(x, tf.transpose(table) as tf.Tensor2D), [2, 5, V]);
    return tf.mean(sparseCrossEntropy(ignore === undefined ? {} : { ignore })(targets(), logits));
  };
  const { value, grads } = tf.valueAndGrads(loss as never)([hidden(), ...weights]);
  return [await values(value), ...(await Promise.all(grads.map(values)))];
}

/** The same by {@link projectedCrossEntropy}. */
async function projected(embedding: TiedEmbedding, args: { rows?: number; ignore?: number } = {}) {
  const h = tf.variable(hidden());
  const loss = projectedCrossEntropy({ embedding, ...args });
  const { value, grads } = tf.variableGrads(() => tf.mean(loss(targets(), h)) as tf.Scalar);
  const own = [h.name, ...embedding.getWeights().map((weight) => (weight as tf.Variable).name)];
  return [await values(value), ...(await Promise.all(own.map((name) => values(grads[name]))))];
}

describe('projectedCrossEntropy', () => {
  it.each([1, 3, 5, 10, 128])('is the cross-entropy of the logits, gradients included, with %i rows of them at a time', async (rows) => {
    const table = seeded([V, WIDTH], 3);
    const expected = await byLogits([table]);
    const actual = await projected(embeddingOf([table]), { rows });
    expected.forEach((numbers, i) => expectNear(['loss', 'hidden', 'table'][i], actual[i], numbers, 1e-5));
  });

  it('goes through both factors, and leaves out what is to be ignored', async () => {
    const factors = [seeded([V, 2], 3), seeded([2, WIDTH], 4)];
    const ignore = (await values(targets()))[3];
    const expected = await byLogits(factors, ignore);
    const actual = await projected(embeddingOf(factors, { factorDim: 2 }), { rows: 4, ignore });
    expected.forEach((numbers, i) => expectNear(['loss', 'hidden', 'table', 'kernel'][i], actual[i], numbers, 1e-5));
  });

  it('never holds all logits at once', async () => {
    const embedding = tiedEmbedding({ inputDim: 500, outputDim: WIDTH });
    embedding.apply(input({ shape: [1] }));
    const [h, y] = [seeded([200, WIDTH], 1), seededIntegers([200, 1], 2, 500)];
    const peak = async (loss: () => tf.Tensor) => {
      const { peakBytes, newBytes } = await tf.profile(() => tf.tidy(() => tf.grads(loss as never)([h]).map(() => tf.scalar(0))[0]));
      return peakBytes - newBytes;
    };
    const before = tf.memory().numBytes;
    const all = await peak(() => tf.mean(sparseCrossEntropy()(y, tf.matMul(h as tf.Tensor2D, tf.transpose(embedding.tie.table) as tf.Tensor2D))));
    const parts = await peak(() => projectedCrossEntropy({ embedding, rows: 10 })(y, h));
    const matrix = 4 * 200 * 500;
    expect(all - before).toBeGreaterThan(2 * matrix);
    expect(parts - before).toBeLessThan(matrix / 2);
  });

  it('trains in fit, for a second model of the same layers that predicts', async () => {
    const ids = input({ shape: [5] });
    const embedding = tiedEmbedding({ inputDim: V, outputDim: WIDTH, embeddingsInitializer: 'glorotNormal' });
    const state = layers.dense({ units: WIDTH, activation: 'tanh' }).apply(embedding.apply(ids)) as SymbolicTensor;
    const trainer = functionalModel({ inputs: ids, outputs: state });
    const predictor = functionalModel({ inputs: ids, outputs: tiedProjection({ useBias: false }).apply(state) as SymbolicTensor });
    trainer.compile({ optimizer: tf.train.adam(0.05), loss: projectedCrossEntropy({ embedding, rows: 16 }) });
    acceptSparseTargets(trainer);
    const [x, y] = [seededIntegers([8, 5], 1, V), tf.reshape(seededIntegers([8, 5], 1, V), [8, 5, 1])];
    const { history } = await trainer.fit(x, y, { epochs: 5, batchSize: 4, verbose: 0 });
    expect(history.loss[4]).toBeLessThan(history.loss[0] as number);
    const [loss] = await values([trainer.evaluate(x, y)].flat()[0]);
    expectNear('loss of the logits', await values(tf.mean(sparseCrossEntropy()(y, predictor.predict(x) as tf.Tensor))), [loss], 1e-5);
    await trainer.trainOnBatch(x, y);
    const before = alive();
    for (let i = 0; i < 5; i++) await trainer.trainOnBatch(x, y);
    expect(alive()).toEqual(before);
  });

  it('refuses gradients of gradients rather than give wrong ones', () => {
    const loss = projectedCrossEntropy({ embedding: embeddingOf([seeded([V, WIDTH], 3)]) });
    const first = (h: tf.Tensor) => tf.sum(tf.grad((x: tf.Tensor) => loss(targets(), x) as tf.Scalar)(h)) as tf.Scalar;
    expect(() => tf.grad(first)(hidden())).toThrow('projectedCrossEntropy: it keeps no gradients of gradients. Use sparseCrossEntropy() on logits for those.');
  });

  it('says what is wrong with its options and its predictions', () => {
    const embedding = embeddingOf([seeded([V, WIDTH], 3)], { name: 'words' });
    expect(() => projectedCrossEntropy(null as never)).toThrow('projectedCrossEntropy: expected options with embedding, got null.');
    expect(() => projectedCrossEntropy({ embedding: 3 as never })).toThrow('projectedCrossEntropy: embedding must be a tiedEmbedding layer, got 3.');
    expect(() => projectedCrossEntropy({ embedding, rows: 0 })).toThrow('projectedCrossEntropy: rows must be an integer ≥ 1, got 0.');
    expect(() => projectedCrossEntropy({ embedding, chunk: 1 } as never)).toThrow("projectedCrossEntropy: unknown option 'chunk'.");
    expect(() => projectedCrossEntropy({ embedding })(targets(), tf.zeros([2, 5, V]))).toThrow(
      "projectedCrossEntropy: the predictions have width 11, the vectors of 'words' have 3. The model must end with the hidden state, before the projection.",
    );
  });
});
