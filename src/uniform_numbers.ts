/** mulberry32: numbers in [0, 1), the same for the same seed. Pure. */
export function uniformNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A seed as the host's initializers and random tensors take it: 0 is none to them. */
export const hostSeed = (seed: number): number => (seed === 0 ? 2 ** 30 : seed);
