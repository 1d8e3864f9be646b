/** Rows of a kernel that share one value: who is with whom, and how that value moves. Pure. */
import { describe } from '../checks.js';
import type { Aggregation } from './shared_gradients.js';

/** Clusters of the rows of a matrix `[rows, width]`. */
export interface RowClusters {
  /** Cluster of each row; −1 for rows of zeros, which stay zero. */
  labels: Int32Array;
  /** The shared rows, `[clusters, width]`. */
  values: Float32Array;
  clusters: number;
}

/** Numbers of the rows that are not zero throughout. */
export function liveRows(matrix: Float32Array, rows: number): number[] {
  const width = matrix.length / rows;
  return Array.from({ length: rows }, (_, r) => r).filter((r) => matrix.subarray(r * width, (r + 1) * width).some((w) => w !== 0));
}

/** Labels of the rows that are equal in every entry, numbered as they first appear; −1 for rows of zeros. */
export function equalRows(matrix: Float32Array, rows: number): Int32Array {
  const width = matrix.length / rows;
  const seen = new Map<string, number>();
  const labels = new Int32Array(rows).fill(-1);
  for (const r of liveRows(matrix, rows)) {
    // −0 counts as 0.
    const key = Array.from(matrix.subarray(r * width, (r + 1) * width), (w) => w + 0).join();
    if (!seen.has(key)) seen.set(key, seen.size);
    labels[r] = seen.get(key)!;
  }
  return labels;
}

/**
 * Clusters from `live`, the rows that take part, and the label of each; labels may be any integers.
 * @throws Error if there is not one integer per live row. `who` made them.
 */
export function clustersOf(who: string, matrix: Float32Array, rows: number, live: readonly number[], given: ArrayLike<number>): RowClusters {
  if (given?.length !== live.length) throw new Error(`${who} must return one label for each of ${live.length} rows, got ${given?.length ?? describe(given)}.`);
  const names = new Map<number, number>();
  const labels = new Int32Array(rows).fill(-1);
  live.forEach((row, i) => {
    if (!Number.isInteger(given[i])) throw new Error(`${who} must return integers, got ${describe(given[i])} for row ${row}.`);
    if (!names.has(given[i])) names.set(given[i], names.size);
    labels[row] = names.get(given[i])!;
  });
  const start = { labels, clusters: names.size, values: new Float32Array((names.size * matrix.length) / rows) };
  // A step from zero, averaged, is the mean.
  return { ...start, values: stepRows(start, matrix, 'average') };
}

/** The shared rows after one step: the old ones plus the average, or the sum, of the steps of their rows in `matrix`. */
export function stepRows({ labels, values, clusters }: RowClusters, matrix: Float32Array, aggregation: Aggregation): Float32Array {
  const width = clusters === 0 ? 0 : values.length / clusters;
  const steps = new Float64Array(values.length);
  const counts = new Float64Array(clusters);
  labels.forEach((label, r) => {
    if (label < 0) return;
    counts[label]++;
    for (let i = 0, at = label * width, from = r * width; i < width; i++, at++, from++) steps[at] += matrix[from] - values[at];
  });
  return values.map((value, at) => value + (aggregation === 'sum' ? steps[at] : steps[at] / counts[Math.floor(at / width)]));
}

/** The matrix in which every row is the shared row of its cluster. */
export function spreadRows({ labels, values, clusters }: RowClusters, width: number): Float32Array {
  const matrix = new Float32Array(labels.length * width);
  if (clusters > 0) labels.forEach((label, r) => label >= 0 && matrix.set(values.subarray(label * width, (label + 1) * width), r * width));
  return matrix;
}
