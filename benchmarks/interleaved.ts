/**
 * Timing of several variants against each other in one process: they take turns, so that a slow spell of the machine hits all of them, and
 * what is reported is the median of the ratios of neighbouring runs.
 */

/** One thing to time. It must consume its result (read it back), or a lazy backend has done nothing yet; it disposes of what it made. */
export type Variant = () => void | Promise<void>;

export interface InterleavedArgs<Name extends string = string> {
  /** Rounds that are measured; each runs every variant once, in an order that rotates. Default 15. */
  rounds?: number;
  /** Rounds before the first that counts: compilation, allocation, caches. Default 3. */
  warmup?: number;
  /** Runs of a variant within a round, whose mean is taken: for very short ones, and to spread a cost that falls now and then. Default 1 for each. */
  repeats?: number | Partial<Record<Name, number>>;
  /** Called before each run, outside its time: what changes from step to step. */
  between?: () => void;
}

export interface InterleavedResult<Name extends string> {
  /** Median milliseconds of one run. */
  milliseconds: Record<Name, number>;
  /** a's time over b's, round by round. */
  ratios(a: Name, b: Name): number[];
  /** Median over the rounds of a's time over b's. */
  ratio(a: Name, b: Name): number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Times `variants` in turns. */
export async function interleaved<Name extends string>(
  variants: Record<Name, Variant>,
  { rounds = 15, warmup = 3, repeats = 1, between }: InterleavedArgs<Name> = {},
): Promise<InterleavedResult<Name>> {
  const names = Object.keys(variants) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = -warmup; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(i + round + warmup) % names.length];
      const runs = typeof repeats === 'number' ? repeats : (repeats[name] ?? 1);
      let elapsed = 0;
      for (let run = 0; run < runs; run++) {
        between?.();
        const start = performance.now();
        const pending = variants[name]();
        if (pending !== undefined) await pending;
        elapsed += performance.now() - start;
      }
      if (round >= 0) times[name].push(elapsed / runs);
    }
  }
  const ratios = (a: Name, b: Name) => times[a].map((time, round) => time / times[b][round]);
  return {
    milliseconds: Object.fromEntries(names.map((name) => [name, median(times[name])])) as Record<Name, number>,
    ratios,
    ratio: (a, b) => median(ratios(a, b)),
  };
}

/** Rounds to `digits` significant digits, for tables and JSON. */
export const significant = (x: number, digits = 3): number => Number(x.toPrecision(digits));
