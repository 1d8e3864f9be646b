/**
 * Gathering rows of a table and its transpose, adding rows into a table, as loops over typed arrays. A number outside of [0, rows) names
 * no row: it is gathered as zeros, and what is added to it is dropped.
 */
import type { Values } from '../host_memory.js';

/** From this width on a row is moved by `TypedArray.set` rather than number by number. */
const WIDE = 32;

/** out[i, :] = table[ids[i], :]; `table` [rows, width], `out` [ids.length, width]. */
export function gatherInto(out: Values, table: Values, ids: Values, width: number): void {
  const rows = width === 0 ? 0 : table.length / width;
  for (let i = 0, to = 0; i < ids.length; i++, to += width) {
    const id = ids[i];
    if (!(id >= 0 && id < rows)) out.fill(0, to, to + width);
    else if (width === 1) out[to] = table[id];
    else if (width >= WIDE) out.set(table.subarray(id * width, (id + 1) * width), to);
    else for (let j = 0, from = id * width; j < width; j++) out[to + j] = table[from + j];
  }
}

/** out[r, :] = Σ values[i, :] over the i with ids[i] = r; `values` [ids.length, width], `out` [rows, width]. */
export function scatterAddInto(out: Values, values: Values, ids: Values, width: number): void {
  out.fill(0);
  const rows = width === 0 ? 0 : out.length / width;
  for (let i = 0, from = 0; i < ids.length; i++, from += width) {
    const id = ids[i];
    if (!(id >= 0 && id < rows)) continue;
    for (let j = 0, to = id * width; j < width; j++) out[to + j] += values[from + j];
  }
}

/** Whether every number names a row. */
export function allWithin(ids: Values, rows: number): boolean {
  for (let i = 0; i < ids.length; i++) if (!(ids[i] >= 0 && ids[i] < rows)) return false;
  return true;
}
