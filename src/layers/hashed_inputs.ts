/** What a hashed layer is applied to: an input, or [input, bank]. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Shape } from '@tensorflow/tfjs-layers';

export const shapeText = (shape: Shape): string => `[${shape.map((length) => length ?? 'null').join(', ')}]`;

/** The shape of the input, and the length of the bank where there is one. */
export function splitShapes(who: string, name: string, inputShape: Shape | Shape[]): [input: Shape, bank?: number] {
  if (!Array.isArray(inputShape[0])) return [inputShape as Shape];
  const [input, bank, ...more] = inputShape as Shape[];
  if (bank === undefined) return [input];
  if (more.length > 0 || bank.length !== 1 || bank[0] == null) {
    throw new Error(`${who}: layer '${name}' takes one input, or [input, bank] with a bank from hashedBank, got inputs of shapes ${(inputShape as Shape[]).map(shapeText).join(' and ')}.`);
  }
  return [input, bank[0]];
}

/** The numbers of `input` as float32. `who` names the layer. @throws Error for strings and complex numbers. */
export function asFloats<T extends Tensor>(who: string, input: T): T {
  if (input.dtype === 'float32') return input;
  if (input.dtype === 'int32' || input.dtype === 'bool') return tfc.cast(input, 'float32');
  throw new Error(`${who} expects an input of numbers (float32, int32 or bool), got ${input.dtype}. Turn tokens into numbers first, e.g. by featureHashing or an embedding.`);
}
