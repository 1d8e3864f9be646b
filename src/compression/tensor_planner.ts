/** Chooses the smallest encoding of each tensor by trying them. Encoder only; the format is in `tensor_codec.ts`. */
import { codePlanes } from './byte_model.js';
import { codeIndices, type IndexMode, usualWeights } from './index_model.js';
import { fitWeights } from './mask_fit.js';
import { RangeEncoder } from './range_coder.js';
import { distinctRows } from './row_plan.js';
import { symbolModel } from './symbol_model.js';
import { type Codebook, COPY, INDICES, newHistory, PLANES, ROWS, type TensorBytes, type TensorHistory, type TensorPlan } from './tensor_codec.js';

const MAX_SYMBOLS = 65536;
/** Byte planes are coded bit by bit, an order of magnitude slower than copied: only where a tensor is small. */
const MAX_MODELLED_VALUES = 65536;
/** Modes are tried on at most this many values. */
const TRIAL_VALUES = 1 << 18;
/** Contexts take several times as long as independent symbols: in a tensor of more values they must save a twentieth. */
const SMALL = 32768;
const MAX_LAG = 64;

/** Facts of one tensor that planning needs, found once. */
export interface TensorFacts {
  tensor: TensorBytes;
  quantity: Quantity;
  /** The sorted distinct values, or null where there are too many. */
  codebook: Codebook | null;
  /** First tensor with the same bytes, or −1. */
  copyOf: number;
}

/** Collects the facts of all tensors; equal codebooks become one object. */
export function collectFacts(tensors: TensorBytes[], quantities: readonly Quantity[]): TensorFacts[] {
  const firsts = new Map<string, number[]>();
  const codebooks = new Map<string, Codebook>();
  return tensors.map((tensor, i) => {
    const key = `${tensor.width} ${tensor.bytes.length} ${sample(tensor.bytes)}`;
    const candidates = firsts.get(key) ?? [];
    const copyOf = candidates.find((j) => equalBytes(tensors[j].bytes, tensor.bytes)) ?? -1;
    if (copyOf < 0) firsts.set(key, [...candidates, i]);
    const distinct = copyOf < 0 && tensor.bytes.length > 0 ? distinctValues(tensor, quantities[i]) : null;
    const quantity = quantities[i];
    if (distinct === null) return { tensor, quantity, codebook: null, copyOf };
    const id = `${distinct.width} ${distinct.bytes.join()}`;
    const codebook = codebooks.get(id) ?? distinct;
    codebooks.set(id, codebook);
    return { tensor, quantity, codebook, copyOf };
  });
}

/** How the bits of a value are ordered in its codebook. */
export type Quantity = 'float' | 'signed' | 'unsigned';

/** The plan for tensor `at`; `history` is what has been written before it. */
export function planTensor(facts: readonly TensorFacts[], at: number, history: TensorHistory): TensorPlan {
  if (facts[at].copyOf >= 0) return { kind: COPY, of: facts[at].copyOf };
  const values = planValues(facts, at, history);
  const rows = planRows(facts[at]);
  return rows !== null && rows.size < values.size ? rows.plan : values.plan;
}

/** Value by value: a codebook and indices, or byte planes. */
function planValues(facts: readonly TensorFacts[], at: number, history: TensorHistory): Planned {
  const { tensor, codebook } = facts[at];
  let best: Planned | null = null;
  let mode: IndexMode | undefined;
  for (const candidate of codebook === null ? [] : candidateCodebooks(facts, codebook)) {
    const planned = planIndices(tensor, candidate, mode);
    mode = planned.plan.mode;
    // A codebook that stands in the file already, or that another tensor needs anyway, costs this one nothing.
    const shared = history.codebooks.includes(candidate) || facts.some((f, i) => i !== at && f.codebook === candidate);
    const table = planPlanes(candidate);
    const size = planned.size + 1 + (shared ? 0 : table.size);
    if (best === null || size < best.size) best = { size, plan: { ...planned.plan, codebookPlanes: table.plan.planes } };
  }
  // What indices halve, byte planes do not make smaller still.
  if (best !== null && best.size < tensor.bytes.length / 2) return best;
  const planes = planPlanes(tensor);
  return best !== null && best.size < planes.size ? best : planes;
}

/** Row by row: the distinct ones, and which of them each is. Null where too few are equal. */
function planRows({ tensor, quantity }: TensorFacts): Planned | null {
  const found = distinctRows(tensor);
  if (found === null) return null;
  const distinct = planValues(collectFacts([found.distinct], [quantity]), 0, newHistory());
  const encoder = new RangeEncoder();
  const codeLabel = symbolModel(encoder, 1, found.count);
  found.labels.forEach((label) => codeLabel(0, label));
  const { count, labels } = found;
  return { size: distinct.size + encoder.length + 3, plan: { kind: ROWS, count, distinct: found.distinct.bytes, distinctPlan: distinct.plan, labels } };
}

interface Planned {
  plan: TensorPlan;
  size: number;
}

function planPlanes({ bytes, width }: { bytes: Uint8Array; width: number }): Planned {
  const count = bytes.length / width;
  let planes = 0;
  let size = bytes.length + 1;
  for (let k = 0; k < width && count <= MAX_MODELLED_VALUES; k++) {
    const trial = new RangeEncoder();
    codePlanes(trial, bytes.slice(), width, 1 << k);
    if (trial.length < bytes.length) {
      size -= bytes.length - trial.length;
      planes |= 1 << k;
    }
  }
  return { plan: { kind: PLANES, planes }, size };
}

/** The tensor's own values, and the largest set of another tensor that contains them and is not out of proportion. */
function candidateCodebooks(facts: readonly TensorFacts[], own: Codebook): Codebook[] {
  if (own.bytes.length === own.width) return [own];
  const limit = 2 * own.bytes.length + 16 * own.width;
  let largest = own;
  for (const { codebook } of facts) {
    if (codebook === null || codebook.width !== own.width || codebook.bytes.length > limit) continue;
    if (codebook.bytes.length > largest.bytes.length && contains(codebook, own)) largest = codebook;
  }
  return largest === own ? [own] : [own, largest];
}

/** `chosen` is the mode found with another codebook, which orders the same values alike. */
function planIndices(tensor: TensorBytes, codebook: Codebook, chosen?: IndexMode): Planned {
  const { columns } = tensor;
  const indices = indicesOf(tensor, codebook);
  const symbols = codebook.bytes.length / codebook.width;
  const { common, share } = commonest(indices, symbols);
  const independent: IndexMode = { lag: 0, transposed: false, weights: new Int8Array() };
  const plan = (mode: IndexMode): TensorPlan => ({ kind: INDICES, codebook, common, indices, mode });
  if (symbols === 1) return { plan: plan(independent), size: 0 };

  const rows = Math.min(indices.length / columns, Math.max(1, Math.floor(TRIAL_VALUES / columns)));
  const trial = indices.subarray(0, rows * columns);
  const cost = (mode: IndexMode): number => {
    const encoder = new RangeEncoder();
    codeIndices(encoder, trial, columns, symbols, common, mode);
    return encoder.length * (indices.length / trial.length) + 1;
  };
  if (chosen !== undefined) return { plan: plan(chosen), size: cost(chosen) };

  const plain = cost(independent);
  const large = indices.length > SMALL;
  // Where no symbol stands out, rows and columns tell little; and one row nothing.
  if (rows < 2 || (large && share < 0.25)) return { plan: plan(independent), size: plain };
  let best: IndexMode | null = null;
  let size = Infinity;
  const attempt = (mode: IndexMode): void => {
    const candidate = cost(mode);
    if (candidate >= size) return;
    size = candidate;
    best = mode;
  };
  for (const transposed of columns > 1 ? [false, true] : [false]) {
    for (const lag of likelyLags(trial, rows, columns, common, transposed)) attempt({ lag, transposed, weights: usualWeights(lag) });
  }
  if (size < 1.1 * plain) attempt({ ...best!, weights: fitWeights(trial, columns, common, best!) });
  return size < (large ? 0.95 : 1) * plain ? { plan: plan(best!), size } : { plan: plan(independent), size: plain };
}

/** Lag 1 and the two distances at which uncommon symbols coincide most, as rows of pixels one above the other do. */
function likelyLags(indices: Uint16Array, rows: number, columns: number, common: number, transposed: boolean): number[] {
  const length = transposed ? columns : rows;
  const maximum = Math.min(MAX_LAG, Math.floor(length / 3));
  const scores: Array<{ lag: number; score: number }> = [];
  const end = Math.min(indices.length, 1 << 18);
  const present: number[] = [];
  for (let i = 0; i < end; i++) if (indices[i] !== common) present.push(i);
  for (let lag = 2; lag <= maximum; lag++) {
    const back = transposed ? lag : lag * columns;
    let score = 0;
    for (const i of present) {
      if (transposed ? i % columns >= lag && indices[i - back] !== common : i >= back && indices[i - back] !== common) score++;
    }
    scores.push({ lag, score: score / (length - lag) });
  }
  scores.sort((a, b) => b.score - a.score);
  return [1, ...scores.slice(0, 2).map(({ lag }) => lag)];
}

function commonest(indices: Uint16Array, symbols: number): { common: number; share: number } {
  const counts = new Uint32Array(symbols);
  for (let i = 0; i < indices.length; i++) counts[indices[i]]++;
  let common = 0;
  for (let s = 1; s < symbols; s++) if (counts[s] > counts[common]) common = s;
  return { common, share: counts[common] / indices.length };
}

/** The values of a tensor as unsigned words, whatever its alignment. */
function words({ bytes, width }: { bytes: Uint8Array; width: number }): Uint8Array | Uint16Array | Uint32Array {
  if (width === 1) return bytes;
  const copy = bytes.slice().buffer;
  return width === 2 ? new Uint16Array(copy) : new Uint32Array(copy);
}

/** The sorted distinct values, or null where there are more than a codebook holds or than pays. */
function distinctValues(tensor: TensorBytes, quantity: Quantity): Codebook | null {
  const { width } = tensor;
  const values = words(tensor);
  const limit = Math.min(MAX_SYMBOLS, Math.max(1, values.length >> 1));
  const set = new Set<number>();
  for (let i = 0; i < values.length; i++) {
    set.add(values[i]);
    if (set.size > limit) return null;
  }
  const sorted = [...set].sort((a, b) => sortKey(a, width, quantity) - sortKey(b, width, quantity));
  const bytes = new Uint8Array(sorted.length * width);
  sorted.forEach((value, i) => {
    for (let k = 0; k < width; k++) bytes[i * width + k] = value >>> (8 * k);
  });
  return { bytes, width };
}

/** A number that orders bit patterns as their values (floats: sign and magnitude, NaNs outermost). */
function sortKey(pattern: number, width: number, quantity: Quantity): number {
  const half = 2 ** (8 * width - 1);
  if (quantity === 'unsigned' || pattern < half) return pattern;
  return quantity === 'signed' ? pattern - 2 * half : half - 1 - pattern;
}

function indicesOf(tensor: TensorBytes, codebook: Codebook): Uint16Array {
  const places = new Map<number, number>();
  words(codebook).forEach((value, i) => places.set(value, i));
  const values = words(tensor);
  const indices = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) indices[i] = places.get(values[i])!;
  return indices;
}

function contains(outer: Codebook, inner: Codebook): boolean {
  const set = new Set<number>(words(outer));
  return words(inner).every((value: number) => set.has(value));
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

/** A short fingerprint that spares most full comparisons. */
function sample(bytes: Uint8Array): string {
  const step = Math.max(1, Math.floor(bytes.length / 64));
  let key = '';
  for (let i = 0; i < bytes.length; i += step) key += String.fromCharCode(bytes[i]);
  return key;
}
