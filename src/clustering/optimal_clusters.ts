/**
 * k-means in one dimension, solved exactly: clusters of an optimal solution are runs of the sorted values, so that the best k runs follow by
 * dynamic programming from the best k − 1 (Bellman 1973; Wang & Song, R Journal 2011, "Ckmeans.1d.dp"). The end of the last run but one
 * increases with the values considered (the cost of a run fulfils the quadrangle inequality), and so each of the k rows is filled by divide
 * and conquer in O(n log n) (Grønlund et al. 2017, "Fast exact k-means, k-medians and Bregman divergence clustering in 1D"). Pure, float64.
 */
import { checkNumber, describe, integerAtLeast } from '../checks.js';
import { meanOf, pointCount, weightedPoints, type WeightedPoints } from './weighted_points.js';

/** Best partitions of the same points for every number of clusters up to a maximum. */
export interface OptimalPartitions {
  /** errors[k] = Σ (w − centre)² of the best k clusters; errors[0] is Infinity. */
  errors: Float64Array;
  /** Ends of the k runs of points. `k` at most the maximum asked for and the number of points. */
  ends(k: number): number[];
}

/** Solves for k = 1 … `most` at once: O(most · n log n) time, 4 · most · n bytes. */
export function optimalPartitions(points: WeightedPoints, most: number): OptimalPartitions {
  const n = pointCount(points);
  const rows = Math.min(most, n);
  const { counts, first, second } = points;
  let before = new Float64Array(n + 1).fill(Infinity);
  before[0] = 0;
  const errors = new Float64Array(rows + 1).fill(Infinity);
  const splits: Int32Array[] = [new Int32Array(0)];
  for (let k = 1; k <= rows; k++) {
    const row = new Float64Array(n + 1).fill(Infinity);
    const split = new Int32Array(n + 1);
    // Best start of the k-th run for each end in [low, high], known to lie in [from, to].
    const fill = (low: number, high: number, from: number, to: number): void => {
      while (low <= high) {
        const end = (low + high) >> 1;
        let best = Infinity;
        let at = from;
        for (let start = Math.max(from, k - 1), last = Math.min(to, end - 1); start <= last; start++) {
          const weight = counts[end] - counts[start];
          const sum = first[end] - first[start];
          const squares = second[end] - second[start] - (sum * sum) / weight;
          const error = before[start] + (squares > 0 ? squares : 0);
          if (error < best) {
            best = error;
            at = start;
          }
        }
        row[end] = best;
        split[end] = at;
        fill(low, end - 1, from, at);
        low = end + 1;
        from = at;
      }
    };
    fill(k, n, k - 1, n - 1);
    errors[k] = row[n];
    splits.push(split);
    before = row;
  }
  return {
    errors,
    ends: (k) => {
      const ends = new Array<number>(k);
      for (let j = k, end = n; j > 0; end = splits[j][end], j--) ends[j - 1] = end;
      return ends;
    },
  };
}

export interface OptimalClusters {
  /** Centres by increasing value. */
  centres: Float64Array;
  /** Values in each cluster. */
  counts: Float64Array;
  /** Σ (w − centre)². */
  error: number;
}

/**
 * The k centres with the least Σ (w − nearest centre)², exact for up to 8192 distinct values. Beyond, clusters may only begin at one of about
 * 8192 places, chosen by mass and width: on 20 000 normal values the error is within 10⁻³ of the optimum.
 * Fewer distinct values than k give as many centres. O(n log n + k · 8192 · 13).
 *
 * ```js
 * optimalClusters(Float32Array.of(1, 2, 10, 11, 12), 2); // centres 1.5 and 11, error 2.5
 * ```
 *
 * @throws Error if k is no integer ≥ 1, or there is no value or one that is not finite.
 */
export function optimalClusters(values: Float32Array, k: number): OptimalClusters {
  const who = 'optimalClusters';
  if (!(values instanceof Float32Array || (values as unknown) instanceof Float64Array)) throw new Error(`${who}: expected a Float32Array of values, got ${describe(values)}. Use Float32Array.from(values).`);
  checkNumber(who, 'k', k, integerAtLeast(1));
  if (values.length === 0) throw new Error(`${who}: expected at least one value, got none.`);
  const broken = values.findIndex((value) => !Number.isFinite(value));
  if (broken >= 0) throw new Error(`${who}: values[${broken}] is ${values[broken]}. Only finite values can be clustered.`);
  const points = weightedPoints(values);
  const partitions = optimalPartitions(points, k);
  const ends = partitions.ends(Math.min(k, pointCount(points)));
  return {
    centres: Float64Array.from(ends, (end, j) => meanOf(points, j === 0 ? 0 : ends[j - 1], end)),
    counts: Float64Array.from(ends, (end, j) => points.counts[end] - points.counts[j === 0 ? 0 : ends[j - 1]]),
    error: partitions.errors[ends.length],
  };
}
