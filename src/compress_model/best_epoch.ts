/** Keeps the weights of the epoch that is best on held-out data, the state before the first included, and ends training that no longer improves. */
import * as tfc from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { variableOf } from '../host.js';

/** Larger is better for these of the host's metrics, after an output's name where there are several; for losses, errors and its (negative) cosine it is not. */
const RISES = /(^|_)(acc|\w*accuracy|precision|recall|r2Score)$/i;

/** How `monitor` has become worse than it should by compression: a twentieth of all samples wrong, or twice the loss. Null: it has not. */
export function fall(monitor: string, before: number, after: number): string | null {
  const fallen = RISES.test(monitor) ? before - after > 0.05 : after > 2 * before && before > 0;
  return fallen ? `${monitor} on held-out data went from ${Number(before.toPrecision(3))} to ${Number(after.toPrecision(3))}` : null;
}

export class BestEpoch extends tfl.Callback {
  readonly #model: tfl.LayersModel;
  readonly #rises: boolean;
  readonly #evaluate: () => Promise<number>;
  readonly #patience: number;
  #weights: tfc.Tensor[];
  #since = 0;
  best: number;
  epochs = 0;

  /**
   * `evaluate` gives the monitored value of the weights as they are; `start` is its value now. The host's own `val_…` is no use here: it is taken
   * before the callbacks of the epoch's last batch, so of weights that share no values.
   */
  constructor(model: tfl.LayersModel, monitor: string, patience: number, start: number, evaluate: () => Promise<number>) {
    super();
    [this.#model, this.#patience, this.best, this.#evaluate] = [model, patience, start, evaluate];
    this.#rises = RISES.test(monitor);
    this.#weights = this.#copy();
    this.onEpochEnd = this.onEpochEnd.bind(this);
  }

  #copy = (): tfc.Tensor[] => this.#model.weights.map((weight) => tfc.clone(variableOf(weight)));

  override async onEpochEnd(): Promise<void> {
    this.epochs++;
    const value = await this.#evaluate();
    if (this.#rises ? value > this.best : value < this.best) {
      this.best = value;
      this.#since = 0;
      tfc.dispose(this.#weights);
      this.#weights = this.#copy();
    } else if (++this.#since >= this.#patience) this.#model.stopTraining = true;
  }

  /** Puts the best weights back; to be called once, after training. */
  restore(): void {
    this.#model.weights.forEach((weight, i) => variableOf(weight).assign(this.#weights[i] as never));
    tfc.dispose(this.#weights);
  }
}
