/** Values as few weighted points on a line, with sums over every run of them at hand: what clustering in one dimension works on. Pure, float64. */

/** Points at increasing places; a run of them is [start, end). */
export interface WeightedPoints {
  /** Where each point is: the mean of the values that it stands for. */
  values: Float64Array;
  /** How many values it stands for: number of values before each point, one entry more than points. */
  counts: Float64Array;
  /** Σ (w − origin) and Σ (w − origin)² over the values before each point. */
  first: Float64Array;
  second: Float64Array;
  /** What is subtracted in the sums, so that they do not cancel. */
  origin: number;
  /** Whether each point stands for equal values only. */
  exact: boolean;
}

/** More distinct values than this are joined. */
export const MOST_POINTS = 8192;

/**
 * The points of finite values: their distinct values with multiplicity, exact, if there are at most `most`; otherwise neighbours are joined
 * while a point stands for no more than 2/most of the values and spans no more than 2/most of their range, so that dense places are resolved
 * by mass and thin ones by width; the sums stay those of the values. O(n log n) time, 4 bytes a value.
 */
export function weightedPoints(weights: Float32Array, most = MOST_POINTS): WeightedPoints {
  const sorted = weights.slice().sort();
  const n = sorted.length;
  const ends: number[] = [];
  for (let i = 1; i <= n && ends.length <= most; i++) if (i === n || sorted[i] !== sorted[i - 1]) ends.push(i);
  const exact = ends.length <= most;
  if (!exact) joinNeighbours(sorted, most, ends);

  const origin = n === 0 ? 0 : sorted.reduce((sum, w) => sum + w, 0) / n;
  const points = ends.length;
  const result: WeightedPoints = {
    values: new Float64Array(points), counts: new Float64Array(points + 1), first: new Float64Array(points + 1), second: new Float64Array(points + 1), origin, exact,
  }; // prettier-ignore
  for (let p = 0, i = 0; p < points; p++) {
    let first = 0;
    let second = 0;
    const start = i;
    for (; i < ends[p]; i++) {
      const d = sorted[i] - origin;
      first += d;
      second += d * d;
    }
    result.values[p] = exact ? sorted[start] : origin + first / (i - start);
    result.counts[p + 1] = i;
    result.first[p + 1] = result.first[p] + first;
    result.second[p + 1] = result.second[p] + second;
  }
  return result;
}

function joinNeighbours(sorted: Float32Array, most: number, ends: number[]): void {
  const n = sorted.length;
  const mass = Math.max(1, (2 * n) / most);
  const width = (2 * (sorted[n - 1] - sorted[0])) / most;
  ends.length = 0;
  let start = 0;
  for (let i = 1; i <= n; i++) {
    // Zeros stay a point of their own: what is pruned must stay so.
    const near = i < n && i - start < mass && sorted[i] - sorted[start] <= width && sorted[i] !== 0 && sorted[i - 1] !== 0;
    if (near || (i < n && sorted[i] === sorted[i - 1])) continue;
    ends.push(i);
    start = i;
  }
}

/** Number of points. */
export const pointCount = ({ values }: WeightedPoints): number => values.length;

/** Σ (w − mean)² over a run of points. */
export function spread({ counts, first, second }: WeightedPoints, start: number, end: number): number {
  const n = counts[end] - counts[start];
  if (n === 0) return 0;
  const sum = first[end] - first[start];
  return Math.max(0, second[end] - second[start] - (sum * sum) / n);
}

/** Σ (w − c)² over a run of points. */
export function distanceTo({ counts, first, second, origin }: WeightedPoints, start: number, end: number, c: number): number {
  const d = c - origin;
  return Math.max(0, second[end] - second[start] - 2 * d * (first[end] - first[start]) + d * d * (counts[end] - counts[start]));
}

/** Mean of the values of a run of points that is not empty. */
export function meanOf({ counts, first, origin }: WeightedPoints, start: number, end: number): number {
  return origin + (first[end] - first[start]) / (counts[end] - counts[start]);
}

/** Number of the first point above `limit`. */
export function firstAbove({ values }: WeightedPoints, limit: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}
