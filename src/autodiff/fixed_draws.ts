/**
 * The same random numbers at each evaluation of a function: variational dropout (Gal & Ghahramani, NeurIPS 2016) for layers that draw their
 * masks themselves.
 */

/** mulberry32: uniform numbers in [0, 1) from a seed. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A seed for {@link withFixedDraws}. */
export const freshSeed = (): number => Math.floor(Math.random() * 2 ** 32);

/**
 * Runs `f`, which must be synchronous, with numbers from `Math.random` that depend on `seed` alone. The random operations of tfjs-core (`tf.dropout`,
 * `tf.randomNormal` …), and so the host's dropout and noise layers and any other made of them, take their seeds from there.
 */
export function withFixedDraws<T>(seed: number, f: () => T): T {
  const { random } = Math;
  Math.random = uniform(seed);
  try {
    return f();
  } finally {
    Math.random = random;
  }
}
