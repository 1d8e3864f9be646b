/**
 * k-means of a few rows of numbers: Lloyd's iteration from centres drawn by squared distance (Arthur & Vassilvitskii, "k-means++", SODA 2007), the
 * best of several starts. For one dimension see `optimal_clusters.ts`. Pure, float64.
 */
import { uniformNumbers } from '../uniform_numbers.js';

export interface KMeans {
  /** Cluster of each row, numbered by first appearance: the first row is in 0. */
  labels: number[];
  /** [clusters][columns] */
  centres: number[][];
  /** Σ of squared distances of the rows to their centres. */
  inertia: number;
}

const STARTS = 20;
const ITERATIONS = 100;

/** `rows` of equal length in `k` clusters, none empty. @throws RangeError where fewer than `k` rows differ. */
export function kMeans(rows: readonly (readonly number[])[], k: number, seed: number): KMeans {
  const distinct = new Set(rows.map((row) => row.join())).size;
  if (k > distinct) throw new RangeError(`${k} clusters of ${distinct} different rows`);
  const random = uniformNumbers(seed);
  const found = Array.from({ length: STARTS }, () => lloyd(rows, drawnCentres(rows, k, random)));
  const best = found.reduce((a, b) => (b.inertia < a.inertia ? b : a));
  const order = [...new Set(best.labels)];
  return { ...best, labels: best.labels.map((label) => order.indexOf(label)), centres: order.map((label) => best.centres[label]) };
}

const squaredDistance = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0);

const nearest = (row: readonly number[], centres: readonly (readonly number[])[]): { at: number; distance: number } =>
  centres.reduce((best, centre, at) => {
    const distance = squaredDistance(row, centre);
    return distance < best.distance ? { at, distance } : best;
  }, { at: 0, distance: Infinity }); // prettier-ignore

/** The first at random, each further one with probability in proportion to the squared distance to those before. */
function drawnCentres(rows: readonly (readonly number[])[], k: number, random: () => number): number[][] {
  const centres = [[...rows[Math.floor(random() * rows.length)]]];
  while (centres.length < k) {
    const distances = rows.map((row) => nearest(row, centres).distance);
    let left = random() * distances.reduce((sum, each) => sum + each, 0);
    // Rows at a centre already are never drawn: as many as k differ.
    const drawn = distances.findIndex((distance) => distance > 0 && (left -= distance) <= 0);
    centres.push([...rows[drawn >= 0 ? drawn : distances.indexOf(Math.max(...distances))]]);
  }
  return centres;
}

function lloyd(rows: readonly (readonly number[])[], centres: number[][]): KMeans {
  let labels: number[] = [];
  for (let i = 0; i < ITERATIONS; i++) {
    const next = rows.map((row) => nearest(row, centres).at);
    fillEmpty(next, rows, centres);
    if (next.every((label, r) => label === labels[r])) break;
    labels = next;
    for (const [c, centre] of centres.entries()) {
      const own = rows.filter((_, r) => labels[r] === c);
      centre.forEach((_, j) => (centre[j] = own.reduce((sum, row) => sum + row[j], 0) / own.length));
    }
  }
  return { labels, centres, inertia: rows.reduce((sum, row, r) => sum + squaredDistance(row, centres[labels[r]]), 0) };
}

/** Gives a cluster that lost all its rows the one that lies farthest from its own centre, of a cluster with several. */
function fillEmpty(labels: number[], rows: readonly (readonly number[])[], centres: number[][]): void {
  for (const [c, centre] of centres.entries()) {
    if (labels.includes(c)) continue;
    const distances = rows.map((row, r) => (labels.filter((label) => label === labels[r]).length > 1 ? squaredDistance(row, centres[labels[r]]) : -1));
    const farthest = distances.indexOf(Math.max(...distances));
    labels[farthest] = c;
    rows[farthest].forEach((value, j) => (centre[j] = value));
  }
}
