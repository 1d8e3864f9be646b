/**
 * The small least-squares problem of Anderson acceleration (Walker & Ni, SIAM J. Numer. Anal. 49, 2011), for one sample: weights α with
 * Σ α = 1 that minimise ‖Σ α_j g_j‖².
 *
 * With differences to the newest, g_k + Σ_{j≠k} γ_j (g_j − g_k), it is unconstrained. The differences are scaled to unit length, so that the
 * Gram matrix C has a unit diagonal whatever the scale of the problem and however much shorter the newer residuals are; ridge·I is added,
 * and the system solved by Cholesky's method. That stands for duplicates and for more differences than dimensions.
 */

/** Largest Σ |α| that is taken for a solution. */
const MOST_WEIGHT = 1e6;

/**
 * Writes α to `weights` (zeros outside of `usable`).
 * @param gram H[i·order + j] = g_i·g_j
 * @param usable indices that may have weight, `newest` among them
 * @param ridge relative to the squared length of each difference
 * @returns false if there was no solution: the weight is then on the newest alone.
 */
export function affineWeights(gram: Float64Array, order: number, usable: readonly number[], newest: number, ridge: number, weights: Float64Array): boolean {
  weights.fill(0);
  weights[newest] = 1;
  const k = newest;
  const own = gram[k * order + k];
  // A difference that is all rounding has no direction.
  const lengthOf = (j: number) => {
    const squared = gram[j * order + j] - 2 * gram[j * order + k] + own;
    return squared > 1e-12 * (gram[j * order + j] + own) ? Math.sqrt(squared) : 0;
  };
  const others = usable.filter((j) => j !== k && lengthOf(j) > 0);
  const n = others.length;
  if (n === 0) return true;
  const lengths = others.map(lengthOf);
  // L: C + ridge·I = L Lᵀ; y: the right-hand side, then the solution.
  const L = new Float64Array(n * n);
  const y = new Float64Array(n);
  for (let a = 0; a < n; a++) {
    const i = others[a];
    for (let b = 0; b <= a; b++) {
      const j = others[b];
      let value = (gram[i * order + j] - gram[i * order + k] - gram[j * order + k] + own) / (lengths[a] * lengths[b]);
      if (a === b) value += ridge;
      for (let c = 0; c < b; c++) value -= L[a * n + c] * L[b * n + c];
      L[a * n + b] = a === b ? Math.sqrt(value) : value / L[b * n + b];
    }
    let right = (own - gram[i * order + k]) / lengths[a];
    for (let c = 0; c < a; c++) right -= L[a * n + c] * y[c];
    y[a] = right / L[a * n + a];
  }
  for (let a = n - 1; a >= 0; a--) {
    for (let c = a + 1; c < n; c++) y[a] -= L[c * n + a] * y[c];
    y[a] /= L[a * n + a];
  }
  let total = 0;
  let size = 0;
  for (let a = 0; a < n; a++) {
    const weight = y[a] / lengths[a];
    weights[others[a]] = weight;
    total += weight;
    size += Math.abs(weight);
  }
  if (size <= MOST_WEIGHT) {
    weights[k] = 1 - total;
    return true;
  }
  // Also where a pivot was not positive, which leaves NaN.
  weights.fill(0);
  weights[k] = 1;
  return false;
}
