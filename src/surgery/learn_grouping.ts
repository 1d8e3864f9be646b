/**
 * Which layers should share a bank: those that, trained for a short while with one bank, came to use it alike. Plummer, Dryden, Frost, Hoefler &
 * Saenko, "Neural Parameter Allocation Search", ICLR 2022, §3.2.
 */
import type * as tfl from '@tensorflow/tfjs-layers';
import { checkKeys, checkNumber, describe, integerAtLeast } from '../checks.js';
import { kMeans } from '../clustering/k_means.js';
import { allLayers, checkSameHost, type Layer } from '../host.js';
import { combinedBy } from '../layers/layer_similarity.js';
import type { BankedLayer } from '../layers/banked_layer.js';
import type { Combination } from '../layers/banked_options.js';
import type { ParameterBank } from '../layers/parameter_bank.js';

export interface LearnGroupingArgs {
  /** How many groups. Integer ≥ 1, at most the number of layers. Required. */
  groups: number;
  /** Of the starts of k-means. Default 0. */
  seed?: number;
}

/** What {@link learnGrouping} found. */
export interface Grouping {
  /** Names of the layers of each group, in the model's order: what `splitBank` takes. */
  groups: string[][];
  /** Names of all of them. */
  layers: string[];
  /** What each combines its candidates with, softmax(α) or α: [layers][candidates]. */
  coefficients: number[][];
  /** Σ of squared distances of the coefficients to the mean of their group. */
  inertia: number;
}

const BANKED = ['BankedConv2D', 'BankedDense', 'BankedEmbedding'];
// By name of the class: another copy of this package in the same page has another class.
export const isBanked = (layer: Layer): layer is BankedLayer => BANKED.includes(layer.getClassName());

/** The banked layers of a model and their one bank. @throws Error if there are none, or several banks. */
export function onOneBank(who: string, model: tfl.LayersModel): { bank: ParameterBank; layers: BankedLayer[] } {
  checkSameHost(who, model);
  const layers = allLayers(model).filter(isBanked);
  if (layers.length === 0) throw new Error(`${who}: the model has no layer on a parameterBank. Use bankedDense, bankedConv2d or bankedEmbedding.`);
  const banks = [...new Set(layers.map(({ bank }) => bank))];
  const [bank] = banks;
  if (banks.length > 1 || bank === null) {
    throw new Error(`${who}: all banked layers must draw from one bank in the model, got ${banks.map((each) => (each === null ? 'one from outside' : `'${each.name}'`)).join(', ')}.`);
  }
  return { bank, layers };
}

/**
 * Groups the layers on a bank by k-means on the coefficients with which they combine its candidates: layers that use the bank alike go together.
 *
 * The bank's windows lie at the same places for layers of all sizes, so that their coefficients can be compared. Train a model whose layers have
 * `combination: 'softmaxWeights'` and about four candidates on one bank for a short while, group, and train what {@link splitBank} makes of it:
 *
 * ```js
 * await probe.fit(x, y, {epochs: 3});                       // bankedConv2d({combination: 'softmaxWeights', candidates: 4, …}) …
 * const {groups} = await learnGrouping(probe, {groups: 3});  // [['conv1', 'conv4'], ['conv2', 'conv3'], ['dense1']]
 * const {model} = await splitBank(probe, {groups, combination: 'learnedWeights', candidates: 2});
 * model.compile({…});                                        // one bank a group, untrained
 * ```
 *
 * Costs nothing beside the training; k-means is the best of twenty starts, and the same for the same seed.
 *
 * Deviation: the paper and its code leave open on what exactly k-means runs; here it is what the candidates are multiplied by, softmax(α).
 *
 * @throws Error if the layers draw from several banks, have no coefficients (`average`, `layerEmbedding`) or different numbers of candidates, or
 * fewer coefficients differ than there should be groups, as before training, when all weigh candidates alike.
 */
export async function learnGrouping(model: tfl.LayersModel, args: LearnGroupingArgs): Promise<Grouping> {
  const who = 'learnGrouping';
  const { layers } = onOneBank(who, model);
  if (typeof args !== 'object' || args === null) throw new Error(`${who}: expected options with groups, got ${describe(args)}.`);
  checkKeys(who, args, ['groups', 'seed']);
  const range = { expected: `an integer from 1 to the number of layers, ${layers.length}`, holds: (x: number) => Number.isInteger(x) && x >= 1 && x <= layers.length };
  const groups = checkNumber(who, 'groups', args.groups, range);
  const seed = checkNumber(who, 'seed', args.seed ?? 0, integerAtLeast(0));
  const coefficients = await Promise.all(layers.map((layer) => coefficientsOf(who, layer)));
  const odd = coefficients.findIndex(({ length }) => length !== coefficients[0].length);
  if (odd >= 0) {
    throw new Error(`${who}: all layers must combine as many candidates, got ${coefficients[0].length} in '${layers[0].name}' and ${coefficients[odd].length} in '${layers[odd].name}'.`);
  }
  const distinct = new Set(coefficients.map((row) => row.join())).size;
  if (distinct < groups) {
    throw new Error(`${who}: the coefficients of ${layers.length} layers are ${distinct} different rows, too few for ${groups} groups. Train the model for a while first, or ask for fewer groups.`);
  }
  const { labels, inertia } = kMeans(coefficients, groups, seed);
  const names = layers.map(({ name }) => name);
  return { groups: Array.from({ length: groups }, (_, g) => names.filter((_, l) => labels[l] === g)), layers: names, coefficients, inertia };
}

export const combinationOf = (layer: BankedLayer): Combination => layer.getConfig()['combination'] as Combination;

async function coefficientsOf(who: string, layer: BankedLayer): Promise<number[]> {
  if (layer.coefficients === null) {
    throw new Error(`${who}: layer '${layer.name}' has no coefficients with combination '${combinationOf(layer)}'. Group layers with combination: 'softmaxWeights'.`);
  }
  return combinedBy(layer);
}
