/** Which weights of a kernel form a row (a group) of GrOWL. */

/** `inputs`: all outgoing weights of an input unit or channel; `outputs`: all incoming weights of an output unit or filter. */
export type RowGrouping = 'inputs' | 'outputs';

/** A kernel of shape [outer…, rows, inner…] seen as three axes: row r is [:, r, :]. */
export interface RowLayout {
  outer: number;
  rows: number;
  inner: number;
}

/**
 * The rows of a kernel of this shape: along the last axis but one (`inputs`; dense `[inputs, units]`, convolutions
 * `[…, inChannels, filters]`, embeddings `[vocabulary, depth]`) or the last (`outputs`). A transposed convolution's kernel
 * `[…, filters, inChannels]` has them the other way round.
 */
export function rowLayout(shape: readonly number[], grouping: RowGrouping): RowLayout {
  const axis = shape.length - (grouping === 'inputs' ? 2 : 1);
  const product = (sizes: readonly number[]) => sizes.reduce((a, b) => a * b, 1);
  return { outer: product(shape.slice(0, Math.max(axis, 0))), rows: shape[axis] ?? 1, inner: product(shape.slice(axis + 1)) };
}

/** Whether a kernel of this shape has rows: a vector has none. */
export const hasRows = (shape: readonly number[]): boolean => shape.length >= 2;

/** The rows of a kernel one after the other, as a matrix `[rows, outer · inner]`. */
export function toRows(values: ArrayLike<number>, { outer, rows, inner }: RowLayout): Float32Array {
  if (outer === 1) return Float32Array.from(values);
  const matrix = new Float32Array(values.length);
  for (let o = 0, from = 0; o < outer; o++) {
    for (let r = 0; r < rows; r++) {
      const to = (r * outer + o) * inner;
      for (let i = 0; i < inner; i++) matrix[to + i] = values[from++];
    }
  }
  return matrix;
}

/** Undoes {@link toRows}. */
export function fromRows(matrix: Float32Array, { outer, rows, inner }: RowLayout): Float32Array {
  if (outer === 1) return matrix;
  const values = new Float32Array(matrix.length);
  for (let o = 0, to = 0; o < outer; o++) {
    for (let r = 0; r < rows; r++) {
      const from = (r * outer + o) * inner;
      for (let i = 0; i < inner; i++) values[to++] = matrix[from + i];
    }
  }
  return values;
}

/** Euclidean norm of each of the `rows` rows of `matrix`. */
export function rowNorms(matrix: ArrayLike<number>, rows: number): Float64Array {
  const width = matrix.length / rows;
  return Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let i = r * width; i < (r + 1) * width; i++) sum += matrix[i] * matrix[i];
    return Math.sqrt(sum);
  });
}
