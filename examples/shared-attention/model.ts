/** A language model of characters: a Transformer whose layers may share attention. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { acceptSparseTargets, positionEmbedding, sharedAttention, sparseCrossEntropy, type SharedAttention } from 'tfjs-weight-sharing';
import type { Settings } from './settings.js';

/** `compact`: weights exist only where the policy uses them. */
export function languageModel(vocabulary: number, { width, heads, layers, dropout }: Settings['model'], policy: number[] | null, seed: number, compact = false): tfl.LayersModel {
  return tfl.sequential({
    layers: [
      tfl.layers.embedding({ inputDim: vocabulary, outputDim: width, embeddingsInitializer: tfl.initializers.randomNormal({ mean: 0, stddev: 0.5, seed }), batchInputShape: [null, null] }),
      positionEmbedding(),
      sharedAttention({ numLayers: layers, numHeads: heads, causal: true, dropout, policy, compact, name: 'stack' }),
      tfl.layers.dense({ units: vocabulary, kernelInitializer: tfl.initializers.glorotUniform({ seed: seed + 1 }) }),
    ],
  });
}

export const stackOf = (model: tfl.LayersModel) => model.getLayer('stack') as SharedAttention;

export function compile(model: tfl.LayersModel, { learningRate }: Settings['training']): void {
  model.compile({ optimizer: tfc.train.adam(learningRate), loss: sparseCrossEntropy() });
  acceptSparseTargets(model);
}
