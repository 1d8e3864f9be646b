/**
 * Codes the codebook indices of one weight tensor, seen as a matrix. Trained and pruned weights are not independent:
 * units and inputs die together, and an input's neighbours (in a flattened image the next pixel, and the pixel `lag` rows
 * above) share its fate. Rows and columns without a weight are named first. In the others each weight is coded as "is it
 * the commonest symbol?", predicted by a logistic regression on the densities of its row and column and on its
 * neighbours; its weights are fitted by the encoder and stand in the file. The other symbols follow, given the mean of
 * the neighbours' symbols.
 */
import { squash, STRETCH } from './bit_model.js';
import { type Coder, codeNumber, EVEN } from './range_coder.js';
import { symbolModel } from './symbol_model.js';

/** How one tensor of indices is coded; written before it. The encoder tries several. */
export interface IndexMode {
  /**
   * Distance in rows to the neighbour above; 1 where rows have no second dimension, and no neighbours count; 0 for
   * independent symbols: plain adaptive frequencies, and the other fields mean nothing.
   */
  lag: number;
  /** Whether columns are walked as rows. */
  transposed: boolean;
  /** Of the constant, the logits of mean, row's and column's density, and the five neighbours, in sixteenths. */
  weights: Int8Array;
}

/** What trained networks need on average: a mode's weights are written as differences from these. */
export const usualWeights = (lag: number): Int8Array =>
  Int8Array.from(lag > 1 ? [-14, -9, 12, 9, 15, 13, 10, 2, 2] : lag > 0 ? [4, -9, 13, 12] : []);

export function codeIndexMode(coder: Coder, mode?: IndexMode): IndexMode {
  const lag = codeNumber(coder, mode?.lag);
  const transposed = lag > 0 && coder.bit(EVEN, mode?.transposed ? 1 : 0) > 0;
  const weights = usualWeights(lag).map((usual, i) => {
    const difference = mode ? mode.weights[i] - usual : 0;
    const code = codeNumber(coder, (difference << 1) ^ (difference >> 31));
    return usual + ((code >> 1) ^ -(code & 1));
  });
  return { lag, transposed, weights };
}

/** Columns of the matrix that a tensor's shape is seen as: all dimensions but the last are rows. */
export const matrixColumns = (shape: readonly number[], size: number): number => (shape.length > 1 ? shape[shape.length - 1] : size);

/**
 * Codes `indices` (values below `symbols`); decoding fills it. `common` is the symbol that the mask singles out.
 */
export function codeIndices(
  coder: Coder,
  indices: Uint16Array,
  columns: number,
  symbols: number,
  common: number,
  mode: IndexMode,
): void {
  if (mode.lag > 0) return codeInContext(coder, indices, columns, symbols, common, mode);
  const codeSymbol = symbolModel(coder, 1, symbols);
  for (let i = 0; i < indices.length; i++) indices[i] = codeSymbol(0, indices[i]);
}

/** Codes one row of the mask; returns how many columns are set, whose numbers stand in `hits`. The hot loop: integers only. */
function codeRow(
  coder: Coder,
  column: Int32Array,
  rate: Int32Array,
  marks: Uint8Array,
  table: Int32Array,
  bits: Uint8Array,
  hits: Int32Array,
  rowWeight: number,
  columnWeight: number,
  at: number,
  density: number,
  mean: number,
  constant: number,
  columnRate: number,
): number {
  let count = 0;
  for (let k = 0; k < column.length; k++) {
    const past = column[k];
    const near = marks[at + k];
    const row = STRETCH[density >> 2];
    const col = STRETCH[past >> 2];
    const logit = Math.imul(rowWeight, row) + Math.imul(columnWeight, col) + table[near] + constant;
    const bit = coder.bit(squash(logit >> 5), bits[k], mean, row, col, near);
    const target = -bit & 65535;
    density += Math.imul(target - density, rate[k]) >> 16;
    column[k] = past + (Math.imul(target - past, columnRate) >> 16);
    hits[count] = k;
    count += bit;
  }
  return count;
}

/** Distances in rows to the neighbours, by the bit that stands for each. */
const neighbours = (lag: number): number[] => (lag > 1 ? [1, lag, lag - 1, lag + 1, 2] : []);

function codeInContext(
  coder: Coder,
  indices: Uint16Array,
  matrixColumns: number,
  symbols: number,
  common: number,
  { transposed, lag, weights }: IndexMode,
): void {
  const matrixRows = indices.length / matrixColumns;
  const rows = transposed ? matrixColumns : matrixRows;
  const columns = transposed ? matrixRows : matrixColumns;
  const rowStride = transposed ? 1 : matrixColumns;
  const columnStride = transposed ? matrixColumns : 1;
  const decodes = coder.target !== undefined;

  const alive = new Uint8Array(columns);
  if (decodes) indices.fill(common);
  else for (let p = 0; p < indices.length; p++) if (indices[p] !== common) alive[Math.floor(p / columnStride) % columns] = 1;
  const codeAlive = symbolModel(coder, 9, 2);
  const live = Int32Array.from(alive.keys()).filter((j) => codeAlive(8, alive[j]) > 0);

  const width = live.length;
  const distances = neighbours(lag);
  const below = new Int32Array(distances.length);
  const ring = lag + 2;
  const marks = new Uint8Array(ring * width);
  const table = new Int32Array(32);
  for (let m = 1; m < 1 << distances.length; m++) table[m] = table[m & (m - 1)] + 256 * weights[35 - Math.clz32(m & -m)];
  const bits = new Uint8Array(width);
  const hits = new Int32Array(width + 1);
  const [constant, meanWeight, rowWeight, columnWeight] = weights;
  const rate = Int32Array.from(live, (_, k) => Math.max(65536 / (k + 40), 256));
  const column = new Int32Array(width).fill(6553);

  const codeRank = symbolModel(coder, 18, symbols - 1);
  const scale = Math.min(1, 16 / symbols);
  const codeValue = (p: number, near: number): void => {
    let context = 17;
    if (near > 0) {
      let sum = 0;
      let count = 0;
      for (let m = near; m > 0; m &= m - 1) {
        const d = 31 - Math.clz32(m & -m);
        const importance = d < 2 ? 2 : 1;
        sum += (indices[p - distances[d] * rowStride] - common) * importance;
        count += importance;
      }
      context = Math.max(0, Math.min(16, Math.floor((sum / count) * scale + 8.5)));
    }
    const rank = codeRank(context, indices[p] > common ? indices[p] - 1 : indices[p]);
    indices[p] = rank < common ? rank : rank + 1;
  };

  const rowCounts = new Float64Array(rows);
  let total = 0;
  let seen = 0;
  for (let i = 0; i < rows; i++) {
    const at = (i % ring) * width;
    const base = i * rowStride;
    const count = (back: number): number => rowCounts[i - back] || 0;
    if (!decodes) live.forEach((j, k) => (bits[k] = indices[base + j * columnStride] === common ? 0 : 1));
    const context = (count(1) > 0 ? 1 : 0) + (count(lag) > 0 ? 2 : 0) + (count(lag + 1) > 0 ? 4 : 0);
    if (codeAlive(context, decodes || bits.includes(1) ? 1 : 0)) {
      const mean = (total + 0.5) / (seen + 10);
      const meanLogit = STRETCH[(mean * 16384) | 0];
      const prior = (0.75 * (2 * count(1) + count(lag) + count(lag + 1))) / 4 / width + 0.25 * mean;
      const density = (65536 * prior) | 0;
      const columnRate = Math.max(65536 / (seen / width + 8), 1024) | 0;
      const found = codeRow(coder, column, rate, marks, table, bits, hits, rowWeight, columnWeight, at, density, meanLogit, 256 * constant + meanWeight * meanLogit, columnRate);
      distances.forEach((distance, d) => (below[d] = ((i + distance) % ring) * width));
      for (let h = 0; h < found; h++) {
        const k = hits[h];
        codeValue(base + live[k] * columnStride, marks[at + k]);
        for (let d = 0; d < below.length; d++) marks[below[d] + k] |= 1 << d;
      }
      rowCounts[i] = found;
      total += found;
      seen += width;
    }
    marks.fill(0, at, at + width);
  }
}
