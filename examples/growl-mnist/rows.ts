/** What the report shows of the rows of a kernel. */
import type * as tfc from '@tensorflow/tfjs-core';

/** At most this many rows in a heat map. */
const SHOWN = 64;

/** The rows of a kernel `[…, rows, columns]` one after the other. */
function rowsOf(kernel: tfc.Tensor): number[][] {
  const values = kernel.dataSync();
  const [rows, columns] = kernel.shape.slice(-2);
  const outer = kernel.size / (rows * columns);
  return Array.from({ length: rows }, (_, r) =>
    Array.from({ length: outer }, (__, o) => Array.from(values.subarray((o * rows + r) * columns, (o * rows + r + 1) * columns))).flat());
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** Norms of the rows, falling. */
export function sortedNorms(kernel: tfc.Tensor): number[] {
  return rowsOf(kernel).map((row) => significant(Math.sqrt(dot(row, row)))).sort((a, b) => b - a); // prettier-ignore
}

/** ⟨r_i, r_j⟩ / max(‖r_i‖², ‖r_j‖²) of live rows in the order of their clusters, the largest clusters first, as many as are shown. */
export function similarityByCluster(kernel: tfc.Tensor, labels: readonly number[]): number[][] {
  const rows = rowsOf(kernel);
  const sizes = new Map<number, number>();
  for (const label of labels) sizes.set(label, (sizes.get(label) ?? 0) + 1);
  const order = labels
    .map((label, row) => ({ label, row }))
    .filter(({ label }) => label >= 0)
    .sort((a, b) => sizes.get(b.label)! - sizes.get(a.label)! || a.label - b.label || a.row - b.row);
  const shown = order.slice(0, SHOWN).map(({ row }) => rows[row]);
  const squares = shown.map((row) => dot(row, row));
  return shown.map((a, i) => shown.map((b, j) => significant(dot(a, b) / Math.max(squares[i], squares[j]))));
}

const significant = (value: number): number => Number(value.toPrecision(3));
