/**
 * Codes the codebook indices of one weight tensor, seen as a matrix. Trained and pruned weights are not independent:
 * units and inputs die together, and an input's neighbours (in a flattened image the next pixel, and the pixel `lag`
 * rows above) share its fate. Each weight is coded as "is it the commonest symbol?", predicted by an online logistic
 * regression on the densities of its row, of its column and of its neighbourhood and on the neighbours themselves; the rare other symbols follow as a mixed binary tree over the sorted codebook.
 */
import { bitMixer, squash, STRETCH } from './bit_model.js';
import { type BitCoder, codeNumber, P_MIN } from './range_coder.js';

/** How one tensor of indices is coded; written before it. The encoder tries several. */
export interface IndexMode {
  /** Independent symbols: plain adaptive frequencies. The other fields then mean nothing. */
  independent: boolean;
  /** Whether columns are walked as rows. */
  transposed: boolean;
  /** Distance in rows to the neighbour above; 1 where rows have no second dimension. */
  lag: number;
}

/** Density of each output unit (column) of the tensor coded before, relative to their mean: the next layer's rows. */
export type UnitDensity = Float64Array | null;

export function codeIndexMode(coder: BitCoder, mode: IndexMode): IndexMode {
  return {
    independent: coder.bit(0.5, mode.independent ? 1 : 0) === 1,
    transposed: coder.bit(0.5, mode.transposed ? 1 : 0) === 1,
    lag: codeNumber(coder, mode.lag - 1) + 1,
  };
}

/** The matrix that a tensor's shape is seen as: all dimensions but the last are rows. */
export function matrixShape(shape: readonly number[], size: number): [rows: number, columns: number] {
  const columns = shape.length > 1 ? shape[shape.length - 1] : size;
  return [columns > 0 ? size / columns : 0, columns];
}

/** Codes `indices` (values below `symbols`); decoding fills it. `common` is the symbol that the mask singles out. */
export function codeIndices(
  coder: BitCoder,
  indices: Uint16Array,
  columns: number,
  symbols: number,
  common: number,
  mode: IndexMode,
  previous: UnitDensity,
): void {
  if (mode.independent) codeIndependent(coder, indices, symbols, common);
  else codeInContext(coder, indices, columns, symbols, common, mode, previous);
}

/** Relative density of "not `common`" per column. */
export function unitDensity(indices: Uint16Array, columns: number, common: number): UnitDensity {
  const density = new Float64Array(columns);
  let total = 0;
  for (let i = 0, j = 0; i < indices.length; i++) {
    if (indices[i] !== common) {
      density[j]++;
      total++;
    }
    if (++j === columns) j = 0;
  }
  for (let j = 0; j < columns; j++) density[j] *= columns / (total + 1);
  return density;
}

/** Bits of the tree over the symbols other than the common one. */
const treeDepth = (symbols: number): number => 32 - Math.clz32(symbols - 2);

/** Adaptive frequencies, a Beta(1.5, 1.5) prior at every node of the tree: about (log₂ n)/2 bits a node above the entropy. */
function codeIndependent(coder: BitCoder, indices: Uint16Array, symbols: number, common: number): void {
  const depth = treeDepth(symbols);
  const leaves = 1 << depth;
  const ones = new Float64Array(leaves).fill(1.5);
  const seen = new Float64Array(leaves).fill(3);
  const learn = (node: number, bit: number): number => {
    bit = coder.bit(Math.max(P_MIN, Math.min(1 - P_MIN, ones[node] / seen[node])), bit);
    ones[node] += bit;
    seen[node]++;
    return bit;
  };
  for (let i = 0; i < indices.length; i++) {
    const symbol = indices[i];
    const value = symbol > common ? symbol - 1 : symbol;
    let node = 1;
    if (learn(0, symbol === common ? 0 : 1) === 0) indices[i] = common;
    else {
      for (let k = depth - 1; k >= 0; k--) node = node * 2 + learn(node, (value >> k) & 1);
      indices[i] = valueToSymbol(node - leaves, common, symbols);
    }
  }
}

function valueToSymbol(value: number, common: number, symbols: number): number {
  // A damaged stream may name a leaf beyond the codebook; never hand it on.
  if (value > symbols - 2) throw new Error('an index is out of range');
  return value >= common ? value + 1 : value;
}

function codeInContext(
  coder: BitCoder,
  indices: Uint16Array,
  matrixColumns: number,
  symbols: number,
  common: number,
  { transposed, lag }: IndexMode,
  previous: UnitDensity,
): void {
  const matrixRows = indices.length / matrixColumns;
  const rows = transposed ? matrixColumns : matrixRows;
  const columns = transposed ? matrixRows : matrixColumns;
  const rowStride = transposed ? 1 : matrixColumns;
  const columnStride = transposed ? matrixColumns : 1;
  const related = !transposed && previous?.length === matrixRows ? previous : null;

  // These hold lag + 3 rows. In `marks` a set weight leaves a bit for each later row that it is a neighbour of: such
  // weights are few, so that reading one byte replaces looking at five places.
  const ring = lag + 3;
  const marks = new Uint8Array(ring * columns);
  const local = new Float64Array(ring * columns);
  const rowCounts = new Float64Array(rows);
  const columnCounts = new Float64Array(columns);
  // Of the logits of the row's, column's, neighbourhood's and mean density, and of six neighbours.
  const weights = new Float64Array(10).fill(0.25, 0, 4);
  const alive = bitMixer([8], 1, 0.002, 400);
  const image = lag > 1;
  const codeValue = valueModel(coder, columns, symbols, common);

  const fromAbove = image ? 0.35 : 0.9;
  const fromFar = image ? 0.175 : 0;
  const rowScale = Float64Array.from({ length: columns }, (_, j) => 16384 / (j + 40));
  let total = 0;
  let seen = 0;

  for (let i = 0; i < rows; i++) {
    const row = (back: number): number => ((i + ring - back) % ring) * columns;
    const at = row(0);
    const above = row(1);
    const far = row(lag);
    const farNext = row(lag - 1 || 3);
    const below = [1, lag, lag - 1 || 3, lag + 1, 2].map((distance) => row(-distance));
    const nearby = (j: number): number => fromAbove * local[above + j] + fromFar * (local[far + j] + local[farNext + j]);
    const count = (back: number): number => (i >= back ? rowCounts[i - back] : 0);
    const base = i * rowStride;

    let live = 0;
    for (let j = 0; j < columns && live === 0; j++) live = indices[base + j * columnStride] === common ? 0 : 1;
    alive.context[0] = (count(1) > 0 ? 1 : 0) + (count(lag) > 0 ? 2 : 0) + (count(lag + 1) > 0 ? 4 : 0);
    live = alive.code(coder, live);

    if (live === 0) {
      for (let j = 0, p = base; j < columns; j++, p += columnStride) {
        indices[p] = common;
        marks[at + j] = 0;
        local[at + j] = nearby(j);
      }
      continue;
    }

    const mean = (total + 0.5) / (seen + 10);
    const rowsNear = (2 * count(1) + count(lag) + count(lag + 1)) / 4 / columns;
    let prior = 0.75 * rowsNear + 0.25 * mean;
    if (related !== null) prior = 0.4 * prior + 0.6 * related[i] * mean;
    // A row that its unit's other side predicts to be crowded may not be given a rate of 1.
    prior = 40 * Math.min(prior, 0.9);
    const columnScale = 16384 / (seen / columns + 8);
    const columnPrior = mean * 8;
    const meanLogit = STRETCH[(mean * 16384) | 0];
    let rowCount = 0;
    let left = 0;
    const decay = 0.002 * (1 + 8 / (1 + seen / 50));

    for (let j = 0, p = base; j < columns; j++, p += columnStride) {
      const near = marks[at + j] | (left << 5);
      const density = fromAbove * local[above + j] + fromFar * (local[far + j] + local[farNext + j]);
      const columnDensity = (columnCounts[j] + columnPrior) * columnScale;
      const x0 = STRETCH[((rowCount + prior) * rowScale[j]) | 0];
      const x1 = STRETCH[columnDensity < 16383 ? columnDensity | 0 : 16383];
      const x2 = STRETCH[density < 7 ? ((density + 0.05) * 2048) | 0 : 14438];

      let sum = weights[0] * x0 + weights[1] * x1 + weights[2] * x2 + weights[3] * meanLogit;
      for (let m = near; m !== 0; m &= m - 1) sum += weights[35 - Math.clz32(m & -m)];
      const prediction = squash(sum);
      const bit = coder.bit(prediction, indices[p] === common ? 0 : 1);

      const step = (bit - prediction) * decay;
      weights[0] += step * x0;
      weights[1] += step * x1;
      weights[2] += step * x2;
      weights[3] += step * meanLogit;
      for (let m = near; m !== 0; m &= m - 1) weights[35 - Math.clz32(m & -m)] += 4 * step;

      local[at + j] = density + bit;
      marks[at + j] = 0;
      left = bit;
      if (bit === 0) indices[p] = common;
      else {
        for (let k = 0; k < 5; k++) marks[below[k] + j] |= 1 << k;
        rowCount++;
        columnCounts[j]++;
        const up = i > 0 ? indices[p - rowStride] : common;
        const upper = i >= lag ? indices[p - lag * rowStride] : common;
        indices[p] = codeValue(j, indices[p], up, upper);
      }
    }
    rowCounts[i] = rowCount;
    total += rowCount;
    seen += columns;
  }
}

/** Codes the symbols other than the common one, given what surrounds them; returns the function that codes the next. */
function valueModel(
  coder: BitCoder,
  columns: number,
  symbols: number,
  common: number,
): (column: number, symbol: number, up: number, upper: number) => number {
  const depth = treeDepth(symbols);
  // The tree's first eight levels are modelled; below, a 16-bit codebook's low bits are as good as random.
  const mixed = Math.min(depth, 8);
  const nodes = 1 << mixed;
  const size = 16 * nodes;
  const mixer = bitMixer([nodes, size, size, size, size], 0.25, 0.006, 400);
  const { context } = mixer;
  const last = new Uint16Array(columns).fill(common);
  const columnSigns = new Int8Array(columns);
  const scale = 16 / Math.max(symbols, 16);

  return (column, symbol, up, upper) => {
    const value = symbol > common ? symbol - 1 : symbol;
    const a = ((up * scale) | 0) << mixed;
    const b = ((last[column] * scale) | 0) << mixed;
    const c = ((upper * scale) | 0) << mixed;
    const d = (8 + columnSigns[column]) << mixed;
    let node = 1;
    for (let k = 1; k <= mixed; k++) {
      context[0] = node;
      context[1] = a + node;
      context[2] = b + node;
      context[3] = c + node;
      context[4] = d + node;
      node = node * 2 + mixer.code(coder, (value >> (depth - k)) & 1);
    }
    let leaf = node - nodes;
    for (let k = depth - mixed - 1; k >= 0; k--) leaf = leaf * 2 + coder.bit(0.5, (value >> k) & 1);
    const result = valueToSymbol(leaf, common, symbols);
    last[column] = result;
    columnSigns[column] = Math.max(-8, Math.min(7, columnSigns[column] + (result > common ? 1 : -1)));
    return result;
  };
}
