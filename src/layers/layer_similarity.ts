/** Which layers on one bank have become alike. Savarese & Maire, ICLR 2019, §3.3. */
import * as tfl from '@tensorflow/tfjs-layers';
import { allLayers, checkSameHost, variableOf, type Layer, type LayerVariable } from '../host.js';
import { coefficientSimilarity } from './combine_templates.js';

/** The layers on one bank and how alike their coefficients are. */
export interface LayerSimilarity {
  /** Name of the bank; null for layers whose bank is outside of the model. */
  bank: string | null;
  /** Names of the layers, in the model's order. */
  layers: string[];
  /** α, with combination 'softmaxWeights' its softmax, a row for each layer: [layers, coefficients]. */
  coefficients: number[][];
  /** |cos| of the rows: [layers, layers], 1 where one layer's kernel is a multiple of the other's. */
  matrix: number[][];
}

/** A layer whose weights combine what a bank holds. */
export interface CombiningLayer extends Layer {
  readonly bank: Layer | null;
  readonly coefficients: LayerVariable | null;
}

/** What the candidates of a layer are multiplied by: its coefficients, or with 'softmaxWeights' their softmax. */
export async function combinedBy(layer: CombiningLayer): Promise<number[]> {
  const alpha = Array.from(await variableOf(layer.coefficients!).data());
  if (layer.getConfig()['combination'] !== 'softmaxWeights') return alpha;
  const top = Math.max(...alpha);
  const powers = alpha.map((each) => Math.exp(each - top));
  const total = powers.reduce((sum, each) => sum + each, 0);
  return powers.map((each) => each / total);
}

export const isCombining = (layer: Layer): layer is CombiningLayer => 'coefficients' in layer && 'bank' in layer && (layer as CombiningLayer).coefficients !== null;

/**
 * S_ij = |⟨α_i, α_j⟩| / (‖α_i‖ ‖α_j‖) for the coefficients α of the layers on each bank: `templateConv2d`, and banked layers with
 * learned weights. Layers with S ≈ 1 compute with the same kernel, up to a factor: see `foldTemplates`.
 *
 * ```js
 * const [{layers, matrix}] = await layerSimilarity(model);  // similarityHeatMap draws it
 * ```
 *
 * @throws Error if the model has no such layer.
 */
export async function layerSimilarity(model: tfl.LayersModel): Promise<LayerSimilarity[]> {
  checkSameHost('layerSimilarity', model);
  const groups = new Map<string, { bank: string | null; layers: CombiningLayer[] }>();
  for (const layer of allLayers(model).filter(isCombining)) {
    const bank = layer.bank?.name ?? null;
    // Rows of different lengths cannot be compared.
    const key = `${bank ?? ''}\n${variableOf(layer.coefficients!).size}`;
    if (!groups.has(key)) groups.set(key, { bank, layers: [] });
    groups.get(key)!.layers.push(layer);
  }
  if (groups.size === 0) throw new Error('layerSimilarity: the model has no layer that combines what a bank holds. Use templateConv2d, or banked layers with combination: \'learnedWeights\'.');
  return Promise.all([...groups.values()].map(async ({ bank, layers }) => {
    const coefficients = await Promise.all(layers.map(combinedBy));
    return { bank, layers: layers.map(({ name }) => name), coefficients, matrix: coefficientSimilarity(coefficients) };
  }));
}
