/** The language model in its variants: a window of words, convolved, and scores of all words from a table of its own or from the embedding's. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import type { Windows } from '../common/text.js';
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

export interface WindowTensors {
  xs: tfc.Tensor2D;
  /** [rows, length, 1] */
  ys: tfc.Tensor3D;
}

export const toTensors = ({ inputs, targets, rows, inputLength, length }: Windows): WindowTensors => ({
  xs: tfc.tensor2d(inputs, [rows, inputLength], 'int32'),
  ys: tfc.tensor3d(targets, [rows, length, 1], 'int32'),
});

/** exp of the mean cross-entropy per token; the model's own loss may be another. */
export async function perplexity(model: tfl.LayersModel, { xs, ys }: WindowTensors, batchSize: number): Promise<number> {
  const crossEntropy = sparseCrossEntropy();
  let total = 0;
  for (let row = 0; row < xs.shape[0]; row += batchSize) {
    const rows = Math.min(batchSize, xs.shape[0] - row);
    const sum = tfc.tidy(() => {
      const logits = model.predictOnBatch(tfc.slice(xs, row, rows)) as tfc.Tensor;
      return tfc.sum(crossEntropy(tfc.slice(ys, row, rows), logits));
    });
    total += (await sum.data())[0];
    sum.dispose();
  }
  return Math.exp(total / ys.size);
}

/** A copy of the weights, to go back to. */
export async function weightsOf(model: tfl.LayersModel): Promise<Float32Array[]> {
  return Promise.all(model.getWeights().map(async (weight) => Float32Array.from(await weight.data())));
}

export function setWeights(model: tfl.LayersModel, values: readonly Float32Array[]): void {
  const tensors = model.getWeights().map((weight, i) => tfc.tensor(values[i], weight.shape));
  model.setWeights(tensors);
  tfc.dispose(tensors);
}

export const parameterCount = (model: tfl.LayersModel): number => model.countParams();
