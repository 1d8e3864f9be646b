/** The language models: embedding and positions, what comes to an equilibrium or stands in its stead, and scores of all tokens. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { acceptSparseTargets, anderson, deqLayer, implicit, positionEmbedding, sparseCrossEntropy, spectralNormalization, transformerCell, unrolled, weightNormalization, type DEQLayer } from './library.js';
import type { Settings, VariantName } from './settings.js';

type Symbolic = tfl.SymbolicTensor;

export interface LanguageModel {
  model: tfl.LayersModel;
  /** Of the standard network one for each cell, each applied once. */
  deqs: DEQLayer[];
}

function normalizationOf(name: string) {
  if (name === 'none') return null;
  if (name === 'weight') return weightNormalization();
  if (name === 'spectral') return spectralNormalization();
  throw new Error(`deq-language-model: stability.normalization must be none, weight or spectral, got '${name}'.`);
}

/** Predicts the next token at each position from those up to it. */
export function languageModel(vocabulary: number, settings: Settings, variant: VariantName, seed: number): LanguageModel {
  const { width, heads, depth, length } = settings.model;
  const ids = tfl.input({ shape: [length] });
  const embedded = tfl.layers.embedding({ inputDim: vocabulary, outputDim: width, embeddingsInitializer: tfl.initializers.randomNormal({ mean: 0, stddev: 0.5, seed }) }).apply(ids) as Symbolic;
  const x = positionEmbedding().apply(embedded) as Symbolic;
  const kernelNormalization = normalizationOf(settings.stability.normalization);
  const cell = (index: number) => transformerCell({ units: width, numHeads: heads, seed: 100 * seed + index });
  const deqs: DEQLayer[] = [];
  let z: Symbolic;
  if (variant === 'standard') {
    // An application from a given state is the cell itself, with its kernels normalised as in the others.
    z = x;
    for (let i = 0; i < depth; i++) {
      const last: Symbolic = z;
      const layer = deqLayer({ name: `cell_${i}`, cell: cell(i), kernelNormalization, gradient: unrolled({ steps: 1 }), ...(i > 0 && { initialState: 'given' as const }) });
      z = layer.apply(i === 0 ? x : [x, last]) as Symbolic;
      deqs.push(layer);
    }
  } else {
    const gradient = variant === 'tied' ? unrolled({ steps: depth }) : implicit();
    const layer = deqLayer({ name: 'equilibrium', cell: cell(0), kernelNormalization, solver: anderson(settings.solver), gradient });
    z = layer.apply(x) as Symbolic;
    deqs.push(layer);
  }
  const scores = tfl.layers.dense({ units: vocabulary, kernelInitializer: tfl.initializers.glorotUniform({ seed: seed + 1 }) }).apply(z) as Symbolic;
  return { model: tfl.model({ inputs: ids, outputs: scores }), deqs };
}

export function compile(model: tfl.LayersModel, { learningRate }: Settings['training']): void {
  model.compile({ optimizer: tfc.train.adam(learningRate), loss: sparseCrossEntropy() });
  acceptSparseTargets(model);
}
