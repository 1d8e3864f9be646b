/**
 * k-means by Lloyd's iteration from the initialisations of the TensorFlow Model Optimization Toolkit, for comparison with it: `optimalClusters`
 * is never worse. Pure, float64.
 */
import { firstAbove, meanOf, type WeightedPoints } from './weighted_points.js';

/** How centres begin: equally spaced; uniform in the range; at quantiles; drawn by squared distance (Arthur & Vassilvitskii 2007). */
export const INITIALIZATIONS = ['linear', 'random', 'density', 'kMeansPlusPlus'] as const;
export type CentroidInitialization = (typeof INITIALIZATIONS)[number];

const ITERATIONS = 200;

/** `k` centres to begin with, increasing. `random` draws from [0, 1). */
export function initialCentroids(points: WeightedPoints, k: number, initialization: CentroidInitialization, random: () => number): number[] {
  const { values, counts } = points;
  const [low, high] = [values[0], values[values.length - 1]];
  const total = counts[values.length];
  // The point that holds the value of a given rank.
  const ofRank = (rank: number): number => {
    let at = 0;
    let end = values.length;
    while (at < end) {
      const middle = (at + end) >> 1;
      if (counts[middle + 1] > rank) end = middle;
      else at = middle + 1;
    }
    return values[Math.min(at, values.length - 1)];
  };
  if (initialization === 'linear') return Array.from({ length: k }, (_, j) => (k === 1 ? (low + high) / 2 : low + ((high - low) * j) / (k - 1)));
  if (initialization === 'random') return Array.from({ length: k }, () => low + (high - low) * random()).sort((a, b) => a - b);
  if (initialization === 'density') return Array.from({ length: k }, (_, j) => ofRank(((j + 0.5) / k) * total));
  const centres = [ofRank(random() * total)];
  const distances = Float64Array.from(values, (w) => (w - centres[0]) ** 2);
  while (centres.length < k) {
    let left = random() * distances.reduce((sum, d, p) => sum + d * (counts[p + 1] - counts[p]), 0);
    const chosen = distances.findIndex((d, p) => (left -= d * (counts[p + 1] - counts[p])) < 0);
    if (chosen < 0) break;
    centres.push(values[chosen]);
    distances.forEach((d, p) => (distances[p] = Math.min(d, (values[p] - values[chosen]) ** 2)));
  }
  return centres.sort((a, b) => a - b);
}

/** Centres moved to the means of what is nearest until nothing changes; those that lose everything are left out. */
export function lloyd(points: WeightedPoints, centres: readonly number[]): number[] {
  let moved = [...centres];
  let previous = '';
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const ends = moved.map((c, j) => (j + 1 < moved.length ? firstAbove(points, (c + moved[j + 1]) / 2) : points.values.length));
    const key = ends.join();
    if (key === previous) break;
    previous = key;
    moved = ends.flatMap((end, j) => (end > (j === 0 ? 0 : ends[j - 1]) ? [meanOf(points, j === 0 ? 0 : ends[j - 1], end)] : []));
  }
  return moved;
}
