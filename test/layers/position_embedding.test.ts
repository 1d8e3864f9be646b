import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as functionalModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import { cachedDecoding } from '../../src/layers/cached_decoding.js';
import { positionEmbedding, sinusoids, type PositionEmbeddingArgs } from '../../src/layers/position_embedding.js';
import { quickLayerNormalization } from '../../src/layers/quick_layer_normalization.js';
import { attachRegularizer, priorsOf } from '../../src/regularizers/attach.js';
import { gmmPrior } from '../../src/regularizers/gmm_prior.js';
import { expectNear, saveAndLoad, seeded } from '../contract/fixtures.js';
import { layerContract } from '../contract/layer_contract.js';

describe('the layer contract holds for learned positions', () =>
  layerContract({
    create: (args: PositionEmbeddingArgs) => positionEmbedding(args), args: { kind: 'learned', maxLength: 5, embeddingsInitializer: 'ones', embeddingsRegularizer: 'l1l2', name: 'contract_positions' },
    inputShape: [3, 4], parameters: 20, masking: 'passes', learningRate: 1,
  })); // prettier-ignore

describe('positionEmbedding', () => {
  it('adds sines and cosines', async () => {
    const values = await sinusoids(1, 2, 4).data();
    expectNear('positions 1 and 2', values, [Math.sin(1), Math.sin(0.01), Math.cos(1), Math.cos(0.01), Math.sin(2), Math.sin(0.02), Math.cos(2), Math.cos(0.02)], 1e-6);
    expect(sinusoids(0, 2, 3).shape).toEqual([2, 3]);
  });

  it('has an end where positions are learned, also step by step', () => {
    const x = input({ shape: [null, 2] });
    const model = functionalModel({ inputs: x, outputs: positionEmbedding({ kind: 'learned', maxLength: 3, name: 'p' }).apply(x) as SymbolicTensor });
    const message = "PositionEmbedding 'p': has 3 learned positions, got a sequence up to position 4. Raise maxLength, shorten the sequences, or use kind: 'sinusoidal'.";
    expect(() => model.predict(tf.zeros([1, 4, 2]))).toThrow(message);
    expect(() => positionEmbedding({ kind: 'learned', maxLength: 3, name: 'p' }).apply(input({ shape: [4, 2] }))).toThrow(message);
    const decoding = cachedDecoding(model);
    decoding.step(tf.zeros([1, 3, 2]));
    expect(() => decoding.step(tf.zeros([1, 1, 2]))).toThrow(message);
  });

  it('keeps a prior that was attached to its table, through a save', async () => {
    const x = input({ shape: [3, 2] });
    const model = functionalModel({ inputs: x, outputs: positionEmbedding({ kind: 'learned', maxLength: 3 }).apply(x) as SymbolicTensor });
    attachRegularizer(model, gmmPrior({ trainingExamples: 4, components: 2 }));
    expect(priorsOf(await saveAndLoad(model))).toHaveLength(1);
    expect(() => positionEmbedding({ embeddingsRegularizer: 'l1l2' })).toThrow("PositionEmbedding: embeddingsRegularizer is for a learned table; kind 'sinusoidal' has none.");
  });

  it('says what is wrong', () => {
    expect(() => positionEmbedding({ kind: 'rotary' as never })).toThrow("PositionEmbedding: kind must be one of 'sinusoidal', 'learned', got 'rotary'.");
    expect(() => positionEmbedding({ kind: 'learned' })).toThrow('PositionEmbedding: maxLength must be an integer ≥ 1, got undefined.');
    expect(() => positionEmbedding({ maxLength: 4 })).toThrow("got 4 with kind 'sinusoidal', which has no end");
  });
});

describe('the layer contract holds for the quick layer normalisation', () =>
  layerContract({ create: quickLayerNormalization, args: { epsilon: 1e-2, name: 'contract_quick_norm' }, inputShape: [3, 4], parameters: 8, masking: 'passes', learningRate: 0.2 }));

describe('quickLayerNormalization', () => {
  it('gives the outputs and gradients of the host’s, and takes its weights', async () => {
    const x = seeded([2, 3, 5], 1);
    const [ours, host] = [quickLayerNormalization(), layers.layerNormalization({})];
    for (const layer of [ours, host]) layer.apply(x);
    host.setWeights([seeded([5], 2), seeded([5], 3)]);
    ours.setWeights(host.getWeights());
    expectNear('output', await (ours.apply(x) as tf.Tensor).data(), await (host.apply(x) as tf.Tensor).data(), 1e-5);
    const w = seeded([2, 3, 5], 4);
    const gradient = (layer: layers.Layer) => tf.grad((y) => tf.sum(tf.mul(w, layer.apply(y) as tf.Tensor)))(x).data();
    expectNear('gradient', await gradient(ours), await gradient(host), 1e-4);
  });
});
