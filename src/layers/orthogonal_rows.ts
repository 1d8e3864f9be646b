/** Random orthogonal rows from a seed: the start of the coefficients of layers on one bank. Pure. */

import { uniformNumbers } from '../uniform_numbers.js';

/** Standard normal numbers (Box–Muller). */
function normalNumbers(seed: number): () => number {
  const uniform = uniformNumbers(seed);
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** `size` orthonormal rows of `size` numbers: normal ones, orthogonalised (Gram–Schmidt) in float64. */
export function orthogonalMatrix(size: number, seed: number): number[][] {
  const normal = normalNumbers(seed);
  const rows: number[][] = [];
  while (rows.length < size) {
    const row = Array.from({ length: size }, normal);
    // Twice is enough.
    for (const before of [...rows, ...rows]) {
      const projection = dot(row, before);
      before.forEach((value, i) => (row[i] -= projection * value));
    }
    const norm = Math.sqrt(dot(row, row));
    if (norm > 1e-6) rows.push(row.map((value) => value / norm));
  }
  return rows;
}

/**
 * Row number `place` of an endless stack of random orthogonal matrices of `size` × `size`. Any run of up to `size` rows that begins a matrix
 * is orthonormal; the columns of any whole number of matrices are orthogonal. Each row has norm 1, however many there are.
 */
export function orthogonalRow(place: number, size: number, seed: number): number[] {
  return orthogonalMatrix(size, seed + Math.floor(place / size))[place % size];
}

export const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
};
