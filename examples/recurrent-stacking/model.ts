/** A language model of characters: a Transformer whose layers are used once, again and again, or in groups. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { acceptSparseTargets, multiHeadAttention, positionEmbedding, quickLayerNormalization, recurrentDepth, sparseCrossEntropy } from 'tfjs-weight-sharing';
import { depthOf, type Settings, type VariantName } from './settings.js';

type Symbolic = tfl.SymbolicTensor;

/** x ← x + attention(LN(x)), x ← x + dense(relu(dense(LN(x)))) */
function transformerLayer({ width, heads, dropout }: Settings['model'], seed: number, name: string): tfl.LayersModel {
  const glorot = (offset: number) => tfl.initializers.glorotUniform({ seed: seed + offset });
  const x = tfl.input({ shape: [null, width] });
  const through = (from: Symbolic, ...path: tfl.layers.Layer[]) => path.reduce((at, layer) => layer.apply(at) as Symbolic, from);
  const dropped = (offset: number) => (dropout > 0 ? [tfl.layers.dropout({ rate: dropout, seed: seed + offset })] : []);
  const added = (to: Symbolic, change: Symbolic) => tfl.layers.add().apply([to, change]) as Symbolic;
  const attention = multiHeadAttention({ numHeads: heads, causal: true, dropout, kernelInitializer: glorot(1) });
  const attended = added(x, through(x, quickLayerNormalization(), attention, ...dropped(2)));
  const inner = tfl.layers.dense({ units: 4 * width, activation: 'relu', kernelInitializer: glorot(3) });
  const outer = tfl.layers.dense({ units: width, kernelInitializer: glorot(4) });
  return tfl.model({ inputs: x, outputs: added(attended, through(attended, quickLayerNormalization(), inner, outer, ...dropped(5))), name });
}

/** Predicts the next token at each position from those up to it. */
export function languageModel(vocabulary: number, settings: Settings['model'], variant: VariantName, seed: number): tfl.LayersModel {
  const { width, depth, length } = settings;
  const { layers, steps } = depthOf(variant, depth);
  const stack = recurrentDepth({ layers: Array.from({ length: layers }, (_, i) => transformerLayer(settings, 100 * seed + 10 * i, `layer_${i}`)), steps });
  return tfl.sequential({
    layers: [
      tfl.layers.embedding({ inputDim: vocabulary, outputDim: width, embeddingsInitializer: tfl.initializers.randomNormal({ mean: 0, stddev: 0.5, seed }), batchInputShape: [null, length] }),
      positionEmbedding(),
      stack,
      quickLayerNormalization(),
      tfl.layers.dense({ units: vocabulary, kernelInitializer: tfl.initializers.glorotUniform({ seed: seed + 1 }) }),
    ],
  });
}

export function compile(model: tfl.LayersModel, { learningRate }: Settings['training']): void {
  model.compile({ optimizer: tfc.train.adam(learningRate), loss: sparseCrossEntropy() });
  acceptSparseTargets(model);
}
