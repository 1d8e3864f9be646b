/**
 * The ordered weighted ℓ1 norm Ω(z) = Σ λ_i |z|_[i] (entries by decreasing magnitude, λ non-increasing) and its proximal operator.
 * Bogdan et al., "SLOPE", Annals of Applied Statistics 9 (2015), algorithm 3; Zeng & Figueiredo, arXiv:1409.4271. Pure, in float64.
 */

/** Positions of `magnitudes` by decreasing value; equal ones keep their order. */
function byMagnitude(magnitudes: Float64Array): Uint32Array {
  return Uint32Array.from(magnitudes.keys()).sort((a, b) => magnitudes[b] - magnitudes[a] || a - b);
}

/** Ω(z) = Σ λ_i |z|_[i]. `lambda` is as long as `z` and does not increase. */
export function owlPenalty(z: ArrayLike<number>, lambda: ArrayLike<number>): number {
  const sorted = Float64Array.from(z, Math.abs).sort().reverse();
  return sorted.reduce((sum, magnitude, i) => sum + lambda[i] * magnitude, 0);
}

/**
 * argmin_x ½‖x − z‖² + step · Ω(x), in O(n log n): the sorted magnitudes less step · λ, made non-increasing by pooling adjacent
 * violators (their mean), clipped at 0, with the signs of `z`. Entries that are pooled come out equal in magnitude.
 */
export function proxOwl(z: ArrayLike<number>, lambda: ArrayLike<number>, step = 1): Float64Array {
  const magnitudes = Float64Array.from(z, Math.abs);
  const order = byMagnitude(magnitudes);
  // Blocks of the pooled sequence: how many entries, and their mean.
  const counts = new Uint32Array(order.length);
  const means = new Float64Array(order.length);
  let blocks = 0;
  for (let i = 0; i < order.length; i++) {
    let count = 1;
    let mean = magnitudes[order[i]] - step * lambda[i];
    while (blocks > 0 && means[blocks - 1] <= mean) {
      blocks--;
      mean = (mean * count + means[blocks] * counts[blocks]) / (count + counts[blocks]);
      count += counts[blocks];
    }
    counts[blocks] = count;
    means[blocks++] = mean;
  }
  const result = new Float64Array(order.length);
  let at = 0;
  for (let block = 0; block < blocks; block++) {
    const value = Math.max(0, means[block]);
    for (const end = at + counts[block]; at < end; at++) result[order[at]] = z[order[at]] < 0 ? -value : value;
  }
  return result;
}

/**
 * The proximal step of the group form as a factor for every row: v̂_i / v_i with v̂ = prox(v) of the row norms v, and 0 for a row
 * whose norm is at most `epsilon` before or after.
 */
export function rowFactors(norms: ArrayLike<number>, lambda: ArrayLike<number>, step: number, epsilon = 0): Float64Array {
  const shrunk = proxOwl(norms, lambda, step);
  return shrunk.map((norm, i) => (norm <= epsilon || norms[i] <= epsilon ? 0 : norm / norms[i]));
}
