/** Seeded random numbers for the examples: the 32-bit generator mulberry32 (Tommy Ettinger, public domain). */

export interface Random {
  /** Uniform in [0, 1). */
  uniform(): number;
  /** Uniform in [low, high). */
  between(low: number, high: number): number;
  /** Standard normal (Box–Muller). */
  normal(): number;
  /** An integer in [0, n). */
  integer(n: number): number;
}

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    uniform,
    between: (low, high) => low + (high - low) * uniform(),
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    integer: (n) => Math.floor(n * uniform()),
  };
}

/** The numbers 0 … n − 1 in a random order (Fisher–Yates). */
export function shuffledIndices(n: number, random: Random): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = random.integer(i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** `f` while `Math.random`, which initializers without a seed draw from, is that of `seed`. */
export function withSeededMath<T>(seed: number, f: () => T): T {
  const { random } = Math;
  const seeded = seededRandom(seed);
  Math.random = seeded.uniform;
  try {
    return f();
  } finally {
    Math.random = random;
  }
}
