/** What comes out of a bank: its tensors, or, for a Sequential, what went in. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { LayerVariable, Shape } from '@tensorflow/tfjs-layers';
import { activeScope, activeTape } from '../autodiff/tape.js';
import { bankTensor } from './bank_weight.js';

const unwrapped = <T>(values: T[]): T | T[] => (values.length === 1 ? values[0] : values);

/** Copies of the handles: the host disposes of what passes along the graph. */
export function bankOutput(passInput: boolean, inputs: Tensor | Tensor[], weights: LayerVariable[]): Tensor | Tensor[] {
  if (passInput) return tfc.clone([inputs].flat()[0]);
  return unwrapped(weights.map(bankTensor));
}

export function bankOutputShape(passInput: boolean, inputShape: Shape | Shape[], shapes: number[][]): Shape | Shape[] {
  if (passInput) return (Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as Shape;
  return unwrapped(shapes);
}

export function bankMask(passInput: boolean, mask: Tensor | Tensor[] | undefined, outputs: number): Tensor | Tensor[] {
  if (passInput) return ([mask].flat()[0] ?? null) as Tensor;
  // The host's types know no "none".
  return unwrapped(Array.from({ length: outputs }, () => null as unknown as Tensor));
}

/** The losses of a layer that is called several times, once per evaluation of the model: the host asks once for every call. */
export class CountedOnce {
  readonly #evaluations = new WeakSet<object>();

  /** Whether this evaluation is met for the first time. */
  first(): boolean {
    const evaluation = activeTape() ?? activeScope() ?? {};
    if (this.#evaluations.has(evaluation)) return false;
    this.#evaluations.add(evaluation);
    return true;
  }
}
