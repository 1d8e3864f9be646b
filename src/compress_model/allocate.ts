/**
 * Bytes shared out among tensors: the candidates with the least Σ sensitivity · weighted error within a budget of bytes, by one price of a byte for all
 * (Lagrange; Shoham & Gersho 1988, "Efficient bit allocation for an arbitrary set of quantizers"). Pure.
 */

/** What a choice goes by. */
export interface Priced {
  bytes: number;
  /** Σ h (w − q)². */
  weighted: number;
}

/** Number of the candidate with the least sensitivity · weighted error + price · bytes. */
export function bestAt(candidates: readonly Priced[], sensitivity: number, price: number): number {
  let best = 0;
  let least = Infinity;
  candidates.forEach(({ bytes, weighted }, c) => {
    const cost = sensitivity * weighted + price * bytes;
    if (cost < least || (cost === least && bytes < candidates[best].bytes)) {
      best = c;
      least = cost;
    }
  });
  return best;
}

/**
 * Which candidate each tensor gets, for the lowest price at which they fit into `budget` bytes; null where even the smallest do not. A price chooses only
 * what lies on the convex hull of a tensor's candidates; what is then left of the budget goes to those between.
 */
export function allocate(tensors: readonly { candidates: readonly Priced[]; sensitivity: number }[], budget: number): number[] | null {
  const at = (price: number): number[] => tensors.map(({ candidates, sensitivity }) => bestAt(candidates, sensitivity, price));
  const bytes = (choice: readonly number[]): number => choice.reduce((sum, c, t) => sum + tensors[t].candidates[c].bytes, 0);
  const free = at(0);
  if (bytes(free) <= budget) return free;
  const smallest = tensors.map(({ candidates }) => candidates.reduce((best, { bytes }, c) => (bytes < candidates[best].bytes ? c : best), 0));
  if (bytes(smallest) > budget) return null;
  // Prices between which the budget is met, by their logarithms: first outwards, then by halves.
  let [low, high] = [-80, 80];
  let found = smallest;
  for (let step = 0; step < 80; step++) {
    const middle = (low + high) / 2;
    const choice = at(2 ** middle);
    if (bytes(choice) <= budget) {
      found = choice;
      high = middle;
    } else low = middle;
  }
  return filled(tensors, found, budget - bytes(found));
}

/** As long as any fits into the bytes that are left: the candidate that takes most off the error. */
function filled(tensors: readonly { candidates: readonly Priced[]; sensitivity: number }[], choice: readonly number[], left: number): number[] {
  const filling = [...choice];
  for (;;) {
    let most = 0;
    let best: { t: number; c: number; bytes: number } | null = null;
    tensors.forEach(({ candidates, sensitivity }, t) => {
      const now = candidates[filling[t]];
      candidates.forEach((candidate, c) => {
        const gain = sensitivity * (now.weighted - candidate.weighted);
        const bytes = candidate.bytes - now.bytes;
        if (gain <= most || bytes > left) return;
        most = gain;
        best = { t, c, bytes };
      });
    });
    if (best === null) return filling;
    const { t, c, bytes } = best as { t: number; c: number; bytes: number };
    filling[t] = c;
    left -= bytes;
  }
}
