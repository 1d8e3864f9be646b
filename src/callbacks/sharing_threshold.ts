/** A threshold for sharing that follows the validation loss. */

export interface AdaptiveThreshold {
  /** Least similarity of what is shared. */
  threshold: number;
  /** How far it moves. */
  step: number;
  /** The smallest validation loss so far. */
  best: number;
}

/** Nearly equal maps only, at first. */
export const startOfThreshold = (): AdaptiveThreshold => ({ threshold: 0.95, step: 0.05, best: Infinity });

/** No block is less alike than that, and none is more alike than 1. */
export const LEAST_SIMILARITY = 1 - Math.LN2;

/** Lower, so that more is shared, while `loss` stays within `tolerance` (a share) of the best; else higher, and slower from then on. */
export function adapted({ threshold, step, best }: AdaptiveThreshold, loss: number, tolerance: number): AdaptiveThreshold {
  const within = loss <= best * (1 + tolerance);
  const moved = within ? threshold - step : threshold + step;
  return { threshold: Math.min(1, Math.max(LEAST_SIMILARITY, moved)), step: within ? step : step / 2, best: Number.isNaN(loss) ? best : Math.min(best, loss) };
}

/** Whether it moves no more to speak of. */
export const isAtRest = ({ threshold, step }: AdaptiveThreshold): boolean => step < 0.004 || threshold === LEAST_SIMILARITY;
