/** a, b float32 matrices, or equally many of them, → op(a) · op(b), op(x) = xᵀ where asked for. */
export const DENSE_PRODUCT = 'DenseProduct';

export interface DenseProductAttrs {
  transposeA: boolean;
  transposeB: boolean;
}

/** Lengths of a product: `count` pairs of op(a) [m, k] and op(b) [k, n]. */
export interface ProductSize {
  count: number;
  m: number;
  k: number;
  n: number;
  /** Of the result. */
  shape: number[];
}

export function productSize(a: number[], b: number[], { transposeA, transposeB }: DenseProductAttrs): ProductSize {
  const [rows, columns] = a.slice(-2);
  const [m, k] = transposeA ? [columns, rows] : [rows, columns];
  const n = b[b.length - (transposeB ? 2 : 1)];
  return { count: a.length === 3 ? a[0] : 1, m, k, n, shape: [...a.slice(0, -2), m, n] };
}
