/**
 * Training of a model whose weights share values, with the sharing kept: the values move, who shares them does not.
 * Han, Mao & Dally, "Deep Compression", ICLR 2016, §3.3 (gradients of equal weights are aggregated).
 */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { checkBoolean, checkChoice, checkKeys, checkNames, checkNumber, integerAtLeast } from '../checks.js';
import { checkSameHost, isBiasSlot, placedLayers, regularizerSlots, variableOf } from '../host.js';
import { shareGradients, type Aggregation } from './shared_gradients.js';

export interface SharedValuesArgs {
  /** Names of the layers; default: every layer whose kernel has at most `maxValues` distinct values. */
  layers?: string[];
  /** Also keep the sharing of biases that have at most `maxValues` values, fewer than entries. Default false. */
  biases?: boolean;
  /** What the gradient of a value is, of those of the weights that share it. Default `average`. */
  aggregation?: Aggregation;
  /**
   * Who shares a value: `fixed`, or `straightThrough`, where a weight that would have moved nearer to another value of its tensor takes that one. The steps
   * of each weight add up from its value at the start (Bengio et al. 2013; a weight of value 0 stays 0 if `preserveSparsity`), and a value moves by the average
   * of the optimizer's steps for its weights, or with `sgd` and `momentum` by their sum. Default `fixed`.
   */
  assignments?: 'fixed' | 'straightThrough';
  /** With `straightThrough`: zeros stay zeros. Default true. */
  preserveSparsity?: boolean;
  /** More distinct values than this do not count as shared. Integer ≥ 1. Default 256. */
  maxValues?: number;
}

const WHO = 'sharedValues';

/** Weights of all tensors together by value: which group each belongs to. Group values are float32. */
export interface ValueGroups {
  values: Float32Array;
  /** One array per tensor. */
  groups: Uint32Array[];
}

/** Groups equal weights; null if there are more than `maxValues` distinct ones. −0 counts as 0. */
export function groupByValue(arrays: readonly ArrayLike<number>[], maxValues: number): ValueGroups | null {
  const index = new Map<number, number>();
  const groups: Uint32Array[] = [];
  for (const array of arrays) {
    const group = new Uint32Array(array.length);
    for (let i = 0; i < array.length; i++) {
      let g = index.get(array[i]);
      if (g === undefined) {
        if (index.size === maxValues) return null;
        index.set(array[i], (g = index.size));
      }
      group[i] = g;
    }
    groups.push(group);
  }
  return { values: Float32Array.from(index.keys()), groups };
}

/** The value of each group after one step: its old value plus the average, or the sum, of its weights' steps; 0 stays 0. */
export function stepValues({ values, groups }: ValueGroups, arrays: readonly ArrayLike<number>[], aggregation: Aggregation): Float32Array {
  const steps = new Float64Array(values.length);
  const counts = new Float64Array(values.length);
  groups.forEach((group, a) => {
    const array = arrays[a];
    for (let i = 0; i < group.length; i++) {
      steps[group[i]] += array[i] - values[group[i]];
      counts[group[i]]++;
    }
  });
  // A value that no weight has any more stays.
  return values.map((value, g) => (value === 0 || counts[g] === 0 ? value : value + (aggregation === 'sum' ? steps[g] : steps[g] / counts[g])));
}

/**
 * Straight-through: each weight has a place that its steps add up to, and the value nearest to it among those of its tensor (`own`, numbers of groups). Moves
 * `places` and `groups` by the steps array − values of one tensor. With `keepZeros` those of value 0 stay.
 */
export function reassign(places: Float32Array, group: Uint32Array, steps: Float32Array, values: Float32Array, own: readonly number[], keepZeros: boolean): void {
  const sorted = own.filter((g, i) => own.indexOf(g) === i).sort((a, b) => values[a] - values[b]);
  const halfway = sorted.slice(1).map((g, i) => (values[g] + values[sorted[i]]) / 2);
  for (let i = 0; i < places.length; i++) {
    if (keepZeros && values[group[i]] === 0) continue;
    places[i] += steps[i];
    let [low, high] = [0, halfway.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places[i] > halfway[middle]) low = middle + 1;
      else high = middle;
    }
    group[i] = sorted[low];
  }
}

/**
 * Keeps equal weights equal through `model.fit`: the optimizer gets the average (or sum) of the gradients of a value's weights for each of them, so that
 * whatever optimizer it is trains the values. Zero stays zero. Compile the model anew before, as below: what an optimizer remembers of the weights differs.
 * Weights that are not shared (biases, by default) train as usual.
 *
 * ```js
 * await model.fit(x, y, {epochs: 60, callbacks: [klMergeQuantization({prior})]});     // quantised now
 * detachRegularizer(model, prior);
 * model.compile({optimizer: tf.train.adam(1e-4), loss: 'categoricalCrossentropy'});
 * await model.fit(x, y, {epochs: 5, callbacks: [sharedValues()]});                    // still quantised
 * ```
 *
 * Costs a copy of the shared weights from and to the backend per batch, which a GPU feels. Works on any model with shared
 * values, a loaded one too; groups span all its layers, so that a codebook stays one codebook.
 */
export class SharedValues extends tfl.Callback {
  readonly #args: SharedValuesArgs;
  readonly #maxValues: number;
  readonly #aggregation: Aggregation;
  readonly #straightThrough: boolean;
  readonly #keepZeros: boolean;
  /** Where each weight would be, for each tensor. */
  #places: Float32Array[] = [];
  #weights: tfl.LayerVariable[] = [];
  /** Numbers of the values that each tensor has at the start. */
  #own: number[][] = [];
  #shared: ValueGroups = { values: new Float32Array(0), groups: [] };
  #endSharing = (): void => {};

  constructor(args: SharedValuesArgs = {}) {
    super();
    checkKeys(WHO, args, ['layers', 'biases', 'aggregation', 'assignments', 'preserveSparsity', 'maxValues']);
    this.#args = args;
    if (args.layers !== undefined) checkNames(WHO, 'layers', args.layers);
    checkBoolean(WHO, 'biases', args.biases ?? false);
    this.#maxValues = checkNumber(WHO, 'maxValues', args.maxValues ?? 256, { expected: 'an integer from 1 to 65535', holds: (x) => integerAtLeast(1).holds(x) && x <= 65535 });
    this.#aggregation = checkChoice(WHO, 'aggregation', args.aggregation ?? 'average', ['average', 'sum']);
    this.#straightThrough = checkChoice(WHO, 'assignments', args.assignments ?? 'fixed', ['fixed', 'straightThrough']) === 'straightThrough';
    this.#keepZeros = checkBoolean(WHO, 'preserveSparsity', args.preserveSparsity ?? true);
    if (args.preserveSparsity !== undefined && !this.#straightThrough) throw new Error(`${WHO}: preserveSparsity belongs to assignments: 'straightThrough'; with fixed assignments zeros stay zeros. Leave it out.`);
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onTrainEnd = this.onTrainEnd.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    const model = this.model as tfl.LayersModel | undefined;
    checkSameHost(WHO, model);
    const { layers, biases = false } = this.#args;
    const { optimizer } = model;
    if (this.#straightThrough && this.#aggregation === 'sum' && !['SGD', 'Momentum'].includes(optimizer.getClassName())) {
      throw new Error(`${WHO}: aggregation: 'sum' with assignments: 'straightThrough' adds up the optimizer's steps, and those of ${optimizer.getClassName()} are as long for one weight as for thousands. Take 'average', or sgd or momentum.`);
    }
    const all = placedLayers(model);
    const unknown = layers?.find((name) => !all.some(({ layer }) => layer.name === name));
    if (unknown !== undefined) throw new Error(`${WHO}: the model has no layer '${unknown}'. Layers: ${all.map(({ layer }) => layer.name).join(', ')}.`);
    const slots = all
      .filter(({ layer }) => layers === undefined || layers.includes(layer.name))
      .flatMap(({ layer, carrier }) => regularizerSlots(layer).map((slot) => ({ ...slot, carrier })))
      .filter(({ slot }) => biases || !isBiasSlot(slot));
    const frozen = slots.filter(({ weight, carrier }) => !carrier.trainableWeights.includes(weight));
    if (layers !== undefined && frozen.length > 0) throw new Error(`${WHO}: layer '${frozen[0].layer.name}' is frozen. Make it trainable, or leave it out of \`layers\`.`);
    const candidates = slots.filter((slot) => !frozen.includes(slot));
    const chosen: { weight: tfl.LayerVariable; values: Float32Array }[] = [];
    for (const { layer, slot, weight } of candidates) {
      const values = (await variableOf(weight).data()) as Float32Array;
      const own = groupByValue([values], Math.min(this.#maxValues, values.length - 1));
      if (own !== null) chosen.push({ weight, values });
      else if (layers !== undefined && !isBiasSlot(slot)) throw new Error(`${WHO}: the weights of layer '${layer.name}' share no values (more than ${this.#maxValues} distinct ones). Quantise the model first.`);
    }
    const shared = chosen.length === 0 ? null : groupByValue(chosen.map(({ values }) => values), this.#maxValues * chosen.length); // prettier-ignore
    if (shared === null) throw new Error(`${WHO}: no weight of the model shares values (at most ${this.#maxValues} distinct ones a layer). Quantise it first, e.g. with klMergeQuantization.`);
    this.#weights = chosen.map(({ weight }) => weight);
    this.#shared = shared;
    this.#places = this.#straightThrough ? chosen.map(({ values }) => values.slice()) : [];
    this.#own = shared.groups.map((group) => [...new Set(group)]);
    if (this.#straightThrough) return;
    const rows = chosen.map(({ weight }, a) => ({ weight, outer: 1, inner: 1, groups: Int32Array.from(shared.groups[a], (g) => (shared.values[g] === 0 ? -1 : g)) }));
    this.#endSharing = shareGradients(model, rows, shared.values.length, this.#aggregation);
  }

  override async onTrainEnd(): Promise<void> {
    this.#endSharing();
  }

  override async onBatchEnd(): Promise<void> {
    const arrays = await Promise.all(this.#weights.map((weight) => variableOf(weight).data() as Promise<Float32Array>));
    const values = stepValues(this.#shared, arrays, this.#straightThrough ? this.#aggregation : 'average');
    const before = this.#shared;
    const broken = values.findIndex((value) => !Number.isFinite(value));
    // Values of before: the shared weights can still be put back.
    const written = broken < 0 ? values : this.#shared.values;
    this.#places.forEach((places, a) => {
      if (broken >= 0) return;
      const group = before.groups[a];
      reassign(places, group, arrays[a].map((w, i) => w - before.values[group[i]]), values, this.#own[a], this.#keepZeros);
    });
    this.#weights.forEach((weight, a) => {
      const group = this.#shared.groups[a];
      const spread = new Float32Array(group.length);
      for (let i = 0; i < spread.length; i++) spread[i] = written[group[i]];
      const tensor = tfc.tensor(spread, variableOf(weight).shape);
      // Not by the host's `write`, which would apply constraints.
      variableOf(weight).assign(tensor as never);
      tensor.dispose();
    });
    if (broken >= 0) {
      this.#endSharing();
      throw new Error(`${WHO}: a shared value (${this.#shared.values[broken]}) became ${values[broken]} in a step. The shared weights were put back. Lower the learning rate or look for NaN in the data.`);
    }
    this.#shared = { ...this.#shared, values };
  }
}

/** A callback that keeps the sharing of a quantised model while it trains on. See {@link SharedValues}. */
export function sharedValues(args: SharedValuesArgs = {}): SharedValues {
  return new SharedValues(args);
}
