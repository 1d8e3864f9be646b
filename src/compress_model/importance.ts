/** Weights of a tensor in classes by what an error of each counts, so that quantisers can be found by runs of sorted weights. Pure. */
import type { WeightClass } from '../clustering/entropy_constrained.js';
import { weightedPoints, type WeightedPoints } from '../clustering/weighted_points.js';

/**
 * Less than this share of the mean is not believed: on the inputs that were measured a weight may have had no say that has one elsewhere.
 */
const LEAST = 1 / 8;
/** Classes an octave. */
const STEPS = 2;

export interface ImportanceClasses {
  classes: WeightClass[];
  /** The class of each weight; null where there is but one. */
  of: Uint8Array | null;
}

/**
 * The root of what errors count: many weights that count little all become the same value, so that their errors are not independent, and with the
 * full weighting some networks came out worse than with none.
 */
export function damped(curvature: Float32Array): Float32Array {
  return curvature.map((h) => Math.sqrt(h));
}

/** Classes half an octave wide, each with the mean of its importances; they are ≥ `LEAST` of the tensor's mean. One class if all of them are 0. */
export function importanceClasses(values: Float32Array, importance: Float32Array): ImportanceClasses {
  const mean = importance.reduce((sum, h) => sum + h, 0) / importance.length;
  if (!(mean > 0)) return oneClass(weightedPoints(values));
  const sizes: number[] = [];
  const sums: number[] = [];
  const levels = Uint8Array.from(importance, (h) => {
    const level = Math.min(255, Math.round(STEPS * Math.log2(Math.max(h / mean, LEAST) / LEAST)));
    sizes[level] = (sizes[level] ?? 0) + 1;
    sums[level] = (sums[level] ?? 0) + Math.max(h, LEAST * mean);
    return level;
  });
  const present = Object.keys(sizes).map(Number);
  const places = new Map(present.map((level, c) => [level, c]));
  const of = levels.map((level) => places.get(level)!);
  const parts = present.map((level) => new Float32Array(sizes[level]));
  const filled = present.map(() => 0);
  for (let i = 0; i < values.length; i++) parts[of[i]][filled[of[i]]++] = values[i];
  return { classes: present.map((level, c) => ({ points: weightedPoints(parts[c]), importance: sums[level] / sizes[level] })), of };
}

/** All weights count the same. */
export const oneClass = (points: WeightedPoints): ImportanceClasses => ({ classes: [{ points, importance: 1 }], of: null });
