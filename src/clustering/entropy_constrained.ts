/**
 * Quantisers for coded indices: minimise Σ h (w − v)² + λ · bits, where the bits are those of an ideal code of the numbers and h is what an error
 * of each weight counts. k-means spends the same on a rare value as on a frequent one; this does not, and needs fewer bytes at equal error (Chou,
 * Lookabaugh & Gray 1989, "Entropy-constrained vector quantization", here with scalars; with h: Choi, El-Khamy & Lee 2017, "Towards the limit of
 * network quantization"). A descent: it ends in a local minimum, and of a few values there are several, so where few are wanted it sets out from
 * several places. Pure, float64.
 */
import { classesCost, nearestQuantizer, type QuantizerCost, type ScalarQuantizer } from './scalar_quantizer.js';
import { firstAbove, type WeightedPoints } from './weighted_points.js';

const MOST_VALUES = 256;
const ITERATIONS = 60;

/** Weights for which an error counts the same. */
export interface WeightClass {
  points: WeightedPoints;
  /** h ≥ 0. */
  importance: number;
}

/** The same values for all classes, with thresholds for each: what counts little goes to a value that takes few bits sooner. */
export interface ClassQuantizer {
  /** Float32, increasing. At most 256. */
  values: Float32Array;
  /** As a {@link ScalarQuantizer}'s, for each class. */
  thresholds: Float64Array[];
}

/** A quantiser and what it costs. */
export interface PricedQuantizer extends QuantizerCost {
  quantizer: ClassQuantizer;
}

/** From this many values on, the minima that descents of neighbouring slopes end in are as good as one another. */
const MANY = 12;

/**
 * Quantisers from few bits to many: of all that were found for `slopes`, which fall, those that no other one beats in both bits and weighted error. Found
 * are those of {@link classQuantizer}, and, because few values have several minima, for each small number of values those of descents that set out from one
 * another, from one with so many values towards coarser and finer slopes. Bits and errors so change in small steps.
 */
export function classQuantizers(classes: readonly WeightClass[], slopes: readonly number[], zero = false): PricedQuantizer[] {
  const priced = (quantizer: ClassQuantizer): PricedQuantizer => ({ quantizer, ...classesCost(classes, quantizer) });
  const found = slopes.map((slope) => priced(classQuantizer(classes, slope, zero)));
  const many = found.findIndex(({ used }) => used >= MANY);
  const few = slopes.slice(0, many < 0 ? slopes.length : many);
  const sizes = found.slice(0, few.length).map(({ used }) => used);
  for (const [start, size] of sizes.entries()) {
    if (sizes.indexOf(size) < start) continue;
    for (const way of [few.slice(0, start).reverse(), few.slice(start + 1)]) {
      let { values, thresholds } = found[start].quantizer;
      for (const slope of way) {
        ({ values, thresholds } = descend(classes, slope, zero, [...values], thresholds));
        found.push(priced({ values, thresholds }));
      }
    }
  }
  let least = Infinity;
  return found
    .sort((a, b) => a.bits - b.bits || a.weighted - b.weighted)
    .filter(({ weighted }) => weighted < least && ((least = weighted), true));
}

/**
 * `slope` is λ: weighted squared error for one bit, > 0. It starts from equally spaced values, at the step that is optimal for fine quantisers
 * where all count the same, λ = (ln 2 / 6) h step², one of them on 0. `zero` keeps 0 a value, so that zeros stay zeros.
 */
export function classQuantizer(classes: readonly WeightClass[], slope: number, zero = false): ClassQuantizer {
  const total = countOf(classes);
  const importance = classes.reduce((sum, { points, importance: h }) => sum + h * points.counts[points.values.length], 0) / total;
  const low = classes.reduce((least, { points }) => Math.min(least, points.values[0]), Infinity);
  const high = classes.reduce((most, { points }) => Math.max(most, points.values[points.values.length - 1]), -Infinity);
  const step = Math.max(Math.sqrt((6 * slope) / (importance * Math.LN2)), (high - low) / (MOST_VALUES - 2));
  if (!(step > 0) || !Number.isFinite(step)) return oneFor(classes, nearestQuantizer([low]));
  const centres: number[] = [];
  for (let j = Math.round(low / step); j <= Math.round(high / step); j++) centres.push(j * step);
  const halfway = Float64Array.from(centres.slice(1), (c, j) => (c + centres[j]) / 2);
  return descend(classes, slope, zero, centres, classes.map(() => halfway));
}

/** Values and thresholds by turns, until no weight changes its value. */
function descend(classes: readonly WeightClass[], slope: number, zero: boolean, centres: readonly number[], thresholds: readonly Float64Array[]): ClassQuantizer {
  const total = countOf(classes);
  let previous = '';
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const { ends, means, bits } = centroids(classes, thresholds, centres, total, zero);
    centres = means;
    thresholds = classes.map(({ importance: h }) => cheapest(means, bits, h > 0 ? slope / h : Infinity, zero));
    const key = ends.join();
    if (key === previous) break;
    previous = key;
  }
  const { means, bits } = centroids(classes, thresholds, centres, total, zero);
  // Values last: the thresholds belong to them.
  const values = Float32Array.from(means);
  if (!values.every((value, j) => j === 0 || value > values[j - 1])) return oneFor(classes, nearestQuantizer(values));
  return { values, thresholds: classes.map(({ importance: h }) => cheapest(means, bits, h > 0 ? slope / h : Infinity, zero)) };
}

const countOf = (classes: readonly WeightClass[]): number => classes.reduce((sum, { points }) => sum + points.counts[points.values.length], 0);

const oneFor = (classes: readonly WeightClass[], { values, thresholds }: ScalarQuantizer): ClassQuantizer => ({ values, thresholds: classes.map(() => thresholds) });

/** Values that are used by some class: the means of their weights, and the bits of their numbers; and where the runs end, to see changes. */
function centroids(classes: readonly WeightClass[], thresholds: readonly Float64Array[], centres: readonly number[], total: number, zero: boolean): { ends: number[]; means: number[]; bits: number[] } {
  const size = thresholds[0].length + 1;
  const counts = new Float64Array(size);
  const masses = new Float64Array(size);
  const sums = new Float64Array(size);
  const ends: number[] = [];
  classes.forEach(({ points, importance }, c) => {
    // Where nothing counts, values are still means.
    const h = Math.max(importance, Number.MIN_VALUE * 2 ** 60);
    let start = 0;
    for (let j = 0; j < size; j++) {
      const end = j < size - 1 ? Math.max(start, firstAbove(points, thresholds[c][j])) : points.values.length;
      const count = points.counts[end] - points.counts[start];
      counts[j] += count;
      masses[j] += h * count;
      sums[j] += h * (points.first[end] - points.first[start] + points.origin * count);
      ends.push(end);
      start = end;
    }
  });
  const means: number[] = [];
  const bits: number[] = [];
  for (let j = 0; j < size; j++) {
    if (counts[j] === 0) continue;
    means.push(zero && centres[j] === 0 ? 0 : sums[j] / masses[j]);
    bits.push(-Math.log2(counts[j] / total));
  }
  return { ends, means, bits };
}

/**
 * Thresholds between values where (w − c)² + λ · bits of neighbours meet; a value that is nowhere the least lies between two equal thresholds. With
 * `zero` the value 0 stays, and thresholds stay on its sides. λ = Infinity: all to what takes fewest bits.
 */
function cheapest(centres: readonly number[], bits: readonly number[], slope: number, zero: boolean): Float64Array {
  const lambda = Math.min(slope, Number.MAX_VALUE / 2 ** 12);
  const meet = (i: number, j: number): number => {
    const t = (centres[i] + centres[j]) / 2 + (lambda * (bits[j] - bits[i])) / (2 * (centres[j] - centres[i]));
    if (!zero) return t;
    // Zeros go to the value 0 whatever it costs.
    return centres[i] === 0 ? Math.max(0, t) : centres[j] === 0 ? Math.min(-Number.MIN_VALUE, t) : t;
  };
  const kept: number[] = [];
  const meetings: number[] = [];
  for (let j = 0; j < centres.length; j++) {
    let t = -Infinity;
    while (kept.length > 0) {
      const top = kept[kept.length - 1];
      t = meet(top, j);
      if ((zero && centres[top] === 0) || meetings.length === 0 || t > meetings[meetings.length - 1]) break;
      kept.pop();
      meetings.pop();
    }
    if (kept.length > 0) meetings.push(Math.max(t, meetings[meetings.length - 1] ?? -Infinity));
    kept.push(j);
  }
  // Before the first value that is used nothing goes, after the last everything has gone.
  const thresholds = new Float64Array(centres.length - 1).fill(Infinity);
  thresholds.fill(-Infinity, 0, kept[0]);
  meetings.forEach((t, k) => thresholds.fill(t, kept[k], kept[k + 1]));
  return thresholds;
}
