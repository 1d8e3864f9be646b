/**
 * An exponential average of a model's weights over training, put in their place at the end.
 * Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30(4), 1992; the average
 * starts from nothing and is corrected for it as in Kingma & Ba, "Adam", ICLR 2015, §3.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { checkChoice, checkKeys, checkNumber, integerAtLeast, OPEN_UNIT } from '../checks.js';
import { checkSameHost, variableOf } from '../host.js';

export interface WeightAverageArgs {
  /** What an update leaves of the average, in (0, 1): it spans about interval / (1 − decay) batches. Default 0.99. */
  decay?: number;
  /** Batches from one update to the next. Integer ≥ 1. Default 1. */
  interval?: number;
  /** What the model holds when training ends: the averages, or what the optimizer left. Default `average`. */
  atEnd?: 'average' | 'keep';
}

const WHO = 'weightAverage';

/**
 * Averages the weights while `model.fit` runs: s ← d·s + (1 − d)·w every `interval` batches, average s / (1 − dⁿ) after n
 * updates. A constant learning rate keeps the weights moving to and fro, and what is quantised at the end is one moment of that;
 * the average stands in the middle, and where it stands hardly depends on when training ends. All weights of the model are
 * averaged, statistics of normalisation layers included.
 *
 * Put it before `klMergeQuantization`, which then quantises the averages:
 *
 * ```js
 * await model.fit(x, y, {epochs: 60, callbacks: [weightAverage({decay: 0.98, interval: 10}), klMergeQuantization({prior})]});
 * ```
 *
 * Costs one copy of the weights in memory, another while exchanged, no readback inside a step. Not for `sharedValues` in the
 * same fit: averages of shared values are shared too, but it is told about values that it has not set.
 */
export class WeightAverage extends tfl.Callback {
  readonly #decay: number;
  readonly #interval: number;
  readonly #atEnd: 'average' | 'keep';
  #weights: tfl.LayerVariable[] = [];
  #sums: Tensor[] = [];
  #batches = 0;
  #updates = 0;
  /** What the optimizer left, while the averages stand in the model. */
  #own: Tensor[] | null = null;

  constructor(args: WeightAverageArgs = {}) {
    super();
    checkKeys(WHO, args, ['decay', 'interval', 'atEnd']);
    this.#decay = checkNumber(WHO, 'decay', args.decay ?? 0.99, OPEN_UNIT);
    this.#interval = checkNumber(WHO, 'interval', args.interval ?? 1, integerAtLeast(1), 'It counts batches.');
    this.#atEnd = checkChoice(WHO, 'atEnd', args.atEnd ?? 'average', ['average', 'keep']);
    // The host unbinds the methods of callbacks that stand beside plain objects.
    this.onTrainBegin = this.onTrainBegin.bind(this);
    this.onBatchEnd = this.onBatchEnd.bind(this);
    this.onTrainEnd = this.onTrainEnd.bind(this);
  }

  override async onTrainBegin(): Promise<void> {
    const model = this.model as tfl.LayersModel | undefined;
    checkSameHost(WHO, model);
    this.dispose();
    this.#weights = model.weights;
    this.#batches = this.#updates = 0;
  }

  override async onBatchEnd(): Promise<void> {
    if (this.#own !== null) throw new Error(`${WHO}: the averages stand in the model, and it is being trained. Call exchange() again before the next batch.`);
    if (++this.#batches % this.#interval !== 0) return;
    const before = this.#sums;
    this.#updates++;
    this.#sums = tfc.tidy(() =>
      this.#weights.map((weight, i) => {
        const share = tfc.mul(variableOf(weight), 1 - this.#decay);
        return tfc.keep(before.length === 0 ? share : tfc.add(tfc.mul(before[i], this.#decay), share));
      }),
    );
    tfc.dispose(before);
  }

  override async onTrainEnd(): Promise<void> {
    if (this.#atEnd === 'average') await this.exchange();
  }

  /**
   * Exchanges the model's weights and their averages: called again (before training goes on) it takes that back.
   * @throws Error if nothing was averaged yet, or an average is not finite; the model keeps its weights then.
   */
  async exchange(): Promise<void> {
    if (this.#own !== null) {
      this.#own.forEach((values, i) => this.#weights[i].write(values));
      tfc.dispose(this.#own);
      this.#own = null;
      return;
    }
    if (this.#updates === 0) throw new Error(`${WHO}: nothing was averaged: ${this.#batches} batches were trained and an update needs ${this.#interval}. Train longer or lower interval.`);
    const averages = tfc.tidy(() => this.#sums.map((sum) => tfc.div<Tensor>(sum, 1 - this.#decay ** this.#updates)));
    for (const [i, average] of averages.entries()) {
      if ((await average.data()).every(Number.isFinite)) continue;
      tfc.dispose(averages);
      throw new Error(`${WHO}: the average of ${this.#weights[i].originalName} is not finite: a step left NaN or infinite weights. The weights were left as they are. Lower the learning rate or look for NaN in the data.`);
    }
    this.#own = this.#weights.map((weight) => tfc.clone(variableOf(weight)));
    averages.forEach((average, i) => this.#weights[i].write(average));
    tfc.dispose(averages);
  }

  /** Frees the averages. The model keeps what it holds. */
  dispose(): void {
    tfc.dispose([...this.#sums, ...(this.#own ?? [])]);
    this.#sums = [];
    this.#own = null;
  }
}

/** A callback that puts the exponential average of a model's weights in their place at the end. See {@link WeightAverage}. */
export function weightAverage(args: WeightAverageArgs = {}): WeightAverage {
  return new WeightAverage(args);
}
