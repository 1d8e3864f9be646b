/** Keeps the last finite weights of a model during training, so that they can be put back when some turn out not finite. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { variableOf } from '../host.js';

/**
 * At the end of a batch the weights it was computed with are known to be good, the new ones not yet: two generations are
 * kept. Known so far as a prior has seen them: for the others a third is kept, which was read as a whole (an epoch ago at
 * most). A generation costs memory, no copying (an optimizer's assignment leaves the old values to whoever holds them).
 */
export class WeightGuard {
  readonly #who: string;
  readonly #model: LayersModel;
  #read: Tensor[];
  #verified: Tensor[];
  #pending: Tensor[];

  constructor(who: string, model: LayersModel) {
    this.#who = who;
    this.#model = model;
    this.#read = this.#snapshot();
    this.#verified = this.#snapshot();
    this.#pending = this.#snapshot();
  }

  /** The weights that the last batch was computed with were finite: they become the ones to go back to. */
  advance(): void {
    tfc.dispose(this.#verified);
    this.#verified = this.#pending;
    this.#pending = this.#snapshot();
  }

  /** Reads every weight of the model; if all are finite, they are the ones to go back to at the worst. */
  async isFinite(): Promise<boolean> {
    if ((await this.#broken(this.#model.weights.map(variableOf))).length > 0) return false;
    tfc.dispose(this.#read);
    this.#read = this.#snapshot();
    return true;
  }

  /** Puts the last good weights back, frees the copies, and returns the error to throw. */
  async putBack(when: string): Promise<Error> {
    const weights = this.#model.weights;
    const broken = await this.#broken(weights.map(variableOf));
    let good: Tensor[] | null = null;
    for (const generation of [this.#verified, this.#read]) {
      if (good === null && (await this.#broken(generation)).length === 0) good = generation;
    }
    good?.forEach((values, i) => variableOf(weights[i]).assign(values));
    this.dispose();
    const names = broken.map((i) => weights[i].originalName).join(', ');
    return new Error(
      `${this.#who}: weights are not finite ${when}: ${names || 'seen during the step'}. ` +
        (good ? 'The last good weights were put back. ' : 'They were not finite before training either. ') +
        'Lower the learning rate, clip gradients, or look for NaN in the data. Before training on, compile the model with a new optimizer: this one may hold NaN too.',
    );
  }

  dispose(): void {
    tfc.dispose([...this.#read, ...this.#verified, ...this.#pending]);
    this.#read = [];
    this.#verified = [];
    this.#pending = [];
  }

  #snapshot(): Tensor[] {
    return this.#model.weights.map((weight) => tfc.keep(tfc.clone(variableOf(weight))));
  }

  async #broken(tensors: Tensor[]): Promise<number[]> {
    const broken: number[] = [];
    for (const [i, tensor] of tensors.entries()) {
      const values = tensor.dtype === 'float32' ? await tensor.data() : [];
      for (let k = 0; k < values.length; k++) {
        if (!Number.isFinite(values[k])) {
          broken.push(i);
          break;
        }
      }
    }
    return broken;
  }
}
