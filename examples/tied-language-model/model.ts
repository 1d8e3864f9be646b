/** The language model in its variants: a window of words, convolved, and scores of all words from a table of its own or from the embedding's. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { acceptSparseTargets, augmentedLoss, sparseCrossEntropy, tiedEmbedding, tiedProjection, type TiedEmbedding } from './library.js';
import type { Settings, VariantName } from './settings.js';

/** Predicts the next token at each position from the `context` tokens up to it. */
export function languageModel(vocabulary: number, settings: Settings['model'], variant: VariantName, seed: number): tfl.LayersModel {
  const { width, hidden, context, length, dropout } = settings;
  const tied = variant !== 'untied';
  const uniform = (offset: number) => tfl.initializers.randomUniform({ minval: -0.1, maxval: 0.1, seed: 100 * seed + offset });
  const glorot = (offset: number) => tfl.initializers.glorotUniform({ seed: 100 * seed + offset });
  const embedding = { inputDim: vocabulary, outputDim: width, embeddingsInitializer: uniform(1), batchInputShape: [null, context + length - 1] };
  return tfl.sequential({
    layers: [
      tied ? tiedEmbedding(embedding) : tfl.layers.embedding(embedding),
      tfl.layers.dropout({ rate: dropout, seed: 100 * seed + 2 }),
      // Valid padding: position i of the output sees the tokens i … i + context − 1 of the input, and no later one.
      tfl.layers.conv1d({ filters: hidden, kernelSize: context, activation: 'tanh', kernelInitializer: glorot(3) }),
      tfl.layers.dropout({ rate: dropout, seed: 100 * seed + 4 }),
      tfl.layers.dense({ units: width, activation: 'tanh', kernelInitializer: glorot(5) }),
      tfl.layers.dropout({ rate: dropout, seed: 100 * seed + 6 }),
      tied ? tiedProjection() : tfl.layers.dense({ units: vocabulary, kernelInitializer: uniform(7) }),
    ],
  });
}

export function compile(model: tfl.LayersModel, { learningRate }: Settings['training'], augmented: Settings['augmented'] | null): void {
  const [embedding] = model.layers.filter((layer) => layer.getClassName() === 'TiedEmbedding') as TiedEmbedding[];
  const loss = augmented === null ? sparseCrossEntropy() : augmentedLoss({ embedding, ...augmented });
  model.compile({ optimizer: tfc.train.adam(learningRate), loss });
  acceptSparseTargets(model);
}
