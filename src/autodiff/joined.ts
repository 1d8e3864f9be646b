/** Several tensors as one, for `customGrad`, which has one value. */
import * as tfc from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** The parts one after the other, flat; a single one as it is. */
export const joined = (parts: readonly Tensor[]): Tensor =>
  parts.length === 1 ? parts[0] : tfc.concat(parts.map((part) => tfc.reshape(part, [-1]))); // prettier-ignore

/** What {@link joined} put together, in the shapes of `like`. */
export function parted(whole: Tensor, like: readonly Tensor[]): Tensor[] {
  if (like.length === 1) return [whole];
  const sizes = like.map(({ size }) => size);
  const flat = tfc.split(whole, sizes);
  const parts = flat.map((part, i) => tfc.reshape(part, like[i].shape));
  tfc.dispose(flat);
  return parts;
}
