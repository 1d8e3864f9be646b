/**
 * The host runs a layer with several outputs once for each of them, with the same inputs, and uses one of the results: eleven times the work for a
 * layer that gives ten states beside its main output, and running statistics that move eleven times.
 */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { activeScope, activeTape } from '../autodiff/tape.js';
import { variableOf, type LayerVariable } from '../host.js';

interface Call {
  /** The `tf.tidy` around, in which results are freed; never the same again. */
  scope: object;
  tape: object | null;
  training: boolean;
  /** Ids of the inputs, and identities of the weights' values. */
  inputs: readonly number[];
  weights: readonly object[];
  results: Tensor[];
  /** How often more the host may come. */
  left: number;
}

/** Computes what a layer with several outputs answers once per execution of its model. */
export class RepeatedCalls {
  #last: Call | null = null;

  /**
   * `compute()`, or copies of what it was for the same inputs and trainable weights in the same `tf.tidy` and gradient evaluation, as often as there
   * are outputs. Outside of a `tf.tidy`, always computed.
   */
  answer(inputs: readonly Tensor[], weights: readonly LayerVariable[], training: boolean, compute: () => Tensor[]): Tensor[] {
    const scope = activeScope();
    const [ids, values, tape] = [inputs.map(({ id }) => id), weights.map((weight) => variableOf(weight).dataId), activeTape()];
    const last = this.#last;
    const same = (a: readonly unknown[], b: readonly unknown[]) => a.length === b.length && a.every((each, i) => each === b[i]);
    if (last !== null && last.left > 0 && last.scope === scope && last.tape === tape && last.training === training && same(last.inputs, ids) && same(last.weights, values)) {
      last.left--;
      return last.results.map((result) => tfc.clone(result));
    }
    const results = compute();
    // Copies, in the scope around: the host frees what it was given as soon as that is used up.
    this.#last = scope === null ? null : { scope, tape, training, inputs: ids, weights: values, results: results.map((result) => tfc.clone(result)), left: results.length - 1 };
    return results;
  }
}
