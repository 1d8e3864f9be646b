/**
 * The same random numbers at each evaluation of a function: variational dropout (Gal & Ghahramani, NeurIPS 2016) for layers that draw their
 * masks themselves.
 */
import { uniformNumbers } from '../uniform_numbers.js';

/** A seed for {@link withFixedDraws}. */
export const freshSeed = (): number => Math.floor(Math.random() * 2 ** 32);

/**
 * Runs `f`, which must be synchronous, with numbers from `Math.random` that depend on `seed` alone. The random operations of tfjs-core (`tf.dropout`,
 * `tf.randomNormal` …), and so the host's dropout and noise layers and any other made of them, take their seeds from there.
 */
export function withFixedDraws<T>(seed: number, f: () => T): T {
  const { random } = Math;
  Math.random = uniformNumbers(seed);
  try {
    return f();
  } finally {
    Math.random = random;
  }
}
