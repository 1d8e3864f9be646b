/**
 * The shift detector of Nowlan & Hinton (1992), §5: ten random bits, and the same ten shifted by one place to the left or to the right,
 * round the ends. Which way? A network that is to find out from a hundred cases has to use the same weights at every place.
 */
import * as tfc from '@tensorflow/tfjs-core';
import { seededRandom } from '../common/random.js';

export const PLACES = 10;

export interface Cases {
  /** [cases, 20]: the bits as ±1. */
  xs: tfc.Tensor2D;
  /** [cases, 1]: +1 to the right, −1 to the left. */
  ys: tfc.Tensor2D;
}

export interface ShiftTask {
  train: Cases;
  validation: Cases;
  test: Cases;
}

/** No case occurs twice; those that a shift either way leaves the same are left out. */
export function shiftTask(seed: number, counts: Record<keyof ShiftTask, number>): ShiftTask {
  const random = seededRandom(seed);
  const seen = new Set<number>();
  const total = counts.train + counts.validation + counts.test;
  // 2^10 patterns, four of which tell nothing, each with two directions.
  const possible = 2 * (2 ** PLACES - 4);
  if (total > possible) throw new Error(`shiftTask: ${total} cases were asked for, and there are only ${possible} different ones.`);
  const draw = (count: number): Cases => {
    const xs: number[][] = [];
    const ys: number[][] = [];
    while (xs.length < count) {
      const pattern = random.integer(2 ** PLACES);
      const direction = random.integer(2);
      const bits = Array.from({ length: PLACES }, (_, i) => (((pattern >> i) & 1) === 1 ? 1 : -1));
      if (seen.has(2 * pattern + direction) || bits.every((bit, i) => bit === bits[(i + 2) % PLACES])) continue;
      seen.add(2 * pattern + direction);
      xs.push([...bits, ...bits.map((_, i) => bits[(i + (direction === 1 ? PLACES - 1 : 1)) % PLACES])]);
      ys.push([direction === 1 ? 1 : -1]);
    }
    return { xs: tfc.tensor2d(xs), ys: tfc.tensor2d(ys) };
  };
  return { train: draw(counts.train), validation: draw(counts.validation), test: draw(counts.test) };
}
