/** Keeps the last finite weights of a model during training, so that they can be put back when some turn out not finite. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { variableOf } from '../host.js';

/**
 * At the end of a batch the weights it was computed with are known to be good, the new ones not yet: two generations are
 * kept. A generation costs memory, no copying (an optimizer's assignment leaves the old values to whoever holds them).
 */
export class WeightGuard {
  readonly #who: string;
  readonly #model: LayersModel;
  #verified: Tensor[];
  #pending: Tensor[];

  constructor(who: string, model: LayersModel) {
    this.#who = who;
    this.#model = model;
    this.#verified = this.#snapshot();
    this.#pending = this.#snapshot();
  }

  /** The weights that the last batch was computed with were finite: they become the ones to go back to. */
  advance(): void {
    tfc.dispose(this.#verified);
    this.#verified = this.#pending;
    this.#pending = this.#snapshot();
  }

  /** Reads every weight of the model. */
  async isFinite(): Promise<boolean> {
    return (await this.#broken(this.#model.weights.map(variableOf))).length === 0;
  }

  /** Puts the last good weights back, frees the copies, and returns the error to throw. */
  async putBack(when: string): Promise<Error> {
    const weights = this.#model.weights;
    const broken = await this.#broken(weights.map(variableOf));
    const stillBroken = await this.#broken(this.#verified);
    weights.forEach((weight, i) => weight.write(this.#verified[i]));
    this.dispose();
    const names = broken.map((i) => weights[i].originalName).join(', ');
    return new Error(
      `${this.#who}: weights are not finite ${when}: ${names || 'seen during the step'}. ` +
        (stillBroken.length === 0 ? 'The last good weights were put back. ' : 'No good weights were left to put back. ') +
        'Lower the learning rate, clip gradients, or look for NaN in the data.',
    );
  }

  dispose(): void {
    tfc.dispose(this.#verified);
    tfc.dispose(this.#pending);
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
