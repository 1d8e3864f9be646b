/** The four models, which read a question and then write the answer symbol by symbol, and what they are fed. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { universalTransformer, type UniversalTransformer } from 'tfjs-weight-sharing';
import { widthOf, type ModelName, type Settings } from './settings.js';
import { START, SYMBOLS, type Pair } from './tasks.js';

type Symbolic = tfl.SymbolicTensor;

/** No symbol: the target where nothing has to be predicted. */
export const IGNORED = -1;

/** Inputs: symbols, those of the answer `SYMBOLS` higher; for all but the LSTM also position signals. Output: at each position scores of the symbol that follows. */
export function sequenceModel(name: ModelName, { model, adaptive }: Settings, seed: number): tfl.LayersModel {
  const { lstmUnits } = model;
  const width = widthOf(name, model);
  const symbols = tfl.input({ shape: [null], dtype: 'int32' });
  const signals = tfl.input({ shape: [null, width] });
  const embedding = tfl.layers.embedding({ inputDim: 2 * SYMBOLS, outputDim: width, embeddingsInitializer: tfl.initializers.randomNormal({ mean: 0, stddev: 1, seed }) });
  const glorot = (offset: number) => tfl.initializers.glorotUniform({ seed: seed + offset });
  const scores = tfl.layers.dense({ units: SYMBOLS, kernelInitializer: glorot(1), name: 'scores' });
  const embedded = embedding.apply(symbols) as Symbolic;
  if (name === 'lstm') {
    // The host's orthogonal start, its default, does not run on wasm (tfjs-layers 4.22: `flatten` of a tensor, which only the umbrella package has).
    const lstm = tfl.layers.lstm({ units: lstmUnits, returnSequences: true, kernelInitializer: glorot(2), recurrentInitializer: glorot(3) });
    return tfl.model({ inputs: symbols, outputs: scores.apply(lstm.apply(embedded)) as Symbolic });
  }
  const placed = tfl.layers.add().apply([embedded, signals]) as Symbolic;
  return tfl.model({ inputs: [symbols, signals], outputs: scores.apply(transformer(name, placed, model, adaptive)) as Symbolic });
}

/** Separate layers are Universal Transformers of one step each: the same layer, with weights of its own. */
function transformer(name: Exclude<ModelName, 'lstm'>, x: Symbolic, shape: Settings['model'], { steps, ...adaptive }: Settings['adaptive']): Symbolic {
  const { heads, depth } = shape;
  // Positions come in with the symbols, because a sequence may begin anywhere.
  const stack = { units: widthOf(name, shape), numHeads: heads, causal: true, positionSignal: 'none' } as const;
  if (name === 'adaptive') return universalTransformer({ ...stack, steps, recurrence: 'act', adaptive, name: 'adaptive' }).apply(x) as Symbolic;
  if (name === 'universal') return universalTransformer({ ...stack, steps: depth }).apply(x) as Symbolic;
  const layers = Array.from({ length: depth }, () => universalTransformer({ ...stack, steps: 1, stepSignal: 'none' }));
  return layers.reduce((h, layer) => layer.apply(h) as Symbolic, x);
}

/** The layer that halts by itself. */
export const haltingLayer = (model: tfl.LayersModel) => model.getLayer('adaptive') as UniversalTransformer;

/** [positions, width]: sin(p·ω_j) and cos(p·ω_j) in turn, ω_j = 10000^(−2j/width). Vaswani et al. 2017, §3.5. */
export function positionSignals(positions: number, width: number): Tensor2D {
  const values = new Float32Array(positions * width);
  for (let p = 0; p < positions; p++) {
    for (let d = 0; d < width; d++) {
      const angle = p * 10000 ** (-(d - (d % 2)) / width);
      values[p * width + d] = d % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    }
  }
  return tfc.tensor2d(values, [positions, width]);
}

export interface Batch {
  xs: Tensor[];
  /** [rows, time, 1] */
  ys: Tensor3D;
}

/**
 * Pairs of one length as one sequence each: question, START, answer but for its last symbol. Question and answer both begin at position `offsets[i]`: they are
 * told apart by their symbols.
 */
export function batchOf(pairs: readonly Pair[], name: ModelName, signals: Tensor2D, offsets: readonly number[]): Batch {
  const ids = (rows: number[][]) => tfc.tensor2d(rows, [rows.length, rows[0].length], 'int32');
  const symbols = ids(pairs.map(({ question, answer }) => [...question, ...[START, ...answer.slice(0, -1)].map((symbol) => SYMBOLS + symbol)]));
  const placed = () => tfc.tidy(() => tfc.gather(signals, ids(pairs.map(({ question, answer }, i) => [...question.keys(), ...answer.keys()].map((position) => offsets[i] + position)))));
  const targets = pairs.map(({ question, answer }) => [...question.map(() => IGNORED), ...answer]);
  return { xs: [symbols, ...(name === 'lstm' ? [] : [placed()])], ys: tfc.tidy(() => tfc.expandDims(ids(targets), -1)) };
}

export const disposeBatch = ({ xs, ys }: Batch): void => tfc.dispose([...xs, ys]);
