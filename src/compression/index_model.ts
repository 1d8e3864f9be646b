/**
 * Codes the codebook indices of one weight tensor, seen as a matrix. Trained and pruned weights are not independent:
 * units and inputs die together, and an input's neighbours (in a flattened image the next pixel, and the pixel `lag`
 * rows above) share its fate. Each weight is coded as "is it the commonest symbol?", predicted by an online logistic
 * regression on the densities of its row, of its column and of its neighbourhood, on the neighbours themselves and on
 * two adaptive context counters; the rare other symbols follow as a mixed binary tree over the sorted codebook.
 */
import { BitMixer, RATE, squash, STRETCH } from './bit_model.js';
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
  const independent = coder.bit(0.5, mode.independent ? 1 : 0) === 1;
  if (independent) return { independent, transposed: false, lag: 1 };
  const transposed = coder.bit(0.5, mode.transposed ? 1 : 0) === 1;
  return { independent, transposed, lag: codeNumber(coder, mode.lag - 1) + 1 };
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
function treeDepth(symbols: number): number {
  let depth = 0;
  while (2 ** depth < symbols - 1) depth++;
  return depth;
}

/** Adaptive frequencies with Krichevsky and Trofimov's estimator: within (log₂ n)/2 bits a node of the entropy. */
function codeIndependent(coder: BitCoder, indices: Uint16Array, symbols: number, common: number): void {
  const depth = treeDepth(symbols);
  const ones = new Float64Array(2 << depth).fill(0.5);
  const seen = new Float64Array(2 << depth).fill(1);
  const learn = (node: number, bit: number): number => {
    const p = ones[node] / seen[node];
    bit = coder.bit(p < P_MIN ? P_MIN : p > 1 - P_MIN ? 1 - P_MIN : p, bit);
    ones[node] += bit;
    seen[node]++;
    return bit;
  };
  const leaves = 1 << depth;
  for (let i = 0; i < indices.length; i++) {
    const symbol = indices[i];
    if (learn(0, symbol === common ? 0 : 1) === 0) {
      indices[i] = common;
      continue;
    }
    const value = symbol > common ? symbol - 1 : symbol;
    let node = 1;
    for (let k = depth - 1; k >= 0; k--) node = node * 2 + learn(node, (value >> k) & 1);
    indices[i] = valueToSymbol(node - leaves, common, symbols);
  }
}

function valueToSymbol(value: number, common: number, symbols: number): number {
  // A damaged stream may name a leaf beyond the codebook; never hand it on.
  if (value > symbols - 2) throw new Error('an index points outside its codebook');
  return value >= common ? value + 1 : value;
}

const NEIGHBOURS = 6;
const DENSITIES = 4;
const INPUTS = DENSITIES + 2;

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
  const related = previous !== null && previous.length === matrixRows ? previous : null;

  // `set` and `local` hold lag + 3 rows, framed by empty columns so that a neighbour outside reads as absent.
  const width = columns + 3;
  const ring = lag + 3;
  const set = new Uint8Array(ring * width);
  const local = new Float64Array(ring * width);
  const rowCounts = new Float64Array(rows);
  const columnCounts = new Float64Array(columns);
  const weights = new Float64Array(INPUTS + NEIGHBOURS).fill(0.2, 0, INPUTS);
  const counterB = new Float64Array(2048).fill(0.05);
  const visitsB = new Uint16Array(2048);
  const alive = new BitMixer({ sizes: [8, 1], weight: 0.5, rate: 0.002, limit: 400 });
  const image = lag > 1;
  const values = new ValueModel(coder, rows, columns, symbols, common, image);

  const fromAbove = image ? 0.35 : 0.9;
  const fromFar = image ? 0.175 : 0;
  const rowScale = Float64Array.from({ length: columns }, (_, j) => 16384 / (j + 40));
  let total = 0;
  let seen = 0;
  let liveRows = 0;

  for (let i = 0; i < rows; i++) {
    const row = (back: number): number => ((i + ring - back) % ring) * width + 2;
    const at = row(0);
    const above = row(1);
    const far = row(lag);
    const farNext = row(image ? lag - 1 : 1);
    // The neighbours, nearest first.
    const o2 = image ? far : row(3);
    const o3 = image ? farNext : row(2);
    const o4 = image ? row(lag + 1) : above - 1;
    const o6 = image ? row(2) : at - 2;
    const count = (back: number): number => (i >= back ? rowCounts[i - back] : 0);
    const base = i * rowStride;

    let live = 0;
    for (let j = 0; j < columns && live === 0; j++) live = indices[base + j * columnStride] === common ? 0 : 1;
    alive.context[0] =
      (count(1) > 0 ? 1 : 0) + (count(lag) > 0 ? 2 : 0) + ((image ? count(lag - 1) : count(2)) > 0 ? 4 : 0);
    live = alive.code(coder, live);

    if (live === 0) {
      for (let j = 0, p = base; j < columns; j++, p += columnStride) {
        indices[p] = common;
        set[at + j] = 0;
        local[at + j] = fromAbove * local[above + j] + fromFar * (local[far + j] + local[farNext + j]);
      }
      continue;
    }

    const mean = (total + 0.5) / (seen + 10);
    const near = (count(1) + count(lag) + (image ? count(lag - 1) + count(lag + 1) : count(2) + count(3))) / 4 / columns;
    let prior = 0.75 * near + 0.25 * mean;
    if (related !== null && !transposed) prior = 0.4 * prior + 0.6 * related[i] * mean;
    prior *= 40;
    const columnScale = 16384 / (liveRows + 8);
    const columnPrior = mean * 8;
    const meanLogit = STRETCH[(mean * 16384) | 0];
    let rowCount = 0;
    const decay = 0.002 * (1 + 8 / (1 + seen / 50));

    for (let j = 0, p = base; j < columns; j++, p += columnStride) {
      const n1 = set[above + j];
      const n2 = set[o2 + j];
      const n3 = set[o3 + j];
      const n4 = set[o4 + j];
      const n5 = set[at - 1 + j];
      const n6 = set[o6 + j];
      const density = fromAbove * local[above + j] + fromFar * (local[far + j] + local[farNext + j]);
      let columnDensity = columnCounts[j] + columnPrior * (related !== null && transposed ? 0.4 + 0.6 * related[j] : 1);
      columnDensity *= columnScale;
      const x0 = STRETCH[((rowCount + prior) * rowScale[j]) | 0];
      const x1 = STRETCH[columnDensity < 16383 ? columnDensity | 0 : 16383];
      const x2 = STRETCH[density < 7 ? ((density + 0.05) * 2048) | 0 : 14438];
      // Half steps of the logit between 0.25 % and 98 %.
      const q1 = x1 < -6 ? 0 : x1 > 1.5 ? 15 : ((x1 + 6) * 2) | 0;
      const q2 = x2 < -6 ? 0 : x2 > 1.5 ? 15 : ((x2 + 6) * 2) | 0;
      const contextB = q2 | (q1 << 4) | (n1 << 8) | (n2 << 9) | (n5 << 10);
      const x4 = STRETCH[(counterB[contextB] * 16384) | 0];

      let sum =
        weights[0] * x0 + weights[1] * x1 + weights[2] * x2 + weights[3] * meanLogit + weights[5] * x4;
      const any = n1 + n2 + n3 + n4 + n5 + n6;
      if (any !== 0) {
        sum += n1 * weights[6] + n2 * weights[7] + n3 * weights[8] + n4 * weights[9] + n5 * weights[10] + n6 * weights[11];
      }
      const prediction = squash(sum);
      const bit = coder.bit(prediction, indices[p] === common ? 0 : 1);

      const error = bit - prediction;
      const step = error * decay;
      weights[0] += step * x0;
      weights[1] += step * x1;
      weights[2] += step * x2;
      weights[3] += step * meanLogit;
      weights[5] += step * x4;
      if (any !== 0) {
        const jump = 4 * step;
        weights[6] += n1 * jump;
        weights[7] += n2 * jump;
        weights[8] += n3 * jump;
        weights[9] += n4 * jump;
        weights[10] += n5 * jump;
        weights[11] += n6 * jump;
      }
      const vB = visitsB[contextB];
      counterB[contextB] += (bit - counterB[contextB]) * RATE[vB];
      if (vB < 400) visitsB[contextB] = vB + 1;

      local[at + j] = density + bit;
      set[at + j] = bit;
      if (bit === 0) indices[p] = common;
      else {
        rowCount++;
        columnCounts[j]++;
        const up = i > 0 ? indices[p - rowStride] : common;
        const upper = i >= lag ? indices[p - lag * rowStride] : common;
        indices[p] = values.code(i, j, indices[p], up, upper);
      }
    }
    rowCounts[i] = rowCount;
    total += rowCount;
    seen += columns;
    liveRows++;
  }
}

/** The symbols other than the common one, given what surrounds them. */
class ValueModel {
  private readonly depth: number;
  private readonly mixed: number;
  private readonly mixer: BitMixer;
  private readonly last: Uint16Array;
  private readonly columnSigns: Int8Array;
  private readonly rowSigns: Int8Array;
  private readonly scale: number;

  constructor(
    private readonly coder: BitCoder,
    rows: number,
    columns: number,
    private readonly symbols: number,
    private readonly common: number,
    private readonly image: boolean,
  ) {
    this.depth = treeDepth(symbols);
    // The tree's first eight levels are modelled; below, a 16-bit codebook's low bits are as good as random.
    this.mixed = Math.min(this.depth, 8);
    const nodes = 1 << this.mixed;
    const sizes = [nodes, 16 * nodes, 16 * nodes, 16 * nodes, 16 * nodes];
    this.mixer = new BitMixer({ sizes, weight: 0.25, rate: 0.006, limit: 400 });
    this.last = new Uint16Array(columns).fill(common);
    this.columnSigns = new Int8Array(columns);
    this.rowSigns = new Int8Array(rows);
    this.scale = 16 / Math.max(symbols, 16);
  }

  code(row: number, column: number, symbol: number, up: number, upper: number): number {
    const { coder, common, mixer, mixed, columnSigns, rowSigns, scale } = this;
    const { context } = mixer;
    const value = symbol > common ? symbol - 1 : symbol;
    const a = ((up * scale) | 0) << mixed;
    const b = ((this.last[column] * scale) | 0) << mixed;
    const c = (this.image ? (upper * scale) | 0 : 8 + (rowSigns[row] >> 1)) << mixed;
    const d = (8 + columnSigns[column]) << mixed;
    let node = 1;
    for (let k = 1; k <= mixed; k++) {
      context[0] = node;
      context[1] = a + node;
      context[2] = b + node;
      context[3] = c + node;
      context[4] = d + node;
      node = node * 2 + mixer.code(coder, (value >> (this.depth - k)) & 1);
    }
    let leaf = node - (1 << mixed);
    for (let k = this.depth - mixed - 1; k >= 0; k--) leaf = leaf * 2 + coder.bit(0.5, (value >> k) & 1);
    symbol = valueToSymbol(leaf, common, this.symbols);
    this.last[column] = symbol;
    const sign = symbol > common ? 1 : -1;
    columnSigns[column] = Math.max(-8, Math.min(7, columnSigns[column] + sign));
    rowSigns[row] = Math.max(-16, Math.min(15, rowSigns[row] + sign));
    return symbol;
  }
}
