/** A Transformer layer as a cell for `deqLayer`. */
import { initializers, input, layers, model, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { checkBoolean, checkKeys, checkNumber, integerAtLeast } from '../checks.js';
import type { Layer } from '../host.js';
import { hostSeed } from '../uniform_numbers.js';
import { SHARE } from './attention_inputs.js';
import { multiHeadAttention } from './multi_head_attention.js';
import { quickLayerNormalization } from './quick_layer_normalization.js';

export interface TransformerCellArgs {
  /** Width of the state. Integer ≥ 1. Required. */
  units: number;
  /** Number of heads, which must divide `units`. Integer ≥ 1. Required. */
  numHeads: number;
  /** Width of the input. Integer ≥ 1. Default `units`. */
  inputDim?: number;
  /** Width between the two dense maps. Integer ≥ 1. Default 4 · units. */
  innerUnits?: number;
  /** Whether a position looks at no later one. Default true. */
  causal?: boolean;
  /** Share left out in training, drawn at each call of the layer and the same at each of its iterations, of attention weights and of what both parts add, in [0, 1). Default 0. */
  dropout?: number;
  /** Makes initial weights repeatable; what is left out is drawn afresh nevertheless. Integer ≥ 0. Default: none. */
  seed?: number;
}

/**
 * A cell for sequences: the weight-tied layer of the Transformer of Bai, Kolter & Koltun, Deep Equilibrium Models, NeurIPS 2019 (arXiv 1909.01377, §4.1 and
 * appendix), with the input injected where queries, keys and values are made:
 *
 * h = LN(z + attention(z + x·U)), z' = LN(h + W₂·relu(W₁·h)).
 *
 * States and inputs `[batch, time, width]`, any length. Positions are not told apart: add `positionEmbedding` to the input.
 *
 * ```js
 * const z = deqLayer({cell: transformerCell({units: 128, numHeads: 4}), solver: anderson()}).apply(positionEmbedding().apply(embedded));
 * ```
 *
 * Deviations from the paper: no relative positions and no memory of earlier segments; what is injected into queries, keys and values goes through one matrix U and
 * then theirs, not through one of its own for each.
 */
export function transformerCell(args: TransformerCellArgs): LayersModel {
  const who = 'transformerCell';
  checkKeys(who, args, ['units', 'numHeads', 'inputDim', 'innerUnits', 'causal', 'dropout', 'seed']);
  const units = checkNumber(who, 'units', args.units, integerAtLeast(1));
  const numHeads = checkNumber(who, 'numHeads', args.numHeads, integerAtLeast(1));
  const inputDim = checkNumber(who, 'inputDim', args.inputDim ?? units, integerAtLeast(1));
  const innerUnits = checkNumber(who, 'innerUnits', args.innerUnits ?? 4 * units, integerAtLeast(1));
  const causal = checkBoolean(who, 'causal', args.causal ?? true);
  const dropout = checkNumber(who, 'dropout', args.dropout ?? 0, SHARE);
  const [z, x] = [input({ shape: [null, units] }), input({ shape: [null, inputDim] })];
  const through = (to: SymbolicTensor, ...path: Layer[]): SymbolicTensor => path.reduce((at, layer) => layer.apply(at) as SymbolicTensor, to);
  const sum = (a: SymbolicTensor, b: SymbolicTensor) => layers.add().apply([a, b]) as SymbolicTensor;
  const seed = args.seed === undefined ? null : checkNumber(who, 'seed', args.seed, integerAtLeast(0));
  let draws = 0;
  // Attention draws four times.
  const seeded = (count = 1) => (seed === null ? {} : { seed: hostSeed(1000 * seed + (draws += count) - count) });
  const glorot = () => initializers.glorotNormal(seeded());
  // Without a seed: the host's layer would draw the same from it at each call, and prune the network instead.
  const dropped = () => (dropout > 0 ? [layers.dropout({ rate: dropout })] : []);
  const injected = sum(z, through(x, layers.dense({ units, useBias: false, kernelInitializer: glorot() })));
  const attended = through(injected, multiHeadAttention({ numHeads, causal, dropout, kernelInitializer: initializers.glorotUniform(seeded(4)) }), ...dropped());
  const h = through(sum(z, attended), quickLayerNormalization());
  const changed = through(h, layers.dense({ units: innerUnits, activation: 'relu', kernelInitializer: glorot() }), layers.dense({ units, kernelInitializer: glorot() }), ...dropped());
  return model({ inputs: [z, x], outputs: through(sum(h, changed), quickLayerNormalization()) });
}
