/**
 * The methods that soft weight sharing is compared with, on plain arrays: affine 8-bit, k-means (Han et al. 2015: linear
 * initialisation) and magnitude pruning. Each returns float32 values of which few are distinct.
 */

/** 256 equally spaced values from the least to the greatest weight. */
export function affineUint8(values: Float32Array): Float32Array {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    low = Math.min(low, v);
    high = Math.max(high, v);
  }
  if (low === high) return values.slice();
  const scale = (high - low) / 255;
  return values.map((v) => low + scale * Math.round((v - low) / scale));
}

/** Centres of 1-D k-means by Lloyd's iteration from linearly spaced centres; centres that lose all values are left out. */
export function kMeansCentres(values: Float32Array, k: number, iterations = 200): Float64Array {
  if (!Number.isInteger(k) || k < 1) throw new Error(`kMeansCentres: k must be an integer ≥ 1, got ${k}.`);
  if (values.length === 0) throw new Error('kMeansCentres: no values.');
  const sorted = values.slice().sort();
  const n = sorted.length;
  const sums = new Float64Array(n + 1);
  for (let i = 0; i < n; i++) sums[i + 1] = sums[i] + sorted[i];
  let centres = Float64Array.from({ length: k }, (_, j) => (k === 1 ? sums[n] / n : sorted[0] + ((sorted[n - 1] - sorted[0]) * j) / (k - 1)));
  let previous = '';
  for (let iteration = 0; iteration < iterations; iteration++) {
    // In one dimension a cluster is an interval of the sorted values: it ends half-way to the next centre.
    const ends = Array.from(centres, (c, j) => (j + 1 < centres.length ? firstAbove(sorted, (c + centres[j + 1]) / 2) : n));
    const moved: number[] = [];
    ends.forEach((end, j) => {
      const start = j === 0 ? 0 : ends[j - 1];
      if (end > start) moved.push((sums[end] - sums[start]) / (end - start));
    });
    centres = Float64Array.from(moved);
    const key = ends.join();
    if (key === previous) break;
    previous = key;
  }
  return centres;
}

/** Each value replaced by its nearest centre; `centres` ascending. */
export function nearestCentres(values: Float32Array, centres: ArrayLike<number>): Float32Array {
  const last = centres.length - 1;
  return values.map((v) => {
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (v > (centres[middle] + centres[middle + 1]) / 2) low = middle + 1;
      else high = middle;
    }
    return centres[low];
  });
}

export function kMeans(values: Float32Array, k: number): Float32Array {
  return nearestCentres(values, kMeansCentres(values, k));
}

/** k-means of the values that are not zero; zeros stay exactly zero. */
export function kMeansOfNonZero(values: Float32Array, k: number): Float32Array {
  const kept = values.filter((v) => v !== 0);
  if (kept.length === 0) return values.slice();
  const nearest = nearestCentres(values, kMeansCentres(kept, k));
  return values.map((v, i) => (v === 0 ? 0 : nearest[i]));
}

/** 1 for the weights that stay, 0 for the `sparsity` share with the smallest magnitudes over all arrays together. */
export function pruningMasks(kernels: readonly Float32Array[], sparsity: number): Float32Array[] {
  if (!(sparsity >= 0 && sparsity < 1)) throw new Error(`pruningMasks: sparsity must be in [0, 1), got ${sparsity}.`);
  const magnitudes = new Float32Array(kernels.reduce((sum, kernel) => sum + kernel.length, 0));
  let at = 0;
  for (const kernel of kernels) for (const w of kernel) magnitudes[at++] = Math.abs(w);
  magnitudes.sort();
  const removed = Math.round(sparsity * magnitudes.length);
  const least = removed === 0 ? -1 : magnitudes[removed - 1];
  return kernels.map((kernel) => kernel.map((w) => (Math.abs(w) > least ? 1 : 0)));
}

function firstAbove(sorted: Float32Array, limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}
