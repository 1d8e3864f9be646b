/**
 * When a matrix product with transposed operands is better run by transposing first.
 *
 * The wasm backend has a fast product (XNNPACK) for C = A·B only; everything else goes through a scalar loop that is
 * 10–45 times slower. C = op(A)·op(B), with op(A) of shape [m, k] and op(B) of shape [k, n], reaches the fast one in two ways:
 * - direct:  transpose the operands that are stored transposed, then C = A'·B';
 * - swapped: Cᵀ = op(B)ᵀ·op(A)ᵀ, whose operands are stored the other way round, then transpose the result.
 * Whichever moves fewer numbers wins; for small products neither pays.
 */

export type ProductPlan = 'stock' | 'direct' | 'swapped';

/** Nanoseconds, measured on tfjs 4.22 (wasm with SIMD, one thread, Node 20): only their ratios matter. */
const COST = {
  /** Scalar loop, per multiply-add (1.0–4.7, worse for long strides). */
  slow: 1.1,
  /** Fast product, per multiply-add. */
  fast: 0.1,
  /** Transposing, per number (0.7–8). */
  move: 4,
  /** Packing of the right operand by the fast product, per number; done once per tensor. */
  pack: 3,
  /** One more kernel call, or setting up the fast product for a new right operand. */
  call: 10_000,
  /** Copying, per number. */
  copy: 0.5,
};

/** The cheapest way to run op(A)·op(B) with op(A) [m, k] and op(B) [k, n]; without transposition always the stock kernel. */
export function planProduct(m: number, k: number, n: number, transposeA: boolean, transposeB: boolean): ProductPlan {
  if (!transposeA && !transposeB) return 'stock';
  // A vector is transposed by renaming its shape.
  const transposing = (rows: number, columns: number) =>
    rows === 1 || columns === 1 ? 0 : COST.call + COST.move * rows * columns;
  const fast = COST.call + COST.fast * m * k * n;
  const direct = fast + COST.pack * k * n + (transposeA ? transposing(m, k) : 0) + (transposeB ? transposing(k, n) : 0);
  const swapped = fast + COST.pack * k * m + (transposeA ? 0 : transposing(m, k)) + (transposeB ? 0 : transposing(k, n)) + transposing(m, n);
  const stock = COST.slow * m * k * n;
  if (stock <= Math.min(direct, swapped)) return 'stock';
  return direct <= swapped ? 'direct' : 'swapped';
}

/** Whether products of many pairs [m, k]·[k, n], which all run in the scalar loop, are faster one by one through the fast product. */
export function batchPays(m: number, k: number, n: number, transposeA: boolean, transposeB: boolean): boolean {
  const moves = (transposeA ? m * k : 0) + (transposeB ? k * n : 0);
  const copies = m * k + k * n + m * n;
  return COST.call + COST.fast * m * k * n + COST.pack * k * n + COST.move * moves + COST.copy * copies < COST.slow * m * k * n;
}
