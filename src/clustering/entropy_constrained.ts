/**
 * Quantisers for coded indices: minimise Σ (w − v)² + λ · bits, where the bits are those of an ideal code of the numbers. k-means spends the
 * same on a rare value as on a frequent one; this does not, and needs fewer bytes at equal error (Chou, Lookabaugh & Gray 1989, "Entropy-constrained
 * vector quantization", here with scalars). A descent: it ends in a local minimum. Pure, float64.
 */
import { nearestQuantizer, type ScalarQuantizer } from './scalar_quantizer.js';
import { firstAbove, meanOf, type WeightedPoints } from './weighted_points.js';

const MOST_VALUES = 256;
const ITERATIONS = 60;

/**
 * `slope` is λ: squared error for one bit, > 0. It starts from equally spaced values, at the step that is optimal for fine quantisers,
 * λ = (ln 2 / 6) step², one of them on 0. `zero` keeps 0 a value, so that zeros stay zeros.
 */
export function entropyConstrained(points: WeightedPoints, slope: number, zero = false): ScalarQuantizer {
  const n = points.values.length;
  const [low, high] = [points.values[0], points.values[n - 1]];
  const total = points.counts[n];
  const step = Math.max(Math.sqrt((6 * slope) / Math.LN2), (high - low) / (MOST_VALUES - 2));
  if (!(step > 0)) return nearestQuantizer([low]);
  let centres: number[] = [];
  for (let j = Math.round(low / step); j <= Math.round(high / step); j++) centres.push(j * step);
  let thresholds = centres.slice(1).map((c, j) => (c + centres[j]) / 2);
  let previous = '';
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const { ends, means, bits } = centroids(points, thresholds, total, zero);
    centres = means;
    thresholds = lowerEnvelope(centres, bits, slope, zero);
    const key = ends.join();
    if (key === previous) break;
    previous = key;
  }
  const { means, bits } = centroids(points, thresholds, total, zero);
  // Values last: the thresholds belong to them.
  thresholds = lowerEnvelope(means, bits, slope, zero);
  const values = Float32Array.from(means);
  return values.every((value, j) => j === 0 || value > values[j - 1]) ? { values, thresholds: Float64Array.from(thresholds) } : nearestQuantizer(values);
}

/** The runs between thresholds that hold points, their means, and the bits of their numbers. */
function centroids(points: WeightedPoints, thresholds: readonly number[], total: number, zero: boolean): { ends: number[]; means: number[]; bits: number[] } {
  const ends: number[] = [];
  const means: number[] = [];
  const bits: number[] = [];
  let start = 0;
  for (let j = 0; j <= thresholds.length; j++) {
    const end = j < thresholds.length ? firstAbove(points, thresholds[j]) : points.values.length;
    if (end <= start) continue;
    const holdsZero = zero && points.values[start] <= 0 && points.values[end - 1] >= 0;
    ends.push(end);
    means.push(holdsZero ? 0 : meanOf(points, start, end));
    bits.push(-Math.log2((points.counts[end] - points.counts[start]) / total));
    start = end;
  }
  return { ends, means, bits };
}

/**
 * Thresholds where (w − c)² + λ · bits of neighbours meet; one that is nowhere the least is taken out of `centres` and `bits`. With `zero`
 * the value 0 stays, and thresholds stay on its sides.
 */
function lowerEnvelope(centres: number[], bits: number[], slope: number, zero: boolean): number[] {
  const meet = (i: number, j: number): number => {
    const t = (centres[i] + centres[j]) / 2 + (slope * (bits[j] - bits[i])) / (2 * (centres[j] - centres[i]));
    if (!zero) return t;
    // Zeros go to the value 0 whatever it costs.
    return centres[i] === 0 ? Math.max(0, t) : centres[j] === 0 ? Math.min(-Number.MIN_VALUE, t) : t;
  };
  const kept: number[] = [];
  const thresholds: number[] = [];
  for (let j = 0; j < centres.length; j++) {
    let t = -Infinity;
    while (kept.length > 0) {
      const top = kept[kept.length - 1];
      t = meet(top, j);
      if ((zero && centres[top] === 0) || thresholds.length === 0 || t > thresholds[thresholds.length - 1]) break;
      kept.pop();
      thresholds.pop();
    }
    if (kept.length > 0) thresholds.push(Math.max(t, thresholds[thresholds.length - 1] ?? -Infinity));
    kept.push(j);
  }
  const [keptCentres, keptBits] = [kept.map((j) => centres[j]), kept.map((j) => bits[j])];
  centres.splice(0, Infinity, ...keptCentres);
  bits.splice(0, Infinity, ...keptBits);
  return thresholds;
}
